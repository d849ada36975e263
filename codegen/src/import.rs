//! Import: an existing table of ClickHouse becomes YAML.
//!
//! The input is the text of [`SHOW CREATE TABLE`], which has one form for all tables: the columns and
//! other elements in brackets, then one clause per line. The import therefore parses no SQL: a
//! column's line is its declaration in the short form.
//!
//! [`SHOW CREATE TABLE`]: https://clickhouse.com/docs/sql-reference/statements/show#show-create-table

/// A table of ClickHouse as YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedTable {
    /// The table's name, without its database.
    pub name: String,
    /// The schema file: the table, and a route to it.
    pub yaml: String,
    /// The elements of the table that YAML cannot express, as ClickHouse prints them.
    pub untranslated: Vec<String>,
}

/// The clauses after the brackets, with their keys in `_options`.
const CLAUSES: [(&str, &str); 8] = [
    ("ENGINE = ", "engine"),
    ("PARTITION BY ", "partition_by"),
    ("PRIMARY KEY ", "primary_key"),
    ("ORDER BY ", "order_by"),
    ("SAMPLE BY ", "sample_by"),
    ("TTL ", "ttl"),
    ("SETTINGS ", "settings"),
    ("COMMENT ", "comment"),
];

/// The setting that ClickHouse prints for each MergeTree, with its default.
const DEFAULT_SETTING: (&str, &str) = ("index_granularity", "8192");

/// Turns the text of `SHOW CREATE TABLE` into YAML. Returns `None` if the text is not that of a
/// table with columns, for example that of a view.
pub fn import_table(statement: &str) -> Option<ImportedTable> {
    let head = statement.trim_start().strip_prefix("CREATE TABLE ")?;
    let open = unquoted(head).find(|(_, c)| *c == '(').map(|(at, _)| at)?;
    let name = last_name(head[..open].trim())?;
    let (body, rest) = split_at_close(&head[open + 1..])?;

    let (mut columns, mut indexes, mut projections) = (Vec::new(), Vec::new(), Vec::new());
    let mut constraints = Vec::new();
    let mut untranslated = Vec::new();
    for entry in split(body) {
        let entry = one_line(entry);
        let element = ["INDEX ", "CONSTRAINT ", "PROJECTION "]
            .iter()
            .find_map(|keyword| Some((*keyword, name_and_rest(entry.strip_prefix(keyword)?)?)));
        match element {
            Some(("INDEX ", named)) => indexes.push(named),
            Some(("CONSTRAINT ", named)) => constraints.push(named),
            Some((_, (name, text))) => match projection(&text) {
                Some(text) => projections.push((name, text)),
                None => untranslated.push(entry),
            },
            None if entry.starts_with('`') => columns.push(name_and_rest(&entry)?),
            None => untranslated.push(entry),
        }
    }
    let options = options(rest)?;

    let mut yaml = String::from("clickhouse:\n  destinations:\n");
    yaml.push_str(&format!(
        "    {}: {}\n\n  tables:\n    {}:\n",
        scalar(&format!("wh/{}", path_name(&name))),
        scalar(&name),
        scalar(&name)
    ));
    for element in &untranslated {
        yaml.push_str(&format!("      # Not translated: {element}\n"));
    }
    for (column, declaration) in &columns {
        yaml.push_str(&format!("      {}: {}\n", scalar(column), scalar(declaration)));
    }
    yaml.push_str("      _options:\n");
    for (key, value) in options {
        yaml.push_str(&format!("        {key}: {value}\n"));
    }
    for (key, elements) in [
        ("indexes", indexes),
        ("projections", projections),
        ("constraints", constraints),
    ] {
        if !elements.is_empty() {
            yaml.push_str(&format!("        {key}:\n"));
        }
        for (name, text) in elements {
            yaml.push_str(&format!("          {}: {}\n", scalar(&name), scalar(&text)));
        }
    }
    Some(ImportedTable {
        name,
        yaml,
        untranslated,
    })
}

/// Returns a table's name as a part of a path.
fn path_name(name: &str) -> String {
    let is_path = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.chars().map(|c| if is_path(c) { c } else { '_' }).collect()
}

/// Returns the keys of `_options` with their values in YAML.
fn options(rest: &str) -> Option<Vec<(&'static str, String)>> {
    let mut clauses: Vec<(&str, String)> = Vec::new();
    for line in rest.lines() {
        if let Some((keyword, key)) = CLAUSES.iter().find(|(keyword, _)| line.starts_with(keyword)) {
            clauses.push((key, line[keyword.len()..].trim().to_owned()));
        } else if let Some((_, text)) = clauses.last_mut() {
            // A clause of several parts has one part per line.
            text.push(' ');
            text.push_str(line.trim());
        }
    }
    let mut options = Vec::new();
    for (key, text) in clauses {
        let value = match key {
            "settings" => match settings(&text)? {
                settings if settings.is_empty() => continue,
                settings => settings,
            },
            "comment" => scalar(&literal(&text)?),
            "engine" => scalar(&unquoted_engine(&text)),
            "order_by" | "primary_key" => key_list(&text).unwrap_or_else(|| scalar(&text)),
            _ => scalar(&text),
        };
        options.push((key, value));
    }
    Some(options)
}

