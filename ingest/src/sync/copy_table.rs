//! The table that a copy fills beside an existing table, and the setting that closes a table.

/// The setting that closes a table. ClickHouse refuses each insert into a table with at least as
/// many parts, before it writes anything, with TOO_MANY_PARTS, which every writer retries.
pub(crate) const CLOSED: &str = "max_parts_in_total = 0";

/// The name of the setting that closes a table.
pub(super) const LIMIT: &str = "max_parts_in_total";

/// Returns the name of the table that a copy of `table` fills. After the exchange, it is the name
/// of the table before the copy.
pub(crate) fn copy_name(table: &str) -> String {
    format!("rowmill_copy_{table}")
}

/// Returns the table's own limit of parts, from its `engine_full`.
pub(super) fn limit_of(engine_full: &str) -> Option<&str> {
    let (_, rest) = engine_full.rsplit_once("max_parts_in_total = ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)
}

/// Returns whether a table accepts no inserts, from its `engine_full`.
pub(crate) fn is_closed(engine_full: &str) -> bool {
    limit_of(engine_full) == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_table_has_the_limit_zero() {
        let with = |settings: &str| format!("MergeTree ORDER BY id SETTINGS {settings}");
        assert!(is_closed(&with("max_parts_in_total = 0, index_granularity = 8192")));
        assert!(is_closed(&with("index_granularity = 8192, max_parts_in_total = 0")));
        assert_eq!(limit_of(&with("max_parts_in_total = 500")), Some("500"));
        assert!(!is_closed(&with("max_parts_in_total = 500")) && !is_closed(&with("index_granularity = 8192")));
    }
}
