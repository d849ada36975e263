//! OTLP: logs over HTTP
//! ([specification](https://opentelemetry.io/docs/specs/otlp/#otlphttp)), as protobuf or as JSON.
//!
//! Both formats are read into the same messages, and each log record becomes an event in plain JSON:
//! attributes are objects, and values lose their type names. A record is decoded by itself, so a
//! malformed one does not affect the others.
//!
//! ```text
//! message   the messages of a request
//! json      their forms in JSON that are not plain serde
//! record    a log record as an event
//! response  the messages of a response
//! ```

mod json;
mod message;
mod record;
mod response;

#[cfg(test)]
mod tests;

use std::error::Error;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use prost::Message;

pub(super) use self::response::response;
use self::{
    message::{ExportLogs, JsonExportLogs, JsonResourceLogs, JsonScopeLogs, LogRecord, ResourceLogs, ScopeLogs},
    record::Origin,
};
use super::{
    Adapted, AdapterError, Memory, Request,
    document::{DocumentWriter, ObjectWriter},
};

/// The type of a body in protobuf.
pub(super) const PROTOBUF: &str = "application/x-protobuf";

pub(super) const JSON: &str = "application/json";

pub(super) fn read(request: &Request<'_>, memory: Memory<'_>) -> Result<Adapted, AdapterError> {
    let mut document = DocumentWriter::new(request.body.len());
    match &*request.media_type() {
        PROTOBUF => {
            let logs = ExportLogs::decode(Bytes::copy_from_slice(request.body));
            for of_resource in logs.map_err(|error| not_logs(&error))?.resource_logs {
                let ResourceLogs {
                    resource, scope_logs, ..
                } = of_resource;
                for ScopeLogs {
                    scope,
                    log_records,
                    schema_url,
                } in scope_logs
                {
                    let origin = Origin::new(resource.as_ref(), scope.as_ref(), &schema_url);
                    for sent in log_records {
                        match LogRecord::decode(sent.clone()) {
                            Ok(record) => origin.write(&record, document.item()),
                            Err(error) => document.refuse(&refused_bytes(&sent), not_a_record(&error)),
                        }
                        memory(document.len())?;
                    }
                }
            }
        }
        JSON => {
            let text = request.json()?;
            let logs: JsonExportLogs<'_> = serde_json::from_str(text).map_err(|error| not_logs(&error))?;
            for JsonResourceLogs { resource, scope_logs } in logs.resource_logs {
                for JsonScopeLogs {
                    scope,
                    log_records,
                    schema_url,
                } in scope_logs
                {
                    let origin = Origin::new(resource.as_ref(), scope.as_ref(), &schema_url);
                    for sent in log_records {
                        match serde_json::from_str::<LogRecord>(sent.get()) {
                            Ok(record) => origin.write(&record, document.item()),
                            Err(error) => document.refuse(sent.get(), not_a_record(&error)),
                        }
                        memory(document.len())?;
                    }
                }
            }
        }
        _ => return Err(AdapterError::MediaType),
    }
    Ok(document.finish())
}

fn not_logs(error: &dyn Error) -> AdapterError {
    AdapterError::Protocol(format!("the body is not an ExportLogsServiceRequest: {error}"))
}

fn not_a_record(error: &dyn Error) -> String {
    format!("the item is not a LogRecord: {error}")
}

/// Returns a record that is not decoded as JSON, for its dead letter.
fn refused_bytes(sent: &[u8]) -> String {
    let mut text = String::new();
    ObjectWriter::new(&mut text).text("protobuf", &STANDARD.encode(sent));
    text.push('}');
    text
}
