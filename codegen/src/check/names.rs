//! Rules for the names of tables and columns, above all for the Rust names made from them.

use std::collections::HashMap;

use super::Schema;
use crate::{
    diagnostic::{Diagnostic, Report},
    inherit::{ResolvedColumn, ResolvedTable},
    names::{self, Named, TableNames},
};

/// The tables that the runtime uses itself, and their purpose.
const RESERVED_TABLES: [(&str, &str); 2] = [
    ("rejected", "Rowmill uses this name for the table of rejected events"),
    (
        "rowmill_nodes",
        "Rowmill uses this name for the table of its processes' node numbers",
    ),
];

/// Names in the generated code that no table may have: the routes of all tables, the runtime
/// module, and a type that a module of this name would hide.
const RESERVED_NAMES: [&str; 3] = ["Routes", "__rt", "str"];

pub(super) fn reserved_table(table: &ResolvedTable, report: &mut Report) {
    let name = table.name.text.as_str();
    let mut help = "rename the table";
    let reason = if let Some((_, reason)) = RESERVED_TABLES.iter().find(|(reserved, _)| *reserved == name) {
        reason
    } else if rust_names(std::slice::from_ref(table))
        .iter()
        .flat_map(TableNames::all)
        .any(|name| RESERVED_NAMES.contains(&name))
    {
        help = "rename the table, or give it another name in Rust: `_options: { rust: … }`";
        "the generated code uses this name itself"
    } else {
        return;
    };
    let diagnostic = Diagnostic::error("reserved-table", format!("table `{name}` has a reserved name"))
        .label(table.name.span.clone(), reason)
        .help(help);
    report.push(diagnostic);
}

pub(super) fn empty_name(table: &ResolvedTable, report: &mut Report) {
    let tables = [("a table", &table.name.text, &table.name.span)];
    let columns = table
        .columns
        .iter()
        .map(|column| ("a column", &column.name, &column.name_span));
    for (what, name, span) in tables.into_iter().chain(columns) {
        if name.is_empty() {
            let diagnostic = Diagnostic::error("empty-name", format!("the name of {what} cannot be empty"));
            report.push(diagnostic.label(span.clone(), "").help("give it a name, or remove it"));
        }
    }
}

/// The longest name of a file, less its ending and the identifier that ClickHouse adds to the name of a
/// dropped table, and less the dot and one letter for the name of the database.
const MAX_TABLE_FILE_NAME: usize = 255 - ".sql".len() - ".00000000-0000-0000-0000-000000000000".len() - "d.".len();

/// Rule: ClickHouse can have the table. It keeps the table's definition in a file of its name, in which
/// every byte other than an ASCII letter, digit or `_` takes three.
pub(super) fn long_name(table: &ResolvedTable, report: &mut Report) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let length: usize = table
        .name
        .text
        .bytes()
        .map(|byte| if is_plain(byte) { 1 } else { 3 })
        .sum();
    if table.is_abstract || length <= MAX_TABLE_FILE_NAME {
        return;
    }
    let message = format!("the name of a table has {length} bytes, more than {MAX_TABLE_FILE_NAME}");
    let diagnostic = Diagnostic::error("long-name", message)
        .label(table.name.span.clone(), "")
        .help("shorten it; a byte other than an ASCII letter, a digit or `_` counts three times");
    report.push(diagnostic);
}

/// Returns the names that the generated code gives each table.
pub(super) fn rust_names(tables: &[ResolvedTable]) -> Vec<TableNames> {
    let named: Vec<Named<'_>> = tables
        .iter()
        .map(|table| Named {
            name: &table.name.text,
            rust: table.rust.as_ref().map(|rust| rust.text.as_str()),
        })
        .collect();
    names::table_names(&named)
}

impl ResolvedTable {
    /// Returns the field of each column.
    pub(crate) fn fields(&self) -> Vec<String> {
        let named: Vec<Named<'_>> = self
            .columns
            .iter()
            .map(|column| Named {
                name: &column.name,
                rust: column.rust.field.as_ref().map(|rust| rust.text.as_str()),
            })
            .collect();
        names::fields(&named)
    }
}

