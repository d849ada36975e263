//! Layout: what the rows of a block are, and how they are inserted, as rows and as columns.
//!
//! The layout goes with the block and is logged with it, names, types and shapes included: the block is
//! read again by another build, when table and schema may have changed.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    native::{self, MAX_GROWTH, Native, NativeColumn, Rows, time_slice::TimeSlice},
    store::quoted,
    table::{Format, Table, shape::ShapeBuf},
};

/// What a table with JSON needs: a block has its objects as texts. Servers before 24.10 do not know the setting, so that other
/// tables go without it.
const JSON_SETTINGS: &str = " SETTINGS input_format_binary_read_json_as_string = 1";

/// What the rows of a block are, and how they are inserted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct InsertTarget {
    /// The table's name, unquoted.
    pub(crate) table: Arc<str>,
    /// `INSERT INTO … (…) FORMAT …`, for the rows as they are in the block.
    pub(crate) statement: Box<str>,
    /// The columns that a row has, in its order. A block that a version before 0.2 has left has none:
    /// its statement says which columns there are, and not which types they had.
    pub(crate) columns: Box<[TargetColumn]>,
    /// The place among `columns` of the row's own id, which no other row has.
    pub(crate) row_id: Option<usize>,
    /// How they can be sent in columns instead.
    pub(crate) columnar: Option<Arc<ColumnarInsert>>,
}

/// An inserted column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TargetColumn {
    pub(crate) name: Box<str>,
    /// The type of the column in the table that the row was made for.
    pub(crate) data_type: Box<str>,
    /// The type of its values when they are sent in columns.
    pub(crate) sent_type: Box<str>,
    /// How its values lie in a row; none where that is not known.
    pub(crate) shape: Option<ShapeBuf>,
}

/// The columns of a layout as a dead letter has them.
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

/// How the rows of a block are sent in columns.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ColumnarInsert {
    pub(crate) native: Native,
    /// `INSERT INTO … (…) FORMAT Native`.
    pub(crate) statement: Box<str>,
}

impl InsertTarget {
    /// Returns what the blocks of a table are.
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

    /// Returns a layout; where the shapes of all columns are known, the rows can be sent in columns.
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
        }
    }

    /// Returns the name of the format that the rows are in.
    pub(crate) fn format(&self) -> &str {
        self.statement.rsplit_once(" FORMAT ").map_or("", |(_, format)| format)
    }

    /// Returns the columns as a text, from which [`from_json`](Self::from_json) makes the layout again. It is empty where
    /// the types are not known.
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

    /// Returns the layout of rows of `table`; none for an unknown format, and for a text of another form.
    pub(crate) fn from_json(table: &str, format: &str, columns: &str) -> Option<Self> {
        let written: WrittenColumns<'_> = serde_json::from_str(columns).ok()?;
        let format = [Format::RowBinary, Format::RowBinaryWithDefaults]
            .into_iter()
            .find(|known| known.name() == format)?;
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
        let row_id = written.row_id.filter(|place| *place < columns.len());
        let statement = insert_statement(table, &columns, format);
        Some(Self::new(table.into(), statement.into(), columns, row_id))
    }

    /// Returns the id of each row; none where rows have none, or it cannot be found in them.
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
    /// Returns how rows are sent in columns, each under the name that `rename` gives it, or not at all;
    /// none where a shape is not known.
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

/// Returns `INSERT INTO … (…) FORMAT …` with the columns that a row has; the list keeps a table usable that has more.
fn insert_statement(table: &str, columns: &[TargetColumn], format: Format) -> String {
    // The word may also be the value of an enum, which does no harm.
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
        "INSERT INTO {} ({}){settings} FORMAT {format}",
        quoted(table),
        columns.join(", "),
    )
}

/// Returns rows of a table, which end at `ends`, as one block of columns, for the bench; none where they stay rows.
pub fn columns_of(table: &Table, bytes: Bytes, ends: Arc<[u32]>) -> Option<Vec<u8>> {
    let mut room = Vec::new();
    let layout = InsertTarget::of(table);
    let native = &layout.columnar.as_ref()?.native;
    let length = native
        .block(
            Rows {
                bytes: &bytes,
                ends: &ends,
            },
            MAX_GROWTH,
            &mut room,
            &mut TimeSlice::begin(),
        )
        .ok()?
        .len();
    room.truncate(length);
    Some(room)
}

/// Appends what the log keeps of the columns of a layout:
///
/// ```text
/// 4  number of columns
/// 4  place of the row's id, 0xffff_ffff for none
///    per column: name, type, type in columns (each a length of 4 bytes and the text), shape
/// ```
///
/// All numbers are little-endian.
pub(crate) fn put_columns(out: &mut Vec<u8>, layout: &InsertTarget) {
    put_u32(out, layout.columns.len());
    put_u32(out, layout.row_id.unwrap_or(usize::MAX));
    for column in &layout.columns {
        for text in [&column.name, &column.data_type, &column.sent_type] {
            put_u32(out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
        ShapeBuf::put(column.shape.as_ref(), out);
    }
}

/// Reads what [`put_columns`] has put; none if it is anything else.
pub(crate) fn take_columns(mut bytes: &[u8]) -> Option<(Box<[TargetColumn]>, Option<usize>)> {
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
    bytes.is_empty().then_some((columns, row_id))
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
            row_id: None,
            partition_key: None,
        };
        assert_eq!(
            &*InsertTarget::of(&TABLE).statement,
            r"INSERT INTO `odd\`name` (`extra.key`, `at`, `raw`) FORMAT RowBinaryWithDefaults"
        );
    }

    #[test]
    fn a_layout_is_made_again_from_what_a_dead_letter_has() {
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
                    .shaped(Shape::Marked(&Shape::Tuple(&[Shape::Fixed(1), Shape::String]))),
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
    fn objects_are_sent_as_texts() {
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
