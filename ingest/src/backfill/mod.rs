//! Backfill: fills the table of a materialized view from rows that are older than the view.
//!
//! The view takes the rows from an id on, its cut (`sync/new_views.rs`). The backfill takes the
//! rows before the cut, in pieces. Each piece has four steps, and each step can be repeated after
//! the process or ClickHouse is killed:
//!
//! 1. The ids of the piece's rows go into the table `rowmill_backfill_rows`: rows before the cut
//!    that are in no piece yet. From here on, the content of the piece is fixed, even if more rows
//!    with earlier ids arrive.
//! 2. A record in `rowmill_backfills` states that the insert of the piece may have been sent.
//! 3. The view's query over these rows goes into the view's table: one INSERT SELECT of one block,
//!    under the piece's own deduplication token.
//! 4. A second record states that the piece is done.
//!
//! A piece whose second record is missing is sent again under its token, if every table that
//! receives its rows still remembers that token for certain. Another run of the same backfill adds
//! rows that have arrived late, since they are in no piece.
//!
//! ```text
//! state    the pieces, and the tables that keep them
//! error    the reasons why a backfill ends early
//! ```

mod error;
mod state;

use std::time::{Duration, SystemTime};

use clickhouse::Client;
use tokio::time::sleep;

pub use self::error::BackfillError;
use self::state::{Key, Piece, State};
use crate::{
    ids::{first_id_of, millisecond_of},
    store::{ClickHouseError, ClickHouseUrl, quoted, within},
    sync::{cut_of, existing_view, query_columns, view_drift},
    table::{Schema, Table, View},
};

/// The time after the cut until which an insert of an earlier row is on its way at most. A later
/// one is added by another run.
const SETTLE: Duration = Duration::from_secs(2);

/// The settings of each INSERT SELECT: one block, whose token decides whether it is stored, and a
/// response that means that it is.
const INSERT_SETTINGS: [(&str, &str); 10] = [
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("insert_distributed_sync", "1"),
    ("wait_end_of_query", "1"),
    ("max_threads", "1"),
    ("max_insert_threads", "1"),
    ("min_insert_block_size_rows", "1000000000000"),
    ("min_insert_block_size_bytes", "1000000000000000"),
    ("parallel_view_processing", "0"),
];

/// The treatment of a piece that may or may not be in the view's table.
///
/// ```
/// use rowmill_ingest::backfill::{Backfill, InDoubt};
///
/// // An operator has looked for the piece's rows in the table, and found none.
/// let options = Backfill { in_doubt: InDoubt::Missing, ..Backfill::new("daily_view") };
/// # assert_eq!(options.in_doubt, InDoubt::Missing);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InDoubt {
    /// End with an error that names the piece.
    #[default]
    Refuse,
    /// The piece is in the table: record that.
    Stored,
    /// The piece is not in the table: send it.
    Missing,
}

/// The view whose table [`backfill`] fills, and how.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use rowmill_ingest::backfill::Backfill;
///
/// let week = Duration::from_secs(7 * 24 * 60 * 60);
/// let options = Backfill { from: Some(SystemTime::now() - week), ..Backfill::new("daily_view") };
/// # assert!(options.to.is_none());
/// ```
#[derive(Debug, Clone)]
pub struct Backfill {
    /// The name of the view in the schema.
    pub view: String,
    /// Only rows whose id is from this time or later.
    pub from: Option<SystemTime>,
    /// Only rows whose id is from before this time.
    pub to: Option<SystemTime>,
    /// The rows of one piece. ClickHouse holds the query's result for a piece in memory.
    pub piece_rows: u64,
    /// The timeout of one statement.
    pub timeout: Duration,
    /// The treatment of a piece that may or may not be in the table.
    pub in_doubt: InDoubt,
}

impl Backfill {
    /// Returns the options for a backfill of all rows before the view's cut.
    ///
    /// ```
    /// use rowmill_ingest::backfill::{Backfill, InDoubt};
    ///
    /// let options = Backfill::new("daily_view");
    /// assert_eq!((options.view.as_str(), options.in_doubt), ("daily_view", InDoubt::Refuse));
    /// ```
    pub fn new(view: impl Into<String>) -> Self {
        Self {
            view: view.into(),
            from: None,
            to: None,
            piece_rows: 250_000,
            timeout: Duration::from_secs(60 * 60),
            in_doubt: InDoubt::Refuse,
        }
    }
}

/// A piece that is done.
///
/// ```
/// use rowmill_ingest::backfill::BackfilledPiece;
///
/// fn log(piece: BackfilledPiece) {
///     println!("piece {}: {} rows", piece.number, piece.rows);
/// }
/// # log(BackfilledPiece { number: 1, rows: 2, until: std::time::SystemTime::UNIX_EPOCH });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfilledPiece {
    /// The number of the piece, beginning with 1.
    pub number: u64,
    /// The rows of the source in the piece.
    pub rows: u64,
    /// The time of the last id of the piece.
    pub until: SystemTime,
}

