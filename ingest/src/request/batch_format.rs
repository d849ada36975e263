//! The format of a body that has many events.

/// The format of a body that has many events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchFormat {
    /// One JSON document per line ([NDJSON](https://github.com/ndjson/ndjson-spec)).
    Lines,
    /// JSON documents, each after a record separator
    /// ([RFC 7464](https://www.rfc-editor.org/rfc/rfc7464)).
    Sequence,
    /// A JSON array.
    Array,
    /// A JSON document that has the events inside.
    Document,
    /// CSV with a header line ([RFC 4180](https://www.rfc-editor.org/rfc/rfc4180)).
    Csv,
    /// Values separated by tabs, with a header line.
    Tsv,
}

impl BatchFormat {
    /// Returns whether each event is JSON.
    pub(crate) fn is_json(self) -> bool {
        !matches!(self, Self::Csv | Self::Tsv)
    }
}
