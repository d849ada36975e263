//! The dead letters of a person: those whose payload, reason or path has the value.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use clickhouse::{Client, Row};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
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
        // The only query with the value, which no log of ClickHouse should have.
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
        let spellings = spellings(self.value);
        let in_row = format!("position(payload, {}) > 0", text_of_row(self.value));
        let words: Vec<_> = spellings.iter().map(|text| escaped(text)).collect();
        let word = quoted(&format!("(^|[^0-9A-Za-z_])({})($|[^0-9A-Za-z_])", words.join("|")));
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

/// Returns the texts that stand for a value: as it is, and as JSON and a query may spell it.
fn spellings(value: &str) -> BTreeSet<String> {
    let json = serde_json::Value::from(value).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let mut ascii = String::new();
    for c in json.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    let encoded = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
    // Browsers leave these as they are, and a form writes a space as a plus.
    let kept = [("%2D", "-"), ("%2E", "."), ("%5F", "_"), ("%7E", "~"), ("%2A", "*")];
    let of_browsers = kept
        .iter()
        .fold(encoded.clone(), |text, (code, c)| text.replace(code, c));
    let with_at = of_browsers.replace("%40", "@");
    let of_forms = of_browsers.replace("%20", "+");
    let slashes = json.replace('/', "\\/");
    [
        value.to_owned(),
        json,
        ascii,
        encoded,
        of_browsers,
        with_at,
        of_forms,
        slashes,
    ]
    .into()
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

/// Escapes a text for a regular expression.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
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
    fn a_value_has_the_spellings_of_json_and_queries() {
        let all = spellings("é b/c@d");
        for expected in [
            "é b/c@d",
            "\\u00e9 b/c@d",
            "é b\\/c@d",
            "%C3%A9%20b%2Fc%40d",
            "%C3%A9%20b%2Fc@d",
            "%C3%A9+b%2Fc%40d",
        ] {
            assert!(all.contains(expected), "{expected}: {all:?}");
        }
        assert_eq!(spellings("abc").len(), 1);
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
        assert_eq!(escaped("a.b+c'\\"), "a\\.b\\+c\\'\\\\");
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
