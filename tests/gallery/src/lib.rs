//! The tables of the folder `schemas/gallery`, and the standard tables that they extend.

/// The generated tables.
pub mod tables {
    rowmill_ingest::include_tables!();
}
