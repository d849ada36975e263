//! The declaration of a column: its type and the modifiers after it.
//!
//! ClickHouse accepts the modifiers in one order only. Rowmill accepts any order, and prints them
//! in ClickHouse's order. It keeps expressions as written; ClickHouse checks them.

use std::{
    fmt::{self, Display, Formatter},
    ops::Range,
};

use super::{
    ast::{Type, quote_text},
    check, check_modifiers, codec,
    cursor::Cursor,
    error::TypeError,
    expression::is_modifier_word,
    grammar::Grammar,
    inference::{self, Inferred},
    lexer,
    literal::Literal,
    modifiers::{ModifierReader, Written},
    reference::Reference,
    state,
};

use crate::types::ast::{DefaultExpr, DefaultKind};

/// A column without its name.
///
/// It prints as in CREATE TABLE.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declaration {
    /// The column's type; NULL and a DEFAULT of NULL make the written type Nullable.
    pub(crate) ty: Type,
    /// The place of the type, or of the expression that it was inferred from.
    pub(crate) ty_span: Range<usize>,
    /// The column that determines the type of this one. While it is set, `ty` has no meaning.
    pub(crate) ty_of: Option<Reference>,
    /// Whether only ClickHouse knows the type, that of an ALIAS. `ty` then has no meaning.
    pub(crate) is_untyped: bool,
    /// NULL (true) or NOT NULL (false), if either is written.
    pub(crate) null: Option<bool>,
    pub(crate) default: Option<DefaultExpr>,
    pub(crate) comment: Option<String>,
    /// The list of codecs without its brackets.
    pub(crate) codec: Option<String>,
    /// The list of statistics without its brackets.
    pub(crate) statistics: Option<String>,
    pub(crate) ttl: Option<String>,
    /// The place of the TTL expression.
    pub(crate) ttl_span: Option<Range<usize>>,
    pub(crate) primary_key: bool,
    /// The column's settings without their brackets.
    pub(crate) settings: Option<String>,
    /// Problems that ClickHouse accepts and that are probably mistakes.
    pub(crate) warnings: Vec<TypeError>,
}

impl Declaration {
    /// Sets the type to that of the column that this one is computed from.
    ///
    /// # Errors
    /// Returns a problem if NULL is written and the type cannot be Nullable, or if the type is one
    /// of states, which no event can hold.
    pub(crate) fn set_type(&mut self, ty: &Type) -> Result<(), TypeError> {
        let kind = self.default.as_ref().map(|default| default.kind);
        state::is_computed(ty, kind, &self.ty_span)?;
        self.ty = match ty {
            Type::Nullable(_) => ty.clone(),
            ty if self.null == Some(true) => {
                check::nullable(ty, &self.ty_span)?;
                Type::Nullable(Box::new(ty.clone()))
            }
            ty => ty.clone(),
        };
        self.ty_of = None;
        Ok(())
    }

    /// Leaves the type of an ALIAS to ClickHouse; other columns remain without one.
    pub(crate) fn become_untyped(&mut self) {
        let kind = self.default.as_ref().map(|default| default.kind);
        if kind == Some(DefaultKind::Alias) && self.null.is_none() {
            self.is_untyped = true;
            self.ty_of = None;
        }
    }

    /// Builds the error for a missing type that only ClickHouse could infer.
    pub(crate) fn cannot_infer(&self, kind: DefaultKind) -> TypeError {
        cannot_infer(self.ty_span.clone(), kind)
    }
}

impl Display for Declaration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is_first = self.is_untyped;
        if !is_first {
            self.ty.fmt(f)?;
        }
        // NULL is part of the type. NOT NULL overrides a server that makes types Nullable by
        // default.
        if self.null == Some(false) {
            f.write_str(" NOT NULL")?;
        }
        if let Some(default) = &self.default {
            let space = if is_first { "" } else { " " };
            write!(f, "{space}{} {}", default.kind.keyword(), default.text)?;
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

/// The source of a table's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Filler {
    #[default]
    Events,
    /// A materialized view, which can also create states of aggregation.
    View,
}

