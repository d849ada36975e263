//! Compares the standard tables with those that the original created.

use crate::support::{collector::Collector, engine::Database};

/// The `table`, `column`, `type` and `default` of each column in the original's ClickHouse, one
/// column per line.
const CREATED: &str = include_str!("../golden/08_created_columns.tsv");

/// Columns that come from files other than the seed's in the recorded database.
const NOT_OF_THE_SEED: [&str; 2] = ["score", "tags"];

fn recorded(table: &str) -> Vec<(String, String, bool)> {
    let columns = CREATED
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|fields| fields[0] == table);
    columns
        .filter(|fields| !NOT_OF_THE_SEED.contains(&fields[1]))
        .map(|fields| {
            (
                fields[1].to_owned(),
                fields[2].to_owned(),
                fields.get(3).is_some_and(|default| !default.is_empty()),
            )
        })
        .collect()
}

#[test]
fn tables_have_the_original_columns_in_order() {
    let database = Database::named("standard");
    let _collector = Collector::start(&database);
    for table in ["webhooks", "events", "activity", "ping", "mail_statistics"] {
        let columns = database.query(&format!(
            "SELECT name, type, default_expression != '' FROM system.columns \
             WHERE database = '{}' AND table = '{table}' ORDER BY position",
            database.name
        ));
        let columns: Vec<(String, String, bool)> = columns
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .map(|fields| (fields[0].to_owned(), fields[1].to_owned(), fields[2] == "1"))
            .collect();
        assert_eq!(columns, recorded(table), "{table}");
    }
    assert_eq!(recorded("events").len(), 124);
}

#[test]
fn tables_have_the_original_engine_and_keys() {
    let database = Database::named("engines");
    let _collector = Collector::start(&database);
    let engines = database.query(&format!(
        "SELECT name, engine, partition_key, sorting_key, create_table_query LIKE '%non_replicated_deduplication_window = 1000%' \
         FROM system.tables WHERE database = '{}' AND name IN ('events', 'mail_statistics') ORDER BY name",
        database.name
    ));
    assert_eq!(
        engines,
        "events\tMergeTree\ttoYYYYMM(date)\tintHash32(uid), date\t1\n\
         mail_statistics\tMergeTree\ttoYYYYMM(date)\tservice, name, date\t1\n"
    );
}
