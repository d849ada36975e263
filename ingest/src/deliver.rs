//! Delivery: takes sealed blocks, oldest first, and inserts each into its table until ClickHouse has confirmed it.
//!
//! One task per table, so that a table that ClickHouse refuses delays no other. Promises: each try sends the same rows under the
//! same token with the same settings, and ClickHouse takes them once; no block is ever dropped here; no more inserts run at a
//! time than are allowed, also when a backlog is worked off after an outage.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use clickhouse::{Client, Compression, insert_formatted::CompressedData};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::{
    block::SealedBlock,
    spool::{Counters, Spool},
    store::{Class, StoreError, quoted},
    table::Table,
};

/// The most rows of a block. ClickHouse is told that an insert of this many is one unit, which it is by default: atomicity and
/// deduplication go by such units.
pub(crate) const MAX_BLOCK_ROWS: usize = 1_000_000;

/// Settings of each insert. All of them are the defaults of some version, and each default has changed or can be changed by a
/// user's profile; what delivery rests on is therefore never inherited.
const SETTINGS: [(&str, &str); 5] = [
    // The token decides what is a duplicate, for synchronous inserts into tables that keep a deduplication window.
    ("insert_deduplicate", "1"),
    // An answer means that the rows are in the table.
    ("async_insert", "0"),
    ("wait_for_async_insert", "1"),
    ("max_insert_block_size", "1048449"),
    // A guard against mistaken partition keys, whose error (252, as for too many parts) no retry would ever overcome: late
    // events of many months would stop their table. With 0 ClickHouse warns in its log and takes them.
    ("throw_on_max_partitions_per_insert_block", "0"),
];

/// How long a block waits after a failure: twice as long each time, up to a cap.
#[derive(Debug, Clone, Copy)]
struct Backoff {
    first: Duration,
    cap: Duration,
}

/// Passing troubles: short at first, since most last for a moment; the cap bounds what is added to an outage.
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(100),
    cap: Duration::from_secs(10),
};

/// Troubles that wait for a person: nothing is gained by asking often.
const HOLD: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(30),
};

/// The longest wait while the process is waiting to end.
const CLOSING_WAIT: Duration = Duration::from_millis(200);

/// A table in trouble speaks up this often.
const ALARM_INTERVAL: Duration = Duration::from_secs(60);

/// What the deliveries of all tables share.
#[derive(Debug)]
pub(crate) struct Delivery {
    client: Client,
    spool: Arc<Spool>,
    /// One permit for each insert that may run at a time.
    permits: Semaphore,
    timeout: Duration,
}

impl Delivery {
    /// Returns a delivery from `spool` through `client`, with at most `inserts_in_flight` inserts at a time.
    pub(crate) fn new(client: Client, spool: Arc<Spool>, inserts_in_flight: usize, timeout: Duration) -> Self {
        let client = SETTINGS
            .iter()
            .fold(client, |client, &(name, value)| client.with_setting(name, value));
        Self {
            client: client.with_compression(Compression::Lz4),
            spool,
            permits: Semaphore::new(inserts_in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            timeout,
        }
    }

    /// Delivers a lane's blocks until the spool is closed and the lane empty.
    pub(crate) async fn run(&self, lane: usize, table: &'static Table) {
        let sql = insert_statement(table);
        while let Some(block) = self.spool.next(lane).await {
            self.deliver(lane, &sql, &block).await;
            self.spool.done(lane, &block);
        }
    }

    /// Returns when the block is stored.
    async fn deliver(&self, lane: usize, sql: &str, block: &SealedBlock) {
        let table = block.table.name;
        let mut alarm = Alarm::default();
        let mut failures = 0;
        while let Err(error) = self.try_insert(sql, block).await {
            failures += 1;
            Counters::add(&self.spool.counters(lane).retries, 1);
            alarm.report(table, block, failures, &error);
            let backoff = match error.class() {
                Class::Retry => RETRY,
                // A refused block holds its table for now: nothing is dropped, and no other table waits. Cutting it at its row
                // ends until the bad rows stand alone needs a durable record of each part's token first.
                Class::Hold | Class::Refused => HOLD,
            };
            self.wait(backoff.wait(failures, dice())).await;
        }
        if failures > 0 {
            tracing::info!(table, block = %block.id, rows = block.rows(), failures, "stored after failures");
        } else {
            tracing::debug!(table, block = %block.id, rows = block.rows(), "stored");
        }
    }

    async fn try_insert(&self, sql: &str, block: &SealedBlock) -> Result<(), StoreError> {
        // Held for the try only, not while waiting for the next one. It cannot fail: nobody closes the semaphore.
        let _permit = self.permits.acquire().await;
        let frame = compressed(block.bytes.clone()).await?;
        let mut insert = self
            .client
            .insert_formatted_with(sql)
            .with_setting("insert_deduplication_token", block.token())
            .with_timeouts(Some(self.timeout), Some(self.timeout));
        insert.send_compressed(frame).await?;
        insert.end().await?;
        Ok(())
    }

    /// Waits, but not for long while the process is waiting to end.
    async fn wait(&self, wait: Duration) {
        if !self.spool.is_closed() {
            tokio::select! {
                () = sleep(wait) => return,
                () = self.spool.closed() => {}
            }
        }
        sleep(wait.min(CLOSING_WAIT)).await;
    }
}

/// Compresses a block into one LZ4 frame, off the threads that serve requests.
///
/// One frame, not many: its checksum stands in front of it, so that a connection that breaks can only deliver all of the block or
/// nothing, whatever the server makes of a chunked body that ends too early. `CompressedData` can be sent once and neither
/// cloned nor taken apart; a retry therefore compresses again, which costs some 20 ms after a wait, where keeping the frame
/// would cost memory for each waiting block.
async fn compressed(rows: Bytes) -> Result<CompressedData, clickhouse::error::Error> {
    match tokio::task::spawn_blocking(move || CompressedData::new(&rows, Compression::Lz4)).await {
        Ok(result) => result,
        Err(error) => Err(clickhouse::error::Error::Other(error.into())),
    }
}

/// What a table with JSON needs: a block has its objects as texts. Servers before 24.10 do not know the setting, so that other
/// tables go without it.
const JSON_SETTINGS: &str = " SETTINGS input_format_binary_read_json_as_string = 1";

/// Returns `INSERT INTO … (…) FORMAT …` with the columns that a row has; the list keeps a table usable that has more.
fn insert_statement(table: &Table) -> String {
    let columns = table.columns.iter().filter(|column| column.kind.is_inserted());
    // The word may also be the value of an enum, which does no harm.
    let has_json = columns.clone().any(|column| column.data_type.contains("JSON"));
    let columns: Vec<_> = columns.map(|column| quoted(column.name)).collect();
    format!(
        "INSERT INTO {} ({}){} FORMAT {}",
        quoted(table.name),
        columns.join(", "),
        if has_json { JSON_SETTINGS } else { "" },
        table.format.name()
    )
}

impl Backoff {
    /// Returns the wait after the `failures`th failure in a row: at least half of the full one, the rest by `dice`, so that tables
    /// and collectors that failed together do not come back together.
    fn wait(self, failures: u32, dice: u64) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let full = self.first.saturating_mul(doubled).min(self.cap);
        let share = f64::from(u16::try_from(dice % 1024).unwrap_or(0)) / 1024.0;
        full / 2 + (full / 2).mul_f64(share)
    }
}

