//! Random values: ClickHouse accepts each value that the collector accepts and can read it again,
//! and both find the same types.

use std::fmt::Write;

use super::serve;
use crate::support::{engine::Database, http};

/// A pseudo-random generator with the same sequence in each run.
struct Generator {
    state: u64,
    keys: &'static [&'static str],
    scalars: &'static [&'static str],
}

impl Generator {
    fn pick<'p>(&mut self, from: &[&'p str]) -> &'p str {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        from[(self.state >> 33) as usize % from.len()]
    }

    fn value(&mut self, depth: u8) -> String {
        match self.pick(&["scalar", "scalar", "scalar", "object", "array"]) {
            "object" if depth > 0 => self.object(depth - 1),
            "array" if depth > 0 => {
                let items: Vec<String> = (0..self.pick(&["", "1", "12"]).len())
                    .map(|_| self.value(depth - 1))
                    .collect();
                format!("[{}]", items.join(","))
            }
            _ => self.pick(self.scalars).to_owned(),
        }
    }

    fn object(&mut self, depth: u8) -> String {
        let count = self.pick(&["", "1", "12", "123"]).len();
        let fields: Vec<String> = (0..count)
            .map(|_| format!("\"{}\":{}", self.pick(self.keys), self.value(depth)))
            .collect();
        format!("{{{}}}", fields.join(","))
    }
}

/// Paths with a declared type, and others.
const KEYS: &[&str] = &[
    "a.i", "a.u", "f", "f32", "s", "ok", "day", "at", "at64", "id", "ip", "ip6", "big", "tags", "ns", "", "a", "i",
    "b.c", "\\ud83d", "é",
];
const TYPED_KEYS: usize = 15;

const SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "5",
    "-129",
    "128",
    "1.5",
    "-1e3",
    "1e-400",
    "1e39",
    "1e400",
    "0.1",
    "1700000000",
    "1700000000123",
    "4294967296",
    "9223372036854775808",
    "18446744073709551616",
    "-9223372036854775809",
    r#""""#,
    r#""x""#,
    r#""5""#,
    r#""-5""#,
    r#""+5""#,
    r#""007""#,
    r#""-0""#,
    r#""1.5""#,
    r#""1e3""#,
    r#"".5""#,
    r#""nan""#,
    r#""true""#,
    r#""1""#,
    r#""99999999999999999999""#,
    r#""2024-02-29""#,
    r#""2024-02-30""#,
    r#""1969-12-31""#,
    r#""2150-01-01""#,
    r#""2024-02-29 12:13:14""#,
    r#""2024-02-29T12:13:14Z""#,
    r#""2024-02-29 12:13:14.123456789""#,
    r#""2024-02-29T12:13:14+02:00""#,
    r#""1950-02-29 12:13:14""#,
    r#""2024-02-29 12:13:14+0200""#,
    r#""2024-02-29 24:00:00""#,
    r#""0000-00-00 00:00:00""#,
    r#""9999-12-31 23:59:59""#,
    r#""2024-02-29 12:13:14 ""#,
    r#""0000-00-00""#,
    r#""61f0c404-5cb3-11e7-907b-a6006ad3dba0""#,
    r#""61f0c4045cb311e7907ba6006ad3dba0""#,
    r#""61f0c404-5cb3-11e7-907ba6006ad3dba0-""#,
    r#""1.2.3.4""#,
    r#""1.2.3.04""#,
    r#""256.1.1.1""#,
    r#""::1""#,
    r#""::ffff:1.2.3.4""#,
    r#""1::2::3""#,
    r#""fe80::1%eth0""#,
    r#""\u0000""#,
    r#""\udc00""#,
    r#""-57896044618658097711785492504343953926634992332820282019728792003956564819968""#,
];

/// The typed paths of `doc_rare`.
const RARE_KEYS: &[&str] = &[
    "dec", "wide", "fixed", "state", "t", "t64", "day", "map", "pair", "named", "point", "ring", "doc", "docs", "any",
    "shape", "list", "one",
];

