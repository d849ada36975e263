//! The names in an SQL expression that can only be columns.
//!
//! The module scans the expression and does not parse it. It returns a name where an operand may
//! be, unless the name is a function, a keyword, the parameter of a lambda, an alias, a type after
//! `AS` or `::`, a table after `IN`, a unit of time, or part of a subquery. It skips an ambiguous
//! name, which ClickHouse checks.

use std::ops::Range;

use super::lexer::{self, Token, TokenKind};

/// A name that can only be a column, with the names of subcolumns after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The parts between the dots; [`Reference::ANY`] for parts that are not looked up.
    pub(crate) parts: Vec<String>,
    /// The place in the expression.
    pub(crate) span: Range<usize>,
}

impl Reference {
    /// A part with a special syntax, such as a type in `json.a.:Int64`.
    pub(crate) const ANY: &'static str = "";

    /// Returns the name as a user writes it.
    pub(crate) fn name(&self) -> String {
        let parts: Vec<&str> = self.parts.iter().map(String::as_str).collect();
        parts.join(".").trim_end_matches('.').to_owned()
    }
}

/// Words before an operand. There is no list of words after one: such a word cannot be an operand.
const BEFORE_OPERAND: [&str; 28] = [
    "ALL", "AND", "ANY", "BETWEEN", "BOTH", "BY", "CASE", "DISTINCT", "ELSE", "EXCEPT", "EXISTS", "FROM", "IF",
    "ILIKE", "IN", "INTERVAL", "LEADING", "LIKE", "NOT", "OR", "REGEXP", "REPLACE", "SELECT", "THEN", "TRAILING",
    "WHEN", "WHERE", "WITH",
];

/// Words after an operand that leave it complete.
const AFTER_OPERAND: [&str; 10] = [
    "ASC",
    "ASCENDING",
    "DESC",
    "DESCENDING",
    "END",
    "FIRST",
    "LAST",
    "NULL",
    "NULLS",
    "UNKNOWN",
];

/// Words that are values.
const VALUES: [&str; 5] = ["FALSE", "INF", "NAN", "NULL", "TRUE"];

/// Words that belong to the following text.
const BEFORE_TEXT: [&str; 5] = ["DATE", "DISK", "TIME", "TIMESTAMP", "VOLUME"];

/// Functions whose brackets hold no columns.
const OPAQUE: [&str; 2] = ["APPLY", "CODEC"];

/// Returns the columns that an expression names; none if the expression cannot be read.
pub(crate) fn references(text: &str) -> Vec<Reference> {
    let Ok(tokens) = lexer::lex(text) else {
        return Vec::new();
    };
    let mut scanner = ReferenceScanner {
        text,
        tokens: &tokens,
        at: 0,
        found: Vec::new(),
    };
    scanner.operands(tokens.len());
    let bound = bound(text, &tokens);
    scanner
        .found
        .retain(|reference| !bound.iter().any(|name| Some(name) == reference.parts.first()));
    scanner.found
}

/// Returns the place of the first subquery, with its brackets.
pub(crate) fn subquery(text: &str) -> Option<Range<usize>> {
    let tokens = lexer::lex(text).ok()?;
    tokens.iter().zip(tokens.iter().skip(1)).find_map(|(open, next)| {
        let TokenKind::Open(close) = open.kind else {
            return None;
        };
        let is_query = word(text, next).is_some_and(|word| is_one_of(word, &["SELECT", "WITH"]));
        // A column may be called `with`, but a query continues after the word.
        let continues = tokens.get(close).is_some_and(|close| close.span.start > next.span.end);
        (is_query && continues).then(|| open.span.start..tokens[close].span.end)
    })
}

/// Returns the names that the expression itself defines, in any scope: parameters of lambdas, and
/// aliases.
fn bound(text: &str, tokens: &[Token]) -> Vec<String> {
    let mut bound = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let is_arrow = is_sign(tokens, index, '-') && is_sign(tokens, index + 1, '>');
        let is_as = word(text, token).is_some_and(|word| word.eq_ignore_ascii_case("AS"));
        if is_as {
            bound.extend(tokens.get(index + 1).and_then(|token| name(text, token)));
        } else if is_arrow && index > 0 {
            let before = &tokens[index - 1];
            bound.extend(name(text, before));
            if before.kind == TokenKind::Close {
                let open = tokens[..index]
                    .iter()
                    .rposition(|token| token.kind == TokenKind::Open(index - 1));
                let parameters = &tokens[open.unwrap_or(index)..index];
                bound.extend(parameters.iter().filter_map(|token| name(text, token)));
            }
        }
    }
    bound
}

