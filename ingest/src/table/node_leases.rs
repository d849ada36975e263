//! The table of the processes and their node numbers.

use crate::table::{Column, ColumnKind, Format, Table};

/// Builds the table's columns and its statement from one list.
macro_rules! nodes {
    ($engine:literal, $first:literal $first_type:literal $(, $name:literal $data_type:literal)*) => {
        Table {
            name: "rowmill_nodes",
            // Not a schema's table; the spool has no rows for it.
            index: usize::MAX,
            columns: &[nodes!(@column $first $first_type), $(nodes!(@column $name $data_type),)*],
            create: concat!(
                "CREATE TABLE IF NOT EXISTS `rowmill_nodes`\n(`", $first, "` ", $first_type,
                $(", `", $name, "` ", $data_type,)*
                ") ", $engine,
            ),
            format: Format::RowBinary,
            row_id: None,
            partition_key: None,
        }
    };
    (@column $name:literal $data_type:literal) => {
        Column::new($name, $data_type, concat!("`", $name, "` ", $data_type), ColumnKind::Plain)
    };
}

/// The table of the processes and their node numbers. No two rows are equal, so the table needs no
/// deduplication window.
pub(crate) static NODES: Table = nodes! {
    "ENGINE = ReplacingMergeTree(`beats`) ORDER BY (`node`, `process`) TTL toDateTime(`beat`) + toIntervalDay(30) \
     SETTINGS non_replicated_deduplication_window = 0",
    "node" "UInt16",
    "process" "UUID",
    "state" "Enum8('asks' = 1, 'holds' = 2, 'left' = 3)",
    "beats" "UInt64",
    "beat" "DateTime64(3, 'UTC')",
    "started" "DateTime64(3, 'UTC')",
    "host" "String",
    "ids_until" "DateTime64(3, 'UTC')"
};
