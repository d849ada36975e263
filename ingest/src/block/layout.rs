//! Insert targets: the meaning of a block's rows, and their statement, for rows or for columns.
//!
//! The target belongs to the block and is logged with it, including names, types and shapes,
//! because another build may read the block after the table and the schema have changed.

use std::{borrow::Cow, hash::Hasher, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use crate::{
    block::shard::Shard,
    native::{self, MAX_GROWTH, Native, NativeColumn, Rows, time_slice::TimeSlice},
    store::quoted,
    table::{Format, Table, shape::ShapeBuf},
};

/// The setting for tables with JSON, whose objects are text in a block. ClickHouse before 24.10
/// does not know the setting, so other tables omit it.
const JSON_SETTINGS: &str = " SETTINGS input_format_binary_read_json_as_string = 1";

/// The meaning of a block's rows, and the statements that insert them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct InsertTarget {
    /// The table's name, unquoted.
    pub(crate) table: Arc<str>,
    /// `INSERT INTO … (…) FORMAT …`, for the rows as they are in the block.
    pub(crate) statement: Box<str>,
    /// The columns of a row, in order. Empty for a block that a version before 0.2 wrote: its
    /// statement names the columns, but does not state their types.
    pub(crate) columns: Box<[TargetColumn]>,
    /// The index in `columns` of the row's own id, which no other row has.
    pub(crate) row_id: Option<usize>,
    /// The insert of the rows as columns; `None` if they can only be sent as rows.
    pub(crate) columnar: Option<Arc<ColumnarInsert>>,
    /// The shard of the rows; `None` for rows that any server of the writer accepts.
    pub(crate) shard: Option<Arc<Shard>>,
}

/// A column that is inserted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TargetColumn {
    pub(crate) name: Box<str>,
    /// The column's type in the table that the row was encoded for.
    pub(crate) data_type: Box<str>,
    /// The type of the values when they are sent as columns.
    pub(crate) sent_type: Box<str>,
    /// The shape of the values in a row; `None` if it is not known.
    pub(crate) shape: Option<ShapeBuf>,
}

/// The columns of an insert target, as a dead letter contains them.
#[derive(Debug, Serialize, Deserialize)]
struct WrittenColumns<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    row_id: Option<usize>,
    #[serde(borrow)]
    columns: Vec<WrittenColumn<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenColumn<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    data_type: Cow<'a, str>,
    #[serde(borrow)]
    sent_type: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shape: Option<ShapeBuf>,
}

/// The insert of a block's rows as columns.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ColumnarInsert {
    pub(crate) native: Native,
    /// `INSERT INTO … (…) FORMAT Native`.
    pub(crate) statement: Box<str>,
}

impl InsertTarget {
    /// Returns the insert target for the blocks of a table.
    pub(crate) fn of(table: &Table) -> Arc<Self> {
        let inserted = table.columns.iter().filter(|column| column.kind.is_inserted());
        let columns: Box<[_]> = inserted
            .map(|column| TargetColumn {
                name: column.name.into(),
                data_type: column.data_type.into(),
                sent_type: column.sent_type.into(),
                shape: column.shape.as_ref().map(ShapeBuf::from),
            })
            .collect();
        let row_id = table.row_id;
        let row_id = columns.iter().position(|column| Some(&*column.name) == row_id);
        let statement = insert_statement(table.name, &columns, table.format);
        Arc::new(Self::new(table.name.into(), statement.into(), columns, row_id))
    }

    /// Returns an insert target. Its rows can be sent as columns if the shapes of all columns are
    /// known.
    pub(crate) fn new(
        table: Arc<str>,
        statement: Box<str>,
        columns: Box<[TargetColumn]>,
        row_id: Option<usize>,
    ) -> Self {
        let columnar = ColumnarInsert::of(&table, &columns, |column| Some(column.name.clone()));
        Self {
            table,
            statement,
            columns,
            row_id,
            columnar: columnar.map(Arc::new),
            shard: None,
        }
    }

