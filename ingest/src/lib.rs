//! (skeleton; the crate's page is written when its parts stand)

mod answer;
mod block;
mod body;
mod dead_letter;
mod deliver;
mod fields;
mod id;
mod identify;
pub mod json;
pub mod refusal;
mod spool;
mod sync;
pub mod table;
mod target;
pub mod value;
