//! Tables of the folder `schemas` become the module `tables` of this crate.

fn main() {
    rowmill_codegen::build("schemas");
}
