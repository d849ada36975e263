//! Rows: what the generated code of a table provides, and what the runtime gives to it.

use std::borrow::Cow;

use crate::{
    intake::stamp::EventMeta,
    json::Reader,
    table::{
        Column, Table,
        refusal::{InvalidColumns, ValueError},
    },
    value::{Decode, Encode},
};

/// A table whose rows have a type.
pub trait TypedTable: 'static {
    /// The table as ClickHouse has it.
    const TABLE: &'static Table;

    /// The row, borrowing from a request for `'a`; its default is a row of an event that says nothing.
    type Row<'a>: Row<'a> + Default;
}

/// A typed row that an event is decoded into.
///
/// Columns are named by their place in [`Table::columns`], extras by their place in the list that the build step made.
pub trait Row<'a> {
    /// Returns the column that the event fills from `path`, the keys down to the value joined by `_`.
    ///
    /// Columns that the collector or ClickHouse fills are not found.
    fn column(&self, path: &str) -> Option<usize>;

    /// Puts a value into a column.
    ///
    /// # Errors
    /// Why the value cannot stand there.
    fn put(&mut self, column: usize, input: Input<'_, 'a>) -> Result<(), ValueError>;

    /// Returns the extra that takes what has no column below `path`; the empty path is the event itself.
    fn extra_at(&self, path: &str) -> Option<usize>;

    /// Returns the keys and the values of an extra.
    fn extra(&mut self, extra: usize) -> Option<ExtraMut<'_, 'a>>;

    /// Fills the columns that the collector knows from the request itself.
    fn stamp(&mut self, stamp: &EventMeta<'a>, refusals: &mut InvalidColumns);

    /// Brings the arrays of each Nested to one length; `given` are the columns that were put.
    fn level(&mut self, given: &PresentColumns, refusals: &mut InvalidColumns);

    /// Appends the row as the table's [`Format`](crate::table::Format) has it; `given` are the columns that were put.
    fn encode(&self, given: &PresentColumns, out: &mut Vec<u8>);

    /// Refuses dates that are too far from the event's arrival; `given` are the columns that were put.
    fn check_dates(&self, _stamp: &EventMeta<'a>, _given: &PresentColumns, _refusals: &mut InvalidColumns) {}

    /// Returns what the schema asks of events beside the types of their values.
    fn rules(&self) -> &'static EventRules {
        &EventRules::NONE
    }
}

/// What a table's columns ask of events beside the types of their values.
#[derive(Debug, Clone, Copy)]
pub struct EventRules {
    /// The columns that each event has to give, and the path where they are looked for, as the schema writes it.
    pub required: &'static [(usize, &'static str)],
    /// The columns that are looked for at more than one path, and those paths; the first of them that an event has counts.
    pub alternatives: &'static [(usize, &'static [&'static str])],
}

impl EventRules {
    const NONE: Self = Self {
        required: &[],
        alternatives: &[],
    };

    /// Returns the place of `path`, its keys joined by `_`, among the alternatives of a column; `None` where it has none.
    #[inline]
    pub(crate) fn rank(&self, column: usize, path: &str) -> Option<usize> {
        if self.alternatives.is_empty() {
            return None;
        }
        let (_, paths) = self.alternatives.iter().find(|(known, _)| *known == column)?;
        let is_same = |written: &str| {
            let joined = written.bytes().map(|byte| if byte == b'.' { b'_' } else { byte });
            written == path || joined.eq(path.bytes())
        };
        paths.iter().position(|written| is_same(written))
    }
}

/// The two arrays of one extra; they are always of one length.
#[derive(Debug)]
pub struct ExtraMut<'r, 'a> {
    /// The keys, relative to the extra's own path.
    pub keys: &'r mut Vec<Cow<'a, str>>,
    /// The values as texts.
    pub values: &'r mut Vec<Cow<'a, str>>,
}

impl<'a> ExtraMut<'_, 'a> {
    /// Appends a pair.
    pub fn push(&mut self, key: Cow<'a, str>, value: Cow<'a, str>) {
        self.keys.push(key);
        self.values.push(value);
    }
}

