//! Problems of a schema, with place and help, in rustc's format. A run reports all of them at once.

use std::{collections::HashMap, path::PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::source::{Sources, Span};

/// The codes of the warnings, which a table may silence.
pub(crate) const WARNINGS: [&str; 15] = [
    "ambiguous-unit",
    "buffered-table",
    "client-partition",
    "collapsed-columns",
    "encoded-text",
    "no-row-id",
    "read-over",
    "retyped-column",
    "similar-columns",
    "throwing-expression",
    "unquoted-date",
    "unreached-table",
    "unsigned-path",
    "unsorted-table",
    "zone-of-the-machine",
];

/// The codes of the errors that a table may silence: another server may have these names.
pub(crate) const ALLOWED_ERRORS: [&str; 2] = ["unknown-function", "unknown-setting"];

/// The most errors, warnings and notes that a report shows. Users do not read a longer list.
const MAX_SHOWN: usize = 300;

/// One problem.
#[derive(Debug)]
#[must_use]
pub(crate) struct Diagnostic {
    severity: Severity,
    /// Stable and short; the term to search the documentation for.
    code: &'static str,
    /// Lower case, no full stop.
    message: String,
    /// The smallest piece that is wrong first, then the pieces that explain it.
    labels: Vec<(Span, String)>,
    help: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Error,
    Warning,
    Note,
}

impl Diagnostic {
    pub(crate) fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message.into())
    }

    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message.into())
    }

    /// A warning about the folder or the whole schema, which no table can allow.
    pub(crate) fn of_schema(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message.into())
    }

    /// A note states what the schema does; it asks for no change.
    pub(crate) fn note(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, message.into())
    }

    fn new(severity: Severity, code: &'static str, message: String) -> Self {
        Self {
            severity,
            code,
            message,
            labels: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Labels `span`; the first label is the problem itself.
    pub(crate) fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push((span, text.into()));
        self
    }

    /// Adds a help text.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Proposes the closest of the candidates, if one is close.
    pub(crate) fn did_you_mean<'n>(self, word: &str, candidates: impl IntoIterator<Item = &'n str>) -> Self {
        match crate::types::closest(word, candidates) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Returns whether both are the same problem at the same places. The texts of the labels may
    /// differ, as they may name different tables.
    fn is_same(&self, other: &Self) -> bool {
        self.code == other.code
            && self.message == other.message
            && self
                .labels
                .iter()
                .map(|(span, _)| span)
                .eq(other.labels.iter().map(|(span, _)| span))
    }

    fn problem(&self, sources: &Sources, renderer: &Renderer) -> Problem {
        let place = self.labels.first().and_then(|(span, _)| {
            let source = sources.files().get(span.file)?;
            Some(Place {
                file: source.path.clone(),
                start: source.line_and_column(span.range.start),
                end: source.line_and_column(span.range.end),
            })
        });
        Problem {
            code: self.code,
            message: self.message.clone(),
            place,
            help: self.help.clone(),
            text: self.render(sources, renderer),
        }
    }

    fn render(&self, sources: &Sources, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let mut group = level
            .primary_title(&self.message)
            .id(self.code)
            .elements(snippets(&self.labels, sources));
        for help in &self.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group as Group<'_>])
    }
}

/// Returns one snippet for each file that has labels, the problem's own file first.
fn snippets<'a>(
    labels: &'a [(Span, String)],
    sources: &'a Sources,
) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let mut files: Vec<usize> = Vec::new();
    for (span, _) in labels {
        if !files.contains(&span.file) {
            files.push(span.file);
        }
    }
    files
        .into_iter()
        .filter_map(|file| Some((file, sources.files().get(file)?)))
        .map(|(file, source)| {
            let of_file = || labels.iter().enumerate().filter(|(_, (span, _))| span.file == file);
            // The renderer scans every line of its source, so the source is cut to the lines from
            // the first label to the last.
            let start = of_file().map(|(_, (span, _))| span.range.start).min().unwrap_or(0);
            let end = of_file().map(|(_, (span, _))| span.range.end).max().unwrap_or(0);
            let (line, lines) = source.lines_around(start..end);
            let annotations = of_file().map(|(index, (span, text))| {
                let kind = if index == 0 {
                    AnnotationKind::Primary
                } else {
                    AnnotationKind::Context
                };
                let annotation = kind.span(span.range.start - lines.start..span.range.end - lines.start);
                if text.is_empty() {
                    annotation
                } else {
                    annotation.label(text)
                }
            });
            Snippet::source(source.text.get(lines.clone()).unwrap_or_default())
                .line_start(line)
                .path(source.path.to_string_lossy())
                .annotations(annotations.collect::<Vec<_>>())
        })
        .collect()
}

