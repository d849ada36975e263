//! Lists of objects: `{"items": [{"sku": "a"}, {"sku": "b"}]}` fills the column `items.sku` with
//! one element for each object, as ClickHouse fills a Nested.

use crate::{
    intake::{
        list_columns::{ListColumns, is_same_path},
        path::Path,
        row::{Input, PresentColumns},
        row_builder::RowBuilder,
    },
    json::{self, Kind, Reader},
    table::refusal::ValueError,
};

/// Puts one element into an array at `index`, and fills the elements before it that the event does
/// not have with the type's default. Without an input, sets the array's length to `index`.
///
/// # Errors
///
/// The reason why the value does not fit; the array then has no element at `index`.
pub fn put_element<'a, T: Default>(
    array: &mut Vec<T>,
    index: usize,
    input: Option<Input<'_, 'a>>,
    read: impl FnOnce(Input<'_, 'a>, &mut T) -> Result<(), ValueError>,
) -> Result<(), ValueError> {
    let Some(input) = input else {
        array.resize_with(index, T::default);
        return Ok(());
    };
    let mut element = T::default();
    read(input, &mut element)?;
    array.truncate(index);
    array.resize_with(index, T::default);
    array.push(element);
    Ok(())
}

/// A walk over one list of objects.
pub(super) struct ListWalk<'w, 'r, 'a> {
    row: &'w mut RowBuilder<'r, 'a>,
    /// The path of the list.
    path: &'w mut Path<'a>,
    list: &'static ListColumns,
    /// The position in a path where the part below the list begins.
    relative_from: usize,
    /// The columns that the list fills: another path of a column may have priority.
    accepted: PresentColumns,
}

impl<'w, 'r, 'a> ListWalk<'w, 'r, 'a> {
    pub(super) fn new(row: &'w mut RowBuilder<'r, 'a>, path: &'w mut Path<'a>, list: &'static ListColumns) -> Self {
        Self {
            relative_from: path.len() + 1,
            row,
            path,
            list,
            accepted: PresentColumns::default(),
        }
    }

    /// Puts the elements of the list that `reader` is positioned at into the columns.
    ///
    /// # Errors
    ///
    /// The list is not JSON.
    pub(super) fn walk(mut self, reader: &mut Reader<'a>) -> Result<(), json::Error> {
        let whole = reader.clone();
        for (column, path) in self.list.columns {
            if self.row.accepts_path(*column, path) {
                self.accepted.insert(*column);
                self.row.set_length(*column, 0, &whole)?;
            }
        }
        let mut length = 0;
        reader.begin_array()?;
        while reader.next_element()? {
            match reader.peek()? {
                Kind::Object => self.element(reader, length)?,
                // ClickHouse reads it as an object without keys.
                Kind::Null => reader.null()?,
                _ => {
                    let got = reader.raw_value()?;
                    if let Some((column, _)) = self.list.columns.first() {
                        self.row.refuse(*column, ValueError::WrongKind, got);
                    }
                }
            }
            length += 1;
        }
        for (column, _) in self.list.columns {
            if self.accepted.contains(*column) {
                self.row.set_length(*column, length, &whole)?;
            }
        }
        Ok(())
    }

    /// Returns the column for the values at a path below the list.
    fn column(&self, path: &str) -> Option<usize> {
        let below = |written: &'static str| written.get(self.list.path.len() + 1..).unwrap_or_default();
        let mut columns = self.list.columns.iter();
        let column = columns.find(|(_, written)| is_same_path(below(written), path));
        column.map(|(column, _)| *column)
    }

    /// Walks one object of the list, or an object inside of it; the reader limits the depth.
    fn element(&mut self, reader: &mut Reader<'a>, index: usize) -> Result<(), json::Error> {
        let above = self.path.len();
        reader.begin_object()?;
        while let Some(key) = reader.next_key()? {
            self.path.push(&key);
            let path = self.path.as_str();
            match self.column(&path[self.relative_from..]) {
                Some(column) if self.accepted.contains(column) => self.row.put_element(column, index, reader)?,
                Some(_) => reader.skip()?,
                None if reader.peek()? == Kind::Object => self.element(reader, index)?,
                None => {
                    self.row.find_unknown(path);
                    reader.skip()?;
                }
            }
            self.path.pop_to(above);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn absent_elements_are_filled_and_the_last_value_of_an_element_counts() {
        let mut array = vec![9, 9, 9];
        let put = |array: &mut Vec<u8>, index, text: Option<&str>| {
            let mut reader = Reader::new(text.unwrap_or_default());
            let input = text.map(|_| Input::Json(&mut reader));
            put_element(array, index, input, |input, element| input.read(element))
        };
        put(&mut array, 0, None).unwrap();
        assert_eq!(array, [0; 0]);
        put(&mut array, 1, Some("5")).unwrap();
        put(&mut array, 1, Some("6")).unwrap();
        assert_eq!(array, [0, 6]);
        assert_eq!(put(&mut array, 2, Some("300")), Err(ValueError::OutOfRange));
        put(&mut array, 3, None).unwrap();
        assert_eq!(array, [0, 6, 0]);
    }

    #[test]
    fn a_dot_of_the_schema_is_an_underscore_of_a_path() {
        assert!(is_same_path("a.b_c", "a_b_c") && is_same_path("a.b", "a.b"));
        assert!(!is_same_path("a_b", "a.b") && !is_same_path("a.b", "a_bc"));
    }
}
