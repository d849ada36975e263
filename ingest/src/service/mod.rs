//! The Tower layer, and a server for it.
//!
//! ```text
//! layer        handles the events of known routes, passes every other request to the inner service
//! serve        a hyper server that shuts its connections down gracefully
//! connections  the limits on connections, and which idle ones are closed first
//! idle         one timer per connection, which closes it when it sends nothing
//! ```

pub(crate) mod connections;
pub(crate) mod idle;
pub(crate) mod layer;
pub(crate) mod serve;
