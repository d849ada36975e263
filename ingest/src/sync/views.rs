//! The tables that receive a table's rows through materialized views, or from a Distributed table.
//!
//! If a block is sent again, ClickHouse passes it on to the views even if the table itself has it.
//! Each target table of a view recognizes the block by its own deduplication window. So do the
//! tables that a Distributed table writes to, since the Distributed table itself has no rows.

use std::collections::{BTreeMap, BTreeSet};

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::STATEMENT_TIMEOUT;
use crate::store::{ClickHouseError, quoted, within};

/// The name of a table's database, and the table's name.
pub(crate) type TableName = (String, String);

/// A table in the database.
#[derive(Debug, Clone, Default, Row, Deserialize)]
pub(super) struct Existing {
    pub(super) database: String,
    pub(super) name: String,
    pub(super) engine: String,
    pub(super) engine_full: String,
    pub(super) uuid: String,
    /// The CREATE statement, if the table is a materialized view.
    pub(super) create_view: String,
    /// The query of a materialized view.
    pub(super) view_select: String,
    /// The databases and the names of the views over the table.
    pub(super) dependencies_database: Vec<String>,
    pub(super) dependencies_table: Vec<String>,
}

/// Some tables, and every table and view that receives their rows.
#[derive(Debug, Default)]
pub(super) struct Tables(BTreeMap<TableName, Existing>);

/// A materialized view over a table.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) name: TableName,
    /// The table that the view writes into.
    pub(crate) target: TableName,
    /// The view's query, in which each table name includes the database.
    pub(crate) select: String,
}

/// A table that receives the rows of another table.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Receiver {
    pub(super) name: TableName,
    /// The table or view that passes its rows to this table.
    pub(super) source: TableName,
}

impl Tables {
    /// Reads tables of one database, and the tables and views that receive their rows.
    ///
    /// # Errors
    /// ClickHouse is unreachable, or the user lacks the permission.
    pub(super) async fn read<'a>(
        client: &Client,
        database: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ClickHouseError> {
        let mut found = Self::default();
        let mut next: BTreeSet<TableName> = names
            .into_iter()
            .map(|name| (database.to_owned(), name.to_owned()))
            .collect();
        let mut fetched = BTreeSet::new();
        while !next.is_empty() {
            let rows = fetch(client, &next).await?;
            fetched.append(&mut next);
            for existing in rows {
                let name = (existing.database.clone(), existing.name.clone());
                // The query returns all combinations of the databases and the names.
                if fetched.contains(&name) {
                    next.extend(existing.receivers().filter(|name| !fetched.contains(name)));
                    found.0.insert(name, existing);
                }
            }
        }
        Ok(found)
    }

    /// Returns a table, if it exists and the user may see it.
    pub(super) fn get(&self, name: &TableName) -> Option<&Existing> {
        self.0.get(name)
    }

    /// Returns the views directly over a table.
    pub(super) fn views_of(&self, table: &TableName) -> Vec<TableName> {
        let receivers = self.get(table).into_iter().flat_map(Existing::receivers);
        receivers
            .filter(|name| self.get(name).is_some_and(Existing::is_view))
            .collect()
    }

    /// Returns whether the user may see all direct receivers of rows of `existing`.
    pub(super) fn knows_receivers_of(&self, existing: &Existing) -> bool {
        existing.receivers().all(|name| self.0.contains_key(&name))
    }

    /// Returns the tables that receive rows of `table` at any depth, including the views that the
    /// user may not see.
    pub(super) fn receivers_of(&self, table: &TableName) -> Vec<Receiver> {
        let mut receivers = Vec::new();
        let mut seen = BTreeSet::from([table.clone()]);
        let mut pending = vec![table.clone()];
        while let Some(source) = pending.pop() {
            for name in self.get(&source).into_iter().flat_map(Existing::receivers) {
                if !seen.insert(name.clone()) {
                    continue;
                }
                if self.get(&name).is_none_or(|existing| !existing.is_view()) {
                    receivers.push(Receiver {
                        name: name.clone(),
                        source: source.clone(),
                    });
                }
                pending.push(name);
            }
        }
        receivers.sort_unstable();
        receivers
    }
}

impl FromIterator<Existing> for Tables {
    fn from_iter<T: IntoIterator<Item = Existing>>(existing: T) -> Self {
        let named = |existing: Existing| ((existing.database.clone(), existing.name.clone()), existing);
        Self(existing.into_iter().map(named).collect())
    }
}

impl Existing {
    fn is_view(&self) -> bool {
        self.engine == "MaterializedView"
    }

    /// Returns the direct receivers of the table's rows: the views over it, and the table that a
    /// view or a Distributed table writes into.
    fn receivers(&self) -> impl Iterator<Item = TableName> {
        let views = self.dependencies_database.iter().zip(&self.dependencies_table);
        let views = views.map(|(database, name)| (database.clone(), name.clone()));
        let target = match &*self.engine {
            "MaterializedView" => Some(self.view_target()),
            "Distributed" => local_table_in(&self.engine_full),
            _ => None,
        };
        views.chain(target)
    }