/// The result of a backfill.
///
/// ```
/// use rowmill_ingest::backfill::BackfillReport;
///
/// let report = BackfillReport { pieces: 1, rows: 20, total_rows: 120 };
/// println!("{} of {} rows in this run", report.rows, report.total_rows);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackfillReport {
    /// The pieces that this run has completed.
    pub pieces: u64,
    /// The rows of the source in these pieces.
    pub rows: u64,
    /// The rows of the source in all pieces, also of earlier runs.
    pub total_rows: u64,
}

/// Fills the table of a view from rows that are older than the view, and calls `progress` for each
/// piece.
///
/// Collectors may run meanwhile. A backfill that ended early, for any reason, can be repeated: it
/// continues, and no row is in the view twice.
///
/// # Errors
/// The view cannot be backfilled, ClickHouse is unreachable or refuses a statement, or a piece is
/// in doubt.
///
/// # Examples
///
/// ```no_run
/// # use embedder::tables;
/// use rowmill_ingest::{ClickHouseUrl, backfill::{Backfill, backfill}};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let clickhouse: ClickHouseUrl = "http://127.0.0.1:8123/stats".parse()?;
/// let options = Backfill::new("daily_view");
/// let report = backfill(&clickhouse, &tables::SCHEMA, &options, |piece| println!("{} rows", piece.rows)).await?;
/// println!("{report:?}");
/// # Ok(())
/// # }
/// ```
pub async fn backfill(
    url: &ClickHouseUrl,
    schema: &Schema,
    options: &Backfill,
    progress: impl FnMut(&BackfilledPiece),
) -> Result<BackfillReport, BackfillError> {
    let Some(view) = schema.views.iter().find(|view| view.name == options.view) else {
        return Err(BackfillError::NoView {
            view: options.view.clone(),
            known: schema.views.iter().map(|view| view.name).collect(),
        });
    };
    if view.refresh.is_some() {
        return Err(BackfillError::Scheduled { view: view.name });
    }
    let source = view.source.as_ref().and_then(|source| schema.table(source.table));
    let Some((source, id)) = source.and_then(|source| Some((source, source.row_id?))) else {
        return Err(BackfillError::NoId { view: view.name });
    };
    let Some(existing) = existing_view(url, view).await? else {
        return Err(BackfillError::NotCreated { view: view.name });
    };
    let Some(cut) = cut_of(view, source, &existing.as_select) else {
        return Err(BackfillError::NoCut { view: view.name });
    };
    let drift = view_drift(url, schema).await.map_err(BackfillError::Comparison)?;
    if let Some(drift) = drift.drifts.into_iter().find(|drift| drift.table == view.name) {
        return Err(BackfillError::Differs {
            view: view.name,
            difference: drift.difference,
        });
    }
    let client = url.client();
    let key = Key { view: view.name, cut };
    let state = State::open(&client, key).await?;
    let mut run = Run {
        url,
        client,
        view,
        source,
        id,
        cut,
        state,
        options,
        progress,
        report: BackfillReport::default(),
    };
    run.finish_begun_pieces().await?;
    run.fill().await?;
    run.report.total_rows = run.state.total_rows().await?;
    Ok(run.report)
}

struct Run<'a, P> {
    url: &'a ClickHouseUrl,
    client: Client,
    view: &'static View,
    source: &'static Table,
    id: &'static str,
    cut: u64,
    state: State,
    options: &'a Backfill,
    progress: P,
    report: BackfillReport,
}

