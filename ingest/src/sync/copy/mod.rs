//! Copies a table that needs another key, partition key or fixed setting while collectors insert.
//!
//! ClickHouse cannot change these in an existing table. The rows have ids of the collector that no
//! two rows share, so the steps can be repeated, and the database itself contains their state:
//!
//! 1. The copy creates the new table, `rowmill_copy_<table>`, with the schema's definition.
//! 2. It inserts the rows whose ids the new table lacks, by ranges of ids, while collectors insert
//!    into the old table. It repeats this for parts that are new since, until little is left.
//! 3. It closes the old table to inserts: ClickHouse refuses them before it writes anything, and
//!    collectors retry them. It waits for the inserts that had begun.
//! 4. It inserts the remaining rows, and compares the numbers of rows.
//! 5. It closes the new table, too, and exchanges the names of both tables.
//! 6. It opens the new table. Collectors insert into it.
//!
//! The old table stays closed, under the name of the new one. After a kill, the next copy goes
//! through all steps again; rows that are already copied are skipped by their ids. If the tables
//! are exchanged, only the last step is left. A part is immutable, so parts that existed before a
//! complete pass need no other pass.
//!
//! ClickHouse keeps a view with the name of the table that its query reads, so that the rows of the
//! copy itself reach no view, and those after the exchange reach all of them. For a moment within
//! the exchange, ClickHouse may find no views for an insert; no insert runs then.
//!
//! A fault may leave rows in the old table that its views lack. The collector sends them again, and
//! only the old table knows their token. So the copy gives the collectors time for it before it
//! closes the table, and `deliver::lookup` decides nothing about rows in a closed table.
//!
//! ```text
//! disk     whether the disks have the space
//! facts    what a copy needs to know, and why a table cannot be copied
//! lock     one copy of a table at a time
//! pass     inserts the rows that the new table lacks
//! ```

mod disk;
mod facts;
mod lock;
mod pass;

use std::time::{Duration, Instant};

use clickhouse::Client;
use tokio::time::sleep;

use self::{facts::Facts, lock::Lock, pass::Pass};
use super::{
    Kind, STATEMENT_TIMEOUT, SyncError,
    copy_table::CLOSED,
    drift::{DriftReport, Impact},
    run,
};
use crate::{
    store::{ClickHouseUrl, quoted, within},
    table::{Schema, Table},
};

/// The maximum number of passes while the old table is open.
const MAX_OPEN_PASSES: u32 = 10;

/// A pass that takes less time than this leaves little for the last one.
const SHORT_PASS: Duration = Duration::from_secs(2);

/// The longest time for which the copy waits for the inserts that had begun.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// The time in which a collector sends rows again after a fault: more than the longest wait between
/// two tries.
const RETRY_TIME: Duration = Duration::from_secs(15);

/// The longest time from a collector's lookup of rows to the statement that sends them again.
const LOOKUP_TIME: Duration = Duration::from_secs(5);

/// The way to a table that ClickHouse cannot change in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPlan {
    /// The table's name.
    pub table: &'static str,
    /// The steps of the copy, as statements and sentences.
    pub steps: Vec<String>,
    /// The reason why [`copy()`] refuses the table, as a clause.
    pub obstacle: Option<String>,
}

/// Returns the plan of the copy of each table that has a difference that ClickHouse cannot change
/// in place.
///
/// # Errors
/// ClickHouse is unreachable, or the user lacks the permission.
pub async fn plan_copies(
    url: &ClickHouseUrl,
    schema: &Schema,
    report: &DriftReport,
) -> Result<Vec<CopyPlan>, SyncError> {
    let mut plans: Vec<CopyPlan> = Vec::new();
    let impossible = report.drifts.iter().filter(|drift| drift.impact == Impact::Impossible);
    for table in impossible.filter_map(|drift| table_of(schema, drift.table)) {
        if plans.iter().any(|plan| plan.table == table.name) {
            continue;
        }
        let facts = match Facts::read(url, schema, table).await {
            Ok(facts) => disk::check(&url.client(), &facts).await.map(|_| facts),
            Err(kind) => Err(kind),
        };
        let plan = match facts {
            Ok(facts) => CopyPlan {
                table: table.name,
                steps: facts.steps(),
                obstacle: None,
            },
            Err(Kind::Copy { reason, .. }) => CopyPlan {
                table: table.name,
                steps: Vec::new(),
                obstacle: Some(reason),
            },
            Err(kind) => return Err(kind.at(url)),
        };
        plans.push(plan);
    }
    Ok(plans)
}

