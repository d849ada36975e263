//! Columns renamed with `was:`: a table that still has the old names, and waiting rows with the old
//! names.

use std::{path::Path, time::Duration};

use embedder::tables;
use rowmill_ingest::{
    Ack, ClickHouseUrl, Writer, WriterOptions,
    schema::{plan, sync},
    store::Servers,
    table::{Column, ColumnKind, Format, Schema, Shape, Table},
};
use tokio::runtime::Runtime;

use crate::support::engine::Database;

/// The table `renamed` in an earlier build.
static EARLIER: Table = Table {
    row_id: Some("id"),
    ..Table::new(
        "renamed",
        0,
        &[
            Column::new("id", "UInt64", "`id` UInt64", ColumnKind::Plain).shaped(Shape::Fixed(8)),
            Column::new("sum", "Decimal(18, 2)", "`sum` Decimal(18, 2)", ColumnKind::Plain).shaped(Shape::Fixed(8)),
            Column::new("town", "String", "`town` String", ColumnKind::Plain).shaped(Shape::String),
        ],
        "CREATE TABLE IF NOT EXISTS `renamed`\n(\n    `id` UInt64,\n    `sum` Decimal(18, 2),\n    `town` String\n)\n\
         ENGINE = MergeTree\nORDER BY id\nSETTINGS non_replicated_deduplication_window = 1000",
        Format::RowBinary,
    )
};

static EARLIER_SCHEMA: Schema = Schema::new(&[&EARLIER]);

/// Leaves rows of the earlier build in a spool, with the ids 0 to 4 and the sums 0.10 to 4.10.
async fn leave_rows(data: &Path) {
    // No server listens there.
    let nowhere: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().unwrap();
    let stores = Servers::without_sync(nowhere);
    let writer = Writer::open(&EARLIER_SCHEMA, stores, &WriterOptions::default(), data).unwrap();
    for id in 0..5_u64 {
        let receipt = writer.append(&EARLIER, Ack::Spooled, |row| {
            row.extend(id.to_le_bytes());
            row.extend((id * 100 + 10).to_le_bytes());
            row.extend(b"\x04Roma");
        });
        assert_eq!(receipt.unwrap().reached().await, Ack::Spooled);
    }
    assert_eq!(writer.drain(Duration::from_millis(100)).await.rows_left(), 5);
}

/// Applies the statements that the sync proposes to make the table match the schema, and returns
/// them.
async fn change_table(database: &Database, store: &ClickHouseUrl) -> Vec<String> {
    let mut statements = Vec::new();
    while let Err(error) = sync(store, &tables::SCHEMA).await {
        assert!(!error.differences().is_empty(), "{error}");
        for difference in error.differences() {
            database.query(&difference.statement);
            statements.push(difference.statement.clone());
        }
    }
    statements
}

#[test]
fn waiting_rows_with_old_names_arrive_under_the_new_names() {
    let database = Database::create("renamed");
    let store: ClickHouseUrl = database.url().parse().unwrap();
    let data = tempfile::tempdir().unwrap();
    Runtime::new().unwrap().block_on(async {
        sync(&store, &EARLIER_SCHEMA).await.unwrap();
        database.query("INSERT INTO renamed VALUES (100, 7.25, 'Oslo')");
        leave_rows(data.path()).await;

        // The plan does not add the new columns beside the old ones.
        let error = plan(&store, &tables::SCHEMA).await.unwrap_err();
        let statements: Vec<_> = error
            .differences()
            .iter()
            .map(|difference| &*difference.statement)
            .collect();
        let alter = |change| format!("ALTER TABLE `{}`.`renamed` {change}", database.name);
        let renames = ["RENAME COLUMN `sum` TO `total`", "RENAME COLUMN `town` TO `city`"].map(alter);
        assert_eq!(statements, renames);
        let types = [
            "MODIFY COLUMN `total` Decimal(18, 4)",
            "MODIFY COLUMN `city` LowCardinality(String)",
        ]
        .map(alter);
        assert_eq!(change_table(&database, &store).await, [renames, types].concat());

        let stores = Servers::without_sync(store.clone());
        let writer = Writer::open(&tables::SCHEMA, stores, &WriterOptions::default(), data.path()).unwrap();
        let report = writer.drain(Duration::from_secs(60)).await;
        assert!(report.is_complete(), "{report:?}");
    });
    assert_eq!(
        database.query("SELECT groupArray((id, toString(total), city, note)) FROM (SELECT * FROM renamed ORDER BY id)"),
        "[(0,'0.1','Roma',''),(1,'1.1','Roma',''),(2,'2.1','Roma',''),(3,'3.1','Roma',''),(4,'4.1','Roma',''),\
         (100,'7.25','Oslo','')]\n"
    );
    assert_eq!(database.count("rejected"), 0);
}
