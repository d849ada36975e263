//! Declare: what the merged YAML says, table by table, before tables inherit from one another.

use crate::{
    diagnostic::{Diagnostic, Report},
    engine::Engine,
    source::{Sources, Span},
    types::{self, Declaration},
    yaml::{Key, Node, Value},
};

/// All that the files declare, in their order.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(crate) tables: Vec<Table>,
    pub(crate) destinations: Vec<Destination>,
}

/// One table as its own entry has it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: Key,
    pub(crate) columns: Vec<Column>,
    pub(crate) options: Options,
}

/// One column as its own entry has it.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: Key,
    /// `None` takes an inherited column away.
    pub(crate) declaration: Option<Declaration>,
    /// Where the declaration stands.
    pub(crate) span: Span,
}

/// A table's `_options`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) extend: Option<Key>,
    pub(crate) is_abstract: bool,
    pub(crate) engine: Option<(Engine, Span)>,
    pub(crate) clauses: Clauses,
}

/// What follows the engine in the DDL; expressions go to ClickHouse as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Clauses {
    pub(crate) partition_by: Option<String>,
    pub(crate) primary_key: Option<String>,
    pub(crate) order_by: Option<String>,
    pub(crate) sample_by: Option<String>,
    pub(crate) ttl: Option<String>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) cluster: Option<String>,
}

impl Clauses {
    /// Fills what `self` leaves open from `below`; settings one by one.
    pub(crate) fn inherit(&mut self, below: &Self) {
        for (mine, theirs) in [
            (&mut self.partition_by, &below.partition_by),
            (&mut self.primary_key, &below.primary_key),
            (&mut self.order_by, &below.order_by),
            (&mut self.sample_by, &below.sample_by),
            (&mut self.ttl, &below.ttl),
            (&mut self.cluster, &below.cluster),
        ] {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
        for (name, value) in &below.settings {
            if !self.settings.iter().any(|(mine, _)| mine == name) {
                self.settings.push((name.clone(), value.clone()));
            }
        }
    }
}

/// One entry of `destinations`.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) path: Key,
    pub(crate) table: Key,
}

/// The keys of `clickhouse:` that the original's files have and that Rowmill takes from its command line, or does not need.
const FOREIGN_KEYS: [&str; 6] = [
    "copy_props",
    "dsn",
    "emergency_dir",
    "enabled",
    "sync",
    "uploadInterval",
];

const OPTION_KEYS: [&str; 10] = [
    "abstract",
    "cluster",
    "engine",
    "extend",
    "order_by",
    "partition_by",
    "primary_key",
    "sample_by",
    "settings",
    "ttl",
];

/// The table that old files put directly under `clickhouse:` and whose columns every table gets.
const OLD_BASE: &str = "base";

/// Reads the section `clickhouse:`; other sections belong to other programs.
pub(crate) fn declare(root: Vec<(Key, Node)>, sources: &Sources, report: &mut Report) -> Declared {
    let mut reader = DeclarationReader {
        sources,
        report,
        declared: Declared::default(),
        old_base: None,
    };
    for (key, node) in root {
        if key.text == "clickhouse" {
            reader.section(node);
        } else if types::closest(&key.text, ["clickhouse"]).is_some() {
            let diagnostic = Diagnostic::error("unknown-key", format!("unknown section `{}`", key.text));
            reader
                .report
                .push(diagnostic.label(key.span, "").help("did you mean `clickhouse`?"));
        }
    }
    reader.declared
}

struct DeclarationReader<'a> {
    sources: &'a Sources,
    report: &'a mut Report,
    declared: Declared,
    old_base: Option<Key>,
}