/// A problem's code and its first place: the key to find possible duplicates.
type Known = (&'static str, Option<(usize, usize)>);

/// The problems of one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    diagnostics: Vec<Diagnostic>,
    known: HashMap<Known, Vec<usize>>,
    found: usize,
    has_errors: bool,
}

impl Report {
    /// Adds a problem, unless the report has it already: a rule finds the problem of an inherited
    /// column in every table that inherits it.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.found += 1;
        self.has_errors |= diagnostic.severity == Severity::Error;
        let place = diagnostic.labels.first().map(|(span, _)| (span.file, span.range.start));
        let known = self.known.entry((diagnostic.code, place)).or_default();
        if !known.iter().any(|known| self.diagnostics[*known].is_same(&diagnostic)) {
            known.push(self.diagnostics.len());
            self.diagnostics.push(diagnostic);
        }
    }

    /// Adds a warning, with help to silence it, unless its code is allowed.
    pub(crate) fn push_unless_allowed(&mut self, warning: Diagnostic, is_allowed: impl Fn(&str) -> bool) {
        if !is_allowed(warning.code) {
            let help = format!("if this is intended, add `allow: {}` to `_options`", warning.code);
            self.push(warning.help(help));
        }
    }

    /// Returns the number of problems found, duplicates included.
    pub(crate) fn found(&self) -> usize {
        self.found
    }

    /// Returns whether there are errors, which fail the build; warnings do not.
    pub(crate) fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// Returns the problems as texts, errors, warnings and notes apart, in the order of the files. Each
    /// list has at most the first [`MAX_SHOWN`].
    pub(crate) fn render(&self, sources: &Sources) -> Problems {
        let renderer = Renderer::plain();
        let mut order: Vec<&Diagnostic> = self.diagnostics.iter().collect();
        order.sort_by_key(|diagnostic| diagnostic.labels.first().map(|(span, _)| (span.file, span.range.start)));
        let problems_of = |severity| {
            let all = || order.iter().filter(|diagnostic| diagnostic.severity == severity);
            let mut problems: Vec<Problem> = all()
                .take(MAX_SHOWN)
                .map(|diagnostic| diagnostic.problem(sources, &renderer))
                .collect();
            let left = all().count() - problems.len();
            if left > 0 {
                let rest = Diagnostic::new(severity, "and-more", format!("{left} more"));
                problems.push(rest.problem(sources, &renderer));
            }
            problems
        };
        Problems {
            errors: problems_of(Severity::Error),
            warnings: problems_of(Severity::Warning),
            notes: problems_of(Severity::Note),
        }
    }
}

/// The problems of a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// The problems that fail the build.
    pub errors: Vec<Problem>,
    /// The problems that do not fail the build.
    pub warnings: Vec<Problem>,
    /// Effects of the schema that its author may not expect. The build does not show them.
    pub notes: Vec<Problem>,
}

/// One problem of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Stable and short; the term to search the documentation for.
    pub code: &'static str,
    /// The problem, in one sentence without a full stop.
    pub message: String,
    /// The place of the problem; problems of a whole folder have none.
    pub place: Option<Place>,
    /// The help texts.
    pub help: Vec<String>,
    /// The whole problem as a terminal shows it, with the source line and the place underlined.
    pub text: String,
}

/// A piece of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as a user would type it.
    pub file: PathBuf,
    /// The start: line and column, from 1, the column in characters.
    pub start: (usize, usize),
    /// The end; the column is the one after the last character.
    pub end: (usize, usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_at_most_the_maximum() {
        let mut report = Report::default();
        for number in 0..=MAX_SHOWN {
            report.push(Diagnostic::new(Severity::Error, "unknown-type", number.to_string()));
        }
        let errors = report.render(&Sources::default()).errors;
        assert_eq!(errors.len(), MAX_SHOWN + 1);
        assert_eq!(errors[MAX_SHOWN].message, "1 more");
    }
}
