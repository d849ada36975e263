//! Rows: the interface between a table's generated code and the runtime.

use std::borrow::Cow;

pub use crate::intake::present_columns::PresentColumns;
use crate::{
    intake::{
        event_meta::EventMeta,
        list_columns::{ListColumns, is_same_path},
        unknown::UnknownKeyPolicy,
    },
    json::Reader,
    table::{
        Column, Table,
        refusal::{InvalidColumns, ValueError},
    },
    value::{Decode, DecodeUnit, Encode, Unit},
};

/// A table whose rows have a type.
pub trait TypedTable: 'static {
    /// The description of the table in ClickHouse.
    const TABLE: &'static Table;

    /// The row, which borrows from a request for `'a`; its default is the row of an empty event.
    type Row<'a>: Row<'a> + Default;
}

/// A typed row that an event is decoded into.
///
/// A column is identified by its index in [`Table::columns`], an extra by its index in the list
/// that the build step generates.
pub trait Row<'a> {
    /// Returns the column that the event fills from `path`: the keys down to the value, joined by
    /// `_`.
    ///
    /// Does not find columns that the collector or ClickHouse fills.
    fn column(&self, path: &str) -> Option<usize>;

    /// Puts a value into a column.
    ///
    /// # Errors
    ///
    /// The reason why the value does not fit.
    fn put(&mut self, column: usize, input: Input<'_, 'a>) -> Result<(), ValueError>;

    /// Puts a value into an element of an array column, and fills the elements before it; without
    /// an input, sets the length of the array to `index`. Only for the columns of a
    /// [`ListColumns`].
    ///
    /// # Errors
    ///
    /// The reason why the value, or the array as a whole, does not fit.
    fn put_element(&mut self, _column: usize, _index: usize, _input: Option<Input<'_, 'a>>) -> Result<(), ValueError> {
        Ok(())
    }

    /// Returns the extra for values below `path` that have no column; the empty path is the event
    /// itself.
    fn extra_at(&self, _path: &str) -> Option<usize> {
        None
    }

    /// Returns the keys and the values of an extra.
    fn extra(&mut self, _extra: usize) -> Option<ExtraMut<'_, 'a>> {
        None
    }

    /// Fills the columns that the collector knows from the request. Adds those of them to `present`
    /// whose presence has an effect.
    fn fill_metadata(&mut self, _meta: &EventMeta<'a>, _present: &mut PresentColumns, _invalid: &mut InvalidColumns) {}

    /// Pads the arrays of each Nested to one length; `present` are the columns that the event has.
    fn pad_nested(&mut self, _present: &PresentColumns, _invalid: &mut InvalidColumns) {}

    /// Appends the row in the table's [`Format`](crate::table::Format); `present` are the columns
    /// that the event has.
    fn encode(&self, present: &PresentColumns, out: &mut Vec<u8>);

    /// Reports dates that are too far from the event's arrival; `present` are the columns that the
    /// event has.
    fn check_dates(&self, _meta: &EventMeta<'a>, _present: &PresentColumns, _invalid: &mut InvalidColumns) {}

    /// Returns the table of the row.
    fn table(&self) -> &'static Table;

    /// Prepares a row of Rust code for [`encode`](Self::encode): fills the absent columns of the
    /// collector's own values, reports values that are too long and extras of unequal lengths, and
    /// returns the columns that the row has. A column that has its default is absent.
    fn complete(&mut self, meta: &EventMeta<'a>, invalid: &mut InvalidColumns) -> PresentColumns;

    /// Returns the schema's rules for events, apart from the types of values.
    fn rules(&self) -> &'static EventRules {
        &EventRules::DEFAULT
    }
}

/// The rules of a table for events, apart from the types of values.
#[derive(Debug, Clone, Copy)]
pub struct EventRules {
    /// The columns that each event must have, and the path of each as the schema writes it.
    pub required: &'static [(usize, &'static str)],
    /// The columns with more than one path, and those paths; the first path that an event contains
    /// counts.
    pub alternatives: &'static [(usize, &'static [&'static str])],
    /// The fields of the query that columns ask for; they do not go to an extra.
    pub query: &'static [&'static str],
    /// Whether the keys of the collector's values, such as `name` and `td`, are keys like all others.
    pub owns_reserved_keys: bool,
    /// Whether values are read by ClickHouse's rules alone, without the
    /// [lenient rules](crate::value#lenient-rules).
    pub is_strict: bool,
    /// The policy for an event with keys that no column and no extra reads.
    pub unknown_keys: UnknownKeyPolicy,
    /// The lists of objects that fill array columns, where no extra keeps them.
    pub lists: &'static [ListColumns],
}

impl EventRules {
    /// The rules of a table whose schema states none.
    pub const DEFAULT: Self = Self {
        required: &[],
        alternatives: &[],
        query: &[],
        owns_reserved_keys: false,
        is_strict: false,
        unknown_keys: UnknownKeyPolicy::Count,
        lists: &[],
    };

    /// Returns whether a value without a column and without an extra is skipped, whatever it is.
    #[inline]
    pub(crate) const fn skips_unknown_values(&self) -> bool {
        matches!(self.unknown_keys, UnknownKeyPolicy::Ignore) && self.lists.is_empty()
    }

