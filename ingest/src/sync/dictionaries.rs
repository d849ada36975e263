//! Dictionaries: creates missing ones, and finds those that differ from the schema.
//!
//! ClickHouse itself writes the schema's definition in the form in which it shows the existing one.
//! It hides passwords, so a change of a password alone is not seen.

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::{
    Drift, DriftReport, Impact, Kind, STATEMENT_TIMEOUT, SyncError, adapt_to_database, of_database,
    qualify::qualified_statement,
    view_query::{formatted, without_database},
};
use crate::{
    store::{ClickHouseError, ClickHouseUrl, quoted, within},
    table::{
        Schema,
        dictionary::{Dictionary, without_passwords},
    },
};

/// A dictionary, or a table with its name, in the database.
#[derive(Debug, Row, Deserialize)]
struct Existing {
    name: String,
    engine: String,
    create_table_query: String,
}

const READING: &str = "reading its dictionaries";

/// Returns the dictionaries of the schema that the database lacks.
pub(super) async fn missing_dictionaries(
    url: &ClickHouseUrl,
    schema: &Schema,
) -> Result<Vec<&'static Dictionary>, Kind> {
    if schema.dictionaries.is_empty() {
        return Ok(Vec::new());
    }
    let existing = existing(&url.server_client(), url.database(), schema)
        .await
        .map_err(|error| Kind::of(READING, error))?;
    let dictionaries = schema.dictionaries.iter();
    Ok(dictionaries
        .filter(|dictionary| !existing.iter().any(|existing| existing.name == dictionary.name))
        .collect())
}

/// Puts the statements that create dictionaries among those that create tables and columns: after
/// the tables that dictionaries may read, and before the others, which may use dictionaries.
pub(super) fn with_dictionaries(statements: Vec<String>, missing: &[&Dictionary]) -> Vec<String> {
    if missing.is_empty() {
        return statements;
    }
    let uses_one = |statement: &String| {
        statement.contains("dict") && missing.iter().any(|dictionary| statement.contains(dictionary.name))
    };
    let (after, before): (Vec<_>, Vec<_>) = statements.into_iter().partition(uses_one);
    let created = missing.iter().map(|dictionary| dictionary.create());
    before.into_iter().chain(created).chain(after).collect()
}

/// Compares the schema's dictionaries with those that exist in the database. Changes nothing.
///
/// # Errors
/// ClickHouse is unreachable, or the user lacks the permission.
pub async fn dictionary_drift(url: &ClickHouseUrl, schema: &Schema) -> Result<DriftReport, SyncError> {
    compare(url, schema).await.map_err(|kind| kind.at(url))
}

async fn compare(url: &ClickHouseUrl, schema: &Schema) -> Result<DriftReport, Kind> {
    let mut report = DriftReport::default();
    if schema.dictionaries.is_empty() {
        return Ok(report);
    }
    let failed = |error| Kind::of(READING, error);
    let server = url.server_client();
    let existing = existing(&server, url.database(), schema).await.map_err(failed)?;
    for dictionary in schema.dictionaries {
        let Some(existing) = existing.iter().find(|existing| existing.name == dictionary.name) else {
            continue;
        };
        match difference(&server, url, dictionary, existing).await {
            Ok(drift) => report.drifts.extend(drift),
            Err(error) if error.is_transient() => return Err(failed(error)),
            Err(error) => report.warnings.push(format!(
                "the definition of dictionary {} cannot be compared with the schema: {error}",
                quoted(dictionary.name)
            )),
        }
    }
    let statements = report.drifts.iter_mut().flat_map(|drift| &mut drift.statements);
    adapt_to_database(url, statements).await.map_err(of_database)?;
    Ok(report)
}

async fn difference(
    server: &Client,
    url: &ClickHouseUrl,
    dictionary: &'static Dictionary,
    existing: &Existing,
) -> Result<Option<Drift>, ClickHouseError> {
    let drift = |found: &str, wanted: &str, impact, statements| Drift {
        table: dictionary.name,
        difference: format!("the definition is {found} in the database and {wanted} in the schema"),
        impact,
        statements,
        stops_start: false,
        rows: None,
        bytes: None,
        closes_table: false,
        records: Vec::new(),
    };
    if existing.engine != "Dictionary" {
        let found = drift(&existing.engine, "a dictionary", Impact::Impossible, Vec::new());
        return Ok(Some(found));
    }
    let found = definition_in(&without_database(&existing.create_table_query, url.database())).to_owned();
    // The text of the statement has no cluster: ClickHouse does not show it.
    let statement = format!("CREATE DICTIONARY {}{}", quoted(dictionary.name), dictionary.definition);
    let wanted = formatted(server, &without_passwords(&statement)).await?;
    let wanted = definition_in(&wanted);
    if found == wanted {
        return Ok(None);
    }
    // A dictionary has no data of its own, and ClickHouse replaces it at once.
    let replace = qualified_statement(&dictionary.replace(), url.database());
    Ok(Some(drift(&found, wanted, Impact::Safe, vec![replace])))
}

/// Returns the text of a statement in one line from the attributes on.
fn definition_in(create: &str) -> &str {
    create.find(" (").map_or(create, |at| create[at + 1..].trim_end())
}

async fn existing(server: &Client, database: &str, schema: &Schema) -> Result<Vec<Existing>, ClickHouseError> {
    let names: Vec<&str> = schema.dictionaries.iter().map(|dictionary| dictionary.name).collect();
    let query = server
        .query("SELECT ?fields FROM system.tables WHERE database = ? AND name IN ?")
        .bind(database)
        .bind(names);
    within(STATEMENT_TIMEOUT, query.fetch_all()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_are_created_before_what_uses_them() {
        let dictionary = Dictionary::new("names", "\n(…)");
        let statements = [
            "CREATE TABLE a (x String DEFAULT dictGet('names', 'a', 1))",
            "CREATE TABLE names_of_b",
            "ALTER TABLE c ADD COLUMN",
        ];
        let statements = statements.map(str::to_owned).to_vec();
        assert_eq!(
            with_dictionaries(statements.clone(), &[&dictionary]),
            [&statements[1], &statements[2], &dictionary.create(), &statements[0]]
                .map(|statement| statement.to_owned())
        );
        assert_eq!(with_dictionaries(statements.clone(), &[]), statements);
    }

    #[test]
    fn a_definition_begins_with_its_attributes() {
        assert_eq!(
            definition_in("CREATE DICTIONARY `a b` (`id` UInt64) PRIMARY KEY id"),
            "(`id` UInt64) PRIMARY KEY id"
        );
    }
}
