//! Shared: the fields of a document that each of its events gets.

use std::ops::Range;

use crate::{
    arena::Arena,
    json::{Kind, Reader},
    request::claims::Claims,
};

/// The fields of a document that each of its events gets: names, and the places of the values.
#[derive(Debug, Default)]
pub(super) struct SharedFields(Vec<(&'static str, Range<usize>)>);

/// Shared fields with their values as JSON.
pub(super) type SharedValues<'a> = &'a [(&'a str, &'a str)];

impl SharedFields {
    /// Returns fields with the places of their values.
    pub(super) fn new(fields: Vec<(&'static str, Range<usize>)>) -> Self {
        Self(fields)
    }

    /// Returns the fields with their values in `text`, the text of the document.
    pub(super) fn values<'a>(&self, text: &'a str, arena: &'a Arena) -> SharedValues<'a> {
        let values = self.0.iter();
        arena.alloc_slice_fill_iter(values.map(|(name, at)| (*name, text.get(at.clone()).unwrap_or_default())))
    }
}

/// Returns the claims among shared fields about the sender of each event.
pub(super) fn sender<'a>(shared: SharedValues<'a>, arena: &'a Arena) -> Claims<'a> {
    let text = |wanted| {
        let (_, value) = shared.iter().find(|(name, _)| *name == wanted)?;
        let mut reader = Reader::new_in(value, arena);
        match reader.peek().ok()? {
            Kind::Number => reader.number().ok(),
            Kind::String => Some(&*arena.alloc_str(&reader.string().ok()?)),
            _ => None,
        }
    };
    Claims {
        project: text("projectId"),
        uid: text("uid"),
        ..Claims::default()
    }
}
