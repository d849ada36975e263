//! Skips values, either with full checks or only as far as needed to find their end.

use super::{Error, ErrorKind, Kind, Reader, brackets};

impl<'a> Reader<'a> {
    /// Skips any value and returns it as it is written.
    ///
    /// # Errors
    /// The value is malformed.
    pub fn raw_value(&mut self) -> Result<&'a str, Error> {
        self.skip_space();
        let start = self.at;
        self.skip()?;
        Ok(self.slice(start))
    }

    /// Skips any value without checking it, and returns it as it is written. Only for values that
    /// other code checks.
    ///
    /// # Errors
    /// The text ends before the value does, or no value starts here.
    pub(crate) fn raw_value_unchecked(&mut self) -> Result<&'a str, Error> {
        self.skip_space();
        let start = self.at;
        self.skip_unchecked()?;
        Ok(self.slice(start))
    }

    /// Skips any value.
    ///
    /// # Errors
    /// The value is malformed.
    pub fn skip(&mut self) -> Result<(), Error> {
        let bottom = self.depth;
        // One bit for each open level, the innermost lowest: whether it is an object.
        let mut objects: u128 = 0;
        loop {
            match self.peek()? {
                Kind::Null => self.null()?,
                Kind::Bool => self.bool().map(drop)?,
                Kind::Number => self.number().map(drop)?,
                Kind::String => self.skip_string()?,
                Kind::Array => {
                    self.begin_array()?;
                    objects <<= 1;
                }
                Kind::Object => {
                    self.begin_object()?;
                    objects = objects << 1 | 1;
                }
            }
            loop {
                if self.depth == bottom {
                    return Ok(());
                }
                let more = if objects & 1 == 1 {
                    self.skip_key()?
                } else {
                    self.next_element()?
                };
                if more {
                    break;
                }
                objects >>= 1;
            }
        }
    }

    /// Skips any value without checking it, at a third of the cost. Only for values that other code
    /// checks.
    ///
    /// # Errors
    /// The text ends before the value does, or no value starts here.
    pub(crate) fn skip_unchecked(&mut self) -> Result<(), Error> {
        match self.peek()? {
            Kind::String => self.skip_string_unchecked(),
            Kind::Array | Kind::Object => self.skip_brackets_unchecked(),
            Kind::Null | Kind::Bool | Kind::Number => {
                let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
                Ok(())
            }
        }
    }

    /// Skips brackets and their content, without checking that the brackets match.
    fn skip_brackets_unchecked(&mut self) -> Result<(), Error> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        match brackets::length(rest) {
            Some(length) => {
                self.at += length;
                Ok(())
            }
            None => {
                self.at = self.text.len();
                Err(self.error(ErrorKind::UnexpectedEnd))
            }
        }
    }

    fn skip_key(&mut self) -> Result<bool, Error> {
        if !self.find_key()? {
            return Ok(false);
        }
        self.skip_string()?;
        self.colon()?;
        Ok(true)
    }
}
