//! The dead letters of a person: those whose payload, reason or path has the value.

use std::time::Duration;

use clickhouse::{Client, Row};
use serde::Deserialize;

use crate::{
    leb128::put_length,
    store::{ClickHouseError, within},
    table::dead_letter::REJECTED,
};

/// The maximum number of dead letters that one statement deletes.
const PER_STATEMENT: usize = 1000;

/// The minimum length of a value that is searched as a word among the binary values of a row, where a
/// shorter one may stand by chance.
const MIN_WORD_IN_ROW: usize = 6;

/// The dead letters with the value of a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgottenDeadLetters {
    keys: Vec<Key>,
    /// Whether the database has their table.
    exist: bool,
}

/// The columns that identify a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
struct Key {
    unix_ms: i64,
    id: u64,
    payload_hash: u64,
}

impl ForgottenDeadLetters {
    /// Returns their number.
    pub fn count(&self) -> u64 {
        self.keys.len() as u64
    }

    /// Returns whether the database has their table.
    pub(super) fn exist(&self) -> bool {
        self.exist
    }

    /// Returns the statements that delete them.
    pub fn statements(&self) -> impl Iterator<Item = String> {
        self.keys.chunks(PER_STATEMENT).map(|keys| {
            let keys: Vec<_> = keys
                .iter()
                .map(
                    |Key {
                         unix_ms,
                         id,
                         payload_hash,
                     }| format!("({unix_ms}, {id}, {payload_hash})"),
                )
                .collect();
            format!(
                "ALTER TABLE `{}` DELETE WHERE (toUnixTimestamp64Milli(time), id, payload_hash) IN ({}) \
                 SETTINGS mutations_sync = 2",
                REJECTED.name,
                keys.join(", ")
            )
        })
    }
}

/// The search for the dead letters of a person.
pub(super) struct DeadLetterSearch<'s> {
    pub(super) client: &'s Client,
    pub(super) value: &'s str,
    pub(super) table: Option<&'s str>,
    pub(super) timeout: Duration,
}

impl DeadLetterSearch<'_> {
    pub(super) async fn find(&self) -> Result<ForgottenDeadLetters, ClickHouseError> {
        // The only query with the value. The setting keeps it out of `query_log`, though not out of the
        // text log of a server at `debug`.
        let client = self.client.clone().with_setting("log_queries", "0");
        let query = client.query_raw(&self.query());
        Ok(ForgottenDeadLetters {
            keys: within(self.timeout, query.fetch_all()).await?,
            exist: true,
        })
    }

    /// Returns the query. In a payload of text, the value is a whole word. In a row, whose values follow
    /// each other without separators, it is a whole text, whose length stands before it, or a word of
    /// some length.
    fn query(&self) -> String {
        let in_row = format!("position(payload, {}) > 0", text_of_row(self.value));
        let word = quoted(&word(self.value));
        let of_table = match self.table {
            None => String::new(),
            // Without a table, the event may have been for any.
            Some(table) => format!(" AND (`table` IN ('', {}))", quoted(table)),
        };
        let only_text = if self.value.len() < MIN_WORD_IN_ROW {
            "payload_format = '' AND "
        } else {
            ""
        };
        format!(
            "SELECT toUnixTimestamp64Milli(time) AS unix_ms, id, payload_hash FROM `{}` WHERE \
             ({only_text}match(payload, {word}) OR match(reason, {word}) OR match(name, {word}) \
             OR payload_format != '' AND {in_row}){of_table}",
            REJECTED.name
        )
    }
}

/// Returns the expression for a value as a word: before it, there may be an escape, which ends in a
/// letter or a digit.
fn word(value: &str) -> String {
    const BEFORE: &str = r"(^|[^0-9A-Za-z_]|%[0-9A-Fa-f]{2}|\\[bfnrt]|\\u[0-9A-Fa-f]{4})";
    let value: String = value.chars().map(spellings).collect();
    format!("{BEFORE}({value})($|[^0-9A-Za-z_])")
}

