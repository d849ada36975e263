//! Which tables a database lacks, by their names alone.

use std::collections::BTreeSet;

use super::{Kind, STATEMENT_TIMEOUT, SyncError};
use crate::store::{ClickHouseUrl, within};

/// Returns those of the tables that the database lacks, sorted. A database that does not exist
/// lacks all of them.
///
/// # Errors
/// ClickHouse is unreachable, or refuses the user.
pub async fn missing_tables(
    url: &ClickHouseUrl,
    names: impl IntoIterator<Item = &str>,
) -> Result<Vec<String>, SyncError> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let client = url.server_client();
    let query = client
        .query("SELECT name FROM system.tables WHERE database = ? AND name IN ?")
        .bind(url.database())
        .bind(names.iter().collect::<Vec<_>>());
    let existing: Vec<String> = within(STATEMENT_TIMEOUT, query.fetch_all())
        .await
        .map_err(|error| Kind::of("looking for the tables", error).at(url))?;
    let missing = names
        .into_iter()
        .filter(|name| !existing.iter().any(|found| found == name));
    Ok(missing.map(str::to_owned).collect())
}
