//! Column declarations: text such as `LowCardinality(String) DEFAULT 'x' COMMENT 'y'`, as in
//! ClickHouse's CREATE TABLE.
//!
//! [`parse`] takes the text of one YAML value. It returns a [`Declaration`], whose [`Type`] prints
//! as ClickHouse itself prints it in `system.columns`, or every problem with its bytes in the text.
//! No text makes it panic.
//!
//! ```text
//! text → lexer → grammar (family, enumeration, aggregate, json, variant, …, check) → Type
//!              → declaration (modifiers, check_modifiers)     → Declaration → literal
//! ```
//!
//! The reference is ClickHouse 26.7 with its default settings. Comments mark the places where this
//! parser is stricter on purpose. It is more lenient in one thing, the order of the modifiers; it
//! prints them in ClickHouse's order.

mod aggregate;
mod arguments;
mod ast;
mod call;
mod check;
mod check_modifiers;
mod codec;
mod common_type;
pub(crate) mod constant;
mod cursor;
mod declaration;
mod default_value;
mod dynamic;
mod enumeration;
mod error;
mod expression;
mod family;
mod functions;
mod grammar;
mod inference;
mod json;
mod key;
mod lexer;
mod literal;
mod modifiers;
mod query;
mod reference;
mod state;
mod suggest;
mod variant;
mod vector;

pub(crate) use self::{
    ast::{DefaultKind, Json, Shape, Type, quote_name, quote_text},
    call::{Call, calls},
    constant::constant,
    declaration::{Declaration, Filler, parse, parse_filled_by},
    default_value::misfit,
    error::TypeError,
    expression::{index_parts, lexical_problem},
    functions::function_names,
    key::{KeyElement, KeyElementKind, is_bare_list, key_elements, type_names},
    query::{QueryTable, view_query},
    reference::{Reference, references, subquery},
    suggest::closest,
    variant::text_order,
};
