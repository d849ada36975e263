//! The parts of ClickHouse's error texts, and text that is safe in a log.

use std::borrow::Cow;

/// ClickHouse's words for an error in a view, and not in the table itself.
pub(super) const PUSHING_TO_VIEW: &str = "while pushing to view";

/// Reads the code in `Code: N. DB::Exception: …`, the body of each of ClickHouse's error responses,
/// or in `Code: N`, which the client builds from the header `X-ClickHouse-Exception-Code` if there
/// is no body.
pub(super) fn exception_code(text: &str) -> Option<u32> {
    let rest = text.strip_prefix("Code: ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, after) = rest.split_at(digits);
    if after.is_empty() || after.starts_with('.') {
        number.parse().ok()
    } else {
        None
    }
}

/// Returns the error's name, for example `CANNOT_PARSE_UUID`, from the end of ClickHouse's text,
/// before the version.
pub(super) fn name(text: &str) -> Option<&str> {
    let text = text.trim_end();
    let text = text.rfind(" (version ").map_or(text, |at| &text[..at]);
    let (_, name) = text.strip_suffix(')')?.rsplit_once('(')?;
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then_some(name)
}

/// Returns the position of ClickHouse's statement that a view has refused the rows. Ignores the
/// same words in a row's value: the quote that ends the value follows them.
pub(super) fn view_at(text: &str) -> Option<usize> {
    let at = text.rfind(PUSHING_TO_VIEW)?;
    let (mut is_quoted, mut bytes) = (false, text[at..].bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'\'' => is_quoted = !is_quoted,
            _ => {}
        }
    }
    (!is_quoted).then_some(at)
}

/// Returns the name at the start of a text: `database.view`, or the same in backquotes.
pub(super) fn identifier(text: &str) -> &str {
    let text = text.trim_start();
    let mut is_quoted = false;
    let end = text.find(|c: char| {
        is_quoted ^= c == '`';
        !is_quoted && !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.' | '`')
    });
    let end = end.unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}

/// Returns a text with its control characters escaped.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    Cow::Owned(text.chars().map(escape).collect())
}
