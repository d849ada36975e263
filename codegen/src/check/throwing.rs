//! A rule for expressions that throw on a value that an event may have.
//!
//! ClickHouse computes defaults, keys, indexes, projections and TTLs during an insert. If an
//! expression throws, ClickHouse rejects the row after the collector has told the client that its
//! event is recorded. The rule reports an expression only if it certainly throws on some value;
//! tests/it/checker/throwing.txt compares the rule with ClickHouse.

use std::ops::Range;

use super::table::{Clause, Expression, Resolved, sql_span};
use crate::{
    diagnostic::{Diagnostic, Report},
    inherit::{ResolvedColumn, ResolvedTable},
    paths::{self, Role},
    types::{self, Call, DefaultKind, KeyElement, KeyElementKind, Reference, Type},
};

/// Functions that parse a text and have variants with the suffixes `OrZero` and `OrNull`.
const PARSERS: [&str; 38] = [
    "parseDateTime",
    "parseDateTime32BestEffort",
    "parseDateTime64",
    "parseDateTime64BestEffort",
    "parseDateTime64BestEffortUS",
    "parseDateTime64InJodaSyntax",
    "parseDateTimeBestEffort",
    "parseDateTimeBestEffortUS",
    "parseDateTimeInJodaSyntax",
    "parseReadableSize",
    "toBFloat16",
    "toDate",
    "toDate32",
    "toDateTime",
    "toDateTime64",
    "toDecimal128",
    "toDecimal256",
    "toDecimal32",
    "toDecimal64",
    "toFloat32",
    "toFloat64",
    "toIPv4",
    "toIPv6",
    "toInt128",
    "toInt16",
    "toInt256",
    "toInt32",
    "toInt64",
    "toInt8",
    "toTime",
    "toTime64",
    "toUInt128",
    "toUInt16",
    "toUInt256",
    "toUInt32",
    "toUInt64",
    "toUInt8",
    "toUUID",
];

/// Other functions that parse a text, and their variants that do not throw.
const OTHER_PARSERS: [(&str, &[&str]); 12] = [
    ("DATE", &["toDateOrZero", "toDateOrNull"]),
    (
        "IPv4StringToNum",
        &["IPv4StringToNumOrDefault", "IPv4StringToNumOrNull"],
    ),
    (
        "IPv6StringToNum",
        &["IPv6StringToNumOrDefault", "IPv6StringToNumOrNull"],
    ),
    ("base32Decode", &["tryBase32Decode"]),
    ("base58Decode", &["tryBase58Decode"]),
    ("base64Decode", &["tryBase64Decode"]),
    ("base64URLDecode", &["tryBase64URLDecode"]),
    ("toBool", CASTS),
    ("toDateTime32", &["toDateTimeOrZero", "toDateTimeOrNull"]),
    ("toFixedString", CASTS),
    ("toModifiedJulianDay", &["toModifiedJulianDayOrNull"]),
    (
        "toUnixTimestamp",
        &["toDateTimeOrZero", "parseDateTimeBestEffortOrZero"],
    ),
];

const CASTS: &[&str] = &["accurateCastOrDefault", "accurateCastOrNull"];

/// Functions whose second argument must not be 0, and variants that accept an integer 0.
const DIVISIONS: [(&str, &[&str]); 7] = [
    ("divide", &[]),
    ("intDiv", &["intDivOrZero", "intDivOrNull"]),
    ("mod", &["moduloOrZero", "moduloOrNull"]),
    ("modulo", &["moduloOrZero", "moduloOrNull"]),
    ("pmod", &["positiveModuloOrNull"]),
    ("positiveModulo", &["positiveModuloOrNull"]),
    ("positive_modulo", &["positiveModuloOrNull"]),
];

/// Functions that compute a text from texts.
const TEXT_FUNCTIONS: [&str; 30] = [
    "JSONExtractRaw",
    "JSONExtractString",
    "concat",
    "cutQueryString",
    "decodeURLComponent",
    "domain",
    "extract",
    "extractURLParameter",
    "left",
    "lower",
    "lowerUTF8",
    "path",
    "regexpExtract",
    "replace",
    "replaceAll",
    "replaceOne",
    "replaceRegexpAll",
    "replaceRegexpOne",
    "reverse",
    "right",
    "simpleJSONExtractString",
    "substr",
    "substring",
    "substringUTF8",
    "trim",
    "trimBoth",
    "trimLeft",
    "trimRight",
    "upper",
    "upperUTF8",
];

