//! The types that are rarer in events, against ClickHouse: what a value becomes here is what `INSERT … FORMAT JSONEachRow` makes
//! of it, but for the differences that are listed, each with its reason.

use std::{collections::BTreeMap, fmt::Write};

use embedder::tables;
use rowmill_ingest::{StoreUrl, not_found, value};
use tokio::runtime::Runtime;
use tower::{Layer, service_fn};

use crate::support::{engine::Database, http, service::Served};

/// A column and a value for it, one a line.
const CASES: &str = include_str!("more_types/cases.txt");

/// How the collector differs, the case, and why: `stricter` refuses what ClickHouse takes, `kinder` takes what ClickHouse refuses,
/// `other` stores another value.
const DIFFERENCES: &str = include_str!("more_types/differences.txt");

fn serve(database: &Database) -> Served {
    Served::start(database, &tables::SCHEMA, |writer| {
        tables::layer(writer).layer(service_fn(not_found))
    })
}

#[test]
fn values_become_what_clickhouse_makes_of_them() {
    let database = Database::create("more_types");
    let served = serve(&database);
    database.query("CREATE TABLE twin AS more_types");
    for (n, case) in CASES.lines().enumerate() {
        let (column, value) = case.split_once(' ').unwrap();
        let event = format!("{{\"n\":{n},\"{column}\":{value}}}");
        let answer = http::post_json(served.address, "/wh/more", &event);
        assert!([200, 400].contains(&answer.status), "{case}: {}", answer.text());
        // One at a time, as ClickHouse stops at the first that it refuses.
        let _ = database.try_query(&format!("INSERT INTO twin FORMAT JSONEachRow {event}"));
    }
    served.drain();

    let (ours, theirs) = (rows(&database, "more_types"), rows(&database, "twin"));
    let mut known: BTreeMap<&str, &str> = DIFFERENCES
        .lines()
        .map(|line| {
            let mut parts = line.split('\t');
            let (kind, case) = (parts.next().unwrap(), parts.next().unwrap());
            assert!(
                parts.next().is_some_and(|reason| !reason.is_empty()),
                "no reason: {line}"
            );
            (case, kind)
        })
        .collect();
    let mut unknown = String::new();
    for (n, case) in CASES.lines().enumerate() {
        let kind = match (ours.get(&n), theirs.get(&n)) {
            (Some(_), None) => "kinder",
            (None, Some(_)) => "stricter",
            (Some(ours), Some(theirs)) if ours != theirs => "other",
            _ => continue,
        };
        if known.remove(case) != Some(kind) {
            let (ours, theirs) = (ours.get(&n), theirs.get(&n));
            writeln!(unknown, "{kind} {case}\n  ours   {ours:?}\n  theirs {theirs:?}").unwrap();
        }
    }
    assert!(unknown.is_empty(), "differences that are not listed:\n{unknown}");
    assert!(known.is_empty(), "listed, and no difference: {known:?}");
}

/// Returns the rows of a table by their numbers.
fn rows(database: &Database, table: &str) -> BTreeMap<usize, String> {
    let sql = format!(
        "SELECT toString(n), * EXCEPT n FROM {table} FORMAT JSONCompactEachRow SETTINGS output_format_json_quote_denormals = 1"
    );
    let rows = database.query(&sql);
    let numbered = rows.lines().map(|row| {
        let (number, row) = row.strip_prefix("[\"").and_then(|row| row.split_once('"')).unwrap();
        (number.parse().unwrap(), row.to_owned())
    });
    numbered.collect()
}

#[test]
fn values_may_come_as_text() {
    let database = Database::create("more_types_text");
    let served = serve(&database);
    let fields = "n=1&t=-1:02:03&t64=5.25&interval_s=-7&interval_y=&point=[1,2.5]&ring=[[1,2],[3,4]]&points={\"a\":[1,2]}\
                  &doc={\"a\":{\"b\":[1,null]}}&doc_typed={\"a\":{\"i\":\"-5\"}}&doc_array=[{\"x\":1}]";
    let fields = fields.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    let answer = http::get(served.address, &format!("/wh/more.gif?{fields}"));
    assert_eq!(answer.status, 200);
    served.drain();
    let columns = "t, t64, interval_s, interval_y, point, ring, points, doc, doc_typed.a.i, doc_array";
    assert_eq!(
        database.query(&format!("SELECT {columns} FROM more_types")),
        "-01:02:03\t00:00:05.250\t-7\t0\t(1,2.5)\t[(1,2),(3,4)]\t{'a':(1,2)}\t{\"a\":{\"b\":[1,null]}}\t-5\t\
         ['{\"x\":1}']\n"
    );
}

