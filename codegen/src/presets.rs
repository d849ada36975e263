//! The presets: tables for the webhooks of well-known senders, which a schema includes by name with
//! `presets: [sendgrid, ses]`.

use std::path::Path;

use crate::{
    diagnostic::{Diagnostic, Place, Report},
    source::{Source, Sources},
    yaml::{Node, Value},
};

/// The key at the top level of a schema file.
pub(crate) const KEY: &str = "presets";

/// Embeds files of `schemas/presets`.
macro_rules! presets {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../schemas/presets/", $name, ".yml")))),*]
    };
}

/// The name and the file of each preset.
const PRESETS: [(&str, &str); 11] = presets![
    "brevo",
    "cloudevents",
    "mailgun",
    "mandrill",
    "otlp_logs",
    "postmark",
    "segment",
    "sendgrid",
    "ses",
    "snowplow",
    "sns",
];

impl Sources {
    /// Adds the files of the presets that a file of the schema names. All other files override them.
    pub(crate) fn add_presets(&mut self) {
        let named: Vec<_> = PRESETS
            .into_iter()
            .filter(|(name, _)| self.files.iter().any(|source| names(&source.text, name)))
            .collect();
        for (name, text) in named {
            self.included.push(self.files.len());
            self.files.push(Source::new(file_name(name), text));
        }
    }
}

/// Returns whether a problem is in a preset.
pub(crate) fn is_place(place: Option<&Place>) -> bool {
    place.is_some_and(|place| all().any(|name| place.file == Path::new(&file_name(name))))
}

/// Returns the name of a preset's file in reports.
fn file_name(preset: &str) -> String {
    format!("(preset {preset})")
}

/// Returns the names of all presets.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    PRESETS.into_iter().map(|(name, _)| name)
}

/// Returns whether a file has a line `presets: […]` with this name.
///
/// The files are not parsed yet: the presets come before all of them.
fn names(text: &str, preset: &str) -> bool {
    text.lines().filter_map(list).any(|list| {
        let mut names = list.trim_start_matches('[').trim_end_matches(']').split(',');
        names.any(|name| name.trim().trim_matches(['"', '\'']) == preset)
    })
}

/// Returns the value of a line with the key.
fn list(line: &str) -> Option<&str> {
    let value = line.strip_prefix(KEY)?.trim_start().strip_prefix(':')?;
    Some(value.split(" #").next().unwrap_or_default().trim())
}

/// Reports each name that includes no preset. Returns whether there is none.
pub(crate) fn check(node: &Node, sources: &Sources, report: &mut Report) -> bool {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut is_valid = true;
    for item in items {
        let problem = match &item.value {
            Value::Text(name) if !all().any(|known| known == name) => {
                let known: Vec<_> = all().collect();
                Diagnostic::error("bad-preset", format!("unknown preset `{name}`"))
                    .did_you_mean(name, all())
                    .help(format!("the presets are `{}`", known.join("`, `")))
            }
            Value::Text(name) if sources.files().iter().any(|source| names(&source.text, name)) => continue,
            Value::Text(_) => Diagnostic::error("bad-preset", "this list includes no preset").help(format!(
                "write `{KEY}: [name, name]` on one line, without a space before it"
            )),
            other => Diagnostic::error(
                "bad-preset",
                format!("the name of a preset must be a string, not {}", other.kind()),
            ),
        };
        report.push(problem.label(item.span.clone(), ""));
        is_valid = false;
    }
    is_valid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_presets() {
        for text in [
            "presets: ses",
            "presets: [ses]\n",
            "clickhouse:\npresets : [ brevo, 'ses' ] # both\r\n",
            "presets: [\"ses\",brevo]",
        ] {
            assert!(names(text, "ses"), "{text}");
        }
        for text in [
            "presets: brevo",
            " presets: ses",
            "presets:\n  - ses",
            "# presets: ses",
            "presets: sess",
            "",
        ] {
            assert!(!names(text, "ses"), "{text}");
        }
    }
}
