//! Generates the tables of the gallery beside the standard tables, as a user has them after
//! `rowmill init --from`, and those of the folders `dictionaries` and `public`.

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    let schemas = Path::new("../../schemas");
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    let together = Path::new(&out).join("schemas");
    if together.exists() {
        fs::remove_dir_all(&together)?;
    }
    fs::create_dir_all(&together)?;
    let gallery = fs::read_dir(schemas.join("gallery"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    let is_schema = |path: &&std::path::PathBuf| path.extension().is_some_and(|extension| extension == "yml");
    for path in gallery.iter().filter(is_schema).chain([&schemas.join("10_base.yml")]) {
        fs::copy(path, together.join(path.file_name().unwrap_or_default()))?;
        println!("cargo::rerun-if-changed={}", path.display());
    }
    println!("cargo::rerun-if-changed={}", schemas.join("gallery").display());
    rowmill_codegen::build(together);
    for folder in ["dictionaries", "public"] {
        generate(folder, Path::new(&out))?;
    }
    Ok(())
}

/// Generates the tables of a folder into a file of their own.
fn generate(folder: &str, out: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed={folder}");
    let generated = rowmill_codegen::generate(folder);
    for problem in generated.problems.errors.iter().chain(&generated.problems.warnings) {
        println!("cargo::error={}", problem.message);
    }
    fs::write(out.join(format!("{folder}.rs")), generated.code)
}
