//! The database on the clusters of the tables: a statement ON CLUSTER fails on a server that has no
//! such database.

use super::{CREATE_DATABASE, altered};
use crate::{
    store::quoted,
    table::{Schema, Table},
};

/// Returns the statements that create the database: on each cluster that a table, a view or a
/// dictionary of the schema names, and on the server itself, which may be in none of them.
pub(super) fn create_database(database: &str, schema: &Schema, tables: &[&Table]) -> Vec<String> {
    let of_tables = tables.iter().filter_map(|table| cluster_of(table));
    let of_views = schema.views.iter().filter_map(|view| view.cluster);
    let of_dictionaries = schema.dictionaries.iter().filter_map(|dictionary| dictionary.cluster);
    let mut statements: Vec<String> = Vec::new();
    let clusters = of_tables.chain(of_views.chain(of_dictionaries).map(quoted));
    for cluster in clusters {
        let statement = format!("{CREATE_DATABASE}{} ON CLUSTER {cluster}", quoted(database));
        if !statements.contains(&statement) {
            statements.push(statement);
        }
    }
    statements.push(format!("{CREATE_DATABASE}{}", quoted(database)));
    statements
}

/// Returns the quoted name of the cluster on which a table is created.
fn cluster_of(table: &Table) -> Option<String> {
    let altered = altered(table);
    let rest = altered.strip_prefix(quoted(table.name).as_str())?;
    Some(rest.strip_prefix(" ON CLUSTER ")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Dictionary, Format, View};

    const fn table(name: &'static str, create: &'static str) -> Table {
        Table::new(name, 0, &[], create, Format::RowBinary)
    }

    static PLAIN: Table = table("a", "CREATE TABLE IF NOT EXISTS `a`\n(\n)\nENGINE = Memory");
    static FIRST: Table = table(
        "b",
        "CREATE TABLE IF NOT EXISTS `b` ON CLUSTER `c`\n(\n)\nENGINE = Memory",
    );
    static SECOND: Table = table(
        "d ON CLUSTER",
        "CREATE TABLE IF NOT EXISTS `d ON CLUSTER`\n(\n)\nENGINE = Memory",
    );

    #[test]
    fn the_database_is_on_each_cluster_once() {
        static VIEWS: [View; 2] = [
            View::new("v", "a", "SELECT 1").on_cluster("e`f"),
            View::new("w", "a", "SELECT 1"),
        ];
        static DICTIONARIES: [Dictionary; 1] = [Dictionary::new("x", "(…)").on_cluster("c")];
        let schema = Schema::new(&[])
            .with_views(&[], &VIEWS)
            .with_dictionaries(&DICTIONARIES);
        assert_eq!(
            create_database("my d", &schema, &[&PLAIN, &FIRST, &FIRST, &SECOND]),
            [
                "CREATE DATABASE IF NOT EXISTS `my d` ON CLUSTER `c`",
                r"CREATE DATABASE IF NOT EXISTS `my d` ON CLUSTER `e\`f`",
                "CREATE DATABASE IF NOT EXISTS `my d`",
            ]
        );
        let none = create_database("d", &Schema::new(&[]), &[&PLAIN]);
        assert_eq!(none, ["CREATE DATABASE IF NOT EXISTS `d`"]);
    }
}