/// Rule: each table has one entry. YAML merging combines entries of one mapping only; a table under
/// `tables` and one beside `tables` are in two mappings.
pub(super) fn duplicate_table(schema: &Schema<'_>, report: &mut Report) {
    for (index, table) in schema.tables.iter().enumerate() {
        if let Some(first) = schema.tables[..index]
            .iter()
            .find(|first| first.name.text == table.name.text)
        {
            let message = format!("table `{}` is declared twice", table.name.text);
            let diagnostic = Diagnostic::error("duplicate-table", message)
                .label(table.name.span.clone(), "")
                .label(first.name.span.clone(), "the other one")
                .help("to combine the two entries, put both under `tables`, or both directly under `clickhouse`");
            report.push(diagnostic);
        }
    }
}

pub(super) fn type_collision(schema: &Schema<'_>, report: &mut Report) {
    let mut firsts: HashMap<String, &ResolvedTable> = HashMap::new();
    for (table, own) in schema.tables.iter().zip(rust_names(schema.tables)) {
        let collision = own
            .all()
            .into_iter()
            .find_map(|name| Some((name, *firsts.get(name)?)))
            .filter(|(_, first)| first.name.text != table.name.text);
        if let Some((name, first)) = collision {
            let message = format!(
                "tables `{}` and `{}` both need the name `{name}` in Rust",
                first.name.text, table.name.text
            );
            let diagnostic = Diagnostic::error("type-collision", message)
                .label(table.name.span.clone(), "")
                .label(first.name.span.clone(), "the other one")
                .help("rename one of them, or give one another name in Rust: `_options: { rust: … }`");
            report.push(diagnostic);
        }
        for name in own.all() {
            firsts.entry(name.to_owned()).or_insert(table);
        }
    }
}

pub(super) fn duplicate_column(table: &ResolvedTable, report: &mut Report) {
    let mut firsts: HashMap<&str, &ResolvedColumn> = HashMap::new();
    for column in &table.columns {
        let Some(first) = firsts.insert(&column.name, column) else {
            continue;
        };
        firsts.insert(&column.name, first);
        let origin = |column: &ResolvedColumn| match &column.nested {
            Some(nested) => format!("an element of the Nested `{nested}`"),
            None => "a column of its own".to_owned(),
        };
        let message = format!("column `{}` is declared twice", column.name);
        let diagnostic = Diagnostic::error("duplicate-column", message)
            .label(column.name_span.clone(), origin(column))
            .label(first.name_span.clone(), origin(first))
            .help("each element of a Nested is a column; rename or remove one of them");
        report.push(diagnostic);
    }
}

/// Rule: no two columns differ only in case, as ClickHouse and events distinguish them, but readers
/// may not.
pub(super) fn similar_columns(table: &ResolvedTable, report: &mut Report) {
    let mut firsts: HashMap<String, &ResolvedColumn> = HashMap::new();
    for column in &table.columns {
        let first = *firsts.entry(column.name.to_lowercase()).or_insert(column);
        if first.name != column.name {
            let message = format!("columns `{}` and `{}` differ only in case", first.name, column.name);
            let diagnostic = Diagnostic::warning("similar-columns", message)
                .label(column.name_span.clone(), "")
                .label(first.name_span.clone(), "the other one")
                .help("rename one of them");
            report.push_unless_allowed(diagnostic, |code| table.allows(code));
        }
    }
}

pub(super) fn field_collision(table: &ResolvedTable, report: &mut Report) {
    let mut firsts: HashMap<String, &ResolvedColumn> = HashMap::new();
    for (column, field) in table.columns.iter().zip(table.fields()) {
        let first = *firsts.entry(field.clone()).or_insert(column);
        if first.name != column.name {
            let message = format!(
                "columns `{}` and `{}` both have the name `{field}` in Rust",
                first.name, column.name
            );
            let diagnostic = Diagnostic::error("field-collision", message)
                .label(column.name_span.clone(), "")
                .label(first.name_span.clone(), "the other one")
                .help("rename one of them, or give one another name in Rust: `{ type: …, rust: … }`");
            report.push(diagnostic);
        }
    }
}
