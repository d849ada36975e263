//! The time for which ClickHouse keeps dead letters.

use super::STATEMENT_TIMEOUT;
use crate::{
    store::{ClickHouseError, ClickHouseUrl, within},
    table::dead_letter::REJECTED,
};

/// Sets the TTL of the table of dead letters to `days`, or removes it if `days` is 0. Returns the
/// statement, if one was needed.
///
/// # Errors
/// ClickHouse is unreachable, or refuses the statement.
pub(super) async fn apply(url: &ClickHouseUrl, days: u32) -> Result<Option<String>, ClickHouseError> {
    let client = url.client();
    let query = client
        .query("SELECT engine_full FROM system.tables WHERE database = ? AND name = ?")
        .bind(url.database())
        .bind(REJECTED.name);
    let engine: String = within(STATEMENT_TIMEOUT, query.fetch_one()).await?;
    let statement = alter_statement(&engine, days);
    if let Some(statement) = &statement {
        within(STATEMENT_TIMEOUT, client.query_raw(statement).execute()).await?;
    }
    Ok(statement)
}

/// Returns the statement that sets this TTL for a table of this engine. A TTL in another form is
/// the operator's own and stays.
fn alter_statement(engine: &str, days: u32) -> Option<String> {
    let current = ttl_in(engine);
    let is_own = current.is_none_or(|ttl| ttl.starts_with(OWN_TTL_START) && ttl.ends_with(')') && !ttl.contains(','));
    let wanted = (days > 0).then(|| format!("{OWN_TTL_START}{days})"));
    if !is_own || current == wanted.as_deref() {
        return None;
    }
    Some(match wanted {
        Some(ttl) => format!("ALTER TABLE `rejected` MODIFY TTL {ttl}"),
        None => "ALTER TABLE `rejected` REMOVE TTL".to_owned(),
    })
}

/// The beginning of the collector's own TTL, as ClickHouse displays it. The number of days and a
/// bracket follow.
const OWN_TTL_START: &str = "toDateTime(time) + toIntervalDay(";

/// Returns the TTL in the text of a table's engine.
fn ttl_in(engine: &str) -> Option<&str> {
    let (_, rest) = engine.split_once(" TTL ")?;
    Some(rest.rsplit_once(" SETTINGS ").map_or(rest, |(ttl, _)| ttl))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_collectors_own_ttl_is_changed() {
        let engine = |ttl: &str| {
            format!("MergeTree PARTITION BY toYYYYMM(time) ORDER BY time{ttl} SETTINGS index_granularity = 8192")
        };
        let ours = engine(" TTL toDateTime(time) + toIntervalDay(30)");
        let modify = |days| {
            Some(format!(
                "ALTER TABLE `rejected` MODIFY TTL toDateTime(time) + toIntervalDay({days})"
            ))
        };
        assert_eq!(alter_statement(&ours, 30), None);
        assert_eq!(alter_statement(&ours, 7), modify(7));
        assert_eq!(
            alter_statement(&ours, 0),
            Some("ALTER TABLE `rejected` REMOVE TTL".to_owned())
        );
        assert_eq!(alter_statement(&engine(""), 30), modify(30));
        assert_eq!(alter_statement(&engine(""), 0), None);
        assert_eq!(
            alter_statement("MergeTree ORDER BY time TTL toDateTime(time) + toIntervalDay(30)", 30),
            None
        );
        for by_hand in [
            " TTL toDateTime(time) + toIntervalYear(1)",
            " TTL toDateTime(time) + toIntervalDay(30), toDateTime(time) + toIntervalDay(7) TO VOLUME 'cold')",
            " TTL toDateTime(time) + toIntervalDay(30) WHERE code = 'json'",
        ] {
            for days in [0, 7, 30] {
                assert_eq!(alter_statement(&engine(by_hand), days), None, "{by_hand}");
            }
        }
    }
}
