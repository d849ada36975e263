//! What `plan` shows and `apply` does beside the cells of the matrix: changes that would lose values,
//! and changes by hand.

use ::evolution::{narrow, remove, rename};
use rowmill_ingest::{
    ClickHouseUrl,
    schema::{Drift, Impact, SyncReport, apply_drift, drift, sync},
    table::Schema,
};
use tokio::runtime::Runtime;

use crate::support::engine::Database;

/// A database with the tables of a schema.
struct Synced {
    database: Database,
    url: ClickHouseUrl,
    runtime: Runtime,
}

impl Synced {
    fn new(schema: &'static Schema) -> Self {
        let database = Database::create("evolution_plan");
        let url = database.url().parse().unwrap();
        let synced = Self {
            database,
            url,
            runtime: Runtime::new().unwrap(),
        };
        synced.sync(schema);
        synced
    }

    fn sync(&self, schema: &'static Schema) -> SyncReport {
        let synced = self.runtime.block_on(sync(&self.url, schema));
        synced.unwrap_or_else(|error| panic!("{error}"))
    }

    fn drifts(&self, schema: &'static Schema) -> Vec<Drift> {
        self.runtime.block_on(drift(&self.url, schema)).unwrap().drifts
    }

    fn apply(&self, schema: &'static Schema, allowed: Impact) {
        self.runtime.block_on(async {
            let report = drift(&self.url, schema).await.unwrap();
            let refused = apply_drift(&self.url, &report, |drift| drift.impact == allowed).await;
            assert!(refused.unwrap().is_empty());
        });
    }

    fn columns(&self, table: &str) -> String {
        self.database.query(&format!(
            "SELECT arrayStringConcat(groupArray(name || ' ' || type), ',') FROM (SELECT name, type FROM system.columns \
             WHERE database = currentDatabase() AND table = '{table}' ORDER BY position)"
        ))
    }
}

#[test]
fn a_change_that_would_lose_values_needs_its_permission() {
    let synced = Synced::new(&narrow::before::SCHEMA);
    let database = &synced.database;
    database.query("INSERT INTO narrow VALUES (1, 1, 255, 'a'), (2, 2, 256, 'b'), (3, 3, 300, 'c')");
    let schema = &narrow::after::SCHEMA;
    let drifts = synced.drifts(schema);
    let [drift] = &drifts[..] else { panic!("{drifts:?}") };
    assert_eq!(
        (drift.impact, &*drift.difference, drift.stops_start),
        (
            Impact::Lossy,
            "column `amount` is UInt32 in the database and UInt8 in the schema; 2 of its values would change",
            false
        )
    );
    synced.apply(schema, Impact::Rewrite);
    assert_eq!(synced.drifts(schema), drifts);
    // A start converts its rows, and leaves the column as it is.
    let report = synced.sync(schema);
    assert_eq!(report.statements, [""; 0]);
    assert!(
        report.notes[0].contains("the collector's rows are converted"),
        "{report:?}"
    );
    synced.apply(schema, Impact::Lossy);
    assert_eq!(synced.drifts(schema), []);
    assert_eq!(
        database.query("SELECT groupArray(amount) FROM (SELECT amount FROM narrow ORDER BY id)"),
        "[255,0,44]\n"
    );
    assert!(
        !database
            .query("SHOW CREATE TABLE narrow")
            .contains("max_parts_in_total")
    );
}

#[test]
fn a_value_that_clickhouse_cannot_convert_leaves_no_statement() {
    let synced = Synced::new(&narrow::after::SCHEMA);
    let database = &synced.database;
    database.query("ALTER TABLE narrow MODIFY COLUMN amount String");
    database.query("INSERT INTO narrow VALUES (1, 1, 'a secret', 'a')");
    let drifts = synced.drifts(&narrow::after::SCHEMA);
    let [drift] = &drifts[..] else { panic!("{drifts:?}") };
    assert!(
        drift.difference.contains("ClickHouse cannot convert a value") && !drift.difference.contains("secret"),
        "{drift}"
    );
    assert_eq!((drift.impact, drift.statements.len()), (Impact::Lossy, 0));
    // With a number as a text, the plan has a statement.
    database.query("TRUNCATE TABLE narrow");
    database.query("INSERT INTO narrow VALUES (1, 1, '7', 'a')");
    synced.apply(&narrow::after::SCHEMA, Impact::Rewrite);
    assert_eq!(
        database.query("SELECT toTypeName(amount), amount FROM narrow"),
        "UInt8\t7\n"
    );
}

#[test]
fn a_rename_by_hand_is_recorded_by_the_next_start() {
    let synced = Synced::new(&rename::before::SCHEMA);
    let columns = "id UInt64,number UInt32,city LowCardinality(String)\n";
    for change in [
        "RENAME COLUMN town TO city",
        "MODIFY COLUMN city LowCardinality(String)",
    ] {
        synced.database.query(&format!("ALTER TABLE rename {change}"));
    }
    for _ in 0..2 {
        synced.sync(&rename::after::SCHEMA);
    }
    let report = synced.sync(&rename::before::SCHEMA);
    assert_eq!(report.statements, [""; 0]);
    assert_eq!(synced.columns("rename"), columns);
    assert_eq!(
        synced
            .database
            .query("SELECT table, column, new_name FROM rowmill_column_changes"),
        "rename\ttown\tcity\n"
    );
}

#[test]
fn apply_of_the_old_version_adds_a_dropped_column_again() {
    let synced = Synced::new(&remove::before::SCHEMA);
    synced.apply(&remove::after::SCHEMA, Impact::Drop);
    let (with, without) = (
        "id UInt64,number UInt32,town String,spare String\n",
        "id UInt64,number UInt32,town String\n",
    );
    let report = synced.sync(&remove::before::SCHEMA);
    assert_eq!(synced.columns("remove"), without);
    assert!(report.notes[0].contains("was dropped from the database"), "{report:?}");
    synced.apply(&remove::before::SCHEMA, Impact::Safe);
    assert_eq!(synced.columns("remove"), with);
    // The column is there, so the record no longer counts.
    assert_eq!(synced.sync(&remove::before::SCHEMA).notes, [""; 0]);
}