#[test]
fn a_refusal_names_the_column_and_its_type() {
    let database = Database::create("more_types_refused");
    let served = serve(&database);
    let answer = http::post_json(served.address, "/wh/more", r#"{"doc_few":{"a":1,"a":2}}"#);
    assert_eq!(answer.status, 400);
    let expected = "JSON(max_dynamic_types=1, max_dynamic_paths=1)";
    assert!(answer.text().contains(expected), "{}", answer.text());
}

#[test]
fn aggregates_merge_as_clickhouse_merges_them() {
    let database = Database::create("totals");
    let served = serve(&database);
    for event in [
        r#"{"shop":"a","count":2,"worst":1.5,"last":"x","tags":["p","q"],"by_country":{"de":1}}"#,
        r#"{"shop":"a","count":"3","worst":null,"last":"y","tags":["q","r"],"by_country":{"de":2,"fr":5},"visits":10}"#,
        r#"{"shop":"b"}"#,
    ] {
        let answer = http::post_json(served.address, "/wh/totals", event);
        assert_eq!(answer.status, 200, "{event}");
    }
    served.drain();
    assert_eq!(
        database.query(
            "SELECT shop, count, worst, last, arraySort(tags), by_country, visits FROM totals FINAL ORDER BY shop"
        ),
        "a\t5\t1.5\ty\t['p','q','r']\t{'de':3,'fr':5}\t11\nb\t0\t\\N\t\t[]\t{}\t1\n"
    );

    // The client knows no LowCardinality inside of a SimpleAggregateFunction.
    let client = database
        .url()
        .parse::<StoreUrl>()
        .unwrap()
        .client()
        .with_validation(false);
    Runtime::new().unwrap().block_on(async {
        let query = client.query("SELECT ?fields FROM totals FINAL ORDER BY shop");
        let mut totals = query.fetch::<tables::Totals<'_>>().unwrap();
        let total = totals.next().await.unwrap().unwrap();
        assert_eq!((&*total.last, total.count, total.worst), ("y", 5, Some(1.5)));
    });
}

#[test]
fn the_columns_of_an_earlier_start_are_the_same() {
    let database = Database::create("more_types_again");
    drop(serve(&database));
    let columns = "SELECT count() FROM system.columns WHERE database = currentDatabase() AND table = 'more_types'";
    let before = database.query(columns);
    // A type that were printed in another way than by ClickHouse would be one that has changed.
    drop(serve(&database));
    assert_eq!(database.query(columns), before);
}

#[test]
fn rows_are_read_back_as_they_were_sent() {
    let database = Database::create("more_types_read");
    let served = serve(&database);
    let event = r#"{"n":1,"t":"1:02:03","t64":"-0:00:00.5","interval_s":90,"polygon":[[[0,0],[1,0],[0,1]]],"doc":{"a":{"b":1}},
                    "place":{"at":[1,2]},"doc_null":null}"#;
    assert_eq!(http::post_json(served.address, "/wh/more", event).status, 200);
    served.drain();

    // The client's parser of types knows no names in tuples.
    let client = database
        .url()
        .parse::<StoreUrl>()
        .unwrap()
        .client()
        .with_validation(false);
    let query = client
        .query("SELECT ?fields FROM more_types")
        .with_setting("output_format_binary_write_json_as_string", "1");
    Runtime::new().unwrap().block_on(async {
        let mut rows = query.fetch::<tables::MoreTypes<'_>>().unwrap();
        let row = rows.next().await.unwrap().unwrap();
        assert_eq!((row.t, row.t64), (value::Time(3_723), value::Time64(-500)));
        assert_eq!((row.interval_s, row.interval_y), (90, None));
        assert_eq!(row.polygon, [[(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]]);
        assert_eq!(row.place.at, (1.0, 2.0));
        assert_eq!((row.doc.as_str(), row.doc_null), (r#"{"a":{"b":1}}"#, None));
    });
}

/// Numbers that look random, the same in each run.
struct Dice(u64);

impl Dice {
    fn pick<'p>(&mut self, from: &[&'p str]) -> &'p str {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        from[(self.0 >> 33) as usize % from.len()]
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
            _ => self.pick(SCALARS).to_owned(),
        }
    }

    fn object(&mut self, depth: u8) -> String {
        let count = self.pick(&["", "1", "12", "123"]).len();
        let fields: Vec<String> = (0..count)
            .map(|_| format!("\"{}\":{}", self.pick(KEYS), self.value(depth)))
            .collect();
        format!("{{{}}}", fields.join(","))
    }
}

/// Paths that have a type, and others.
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

#[test]
fn clickhouse_takes_every_object_that_is_taken() {
    let database = Database::create("more_types_objects");
    let served = serve(&database);
    // Each value at each path, then a mixture.
    let mut objects = Vec::new();
    for value in SCALARS {
        objects.extend(KEYS[..=TYPED_KEYS].iter().map(|key| format!("{{\"{key}\":{value}}}")));
        objects.extend(["tags", "ns", ""].map(|key| format!("{{\"{key}\":[{value}]}}")));
    }
    let mut dice = Dice(1);
    objects.extend((0..200).map(|_| dice.object(2)));
    let mut taken = 0;
    for (n, object) in objects.iter().enumerate() {
        let event = format!("{{\"n\":{n},\"doc_typed\":{object},\"doc\":{object}}}");
        let answer = http::post_json(served.address, "/wh/more", &event);
        assert!([200, 400].contains(&answer.status), "{event}: {}", answer.text());
        taken += usize::from(answer.status == 200);
    }
    // A block that ClickHouse refuses would stay.
    served.drain();
    assert_eq!(database.count("more_types"), taken as u64);
    assert!(taken > 300 && taken < objects.len(), "{taken}");
}