/// Random enough to spread retries: the standard library seeds each hasher differently.
fn dice() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Says what is wrong with a block at once, and then once a minute while it lasts or when it becomes another thing.
#[derive(Debug, Default)]
struct Alarm {
    last: Option<(Instant, Class)>,
}

impl Alarm {
    fn report(&mut self, table: &str, block: &SealedBlock, failures: u32, error: &StoreError) {
        if !self.is_due(Instant::now(), error.class()) {
            return;
        }
        let (id, rows, code, cure) = (block.id, block.rows(), error.code(), error.cure());
        match error.class() {
            Class::Retry => {
                let error = error.without_values();
                tracing::warn!(table, block = %id, rows, failures, code, error, "an insert failed and is tried again");
            }
            Class::Hold => {
                tracing::error!(table, block = %id, rows, failures, code, cure, %error, "an insert waits for a person");
            }
            Class::Refused => {
                let error = error.without_values();
                tracing::error!(table, block = %id, rows, failures, code, cure, error, "ClickHouse refuses rows, the table waits");
            }
        }
    }

    fn is_due(&mut self, now: Instant, class: Class) -> bool {
        let is_due = match self.last {
            Some((at, last)) => last != class || now.duration_since(at) >= ALARM_INTERVAL,
            None => true,
        };
        if is_due {
            self.last = Some((now, class));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Column, ColumnKind, Format};

    const fn column(name: &'static str, kind: ColumnKind) -> Column {
        Column {
            name,
            data_type: "String",
            declaration: "",
            kind,
            is_nullable: false,
            takes_object: false,
        }
    }

    #[test]
    fn an_insert_names_the_columns_that_a_row_has() {
        const TABLE: Table = Table {
            name: "odd`name",
            index: 0,
            columns: &[
                column("extra.key", ColumnKind::Plain),
                column("at", ColumnKind::Default),
                column("day", ColumnKind::Materialized),
                column("hour", ColumnKind::Alias),
                column("raw", ColumnKind::Ephemeral),
            ],
            create: "",
            format: Format::RowBinaryWithDefaults,
        };
        assert_eq!(
            insert_statement(&TABLE),
            r"INSERT INTO `odd\`name` (`extra.key`, `at`, `raw`) FORMAT RowBinaryWithDefaults"
        );
    }

    #[test]
    fn objects_are_sent_as_texts() {
        const TABLE: Table = Table {
            name: "t",
            index: 0,
            columns: &[Column::new("payload", "Nullable(JSON)", "", ColumnKind::Plain)],
            create: "",
            format: Format::RowBinary,
        };
        assert_eq!(
            insert_statement(&TABLE),
            "INSERT INTO `t` (`payload`) SETTINGS input_format_binary_read_json_as_string = 1 FORMAT RowBinary"
        );
    }

    #[test]
    fn waits_double_up_to_the_cap_and_spread_over_their_upper_half() {
        let ms = |failures, dice| RETRY.wait(failures, dice).as_millis();
        assert_eq!([ms(1, 0), ms(2, 0), ms(3, 0)], [50, 100, 200]);
        assert_eq!([ms(8, 0), ms(40, 0), ms(u32::MAX, 0)], [5000, 5000, 5000]);
        for failures in [1, 5, 100] {
            let (least, most) = (ms(failures, 0), ms(failures, 1023));
            assert!(least * 19 / 10 < most && most <= least * 2, "{least}..{most}");
        }
        assert_ne!(dice(), dice());
    }

    #[test]
    fn an_alarm_speaks_at_once_then_each_minute_and_on_change() {
        let mut alarm = Alarm::default();
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        assert!(alarm.is_due(start, Class::Retry));
        assert!(!alarm.is_due(after(59), Class::Retry));
        assert!(alarm.is_due(after(59), Class::Hold));
        assert!(!alarm.is_due(after(118), Class::Hold));
        assert!(alarm.is_due(after(119), Class::Hold));
    }
}