/// Functions that return one of their arguments.
const SELECTING_FUNCTIONS: [&str; 8] = [
    "assumeNotNull",
    "coalesce",
    "if",
    "ifNull",
    "materialize",
    "multiIf",
    "nullIf",
    "toNullable",
];

/// Rule: no expression that ClickHouse computes during an insert throws, for any event.
pub(super) fn throwing_expression(table: &ResolvedTable, report: &mut Report) {
    let roles = paths::roles(table, &paths::extras(&table.columns));
    for expression in table.expressions() {
        // ClickHouse computes an ALIAS during a query, not during an insert.
        if expression.clause == Clause::Default(DefaultKind::Alias) {
            continue;
        }
        let text = expression.sql.as_str();
        let values = Values {
            table,
            roles: &roles,
            named: types::references(text),
        };
        // For a default, ClickHouse computes all branches for all rows; for other expressions, only
        // the branches that a row needs.
        let is_default = matches!(expression.clause, Clause::Default(_));
        let explicit = types::calls(text)
            .into_iter()
            .filter(|call| is_default || !call.is_guarded)
            .filter_map(|call| {
                let throwing = values.throwing_call(&call)?;
                let is_guarded = call.is_guarded;
                Some((call.span, Throwing { is_guarded, ..throwing }))
            });
        let implicit = values
            .throwing_default(&expression)
            .map(|throwing| (0..text.len(), throwing));
        for (span, throwing) in explicit.chain(implicit) {
            report.push_unless_allowed(throwing.report(&span, &expression, table), |code| table.allows(code));
        }
    }
}

/// An expression that throws on a value of a column.
struct Throwing<'t> {
    column: &'t ResolvedColumn,
    /// The type that ClickHouse converts the value into implicitly.
    into: Option<&'t Type>,
    /// Whether a condition guards the expression.
    is_guarded: bool,
    help: String,
}

impl Throwing<'_> {
    fn report(self, span: &Range<usize>, expression: &Expression<'_>, table: &ResolvedTable) -> Diagnostic {
        let sql = &expression.sql;
        let name = &self.column.name;
        let what = &sql.as_str()[span.clone()];
        let message = match self.into {
            None => format!("`{what}` throws on some values of `{name}`"),
            Some(ty) => format!("the conversion of `{what}` to `{ty}` throws on some values of `{name}`"),
        };
        let place = expression.place();
        let diagnostic = Diagnostic::warning("throwing-expression", message)
            .label(sql.span(span).unwrap_or_else(|| sql_span(sql, table)), place)
            .label(
                self.column.span.clone(),
                "the collector acknowledges an event with such a value, and ClickHouse then rejects its row",
            )
            .help(self.help);
        if self.is_guarded {
            return diagnostic
                .help("a condition does not help: ClickHouse computes all branches of a default for all rows");
        }
        diagnostic
    }
}

/// The known facts about the values of an expression.
struct Values<'t, 'a> {
    table: &'t ResolvedTable,
    roles: &'a [Role],
    /// The columns that the expression names.
    named: Vec<Reference>,
}

