//! Column declarations: text such as `LowCardinality(String) DEFAULT 'x' COMMENT 'y'`, as ClickHouse's CREATE TABLE has it.
//!
//! Takes the text of one YAML value and gives a [`Declaration`], whose [`Type`] prints as ClickHouse itself prints it in
//! `system.columns`, or every problem that was found, each at its bytes of the text. It is total: no text makes it panic.
//!
//! ```text
//! text → lexer → grammar (family, enumeration, aggregate, json, variant, …, check) → Type
//!              → declaration (modifiers, check_modifiers)     → Declaration → literal
//! ```
//!
//! ClickHouse 26.7 with its default settings is the measure of what is right. Where this is stricter on purpose, the
//! place says so; it is more lenient in one thing, the order of the modifiers, which are printed in ClickHouse's own.

mod aggregate;
mod arguments;
mod ast;
mod call;
mod check;
mod check_modifiers;
mod common_type;
pub(crate) mod constant;
mod cursor;
mod declaration;
mod dynamic;
mod enumeration;
mod error;
mod expression;
mod family;
mod grammar;
mod inference;
mod json;
mod key;
mod lexer;
mod literal;
mod modifiers;
mod reference;
mod state;
mod suggest;
mod variant;
mod vector;

pub(crate) use self::{
    ast::{DefaultKind, Json, Shape, Type, quote_name, quote_text},
    call::{Call, calls},
    constant::constant,
    declaration::{Declaration, parse},
    error::TypeError,
    expression::{broken, index_parts},
    key::{KeyElement, KeyElementKind, is_bare_list, key_elements, type_names},
    reference::{Reference, references, subquery},
    suggest::closest,
    variant::text_order,
};