const RARE_VALUES: &[&str] = &[
    "[]",
    "{}",
    "[1,2]",
    "[1,\"x\"]",
    "[[1,2]]",
    "[null]",
    "[null,null]",
    "[[1,2],null]",
    "[{}]",
    r#"{"x":1}"#,
    r#"{"x":null,"y":null}"#,
    r#"{"x":1,"y":"z"}"#,
    r#"{"a":5}"#,
    r#"{"a":"-128"}"#,
    r#"{"a.b":1}"#,
    r#"{"":1}"#,
    r#"{"a":null}"#,
    r#"{"a":[1,{"b":"x"}]}"#,
    r#"[{"x":1},{"y":"z"}]"#,
    r#"[{"a":1},{"b":[1,"x"]}]"#,
    r#""open""#,
    r#""-2""#,
    r#""abcd""#,
    r#""ééé""#,
    r#""12:13:14""#,
    r#""-1:02:03""#,
    r#""999:59:59""#,
    r#""1000:00:00""#,
    r#""00:00:00.999999999""#,
    r#""12:13:14.""#,
    r#""9999999.99""#,
    r#""-9999999.994""#,
    r#""0.00000000001""#,
    r#""1e-3""#,
    "9999999.99",
    "-9999999.999",
    "123456789012345678",
    "1e7",
    "1e-20",
];

/// The typed paths of `doc_either`.
const EITHER_KEYS: &[&str] = &[
    "narrow", "number", "day", "moment", "moment64", "time", "name", "sum", "fixed", "list", "pair", "place", "each",
    "within", "one",
];

/// Values that some of the types accept.
const EITHER_VALUES: &[&str] = &[
    "2",
    "255",
    "1.0",
    "300",
    "-0.0",
    "1700000000.5",
    "1e300",
    "[1]",
    "[1,\"1\"]",
    "[1,\"+1\"]",
    "[1.5]",
    "[300]",
    "[[1]]",
    "[\"x\"]",
    "[true,1,1.5,\"x\",null]",
    "[1,2,3]",
    "[\"1\",\"2\"]",
    "[1,2,3,4]",
    "[1,\"x\",2]",
    r#"["61f0c404-5cb3-11e7-907b-a6006ad3dba0",5]"#,
    r#"{"a":1.5}"#,
    r#"{"a":"+5"}"#,
    r#"{"a":300}"#,
    r#"{"a":"x"}"#,
    r#"{"x":1,"z":2}"#,
    r#"{"x":1.5,"y":1}"#,
    r#"{"a":true,"b":1}"#,
    r#"{"a":"x","b":"1"}"#,
    r#"{"a":{"b":1}}"#,
    r#"{"1":1,"2":2}"#,
    r#""1.0""#,
    r#""inf""#,
    r#""infinity""#,
    r#""2024-2-9""#,
    r#""20240229""#,
    r#""2024-02-29x""#,
    r#""2024/02/29""#,
    r#""12:13""#,
    r#""12:13:14.5""#,
    r#"" 5""#,
    r#""5 ""#,
    r#""May 2024""#,
    r#""1 Feb 2024 12:13:14""#,
    r#""maybe 5""#,
    r#""order 5""#,
    r#""now""#,
    r#""1.2.3""#,
    r#""1,5""#,
    r#""0x10""#,
    r#""open ""#,
    r#""OPEN""#,
    r#""é""#,
    r#""2024-02-29 12:13:14 UTC""#,
    r#""[1]""#,
];

#[test]
fn clickhouse_accepts_every_accepted_object() {
    let database = Database::create("more_types_objects");
    let served = serve(&database);
    // Each value at each path, then random objects.
    let mut objects = Vec::new();
    for value in SCALARS {
        objects.extend(KEYS[..=TYPED_KEYS].iter().map(|key| format!("{{\"{key}\":{value}}}")));
        objects.extend(["tags", "ns", ""].map(|key| format!("{{\"{key}\":[{value}]}}")));
    }
    let mut generator = Generator {
        state: 1,
        keys: KEYS,
        scalars: SCALARS,
    };
    objects.extend((0..200).map(|_| generator.object(2)));
    let mut events: Vec<String> = objects
        .iter()
        .map(|object| format!("\"doc_typed\":{object},\"doc\":{object},\"any\":{object}"))
        .collect();
    for value in SCALARS.iter().chain(RARE_VALUES) {
        events.extend(
            RARE_KEYS
                .iter()
                .map(|key| format!("\"doc_rare\":{{\"{key}\":{value}}}")),
        );
    }
    for value in SCALARS.iter().chain(RARE_VALUES).chain(EITHER_VALUES) {
        events.extend(
            EITHER_KEYS
                .iter()
                .map(|key| format!("\"doc_either\":{{\"{key}\":{value}}}")),
        );
    }
    let mut accepted = 0;
    for (n, event) in events.iter().enumerate() {
        let event = format!("{{\"n\":{n},{event}}}");
        let answer = http::post_json(served.address, "/wh/more", &event);
        assert!([200, 400].contains(&answer.status), "{event}: {}", answer.text());
        accepted += usize::from(answer.status == 200);
    }
    // A block that ClickHouse refuses would stay, and `drain` would fail.
    served.drain();
    assert_eq!(database.count("more_types"), accepted as u64);
    assert!(
        accepted > 500 && accepted < events.len(),
        "{accepted} of {}",
        events.len()
    );
    // A value that cannot be read again is as bad as a refused one.
    database.query("SELECT * FROM more_types FORMAT Null");

    // No type changes a value, except as listed in the file.
    let stored = database.query("SELECT n, toJSONString(doc_either) FROM more_types ORDER BY n FORMAT TSVRaw");
    let mut changed = String::new();
    for line in stored.lines() {
        let (n, stored) = line.split_once('\t').unwrap();
        let Some(sent) = events[n.parse::<usize>().unwrap()].strip_prefix("\"doc_either\":") else {
            continue;
        };
        let json = |text: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).unwrap();
        let (sent, stored) = (json(&sent.replace("\\udc00", "\\ufffd")), json(stored));
        let (path, sent) = sent.iter().next().unwrap();
        let stored = &stored[path];
        // A number may be stored as text.
        let written = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if !sent.is_null() && written(sent) != written(stored) {
            writeln!(changed, "{path} {sent} -> {stored}").unwrap();
        }
    }
    assert!(changed == EITHER_CHANGES, "\n{changed}");
}

