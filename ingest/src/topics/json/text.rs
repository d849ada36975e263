//! Texts in JSON.

/// The digits of an escaped byte.
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends a text as a string of JSON. Bytes that are not UTF-8 stay as they are, as in ClickHouse's
/// own JSON.
pub(super) fn put_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..=0x1f | b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => {
                let digit = |nibble: u8| HEX[usize::from(nibble & 15)];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(byte >> 4), digit(byte)]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_control_characters_and_marks_are_escaped() {
        let mut out = Vec::new();
        put_text("a\"b\\c\n\r\t\0\u{1f}é\u{7f}".as_bytes(), &mut out);
        put_text(b"\xff", &mut out);
        let expected: &[u8] = b"\"a\\\"b\\\\c\\n\\r\\t\\u0000\\u001f\xc3\xa9\x7f\"\"\xff\"";
        assert_eq!(out, expected);
    }
}
