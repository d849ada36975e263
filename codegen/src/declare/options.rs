//! A table's `_options`: the table that it extends, its engine, and the clauses after the engine.

use super::{
    DeclarationReader, Distribution, Privacy, TableElement, TableElementKind, UnknownKeys,
    documentation::Documentation, outside,
};
use crate::{
    diagnostic::{ALLOWED_ERRORS, Diagnostic, WARNINGS},
    source::Span,
    table_engine::{Clauses, Engine, Setting},
    yaml::{Key, Node, Value},
};

/// A table's `_options`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) extend: Option<Key>,
    pub(crate) is_abstract: bool,
    /// Whether the values of events are read by ClickHouse's rules alone; `None` if the options do
    /// not name it.
    pub(crate) is_strict: Option<bool>,
    /// The policy for keys without a column, and the place of the option.
    pub(crate) unknown_keys: Option<(UnknownKeys, Span)>,
    pub(crate) privacy: Privacy,
    /// The codes of warnings that the table allows.
    pub(crate) allowed: Vec<String>,
    pub(crate) engine: Option<(Engine, Span)>,
    pub(crate) clauses: Clauses,
    pub(crate) distribution: Distribution,
    /// The settings of each insert; `None` if the options do not name them.
    pub(crate) insert_settings: Option<Vec<Setting>>,
    /// The keys that hold the clauses.
    pub(crate) present_keys: Vec<Key>,
    /// Indexes, projections and constraints.
    pub(crate) elements: Vec<TableElement>,
    /// A description of the table for its users. Tables that extend this one do not inherit it, as
    /// they hold other rows.
    pub(crate) comment: Option<String>,
    /// The name from which the generated code derives its names, instead of the table's. Tables that
    /// extend this one do not inherit it.
    pub(crate) rust: Option<Key>,
    /// The documentation of the table alone.
    pub(crate) documentation: Documentation,
}

/// The keys of `_options` that do not apply to every engine.
const CLAUSE_KEYS: [&str; 6] = [
    "order_by",
    "partition_by",
    "primary_key",
    "sample_by",
    "settings",
    "ttl",
];

/// The keys of `_options`.
pub(crate) const OPTION_KEYS: [&str; 25] = [
    "abstract",
    "allow",
    "cluster",
    "comment",
    "constraints",
    "deprecated",
    "distributed",
    "engine",
    "extend",
    "indexes",
    "insert_settings",
    "order_by",
    "owner",
    "partition_by",
    "primary_key",
    "privacy",
    "projections",
    "replicated",
    "rust",
    "sample_by",
    "settings",
    "sharding_key",
    "strict",
    "ttl",
    "unknown",
];

/// Builds the error for a key without a value: `{ order_by: id, date }` has a key `date`.
fn stray_key(key: Key) -> Diagnostic {
    Diagnostic::error("unknown-key", format!("unknown key `{}` in `_options`", key.text))
        .did_you_mean(&key.text, OPTION_KEYS)
        .label(key.span, "the value is missing")
        .help("between braces, YAML ends a value at a comma: write a list in square brackets, for example `order_by: [id, date]`")
}

impl Options {
    /// Returns whether the table allows the warning.
    pub(crate) fn allows(&self, warning: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == warning)
    }
}

