//! JSON numbers, as they are written.

use super::{Error, ErrorKind, Reader};

impl<'a> Reader<'a> {
    /// Reads a number and returns it as it is written.
    ///
    /// # Errors
    /// The next value is not a number, or JSON does not allow its form.
    #[inline]
    pub fn number(&mut self) -> Result<&'a str, Error> {
        self.skip_space();
        let start = self.at;
        self.consume(b'-');
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return Err(self.error(ErrorKind::InvalidNumber)),
        }
        if self.consume(b'.') {
            self.digits()?;
        }
        if self.consume(b'e') || self.consume(b'E') {
            let _ = self.consume(b'+') || self.consume(b'-');
            self.digits()?;
        }
        // For `01` and `1x`, the caller would report a missing comma, which is a worse message.
        match self.byte() {
            Some(b'0'..=b'9' | b'.' | b'+' | b'-' | b'_' | b'a'..=b'z' | b'A'..=b'Z') => {
                Err(self.error(ErrorKind::InvalidNumber))
            }
            _ => Ok(self.slice(start)),
        }
    }

    /// Reads an integer of at most 18 digits: the fast path for nearly all numbers.
    ///
    /// Returns `None` and consumes only white space if the next value differs;
    /// [`Reader::number`] reads a longer number then.
    ///
    /// ```
    /// use rowmill_ingest::json::Reader;
    ///
    /// assert_eq!(Reader::new("-12").small_integer(), Some(-12));
    /// assert_eq!(Reader::new("1.5").small_integer(), None);
    /// ```
    #[inline]
    pub fn small_integer(&mut self) -> Option<i64> {
        self.skip_space();
        let rest = self.text.as_bytes().get(self.at..)?;
        let (negative, digits) = match rest {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let mut value = 0;
        let mut count = 0;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            if count == 18 {
                return None;
            }
            value = value * 10 + i64::from(digit);
            count += 1;
        }
        let after = digits.get(count);
        let is_complete = matches!(after, None | Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
        if !is_complete || count == 0 || (digits[0] == b'0' && count > 1) {
            return None;
        }
        self.at += count + usize::from(negative);
        Some(if negative { -value } else { value })
    }

    fn skip_digits(&mut self) {
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
    }

    /// Consumes one or more digits.
    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.skip_digits();
        if self.at == start {
            Err(self.error(ErrorKind::InvalidNumber))
        } else {
            Ok(())
        }
    }
}
