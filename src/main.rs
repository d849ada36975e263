//! The collector of the tables in the folder `schemas`.

rowmill::main!(rowmill::tables);
