//! Adds rows to their table alone, without its materialized views.
//!
//! A MergeTree writes its deduplication log before it renames a part, so a ClickHouse that was
//! killed can remember the token of rows whose part is gone. Delivery finds such rows in the
//! lookup: ClickHouse has just confirmed them under their token, and the table does not have them.
//! That insert skipped the table and reached each view, unless the view had the rows already. So
//! each view has them exactly once, and only the table lacks them. Under another token, the rows
//! would reach the views again; `ALTER TABLE … ATTACH PARTITION … FROM` reaches no view:
//!
//! 1. Delivery creates a table of the same structure, `rowmill_attach_<block>_<random number>`.
//! 2. Delivery inserts the missing rows into it.
//! 3. Delivery attaches each of its partitions to the table. ClickHouse attaches a partition
//!    completely or not at all.
//! 4. Delivery drops the created table.
//! 5. A lookup confirms that the table has all rows, and delivery settles them.
//!
//! The rows are in doubt until step 5, and every step sends them under their first token or none.
//! After a crash of either side or a lost response, the next try starts with a lookup, as for any
//! rows in doubt:
//!
//! - The lookup waits while a statement of an earlier try runs, and drops the tables that earlier
//!   tries have created. An ATTACH that arrives later fails, since its source is gone and no name
//!   is used twice.
//! - Before step 3, the table lacks the same rows as before. Delivery sends them under their token,
//!   which the table and the views skip, and repeats all steps.
//! - During step 3, the table has some of the partitions. Delivery sends all rows under their
//!   token, which the table and the views skip, and attaches the other partitions.
//! - After step 3, the table has all rows. Delivery sends them under their token for the views,
//!   which skip them as well.
//!
//! Attached parts have newer block numbers than the insert with the token. If a crash follows
//! step 3 and the token is older than half a window, the lookup may therefore overestimate how long
//! the table remembers the token.

use std::{borrow::Cow, sync::Arc};

use super::{
    Failure,
    backend::Backend,
    lookup::{Found, attach_prefix, query_prefix, sql_string},
    table::{Sending, TableDelivery, Tried, Tries, token_of},
};
use crate::{
    block::{parts::Part, sealed::SealedBlock},
    spool::Counters,
    store::{Class, ClickHouseError, quoted},
    sync::is_closed,
};

/// The maximum number of times that delivery attaches rows that the table does not show afterwards.
const MAX_ATTACHMENTS: u32 = 3;

/// The number of errors after which delivery no longer tries to attach rows. Errors that are sure
/// to be transient or permanent do not count.
const MAX_ERRORS: u32 = 3;

/// The maximum number of partitions in one statement.
const MAX_PARTITIONS: usize = 500;

/// The engines whose tables accept partitions from a MergeTree.
const ENGINES: [&str; 3] = ["MergeTree", "ReplicatedMergeTree", "SharedMergeTree"];

/// The reason why rows cannot be attached to a table.
#[derive(Debug)]
pub(super) struct Obstacle {
    error: String,
    code: Option<u32>,
    cure: &'static str,
}

