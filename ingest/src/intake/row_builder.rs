//! Builds the row of one event: puts values into columns, and collects the invalid ones.

use std::borrow::Cow;

use crate::{
    intake::{
        event_meta::EventMeta,
        rejection::Rejection,
        row::{EventRules, ExtraMut, Input, PresentColumns, Row},
        unknown::UnknownKeys,
    },
    json::{self, Kind, Reader},
    table::{
        Column, Table,
        refusal::{InvalidColumns, ValueError},
    },
};

/// The priority of a null; any other value of the event for the column replaces it.
const LOWEST_PRIORITY: usize = usize::MAX;

/// The row of one event while its values are put into it.
pub(super) struct RowBuilder<'r, 'a> {
    row: &'r mut dyn Row<'a>,
    table: &'static Table,
    rules: &'static EventRules,
    present: PresentColumns,
    invalid: InvalidColumns,
    unknown: UnknownKeys,
    /// For columns with several paths, the priority of the path whose value was put last.
    priorities: Vec<(usize, usize)>,
}

impl<'r, 'a> RowBuilder<'r, 'a> {
    pub(super) fn new(row: &'r mut dyn Row<'a>, table: &'static Table) -> Self {
        Self {
            rules: row.rules(),
            row,
            table,
            present: PresentColumns::default(),
            invalid: InvalidColumns::default(),
            unknown: UnknownKeys::default(),
            priorities: Vec::new(),
        }
    }

