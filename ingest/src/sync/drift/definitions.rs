//! Reads the schema's definition of a table and the existing one, both as ClickHouse writes them.

use std::fmt;

use clickhouse::Client;

use crate::{
    store::{ClickHouseError, quoted, within},
    sync::{
        STATEMENT_TIMEOUT,
        definition::{Definition, unreplicated},
        dictionary_names::qualify_dictionaries,
    },
    table::Table,
};

/// The name of the temporary table.
const WANTED: &str = "rowmill_wanted";

/// The reason why two definitions cannot be compared.
pub(in crate::sync) enum Uncomparable {
    Server(ClickHouseError),
    /// The text of a definition has another form than that of a table.
    Text,
}

impl fmt::Display for Uncomparable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::Text => f.write_str("ClickHouse shows it in another form than that of a table"),
        }
    }
}

impl From<ClickHouseError> for Uncomparable {
    fn from(error: ClickHouseError) -> Self {
        Self::Server(error)
    }
}

/// Returns the schema's definition of a table and that of the existing table `name`, both as
/// ClickHouse shows them.
pub(in crate::sync) async fn definitions(
    session: &Client,
    database: &str,
    name: &str,
    table: &Table,
) -> Result<(Definition, Definition), Uncomparable> {
    let show = format!("SHOW CREATE TABLE {}.{}", quoted(database), quoted(name));
    let found = fetch(session, &show).await?;
    let create = temporary(table.create).ok_or(Uncomparable::Text)?;
    let create = qualify_dictionaries(&create, database);
    within(STATEMENT_TIMEOUT, session.query_raw(&create).execute()).await?;
    let wanted = fetch(session, &format!("SHOW CREATE TEMPORARY TABLE {WANTED}")).await;
    let drop = format!("DROP TEMPORARY TABLE IF EXISTS {WANTED}");
    within(STATEMENT_TIMEOUT, session.query_raw(&drop).execute()).await?;
    let wanted = Definition::parse(&wanted?).ok_or(Uncomparable::Text)?;
    let found = Definition::parse(&found).ok_or(Uncomparable::Text)?;
    Ok((wanted, found))
}

async fn fetch(session: &Client, statement: &str) -> Result<String, ClickHouseError> {
    within(STATEMENT_TIMEOUT, session.query_raw(statement).fetch_one()).await
}

/// Returns the statement that creates the table as a temporary one, without replicas.
fn temporary(create: &str) -> Option<String> {
    let (_, body) = create.split_once("\n(")?;
    let (columns, rest) = body.split_once("\nENGINE = ")?;
    let (engine, clauses) = rest.split_once('\n').unwrap_or((rest, ""));
    Some(format!(
        "CREATE TEMPORARY TABLE {WANTED}\n({columns}\nENGINE = {}\n{clauses}",
        unreplicated(engine)
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_temporary_table_has_no_replicas_and_no_cluster() {
        let create = "CREATE TABLE IF NOT EXISTS `t` ON CLUSTER `c`\n(\n    `a` UInt8\n)\n\
                      ENGINE = ReplicatedMergeTree('/p', '{replica}')\nORDER BY a";
        assert_eq!(
            temporary(create).unwrap(),
            "CREATE TEMPORARY TABLE rowmill_wanted\n(\n    `a` UInt8\n)\nENGINE = MergeTree\nORDER BY a"
        );
        let memory = "CREATE TABLE IF NOT EXISTS `t`\n(\n    `a` UInt8\n)\nENGINE = Memory";
        assert!(temporary(memory).unwrap().ends_with("\n)\nENGINE = Memory\n"));
    }
}
