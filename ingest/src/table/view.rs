//! The runtime's description of a materialized view.

use std::ops::Range;

use super::{ColumnKind, Table};
use crate::store::{in_database, quoted};

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
    /// The bytes of the tables' names in the query that do not include a database, in their order.
    pub unqualified: &'static [Range<usize>],
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
            unqualified: &[],
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

    /// Sets the places of the tables' names that do not include a database.
    pub const fn reading(mut self, unqualified: &'static [Range<usize>]) -> Self {
        self.unqualified = unqualified;
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

    /// Returns the statement that creates the view in `database` with the query `select`.
    pub(crate) fn create(&self, database: &str, select: &str) -> String {
        let mut sql = format!(
            "CREATE MATERIALIZED VIEW IF NOT EXISTS {}",
            in_database(database, self.name)
        );
        if let Some(cluster) = self.cluster {
            sql.push_str(&format!(" ON CLUSTER {}", quoted(cluster)));
        }
        if let Some(refresh) = self.refresh {
            sql.push_str(&format!("\nREFRESH {}", qualified_schedule(refresh, database)));
        }
        sql.push_str(&format!("\nTO {}\nAS {select}", in_database(database, self.target)));
        if let Some(comment) = self.comment {
            let comment = comment.replace('\\', "\\\\").replace('\'', "\\'");
            sql.push_str(&format!("\nCOMMENT '{comment}'"));
        }
        sql
    }

    /// Returns the view's name with its database, and its cluster if it has one, as ALTER and DROP
    /// need them.
    pub(crate) fn altered(&self, database: &str) -> String {
        let name = in_database(database, self.name);
        match self.cluster {
            Some(cluster) => format!("{name} ON CLUSTER {}", quoted(cluster)),
            None => name,
        }
    }

    /// Returns the view's query with the database before each table's name.
    pub(crate) fn select_in(&self, database: &str) -> String {
        self.select_with(database, None)
    }

    /// Returns the view's query over the rows of `table` that fulfil `condition`, with the database
    /// before each table's name; `None` without a source. `table` must be the view's source.
    pub(crate) fn select_where(&self, database: &str, table: &Table, condition: &str) -> Option<String> {
        let source = self.source.as_ref()?;
        // `*` omits computed columns.
        let computed = table
            .columns
            .iter()
            .filter(|column| matches!(column.kind, ColumnKind::Materialized | ColumnKind::Alias))
            .filter(|column| self.select.contains(column.name))
            .map(|column| format!(", {}", quoted(column.name)));
        let computed: String = computed.collect();
        let alias = if source.has_alias {
            String::new()
        } else {
            format!(" AS {}", quoted(source.table))
        };
        let name = in_database(database, source.table);
        let rows = format!("(SELECT *{computed} FROM {name} WHERE {condition}){alias}");
        Some(self.select_with(database, Some((&source.span, rows))))
    }

    /// Returns the query with the database before each table's name, and with another text in one
    /// place.
    fn select_with(&self, database: &str, replaced: Option<(&Range<usize>, String)>) -> String {
        let replaced_start = replaced.as_ref().map(|(span, _)| span.start);
        let unqualified = self
            .unqualified
            .iter()
            .filter(|span| Some(span.start) != replaced_start)
            .map(|span| (span.start..span.start, format!("{}.", quoted(database))));
        let mut changes: Vec<_> = unqualified
            .chain(replaced.map(|(span, text)| (span.clone(), text)))
            .collect();
        // From the end, so that the other places stay where they are.
        changes.sort_unstable_by_key(|(span, _)| std::cmp::Reverse(span.start));
        let mut select = self.select.to_owned();
        for (span, text) in changes {
            if select.get(span.clone()).is_some() {
                select.replace_range(span, &text);
            }
        }
        select
    }
}

/// Returns a schedule with the database before the name of each view that it depends on.
pub(crate) fn qualified_schedule(refresh: &str, database: &str) -> String {
    const DEPENDS_ON: &str = "DEPENDS ON ";
    let Some(at) = refresh.to_ascii_uppercase().find(DEPENDS_ON) else {
        return refresh.to_owned();
    };
    let (before, names) = refresh.split_at(at + DEPENDS_ON.len());
    let mut is_list = true;
    let names = names.split(',').map(|part| {
        let name = part.trim_start();
        let is_qualified = name.split_whitespace().next().is_some_and(|name| name.contains('.'));
        let prefix = if is_list && !is_qualified {
            format!("{}.", quoted(database))
        } else {
            String::new()
        };
        // Other words, such as APPEND, end the list.
        is_list &= !name.trim_end().contains(char::is_whitespace);
        format!("{}{prefix}{name}", &part[..part.len() - name.len()])
    });
    format!("{before}{}", names.collect::<Vec<_>>().join(","))
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
            view.select_where("d", &TABLE, "id >= 1").as_deref(),
            Some("SELECT a FROM (SELECT * FROM `d`.`t` WHERE id >= 1) AS `t` GROUP BY a")
        );
        let view = View::new("v", "s", "SELECT x.m FROM t AS x").over("t", 16..17, true);
        assert_eq!(
            view.select_where("d", &TABLE, "1").as_deref(),
            Some("SELECT x.m FROM (SELECT *, `m` FROM `d`.`t` WHERE 1) AS x")
        );
        assert_eq!(View::new("v", "s", "SELECT 1").select_where("d", &TABLE, "1"), None);
    }

    #[test]
    fn each_table_of_a_query_gets_its_database() {
        let view = View::new("v", "s", "SELECT a FROM t JOIN e.u USING a JOIN w USING a")
            .over("t", 14..15, false)
            .reading(&[14..15, 38..39]);
        assert_eq!(
            view.select_in("d"),
            "SELECT a FROM `d`.t JOIN e.u USING a JOIN `d`.w USING a"
        );
        assert_eq!(
            view.select_where("d", &TABLE, "1").as_deref(),
            Some("SELECT a FROM (SELECT * FROM `d`.`t` WHERE 1) AS `t` JOIN e.u USING a JOIN `d`.w USING a")
        );
    }

    #[test]
    fn the_views_of_a_schedule_get_their_database() {
        for (schedule, qualified) in [
            ("EVERY 1 HOUR", "EVERY 1 HOUR"),
            ("EVERY 1 HOUR DEPENDS ON a", "EVERY 1 HOUR DEPENDS ON `d`.a"),
            (
                "EVERY 1 HOUR DEPENDS ON a, e.b,c SETTINGS x = 1, y = 2 APPEND",
                "EVERY 1 HOUR DEPENDS ON `d`.a, e.b,`d`.c SETTINGS x = 1, y = 2 APPEND",
            ),
        ] {
            assert_eq!(qualified_schedule(schedule, "d"), qualified);
        }
    }

    #[test]
    fn a_statement_has_each_option() {
        let view = View::new("v", "s", "SELECT 1 AS a")
            .refreshed("EVERY 1 HOUR")
            .on_cluster("c")
            .commented("it's");
        assert_eq!(
            view.create("d", view.select),
            "CREATE MATERIALIZED VIEW IF NOT EXISTS `d`.`v` ON CLUSTER `c`\nREFRESH EVERY 1 HOUR\nTO `d`.`s`\nAS SELECT 1 AS a\nCOMMENT 'it\\'s'"
        );
        assert_eq!(view.altered("d"), "`d`.`v` ON CLUSTER `c`");
    }
}
