//! The rules that ClickHouse 26.7, with its default settings, enforces for types when it creates a
//! table: one function each.
//!
//! Each rule has the items to check and their bytes in the text as parameters, and returns the
//! problem if they break it.

use std::{collections::HashSet, ops::Range, sync::LazyLock};

use jiff::tz::TimeZoneDatabase;

use super::{
    ast::{Shape, Type},
    error::TypeError,
    suggest,
};

/// The database that comes with the crate, so that the result of a build does not depend on the
/// machine.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

type Rule = Result<(), TypeError>;

/// ClickHouse rejects a longer FixedString by default, as it reads and writes the padding with each
/// row (`allow_suspicious_fixed_string_types`).
const MAX_FIXED_STRING_BYTES: u64 = 256;
const MAX_DECIMAL_PRECISION: u64 = 76;
const MAX_DATE_TIME64_DIGITS: u64 = 9;

pub(super) fn fixed_string_length(bytes: u64, span: &Range<usize>) -> Rule {
    match bytes {
        0 => Err(TypeError::new(
            "type-range",
            span.clone(),
            "a FixedString must have at least one byte",
        )),
        1..=MAX_FIXED_STRING_BYTES => Ok(()),
        _ => Err(TypeError::new(
            "type-range",
            span.clone(),
            format!("ClickHouse rejects a FixedString of more than {MAX_FIXED_STRING_BYTES} bytes"),
        )
        .help("use `String`, which has no fixed length")),
    }
}

pub(super) fn decimal_precision(precision: u64, span: &Range<usize>) -> Rule {
    if (1..=MAX_DECIMAL_PRECISION).contains(&precision) {
        return Ok(());
    }
    let message = format!("a Decimal's precision must be from 1 to {MAX_DECIMAL_PRECISION}, not {precision}");
    Err(TypeError::new("type-range", span.clone(), message))
}

pub(super) fn decimal_scale(scale: u64, precision: u64, span: &Range<usize>) -> Rule {
    if scale <= precision {
        return Ok(());
    }
    let message = format!("a Decimal of {precision} digits cannot have {scale} decimal places");
    Err(TypeError::new("type-range", span.clone(), message))
}

pub(super) fn date_time64_digits(digits: u64, span: &Range<usize>) -> Rule {
    if digits <= MAX_DATE_TIME64_DIGITS {
        return Ok(());
    }
    let message = format!("a DateTime64's precision must be from 0 to {MAX_DATE_TIME64_DIGITS}, not {digits}");
    Err(TypeError::new("type-range", span.clone(), message).help("write at most 9, which is nanoseconds"))
}

pub(super) fn time64_digits(digits: u64, span: &Range<usize>) -> Rule {
    if digits <= MAX_DATE_TIME64_DIGITS {
        return Ok(());
    }
    let message = format!("a Time64's precision must be from 0 to {MAX_DATE_TIME64_DIGITS}, not {digits}");
    Err(TypeError::new("type-range", span.clone(), message).help("write at most 9, which is nanoseconds"))
}

/// The prefix of names of fixed offsets.
const FIXED_ZONE: &str = "Fixed/UTC";
/// The folder with a second copy of a machine's zones.
const POSIX_FOLDER: &str = "posix/";
/// Names of files that hold different zones on different machines.
const MACHINE_DEPENDENT_ZONES: [&str; 2] = ["localtime", "posixrules"];

/// Checks that the time zone exists. Its names are case-sensitive in ClickHouse, but not in the
/// time zone database of this crate.
pub(super) fn time_zone(name: &str, span: &Range<usize>) -> Rule {
    let problem = || TypeError::new("unknown-time-zone", span.clone(), format!("unknown time zone `{name}`"));
    if name.is_empty() || MACHINE_DEPENDENT_ZONES.contains(&name) {
        return Ok(());
    }
    if let Some(offset) = name.strip_prefix(FIXED_ZONE) {
        return match is_offset(offset) {
            true => Ok(()),
            false => Err(problem().help("write it as `Fixed/UTC+03:00:00`, up to 24 hours")),
        };
    }
    let zone = ZONES
        .get(name.strip_prefix(POSIX_FOLDER).unwrap_or(name))
        .map_err(|_| {
            let known: Vec<_> = ZONES.available().map(|zone| zone.as_str().to_owned()).collect();
            problem().did_you_mean(suggest::closest(name, known.iter().map(String::as_str)))
        })?;
    match zone.iana_name() {
        Some(known) if name.ends_with(known) => Ok(()),
        Some(known) if known.eq_ignore_ascii_case(name) => Err(problem().did_you_mean(Some(known))),
        _ => Err(problem()),
    }
}

