//! Parses tables in one line: columns, then the engine with its clauses, then indexes and
//! projections.
//!
//! ```text
//! id UInt64; name String -> MergeTree ORDER BY id -> INDEX i name TYPE minmax
//! ```

use super::quoted;

/// One table.
pub(super) struct Table<'t> {
    /// The name and the declaration of each column.
    columns: Vec<(&'t str, &'t str)>,
    engine: &'t str,
    /// The keyword, the name and the remaining text of each element.
    elements: Vec<(&'t str, &'t str, &'t str)>,
}

impl<'t> Table<'t> {
    pub(super) fn parse(line: &'t str) -> Self {
        let mut parts = line.split(" -> ");
        let columns = parts.next().unwrap().split("; ");
        let engine = parts.next().unwrap_or_else(|| panic!("no engine: {line}"));
        let elements = parts.next().into_iter().flat_map(|elements| elements.split("; "));
        Self {
            columns: columns.map(|column| column.split_once(' ').unwrap()).collect(),
            engine,
            elements: elements
                .map(|element| {
                    let mut words = element.splitn(3, ' ');
                    let mut word = || words.next().unwrap_or_default();
                    (word(), word(), word())
                })
                .collect(),
        }
    }

    /// Returns the table as a YAML schema.
    pub(super) fn yaml(&self) -> String {
        let mut yaml = "clickhouse:\n  destinations: { a/b: t }\n  tables:\n    t:\n".to_owned();
        for (name, declaration) in &self.columns {
            yaml.push_str(&format!("      {}: {}\n", quoted(name), quoted(declaration)));
        }
        yaml.push_str(&format!("      _options:\n        engine: {}\n", quoted(self.engine)));
        for (keyword, key) in [("INDEX", "indexes"), ("PROJECTION", "projections")] {
            let of_kind: Vec<_> = self.elements.iter().filter(|(kind, ..)| *kind == keyword).collect();
            if !of_kind.is_empty() {
                yaml.push_str(&format!("        {key}:\n"));
            }
            for (_, name, text) in of_kind {
                let text = match text.strip_prefix('(').filter(|_| keyword == "PROJECTION") {
                    Some(query) => query.strip_suffix(')').unwrap_or(query),
                    None => text,
                };
                yaml.push_str(&format!("          {name}: {}\n", quoted(text)));
            }
        }
        yaml
    }

    /// Returns the part of CREATE TABLE after the name.
    pub(super) fn sql(&self) -> String {
        let columns = self.columns.iter().map(|(name, text)| format!("`{name}` {text}"));
        let elements = self
            .elements
            .iter()
            .map(|(kind, name, text)| format!("{kind} {name} {text}"));
        let lines: Vec<String> = columns.chain(elements).collect();
        format!("({}) ENGINE = {}", lines.join(", "), self.engine)
    }
}
