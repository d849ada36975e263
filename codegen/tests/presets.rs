//! `presets: […]` includes the tables of well-known senders before all files of the schema.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use rowmill_codegen::{Generated, generate, generate_texts};

const ORDERS: &str = "
clickhouse:
  destinations: { wh/orders: orders }
  tables: { orders: { number: String, _options: { engine: MergeTree, order_by: number, allow: no-row-id } } }
";

fn generated(files: &[(&str, &str)]) -> Generated {
    let generated = generate_texts(files.iter().copied());
    let problems = generated.problems.errors.iter().chain(&generated.problems.warnings);
    let texts: Vec<_> = problems.map(|problem| &problem.text).collect();
    assert!(texts.is_empty(), "{texts:?}");
    generated
}

#[test]
fn each_preset_is_valid_and_includes_one_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/presets");
    let names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    for name in &names {
        let text = format!("presets: {name}\n{ORDERS}");
        let generated = generated(&[("orders.yml", &text)]);
        let table = format!("`{name}");
        assert_eq!(generated.statements.len(), 2, "{name}");
        assert!(generated.statements[0].contains(&table), "{name}");
        // Cargo watches these files.
        assert_eq!(generated.files, [Path::new("orders.yml")]);
        assert!(generated.problems.notes.is_empty());
    }
    let all = format!("presets: [{}]\n{ORDERS}", names.join(", "));
    assert_eq!(generated(&[("orders.yml", &all)]).statements.len(), names.len() + 1);
    assert_eq!(generated(&[("orders.yml", ORDERS)]).statements.len(), 1);
}

#[test]
fn a_file_of_the_schema_overrides_a_preset() {
    let own = "clickhouse:
  destinations: { wh/ses: { ack: stored } }
  tables: { ses_events: { note: String, source: LowCardinality(String) } }
";
    let text = format!("presets: [ses]\n{ORDERS}");
    let generated = generated(&[("05_own.yml", own), ("20_orders.yml", &text)]);
    let statement = &generated.statements[0];
    assert!(statement.contains("`note` String"), "{statement}");
    assert!(statement.contains("`source` LowCardinality(String)"), "{statement}");
    assert!(generated.code.contains("__rt::Ack::Stored"));
}

#[test]
fn a_preset_can_be_copied_into_the_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/presets");
    let generated = generate(folder);
    assert!(generated.problems.errors.is_empty(), "{:?}", generated.problems.errors);
}
