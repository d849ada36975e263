//! The contents of a request, before its table is known.
//!
//! ```text
//! automated     the programs that make requests by themselves
//! target        the path
//! headers       the headers that the collector reads
//! read_body     the body as bytes, within its limits
//! turns         how many bodies are read at a time
//! content_type  the declared type of the body
//! body          the kind of the body: JSON, many events, a form, nothing
//! batch_format  the format of many events: lines, an array
//! multipart     the parts of a multipart form
//! envelope      the few fields of a body that decide where its event goes
//! text_field    the text of one field of a body, and the JSON in a text
//! claims        the service, name, project and visitor that a query or a body names
//! ```

pub(crate) mod automated;
pub(crate) mod batch_format;
pub(crate) mod body;
pub(crate) mod claims;
pub(crate) mod content_type;
pub(crate) mod envelope;
pub(crate) mod headers;
mod multipart;
pub(crate) mod progress;
pub(crate) mod read_body;
pub(crate) mod target;
pub(crate) mod text_field;
pub(crate) mod turns;
