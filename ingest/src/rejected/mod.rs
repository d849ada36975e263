//! Replays dead letters of rows that ClickHouse has refused.
//!
//! Such a dead letter has the whole row, its format, and the names and types of its columns. The
//! row is inserted into the current table like a row of another build (`deliver/adapt.rs`):
//! ClickHouse converts each value by its type. Before rows are sent, the replay looks up their ids
//! in the table, so that no row is stored twice. Rows without an id, and rows of an engine that
//! does not keep each row, are sent one by one under a token that follows from the dead letter.
//!
//! ```text
//! dead_letters   the dead letters in `rejected`
//! report         the result of a replay
//! ```

mod dead_letters;
mod report;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hasher,
    sync::Arc,
    time::{Duration, SystemTime},
};

use twox_hash::XxHash64;

use self::dead_letters::{Batch, DeadLetters};
pub use self::report::{RejectedError, RejectedReport, RejectedTable};
use crate::{
    block::{Block, layout::InsertTarget},
    deliver::{
        Changes, ColumnChanges, Failure, Origin, adapt,
        compress::{Compressor, Form},
        keeps_each_row,
    },
    store::{Class, ClickHouseError, ClickHouseUrl, Connection, InsertRequest, quoted, within},
    table::Schema,
};

/// The number of tokens to try: rows that ClickHouse confirms, but does not show, are sent once
/// more under another token.
const GENERATIONS: u32 = 2;

/// Which dead letters [`replay`] replays, and how.
///
/// ```
/// use rowmill_ingest::rejected::RejectedReplay;
///
/// let options = RejectedReplay { is_dry_run: true, ..RejectedReplay::default() };
/// # assert!(!options.deletes_dead_letters);
/// ```
#[derive(Debug, Clone)]
pub struct RejectedReplay {
    /// Only rows of this table.
    pub table: Option<String>,
    /// Only rows that were refused at this time or later.
    pub since: Option<SystemTime>,
    /// Only rows whose code is this text, or whose reason contains it.
    pub reason: Option<String>,
    /// Changes of columns since the rows were written, in addition to the schema's `was:`.
    pub column_changes: ColumnChanges,
    /// Sends and deletes nothing; the report counts the rows that a replay would send.
    pub is_dry_run: bool,
    /// Deletes dead letters whose rows are in their table.
    pub deletes_dead_letters: bool,
    /// The timeout of one request to ClickHouse.
    pub timeout: Duration,
}

impl Default for RejectedReplay {
    fn default() -> Self {
        Self {
            table: None,
            since: None,
            reason: None,
            column_changes: ColumnChanges::default(),
            is_dry_run: false,
            deletes_dead_letters: false,
            timeout: Duration::from_secs(60),
        }
    }
}

/// Sends rows that ClickHouse has refused, and that are now dead letters, into their tables once
/// more.
///
/// Collectors may run meanwhile. Dead letters stay unless [`RejectedReplay::deletes_dead_letters`]
/// is set. If a request fails with a transient error, the replay stops, and
/// [`RejectedReport::interrupted`] has the error: another replay continues from there.
///
/// # Errors
///
/// The dead letters cannot be read from ClickHouse, or the given table does not exist.
///
/// # Examples
///
/// ```no_run
/// # use embedder::tables;
/// use rowmill_ingest::{ClickHouseUrl, rejected::{RejectedReplay, replay}};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let clickhouse: ClickHouseUrl = "http://127.0.0.1:8123/stats".parse()?;
/// let options = RejectedReplay {
///     table: Some("orders".to_owned()),
///     ..RejectedReplay::default()
/// };
/// let report = replay(&clickhouse, &tables::SCHEMA, &options).await?;
/// println!("{report:?}");
/// # Ok(())
/// # }
/// ```
pub async fn replay(
    url: &ClickHouseUrl,
    schema: &Schema,
    options: &RejectedReplay,
) -> Result<RejectedReport, RejectedError> {
    let client = url.client();
    let dead_letters = DeadLetters::list(&client, options).await?;
    if let Some(table) = &options.table
        && dead_letters.is_empty()
        && !schema.tables.iter().any(|known| known.name == table)
    {
        return Err(RejectedError::NoTable {
            table: table.clone(),
            known: schema.tables.iter().map(|table| table.name).collect(),
        });
    }
    let mut replay = Replay {
        connection: Connection::new(url, Vec::new()),
        compressor: Arc::default(),
        changes: Changes::new(options.column_changes.clone(), schema),
        schema,
        options,
        targets: HashMap::new(),
        tables: dead_letters.counts(),
        deleted: 0,
    };
    let mut interrupted = None;
    for batch in dead_letters.batches() {
        if let Err(error) = replay.batch(&dead_letters, &batch).await {
            interrupted = Some(error);
            break;
        }
    }
    Ok(RejectedReport {
        tables: replay.tables.into_values().collect(),
        deleted: replay.deleted,
        interrupted,
    })
}

