//! The partition of a row: chosen by the value of a column, so that all rows with this value are in
//! one partition, in the order in which the collector accepted them.

use std::fmt;

use super::url::LogUrl;
use crate::{
    block::layout::InsertTarget,
    sharding::{ShardingKey, UnknownKey},
    table::{Schema, dead_letter::REJECTED},
};

/// The column that chooses the partition of a table's rows.
#[derive(Debug)]
pub(super) struct PartitionKey(ShardingKey);

impl PartitionKey {
    /// Returns the first of `keys` that is a column of `layout`; `None` if none is. Those that name
    /// the table come first.
    ///
    /// # Errors
    /// The column, or one before it in a row, has a type whose values are not read here.
    pub(super) fn of(keys: &[String], layout: &InsertTarget) -> Result<Option<Self>, InvalidLogKey> {
        let of_table = keys
            .iter()
            .filter_map(|key| Some((key, column_of(key, &layout.table)?)));
        let of_any = keys.iter().map(|key| (key, &**key));
        let is_column = |(_, name): &(_, &str)| layout.columns.iter().any(|column| *column.name == **name);
        let Some((key, column)) = of_table.chain(of_any).find(is_column) else {
            return Ok(None);
        };
        match ShardingKey::of_column(column, layout) {
            Ok(key) => Ok(Some(Self(key))),
            Err(error) => Err(InvalidLogKey {
                key: key.clone(),
                table: Some(layout.table.to_string()),
                data_type: match error {
                    UnknownKey::Type(data_type) => Some(data_type),
                    UnknownKey::Column(_) | UnknownKey::Expression => None,
                },
            }),
        }
    }

    /// Returns the number of a row's partition among `partitions`; `None` if any may have the row,
    /// since its value is NULL or left to a DEFAULT.
    pub(super) fn partition(&self, row: &[u8], partitions: usize) -> Option<usize> {
        let hash = self.0.of(row)?;
        // The remainder is less than a `usize`.
        Some((hash % partitions.max(1) as u64) as usize)
    }
}

/// Returns the column that a key names if it is for `table`: the rest of `TABLE.COLUMN`.
fn column_of<'k>(key: &'k str, table: &str) -> Option<&'k str> {
    key.strip_prefix(table)?.strip_prefix('.')
}

/// Returns whether a key is a column of a table, by its own name or with the table's.
fn is_key_of(key: &str, layout: &InsertTarget) -> bool {
    let names = [Some(key), column_of(key, &layout.table)];
    let mut columns = layout.columns.iter();
    columns.any(|column| names.contains(&Some(&*column.name)))
}

/// A `key` of a [`LogUrl`] that does not fit the tables of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidLogKey {
    key: String,
    /// The table that has the column; `None` if there is none.
    table: Option<String>,
    /// The type whose values are not read.
    data_type: Option<String>,
}

impl fmt::Display for InvalidLogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, table, data_type } = self;
        match table {
            None => write!(
                f,
                "no table has the column of `key={key}`; it is `COLUMN` or `TABLE.COLUMN`"
            ),
            Some(table) => {
                write!(f, "`key={key}` cannot choose the partition of a row of `{table}`")?;
                if let Some(data_type) = data_type {
                    write!(f, ", since the column, or one before it, has the type {data_type}")?;
                }
                f.write_str("; name another column, or another table with `key=TABLE.COLUMN`")
            }
        }
    }
}

impl std::error::Error for InvalidLogKey {}

