//! Words: the messages of the YAML parser, in the words of a schema's author.

/// A message, and what its reader can do.
pub(super) type Words = (&'static str, Option<&'static str>);

/// The parser's message about a list where there can be none.
pub(super) const UNEXPECTED_LIST: &str = "block sequence entries are not allowed";

/// Pieces of the parser's messages, and the words that replace the message; the first that fits.
const WORDS: &[(&str, Words)] = &[
    ("tab", ("a tab cannot indent a line", Some("indent with spaces"))),
    (
        "unclosed quote",
        ("unclosed quote", Some("close the quote at the end of the value")),
    ),
    (
        "mapping values are not allowed",
        (
            "unexpected `:`",
            Some(
                "write a space after the `:` of each key, put a value that contains `: ` between double quotes, and indent a mapping deeper than its key",
            ),
        ),
    ),
    (
        "unknown anchor",
        (
            "unknown anchor",
            Some(
                "put a string that begins with `*` between double quotes; to inherit another table's columns, write `_options: { extend: … }`",
            ),
        ),
    ),
    (
        "recursive references",
        (
            "this alias is a part of its own anchor",
            Some("write the value itself here"),
        ),
    ),
    (
        "block sequence entries are not allowed",
        (
            "a list cannot begin here",
            Some("write each column as `name: Type`, without a `-` before it"),
        ),
    ),
    (
        "\"-\" is only valid",
        (
            "a list cannot begin here",
            Some("put a value that begins with `-` between double quotes"),
        ),
    ),
    (
        "expected '-' indicator",
        (
            "this line is not an item of the list above it",
            Some("write each column as `name: Type`, without a `-` before it"),
        ),
    ),
    ("'-' must be followed", ("a space is missing after the `-`", None)),
    (
        "block mapping",
        (
            "this line does not continue the mapping above it",
            Some("indent all entries of a mapping equally"),
        ),
    ),
    (
        "invalid indentation in multiline quoted",
        ("the lines of a text between quotes must be indented", None),
    ),
    (
        "invalid indentation in flow",
        (
            "the lines between brackets must be indented",
            Some("indent them deeper than the key"),
        ),
    ),
    (
        "indentation",
        (
            "this line is indented wrongly",
            Some("indent with spaces, all entries of a mapping equally"),
        ),
    ),
    (
        "indented line in block scalar",
        (
            "this line is indented wrongly",
            Some("indent all lines of a text equally"),
        ),
    ),
    (
        "block scalar",
        (
            "a text cannot begin on the line of its `|` or `>`",
            Some(
                "write the text on the next lines, or put a value that begins with this character between double quotes",
            ),
        ),
    ),
    ("simple key", ("a `:` is missing after this key", None)),
    (
        "BOM",
        (
            "a byte order mark (U+FEFF) is inside of the file",
            Some("remove it; joining two files leaves it there"),
        ),
    ),
    (
        "comments must be separated",
        ("a space is missing before the `#`", None),
    ),
    (
        "comment intercepting",
        (
            "a comment interrupts a text of several lines",
            Some("write the comment on a line above"),
        ),
    ),
    (
        "document end marker",
        ("a text follows the `...` at the end of a document", None),
    ),
    ("document start", ("a new document must begin with `---`", None)),
    (
        "anchor or alias",
        (
            "the name of an anchor is missing",
            Some("put a value that begins with this character between double quotes"),
        ),
    ),
    (
        "trailing content",
        (
            "a text follows the closing quote",
            Some(
                "put the whole value between quotes; write `''` for a `'` between single quotes, and `\\\"` for a `\"` between double ones",
            ),
        ),
    ),
    (
        "unknown escape",
        ("unknown escape", Some("between double quotes, write `\\\\` for a `\\`")),
    ),
    ("hexadecimal", ("an escape needs more hexadecimal digits", None)),
    ("surrogate", ("this escape is half a character", None)),
    ("escape", ("this escape is no character", None)),
    (
        "document indicator",
        (
            "a `---` is inside of a text between quotes",
            Some("close the quote, or indent the line"),
        ),
    ),
    (
        "mapping keys are not allowed",
        (
            "a key cannot begin here",
            Some("put a value that begins with `?` between double quotes"),
        ),
    ),
    (
        "plain scalar cannot start",
        (
            "a value cannot begin with this `-`",
            Some("put the value between double quotes"),
        ),
    ),
    (
        "':'",
        (
            "a space is missing after the `:`",
            Some("put a value that begins with `:` between double quotes"),
        ),
    ),
    (
        "misplaced bracket",
        (
            "a closing bracket without an opening one",
            Some("put a value that begins with this character between double quotes"),
        ),
    ),
    ("end with no start", ("a closing bracket without an opening one", None)),
    (
        "mismatched bracket",
        ("another bracket closes this value than opens it", None),
    ),
    ("expected node content", ("a value is missing here", None)),
    (
        "base64",
        (
            "the value does not fit its tag",
            Some("remove the tag, the word with the `!`"),
        ),
    ),
    (
        "!!binary",
        (
            "the value does not fit its tag",
            Some("remove the tag, the word with the `!`"),
        ),
    ),
    (
        "cannot deserialize",
        (
            "the value does not fit its tag",
            Some("remove the tag, the word with the `!`"),
        ),
    ),
    (
        "handle wasn't declared",
        (
            "unknown tag",
            Some("put a value that begins with `!` between double quotes"),
        ),
    ),
    (
        "tag",
        (
            "invalid tag",
            Some("put a value that begins with `!` between double quotes"),
        ),
    ),
    (
        "directive",
        (
            "this line is not a directive of YAML",
            Some("put a value or key that begins with `%` between double quotes"),
        ),
    ),
    (
        "invalid ",
        (
            "the value does not fit its tag",
            Some("remove the tag, the word with the `!`"),
        ),
    ),
    ("flow mapping", ("a `,` or a `}` is missing before this", None)),
    ("flow sequence", ("a `,` or a `]` is missing before this", None)),
    ("unclosed bracket", ("a bracket is not closed", None)),
    ("eof", ("the file ends too early", None)),
    ("EOF", ("the file ends too early", None)),
];

