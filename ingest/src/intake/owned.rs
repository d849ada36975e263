//! Rows that own their texts: for channels, for rows that are read back, and for tests.

use std::ops::{Deref, DerefMut};

use clickhouse::Row as ClickHouseRow;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::intake::row::Row;

/// A row that borrows nothing, with the fields of the row in it.
///
/// For each table whose row borrows texts, such as `Orders<'a>`, the build step declares
/// `OrdersOwned = Owned<Orders<'static>>`, and the method `Orders::into_owned`. The `clickhouse`
/// crate returns such rows from `fetch_all`, and `Writer::insert` accepts them. For any other table,
/// `OrdersOwned` is the row itself.
///
/// ```no_run
/// use clickhouse::Client;
/// use embedder::tables::{Orders, OrdersOwned}; // what `include_tables!` includes
///
/// async fn paid(client: &Client) -> clickhouse::error::Result<Vec<OrdersOwned>> {
///     client.query("SELECT ?fields FROM orders WHERE state = 'paid'").fetch_all().await
/// }
///
/// fn owned(number: &str) -> OrdersOwned {
///     Orders { number: number.into(), ..Orders::default() }.into_owned()
/// }
///
/// assert_eq!(owned("A-1").number, "A-1");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Owned<R>(R);

impl<R> Owned<R> {
    /// Returns the row as one that borrows nothing.
    pub const fn new(row: R) -> Self {
        Self(row)
    }

    /// Returns the row in it.
    pub fn into_row(self) -> R {
        self.0
    }
}

impl<R> From<R> for Owned<R> {
    fn from(row: R) -> Self {
        Self(row)
    }
}

impl<R> Deref for Owned<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.0
    }
}

impl<R> DerefMut for Owned<R> {
    fn deref_mut(&mut self) -> &mut R {
        &mut self.0
    }
}

impl<R: Serialize> Serialize for Owned<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, R: Deserialize<'de>> Deserialize<'de> for Owned<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        R::deserialize(deserializer).map(Self)
    }
}

/// The `clickhouse` crate takes a row for an owned one if the row of each query is of the same
/// type.
impl<R: ClickHouseRow + 'static> ClickHouseRow for Owned<R> {
    const NAME: &'static str = R::NAME;
    const COLUMN_NAMES: &'static [&'static str] = R::COLUMN_NAMES;
    const COLUMN_COUNT: usize = R::COLUMN_COUNT;
    const KIND: clickhouse::_priv::RowKind = R::KIND;

    type Value<'a> = Self;
}

/// A row that [`Writer::insert`](crate::Writer::insert) accepts: a typed row, or an [`Owned`] one.
pub trait InsertRow<'a> {
    /// The typed row.
    type Row: Row<'a> + Clone;

    /// Returns the typed row.
    fn row(&self) -> &Self::Row;
}

impl<'a, R: Row<'a> + Clone> InsertRow<'a> for R {
    type Row = R;

    fn row(&self) -> &R {
        self
    }
}

impl<'a, R: Row<'a> + Clone> InsertRow<'a> for Owned<R> {
    type Row = R;

    fn row(&self) -> &R {
        &self.0
    }
}
