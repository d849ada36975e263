//! Takes values from the bytes of a row.

use super::InvalidValue;

/// The maximum number of bits of a length: blocks are below 4 GiB.
const MAX_LENGTH_BITS: u32 = 32;

/// The bytes of a row that are not read yet.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'r> {
    rest: &'r [u8],
}

impl<'r> Cursor<'r> {
    pub(crate) fn new(row: &'r [u8]) -> Self {
        Self { rest: row }
    }

    /// Checks that the whole row was read.
    pub(crate) fn end(&self) -> Result<(), InvalidValue> {
        match self.rest {
            [] => Ok(()),
            _ => Err(InvalidValue::Malformed),
        }
    }

    /// Takes this many bytes.
    pub(crate) fn take(&mut self, length: usize) -> Result<&'r [u8], InvalidValue> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(InvalidValue::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes the bytes of a number, the lowest first.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], InvalidValue> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(InvalidValue::Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, InvalidValue> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// Returns the next byte without taking it.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes a byte that is 0 or 1, such as a Bool, or the one before a Nullable value.
    pub(crate) fn flag(&mut self) -> Result<bool, InvalidValue> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(InvalidValue::Malformed),
        }
    }

    /// Takes a length in LEB128.
    pub(crate) fn length(&mut self) -> Result<usize, InvalidValue> {
        let mut length = 0_u64;
        for shift in (0..MAX_LENGTH_BITS).step_by(7) {
            let byte = self.byte()?;
            length |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return usize::try_from(length).map_err(|_| InvalidValue::Malformed);
            }
        }
        Err(InvalidValue::Malformed)
    }

    /// Takes the number of values that follow, each of at least a byte.
    pub(crate) fn count(&mut self) -> Result<usize, InvalidValue> {
        let count = self.length()?;
        // A larger number is damage, and must not become a long loop or much memory.
        (count <= self.rest.len())
            .then_some(count)
            .ok_or(InvalidValue::Malformed)
    }

    /// Takes a BFloat16, which is the upper half of a Float32.
    pub(crate) fn bfloat16(&mut self) -> Result<f32, InvalidValue> {
        let bits = u32::from(u16::from_le_bytes(self.array()?));
        Ok(f32::from_bits(bits << 16))
    }

    /// Takes the sixteen bytes of a UUID, which a row has as two numbers, the higher one first.
    pub(crate) fn uuid(&mut self) -> Result<[u8; 16], InvalidValue> {
        let (high, low) = (u64::from_le_bytes(self.array()?), u64::from_le_bytes(self.array()?));
        Ok((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }

    /// Takes the number of an Enum, of this many bytes.
    pub(crate) fn enumeration(&mut self, width: usize) -> Result<i16, InvalidValue> {
        Ok(match width {
            1 => i8::from_le_bytes(self.array()?).into(),
            _ => i16::from_le_bytes(self.array()?),
        })
    }

    /// Takes the bytes of a String.
    pub(crate) fn string(&mut self) -> Result<&'r [u8], InvalidValue> {
        let length = self.length()?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::leb128::put_length;

    #[test]
    fn lengths_are_read_as_they_are_written_and_no_cut_is_a_panic() {
        for length in [0, 1, 127, 128, 16_384, u32::MAX as usize] {
            let mut bytes = Vec::new();
            put_length(&mut bytes, length);
            assert_eq!(Cursor::new(&bytes).length(), Ok(length));
            for cut in 0..bytes.len() {
                assert_eq!(Cursor::new(&bytes[..cut]).length(), Err(InvalidValue::Malformed));
            }
        }
        assert_eq!(Cursor::new(&[0xff; 20]).length(), Err(InvalidValue::Malformed));
        assert_eq!(Cursor::new(&[3, 0, 0]).count(), Err(InvalidValue::Malformed));
        assert_eq!(Cursor::new(&[2, b'a', b'b', 7]).string(), Ok(&b"ab"[..]));
        assert_eq!(Cursor::new(&[2]).flag(), Err(InvalidValue::Malformed));
    }
}
