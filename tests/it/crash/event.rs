//! Numbered events: the number determines the whole payload, so each row can be compared with the
//! event that was sent.

use super::random::Random;

/// The maximum length of a random text, in characters.
const MAX_TEXT: u64 = 24;

/// Characters that some encoding on the way treats specially, and ordinary ones.
const CHARACTERS: [char; 16] = [
    'a', 'Z', '7', ' ', '"', '\\', '\'', '`', '\t', '\n', '\r', '\0', '%', 'ж', '\u{2028}', '😀',
];

/// A route whose events carry a number.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub path: &'static str,
    /// The key of the number.
    pub key: &'static str,
    /// The keys of the random texts.
    pub texts: &'static [&'static str],
    /// The length of one more text, whose key is [`PADDING`]; 0 for no such text.
    pub padding: usize,
    /// The number of events in a request.
    pub lines: u64,
}

/// The key of the text whose length is [`Target::padding`].
pub const PADDING: &str = "detailed";

impl Target {
    /// Returns the payload of an event as pairs of key and text, sorted by key.
    pub fn payload(&self, number: u64) -> Vec<(String, String)> {
        let mut random = Random::new(number);
        let texts = self.texts.iter().map(|key| ((*key).to_owned(), text(&mut random)));
        let mut payload: Vec<_> = texts.collect();
        payload.push((self.key.to_owned(), number.to_string()));
        if self.padding > 0 {
            payload.push((PADDING.to_owned(), "x".repeat(self.padding)));
        }
        payload.sort();
        payload
    }

    /// Returns an event as a JSON object.
    pub fn json(&self, number: u64) -> String {
        let payload = self.payload(number);
        let object: serde_json::Map<_, _> = payload.into_iter().map(|(key, text)| (key, text.into())).collect();
        serde_json::Value::Object(object).to_string()
    }
}

fn text(random: &mut Random) -> String {
    let length = random.below(MAX_TEXT + 1);
    (0..length)
        .map(|_| CHARACTERS[random.below(CHARACTERS.len() as u64) as usize])
        .collect()
}
