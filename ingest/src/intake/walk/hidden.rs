//! Walks a body in which fields hide JSON in a text, as the option `parse` of a route names them.

use std::borrow::Cow;

use super::{Scope, Walk};
use crate::{
    fields::{Fields, Names},
    intake::{duplicate_keys::DuplicateKeys, rejection::Rejection},
    json::{self, Kind, Reader},
    request::{body::Payload, text_field::hidden_json},
};

impl<'a> Walk<'_, 'a> {
    /// Walks a body. A text of the fields `hiding` that is JSON is walked as if the JSON were in its
    /// place; any other text stays a text.
    ///
    /// # Errors
    ///
    /// [`Rejection::Syntax`] and [`Rejection::NotAnObject`].
    #[cold]
    pub(super) fn hiding_payload(
        &mut self,
        payload: &'a Payload<'a>,
        root: Scope,
        overridden_by: Option<&Names<'_>>,
        hiding: &[&str],
    ) -> Result<(), Rejection> {
        if let Payload::Item { text, shared } = payload {
            self.shared(shared, text, root, overridden_by)
                .map_err(Rejection::Syntax)?;
        }
        match payload {
            Payload::Empty | Payload::Batch { .. } => Ok(()),
            Payload::Json(text) | Payload::Item { text, .. } => {
                match self.hiding_document(text, root, overridden_by, hiding) {
                    Ok(Kind::Object) => Ok(()),
                    Ok(kind) => Err(Rejection::NotAnObject(kind)),
                    Err(error) => Err(Rejection::Syntax(error)),
                }
            }
            Payload::Form(Fields::Flat(pairs)) => self
                .hiding_fields(pairs, root, overridden_by, hiding)
                .map_err(Rejection::Syntax),
            Payload::Form(Fields::Tree(tree)) => self
                .hiding_document(tree.json(), root, overridden_by, hiding)
                .map(drop)
                .map_err(Rejection::Syntax),
        }
    }

    fn hiding_document(
        &mut self,
        text: &'a str,
        root: Scope,
        overridden_by: Option<&Names<'_>>,
        hiding: &[&str],
    ) -> Result<Kind, json::Error> {
        let mut reader = self.reader(text);
        let kind = reader.peek()?;
        if kind != Kind::Object {
            reader.skip()?;
            reader.end()?;
            return Ok(kind);
        }
        let mut duplicates = DuplicateKeys::new_in(self.arena);
        reader.begin_object()?;
        while let Some(key) = reader.next_key()? {
            if overridden_by.is_some_and(|names| names.contains(&key)) {
                reader.skip()?;
                continue;
            }
            if !hiding.contains(&&*key) || reader.peek()? != Kind::String {
                self.entry(key, &mut reader, root, &mut duplicates)?;
                continue;
            }
            let start = reader.position();
            let text = reader.string()?;
            match hidden_json(text, reader.is_lenient(), self.arena) {
                Some(json) => {
                    let mut hidden = self.reader(json);
                    self.entry(key, &mut hidden, root, &mut duplicates)
                        .map_err(|error| json::Error {
                            // The position in the hidden text means nothing to the client.
                            at: start.at(),
                            ..error
                        })?;
                }
                None => {
                    reader.seek(start);
                    self.entry(key, &mut reader, root, &mut duplicates)?;
                }
            }
        }
        reader.end()?;
        Ok(kind)
    }

    fn hiding_fields(
        &mut self,
        pairs: &'a [(&'a str, &'a str)],
        root: Scope,
        overridden_by: Option<&Names<'_>>,
        hiding: &[&str],
    ) -> Result<(), json::Error> {
        let mut duplicates = DuplicateKeys::new_in(self.arena);
        let is_kept = |name: &str| !overridden_by.is_some_and(|names| names.contains(name));
        for (name, value) in pairs.iter().filter(|(name, _)| is_kept(name)) {
            let hidden = hiding
                .contains(name)
                .then(|| hidden_json(Cow::Borrowed(*value), self.row.is_lenient(), self.arena))
                .flatten();
            match hidden {
                Some(json) => {
                    let mut hidden = self.reader(json);
                    self.entry(Cow::Borrowed(*name), &mut hidden, root, &mut duplicates)?;
                }
                None => self.text(name, value, root),
            }
        }
        Ok(())
    }

    fn reader(&self, text: &'a str) -> Reader<'a> {
        let mut reader = Reader::new_in(text, self.arena);
        reader.set_lenient(self.row.is_lenient());
        reader
    }
}
