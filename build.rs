//! Generates this crate's module `tables` from the folder `schemas`.

fn main() {
    rowmill_codegen::build("schemas");
}
