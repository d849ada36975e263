//! Compares two definitions of a table part by part, and judges each difference.

use std::collections::BTreeMap;

use super::{Drift, Impact};
use crate::{
    store::quoted,
    sync::definition::{ColumnDefinition, Definition},
    table::{Table, column_history::ColumnChange},
};

/// Settings that ClickHouse fixes when it creates a table.
const FIXED_SETTINGS: [&str; 4] = [
    "index_granularity",
    "enable_mixed_granularity_parts",
    "storage_policy",
    "disk",
];

/// Returns whether ClickHouse changes one type into another without touching data: an Enum with
/// more values, or a time with another zone.
pub(super) fn is_metadata(found: &str, wanted: &str) -> bool {
    let inner = |data_type: &str, family: &str| -> Option<String> {
        let text = data_type.strip_prefix(family)?.strip_prefix('(')?.strip_suffix(')')?;
        Some(format!("{text}, "))
    };
    if ["Enum8", "Enum16"].iter().any(|family| {
        inner(found, family)
            .zip(inner(wanted, family))
            .is_some_and(|(found, wanted)| found.split_inclusive(", ").all(|value| wanted.contains(value)))
    }) {
        return true;
    }
    let is_zoned = |data_type: &str| data_type == "DateTime" || data_type.starts_with("DateTime('");
    is_zoned(found) && is_zoned(wanted)
}

/// Returns whether two engines are the same. In an existing table, ClickHouse quotes names among
/// the arguments, and writes the connection's database in place of an empty one and of
/// `currentDatabase()`.
fn is_same_engine(found: &str, wanted: &str, database: &str) -> bool {
    let parts = |engine: &str| -> Vec<String> {
        let (family, arguments) = engine.split_once('(').unwrap_or((engine, ""));
        let arguments = arguments.strip_suffix(')').unwrap_or(arguments).split(',');
        let plain = arguments.map(|argument| match argument.trim().trim_matches(['\'', '`']) {
            "" | "currentDatabase()" => database.to_owned(),
            argument => argument.to_owned(),
        });
        [family.trim().to_owned()].into_iter().chain(plain).collect()
    };
    found == wanted || parts(found) == parts(wanted)
}

/// Collects the differences of one table.
pub(super) struct Drifts {
    pub(super) table: &'static Table,
    /// The text after `ALTER TABLE`.
    pub(super) altered: String,
    pub(super) database: String,
    pub(super) found: Vec<Drift>,
    /// The columns that a later schema has renamed, by their new names.
    pub(super) later_names: Vec<String>,
}

impl Drifts {
    pub(super) fn push<const N: usize>(&mut self, impact: Impact, difference: String, statements: [String; N]) {
        self.found.push(Drift {
            table: self.table.name,
            difference,
            impact,
            statements: statements.into(),
            records: Vec::new(),
            closes_table: false,
            stops_start: false,
            rows: None,
            bytes: None,
        });
    }

    /// Adds a difference of one part, which both sides write as `wanted` and `found`; an empty text
    /// is an absent part. `change` follows `ALTER TABLE …`.
    fn push_part(&mut self, impact: Impact, part: &str, found: &str, wanted: &str, change: &str) {
        let described = |text: &str| {
            if text.is_empty() {
                "none".to_owned()
            } else {
                text.to_owned()
            }
        };
        let difference = format!(
            "{part} is {} in the database and {} in the schema",
            described(found),
            described(wanted)
        );
        let statement = format!("ALTER TABLE {} {change}", self.altered);
        if impact == Impact::Impossible {
            self.push(impact, difference, []);
        } else {
            self.push(impact, difference, [statement]);
        }
    }

    pub(super) fn compare(&mut self, wanted: &Definition, found: &Definition) {
        self.columns(wanted, found);
        self.elements(&wanted.elements, &found.elements);
        self.clauses(wanted, found);
    }

