//! The outcome of a request of many events.

use std::borrow::Cow;

use http::StatusCode;
use serde::Serialize;

/// The outcome of a request of many events.
#[derive(Debug)]
pub(crate) struct BatchReport<'a> {
    /// The service of the events.
    pub(crate) service: &'a str,
    /// The name of the events as sent.
    pub(crate) name: &'a str,
    /// The number of items that became rows.
    pub(crate) recorded: usize,
    /// The part of them that was recorded before.
    pub(crate) duplicates: usize,
    /// The number of rejected items.
    pub(crate) rejected: usize,
    /// The reasons of the first rejected items.
    pub(crate) errors: Vec<ItemError>,
    /// The reason why the request ended before its last item; `None` if it did not.
    pub(crate) failure: Option<BatchFailure>,
}

/// The reason why a request ended before its last item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchFailure {
    /// The status of the response.
    pub(crate) status: StatusCode,
    /// The advice to the client.
    pub(crate) reason: Cow<'static, str>,
}

/// The position of an item in its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemNumber {
    /// The line on which the item begins, counted from 1.
    Line(usize),
    /// The index in an array or a sequence, counted from 0.
    Index(usize),
}

/// The reason why an item did not become a row.
#[derive(Debug, Serialize)]
pub(crate) struct ItemError {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// The first column whose value is invalid; empty if the reason is another one.
    #[serde(skip_serializing_if = "str::is_empty")]
    column: &'static str,
    reason: String,
}

impl ItemError {
    /// Returns the error of the item at `number`; `column` is empty if no column is the reason.
    pub(crate) fn new(number: ItemNumber, column: &'static str, reason: String) -> Self {
        let (line, index) = match number {
            ItemNumber::Line(line) => (Some(line), None),
            ItemNumber::Index(index) => (None, Some(index)),
        };
        Self {
            line,
            index,
            column,
            reason,
        }
    }
}
