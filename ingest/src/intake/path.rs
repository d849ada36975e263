//! The path of the object that a walk is in: its keys, joined by `_`.

use std::borrow::Cow;

use bumpalo::collections::String as BumpString;

use crate::{arena::Arena, json::ErrorKind};

/// The maximum size of the paths that one event's extras contain, in bytes. Each leaf of an object
/// has the object's whole path, so without a limit, a long key above many leaves would make a row
/// thousands of times as large as its event.
const MAX_COPIED_BYTES: usize = 1 << 20;

/// The path of the current object; empty at the root. The keys of the root itself are not pushed,
/// so a flat event copies no key.
#[derive(Debug)]
pub(super) struct Path<'a> {
    text: BumpString<'a>,
    arena: &'a Arena,
    /// The number of bytes that [`relative`](Self::relative) has copied.
    copied_bytes: usize,
}

impl<'a> Path<'a> {
    pub(super) fn new_in(arena: &'a Arena) -> Self {
        Self {
            text: BumpString::new_in(arena),
            arena,
            copied_bytes: 0,
        }
    }

    /// Returns the keys, joined by `_`.
    #[inline]
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the length in bytes, for [`pop_to`](Self::pop_to).
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Appends the first key.
    pub(super) fn push_first(&mut self, key: &str) {
        self.text.push_str(key);
    }

    /// Appends a key below the first one.
    #[inline]
    pub(super) fn push(&mut self, key: &str) {
        self.text.push('_');
        self.text.push_str(key);
    }

    /// Removes the keys that were pushed since the path had this length.
    #[inline]
    pub(super) fn pop_to(&mut self, length: usize) {
        if self.text.len() > length {
            self.text.truncate(length);
        }
    }

    /// Returns a copy of the path from the byte `from` on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PathsTooLong`] if the copies of one event take more than [`MAX_COPIED_BYTES`].
    pub(super) fn relative(&mut self, from: usize) -> Result<Cow<'a, str>, ErrorKind> {
        let relative = &self.text[from..];
        self.copied_bytes += relative.len();
        if self.copied_bytes > MAX_COPIED_BYTES {
            return Err(ErrorKind::PathsTooLong);
        }
        Ok(Cow::Borrowed(self.arena.alloc_str(relative)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_joins_its_keys_and_its_copies_have_a_limit() {
        let arena = Arena::new();
        let mut path = Path::new_in(&arena);
        path.push_first("page");
        let above = path.len();
        path.push("query");
        path.push("x");
        assert_eq!(path.as_str(), "page_query_x");
        assert_eq!(path.relative(above + 1), Ok("query_x".into()));
        path.pop_to(above);
        assert_eq!((path.as_str(), path.copied_bytes), ("page", 7));

        let key = "k".repeat(MAX_COPIED_BYTES - 7);
        path.push(&key);
        assert_eq!(path.relative(above + 1), Ok(Cow::Borrowed(&*key)));
        assert_eq!(path.relative(path.len() - 1), Err(ErrorKind::PathsTooLong));
    }
}