/// Replaces the table `name` by one with the schema's definition and the same rows, while
/// collectors insert. `progress` gets a sentence after each step.
///
/// The function can be repeated after a failure or a kill, and continues. The table before the copy
/// is `rowmill_copy_<name>` afterwards.
///
/// # Errors
/// The table cannot be copied, ClickHouse is unreachable, or refuses a statement. The table still
/// accepts inserts, unless ClickHouse is unreachable in the meantime.
pub async fn copy(url: &ClickHouseUrl, schema: &Schema, name: &str, progress: impl Fn(&str)) -> Result<(), SyncError> {
    let Some(table) = table_of(schema, name) else {
        return Ok(());
    };
    copy_table(url, schema, table, progress)
        .await
        .map_err(|kind| kind.at(url))
}

fn table_of(schema: &Schema, name: &str) -> Option<&'static Table> {
    schema.tables.iter().copied().find(|table| table.name == name)
}

async fn copy_table(
    url: &ClickHouseUrl,
    schema: &Schema,
    table: &'static Table,
    progress: impl Fn(&str),
) -> Result<(), Kind> {
    // The facts are read under the lock, so that no other copy changes them.
    let _lock = Lock::take(url, table).await?;
    if facts::is_done(url, table).await? {
        progress("the table has the schema's definition");
        return Ok(());
    }
    let facts = Facts::read(url, schema, table).await?;
    let client = url.client();
    if facts.is_exchanged {
        open_new(&client, &facts, &progress).await?;
        return Pass::new(&client, &facts).check_old(&progress).await;
    }
    if let Some(note) = disk::check(&client, &facts).await? {
        progress(&note);
    }
    let mut reopened = None;
    if facts.is_closed {
        // An earlier copy has ended before the exchange.
        run(&client, &facts.reopen_old()).await?;
        reopened = Some(Instant::now());
    }
    if facts.is_copy_closed {
        run(&client, &facts.open_new(&facts.copy)).await?;
    }
    if !facts.has_copy {
        // ClickHouse notes the times of mutations and tables in seconds: an earlier mutation must
        // have an earlier time.
        sleep(Duration::from_secs(1)).await;
        run(&client, &facts.create).await?;
        progress(&format!("{} is created", quoted(&facts.copy)));
    }
    let facts = Facts::read(url, schema, table).await?;
    let mut pass = Pass::new(&client, &facts);
    pass.check_ids().await?;
    for number in 1..=MAX_OPEN_PASSES {
        let started = Instant::now();
        let rows = pass.run(&progress).await?;
        progress(&format!(
            "pass {number}: the rows that {} lacked are copied; rows in the parts that were read: {rows}",
            quoted(&facts.copy)
        ));
        if started.elapsed() < SHORT_PASS {
            break;
        }
    }
    if !facts.views.is_empty() {
        settle(&client, reopened).await?;
    }
    let prepared = async {
        run(&client, &closed(table.name)).await?;
        progress("the table is closed to inserts; collectors keep new rows and retry");
        finish(url, schema, &facts, &mut pass, &progress).await
    };
    if let Err(kind) = prepared.await {
        // The error of the copy takes precedence.
        let _ = run(&client, &facts.reopen_old()).await;
        return Err(kind);
    }
    exchange(&client, &facts).await?;
    progress(&format!(
        "the tables are exchanged; the previous table is {}",
        quoted(&facts.copy)
    ));
    open_new(&client, &facts, &progress).await?;
    pass.check_old(&progress).await
}

/// Copies the remaining rows of a closed table, and closes the new one.
async fn finish(
    url: &ClickHouseUrl,
    schema: &Schema,
    facts: &Facts,
    pass: &mut Pass<'_>,
    progress: &impl Fn(&str),
) -> Result<(), Kind> {
    let client = url.client();
    if !facts.views.is_empty() {
        // A collector that has found its rows in the open table sends them to its views.
        sleep(LOOKUP_TIME).await;
    }
    wait_for_inserts(&client, facts).await?;
    let now = Facts::read(url, schema, facts.table).await?;
    if !now.is_closed || now.columns != facts.columns || now.created != facts.created || now.views != facts.views {
        return Err(facts.refused("another statement has changed one of both tables during the copy"));
    }
    now.check_mutations(&client).await?;
    pass.run(progress).await?;
    let (old, new) = (
        count(&client, facts.table.name).await?,
        count(&client, &facts.copy).await?,
    );
    // A TTL deletes rows in either table at any time.
    if old != new && !facts.has_ttl {
        return Err(facts.refused(&format!(
            "the table has {old} rows and its copy {new}: rows were deleted during the copy, or several rows have \
             one id; drop {} and start again",
            quoted(&facts.copy)
        )));
    }
    run(&client, &closed(&facts.copy)).await?;
    progress("both tables are closed to inserts");
    Ok(())
}

