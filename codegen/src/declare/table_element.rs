//! The elements of a table besides its columns: indexes, which let ClickHouse skip data,
//! projections, which store it in another order, and constraints, which each row must fulfil.

use std::ops::Range;

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    source::Span,
    sql::Sql,
    types,
    yaml::{Key, Node, Value},
};

/// An index, a projection or a constraint; its text goes to ClickHouse unchanged.
#[derive(Debug, Clone)]
pub(crate) struct TableElement {
    pub(crate) kind: TableElementKind,
    pub(crate) name: Key,
    /// `None` removes an inherited one.
    pub(crate) text: Option<Sql>,
}

/// The kind of an [`TableElement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableElementKind {
    /// A [data skipping index](https://clickhouse.com/docs/engines/table-engines/mergetree-family/mergetree#table_engine-mergetree-data_skipping-indexes).
    Index,
    /// A [projection](https://clickhouse.com/docs/engines/table-engines/mergetree-family/mergetree#projections).
    Projection,
    /// A [constraint](https://clickhouse.com/docs/sql-reference/statements/create/table#constraints).
    Constraint,
}

/// The types of index that a projection can be; the names are case-sensitive.
const PROJECTION_INDEX_TYPES: [&str; 2] = ["basic", "commit_order"];

/// Returns the bytes of the expression of a projection that is an index, for example `a` in
/// `INDEX a TYPE basic`. Returns `None` for the text of a query.
pub(crate) fn projection_index(text: &str) -> Option<Range<usize>> {
    let (first, rest) = text.split_at_checked("INDEX".len())?;
    if !first.eq_ignore_ascii_case("INDEX") || !rest.starts_with(|c: char| c.is_whitespace() || c == '(') {
        return None;
    }
    let (expression, _) = types::index_parts(rest)?;
    Some(first.len() + expression.start..first.len() + expression.end)
}

impl TableElementKind {
    /// Returns the plural of the kind.
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Index => "indexes",
            Self::Projection => "projections",
            Self::Constraint => "constraints",
        }
    }
}

impl TableElement {
    /// Returns whether both have the same kind and name.
    pub(crate) fn is_namesake(&self, other: &Self) -> bool {
        self.kind == other.kind && self.name.text == other.name.text
    }
}

impl DeclarationReader<'_> {
    /// Reads the entries of `indexes`, `projections` or `constraints`; omits those that have a problem.
    pub(super) fn elements(&mut self, node: Node, kind: TableElementKind) -> Vec<TableElement> {
        let (what, example) = match kind {
            TableElementKind::Index => (
                "`indexes` must map names to indexes",
                "indexes: { by_email: email TYPE bloom_filter GRANULARITY 4 }",
            ),
            TableElementKind::Projection => (
                "`projections` must map names to queries",
                "projections: { by_email: SELECT * ORDER BY email }",
            ),
            TableElementKind::Constraint => (
                "`constraints` must map names to conditions",
                "constraints: { is_positive: CHECK amount > 0 }",
            ),
        };
        let mut elements = Vec::new();
        for (name, node) in self.mapping(node, what, example).unwrap_or_default() {
            if matches!(node.value, Value::Null) {
                elements.push(TableElement { kind, name, text: None });
                continue;
            }
            let span = node.span.clone();
            let Some(text) = self.sql(node, &format!("`{}`", name.text)) else {
                continue;
            };
            let written = text.as_str();
            let start = written.len() - written.trim_start().len();
            let text = text.part(start..start + written.trim().len());
            match kind {
                TableElementKind::Index => self.bad_index(text.as_str(), span.or(&name.span)),
                TableElementKind::Projection => self.bad_projection(text.as_str(), span.or(&name.span)),
                TableElementKind::Constraint => self.bad_constraint(text.as_str(), span.or(&name.span)),
            }
            let text = Some(text);
            elements.push(TableElement { kind, name, text });
        }
        elements
    }

    fn bad_index(&mut self, text: &str, span: Span) {
        let mut words = text.split_whitespace();
        let has_type = words.by_ref().skip(1).any(|word| word.eq_ignore_ascii_case("TYPE"));
        if !has_type || words.next().is_none() {
            let diagnostic = Diagnostic::error("bad-index", "an index must have an expression and a TYPE");
            self.report.push(
                diagnostic
                    .label(span, "")
                    .help("write `expression TYPE minmax GRANULARITY 4`"),
            );
        }
    }

    fn bad_constraint(&mut self, text: &str, span: Span) {
        let Some((keyword, _)) = constraint_parts(text) else {
            let diagnostic = Diagnostic::error("bad-constraint", "a constraint must begin with CHECK or ASSUME");
            self.report.push(
                diagnostic
                    .label(span, "")
                    .help("write `CHECK condition`: ClickHouse then refuses rows that do not fulfil it"),
            );
            return;
        };
        if text.len() == keyword {
            let diagnostic = Diagnostic::error("bad-constraint", "the condition is missing");
            self.report
                .push(diagnostic.label(span, "").help("write `CHECK condition`"));
        }
    }

    fn bad_projection(&mut self, text: &str, span: Span) {
        let first = text
            .split(|c: char| !c.is_ascii_alphabetic())
            .next()
            .unwrap_or_default();
        if first.eq_ignore_ascii_case("INDEX") {
            self.bad_projection_index(text, span);
        } else if !["SELECT", "WITH"].iter().any(|word| word.eq_ignore_ascii_case(first)) {
            let diagnostic = Diagnostic::error("bad-projection", "a projection must begin with SELECT");
            self.report.push(
                diagnostic
                    .label(span, "")
                    .help("write `SELECT … ORDER BY …` or `SELECT … GROUP BY …`, without brackets around it"),
            );
        }
    }

    fn bad_projection_index(&mut self, text: &str, span: Span) {
        let index_type = types::index_parts(text).map(|(_, at)| text[at].to_owned());
        if !index_type.is_some_and(|name| PROJECTION_INDEX_TYPES.contains(&name.as_str())) {
            let message = "a projection of the kind INDEX must have an expression and the TYPE basic or commit_order";
            let diagnostic = Diagnostic::error("bad-projection", message);
            self.report
                .push(diagnostic.label(span, "").help("write `INDEX expression TYPE basic`"));
        }
    }
}

/// Returns the length of the keyword of a constraint, and the bytes of its condition.
pub(crate) fn constraint_parts(text: &str) -> Option<(usize, Range<usize>)> {
    let keyword = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    ["CHECK", "ASSUME"]
        .iter()
        .any(|word| text[..keyword].eq_ignore_ascii_case(word))
        .then_some((keyword, keyword..text.len()))
}
