//! Values that borrow from an event, as values that own their texts.

use std::borrow::Cow;

use super::{
    BFloat16, Date, Date32, DateTime, DateTime64, Decimal32, Decimal64, Decimal128, Decimal256, Dynamic, FixedString,
    Int256, Ipv4, Ipv6, JsonPaths, JsonText, Map, QBit, Time, Time64, UInt256, Uuid, Zone,
};

/// A value that can own its texts.
pub trait IntoOwned {
    /// The same type without a borrow.
    type Owned: 'static;

    /// Returns the value with its own copy of each borrowed text. Other parts are moved.
    fn into_owned(self) -> Self::Owned;
}

macro_rules! owns_itself {
    ($([$($parameters:tt)*] $type:ty),+ $(,)?) => { $(
        impl<$($parameters)*> IntoOwned for $type {
            type Owned = Self;

            #[inline]
            fn into_owned(self) -> Self {
                self
            }
        }
    )+ };
}

owns_itself! {
    [] u8, [] u16, [] u32, [] u64, [] u128, [] UInt256,
    [] i8, [] i16, [] i32, [] i64, [] i128, [] Int256,
    [] f32, [] f64, [] BFloat16, [] bool, [] (),
    [const P: u8, const S: u8] Decimal32<P, S>,
    [const P: u8, const S: u8] Decimal64<P, S>,
    [const P: u8, const S: u8] Decimal128<P, S>,
    [const P: u8, const S: u8] Decimal256<P, S>,
    [] Date, [] Date32, [Z: Zone] DateTime<Z>, [const P: u8, Z: Zone] DateTime64<P, Z>,
    [] Time, [const P: u8] Time64<P>,
    [] Uuid, [] Ipv4, [] Ipv6, [const N: usize] FixedString<N>,
    [T: 'static, const N: usize] QBit<T, N>,
}

impl IntoOwned for Cow<'_, str> {
    type Owned = Cow<'static, str>;

    fn into_owned(self) -> Cow<'static, str> {
        Cow::Owned(Cow::into_owned(self))
    }
}

impl IntoOwned for Dynamic<'_> {
    type Owned = Dynamic<'static>;

    fn into_owned(self) -> Self::Owned {
        Self::into_static(self)
    }
}

impl<P: JsonPaths> IntoOwned for JsonText<'_, P> {
    type Owned = JsonText<'static, P>;

    fn into_owned(self) -> Self::Owned {
        Self::into_static(self)
    }
}

impl<T: IntoOwned> IntoOwned for Option<T> {
    type Owned = Option<T::Owned>;

    fn into_owned(self) -> Self::Owned {
        self.map(T::into_owned)
    }
}

impl<T: IntoOwned> IntoOwned for Vec<T> {
    type Owned = Vec<T::Owned>;

    fn into_owned(self) -> Self::Owned {
        self.into_iter().map(T::into_owned).collect()
    }
}

impl<K: IntoOwned, V: IntoOwned> IntoOwned for Map<K, V> {
    type Owned = Map<K::Owned, V::Owned>;

    fn into_owned(self) -> Self::Owned {
        Map(self.0.into_owned())
    }
}

macro_rules! tuple {
    ($($type:ident $index:tt),+) => {
        impl<$($type: IntoOwned),+> IntoOwned for ($($type,)+) {
            type Owned = ($($type::Owned,)+);

            fn into_owned(self) -> Self::Owned {
                ($(self.$index.into_owned(),)+)
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