/// Exchanges the tables, which are both closed. The views over the old table are over the new one
/// afterwards.
///
/// # Errors
/// ClickHouse refuses the exchange, or has lost a view by it: the tables have their names, and the
/// old one is open. After any other error, the exchange may still happen, so both remain closed until
/// the copy is repeated.
async fn exchange(client: &Client, facts: &Facts) -> Result<(), Kind> {
    let exchange = format!(
        "EXCHANGE TABLES {} AND {}",
        quoted(facts.table.name),
        quoted(&facts.copy)
    );
    match run(client, &exchange).await {
        Ok(()) => {}
        Err(Kind::Server { doing, error }) if !error.is_transient() => {
            // The error of the exchange takes precedence.
            let _ = run(client, &facts.reopen_old()).await;
            return Err(Kind::Server { doing, error });
        }
        Err(kind) => return Err(kind),
    }
    let query = client
        .query(
            "SELECT arrayJoin(arraySort(arrayMap((d, n) -> d || '.' || n, dependencies_database, dependencies_table))) \
             FROM system.tables WHERE database = currentDatabase() AND name = ?",
        )
        .bind(facts.table.name);
    let views: Vec<String> = within(STATEMENT_TIMEOUT, query.fetch_all())
        .await
        .map_err(|error| Kind::of("reading the views over the new table", error))?;
    if views == facts.views {
        return Ok(());
    }
    run(client, &exchange).await?;
    run(client, &facts.reopen_old()).await?;
    Err(facts.refused(&format!(
        "this version of ClickHouse does not keep views ({}) with the name of their table when tables are exchanged; \
         both tables have their names again",
        facts.views.join(", ")
    )))
}

/// Lets collectors insert into the new table, which has the old table's name.
async fn open_new(client: &Client, facts: &Facts, progress: &impl Fn(&str)) -> Result<(), Kind> {
    run(client, &facts.open_new(facts.table.name)).await?;
    progress("the new table is open: collectors insert into it");
    Ok(())
}

/// Returns the statement that closes a table.
fn closed(table: &str) -> String {
    format!("ALTER TABLE {} MODIFY SETTING {CLOSED}", quoted(table))
}

/// Waits until collectors have sent rows again whose outcome a fault has left unknown: until some
/// time after the start of ClickHouse, and after the table was opened again.
async fn settle(client: &Client, reopened: Option<Instant>) -> Result<(), Kind> {
    let select = "SELECT toUInt64(uptime())";
    let uptime: u64 = within(STATEMENT_TIMEOUT, client.query_raw(select).fetch_one())
        .await
        .map_err(|error| Kind::of(select, error))?;
    let up = Duration::from_secs(uptime);
    let open = reopened.map_or(up, |at| up.min(at.elapsed()));
    sleep(RETRY_TIME.saturating_sub(open)).await;
    Ok(())
}

/// Waits until no insert runs that may have begun before the table was closed.
async fn wait_for_inserts(client: &Client, facts: &Facts) -> Result<(), Kind> {
    let running = "SELECT query_id FROM system.processes \
                   WHERE query_kind NOT IN ('Select', 'Show', 'Describe', 'Explain', 'System', 'Set', 'Use')";
    let read = || async {
        let ids = within(STATEMENT_TIMEOUT, client.query_raw(running).fetch_all::<String>()).await;
        ids.map_err(|error| Kind::of("reading the inserts that run", error))
    };
    let mut begun = read().await?;
    let started = Instant::now();
    while !begun.is_empty() {
        if started.elapsed() > MAX_WAIT {
            return Err(facts.refused("a statement that may write to the table has been running for minutes"));
        }
        sleep(Duration::from_millis(50)).await;
        let now = read().await?;
        begun.retain(|id| now.contains(id));
    }
    Ok(())
}

async fn count(client: &Client, table: &str) -> Result<u64, Kind> {
    let count = format!("SELECT count() FROM {}", quoted(table));
    within(STATEMENT_TIMEOUT, client.query_raw(&count).fetch_one())
        .await
        .map_err(|error| Kind::of(count.clone(), error))
}
