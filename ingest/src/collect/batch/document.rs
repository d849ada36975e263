//! Document: finds the events inside one JSON document, and the fields that they share.
//!
//! The document is walked once, to its end, and nothing of it is copied: shared fields may be
//! behind the events. Everything but the events is checked; the decoder checks the events.

use std::ops::Range;

use crate::{
    collect::{
        batch::{
            items::{Array, Items},
            shared::SharedFields,
        },
        item_path::ItemPath,
    },
    intake::rejection::Rejection,
    json::{self, Kind, Position, Reader},
};

/// The events of a document, and their shared fields.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) items: Items,
    pub(super) shared: SharedFields,
}

/// The value at the end of an item path.
struct Found {
    kind: Kind,
    position: Position,
    range: Range<usize>,
}

/// Finds the events of the document that begins at byte `start`.
///
/// # Errors
///
/// The document is not JSON, or has no events at the path.
pub(super) fn open(text: &str, start: usize, path: &ItemPath) -> Result<Document, Rejection> {
    let no_items = |got| Rejection::NoItems {
        path: path.to_string(),
        got,
    };
    // An array, lines, a form or no body.
    if !text
        .get(start..)
        .is_some_and(|text| text.trim_ascii_start().starts_with('{'))
    {
        return Err(no_items(None));
    }
    let mut shared = Vec::new();
    let found = walk(text, start, path, &mut shared).map_err(Rejection::Syntax)?;
    let items = match found {
        Some(Found {
            kind: Kind::Array,
            position,
            ..
        }) => Items::Array(Array::inside(position)),
        Some(Found {
            kind: Kind::Object,
            range,
            ..
        }) => Items::One(range),
        Some(Found { kind, .. }) => return Err(no_items(Some(kind))),
        None => return Err(no_items(None)),
    };
    let shared = SharedFields::new(shared);
    Ok(Document { items, shared })
}

/// Walks a document that is an object. Returns the value at the path, and adds the shared fields to
/// `shared`; the last duplicate counts.
fn walk(
    text: &str,
    start: usize,
    path: &ItemPath,
    shared: &mut Vec<(&'static str, Range<usize>)>,
) -> Result<Option<Found>, json::Error> {
    let Some((first, rest)) = path.keys.split_first() else {
        return Ok(None);
    };
    let mut reader = Reader::new(text);
    reader.seek(Position::start(start));
    let mut found = None;
    reader.begin_object()?;
    while let Some(key) = reader.next_key()? {
        if key == *first {
            found = value_at(&mut reader, rest)?;
        } else if let Some(name) = path.shared.iter().find(|name| key == **name) {
            reader.peek()?;
            let start = reader.position().at();
            reader.skip()?;
            shared.retain(|(known, _)| known != name);
            shared.push((name, start..reader.position().at()));
        } else {
            reader.skip()?;
        }
    }
    reader.end()?;
    Ok(found)
}

/// Reads a value, and returns the value below it to which `keys` lead.
fn value_at(reader: &mut Reader<'_>, keys: &[&str]) -> Result<Option<Found>, json::Error> {
    let kind = reader.peek()?;
    let position = reader.position();
    match keys.split_first() {
        None => {
            match kind {
                Kind::Array | Kind::Object => reader.skip_unchecked()?,
                _ => reader.skip()?,
            }
            let range = position.at()..reader.position().at();
            Ok(Some(Found { kind, position, range }))
        }
        Some((first, rest)) if kind == Kind::Object => {
            let mut found = None;
            reader.begin_object()?;
            while let Some(key) = reader.next_key()? {
                match key == *first {
                    true => found = value_at(reader, rest)?,
                    false => reader.skip()?,
                }
            }
            Ok(found)
        }
        Some(_) => reader.skip().map(|()| None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::arena::Arena;

    const PATH: ItemPath = ItemPath {
        keys: &["data", "events"],
        shared: &["context", "sentAt"],
    };

    /// Returns the items and the shared fields of a document, as their texts.
    fn opened(text: &str) -> Result<(Vec<String>, String), Rejection> {
        let Document { mut items, shared } = open(text, 0, &PATH)?;
        let mut texts = Vec::new();
        while let Some(item) = items.next(text).unwrap() {
            texts.push(item.text.to_owned());
        }
        let arena = Arena::new();
        let values = shared.values(text, &arena).iter();
        let values: Vec<_> = values.map(|(name, value)| format!("{name}={value}")).collect();
        Ok((texts, values.join(" ")))
    }

    #[test]
    fn the_items_and_the_shared_fields_are_found_anywhere() {
        for (text, items, shared) in [
            (
                r#"{"data":{"events":[{"a":1}, {"b":"]"}]}}"#,
                vec![r#"{"a":1}"#, r#"{"b":"]"}"#],
                "",
            ),
            (
                r#" {"sentAt": "x","data" : {"x":[],"events":[5],"y":{}},"context":{"ip":"z"} } "#,
                vec!["5"],
                r#"sentAt="x" context={"ip":"z"}"#,
            ),
            (r#"{"data":{"events":{"a":1}},"z":1}"#, vec![r#"{"a":1}"#], ""),
            (r#"{"data":{"events":[]}}"#, vec![], ""),
            // The last duplicate counts.
            (
                r#"{"data":{"events":[1]},"sentAt":1,"data":{"events":[2],"events":[3]},"sentAt":2}"#,
                vec!["3"],
                "sentAt=2",
            ),
            (r#"{"\u0064ata":{"events":[1]}}"#, vec!["1"], ""),
        ] {
            let found = opened(text).unwrap();
            assert_eq!(
                (found.0, found.1.as_str()),
                (items.into_iter().map(str::to_owned).collect(), shared),
                "{text}"
            );
        }
    }

    #[test]
    fn a_document_without_events_at_the_path_names_it() {
        for (text, message) in [
            ("{}", "the body has no `data.events`, where the events should be"),
            (
                r#"{"data":[{"events":[]}]}"#,
                "the body has no `data.events`, where the events should be",
            ),
            (
                r#"{"events":[{}]}"#,
                "the body has no `data.events`, where the events should be",
            ),
            ("[{}]", "the body has no `data.events`, where the events should be"),
            ("", "the body has no `data.events`, where the events should be"),
            (
                r#"{"data":{"events":null}}"#,
                "`data.events` is null, not an array of events",
            ),
            (
                r#"{"data":{"events":"[]"}}"#,
                "`data.events` is a string, not an array of events",
            ),
            (
                r#"{"data":{"events":5}}"#,
                "`data.events` is a number, not an array of events",
            ),
        ] {
            let rejection = opened(text).unwrap_err();
            assert_eq!(rejection.message(text), message, "{text}");
            assert_eq!(rejection.code(), "no-items");
        }
    }

    #[test]
    fn a_document_that_is_cut_anywhere_has_no_items() {
        let text = r#"{"sentAt":"x","data":{"events":[{"a":1},{"b":"]"}]},"context":{"ip":"z"}}"#;
        assert!(opened(text).is_ok());
        for end in 1..text.len() {
            let rejection = opened(&text[..end]).unwrap_err();
            assert_eq!(rejection.code(), "json", "{}", &text[..end]);
        }
        assert_eq!(opened(&format!("{text}x")).unwrap_err().code(), "json");
    }
}