/// Returns whether the text is a sign and hours, minutes and seconds of two digits each, at most
/// one day in total.
fn is_offset(text: &str) -> bool {
    let [b'+' | b'-', h1, h0, b':', m1, m0, b':', s1, s0] = text.as_bytes() else {
        return false;
    };
    let number = |tens: &u8, ones: &u8| {
        let digit = |byte: &u8| char::from(*byte).to_digit(10);
        Some(10 * digit(tens)? + digit(ones)?)
    };
    let seconds = || Some(3600 * number(h1, h0)? + 60 * number(m1, m0)? + number(s1, s0)?);
    seconds().is_some_and(|seconds| seconds <= 24 * 3600)
}

/// Returns a warning for a zone that ClickHouse looks up only among the files of its machine.
pub(super) fn zone_of_the_machine(name: &str, span: &Range<usize>) -> Option<TypeError> {
    let (message, help) = if let Some(same) = name.strip_prefix(POSIX_FOLDER) {
        (
            format!("the time zone `{name}` exists only if ClickHouse's machine has a file of that name"),
            format!("write `{same}`, which is the same time zone"),
        )
    } else if MACHINE_DEPENDENT_ZONES.contains(&name) {
        (
            format!("the time zone `{name}` depends on ClickHouse's machine: the collector rejects local times"),
            "name the zone, for example `'Europe/Berlin'`, or write `DateTime` alone, which the collector reads as UTC"
                .to_owned(),
        )
    } else {
        return None;
    };
    Some(TypeError::warning("zone-of-the-machine", span.clone(), message).help(help))
}

pub(super) fn enum_is_not_empty(count: usize, span: &Range<usize>) -> Rule {
    if count > 0 {
        return Ok(());
    }
    Err(
        TypeError::new("enum-empty", span.clone(), "an enum must have at least one value")
            .help("write `Enum('first', 'second')`"),
    )
}

pub(super) fn enum_range(name: &str, value: i64, bits: u8, span: &Range<usize>) -> Result<i16, TypeError> {
    let fitting = if bits == 8 {
        i8::try_from(value).ok().map(i16::from)
    } else {
        i16::try_from(value).ok()
    };
    fitting.ok_or_else(|| {
        let problem = TypeError::new(
            "enum-range",
            span.clone(),
            format!("an Enum{bits} cannot hold `{name}` = {value}"),
        );
        if i16::try_from(value).is_ok() {
            problem.help("use `Enum16`")
        } else {
            problem.help(format!("use numbers from {} to {}", i16::MIN, i16::MAX))
        }
    })
}

pub(super) fn nested_is_not_empty(count: usize, span: &Range<usize>) -> Rule {
    if count > 0 {
        return Ok(());
    }
    Err(
        TypeError::new("nested-empty", span.clone(), "a Nested must have at least one element")
            .help("write `Nested(name Type)`"),
    )
}

pub(super) fn nullable(inner: &Type, span: &Range<usize>) -> Rule {
    let problem = TypeError::new(
        "nullable-inner",
        span.clone(),
        format!("`{inner}` cannot be inside Nullable"),
    );
    match inner {
        Type::LowCardinality(of) if !matches!(**of, Type::Nullable(_)) => {
            Err(problem.help(format!("write `LowCardinality(Nullable({of}))`")))
        }
        Type::Nullable(_) => Err(problem.help("remove one of the two Nullable")),
        Type::LowCardinality(_) => Err(problem),
        Type::Array(of) if nullable(of, span).is_ok() => Err(problem.help(format!(
            "use an empty array for a missing value, or write `Array(Nullable({of}))`"
        ))),
        Type::Array(_) | Type::Map(..) | Type::Nested(_) => Err(problem.help("use an empty value for a missing one")),
        Type::Tuple(_) => Err(problem.help("make its elements Nullable instead")),
        Type::Shape(Shape::Point) => {
            Err(problem.help("use `Tuple(Nullable(Float64), Nullable(Float64))`, or (0, 0) for a missing value"))
        }
        Type::Shape(_) => Err(problem.help("use an empty value for a missing one")),
        Type::Variant(_) | Type::Geometry | Type::Dynamic { .. } => {
            Err(problem.help("remove the Nullable: NULL is one of its values"))
        }
        Type::AggregateFunction(_) => Err(problem),
        Type::SimpleAggregateFunction(_, of) => nullable(of, span),
        _ => Ok(()),
    }
}

