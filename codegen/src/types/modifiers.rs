//! The modifiers after a column's type, in any order, each at most once.

use std::ops::Range;

use {
    super::{
        cursor::Cursor,
        error::TypeError,
        expression::{self, MODIFIERS, is_modifier_word},
        lexer::TokenKind,
        suggest,
    },
    crate::types::ast::{DefaultExpr, DefaultKind},
};

/// The modifiers as written, with their places.
#[derive(Default)]
pub(super) struct Written {
    pub(super) null: Option<(bool, Range<usize>)>,
    pub(super) default: Option<DefaultExpr>,
    pub(super) comment: Option<String>,
    pub(super) codec: Option<(String, Range<usize>)>,
    pub(super) statistics: Option<String>,
    pub(super) ttl: Option<(String, Range<usize>)>,
    pub(super) primary_key: bool,
    pub(super) settings: Option<String>,
}

/// Reads modifiers from the position of `cursor`.
pub(super) struct ModifierReader<'t> {
    pub(super) cursor: Cursor<'t>,
    pub(super) problems: Vec<TypeError>,
    pub(super) written: Written,
}

impl<'t> ModifierReader<'t> {
    /// Starts at the position of `cursor`; `problems` are those of the type before it.
    pub(super) fn new(cursor: Cursor<'t>, problems: Vec<TypeError>) -> Self {
        Self {
            cursor,
            problems,
            written: Written::default(),
        }
    }

    /// Reads modifiers until the end, or until a token that does not begin one.
    pub(super) fn modifiers(&mut self) {
        let mut seen: Vec<&str> = Vec::new();
        while !self.cursor.is_done() {
            let start = self.cursor.here();
            let Some(modifier) = self.modifier() else {
                return;
            };
            if seen.contains(&modifier) {
                let span = self.cursor.since(start.start);
                let message = match modifier {
                    "DEFAULT" => "a column can have only one of DEFAULT, MATERIALIZED, ALIAS and EPHEMERAL".to_owned(),
                    "NULL" => "a column can have only one of NULL and NOT NULL".to_owned(),
                    _ => format!("this column has {modifier} twice"),
                };
                self.problems.push(TypeError::new("modifier-conflict", span, message));
            }
            seen.push(modifier);
        }
    }