impl<P: FnMut(&BackfilledPiece)> Run<'_, P> {
    /// Completes the pieces of a run that ended early.
    async fn finish_begun_pieces(&mut self) -> Result<(), BackfillError> {
        for piece in self.state.begun().await? {
            self.wait_for_statement(&piece).await?;
            match piece.sent_at.as_ref() {
                None => self.send(&piece).await?,
                Some(_) if self.options.in_doubt == InDoubt::Stored => {}
                Some(blocks) => {
                    let forgetful = self.state.forgetful_table(self.url, self.view.target, blocks).await?;
                    match forgetful {
                        None => self.insert(&piece, &self.token(&piece)).await?,
                        // The token may be forgotten, but must not be remembered either.
                        Some(_) if self.options.in_doubt == InDoubt::Missing => {
                            let token = format!("{}/again", self.token(&piece));
                            self.insert(&piece, &token).await?;
                        }
                        Some(table) => {
                            return Err(BackfillError::InDoubt {
                                view: self.view.name,
                                piece: piece.number,
                                rows: piece.rows,
                                table,
                            });
                        }
                    }
                }
            }
            self.complete(&piece).await?;
        }
        Ok(())
    }

    /// Adds all rows that are in no piece, in pieces.
    async fn fill(&mut self) -> Result<(), BackfillError> {
        let mut first = self.options.from.map_or(0, first_id_from);
        let end = self.options.to.map_or(self.cut, first_id_from).min(self.cut);
        self.wait_for_cut(end).await?;
        while let Some(last) = self.last_id(first, end).await? {
            while let Some(piece) = self
                .state
                .begin(self.source.name, self.id, first, last, self.options.timeout)
                .await?
            {
                self.send(&piece).await?;
                self.complete(&piece).await?;
            }
            first = last + 1;
        }
        Ok(())
    }

    /// Waits until the collectors make only ids after the cut.
    async fn wait_for_cut(&self, end: u64) -> Result<(), BackfillError> {
        let query = "SELECT toUInt64(toUnixTimestamp64Milli(now64(3)))";
        let now_ms: u64 = within(self.options.timeout, self.client.query_raw(query).fetch_one()).await?;
        let remaining = millisecond_of(end).saturating_sub(now_ms);
        if remaining > 0 {
            sleep(Duration::from_millis(remaining) + SETTLE).await;
        }
        Ok(())
    }

    /// Returns the id of the last row of the next piece's range; `None` if no row is left.
    async fn last_id(&self, first: u64, end: u64) -> Result<Option<u64>, ClickHouseError> {
        let (id, source) = (quoted(self.id), quoted(self.source.name));
        let query = format!(
            "SELECT toUInt64(max(id)) AS id, count() AS rows FROM (SELECT {id} AS id FROM {source} \
             WHERE {id} >= {first} AND {id} < {end} ORDER BY {id} LIMIT {} WITH TIES)",
            self.options.piece_rows.max(1)
        );
        let (id, rows): (u64, u64) = within(self.options.timeout, self.client.query_raw(&query).fetch_one()).await?;
        Ok((rows > 0).then_some(id))
    }

    /// Records that a piece may have been sent, and sends it.
    async fn send(&self, piece: &Piece) -> Result<(), BackfillError> {
        self.state.record_sending(self.url, self.view.target, piece).await?;
        self.insert(piece, &self.token(piece)).await
    }

    /// Inserts the view's query over the rows of a piece into the view's table.
    async fn insert(&self, piece: &Piece, token: &str) -> Result<(), BackfillError> {
        let id = quoted(self.id);
        let (first, last) = (piece.first, piece.last);
        let condition = format!(
            "{id} >= {first} AND {id} <= {last} AND {id} IN ({})",
            self.state.ids_of(piece)
        );
        let Some(select) = self.view.select_where(self.url.database(), self.source, &condition) else {
            return Err(BackfillError::NoId { view: self.view.name });
        };
        // A view assigns columns by their names, an INSERT by their positions.
        let columns = query_columns(&self.client, &select).await?;
        let columns: Vec<_> = columns.iter().map(|column| quoted(column)).collect();
        let statement = format!(
            "INSERT INTO {} ({}) {select}",
            quoted(self.view.target),
            columns.join(", ")
        );
        let client = with_insert_settings(&self.client, token).with_setting("query_id", self.query_id(piece));
        within(self.options.timeout, client.query_raw(&statement).execute()).await?;
        Ok(())
    }

    /// Waits until ClickHouse no longer runs the insert of a piece, whose process has ended.
    async fn wait_for_statement(&self, piece: &Piece) -> Result<(), ClickHouseError> {
        loop {
            let query = self
                .client
                .query("SELECT count() FROM system.processes WHERE query_id = ?")
                .bind(self.query_id(piece));
            let running: u64 = within(self.options.timeout, query.fetch_one()).await?;
            if running == 0 {
                return Ok(());
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn complete(&mut self, piece: &Piece) -> Result<(), BackfillError> {
        self.state.record_done(piece).await?;
        self.report.pieces += 1;
        self.report.rows += piece.rows;
        (self.progress)(&BackfilledPiece {
            number: piece.number,
            rows: piece.rows,
            until: SystemTime::UNIX_EPOCH + Duration::from_millis(millisecond_of(piece.last)),
        });
        Ok(())
    }

    fn token(&self, piece: &Piece) -> String {
        format!("rowmill-backfill/{}/{}/{}", self.view.name, self.cut, piece.number)
    }

    fn query_id(&self, piece: &Piece) -> String {
        let database = self.url.database();
        format!(
            "rowmill-backfill-{database}-{}-{}-{}",
            self.view.name, self.cut, piece.number
        )
    }
}

/// Returns a client for an INSERT SELECT under a token.
fn with_insert_settings(client: &Client, token: &str) -> Client {
    let client = client.clone().with_setting("insert_deduplication_token", token);
    INSERT_SETTINGS
        .iter()
        .fold(client, |client, &(name, value)| client.with_setting(name, value))
}

/// Returns the first id of a time.
fn first_id_from(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    first_id_of(ms.min(millisecond_of(u64::MAX)))
}
