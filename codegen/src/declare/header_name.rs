//! Names of HTTP headers.

use super::DeclarationReader;
use crate::{diagnostic::Diagnostic, source::Span};

impl DeclarationReader<'_> {
    /// Returns a header's name in lower case; reports a text that is none with `code` and `help`
    /// ([RFC 9110, section 5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2)).
    pub(super) fn header_name(
        &mut self,
        text: &str,
        span: &Span,
        code: &'static str,
        help: &'static str,
    ) -> Option<String> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if !text.is_empty() && text.bytes().all(is_token) {
            return Some(text.to_ascii_lowercase());
        }
        let diagnostic = Diagnostic::error(code, format!("`{text}` is not the name of a header"));
        self.report.push(diagnostic.label(span.clone(), "").help(help));
        None
    }
}
