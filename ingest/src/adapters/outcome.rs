//! The outcome of a request, as the collector's own response reports it.

use serde::Deserialize;

/// The contents of the collector's own response.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Outcome {
    /// The number of refused events.
    pub(super) refused: u64,
    /// The first of them.
    errors: Vec<ItemError>,
    message: String,
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ItemError {
    index: u64,
    reason: String,
}

impl Outcome {
    /// Returns the reason of a failure, or of the first refused event.
    pub(super) fn reason(&self) -> String {
        match self.errors.first() {
            Some(ItemError { index, reason }) => format!("item {index}: {reason}"),
            None if self.reason.is_empty() => self.message.clone(),
            None => self.reason.clone(),
        }
    }
}
