//! The build script, as an outside user writes it.

fn main() {
    rowmill_codegen::build("schemas");
}
