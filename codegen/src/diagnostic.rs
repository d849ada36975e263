//! Problems of a schema: what is wrong, where, and the cure; all of a run at once, in rustc's manner.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::source::{Sources, Span};

/// One problem.
#[derive(Debug)]
#[must_use]
pub(crate) struct Diagnostic {
    severity: Severity,
    /// Stable and short: what one searches the documentation for.
    code: &'static str,
    /// Lower case, no full stop.
    message: String,
    /// The smallest piece that is wrong first, then what it has to be seen beside.
    labels: Vec<(Span, String)>,
    help: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Error,
    Warning,
}

impl Diagnostic {
    pub(crate) fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message.into())
    }

    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message.into())
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

    /// Points at `span`; the first is the problem itself.
    pub(crate) fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push((span, text.into()));
        self
    }

    /// Proposes a cure.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Proposes the name that was meant, if there is one near.
    pub(crate) fn did_you_mean<'n>(self, word: &str, candidates: impl IntoIterator<Item = &'n str>) -> Self {
        match crate::types::closest(word, candidates) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    fn render(&self, sources: &Sources, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
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
            let annotations = labels
                .iter()
                .enumerate()
                .filter(|(_, (span, _))| span.file == file)
                .map(|(index, (span, text))| {
                    let kind = if index == 0 {
                        AnnotationKind::Primary
                    } else {
                        AnnotationKind::Context
                    };
                    let annotation = kind.span(span.range.clone());
                    if text.is_empty() {
                        annotation
                    } else {
                        annotation.label(text)
                    }
                });
            Snippet::source(&source.text)
                .path(source.path.to_string_lossy())
                .annotations(annotations)
        })
        .collect()
}

/// The problems of one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Returns whether anything forbids the build; warnings do not.
    pub(crate) fn has_errors(&self) -> bool {
        self.diagnostics
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Returns each problem's text, errors and warnings apart, in the order of the files.
    pub(crate) fn render(&self, sources: &Sources) -> Rendered {
        let renderer = Renderer::plain();
        let mut order: Vec<&Diagnostic> = self.diagnostics.iter().collect();
        order.sort_by_key(|diagnostic| diagnostic.labels.first().map(|(span, _)| (span.file, span.range.start)));
        let of = |severity| {
            order
                .iter()
                .filter(|diagnostic| diagnostic.severity == severity)
                .map(|diagnostic| diagnostic.render(sources, &renderer))
                .collect()
        };
        Rendered {
            errors: of(Severity::Error),
            warnings: of(Severity::Warning),
        }
    }
}

/// The texts of a run's problems, ready to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// What forbids the build, one text a problem.
    pub errors: Vec<String>,
    /// What is odd and allowed.
    pub warnings: Vec<String>,
}
