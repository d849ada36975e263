//! The number of replicas that have an insert's rows before ClickHouse confirms it.

use std::{error::Error, fmt, num::NonZeroU32, str::FromStr, time::Duration};

/// The number of replicas of a replicated table that have the rows before ClickHouse confirms an
/// insert
/// ([insert_quorum](https://clickhouse.com/docs/operations/settings/settings#insert_quorum)).
///
/// ```
/// use rowmill_ingest::{WriterOptions, store::InsertQuorum};
///
/// let options = WriterOptions {
///     insert_quorum: Some(InsertQuorum::Majority),
///     ..WriterOptions::default()
/// };
/// assert_eq!("auto".parse(), Ok(InsertQuorum::Majority));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InsertQuorum {
    /// This many replicas.
    Replicas(NonZeroU32),
    /// More than half of the replicas.
    Majority,
}

impl InsertQuorum {
    /// Returns the settings of inserts that may take `timeout`. ClickHouse gives up after half of
    /// it, and reports an error.
    pub(crate) fn settings(self, timeout: Duration) -> Vec<(&'static str, String)> {
        vec![
            ("insert_quorum", self.to_string()),
            ("insert_quorum_timeout", (timeout / 2).as_millis().to_string()),
        ]
    }
}

impl fmt::Display for InsertQuorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicas(replicas) => write!(f, "{replicas}"),
            Self::Majority => f.write_str("auto"),
        }
    }
}

impl FromStr for InsertQuorum {
    type Err = InvalidInsertQuorum;

    /// Reads a number of replicas, or `auto` for more than half of them.
    fn from_str(text: &str) -> Result<Self, InvalidInsertQuorum> {
        match text {
            "auto" => Ok(Self::Majority),
            number => number.parse().map(Self::Replicas).map_err(|_| InvalidInsertQuorum),
        }
    }
}

/// The error for an invalid [`InsertQuorum`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidInsertQuorum;

impl fmt::Display for InvalidInsertQuorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quorum is a number of replicas, at least 1, or `auto` for more than half of them")
    }
}

impl Error for InvalidInsertQuorum {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_a_number_of_replicas_or_their_majority() {
        assert_eq!("auto".parse(), Ok(InsertQuorum::Majority));
        for text in ["auto", "1", "3"] {
            assert_eq!(
                text.parse().map(|quorum: InsertQuorum| quorum.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in ["", "0", "-1", "1.5", "most", "99999999999"] {
            assert_eq!(text.parse::<InsertQuorum>(), Err(InvalidInsertQuorum), "{text}");
        }
    }
}
