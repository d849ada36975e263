//! An error message of ClickHouse: its readable part, and the piece of SQL that it names.

use std::ops::Range;

/// The most bytes of a message that a report shows.
const MAX_BYTES: usize = 400;

/// The ends of messages about the configuration of a server, which the user's server may have.
const CONFIGURATION: [&str; 7] = [
    "(CLUSTER_DOESNT_EXIST)",
    "(NO_ELEMENTS_IN_CONFIG)",
    "(SETTING_CONSTRAINT_VIOLATION)",
    "(UNKNOWN_DATABASE)",
    "(UNKNOWN_DISK)",
    "(UNKNOWN_POLICY)",
    "(UNKNOWN_VOLUME)",
];

/// Text before the statement that a message repeats.
const SCOPE: [&str; 3] = [". In scope ", ": In scope ", " in scope "];

/// Text before the name of a function, a column or a setting.
const BEFORE_NAME: [&str; 6] = [
    "with name ",
    "function ",
    "identifier ",
    "column ",
    "setting ",
    "position ",
];

/// A message of ClickHouse that refuses a statement.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The message without the code before it and the version after it.
    text: String,
}

impl Refusal {
    pub(super) fn new(message: &str) -> Self {
        let message = message.trim();
        let message = message
            .split_once("DB::Exception: ")
            .map_or(message, |(_, message)| message);
        let message = message.split(" (version ").next().unwrap_or(message);
        Self {
            text: message.to_owned(),
        }
    }

    /// Returns the message in one line, without the statement that it repeats.
    pub(super) fn text(&self) -> String {
        let mut text = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(end) = text.find(" Expected one of: ") {
            text.truncate(end);
        }
        let scope = SCOPE.iter().find_map(|word| text.find(word));
        if let Some(start) = scope {
            let rest = &text[start..];
            let end = rest.find(". Maybe you meant").or_else(|| rest.rfind(". ("));
            let end = end.or_else(|| rest.rfind(" (")).unwrap_or(rest.len());
            text.replace_range(start..start + end, "");
        }
        if text.len() > MAX_BYTES {
            let end = (0..=MAX_BYTES).rev().find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or_default());
            text.push('…');
        }
        text
    }

    /// Returns whether the server lacks something that another server may have in its
    /// configuration.
    pub(super) fn is_about_configuration(&self) -> bool {
        CONFIGURATION.iter().any(|end| self.text.contains(end))
    }

    pub(super) fn is_unknown_function(&self) -> bool {
        self.text.contains("(UNKNOWN_FUNCTION)")
    }

    /// Returns the bytes of the first piece of the SQL that the message names, if there is one.
    pub(super) fn place_in(&self, sql: &str) -> Option<Range<usize>> {
        self.names().into_iter().find_map(|name| word_in(sql, name))
    }

    /// Returns the quoted texts of the message and the words after certain others, in their order.
    fn names(&self) -> Vec<&str> {
        let text = &self.text;
        let mut found: Vec<(usize, &str)> = Vec::new();
        for quote in ['`', '\''] {
            let mut quotes = text.match_indices(quote).map(|(at, _)| at);
            while let (Some(start), Some(end)) = (quotes.next(), quotes.next()) {
                found.extend(text.get(start + 1..end).map(|name| (start, name)));
            }
        }
        for before in BEFORE_NAME {
            for (at, _) in text.match_indices(before) {
                let rest = &text[at + before.len()..];
                // `failed at position 25 (foo)` has the token in brackets.
                let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                let rest = rest.trim_start_matches([' ', '(', '`', '\'']);
                let end = rest.find(|c: char| !(c.is_alphanumeric() || "_.".contains(c)));
                found.push((at, rest[..end.unwrap_or(rest.len())].trim_end_matches('.')));
            }
        }
        found.sort_by_key(|(at, _)| *at);
        found
            .into_iter()
            .map(|(_, name)| name)
            .filter(|name| !name.is_empty())
            .collect()
    }
}

/// Returns the bytes of a text that is not a part of a longer word.
fn word_in(sql: &str, word: &str) -> Option<Range<usize>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    sql.match_indices(word)
        .map(|(at, _)| at..at + word.len())
        .find(|range| {
            let before = sql[..range.start].chars().next_back();
            let after = sql[range.end..].chars().next();
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_to_what_a_reader_needs() {
        let refusal = Refusal::new(
            "Code: 47. DB::Exception: Unknown expression identifier `nam` in scope SELECT nam FROM t. \
             Maybe you meant: ['name']. (UNKNOWN_IDENTIFIER) (version 26.7.2.1 (official build))\n",
        );
        assert_eq!(
            refusal.text(),
            "Unknown expression identifier `nam`. Maybe you meant: ['name']. (UNKNOWN_IDENTIFIER)"
        );
        assert_eq!(refusal.place_in("SELECT names, nam FROM t"), Some(14..17));
        assert_eq!(refusal.place_in("SELECT 1"), None);
    }

    #[test]
    fn the_token_of_a_syntax_error_is_found() {
        let refusal =
            Refusal::new("Code: 62. DB::Exception: Syntax error: failed at position 25 (FORM) (line 2, col 5): FORM t");
        assert_eq!(refusal.place_in("SELECT 1 FORM t"), Some(9..13));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let refusal = Refusal::new(&"ж".repeat(MAX_BYTES));
        assert!(refusal.text().len() <= MAX_BYTES + '…'.len_utf8());
    }
}
