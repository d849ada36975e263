//! Reserved keys: the keys of an event whose columns the collector fills.

use crate::{
    intake::event_meta::EventMeta,
    json::{self, Reader},
    table::Table,
    value::js_string,
};

/// The keys of an event that the collector's values override.
///
/// In a table that inherits `base`, a client's value under such a key goes to the extra, unless it
/// only repeats the collector's value. In other tables, the keys are like all others.
const RESERVED: [&str; 10] = [
    "channel",
    "date",
    "dateTime",
    "id",
    "name",
    "projectId",
    "service",
    "td",
    "timestamp",
    "uid",
];

/// The rules for the keys that neither fill a column nor go to an extra. They apply at the root of
/// an event only.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReservedKeys<'r, 'a> {
    pub(super) meta: &'r EventMeta<'a>,
    pub(super) table: &'static Table,
    /// Whether the table has no values of the collector in columns with these names.
    pub(super) are_owned: bool,
}

impl<'a> ReservedKeys<'_, 'a> {
    /// Returns whether a key names an array of an extra; only the collector fills these.
    pub(super) fn is_array_of_extra(&self, key: &str) -> bool {
        (key.ends_with("extra.key") || key.ends_with("extra.value"))
            && self.table.columns.iter().any(|column| column.name == key)
    }

    /// Returns whether a reserved key only repeats the collector's value.
    pub(super) fn is_repetition(&self, key: &str, value: &str) -> bool {
        match self.are_owned {
            true => self.is_hidden(key),
            false => RESERVED.contains(&key) && self.meta.matches(key, value),
        }
    }

    /// Returns whether a key is the uid of an anonymous event.
    fn is_hidden(&self, key: &str) -> bool {
        key == "uid" && self.meta.is_anonymous()
    }

    /// Like [`is_repetition`](Self::is_repetition), for the string or number that `reader` is
    /// positioned at.
    ///
    /// # Errors
    ///
    /// The value is not JSON.
    pub(super) fn is_json_repetition(&self, key: &str, reader: &Reader<'a>) -> Result<bool, json::Error> {
        if self.are_owned || !RESERVED.contains(&key) {
            return Ok(self.is_hidden(key));
        }
        let value = js_string(&mut reader.clone())?;
        Ok(self.meta.matches(key, &value))
    }
}