    fn columns(&mut self, wanted: &Definition, found: &Definition) {
        for wanted in &wanted.columns {
            // The sync adds a missing column.
            if let Some(found) = found.columns.iter().find(|found| found.name == wanted.name) {
                self.column(wanted, found);
            }
        }
        let is_known = |name: &str| {
            let columns = self.table.columns;
            columns
                .iter()
                .any(|column| column.name == name || column.was.contains(&name))
                || self.later_names.iter().any(|later| later == name)
        };
        let extra: Vec<_> = found.columns.iter().filter(|column| !is_known(&column.name)).collect();
        for column in extra {
            let name = quoted(&column.name);
            self.push_part(
                Impact::Drop,
                &format!("column {name}"),
                &column.data_type,
                "",
                &format!("DROP COLUMN {name}"),
            );
            self.record(Some(ColumnChange::dropped(self.table.name, &column.name)));
        }
    }

    fn column(&mut self, wanted: &ColumnDefinition, found: &ColumnDefinition) {
        let name = quoted(&wanted.name);
        let kind = |source: &str| source.split(' ').next().unwrap_or_default().to_owned();
        let (is_default, is_same_kind) = (
            kind(&found.source) == "DEFAULT" && wanted.source.is_empty(),
            kind(&found.source) == kind(&wanted.source),
        );
        // A source of another kind is a difference that stops a start.
        if wanted.source != found.source
            && (is_same_kind || is_default || (found.source.is_empty() && kind(&wanted.source) == "DEFAULT"))
        {
            let change = if is_default {
                format!("MODIFY COLUMN {name} REMOVE DEFAULT")
            } else {
                format!("MODIFY COLUMN {name} {}", wanted.source)
            };
            let part = format!("the source of column {name}");
            self.push_part(Impact::Safe, &part, &found.source, &wanted.source, &change);
        }
        if wanted.comment != found.comment {
            let comment = if wanted.comment.is_empty() {
                "''"
            } else {
                &wanted.comment
            };
            let part = format!("the comment of column {name}");
            let change = format!("COMMENT COLUMN {name} {comment}");
            self.push_part(Impact::Safe, &part, &found.comment, &wanted.comment, &change);
        }
        if wanted.codec != found.codec {
            let change = match &*wanted.codec {
                "" => format!("MODIFY COLUMN {name} REMOVE CODEC"),
                codec => format!("MODIFY COLUMN {name} CODEC({codec})"),
            };
            let part = format!("the codec of column {name}");
            self.push_part(Impact::Safe, &part, &found.codec, &wanted.codec, &change);
        }
        if wanted.ttl != found.ttl {
            let (impact, change) = match &*wanted.ttl {
                "" => (Impact::Drop, format!("MODIFY COLUMN {name} REMOVE TTL")),
                ttl => (Impact::Rewrite, format!("MODIFY COLUMN {name} TTL {ttl}")),
            };
            self.push_part(
                impact,
                &format!("the TTL of column {name}"),
                &found.ttl,
                &wanted.ttl,
                &change,
            );
        }
    }

    fn elements(&mut self, wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>) {
        for (element, text) in wanted {
            let Some((kind, name)) = element.split_once(' ') else {
                continue;
            };
            let name = quoted(name);
            let add = format!("ADD {kind} {name} {text}");
            match found.get(element) {
                None => self.push_part(Impact::Safe, &format!("{kind} {name}"), "", text, &add),
                Some(existing) if existing != text => {
                    let difference = format!("{kind} {name} is {existing} in the database and {text} in the schema");
                    let drop = format!("ALTER TABLE {} DROP {kind} {name}", self.altered);
                    let add = format!("ALTER TABLE {} {add}", self.altered);
                    self.push(Impact::Rewrite, difference, [drop, add]);
                }
                Some(_) => {}
            }
        }
        for (element, text) in found.iter().filter(|(element, _)| !wanted.contains_key(*element)) {
            if let Some((kind, name)) = element.split_once(' ') {
                let name = quoted(name);
                let change = format!("DROP {kind} {name}");
                self.push_part(Impact::Drop, &format!("{kind} {name}"), text, "", &change);
            }
        }
    }