/// The destination of the rows of one layout.
#[derive(Debug, Clone)]
enum Target {
    Table {
        layout: Arc<InsertTarget>,
        form: Form,
        /// The column for looking up rows; `None` if only a token identifies them.
        id: Option<String>,
    },
    /// The rows do not fit into the current table, for this reason.
    Misfit(String),
}

/// A row to send.
#[derive(Debug)]
struct Row {
    dead_letter: u64,
    /// The row's own id, if it has one.
    id: Option<u64>,
    bytes: Vec<u8>,
}

/// ClickHouse's responses for sent rows.
#[derive(Debug, Default)]
struct Sent {
    confirmed: Vec<Row>,
    refused: Vec<(Row, String)>,
    /// The reason why the other rows were not sent.
    error: Option<ClickHouseError>,
}

/// The results of sent rows.
#[derive(Debug, Default)]
struct Outcome {
    /// The dead letters of rows that are in the table now.
    stored: Vec<u64>,
    /// The reason for each refused row.
    refused: Vec<String>,
    /// The number of rows that ClickHouse confirms each time they are sent, but does not show.
    missing: u64,
    error: Option<ClickHouseError>,
}

#[derive(Debug)]
struct Replay<'a> {
    connection: Connection,
    compressor: Arc<Compressor>,
    changes: Changes,
    schema: &'a Schema,
    options: &'a RejectedReplay,
    /// The targets, by the index of their layout.
    targets: HashMap<usize, Target>,
    tables: BTreeMap<String, RejectedTable>,
    deleted: u64,
}