    /// Returns the insert target for the same rows in the table `local` of a shard.
    pub(crate) fn on_shard(&self, local: &str, shard: Shard) -> Self {
        let columns = self.columns.clone();
        let rest = self
            .statement
            .strip_prefix(&insert_into(&self.table))
            .unwrap_or_default();
        let statement = format!("{}{rest}", insert_into(local));
        Self {
            shard: Some(Arc::new(shard)),
            ..Self::new(local.into(), statement.into(), columns, self.row_id)
        }
    }

    /// Returns the name of the schema's table whose rows these are, unquoted: that of the Distributed
    /// table for the rows of a shard.
    pub(crate) fn schema_table(&self) -> &Arc<str> {
        self.shard.as_ref().map_or(&self.table, |shard| &shard.table)
    }

    /// Returns the name of the format of the rows.
    pub(crate) fn format(&self) -> &str {
        self.statement.rsplit_once(" FORMAT ").map_or("", |(_, format)| format)
    }

    /// Returns the fingerprint of the names and types of the columns, in hexadecimal. The objects of an
    /// archive have the same one.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = XxHash64::with_seed(0);
        for column in &self.columns {
            for text in [&column.name, &column.data_type] {
                hash.write(text.as_bytes());
                hash.write(&[0]);
            }
        }
        format!("{:016x}", hash.finish())
    }

    /// Returns the columns as JSON, from which [`from_json`](Self::from_json) restores the target.
    /// Empty if the types are not known.
    pub(crate) fn columns_as_json(&self) -> String {
        if self.columns.is_empty() {
            return String::new();
        }
        let columns = self.columns.iter().map(|column| WrittenColumn {
            name: (&*column.name).into(),
            data_type: (&*column.data_type).into(),
            sent_type: (&*column.sent_type).into(),
            shape: column.shape.clone(),
        });
        let written = WrittenColumns {
            row_id: self.row_id,
            columns: columns.collect(),
        };
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Returns the target of rows of `table`; `None` if the format is unknown or `columns` is not
    /// as [`columns_as_json`](Self::columns_as_json) writes it.
    pub(crate) fn from_json(table: &str, format: &str, columns: &str) -> Option<Self> {
        let written: WrittenColumns<'_> = serde_json::from_str(columns).ok()?;
        let format = Format::of_name(format)?;
        let columns: Box<[_]> = written
            .columns
            .into_iter()
            .map(|column| TargetColumn {
                name: column.name.into(),
                data_type: column.data_type.into(),
                sent_type: column.sent_type.into(),
                shape: column.shape,
            })
            .collect();
        if columns.is_empty() {
            return None;
        }
        let row_id = written.row_id.filter(|index| *index < columns.len());
        let statement = insert_statement(table, &columns, format);
        Some(Self::new(table.into(), statement.into(), columns, row_id))
    }

    /// Returns the target with a statement that this build writes from the columns, for a target
    /// of another process. `None` if the types of the columns are not known, or the format is not.
    pub(crate) fn with_own_statement(self) -> Option<Self> {
        let format = Format::of_name(self.format()).filter(|_| !self.columns.is_empty())?;
        let statement = insert_statement(&self.table, &self.columns, format);
        Some(Self {
            statement: statement.into(),
            ..self
        })
    }

    /// Returns the id of each row; `None` if the rows have no ids, or an id cannot be located.
    pub(crate) fn row_ids(&self, bytes: &[u8], ends: &[u32]) -> Option<Vec<u64>> {
        let (before, id) = self.columns.split_at_checked(self.row_id?)?;
        let before: Vec<_> = before
            .iter()
            .map(|column| column.shape.as_ref())
            .collect::<Option<_>>()?;
        let id = id.first()?.shape.as_ref()?;
        native::fixed_values(bytes, ends, &before, id)
    }
}

