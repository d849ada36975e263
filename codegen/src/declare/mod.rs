//! Declare: the declarations of the merged YAML, table by table, before inheritance.

mod column;
mod destination;
mod dictionary;
mod distribution;
mod documentation;
mod event_keys;
mod header_name;
mod long_column;
mod old_layout;
mod options;
mod outside;
mod privacy;
mod route_adapter;
mod route_answer;
mod route_automated;
mod route_idempotency;
mod route_items;
mod route_parse;
mod route_paths;
mod route_redirect;
mod route_stream;
mod route_verify;
mod rust_name;
mod secret;
mod source;
mod table_element;
mod texts;
mod value;
mod value_rules;
mod view;

use crate::{
    diagnostic::{Diagnostic, Report},
    doc_comment::doc_comments,
    presets,
    source::{Sources, Span},
    standard,
    types::{self, Filler},
    yaml::{Key, Node, Removals, Value},
};

#[cfg(test)]
pub(crate) use self::{
    destination::KEYS as DESTINATION_KEYS, dictionary::DICTIONARY_KEYS, options::OPTION_KEYS, privacy::PRIVACY_KEYS,
    route_redirect::REDIRECT_KEYS, route_verify::VERIFY_KEYS, view::VIEW_KEYS,
};
pub(crate) use {
    self::{
        column::{Column, Expressions},
        destination::{ACKS, Ack, Acks, Destination, RouteOptions},
        dictionary::Dictionary,
        distribution::{Distributed, Distribution},
        event_keys::EventKeys,
        long_column::COLUMN_KEYS,
        options::Options,
        privacy::{
            ADDRESS_RULES, AddressRule, Personal, PersonalColumn, Privacy, ROTATIONS, Rotation, SIGNALS, Signal,
            USER_AGENT_RULES, UserAgentRule, WITHOUT_CONSENT, WithoutConsent,
        },
        route_adapter::{ADAPTERS, Adapter},
        route_answer::{Echo, FixedAnswer},
        route_automated::AUTOMATED,
        route_idempotency::{Idempotency, IdempotencyKey},
        route_items::Items,
        route_paths::{METHODS, OwnPaths},
        route_redirect::{REDIRECTS, Redirect},
        route_verify::{ALGORITHMS, Algorithm, ENCODINGS, Encoding, SCHEMES, Scheme, Verify},
        rust_name::RustNames,
        secret::SecretSource,
        source::Source,
        table_element::{TableElement, TableElementKind, constraint_parts, projection_index},
        value_rules::{UNITS, UNKNOWN_KEYS, Unit, UnknownKeys},
        view::View,
    },
    crate::table_engine::Clauses,
};

/// All declarations of the files, in their order.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(crate) tables: Vec<Table>,
    pub(crate) destinations: Vec<Destination>,
    pub(crate) views: Vec<View>,
    pub(crate) removals: Removals,
    pub(crate) dictionaries: Vec<Dictionary>,
    /// The cluster of all tables, views and dictionaries that name none.
    pub(crate) cluster: Option<String>,
    /// Whether every file could be read. If not, an unknown name may be in an unreadable file.
    pub(crate) is_complete: bool,
    /// The index of the standard tables' file, if the schema includes it.
    pub(crate) standard: Option<usize>,
}

/// One table as its entry declares it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: Key,
    pub(crate) columns: Vec<Column>,
    pub(crate) options: Options,
    /// Whether events or a materialized view fill the table.
    pub(crate) filler: Filler,
    /// The YAML comments on the table.
    pub(crate) doc_comments: Vec<String>,
    /// Whether every piece of the entry could be read. If not, most rules skip the table.
    pub(crate) is_complete: bool,
}

/// The keys of `clickhouse:` in the original's files that Rowmill ignores, as it has command-line
/// options for them or does not need them.
pub(crate) const FOREIGN_KEYS: [&str; 6] = [
    "copy_props",
    "dsn",
    "emergency_dir",
    "enabled",
    "sync",
    "uploadInterval",
];

/// The section that Rowmill reads.
const SECTION: &str = "clickhouse";

/// The keys at the top level.
const KEYS: [&str; 3] = [SECTION, presets::KEY, standard::KEY];

/// A key in a sample of the original, which the original ignores.
const OLD_TYPO: &str = "destination";

/// The table that old files put directly under `clickhouse:`, and whose columns every table
/// inherits.
const OLD_BASE: &str = "base";

