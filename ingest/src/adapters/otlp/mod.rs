//! OTLP: logs over HTTP
//! ([specification](https://opentelemetry.io/docs/specs/otlp/#otlphttp)), as protobuf or as JSON.
//!
//! Both formats are read into the same messages, and each log record becomes an event in plain JSON:
//! attributes are objects, and values lose their type names. A record is decoded by itself, so a
//! malformed one does not affect the others. The messages around the records are walked and not
//! collected, and what a record takes is booked before it is decoded.
//!
//! ```text
//! message   the messages of a request
//! wire      the fields of a message in protobuf
//! json      their forms in JSON that are not plain serde
//! record    a log record as an event
//! response  the messages of a response
//! ```

mod json;
mod message;
mod record;
mod response;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt::Display;

use base64::{Engine, engine::general_purpose::STANDARD};
use prost::Message;

pub(super) use self::response::response;
use self::{
    message::{JsonExportLogs, JsonResourceLogs, JsonScopeLogs, LogRecord, Resource, Scope},
    record::Origin,
    wire::Fields,
};
use super::{
    Adapted, AdapterError, Memory, Request,
    document::{DocumentWriter, ObjectWriter},
};

/// The type of a body in protobuf.
pub(super) const PROTOBUF: &str = "application/x-protobuf";

pub(super) const JSON: &str = "application/json";

/// The largest size of a decoded message, as a multiple of its length: that of a list of empty values.
const DECODED_SIZE: usize = 32;

/// The largest size of lists of parts of JSON, as a multiple of its length.
const PARTS_SIZE: usize = 6;

pub(super) fn read(request: &Request<'_>, memory: Memory<'_>) -> Result<Adapted, AdapterError> {
    let mut events = Events {
        document: DocumentWriter::new(request.body.len()),
        memory,
    };
    match &*request.media_type() {
        PROTOBUF => events.add_protobuf(request.body)?,
        JSON => events.add_json(request.json()?)?,
        _ => return Err(AdapterError::MediaType),
    }
    Ok(events.document.finish())
}

/// The events of a request, as far as they are read.
struct Events<'m> {
    document: DocumentWriter,
    memory: Memory<'m>,
}

impl Events<'_> {
    fn add_protobuf(&mut self, body: &[u8]) -> Result<(), AdapterError> {
        for of_resource in Fields::of(body).with(1) {
            let of_resource = of_resource?;
            let resource: Option<Resource> = self.decode_last(of_resource, 1)?;
            for of_scope in Fields::of(of_resource).with(2) {
                let of_scope = of_scope?;
                let scope: Option<Scope> = self.decode_last(of_scope, 1)?;
                let schema_url = Fields::of(of_scope).last_with(3)?.unwrap_or_default();
                let schema_url = String::from_utf8_lossy(schema_url);
                let origin = Origin::new(resource.as_ref(), scope.as_ref(), &schema_url);
                for sent in Fields::of(of_scope).with(2) {
                    let sent = sent?;
                    self.book(DECODED_SIZE * sent.len())?;
                    match LogRecord::decode(sent) {
                        Ok(record) => origin.write(&record, self.document.item()),
                        Err(error) => self.document.refuse(&refused_bytes(sent), not_a_record(error)),
                    }
                    self.book(0)?;
                }
            }
        }
        Ok(())
    }

    fn add_json(&mut self, text: &str) -> Result<(), AdapterError> {
        self.book(PARTS_SIZE * text.len())?;
        let logs: JsonExportLogs<'_> = parse(text)?;
        for of_resource in logs.resource_logs {
            let JsonResourceLogs { resource, scope_logs } = parse(of_resource.get())?;
            let resource: Option<Resource> = self.parse(resource.map(|resource| resource.get()))?;
            for of_scope in scope_logs {
                let JsonScopeLogs {
                    scope,
                    log_records,
                    schema_url,
                } = parse(of_scope.get())?;
                let scope: Option<Scope> = self.parse(scope.map(|scope| scope.get()))?;
                let origin = Origin::new(resource.as_ref(), scope.as_ref(), &schema_url);
                for sent in log_records {
                    let sent = sent.get();
                    self.book(DECODED_SIZE * sent.len())?;
                    match serde_json::from_str::<LogRecord>(sent) {
                        Ok(record) => origin.write(&record, self.document.item()),
                        Err(error) => self.document.refuse(sent, not_a_record(problem(&error))),
                    }
                    self.book(0)?;
                }
            }
        }
        Ok(())
    }

    /// Books the memory for the document so far, and for more bytes.
    fn book(&mut self, more: usize) -> Result<(), AdapterError> {
        (self.memory)(self.document.len().saturating_add(more))
    }

    /// Decodes the message in a field of another one, if it is there; the last one counts.
    fn decode_last<M: Message + Default>(&mut self, message: &[u8], field: usize) -> Result<Option<M>, AdapterError> {
        let Some(sent) = Fields::of(message).last_with(field)? else {
            return Ok(None);
        };
        self.book(DECODED_SIZE * sent.len())?;
        M::decode(sent).map(Some).map_err(not_logs)
    }

    /// Parses the JSON of a message, if it is there.
    fn parse<M: serde::de::DeserializeOwned>(&mut self, sent: Option<&str>) -> Result<Option<M>, AdapterError> {
        let Some(sent) = sent else { return Ok(None) };
        self.book(DECODED_SIZE * sent.len())?;
        parse(sent).map(Some)
    }
}

fn parse<'a, M: serde::Deserialize<'a>>(text: &'a str) -> Result<M, AdapterError> {
    serde_json::from_str(text).map_err(|error| not_logs(problem(&error)))
}

fn not_logs(error: impl Display) -> AdapterError {
    AdapterError::Protocol(format!("the body is not an ExportLogsServiceRequest: {error}"))
}

fn not_a_record(error: impl Display) -> String {
    format!("the item is not a LogRecord: {error}")
}

/// Returns the problem of JSON without its values, which the text of the error may quote.
fn problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // The name of such a field is one of the protocol.
    if text.starts_with("missing field `") {
        return text;
    }
    format!(
        "a value is not of its type at line {}, column {}",
        error.line(),
        error.column()
    )
}

/// Returns a record that is not decoded as JSON, for its dead letter.
fn refused_bytes(sent: &[u8]) -> String {
    let mut text = String::new();
    let mut fields = ObjectWriter::new(&mut text);
    fields.text("protobuf", &STANDARD.encode(sent));
    fields.finish();
    text
}
