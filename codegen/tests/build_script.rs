//! Tests the terminal output of a build: a real cargo builds a crate outside this workspace, with a
//! bad schema and then with a good one.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const BAD: &str = "\
clickhouse:
  destinations:
    wh/mail: mial
  tables:
    mail:
      id: { type: UInt64, from: $id }
      event: Strng
      _options: { engine: MergeTree, order_by: id }
";

#[test]
fn a_bad_schema_fails_the_build_with_its_report_and_a_corrected_one_builds() {
    let package = Package::new("broken");

    package.write("schemas/50_mail.yml", BAD);
    let output = package.build();
    let seen = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{seen}");
    for line in [
        "error[unknown-table]: unknown table `mial`",
        " --> schemas/50_mail.yml:3:14",
        "3 |     wh/mail: mial",
        "  |              ^^^^ the destination of `wh/mail`",
        "  = help: did you mean `mail`?",
        "error[unknown-type]: ClickHouse has no type `Strng`",
        " --> schemas/50_mail.yml:7:14",
        "7 |       event: Strng",
        "  |              ^^^^^",
        "  = help: did you mean `String`?",
    ] {
        let line = format!("error: broken@0.1.0: {line}");
        assert!(seen.lines().any(|seen| seen == line), "no line `{line}` in:\n{seen}");
    }
    assert!(!seen.contains("panicked"), "{seen}");
    assert!(!seen.contains("failed to run custom build command"), "{seen}");

    // Cargo watches the files, and runs the script again after a change.
    package.write(
        "schemas/50_mail.yml",
        &BAD.replace("mial", "mail").replace("Strng", "String"),
    );
    let output = package.build();
    let seen = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{seen}");
    assert!(!seen.contains("warning"), "{seen}");

    // Cargo watches the folder too: it sees the new file, and a warning does not stop the build.
    package.write(
        "schemas/60_post.yml",
        "clickhouse: { tables: { post: { id: UInt64, _options: { engine: Memory } } } }\n",
    );
    package.write("schemas/README.md", "");
    let output = package.build_with(&["-vv"]);
    let seen = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{seen}");
    let listed = String::from_utf8_lossy(&output.stdout);
    for line in [
        "read schemas/50_mail.yml",
        "read schemas/60_post.yml",
        "left out schemas/README.md: its name does not end in `.yml` or `.yaml`",
        "table mail, 2 columns",
        "    event String",
        "table post, 1 column",
    ] {
        let line = format!("[broken 0.1.0] {line}");
        assert!(
            listed.lines().any(|listed| listed == line),
            "no line `{line}` in:\n{listed}"
        );
    }
    let line = "warning: broken@0.1.0: warning[unreached-table]: table `post` gets no events";
    assert!(seen.lines().any(|seen| seen == line), "no line `{line}` in:\n{seen}");
}

/// A package whose build script is the one line that an embedder writes.
struct Package {
    folder: PathBuf,
}

impl Package {
    fn new(name: &str) -> Self {
        let codegen = Path::new(env!("CARGO_MANIFEST_DIR"));
        let package = Self {
            folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name),
        };
        let _ = fs::remove_dir_all(&package.folder);
        // The empty `[workspace]` keeps cargo from searching the parent folders for one.
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
             [build-dependencies]\nrowmill-codegen = {{ path = {codegen:?} }}\n"
        );
        package.write("Cargo.toml", &manifest);
        package.write("build.rs", "fn main() {\n    rowmill_codegen::build(\"schemas\");\n}\n");
        package.write("src/lib.rs", "");
        // The workspace's lock file: its packages are already present, so cargo fetches nothing.
        let lock = codegen.join("../Cargo.lock");
        fs::copy(lock, package.folder.join("Cargo.lock")).unwrap();
        package
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn build(&self) -> Output {
        self.build_with(&[])
    }

    fn build_with(&self, arguments: &[&str]) -> Output {
        // The workspace's target folder has the compiled dependencies. Cargo does not lock it while
        // tests run.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--offline", "--color=never"])
            .args(arguments)
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", target)
            .env_remove("CARGO_TERM_COLOR")
            .env_remove("CARGO_TERM_QUIET")
            .output()
            .unwrap()
    }
}