fn is_sign(tokens: &[Token], index: usize, sign: char) -> bool {
    tokens
        .get(index)
        .is_some_and(|token| token.kind == TokenKind::Sign(sign))
}

fn word<'t>(text: &'t str, token: &Token) -> Option<&'t str> {
    (token.kind == TokenKind::Word).then(|| &text[token.span.clone()])
}

fn name(text: &str, token: &Token) -> Option<String> {
    match &token.kind {
        TokenKind::Quoted(name) => Some(name.clone()),
        _ => word(text, token).map(str::to_owned),
    }
}

fn is_one_of(word: &str, known: &[&str]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Returns whether the word is a unit of time, as in `INTERVAL 1 DAY` and `dateDiff(day, …)`.
fn is_unit(word: &str) -> bool {
    const UNITS: [&str; 11] = [
        "NANOSECOND",
        "MICROSECOND",
        "MILLISECOND",
        "SECOND",
        "MINUTE",
        "HOUR",
        "DAY",
        "WEEK",
        "MONTH",
        "QUARTER",
        "YEAR",
    ];
    let word = word.to_ascii_uppercase();
    let unit = word.strip_prefix("SQL_TSI_").unwrap_or(&word);
    UNITS.contains(&unit.strip_suffix('S').unwrap_or(unit))
}

struct ReferenceScanner<'t> {
    text: &'t str,
    tokens: &'t [Token],
    at: usize,
    found: Vec<Reference>,
}

