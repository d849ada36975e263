//! A new crate: a collector of its own tables, or a service that holds their layer.

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rowmill_codegen::json_schema;

use super::GALLERY;
use crate::{cli::Embed, gallery::EXAMPLES};

/// The source folder that this program was built from.
const BUILT_FROM: &str = env!("CARGO_MANIFEST_DIR");

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Names that cargo does not take for a package, and packages that the new crate needs.
const TAKEN: [&str; 15] = [
    "alloc",
    "axum",
    "build",
    "bytes",
    "core",
    "deps",
    "examples",
    "hyper",
    "incremental",
    "proc-macro",
    "proc_macro",
    "std",
    "test",
    "tokio",
    "tower",
];

/// A file of a new crate: its path, and its text with placeholders.
type Template = (&'static str, &'static str);

const COLLECTOR: &[Template] = &[
    ("Cargo.toml", include_str!("template/collector/manifest.toml")),
    ("build.rs", include_str!("template/build.rs")),
    (
        "schemas/10_standard.yml",
        include_str!("template/collector/schemas/10_standard.yml"),
    ),
    (
        "schemas/20_orders.yml",
        include_str!("template/collector/schemas/20_orders.yml"),
    ),
    ("src/main.rs", include_str!("template/collector/src/main.rs")),
    ("src/tests.rs", include_str!("template/collector/src/tests.rs")),
    ("README.md", include_str!("template/collector/README.md")),
];

const AXUM: &[Template] = &[
    ("Cargo.toml", include_str!("template/axum/manifest.toml")),
    ("build.rs", include_str!("template/build.rs")),
    ("schemas/10_orders.yml", include_str!("template/orders.yml")),
    ("src/main.rs", include_str!("template/axum/src/main.rs")),
    ("src/tests.rs", include_str!("template/axum/src/tests.rs")),
    ("README.md", include_str!("template/service.md")),
];

const HYPER: &[Template] = &[
    ("Cargo.toml", include_str!("template/hyper/manifest.toml")),
    ("build.rs", include_str!("template/build.rs")),
    ("schemas/10_orders.yml", include_str!("template/orders.yml")),
    ("src/main.rs", include_str!("template/hyper/src/main.rs")),
    ("src/tests.rs", include_str!("template/hyper/src/tests.rs")),
    ("README.md", include_str!("template/service.md")),
];

/// Writes the crate into `folder`, and prints what to do next.
///
/// # Errors
/// The name is not one of a crate, a file exists already, or it cannot be written.
pub(super) fn write(folder: &Path, embed: Option<Embed>, rowmill: Option<&str>) -> Result<(), Box<dyn Error>> {
    let name = crate_name(folder)?;
    let origin = Origin::of(rowmill)?;
    let (templates, arguments) = match embed {
        None => (COLLECTOR, ""),
        Some(Embed::Axum) => (AXUM, "CLICKHOUSE=http://user:password@host:8123/stats "),
        Some(Embed::Hyper) => (HYPER, "CLICKHOUSE=http://user:password@host:8123/stats "),
    };
    let mut files: Vec<(PathBuf, String)> = templates
        .iter()
        .map(|(path, text)| (folder.join(path), origin.fill(&text.replace("{{name}}", &name))))
        .collect();
    files.push((folder.join("rowmill.schema.json"), json_schema()));
    files.push((folder.join(".gitignore"), include_str!("template/gitignore").to_owned()));
    if is_below_a_package(folder) {
        let manifest = &mut files[0].1;
        manifest.push_str("\n# The crate belongs to no workspace of a folder above.\n[workspace]\n");
    }
    if let Some((path, _)) = files.iter().find(|(path, _)| path.exists()) {
        return Err(format!("`{}` exists already", path.display()).into());
    }
    let mut out = io::stdout().lock();
    for (path, text) in &files {
        write_file(path, text).map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
        writeln!(out, "wrote {}", path.display())?;
    }
    writeln!(out, "\n{origin}\n\n  cd {}", folder.display())?;
    writeln!(out, "  cargo test\n  {arguments}cargo run")?;
    Ok(())
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create_new(path)?.write_all(text.as_bytes())
}

/// Returns the name of the crate in a folder.
fn crate_name(folder: &Path) -> Result<String, Box<dyn Error>> {
    let text = folder.to_string_lossy();
    let bare = text.strip_prefix(GALLERY).unwrap_or(&text);
    if text.starts_with(GALLERY) && EXAMPLES.iter().any(|example| example.name == bare) {
        return Err(format!("`{text}` is an example of the gallery: write `rowmill init --from {text}`").into());
    }
    let absolute = env::current_dir()?.join(folder);
    let name = absolute.components().next_back();
    let name = match name {
        Some(std::path::Component::Normal(name)) => name.to_string_lossy().into_owned(),
        // `.` is not a component after another folder, but `..` is.
        _ => return Err(format!("the last part of `{text}` must be the name of the crate").into()),
    };
    let is_ascii = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !is_ascii || !starts_well {
        return Err(format!(
            "`{name}` is not a name for a crate: it must begin with a letter, and contain only letters, digits, `-` and `_`"
        )
        .into());
    }
    if TAKEN.contains(&name.as_str()) || is_keyword(&name) || name.starts_with("rowmill") {
        return Err(format!("a crate cannot have the name `{name}`; for example, `{name}-events` is free").into());
    }
    Ok(name)
}

