//! Reports entries that are outside of the place where Rowmill reads them: keys of the top level, and
//! columns, options and destinations that are indented too little.

use super::{COLUMN_KEYS, SECTION};
use crate::{
    diagnostic::{Diagnostic, Report},
    source::Sources,
    types::{self, Filler},
    yaml::{Key, Node, Value},
};

/// The top-level keys of the original's files, which configure its services.
const FOREIGN: [&str; 20] = [
    "bus",
    "client",
    "dev",
    "env",
    "front",
    "http",
    "identify",
    "ids",
    "log",
    "metrics",
    "name",
    "port",
    "prod",
    "production",
    "redis",
    "rpc",
    "services",
    "static",
    "websocket",
    "ws",
];

/// The prefix of keys that hold anchors, as in other formats.
const EXTENSION: &str = "x-";

/// Reports the keys beside `clickhouse:`. A part of a schema is an error there, and everything else
/// is for another program.
pub(super) fn report(entries: Vec<(Key, Node)>, sources: &Sources, report: &mut Report) {
    for (key, node) in entries {
        let name = key.text.as_str();
        if let Some(help) = misplaced(&key, &node) {
            let message = format!("`{name}` is outside of `{SECTION}`");
            let diagnostic = Diagnostic::error("unknown-key", message).label(key.span, "Rowmill does not read it here");
            report.push(diagnostic.help(help));
            continue;
        }
        if name.starts_with(EXTENSION) || is_anchor(&key, sources) {
            continue;
        }
        let has_section =
            matches!(&node.value, Value::Map(entries) if entries.iter().any(|(key, _)| key.text == SECTION));
        let message = format!("Rowmill does not read the section `{name}`");
        let diagnostic = if FOREIGN.contains(&name) && !has_section {
            Diagnostic::note("left-out", message)
        } else {
            Diagnostic::of_schema("left-out", message)
        };
        let help = match has_section {
            true => format!("put `{SECTION}` at the top level"),
            false => format!(
                "tables and destinations belong under `{SECTION}:`; begin the name of a section of your own with `{EXTENSION}`"
            ),
        };
        report.push(diagnostic.label(key.span, "").help(help));
    }
}

/// Returns the help for a part of a schema at the top level.
fn misplaced(key: &Key, node: &Node) -> Option<String> {
    let name = key.text.as_str();
    match &node.value {
        Value::Map(_) if matches!(name, "destinations" | "tables" | "views") => {
            Some(format!("indent it under `{SECTION}:`"))
        }
        Value::Map(entries) if entries.iter().any(|(key, _)| key.text == "_options") => {
            Some(format!("indent the table under `{SECTION}:`"))
        }
        _ => help(key, node),
    }
}

/// Returns the help for an entry that is a part of a table or of `destinations`, and is not in one.
pub(super) fn help(key: &Key, node: &Node) -> Option<String> {
    let name = key.text.as_str();
    match &node.value {
        _ if name == "_options" => Some("indent it as deep as the columns of its table".to_owned()),
        Value::Text(_) if name.contains('/') => Some("indent the destination under `destinations:`".to_owned()),
        Value::Text(text) if is_type(text) => Some(format!("indent the column `{name}` deeper than its table")),
        _ => None,
    }
}

/// Returns the help for an entry among the tables that is no mapping.
pub(super) fn help_in_tables(key: &Key, value: &Value) -> Option<String> {
    match value {
        Value::Text(text) if is_type(text) => Some(format!("indent the column `{}` deeper than its table", key.text)),
        _ => None,
    }
}

/// Returns the help for a column among the options of its table, whose keys are `options`.
pub(super) fn help_in_options(key: &Key, node: &Node, options: &[&str]) -> Option<String> {
    match &node.value {
        Value::Text(text) if is_type(text) && types::closest(&key.text, options.iter().copied()).is_none() => {
            Some(format!("indent the column `{}` as deep as `_options`", key.text))
        }
        _ => None,
    }
}

/// Returns the problem of an entry among the tables that is the `_options` or a column of one.
pub(super) fn not_a_table(key: &Key, node: &Node, has_base: bool) -> Option<Diagnostic> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let name = key.text.as_str();
    if name == "_options" {
        let diagnostic = Diagnostic::error("unknown-key", "`_options` is outside of a table");
        let help = "indent it as deep as the columns of its table";
        return Some(diagnostic.label(key.span.clone(), "").help(help));
    }
    let has_type = entries.iter().any(|(key, _)| key.text == "type");
    let is_column = has_type && !has_base && entries.iter().all(|(key, _)| COLUMN_KEYS.contains(&key.text.as_str()));
    is_column.then(|| {
        Diagnostic::error("unknown-key", format!("column `{name}` is outside of a table"))
            .label(key.span.clone(), "")
            .help("indent it deeper than its table; a table has `_options`")
    })
}

/// Returns whether a text is a type, written as ClickHouse shows it: `order: date` is not a column.
fn is_type(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase()) && types::parse_filled_by(Filler::Events, text).is_ok()
}

/// Returns whether the value of a key has an anchor, for aliases elsewhere in the file.
fn is_anchor(key: &Key, sources: &Sources) -> bool {
    let lines = sources.after(&key.span).split_inclusive('\n');
    let inner = lines
        .enumerate()
        .take_while(|(at, line)| *at == 0 || line.starts_with([' ', '\t', '#', '\r', '\n', '-', '}', ']']));
    inner
        .map(|(_, line)| line.split(" #").next().unwrap_or_default())
        .any(|line| {
            line.split([' ', '\t', '[', '{', ','])
                .any(|word| word.len() > 1 && word.starts_with('&'))
        })
}
