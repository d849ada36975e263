//! The ready collector: the tables of the folder `schemas`, typed, with the layers that take their events.
//!
//! The binary `rowmill` serves them; a program of your own puts [`tables::layer`] around its service, as `examples/` show.

/// The tables of the folder `schemas`, as the build step wrote them.
pub mod tables {
    rowmill_ingest::include_tables!();
}