/// A value of an event on its way into a column.
#[derive(Debug)]
pub enum Input<'r, 'a> {
    /// The reader stands before the value.
    Json(&'r mut Reader<'a>),
    /// A field of a query string or a form, decoded.
    Text(Cow<'a, str>),
}

impl<'a> Input<'_, 'a> {
    /// Decodes the value into a field.
    ///
    /// # Errors
    /// Why it does not fit; the field is then as it was.
    #[inline]
    pub fn read<T: Decode<'a>>(self, field: &mut T) -> Result<(), ValueError> {
        *field = match self {
            Self::Json(reader) => T::from_json(reader)?,
            Self::Text(text) => T::from_text(text)?,
        };
        Ok(())
    }
}

/// Makes sure that a value takes no more bytes than its column allows.
///
/// # Errors
/// It does.
#[inline]
pub fn at_most(max_bytes: usize, bytes: usize) -> Result<(), ValueError> {
    if bytes > max_bytes {
        Err(ValueError::OverMaxBytes(max_bytes))
    } else {
        Ok(())
    }
}

/// Returns how many bytes a value takes in its row.
pub fn encoded_bytes(value: &impl Encode) -> usize {
    let mut out = Vec::new();
    value.put(&mut out);
    out.len()
}

/// The byte before a value in [`RowBinaryWithDefaults`](crate::table::Format::RowBinaryWithDefaults).
pub const VALUE: u8 = 0;

/// The byte in the place of a value that ClickHouse is to compute.
pub const DEFAULT: u8 = 1;

/// Brings one array of a Nested to the length of its longest: an array that the event did not give is filled with defaults, one
/// that it gave has to be as long.
pub fn level<T: Default>(
    array: &mut Vec<T>,
    is_given: bool,
    length: usize,
    column: &'static Column,
    refusals: &mut InvalidColumns,
) {
    if !is_given {
        array.resize_with(length, T::default);
    } else if array.len() != length {
        refusals.push(
            column,
            ValueError::UnequalLengths,
            &format!("{} of {length} elements", array.len()),
        );
    }
}

/// The set of columns that an event gave.
#[derive(Debug, Clone, Default)]
pub struct PresentColumns {
    few: [u64; Self::FEW_WORDS],
    many: Vec<u64>,
}

impl PresentColumns {
    const WORD_BITS: usize = u64::BITS as usize;
    /// Enough for 256 columns without a heap allocation; wider tables pay one per row.
    const FEW_WORDS: usize = 4;

    /// Adds a column.
    #[inline]
    pub fn insert(&mut self, column: usize) {
        let (word, bit) = (column / Self::WORD_BITS, 1 << (column % Self::WORD_BITS));
        match self.few.get_mut(word) {
            Some(few) => *few |= bit,
            None => {
                let word = word - Self::FEW_WORDS;
                if self.many.len() <= word {
                    self.many.resize(word + 1, 0);
                }
                self.many[word] |= bit;
            }
        }
    }

    /// Returns whether the event gave the column.
    #[inline]
    pub fn contains(&self, column: usize) -> bool {
        let word = column / Self::WORD_BITS;
        let word = self.few.get(word).or_else(|| self.many.get(word - Self::FEW_WORDS));
        word.is_some_and(|word| word >> (column % Self::WORD_BITS) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_rank_that_the_schema_gives_it() {
        let rules = EventRules {
            required: &[],
            alternatives: &[(3, &["user.id", "user_key", "a.b.c"])],
        };
        for (path, rank) in [
            ("user_id", Some(0)),
            ("user.id", Some(0)),
            ("user_key", Some(1)),
            ("a_b_c", Some(2)),
            ("user.key", None),
            ("user", None),
        ] {
            assert_eq!(rules.rank(3, path), rank, "{path}");
        }
        assert_eq!(rules.rank(2, "user_id"), None);
    }

    #[test]
    fn given_columns_are_found_on_both_sides_of_the_inline_words() {
        let mut given = PresentColumns::default();
        for column in [0, 63, 64, 255, 256, 1_000] {
            assert!(!given.contains(column));
            given.insert(column);
            assert!(given.contains(column));
        }
        assert!(!given.contains(1));
        assert!(!given.contains(999));
        assert!(!given.contains(5_000));
    }
}