impl<'t> Values<'t, '_> {
    fn throwing_call(&self, call: &Call) -> Option<Throwing<'t>> {
        let function = call.function.as_str();
        if function == "throwIf" {
            let is_inside = |named: &&Reference| call.span.contains(&named.span.start);
            let (column, _) = self
                .named
                .iter()
                .filter(is_inside)
                .find_map(|named| self.free_column(named))?;
            let help = "declare the condition with `required`, `max_bytes` or a narrower type: the collector then \
                        rejects an event that does not meet it";
            return Some(Throwing::new(column, help.to_owned()));
        }
        if let Some((_, variants)) = DIVISIONS.iter().find(|(name, _)| *name == function) {
            return self.throwing_division(call, variants);
        }
        let (source, column) = self.value(call.arguments.first()?)?;
        let is_cast = matches!(function, "CAST" | "accurateCast");
        if !is_cast && is_text(&source) {
            if matches!(source, Type::Nullable(_)) && returns_null(function) {
                return None;
            }
            return Some(Throwing::new(
                column,
                non_throwing_help(&non_throwing_variants(function)?),
            ));
        }
        let target = if is_cast { call.target.clone() } else { target(call) }?;
        // A function other than CAST returns NULL for NULL.
        let source = if is_cast { &source } else { not_null(&source) };
        may_fail(source, &target).then(|| Throwing::new(column, help_for(source, &target, column)))
    }

    fn throwing_division(&self, call: &Call, variants: &[&str]) -> Option<Throwing<'t>> {
        let divisor = call.arguments.get(1)?;
        divisor.column()?;
        let (ty, column) = self.value(divisor)?;
        let help = match not_null(&ty) {
            Type::Int { .. } if call.function != "divide" => non_throwing_help(variants),
            Type::Decimal { .. } => "divide by a float, with `toFloat64`; round with `floor`".to_owned(),
            Type::Float(_) | Type::BFloat16 if call.function == "intDiv" => {
                "divide with `/`, and round with `floor`".to_owned()
            }
            _ => return None,
        };
        Some(Throwing::new(column, help))
    }

    /// Checks a default, whose result ClickHouse converts into the column's type.
    fn throwing_default(&self, expression: &Expression<'t>) -> Option<Throwing<'t>> {
        let (Clause::Default(_), Some(of)) = (expression.clause, expression.column) else {
            return None;
        };
        let elements = types::key_elements(expression.sql.as_str())?;
        let [whole] = elements.as_slice() else {
            return None;
        };
        let (source, column) = self.value(whole)?;
        let target = &of.declaration.ty;
        may_fail(&source, target).then(|| Throwing {
            into: Some(target),
            ..Throwing::new(column, help_for(&source, target, column))
        })
    }

    /// Returns the column if a client chooses its values, and whether the name is the whole column.
    fn free_column(&self, reference: &Reference) -> Option<(&'t ResolvedColumn, bool)> {
        let Resolved::Column(column, rest) = self.table.resolve(reference) else {
            return None;
        };
        let is_free = match self.roles.get(*self.table.places.get(&column.name)?)? {
            Role::Event | Role::Extra => true,
            Role::Collector(value) => value.is_free_text(),
            Role::Computed => false,
        };
        is_free.then_some((column, rest.is_empty()))
    }

    /// Returns the type of an element, and the column that its value comes from; none if a client
    /// cannot choose the value.
    fn value(&self, element: &KeyElement) -> Option<(Type, &'t ResolvedColumn)> {
        match &element.kind {
            KeyElementKind::Column(reference) => {
                // The parameter of a lambda may have the name of a column.
                let named = self
                    .named
                    .iter()
                    .find(|named| named.span.start == reference.span.start)?;
                let (column, is_whole_column) = self.free_column(named)?;
                is_whole_column.then(|| (stored(&column.declaration.ty).clone(), column))
            }
            KeyElementKind::Index(of) => {
                let (ty, column) = self.value(of)?;
                match ty {
                    Type::Array(element) | Type::Map(_, element) => Some((stored(&element).clone(), column)),
                    _ => None,
                }
            }
            KeyElementKind::Call(function, arguments) => {
                let function = function.as_str();
                let is_known = TEXT_FUNCTIONS.contains(&function) || SELECTING_FUNCTIONS.contains(&function);
                let mut values = arguments.iter().filter_map(|argument| self.value(argument));
                let (ty, column) = is_known.then(|| values.find(|(ty, _)| is_text(ty)))??;
                let is_null = match function {
                    "assumeNotNull" | "coalesce" | "ifNull" => false,
                    "nullIf" | "toNullable" => true,
                    _ => matches!(ty, Type::Nullable(_)),
                };
                let text = if is_null {
                    Type::Nullable(Box::new(Type::String))
                } else {
                    Type::String
                };
                Some((text, column))
            }
            KeyElementKind::Constant | KeyElementKind::Other => None,
        }
    }
}

impl<'t> Throwing<'t> {
    const fn new(column: &'t ResolvedColumn, help: String) -> Self {
        Self {
            column,
            into: None,
            is_guarded: false,
            help,
        }
    }
}

/// Returns the type without wrappers that only concern how ClickHouse stores the values.
fn stored(ty: &Type) -> &Type {
    match ty {
        Type::LowCardinality(inner) | Type::SimpleAggregateFunction(_, inner) => stored(inner),
        ty => ty,
    }
}

fn not_null(ty: &Type) -> &Type {
    match stored(ty) {
        Type::Nullable(inner) => stored(inner),
        ty => ty,
    }
}

fn is_text(ty: &Type) -> bool {
    matches!(not_null(ty), Type::String | Type::FixedString(_))
}