    /// Returns the table that a view writes into: the table after TO, or the view's inner table.
    fn view_target(&self) -> TableName {
        if let Some(target) = target_in(&self.create_view) {
            return target;
        }
        let name = match self.uuid.bytes().all(|byte| matches!(byte, b'0' | b'-')) {
            true => format!(".inner.{}", self.name),
            false => format!(".inner_id.{}", self.uuid),
        };
        (self.database.clone(), name)
    }
}

/// Returns the full name of a table in the client's database, and the materialized views directly
/// over it.
///
/// # Errors
/// ClickHouse is unreachable, or the user lacks the permission.
pub(crate) async fn views_over(client: &Client, table: &str) -> Result<(TableName, Vec<View>), ClickHouseError> {
    let database = current_database(client).await?;
    let tables = Tables::read(client, &database, [table]).await?;
    let name = (database, table.to_owned());
    let receivers = tables.get(&name).into_iter().flat_map(Existing::receivers);
    let views = receivers.filter_map(|name| {
        let view = tables.get(&name).filter(|existing| existing.is_view())?;
        Some(View {
            target: view.view_target(),
            select: view.view_select.clone(),
            name,
        })
    });
    let views = views.collect();
    Ok((name, views))
}

/// Returns a table, and the tables that receive its rows through views, each with the value of its
/// setting for the deduplication window, if it sets one.
///
/// # Errors
/// ClickHouse is unreachable, or the user lacks the permission.
pub(crate) async fn receivers_of(
    client: &Client,
    database: &str,
    table: &str,
) -> Result<Vec<(TableName, Option<u64>)>, ClickHouseError> {
    let tables = Tables::read(client, database, [table]).await?;
    let name = (database.to_owned(), table.to_owned());
    let receivers = tables.receivers_of(&name).into_iter().map(|receiver| receiver.name);
    let window = |name: &TableName| {
        let engine = &tables.get(name)?.engine_full;
        let (_, value) = engine.split_once("deduplication_window = ")?;
        let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        value[..end].parse().ok()
    };
    let all = [name.clone()].into_iter().chain(receivers);
    Ok(all
        .map(|name| (window(&name), name))
        .map(|(window, name)| (name, window))
        .collect())
}

/// Returns the database in which the client's requests run.
pub(super) async fn current_database(client: &Client) -> Result<String, ClickHouseError> {
    within(
        STATEMENT_TIMEOUT,
        client.query_raw("SELECT currentDatabase()").fetch_one(),
    )
    .await
}

async fn fetch(client: &Client, names: &BTreeSet<TableName>) -> Result<Vec<Existing>, ClickHouseError> {
    let (databases, names): (BTreeSet<_>, BTreeSet<_>) = names.iter().map(|(database, name)| (database, name)).unzip();
    // With two separate conditions, ClickHouse lists only these databases and tables; with a
    // condition on pairs, it would list all of them.
    let query = client
        .query(
            "SELECT database, name, engine, engine_full, toString(uuid) AS uuid, \
             if(engine = 'MaterializedView', create_table_query, '') AS create_view, \
             if(engine = 'MaterializedView', as_select, '') AS view_select, \
             dependencies_database, dependencies_table \
             FROM system.tables WHERE database IN ? AND name IN ?",
        )
        .bind(databases.into_iter().collect::<Vec<_>>())
        .bind(names.into_iter().collect::<Vec<_>>());
    within(STATEMENT_TIMEOUT, query.fetch_all()).await
}

/// Quotes a table's name, with its database, as ClickHouse's SQL requires.
pub(crate) fn qualified((database, name): &TableName) -> String {
    format!("{}.{}", quoted(database), quoted(name))
}

/// Returns the table after TO in a view's statement. In `system.tables`, each name includes the
/// database.
pub(super) fn target_in(create_view: &str) -> Option<TableName> {
    let rest = create_view.strip_prefix("CREATE MATERIALIZED VIEW ")?;
    let (_, rest) = qualified_name(rest)?;
    let (target, _) = qualified_name(rest.strip_prefix(" TO ")?)?;
    Some(target)
}

fn qualified_name(text: &str) -> Option<(TableName, &str)> {
    let (database, rest) = identifier(text)?;
    let (name, rest) = identifier(rest.strip_prefix('.')?)?;
    Some(((database, name), rest))
}

/// Returns the table that a Distributed table uses on each server of its cluster, from
/// `engine_full`.
pub(crate) fn local_table_in(engine_full: &str) -> Option<TableName> {
    let (_cluster, rest) = unquoted(engine_full.strip_prefix("Distributed(")?, '\'')?;
    let (database, rest) = unquoted(rest.strip_prefix(", ")?, '\'')?;
    let (name, _) = unquoted(rest.strip_prefix(", ")?, '\'')?;
    Some((database, name))
}

