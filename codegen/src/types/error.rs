//! The problem of a declaration, without the file that the declaration is in.

use std::ops::Range;

/// One problem of a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeError {
    /// Stable and short; the term to search the documentation for.
    pub(crate) code: &'static str,
    /// Lower case, no full stop.
    pub(crate) message: String,
    /// The smallest piece that is wrong, in bytes of the text; empty, at the end of the text, if
    /// something is missing.
    pub(crate) span: Range<usize>,
    /// The help text, if there is one.
    pub(crate) help: Option<String>,
}

impl TypeError {
    pub(crate) fn new(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            span,
            help: None,
        }
    }

    /// Creates a warning about a text that ClickHouse accepts and that is probably a mistake.
    pub(crate) fn warning(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(code, span, message)
    }

    /// Sets the help text.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Proposes the word that was meant; without a word, an earlier proposal remains.
    pub(crate) fn did_you_mean(self, word: Option<&str>) -> Self {
        match word {
            Some(word) => self.help(format!("did you mean `{word}`?")),
            None => self,
        }
    }
}