/// Returns an engine without the backticks that ClickHouse puts around the name `Null`.
fn unquoted_engine(text: &str) -> String {
    let quoted = text.strip_prefix('`').and_then(|rest| rest.split_once('`'));
    quoted.map_or_else(|| text.to_owned(), |(name, arguments)| format!("{name}{arguments}"))
}

fn settings(text: &str) -> Option<String> {
    let mut settings = Vec::new();
    for setting in split(text) {
        let (name, value) = setting.split_once(" = ")?;
        if (name, value) != DEFAULT_SETTING {
            settings.push(format!("{name}: {}", flow_scalar(value)));
        }
    }
    Some(match settings.is_empty() {
        true => String::new(),
        false => format!("{{ {} }}", settings.join(", ")),
    })
}

/// Returns a key of several simple elements as a list in YAML.
fn key_list(text: &str) -> Option<String> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let elements: Vec<&str> = split(inner).collect();
    let is_simple = |element: &&str| element.chars().all(|c| c.is_ascii_alphanumeric() || "_.()".contains(c));
    let is_list = elements.len() > 1 && elements.iter().all(is_simple) && elements.iter().all(|text| is_plain(text));
    is_list.then(|| format!("[{}]", elements.join(", ")))
}

/// Returns the text of a projection without the brackets around its query. A projection with
/// settings of its own has no form in YAML.
fn projection(text: &str) -> Option<String> {
    if text.starts_with("INDEX ") {
        return Some(text.to_owned());
    }
    let (query, rest) = split_at_close(text.strip_prefix('(')?)?;
    rest.trim().is_empty().then(|| query.trim().to_owned())
}

/// Returns a text as a YAML value or key in block style.
fn scalar(text: &str) -> String {
    let is_safe = is_plain(text) && !text.contains(": ") && !text.contains(" #") && !text.ends_with(':');
    match is_safe {
        true => text.to_owned(),
        false => double_quoted(text),
    }
}

/// Returns a text as a YAML value inside braces.
fn flow_scalar(text: &str) -> String {
    match text.contains([',', '[', ']', '{', '}', ':', '#']) {
        true => double_quoted(text),
        false => scalar(text),
    }
}

/// Returns whether YAML may read a text without quotes as this string. A text with `: `, ` #` or
/// brackets may still need quotes.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 11] = [
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf",
    ];
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '(')
        || text.parse::<u64>().is_ok_and(|number| number.to_string() == text);
    begins
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && !text.ends_with(' ')
        && !text.chars().any(|c| c.is_control())
}

/// Returns a text between double quotes, with the escapes that YAML and JSON share.
fn double_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns the last name of `database.table`, unquoted.
fn last_name(text: &str) -> Option<String> {
    let dot = unquoted(text).filter(|(_, c)| *c == '.').last();
    let name = dot.map_or(text, |(at, _)| &text[at + 1..]);
    Some(name_and_rest(name)?.0)
}

/// Returns the name at the beginning of a text, unquoted, and the text after it.
fn name_and_rest(text: &str) -> Option<(String, String)> {
    let Some(quoted) = text.strip_prefix('`') else {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        return Some((name.to_owned(), rest.trim().to_owned()));
    };
    let (name, end) = unescaped(quoted, '`')?;
    Some((name, quoted[end..].trim().to_owned()))
}

/// Returns the value of a string literal.
fn literal(text: &str) -> Option<String> {
    let (value, end) = unescaped(text.strip_prefix('\'')?, '\'')?;
    (end == text.len() - 1).then_some(value)
}

/// Returns the text before a closing quote without its escapes, and the offset after the quote.
fn unescaped(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                c => c,
            }),
            c if c == quote => return Some((value, at + c.len_utf8())),
            c => value.push(c),
        }
    }
    None
}

/// Returns the characters outside of quotes, with their offsets.
fn unquoted(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quote, mut is_escaped) = (None, false);
    text.char_indices().filter(move |(_, c)| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        match quote {
            Some(open) => {
                is_escaped = *c == '\\';
                if open == *c {
                    quote = None;
                }
                false
            }
            None if matches!(c, '\'' | '`' | '"') => {
                quote = Some(*c);
                false
            }
            None => true,
        }
    })
}

