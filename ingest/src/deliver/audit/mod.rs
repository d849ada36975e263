//! Compares the number of rows that ClickHouse has confirmed with the number of rows in the table.
//!
//! A response, a token and a lookup prove that a row was stored at one moment. Only counting
//! detects a disk that loses a part later, a backup restored over a table, and an error of the
//! collector itself.
//!
//! The audit knows the ids that this process has confirmed, and queries the same range of ids.
//! Waiting rows and dead letters are not confirmed, so they do not count as missing. The audit does
//! not know the rows that an earlier process has confirmed.

mod slices;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use clickhouse::Client;
use tokio::time::sleep;

use self::slices::{Difference, DueSlice, SLICE_MS, SliceKey, Slices, Stored};
use super::lookup::keeps_each_row;
use crate::{
    block::layout::InsertTarget,
    deliver::{backend::Backend, servers::ServerPool},
    ids::base::{PLACE_BITS, SEQUENCE_BITS},
    spool::{Counters, Spool, TableId, TableReader},
    store::{ClickHouseError, Connection, failure_log::is_interval_over, quoted, within},
};

/// The longest time between two checks for slices that are due.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The maximum number of slices in one query.
const MAX_SLICES: usize = 200;

/// The counts of confirmed rows of all tables.
#[derive(Debug)]
pub(crate) struct Audit {
    /// The time between a row's confirmation and its comparison.
    after: Duration,
    /// The counts of each table, by the index of its id.
    tables: Vec<Mutex<Slices>>,
}

/// Whether the audit can count the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Countable {
    Unknown,
    Yes,
    No,
}

impl Audit {
    /// Returns an audit of `tables` tables that compares a row `after` its confirmation.
    pub(crate) fn new(tables: usize, after: Duration) -> Self {
        Self {
            after,
            tables: (0..tables).map(|_| Mutex::default()).collect(),
        }
    }

    /// Counts rows that ClickHouse has confirmed.
    pub(super) fn confirm(&self, table: TableId, ids: &[u64]) {
        self.slices(table).confirm(ids, Instant::now());
    }

    fn slices(&self, table: TableId) -> MutexGuard<'_, Slices> {
        self.tables[table.index()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares the due slices of all tables until the spool is closed. One query may take
    /// `timeout`.
    pub(crate) async fn run(&self, servers: &ServerPool, spool: &Spool, timeout: Duration) {
        let readers = spool.readers().into_iter();
        let mut tables: Vec<_> = readers.map(|reader| (reader, AuditedTable::default())).collect();
        let pause = (self.after / 2).min(MAX_PAUSE);
        while !spool.is_closed() {
            tokio::select! {
                () = sleep(pause) => {}
                () = spool.closed() => return,
            }
            // Each server may have rows that the others lack.
            let Some(connections) = servers.all_with_rows() else {
                continue;
            };
            for (reader, table) in &mut tables {
                let compared = tokio::select! {
                    compared = self.compare(reader, table, &connections, timeout) => compared,
                    () = spool.closed() => return,
                };
                if let Err(error) = compared {
                    table.report_error(reader.layout(), &error);
                }
            }
        }
    }

    /// Compares the slices of a table that are due.
    async fn compare(
        &self,
        reader: &TableReader,
        table: &mut AuditedTable,
        connections: &[Arc<Connection>],
        timeout: Duration,
    ) -> Result<(), ClickHouseError> {
        let layout = reader.layout();
        let Some(column) = layout.row_id.map(|at| &*layout.columns[at].name) else {
            return Ok(());
        };
        if table.countable == Countable::No {
            return Ok(());
        }
        let due = self.slices(reader.id()).due(Instant::now(), self.after);
        if due.is_empty() {
            return Ok(());
        }
        let clients = clients_of(connections, &layout.table, timeout).await?;
        let Some(first) = clients.first() else {
            return Ok(());
        };
        if table.countable == Countable::Unknown {
            table.countable = countable(first, layout, timeout).await?;
            if table.countable != Countable::Yes {
                return Ok(());
            }
        }
        for due in due.chunks(MAX_SLICES) {
            let mut stored: HashMap<SliceKey, Stored> = HashMap::new();
            for client in &clients {
                for (slice, found) in count(client, &layout.table, column, due, timeout).await? {
                    let sum = stored.entry(slice).or_insert(Stored { rows: 0, distinct: 0 });
                    sum.rows += found.rows;
                    sum.distinct += found.distinct;
                }
            }
            self.record(reader, table, due, &stored);
        }
        Ok(())
    }

    fn record(
        &self,
        reader: &TableReader,
        table: &mut AuditedTable,
        due: &[DueSlice],
        stored: &HashMap<SliceKey, Stored>,
    ) {
        let mut slices = self.slices(reader.id());
        let now = Instant::now();
        let mut first_time = 0;
        for slice in due {
            let none = Stored { rows: 0, distinct: 0 };
            first_time += slices.compare(*slice, stored.get(&slice.0).copied().unwrap_or(none), now);
        }
        let difference = slices.difference();
        drop(slices);
        let counters = reader.counters();
        Counters::add(&counters.audit_checked, first_time);
        Counters::set(&counters.audit_missing, difference.missing);
        Counters::set(&counters.audit_duplicate, difference.duplicate);
        table.report(reader.layout(), difference, due);
    }
}

/// The audit's state for a table, apart from the counts.
#[derive(Debug)]
struct AuditedTable {
    countable: Countable,
    reported: Difference,
    reported_at: Option<Instant>,
}

impl Default for AuditedTable {
    fn default() -> Self {
        Self {
            countable: Countable::Unknown,
            reported: Difference::default(),
            reported_at: None,
        }
    }
}

impl AuditedTable {
    /// Logs a difference that has changed, at most once a minute.
    fn report(&mut self, layout: &InsertTarget, difference: Difference, due: &[DueSlice]) {
        if difference == self.reported || !self.may_log() {
            return;
        }
        let Difference { missing, duplicate } = difference;
        let ids = due.iter().map(|(key, _)| key.ids());
        let (first_id, last_id) = ids.fold((u64::MAX, 0), |(first, last), ids| {
            (first.min(*ids.start()), last.max(*ids.end()))
        });
        if difference == Difference::default() {
            tracing::info!(table = %layout.table, "audit: the table has each confirmed row once again");
        } else {
            tracing::error!(
                table = %layout.table, missing, duplicate, first_id, last_id,
                hint = "look for lost or detached parts (system.detached_parts), a restored backup, DELETE or TTL, and a second \
                        collector with the same node number",
                "audit: the table does not have each confirmed row once"
            );
        }
        self.reported = difference;
        self.reported_at = Some(Instant::now());
    }