/// Returns the expression for a character: as it is, and as JSON, a query and a form may spell it.
fn spellings(c: char) -> String {
    if c.is_ascii_alphanumeric() {
        return c.to_string();
    }
    let as_it_is = escaped(c);
    let short = match c {
        '"' | '\\' | '/' => format!(r"|\\{as_it_is}"),
        '\n' => r"|\\n".to_owned(),
        '\r' => r"|\\r".to_owned(),
        '\t' => r"|\\t".to_owned(),
        ' ' => r"|\+".to_owned(),
        _ => String::new(),
    };
    let bytes = c.encode_utf8(&mut [0; 4]).bytes().fold(String::new(), |all, byte| {
        all + "%" + &in_any_case(&format!("{byte:02X}"))
    });
    let units = c.encode_utf16(&mut [0; 2]).iter().fold(String::new(), |all, unit| {
        all + r"\\u" + &in_any_case(&format!("{unit:04X}"))
    });
    format!("(?:{as_it_is}{short}|{bytes}|{units})")
}

/// Returns the expression for hexadecimal digits in capitals or small letters.
fn in_any_case(digits: &str) -> String {
    let digit = |c: char| match c {
        '0'..='9' => c.to_string(),
        _ => format!("[{c}{}]", c.to_ascii_lowercase()),
    };
    digits.chars().map(digit).collect()
}

/// Returns the expression of a text in RowBinary: its length in LEB128, and its bytes.
fn text_of_row(text: &str) -> String {
    let mut length = Vec::new();
    put_length(&mut length, text.len());
    let length: String = length.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("concat(unhex('{length}'), {})", quoted(text))
}

/// Quotes a text for ClickHouse's SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Escapes a character for a regular expression.
fn escaped(c: char) -> String {
    if c.is_ascii_punctuation() {
        format!("\\{c}")
    } else {
        c.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(value: &str) -> String {
        let search = DeadLetterSearch {
            client: &Client::default(),
            value,
            table: None,
            timeout: Duration::ZERO,
        };
        search.query()
    }

    #[test]
    fn a_character_has_the_spellings_of_json_and_queries() {
        for (c, expected) in [
            ('a', "a"),
            ('é', r"(?:é|%[Cc]3%[Aa]9|\\u00[Ee]9)"),
            ('/', r"(?:\/|\\\/|%2[Ff]|\\u002[Ff])"),
            (' ', r"(?: |\+|%20|\\u0020)"),
            ('+', r"(?:\+|%2[Bb]|\\u002[Bb])"),
            ('\\', r"(?:\\|\\\\|%5[Cc]|\\u005[Cc])"),
            ('😀', r"(?:😀|%[Ff]0%9[Ff]%98%80|\\u[Dd]83[Dd]\\u[Dd][Ee]00)"),
        ] {
            assert_eq!(spellings(c), expected, "{c}");
        }
    }

    #[test]
    fn a_word_may_follow_an_escape() {
        assert_eq!(
            word("ann@x"),
            r"(^|[^0-9A-Za-z_]|%[0-9A-Fa-f]{2}|\\[bfnrt]|\\u[0-9A-Fa-f]{4})(ann(?:\@|%40|\\u0040)x)($|[^0-9A-Za-z_])"
        );
    }

    #[test]
    fn a_text_of_a_row_has_its_length() {
        assert_eq!(text_of_row("ann@x.io"), "concat(unhex('08'), 'ann@x.io')");
        assert!(text_of_row(&"a".repeat(300)).starts_with("concat(unhex('AC02'), 'aaa"));
        let query = query("7");
        assert!(query.contains("(payload_format = '' AND match(payload, "), "{query}");
        assert!(
            query.contains("payload_format != '' AND position(payload, concat(unhex('01'), '7')) > 0"),
            "{query}"
        );
        assert!(!query.contains("position(payload, '7')"), "{query}");
        assert!(self::query("ann@x.io").contains("WHERE (match(payload, "));
    }

    #[test]
    fn a_value_is_no_expression() {
        assert_eq!([escaped('.'), escaped('\\'), escaped('b')], ["\\.", "\\\\", "b"]);
        assert_eq!(quoted("a'\\"), "'a\\'\\\\'");
    }

    #[test]
    fn a_statement_deletes_a_bounded_number() {
        let key = Key {
            unix_ms: 1,
            id: 2,
            payload_hash: 3,
        };
        let dead_letters = ForgottenDeadLetters {
            keys: vec![key; PER_STATEMENT + 1],
            exist: true,
        };
        let statements: Vec<_> = dead_letters.statements().collect();
        assert_eq!(statements.len(), 2);
        assert!(statements[1].contains("IN ((1, 2, 3)) SETTINGS"), "{}", statements[1]);
    }
}