/// Returns the text up to the bracket that closes it, and the text after the bracket.
fn split_at_close(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    for (at, c) in unquoted(text) {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Some((&text[..at], &text[at + 1..])),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Splits at the commas outside of brackets and quotes.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let (mut depth, mut start) = (0_i64, 0);
    let mut parts = Vec::new();
    for (at, c) in unquoted(text) {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty())
}

/// Replaces each line break and the space after it by one space, or by none at a bracket. Literals
/// have no line breaks: ClickHouse escapes them.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if !line.is_empty() && !line.ends_with('(') && !part.starts_with(')') {
            line.push(' ');
        }
        line.push_str(part);
    }
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::generate_texts;

    const STATEMENT: &str = "CREATE TABLE shop.visits\n(\n    `id` UInt64,\n    `at` DateTime64(3) DEFAULT now64(3) COMMENT 'it\\'s, (when): # so' \
        CODEC(Delta(8), ZSTD(1)),\n    `no` LowCardinality(String),\n    `on set`  Enum8('a, b' = 1, 'c' = 2),\n    \
        `tags.key` Array(String),\n    INDEX by_no no TYPE set(100) GRANULARITY 4,\n    CONSTRAINT c CHECK id > 0,\n    PROJECTION by_at\n    \
        (\n        SELECT\n            at,\n            count()\n        GROUP BY at\n    ),\n    PROJECTION p INDEX no TYPE basic,\n    PROJECTION q (SELECT no) WITH SETTINGS (index_granularity = 512)\n)\n\
        ENGINE = MergeTree\nPARTITION BY toYYYYMM(at)\nPRIMARY KEY (id, no)\nORDER BY (id, no, at)\n\
        TTL toDateTime(at) + toIntervalDay(30),\n    toDateTime(at) + toIntervalDay(7) TO VOLUME 'cold'\n\
        SETTINGS index_granularity = 8192, storage_policy = 'tiered', min_bytes_for_wide_part = 0\nCOMMENT 'All\\nvisits'";

    const YAML: &str = r#"clickhouse:
  destinations:
    wh/visits: visits

  tables:
    visits:
      # Not translated: PROJECTION q (SELECT no) WITH SETTINGS (index_granularity = 512)
      id: UInt64
      at: "DateTime64(3) DEFAULT now64(3) COMMENT 'it\\'s, (when): # so' CODEC(Delta(8), ZSTD(1))"
      "no": LowCardinality(String)
      on set: Enum8('a, b' = 1, 'c' = 2)
      tags.key: Array(String)
      _options:
        engine: MergeTree
        partition_by: toYYYYMM(at)
        primary_key: [id, "#;

    #[test]
    fn each_part_of_a_table_is_imported() {
        let table = import_table(STATEMENT).unwrap();
        assert_eq!(table.name, "visits");
        assert_eq!(
            table.untranslated,
            ["PROJECTION q (SELECT no) WITH SETTINGS (index_granularity = 512)"]
        );
        assert!(
            table.yaml.starts_with(YAML.trim_end_matches("primary_key: [id, ")),
            "{}",
            table.yaml
        );
        for line in [
            "primary_key: (id, no)",
            "order_by: (id, no, at)",
            "ttl: toDateTime(at) + toIntervalDay(30), toDateTime(at) + toIntervalDay(7) TO VOLUME 'cold'",
            "settings: { storage_policy: \"'tiered'\", min_bytes_for_wide_part: 0 }",
            "comment: \"All\\nvisits\"",
            "  by_no: no TYPE set(100) GRANULARITY 4",
            "  by_at: SELECT at, count() GROUP BY at",
            "  p: INDEX no TYPE basic",
            "  c: CHECK id > 0",
        ] {
            assert!(
                table.yaml.lines().any(|found| found.trim_start() == line.trim_start()),
                "{line}: {}",
                table.yaml
            );
        }
    }

    #[test]
    fn an_imported_table_is_a_schema() {
        let table = import_table(STATEMENT).unwrap();
        let generated = generate_texts([("visits.yml", table.yaml)]);
        assert_eq!(generated.problems.errors, []);
        assert_eq!(generated.statements.len(), 1);
        assert!(generated.statements[0].contains("COMMENT 'it\\'s, (when): # so' CODEC(Delta(8), ZSTD(1))"));
    }

    #[test]
    fn the_engine_null_is_a_text() {
        let table = import_table("CREATE TABLE d.t\n(\n    `a` UInt8\n)\nENGINE = `Null`").unwrap();
        assert!(table.yaml.contains("        engine: \"Null\"\n"), "{}", table.yaml);
        assert_eq!(generate_texts([("t.yml", table.yaml)]).problems.errors, []);
    }

    #[test]
    fn other_statements_are_not_imported() {
        for text in [
            "",
            "CREATE VIEW v AS SELECT 1",
            "CREATE TABLE t\n(\n    `a` UInt8",
            "CREATE MATERIALIZED VIEW v TO t (`a` UInt8) AS SELECT 1",
        ] {
            assert_eq!(import_table(text), None, "{text}");
        }
    }
}
