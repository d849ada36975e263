//! The type JSON and its parameters.
//!
//! Parses `JSON(max_dynamic_paths = 256, user.id UInt64, SKIP debug, SKIP REGEXP '^_')` into a
//! [`Json`], which prints in ClickHouse's order. ClickHouse checks only one thing itself: whether a
//! regular expression is valid and matches no typed path.

use std::ops::Range;

use super::{
    ast::{Type, quote_name},
    error::TypeError,
    grammar::Grammar,
    lexer::TokenKind,
    suggest,
};

use crate::types::ast::{Json, PATHS, TYPES};

const MAX_DYNAMIC_TYPES: u64 = 254;
const MAX_DYNAMIC_PATHS: u64 = 10_000;

enum Parameter {
    DynamicTypes(u64),
    DynamicPaths(u64),
    Typed(String, Type),
    Skip(String),
    SkipRegexp(String),
}

impl Grammar<'_> {
    /// Reads `JSON`, `JSON(…)`.
    pub(super) fn json(&mut self, name: &Range<usize>) -> Option<Type> {
        let parameters = self.arguments(name, Self::json_parameter)?.items;
        let mut json = Json::default();
        let mut typed_spans = Vec::new();
        for (parameter, span) in parameters {
            match parameter {
                // The last number counts.
                Parameter::DynamicTypes(number) => json.max_dynamic_types = number,
                Parameter::DynamicPaths(number) => json.max_dynamic_paths = number,
                Parameter::Typed(path, ty) => {
                    typed_spans.push((path.clone(), span.clone()));
                    if json.typed.insert(path.clone(), ty).is_some() {
                        let message = format!("the path `{path}` has two types");
                        return self.problem(TypeError::new("json-path", span, message).help("remove one of them"));
                    }
                }
                Parameter::Skip(path) => json.skipped.push(path),
                Parameter::SkipRegexp(regexp) => json.skipped_by_regexp.push(regexp),
            }
        }
        json.skipped.sort_unstable();
        json.skipped.dedup();
        json.skipped_by_regexp.sort_unstable();
        self.require(typed_paths_are_not_skipped(&json, &typed_spans))?;
        Some(Type::Json(json))
    }

    fn json_parameter(&mut self) -> Option<Parameter> {
        if self.cursor.is_keyword(0, "SKIP") {
            self.cursor.next();
            if self.cursor.eat_keyword("REGEXP") {
                return self.text("a regular expression").map(Parameter::SkipRegexp);
            }
            let span = self.cursor.here();
            let path = self.json_path()?;
            if path.eq_ignore_ascii_case("REGEXP") {
                let message = format!("ClickHouse cannot skip the path `{path}`");
                return self.problem(TypeError::new("json-path", span, message).help("write `SKIP REGEXP '^regexp$'`"));
            }
            return Some(Parameter::Skip(path));
        }
        if matches!(
            self.cursor.peek_nth(1).map(|token| &token.kind),
            Some(TokenKind::Sign('='))
        ) {
            return self.json_number();
        }
        let path = self.json_path()?;
        if self.cursor.is_done() || self.cursor.is_sign(',') {
            return self.problem(self.cursor.expected(&format!("the type of the path `{path}`")));
        }
        let span = self.cursor.here().start;
        let ty = self.data_type()?;
        let span = self.cursor.since(span);
        self.require(is_allowed_in_path(&ty, &span))?;
        Some(Parameter::Typed(path, ty))
    }

    /// Reads `max_dynamic_paths = 256`.
    fn json_number(&mut self) -> Option<Parameter> {
        let span = self.cursor.here();
        let name = self.element_name().unwrap_or_default();
        self.cursor.eat_sign('=');
        let (most, parameter): (_, fn(u64) -> Parameter) = match name.as_str() {
            TYPES => (MAX_DYNAMIC_TYPES, Parameter::DynamicTypes),
            PATHS => (MAX_DYNAMIC_PATHS, Parameter::DynamicPaths),
            _ => {
                let message = format!("JSON has no parameter `{name}`");
                let problem = TypeError::new("type-arguments", span, message)
                    .help(format!("the parameters are `{TYPES}` and `{PATHS}`"))
                    .did_you_mean(suggest::closest(&name, [TYPES, PATHS]));
                return self.problem(problem);
            }
        };
        let start = self.cursor.here().start;
        let number = self.number()?;
        if number > most {
            let message = format!("`{name}` must be from 0 to {most}, not {number}");
            return self.problem(TypeError::new("type-range", self.cursor.since(start), message));
        }
        Some(parameter(number))
    }

    /// Reads `a.b`, each key quoted or not.
    fn json_path(&mut self) -> Option<String> {
        let key = |grammar: &mut Self| {
            let key = grammar.element_name();
            if key.is_none() {
                grammar.problems.push(grammar.cursor.expected("a key of a path"));
            }
            key
        };
        let mut path = key(self)?;
        while self.cursor.eat_sign('.') {
            path.push('.');
            path.push_str(&key(self)?);
        }
        Some(path)
    }
}

