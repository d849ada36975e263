//! The parts of a table's definition, read from the text of `SHOW CREATE TABLE`
//! ([ClickHouse](https://clickhouse.com/docs/sql-reference/statements/show#show-create-table)).
//!
//! ClickHouse writes each definition in one form: columns and other elements in brackets, then one
//! clause a line. Two definitions that mean the same therefore have the same text.

use std::collections::BTreeMap;

/// The definition of a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Definition {
    /// The columns, in their order.
    pub(super) columns: Vec<ColumnDefinition>,
    /// The indexes, projections and constraints, by `INDEX name` and so on, and the text after
    /// that.
    pub(super) elements: BTreeMap<String, String>,
    /// The clauses after the brackets, by their keywords, such as `ORDER BY`.
    pub(super) clauses: BTreeMap<&'static str, String>,
}

/// The definition of a column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ColumnDefinition {
    /// The name, unquoted.
    pub(super) name: String,
    pub(super) data_type: String,
    /// The source and its expression, such as `DEFAULT now()`, or an empty text.
    pub(super) source: String,
    /// The comment as a literal, or an empty text.
    pub(super) comment: String,
    /// The text in the brackets of `CODEC`, or an empty text.
    pub(super) codec: String,
    /// The expression of the TTL, or an empty text.
    pub(super) ttl: String,
    /// The text in the brackets of `STATISTICS` and of `SETTINGS`, and any other text.
    pub(super) rest: String,
}

/// The clauses after the brackets, as ClickHouse orders them.
const CLAUSES: [&str; 8] = [
    "ENGINE =",
    "PARTITION BY",
    "PRIMARY KEY",
    "ORDER BY",
    "SAMPLE BY",
    "TTL",
    "SETTINGS",
    "COMMENT",
];

impl Definition {
    /// Reads the text of a statement that creates a table. Returns `None` if the text has another
    /// form, for example that of a view.
    pub(super) fn parse(statement: &str) -> Option<Self> {
        let open = statement.find("\n(")? + 2;
        let (body, rest) = split_at_close(statement.get(open..)?)?;
        let mut definition = Self::default();
        for entry in split(body, ',') {
            if entry.starts_with('`') {
                definition.columns.push(ColumnDefinition::parse(entry)?);
            } else {
                let (kind, named) = entry.split_once(' ')?;
                let (name, text) = name_and_rest(named)?;
                definition.elements.insert(format!("{kind} {name}"), one_line(text));
            }
        }
        let mut last = None;
        for line in rest.lines() {
            let starts = |keyword: &&&'static str| line.starts_with(**keyword);
            if let Some(keyword) = CLAUSES.iter().find(starts) {
                let text = line.get(keyword.len()..)?.trim().to_owned();
                definition.clauses.insert(keyword, text);
                last = Some(*keyword);
            } else if let Some(text) = last.and_then(|keyword| definition.clauses.get_mut(keyword)) {
                // A clause of several rules has one rule a line.
                text.push(' ');
                text.push_str(line.trim());
            }
        }
        Some(definition)
    }

    /// Returns a clause, or an empty text.
    pub(super) fn clause(&self, keyword: &str) -> &str {
        self.clauses.get(keyword).map_or("", |text| text.trim())
    }

    /// Returns the settings by their names.
    pub(super) fn settings(&self) -> BTreeMap<&str, &str> {
        let settings = split(self.clause("SETTINGS"), ',');
        settings
            .filter_map(|setting| setting.split_once('='))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect()
    }

    /// Returns the family of the table's engine and its own arguments, both without the parts that
    /// make it replicated.
    pub(super) fn engine(&self) -> String {
        unreplicated(self.clause("ENGINE ="))
    }
}

/// The keywords after a column's type.
const KEYWORDS: [&str; 10] = [
    "DEFAULT",
    "MATERIALIZED",
    "EPHEMERAL",
    "ALIAS",
    "COMMENT",
    "CODEC",
    "STATISTICS",
    "TTL",
    "SETTINGS",
    "PRIMARY",
];

