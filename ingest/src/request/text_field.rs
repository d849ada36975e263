//! Text fields of a body: the text of one field, and the JSON that may hide in a text.

use std::borrow::Cow;

use crate::{
    arena::Arena,
    fields::Fields,
    json::{self, Kind, Reader},
    request::body::Payload,
};

/// Returns the text of a field at the top level of a body; `None` if the field is absent or not a
/// text, or if the body is not an object.
pub(crate) fn text_field<'a>(payload: &'a Payload<'a>, name: &str, arena: &'a Arena) -> Option<&'a str> {
    match payload {
        Payload::Json(text) | Payload::Item { text, .. } => of_json(text, name, arena).ok().flatten(),
        Payload::Form(fields) => fields.text(name),
        Payload::Empty | Payload::Batch { .. } => None,
    }
}

fn of_json<'a>(text: &'a str, name: &str, arena: &'a Arena) -> Result<Option<&'a str>, json::Error> {
    let mut reader = Reader::new_in(text, arena);
    let mut found = None;
    reader.begin_object()?;
    while let Some(key) = reader.next_key()? {
        if key == name && reader.peek()? == Kind::String {
            found = Some(in_arena(reader.string()?, arena));
        } else {
            reader.skip()?;
        }
    }
    reader.end()?;
    Ok(found)
}

/// Returns the JSON that a text consists of: an object or an array, and nothing else. Borrows from the
/// text if the text is borrowed.
pub(crate) fn hidden_json<'a>(text: Cow<'a, str>, is_lenient: bool, arena: &'a Arena) -> Option<&'a str> {
    let mut reader = Reader::new_in_object(&text);
    reader.set_lenient(is_lenient);
    if !matches!(reader.peek().ok()?, Kind::Object | Kind::Array) {
        return None;
    }
    reader.skip().ok()?;
    reader.end().ok()?;
    Some(in_arena(text, arena))
}

/// Returns a body as a JSON document in which the fields `hiding` have the JSON of their texts;
/// `None` if none of them hides any, or if the body is malformed.
#[cold]
pub(crate) fn unhidden(payload: &Payload<'_>, hiding: &[&str], arena: &Arena) -> Option<String> {
    let of_json = |text| {
        unhidden_json(text, hiding, false, arena)
            .ok()
            .flatten()
            .map(str::to_owned)
    };
    match payload {
        Payload::Json(text) | Payload::Item { text, .. } => of_json(text),
        Payload::Form(Fields::Tree(tree)) => of_json(tree.json()),
        Payload::Form(Fields::Flat(pairs)) => unhidden_fields(pairs, hiding, arena),
        Payload::Empty | Payload::Batch { .. } => None,
    }
}

/// Returns an object in which the fields `hiding` have the JSON of their texts; `None` if none of them
/// hides any.
///
/// # Errors
///
/// The text is not a JSON object.
pub(crate) fn unhidden_json<'a>(
    text: &str,
    hiding: &[&str],
    is_lenient: bool,
    arena: &'a Arena,
) -> Result<Option<&'a str>, json::Error> {
    let mut reader = Reader::new(text);
    reader.set_lenient(is_lenient);
    let mut document = String::new();
    let mut copied = 0;
    reader.begin_object()?;
    while let Some(key) = reader.next_key()? {
        if !hiding.contains(&&*key) || reader.peek()? != Kind::String {
            reader.skip()?;
            continue;
        }
        let start = reader.position().at();
        if let Some(hidden) = hidden_json(reader.string()?, is_lenient, arena) {
            document.push_str(&text[copied..start]);
            document.push_str(hidden);
            copied = reader.position().at();
        }
    }
    reader.end()?;
    document.push_str(&text[copied..]);
    Ok((copied > 0).then(|| &*arena.alloc_str(&document)))
}

fn unhidden_fields(pairs: &[(&str, &str)], hiding: &[&str], arena: &Arena) -> Option<String> {
    let mut document = String::new();
    let mut is_hiding = false;
    for (name, value) in pairs {
        document.push(if document.is_empty() { '{' } else { ',' });
        json::write_string(&mut document, name);
        document.push(':');
        let hidden = hiding
            .contains(name)
            .then(|| hidden_json(Cow::Borrowed(*value), false, arena));
        match hidden.flatten() {
            Some(hidden) => {
                document.push_str(hidden);
                is_hiding = true;
            }
            None => json::write_string(&mut document, value),
        }
    }
    document.push('}');
    is_hiding.then_some(document)
}

fn in_arena<'a>(text: Cow<'a, str>, arena: &'a Arena) -> &'a str {
    match text {
        Cow::Borrowed(text) => text,
        Cow::Owned(text) => arena.alloc_str(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(text: &'a str, arena: &'a Arena) -> Option<&'a str> {
        of_json(text, "a", arena).ok().flatten()
    }

    #[test]
    fn a_text_at_the_top_level_is_found() {
        let arena = Arena::new();
        for (text, expected) in [
            (r#"{"a":"x"}"#, Some("x")),
            (r#"{"b":{"a":"no"},"a":"\u0078\"","c":1}"#, Some("x\"")),
            (r#"{"\u0061":"x"}"#, Some("x")),
            (r#"{"a":"x","a":"y"}"#, Some("y")),
            (r#"{"a":""}"#, Some("")),
            (r#"{"a":5}"#, None),
            (r#"{"a":{"a":"x"}}"#, None),
            (r#"{"a":"x""#, None),
            (r#"["a"]"#, None),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(found(text, &arena), expected, "{text}");
        }
    }

    #[test]
    fn only_a_whole_object_or_array_hides_in_a_text() {
        let arena = Arena::new();
        let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for text in ["{}", "[]", " {\"a\": [1]}\n", "[{\"a\":\"\\u00e9\"}]", &deep(127)] {
            let hidden = hidden_json(Cow::Borrowed(text), false, &arena);
            assert_eq!(hidden, Some(text));
            assert_eq!(hidden.map(str::as_ptr), Some(text.as_ptr()), "{text}");
            assert_eq!(hidden_json(Cow::Owned(text.to_owned()), false, &arena), hidden);
        }
        for text in [
            "",
            " ",
            "5",
            "null",
            "\"{}\"",
            "{",
            "{} {}",
            "{}x",
            "{'a':1}",
            "[1",
            "text {}",
            &deep(128),
        ] {
            assert_eq!(hidden_json(Cow::Borrowed(text), false, &arena), None, "{text}");
        }
    }
}
