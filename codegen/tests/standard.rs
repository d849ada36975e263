//! `standard: true` includes the standard tables before all files of the schema.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use rowmill_codegen::{Generated, generate_texts};

const BASE: &str = include_str!("../../schemas/10_base.yml");
const ORDERS: &str = "
clickhouse:
  destinations: { wh/orders: orders }
  orders: { number: String, _options: { extend: webhooks } }
";

fn generated(files: &[(&str, &str)]) -> Generated {
    let generated = generate_texts(files.iter().copied());
    let errors: Vec<_> = generated.problems.errors.iter().map(|problem| &problem.text).collect();
    assert!(errors.is_empty(), "{errors:?}");
    generated
}

#[test]
fn the_tables_are_those_of_the_standard_file() {
    let with_file = generated(&[("10_base.yml", BASE), ("20_orders.yml", ORDERS)]);
    let text = format!("standard: true\n{ORDERS}");
    let with_key = generated(&[("20_orders.yml", &text)]);
    assert_eq!(with_key.statements, with_file.statements);
    // The notes are about the schema's own tables.
    let noted: Vec<_> = with_key
        .problems
        .notes
        .iter()
        .map(|note| note.place.as_ref().unwrap().file.clone())
        .collect();
    assert_eq!(noted, [Path::new("20_orders.yml")]);
    // Cargo watches these files.
    assert_eq!(with_key.files, [Path::new("20_orders.yml")]);
}

#[test]
fn a_file_of_the_schema_overrides_the_standard_tables() {
    let own = "clickhouse: { tables: { webhooks: { extra2: String }, ping: { _options: { engine: Memory } } } }\n";
    let text = format!("standard: true\n{ORDERS}");
    let generated = generated(&[("05_own.yml", own), ("20_orders.yml", &text)]);
    let orders = generated
        .statements
        .iter()
        .find(|text| text.contains("`orders`"))
        .unwrap();
    assert!(orders.contains("`extra2` String"), "{orders}");
    let ping = generated
        .statements
        .iter()
        .find(|text| text.contains("`ping`"))
        .unwrap();
    assert!(ping.contains("Memory"), "{ping}");
}
