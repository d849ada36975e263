//! Lines: one item per line; blank lines are no items.

use super::Item;
use crate::answer::ItemNumber;

/// The lines of a text.
#[derive(Debug)]
pub(in crate::collect::batch) struct Lines {
    /// The start of the next line; past the end of the text after the last line.
    pub(super) at: usize,
    /// The number of lines read so far.
    pub(super) number: usize,
}

impl Lines {
    pub(super) fn new(at: usize) -> Self {
        Self { at, number: 0 }
    }

    #[inline]
    pub(super) fn next<'t>(&mut self, text: &'t str) -> Option<Item<'t>> {
        loop {
            let line = next_line(text, &mut self.at)?;
            self.number += 1;
            if !line.trim_ascii().is_empty() {
                return Some(Item {
                    number: ItemNumber::Line(self.number),
                    text: line,
                });
            }
        }
    }
}

/// Returns whether a text that is not JSON is one JSON object per line. The first line ends as an
/// object does, and the next one begins as one, which no single document has.
#[cold]
pub(in crate::collect) fn is_lines(text: &str) -> bool {
    let mut lines = Lines::new(0);
    let mut next = || lines.next(text).map_or("", |item| item.text.trim_ascii());
    let (first, second) = (next(), next());
    first.starts_with('{') && first.ends_with('}') && second.starts_with('{')
}

/// Returns the line that begins at `at`, and moves `at` to the next one. An empty line may follow
/// the last line end. `str::lines` takes some 25 ns per line, a twentieth of the time from an event
/// to its block.
fn next_line<'t>(text: &'t str, at: &mut usize) -> Option<&'t str> {
    let rest = text.get(*at..)?;
    let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
    *at += end + 1;
    let line = &rest[..end];
    Some(line.strip_suffix('\r').unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_recognized_by_the_first_two() {
        for text in ["{}\n{}", "\n {\"a\":1} \r\n\n\t{", "{bad}\n{}\nx"] {
            assert!(is_lines(text), "{text:?}");
        }
        for text in [
            "",
            "{}",
            "{}{}",
            "{} {}",
            "{}\n",
            "{}\nx",
            "{\n}\n{}",
            "{\"a\":\n{}}",
            "[{}\n{}]",
            "5\n{}",
        ] {
            assert!(!is_lines(text), "{text:?}");
        }
    }

    #[test]
    fn lines_are_split_as_by_the_standard_library() {
        for text in ["", "a", "a\n", "a\r\nb\n\n\nc", "\n", "\r\n", "a\rb\r\n", "é\né\r"] {
            let mut at = 0;
            let mut found: Vec<_> = std::iter::from_fn(|| next_line(text, &mut at)).collect();
            if found.last() == Some(&"") {
                found.pop();
            }
            let mut expected: Vec<_> = text.lines().collect();
            // `next_line` strips a final `\r` without `\n`, which `str::lines` keeps; JSON ignores
            // it.
            if let Some(last) = expected.last_mut() {
                *last = last.trim_end_matches('\r');
            }
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