impl LogUrl {
    /// Checks that each `key` is a column of a table of `schema`, or of the dead letters, whose
    /// values can choose a partition.
    ///
    /// # Errors
    /// [`InvalidLogKey`] for the first key that is not.
    ///
    /// ```
    /// # use embedder::tables;
    /// use rowmill_ingest::log::LogUrl;
    ///
    /// let url: LogUrl = "kafka://broker/events?key=no_such_column".parse()?;
    /// assert!(url.check_keys(&tables::SCHEMA).is_err());
    /// # Ok::<(), rowmill_ingest::log::InvalidLogUrl>(())
    /// ```
    pub fn check_keys(&self, schema: &Schema) -> Result<(), InvalidLogKey> {
        let tables = schema.tables.iter().copied().chain([&REJECTED]);
        let layouts: Vec<_> = tables.map(InsertTarget::of).collect();
        for layout in &layouts {
            PartitionKey::of(&self.keys, layout)?;
        }
        let is_unknown = |key: &&String| !layouts.iter().any(|layout| is_key_of(key, layout));
        match self.keys.iter().find(is_unknown) {
            None => Ok(()),
            Some(key) => Err(InvalidLogKey {
                key: key.clone(),
                table: None,
                data_type: None,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{block::layout::TargetColumn, leb128::put_length, table::shape::ShapeBuf};

    fn layout(columns: &[(&str, &str, ShapeBuf)]) -> InsertTarget {
        let column = |(name, data_type, shape): &(&str, &str, ShapeBuf)| TargetColumn {
            name: (*name).into(),
            data_type: (*data_type).into(),
            sent_type: (*data_type).into(),
            shape: Some(shape.clone()),
        };
        InsertTarget::new("mail".into(), "".into(), columns.iter().map(column).collect(), None)
    }

    fn row(id: u64, email: Option<&str>) -> Vec<u8> {
        let mut row = id.to_le_bytes().to_vec();
        row.push(u8::from(email.is_none()));
        if let Some(email) = email {
            put_length(&mut row, email.len());
            row.extend_from_slice(email.as_bytes());
        }
        row
    }

    #[test]
    fn rows_with_one_value_have_one_partition_and_null_has_none() {
        let layout = layout(&[
            ("id", "UInt64", ShapeBuf::Fixed(8)),
            (
                "email",
                "LowCardinality(Nullable(String))",
                ShapeBuf::Nullable(ShapeBuf::String.into()),
            ),
        ]);
        let key = PartitionKey::of(&["email".to_owned()], &layout).unwrap().unwrap();
        let of = |id: u64, email: Option<&str>| key.partition(&row(id, email), 4);
        assert_eq!(of(1, Some("a@b")), of(2, Some("a@b")));
        assert_eq!(of(1, None), None);
        let mut used: Vec<_> = (0..40).map(|n| of(1, Some(&format!("{n}@b"))).unwrap()).collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used, [0, 1, 2, 3]);
        // A row that is cut has no partition of its own, and does not panic.
        for length in 0..10 {
            assert_eq!(key.partition(&row(1, Some("a@b"))[..length], 4), None);
        }
        assert_eq!(key.partition(&row(1, Some("a@b")), 0), Some(0));
    }

    #[test]
    fn the_key_of_the_table_comes_first_and_others_are_for_any_table() {
        let layout = layout(&[
            ("id", "UInt64", ShapeBuf::Fixed(8)),
            ("tags", "Array(String)", ShapeBuf::Array(ShapeBuf::String.into())),
            ("email", "String", ShapeBuf::String),
        ]);
        let of = |keys: &[&str]| {
            let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
            PartitionKey::of(&keys, &layout).map(|key| key.is_some())
        };
        assert_eq!(of(&[]), Ok(false));
        assert_eq!(of(&["uid", "other.id", "mail.uid"]), Ok(false));
        assert_eq!(of(&["tags", "mail.email"]), Ok(true));
        assert_eq!(of(&["id"]), Ok(true));
        let error = of(&["email", "mail.tags"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "`key=mail.tags` cannot choose the partition of a row of `mail`, since the column, or one before it, has \
             the type Array(String); name another column, or another table with `key=TABLE.COLUMN`"
        );
    }

    #[test]
    fn a_key_that_no_table_has_is_an_error() {
        static SCHEMA: Schema = Schema::new(&[]);
        let check = |key: &str| {
            let url: LogUrl = format!("kafka://a/p?key={key}").parse().unwrap();
            url.check_keys(&SCHEMA)
        };
        assert_eq!(check("code"), Ok(()));
        assert_eq!(check("rejected.code"), Ok(()));
        let error = check("mail.code").unwrap_err().to_string();
        assert!(
            error.starts_with("no table has the column of `key=mail.code`"),
            "{error}"
        );
    }
}