impl<B: Backend> TableDelivery<'_, B> {
    /// Adds the rows of a part that the table lacks to the table alone. ClickHouse must have
    /// confirmed the part under its token, and `found` must be what the table has since.
    ///
    /// If rows cannot be attached, the next try sends them under another token.
    ///
    /// # Errors
    /// The reason for another try.
    pub(super) async fn attach_missing(
        &mut self,
        connection: &B,
        block: &Arc<SealedBlock>,
        part: &Part,
        found: &Found,
        tries: &mut Tries,
    ) -> Result<Tried, Failure> {
        let missing = match found {
            Found::All | Found::Unknowable => return Ok(Tried::Stored),
            Found::Running => return Err(Failure::Running),
            Found::None | Found::Some(_) => found.missing(part),
        };
        tries.is_missing = true;
        let counters = self.reader.counters();
        if let Some(Obstacle { error, code, cure }) = self.attach(connection, block, &missing, tries).await? {
            Counters::add(&counters.views_in_doubt, 1);
            tracing::warn!(
                table = %block.layout.table, block = %block.id, rows = missing.len(), error, code, cure,
                "ClickHouse knows the token of rows that are not stored, and they cannot be attached to their table: \
                 they are sent under another token, and a materialized view over their table may have them twice"
            );
            tries.generation += 1;
            return Err(Failure::Missing);
        }
        match self.look_up(connection, block, part).await?.found {
            Found::All | Found::Unknowable => {
                tracing::info!(
                    table = %block.layout.table, block = %block.id, rows = missing.len(),
                    "ClickHouse knew the token of rows that were not stored: they are attached to their table, \
                     and its materialized views do not get them again"
                );
                Ok(Tried::Stored)
            }
            Found::Running => Err(Failure::Running),
            Found::None | Found::Some(_) if tries.attached < MAX_ATTACHMENTS => {
                tries.attached += 1;
                Err(Failure::Missing)
            }
            Found::None | Found::Some(_) => {
                Counters::add(&counters.rows_missing, missing.len() as u64);
                tracing::error!(
                    table = %block.layout.table, block = %block.id, rows = missing.len(),
                    "rows were attached to their table several times, but they are not in it"
                );
                Ok(Tried::Stored)
            }
        }
    }

    /// Attaches rows to their table. Returns the reason if that is not possible.
    ///
    /// # Errors
    /// The reason for another try.
    pub(super) async fn attach(
        &mut self,
        connection: &B,
        block: &Arc<SealedBlock>,
        part: &Part,
        tries: &mut Tries,
    ) -> Result<Option<Obstacle>, Failure> {
        let source = format!("{}{:x}", attach_prefix(block), fastrand::u64(..));
        let error = match self.attach_through(&source, connection, block, part).await {
            Ok(None) => return Ok(None),
            Ok(Some(engine)) => {
                let error = format!("its engine is {engine}, and only a MergeTree takes parts from another table");
                let (code, cure) = (None, "compare the view with its table");
                return Ok(Some(Obstacle { error, code, cure }));
            }
            Err(Failure::Server(error)) => error,
            Err(failure) => return Err(failure),
        };
        if !error.is_transient() {
            tries.attach_errors += u32::from(error.class() == Class::Retry);
            // The next lookup drops the table if this statement cannot.
            let drop = format!("DROP TABLE IF EXISTS {} SYNC", quoted(&source));
            let _ = self.execute(connection, block, &drop).await;
        }
        if error.is_transient() || (error.class() == Class::Retry && tries.attach_errors <= MAX_ERRORS) {
            return Err(Failure::Server(error.of_lookup()));
        }
        Ok(Some(Obstacle {
            code: error.code(),
            cure: "grant the user CREATE TABLE, DROP TABLE, INSERT and SELECT on rowmill_attach_*, and INSERT and \
                   ALTER DELETE on the table",
            error: error.without_values(),
        }))
    }

    /// Attaches rows to their table through the table `source`, which this function creates and
    /// drops. Returns the table's engine if it accepts no partitions.
    async fn attach_through(
        &mut self,
        source: &str,
        connection: &B,
        block: &Arc<SealedBlock>,
        part: &Part,
    ) -> Result<Option<String>, Failure> {
        let (table, source_name) = (quoted(&block.layout.table), quoted(source));
        let engine = self.engine_of(connection, block).await.map_err(Failure::Server)?;
        let Some(plain) = plain_engine(&engine) else {
            return Ok(Some(engine.split([' ', '(']).next().unwrap_or_default().to_owned()));
        };
        let create = format!("CREATE TABLE {source_name} AS {table} ENGINE = {plain}");
        self.execute(connection, block, &create).await?;
        let token = token_of(block, part, 0);
        let sending = Sending {
            token: &token,
            ignores_views: false,
            within: self.delivery.timeout,
            into: Some(source),
        };
        self.send_as(connection, block, part, sending).await?;
        let partitions = format!("SELECT DISTINCT _partition_id FROM {source_name}");
        let partitions = connection.strings(&partitions, self.delivery.timeout).await;
        // A closed table refuses inserts, but not this statement.
        let engine = self.engine_of(connection, block).await.map_err(Failure::Server)?;
        if is_closed(&engine) {
            return Err(Failure::Running);
        }
        for chunk in partitions.map_err(Failure::Server)?.chunks(MAX_PARTITIONS) {
            let attach = |id: &String| format!("ATTACH PARTITION ID {} FROM {source_name}", sql_string(id));
            let attach: Vec<_> = chunk.iter().map(attach).collect();
            let alter = format!("ALTER TABLE {table} {}", attach.join(", "));
            self.execute(connection, block, &alter).await?;
        }
        match self
            .execute(connection, block, &format!("DROP TABLE {source_name} SYNC"))
            .await
        {
            Err(Failure::Server(error)) if !error.is_transient() => {
                tracing::warn!(
                    table = %block.layout.table, block = %block.id, source, error = error.without_values(), code = error.code(),
                    "a table that is no longer needed cannot be dropped: drop it by hand"
                );
            }
            result => result?,
        }
        Ok(None)
    }

    async fn engine_of(&self, connection: &B, block: &SealedBlock) -> Result<String, ClickHouseError> {
        let engine = format!(
            "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {}",
            sql_string(&block.layout.table)
        );
        let engines = connection.strings(&engine, self.delivery.timeout).await?;
        let engine = engines.into_iter().next();
        engine.ok_or_else(|| clickhouse::error::Error::RowNotFound.into())
    }

    /// Runs a statement under a query id of the block, so that a lookup sees whether it still runs.
    async fn execute(&self, connection: &B, block: &SealedBlock, sql: &str) -> Result<(), Failure> {
        let query_id = format!("{}{:x}", query_prefix(block), fastrand::u64(..));
        let result = connection.execute(sql, query_id, self.delivery.timeout).await;
        result.map_err(Failure::Server)
    }
}

