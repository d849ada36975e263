//! CloudEvents 1.0 over HTTP
//! ([specification](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md)),
//! in its three modes:
//!
//! - structured: the body is the event, as JSON;
//! - batched: the body is an array of such events;
//! - binary: the attributes are headers, and the body is the event's `data`.
//!
//! Data in base64 is `dataBase64` in an event: paths join their keys with `_`, so `data_base64`
//! would be a key inside `data`.

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;

use super::{
    Adapted, AdapterError, Request,
    document::{DocumentWriter, ObjectWriter},
};
use crate::json::{self, Kind, Reader};

/// The attributes that each event has, as texts that are not empty.
const REQUIRED: [&str; 4] = ["id", "source", "specversion", "type"];

/// The field with data in base64, as it is sent and as an event has it.
const DATA_BASE64: (&str, &str) = ("data_base64", "dataBase64");

/// The prefix of the headers with attributes.
const PREFIX: &str = "ce-";

pub(super) fn read(request: &Request<'_>) -> Result<Adapted, AdapterError> {
    match &*request.media_type() {
        "application/cloudevents+json" => structured(request.json()?),
        "application/cloudevents-batch+json" => batched(request.json()?),
        other if other.starts_with("application/cloudevents") => Err(AdapterError::MediaType),
        _ if request.headers.contains_key("ce-specversion") => binary(request),
        _ => Err(AdapterError::Protocol(
            "the request is no CloudEvent: send its type as application/cloudevents+json or \
             application/cloudevents-batch+json, or its attributes as headers such as ce-specversion"
                .to_owned(),
        )),
    }
}

fn structured(text: &str) -> Result<Adapted, AdapterError> {
    let mut document = DocumentWriter::new(text.len());
    add(&mut document, text)?;
    Ok(document.finish())
}

fn batched(text: &str) -> Result<Adapted, AdapterError> {
    let mut reader = Reader::new(text);
    if reader.peek()? != Kind::Array {
        return Err(AdapterError::Protocol(
            "a batch of CloudEvents is a JSON array".to_owned(),
        ));
    }
    let mut document = DocumentWriter::new(text.len());
    reader.begin_array()?;
    while reader.next_element()? {
        add(&mut document, reader.raw_value()?)?;
    }
    Ok(document.finish())
}

/// Adds an event as it was sent.
fn add(document: &mut DocumentWriter, sent: &str) -> Result<(), json::Error> {
    match check(sent)? {
        Checked::NotAnEvent(reason) => document.refuse(sent, reason),
        Checked::Event => document.item().push_str(sent),
        Checked::EventWithBase64 => renamed(sent, document.item())?,
    }
    Ok(())
}

/// Writes an event with data in base64.
fn renamed(sent: &str, out: &mut String) -> Result<(), json::Error> {
    let mut reader = Reader::new(sent);
    let mut fields = ObjectWriter::new(out);
    reader.begin_object()?;
    while let Some(key) = reader.next_key()? {
        let name = if key == DATA_BASE64.0 { DATA_BASE64.1 } else { &key };
        fields.json(name, reader.raw_value()?);
    }
    fields.finish();
    Ok(())
}

/// The outcome of a check.
enum Checked {
    Event,
    EventWithBase64,
    /// The reason why JSON is not a CloudEvent.
    NotAnEvent(String),
}

/// Checks an event. The decoder rejects what is not an object.
fn check(event: &str) -> Result<Checked, json::Error> {
    let mut reader = Reader::new(event);
    if reader.peek()? != Kind::Object {
        return Ok(Checked::Event);
    }
    let mut found = [false; REQUIRED.len()];
    let (mut has_data, mut has_data_base64) = (false, false);
    let mut version = None;
    reader.begin_object()?;
    while let Some(key) = reader.next_key()? {
        has_data |= key == "data";
        has_data_base64 |= key == DATA_BASE64.0;
        match REQUIRED.iter().position(|name| key == *name) {
            Some(at) if reader.peek()? == Kind::String => {
                let value = reader.string()?;
                found[at] = !value.is_empty();
                if key == "specversion" {
                    version = Some(value);
                }
            }
            Some(_) => return Ok(Checked::NotAnEvent(format!("the attribute `{key}` is not a string"))),
            None => reader.skip()?,
        }
    }
    let problem = if let Some(at) = found.iter().position(|is_found| !is_found) {
        format!("the attribute `{}` of the CloudEvent is missing", REQUIRED[at])
    } else if let Some(version) = version.filter(|version| version != "1.0") {
        let version: String = version.chars().take(16).collect();
        format!("the specversion is `{version}`, and must be `1.0`")
    } else if has_data && has_data_base64 {
        "the event has both `data` and `data_base64`".to_owned()
    } else if has_data_base64 {
        return Ok(Checked::EventWithBase64);
    } else {
        return Ok(Checked::Event);
    };
    Ok(Checked::NotAnEvent(problem))
}

/// Makes the event of a request whose headers have the attributes.
fn binary(request: &Request<'_>) -> Result<Adapted, AdapterError> {
    let mut event = String::with_capacity(request.body.len() + 512);
    let mut fields = ObjectWriter::new(&mut event);
    for name in request.headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix(PREFIX) else {
            continue;
        };
        // The body and its type have fields of their own.
        if matches!(attribute, "data" | "data_base64" | "datacontenttype") {
            continue;
        }
        let value = request.header_text(name.as_str());
        fields.text(attribute, &percent_decode_str(&value).decode_utf8_lossy());
    }
    let content_type = request.header("content-type");
    if !content_type.is_empty() {
        fields.text("datacontenttype", content_type);
    }
    if !request.body.is_empty() {
        let media_type = request.media_type();
        // Without a type, the data is JSON.
        if media_type.is_empty() || media_type.ends_with("/json") || media_type.ends_with("+json") {
            fields.json("data", request.json()?);
        } else if let Ok(text) = request.text() {
            fields.text("data", text);
        } else {
            fields.text(DATA_BASE64.0, &STANDARD.encode(request.body));
        }
    }
    fields.finish();
    structured(&event)
}