    /// Reads one modifier and returns its name, the same name for modifiers that exclude each
    /// other.
    fn modifier(&mut self) -> Option<&'static str> {
        let start = self.cursor.here();
        let Some(word) = self.cursor.word() else {
            let problem = self.cursor.expected("a modifier of the column or its end");
            let help = match self.cursor.slice(start) {
                "," | ";" => "remove it: each column has a line of its own",
                "[" => "for an array, write `Array(String)`",
                "<" => "write the arguments of a type in round brackets: `Array(String)`",
                _ => return self.problem(problem),
            };
            return self.problem(problem.help(help));
        };
        let word = word.to_ascii_uppercase();
        if !is_modifier_word(&word) {
            return self.problem(unknown_modifier(&self.cursor));
        }
        self.cursor.next();
        match word.as_str() {
            "NULL" => self.written.null = Some((true, start)),
            "NOT" => {
                if !self.cursor.eat_keyword("NULL") {
                    return self.problem(self.cursor.expected("`NULL`"));
                }
                self.written.null = Some((false, self.cursor.since(start.start)));
                return Some("NULL");
            }
            "DEFAULT" => return self.default(DefaultKind::Default, start),
            "MATERIALIZED" => return self.default(DefaultKind::Materialized, start),
            "ALIAS" => return self.default(DefaultKind::Alias, start),
            "EPHEMERAL" => return self.default(DefaultKind::Ephemeral, start),
            "COMMENT" => return self.comment(),
            "CODEC" => {
                self.written.codec = Some(self.in_brackets("CODEC", "ZSTD(1)")?);
                return Some("CODEC");
            }
            "STATISTICS" => {
                self.written.statistics = Some(self.in_brackets("STATISTICS", "minmax")?.0);
                return Some("STATISTICS");
            }
            "SETTINGS" => {
                self.written.settings = Some(self.in_brackets("SETTINGS", "max_compress_block_size = 65536")?.0);
                return Some("SETTINGS");
            }
            "TTL" => {
                let span = self.expression("TTL")?;
                self.written.ttl = Some((self.cursor.slice(span.clone()).to_owned(), span));
                return Some("TTL");
            }
            "PRIMARY" => {
                if !self.cursor.eat_keyword("KEY") {
                    return self.problem(self.cursor.expected("`KEY`"));
                }
                self.written.primary_key = true;
                return Some("PRIMARY KEY");
            }
            "COLLATE" => {
                // ClickHouse reads it and ignores it.
                if self.cursor.name().is_none() {
                    return self.problem(self.cursor.expected("the name of a collation"));
                }
                self.cursor.next();
                return Some("COLLATE");
            }
            _ => {
                let problem = TypeError::new("modifier-refused", start, "ClickHouse does not support AUTO_INCREMENT");
                return self.problem(problem.help("use `UUID DEFAULT generateUUIDv7()`"));
            }
        }
        Some("NULL")
    }

    fn problem<T>(&mut self, problem: TypeError) -> Option<T> {
        self.problems.push(problem);
        None
    }

    fn default(&mut self, kind: DefaultKind, keyword: Range<usize>) -> Option<&'static str> {
        let default = if kind == DefaultKind::Ephemeral {
            match expression::skip(&mut self.cursor) {
                Some(span) => DefaultExpr {
                    kind,
                    text: self.cursor.slice(span.clone()).to_owned(),
                    span,
                },
                None => DefaultExpr {
                    kind,
                    text: String::new(),
                    span: keyword,
                },
            }
        } else {
            let span = self.expression(kind.keyword())?;
            DefaultExpr {
                kind,
                text: self.cursor.slice(span.clone()).to_owned(),
                span,
            }
        };
        self.written.default.get_or_insert(default);
        Some("DEFAULT")
    }

    fn comment(&mut self) -> Option<&'static str> {
        match self.cursor.peek().map(|token| &token.kind) {
            Some(TokenKind::Text(Some(text))) => self.written.comment = Some(text.clone()),
            Some(TokenKind::Text(None)) => {
                return self.problem(TypeError::new(
                    "type-syntax",
                    self.cursor.here(),
                    "a comment must be UTF-8",
                ));
            }
            _ => {
                let problem = self.cursor.expected("the comment between single quotes");
                return self.problem(problem.help("write `COMMENT 'a description'`"));
            }
        }
        self.cursor.next();
        Some("COMMENT")
    }

    fn expression(&mut self, keyword: &str) -> Option<Range<usize>> {
        match expression::skip(&mut self.cursor) {
            Some(span) => Some(span),
            None => self.problem(self.cursor.expected(&format!("an expression after {keyword}"))),
        }
    }

    /// Returns the content of the brackets, and its bytes.
    fn in_brackets(&mut self, keyword: &str, example: &str) -> Option<(String, Range<usize>)> {
        let expected = self
            .cursor
            .expected("`(`")
            .help(format!("write `{keyword}({example})`"));
        let Some((inner, span)) = self.cursor.enter("(") else {
            return self.problem(expected);
        };
        if inner.is_done() {
            let problem = TypeError::new("type-syntax", span, format!("the brackets after {keyword} are empty"));
            return self.problem(problem.help(format!("write `{keyword}({example})`")));
        }
        // From the first token to the last one, without a comment at either end.
        let content = inner.here().start;
        let mut end = inner;
        while !end.is_done() {
            end.skip();
        }
        let span = end.since(content);
        Some((self.cursor.slice(span.clone()).to_owned(), span))
    }
}

/// The units of intervals.
const UNITS: [&str; 16] = [
    "SECOND", "SECONDS", "MINUTE", "MINUTES", "HOUR", "HOURS", "DAY", "DAYS", "WEEK", "WEEKS", "MONTH", "MONTHS",
    "QUARTER", "QUARTERS", "YEAR", "YEARS",
];

fn unknown_modifier(cursor: &Cursor<'_>) -> TypeError {
    let word = cursor.word().unwrap_or_default();
    let problem = TypeError::new("unknown-modifier", cursor.here(), format!("unknown modifier `{word}`"));
    match suggest::closest(word, MODIFIERS) {
        Some("NOT") => problem.did_you_mean(Some("NOT NULL")),
        Some("PRIMARY") => problem.did_you_mean(Some("PRIMARY KEY")),
        Some(modifier) => problem.did_you_mean(Some(modifier)),
        None if UNITS.iter().any(|unit| unit.eq_ignore_ascii_case(word)) => problem.help(format!(
            "for an interval, write `time + INTERVAL 30 {}`",
            word.to_ascii_uppercase()
        )),
        None => problem.help("after a type, write NULL, DEFAULT, COMMENT, CODEC, TTL or another modifier"),
    }
}
