//! Scrub: the payload of a dead letter without the values of personal columns.
//!
//! The rest of the payload stays as it was sent, so that it still shows the problem. A payload that
//! cannot be read is not kept, since any part of it may be personal.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::PersonalColumn;
use crate::{
    arena::Arena,
    fields::Fields,
    json::{self, Kind, Reader},
};

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
        let kind = reader.peek()?;
        let removal = match kind {
            Kind::String => self.removal_of_text(path),
            _ => self.removal(path),
        };
        if let Some(removal) = removal {
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
            return Ok(());
        }
        match kind {
            Kind::Object => {
                reader.begin_object()?;
                while let Some(key) = reader.next_key()? {
                    let above = path.len();
                    if above > 0 {
                        path.push('_');
                    }
                    path.push_str(&key);
                    self.value(reader, path, copy)?;
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
        let arena = Arena::new();
        let fields = text.split('&').map(|field| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            match self.removal_of_field(name, &arena) {
                None => Cow::Borrowed(field),
                Some(removal) => {
                    let hash = removal.hash(&decode(value), self.hash).unwrap_or_default();
                    Cow::Owned(format!("{name}={hash}"))
                }
            }
        });
        fields.collect::<Vec<_>>().join("&")
    }

    /// Returns how the value of a field is removed. A name may have several paths: in a query, it may
    /// begin with the rest of a separator, and only there are some numbers places in an array.
    fn removal_of_field(&self, name: &str, arena: &Arena) -> Option<Removal<'_>> {
        let in_query = arena.alloc_str(&format!("&{name}="));
        let literal = decode(name).replace(']', "").replace('[', "_");
        let paths = [
            path_of(&Fields::from_query(in_query, arena)),
            path_of(&Fields::from_body(&in_query[1..], arena)),
            Some(literal),
        ];
        paths.iter().flatten().find_map(|path| self.removal_of_text(path))
    }

    /// Returns how the text at a path is removed. One above the path of a personal value is: it may be
    /// an object that cannot be read.
    fn removal_of_text(&self, path: &str) -> Option<Removal<'_>> {
        self.removal(path).or_else(|| {
            let mut known = self.columns.iter().flat_map(|column| column.paths);
            let is_above = known.any(|known| is_same_or_below(known, path));
            is_above.then_some(Removal(None))
        })
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

/// Returns a name or a value of a field without its escapes.
fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// Returns the path of the only field; `None` if there is none.
fn path_of(fields: &Fields<'_>) -> Option<String> {
    match fields {
        Fields::Flat(pairs) => pairs.first().map(|(name, _)| (*name).to_owned()),
        Fields::Tree(tree) => path_of_first(tree.json()).ok(),
    }
}

/// Returns the path of the first text in an object.
fn path_of_first(json: &str) -> Result<String, json::Error> {
    let mut reader = Reader::new(json);
    let mut path = String::new();
    loop {
        match reader.peek()? {
            Kind::Object => {
                reader.begin_object()?;
                let Some(key) = reader.next_key()? else { break };
                if !path.is_empty() {
                    path.push('_');
                }
                path.push_str(&key);
            }
            Kind::Array => {
                reader.begin_array()?;
                // The places before the first value have none.
                while reader.next_element()? && reader.peek()? == Kind::Null {
                    reader.null()?;
                }
            }
            _ => break,
        }
    }
    Ok(path)
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
            (
                r#"{"user":"{\"email\":\"a@","users":"{","items":["{",1]}"#,
                r#"{"user":null,"users":"{","items":[null,1]}"#,
            ),
            (r#"{"user":{"n":1}}"#, r#"{"user":{"n":1}}"#),
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
            ("[email]=a&user[]=b&n[x]=1", "[email]=&user[]=&n[x]=1"),
            (
                "items[0][buyer]=a&items[buyer]=b&items[][buyer]=c&items[20][buyer]=d",
                "items[0][buyer]=&items[buyer]=&items[][buyer]=&items[20][buyer]=",
            ),
            (
                "user[2][email]=a&user[x]y[email]=b",
                "user[2][email]=&user[x]y[email]=b",
            ),
            (
                "n=1&%2338;email=a&amp;amp;email=b&AMP;email=c&#x26;user[email]=d",
                "n=1&%2338;email=&amp;amp;email=&AMP;email=&#x26;user[email]=",
            ),
            ("user={&users={&items=1", "user=&users={&items="),
            ("payload=%7B%7D&&x", "payload=&&x"),
            ("", ""),
        ] {
            assert_eq!(scrub(false).fields(text), expected, "{text}");
        }
        assert_eq!(scrub(true).fields("uid=1234567890&n=1"), "uid=&n=1");
    }
}