/// Returns an INSERT for another table with the same columns.
pub(super) fn redirected<'s>(statement: &'s str, from: &str, to: Option<&str>) -> Cow<'s, str> {
    let beginning = format!("INSERT INTO {}", quoted(from));
    match to.zip(statement.strip_prefix(&beginning)) {
        Some((to, rest)) => Cow::Owned(format!("INSERT INTO {}{rest}", quoted(to))),
        None => Cow::Borrowed(statement),
    }
}

/// Returns the engine of a table whose partitions a table of the engine `engine` accepts, or `None`
/// if it accepts none: the same without replication. Both are as in `engine_full` of
/// `system.tables`.
fn plain_engine(engine: &str) -> Option<String> {
    let end = engine.find([' ', '(']).unwrap_or(engine.len());
    let (name, rest) = engine.split_at(end);
    ENGINES
        .contains(&name)
        .then(|| format!("MergeTree{}", after_arguments(rest)))
}

/// Returns the text after an argument list in parentheses, or the whole text if it does not begin
/// with one.
fn after_arguments(text: &str) -> &str {
    if !text.starts_with('(') {
        return text;
    }
    let (mut depth, mut is_quoted, mut is_escaped) = (0_u32, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '\'' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => {
                depth -= 1;
                if depth == 0 {
                    return &text[at + 1..];
                }
            }
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replicated_engine_is_written_without_replication() {
        for (engine, plain) in [
            ("MergeTree ORDER BY id", Some("MergeTree ORDER BY id")),
            ("MergeTree", Some("MergeTree")),
            (
                r"ReplicatedMergeTree('/t/{uuid}/a\')(', '{replica}') PARTITION BY (id % 4) ORDER BY id",
                Some("MergeTree PARTITION BY (id % 4) ORDER BY id"),
            ),
            (
                "SharedMergeTree('/t', '{replica}') ORDER BY (id, intDiv(id, 2)) SETTINGS index_granularity = 8192",
                Some("MergeTree ORDER BY (id, intDiv(id, 2)) SETTINGS index_granularity = 8192"),
            ),
            ("ReplacingMergeTree(version) ORDER BY id", None),
            ("Distributed('c', 'd', 't')", None),
            ("Memory", None),
        ] {
            assert_eq!(plain_engine(engine).as_deref(), plain, "{engine}");
        }
    }

    #[test]
    fn an_insert_is_redirected_to_another_table() {
        let statement = "INSERT INTO `a\\`b` (`x`) FORMAT Native";
        assert_eq!(redirected(statement, "a`b", None), statement);
        assert_eq!(
            redirected(statement, "a`b", Some("c")),
            "INSERT INTO `c` (`x`) FORMAT Native"
        );
    }
}
