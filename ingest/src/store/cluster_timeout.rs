//! How long ClickHouse waits for the other servers that run a statement.

use std::time::Duration;

use clickhouse::query::Query;

/// Lets a statement ON CLUSTER, or in a database of the engine Replicated, wait for the other servers
/// nearly as long as its own timeout. ClickHouse's default is three minutes, after which a longer
/// mutation counts as failed. The error then names the servers that have not run the statement; they
/// run it when they can.
pub(crate) fn wait_for_cluster(query: Query, timeout: Duration) -> Query {
    query.with_setting("distributed_ddl_task_timeout", seconds(timeout).to_string())
}

/// Returns nine tenths of a timeout, so that the client gets the error. 0 would not wait at all.
fn seconds(timeout: Duration) -> u64 {
    (timeout.as_secs() * 9 / 10).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_have_less_time_than_the_client() {
        let of = |timeout| seconds(Duration::from_secs(timeout));
        assert_eq!([of(0), of(1), of(60), of(3600)], [1, 1, 54, 3240]);
    }
}