/// Returns the identifier at the start of a text, without its backticks, and the remaining text.
fn identifier(text: &str) -> Option<(String, &str)> {
    if text.starts_with('`') {
        return unquoted(text, '`');
    }
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

/// Returns the quoted content at the start of a text, and the remaining text.
fn unquoted(text: &str, quote: char) -> Option<(String, &str)> {
    let quoted = text.strip_prefix(quote)?;
    let mut found = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => found.push(match chars.next()?.1 {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '0' => '\0',
                same => same,
            }),
            c if c == quote => return Some((found, &quoted[at + 1..])),
            c => found.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TableName {
        let (database, name) = text.split_once('.').unwrap_or_default();
        (database.to_owned(), name.to_owned())
    }

    fn existing(table: &str, engine: &str, create_view: &str, views: &[&str]) -> Existing {
        let (database, table) = name(table);
        let (dependencies_database, dependencies_table) = views.iter().copied().map(name).unzip();
        Existing {
            database,
            name: table,
            engine: engine.to_owned(),
            uuid: "ab-1".to_owned(),
            create_view: create_view.to_owned(),
            dependencies_database,
            dependencies_table,
            ..Existing::default()
        }
    }

    #[test]
    fn a_views_target_is_read_from_its_statement() {
        for (statement, target) in [
            (
                "CREATE MATERIALIZED VIEW a.v TO b.t (`n` UInt8) AS SELECT 1 AS n FROM a.s",
                Some(("b", "t")),
            ),
            (
                "CREATE MATERIALIZED VIEW a.v TO b.t DEFINER = me SQL SECURITY DEFINER AS SELECT 1",
                Some(("b", "t")),
            ),
            (
                r"CREATE MATERIALIZED VIEW `a b`.`vi\`ew TO x` TO c.`we\`ird \\.t` (`n` UInt64) AS SELECT id FROM c.s",
                Some(("c", r"we`ird \.t")),
            ),
            (
                "CREATE MATERIALIZED VIEW a.v (`n` UInt8) ENGINE = MergeTree ORDER BY n AS SELECT 1 AS n FROM a.s",
                None,
            ),
            ("CREATE MATERIALIZED VIEW a.v", None),
            ("CREATE MATERIALIZED VIEW a.`v", None),
            ("", None),
        ] {
            let target = target.map(|(database, name)| (database.to_owned(), name.to_owned()));
            assert_eq!(target_in(statement), target, "{statement}");
        }
    }

    #[test]
    fn a_distributed_tables_local_table_is_read_from_its_engine() {
        for (engine, table) in [
            ("Distributed('two', 'a', 'loc', id)", Some(("a", "loc"))),
            (
                r"Distributed('two', 'a', 'lo\'c\\') SETTINGS fsync_after_insert = 1",
                Some(("a", r"lo'c\")),
            ),
            ("Distributed('two', a, 'loc')", None),
            ("Distributed('two', 'a", None),
            ("MergeTree ORDER BY id", None),
        ] {
            let table = table.map(|(database, name)| (database.to_owned(), name.to_owned()));
            assert_eq!(local_table_in(engine), table, "{engine}");
        }
    }

    #[test]
    fn a_view_without_to_writes_into_its_inner_table() {
        let mut view = existing(
            "a.v",
            "MaterializedView",
            "CREATE MATERIALIZED VIEW a.v (`n` UInt8) AS SELECT 1",
            &[],
        );
        assert_eq!(view.view_target(), name("a..inner_id.ab-1"));
        view.uuid = "00000000-0000-0000-0000-000000000000".to_owned();
        assert_eq!(view.view_target(), name("a..inner.v"));
    }

    #[test]
    fn receivers_are_found_at_any_depth_and_in_cycles() {
        let tables = Tables::from_iter([
            existing("a.s", "MergeTree", "", &["a.v", "b.hidden"]),
            existing(
                "a.v",
                "MaterializedView",
                "CREATE MATERIALIZED VIEW a.v TO b.t (`n` UInt8) AS",
                &[],
            ),
            existing("b.t", "Null", "", &["b.w"]),
            existing(
                "b.w",
                "MaterializedView",
                "CREATE MATERIALIZED VIEW b.w (`n` UInt8) AS",
                &[],
            ),
            existing("b..inner_id.ab-1", "Log", "", &["a.back"]),
            existing(
                "a.back",
                "MaterializedView",
                "CREATE MATERIALIZED VIEW a.back TO a.s (`n` UInt8) AS",
                &[],
            ),
            existing("a.other", "MergeTree", "", &[]),
        ]);
        let receiver = |to, from| Receiver {
            name: name(to),
            source: name(from),
        };
        assert_eq!(
            tables.receivers_of(&name("a.s")),
            [
                receiver("b..inner_id.ab-1", "b.w"),
                receiver("b.hidden", "a.s"),
                receiver("b.t", "a.v")
            ]
        );
        assert_eq!(tables.receivers_of(&name("a.other")), []);
        assert_eq!(tables.receivers_of(&name("a.missing")), []);
    }
}
