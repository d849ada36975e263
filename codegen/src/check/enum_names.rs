//! Rules for the names in Rust that a schema gives values of enums.

use crate::{
    diagnostic::{Diagnostic, Report},
    inherit::{ResolvedColumn, ResolvedTable},
    types::Type,
};

/// The constant of an enum in the generated code, which a variant of this name would hide.
const RESERVED: &str = "ALL";

/// Rule: each name is that of a value that the column has, and no two values of a column have the
/// same one.
pub(super) fn named_values(table: &ResolvedTable, report: &mut Report) {
    for column in &table.columns {
        let mut values = Vec::new();
        collect(&column.declaration.ty, &mut values);
        for (at, named) in column.rust.values.iter().enumerate() {
            if !values.contains(&named.value.text.as_str()) {
                report.push(unknown_value(column, at, &values));
            }
            let twin = column.rust.values[..at]
                .iter()
                .find(|other| other.name.text == named.name.text);
            let taken = |problem: &str| {
                let message = format!("`{}` {problem}", named.name.text);
                Diagnostic::error("bad-rust-name", message).label(named.name.span.clone(), "")
            };
            if let Some(twin) = twin {
                let diagnostic =
                    taken("is the name of two values in Rust").label(twin.name.span.clone(), "the other one");
                report.push(diagnostic.help("give one of them another name"));
            } else if named.name.text == RESERVED {
                report.push(taken("is the list of all values in Rust").help("give the value another name"));
            }
        }
    }
}

fn unknown_value(column: &ResolvedColumn, at: usize, values: &[&str]) -> Diagnostic {
    let value = &column.rust.values[at].value;
    let message = format!("column `{}` has no value `{}`", column.name, value.text);
    let diagnostic = Diagnostic::error("bad-rust-name", message).label(value.span.clone(), "");
    match values.is_empty() {
        true => diagnostic.help("only the values of an Enum have names"),
        false => diagnostic
            .did_you_mean(&value.text, values.iter().copied())
            .help(format!("the values are `{}`", values.join("`, `"))),
    }
}

/// Collects the values of all enums in a type.
fn collect<'t>(ty: &'t Type, values: &mut Vec<&'t str>) {
    match ty {
        Type::Enum { values: own, .. } => values.extend(own.iter().map(|(text, _)| text.as_str())),
        Type::LowCardinality(inner)
        | Type::Nullable(inner)
        | Type::Array(inner)
        | Type::SimpleAggregateFunction(_, inner) => collect(inner, values),
        Type::Map(key, value) => {
            collect(key, values);
            collect(value, values);
        }
        Type::Tuple(elements) => elements.iter().for_each(|(_, element)| collect(element, values)),
        Type::Nested(fields) => fields.iter().for_each(|(_, field)| collect(field, values)),
        Type::Variant(variants) => variants.iter().for_each(|variant| collect(variant, values)),
        _ => {}
    }
}
