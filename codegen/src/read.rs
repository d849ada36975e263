//! Read: the files of a schema folder, in the order in which they override one another.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    diagnostic::{Diagnostic, Report},
    left_out,
    source::{LeftOut, Source, Sources, Span},
};

/// The name of a file that excludes its folder from the schema of the folder above, for example
/// because the folder contains examples.
const IGNORE: &str = ".rowmillignore";

impl Sources {
    /// Reads `folder`: first its `*.yml` and `*.yaml` files in byte order, then its subfolders in
    /// byte order, each in the same way. Ignores names that begin with a dot, and subfolders with a
    /// file [`IGNORE`].
    pub(crate) fn read(folder: &Path, report: &mut Report) -> Self {
        let mut sources = Self {
            folder: folder.to_owned(),
            files: Vec::new(),
            left_out: Vec::new(),
            standard: None,
            included: Vec::new(),
        };
        sources.read_folder(folder, report);
        if sources.files.is_empty() && !report.has_errors() {
            report.push(
                Diagnostic::error("no-schema", format!("no schema files in `{}`", folder.display()))
                    .help("add a file whose name ends in `.yml` or `.yaml`"),
            );
        }
        sources
    }

    fn read_folder(&mut self, folder: &Path, report: &mut Report) {
        let entries = match list(folder) {
            Ok(entries) => entries,
            Err(error) => {
                report.push(
                    Diagnostic::error(
                        "unreadable",
                        format!("cannot read the folder `{}`: {error}", folder.display()),
                    )
                    .help("in a build script, a path is relative to the folder of the package's `Cargo.toml`"),
                );
                return;
            }
        };
        let (folders, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|path| path.is_dir());
        for path in &files {
            if is_hidden(path) || !is_schema(path) {
                self.left_out.push(left_out::file(path, report));
                continue;
            }
            match fs::read(path) {
                Ok(bytes) => self.push(path, bytes, report),
                Err(error) => report.push(Diagnostic::error(
                    "unreadable",
                    format!("cannot read `{}`: {error}", path.display()),
                )),
            }
        }
        for path in folders {
            let reason = match () {
                () if is_hidden(&path) => "its name begins with a dot",
                () if path.join(IGNORE).exists() => "it contains `.rowmillignore`",
                () => {
                    self.read_folder(&path, report);
                    continue;
                }
            };
            self.left_out.push(LeftOut { path, reason });
        }
    }

    /// Adds a file. Replaces bytes that are not UTF-8, so that the report can show the file and its
    /// other problems.
    fn push(&mut self, path: &Path, bytes: Vec<u8>, report: &mut Report) {
        if let Some(encoding) = other_encoding(&bytes) {
            report.push(
                Diagnostic::error("not-utf8", format!("`{}` is {encoding}", path.display()))
                    .help("save the file as UTF-8"),
            );
            return;
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.files.push(Source::new(path, text)),
            Err(error) => {
                let text = String::from_utf8_lossy(error.as_bytes());
                let length = text.len();
                let source = Source::new(path, text);
                // The text before the first bad byte is unchanged, except for the byte order mark.
                let at = error.utf8_error().valid_up_to() - (length - source.text.len());
                let span = Span {
                    file: self.files.len(),
                    range: at..at + char::REPLACEMENT_CHARACTER.len_utf8(),
                };
                self.files.push(source);
                report.push(
                    Diagnostic::error("not-utf8", "the file is not UTF-8")
                        .label(span, "the first invalid bytes")
                        .help("save the file as UTF-8"),
                );
            }
        }
    }
}

/// Returns the encoding that a file's first bytes indicate, if it is not UTF-8.
fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        // ASCII letters without a byte order mark.
        [first, 0, 1..=127, 0, ..] | [0, first, 0, 1..=127, ..] if first.is_ascii() => Some("UTF-16"),
        _ => None,
    }
}

/// Returns the entries of a folder in byte order.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort_by(|left, right| {
        left.as_os_str()
            .as_encoded_bytes()
            .cmp(right.as_os_str().as_encoded_bytes())
    });
    Ok(paths)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_schema(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yml" || extension == "yaml")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_folders_own_files_come_before_its_folders_in_byte_order() {
        let folder = std::env::temp_dir().join(format!("rowmill-source-{}", std::process::id()));
        for path in [
            "b.yml",
            "B.yml",
            "9.yml",
            "10.yaml",
            ".hidden.yml",
            "a.txt",
            "custom/1.yml",
            "custom/sub/0.yml",
            "Z/5.yml",
            "examples/.rowmillignore",
            "examples/1.yml",
            "examples/sub/2.yml",
        ] {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }

        let mut report = Report::default();
        let sources = Sources::read(&folder, &mut report);
        let names: Vec<_> = sources
            .files()
            .iter()
            .map(|source| source.path.strip_prefix(&folder).unwrap().to_str().unwrap())
            .collect();
        fs::remove_dir_all(&folder).unwrap();

        assert!(!report.has_errors());
        assert_eq!(
            names,
            [
                "10.yaml",
                "9.yml",
                "B.yml",
                "b.yml",
                "Z/5.yml",
                "custom/1.yml",
                "custom/sub/0.yml"
            ]
        );
    }
}
