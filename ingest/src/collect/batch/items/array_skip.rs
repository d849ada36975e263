//! Array skip: finds the end of an array's element by its brackets and quotes, without a check.

/// The state of the search for the end of an element that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct ArraySkip {
    /// Whether the bracket that opens the array has been found.
    is_open: bool,
    /// Whether the element has begun.
    has_begun: bool,
    /// The number of open brackets inside the element.
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
}

impl ArraySkip {
    /// Returns the end of the element in the next piece of text; `None` if it is not there.
    /// `is_array_open` is whether the bracket of the array is before the first piece.
    pub(super) fn end_of_element(&mut self, text: &str, is_array_open: bool) -> Option<usize> {
        self.is_open |= is_array_open;
        text.bytes()
            .enumerate()
            .find_map(|(at, byte)| self.end_with(byte).map(|length| at + length))
    }

    /// Reads a byte. At the end of the element, returns whether the byte is the last of it (1) or the
    /// first after it (0).
    fn end_with(&mut self, byte: u8) -> Option<usize> {
        if self.is_in_string {
            let ends = byte == b'"' && !self.is_escaped;
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            self.is_in_string = !ends;
            return (ends && self.depth == 0).then_some(1);
        }
        let is_between = self.depth == 0 && matches!(byte, b',' | b' ' | b'\t' | b'\r' | b'\n');
        match byte {
            _ if is_between => return self.has_begun.then_some(0),
            b'[' if !self.is_open => {
                self.is_open = true;
                return None;
            }
            b'}' | b']' if self.depth == 0 => return Some(0),
            b'}' | b']' => {
                self.depth -= 1;
                return (self.depth == 0).then_some(1);
            }
            b'{' | b'[' => self.depth += 1,
            b'"' => self.is_in_string = true,
            _ => {}
        }
        self.has_begun = true;
        None
    }
}
