//! Scrub: the payload of a dead letter without the values of personal columns.
//!
//! The rest of the payload stays as it was sent, so that it still shows the problem. A payload that
//! cannot be read is not kept, since any part of it may be personal.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::PersonalColumn;
use crate::json::{self, Kind, Reader};

/// The field with the visitor's uid, which an anonymous event is without.
const UID: &str = "uid";

/// The values to remove from a payload.
pub(crate) struct Scrub<'s> {
    pub(crate) columns: &'s [PersonalColumn],
    /// Whether the event is one without its visitor's consent.
    pub(crate) is_anonymous: bool,
    /// The fields whose text is JSON, which may contain any value.
    pub(crate) hiding: &'s [&'s str],
    /// Returns the HMAC of a value of a column; `None` without a key.
    pub(crate) hash: &'s dyn Fn(&str, &str) -> Option<String>,
}

impl Scrub<'_> {
    /// Returns whether there is nothing to remove.
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty() && !self.is_anonymous
    }

    /// Returns a JSON object with `null`, or the HMAC, in place of personal values; `None` if the text is
    /// not an object, so that no key says what its values are.
    pub(crate) fn json(&self, text: &str) -> Option<String> {
        let kind = Reader::new(text).peek().ok()?;
        (kind == Kind::Object).then(|| self.object(text).ok())?
    }

    fn object(&self, text: &str) -> Result<String, json::Error> {
        let mut copy = Copy {
            text,
            copied: 0,
            out: String::with_capacity(text.len()),
        };
        let mut reader = Reader::new(text);
        self.value(&mut reader, &mut String::new(), &mut copy)?;
        reader.end()?;
        copy.out.push_str(&text[copy.copied..]);
        Ok(copy.out)
    }

    fn value(&self, reader: &mut Reader<'_>, path: &mut String, copy: &mut Copy<'_>) -> Result<(), json::Error> {
        match reader.peek()? {
            Kind::Object => {
                reader.begin_object()?;
                while let Some(key) = reader.next_key()? {
                    let above = path.len();
                    if above > 0 {
                        path.push('_');
                    }
                    path.push_str(&key);
                    match self.removal(path) {
                        None => self.value(reader, path, copy)?,
                        Some(removal) => {
                            let kind = reader.peek()?;
                            let start = reader.position().at();
                            let value = match kind {
                                Kind::String => reader.string()?,
                                _ => {
                                    reader.skip()?;
                                    Cow::Borrowed(&copy.text[start..reader.position().at()])
                                }
                            };
                            copy.out.push_str(&copy.text[copy.copied..start]);
                            match removal.hash(&value, self.hash).filter(|_| kind != Kind::Null) {
                                Some(hash) => json::write_string(&mut copy.out, &hash),
                                None => copy.out.push_str("null"),
                            }
                            copy.copied = reader.position().at();
                        }
                    }
                    path.truncate(above);
                }
                Ok(())
            }
            Kind::Array => {
                reader.begin_array()?;
                while reader.next_element()? {
                    self.value(reader, path, copy)?;
                }
                Ok(())
            }
            _ => reader.skip(),
        }
    }

    /// Returns urlencoded fields without personal values, or with their HMACs.
    pub(crate) fn fields(&self, text: &str) -> String {
        let fields = text.split('&').map(|field| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let decode = |text: &str| {
                let spaced = text.replace('+', " ");
                percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
            };
            let decoded = decode(name);
            // The separators of a link may be escaped as HTML.
            let path = decoded
                .strip_prefix("amp;")
                .unwrap_or(&decoded)
                .replace(']', "")
                .replace('[', "_");
            match self.removal(&path) {
                None => Cow::Borrowed(field),
                Some(removal) => {
                    let hash = removal.hash(&decode(value), self.hash).unwrap_or_default();
                    Cow::Owned(format!("{name}={hash}"))
                }
            }
        });
        fields.collect::<Vec<_>>().join("&")
    }

    /// Returns how the value at a path is removed; `None` if it stays.
    fn removal(&self, path: &str) -> Option<Removal<'_>> {
        let is_at = |known: &str| is_same_or_below(path, known);
        if let Some(column) = self
            .columns
            .iter()
            .find(|column| column.paths.iter().any(|known| is_at(known)))
        {
            return Some(Removal(column.is_hashed.then_some(column.name)));
        }
        let is_hidden = !self.columns.is_empty() && self.hiding.contains(&path);
        (is_hidden || self.is_anonymous && path == UID).then_some(Removal(None))
    }
}

