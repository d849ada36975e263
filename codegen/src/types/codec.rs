//! The codecs of a column, as ClickHouse 26.7 checks them: which types each codec can compress, and
//! which codecs may follow one another.
//!
//! With the setting `allow_suspicious_codecs`, ClickHouse accepts more of them, but only in the
//! session that creates the table.

use std::ops::Range;

use super::{
    ast::Type,
    error::TypeError,
    lexer::{self, Token, TokenKind},
    suggest,
};

/// A codec of `system.codecs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Prepares the values for the next codec; does not compress by itself.
    Preparation,
    /// Compresses values of some types.
    OfValues,
    /// Compresses any bytes; only encryption can follow.
    OfBytes,
    /// Encrypts the result.
    Encryption,
    /// Stores the values unchanged.
    None,
}

/// The codecs of `system.codecs` of 26.7, and `Default`, the server's choice.
const CODECS: [(&str, Kind); 13] = [
    ("AES_128_GCM_SIV", Kind::Encryption),
    ("AES_256_GCM_SIV", Kind::Encryption),
    ("Default", Kind::OfBytes),
    ("Delta", Kind::Preparation),
    ("DoubleDelta", Kind::OfValues),
    ("FPC", Kind::OfValues),
    ("GCD", Kind::Preparation),
    ("Gorilla", Kind::OfValues),
    ("LZ4", Kind::OfBytes),
    ("LZ4HC", Kind::OfBytes),
    ("NONE", Kind::None),
    ("T64", Kind::OfValues),
    ("ZSTD", Kind::OfBytes),
];

/// The codecs that need `allow_experimental_codecs`.
const EXPERIMENTAL_CODECS: [&str; 3] = ["ALP", "Quantized", "ZXC"];

/// A codec of a list.
struct Codec {
    name: &'static str,
    kind: Kind,
    has_arguments: bool,
    /// The place of the name, in bytes of the declaration.
    span: Range<usize>,
}

/// Checks that ClickHouse has each codec of a list, that each can compress the type, and that the
/// order makes sense. `ty` is `None` if only ClickHouse can infer the type; `span` is the place of
/// the list.
pub(super) fn codecs(list: &str, ty: Option<&Type>, span: &Range<usize>) -> Result<(), TypeError> {
    let codecs = parse(list, span.start)?;
    if let Some(ty) = ty {
        for codec in &codecs {
            fits(codec, ty)?;
        }
    }
    order(&codecs, span)
}

fn parse(list: &str, start: usize) -> Result<Vec<Codec>, TypeError> {
    let tokens = lexer::lex(list).unwrap_or_default();
    let mut codecs: Vec<Codec> = Vec::new();
    let mut index = 0;
    let mut is_first = true;
    while let Some(token) = tokens.get(index) {
        index += 1;
        match &token.kind {
            TokenKind::Sign(',') => is_first = true,
            TokenKind::Open(close) => {
                index = close + 1;
                if let Some(codec) = codecs.last_mut() {
                    codec.has_arguments = true;
                }
            }
            _ if is_first => {
                is_first = false;
                codecs.push(codec(token, list, start)?);
            }
            _ => {}
        }
    }
    Ok(codecs)
}

/// Returns the codec with a name; the names are case-sensitive.
fn codec(token: &Token, list: &str, start: usize) -> Result<Codec, TypeError> {
    let span = start + token.span.start..start + token.span.end;
    let name = match &token.kind {
        TokenKind::Quoted(name) => name,
        _ => &list[token.span.clone()],
    };
    if let Some((name, kind)) = CODECS.iter().find(|(known, _)| known == &name) {
        return Ok(Codec {
            name,
            kind: *kind,
            has_arguments: false,
            span,
        });
    }
    if EXPERIMENTAL_CODECS.contains(&name) {
        return Err(TypeError::new(
            "unknown-codec",
            span,
            format!("ClickHouse rejects the experimental codec `{name}`"),
        ));
    }
    let problem = TypeError::new("unknown-codec", span, format!("ClickHouse has no codec `{name}`"));
    Err(problem.did_you_mean(suggest::closest(name, CODECS.map(|(name, _)| name))))
}

