//! Dead letters: events that could not become a row, in the table `rejected`, with the reason and
//! the payload.
//!
//! The table belongs to the runtime, not to a schema: no schema may have a table of its name.

use jiff::Timestamp;
use twox_hash::XxHash64;

use crate::{
    leb128::put_length,
    table::{Column, ColumnKind, Format, Table, shape::Shape},
};

/// The default time that a dead letter stays in its table, in days: time enough to notice the
/// problem, to fix it, and to send the event again.
pub(crate) const DEFAULT_DAYS: u32 = 30;

/// The default maximum of payload bytes in a dead letter. Nearly all events are shorter.
pub(crate) const DEFAULT_PAYLOAD_BYTES: usize = 64 << 10;

/// The maximum length of a reason in a dead letter, in bytes. An event can have a hundred invalid
/// values, and the first of them show the problem.
const MAX_REASON_BYTES: usize = 4 << 10;

/// An event that could not become a row, and the reason.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetter<'a> {
    /// The time of the rejection.
    pub time: Timestamp,
    /// The event's id, as in a row.
    pub id: u64,
    /// The first part of the event's destination.
    pub service: &'a str,
    /// The second part of the event's destination.
    pub name: &'a str,
    /// The table that the event was for.
    pub table: &'a str,
    /// The column with the invalid value; empty if the event as a whole was rejected.
    pub column: &'a str,
    /// The short name of the reason, for counting.
    pub code: &'a str,
    /// The reason as a sentence.
    pub reason: &'a str,
    /// The bytes that the client sent; they need not be text.
    pub payload: &'a [u8],
    /// The address of the event's sender.
    pub ip: &'a str,
}

impl DeadLetter<'_> {
    /// Appends the row of [`REJECTED`], in the order of its columns, with at most
    /// `max_payload_bytes` of the payload.
    pub(crate) fn encode(&self, max_payload_bytes: usize, out: &mut Vec<u8>) {
        self.put(max_payload_bytes, "", "", out);
    }

    /// Appends the row of [`REJECTED`] for a payload that is a whole row, with its format and its
    /// columns as JSON, which are needed to read the payload again.
    pub(crate) fn encode_row(&self, format: &str, columns: &str, out: &mut Vec<u8>) {
        self.put(usize::MAX, format, columns, out);
    }

    fn put(&self, max_payload_bytes: usize, payload_format: &str, payload_columns: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.time.as_millisecond().to_le_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        let mut end = self.reason.len().min(MAX_REASON_BYTES);
        while !self.reason.is_char_boundary(end) {
            end -= 1;
        }
        let reason = &self.reason[..end];
        // RowBinary encodes a LowCardinality(String) like a String.
        for text in [self.service, self.name, self.table, self.column, self.code, reason] {
            put_string(out, text.as_bytes());
        }
        put_string(out, &self.payload[..self.payload.len().min(max_payload_bytes)]);
        out.extend_from_slice(&(self.payload.len() as u64).to_le_bytes());
        out.extend_from_slice(&XxHash64::oneshot(0, self.payload).to_le_bytes());
        for text in [self.ip, payload_format, payload_columns] {
            put_string(out, text.as_bytes());
        }
    }
}

/// Appends a String: its length, then its bytes.
fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    put_length(out, text.len());
    out.extend_from_slice(text);
}

/// Builds the table's columns and its statement from one list.
macro_rules! rejected {
    ($engine:literal, $first:literal $first_type:literal $first_sent:expr $(, $name:literal $data_type:literal $sent:expr)*) => {
        Table {
            name: "rejected",
            // Not a schema's table: its queue follows those of the schema's tables.
            index: usize::MAX,
            columns: &[
                rejected!(@column $first $first_type $first_sent),
                $(rejected!(@column $name $data_type $sent),)*
            ],
            create: concat!(
                "CREATE TABLE IF NOT EXISTS `rejected`\n(`", $first, "` ", $first_type,
                $(", `", $name, "` ", $data_type,)*
                ") ", $engine,
            ),
            format: Format::RowBinary,
            row_id: None,
            partition_key: None,
        }
    };
    (@column $name:literal $data_type:literal $sent:expr) => {
        Column::new($name, $data_type, concat!("`", $name, "` ", $data_type), ColumnKind::Plain)
            .shaped($sent.0)
            .sent_as($sent.1)
    };
}

