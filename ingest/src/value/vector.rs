//! `QBit(T, N)` ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/qbit)): a vector
//! of `N` numbers, which a block has as an array of that length.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{BFloat16, Decode, Encode, array::read_text, put_length};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// ClickHouse's `QBit(T, N)`: `N` numbers, or an empty list for `N` zeros.
///
/// The decoder accepts a JSON array of `N` numbers; a string or `null` is not a number. It parses
/// text as JSON. The `clickhouse` crate reads the type back only with
/// `Client::with_validation(false)`.
///
/// ```
/// use rowmill_ingest::{json::Reader, value::{Decode, QBit}};
///
/// let vector = QBit::<f32, 2>::from_json(&mut Reader::new("[0.5, 1]"))?;
/// assert_eq!(vector.0, [0.5, 1.0]);
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QBit<T, const N: usize>(
    /// The numbers.
    pub Vec<T>,
);

impl<T, const N: usize> Default for QBit<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// A number of a vector.
pub trait Number: for<'a> Decode<'a> + Encode + Clone {}

impl Number for i8 {}
impl Number for BFloat16 {}
impl Number for f32 {}
impl Number for f64 {}

/// Reads `N` numbers.
fn numbers<T: Number, const N: usize>(json: &mut Reader<'_>) -> Result<Vec<T>, ValueError> {
    let mut numbers = Vec::with_capacity(N);
    json.begin_array()?;
    while json.next_element()? {
        if json.peek()? != Kind::Number {
            return Err(ValueError::WrongKind);
        }
        if numbers.len() == N {
            return Err(ValueError::WrongLength);
        }
        numbers.push(T::from_json(json)?);
    }
    if numbers.len() == N {
        Ok(numbers)
    } else {
        Err(ValueError::WrongLength)
    }
}

impl<'a, T: Number, const N: usize> Decode<'a> for QBit<T, N> {
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::Array => numbers::<T, N>(json).map(Self),
            Kind::Null => Ok(json.null().map(|()| Self::default())?),
            _ => Err(ValueError::WrongKind),
        }
    }

    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        if !text.starts_with('[') {
            return Err(ValueError::Malformed);
        }
        let mut vector = Self::default();
        read_text(text, |json, _| {
            vector.0 = numbers::<T, N>(json)?;
            Ok(())
        })?;
        Ok(vector)
    }
}

impl<T: Number, const N: usize> Encode for QBit<T, N> {
    fn put(&self, out: &mut Vec<u8>) {
        put_length(out, N);
        if self.0.is_empty() {
            let zero = T::default();
            (0..N).for_each(|_| zero.put(out));
        } else {
            self.0.iter().for_each(|number| number.put(out));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    #[test]
    fn a_vector_of_another_length_is_refused() {
        assert_eq!(json::<QBit<f32, 3>>("[1, -2.5,3e1]"), Ok(QBit(vec![1.0, -2.5, 30.0])));
        assert_eq!(json::<QBit<i8, 2>>("[-128,127]"), Ok(QBit(vec![-128, 127])));
        assert_eq!(json::<QBit<f32, 3>>("null"), Ok(QBit::default()));
        assert_eq!(text::<QBit<f64, 2>>("[1,2]"), Ok(QBit(vec![1.0, 2.0])));
        for (event, problem) in [
            ("[1,2]", ValueError::WrongLength),
            ("[1,2,3,4]", ValueError::WrongLength),
            ("[]", ValueError::WrongLength),
            ("[1,\"2\",3]", ValueError::WrongKind),
            ("[1,null,3]", ValueError::WrongKind),
            ("[1,true,3]", ValueError::WrongKind),
            ("[1,1e39,3]", ValueError::OutOfRange),
            ("\"[1,2,3]\"", ValueError::WrongKind),
            ("{}", ValueError::WrongKind),
        ] {
            assert_eq!(json::<QBit<f32, 3>>(event), Err(problem), "{event}");
        }
        assert_eq!(text::<QBit<f64, 2>>("1"), Err(ValueError::Malformed));
        assert_eq!(json::<QBit<i8, 1>>("[1.5]"), Err(ValueError::NotAnInteger));
    }

    #[test]
    fn the_length_is_encoded_before_the_numbers() {
        assert_eq!(bytes(&QBit::<i8, 2>(vec![1, -1])), [2, 1, 255]);
        assert_eq!(bytes(&QBit::<f32, 2>::default()), [2, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
