//! A collector of the tables in the folder `schemas`.

mod tables {
    rowmill_ingest::include_tables!();
}

rowmill::main!(tables);

#[cfg(test)]
mod tests;
