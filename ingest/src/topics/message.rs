//! The messages of a block's rows.
//!
//! A message has one row, no key, and the time at which its block was opened. Its headers are texts:
//!
//! ```text
//! rowmill-table         the table
//! rowmill-format        the format of the value, under ClickHouse's name
//! rowmill-fingerprint   the fingerprint of the names and types of the columns
//! rowmill-block         the id of the row's block
//! rowmill-row           the number of the row in its block
//! ```
//!
//! No other row has the block and the number, and a row that is sent again has the same ones.

use std::{collections::BTreeMap, sync::Arc};

use rskafka::{
    chrono::{DateTime, Utc},
    record::Record,
};
use uuid::Uuid;

use super::{
    MessageFormat,
    json::{JsonRows, UnknownType},
};
use crate::block::{content::BlockRows, layout::InsertTarget, parts::RowRange};

/// The name of the format of a message in JSON.
const JSON: &str = "JSONEachRow";

/// The bytes of a record that are not in its approximate size: lengths, offsets and times.
const OVERHEAD: usize = 48;

/// The rows of a block that are read from the spool.
#[derive(Debug)]
pub(super) struct ReadRows {
    pub(super) layout: Arc<InsertTarget>,
    pub(super) block: Uuid,
    /// The numbers of the rows.
    pub(super) numbers: Vec<RowRange>,
    pub(super) content: BlockRows,
}

/// A message, and the length that it has in a batch, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub(super) record: Record,
    pub(super) bytes: usize,
}

/// Makes messages of the rows of one insert target.
#[derive(Debug)]
pub(super) struct Encoder {
    /// The headers that all messages have.
    headers: BTreeMap<String, Vec<u8>>,
    /// `None` if a message has the row's own bytes.
    json: Option<JsonRows>,
}

impl Encoder {
    /// Returns the encoder of an insert target's rows.
    ///
    /// # Errors
    /// The first column whose values have no form in the format.
    pub(super) fn of(target: &InsertTarget, format: MessageFormat) -> Result<Self, UnknownType> {
        let json = match format {
            MessageFormat::Json => Some(JsonRows::of(target)?),
            MessageFormat::RowBinary => None,
        };
        let format = if json.is_some() { JSON } else { target.format() };
        let headers = [
            ("rowmill-table", target.schema_table().to_string()),
            ("rowmill-format", format.to_owned()),
            ("rowmill-fingerprint", target.fingerprint()),
        ];
        Ok(Self {
            headers: headers.map(|(name, text)| (name.to_owned(), text.into_bytes())).into(),
            json,
        })
    }

    /// Appends the messages of rows, and returns the numbers of the rows that cannot be encoded.
    pub(super) fn put(&self, rows: &ReadRows, out: &mut Vec<Message>) -> Vec<u32> {
        let mut malformed = Vec::new();
        let mut start = 0;
        let block = rows.block.to_string();
        for (number, end) in rows.numbers.iter().cloned().flatten().zip(&*rows.content.ends) {
            let end = *end as usize;
            let row = &rows.content.bytes[start..end];
            start = end;
            let mut value = Vec::with_capacity(row.len());
            match &self.json {
                None => value.extend_from_slice(row),
                Some(json) => {
                    if json.put(row, &mut value).is_err() {
                        malformed.push(number);
                        continue;
                    }
                }
            }
            let mut headers = self.headers.clone();
            headers.insert("rowmill-block".to_owned(), block.clone().into_bytes());
            headers.insert("rowmill-row".to_owned(), number.to_string().into_bytes());
            let record = Record {
                key: None,
                value: Some(value),
                headers,
                timestamp: opened(rows.block),
            };
            let bytes = record.approximate_size() + OVERHEAD;
            out.push(Message { record, bytes });
        }
        malformed
    }
}

/// Returns the time at which a block was opened, in milliseconds.
pub(super) fn opened(block: Uuid) -> DateTime<Utc> {
    // An id of version 7 begins with the time.
    DateTime::from_timestamp_millis((block.as_u128() >> 80) as i64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::table::{Column, ColumnKind, Format, Table};

    const TABLE: Table = Table {
        name: "t",
        index: 0,
        columns: &[Column::new("n", "UInt8", "", ColumnKind::Plain)],
        create: "",
        format: Format::RowBinary,
        row_id: None,
        partition_key: None,
    };

    fn messages(format: MessageFormat, bytes: &'static [u8], ends: &[u32]) -> (Vec<Message>, Vec<u32>) {
        let rows = ReadRows {
            layout: InsertTarget::of(&TABLE),
            block: Uuid::from_u128(1_796_076_900_123 << 80 | 7 << 76),
            numbers: vec![0..1, 3..5],
            content: BlockRows {
                bytes: bytes.into(),
                ends: ends.into(),
            },
        };
        let mut out = Vec::new();
        let malformed = Encoder::of(&rows.layout, format).unwrap().put(&rows, &mut out);
        (out, malformed)
    }

    #[test]
    fn a_message_has_a_row_and_what_tells_it_from_others() {
        let (json, malformed) = messages(MessageFormat::Json, &[7, 8, 9], &[1, 2, 3]);
        assert!(malformed.is_empty());
        let (binary, _) = messages(MessageFormat::RowBinary, &[7, 8, 9], &[1, 2, 3]);
        let header = |message: &Message, name: &str| String::from_utf8(message.record.headers[name].clone()).unwrap();
        for (messages, format, values) in [
            (&json, "JSONEachRow", [&b"{\"n\":7}"[..], b"{\"n\":8}", b"{\"n\":9}"]),
            (&binary, "RowBinary", [&[7], &[8], &[9]]),
        ] {
            for ((message, value), row) in messages.iter().zip(values).zip(["0", "3", "4"]) {
                assert_eq!(message.record.value.as_deref(), Some(value));
                assert_eq!(header(message, "rowmill-row"), row);
                assert_eq!(header(message, "rowmill-format"), format);
                assert_eq!(header(message, "rowmill-table"), "t");
                assert_eq!(header(message, "rowmill-block"), "01a22e86-8f1b-7000-0000-000000000000");
                assert_eq!(header(message, "rowmill-fingerprint").len(), 16);
                assert_eq!(message.record.timestamp.timestamp_millis(), 1_796_076_900_123);
            }
        }
    }

    #[test]
    fn a_row_with_other_bytes_is_left_out_alone() {
        let (json, malformed) = messages(MessageFormat::Json, &[7, 8, 8, 9], &[1, 3, 4]);
        assert_eq!((json.len(), malformed), (2, vec![3]));
    }
}
