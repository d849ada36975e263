//! Defaults that are known at build time.

use proc_macro2::{Literal as RustLiteral, TokenStream};
use quote::quote;

use crate::types::{
    ast::{DefaultKind, Type},
    declaration::Declaration,
    literal::Literal,
};

/// Returns the value of a DEFAULT that is a literal of a plain type; ClickHouse computes every
/// other default.
pub(crate) fn constant(declaration: &Declaration) -> Option<TokenStream> {
    let default = declaration
        .default
        .as_ref()
        .filter(|default| default.kind == DefaultKind::Default)?;
    value(&default.literal()?, &declaration.ty)
}

fn value(literal: &Literal, ty: &Type) -> Option<TokenStream> {
    match (ty, literal) {
        (Type::LowCardinality(inner), literal) => value(literal, inner),
        (Type::Nullable(_), Literal::Null) => Some(quote!(None)),
        (Type::Nullable(inner), literal) => {
            let inner = value(literal, inner)?;
            Some(quote!(Some(#inner)))
        }
        (Type::String, Literal::Text(text)) => Some(quote!(::std::borrow::Cow::Borrowed(#text))),
        (Type::Bool, Literal::Bool(value)) => Some(quote!(#value)),
        (Type::Int { bits, signed }, Literal::Number(text)) => integer(text, *bits, *signed),
        (Type::Float(64), Literal::Number(text)) => {
            let value: f64 = text.parse().ok()?;
            let literal = RustLiteral::f64_unsuffixed(value.abs());
            Some(if value.is_sign_negative() {
                quote!(-#literal)
            } else {
                quote!(#literal)
            })
        }
        _ => None,
    }
}

/// Returns the number if the type can hold it; ClickHouse converts any other number.
fn integer(text: &str, bits: u16, signed: bool) -> Option<TokenStream> {
    let value: i128 = text.parse().ok()?;
    let range = match (bits, signed) {
        (1..=64, true) => -(1_i128 << (bits - 1))..=(1_i128 << (bits - 1)) - 1,
        (1..=64, false) => 0..=(1_i128 << bits) - 1,
        _ => return None,
    };
    let literal = RustLiteral::u128_unsuffixed(value.unsigned_abs());
    range
        .contains(&value)
        .then(|| if value < 0 { quote!(-#literal) } else { quote!(#literal) })
}
