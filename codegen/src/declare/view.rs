//! Materialized views: each has a query and the table that receives its rows, and may have a
//! schedule.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    sql::Sql,
    types::Filler,
    yaml::{Key, Node, Value},
};

/// One materialized view as its entry declares it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) name: Key,
    pub(crate) select: Sql,
    /// The table that receives the rows.
    pub(crate) to: Key,
    /// The text after REFRESH.
    pub(crate) refresh: Option<Sql>,
    pub(crate) cluster: Option<String>,
    pub(crate) comment: Option<String>,
}

/// The keys of a view.
pub(crate) const VIEW_KEYS: [&str; 5] = ["cluster", "comment", "refresh", "select", "to"];

/// Returns whether the entries of `views` under `clickhouse` are views, as opposed to the columns
/// of a table of that name. No column has these keys.
pub(super) fn are_views(entries: &[(Key, Node)]) -> bool {
    let is_view = |key: &Key| matches!(key.text.as_str(), "select" | "to");
    entries
        .iter()
        .any(|(_, node)| matches!(&node.value, Value::Map(keys) if keys.iter().any(|(key, _)| is_view(key))))
}

impl DeclarationReader<'_> {
    /// Reads the section `views`.
    pub(super) fn views(&mut self, entries: Vec<(Key, Node)>) {
        for (name, node) in entries {
            // An empty entry removes the view of an earlier file.
            if matches!(node.value, Value::Null) {
                continue;
            }
            let known_problems = self.report.found();
            match self.view(name, node) {
                Some(view) if self.report.found() == known_problems => self.declared.views.push(view),
                _ => self.declared.is_complete = false,
            }
        }
    }

    fn view(&mut self, name: Key, node: Node) -> Option<View> {
        let entries = self.mapping(
            node,
            "a view must map keys to values",
            "daily_view: { select: SELECT …, to: daily }",
        )?;
        let known_problems = self.report.found();
        let (mut select, mut to, mut refresh, mut cluster, mut comment) = (None, None, None, None, None);
        for (key, node) in entries {
            if matches!(node.value, Value::Null) && VIEW_KEYS.contains(&key.text.as_str()) {
                continue;
            }
            match key.text.as_str() {
                "select" => select = self.trimmed_sql(node, "`select`"),
                "to" => to = self.target(node),
                "refresh" => refresh = self.trimmed_sql(node, "`refresh`"),
                "cluster" => cluster = self.text(node, "`cluster`").map(|(text, _)| text),
                "comment" => comment = self.text(node, "`comment`").map(|(text, _)| text.trim().to_owned()),
                _ => self.unknown_key(&key, "a view", &VIEW_KEYS),
            }
        }
        if let (Some(select), Some(to)) = (&select, &to) {
            return Some(View {
                name,
                select: select.clone(),
                to: to.clone(),
                refresh,
                cluster,
                comment,
            });
        }
        if self.report.found() > known_problems {
            return None;
        }
        let missing = if select.is_none() { "select" } else { "to" };
        let diagnostic = Diagnostic::error("bad-view", format!("view `{}` has no `{missing}`", name.text))
            .label(name.span, "")
            .help("`select` is the query of the view, and `to` the table that receives its rows");
        self.report.push(diagnostic);
        None
    }

    /// Reads SQL without the space around it and without a `;` at its end.
    pub(super) fn trimmed_sql(&mut self, node: Node, what: &str) -> Option<Sql> {
        let sql = self.sql(node, what)?;
        let text = sql.as_str();
        let end = text.trim_end().trim_end_matches(';').trim_end().len();
        let start = text.len() - text.trim_start().len();
        Some(sql.part(start.min(end)..end))
    }

    /// Reads `to`: the name of a table, or a name with a table of its own.
    fn target(&mut self, node: Node) -> Option<Key> {
        let span = node.span.clone();
        match node.value {
            Value::Map(entries) => {
                let mut entries = entries.into_iter();
                if let (Some((name, table)), None) = (entries.next(), entries.next()) {
                    self.filler = Filler::View;
                    self.table(name.clone(), table);
                    self.filler = Filler::Events;
                    return Some(name);
                }
                let diagnostic = Diagnostic::error("bad-view", "`to` must have exactly one table")
                    .label(span, "")
                    .help(
                        "write `to: daily`, or `to: { daily: { day: Date, …, _options: { engine: …, order_by: … } } }`",
                    );
                self.report.push(diagnostic);
                None
            }
            _ => self.text(node, "`to`").map(|(text, span)| Key { text, span }),
        }
    }
}
