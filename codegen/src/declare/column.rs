//! A column's entry: its declaration alone, or a mapping with each part under a key. An empty entry
//! removes an inherited column.

use std::ops::Range;

use super::{DeclarationReader, EventKeys, RustNames, long_column::LongColumn, options::OPTION_KEYS};
use crate::{
    declare::value::truncation_help,
    diagnostic::Diagnostic,
    doc_comment::doc_comments,
    source::{Sources, Span},
    sql::Sql,
    types::{self, Declaration, TypeError},
    yaml::{Key, Node, Value},
};

/// One column as its entry declares it.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: Key,
    /// `None` removes an inherited column.
    pub(crate) declaration: Option<Declaration>,
    pub(crate) event: EventKeys,
    /// The earlier names of the column.
    pub(crate) was: Vec<Key>,
    /// The names in Rust that the schema gives.
    pub(crate) rust: RustNames,
    /// Since when or why the column should not be filled any more.
    pub(crate) deprecated: Option<String>,
    /// The place of the declaration.
    pub(crate) span: Span,
    pub(crate) expressions: Expressions,
    /// The YAML comments on the column.
    pub(crate) doc_comments: Vec<String>,
}

/// The expressions of a column's declaration, which ClickHouse computes, and their places.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expressions {
    /// The expression of DEFAULT, MATERIALIZED, ALIAS or EPHEMERAL.
    pub(crate) default: Option<Sql>,
    pub(crate) ttl: Option<Sql>,
}

impl Expressions {
    /// Finds the expressions of a declaration, in the text of `node` or under a key.
    fn of(declaration: &Declaration, node: &Node, keys: &[(Key, Node)], sources: &Sources) -> Self {
        let place = |text: &str, span: &Range<usize>, names: &[&str]| {
            let under_key = keys
                .iter()
                .filter(|(key, _)| names.contains(&key.text.as_str()))
                .find_map(|(_, node)| match &node.value {
                    Value::Text(written) if written.trim() == text => {
                        let start = written.len() - written.trim_start().len();
                        Some(Sql::of_node(node, start..start + text.len(), sources))
                    }
                    _ => None,
                });
            under_key.unwrap_or_else(|| Sql::of_node(node, span.clone(), sources))
        };
        let default = declaration
            .default
            .as_ref()
            // The span of an EPHEMERAL without an expression is its keyword.
            .filter(|default| default.text.len() == default.span.len());
        Self {
            default: default.map(|default| place(&default.text, &default.span, &DEFAULT_KEYS)),
            ttl: declaration
                .ttl
                .as_ref()
                .zip(declaration.ttl_span.as_ref())
                .map(|(text, span)| place(text, span, &["ttl"])),
        }
    }
}

/// The keys of a column that hold a default.
const DEFAULT_KEYS: [&str; 4] = ["alias", "default", "ephemeral", "materialized"];

impl DeclarationReader<'_> {
    /// Reads one entry of a table; returns `None` if it has a problem.
    pub(super) fn column(&mut self, name: Key, node: Node) -> Option<Column> {
        let whole = node.span.clone();
        let mut keys = Vec::new();
        let (node, mut long) = match node.value {
            Value::Null => {
                return Some(Column {
                    name,
                    declaration: None,
                    event: EventKeys::default(),
                    was: Vec::new(),
                    rust: RustNames::default(),
                    deprecated: None,
                    span: node.span,
                    expressions: Expressions::default(),
                    doc_comments: Vec::new(),
                });
            }
            Value::Map(entries) => {
                let is_expression = |key: &Key| DEFAULT_KEYS.contains(&key.text.as_str()) || key.text == "ttl";
                keys.extend(entries.iter().filter(|(key, _)| is_expression(key)).cloned());
                let (node, long) = self.long_column(entries, &name)?;
                (node, Some(long))
            }
            _ => (node, None),
        };
        let Value::Text(text) = &node.value else {
            let diagnostic = Diagnostic::error(
                "not-a-type",
                format!("a column's type must be a string, not {}", node.value.kind()),
            )
            .label(node.span, format!("of column `{}`", name.text))
            .help("write the type as in ClickHouse, for example `Array(String)`");
            self.report.push(diagnostic);
            return None;
        };
        let event = long.as_mut().map(LongColumn::take_event).unwrap_or_default();
        let was = long.as_mut().map(LongColumn::take_was).unwrap_or_default();
        let rust = long.as_mut().map(LongColumn::take_rust).unwrap_or_default();
        let documentation = long.as_mut().map(LongColumn::take_documentation).unwrap_or_default();
        let parsed = match types::parse_filled_by(self.filler, text) {
            Ok(mut declaration) => {
                for problem in declaration.warnings.drain(..) {
                    let warning = self.type_diagnostic(Diagnostic::warning, problem, &node);
                    self.warnings.push(warning);
                }
                match long {
                    None => Ok(declaration),
                    Some(long) => long.complete(declaration, &node, self.sources, self.filler),
                }
            }
            Err(errors) => Err(errors
                .into_iter()
                .map(|mut error| {
                    let is_option = error.code == "unknown-type" && OPTION_KEYS.contains(&name.text.as_str());
                    let option = || {
                        is_option
                            .then(|| format!("write the option under `_options`: `_options: {{ {}: … }}`", name.text))
                    };
                    let truncation_help = truncation_help(&node, self.sources).map(str::to_owned);
                    error.help = truncation_help.or_else(option).or(error.help);
                    self.type_diagnostic(Diagnostic::error, error, &node)
                })
                .collect()),
        };
        match parsed {
            Ok(declaration) => Some(Column {
                expressions: Expressions::of(&declaration, &node, &keys, self.sources),
                doc_comments: documentation.added_to(doc_comments(self.sources, &name.span, &whole)),
                deprecated: documentation.deprecated,
                name,
                declaration: Some(declaration),
                event,
                was,
                rust,
                span: node.span,
            }),
            Err(problems) => {
                for problem in problems {
                    self.report.push(problem);
                }
                None
            }
        }
    }
}

impl DeclarationReader<'_> {
    /// Builds the diagnostic for a problem of a declaration in its value, `node`.
    fn type_diagnostic(
        &self,
        severity: fn(&'static str, String) -> Diagnostic,
        TypeError {
            code,
            message,
            span,
            help,
        }: TypeError,
        node: &Node,
    ) -> Diagnostic {
        let diagnostic = severity(code, message).label(node.span_within(self.sources, span), "");
        help.into_iter().fold(diagnostic, Diagnostic::help)
    }
}