impl ColumnarInsert {
    /// Returns the insert of rows as columns; `None` if a shape is not known or no column remains.
    /// `rename` gives the name of each column, or `None` to omit the column.
    pub(crate) fn of(
        table: &str,
        columns: &[TargetColumn],
        rename: impl Fn(&TargetColumn) -> Option<Box<str>>,
    ) -> Option<Self> {
        if columns.is_empty() {
            return None;
        }
        let native_columns = columns.iter().map(|column| {
            Some(NativeColumn {
                name: rename(column),
                data_type: column.sent_type.clone(),
                shape: column.shape.clone()?,
            })
        });
        let native_columns = native_columns.collect::<Option<Box<[_]>>>()?;
        let names: Vec<_> = native_columns.iter().map(|column| column.name.clone()).collect();
        let native = Native::of(native_columns)?;
        let statement = statement(table, names.iter().flatten().map(|name| &**name), "", "Native");
        Some(Self {
            native,
            statement: statement.into(),
        })
    }
}

/// Returns `INSERT INTO … (…) FORMAT …` with the columns of a row. Because the statement lists
/// them, the table may have more columns.
fn insert_statement(table: &str, columns: &[TargetColumn], format: Format) -> String {
    // `JSON` may also be an enum's value; the setting is harmless then.
    let has_json = columns.iter().any(|column| column.data_type.contains("JSON"));
    let settings = if has_json { JSON_SETTINGS } else { "" };
    statement(
        table,
        columns.iter().map(|column| &*column.name),
        settings,
        format.name(),
    )
}

fn statement<'a>(table: &str, columns: impl Iterator<Item = &'a str>, settings: &str, format: &str) -> String {
    let columns: Vec<_> = columns.map(quoted).collect();
    format!(
        "{} ({}){settings} FORMAT {format}",
        insert_into(table),
        columns.join(", ")
    )
}

fn insert_into(table: &str) -> String {
    format!("INSERT INTO {}", quoted(table))
}

/// Returns a table's rows, which end at `ends`, as one block of columns; `None` if they stay rows.
/// For the benchmark.
pub fn columns_of(table: &Table, bytes: Bytes, ends: Arc<[u32]>) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    let layout = InsertTarget::of(table);
    let native = &layout.columnar.as_ref()?.native;
    let length = native
        .block(
            Rows {
                bytes: &bytes,
                ends: &ends,
            },
            MAX_GROWTH,
            &mut buffer,
            &mut TimeSlice::begin(),
        )
        .ok()?
        .len();
    buffer.truncate(length);
    Some(buffer)
}

/// Appends the columns of a target as the log contains them:
///
/// ```text
/// 4  number of columns
/// 4  index of the row's id, 0xffff_ffff for none
///    per column: name, type, type in columns (each a length of 4 bytes and the text), shape
///    for the rows of a shard: the Distributed table, the cluster (each a length of 4 bytes and the
///    text), 4 bytes number of the shard, 4 bytes number of its servers, the address of each (a
///    length and the text)
/// ```
///
/// All numbers are little-endian.
pub(crate) fn put_columns(out: &mut Vec<u8>, layout: &InsertTarget) {
    put_u32(out, layout.columns.len());
    put_u32(out, layout.row_id.unwrap_or(usize::MAX));
    for column in &layout.columns {
        for text in [&column.name, &column.data_type, &column.sent_type] {
            put_text(out, text);
        }
        ShapeBuf::put(column.shape.as_ref(), out);
    }
    if let Some(shard) = &layout.shard {
        put_text(out, &shard.table);
        put_text(out, &shard.cluster);
        out.extend_from_slice(&shard.number.to_le_bytes());
        put_u32(out, shard.replicas.len());
        shard.replicas.iter().for_each(|replica| put_text(out, replica));
    }
}

/// The columns of a target, its row id and its shard, as the log contains them.
pub(crate) type LoggedColumns = (Box<[TargetColumn]>, Option<usize>, Option<Arc<Shard>>);

