//! Statements and inserts in the SQL of other servers: what ClickHouse 18.16 lacks, and what the
//! embedded ClickHouse lacks.

/// Returns a statement of a plan as 18.16 can read it: there, columns have no codecs, ADD COLUMN has no
/// IF NOT EXISTS, mutations have no settings, and a column of a replicated table has no comment (code 122).
pub(super) fn for_old(statement: &str) -> String {
    let statement = statement
        .replace(" CODEC(ZSTD(3))", "")
        .replace(" COMMENT 'personal data'", "");
    let statement = statement.replace(" ADD COLUMN IF NOT EXISTS ", " ADD COLUMN ");
    statement.replace(" SETTINGS mutations_sync = 2", "")
}

/// Returns whether 18.16 refuses a statement ON CLUSTER that later servers run (code 371): one that
/// alters a Distributed table over shards with replicas.
pub(super) fn is_refused_by_old(statement: &str) -> bool {
    statement.starts_with("ALTER TABLE ") && !statement.contains("_local`")
}

/// Returns a statement for one server.
pub(super) fn off_cluster(statement: &str) -> String {
    statement.replace(" ON CLUSTER `fleet`", "")
}

/// Returns a statement of a plan as the embedded ClickHouse can run it, without a cluster's queue and
/// without replicas.
pub(super) fn for_embedded(statement: &str) -> String {
    let mut statement = off_cluster(statement);
    if let Some((before, rest)) = statement.split_once("ReplicatedMergeTree(") {
        let (_, after) = rest.split_once(')').unwrap();
        let (after, _) = after.split_once("SETTINGS ").unwrap();
        statement = format!("{before}MergeTree{after}SETTINGS non_replicated_deduplication_window = 1000");
    }
    statement
}

/// Returns the target of an insert with the parameters that 18.16 knows. It has no tokens, and
/// recognizes a repeated block by its hash.
pub(super) fn target_for_old(target: &str) -> String {
    let known = [
        "database=",
        "query=",
        "decompress=",
        "insert_deduplicate=",
        "insert_quorum=",
        "insert_quorum_timeout=",
    ];
    let (_, parameters) = target.split_once('?').unwrap();
    let parameters = parameters.split('&');
    let kept: Vec<_> = parameters
        .filter(|parameter| known.iter().any(|name| parameter.starts_with(name)))
        .collect();
    format!("/?{}", kept.join("&"))
}

/// Returns the text of an error of 18.16 as later servers write it.
pub(super) fn error_of_old(text: &str) -> String {
    text.replacen(", e.displayText() = ", ". ", 1)
}