/// Returns the words for a message of the parser about the text that begins with `text`.
pub(super) fn words(message: &str, text: &str) -> (String, Option<&'static str>) {
    if let Some((_, found)) = message.split_once("unexpected character: `") {
        let control = found.strip_prefix("\\u{").and_then(|found| found.split('}').next());
        let control = control.or((found.starts_with('\\') && !found.starts_with("\\\\")).then_some("9"));
        return match control.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(code) => (
                format!("the character U+{code:04X} is not allowed here"),
                Some("remove it, or put the value between double quotes"),
            ),
            None => {
                let first = text.chars().next().unwrap_or_default();
                (format!("a value or key cannot begin with `{first}`"), None)
            }
        };
    }
    let found = WORDS.iter().find(|(piece, _)| message.contains(piece));
    let (words, help) = found.map_or(("this is not YAML", None), |(_, words)| *words);
    (words.to_owned(), help)
}

/// Returns the place of the first bracket that the file does not close, or closes with another one.
pub(super) fn unclosed_bracket(text: &str) -> Option<usize> {
    let mut open: Vec<usize> = Vec::new();
    let mut quote = None;
    // Whether a value may begin here: brackets and quotes inside of a plain value are text.
    let mut starts = true;
    let mut before = '\n';
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if let Some(closing) = quote {
            match c {
                '\\' if closing == '"' => {
                    chars.next();
                }
                c if c == closing => quote = None,
                _ => {}
            }
            before = c;
            continue;
        }
        match c {
            '#' if before.is_whitespace() => {
                for (_, c) in chars.by_ref() {
                    if c == '\n' {
                        break;
                    }
                }
                before = '\n';
                starts = true;
                continue;
            }
            '\'' | '"' if starts => quote = Some(c),
            '{' | '[' if starts => open.push(at),
            '}' | ']' => match open.pop() {
                Some(bracket) if text[bracket..].starts_with(if c == '}' { '{' } else { '[' }) => {}
                Some(bracket) => return Some(bracket),
                None => {}
            },
            _ => {}
        }
        starts = match c {
            '\n' | '{' | '[' => true,
            ',' => !open.is_empty(),
            ' ' | '\t' | '\r' => starts || matches!(before, ':' | '-' | '?'),
            _ => false,
        };
        before = c;
    }
    open.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bracket_without_its_pair_is_found() {
        for (text, place) in [
            ("a: {b: c}\n", None),
            ("a: {b: c\nd: {e: f}\n", Some(3)),
            ("a: [b, 'c]'\n", Some(3)),
            ("a: \"{\"\nb: it's {\n", None),
            ("a: Enum8('{' = 1)\n", None),
            ("# {\na: { # }\n  b: c }\n", None),
            ("a:\n  - [x\n", Some(7)),
            ("a: { b: {c: d }\n", Some(3)),
            ("a: { b: [c, d }\n", Some(8)),
            ("a: {{ b }\n", Some(3)),
        ] {
            assert_eq!(unclosed_bracket(text), place, "{text}");
        }
    }
}
