//! The fields of a message in protobuf
//! ([encoding](https://protobuf.dev/programming-guides/encoding/)), without a list of them.

use super::AdapterError;

/// The fields of a message that have a length: texts, bytes and messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    pub(super) const fn of(message: &'b [u8]) -> Self {
        Self(message)
    }

    /// Returns the contents of the fields with a number; an error ends them.
    pub(super) fn with(self, number: usize) -> impl Iterator<Item = Result<&'b [u8], AdapterError>> {
        self.filter_map(move |field| match field {
            Ok((found, content)) => (found == number).then_some(Ok(content)),
            Err(error) => Some(Err(error)),
        })
    }

    /// Returns the content of the last field with a number.
    pub(super) fn last_with(self, number: usize) -> Result<Option<&'b [u8]>, AdapterError> {
        self.with(number).try_fold(None, |_, content| content.map(Some))
    }

    /// Reads a field: its number and its content if it has a length, otherwise nothing. Returns
    /// `None` if the message is malformed.
    fn read(&mut self) -> Option<Option<(usize, &'b [u8])>> {
        let key = self.varint()?;
        let length = match key & 7 {
            0 => return self.varint().map(|_| None),
            1 => 8,
            2 => self.varint()?,
            5 => 4,
            _ => return None,
        };
        let (content, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((key & 7 == 2).then_some((key >> 3, content)))
    }

    fn varint(&mut self) -> Option<usize> {
        prost::decode_length_delimiter(&mut self.0).ok()
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(usize, &'b [u8]), AdapterError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            match self.read() {
                Some(None) => {}
                Some(Some(field)) => return Some(Ok(field)),
                None => {
                    self.0 = &[];
                    let reason = "the body is not an ExportLogsServiceRequest in protobuf, or its end is missing";
                    return Some(Err(AdapterError::Protocol(reason.to_owned())));
                }
            }
        }
        None
    }
}
