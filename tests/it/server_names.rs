//! The lists of names in `codegen/src/server_names` are those of the engine. `ROWMILL_BLESS=1` writes
//! them.

use std::{env, fs, path::Path};

use rowmill_codegen::generate_texts;

use crate::support::engine::Database;

/// Each list with its query. Functions of users are not part of a list.
const LISTS: [(&str, &str); 5] = [
    (
        "functions",
        "SELECT trim(concat(name, if(is_aggregate OR case_insensitive, ' ', ''), if(is_aggregate, 'a', ''), \
         if(case_insensitive, 'i', ''))) FROM system.functions WHERE origin = 'System' ORDER BY name",
    ),
    (
        "combinators",
        "SELECT name FROM system.aggregate_function_combinators WHERE NOT is_internal ORDER BY name",
    ),
    (
        "table_functions",
        "SELECT name FROM system.table_functions ORDER BY name",
    ),
    (
        "merge_tree_settings",
        "SELECT name FROM system.merge_tree_settings ORDER BY name",
    ),
    ("settings", "SELECT name FROM system.settings ORDER BY name"),
];

#[test]
fn the_lists_are_those_of_the_engine() {
    let database = Database::create("server_names");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("codegen/src/server_names");
    for (name, query) in LISTS {
        let path = folder.join(format!("{name}.txt"));
        let text = fs::read_to_string(&path).unwrap();
        let remarks: String = text
            .lines()
            .filter(|line| line.starts_with('#'))
            .fold(String::new(), |remarks, line| remarks + line + "\n");
        let current = remarks + &database.query(&format!("{query} FORMAT TSVRaw"));
        if env::var_os("ROWMILL_BLESS").is_some() {
            fs::write(&path, current).unwrap();
        } else {
            assert!(text == current, "{} differs from the engine", path.display());
        }
    }
}

/// The checker refuses no codec of the engine as unknown.
#[test]
fn each_codec_of_the_engine_is_known() {
    let database = Database::create("server_codecs");
    let codecs = database.query("SELECT name FROM system.codecs WHERE name != 'Multiple' ORDER BY name");
    assert!(codecs.lines().count() > 10, "{codecs}");
    for codec in codecs.lines() {
        let yaml = format!(
            "clickhouse: {{ destinations: {{ a/b: t }}, tables: {{ t: {{ id: UInt64, c: 'UInt32 CODEC({codec})', _options: {{ engine: MergeTree, order_by: id }} }} }} }}"
        );
        let problems = generate_texts([("t.yml", yaml)]).problems;
        let is_unknown = |message: &str| message.starts_with("ClickHouse has no codec");
        let unknown: Vec<_> = problems
            .errors
            .iter()
            .filter(|problem| is_unknown(&problem.message))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
