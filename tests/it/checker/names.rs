//! Names that are long or odd: what the checker accepts, ClickHouse creates, and fills with a row.

use rowmill_codegen::generate_texts;

use super::quoted;
use crate::support::engine::Database;

/// The names of tables and columns, and whether the checker accepts them for a table.
fn names() -> Vec<(String, bool)> {
    let long = |letter: &str, count: usize| letter.repeat(count);
    let mut names = vec![
        (long("a", 100), true),
        (long("a", 190), true),
        (long("a", 213), false),
        (long("a", 300), false),
        (long("ж", 30), true),
        (long("ж", 36), false),
        (long("字", 20), true),
        (long("字", 24), false),
    ];
    let odd = [
        "a/b",
        "a\\b",
        ".",
        "..",
        ".inf",
        "~",
        "null",
        "Self",
        "gen",
        "a`b",
        "'",
        "\"",
        "a\nb",
        "\t",
        " ",
        "\u{1}",
        "🎉",
        "имя",
        "名字",
        "\u{202e}x",
        "e\u{301}",
        "%41",
        "2024-01-01",
        "-",
        "a.b",
        "select",
        "Null",
    ];
    names.extend(odd.map(|name| (name.to_owned(), true)));
    names
}

#[test]
fn what_the_checker_accepts_as_a_name_clickhouse_creates() {
    let database = Database::create("names");
    for (name, is_accepted) in names() {
        let yaml = format!(
            "clickhouse:\n  destinations: {{ wh/z: {name} }}\n  tables:\n    {name}:\n      id: {{ type: UInt64, from: $id }}\n      \
             {name}: UInt8\n      _options: {{ engine: MergeTree, order_by: id }}\n",
            name = quoted(&name)
        );
        let generated = generate_texts([("t.yml", yaml)]);
        let errors: Vec<&str> = generated.problems.errors.iter().map(|error| error.code).collect();
        assert_eq!(errors.is_empty(), is_accepted, "{name}: {errors:?}");
        for statement in &generated.statements {
            let created = database.try_query(statement);
            assert!(created.is_ok(), "{name}: {created:?}");
            let table = statement.split_once("EXISTS ").unwrap().1.split("\n(").next().unwrap();
            let inserted = database.try_query(&format!("INSERT INTO {table} VALUES (1, 2)"));
            assert!(inserted.is_ok(), "{name}: {inserted:?}");
        }
        if !is_accepted {
            let created = database.try_query(&format!(
                "CREATE TABLE `{name}` (a UInt8) ENGINE = MergeTree ORDER BY a"
            ));
            assert!(created.is_err(), "{name}: ClickHouse accepts it");
            assert_eq!(errors, ["long-name"], "{name}");
        }
    }
}