/// Reads the bytes that [`put_columns`] writes; `None` if they are malformed.
pub(crate) fn take_columns(mut bytes: &[u8]) -> Option<LoggedColumns> {
    let count = take_u32(&mut bytes)?;
    let row_id = take_u32(&mut bytes)?;
    let columns = (0..count)
        .map(|_| {
            Some(TargetColumn {
                name: take_text(&mut bytes)?,
                data_type: take_text(&mut bytes)?,
                sent_type: take_text(&mut bytes)?,
                shape: ShapeBuf::take(&mut bytes)?,
            })
        })
        .collect::<Option<Box<[_]>>>()?;
    let row_id = (row_id < count).then_some(row_id as usize);
    let shard = match bytes.is_empty() {
        true => None,
        false => Some(Arc::new(take_shard(&mut bytes)?)),
    };
    bytes.is_empty().then_some((columns, row_id, shard))
}

fn take_shard(bytes: &mut &[u8]) -> Option<Shard> {
    Some(Shard {
        table: take_text(bytes)?.into(),
        cluster: take_text(bytes)?,
        number: take_u32(bytes)?,
        replicas: (0..take_u32(bytes)?).map(|_| take_text(bytes)).collect::<Option<_>>()?,
    })
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u32(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_u32(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number))
}

fn take_text(bytes: &mut &[u8]) -> Option<Box<str>> {
    let length = take_u32(bytes)? as usize;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(str::from_utf8(text).ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Column, ColumnKind, Format, shape::Shape};

    const fn column(name: &'static str, kind: ColumnKind) -> Column {
        Column::new(name, "String", "", kind)
    }

    #[test]
    fn an_insert_statement_names_the_columns_of_a_row() {
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
            row_id: None,
            partition_key: None,
        };
        assert_eq!(
            &*InsertTarget::of(&TABLE).statement,
            r"INSERT INTO `odd\`name` (`extra.key`, `at`, `raw`) FORMAT RowBinaryWithDefaults"
        );
    }

    #[test]
    fn a_dead_letter_restores_the_layout() {
        const TABLE: Table = Table {
            name: "odd`name",
            index: 0,
            columns: &[
                column("quote\" and 'FORMAT x", ColumnKind::Plain),
                Column::new("id", "UInt64", "", ColumnKind::Plain).shaped(Shape::Fixed(8)),
                Column::new("n", "Array(Nullable(String))", "", ColumnKind::Plain)
                    .shaped(Shape::Array(&Shape::Nullable(&Shape::String)))
                    .sent_as("Array(Nullable(FixedString(3)))"),
                Column::new("t", "Tuple(UInt8, String)", "", ColumnKind::Default)
                    .shaped(Shape::WithDefaultFlag(&Shape::Tuple(&[Shape::Fixed(1), Shape::String]))),
            ],
            create: "",
            format: Format::RowBinaryWithDefaults,
            row_id: Some("id"),
            partition_key: None,
        };
        let layout = InsertTarget::of(&TABLE);
        let json = layout.columns_as_json();
        let again = InsertTarget::from_json("odd`name", layout.format(), &json);
        assert_eq!(again.as_ref(), Some(&*layout), "{json}");
        for (format, columns) in [
            ("RowBinary; DROP TABLE t", &*json),
            ("RowBinary", ""),
            ("RowBinary", "{\"columns\":[]}"),
            ("RowBinary", "[]"),
        ] {
            assert_eq!(
                InsertTarget::from_json("t", format, columns),
                None,
                "{format} {columns}"
            );
        }
    }

    #[test]
    fn objects_are_sent_as_strings() {
        const TABLE: Table = Table {
            name: "t",
            index: 0,
            columns: &[Column::new("payload", "Nullable(JSON)", "", ColumnKind::Plain)],
            create: "",
            format: Format::RowBinary,
            row_id: None,
            partition_key: None,
        };
        assert_eq!(
            &*InsertTarget::of(&TABLE).statement,
            "INSERT INTO `t` (`payload`) SETTINGS input_format_binary_read_json_as_string = 1 FORMAT RowBinary"
        );
    }
}
