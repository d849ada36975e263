//! Values that are passed over, and checked all the same.

use super::{Error, Kind, Reader};

impl<'a> Reader<'a> {
    /// Passes any value and returns it as it is written.
    ///
    /// # Errors
    /// The value is broken.
    pub fn raw_value(&mut self) -> Result<&'a str, Error> {
        self.pass_space();
        let start = self.at;
        self.skip()?;
        Ok(self.slice(start))
    }

    /// Passes any value.
    ///
    /// # Errors
    /// The value is broken.
    pub fn skip(&mut self) -> Result<(), Error> {
        let bottom = self.depth;
        // One bit for each open level, the innermost the lowest: whether it is an object.
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

    fn skip_key(&mut self) -> Result<bool, Error> {
        if !self.find_key()? {
            return Ok(false);
        }
        self.skip_string()?;
        self.colon()?;
        Ok(true)
    }
}
