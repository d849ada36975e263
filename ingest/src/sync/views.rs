//! Views: the tables that materialized views over a schema's tables fill get a deduplication window, too.
//!
//! After a lost answer the same rows are sent again under the same token. The table takes them once, and
//! ClickHouse pushes them to its views once more, whose targets have to remember them as well. A plain
//! MergeTree remembers nothing by default, so that a view's sums would count such rows twice.

use std::collections::{HashMap, HashSet};

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::{
    STATEMENT_TIMEOUT,
    window::{OWN, SHARED, WINDOW, window_in},
};
use crate::{
    store::{StoreError, quoted, within},
    table::Table,
};

/// What the targets of views lack.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Views {
    pub(super) statements: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// A table or a view as the server has it.
#[derive(Debug, Clone, Row, Deserialize)]
struct Existing {
    database: String,
    name: String,
    engine: String,
    engine_full: String,
    create_table_query: String,
    uuid: String,
    dependencies_database: Vec<String>,
    dependencies_table: Vec<String>,
}

/// Database and name.
type Place = (String, String);

impl Views {
    /// Looks at the views over `tables`, the views over their targets, and so on, and changes nothing.
    pub(super) async fn look(client: &Client, database: &str, tables: &[&Table]) -> Result<Self, StoreError> {
        let query = client.query(
            "SELECT database, name, engine, engine_full, create_table_query, toString(uuid) AS uuid, \
             dependencies_database, dependencies_table FROM system.tables \
             WHERE database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema')",
        );
        let existing: Vec<Existing> = within(STATEMENT_TIMEOUT, query.fetch_all()).await?;
        Ok(Self::of(database, tables, existing))
    }

    fn of(database: &str, tables: &[&Table], existing: Vec<Existing>) -> Self {
        let own = |place: &Place| place.0 == database && tables.iter().any(|table| table.name == place.1);
        let existing: HashMap<Place, Existing> = existing
            .into_iter()
            .map(|table| ((table.database.clone(), table.name.clone()), table))
            .collect();
        let mut open: Vec<Place> = tables
            .iter()
            .map(|table| (database.to_owned(), table.name.to_owned()))
            .collect();
        let (mut seen, mut found) = (HashSet::new(), Self::default());
        while let Some(source) = open.pop() {
            let Some(table) = existing.get(&source) else { continue };
            let views = table.dependencies_database.iter().zip(&table.dependencies_table);
            for (database, name) in views {
                let Some(view) = existing.get(&(database.clone(), name.clone())) else {
                    continue;
                };
                if view.engine != "MaterializedView" || !seen.insert((database.clone(), name.clone())) {
                    continue;
                }
                let target = target_of(view);
                // A table of the schema has its window by itself.
                if !own(&target) {
                    found.check(view, &target, existing.get(&target));
                }
                open.push(target);
            }
        }
        found.statements.sort();
        found.warnings.sort();
        found
    }

    fn check(&mut self, view: &Existing, target: &Place, found: Option<&Existing>) {
        let name = format!("{}.{}", quoted(&target.0), quoted(&target.1));
        let kind = found.and_then(|found| found.engine.strip_suffix("MergeTree"));
        let Some((kind, found)) = kind.zip(found) else {
            self.warnings.push(format!(
                "the view {}.{} fills {name}, which remembers no blocks: after a lost answer it can count rows twice",
                quoted(&view.database),
                quoted(&view.name)
            ));
            return;
        };
        let is_shared = kind.starts_with("Replicated") || kind.starts_with("Shared");
        let window = if is_shared { SHARED } else { OWN };
        // A server's default is 0 for a table by itself, and not for replicas.
        let default = if is_shared { WINDOW } else { 0 };
        if window_in(&found.engine_full, window).unwrap_or(default) == 0 {
            self.statements
                .push(format!("ALTER TABLE {name} MODIFY SETTING {window} = {WINDOW}"));
        }
    }
}

/// Returns the table that a materialized view fills: the one that it names, or its own inner one.
fn target_of(view: &Existing) -> Place {
    let definition = view
        .create_table_query
        .split_once(" AS SELECT")
        .map_or("", |(head, _)| head);
    let named = definition
        .split_once(" TO ")
        .and_then(|(_, rest)| place(rest, &view.database));
    named.unwrap_or_else(|| {
        let inner = match view.uuid.as_str() {
            "00000000-0000-0000-0000-000000000000" => format!(".inner.{}", view.name),
            uuid => format!(".inner_id.{uuid}"),
        };
        (view.database.clone(), inner)
    })
}

/// Reads `database.table` or `table`, either of which may be quoted.
fn place(text: &str, database: &str) -> Option<Place> {
    let (first, rest) = name(text)?;
    match rest.strip_prefix('.').and_then(name) {
        Some((second, _)) => Some((first, second)),
        None => Some((database.to_owned(), first)),
    }
}

/// Reads a name, and returns what follows it.
fn name(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('`') else {
        let end = text
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let (mut name, mut chars) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '`' => return Some((name, &quoted[at + 1..])),
            '\\' => name.push(chars.next()?.1),
            c => name.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Format;

    static TABLE: Table = Table::new("t", 0, &[], "", Format::RowBinary);

    fn table(name: &str, engine_full: &str, views: &[&str]) -> Existing {
        Existing {
            database: "d".to_owned(),
            name: name.to_owned(),
            engine: engine_full.split([' ', '(']).next().unwrap_or_default().to_owned(),
            engine_full: engine_full.to_owned(),
            create_table_query: String::new(),
            uuid: "00000000-0000-0000-0000-000000000000".to_owned(),
            dependencies_database: vec!["d".to_owned(); views.len()],
            dependencies_table: views.iter().map(|&view| view.to_owned()).collect(),
        }
    }

    fn view(name: &str, query: &str) -> Existing {
        Existing {
            create_table_query: query.to_owned(),
            ..table(name, "MaterializedView", &[])
        }
    }

    #[test]
    fn targets_of_views_over_views_get_a_window_and_circles_end() {
        let existing = vec![
            table("t", "MergeTree ORDER BY a", &["v", "w", "x"]),
            view(
                "v",
                "CREATE MATERIALIZED VIEW d.v TO d.`odd\\`name` (`a` UInt8) AS SELECT a FROM d.t",
            ),
            table(
                "odd`name",
                "SummingMergeTree ORDER BY a SETTINGS index_granularity = 8192",
                &["u"],
            ),
            view(
                "u",
                "CREATE MATERIALIZED VIEW d.u TO d.t (`a` UInt8) AS SELECT a FROM d.`odd`",
            ),
            view(
                "w",
                "CREATE MATERIALIZED VIEW d.w (`a` UInt8) ENGINE = MergeTree ORDER BY a AS SELECT ' TO d.x' FROM d.t",
            ),
            table(
                ".inner.w",
                "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 7",
                &[],
            ),
            view(
                "x",
                "CREATE MATERIALIZED VIEW d.x TO d.memory (`a` UInt8) AS SELECT a FROM d.t",
            ),
            table("memory", "Memory", &[]),
        ];
        let found = Views::of("d", &[&TABLE], existing);
        assert_eq!(
            found.statements,
            ["ALTER TABLE `d`.`odd\\`name` MODIFY SETTING non_replicated_deduplication_window = 1000"]
        );
        assert_eq!(found.warnings.len(), 1);
        assert!(found.warnings[0].contains("`d`.`memory`"), "{found:?}");
    }
}
