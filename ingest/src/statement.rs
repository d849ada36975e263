//! Statement: how a table's blocks are inserted, as rows and as columns.

use std::sync::Arc;

use crate::{
    block::{Columnar, Layout},
    native::Native,
    store::quoted,
    table::Table,
};

/// What a table with JSON needs: a block has its objects as texts. Servers before 24.10 do not know the setting, so that other
/// tables go without it.
const JSON_SETTINGS: &str = " SETTINGS input_format_binary_read_json_as_string = 1";

/// Returns what a table's blocks are and how they are inserted.
pub(crate) fn layout(table: &Table) -> Arc<Layout> {
    Arc::new(Layout {
        table: table.name.into(),
        statement: insert_statement(table, table.format.name()).into(),
        columnar: Native::of(table).map(|native| Columnar {
            native,
            statement: insert_statement(table, "Native").into(),
        }),
    })
}

/// Returns `INSERT INTO … (…) FORMAT …` with the columns that a row has; the list keeps a table usable that has more.
fn insert_statement(table: &Table, format: &str) -> String {
    let columns = table.columns.iter().filter(|column| column.kind.is_inserted());
    // The word may also be the value of an enum, which does no harm.
    let has_json = columns.clone().any(|column| column.data_type.contains("JSON"));
    let columns: Vec<_> = columns.map(|column| quoted(column.name)).collect();
    format!(
        "INSERT INTO {} ({}){} FORMAT {format}",
        quoted(table.name),
        columns.join(", "),
        if has_json { JSON_SETTINGS } else { "" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Column, ColumnKind, Format};

    const fn column(name: &'static str, kind: ColumnKind) -> Column {
        Column::new(name, "String", "", kind)
    }

    #[test]
    fn an_insert_names_the_columns_that_a_row_has() {
        const TABLE: Table = Table {
            name: "odd`name",
            index: 0,
            columns: &[
                column("extra.key", ColumnKind::Plain),
                column("at", ColumnKind::Default),
                column("day", ColumnKind::Materialized),
                column("hour", ColumnKind::Alias),
                column("raw", ColumnKind::Ephemeral),
            ],
            create: "",
            format: Format::RowBinaryWithDefaults,
        };
        assert_eq!(
            insert_statement(&TABLE, TABLE.format.name()),
            r"INSERT INTO `odd\`name` (`extra.key`, `at`, `raw`) FORMAT RowBinaryWithDefaults"
        );
    }

    #[test]
    fn objects_are_sent_as_texts() {
        const TABLE: Table = Table {
            name: "t",
            index: 0,
            columns: &[Column::new("payload", "Nullable(JSON)", "", ColumnKind::Plain)],
            create: "",
            format: Format::RowBinary,
        };
        assert_eq!(
            insert_statement(&TABLE, TABLE.format.name()),
            "INSERT INTO `t` (`payload`) SETTINGS input_format_binary_read_json_as_string = 1 FORMAT RowBinary"
        );
    }
}