impl DeclarationReader<'_> {
    fn section(&mut self, node: Node) {
        let Some(entries) = self.mapping(node, "`clickhouse` holds tables and destinations") else {
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
        for (key, node) in entries {
            match (key.text.as_str(), &node.value) {
                ("destinations", _) => self.destinations(node),
                ("tables", _) => {
                    for (name, node) in self
                        .mapping(node, "`tables` maps a name to columns")
                        .unwrap_or_default()
                    {
                        self.table(name, node);
                    }
                }
                (name, _) if FOREIGN_KEYS.contains(&name) => {}
                (_, Value::Map(_)) if !key.text.eq_ignore_ascii_case("destination") => self.table(key, node),
                (name, _) => {
                    let diagnostic = Diagnostic::error("unknown-key", format!("unknown key `{name}` in `clickhouse`"))
                        .did_you_mean(name, ["destinations", "tables"])
                        .label(
                            key.span,
                            format!("neither a table nor an option: its value is {}", node.value.kind()),
                        );
                    self.report.push(diagnostic);
                }
            }
        }
    }

    fn destinations(&mut self, node: Node) {
        for (path, node) in self
            .mapping(node, "`destinations` maps `service/name` to a table")
            .unwrap_or_default()
        {
            let table = match node.value {
                // A later file takes a route away by setting it to nothing.
                Value::Null => continue,
                Value::Text(text) => Some(Key { text, span: node.span }),
                Value::Map(entries) => self.long_destination(entries, &path),
                ref other => {
                    let diagnostic = Diagnostic::error(
                        "bad-destination",
                        format!("a destination is a table's name, not {}", other.kind()),
                    );
                    self.report
                        .push(diagnostic.label(node.span, format!("of `{}`", path.text)));
                    None
                }
            };
            if let Some(table) = table {
                self.declared.destinations.push(Destination { path, table });
            }
        }
    }

    fn long_destination(&mut self, entries: Vec<(Key, Node)>, path: &Key) -> Option<Key> {
        let mut table = None;
        for (key, node) in entries {
            if key.text == "table" {
                table = self.text(node, "the table").map(|(text, span)| Key { text, span });
            } else {
                self.unknown_key(&key, "a destination", &["table"]);
            }
        }
        if table.is_none() {
            let diagnostic = Diagnostic::error(
                "bad-destination",
                format!("the destination `{}` names no table", path.text),
            );
            self.report
                .push(diagnostic.label(path.span.clone(), "").help("add `table: NAME`"));
        }
        table
    }

    fn table(&mut self, name: Key, node: Node) {
        let Some(entries) = self.mapping(node, "a table maps columns to types") else {
            return;
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
        } else if options.extend.is_none() {
            options.extend = self.old_base.clone();
        }
        self.declared.tables.push(Table { name, columns, options });
    }

    fn column(&mut self, name: Key, node: Node) -> Option<Column> {
        let span = node.span.clone();
        let (node, comment) = match node.value {
            Value::Null => {
                return Some(Column {
                    name,
                    declaration: None,
                    span,
                });
            }
            Value::Map(entries) => self.long_column(entries, &name)?,
            _ => (node, None),
        };
        let Value::Text(text) = &node.value else {
            let diagnostic = Diagnostic::error(
                "not-a-type",
                format!("a column's type is a text, not {}", node.value.kind()),
            )
            .label(node.span, format!("of column `{}`", name.text))
            .help("write the type as ClickHouse has it, for example `Array(String)`");
            self.report.push(diagnostic);
            return None;
        };
        match types::parse(text) {
            Ok(mut declaration) => {
                if comment.is_some() {
                    declaration.comment = comment;
                }
                Some(Column {
                    name,
                    declaration: Some(declaration),
                    span: node.span,
                })
            }
            Err(errors) => {
                for error in errors {
                    let mut diagnostic = Diagnostic::error(error.code, error.message)
                        .label(node.span_within(self.sources, error.span), "");
                    if let Some(help) = error.help {
                        diagnostic = diagnostic.help(help);
                    }
                    self.report.push(diagnostic);
                }
                None
            }
        }
    }

    fn long_column(&mut self, entries: Vec<(Key, Node)>, name: &Key) -> Option<(Node, Option<String>)> {
        let (mut declaration, mut comment) = (None, None);
        for (key, node) in entries {
            match key.text.as_str() {
                "type" => declaration = Some(node),
                "comment" => comment = self.text(node, "the comment").map(|(text, _)| text),
                _ => self.unknown_key(&key, "a column", &["comment", "type"]),
            }
        }
        if declaration.is_none() {
            let diagnostic = Diagnostic::error("not-a-type", format!("column `{}` has no type", name.text));
            self.report
                .push(diagnostic.label(name.span.clone(), "").help("add `type: …`"));
        }
        Some((declaration?, comment))
    }

    fn options(&mut self, node: Node) -> Options {
        let mut options = Options::default();
        for (key, node) in self
            .mapping(node, "`_options` maps names to values")
            .unwrap_or_default()
        {
            if matches!(node.value, Value::Null) {
                continue;
            }
            match key.text.as_str() {
                "extend" => options.extend = self.text(node, "`extend`").map(|(text, span)| Key { text, span }),
                "abstract" => options.is_abstract = self.boolean(node, "`abstract`"),
                "engine" => {
                    if let Some((text, span)) = self.text(node, "`engine`") {
                        match Engine::parse(&text) {
                            Ok(engine) => options.engine = Some((engine, span)),
                            Err(message) => self
                                .report
                                .push(Diagnostic::error("bad-engine", message).label(span, "")),
                        }
                    }
                }
                "order_by" => options.clauses.order_by = self.expression(node, "`order_by`"),
                "partition_by" => options.clauses.partition_by = self.expression(node, "`partition_by`"),
                "primary_key" => options.clauses.primary_key = self.expression(node, "`primary_key`"),
                "sample_by" => options.clauses.sample_by = self.expression(node, "`sample_by`"),
                "ttl" => options.clauses.ttl = self.text(node, "`ttl`").map(|(text, _)| text),
                "cluster" => options.clauses.cluster = self.text(node, "`cluster`").map(|(text, _)| text),
                "settings" => {
                    for (name, node) in self
                        .mapping(node, "`settings` maps a setting to its value")
                        .unwrap_or_default()
                    {
                        if let Some((value, _)) = self.text(node, "a setting's value") {
                            options.clauses.settings.push((name.text, value));
                        }
                    }
                }
                _ => self.unknown_key(&key, "`_options`", &OPTION_KEYS),
            }
        }
        options
    }

    fn unknown_key(&mut self, key: &Key, place: &str, known: &[&'static str]) {
        let diagnostic = Diagnostic::error("unknown-key", format!("unknown key `{}` in {place}", key.text))
            .did_you_mean(&key.text, known.iter().copied())
            .label(key.span.clone(), "")
            .help(format!("the keys are {}", known.join(", ")));
        self.report.push(diagnostic);
    }

    fn mapping(&mut self, node: Node, what: &str) -> Option<Vec<(Key, Node)>> {
        match node.value {
            Value::Map(entries) => Some(entries),
            other => {
                let diagnostic = Diagnostic::error("not-a-mapping", format!("{what}, this is {}", other.kind()));
                self.report.push(diagnostic.label(node.span, ""));
                None
            }
        }
    }

    fn text(&mut self, node: Node, what: &str) -> Option<(String, Span)> {
        match node.value {
            Value::Text(text) => Some((text, node.span)),
            other => {
                let diagnostic = Diagnostic::error("not-a-text", format!("{what} is a text, not {}", other.kind()));
                self.report.push(diagnostic.label(node.span, ""));
                None
            }
        }
    }

    fn boolean(&mut self, node: Node, what: &str) -> bool {
        match &node.value {
            Value::Text(text) if text == "true" => true,
            Value::Text(text) if text == "false" => false,
            _ => {
                let diagnostic = Diagnostic::error("not-a-boolean", format!("{what} is `true` or `false`"));
                self.report.push(diagnostic.label(node.span, ""));
                false
            }
        }
    }

    /// Reads an expression, or a list of them that becomes a tuple.
    fn expression(&mut self, node: Node, what: &str) -> Option<String> {
        match node.value {
            Value::List(items) => {
                let items: Vec<String> = items
                    .into_iter()
                    .filter_map(|item| self.text(item, what))
                    .map(|(text, _)| text)
                    .collect();
                Some(format!("({})", items.join(", ")))
            }
            _ => self.text(node, what).map(|(text, _)| text),
        }
    }
}
