//! If ClickHouse refuses one row of a block, only that row is lost to the table.

use std::time::Duration;

use embedder::tables;
use rowmill_ingest::{Ack, WriterOptions, server::not_found, table::Table};
use tower::{Layer, service_fn};

use crate::support::{engine::Database, service::Served};

const ROWS: u64 = 100_000;
const POISON: u64 = 61_803;

fn table(name: &str) -> &'static Table {
    let mut tables = tables::SCHEMA.tables.iter().copied();
    tables.find(|table| table.name == name).unwrap()
}

#[test]
fn one_refused_row_among_a_hundred_thousand_is_the_only_loss() {
    let database = Database::named("poison");
    let data = tempfile::tempdir().unwrap();
    let options = WriterOptions {
        // All rows form one block; its age must not seal it early.
        block_rows: ROWS as usize,
        block_age: Duration::from_secs(3600),
        ..WriterOptions::default()
    };
    let served = Served::start_in(Some(data.path()), &database.url(), &tables::SCHEMA, options, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    database.query(&format!(
        "ALTER TABLE engine_merge_tree ADD CONSTRAINT no_poison CHECK key != {POISON}"
    ));
    let table = table("engine_merge_tree");
    for key in 0..ROWS {
        // RowBinaryWithDefaults: a flag byte before each value is 1 if the value is the default. The
        // key, a count that is NULL, and a default.
        let appended = served.writer.append(table, Ack::Accepted, |row| {
            row.push(0);
            row.extend(key.to_le_bytes());
            row.extend([0, 1]);
            row.push(1);
        });
        appended.unwrap();
    }
    served.drain();
    assert_eq!(
        database.query("SELECT count(), uniqExact(key), countIf(key = 61803), max(key) FROM engine_merge_tree"),
        format!("{}\t{}\t0\t{}\n", ROWS - 1, ROWS - 1, ROWS - 1)
    );
    assert_eq!(
        database.query("SELECT table, code, position(reason, 'no_poison') > 0 FROM rejected"),
        "engine_merge_tree\tclickhouse-469\t1\n"
    );
}
