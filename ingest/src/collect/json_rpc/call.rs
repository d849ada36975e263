//! Calls: the requests of JSON-RPC as their text has them.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::reply::Failure;

/// The most calls of a batch.
pub(super) const MAX_CALLS: usize = 1_000;

/// The version of the protocol.
const VERSION: &str = "2.0";

/// The calls of one request.
pub(super) enum Calls<'b> {
    One(Result<Call<'b>, Failure>),
    Batch(Vec<Result<Call<'b>, Failure>>),
}

/// One call.
#[derive(Debug)]
pub(super) struct Call<'b> {
    pub(super) method: Cow<'b, str>,
    /// The JSON of the parameters: an object or an array.
    pub(super) params: Option<&'b str>,
    /// The JSON of the id; `None` for a notification, which expects no reply.
    pub(super) id: Option<&'b str>,
}

#[derive(Deserialize)]
struct Members<'b> {
    #[serde(borrow)]
    jsonrpc: Cow<'b, str>,
    #[serde(borrow)]
    method: Cow<'b, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'b RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'b RawValue>,
}

/// Reads a member that is there, also if it is `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'b> Calls<'b> {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// The body is not JSON.
    pub(super) fn parse(body: &'b [u8]) -> Result<Self, Failure> {
        let body: &RawValue = serde_json::from_slice(body).map_err(|_| Failure::PARSE_ERROR)?;
        if !body.get().starts_with('[') {
            return Ok(Self::One(Call::parse(body.get())));
        }
        let calls: Vec<&RawValue> = serde_json::from_str(body.get()).map_err(|_| Failure::PARSE_ERROR)?;
        Ok(Self::Batch(calls.iter().map(|call| Call::parse(call.get())).collect()))
    }
}

impl<'b> Call<'b> {
    fn parse(text: &'b str) -> Result<Self, Failure> {
        let call: Members<'b> = serde_json::from_str(text).map_err(|_| Failure::INVALID_REQUEST)?;
        let id = call.id.map(RawValue::get);
        let params = call.params.map(RawValue::get);
        let is_id = |id: &str| id == "null" || id.starts_with(|first: char| matches!(first, '"' | '-' | '0'..='9'));
        let is_structure = |params: &str| params.starts_with(['{', '[']);
        if call.jsonrpc != VERSION || !id.is_none_or(is_id) || !params.is_none_or(is_structure) {
            return Err(Failure::INVALID_REQUEST);
        }
        Ok(Self {
            method: call.method,
            params,
            id,
        })
    }
}
