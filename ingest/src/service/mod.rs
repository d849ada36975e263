//! The Tower layer, and a server for it.
//!
//! ```text
//! layer        events of known routes stay here, every other request goes on to the inner service
//! serve        a hyper server that ends its connections in an orderly way
//! connections  how many connections there may be, and which of them are closed first
//! idle         one timer per connection, which closes it when it sends nothing
//! ```

pub(crate) mod connections;
pub(crate) mod idle;
pub(crate) mod layer;
pub(crate) mod serve;