impl ColumnDefinition {
    /// Reads the text of a column in a statement that creates a table.
    pub(super) fn parse(entry: &str) -> Option<Self> {
        let (name, text) = name_and_rest(entry)?;
        let mut column = Self {
            name,
            ..Self::default()
        };
        let mut part = &mut column.data_type;
        for word in words(text) {
            let keyword = word.split('(').next().unwrap_or_default();
            if KEYWORDS.contains(&keyword) {
                let text = word.get(keyword.len()..).unwrap_or_default();
                part = match keyword {
                    "DEFAULT" | "MATERIALIZED" | "EPHEMERAL" | "ALIAS" => {
                        keyword.clone_into(&mut column.source);
                        &mut column.source
                    }
                    "COMMENT" => &mut column.comment,
                    "CODEC" => {
                        let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
                        one_line(inner.unwrap_or(text)).clone_into(&mut column.codec);
                        continue;
                    }
                    "TTL" => &mut column.ttl,
                    _ => {
                        push_word(&mut column.rest, word);
                        &mut column.rest
                    }
                };
            } else {
                push_word(part, word);
            }
        }
        Some(column)
    }
}

fn push_word(text: &mut String, word: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(&one_line(word));
}

/// Returns the engine without `Replicated` or `Shared` and the first two literals, which are the
/// path and the replica.
pub(super) fn unreplicated(engine: &str) -> String {
    let family = engine
        .strip_prefix("Replicated")
        .or_else(|| engine.strip_prefix("Shared"));
    let Some(family) = family else {
        return engine.to_owned();
    };
    let Some((name, arguments)) = family.split_once('(') else {
        return family.to_owned();
    };
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    let mut own: Vec<&str> = split(arguments, ',').collect();
    if own.len() >= 2 && own[..2].iter().all(|argument| argument.starts_with('\'')) {
        own.drain(..2);
    }
    if own.is_empty() {
        name.to_owned()
    } else {
        format!("{name}({})", own.join(", "))
    }
}

/// Returns a name, unquoted, and the text after it.
fn name_and_rest(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('`') else {
        let (name, rest) = text.split_once([' ', '\n']).unwrap_or((text, ""));
        return Some((name.to_owned(), rest.trim()));
    };
    let mut name = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.push(characters.next()?.1),
            '`' => return Some((name, quoted.get(at + 1..)?.trim())),
            _ => name.push(character),
        }
    }
    None
}

/// Returns the text up to the bracket that closes it, and the text after that.
pub(super) fn split_at_close(text: &str) -> Option<(&str, &str)> {
    let mut scan = Scan::default();
    for (at, byte) in text.bytes().enumerate() {
        if byte == b')' && scan.is_outside() {
            return Some((text.get(..at)?, text.get(at + 1..)?));
        }
        scan.advance(byte);
    }
    None
}

