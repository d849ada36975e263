//! The messages of a request
//! ([`logs.proto`](https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/logs/v1/logs.proto)),
//! with the fields that events get.
//!
//! The messages around resources, scopes and records are read apart from them.

use base64::{Engine, engine::general_purpose::STANDARD};
use prost::{Message, Oneof};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{Double, Integer, hex_bytes, integer};

/// The JSON of an `ExportLogsServiceRequest`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JsonExportLogs<'a> {
    /// Each is a [`JsonResourceLogs`].
    #[serde(borrow)]
    pub(super) resource_logs: Vec<&'a RawValue>,
}

/// The JSON of a `ResourceLogs`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct JsonResourceLogs<'a> {
    /// A [`Resource`].
    #[serde(borrow)]
    pub(super) resource: Option<&'a RawValue>,
    /// Each is a [`JsonScopeLogs`].
    #[serde(borrow)]
    pub(super) scope_logs: Vec<&'a RawValue>,
}

/// The JSON of a `ScopeLogs`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct JsonScopeLogs<'a> {
    /// A [`Scope`].
    #[serde(borrow)]
    pub(super) scope: Option<&'a RawValue>,
    /// Each is a [`LogRecord`].
    #[serde(borrow)]
    pub(super) log_records: Vec<&'a RawValue>,
    pub(super) schema_url: String,
}

/// The process or the machine that the records come from.
#[derive(Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

/// The library that the records come from.
#[derive(Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LogRecord {
    #[prost(fixed64, tag = "1")]
    #[serde(deserialize_with = "integer")]
    pub(super) time_unix_nano: u64,
    #[prost(fixed64, tag = "11")]
    #[serde(deserialize_with = "integer")]
    pub(super) observed_time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    pub(super) severity_number: i32,
    #[prost(string, tag = "3")]
    pub(super) severity_text: String,
    #[prost(message, optional, tag = "5")]
    pub(super) body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "7")]
    pub(super) dropped_attributes_count: u32,
    #[prost(fixed32, tag = "8")]
    pub(super) flags: u32,
    #[prost(bytes = "vec", tag = "9")]
    #[serde(deserialize_with = "hex_bytes")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    #[serde(deserialize_with = "hex_bytes")]
    pub(super) span_id: Vec<u8>,
    #[prost(string, tag = "12")]
    pub(super) event_name: String,
}

#[derive(Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

#[derive(Message, Deserialize)]
#[serde(try_from = "JsonAnyValue")]
pub(super) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(super) value: Option<Value>,
}

#[derive(Oneof)]
pub(super) enum Value {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    #[prost(message, tag = "6")]
    Object(KeyValueList),
    #[prost(bytes, tag = "7")]
    Bytes(Vec<u8>),
}

#[derive(Message, Deserialize)]
#[serde(default)]
pub(super) struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<AnyValue>,
}

#[derive(Message, Deserialize)]
#[serde(default)]
pub(super) struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<KeyValue>,
}

/// The JSON of an [`AnyValue`]: an object with one of these fields, or with none of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JsonAnyValue {
    string_value: Option<String>,
    bool_value: Option<bool>,
    int_value: Option<Integer>,
    double_value: Option<Double>,
    array_value: Option<ArrayValue>,
    kvlist_value: Option<KeyValueList>,
    bytes_value: Option<String>,
}

impl TryFrom<JsonAnyValue> for AnyValue {
    type Error = base64::DecodeError;

    fn try_from(json: JsonAnyValue) -> Result<Self, Self::Error> {
        let bytes = json.bytes_value.map(|text| STANDARD.decode(text)).transpose()?;
        let value = (json.string_value.map(Value::String))
            .or(json.bool_value.map(Value::Bool))
            .or(json.int_value.map(|Integer(value)| Value::Int(value)))
            .or(json.double_value.map(|Double(value)| Value::Double(value)))
            .or(json.array_value.map(Value::Array))
            .or(json.kvlist_value.map(Value::Object))
            .or(bytes.map(Value::Bytes));
        Ok(Self { value })
    }
}
