//! The runtime's description of a materialized view.

use std::ops::Range;

use super::{ColumnKind, Table};
use crate::store::quoted;

/// One materialized view of ClickHouse, which writes into a table of the schema.
#[derive(Debug)]
pub struct View {
    /// The view's name, unquoted.
    pub name: &'static str,
    /// The table that receives the rows.
    pub target: &'static str,
    /// The view's query.
    pub select: &'static str,
    /// The table whose inserts the view processes; `None` if the view has a schedule, or if the
    /// table is outside of the schema.
    pub source: Option<Source>,
    /// The schedule, without the word REFRESH; `None` if the view processes inserts.
    pub refresh: Option<&'static str>,
    /// The cluster on which the view is created.
    pub cluster: Option<&'static str>,
    /// The view's comment.
    pub comment: Option<&'static str>,
}

/// The table whose inserts a view processes, and its place in the view's query.
#[derive(Debug)]
pub struct Source {
    /// The table's name, unquoted.
    pub table: &'static str,
    /// The bytes of the name in the query.
    pub span: Range<usize>,
    /// Whether an alias follows the name.
    pub has_alias: bool,
}

impl View {
    /// Returns a view without a source and without options.
    pub const fn new(name: &'static str, target: &'static str, select: &'static str) -> Self {
        Self {
            name,
            target,
            select,
            source: None,
            refresh: None,
            cluster: None,
            comment: None,
        }
    }

    /// Sets the source, whose name has the bytes `span` of the query.
    pub const fn over(mut self, table: &'static str, span: Range<usize>, has_alias: bool) -> Self {
        self.source = Some(Source { table, span, has_alias });
        self
    }

    /// Sets the schedule.
    pub const fn refreshed(mut self, refresh: &'static str) -> Self {
        self.refresh = Some(refresh);
        self
    }

    /// Sets the cluster.
    pub const fn on_cluster(mut self, cluster: &'static str) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// Sets the comment.
    pub const fn commented(mut self, comment: &'static str) -> Self {
        self.comment = Some(comment);
        self
    }

    /// Returns the statement that creates the view with the query `select`.
    pub(crate) fn create(&self, select: &str) -> String {
        let mut sql = format!("CREATE MATERIALIZED VIEW IF NOT EXISTS {}", quoted(self.name));
        if let Some(cluster) = self.cluster {
            sql.push_str(&format!(" ON CLUSTER {}", quoted(cluster)));
        }
        if let Some(refresh) = self.refresh {
            sql.push_str(&format!("\nREFRESH {refresh}"));
        }
        sql.push_str(&format!("\nTO {}\nAS {select}", quoted(self.target)));
        if let Some(comment) = self.comment {
            let comment = comment.replace('\\', "\\\\").replace('\'', "\\'");
            sql.push_str(&format!("\nCOMMENT '{comment}'"));
        }
        sql
    }

    /// Returns the view's name, quoted, and its cluster if it has one, as ALTER and DROP need them.
    pub(crate) fn altered(&self) -> String {
        match self.cluster {
            Some(cluster) => format!("{} ON CLUSTER {}", quoted(self.name), quoted(cluster)),
            None => quoted(self.name),
        }
    }

    /// Returns the view's query over the rows of `table` that fulfil `condition`; `None` without a
    /// source. `table` must be the view's source.
    pub(crate) fn select_where(&self, table: &Table, condition: &str) -> Option<String> {
        let source = self.source.as_ref()?;
        let (before, rest) = self.select.split_at_checked(source.span.start)?;
        let after = rest.get(source.span.len()..)?;
        // `*` omits computed columns.
        let computed = table
            .columns
            .iter()
            .filter(|column| matches!(column.kind, ColumnKind::Materialized | ColumnKind::Alias))
            .filter(|column| self.select.contains(column.name))
            .map(|column| format!(", {}", quoted(column.name)));
        let computed: String = computed.collect();
        let name = quoted(source.table);
        let alias = if source.has_alias {
            String::new()
        } else {
            format!(" AS {name}")
        };
        Some(format!(
            "{before}(SELECT *{computed} FROM {name} WHERE {condition}){alias}{after}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Column, Format};

    static TABLE: Table = Table::new(
        "t",
        0,
        &[
            Column::new("a", "UInt8", "`a` UInt8", ColumnKind::Plain),
            Column::new("m", "UInt8", "`m` UInt8 MATERIALIZED a", ColumnKind::Materialized),
            Column::new("xyz", "UInt8", "`xyz` UInt8 ALIAS a", ColumnKind::Alias),
        ],
        "",
        Format::RowBinary,
    );

    #[test]
    fn a_condition_is_added_to_the_source() {
        let view = View::new("v", "s", "SELECT a FROM t GROUP BY a").over("t", 14..15, false);
        assert_eq!(
            view.select_where(&TABLE, "id >= 1").as_deref(),
            Some("SELECT a FROM (SELECT * FROM `t` WHERE id >= 1) AS `t` GROUP BY a")
        );
        let view = View::new("v", "s", "SELECT x.m FROM t AS x").over("t", 16..17, true);
        assert_eq!(
            view.select_where(&TABLE, "1").as_deref(),
            Some("SELECT x.m FROM (SELECT *, `m` FROM `t` WHERE 1) AS x")
        );
        assert_eq!(View::new("v", "s", "SELECT 1").select_where(&TABLE, "1"), None);
    }

    #[test]
    fn a_statement_has_each_option() {
        let view = View::new("v", "s", "SELECT 1 AS a")
            .refreshed("EVERY 1 HOUR")
            .on_cluster("c")
            .commented("it's");
        assert_eq!(
            view.create(view.select),
            "CREATE MATERIALIZED VIEW IF NOT EXISTS `v` ON CLUSTER `c`\nREFRESH EVERY 1 HOUR\nTO `s`\nAS SELECT 1 AS a\nCOMMENT 'it\\'s'"
        );
        assert_eq!(view.altered(), "`v` ON CLUSTER `c`");
    }
}
