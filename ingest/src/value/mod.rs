//! Values: how each ClickHouse type is read from an event and written into a block.

use std::borrow::Cow;

use crate::{json::Reader, refusal::Problem};

/// A type that a value of an event becomes.
///
/// `Default` is the value that ClickHouse itself gives the type when a row has none; `null` inside of an array or tuple becomes it too.
pub trait Decode<'a>: Sized + Default {
    /// Reads the JSON value that `json` stands before, and leaves `json` behind it.
    ///
    /// # Errors
    /// [`Problem::Syntax`] when the text is not JSON; any other problem when the value does not fit, and then `json` may stand anywhere in the value.
    fn from_json(json: &mut Reader<'a>) -> Result<Self, Problem>;

    /// Reads the value from text: a JSON string's or a form field's, escapes already resolved.
    ///
    /// # Errors
    /// Any problem but [`Problem::Syntax`].
    fn from_text(text: Cow<'a, str>) -> Result<Self, Problem>;
}

/// A type that is written into a block.
pub trait Encode {
    /// Appends the value as RowBinary has it.
    fn put(&self, out: &mut Vec<u8>);
}