/// Values at a Variant's path whose stored form differs from the sent one.
const EITHER_CHANGES: &str = include_str!("either_changes.txt");

/// The scalars for a Dynamic. Texts that only ClickHouse reads as dates are left out, see
/// `differences.txt`.
const ANY_SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-5",
    "7",
    "1.5",
    "1e3",
    "18446744073709551615",
    r#""""#,
    r#""x""#,
    r#""5""#,
    r#""2024-02-29""#,
    r#""1969-12-31""#,
    r#""2024-02-29 12:13:14""#,
    r#""2024-02-29T12:13:14.5Z""#,
    "[]",
    "{}",
];
const ANY_KEYS: &[&str] = &["a", "b", "c", "a b", "a.b", "é"];

/// The differences from ClickHouse. It drops the keys that only the second object has, because a
/// number and a text have no common type. It infers one type for an array of `{}` and texts alone,
/// and another type if an empty array is beside the array.
const ANY_DIFFERENCES: &[&str] = &[
    r#"{"n":237,"any":[{"a b":0},{"b":[],"a.b":0,"a b":"5"}]}"#,
    r#"{"n":1734,"any":[[[{},"1969-12-31"],[]],7]}"#,
];

#[test]
fn any_value_has_the_type_that_clickhouse_infers() {
    let database = Database::create("more_types_any");
    let served = serve(&database);
    let mut generator = Generator {
        state: 2,
        keys: ANY_KEYS,
        scalars: ANY_SCALARS,
    };
    let events: Vec<String> = (0..3_000)
        .map(|n| format!("{{\"n\":{n},\"any\":{}}}", generator.value(3)))
        .collect();
    database.query("CREATE TABLE twin (n UInt64, any Dynamic) ENGINE = Memory");
    insert_each(&database, &events);
    let mut refused = Vec::new();
    for (n, event) in events.iter().enumerate() {
        let answer = http::post_json(served.address, "/wh/more", event);
        if answer.status != 200 {
            refused.push(n.to_string());
        }
    }
    served.drain();
    let differing = database.query(
        "SELECT ours.n, any(toString(ours.any)), any(dynamicType(ours.any)), any(toString(twin.any)), any(dynamicType(twin.any)) \
         FROM more_types AS ours JOIN twin USING n \
         WHERE (toString(ours.any), dynamicType(ours.any)) != (toString(twin.any), dynamicType(twin.any)) GROUP BY n ORDER BY n",
    );
    let differing: Vec<&str> = differing
        .lines()
        .map(|line| &*events[line.split('\t').next().unwrap().parse::<usize>().unwrap()])
        .collect();
    assert_eq!(differing, ANY_DIFFERENCES);
    let kinder = database.query("SELECT n FROM more_types WHERE n NOT IN (SELECT n FROM twin)");
    assert_eq!(kinder, "");
    let stricter = database.query(&format!("SELECT n FROM twin WHERE n IN ({})", refused.join(",")));
    assert_eq!(stricter, "");
    assert!(refused.len() < events.len() / 10, "{}", refused.len());
}

/// Inserts the events that ClickHouse accepts.
fn insert_each(database: &Database, events: &[String]) {
    let sql = format!("INSERT INTO twin FORMAT JSONEachRow\n{}", events.join("\n"));
    if database.try_query(&sql).is_err() && events.len() > 1 {
        // An INSERT is all or nothing, so each half is tried until a bad event is alone.
        let (front, back) = events.split_at(events.len() / 2);
        insert_each(database, front);
        insert_each(database, back);
    }
}
