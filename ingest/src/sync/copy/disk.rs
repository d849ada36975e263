//! The free space that a copy needs on the disks of its table.

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::facts::Facts;
use crate::{
    store::{quoted, within},
    sync::{Kind, STATEMENT_TIMEOUT},
};

/// The part of the table's bytes that must be free beyond them, as a divisor: merges of the new
/// table, and the rows that arrive meanwhile, need a quarter more.
const MARGIN: u64 = 4;

/// The bytes of the table, those of the copy, and the free bytes of the table's disks.
#[derive(Debug, Row, Deserialize)]
struct Space {
    bytes: u64,
    copied: u64,
    free: u64,
}

/// Checks that the disks of the table have the space for the bytes that the copy lacks.
///
/// Returns a sentence if the user may not read the free space.
///
/// # Errors
/// There is too little space, or ClickHouse is unreachable.
pub(super) async fn check(client: &Client, facts: &Facts) -> Result<Option<String>, Kind> {
    let copied = match facts.has_copy {
        true => format!(
            "(SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() AND table = {})",
            literal(&facts.copy)
        ),
        false => "0".to_owned(),
    };
    let table = literal(facts.table.name);
    let of_table = format!("FROM system.parts WHERE active AND database = currentDatabase() AND table = {table}");
    let query = format!(
        "SELECT ifNull(toUInt64((SELECT sum(bytes_on_disk) {of_table})), toUInt64(0)) AS bytes, \
         ifNull(toUInt64({copied}), toUInt64(0)) AS copied, \
         ifNull(toUInt64((SELECT sum(unreserved_space) FROM system.disks WHERE name IN (SELECT disk_name {of_table}))), \
         toUInt64(0)) AS free"
    );
    let row = within(STATEMENT_TIMEOUT, client.query_raw(&query).fetch_one::<Space>()).await;
    match row {
        Ok(Space { bytes, copied, free }) => match lack(bytes, copied, free) {
            Some(reason) => Err(facts.refused(&reason)),
            None => Ok(None),
        },
        Err(error) if error.is_transient() => Err(Kind::of("reading the free space of the disks", error)),
        Err(error) => Ok(Some(format!(
            "the free space for {} cannot be read, so nothing has checked that it is enough: {error}",
            quoted(&facts.copy)
        ))),
    }
}

/// Returns why the free bytes are too few for a copy that has some of the table's bytes already.
fn lack(bytes: u64, copied: u64, free: u64) -> Option<String> {
    let needed = bytes.saturating_sub(copied);
    let needed = needed.saturating_add(needed / MARGIN);
    (bytes > 0 && free < needed).then(|| {
        format!(
            "its disks have {free} free bytes, and the copy needs {needed}: the {bytes} bytes of the table{}, and a \
             quarter more",
            match copied {
                0 => String::new(),
                copied => format!(" without the {copied} that are copied"),
            }
        )
    })
}

/// Returns a text as an SQL literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_needs_the_bytes_that_it_lacks_and_a_quarter_more() {
        assert_eq!(lack(1000, 0, 1250), None);
        assert_eq!(
            lack(1000, 0, 1249).as_deref(),
            Some(
                "its disks have 1249 free bytes, and the copy needs 1250: the 1000 bytes of the table, and a quarter \
                 more"
            )
        );
        assert_eq!(lack(1000, 800, 250), None);
        assert_eq!(
            lack(1000, 800, 249).as_deref(),
            Some(
                "its disks have 249 free bytes, and the copy needs 250: the 1000 bytes of the table without the 800 that \
                 are copied, and a quarter more"
            )
        );
        assert_eq!(lack(1000, 2000, 0), None);
        assert_eq!(lack(0, 0, 0), None);
        assert_eq!(lack(u64::MAX, 0, u64::MAX), None);
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(literal("it's"), "'it\\'s'");
    }
}