/// Checks that the collector knows which values ClickHouse accepts at the path: a value that
/// ClickHouse rejects would hold up all rows of its block.
fn is_allowed_in_path(ty: &Type, span: &Range<usize>) -> Result<(), TypeError> {
    let part = |part: &Type| is_allowed_in_path(part, span);
    match ty {
        Type::Nullable(inner) | Type::LowCardinality(inner) | Type::Array(inner) => part(inner),
        Type::SimpleAggregateFunction(_, inner) => part(inner),
        Type::Tuple(elements) => elements.iter().try_for_each(|(_, element)| part(element)),
        Type::Nested(elements) => elements.iter().try_for_each(|(_, element)| part(element)),
        Type::Map(key, value) if **key == Type::String => part(value),
        Type::Map(..) | Type::BFloat16 | Type::Interval(_) | Type::QBit { .. } | Type::AggregateFunction(_) => {
            let message = format!("ClickHouse does not accept `{ty}` for a path of JSON");
            let problem = TypeError::new("json-path", span.clone(), message);
            Err(problem.help("remove the path: ClickHouse determines the types of its values itself"))
        }
        Type::Variant(variants) => variants.iter().try_for_each(part),
        _ => Ok(()),
    }
}

/// Checks that no `SKIP` is a prefix of a typed path. ClickHouse compares the characters: `SKIP a`
/// also skips a path `ab`.
fn typed_paths_are_not_skipped(json: &Json, typed: &[(String, Range<usize>)]) -> Result<(), TypeError> {
    for (path, span) in typed {
        if let Some(skipped) = json.skipped.iter().find(|skipped| path.starts_with(skipped.as_str())) {
            let message = format!(
                "the path `{path}` has a type, but `SKIP {}` skips it",
                quote_name(skipped)
            );
            return Err(TypeError::new("json-path", span.clone(), message).help("remove one of them"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::parse;

    /// Returns the code of the problem, and the underlined part.
    fn rejection(text: &str) -> (&'static str, &str) {
        let problem = parse(text).unwrap_err().remove(0);
        (problem.code, &text[problem.span])
    }

    #[test]
    fn parameters_are_shown_in_the_order_of_clickhouse() {
        for (written, shown) in [
            ("json", "JSON"),
            ("JSON(max_dynamic_paths = 1024, max_dynamic_types=32)", "JSON"),
            (
                "JSON(SKIP REGEXP 'b', skip z.y, SKIP REGEXP 'a', c Int8, b.a BIGINT UNSIGNED, max_dynamic_paths=3, SKIP z.y)",
                "JSON(max_dynamic_paths=3, `b.a` UInt64, c Int8, SKIP `z.y`, SKIP REGEXP 'a', SKIP REGEXP 'b')",
            ),
            (
                "JSON(`SKIP` Int8, max_dynamic_types Int8)",
                "JSON(`SKIP` Int8, max_dynamic_types Int8)",
            ),
        ] {
            assert_eq!(parse(written).unwrap().ty.to_string(), shown, "{written}");
        }
    }

    #[test]
    fn invalid_parameters_are_rejected() {
        assert_eq!(rejection("JSON(a Int8, a String)"), ("json-path", "a String"));
        assert_eq!(rejection("JSON(ab Int8, SKIP a)"), ("json-path", "ab Int8"));
        assert_eq!(rejection("JSON(max_dynamic_paths = 10001)"), ("type-range", "10001"));
        assert_eq!(rejection("JSON(max_paths = 1)"), ("type-arguments", "max_paths"));
        assert_eq!(rejection("JSON(a IntervalDay)"), ("json-path", "IntervalDay"));
        assert_eq!(
            rejection("JSON(a Map(UInt8, String))"),
            ("json-path", "Map(UInt8, String)")
        );
        assert_eq!(
            rejection("JSON(a Array(Variant(BFloat16, UUID)))"),
            ("json-path", "Array(Variant(BFloat16, UUID))")
        );
        assert_eq!(rejection("JSON(SKIP)"), ("type-syntax", ")"));
        assert_eq!(rejection("JSON(SKIP `regexp`)"), ("json-path", "`regexp`"));
        assert_eq!(rejection("JSON(a)"), ("type-syntax", ")"));
    }
}