/// Checks the type inside a LowCardinality. Among types of a fixed size, ClickHouse allows
/// FixedString and UUID; the others need `allow_suspicious_low_cardinality_types`.
pub(super) fn low_cardinality(inner: &Type, span: &Range<usize>) -> Rule {
    let value = if let Type::Nullable(value) = inner {
        value
    } else {
        inner
    };
    match value {
        Type::String | Type::FixedString(_) | Type::Uuid => Ok(()),
        Type::SimpleAggregateFunction(_, of) => low_cardinality(of, span),
        Type::Int { .. }
        | Type::Float(_)
        | Type::BFloat16
        | Type::Bool
        | Type::Date
        | Type::Date32
        | Type::DateTime(_)
        | Type::Time
        | Type::Interval(_)
        | Type::Ipv4
        | Type::Ipv6 => {
            let message = format!("ClickHouse rejects `LowCardinality({inner})`, which makes small values slower");
            Err(TypeError::new("low-cardinality-inner", span.clone(), message).help(format!("use `{inner}` alone")))
        }
        _ => {
            let message = format!("`{inner}` cannot be inside LowCardinality");
            Err(
                TypeError::new("low-cardinality-inner", span.clone(), message).help(match value {
                    Type::Array(_) | Type::Map(..) | Type::Tuple(_) | Type::Nested(_) | Type::Variant(_) => {
                        "put LowCardinality around the strings in it".to_owned()
                    }
                    _ => format!("use `{inner}` alone"),
                }),
            )
        }
    }
}

pub(super) fn map_key(key: &Type, span: &Range<usize>) -> Rule {
    if !key.is_nullable() {
        return Ok(());
    }
    Err(
        TypeError::new("map-key", span.clone(), format!("the key of a Map cannot be `{key}`"))
            .help("remove the Nullable"),
    )
}

/// Checks the names of a tuple's elements. Either all elements have names or none; no name occurs
/// twice; `null` is reserved, as ClickHouse's name for a subcolumn of a Nullable. ClickHouse
/// accepts `Tuple(a Tuple(b UInt8), `a.b` UInt8)`, but can never read back the values that it has
/// stored.
pub(super) fn element_names<'a>(names: impl Iterator<Item = (Option<&'a str>, &'a Range<usize>)>) -> Rule {
    let mut seen = HashSet::new();
    let mut dotted = Vec::new();
    let mut first_has_name = None;
    for (name, span) in names {
        if *first_has_name.get_or_insert(name.is_some()) != name.is_some() {
            let message = "a Tuple must have names for all elements or for none";
            return Err(TypeError::new("element-names", span.clone(), message));
        }
        if let Some(name) = name {
            if name == "null" {
                let message =
                    "an element cannot have the name `null`, which ClickHouse uses for the mask of a Nullable";
                return Err(TypeError::new("element-names", span.clone(), message));
            }
            if !seen.insert(name) {
                let message = format!("two elements have the name `{name}`");
                return Err(TypeError::new("element-names", span.clone(), message));
            }
            if name.contains('.') {
                dotted.push((name, span));
            }
        }
    }
    for (name, span) in dotted {
        let mut others = name.match_indices('.').map(|(dot, _)| &name[..dot]);
        if let Some(other) = others.find(|other| seen.contains(other)) {
            let message = format!("ClickHouse may store the elements `{other}` and `{name}` under the same name");
            return Err(TypeError::new("element-names", span.clone(), message)
                .help("rename one of them: its name must not begin with the other name and a dot"));
        }
    }
    Ok(())
}
