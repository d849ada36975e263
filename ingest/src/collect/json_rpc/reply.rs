//! Replies: the responses of JSON-RPC.

use http::{StatusCode, header, response::Parts};
use serde::Serialize;
use serde_json::{json, value::RawValue};

/// The reply to one call.
#[derive(Debug, Serialize)]
pub(super) struct Reply {
    jsonrpc: &'static str,
    #[serde(flatten)]
    outcome: Outcome,
    id: Box<RawValue>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Result(Box<RawValue>),
    Error {
        code: i32,
        message: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<serde_json::Value>,
    },
}

/// The reason why a call fails, with its code in the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    code: i32,
    message: &'static str,
}

impl Failure {
    /// The body is not JSON.
    pub(super) const PARSE_ERROR: Self = Self::new(-32_700, "Parse error");
    /// The JSON is not a call.
    pub(super) const INVALID_REQUEST: Self = Self::new(-32_600, "Invalid Request");
    /// No route has the method's path.
    pub(super) const METHOD_NOT_FOUND: Self = Self::new(-32_601, "Method not found");
    /// The parameters have no names, or do not fit the table.
    pub(super) const INVALID_PARAMS: Self = Self::new(-32_602, "Invalid params");
    /// The sender is not the one that the route accepts.
    const UNAUTHORIZED: Self = Self::new(-32_001, "Unauthorized");
    /// The event was not recorded for another reason, which `data` has.
    const NOT_RECORDED: Self = Self::new(-32_000, "Not recorded");

    const fn new(code: i32, message: &'static str) -> Self {
        Self { code, message }
    }

    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Self::INVALID_PARAMS,
            StatusCode::NOT_FOUND => Self::METHOD_NOT_FOUND,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::UNAUTHORIZED,
            _ => Self::NOT_RECORDED,
        }
    }
}

impl Reply {
    pub(super) fn result(id: &str, result: Box<RawValue>) -> Self {
        Self::new(id.to_owned(), Outcome::Result(result))
    }

    /// Returns the reply to a call that fails before it is an event; the id is null if it is
    /// unknown.
    pub(super) fn failed(id: Option<&str>, failure: Failure) -> Self {
        let outcome = failed(failure, None);
        Self::new(id.unwrap_or("null").to_owned(), outcome)
    }

    /// Returns the reply to a call whose event has this response.
    pub(super) fn of(id: String, response: &Parts, body: &[u8]) -> Self {
        let answer = serde_json::from_slice::<Box<RawValue>>(body);
        let outcome = match (response.status, answer) {
            (status, Ok(answer)) if status.is_success() => Outcome::Result(answer),
            // The answer is an image, a text or a redirect.
            (status, Err(_)) if status.is_success() || status.is_redirection() => Outcome::Result(nothing()),
            (status, answer) => {
                let mut data = json!({ "status": status.as_u16() });
                let retry_after = response.headers.get(header::RETRY_AFTER);
                if let Some(seconds) = retry_after.and_then(|value| value.to_str().ok()?.parse::<u32>().ok()) {
                    data["retryAfter"] = seconds.into();
                }
                if let Ok(answer) = answer.and_then(|answer| serde_json::from_str(answer.get())) {
                    data["answer"] = answer;
                }
                failed(Failure::of_status(status), Some(data))
            }
        };
        Self::new(id, outcome)
    }

    fn new(id: String, outcome: Outcome) -> Self {
        Self {
            jsonrpc: "2.0",
            outcome,
            // The id was read as JSON.
            id: RawValue::from_string(id).unwrap_or_else(|_| null()),
        }
    }
}

fn failed(Failure { code, message }: Failure, data: Option<serde_json::Value>) -> Outcome {
    Outcome::Error { code, message, data }
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

fn nothing() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_else(|_| null())
}

/// Returns the text of a response; empty if all calls were notifications.
pub(super) fn text(replies: &[Reply], is_batch: bool) -> String {
    let text = match (replies, is_batch) {
        ([], _) => return String::new(),
        ([reply], false) => serde_json::to_string(reply),
        (replies, _) => serde_json::to_string(replies),
    };
    text.unwrap_or_default()
}