/// Returns the parts between separators outside of quotes and brackets, without the space around
/// them and without empty ones.
pub(super) fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut scan = Scan::default();
    text.split(move |character: char| {
        let is_outside = scan.is_outside();
        let mut buffer = [0; 4];
        character
            .encode_utf8(&mut buffer)
            .bytes()
            .for_each(|byte| scan.advance(byte));
        character == separator && is_outside
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

/// Returns the words outside of quotes and brackets.
fn words(text: &str) -> impl Iterator<Item = &str> {
    split(text, ' ')
}

/// Replaces each run of white space outside of quotes by one space, and removes it at brackets.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut scan = Scan::default();
    for character in text.trim().chars() {
        if !scan.is_quoted() && character.is_whitespace() {
            if !line.ends_with([' ', '(']) {
                line.push(' ');
            }
        } else {
            if character == ')' && !scan.is_quoted() && line.ends_with(' ') {
                line.pop();
            }
            line.push(character);
        }
        let mut buffer = [0; 4];
        character
            .encode_utf8(&mut buffer)
            .bytes()
            .for_each(|byte| scan.advance(byte));
    }
    line
}

/// The state between two bytes of SQL.
#[derive(Debug, Default)]
struct Scan {
    depth: usize,
    quote: Option<u8>,
    is_escaped: bool,
}

impl Scan {
    const fn is_outside(&self) -> bool {
        self.depth == 0 && self.quote.is_none()
    }

    const fn is_quoted(&self) -> bool {
        self.quote.is_some()
    }

    fn advance(&mut self, byte: u8) {
        if std::mem::take(&mut self.is_escaped) {
            return;
        }
        match (self.quote, byte) {
            (Some(_), b'\\') => self.is_escaped = true,
            (Some(quote), _) if quote == byte => self.quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'`' | b'"') => self.quote = Some(byte),
            (None, b'(' | b'[') => self.depth += 1,
            (None, b')' | b']') => self.depth = self.depth.saturating_sub(1),
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const STATEMENT: &str = "CREATE TABLE d.t\n(\n    `a` UInt8 COMMENT 'it\\'s, (x' CODEC(Delta(1), ZSTD(3)),\n    \
        `ts` DateTime('Europe/Berlin') DEFAULT now() + toIntervalDay(1),\n    `s` LowCardinality(String) TTL ts + toIntervalYear(1),\n    \
        `odd \\` name` Enum8('TTL' = 1, 'b' = 2),\n    INDEX i s TYPE bloom_filter GRANULARITY 2,\n    CONSTRAINT c CHECK a < 5,\n    \
        PROJECTION p\n    (\n        SELECT\n            s,\n            count()\n        GROUP BY s\n    )\n)\n\
        ENGINE = ReplicatedReplacingMergeTree('/clickhouse/{uuid}', '{replica}', a)\nPARTITION BY toYYYYMM(ts)\n\
        PRIMARY KEY ts\nORDER BY (ts, a)\nTTL ts + toIntervalDay(30),\n    ts + toIntervalDay(7) TO VOLUME 'cold'\n\
        SETTINGS index_granularity = 1024, x = 'a, b'\nCOMMENT 'hey'";

    #[test]
    fn each_part_of_a_definition_is_found() {
        let definition = Definition::parse(STATEMENT).unwrap();
        let [a, ts, s, odd] = &definition.columns[..] else {
            unreachable!("{definition:?}")
        };
        assert_eq!(
            (&*a.name, &*a.data_type, &*a.comment, &*a.codec),
            ("a", "UInt8", "'it\\'s, (x'", "Delta(1), ZSTD(3)")
        );
        assert_eq!(
            (&*ts.data_type, &*ts.source),
            ("DateTime('Europe/Berlin')", "DEFAULT now() + toIntervalDay(1)")
        );
        assert_eq!(
            (&*s.data_type, &*s.ttl),
            ("LowCardinality(String)", "ts + toIntervalYear(1)")
        );
        assert_eq!(
            (&*odd.name, &*odd.data_type),
            ("odd ` name", "Enum8('TTL' = 1, 'b' = 2)")
        );
        let elements: Vec<_> = definition
            .elements
            .iter()
            .map(|(name, text)| (&**name, &**text))
            .collect();
        assert_eq!(
            elements,
            [
                ("CONSTRAINT c", "CHECK a < 5"),
                ("INDEX i", "s TYPE bloom_filter GRANULARITY 2"),
                ("PROJECTION p", "(SELECT s, count() GROUP BY s)"),
            ]
        );
        assert_eq!(definition.engine(), "ReplacingMergeTree(a)");
        assert_eq!(
            definition.clause("TTL"),
            "ts + toIntervalDay(30), ts + toIntervalDay(7) TO VOLUME 'cold'"
        );
        assert_eq!(
            (definition.clause("ORDER BY"), definition.clause("SAMPLE BY")),
            ("(ts, a)", "")
        );
        let settings: Vec<_> = definition.settings().into_iter().collect();
        assert_eq!(settings, [("index_granularity", "1024"), ("x", "'a, b'")]);
    }

    #[test]
    fn other_texts_are_not_parsed() {
        for text in ["", "CREATE VIEW v AS SELECT 1", "CREATE TABLE t\n(\n    `a` UInt8"] {
            assert_eq!(Definition::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_engine_is_the_same_with_replicas() {
        for (engine, expected) in [
            ("MergeTree", "MergeTree"),
            ("ReplicatedMergeTree", "MergeTree"),
            ("SharedMergeTree('/p', '{r}')", "MergeTree"),
            ("ReplicatedSummingMergeTree((a, b))", "SummingMergeTree((a, b))"),
            (
                "VersionedCollapsingMergeTree(sign, v)",
                "VersionedCollapsingMergeTree(sign, v)",
            ),
        ] {
            assert_eq!(unreplicated(engine), expected);
        }
    }
}