/// Reads the section `clickhouse:`; other sections belong to other programs.
pub(crate) fn declare(root: Vec<(Key, Node)>, removals: Removals, sources: &Sources, report: &mut Report) -> Declared {
    let mut reader = DeclarationReader {
        declared: Declared {
            is_complete: !report.has_errors(),
            removals,
            standard: sources.standard,
            ..Declared::default()
        },
        sources,
        report,
        old_base: None,
        filler: Filler::Events,
        warnings: Vec::new(),
        old_layout: Vec::new(),
    };
    let (mut section, mut other) = (None, None);
    let mut outside = Vec::new();
    for (key, node) in root {
        if key.text == SECTION {
            section = Some(key.span);
            reader.section(node);
        } else if key.text == standard::KEY {
            if !standard::check(&key, &node, sources, reader.report) {
                reader.declared.is_complete = false;
            }
        } else if key.text == presets::KEY {
            if !presets::check(&node, sources, reader.report) {
                reader.declared.is_complete = false;
            }
        } else if types::closest(&key.text, KEYS).is_some() {
            let diagnostic = Diagnostic::error("unknown-key", format!("unknown section `{}`", key.text))
                .did_you_mean(&key.text, KEYS)
                .label(key.span, "");
            reader.report.push(diagnostic);
            reader.declared.is_complete = false;
        } else {
            other.get_or_insert(key.span.clone());
            outside.push((key, node));
        }
    }
    if reader.declared.tables.is_empty() && reader.declared.is_complete {
        reader.report.push(no_tables(section, other));
        reader.declared.is_complete = false;
    } else {
        outside::report(outside, reader.sources, reader.report);
    }
    reader.declared
}

/// Builds the error for a schema without tables, which are probably in the wrong place.
fn no_tables(section: Option<Span>, other: Option<Span>) -> Diagnostic {
    let mut diagnostic = Diagnostic::error("no-schema", "the schema has no tables")
        .help(format!("put `destinations` and `tables` under `{SECTION}:`"));
    if let Some(span) = section {
        diagnostic = diagnostic.label(span, "it contains no tables");
    }
    if let Some(span) = other {
        diagnostic = diagnostic.label(span, format!("at the top level, Rowmill reads only `{SECTION}`"));
    }
    diagnostic
}

struct DeclarationReader<'a> {
    sources: &'a Sources,
    report: &'a mut Report,
    declared: Declared,
    old_base: Option<Key>,
    /// The source of the current table's rows.
    filler: Filler,
    /// The warnings about the columns of the current table, which the table may allow.
    warnings: Vec<Diagnostic>,
    /// The services whose destinations have the oldest layout, with their destinations.
    old_layout: Vec<(Key, Vec<(Key, Node)>)>,
}

