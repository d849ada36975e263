//! Summary: the files that the build reads and those that it leaves out, and the tables with their
//! columns.

use std::fmt::Write as _;

use crate::{
    Generated,
    model::{Model, Table},
};

/// One table of a schema, with all that it inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSummary {
    /// The name in ClickHouse.
    pub name: String,
    /// The name and the type of each column, in their order. ClickHouse alone knows the type of an ALIAS
    /// without one; it is empty here.
    pub columns: Vec<(String, String)>,
    /// The names of the columns that the schema marks as personal data.
    pub personal_columns: Vec<String>,
}

/// Returns the tables that exist in ClickHouse.
pub(crate) fn tables(model: &Model) -> Vec<TableSummary> {
    let summary = |table: &Table| TableSummary {
        name: table.name.clone(),
        personal_columns: table.personal_columns().into_iter().map(|column| column.name).collect(),
        columns: table
            .columns
            .iter()
            .map(|column| {
                let declaration = &column.declaration;
                let ty = if declaration.is_untyped {
                    String::new()
                } else {
                    declaration.ty.to_string()
                };
                (column.name.clone(), ty)
            })
            .collect(),
    };
    let tables = model.tables.iter().chain(&model.targets).chain(&model.local_tables);
    tables.map(summary).collect()
}

impl Generated {
    /// Returns the files that were read, those that were left out with the reason, and the tables with
    /// their columns, in lines for a terminal.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for path in &self.files {
            let _ = writeln!(text, "read {}", path.display());
        }
        for left_out in &self.left_out {
            let _ = writeln!(text, "left out {}: {}", left_out.path.display(), left_out.reason);
        }
        for table in &self.tables {
            let _ = writeln!(text, "table {}, {}", shown(&table.name), columns(table.columns.len()));
            for (name, ty) in &table.columns {
                let mark = if table.personal_columns.contains(name) {
                    " (personal data)"
                } else {
                    ""
                };
                let line = format!("    {} {ty}{mark}", shown(name));
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
        text
    }
}

fn columns(count: usize) -> String {
    match count {
        1 => "1 column".to_owned(),
        _ => format!("{count} columns"),
    }
}

/// Returns a name on one line.
fn shown(name: &str) -> String {
    if name.chars().any(char::is_control) || name.is_empty() {
        format!("{name:?}")
    } else {
        name.to_owned()
    }
}
