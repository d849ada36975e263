//! The tables of the folder `schemas/gallery`, and the standard tables that they extend.

/// The generated tables.
pub mod tables {
    rowmill_ingest::include_tables!();
}

/// The tables of the folder `public`: in our own words, tables with the columns that public projects
/// have.
pub mod public_tables {
    include!(concat!(env!("OUT_DIR"), "/public.rs"));
}

/// The tables of the folder `dictionaries`, which use a dictionary.
pub mod dictionary_tables {
    include!(concat!(env!("OUT_DIR"), "/dictionaries.rs"));
}
