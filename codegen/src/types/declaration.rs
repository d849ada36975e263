//! The declaration of a column: its type and the modifiers behind it.
//!
//! ClickHouse wants the modifiers in one order; here any order will do, as they are printed in ClickHouse's. Expressions
//! are kept as they are written, for ClickHouse to judge.

use std::{
    fmt::{self, Display, Formatter},
    ops::Range,
};

use super::{
    ast::{Type, quote_text},
    check, check_modifiers,
    cursor::Cursor,
    error::TypeError,
    expression::is_modifier_word,
    grammar::Grammar,
    lexer,
    literal::Literal,
    modifiers::{ModifierReader, Written},
    state,
};

/// A column but for its name.
///
/// It prints as it stands in CREATE TABLE.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declaration {
    /// The column's type; what NULL, or a DEFAULT of NULL, makes of the type that is written.
    pub(crate) ty: Type,
    /// Where the type is written.
    pub(crate) ty_span: Range<usize>,
    /// Whether NULL (true) or NOT NULL (false) is written.
    pub(crate) null: Option<bool>,
    pub(crate) default: Option<DefaultExpr>,
    pub(crate) comment: Option<String>,
    /// The list of codecs without its brackets.
    pub(crate) codec: Option<String>,
    /// The list of statistics without its brackets.
    pub(crate) statistics: Option<String>,
    pub(crate) ttl: Option<String>,
    /// Where the expression of TTL is written.
    pub(crate) ttl_span: Option<Range<usize>>,
    pub(crate) primary_key: bool,
    /// The column's settings without their brackets.
    pub(crate) settings: Option<String>,
}

/// Where a column's values come from when the row has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefaultExpr {
    pub(crate) kind: DefaultKind,
    /// The expression as it is written. For an EPHEMERAL without one, ClickHouse's own: the default of the type.
    pub(crate) text: String,
    /// Where the expression is written, or EPHEMERAL where it has none.
    pub(crate) span: Range<usize>,
}

/// The four kinds of
/// [default values](https://clickhouse.com/docs/sql-reference/statements/create/table#default_values).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefaultKind {
    Default,
    Materialized,
    Alias,
    Ephemeral,
}

impl DefaultExpr {
    /// Returns the literal that the expression is; `None` where only ClickHouse can compute it.
    pub(crate) fn literal(&self) -> Option<Literal> {
        Literal::of_expression(&self.text)
    }
}

impl DefaultKind {
    pub(super) const fn keyword(self) -> &'static str {
        match self {
            Self::Default => "DEFAULT",
            Self::Materialized => "MATERIALIZED",
            Self::Alias => "ALIAS",
            Self::Ephemeral => "EPHEMERAL",
        }
    }
}

impl Display for Declaration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.ty.fmt(f)?;
        // NULL is in the type; NOT NULL holds against a server that makes types Nullable by default.
        if self.null == Some(false) {
            f.write_str(" NOT NULL")?;
        }
        if let Some(default) = &self.default {
            write!(f, " {} {}", default.kind.keyword(), default.text)?;
        }
        if let Some(comment) = &self.comment {
            write!(f, " COMMENT {}", quote_text(comment))?;
        }
        for (keyword, list) in [("CODEC", &self.codec), ("STATISTICS", &self.statistics)] {
            if let Some(list) = list {
                write!(f, " {keyword}({list})")?;
            }
        }
        if let Some(ttl) = &self.ttl {
            write!(f, " TTL {ttl}")?;
        }
        if self.primary_key {
            f.write_str(" PRIMARY KEY")?;
        }
        if let Some(settings) = &self.settings {
            write!(f, " SETTINGS ({settings})")?;
        }
        Ok(())
    }
}

/// Reads a column's declaration.
///
/// # Errors
/// Whatever is wrong with its type and its modifiers, all in one go.
pub(crate) fn parse(text: &str) -> Result<Declaration, Vec<TypeError>> {
    let tokens = lexer::lex(text)?;
    let cursor = Cursor::new(text, &tokens);
    type_is_first(&cursor).map_err(|problem| vec![problem])?;

    let start = cursor.here().start;
    let mut grammar = Grammar::new(cursor);
    let ty = grammar.data_type();
    let ty_span = grammar.cursor.since(start);

    let mut reader = ModifierReader::behind(grammar);
    // Behind a type that could not be read, a stranger may be the rest of it.
    if ty.is_some() || reader.cursor.word().is_some_and(is_modifier_word) {
        reader.modifiers();
    }
    let (mut problems, written) = (reader.problems, reader.written);
    match ty {
        Some(ty) if problems.is_empty() => whole(ty, ty_span, written),
        Some(ty) => {
            problems.extend(whole(ty, ty_span, written).err().into_iter().flatten());
            Err(problems)
        }
        None => Err(problems),
    }
}

