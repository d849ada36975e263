//! The standard tables, which a schema includes with `standard: true`.

use std::path::Path;

use crate::{
    diagnostic::{Diagnostic, Place, Report},
    source::{Source, Sources},
    yaml::{Key, Node, Value},
};

/// The key at the top level of a schema file.
pub(crate) const KEY: &str = "standard";

/// The name of the standard tables' file in reports.
const NAME: &str = "(standard tables)";

const TEXT: &str = include_str!("../../schemas/10_base.yml");

/// The standard tables, which a schema without them may extend by mistake.
const TABLES: [&str; 5] = ["activity", "base", "events", "ping", "webhooks"];

impl Sources {
    /// Adds the file of the standard tables if a file of the schema asks for it. All other files
    /// override it.
    pub(crate) fn add_standard(&mut self) {
        if self.files.iter().any(|source| is_requested(&source.text)) {
            self.standard = Some(self.files.len());
            self.files.push(Source::new(NAME, TEXT));
        }
    }
}

/// Returns whether a file has the line `standard: true`.
///
/// The files are not parsed yet: the standard tables come before all of them.
fn is_requested(text: &str) -> bool {
    text.lines().any(|line| {
        let value = line
            .strip_prefix(KEY)
            .and_then(|rest| rest.trim_start().strip_prefix(':'));
        value.is_some_and(|value| value.split(" #").next().unwrap_or_default().trim() == "true")
    })
}

/// Returns whether a problem is in the standard tables.
pub(crate) fn is_place(place: Option<&Place>) -> bool {
    place.is_some_and(|place| place.file == Path::new(NAME))
}

/// Reports a value of the key that has no effect. Returns whether the key is in order.
pub(crate) fn check(key: &Key, node: &Node, sources: &Sources, report: &mut Report) -> bool {
    let problem = match &node.value {
        Value::Text(text) if text == "false" => return true,
        Value::Text(text) if text == "true" && sources.standard.is_some() => return true,
        Value::Text(text) if text == "true" => "this line has no effect",
        _ => "not `true` or `false`",
    };
    report.push(
        Diagnostic::error("bad-standard", format!("the value of `{KEY}` includes no tables"))
            .label(key.span.clone(), problem)
            .help(format!(
                "write `{KEY}: true` on a line of its own, without a space before it"
            )),
    );
    false
}

/// Returns the help for an `extend` of a standard table that the schema does not include.
pub(crate) fn help(table: &str, sources: Option<usize>) -> Option<String> {
    (sources.is_none() && TABLES.contains(&table))
        .then(|| format!("`{table}` is one of the standard tables: add the line `{KEY}: true` before `clickhouse:`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_asks_for_the_standard_tables() {
        for text in [
            "standard: true\n",
            "a: 1\nstandard : true # the base\r\n",
            "standard:   true",
        ] {
            assert!(is_requested(text), "{text}");
        }
        for text in [
            "standard: false",
            " standard: true",
            "standards: true",
            "standard:",
            "# standard: true",
        ] {
            assert!(!is_requested(text), "{text}");
        }
    }

    #[test]
    fn the_list_has_every_standard_table() {
        let sources = Sources::from_texts([("base.yml", TEXT)]);
        let mut report = Report::default();
        let root = crate::yaml::parse(&sources, &mut report);
        let (root, removals) = root;
        let declared = crate::declare::declare(root, removals, &sources, &mut report);
        let mut names: Vec<_> = declared.tables.iter().map(|table| table.name.text.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, TABLES);
    }
}
