fn main() {
    rowmill_codegen::build("schemas");
}
