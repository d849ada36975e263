//! The rules that ClickHouse 26.7 enforces for a column's modifiers: one function each, as in
//! `check`.

use std::{net, ops::Range};

use {
    super::{
        ast::{Type, quote_text},
        error::TypeError,
        literal::Literal,
        suggest,
    },
    crate::types::ast::DefaultKind,
};

type Rule = Result<(), TypeError>;

/// Checks that an ALIAS has no codec, as it is not stored.
pub(super) fn codec_is_stored(kind: Option<DefaultKind>, span: &Range<usize>) -> Rule {
    if kind != Some(DefaultKind::Alias) {
        return Ok(());
    }
    Err(TypeError::new(
        "modifier-conflict",
        span.clone(),
        "an ALIAS cannot have a CODEC, as ClickHouse does not store it",
    )
    .help("remove the CODEC"))
}

/// Checks that a Nested has no default. ClickHouse would copy the default to each of the arrays
/// that it makes of the Nested, and it fits none of them.
pub(super) fn nested_has_no_default(ty: &Type, span: &Range<usize>) -> Rule {
    if !matches!(ty, Type::Nested(_)) {
        return Ok(());
    }
    Err(TypeError::new(
        "default-misfit",
        span.clone(),
        "a Nested cannot have a default: each of its elements is an array of its own",
    )
    .help("remove the default; the arrays of a row without values are empty"))
}

/// Rejects the literals that ClickHouse rejects when it creates the table. ClickHouse accepts more
/// literals than are useful, such as `300` for an Int8 (which becomes 44); the rule
/// `changed-default` rejects these.
pub(super) fn default_fits(ty: &Type, literal: &Literal, span: &Range<usize>) -> Rule {
    let misfit = |message: String| TypeError::new("default-misfit", span.clone(), message);
    match (ty, literal) {
        (Type::LowCardinality(inner) | Type::SimpleAggregateFunction(_, inner), _) => {
            default_fits(inner, literal, span)
        }
        // ClickHouse inserts NULL for a text that it cannot read.
        (Type::Nullable(_), Literal::Null | Literal::Text(_)) => Ok(()),
        (Type::Nullable(inner), _) => default_fits(inner, literal, span),
        (_, Literal::Null) => Err(misfit(format!("the default of `{ty}` cannot be NULL"))
            .help(format!("change the type to `Nullable({ty})`"))),
        (Type::Shape(shape), _) => default_fits(&shape.spelled_out(), literal, span).map_err(|problem| TypeError {
            message: problem.message.replace(&shape.spelled_out().to_string(), shape.name()),
            ..problem
        }),
        (Type::Json(_), Literal::Text(text)) if text.trim_start().starts_with('{') => Ok(()),
        (Type::Json(_), _) => Err(misfit(format!("the default of `{ty}` must be a JSON object")).help("write `'{…}'`")),
        (Type::QBit { element, dimension, .. }, Literal::Array(items)) if items.len() == *dimension as usize => {
            items.iter().try_for_each(|item| default_fits(element, item, span))
        }
        (Type::QBit { .. }, Literal::Text(text)) if text.starts_with('[') => Ok(()),
        (Type::QBit { dimension, .. }, _) => {
            Err(misfit(format!("the default of `{ty}` must be an array of {dimension} numbers")).help("write `[…]`"))
        }
        (Type::Geometry, Literal::Text(_)) => Ok(()),
        (Type::Geometry, _) => Err(misfit("a literal cannot be a geometry".to_owned())
            .help("write `CAST((1, 2), 'Point')`, or a cast to another geometry")),
        (Type::Array(of), Literal::Array(items)) => items.iter().try_for_each(|item| default_fits(of, item, span)),
        (Type::Array(_), Literal::Text(text)) if text.starts_with('[') => Ok(()),
        (Type::Tuple(elements), Literal::Tuple(items)) if elements.len() == items.len() => elements
            .iter()
            .zip(items)
            .try_for_each(|((_, ty), item)| default_fits(ty, item, span)),
        (Type::Tuple(_), Literal::Text(text)) if text.starts_with('(') => Ok(()),
        (Type::Map(..), Literal::Array(_)) => Ok(()),
        (Type::Map(..), Literal::Text(text)) if text.starts_with('{') => Ok(()),
        (Type::Map(..), _) => {
            Err(misfit(format!("the default of `{ty}` must be a map")).help("write `map('key', value)`"))
        }
        (Type::Array(_), _) => Err(misfit(format!("the default of `{ty}` must be an array")).help("write `[…]`")),
        (Type::Tuple(elements), _) => Err(misfit(format!(
            "the default of `{ty}` must be a tuple of {} values",
            elements.len()
        ))
        .help("write `tuple(…)`")),
        // A String accepts any literal.
        (Type::String, _) => Ok(()),
        (_, Literal::Array(_) | Literal::Tuple(_)) => {
            Err(misfit(format!("the default of `{ty}` must be a single value")))
        }
        (Type::Enum { values, .. }, Literal::Text(text)) if !values.iter().any(|(name, _)| name == text) => {
            let problem = misfit(format!("this enum has no value `{text}`"));
            Err(problem.did_you_mean(suggest::closest(text, values.iter().map(|(name, _)| name.as_str()))))
        }
        (Type::Enum { values, .. }, Literal::Number(number))
            if number
                .parse()
                .is_ok_and(|number: i128| !values.iter().any(|(_, value)| i128::from(*value) == number)) =>
        {
            Err(misfit(format!("this enum has no number {number}")))
        }
        (Type::FixedString(length), Literal::Text(text)) if text.len() > *length as usize => Err(misfit(format!(
            "this default has {} bytes, but `{ty}` holds {length}",
            text.len()
        ))),
        (Type::FixedString(_), Literal::Number(_) | Literal::Bool(_)) => {
            Err(misfit(format!("the default of `{ty}` must be a string")).help("write it between single quotes"))
        }
        (Type::Uuid | Type::Ipv6, Literal::Number(_) | Literal::Bool(_)) => {
            Err(misfit(format!("the default of `{ty}` must be a string")).help("write it between single quotes"))
        }
        (_, Literal::Text(text)) if !is_readable(ty, text) => Err(misfit(format!(
            "ClickHouse cannot read the default `{}` as `{ty}`",
            quote_text(text)
        ))),
        _ => Ok(()),
    }
}

