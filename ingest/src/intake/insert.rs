//! Insert: a typed row of Rust code becomes an encoded row, under the rules of an event.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    ack::Ack,
    block::receipt::Receipt,
    intake::{
        event_meta::EventMeta,
        owned::InsertRow,
        row::{Row, at_most},
    },
    table::{
        Column,
        refusal::{InvalidColumns, ValueError},
    },
    writer::{InsertError, Writer},
};

/// The service of a row that Rust code inserts without one. Rows of events have the first part of
/// their path, such as `wh`.
const SERVICE: &str = "rust";

impl Writer {
    /// Accepts a typed row, under the same promises as the row of an event. The receipt lets the
    /// caller wait for `ack`.
    ///
    /// The build step makes a struct for each table. A field that has its default counts as absent:
    ///
    /// - The collector fills the columns of its ids, its times of arrival and its service that are
    ///   absent: `id`, `date`, `dateTime`, `timestamp` and `service` of a table that inherits `base`,
    ///   and columns with `from: $id`, `from: $received_at` and `from: $service`. The service is
    ///   `rust`. A row with such an id of your own must not share it
    ///   with another row of the table, since deliveries recognize rows by their id.
    /// - ClickHouse computes the DEFAULT of an absent column, unless the DEFAULT is a literal: the
    ///   struct's `Default` contains literals.
    ///
    /// All other columns are stored as they are: without a request, there is no visitor, address or
    /// user agent.
    ///
    /// The row is copied. A copy of borrowed texts costs little.
    ///
    /// # Errors
    ///
    /// [`InsertError::Invalid`] if the row breaks a rule for events: a `required` column is absent
    /// (a number, a date and an enum never are), a value is longer than `max_bytes`, a date is
    /// outside `max_age` and `max_ahead`, or the arrays of a Nested differ in length.
    /// [`InsertError::SpoolFull`] as for [`append`](Self::append).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use embedder::tables::{self, Orders}; // what `include_tables!` includes
    /// use rowmill_ingest::{Ack, ClickHouseUrl, Writer, WriterOptions};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let clickhouse: ClickHouseUrl = "http://127.0.0.1:8123/stats".parse()?;
    /// let writer = Writer::start(&tables::SCHEMA, clickhouse, &WriterOptions::default());
    ///
    /// let order = Orders {
    ///     number: "A-1".into(),
    ///     items: 3,
    ///     ..Orders::default() // the collector fills the id and the time
    /// };
    /// // Does not wait: the row is in memory.
    /// writer.insert(&order, Ack::Accepted)?;
    ///
    /// // Waits until the row is in its table.
    /// assert_eq!(writer.insert(&order, Ack::Stored)?.await, Ack::Stored);
    ///
    /// // Waits for ten seconds at most.
    /// let receipt = writer.insert(&order, Ack::Stored)?;
    /// assert_eq!(receipt.reached_within(Duration::from_secs(10)).await, Ack::Stored);
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert<'a, R: InsertRow<'a>>(&self, row: &R, ack: Ack) -> Result<Receipt, InsertError> {
        let row = row.row();
        let table = row.table();
        if !self.has_table(table) {
            return Err(InsertError::UnknownTable(table.name));
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let meta = EventMeta {
            id: self.ids().next(unix_ms),
            unix_ms,
            service: SERVICE,
            ..EventMeta::default()
        };

        let mut row = row.clone();
        let mut invalid = InvalidColumns::default();
        let present = row.complete(&meta, &mut invalid);
        row.pad_nested(&present, &mut invalid);
        row.check_dates(&meta, &present, &mut invalid);
        for (index, path) in row.rules().required {
            if !present.contains(*index) {
                invalid.push(&table.columns[*index], ValueError::Missing(path), "");
            }
        }
        if !invalid.is_empty() {
            return Err(InsertError::Invalid(invalid.into_vec()));
        }
        Ok(self.append(table, ack, |out| row.encode(&present, out))?)
    }
}

/// Returns whether two values of a column are the same.
pub fn is_same<T: PartialEq>(one: &T, other: &T) -> bool {
    one == other
}

/// Reports a value of more than `max_bytes` bytes.
pub fn check_max_bytes(max_bytes: usize, bytes: usize, column: &'static Column, invalid: &mut InvalidColumns) {
    if let Err(error) = at_most(max_bytes, bytes) {
        invalid.push(column, error, "");
    }
}

/// Reports the two arrays of an extra if they differ in length.
pub fn check_pairs(keys: usize, values: usize, column: &'static Column, invalid: &mut InvalidColumns) {
    if keys != values {
        let lengths = format!("{values} of {keys} elements");
        invalid.push(column, ValueError::UnequalLengths, &lengths);
    }
}
