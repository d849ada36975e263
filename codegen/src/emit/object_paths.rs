//! Object paths: which columns take a whole JSON object of an event as their value.

use std::collections::BTreeSet;

use crate::{
    model::{Column, Table},
    paths::Role,
};

/// The paths that a table reads from an event.
pub(super) struct ObjectPaths<'t> {
    paths: BTreeSet<&'t str>,
    has_extras: bool,
}

impl<'t> ObjectPaths<'t> {
    pub(super) fn of(table: &'t Table) -> Self {
        let columns = table.columns.iter().filter(|column| column.role == Role::Event);
        Self {
            paths: columns
                .flat_map(|column| column.paths.iter().map(String::as_str))
                .collect(),
            has_extras: !table.extras.is_empty(),
        }
    }

    /// Returns whether a JSON object is a value of the column, rather than a branch of the event. A
    /// text column takes the object as text, unless the table has an extra, which takes the values
    /// inside as in the original format, or another column reads one of them.
    pub(super) fn accepts_object(&self, column: &Column) -> bool {
        let ty = &column.declaration.ty;
        let is_text = || ty.is_text() && !self.has_extras && !column.paths.iter().any(|path| self.is_branch(path));
        column.role == Role::Event && (ty.accepts_object() || is_text())
    }

    /// Returns whether a column reads a value inside an object at this path.
    fn is_branch(&self, object: &str) -> bool {
        ["_", "."].iter().any(|separator| {
            let inside = format!("{object}{separator}");
            let first = self.paths.range(&*inside..).next();
            first.is_some_and(|path| path.starts_with(&inside))
        })
    }
}
