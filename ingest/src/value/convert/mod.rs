//! Conversions between dates, times and decimals and the types of other crates. Each needs the
//! feature of its crate.
//!
//! A conversion into a type of ClickHouse fails if the type cannot hold the value. Digits of a
//! second after the last one are cut off, as ClickHouse does; digits of a decimal are not.

#[cfg(feature = "chrono")]
mod chrono;
#[cfg(feature = "jiff")]
mod jiff;
#[cfg(feature = "rust_decimal")]
mod rust_decimal;

#[cfg(any(feature = "jiff", feature = "chrono"))]
mod ticks {
    use crate::{
        table::refusal::ValueError,
        value::{DateTime64, Zone, date_time::PRINTABLE},
    };

    const NANOS_PER_SECOND: i128 = 1_000_000_000;

    impl<const P: u8, Z: Zone> DateTime64<P, Z> {
        /// Returns the nanoseconds since 1970-01-01 00:00:00 UTC.
        pub(super) fn nanos(self) -> i128 {
            i128::from(self.ticks()) * (NANOS_PER_SECOND / i128::from(Self::PER_SECOND))
        }

        /// Returns the value of some nanoseconds since 1970-01-01 00:00:00 UTC.
        pub(super) fn from_nanos(nanos: i128) -> Result<Self, ValueError> {
            let ticks = nanos.div_euclid(NANOS_PER_SECOND / i128::from(Self::PER_SECOND));
            let ticks = i64::try_from(ticks).map_err(|_| ValueError::OutOfRange)?;
            let is_printable = PRINTABLE.contains(&ticks.div_euclid(Self::PER_SECOND));
            is_printable
                .then(|| Self::from_ticks(ticks))
                .ok_or(ValueError::OutOfRange)
        }
    }
}