    fn clauses(&mut self, wanted: &Definition, found: &Definition) {
        let engines = (found.engine(), wanted.engine());
        if !is_same_engine(&engines.0, &engines.1, &self.database) {
            self.push_part(Impact::Impossible, "the engine", &engines.0, &engines.1, "");
        }
        for keyword in ["PARTITION BY", "PRIMARY KEY", "ORDER BY", "SAMPLE BY", "TTL", "COMMENT"] {
            // Without PRIMARY KEY, the sorting key is the primary key.
            let is_left_out =
                |definition: &Definition| keyword == "PRIMARY KEY" && definition.clause(keyword).is_empty();
            let key_of = |definition| if is_left_out(definition) { "ORDER BY" } else { keyword };
            let (found, wanted) = (found.clause(key_of(found)), wanted.clause(key_of(wanted)));
            if found == wanted {
                continue;
            }
            let (impact, change) = match keyword {
                "TTL" | "SAMPLE BY" if wanted.is_empty() => (Impact::Drop, format!("REMOVE {keyword}")),
                "TTL" => (Impact::Rewrite, format!("MODIFY TTL {wanted}")),
                "SAMPLE BY" => (Impact::Safe, format!("MODIFY SAMPLE BY {wanted}")),
                "COMMENT" if wanted.is_empty() => (Impact::Safe, "MODIFY COMMENT ''".to_owned()),
                "COMMENT" => (Impact::Safe, format!("MODIFY COMMENT {wanted}")),
                _ => (Impact::Impossible, String::new()),
            };
            self.push_part(impact, keyword, found, wanted, &change);
        }
        let existing = found.settings();
        for (name, value) in wanted.settings() {
            let found = existing.get(name).copied().unwrap_or_default();
            // The sync sets the deduplication window, and keeps a longer one.
            if found == value || name.contains("deduplication_window") {
                continue;
            }
            let impact = if FIXED_SETTINGS.contains(&name) {
                Impact::Impossible
            } else {
                Impact::Safe
            };
            let part = format!("the setting {name}");
            self.push_part(impact, &part, found, value, &format!("MODIFY SETTING {name} = {value}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_metadata_is_recognized() {
        for (found, wanted, expected) in [
            ("Enum8('a' = 1)", "Enum8('a' = 1, 'b' = 2)", true),
            ("Enum8('a' = 1, 'b' = 2)", "Enum8('b' = 2, 'a' = 1, 'c' = 3)", true),
            ("Enum8('a' = 1, 'b' = 2)", "Enum8('a' = 1)", false),
            ("Enum8('a' = 1)", "Enum8('a' = 2)", false),
            ("Enum8('a' = 1)", "Enum16('a' = 1)", false),
            ("DateTime", "DateTime('Europe/Berlin')", true),
            ("DateTime", "DateTime64(3)", false),
            ("UInt8", "UInt16", false),
        ] {
            assert_eq!(is_metadata(found, wanted), expected, "{found} {wanted}");
        }
    }

    #[test]
    fn an_engine_is_the_same_with_its_names_quoted() {
        for (found, wanted, expected) in [
            ("Buffer('d', 't', 1)", "Buffer('', t, 1)", true),
            ("Buffer('e', 't', 1)", "Buffer('', t, 1)", false),
            (
                "Distributed('c', 'd', 't', h(a, b))",
                "Distributed(c, currentDatabase(), t, h(a, b))",
                true,
            ),
            (
                "Distributed('c', 'e', 't', a)",
                "Distributed('c', currentDatabase(), 't', a)",
                false,
            ),
            ("MergeTree", "MergeTree", true),
            ("SummingMergeTree", "SummingMergeTree(a)", false),
        ] {
            assert_eq!(is_same_engine(found, wanted, "d"), expected, "{found} {wanted}");
        }
    }
}