/// The texts of a Bool, in any case.
const BOOL_WORDS: [&str; 16] = [
    "0", "1", "disable", "disabled", "enable", "enabled", "f", "false", "n", "no", "off", "on", "t", "true", "y", "yes",
];

/// Returns whether ClickHouse may be able to read the text as the type; false only if it certainly
/// cannot.
fn is_readable(ty: &Type, text: &str) -> bool {
    match ty {
        Type::Interval(_) => is_readable(&Type::Int { bits: 64, signed: true }, text),
        Type::Time | Type::Time64(_) => text.starts_with(|c: char| c.is_ascii_digit() || c == '-'),
        Type::Int { signed, .. } => {
            let digits = text
                .strip_prefix('+')
                .or_else(|| text.strip_prefix('-').filter(|_| *signed))
                .unwrap_or(text);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        }
        Type::Uuid => {
            text.bytes()
                .filter(|byte| *byte != b'-')
                .all(|byte| byte.is_ascii_hexdigit())
                && text.len() >= 32
        }
        Type::Bool => BOOL_WORDS.contains(&text.to_ascii_lowercase().as_str()),
        Type::Ipv4 => text.parse::<net::Ipv4Addr>().is_ok(),
        Type::Ipv6 => text.parse::<net::IpAddr>().is_ok(),
        Type::Float(_) | Type::BFloat16 | Type::Decimal { .. } => {
            text.starts_with(|c: char| c.is_ascii_digit() || "+-.iInN".contains(c))
        }
        Type::Date | Type::Date32 | Type::DateTime(_) | Type::DateTime64(..) => {
            text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.')
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::super::parse;

    /// Returns the message about a declaration, and the underlined part.
    fn rejection(text: &str) -> (String, &str) {
        let problems = parse(text).unwrap_err();
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        (problems[0].message.clone(), &text[problems[0].span.clone()])
    }

    #[test]
    fn a_codec_of_an_alias_is_rejected() {
        assert_eq!(rejection("Int8 ALIAS k CODEC(LZ4)").1, "LZ4");
    }

    #[test]
    fn an_enums_default_is_one_of_its_values() {
        let problem = &parse("Enum8('open', 'click') DEFAULT 'opne'").unwrap_err()[0];
        assert_eq!(problem.message, "this enum has no value `opne`");
        assert_eq!(problem.help.as_deref(), Some("did you mean `open`?"));
        assert_eq!(rejection("Enum8('a') DEFAULT 5").1, "5");
    }

    #[test]
    fn unreadable_defaults_are_rejected_at_their_span() {
        assert_eq!(rejection("Array(Int8) DEFAULT [1, 'x']").1, "[1, 'x']");
        assert_eq!(
            rejection("Int8 DEFAULT [1]").0,
            "the default of `Int8` must be a single value"
        );
        assert_eq!(
            rejection("Int8 NOT NULL DEFAULT NULL").0,
            "the default of `Int8` cannot be NULL"
        );
    }
}
