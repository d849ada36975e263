//! Bodies in which fields hide JSON in a text, as the option `parse` of a route names them.

use std::borrow::Cow;

use super::{Scope, Walk, object_of};
use crate::{
    fields::{Fields, Names},
    intake::rejection::Rejection,
    request::{
        body::Payload,
        text_field::{hidden_json, unhidden_json},
    },
};

impl<'a> Walk<'_, 'a> {
    /// Returns a body as if the JSON of the texts `hiding` were in their place; any other text stays
    /// a text. Walks the fields of a form, and returns a body without them.
    ///
    /// # Errors
    ///
    /// [`Rejection::Syntax`].
    #[cold]
    pub(super) fn unhidden(
        &mut self,
        payload: &'a Payload<'a>,
        hiding: &[&str],
        root: Scope,
        overridden_by: Option<&Names<'_>>,
    ) -> Result<&'a Payload<'a>, Rejection> {
        let (text, shared) = match payload {
            Payload::Empty | Payload::Batch { .. } => return Ok(payload),
            Payload::Json(text) => (*text, None),
            Payload::Item { text, shared } => (*text, Some(*shared)),
            Payload::Form(Fields::Tree(tree)) => (tree.json(), None),
            Payload::Form(Fields::Flat(pairs)) => {
                self.unhidden_fields(pairs, hiding, root, overridden_by)
                    .map_err(Rejection::Syntax)?;
                return Ok(&Payload::Empty);
            }
        };
        // The walk reports the errors of a malformed body.
        let Ok(Some(text)) = unhidden_json(text, hiding, self.row.is_lenient(), self.arena) else {
            return Ok(payload);
        };
        Ok(self.arena.alloc(match shared {
            Some(shared) => Payload::Item { text, shared },
            None => Payload::Json(text),
        }))
    }

    fn unhidden_fields(
        &mut self,
        pairs: &'a [(&'a str, &'a str)],
        hiding: &[&str],
        root: Scope,
        overridden_by: Option<&Names<'_>>,
    ) -> Result<(), crate::json::Error> {
        let is_kept = |name: &str| !overridden_by.is_some_and(|names| names.contains(name));
        let mut hidden = Vec::new();
        for (name, value) in pairs.iter().filter(|(name, _)| is_kept(name)) {
            let json = hiding
                .contains(name)
                .then(|| hidden_json(Cow::Borrowed(*value), self.row.is_lenient(), self.arena));
            match json.flatten() {
                Some(json) => hidden.push((*name, json)),
                None => self.text(name, value, root),
            }
        }
        self.document(object_of(hidden.into_iter(), self.arena), root, None)
            .map(drop)
    }
}