impl DeclarationReader<'_> {
    fn section(&mut self, node: Node) {
        let Some(entries) = self.mapping(
            node,
            "`clickhouse` must contain destinations and tables",
            "clickhouse: { destinations: …, tables: … }",
        ) else {
            self.declared.is_complete = false;
            return;
        };
        let is_old_base = |key: &Key, node: &Node| {
            key.text == OLD_BASE
                && matches!(&node.value, Value::Map(map) if !map.iter().any(|(key, _)| key.text == "_options"))
        };
        self.old_base = entries
            .iter()
            .find(|(key, node)| is_old_base(key, node))
            .map(|(key, _)| key.clone());
        let tables = old_layout::table_names(&entries);
        for (key, node) in entries {
            match (key.text.as_str(), &node.value) {
                ("cluster", Value::Text(name)) => self.declared.cluster = Some(name.clone()),
                ("destinations", _) => self.destinations(node),
                ("tables", _) => match self.mapping(
                    node,
                    "`tables` must map names to tables",
                    "tables: { mail: { id: UInt64, … } }",
                ) {
                    None => self.declared.is_complete = false,
                    Some(tables) => {
                        for (name, node) in tables {
                            self.table(name, node);
                        }
                    }
                },
                ("views" | "dictionaries", Value::Null) => {}
                ("dictionaries", Value::Map(entries)) if dictionary::are_dictionaries(entries) => {
                    let entries = self
                        .mapping(node, "`dictionaries` must map names to dictionaries", "")
                        .unwrap_or_default();
                    self.dictionaries(entries);
                }
                ("views", Value::Map(entries)) if view::are_views(entries) => {
                    let entries = self
                        .mapping(node, "`views` must map names to views", "")
                        .unwrap_or_default();
                    self.views(entries);
                }
                (name, _) if FOREIGN_KEYS.contains(&name) => {}
                (_, Value::Map(entries)) => match meant_instead_of_table(&key.text, entries) {
                    None if old_layout::is_service(entries, &tables) => {
                        if let Value::Map(entries) = node.value {
                            self.old_layout.push((key, entries));
                        }
                    }
                    None => self.table(key, node),
                    Some(meant) => {
                        let message = format!("unknown key `{}` in `{SECTION}`", key.text);
                        let diagnostic = Diagnostic::error("unknown-key", message).did_you_mean(&key.text, [meant]);
                        let diagnostic = match key.text.as_str() {
                            OLD_TYPO => diagnostic.help("Rockstat ignores this key: its events go to `other`"),
                            _ => diagnostic,
                        };
                        self.report.push(diagnostic.label(key.span, ""));
                        self.declared.is_complete = false;
                    }
                },
                (name, _) => {
                    let diagnostic = Diagnostic::error("unknown-key", format!("unknown key `{name}` in `{SECTION}`"));
                    let diagnostic = match outside::help(&key, &node) {
                        Some(help) => diagnostic.help(help),
                        None => diagnostic.did_you_mean(name, ["cluster", "destinations", "tables"]),
                    };
                    let diagnostic = diagnostic.label(
                        key.span,
                        format!("a table must be a mapping, not {}", node.value.kind()),
                    );
                    self.report.push(diagnostic);
                }
            }
        }
        for (service, entries) in std::mem::take(&mut self.old_layout) {
            self.old_destinations(&service, entries);
        }
        let Declared {
            cluster,
            views,
            dictionaries,
            ..
        } = &mut self.declared;
        let views = views.iter_mut().map(|view| &mut view.cluster);
        let dictionaries = dictionaries.iter_mut().map(|dictionary| &mut dictionary.cluster);
        for own in views.chain(dictionaries).filter(|own| own.is_none()) {
            own.clone_from(cluster);
        }
    }

    fn table(&mut self, name: Key, node: Node) {
        let known_problems = self.report.found();
        if let Some(problem) = outside::not_a_table(&name, &node, self.old_base.is_some()) {
            self.report.push(problem);
            self.declared.is_complete = false;
            return;
        }
        // An invalid table is declared as well, so that a reference to it is not a second problem.
        let entries = match node.value {
            Value::Map(entries) => entries,
            other => {
                let message = format!("a table must map columns to types, not be {}", other.kind());
                let outside = outside::help_in_tables(&name, &other);
                let help = match other {
                    Value::List(_) => "write each column as `name: Type`, without a `-` before it",
                    _ => outside
                        .as_deref()
                        .unwrap_or("for a table without columns of its own, write `_options: { extend: … }`"),
                };
                let diagnostic = Diagnostic::error("not-a-mapping", message)
                    .label(node.span.or(&name.span), format!("table `{}`", name.text))
                    .help(help);
                self.report.push(diagnostic);
                Vec::new()
            }
        };
        let mut columns = Vec::new();
        let mut options = Options::default();
        for (key, node) in entries {
            if key.text == "_options" {
                options = self.options(node);
            } else if let Some(column) = self.column(key, node) {
                columns.push(column);
            }
        }
        let is_old_base = self.old_base.as_ref().is_some_and(|base| base.span == name.span);
        if is_old_base {
            options.is_abstract = true;
        } else if options.extend.is_none() && self.filler == Filler::Events {
            options.extend = self.old_base.clone();
        }
        let is_complete = self.report.found() == known_problems;
        for warning in self.warnings.drain(..) {
            self.report.push_unless_allowed(warning, |code| options.allows(code));
        }
        // A comment after a table's last line belongs to that line.
        let doc_comments = doc_comments(self.sources, &name.span, &name.span);
        let doc_comments = options.documentation.added_to(doc_comments);
        self.declared.tables.push(Table {
            name,
            columns,
            options,
            filler: self.filler,
            doc_comments,
            is_complete,
        });
    }
}

/// Returns the key that is probably meant if the name is close to it and the entries fit it.
/// Otherwise, a mapping directly under `clickhouse:` is a table.
fn meant_instead_of_table(name: &str, entries: &[(Key, Node)]) -> Option<&'static str> {
    match types::closest(name, ["destinations", "tables"])? {
        "destinations" if entries.iter().any(|(key, _)| key.text.contains('/')) => Some("destinations"),
        "tables" if entries.iter().all(|(_, node)| matches!(node.value, Value::Map(_))) => Some("tables"),
        _ => None,
    }
}