/// Checks that a codec can compress each part of a type that ClickHouse stores with the column's
/// codec.
fn fits(codec: &Codec, ty: &Type) -> Result<(), TypeError> {
    let values = match codec.name {
        // A size that the declaration gives replaces the type's.
        "Delta" if !codec.has_arguments => "values of 1, 2, 4 or 8 bytes",
        "DoubleDelta" => "numbers, dates and times of at most 8 bytes",
        "T64" => "integers, decimals, dates, times, enums and IPv4 of at most 8 bytes",
        "GCD" => "integers, decimals, Date, Date32, DateTime and DateTime64",
        "Gorilla" => "floating-point numbers",
        "FPC" => "Float32 and Float64",
        _ => return Ok(()),
    };
    let mut misfit = None;
    each_part(ty, &mut |part| {
        if misfit.is_none() && !compresses(codec.name, part) {
            misfit = Some(part.to_string());
        }
    });
    let is_for_floats = matches!(codec.name, "Gorilla" | "FPC");
    let part = match misfit {
        Some(part) => part,
        None if is_for_floats && !has_floats(ty) => ty.to_string(),
        None => return Ok(()),
    };
    let written = ty.to_string();
    let whole = if part == written {
        String::new()
    } else {
        format!(", which `{written}` contains")
    };
    let message = format!("the codec {} cannot compress `{part}`{whole}", codec.name);
    Err(
        TypeError::new("codec-misfit", codec.span.clone(), message).help(format!(
            "{} compresses {values}; for any type, write `CODEC(ZSTD(1))`",
            codec.name
        )),
    )
}

/// Calls `f` with each part of a type that ClickHouse compresses with the column's codec. The sizes
/// of arrays, the marks of NULL and the numbers of a LowCardinality have a codec of their own.
fn each_part(ty: &Type, f: &mut impl FnMut(&Type)) {
    // The number of a value's type, and the parts of a JSON or a Dynamic whose types ClickHouse does
    // not know yet.
    const NUMBER: Type = Type::Int { bits: 8, signed: false };
    match ty {
        Type::LowCardinality(of) | Type::Nullable(of) | Type::Array(of) | Type::SimpleAggregateFunction(_, of) => {
            each_part(of, f);
        }
        Type::Map(key, value) => {
            each_part(key, f);
            each_part(value, f);
        }
        Type::Tuple(elements) => elements.iter().for_each(|(_, element)| each_part(element, f)),
        Type::Nested(elements) => elements.iter().for_each(|(_, element)| each_part(element, f)),
        Type::Shape(shape) => each_part(&shape.spelled_out(), f),
        Type::Variant(types) => {
            f(&NUMBER);
            types.iter().for_each(|ty| each_part(ty, f));
        }
        Type::Geometry => {
            f(&NUMBER);
            f(&Type::Float(64));
        }
        Type::Json(json) => {
            f(&NUMBER);
            json.typed().for_each(|(_, ty)| each_part(ty, f));
        }
        Type::Dynamic { .. } => f(&NUMBER),
        // One bit of each number in a string.
        Type::QBit { dimension, .. } => f(&Type::FixedString(dimension.div_ceil(8))),
        ty => f(ty),
    }
}

/// Returns whether ClickHouse accepts a codec for floating-point numbers: one element of a tuple
/// is enough, each element of a Nested is a
/// column of its own, and those of a map do not count.
fn has_floats(ty: &Type) -> bool {
    match ty {
        Type::Float(_) | Type::BFloat16 | Type::Shape(_) => true,
        Type::LowCardinality(of) | Type::Nullable(of) | Type::Array(of) | Type::SimpleAggregateFunction(_, of) => {
            has_floats(of)
        }
        Type::Tuple(elements) => elements.iter().any(|(_, element)| has_floats(element)),
        Type::Nested(elements) => elements.iter().all(|(_, element)| has_floats(element)),
        _ => false,
    }
}

fn compresses(codec: &str, part: &Type) -> bool {
    match codec {
        "FPC" => matches!(part, Type::Float(_)),
        "GCD" => matches!(
            part,
            Type::Int { .. }
                | Type::Bool
                | Type::Decimal { .. }
                | Type::Date
                | Type::Date32
                | Type::DateTime(_)
                | Type::DateTime64(..)
        ),
        "T64" => !matches!(part, Type::Float(_) | Type::BFloat16 | Type::Interval(_)) && is_small_number(part),
        "DoubleDelta" => is_small_number(part),
        _ => is_small_number(part) || matches!(part, Type::FixedString(1 | 2 | 4 | 8)),
    }
}