    /// Returns the priority of `path`, its keys joined by `_`, among the alternative paths of a
    /// column; 0 is the highest. `None` if the column has no such alternative.
    #[inline]
    pub(crate) fn priority(&self, column: usize, path: &str) -> Option<usize> {
        if self.alternatives.is_empty() {
            return None;
        }
        let (_, paths) = self.alternatives.iter().find(|(known, _)| *known == column)?;
        paths.iter().position(|written| is_same_path(written, path))
    }
}

/// The two arrays of one extra; they always have the same length.
#[derive(Debug)]
pub struct ExtraMut<'r, 'a> {
    /// The keys, relative to the extra's path.
    pub keys: &'r mut Vec<Cow<'a, str>>,
    /// The values as text.
    pub values: &'r mut Vec<Cow<'a, str>>,
}

/// The number of pairs for which the first pair of an extra allocates memory.
const USUAL_PAIRS: usize = 8;

impl<'a> ExtraMut<'_, 'a> {
    /// Appends a pair.
    pub fn push(&mut self, key: Cow<'a, str>, value: Cow<'a, str>) {
        if self.keys.capacity() == 0 {
            *self.keys = Vec::with_capacity(USUAL_PAIRS);
            *self.values = Vec::with_capacity(USUAL_PAIRS);
        }
        self.keys.push(key);
        self.values.push(value);
    }
}

/// A value of an event for a column.
#[derive(Debug)]
pub enum Input<'r, 'a> {
    /// The reader is positioned at the value.
    Json(&'r mut Reader<'a>),
    /// A decoded field of a query or a form.
    Text(Cow<'a, str>),
}

impl<'a> Input<'_, 'a> {
    /// Decodes the value into a field.
    ///
    /// # Errors
    ///
    /// The reason why the value does not fit; the field is then unchanged.
    #[inline]
    pub fn read<T: Decode<'a>>(self, field: &mut T) -> Result<(), ValueError> {
        *field = match self {
            Self::Json(reader) => T::from_json(reader)?,
            Self::Text(text) => T::from_text(text)?,
        };
        Ok(())
    }

    /// Decodes the value into a field; a number of the event is in this unit.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_in<T: DecodeUnit<'a>>(self, unit: Unit, field: &mut T) -> Result<(), ValueError> {
        *field = match self {
            Self::Json(reader) => T::from_json_in(reader, unit)?,
            Self::Text(text) => T::from_text(text)?,
        };
        Ok(())
    }

    /// Decodes the value with `read`, strictly or by the
    /// [lenient rules](crate::value#lenient-rules), whatever the rules of the table are.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub fn with_strictness(
        self,
        is_strict: bool,
        read: impl FnOnce(Input<'_, 'a>) -> Result<(), ValueError>,
    ) -> Result<(), ValueError> {
        match self {
            Self::Json(reader) => {
                let is_lenient = reader.set_lenient(!is_strict);
                let result = read(Input::Json(reader));
                reader.set_lenient(is_lenient);
                result
            }
            Self::Text(text) => read(Input::Text(text)),
        }
    }
}

/// Checks that a value has at most `max_bytes` bytes.
///
/// # Errors
///
/// The value has more.
#[inline]
pub fn at_most(max_bytes: usize, bytes: usize) -> Result<(), ValueError> {
    if bytes > max_bytes {
        Err(ValueError::OverMaxBytes(max_bytes))
    } else {
        Ok(())
    }
}

/// Returns the number of bytes that a value takes in its row.
pub fn encoded_bytes(value: &impl Encode) -> usize {
    let mut out = Vec::new();
    value.put(&mut out);
    out.len()
}

/// The byte before a value in
/// [`RowBinaryWithDefaults`](crate::table::Format::RowBinaryWithDefaults).
pub const VALUE: u8 = 0;

/// The byte in place of a value that ClickHouse computes.
pub const DEFAULT: u8 = 1;

/// Pads one array of a Nested to `length`, that of its longest array: fills an absent array with
/// defaults, and reports a present one of another length.
pub fn pad_nested<T: Default>(
    array: &mut Vec<T>,
    is_present: bool,
    length: usize,
    column: &'static Column,
    invalid: &mut InvalidColumns,
) {
    if !is_present {
        array.resize_with(length, T::default);
    } else if array.len() != length {
        invalid.push(
            column,
            ValueError::UnequalLengths,
            &format!("{} of {length} elements", array.len()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_priority_of_a_path_is_its_position_in_the_schema() {
        let rules = EventRules {
            required: &[],
            alternatives: &[(3, &["user.id", "user_key", "a.b.c"])],
            ..EventRules::DEFAULT
        };
        for (path, priority) in [
            ("user_id", Some(0)),
            ("user.id", Some(0)),
            ("user_key", Some(1)),
            ("a_b_c", Some(2)),
            ("user.key", None),
            ("user", None),
        ] {
            assert_eq!(rules.priority(3, path), priority, "{path}");
        }
        assert_eq!(rules.priority(2, "user_id"), None);
    }
}