/// Parses a column's declaration.
///
/// # Errors
/// Returns all problems of its type and its modifiers.
pub(crate) fn parse(text: &str) -> Result<Declaration, Vec<TypeError>> {
    parse_filled_by(Filler::Events, text)
}

/// Parses the declaration of a column that events or a materialized view fill.
///
/// # Errors
/// Returns all problems of its type and its modifiers.
pub(crate) fn parse_filled_by(filler: Filler, text: &str) -> Result<Declaration, Vec<TypeError>> {
    let tokens = lexer::lex(text)?;
    let cursor = Cursor::new(text, &tokens);
    if cursor.is_done() || cursor.word().is_some_and(is_modifier_word) {
        return untyped(cursor, filler);
    }
    let start = cursor.here().start;
    let mut grammar = Grammar::new(cursor);
    let ty = grammar.data_type();
    let ty_span = grammar.cursor.since(start);

    let warnings = grammar.warnings;
    let mut reader = ModifierReader::new(grammar.cursor, grammar.problems);
    // After an unreadable type, an unknown word may be the rest of the type.
    if ty.is_some() || reader.cursor.word().is_some_and(is_modifier_word) {
        reader.modifiers();
    }
    let (mut problems, written) = (reader.problems, reader.written);
    match ty {
        Some(ty) if problems.is_empty() => Ok(Declaration {
            warnings,
            ..complete(ty, ty_span, written, filler)?
        }),
        Some(ty) => {
            problems.extend(complete(ty, ty_span, written, filler).err().into_iter().flatten());
            Err(problems)
        }
        None => Err(problems),
    }
}

/// Parses a column without a type: it has the type of its default, if that can be inferred without
/// ClickHouse.
fn untyped(cursor: Cursor<'_>, filler: Filler) -> Result<Declaration, Vec<TypeError>> {
    let first = cursor.here();
    let missing = |span, message: String| TypeError::new("missing-type", span, message);
    let Some(word) = cursor.word() else {
        return Err(vec![missing(
            first,
            "expected the column's type, found nothing".to_owned(),
        )]);
    };
    let mut reader = ModifierReader::new(cursor, Vec::new());
    reader.modifiers();
    let (problems, written) = (reader.problems, reader.written);
    if !problems.is_empty() {
        return Err(problems);
    }
    let Some(default) = written.default.as_ref().filter(|default| !default.text.is_empty()) else {
        let problem = missing(first, format!("expected the column's type, found `{word}`"));
        return Err(vec![
            problem.help(format!("write the type first, for example `String {word} …`")),
        ]);
    };
    let span = default.span.clone();
    match inference::inferred(&default.text) {
        Some(Inferred::Type(ty)) => complete(ty, span, written, filler),
        Some(Inferred::Column(column)) => Ok(Declaration {
            ty_of: Some(column),
            ..complete_untyped(span, written, filler)?
        }),
        // No row contains the values of an ALIAS, so its type is needed only in ClickHouse.
        None if default.kind == DefaultKind::Alias && written.null.is_none() => Ok(Declaration {
            is_untyped: true,
            ..complete_untyped(span, written, filler)?
        }),
        None => Err(vec![cannot_infer(span, default.kind)]),
    }
}

/// Builds the error for a missing type that only ClickHouse could infer.
fn cannot_infer(span: Range<usize>, kind: DefaultKind) -> TypeError {
    let keyword = kind.keyword();
    TypeError::new("missing-type", span, "Rowmill cannot infer the column's type from this").help(format!(
        "write the type before it, for example `UInt64 {keyword} …`: Rowmill infers the type only of a literal and of another column"
    ))
}

/// Combines the modifiers of a column whose type is not known yet.
fn complete_untyped(span: Range<usize>, written: Written, filler: Filler) -> Result<Declaration, Vec<TypeError>> {
    combine(Type::String, span, written, filler, false)
}

