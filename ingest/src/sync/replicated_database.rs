//! Databases of the engine
//! [Replicated](https://clickhouse.com/docs/engines/database-engines/replicated), which pass each
//! statement on to their replicas themselves.
//!
//! Such a database refuses ON CLUSTER (code 80), and a path or a replica in the arguments of a
//! replicated table, since all of its replicas have the same statements.

use super::{STATEMENT_TIMEOUT, definition::unreplicated, qualify::leading_name};
use crate::store::{ClickHouseError, ClickHouseUrl, within};

/// The clause that names the cluster of a statement. The cluster's quoted name follows.
const ON_CLUSTER: &str = " ON CLUSTER ";

/// The engines with a path in Keeper.
const REPLICATED: &str = "\nENGINE = Replicated";

/// Changes the statements that a database of the engine Replicated refuses, if the URL's database is
/// one. Asks the server only if there are such statements.
///
/// # Errors
/// ClickHouse is unreachable, or the user lacks the permission.
pub(crate) async fn adapt_to_database<'s>(
    url: &ClickHouseUrl,
    statements: impl IntoIterator<Item = &'s mut String>,
) -> Result<(), ClickHouseError> {
    let refused = statements.into_iter().filter(|statement| is_refused(statement));
    let refused: Vec<_> = refused.collect();
    if !refused.is_empty() && is_replicated(url).await? {
        for statement in refused {
            *statement = adapted(statement);
        }
    }
    Ok(())
}

async fn is_replicated(url: &ClickHouseUrl) -> Result<bool, ClickHouseError> {
    let query = url
        .server_client()
        .query("SELECT count() FROM system.databases WHERE name = ? AND engine = 'Replicated'")
        .bind(url.database());
    let found: u64 = within(STATEMENT_TIMEOUT, query.fetch_one()).await?;
    Ok(found > 0)
}

/// Returns whether a Replicated database may refuse the statement.
fn is_refused(statement: &str) -> bool {
    statement.contains(ON_CLUSTER) || statement.contains(REPLICATED)
}

/// Returns a statement without its cluster, and without the path and the replica of its engine.
fn adapted(statement: &str) -> String {
    let mut adapted = without_cluster(statement);
    if let Some(at) = adapted.rfind(REPLICATED) {
        let start = at + "\nENGINE = ".len();
        let end = adapted[start..].find('\n').map_or(adapted.len(), |end| start + end);
        let engine = format!("Replicated{}", unreplicated(&adapted[start..end]));
        adapted.replace_range(start..end, &engine);
    }
    adapted
}

/// Returns a statement without the cluster after the name of its table or view.
fn without_cluster(statement: &str) -> String {
    let whole = || statement.to_owned();
    let Some(mut end) = statement.find('`') else {
        return whole();
    };
    // The database, and the table.
    while let Some(name) = leading_name(&statement[end..]) {
        end += name.len();
        match statement[end..].strip_prefix('.') {
            Some(_) => end += 1,
            None => break,
        }
    }
    let (head, rest) = statement.split_at(end);
    let Some(rest) = rest.strip_prefix(ON_CLUSTER) else {
        return whole();
    };
    match leading_name(rest) {
        Some(cluster) => format!("{head}{}", &rest[cluster.len()..]),
        None => whole(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_no_cluster_and_no_path() {
        for (statement, expected) in [
            (
                "CREATE TABLE IF NOT EXISTS `d`.`t` ON CLUSTER `c`\n(\n    `a` String DEFAULT ' ON CLUSTER `c`'\n)\n\
                 ENGINE = ReplicatedMergeTree('/tables/{shard}/t', '{replica}')\nORDER BY a",
                "CREATE TABLE IF NOT EXISTS `d`.`t`\n(\n    `a` String DEFAULT ' ON CLUSTER `c`'\n)\n\
                 ENGINE = ReplicatedMergeTree\nORDER BY a",
            ),
            (
                "CREATE TABLE IF NOT EXISTS `d`.`t`\n(\n    `a` UInt8\n)\n\
                 ENGINE = ReplicatedReplacingMergeTree('/p', 'r', `a`)",
                "CREATE TABLE IF NOT EXISTS `d`.`t`\n(\n    `a` UInt8\n)\nENGINE = ReplicatedReplacingMergeTree(`a`)",
            ),
            (
                "CREATE TABLE IF NOT EXISTS `d`.`t` ON CLUSTER `c`\n(\n    `a` UInt8\n)\n\
                 ENGINE = Distributed('c', 'd', 't_local', `a`)",
                "CREATE TABLE IF NOT EXISTS `d`.`t`\n(\n    `a` UInt8\n)\nENGINE = Distributed('c', 'd', 't_local', `a`)",
            ),
            (
                r"ALTER TABLE `d`.`t\`x` ON CLUSTER `a b` ADD COLUMN IF NOT EXISTS `a` UInt8 AFTER `b`",
                r"ALTER TABLE `d`.`t\`x` ADD COLUMN IF NOT EXISTS `a` UInt8 AFTER `b`",
            ),
            (
                "CREATE MATERIALIZED VIEW IF NOT EXISTS `d`.`v` ON CLUSTER `c`\nTO `d`.`s`\nAS SELECT 1",
                "CREATE MATERIALIZED VIEW IF NOT EXISTS `d`.`v`\nTO `d`.`s`\nAS SELECT 1",
            ),
            ("DROP VIEW `d`.`v` ON CLUSTER `c`", "DROP VIEW `d`.`v`"),
            (
                "ALTER TABLE `t` ON CLUSTER `c` DELETE WHERE a = 1 SETTINGS mutations_sync = 2",
                "ALTER TABLE `t` DELETE WHERE a = 1 SETTINGS mutations_sync = 2",
            ),
        ] {
            assert!(is_refused(statement), "{statement}");
            assert_eq!(adapted(statement), expected);
        }
    }

    #[test]
    fn other_statements_stay() {
        for statement in [
            "ALTER TABLE `t` ADD COLUMN IF NOT EXISTS `a` String COMMENT 'x ON CLUSTER `c`'",
            "CREATE TABLE IF NOT EXISTS `d`.`t`\n(\n    `a` UInt8\n)\nENGINE = MergeTree\nORDER BY a",
            "CREATE TABLE IF NOT EXISTS `d`.`t`\n(\n    `a` UInt8\n)\nENGINE = ReplicatedMergeTree\nORDER BY a",
        ] {
            assert_eq!(adapted(statement), statement);
        }
        assert!(!is_refused("ALTER TABLE `t` ADD COLUMN IF NOT EXISTS `a` String"));
    }
}