/// ClickHouse takes a column without a type where it has a default; we need the type before there is a ClickHouse to ask.
fn type_is_first(cursor: &Cursor<'_>) -> Result<(), TypeError> {
    let span = cursor.here();
    match cursor.word().filter(|word| is_modifier_word(word)) {
        Some(word) => Err(TypeError::new(
            "missing-type",
            span,
            format!("expected the column's type, found `{word}`"),
        )
        .help("write the type first; Rowmill cannot infer it from the default as ClickHouse does")),
        None if cursor.is_done() => Err(TypeError::new(
            "missing-type",
            span,
            "expected the column's type, found nothing",
        )),
        None => Ok(()),
    }
}

/// Puts the type and its modifiers together.
fn whole(ty: Type, ty_span: Range<usize>, written: Written) -> Result<Declaration, Vec<TypeError>> {
    let Written {
        null,
        default,
        comment,
        codec,
        statistics,
        ttl,
        primary_key,
        settings,
    } = written;
    let mut problems = Vec::new();
    let default = default.map(|default| match default.kind {
        DefaultKind::Ephemeral if default.text.is_empty() => DefaultExpr {
            text: format!("defaultValueOfTypeName({})", quote_text(&ty.to_string())),
            ..default
        },
        _ => default,
    });
    if let Some((codec, span)) = &codec {
        problems.extend(check_modifiers::codecs(codec, span).err());
        problems.extend(check_modifiers::codec_is_stored(default.as_ref().map(|default| default.kind), span).err());
    }
    let ty = match nullability(ty, &ty_span, null.as_ref(), default.as_ref()) {
        Ok(ty) => Some(ty),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    if let Some(ty) = &ty {
        let kind = default.as_ref().map(|default| default.kind);
        problems.extend(state::is_computed(ty, kind, &ty_span).err());
    }
    if let (Some(ty), Some(default)) = (&ty, &default) {
        let literal = default.literal();
        let rule = check_modifiers::nested_has_no_default(ty, &default.span).and_then(|()| {
            literal.map_or(Ok(()), |literal| {
                check_modifiers::default_fits(ty, &literal, &default.span)
            })
        });
        problems.extend(rule.err());
    }
    match ty {
        Some(ty) if problems.is_empty() => Ok(Declaration {
            ty,
            ty_span,
            null: null.map(|(null, _)| null),
            default,
            comment,
            codec: codec.map(|(codec, _)| codec),
            statistics,
            ttl_span: ttl.as_ref().map(|(_, span)| span.clone()),
            ttl: ttl.map(|(ttl, _)| ttl),
            primary_key,
            settings,
        }),
        _ => Err(problems),
    }
}

/// NULL makes the type Nullable, and so does a DEFAULT of NULL, which reaches into a LowCardinality, too.
fn nullability(
    ty: Type,
    ty_span: &Range<usize>,
    null: Option<&(bool, Range<usize>)>,
    default: Option<&DefaultExpr>,
) -> Result<Type, TypeError> {
    if let (Type::Nullable(_), Some((_, span))) = (&ty, null) {
        let message = "a Nullable type takes neither NULL nor NOT NULL";
        return Err(TypeError::new("modifier-conflict", span.clone(), message).help("remove it"));
    }
    let default_is_null =
        default.is_some_and(|default| default.kind == DefaultKind::Default && default.literal() == Some(Literal::Null));
    match (null, ty) {
        (Some((true, span)), ty) => {
            check::nullable(&ty, span)?;
            Ok(Type::Nullable(Box::new(ty)))
        }
        (_, ty @ Type::Nullable(_)) => Ok(ty),
        (None, ty @ Type::SimpleAggregateFunction(..)) if ty.is_nullable() => Ok(ty),
        (None, Type::LowCardinality(of)) if default_is_null => Ok(Type::LowCardinality(match *of {
            Type::Nullable(_) => of,
            _ => Box::new(Type::Nullable(of)),
        })),
        (None, ty) if default_is_null => {
            check::nullable(&ty, ty_span)?;
            Ok(Type::Nullable(Box::new(ty)))
        }
        (_, ty) => Ok(ty),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    /// Types beside what ClickHouse 26.7 shows for them in `system.columns`, once a table was created with each.
    const TYPES: &str = include_str!("testdata/types.tsv");
    /// Declarations beside how they stand in the DDL, which ClickHouse 26.7 takes.
    const DECLARATIONS: &str = include_str!("testdata/declarations.tsv");
    /// What is refused, beside each of its problems: code, bytes, message and cure. ClickHouse 26.7 refuses it too, but for
    /// what Rowmill does not do yet and nonsense that ClickHouse reads over, as the time zone in `DateTime64(3, 3)`.
    const REFUSED: &str = include_str!("testdata/refused.tsv");

    fn rendered(problem: &TypeError) -> String {
        let TypeError {
            code,
            message,
            span,
            help,
        } = problem;
        let help = help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{code} {}..{} {message}{help}", span.start, span.end)
    }

    #[test]
    fn types_print_as_in_system_columns() {
        for line in TYPES.lines() {
            let (text, canonical) = line.split_once('\t').unwrap();
            let declaration = parse(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
            assert_eq!(declaration.ty.to_string(), canonical, "{text}");
            assert_eq!(parse(canonical).unwrap().ty, declaration.ty, "{canonical}");
        }
    }

    #[test]
    fn declarations_print_as_in_the_ddl() {
        for line in DECLARATIONS.lines() {
            let (text, printed) = line.split_once('\t').unwrap();
            let declaration = parse(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
            assert_eq!(declaration.to_string(), printed, "{text}");
            assert_eq!(parse(printed).unwrap().to_string(), printed, "{printed}");
        }
    }

    #[test]
    fn refusals_say_what_is_wrong_and_where() {
        for line in REFUSED.lines() {
            let mut parts = line.split('\t');
            let text = parts.next().unwrap();
            let problems: Vec<String> = parse(text).unwrap_err().iter().map(rendered).collect();
            assert_eq!(problems, parts.collect::<Vec<_>>(), "{text}");
        }
    }

    #[test]
    fn no_piece_of_a_declaration_panics() {
        for line in [TYPES, DECLARATIONS, REFUSED].iter().flat_map(|cases| cases.lines()) {
            let text = line.split('\t').next().unwrap();
            for (cut, _) in text.char_indices() {
                for piece in [&text[..cut], &text[cut..]] {
                    for problem in parse(piece).err().into_iter().flatten() {
                        assert!(piece.get(problem.span.clone()).is_some(), "{piece}: {problem:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn endless_nesting_is_refused() {
        let deep = |levels| format!("{}Int8{}", "Array(".repeat(levels), ")".repeat(levels));
        assert!(parse(&deep(90)).is_ok());
        assert_eq!(parse(&deep(100_000)).unwrap_err()[0].code, "type-too-deep");
        assert!(
            parse(&format!(
                "Array(Int8) DEFAULT {}{}",
                "[".repeat(10_000),
                "]".repeat(10_000)
            ))
            .is_ok()
        );
    }

    #[test]
    fn all_problems_come_in_one_go() {
        let problems = parse("Tuple(a Strng, b Map(Nullable(String), Foo)) DEFAULT 5 COMMENT 6").unwrap_err();
        let codes: Vec<_> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["unknown-type", "unknown-type", "type-syntax"]);
    }

    #[test]
    fn null_makes_the_type_nullable() {
        let null_of = |text| {
            parse(text)
                .map(|declaration| (declaration.ty.to_string(), declaration.null))
                .unwrap()
        };
        assert_eq!(null_of("Int8 NULL"), ("Nullable(Int8)".into(), Some(true)));
        assert_eq!(null_of("Int8 DEFAULT 1 NULL"), ("Nullable(Int8)".into(), Some(true)));
        assert_eq!(null_of("Int8 NOT NULL"), ("Int8".into(), Some(false)));
        assert_eq!(null_of("Int8 DEFAULT NULL"), ("Nullable(Int8)".into(), None));
        assert_eq!(
            null_of("LowCardinality(String) DEFAULT NULL"),
            ("LowCardinality(Nullable(String))".into(), None)
        );
    }

    #[test]
    fn each_piece_is_kept_as_it_is_written() {
        let text = "Int8 TTL d + INTERVAL 1 DAY COMMENT 'it''s' CODEC( Delta, ZSTD(1) ) DEFAULT if(a, 1, 2) -- why";
        let declaration = parse(text).unwrap();
        let default = declaration.default.unwrap();
        assert_eq!(
            (default.kind, default.text.as_str()),
            (DefaultKind::Default, "if(a, 1, 2)")
        );
        assert_eq!(&text[default.span], "if(a, 1, 2)");
        assert_eq!(&text[declaration.ty_span], "Int8");
        assert_eq!(declaration.ttl.as_deref(), Some("d + INTERVAL 1 DAY"));
        assert_eq!(declaration.comment.as_deref(), Some("it's"));
        assert_eq!(declaration.codec.as_deref(), Some("Delta, ZSTD(1)"));
    }
}