impl Replay<'_> {
    async fn batch(&mut self, dead_letters: &DeadLetters, batch: &Batch<'_>) -> Result<(), ClickHouseError> {
        let (layout, form, id) = match self.target(dead_letters, batch.layout).await? {
            Target::Misfit(reason) => {
                let rows = batch.dead_letters.len() as u64;
                let counts = self.counts(dead_letters, batch);
                *counts.refused.entry(reason).or_default() += rows;
                return Ok(());
            }
            Target::Table { layout, form, id } => (layout, form, id),
        };
        let payloads = dead_letters
            .payloads(&self.connection.queries, batch, self.options.timeout)
            .await?;
        let rows = with_ids(&layout, payloads);
        let id = id.filter(|_| rows.iter().all(|row| row.id.is_some()));
        let stored_ids = match &id {
            Some(column) => self.stored_ids(&layout.table, column, rows.iter()).await?,
            None => HashSet::new(),
        };
        let is_stored = |row: &Row| row.id.is_some_and(|id| stored_ids.contains(&id));
        let (found, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_stored);
        let is_dry_run = self.options.is_dry_run;
        let counts = self.counts(dead_letters, batch);
        counts.is_known_by_token |= id.is_none();
        counts.found += found.len() as u64;
        if is_dry_run {
            counts.ready += rows.len() as u64;
            return Ok(());
        }
        let outcome = self.send_all(&layout, &form, id.as_deref(), rows).await;
        let counts = self.counts(dead_letters, batch);
        counts.stored += outcome.stored.len() as u64;
        counts.missing += outcome.missing;
        for reason in outcome.refused {
            *counts.refused.entry(reason).or_default() += 1;
        }
        let done: Vec<u64> = found.iter().map(|row| row.dead_letter).chain(outcome.stored).collect();
        if self.options.deletes_dead_letters && !done.is_empty() {
            dead_letters::delete(&self.connection.queries, &done, self.options.timeout).await?;
            self.deleted += done.len() as u64;
        }
        outcome.error.map_or(Ok(()), Err)
    }

    fn counts(&mut self, dead_letters: &DeadLetters, batch: &Batch<'_>) -> &mut RejectedTable {
        self.tables
            .entry(dead_letters.table_of(batch.layout).to_owned())
            .or_default()
    }

    /// Returns the destination of a layout's rows.
    async fn target(&mut self, dead_letters: &DeadLetters, layout: usize) -> Result<Target, ClickHouseError> {
        if let Some(target) = self.targets.get(&layout) {
            return Ok(target.clone());
        }
        let target = self.find_target(dead_letters, layout).await?;
        self.targets.insert(layout, target.clone());
        Ok(target)
    }

    async fn find_target(&self, dead_letters: &DeadLetters, layout: usize) -> Result<Target, ClickHouseError> {
        let table = dead_letters.table_of(layout);
        let Some(layout) = dead_letters.layout(layout) else {
            return Ok(Target::Misfit("the dead letter's columns cannot be read".to_owned()));
        };
        let (client, timeout) = (&self.connection.queries, self.options.timeout);
        let engine = client
            .query("SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = ?")
            .bind(table);
        let Some(engine) = within(timeout, engine.fetch_optional::<String>()).await? else {
            return Ok(Target::Misfit("the database has no such table".to_owned()));
        };
        let form = match adapt(client, &layout, &self.changes, Origin::AnotherBuild, timeout).await {
            Ok(form) => form,
            Err(Failure::Server(error)) => return Err(error),
            Err(failure) => return Ok(Target::Misfit(failure.without_values())),
        };
        let schema_table = self.schema.tables.iter().find(|known| known.name == table);
        let id = match schema_table {
            Some(table) => table.row_id,
            None => layout.row_id.map(|index| &*layout.columns[index].name),
        };
        let id = id
            .filter(|_| layout.row_id.is_some() && keeps_each_row(&engine))
            .map(str::to_owned);
        Ok(Target::Table {
            layout: Arc::new(layout),
            form,
            id,
        })
    }

    /// Returns which of the rows' ids are in the table.
    async fn stored_ids(
        &self,
        table: &str,
        column: &str,
        rows: impl Iterator<Item = &Row>,
    ) -> Result<HashSet<u64>, ClickHouseError> {
        let ids: Vec<_> = rows.filter_map(|row| row.id).collect();
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let select = format!(
            "SELECT DISTINCT toUInt64({column}) FROM {table} WHERE {column} IN ({})",
            dead_letters::list(&ids),
            column = quoted(column),
            table = quoted(table),
        );
        let query = self.connection.queries.query_raw(&select);
        let stored_ids: Vec<u64> = within(self.options.timeout, query.fetch_all()).await?;
        Ok(stored_ids.into_iter().collect())
    }

    /// Sends rows until each of them is stored or refused, or ClickHouse is unavailable.
    async fn send_all(&self, layout: &Arc<InsertTarget>, form: &Form, id: Option<&str>, rows: Vec<Row>) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(id) = id else {
            for row in rows {
                let Sent {
                    confirmed,
                    refused,
                    error,
                } = self.send(layout, form, vec![row], 0).await;
                outcome.stored.extend(confirmed.iter().map(|row| row.dead_letter));
                outcome.refused.extend(refused.into_iter().map(|(_, reason)| reason));
                outcome.error = error;
                if outcome.error.is_some() {
                    break;
                }
            }
            return outcome;
        };
        let mut remaining = rows;
        for generation in 0..GENERATIONS {
            let sent = self.send(layout, form, remaining, generation).await;
            let all = sent.confirmed.iter().chain(sent.refused.iter().map(|(row, _)| row));
            let stored_ids = self.stored_ids(&layout.table, id, all).await;
            let (stored_ids, error) = match (stored_ids, sent.error) {
                (Ok(stored_ids), error) => (stored_ids, error),
                // Without the lookup, no row counts as stored, and each keeps its dead letter.
                // Another replay looks up the rows of the dead letters that remain.
                (Err(lookup), error) => (HashSet::new(), error.or(Some(lookup))),
            };
            let is_stored = |row: &Row| row.id.is_some_and(|id| stored_ids.contains(&id));
            // A view can refuse rows that the table has accepted.
            for (row, reason) in sent.refused {
                if is_stored(&row) {
                    outcome.stored.push(row.dead_letter);
                } else {
                    outcome.refused.push(reason);
                }
            }
            let (stored, missing): (Vec<_>, Vec<_>) = sent.confirmed.into_iter().partition(is_stored);
            outcome.stored.extend(stored.iter().map(|row| row.dead_letter));
            if error.is_some() {
                outcome.error = error;
                return outcome;
            }
            remaining = missing;
            if remaining.is_empty() {
                break;
            }
        }
        outcome.missing = remaining.len() as u64;
        outcome
    }

    /// Sends rows in one insert, and bisects them while ClickHouse refuses them.
    async fn send(&self, layout: &Arc<InsertTarget>, form: &Form, rows: Vec<Row>, generation: u32) -> Sent {
        let mut sent = Sent::default();
        let mut parts = vec![rows];
        while let Some(mut rows) = parts.pop() {
            if rows.is_empty() {
                continue;
            }
            match self.insert(layout, form, &rows, generation).await {
                Ok(()) => sent.confirmed.append(&mut rows),
                Err(error) => match error.class() {
                    Class::Refused | Class::TooLarge if rows.len() > 1 => {
                        let half = rows.split_off(rows.len() / 2);
                        parts.extend([half, rows]);
                    }
                    Class::Refused | Class::TooLarge | Class::Hold => {
                        let reason = error.without_values();
                        sent.refused.extend(rows.into_iter().map(|row| (row, reason.clone())));
                    }
                    Class::Retry => {
                        sent.error = Some(error);
                        break;
                    }
                },
            }
        }
        sent
    }

    async fn insert(
        &self,
        layout: &Arc<InsertTarget>,
        form: &Form,
        rows: &[Row],
        generation: u32,
    ) -> Result<(), ClickHouseError> {
        let mut block = Block::default();
        for row in rows {
            block.append(|out| out.extend_from_slice(&row.bytes), |_| true);
        }
        let Some(block) = block.seal(layout).map(Arc::new) else {
            return Ok(());
        };
        let Some(content) = block.state().content.clone() else {
            return Ok(());
        };
        let compressing = self.compressor.compress(&block, content, form.clone());
        let compressed = compressing.done().await?;
        // Concurrent replays, and an attempt after a lost response, use the same token.
        let token = format!("rejected:{:x}:{}@{generation}", digest(rows), rows.len());
        let query_id = format!("rowmill-rejected-{:x}", fastrand::u64(..));
        let request = InsertRequest {
            statement: compressed.statement(&block),
            token: &token,
            query_id: &query_id,
            rows: rows.len(),
            frames: compressed.frames.clone(),
            ignores_views: false,
            settings: self.changes.insert_settings(&layout.table),
        };
        self.connection.inserts.insert(request, self.options.timeout).await
    }
}

/// Returns a hash of the rows' dead letters.
fn digest(rows: &[Row]) -> u64 {
    let mut hash = XxHash64::with_seed(0);
    for row in rows {
        hash.write(&row.dead_letter.to_le_bytes());
    }
    hash.finish()
}

/// Returns the rows with their own ids, if they have any.
fn with_ids(layout: &InsertTarget, payloads: Vec<(u64, Vec<u8>)>) -> Vec<Row> {
    let id_of = |bytes: &[u8]| {
        let end = u32::try_from(bytes.len()).ok()?;
        layout.row_ids(bytes, &[end])?.first().copied()
    };
    let row = |(dead_letter, bytes): (u64, Vec<u8>)| Row {
        dead_letter,
        id: id_of(&bytes),
        bytes,
    };
    payloads.into_iter().map(row).collect()
}
