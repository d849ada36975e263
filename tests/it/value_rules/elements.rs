//! ClickHouse as the oracle for lists of objects. It reads such a list only into a Nested that it
//! does not flatten, an `Array(Tuple(…))`; `input_format_import_nested_json` accepts objects of
//! arrays alone, `{"items": {"sku": ["a"]}}`.

use super::World;

/// The elements of `listed`, and values for each: of its own kind, at its bounds, and of others.
const VALUES: [(&str, &[&str]); 18] = [
    (
        "s",
        &[
            r#""""#,
            r#""a\"b""#,
            "1",
            "1.50",
            "true",
            "null",
            "[1, {\"k\":2}]",
            r#"{"k" : [1]}"#,
        ],
    ),
    (
        "u",
        &["0", "255", r#""7""#, "true", "null", "1.5", r#""x""#, "[1]", "{}"],
    ),
    (
        "i",
        &[
            "-9223372036854775808",
            "9223372036854775807",
            r#""-1""#,
            "null",
            "[]",
            "{}",
        ],
    ),
    (
        "f",
        &["1.5", "-0.0", "1e300", r#""2.5""#, r#""nan""#, "null", "[1.5]", "{}"],
    ),
    ("d", &["1.5", "-9999999999999999.99", r#""0.25""#, "null", "[1]", "{}"]),
    ("b", &["true", "false", "1", "0", "null", "[true]", "{}"]),
    ("day", &[r#""2024-02-29""#, "0", "19782", "null", "[1]", "{}"]),
    (
        "at",
        &[r#""2024-02-29 12:13:14""#, "0", "1780000000", "null", "[1]", "{}"],
    ),
    (
        "at64",
        &[r#""2024-02-29 12:13:14.5""#, "0", "1780000000908", "null", "[1]", "{}"],
    ),
    (
        "uuid",
        &[
            r#""61f0c404-5cb3-11e7-907b-a6006ad3dba0""#,
            r#""x""#,
            "1",
            "null",
            "[]",
            "{}",
        ],
    ),
    ("ip", &[r#""127.0.0.1""#, r#""x""#, "null", "[]", "{}"]),
    ("e", &[r#""x""#, "2", r#""z""#, "[]", "{}"]),
    ("lc", &[r#""a""#, "1", "null", r#"{"k":1}"#, "[1,2]"]),
    ("ns", &[r#""a""#, "null", "1", r#"{"k":null}"#, "[null]"]),
    ("nu", &["1", "null", r#""2""#, "[1]", "{}"]),
    ("a", &["[]", "[1,2]", r#"["1",null]"#, "null", "1", "[[1]]", "{}"]),
    ("m", &["{}", r#"{"a":1,"b":null}"#, "null", "[]", r#"{"a":"x"}"#]),
    (
        "t",
        &[
            r#"{"x":1,"y":"a"}"#,
            r#"{"y":"a"}"#,
            "{}",
            "null",
            r#"{"x":"no"}"#,
            r#"[{"x":1}]"#,
        ],
    ),
];

/// Lists as a whole.
const LISTS: [&str; 9] = [
    "[]",
    "[{}]",
    "[null]",
    "[{}, null, {}]",
    r#"[{"s":"a"},{"u":1},{"i":2,"s":"b"}]"#,
    r#"[{"s":"a"},{"unknown":{"x":[1]},"s":"b"}]"#,
    r#"[{"s":"a"},1]"#,
    r#"[{"s":"a"},[1]]"#,
    "null",
];

#[test]
fn elements_become_what_clickhouse_makes_of_them() {
    let world = World::start("listed_elements");
    let nested = world.database.query(
        "SELECT arrayStringConcat(groupArray(name || ' ' || type), ', ') FROM (SELECT replaceOne(name, 'items.', '') AS name, \
         replaceRegexpOne(type, '^Array\\\\((.*)\\\\)$', '\\\\1') AS type FROM system.columns \
         WHERE database = currentDatabase() AND table = 'listed' AND name != 'n' ORDER BY position) FORMAT TSVRaw",
    );
    let create = format!(
        "CREATE TABLE twin (n UInt32, items Nested({})) ENGINE = Memory",
        nested.trim_end()
    );
    let answer = world.database.send(
        "POST",
        &format!("/?database={}&flatten_nested=0", world.database.name),
        create.as_bytes(),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());

    let elements = VALUES.iter().flat_map(|(element, values)| {
        let list = move |value: &&str| format!(r#"[{{"{element}":{value}}},{{}},{{"s":"end"}}]"#);
        values.iter().map(list)
    });
    let lists: Vec<String> = elements.chain(LISTS.map(str::to_owned)).collect();
    let mut wrong = Vec::new();
    let mut accepted = 0;
    for (n, list) in lists.iter().enumerate() {
        let event = format!(r#"{{"n":{n},"items":{list}}}"#);
        let answer = world.post("/wh/listed", &event);
        let insert = format!("INSERT INTO twin SETTINGS async_insert = 0 FORMAT JSONEachRow {event}");
        let inserted = world.database.try_query(&insert);
        if (answer.status == 200) != inserted.is_ok() {
            wrong.push(format!("{list}: {} and {inserted:?}", answer.text()));
        }
        accepted += u64::from(answer.status == 200);
    }
    world.database.wait_for_rows("listed", accepted);
    let columns: Vec<String> = VALUES.iter().map(|(element, _)| format!("items.{element}")).collect();
    let columns = columns.join(", ");
    let rows = |table: &str, other: &str| {
        world.database.query(&format!(
            "SELECT n, {columns} FROM {table} WHERE n IN (SELECT n FROM {other}) ORDER BY n FORMAT TSVRaw"
        ))
    };
    let (ours, theirs) = (rows("listed", "twin"), rows("twin", "listed"));
    assert!(ours.lines().count() > 60);
    for (our, their) in ours.lines().zip(theirs.lines()) {
        if our != their {
            let n: usize = our.split('\t').next().unwrap().parse().unwrap();
            let differing = our
                .split('\t')
                .zip(their.split('\t'))
                .filter(|(our, their)| our != their);
            wrong.push(format!("{}: {:?}", lists[n], differing.collect::<Vec<_>>()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
