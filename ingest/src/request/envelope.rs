//! Envelope: the few fields of a body that decide where an event goes, read before its table is
//! known.

use std::borrow::Cow;

use crate::{
    arena::Arena,
    fields::Fields,
    json::{self, Kind, Reader},
    request::{body::Payload, claims::Claims},
    scan::{self, Chunk},
};

/// The fields of a body that the collector itself reads. The last duplicate counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Envelope<'a> {
    pub(crate) service: Option<Cow<'a, str>>,
    pub(crate) name: Option<Cow<'a, str>>,
    pub(crate) project_id: Option<Cow<'a, str>>,
    pub(crate) uid: Option<Cow<'a, str>>,
    pub(crate) to: Option<Cow<'a, str>>,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of a body. Skips a JSON body that cannot contain any of the fields; it
    /// may still be malformed.
    ///
    /// # Errors
    ///
    /// The body should be JSON and is not.
    pub(crate) fn open(payload: &'a Payload<'a>, arena: &'a Arena) -> Result<Self, json::Error> {
        let text = match payload {
            Payload::Json(text) | Payload::Item { text, .. } => text,
            Payload::Form(fields) => return Ok(Self::of_fields(fields)),
            Payload::Empty | Payload::Batch { .. } => return Ok(Self::default()),
        };
        if may_contain_any(FIELDS, text) {
            Self::of_json(Reader::new_in(text, arena))
        } else {
            Ok(Self::default())
        }
    }

    /// Reads the envelope of an item of a batch. Skips JSON that cannot contain `projectId` or `uid`.
    ///
    /// # Errors
    ///
    /// The item should be JSON and is not.
    pub(crate) fn open_item(item: &'a Payload<'a>, arena: &'a Arena) -> Result<Self, json::Error> {
        match item {
            Payload::Json(text) | Payload::Item { text, .. } if may_contain_sender_keys(text) => {
                Self::of_json(Reader::new_in(text, arena))
            }
            Payload::Form(fields) => Ok(Self::of_fields(fields)),
            _ => Ok(Self::default()),
        }
    }

    /// Returns the body's claims about the event's address and sender.
    pub(crate) fn claims(&self) -> Claims<'_> {
        Claims {
            service: self.service.as_deref(),
            name: self.name.as_deref(),
            project: self.project_id.as_deref(),
            uid: self.uid.as_deref(),
        }
    }

    fn of_fields(fields: &'a Fields<'a>) -> Self {
        let text = |name| fields.text(name).filter(|text| !text.is_empty()).map(Cow::Borrowed);
        Self {
            service: text("service"),
            name: text("name"),
            project_id: text("projectId"),
            uid: text("uid"),
            to: text("to"),
        }
    }

    fn of_json(mut reader: Reader<'a>) -> Result<Self, json::Error> {
        let mut envelope = Self::default();
        if reader.peek()? != Kind::Object {
            reader.skip()?;
            reader.end()?;
            return Ok(envelope);
        }
        reader.begin_object()?;
        while let Some(key) = reader.next_key()? {
            let field = match &*key {
                "service" => &mut envelope.service,
                "name" => &mut envelope.name,
                "projectId" => &mut envelope.project_id,
                "uid" => &mut envelope.uid,
                "to" => &mut envelope.to,
                _ => {
                    reader.skip_unchecked()?;
                    continue;
                }
            };
            *field = match reader.peek()? {
                Kind::String => Some(reader.string()?).filter(|text| !text.is_empty()),
                Kind::Number => Some(Cow::Borrowed(reader.number()?)),
                _ => {
                    reader.skip_unchecked()?;
                    None
                }
            };
        }
        reader.end()?;
        Ok(envelope)
    }
}

/// The fields as JSON writes them.
const FIELDS: [&[u8]; 5] = [b"\"service\"", b"\"name\"", b"\"projectId\"", b"\"uid\"", b"\"to\""];