/// Returns whether ClickHouse stores a value as a number of at most 8 bytes.
fn is_small_number(part: &Type) -> bool {
    match part {
        Type::Int { bits, .. } => *bits <= 64,
        Type::Decimal { precision, .. } => *precision <= 18,
        Type::Float(_)
        | Type::BFloat16
        | Type::Bool
        | Type::Date
        | Type::Date32
        | Type::DateTime(_)
        | Type::DateTime64(..)
        | Type::Time
        | Type::Time64(_)
        | Type::Interval(_)
        | Type::Enum { .. }
        | Type::Ipv4 => true,
        _ => false,
    }
}

/// Checks that each codec of a list can follow the one before it, and that one of them compresses.
fn order(codecs: &[Codec], span: &Range<usize>) -> Result<(), TypeError> {
    let misfit = |codec: &Codec, message: String, help: &str| {
        Err(TypeError::new("codec-misfit", codec.span.clone(), message).help(help))
    };
    for (before, codec) in codecs.iter().zip(&codecs[1.min(codecs.len())..]) {
        let is_last = match before.kind {
            Kind::OfBytes => codec.kind != Kind::Encryption,
            Kind::Encryption => true,
            _ => false,
        };
        if is_last {
            let message = format!("the codec {} cannot follow {}", codec.name, before.name);
            return misfit(codec, message, "write the codec that compresses any bytes last");
        }
    }
    if let Some(none) = codecs.iter().find(|codec| codec.kind == Kind::None && codecs.len() > 1) {
        let message = "the codec NONE cannot be combined with others".to_owned();
        return misfit(none, message, "remove it");
    }
    for (index, codec) in codecs.iter().enumerate() {
        let delta = codecs[..index].iter().find(|before| before.name.ends_with("Delta"));
        if let (Some(delta), "Gorilla" | "FPC") = (delta, codec.name) {
            let message = format!("the codec {} cannot follow {}", codec.name, delta.name);
            return misfit(
                delta,
                message,
                "remove it: the codec for floating-point numbers computes differences itself",
            );
        }
    }
    let prepares = codecs.iter().find(|codec| codec.kind == Kind::Preparation);
    let compresses = codecs
        .iter()
        .any(|codec| matches!(codec.kind, Kind::OfValues | Kind::OfBytes));
    match prepares {
        Some(codec) if !compresses => {
            let message = format!("the codec {} alone does not compress", codec.name);
            Err(TypeError::new("codec-misfit", span.clone(), message)
                .help(format!("add one that does: `CODEC({}, ZSTD(1))`", codec.name)))
        }
        _ => Ok(()),
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
    fn unknown_codecs_are_rejected() {
        assert_eq!(
            rejection("Int8 CODEC(Delta(1), lz4)"),
            ("ClickHouse has no codec `lz4`".into(), "lz4")
        );
        assert_eq!(
            parse("Int8 CODEC(lz4)").unwrap_err()[0].help.as_deref(),
            Some("did you mean `LZ4`?")
        );
        assert!(parse("Int8 CODEC(Delta(1), `ZSTD`(3))").is_ok());
    }

    #[test]
    fn a_codec_compresses_each_part_of_the_type() {
        assert_eq!(
            rejection("UUID CODEC(Delta, LZ4)"),
            ("the codec Delta cannot compress `UUID`".into(), "Delta")
        );
        assert_eq!(
            rejection("Map(String, Array(UInt64)) CODEC(T64)").0,
            "the codec T64 cannot compress `String`, which `Map(String, Array(UInt64))` contains"
        );
        assert_eq!(rejection("Nested(a UInt8, b UUID) CODEC(Delta, LZ4)").1, "Delta");
        for text in [
            "Array(Nullable(UInt8)) CODEC(Delta, LZ4)",
            "String CODEC(Delta(4), LZ4)",
            "Point CODEC(Gorilla)",
            "DateTime64(3) CODEC(DoubleDelta, ZSTD(3))",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn codecs_that_cannot_follow_one_another_are_rejected() {
        assert_eq!(rejection("UInt8 CODEC(Delta)").1, "Delta");
        assert_eq!(rejection("UInt8 CODEC(LZ4, Delta)").1, "Delta");
        assert_eq!(rejection("UInt8 CODEC(NONE, LZ4)").1, "NONE");
        assert_eq!(rejection("Float64 CODEC(Delta, Gorilla)").1, "Delta");
        assert!(parse("UInt8 CODEC(Delta, ZSTD, AES_128_GCM_SIV)").is_ok());
    }
}
