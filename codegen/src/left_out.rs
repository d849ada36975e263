//! The files of a schema folder that are not part of the schema, and those of them that look as if
//! their author meant them to be.

use std::path::Path;

use crate::{
    diagnostic::{Diagnostic, Report},
    source::LeftOut,
    types,
};

const ENDINGS: [&str; 2] = ["yml", "yaml"];

/// Returns a file with the reason why it is not part of the schema, and reports it if it looks like
/// a part.
pub(crate) fn file(path: &Path, report: &mut Report) -> LeftOut {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let lower = name.to_lowercase();
    let (stem, ending) = lower.rsplit_once('.').unwrap_or((&lower, ""));
    let written = &name[..name
        .char_indices()
        .nth(stem.chars().count())
        .map_or(name.len(), |(at, _)| at)];
    let is_hidden = name.starts_with('.');
    let reason = match () {
        () if is_hidden => "its name begins with a dot",
        () if ENDINGS.contains(&ending) => "its ending is not in lower case",
        () => "its name does not end in `.yml` or `.yaml`",
    };
    // Editors put their own files beside those that they edit.
    let is_editors = name.starts_with(".#") || name.ends_with(['~', '#']);
    let inner = stem.rsplit_once('.').filter(|(_, inner)| ENDINGS.contains(inner));
    let rename = match () {
        () if is_editors => None,
        () if is_hidden && ENDINGS.contains(&ending) => Some(lower.trim_start_matches('.').to_owned()),
        () if is_hidden => None,
        () if ENDINGS.contains(&ending) => Some(format!("{written}.{ending}")),
        () if ending == "txt" && inner.is_some() => Some(written.to_owned()),
        () if ending.starts_with('y') => types::closest(ending, ENDINGS).map(|ending| format!("{written}.{ending}")),
        () => None,
    };
    if let Some(rename) = rename {
        let diagnostic = Diagnostic::of_schema(
            "left-out",
            format!("the build does not read `{}`: {reason}", path.display()),
        );
        report.push(diagnostic.help(format!("rename it to `{rename}`")));
    }
    LeftOut {
        path: path.to_owned(),
        reason,
    }
}