impl DeclarationReader<'_> {
    /// Reads a table's options; omits those that have a problem.
    pub(super) fn options(&mut self, node: Node) -> Options {
        let mut options = Options::default();
        for (key, node) in self
            .mapping(
                node,
                "`_options` must map names to values",
                "_options: { engine: MergeTree, order_by: date }",
            )
            .unwrap_or_default()
        {
            let node = if key.text == "engine" {
                self.engine_null(node)
            } else {
                node
            };
            if matches!(node.value, Value::Null) {
                if !OPTION_KEYS.contains(&key.text.as_str()) {
                    self.report.push(stray_key(key));
                }
                continue;
            }
            if CLAUSE_KEYS.contains(&key.text.as_str()) {
                options.present_keys.push(key.clone());
            }
            match key.text.as_str() {
                "extend" => options.extend = self.parent(node),
                "abstract" => options.is_abstract = self.boolean(node, "`abstract`"),
                "strict" => options.is_strict = Some(self.boolean(node, "`strict`")),
                "unknown" => options.unknown_keys = self.unknown_keys(node),
                "privacy" => options.privacy = self.privacy(node),
                "allow" => options.allowed = self.allowed(node),
                "engine" => {
                    let span = node.span.clone();
                    if let Some(written) = self.sql(node, "`engine`") {
                        match Engine::parse(&written) {
                            Ok(engine) => options.engine = Some((engine, span)),
                            Err(message) => {
                                self.report
                                    .push(Diagnostic::error("bad-engine", message).label(span, "").help(
                                        "write the engine as in ClickHouse, for example `ReplacingMergeTree(version)`",
                                    ))
                            }
                        }
                    }
                }
                "order_by" => options.clauses.order_by = self.expression(node, "`order_by`"),
                "partition_by" => options.clauses.partition_by = self.expression(node, "`partition_by`"),
                "primary_key" => options.clauses.primary_key = self.expression(node, "`primary_key`"),
                "sample_by" => options.clauses.sample_by = self.expression(node, "`sample_by`"),
                "ttl" => options.clauses.ttl = self.sql(node, "`ttl`"),
                "cluster" => options.clauses.cluster = self.text(node, "`cluster`").map(|(text, _)| text),
                "distributed" | "replicated" | "sharding_key" => {
                    self.distribution(&key, node, &mut options.distribution);
                }
                "deprecated" | "owner" => self.documentation(&key, node, &mut options.documentation),
                "comment" => options.comment = self.text(node, "`comment`").map(|(text, _)| text.trim().to_owned()),
                "rust" => options.rust = self.rust_name(node),
                "indexes" => options.elements.extend(self.elements(node, TableElementKind::Index)),
                "constraints" => options
                    .elements
                    .extend(self.elements(node, TableElementKind::Constraint)),
                "projections" => options
                    .elements
                    .extend(self.elements(node, TableElementKind::Projection)),
                "settings" => options
                    .clauses
                    .settings
                    .extend(self.settings(node, "settings: { index_granularity: 8192 }")),
                "insert_settings" => {
                    options.insert_settings = Some(self.settings(node, "insert_settings: { max_insert_threads: 4 }"));
                }
                _ => match outside::help_in_options(&key, &node, &OPTION_KEYS) {
                    Some(help) => {
                        let message = format!("unknown key `{}` in `_options`", key.text);
                        self.report
                            .push(Diagnostic::error("unknown-key", message).label(key.span, "").help(help));
                    }
                    None => self.unknown_key(&key, "`_options`", &OPTION_KEYS),
                },
            }
        }
        options
    }

    /// Reads settings by their names.
    fn settings(&mut self, node: Node, example: &str) -> Vec<Setting> {
        let mut settings = Vec::new();
        let entries = self.mapping(node, "settings must map names to values", example);
        for (name, node) in entries.unwrap_or_default() {
            if let Some((value, _)) = self.text(node, "a setting's value") {
                let span = Some(name.span);
                settings.push(Setting {
                    name: name.text,
                    value,
                    span,
                });
            }
        }
        settings
    }

    /// Reads the codes of warnings: one, or a list of them.
    fn allowed(&mut self, node: Node) -> Vec<String> {
        let items = match node.value {
            Value::List(items) => items,
            value => vec![Node { value, ..node }],
        };
        let mut allowed = Vec::new();
        for item in items {
            let Some((code, span)) = self.text(item, "a warning's code") else {
                continue;
            };
            if WARNINGS.contains(&code.as_str()) || ALLOWED_ERRORS.contains(&code.as_str()) {
                allowed.push(code);
            } else {
                let diagnostic = Diagnostic::error("unknown-warning", format!("unknown warning `{code}`"))
                    .did_you_mean(&code, WARNINGS.into_iter().chain(ALLOWED_ERRORS))
                    .label(span, "")
                    .help(format!(
                        "the warnings are `{}`; of the errors, `allow` applies only to `{}`",
                        WARNINGS.join("`, `"),
                        ALLOWED_ERRORS.join("` and `")
                    ));
                self.report.push(diagnostic);
            }
        }
        allowed
    }

    /// Restores the engine `Null`, which YAML reads as nothing unless it is quoted. An author who
    /// means nothing does not spell it with a capital.
    fn engine_null(&self, node: Node) -> Node {
        const NAME: &str = "Null";
        if matches!(node.value, Value::Null) && self.sources.slice(&node.span) == NAME {
            return Node {
                value: Value::Text(NAME.to_owned()),
                ..node
            };
        }
        node
    }

    fn parent(&mut self, node: Node) -> Option<Key> {
        if let Value::List(_) = node.value {
            let diagnostic = Diagnostic::error("not-a-text", "a table can extend only one table")
                .label(node.span, "")
                .help("name one table, which can extend another one");
            self.report.push(diagnostic);
            return None;
        }
        self.text(node, "`extend`").map(|(text, span)| Key { text, span })
    }
}