    fn report_error(&mut self, layout: &InsertTarget, error: &ClickHouseError) {
        if !error.is_transient() {
            // For example, the user may only insert.
            self.countable = Countable::No;
            let (code, error) = (error.code(), error.without_values());
            tracing::warn!(table = %layout.table, code, error, "audit: the rows of the table cannot be counted");
        } else if self.may_log() {
            self.reported_at = Some(Instant::now());
            let (code, error) = (error.code(), error.without_values());
            tracing::warn!(table = %layout.table, code, error, "audit: ClickHouse could not count the rows; the audit retries");
        }
    }

    fn may_log(&self) -> bool {
        self.reported_at.is_none_or(is_interval_over)
    }
}

/// Queries ClickHouse to find out whether the audit can count a table's rows.
async fn countable(client: &Client, layout: &InsertTarget, timeout: Duration) -> Result<Countable, ClickHouseError> {
    let query = client
        .query("SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = ?")
        .bind(&*layout.table);
    let engine = within(timeout, query.fetch_optional::<String>()).await?;
    Ok(match engine {
        // The table has just been dropped, and may be created again.
        None => Countable::Unknown,
        Some(engine) if keeps_each_row(&engine) => Countable::Yes,
        Some(engine) => {
            tracing::info!(table = %layout.table, engine, "audit: a table of this engine is not compared");
            Countable::No
        }
    })
}

/// Returns a client for each store of a table: servers that share the rows are asked once.
async fn clients_of<'c>(
    connections: &'c [Arc<Connection>],
    table: &str,
    timeout: Duration,
) -> Result<Vec<&'c Client>, ClickHouseError> {
    let (mut clients, mut stores) = (Vec::new(), Vec::new());
    for connection in connections {
        let store = match connections.len() {
            1 => None,
            _ => connection.store_of(table, timeout).await?,
        };
        if store.is_none() || !stores.contains(&store) {
            clients.push(&connection.queries);
            stores.push(store);
        }
    }
    Ok(clients)
}

/// Counts a table's rows in each slice.
async fn count(
    client: &Client,
    table: &str,
    column: &str,
    due: &[DueSlice],
    timeout: Duration,
) -> Result<HashMap<SliceKey, Stored>, ClickHouseError> {
    let minutes = due.iter().map(|(key, _)| key.minute);
    let least = minutes.clone().min().unwrap_or_default();
    let most = minutes.max().unwrap_or_default();
    let ids = |minute| SliceKey { minute, place: 0 }.ids();
    let column = quoted(column);
    let select = format!(
        "SELECT toUInt64(intDiv(bitShiftRight({column}, {PLACE_BITS}), {SLICE_MS})) AS minute_, \
         toUInt64(bitShiftRight(bitAnd({column}, {mask}), {SEQUENCE_BITS})) AS place_, \
         count() AS rows_, uniqExact({column}) AS distinct_ \
         FROM {table} WHERE {column} BETWEEN {first} AND {last} GROUP BY minute_, place_ SETTINGS max_threads = 1",
        mask = (1_u64 << PLACE_BITS) - 1,
        table = quoted(table),
        first = ids(least).start(),
        last = ids(most).end(),
    );
    let rows: Vec<(u64, u64, u64, u64)> = within(timeout, client.query_raw(&select).fetch_all()).await?;
    let slices = rows
        .into_iter()
        .map(|(minute, place, rows, distinct)| (SliceKey { minute, place }, Stored { rows, distinct }));
    Ok(slices.collect())
}