/// Combines the type and its modifiers.
fn complete(ty: Type, ty_span: Range<usize>, written: Written, filler: Filler) -> Result<Declaration, Vec<TypeError>> {
    combine(ty, ty_span, written, filler, true)
}

fn combine(
    ty: Type,
    ty_span: Range<usize>,
    written: Written,
    filler: Filler,
    is_known: bool,
) -> Result<Declaration, Vec<TypeError>> {
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
    if let Some((list, span)) = &codec {
        problems.extend(codec::codecs(list, Some(&ty).filter(|_| is_known), span).err());
        problems.extend(check_modifiers::codec_is_stored(default.as_ref().map(|default| default.kind), span).err());
    }
    let ty = match nullability(ty, &ty_span, null.as_ref(), default.as_ref()) {
        Ok(ty) => Some(ty),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    if let (Some(ty), Filler::Events) = (&ty, filler) {
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
            ty_of: None,
            is_untyped: false,
            null: null.map(|(null, _)| null),
            default,
            comment,
            codec: codec.map(|(codec, _)| codec),
            statistics,
            ttl_span: ttl.as_ref().map(|(_, span)| span.clone()),
            ttl: ttl.map(|(ttl, _)| ttl),
            primary_key,
            settings,
            warnings: Vec::new(),
        }),
        _ => Err(problems),
    }
}

/// Returns the type with its nullability: NULL makes it Nullable, and so does a DEFAULT of NULL,
/// which also makes the type inside a LowCardinality Nullable.
fn nullability(
    ty: Type,
    ty_span: &Range<usize>,
    null: Option<&(bool, Range<usize>)>,
    default: Option<&DefaultExpr>,
) -> Result<Type, TypeError> {
    if let (Type::Nullable(_), Some((_, span))) = (&ty, null) {
        let message = "a Nullable type cannot have NULL or NOT NULL after it";
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

    /// Types, with the form that `system.columns` of ClickHouse 26.7 has for each, after a table
    /// was created with it.
    const TYPES: &str = include_str!("testdata/types.tsv");
    /// Declarations, with their form in the DDL, which ClickHouse 26.7 accepts.
    const DECLARATIONS: &str = include_str!("testdata/declarations.tsv");
    /// Declarations accepted with warnings, with each warning in the format of [`REJECTED`].
    const ODD: &str = include_str!("testdata/odd.tsv");
    /// Rejected declarations, with each problem: code, bytes, message and help. ClickHouse 26.7
    /// rejects them as well, except those that `tests/it/checker/disagreements.txt` lists.
    const REJECTED: &str = include_str!("testdata/refused.tsv");

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

    /// Compares the problems of each case with the expected ones beside it.
    fn compare(cases: &str, found_problems: impl Fn(&str) -> Vec<TypeError>) {
        let others: Vec<String> = cases
            .lines()
            .filter_map(|line| {
                let text = line.split('\t').next().unwrap_or_default();
                let found_problems: String = found_problems(text)
                    .iter()
                    .map(|problem| format!("\t{}", rendered(problem)))
                    .collect();
                Some(format!("{text}{found_problems}")).filter(|found| found != line)
            })
            .collect();
        assert!(others.is_empty(), "\n{}\n", others.join("\n"));
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
    fn rejected_declarations_have_the_recorded_problems() {
        compare(REJECTED, |text| parse(text).unwrap_err());
    }

    #[test]
    fn odd_declarations_have_the_recorded_warnings() {
        compare(ODD, |text| parse(text).unwrap().warnings);
    }

    #[test]
    fn no_part_of_a_declaration_panics() {
        for line in [TYPES, DECLARATIONS, REJECTED].iter().flat_map(|cases| cases.lines()) {
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
    fn too_deep_types_are_rejected() {
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
    fn all_problems_are_reported_at_once() {
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
    fn modifiers_keep_their_text_and_span() {
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
