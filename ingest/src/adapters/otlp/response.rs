//! The messages of a response, in the format of its request.

use bytes::Bytes;
use http::StatusCode;
use prost::Message;
use serde_json::json;

use crate::adapters::outcome::Outcome;

#[derive(Message)]
struct ExportLogsResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_log_records: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// [`google.rpc.Status`](https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto).
#[derive(Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Returns the body of the response with this status.
pub(in crate::adapters) fn response(is_protobuf: bool, status: StatusCode, outcome: &Outcome) -> Bytes {
    match status.is_success() {
        true => recorded(is_protobuf, outcome),
        false => failed(is_protobuf, status, outcome),
    }
}

/// Returns the response to a request with records that are recorded, or with none.
fn recorded(is_protobuf: bool, outcome: &Outcome) -> Bytes {
    let refused = i64::try_from(outcome.refused).unwrap_or(i64::MAX);
    if is_protobuf {
        let partial_success = (refused > 0).then(|| PartialSuccess {
            rejected_log_records: refused,
            error_message: outcome.reason(),
        });
        ExportLogsResponse { partial_success }.encode_to_vec().into()
    } else if refused > 0 {
        let reason = outcome.reason();
        let partial = json!({ "rejectedLogRecords": refused.to_string(), "errorMessage": reason });
        json!({ "partialSuccess": partial }).to_string().into()
    } else {
        Bytes::from_static(b"{}")
    }
}

fn failed(is_protobuf: bool, status: StatusCode, outcome: &Outcome) -> Bytes {
    let (code, message) = (code_of(status), outcome.reason());
    match is_protobuf {
        true => Status { code, message }.encode_to_vec().into(),
        false => json!({ "code": code, "message": message }).to_string().into(),
    }
}

/// Returns the code of gRPC that corresponds to a status.
const fn code_of(status: StatusCode) -> i32 {
    match status.as_u16() {
        400 | 415 | 422 => 3,
        401 => 16,
        403 => 7,
        404 | 405 => 5,
        413 | 429 => 8,
        503 => 14,
        _ => 2,
    }
}