impl ReferenceScanner<'_> {
    fn token(&self, offset: usize) -> Option<&Token> {
        self.tokens.get(self.at + offset)
    }

    fn word(&self, offset: usize) -> Option<&str> {
        word(self.text, self.token(offset)?)
    }

    fn is_open(&self, offset: usize) -> bool {
        self.token(offset)
            .is_some_and(|token| matches!(token.kind, TokenKind::Open(_)) && self.text[token.span.clone()] == *"(")
    }

    /// Steps over one token, or over a whole bracket.
    fn skip(&mut self) {
        match self.token(0).map(|token| &token.kind) {
            Some(TokenKind::Open(close)) => self.at = close + 1,
            _ => self.at += 1,
        }
    }

    /// Reads to token `end`. The loop also reads the brackets: their content begins where an
    /// operand may be, and a closed bracket is an operand.
    fn operands(&mut self, end: usize) {
        // Whether an operand has just ended.
        let mut is_complete = false;
        while self.at < end {
            let Some(token) = self.token(0) else {
                return;
            };
            match &token.kind {
                TokenKind::Sign(':') if is_sign(self.tokens, self.at + 1, ':') => {
                    self.at += 2;
                    self.data_type();
                    is_complete = true;
                }
                TokenKind::Sign('@') => {
                    while is_sign(self.tokens, self.at, '@') {
                        self.at += 1;
                    }
                    self.at += 1;
                    is_complete = true;
                }
                // All columns, in the place of an operand.
                TokenKind::Sign('*') if !is_complete => {
                    self.at += 1;
                    is_complete = true;
                }
                // An element of a tuple, an array or the result of a call.
                TokenKind::Sign('.') if is_complete => self.at += 2,
                TokenKind::Sign(_) => {
                    self.at += 1;
                    is_complete = false;
                }
                TokenKind::Text(_) | TokenKind::Number | TokenKind::Close => {
                    self.at += 1;
                    is_complete = true;
                }
                TokenKind::Open(_) => is_complete = self.bracket(),
                TokenKind::Word if is_complete => is_complete = self.word_after_operand(),
                TokenKind::Word | TokenKind::Quoted(_) => is_complete = self.operand(),
            }
        }
    }

    /// Steps into a bracket, or over one that holds a parameter or a subquery; returns whether an
    /// operand has ended.
    fn bracket(&mut self) -> bool {
        let is_brace = self.token(0).is_some_and(|token| self.text[token.span.clone()] == *"{");
        let is_query = self.word(1).is_some_and(|word| is_one_of(word, &["SELECT", "WITH"]));
        if is_brace || is_query {
            self.skip();
            return true;
        }
        self.at += 1;
        false
    }

    /// Reads a word after an operand; returns whether an operand has ended.
    fn word_after_operand(&mut self) -> bool {
        let word = self.word(0).unwrap_or_default();
        let stays_complete = is_one_of(word, &AFTER_OPERAND) || is_unit(word);
        let is_as = word.eq_ignore_ascii_case("AS");
        let is_in = word.eq_ignore_ascii_case("IN");
        let is_opaque = is_one_of(word, &OPAQUE) && self.is_open(1);
        self.at += 1;
        if is_opaque {
            self.skip();
            return true;
        }
        if is_as {
            self.data_type();
            return true;
        }
        if is_in && !self.is_open(0) {
            self.table();
            return true;
        }
        stays_complete
    }

    /// Steps over a type or an alias: its words and its bracket.
    fn data_type(&mut self) {
        self.at += 1;
        while self
            .word(0)
            .is_some_and(|word| is_one_of(word, &["PRECISION", "UNSIGNED", "SIGNED", "VARYING", "LARGE", "OBJECT"]))
        {
            self.at += 1;
        }
        if self.is_open(0) {
            self.skip();
        }
    }

    /// Steps over the name of a table.
    fn table(&mut self) {
        while self
            .token(0)
            .is_some_and(|token| matches!(token.kind, TokenKind::Word | TokenKind::Quoted(_)))
        {
            self.at += 1;
            if !is_sign(self.tokens, self.at, '.') {
                return;
            }
            self.at += 1;
        }
    }

    /// Reads a name where an operand may be; returns whether an operand has ended.
    fn operand(&mut self) -> bool {
        if let Some(word) = self.word(0) {
            let is_before_text = matches!(self.token(1).map(|token| &token.kind), Some(TokenKind::Text(_)));
            if is_before_text && is_one_of(word, &BEFORE_TEXT) {
                self.at += 1;
                return false;
            }
            if self.is_open(1) {
                return self.call();
            }
            // `NOT k IN t`, and `NOT IN t` after an operand.
            if word.eq_ignore_ascii_case("IN") {
                self.at += 1;
                if !self.is_open(0) {
                    self.table();
                }
                return true;
            }
            if is_one_of(word, &VALUES) {
                self.at += 1;
                return true;
            }
            let is_alone = self.at + 1 >= self.tokens.len();
            let is_select = is_one_of(word, &["SELECT", "DISTINCT"]) && is_sign(self.tokens, self.at + 1, '*');
            if is_select || is_one_of(word, &BEFORE_OPERAND) && !is_alone && !self.is_operator(1) {
                self.at += 1;
                return false;
            }
        } else if self.is_open(1) {
            return self.call();
        }
        self.column();
        true
    }

    /// Returns whether an operator or the end of an item follows; then the word before it is not a
    /// keyword.
    fn is_operator(&self, offset: usize) -> bool {
        match self.token(offset).map(|token| &token.kind) {
            Some(TokenKind::Sign(sign)) => !matches!(sign, '-' | '+' | '@'),
            Some(TokenKind::Close) | None => true,
            _ => false,
        }
    }

    /// Steps over a function's name, and over its bracket or its first argument if that is not a
    /// column. Returns whether an operand has ended.
    fn call(&mut self) -> bool {
        let function = self.word(0).unwrap_or_default().to_ascii_lowercase();
        self.at += 1;
        if is_one_of(&function, &OPAQUE) {
            self.skip();
            return true;
        }
        let has_unit_argument = ["date", "timestamp", "extract", "age"]
            .iter()
            .any(|start| function.starts_with(start));
        let has_table_argument = function.starts_with("dict") || function.starts_with("joinget");
        // FROM may follow the unit; a comma follows the first argument of a function.
        if has_unit_argument && self.word(1).is_some_and(is_unit) {
            self.at += 3;
            return false;
        }
        if has_table_argument && self.word(1).is_some() {
            self.at += 1;
            self.table();
            return true;
        }
        self.bracket()
    }

    /// Reads a name and the subcolumns after it.
    fn column(&mut self) {
        let Some(first) = self.token(0) else {
            return;
        };
        let start = first.span.start;
        let mut parts: Vec<String> = name(self.text, first).into_iter().collect();
        let mut end = first.span.end;
        self.at += 1;
        loop {
            // `a[].b`, an array in a JSON.
            let is_empty_array = self
                .token(0)
                .is_some_and(|token| token.kind == TokenKind::Open(self.at + 1))
                && is_sign(self.tokens, self.at + 2, '.');
            if is_empty_array {
                self.at += 2;
                parts.push(Reference::ANY.to_owned());
            }
            if !is_sign(self.tokens, self.at, '.') {
                break;
            }
            let Some(next) = self.token(1) else {
                break;
            };
            match &next.kind {
                TokenKind::Number => {
                    parts.extend(self.text[next.span.clone()].split('.').map(str::to_owned));
                    end = next.span.end;
                    self.at += 2;
                }
                TokenKind::Word | TokenKind::Quoted(_) => {
                    parts.extend(name(self.text, next));
                    end = next.span.end;
                    self.at += 2;
                }
                TokenKind::Sign(':') => {
                    parts.push(Reference::ANY.to_owned());
                    self.at += 2;
                    self.data_type();
                }
                TokenKind::Sign('^' | '@') => {
                    parts.push(Reference::ANY.to_owned());
                    self.at += 3;
                }
                _ => break,
            }
        }
        self.found.push(Reference {
            parts,
            span: start..end,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        references(text).iter().map(Reference::name).collect()
    }

    #[test]
    fn columns_are_found_among_everything_else() {
        for (text, expected) in [
            ("date", "date"),
            ("(service, `na me`, toDate(time))", "service na me time"),
            ("a AND NOT b OR c IS NOT NULL", "a b c"),
            ("a IS NOT DISTINCT FROM b", "a b"),
            ("a BETWEEN 1 AND b", "a b"),
            ("x NOT LIKE y ESCAPE '!'", "x y"),
            ("CASE a WHEN 1 THEN b ELSE c END", "a b c"),
            ("CASE WHEN a THEN NULL ELSE TRUE END", "a"),
            ("d + INTERVAL 1 DAY - INTERVAL n MONTH", "d n"),
            ("d + INTERVAL 1 DAY DELETE WHERE k = 1 AND m", "d k m"),
            ("d TO VOLUME 'x', e TO DISK 'y'", "d e"),
            ("d RECOMPRESS CODEC(ZSTD(17), LZ4)", "d"),
            ("d GROUP BY k SET x = max(y)", "d k x y"),
            ("dateDiff(day, a, b) + extract(year FROM c)", "a b c"),
            ("toDate(day)", "day"),
            ("arrayMap((x, y) -> x + y + z, p, q)", "z p q"),
            ("arrayFilter(x -> x.1 > k, p)", "k p"),
            ("cast(a AS Nullable(Decimal(10, 2)))", "a"),
            ("cast(a AS double precision) + b", "a b"),
            ("a::Array(Nullable(UInt8)) || b", "a b"),
            ("t.1.2 + (a, b).1 + f(c).2", "t.1.2 a b c"),
            ("j.a.:Int64 + j.^b + j.c[].d", "j.a j j.c..d"),
            ("{name:UInt8} + a", "a"),
            ("a IN (SELECT b FROM c)", "a"),
            ("a IN c.d AND a NOT IN e", "a a"),
            ("dictGet(dict.name, 'x', k)", "k"),
            ("DATE '2020-01-01' + date", "date"),
            ("quantile(0.5)(a)", "a"),
            ("@@version || a", "a"),
            ("trim(BOTH 'x' FROM a) || substring(b FROM 1 FOR n)", "a b n"),
            ("a ? b : c", "a b c"),
            ("[a, b][k]", "a b k"),
            ("m['x'] = -k", "m k"),
            ("SELECT a, sum(b) AS c GROUP BY a ORDER BY c", "a b a"),
            ("WITH lower(a) AS q SELECT q, * EXCEPT(r) ORDER BY q DESC", "a r"),
            ("a DESC, b ASC NULLS FIRST, c", "a b c"),
            ("SELECT * ORDER BY a", "a"),
            ("SELECT DISTINCT a, * REPLACE(b AS c) ORDER BY a", "a b a"),
            ("from, by, to", "from by to"),
            ("COLUMNS('x') APPLY(sum)", ""),
            ("inf + nan", ""),
            ("(a", ""),
        ] {
            assert_eq!(names(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn subqueries_are_found() {
        let text = "a IN (SELECT (b) FROM c) + 1";
        assert_eq!(subquery(text).map(|span| &text[span]), Some("(SELECT (b) FROM c)"));
        assert_eq!(subquery("f(select) + (with)"), None);
    }

    #[test]
    fn references_have_their_spans() {
        let text = "toDate(items.`sku`)";
        let found = references(text);
        assert_eq!(&text[found[0].span.clone()], "items.`sku`");
    }
}