/// The shape and the sent type of a text.
const TEXT: (Shape, &str) = (Shape::String, "String");

/// The table of dead letters, with the default [TTL](DEFAULT_DAYS) and the default deduplication
/// window of schema tables.
pub(crate) static REJECTED: Table = rejected! {
    "ENGINE = MergeTree PARTITION BY toYYYYMM(`time`) ORDER BY `time` \
     TTL toDateTime(`time`) + toIntervalDay(30) SETTINGS non_replicated_deduplication_window = 1000",
    "time" "DateTime64(3, 'UTC')" (Shape::Fixed(8), "DateTime64(3, 'UTC')"),
    "id" "UInt64" (Shape::Fixed(8), "UInt64"),
    "service" "LowCardinality(String)" TEXT,
    "name" "String" TEXT,
    "table" "String" TEXT,
    "column" "String" TEXT,
    "code" "LowCardinality(String)" TEXT,
    "reason" "String" TEXT,
    "payload" "String" TEXT,
    // The length of the whole payload, and its xxHash64 as ClickHouse's `xxHash64` computes it.
    "payload_bytes" "UInt64" (Shape::Fixed(8), "UInt64"),
    "payload_hash" "UInt64" (Shape::Fixed(8), "UInt64"),
    "ip" "String" TEXT,
    // For a row that ClickHouse refused: the format of the payload, and its columns from
    // `InsertTarget::columns_as_json`.
    "payload_format" "LowCardinality(String)" TEXT,
    "payload_columns" "LowCardinality(String)" TEXT
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_a_row() {
        let payload = [0xff; 200];
        let dead_letter = DeadLetter {
            time: Timestamp::UNIX_EPOCH + std::time::Duration::from_millis(0x0102),
            id: 7,
            service: "wh",
            name: "mail",
            table: "t",
            column: "",
            code: "range",
            reason: "no",
            payload: &payload,
            ip: "::1",
        };
        let mut row = Vec::new();
        dead_letter.encode(200, &mut row);
        let mut expected = Vec::new();
        expected.extend_from_slice(&[0x02, 0x01, 0, 0, 0, 0, 0, 0]); // time
        expected.extend_from_slice(&[7, 0, 0, 0, 0, 0, 0, 0]); // id
        expected.extend_from_slice(b"\x02wh\x04mail\x01t\x00\x05range\x02no"); // service … reason
        expected.extend_from_slice(&[0xc8, 0x01]); // 200 bytes of payload
        expected.extend_from_slice(&payload);
        expected.extend_from_slice(&[200, 0, 0, 0, 0, 0, 0, 0]); // payload_bytes
        expected.extend_from_slice(&XxHash64::oneshot(0, &payload).to_le_bytes());
        expected.extend_from_slice(b"\x03::1\x00\x00"); // ip, no format and no columns
        assert_eq!(row, expected);

        // A truncated payload has the length and the hash of the whole one.
        let mut cut = Vec::new();
        dead_letter.encode(3, &mut cut);
        let start = expected.len() - 2 - 200 - 8 - 8 - 4 - 2;
        expected.splice(start..start + 2 + 200, [3, 0xff, 0xff, 0xff]);
        assert_eq!(cut, expected);
    }

    #[test]
    fn a_reason_is_truncated_between_characters() {
        let reason = "é".repeat(MAX_REASON_BYTES);
        let dead_letter = DeadLetter {
            time: Timestamp::UNIX_EPOCH,
            id: 0,
            service: "",
            name: "",
            table: "",
            column: "",
            code: "",
            reason: &reason[..reason.len() - 2],
            payload: b"",
            ip: "",
        };
        let mut row = Vec::new();
        dead_letter.encode(0, &mut row);
        // The other fields: two numbers, five empty texts, the length of the reason, and six empty
        // fields.
        assert_eq!(row.len(), 16 + 5 + 2 + MAX_REASON_BYTES + 1 + 16 + 3);
    }

    #[test]
    fn the_statement_has_the_default_ttl() {
        let ttl = format!("TTL toDateTime(`time`) + toIntervalDay({DEFAULT_DAYS}) SETTINGS");
        assert!(REJECTED.create.contains(&ttl), "{}", REJECTED.create);
    }

    #[test]
    fn the_statement_declares_each_column() {
        for column in REJECTED.columns {
            assert!(REJECTED.create.contains(column.declaration), "{}", column.name);
        }
    }
}
