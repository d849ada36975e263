//! The document with the events of a request.

use crate::json;

/// The key of the events in a document that an adapter writes.
const ITEMS: &str = "items";

/// The events of a request, inside one JSON document.
#[derive(Debug)]
pub(crate) struct Adapted {
    /// The document. All of it except the events is well formed.
    pub(crate) text: String,
    /// The keys that lead to the events.
    pub(crate) keys: &'static [&'static str],
    /// The fields of the document that each event gets, unless it has them itself.
    pub(crate) shared: &'static [&'static str],
    /// The events that do not follow the protocol: their indexes, in ascending order, and the reasons.
    pub(crate) refused: Vec<(usize, String)>,
}

impl Adapted {
    /// Returns the events of a document as it was sent.
    pub(super) fn sent(text: &str, keys: &'static [&'static str], shared: &'static [&'static str]) -> Self {
        Self {
            text: text.to_owned(),
            keys,
            shared,
            refused: Vec::new(),
        }
    }
}

/// Writes a document, one event after the other.
#[derive(Debug)]
pub(super) struct DocumentWriter {
    text: String,
    count: usize,
    refused: Vec<(usize, String)>,
}

impl DocumentWriter {
    /// Begins a document whose events have this length in total, in bytes.
    pub(super) fn new(length: usize) -> Self {
        let mut text = String::with_capacity(length + 64);
        text.push_str("{\"");
        text.push_str(ITEMS);
        text.push_str("\":[");
        Self {
            text,
            count: 0,
            refused: Vec::new(),
        }
    }

    /// Returns the length of the document so far, in bytes.
    pub(super) const fn len(&self) -> usize {
        self.text.len()
    }

    /// Begins the next event. The caller writes it into the text.
    pub(super) fn item(&mut self) -> &mut String {
        if self.count > 0 {
            self.text.push(',');
        }
        self.count += 1;
        &mut self.text
    }

    /// Adds an event that does not follow the protocol, as it was sent.
    pub(super) fn refuse(&mut self, sent: &str, reason: String) {
        self.item().push_str(sent);
        self.refused.push((self.count - 1, reason));
    }

    /// Ends the document.
    pub(super) fn finish(mut self) -> Adapted {
        self.text.push_str("]}");
        Adapted {
            text: self.text,
            keys: &[ITEMS],
            shared: &[],
            refused: self.refused,
        }
    }

    /// Ends the document with the type of its events. An event's own type takes precedence.
    pub(super) fn finish_with_type(mut self, event_type: &str) -> Adapted {
        self.text.push_str("],\"type\":");
        json::write_string(&mut self.text, event_type);
        self.text.push('}');
        Adapted {
            text: self.text,
            keys: &[ITEMS],
            shared: &["type"],
            refused: self.refused,
        }
    }
}

/// Writes the fields of an object.
#[derive(Debug)]
pub(super) struct ObjectWriter<'t> {
    text: &'t mut String,
    is_empty: bool,
}

impl<'t> ObjectWriter<'t> {
    /// Begins an object.
    pub(super) fn new(text: &'t mut String) -> Self {
        text.push('{');
        Self { text, is_empty: true }
    }

    /// Continues an object that has begun; `has_fields` is whether it has fields already.
    pub(super) const fn continued(text: &'t mut String, has_fields: bool) -> Self {
        Self {
            text,
            is_empty: !has_fields,
        }
    }

    /// Begins a field. The caller writes its value into the text.
    pub(super) fn field(&mut self, name: &str) -> &mut String {
        if !self.is_empty {
            self.text.push(',');
        }
        self.is_empty = false;
        json::write_string(self.text, name);
        self.text.push(':');
        self.text
    }

    /// Writes a field with a text.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        json::write_string(self.field(name), value);
    }

    /// Writes a field with JSON.
    pub(super) fn json(&mut self, name: &str, value: &str) {
        self.field(name).push_str(value);
    }

    /// Ends the object.
    pub(super) fn finish(self) {
        self.text.push('}');
    }
}