    /// Returns the schema's rules for events.
    #[inline]
    pub(super) fn rules(&self) -> &'static EventRules {
        self.rules
    }

    /// Returns whether values are read by the lenient rules.
    pub(super) fn is_lenient(&self) -> bool {
        !self.rules.is_strict
    }

    /// Returns whether the keys of the collector's values are keys like all others.
    pub(super) fn owns_reserved_keys(&self) -> bool {
        self.rules.owns_reserved_keys
    }

    /// Returns whether a column asks for this field of the query.
    #[inline]
    pub(super) fn takes_from_query(&self, name: &str) -> bool {
        self.rules.query.contains(&name)
    }

    /// Returns the index of the column that values at `path` go into.
    #[inline]
    pub(super) fn find_column(&self, path: &str) -> Option<usize> {
        self.row.column(path)
    }

    /// Returns the column with an index from [`find_column`](Self::find_column).
    #[inline]
    pub(super) fn column(&self, index: usize) -> &'static Column {
        &self.table.columns[index]
    }

    /// Returns the index of the extra for values below `path`.
    pub(super) fn extra_at(&self, path: &str) -> Option<usize> {
        self.row.extra_at(path)
    }

    /// Returns the keys and the values of an extra.
    pub(super) fn extra(&mut self, extra: Option<usize>) -> Option<ExtraMut<'_, 'a>> {
        self.row.extra(extra?)
    }

    /// Puts a field of a query or a form into a column.
    pub(super) fn put_text(&mut self, column: usize, path: &str, value: &'a str) {
        if !self.accepts(column, self.rules.priority(column, path)) {
            return;
        }
        match self.row.put(column, Input::Text(Cow::Borrowed(value))) {
            Ok(()) => self.present.insert(column),
            Err(error) => self.invalid.push(&self.table.columns[column], error, value),
        }
    }

    /// Puts the JSON value that `reader` is positioned at into a column.
    ///
    /// # Errors
    ///
    /// The value is not JSON.
    #[inline]
    pub(super) fn put_json(
        &mut self,
        column: usize,
        path: &str,
        kind: Kind,
        reader: &mut Reader<'a>,
    ) -> Result<(), json::Error> {
        let priority = self.rules.priority(column, path);
        let priority = priority.map(|priority| if kind == Kind::Null { LOWEST_PRIORITY } else { priority });
        if !self.accepts(column, priority) {
            return reader.skip();
        }
        let start = reader.position();
        match self.row.put(column, Input::Json(reader)) {
            Ok(()) => self.present.insert(column),
            Err(ValueError::Syntax(error)) => return Err(error),
            Err(error) => {
                reader.seek(start);
                let got = reader.raw_value()?;
                self.invalid.push(&self.table.columns[column], error, got);
            }
        }
        Ok(())
    }

    /// Applies the table's policy to a key without a column; `path` is the key with those above it,
    /// joined by `_`.
    #[cold]
    pub(super) fn find_unknown(&mut self, path: &str) {
        self.unknown.find(path, self.rules.unknown_keys, self.table);
    }

    /// Returns whether the value at a path, as the schema writes it, goes into the column.
    pub(super) fn accepts_path(&mut self, column: usize, path: &str) -> bool {
        self.accepts(column, self.rules.priority(column, path))
    }

    /// Reports an invalid value.
    #[cold]
    pub(super) fn refuse(&mut self, column: usize, error: ValueError, got: &str) {
        self.invalid.push(&self.table.columns[column], error, got);
    }

    /// Puts the JSON value that `reader` is positioned at into an element of an array column.
    ///
    /// # Errors
    ///
    /// The value is not JSON.
    pub(super) fn put_element(
        &mut self,
        column: usize,
        index: usize,
        reader: &mut Reader<'a>,
    ) -> Result<(), json::Error> {
        let start = reader.position();
        match self.row.put_element(column, index, Some(Input::Json(reader))) {
            Ok(()) => Ok(()),
            Err(ValueError::Syntax(error)) => Err(error),
            Err(error) => {
                reader.seek(start);
                let got = reader.raw_value()?;
                self.refuse(column, error, got);
                Ok(())
            }
        }
    }

    /// Sets the number of elements of an array column, whose elements are those of the `list`.
    ///
    /// # Errors
    ///
    /// The list is not JSON.
    pub(super) fn set_length(&mut self, column: usize, length: usize, list: &Reader<'a>) -> Result<(), json::Error> {
        self.present.insert(column);
        if let Err(error) = self.row.put_element(column, length, None) {
            self.refuse(column, error, list.clone().raw_value()?);
        }
        Ok(())
    }

    /// Returns whether a value of this priority goes into the column: `false` if the event already
    /// had a value of a higher priority, which is a lower number.
    fn accepts(&mut self, column: usize, priority: Option<usize>) -> bool {
        let Some(priority) = priority else { return true };
        match self.priorities.iter_mut().find(|(known, _)| *known == column) {
            Some((_, best)) if *best < priority => return false,
            Some((_, best)) if *best == priority => {}
            Some((_, best)) => {
                *best = priority;
                self.invalid.remove(&self.table.columns[column]);
            }
            None => self.priorities.push((column, priority)),
        }
        true
    }

    /// Returns the number of unknown keys to count.
    pub(super) fn unknown_keys(&self) -> u32 {
        self.unknown.counted
    }

    /// Fills in the collector's metadata, checks the row, and returns the columns that the event
    /// has.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidColumns`] and [`Rejection::UnknownKeys`].
    pub(super) fn finish(mut self, meta: &EventMeta<'a>) -> Result<PresentColumns, Rejection> {
        self.row.fill_metadata(meta, &mut self.present, &mut self.invalid);
        if let Some(host) = meta.host
            && !self.rules.owns_reserved_keys
            && let Some(mut extra) = self.row.extra_at("td").and_then(|extra| self.row.extra(extra))
        {
            extra.push(Cow::Borrowed("host"), Cow::Borrowed(host));
        }
        self.row.pad_nested(&self.present, &mut self.invalid);
        self.row.check_dates(meta, &self.present, &mut self.invalid);
        self.check_required();
        if self.invalid.is_empty() {
            if self.unknown.rejected.is_empty() {
                return Ok(self.present);
            }
            Err(Rejection::UnknownKeys {
                table: self.table,
                keys: self.unknown.rejected,
            })
        } else {
            Err(Rejection::InvalidColumns {
                table: self.table,
                columns: self.invalid.into_vec(),
            })
        }
    }

    /// Reports each required column that the event lacks; an invalid value does not count as
    /// missing.
    fn check_required(&mut self) {
        for (index, path) in self.rules.required {
            let column = &self.table.columns[*index];
            if !self.present.contains(*index) && !self.invalid.has(column) {
                self.invalid.push(column, ValueError::Missing(path), "");
            }
        }
    }
}
