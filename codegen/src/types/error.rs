//! The problem of a declaration, before it is known in which file the declaration stands.

use std::ops::Range;

/// One problem of a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeError {
    /// Stable and short: what one searches the documentation for.
    pub(crate) code: &'static str,
    /// Lower case, no full stop.
    pub(crate) message: String,
    /// The smallest piece that is wrong, in bytes of the text; empty at its end where something is missing.
    pub(crate) span: Range<usize>,
    /// The cure, if there is one to propose.
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

    /// Of what ClickHouse takes and nobody means.
    pub(crate) fn warning(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(code, span, message)
    }

    /// Proposes a cure.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Proposes the word that was meant, if there is one; an earlier proposal stays where there is none.
    pub(crate) fn did_you_mean(self, word: Option<&str>) -> Self {
        match word {
            Some(word) => self.help(format!("did you mean `{word}`?")),
            None => self,
        }
    }
}
