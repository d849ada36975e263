//! Snowplow: the requests of its trackers: a POST with many events, or a GET with one in its query.
//!
//! A self-describing event and the contexts are JSON inside a text, plain (`ue_pr`, `co`) or in
//! base64 (`ue_px`, `cx`). Here, each event has them as JSON, under the plain names.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    Adapted, AdapterError, Request,
    document::{DocumentWriter, ObjectWriter},
};
use crate::{
    arena::Arena,
    fields::Fields,
    json::{Kind, Reader},
    request::text_field::hidden_json,
};

/// The field with the events of a POST.
const DATA: &str = "data";

/// Base64 of trackers, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the name of a field with JSON in plain text, and whether the value is in base64.
fn hiding(field: &str) -> Option<(&'static str, bool)> {
    Some(match field {
        "ue_pr" => ("ue_pr", false),
        "ue_px" => ("ue_pr", true),
        "co" => ("co", false),
        "cx" => ("co", true),
        _ => return None,
    })
}

pub(super) fn read(request: &Request<'_>) -> Result<Adapted, AdapterError> {
    if super::Adapter::Snowplow.reads_query(request.method) {
        return Ok(of_query(request.text()?, request.arena));
    }
    if !matches!(&*request.media_type(), "" | "application/json" | "text/plain") {
        return Err(AdapterError::MediaType);
    }
    of_payload(request.json()?, request.arena)
}

/// Returns the event of a GET.
fn of_query(query: &str, arena: &Arena) -> Adapted {
    let mut document = DocumentWriter::new(query.len());
    let mut event = String::with_capacity(query.len());
    let mut problem = None;
    let mut fields = ObjectWriter::new(&mut event);
    Fields::from_query(query, arena).each_text(|name, value| match hiding(name) {
        None => fields.text(name, value),
        Some((plain, is_base64)) => match hidden(value, is_base64, arena) {
            Some(json) => fields.json(plain, json),
            None => {
                problem = Some(not_json(name, is_base64));
                fields.text(name, value);
            }
        },
    });
    fields.finish();
    match problem {
        Some(reason) => document.refuse(&event, reason),
        None => document.item().push_str(&event),
    }
    document.finish()
}

/// Returns the events of a POST.
fn of_payload(text: &str, arena: &Arena) -> Result<Adapted, AdapterError> {
    let mut document = DocumentWriter::new(text.len());
    let mut reader = Reader::new(text);
    let mut has_data = false;
    if reader.peek()? == Kind::Object {
        reader.begin_object()?;
        while let Some(key) = reader.next_key()? {
            if key == DATA && reader.peek()? == Kind::Array {
                has_data = true;
                reader.begin_array()?;
                while reader.next_element()? {
                    let sent = reader.raw_value()?;
                    add(&mut document, sent, arena)?;
                }
            } else {
                reader.skip()?;
            }
        }
    }
    match has_data {
        true => Ok(document.finish()),
        false => {
            let reason = "the body has no array `data`, where the events should be";
            Err(AdapterError::Protocol(reason.to_owned()))
        }
    }
}

/// Adds an event with the JSON of its texts.
fn add(document: &mut DocumentWriter, sent: &str, arena: &Arena) -> Result<(), AdapterError> {
    let mut reader = Reader::new_in(sent, arena);
    // The decoder rejects what is not an object.
    if reader.peek()? != Kind::Object {
        document.item().push_str(sent);
        return Ok(());
    }
    let mut event = String::with_capacity(sent.len());
    let mut fields = ObjectWriter::new(&mut event);
    reader.begin_object()?;
    while let Some(key) = reader.next_key()? {
        match hiding(&key) {
            Some((plain, is_base64)) if reader.peek()? == Kind::String => {
                let value = reader.string()?;
                match hidden(&value, is_base64, arena) {
                    Some(json) => fields.json(plain, json),
                    None => {
                        document.refuse(sent, not_json(&key, is_base64));
                        return Ok(());
                    }
                }
            }
            _ => fields.json(&key, reader.raw_value()?),
        }
    }
    fields.finish();
    document.item().push_str(&event);
    Ok(())
}

/// Returns the JSON in the text of a field.
fn hidden<'a>(value: &str, is_base64: bool, arena: &'a Arena) -> Option<&'a str> {
    let text = match is_base64 {
        true => String::from_utf8(BASE64.decode(value).ok()?).ok()?,
        false => value.to_owned(),
    };
    hidden_json(text.into(), false, arena)
}

fn not_json(field: &str, is_base64: bool) -> String {
    let form = if is_base64 { " in base64" } else { "" };
    format!("`{field}` is not a JSON object{form}")
}