/// Returns whether a cast throws on some value of `source`.
fn may_fail(source: &Type, target: &Type) -> bool {
    let is_nullable = matches!(stored(target), Type::Nullable(_));
    let accepts_null = is_nullable || matches!(stored(target), Type::Variant(_) | Type::Dynamic { .. });
    if matches!(stored(source), Type::Nullable(_)) && !accepts_null {
        return true;
    }
    match (not_null(source), not_null(target)) {
        (Type::Array(source), Type::Array(target)) => may_fail(source, target),
        (Type::FixedString(length), Type::FixedString(longer)) => longer < length,
        (Type::String | Type::FixedString(_), target) => match target {
            // ClickHouse turns a text that is not a number or a date into NULL, but throws on a
            // text that is not a value of these types.
            Type::Bool | Type::Enum { .. } => true,
            Type::Json(_) | Type::Array(_) | Type::Tuple(_) => true,
            target => !is_nullable && is_read_from_text(target),
        },
        (Type::Int { .. } | Type::Float(_) | Type::BFloat16, Type::Enum { .. }) => true,
        // NaN and infinity are texts that a float accepts.
        (Type::Float(_) | Type::BFloat16, Type::Int { .. } | Type::Decimal { .. }) => true,
        (Type::Float(_) | Type::BFloat16, Type::DateTime64(..) | Type::Time64(_)) => true,
        (Type::Int { bits, signed }, Type::Decimal { precision, scale }) => {
            let max = 2_f64.powi(i32::from(*bits) - i32::from(*signed));
            *precision <= 18 && max * 10_f64.powi((*scale).into()) > native_max(*precision)
        }
        (Type::Decimal { .. }, Type::Int { .. }) => true,
        (
            Type::Decimal { precision, scale },
            Type::Decimal {
                precision: into,
                scale: into_scale,
            },
        ) => {
            let digits = i32::from(*precision) - i32::from(*scale) + i32::from(*into_scale);
            10_f64.powi(digits) > native_max(*into)
        }
        _ => false,
    }
}

fn is_read_from_text(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Int { .. }
            | Type::Float(_)
            | Type::BFloat16
            | Type::Decimal { .. }
            | Type::Date
            | Type::Date32
            | Type::DateTime(_)
            | Type::DateTime64(..)
            | Type::Time
            | Type::Time64(_)
            | Type::Uuid
            | Type::Ipv4
            | Type::Ipv6
            | Type::FixedString(_)
    )
}

/// Returns the limit of the integer that stores a Decimal.
fn native_max(precision: u8) -> f64 {
    2_f64.powi(match precision {
        0..=9 => 31,
        10..=18 => 63,
        19..=38 => 127,
        _ => 255,
    })
}

/// Returns whether the function returns NULL for a Nullable text that it cannot parse.
fn returns_null(function: &str) -> bool {
    let is_cast = PARSERS.contains(&function) && function.starts_with("to");
    let is_alias = matches!(function, "DATE" | "toDateTime32" | "toUnixTimestamp");
    (is_cast || is_alias) && !matches!(function, "toDateTime64" | "toTime64")
}

/// Returns the type that a function such as `toUInt8` or `toDecimal32` converts into, without NULL.
fn target(call: &Call) -> Option<Type> {
    let name = call.function.strip_prefix("to")?;
    let scale = || match &call.arguments.get(1)?.kind {
        KeyElementKind::Constant => Some(&*call.arguments[1].normal),
        _ => None,
    };
    let text = match name {
        "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" | "DateTime64" | "Time64" => {
            format!("{name}({})", scale()?)
        }
        name => name.to_owned(),
    };
    Some(types::parse(&text).ok()?.ty)
}

/// Returns the functions that parse a text as `function` does, but do not throw.
fn non_throwing_variants(function: &str) -> Option<Vec<String>> {
    if PARSERS.contains(&function) {
        return Some(vec![format!("{function}OrZero"), format!("{function}OrNull")]);
    }
    let (_, variants) = OTHER_PARSERS.iter().find(|(name, _)| *name == function)?;
    Some(variants.iter().map(|name| (*name).to_owned()).collect())
}

fn non_throwing_help<T: AsRef<str>>(functions: &[T]) -> String {
    let functions: Vec<String> = functions
        .iter()
        .map(|function| format!("`{}`", function.as_ref()))
        .collect();
    let verb = if functions.len() == 1 { "does" } else { "do" };
    format!("{} {verb} not throw", functions.join(" and "))
}

/// Returns the help text for a cast that throws.
fn help_for(source: &Type, target: &Type, column: &ResolvedColumn) -> String {
    match (not_null(source), not_null(target)) {
        (Type::Decimal { .. }, Type::Int { .. }) => "convert with `toFloat64` first".to_owned(),
        // For these types, the non-throwing casts throw as well.
        (_, Type::Enum { .. } | Type::Json(_) | Type::Tuple(_) | Type::Array(_))
        | (Type::Float(_) | Type::BFloat16, Type::DateTime64(..) | Type::Time64(_)) => format!(
            "declare `{}` as `{target}`: the collector then rejects an event whose value does not fit",
            column.name
        ),
        _ => non_throwing_help(CASTS),
    }
}