/// The fields that identify the sender.
const SENDER_FIELDS: [&[u8]; 2] = [b"\"projectId\"", b"\"uid\""];

/// Returns whether any of the items may contain a field that identifies the sender.
pub(crate) fn may_contain_sender_keys(items: &str) -> bool {
    may_contain_any(SENDER_FIELDS, items)
}

/// Returns whether a text may contain one of the fields. The search takes a tenth of the time of a
/// JSON reader, and most events have none of the fields.
#[inline]
fn may_contain_any<const N: usize>(fields: [&[u8]; N], text: &str) -> bool {
    let text = text.as_bytes();
    // Find quotes before a field's first letter, and backslashes: a key may be written with
    // escapes.
    let may_begin = |chunk: Chunk, next: Chunk| {
        // A loop, because the compiler does not always inline `array::map`: that costs a webhook
        // 1100 instructions.
        let mut is_first = scan::all(0);
        for field in fields {
            is_first |= next.simd_eq(scan::all(field[1]));
        }
        (chunk.simd_eq(scan::all(b'"')) & is_first) | chunk.simd_eq(scan::all(b'\\'))
    };
    let mut may_have = false;
    scan::each(text, may_begin, |at| {
        may_have = text[at] == b'\\' || fields.iter().any(|field| text[at..].starts_with(field));
        !may_have
    });
    may_have
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn opened(text: &str) -> Envelope<'_> {
        Envelope::of_json(Reader::new(text)).unwrap()
    }

    #[test]
    fn only_strings_and_numbers_at_the_root_count() {
        let envelope =
            opened(r#"{"service":"wh","a":{"name":"no"},"name":"mail","projectId":3,"uid":[1],"to":{"x":1}}"#);
        assert_eq!(envelope.service.as_deref(), Some("wh"));
        assert_eq!(envelope.name.as_deref(), Some("mail"));
        assert_eq!(envelope.project_id.as_deref(), Some("3"));
        assert_eq!((envelope.uid, envelope.to), (None, None));
    }

    #[test]
    fn the_last_duplicate_counts_and_an_empty_string_is_absent() {
        assert_eq!(opened(r#"{"name":"a","name":"b"}"#).name.as_deref(), Some("b"));
        assert_eq!(opened(r#"{"name":"a","name":""}"#).name, None);
        assert_eq!(opened("[1, 2]"), Envelope::default());
    }

    #[test]
    fn a_text_without_any_of_the_fields_is_not_parsed() {
        let names = ["service", "name", "projectId", "uid", "to"];
        for name in names {
            assert!(may_contain_any(FIELDS, &format!("{{\"{name}\":1}}")), "{name}");
            assert!(
                !may_contain_any(
                    FIELDS,
                    &format!("{{\"{name}s\":\"{name}\\u0020\"}}").replace("\\u0020", " ")
                ),
                "{name}"
            );
        }
        for name in FIELDS {
            let names = names.map(|name| format!("\"{name}\""));
            assert!(names.iter().any(|quoted| quoted.as_bytes() == name));
        }
        for (name, is_sender) in [("uid", true), ("projectId", true), ("service", false), ("to", false)] {
            assert_eq!(
                may_contain_sender_keys(&format!("{{}}\n{{\"{name}\":1}}")),
                is_sender,
                "{name}"
            );
        }
        assert!(may_contain_any(FIELDS, r#"{"\u0075id":1}"#));
        let arena = Arena::new();
        assert_eq!(Envelope::open(&Payload::Json("{bad"), &arena), Ok(Envelope::default()));
        assert_eq!(
            Envelope::open(&Payload::Json(r#"{"\u0075id":7}"#), &arena)
                .unwrap()
                .uid
                .as_deref(),
            Some("7")
        );
    }

    #[test]
    fn malformed_json_is_an_error() {
        for text in ["{bad", "{\"a\":1}x", "", "[1", "{\"name\":\"a\""] {
            assert!(Envelope::of_json(Reader::new(text)).is_err(), "{text}");
        }
    }
}