/// Returns whether a name is a keyword of Rust, which cargo does not take for a package.
fn is_keyword(name: &str) -> bool {
    const KEYWORDS: &str = "Self abstract as async await become box break const continue crate do dyn else enum extern \
        false final fn for gen if impl in let loop macro match mod move mut override priv pub ref return self static \
        struct super trait true try type typeof unsafe unsized use virtual where while yield";
    KEYWORDS.split_whitespace().any(|keyword| keyword == name)
}

/// Returns whether a folder above has a package or a workspace, to which cargo would count the
/// crate.
fn is_below_a_package(folder: &Path) -> bool {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    folder
        .ancestors()
        .skip(1)
        .any(|above| above.join("Cargo.toml").exists())
}

/// The origin of the packages `rowmill`, `rowmill-ingest` and `rowmill-codegen`.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    /// A source folder.
    Folder(PathBuf),
    /// The URL of a git repository.
    Git(String),
    /// The registry.
    Registry,
}

impl Origin {
    fn of(given: Option<&str>) -> Result<Self, Box<dyn Error>> {
        match given {
            Some(url) if url.contains("://") || url.starts_with("git@") => Ok(Self::Git(url.to_owned())),
            Some(folder) => {
                let path = Path::new(folder);
                if !is_source(path) {
                    return Err(format!(
                        "`{folder}` is not the source folder of Rowmill: it needs `ingest/Cargo.toml` and `codegen/Cargo.toml`"
                    )
                    .into());
                }
                Ok(Self::Folder(path.canonicalize()?))
            }
            None if is_source(Path::new(BUILT_FROM)) => Ok(Self::Folder(BUILT_FROM.into())),
            None => Ok(Self::Registry),
        }
    }

    /// Fills the placeholders of the packages.
    fn fill(&self, text: &str) -> String {
        let package = |folder: &str| match self {
            Self::Folder(path) => format!("path = {}", toml_text(&path.join(folder).to_string_lossy())),
            Self::Git(url) => format!("git = {}", toml_text(url)),
            Self::Registry => format!("version = {}", toml_text(VERSION)),
        };
        [
            ("rowmill", ""),
            ("rowmill-ingest", "ingest"),
            ("rowmill-codegen", "codegen"),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, folder)| {
            text.replace(&format!("{{{{{name}}}}}"), &package(folder))
        })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => write!(
                f,
                "Cargo.toml takes Rowmill from the folder {}; `--rowmill` sets another folder, or the URL of a git repository.",
                path.display()
            ),
            Self::Git(url) => write!(f, "Cargo.toml takes Rowmill from {url}."),
            Self::Registry => write!(
                f,
                "Cargo.toml takes Rowmill {VERSION} from the registry, since the folder that this program was built from is \
                 gone. If the registry does not have it, set `--rowmill` to a source folder or the URL of a git repository."
            ),
        }
    }
}

/// Returns whether a folder has the sources of Rowmill.
fn is_source(folder: &Path) -> bool {
    ["Cargo.toml", "ingest/Cargo.toml", "codegen/Cargo.toml"]
        .iter()
        .all(|file| folder.join(file).exists())
}

/// Returns a text in the syntax of TOML.
fn toml_text(text: &str) -> String {
    format!(
        "\"{}\"",
        text.trim_end_matches('/').replace('\\', "\\\\").replace('"', "\\\"")
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_last_part_of_the_folder_is_the_name() {
        for (folder, name) in [
            ("shop", "shop"),
            ("a/b/my-shop_2", "my-shop_2"),
            ("shop/", "shop"),
            ("./shop", "shop"),
        ] {
            assert_eq!(crate_name(Path::new(folder)).unwrap(), name);
        }
        for folder in [
            "..",
            "2shop",
            "my shop",
            "магазин",
            "tokio",
            "fn",
            "test",
            "rowmill",
            "rowmill-ingest",
        ] {
            assert!(crate_name(Path::new(folder)).is_err(), "{folder}");
        }
        let example = crate_name(Path::new("gallery/logs")).unwrap_err().to_string();
        assert!(example.contains("rowmill init --from gallery/logs"), "{example}");
    }

    #[test]
    fn the_origin_is_a_folder_a_repository_or_the_registry() {
        let text = "rowmill = { {{rowmill}} }\nrowmill-ingest = { {{rowmill-ingest}}, features = [\"axum\"] }\n";
        for (origin, expected) in [
            (
                Origin::Folder("/a \"b".into()),
                "rowmill = { path = \"/a \\\"b\" }\nrowmill-ingest = { path = \"/a \\\"b/ingest\", features = [\"axum\"] }\n",
            ),
            (
                Origin::of(Some("https://example.org/rowmill")).unwrap(),
                "rowmill = { git = \"https://example.org/rowmill\" }\n\
                 rowmill-ingest = { git = \"https://example.org/rowmill\", features = [\"axum\"] }\n",
            ),
            (
                Origin::Registry,
                &format!(
                    "rowmill = {{ version = \"{VERSION}\" }}\n\
                     rowmill-ingest = {{ version = \"{VERSION}\", features = [\"axum\"] }}\n"
                ),
            ),
        ] {
            assert_eq!(origin.fill(text), expected);
        }
        assert_eq!(Origin::of(None).unwrap(), Origin::Folder(BUILT_FROM.into()));
        assert!(Origin::of(Some("/")).is_err());
    }
}
