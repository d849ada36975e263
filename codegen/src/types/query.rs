//! The query of a materialized view: the tables that it reads, and the names of its columns.
//!
//! Only ClickHouse understands a query completely. This reader finds what the rules on views need,
//! and skips every part that it does not know.

use std::{collections::BTreeMap, ops::Range};

use super::lexer::{self, Token, TokenKind};

/// A table that a query names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueryTable {
    /// The name, unquoted.
    pub(crate) name: String,
    /// Whether the name includes a database.
    pub(crate) is_qualified: bool,
    /// The bytes of the name in the query.
    pub(crate) span: Range<usize>,
    /// Whether an alias follows the name.
    pub(crate) has_alias: bool,
    /// The bytes of FINAL, SAMPLE or PREWHERE directly after the table.
    pub(crate) modifier: Option<Range<usize>>,
}

/// The parts of a query that the rules on views need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// The table whose inserts a materialized view processes: the first of the outermost FROM.
    pub(crate) source: Option<QueryTable>,
    /// All tables after FROM and JOIN, in their order.
    pub(crate) tables: Vec<QueryTable>,
    /// The known names of the columns of the outermost SELECT, with their bytes.
    pub(crate) columns: Vec<(String, Range<usize>)>,
}

/// Words after a table that are not an alias.
const AFTER_TABLE: [&str; 32] = [
    "ALL",
    "ANTI",
    "ANY",
    "ARRAY",
    "ASOF",
    "CROSS",
    "EXCEPT",
    "FINAL",
    "FORMAT",
    "FULL",
    "GLOBAL",
    "GROUP",
    "HAVING",
    "INNER",
    "INTERSECT",
    "INTO",
    "JOIN",
    "LEFT",
    "LIMIT",
    "LOCAL",
    "OFFSET",
    "ON",
    "ORDER",
    "PASTE",
    "PREWHERE",
    "QUALIFY",
    "RIGHT",
    "SAMPLE",
    "SEMI",
    "SETTINGS",
    "UNION",
    "WHERE",
];

/// Reads a query. Returns `None` if it does not begin with SELECT or WITH, or if a quote or a
/// bracket is open.
pub(crate) fn view_query(text: &str) -> Option<Query> {
    let tokens = lexer::lex(text).ok()?;
    let mut reader = QueryReader {
        text,
        tokens: &tokens,
        named: BTreeMap::new(),
        query: Query::default(),
    };
    if !["SELECT", "WITH"].iter().any(|word| reader.is_word(0, word)) {
        return None;
    }
    reader.named_queries();
    reader.tables(0..tokens.len());
    let named: Vec<_> = reader.named.keys().cloned().collect();
    reader
        .query
        .tables
        .retain(|table| table.is_qualified || !named.contains(&table.name));
    reader.query.source = reader.source(0..tokens.len(), 0);
    reader.columns();
    Some(reader.query)
}

struct QueryReader<'t> {
    text: &'t str,
    tokens: &'t [Token],
    /// The tokens of the queries that WITH names.
    named: BTreeMap<String, Range<usize>>,
    query: Query,
}

