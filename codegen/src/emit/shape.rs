//! Shapes: how the values of a column become a column of ClickHouse's Native format, if Rowmill
//! supports its type.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use crate::{
    model::{Column, Table},
    paths::Role,
    types::{Declaration, DefaultKind, Type},
};

/// The maximum depth of shapes; types that nest deeper are sent in rows.
const MAX_DEPTH: usize = 16;

/// The form in which a column is sent.
pub(super) struct Sent {
    /// The `Shape`.
    pub(super) shape: TokenStream,
    /// The type that the values have in this form.
    pub(super) data_type: String,
}

/// Returns the form in which a column is sent; none if its type can only be sent in rows, or is not
/// sent.
pub(super) fn sent(column: &Column, table: &Table) -> Option<Sent> {
    if column.role == Role::Computed {
        return None;
    }
    let inner = shape(&column.declaration.ty, 0)?;
    let ty = sent_type(&column.declaration.ty);
    let is_marked = table.has_computed_defaults();
    let (shape, ty) = match (is_marked, column.has_computed_default()) {
        (false, _) => (inner, ty),
        (true, false) => (quote!(__rt::Shape::WithDefaultFlag(&#inner)), ty),
        // The mark is the NULL of a Nullable. In a column that is not Nullable itself, ClickHouse
        // replaces this NULL by the default.
        (true, true) if is_scalar(&ty) => (quote!(__rt::Shape::Nullable(&#inner)), Type::Nullable(Box::new(ty))),
        (true, true) => return None,
    };
    Some(Sent {
        shape,
        data_type: ty.to_string(),
    })
}

/// Returns whether the column's values have a shape or are in no row, so that the columns after it
/// in a row can be found.
pub(crate) fn can_be_skipped(declaration: &Declaration) -> bool {
    let kind = declaration.default.as_ref().map(|default| default.kind);
    if matches!(kind, Some(DefaultKind::Materialized | DefaultKind::Alias)) {
        return true;
    }
    let ty = &declaration.ty;
    shape(ty, 0).is_some() && (!declaration.has_computed_default() || is_scalar(&sent_type(ty)))
}

/// Returns the type whose columns hold only the values: a LowCardinality or a
/// SimpleAggregateFunction becomes its inner type.
fn sent_type(ty: &Type) -> Type {
    let boxed = |ty: &Type| Box::new(sent_type(ty));
    match ty {
        Type::LowCardinality(inner) | Type::SimpleAggregateFunction(_, inner) => sent_type(inner),
        Type::Nullable(inner) => Type::Nullable(boxed(inner)),
        Type::Array(element) => Type::Array(boxed(element)),
        Type::Map(key, value) => Type::Map(boxed(key), boxed(value)),
        Type::Tuple(elements) => {
            let elements = elements.iter().map(|(name, ty)| (name.clone(), sent_type(ty)));
            Type::Tuple(elements.collect())
        }
        Type::Nested(elements) => {
            let elements = elements.iter().map(|(name, ty)| (name.clone(), sent_type(ty)));
            Type::Nested(elements.collect())
        }
        ty => ty.clone(),
    }
}

fn shape(ty: &Type, depth: usize) -> Option<TokenStream> {
    if depth > MAX_DEPTH {
        return None;
    }
    let inside = |ty: &Type| shape(ty, depth + 1);
    Some(match ty {
        Type::String => quote!(__rt::Shape::String),
        Type::LowCardinality(inner) | Type::SimpleAggregateFunction(_, inner) => inside(inner)?,
        Type::Nullable(inner) if is_scalar(inner) => {
            let inner = inside(inner)?;
            quote!(__rt::Shape::Nullable(&#inner))
        }
        Type::Array(element) => array(inside(element)?),
        Type::Map(key, value) => array(tuple([inside(key), inside(value)])?),
        Type::Tuple(elements) => tuple(elements.iter().map(|(_, ty)| inside(ty)))?,
        Type::Nested(elements) => array(tuple(elements.iter().map(|(_, ty)| inside(ty)))?),
        Type::Shape(geometry) => inside(&geometry.spelled_out())?,
        ty => {
            let bytes = Literal::usize_unsuffixed(width(ty)?);
            quote!(__rt::Shape::Fixed(#bytes))
        }
    })
}

fn array(element: TokenStream) -> TokenStream {
    quote!(__rt::Shape::Array(&#element))
}

/// Returns the shape of a tuple; none for an empty tuple, which has bytes in a column but none in a
/// row.
fn tuple(elements: impl IntoIterator<Item = Option<TokenStream>>) -> Option<TokenStream> {
    let elements: Vec<_> = elements.into_iter().collect::<Option<_>>()?;
    (!elements.is_empty()).then(|| quote!(__rt::Shape::Tuple(&[#(#elements),*])))
}

fn is_scalar(ty: &Type) -> bool {
    matches!(ty, Type::String) || width(ty).is_some()
}

/// Returns the bytes of a value, if all values of the type have the same number.
fn width(ty: &Type) -> Option<usize> {
    Some(match ty {
        Type::FixedString(length) => *length as usize,
        Type::Int { bits, .. } => usize::from(*bits) / 8,
        Type::Float(bits) | Type::Enum { bits, .. } => usize::from(*bits) / 8,
        Type::Bool => 1,
        Type::BFloat16 | Type::Date => 2,
        Type::Date32 | Type::DateTime(_) | Type::Time | Type::Ipv4 => 4,
        Type::DateTime64(..) | Type::Time64(_) | Type::Interval(_) => 8,
        Type::Uuid | Type::Ipv6 => 16,
        Type::Decimal { precision, .. } => match precision {
            ..=9 => 4,
            ..=18 => 8,
            ..=38 => 16,
            _ => 32,
        },
        _ => return None,
    })
}
