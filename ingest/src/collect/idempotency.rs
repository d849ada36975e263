//! The option `idempotency` of a route: the place of the key with which a repeat is recognized.

use std::fmt;

/// The idempotency keys of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotency {
    /// The destination: keys of different destinations are different.
    pub scope: &'static str,
    /// The place of the key.
    pub key: KeySource,
    /// The time for which a key is known, in seconds.
    pub window_s: u32,
    /// Whether a request without a key is rejected; otherwise it is always recorded.
    pub required: bool,
}

/// The place of an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySource {
    /// The header with this name in lower case: a key for the whole request.
    Header(&'static str),
    /// The column with this name: a key for each event. The column's empty value is no key.
    Column(&'static str),
}

impl fmt::Display for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            KeySource::Header(name) => write!(f, "once per header {name}")?,
            KeySource::Column(name) => write!(f, "once per column {name}")?,
        }
        let days_hours_minutes = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
        let (seconds, unit) = days_hours_minutes
            .into_iter()
            .find(|(seconds, _)| self.window_s.is_multiple_of(*seconds))
            .unwrap_or((1, 's'));
        write!(f, " in {}{unit}", self.window_s / seconds)
    }
}
