//! A log record as an event, in plain JSON.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::message::{AnyValue, KeyValue, LogRecord, Resource, Scope, Value};
use crate::{adapters::document::ObjectWriter, json};

/// The resource and the scope of records, as the JSON of their fields.
#[derive(Debug)]
pub(super) struct Origin(String);

impl Origin {
    pub(super) fn new(resource: Option<&Resource>, scope: Option<&Scope>, schema_url: &str) -> Self {
        let mut text = String::new();
        let mut fields = ObjectWriter::new(&mut text);
        if let Some(resource) = resource {
            if let Some(service) = resource
                .attributes
                .iter()
                .find(|attribute| attribute.key == "service.name")
            {
                value(fields.field("serviceName"), service.value.as_ref());
            }
            let mut resource_fields = ObjectWriter::new(fields.field("resource"));
            attributes(resource_fields.field("attributes"), &resource.attributes);
            resource_fields.finish();
        }
        if let Some(scope) = scope {
            let mut scope_fields = ObjectWriter::new(fields.field("scope"));
            scope_fields.text("name", &scope.name);
            scope_fields.text("version", &scope.version);
            attributes(scope_fields.field("attributes"), &scope.attributes);
            scope_fields.finish();
        }
        if !schema_url.is_empty() {
            fields.text("schemaUrl", schema_url);
        }
        Self(text)
    }

    /// Writes a record with its origin. Absent times, ids and texts are absent.
    pub(super) fn write(&self, record: &LogRecord, out: &mut String) {
        // All fields of the origin, or `{` alone.
        out.push_str(&self.0);
        let mut fields = ObjectWriter::continued(out, self.0.len() > 1);
        for (name, time) in [
            ("timeUnixNano", record.time_unix_nano),
            ("observedTimeUnixNano", record.observed_time_unix_nano),
        ] {
            if time != 0 {
                fields.text(name, &time.to_string());
            }
        }
        fields.json("severityNumber", &record.severity_number.to_string());
        for (name, text) in [
            ("severityText", &record.severity_text),
            ("eventName", &record.event_name),
        ] {
            if !text.is_empty() {
                fields.text(name, text);
            }
        }
        for (name, id) in [("traceId", &record.trace_id), ("spanId", &record.span_id)] {
            if !id.is_empty() {
                fields.text(name, &id.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            }
        }
        fields.json("flags", &record.flags.to_string());
        if record.dropped_attributes_count > 0 {
            fields.json("droppedAttributesCount", &record.dropped_attributes_count.to_string());
        }
        if record.body.is_some() {
            value(fields.field("body"), record.body.as_ref());
        }
        attributes(fields.field("attributes"), &record.attributes);
        fields.finish();
    }
}

/// Writes attributes as an object.
fn attributes(out: &mut String, attributes: &[KeyValue]) {
    let mut fields = ObjectWriter::new(out);
    for attribute in attributes {
        value(fields.field(&attribute.key), attribute.value.as_ref());
    }
    fields.finish();
}

/// Writes a value as JSON without the name of its type.
fn value(out: &mut String, any: Option<&AnyValue>) {
    match any.and_then(|any| any.value.as_ref()) {
        None => out.push_str("null"),
        Some(Value::String(text)) => json::write_string(out, text),
        Some(Value::Bool(value)) => out.push_str(if *value { "true" } else { "false" }),
        Some(Value::Int(number)) => out.push_str(&number.to_string()),
        // JSON has neither infinity nor NaN.
        Some(Value::Double(number)) if !number.is_finite() => json::write_string(out, &number.to_string()),
        Some(Value::Double(number)) => out.push_str(&format!("{number:?}")),
        Some(Value::Bytes(bytes)) => json::write_string(out, &STANDARD.encode(bytes)),
        Some(Value::Array(array)) => {
            out.push('[');
            for (at, element) in array.values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                value(out, Some(element));
            }
            out.push(']');
        }
        Some(Value::Object(list)) => attributes(out, &list.values),
    }
}
