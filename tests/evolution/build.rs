//! Generates the tables of each schema, each into a file of its own.

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    for version in ["before", "after", "fleet"] {
        println!("cargo::rerun-if-changed={version}");
        for entry in fs::read_dir(version)? {
            let path = entry?.path();
            let generated = rowmill_codegen::generate_texts([(&path, fs::read_to_string(&path)?)]);
            for problem in generated.problems.errors.iter().chain(&generated.problems.warnings) {
                for line in problem.text.lines() {
                    println!("cargo::error={line}");
                }
            }
            let kind = path.file_stem().unwrap_or_default().to_string_lossy();
            fs::write(Path::new(&out).join(format!("{kind}_{version}.rs")), generated.code)?;
        }
    }
    Ok(())
}
