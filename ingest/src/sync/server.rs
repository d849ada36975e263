//! Whether a server is new enough, and knows the settings of inserts.

use std::time::Duration;

use super::{Kind, STATEMENT_TIMEOUT};
use crate::store::{ClickHouseUrl, INSERT_SETTINGS, ServerVersion, version, within};

/// A reachable server answers sooner than this.
const VERSION_TIMEOUT: Duration = Duration::from_secs(3);

/// Settings of inserts that a server without them does not need: it has only synchronous inserts,
/// and only one name of the setting for shards.
const OPTIONAL: [&str; 3] = ["async_insert", "wait_for_async_insert", "insert_distributed_sync"];

/// Checks that a server can store rows: that it is reachable, has a version that the collector can
/// use, and accepts the settings in the URL.
///
/// # Errors
/// ClickHouse is unreachable, too old, or refuses a setting.
pub(super) async fn check_server(url: &ClickHouseUrl) -> Result<(), Kind> {
    let found = version(url, VERSION_TIMEOUT).await;
    let found = found.map_err(|error| Kind::of("reading its version", error))?;
    // A server that reports no version is none of ClickHouse's releases; the checks below decide.
    if let Some(found) = found.filter(|found| *found < ServerVersion::OLDEST) {
        return Err(Kind::TooOld { found });
    }
    let settings = url.settings();
    if settings.is_empty() {
        return Ok(());
    }
    let query = settings
        .iter()
        .fold(url.server_client().query_raw("SELECT 1"), |query, (name, value)| {
            query.with_setting(name, value)
        });
    let names: Vec<_> = settings.iter().map(|(name, _)| name.as_str()).collect();
    within(STATEMENT_TIMEOUT, query.execute())
        .await
        .map_err(|error| Kind::of(format!("the settings in the URL: {}", names.join(", ")), error))
}

/// Returns the settings of inserts that the server does not have and does not need.
///
/// # Errors
/// The server lacks a setting that inserts need, or is unreachable.
pub(super) async fn unknown_settings(url: &ClickHouseUrl) -> Result<Vec<&'static str>, Kind> {
    let names: Vec<_> = INSERT_SETTINGS.iter().map(|(name, _)| *name).collect();
    let query = url
        .server_client()
        .query("SELECT name FROM system.settings WHERE name IN ?")
        .bind(&names);
    let known = match within(STATEMENT_TIMEOUT, query.fetch_all::<String>()).await {
        Ok(known) => known,
        Err(error) if error.is_transient() => return Err(Kind::of("reading its settings", error)),
        // A user without permission to query may still insert.
        Err(_) => return Ok(Vec::new()),
    };
    // `wait_end_of_query` is a parameter of the HTTP interface, and in no list.
    let unknown = names
        .into_iter()
        .filter(|name| *name != "wait_end_of_query" && !known.iter().any(|known| known == name));
    let (unneeded, needed): (Vec<_>, Vec<_>) = unknown.partition(|name| OPTIONAL.contains(name));
    match needed.first() {
        Some(setting) => Err(Kind::NoSetting { setting }),
        None => Ok(unneeded),
    }
}