/// The removal of a value; with the name of its column, its HMAC stays.
struct Removal<'c>(Option<&'c str>);

impl Removal<'_> {
    fn hash(&self, value: &str, hash: &dyn Fn(&str, &str) -> Option<String>) -> Option<String> {
        hash(self.0?, value)
    }
}

/// A text that is copied in parts.
struct Copy<'t> {
    text: &'t str,
    copied: usize,
    out: String,
}

/// Returns whether a path of an event is the known one, or below it; a `.` in a key joins keys as `_`
/// does.
fn is_same_or_below(path: &str, known: &str) -> bool {
    let joined = |byte: u8| if byte == b'.' { b'_' } else { byte };
    let mut path = path.bytes().map(joined);
    known.bytes().map(joined).all(|byte| path.next() == Some(byte)) && path.next().is_none_or(|byte| byte == b'_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const COLUMNS: &[PersonalColumn] = &[
        PersonalColumn {
            name: "email",
            paths: &["email", "user_email"],
            is_hashed: false,
        },
        PersonalColumn {
            name: "phone",
            paths: &["phone"],
            is_hashed: true,
        },
        PersonalColumn {
            name: "items.buyer",
            paths: &["items.buyer"],
            is_hashed: false,
        },
    ];

    fn scrub(is_anonymous: bool) -> Scrub<'static> {
        Scrub {
            columns: COLUMNS,
            is_anonymous,
            hiding: &["payload"],
            hash: &|column, value| Some(format!("{column}:{}", value.len())),
        }
    }

    #[test]
    fn personal_values_of_json_are_removed() {
        for (text, expected) in [
            (r#"{"email":"a@b.c","n":1}"#, r#"{"email":null,"n":1}"#),
            (r#"{ "n" : 1e2 , "email" : "a" }"#, r#"{ "n" : 1e2 , "email" : null }"#),
            (r#"{"\u0065mail":{"to":["a"]}}"#, r#"{"\u0065mail":null}"#),
            (r#"{"user":{"email":"a","id":7}}"#, r#"{"user":{"email":null,"id":7}}"#),
            (
                r#"{"user.email":"a","email_to":"b"}"#,
                r#"{"user.email":null,"email_to":null}"#,
            ),
            (r#"{"phone":"+1\u0032"}"#, r#"{"phone":"phone:3"}"#),
            (r#"{"phone":12345}"#, r#"{"phone":"phone:5"}"#),
            (r#"{"phone":null}"#, r#"{"phone":null}"#),
            (
                r#"{"items":[{"buyer":"a","n":1},{"buyer":"b"}]}"#,
                r#"{"items":[{"buyer":null,"n":1},{"buyer":null}]}"#,
            ),
            (r#"{"payload":"{\"email\":\"a\"}"}"#, r#"{"payload":null}"#),
            (
                r#"{"emails":"a","uid":"1234567890"}"#,
                r#"{"emails":"a","uid":"1234567890"}"#,
            ),
            ("{}", "{}"),
        ] {
            assert_eq!(scrub(false).json(text).unwrap(), expected, "{text}");
        }
        assert_eq!(
            scrub(true).json(r#"{"uid":"1234567890","user":{"uid":1}}"#).unwrap(),
            r#"{"uid":null,"user":{"uid":1}}"#
        );
        for text in [r#"{"email":"a""#, r#"{"email":a}"#, "{} x", "", "\"a\"", "[\"a\"]", "1"] {
            assert_eq!(scrub(false).json(text), None, "{text}");
        }
    }

    #[test]
    fn personal_values_of_fields_are_removed() {
        for (text, expected) in [
            ("email=a%40b.c&n=1", "email=&n=1"),
            ("n=1&user%5Bemail%5D=a", "n=1&user%5Bemail%5D="),
            ("user[email]=a&user[id]=7", "user[email]=&user[id]=7"),
            ("user.email=a&amp;email=b", "user.email=&amp;email="),
            ("e%6Dail=a&phone=%2B1+2", "e%6Dail=&phone=phone:4"),
            ("email[]=a&emails=b&uid=1", "email[]=&emails=b&uid=1"),
            ("payload=%7B%7D&&x", "payload=&&x"),
            ("", ""),
        ] {
            assert_eq!(scrub(false).fields(text), expected, "{text}");
        }
        assert_eq!(scrub(true).fields("uid=1234567890&n=1"), "uid=&n=1");
    }
}
