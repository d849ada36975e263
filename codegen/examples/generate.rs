//! Prints the output of the build step for a schema folder:
//! `cargo run -p rowmill-codegen --example generate -- schemas`.

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "schemas".to_owned());
    let generated = rowmill_codegen::generate(folder);
    for problem in generated.problems.warnings.iter().chain(&generated.problems.errors) {
        eprintln!("{}\n", problem.text);
    }
    print!("{}", generated.code);
}