impl QueryReader<'_> {
    fn word(&self, at: usize) -> Option<&str> {
        let token = self.tokens.get(at)?;
        (token.kind == TokenKind::Word).then(|| &self.text[token.span.clone()])
    }

    fn is_word(&self, at: usize, word: &str) -> bool {
        self.word(at).is_some_and(|found| found.eq_ignore_ascii_case(word))
    }

    fn is_sign(&self, at: usize, sign: char) -> bool {
        self.tokens
            .get(at)
            .is_some_and(|token| token.kind == TokenKind::Sign(sign))
    }

    /// Returns a bare or quoted name.
    fn name(&self, at: usize) -> Option<String> {
        match &self.tokens.get(at)?.kind {
            TokenKind::Word => self.word(at).map(str::to_owned),
            TokenKind::Quoted(name) => Some(name.clone()),
            _ => None,
        }
    }

    /// Returns the index of the token that closes the bracket at an index.
    fn close(&self, at: usize) -> Option<usize> {
        match self.tokens.get(at)?.kind {
            TokenKind::Open(close) => Some(close),
            _ => None,
        }
    }

    /// Returns the tokens in the bracket at an index.
    fn inside(&self, at: usize) -> Option<Range<usize>> {
        self.close(at).map(|close| at + 1..close)
    }

    /// Returns the indexes of the tokens outside of brackets, and of the brackets that open.
    fn level(&self, within: Range<usize>) -> Vec<usize> {
        let mut indexes = Vec::new();
        let mut at = within.start;
        while at < within.end {
            indexes.push(at);
            at = self.close(at).unwrap_or(at) + 1;
        }
        indexes
    }

    /// Finds the queries that WITH names: `name AS (SELECT …)`.
    fn named_queries(&mut self) {
        for at in 0..self.tokens.len() {
            let is_query = |open| self.is_word(open, "SELECT") || self.is_word(open, "WITH");
            if self.is_word(at + 1, "AS")
                && let (Some(name), Some(inside)) = (self.name(at), self.inside(at + 2))
                && is_query(inside.start)
            {
                self.named.insert(name, inside);
            }
        }
    }

    /// Collects the tables at every depth.
    fn tables(&mut self, within: Range<usize>) {
        let level = self.level(within);
        let mut is_query = false;
        for (position, &at) in level.iter().enumerate() {
            if let Some(inside) = self.inside(at) {
                self.tables(inside);
                continue;
            }
            is_query |= self.is_word(at, "SELECT");
            let is_from = is_query && self.is_word(at, "FROM");
            // ARRAY JOIN names columns.
            let is_join = self.is_word(at, "JOIN") && !(position > 0 && self.is_word(level[position - 1], "ARRAY"));
            if is_from || is_join {
                let mut next = at + 1;
                while let Some((table, end)) = self.table(next) {
                    self.query.tables.extend(table);
                    if !self.is_sign(end, ',') {
                        break;
                    }
                    next = end + 1;
                }
            }
        }
    }

    /// Reads one table with its alias. Returns no table for a subquery or a table function, and the
    /// index after it.
    fn table(&self, at: usize) -> Option<(Option<QueryTable>, usize)> {
        if let Some(close) = self.close(at) {
            let (_, end) = self.alias(close + 1);
            return Some((None, end));
        }
        let mut name = self.name(at)?;
        if let Some(close) = self.close(at + 1) {
            let (_, end) = self.alias(close + 1);
            return Some((None, end));
        }
        let (mut last, mut is_qualified) = (at, false);
        if self.is_sign(at + 1, '.') {
            name = self.name(at + 2)?;
            (last, is_qualified) = (at + 2, true);
        }
        let (has_alias, end) = self.alias(last + 1);
        let modifier = ["FINAL", "SAMPLE", "PREWHERE"]
            .iter()
            .any(|word| self.is_word(end, word));
        let table = QueryTable {
            name,
            is_qualified,
            span: self.tokens[at].span.start..self.tokens[last].span.end,
            has_alias,
            modifier: modifier.then(|| self.tokens[end].span.clone()),
        };
        Some((Some(table), end))
    }

    /// Returns whether an alias is at an index, and the index after it.
    fn alias(&self, at: usize) -> (bool, usize) {
        if self.is_word(at, "AS") && self.name(at + 1).is_some() {
            return (true, at + 2);
        }
        let is_keyword = |word: &str| AFTER_TABLE.iter().any(|after| after.eq_ignore_ascii_case(word));
        match self.word(at) {
            Some(word) if is_keyword(word) => (false, at),
            _ if self.name(at).is_some() => (true, at + 1),
            _ => (false, at),
        }
    }

    /// Returns the first table of the first FROM outside of brackets, also of a subquery or of a
    /// query of WITH.
    fn source(&self, within: Range<usize>, depth: usize) -> Option<QueryTable> {
        if depth > 16 {
            return None;
        }
        let level = self.level(within);
        let select = level.iter().position(|&at| self.is_word(at, "SELECT"))?;
        let from = level[select..].iter().find(|&&at| self.is_word(at, "FROM"))? + 1;
        if let Some(inside) = self.inside(from) {
            return self.source(inside, depth + 1);
        }
        let (table, _) = self.table(from)?;
        let table = table?;
        match self.named.get(&table.name) {
            Some(named) if !table.is_qualified => self.source(named.clone(), depth + 1),
            _ => Some(table),
        }
    }

    /// Collects the names of the columns: an alias after AS, or a name alone.
    fn columns(&mut self) {
        let level = self.level(0..self.tokens.len());
        let Some(select) = level.iter().position(|&at| self.is_word(at, "SELECT")) else {
            return;
        };
        let list = &level[select + 1..];
        let end = list
            .iter()
            .position(|&at| self.is_word(at, "FROM"))
            .unwrap_or(list.len());
        let mut list = &list[..end];
        if list.first().is_some_and(|&at| self.is_word(at, "DISTINCT")) {
            list = &list[1..];
        }
        let mut columns = Vec::new();
        for item in list.split(|&at| self.is_sign(at, ',')) {
            let is_dot = |at: &usize| self.is_sign(*at, '.');
            let named = match item {
                [.., as_word, name] if self.is_word(*as_word, "AS") => Some(*name),
                [name] => Some(*name),
                [_, dot, name] if is_dot(dot) => Some(*name),
                _ => None,
            };
            if let Some((at, name)) = named.and_then(|at| Some((at, self.name(at)?))) {
                columns.push((name, self.tokens[at].span.clone()));
            }
        }
        self.query.columns = columns;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::view_query;

    /// Returns the source, all tables and the columns of a query.
    fn read(text: &str) -> (Option<String>, Vec<String>, Vec<String>) {
        let query = view_query(text).unwrap();
        (
            query.source.map(|table| table.name),
            query.tables.into_iter().map(|table| table.name).collect(),
            query.columns.into_iter().map(|(name, _)| name).collect(),
        )
    }

    #[test]
    fn the_tables_and_the_columns_of_a_query_are_found() {
        for (text, source, tables, columns) in [
            (
                "SELECT a, count() AS n FROM t GROUP BY a",
                Some("t"),
                &["t"][..],
                &["a", "n"][..],
            ),
            (
                "SELECT x.a, b + 1 FROM `t u` x, v AS w WHERE 1",
                Some("t u"),
                &["t u", "v"],
                &["a"],
            ),
            (
                "SELECT * FROM (SELECT a FROM t) AS s JOIN d.u USING a",
                Some("t"),
                &["t", "u"],
                &[],
            ),
            (
                "WITH q AS (SELECT a FROM t) SELECT a FROM q LEFT JOIN u ON 1",
                Some("t"),
                &["t", "u"],
                &["a"],
            ),
            (
                "SELECT extract(YEAR FROM a) AS y, trim(BOTH ' ' FROM b) AS z FROM t",
                Some("t"),
                &["t"],
                &["y", "z"],
            ),
            ("SELECT DISTINCT a FROM t ARRAY JOIN b AS c", Some("t"), &["t"], &["a"]),
            ("SELECT number AS a FROM numbers(10)", None, &[], &["a"]),
            ("SELECT 1 AS a", None, &[], &["a"]),
            (
                "SELECT a FROM t WHERE a IN (SELECT b FROM u)",
                Some("t"),
                &["t", "u"],
                &["a"],
            ),
        ] {
            let (found, all, names) = read(text);
            assert_eq!(found.as_deref(), source, "{text}");
            assert_eq!(all, tables, "{text}");
            assert_eq!(names, columns, "{text}");
        }
        for text in ["", "INSERT INTO t SELECT 1", "SELECT (a FROM t", "SELECT 'a FROM t"] {
            assert_eq!(view_query(text), None, "{text}");
        }
    }

    #[test]
    fn an_alias_and_a_modifier_of_the_source_are_found() {
        for (text, has_alias, modifier) in [
            ("SELECT 1 FROM t", false, None),
            ("SELECT 1 FROM t s WHERE 1", true, None),
            ("SELECT 1 FROM t AS s FINAL", true, Some("FINAL")),
            ("SELECT 1 FROM t prewhere a", false, Some("prewhere")),
            ("SELECT 1 FROM d.t GROUP BY a", false, None),
        ] {
            let source = view_query(text).unwrap().source.unwrap();
            assert_eq!(source.has_alias, has_alias, "{text}");
            assert_eq!(source.modifier.map(|span| &text[span]), modifier, "{text}");
        }
    }
}
