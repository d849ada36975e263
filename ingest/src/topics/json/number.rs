//! Numbers, dates and times in JSON.

use std::io::Write as _;

use crate::value::calendar::{DAY, date_of};

/// Appends an integer of at most 32 little-endian bytes, with a decimal point before its last `scale`
/// digits.
pub(super) fn put_integer(bytes: &[u8], is_signed: bool, scale: usize, out: &mut Vec<u8>) {
    let is_negative = is_signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut limbs = [if is_negative { u64::MAX } else { 0 }; 4];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.chunks(8)) {
        let mut wide = limb.to_le_bytes();
        wide[..chunk.len()].copy_from_slice(chunk);
        *limb = u64::from_le_bytes(wide);
    }
    if is_negative {
        out.push(b'-');
        negate(&mut limbs);
    }
    let digits = digits(limbs);
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(scale));
    if scale == 0 {
        return out.extend_from_slice(whole);
    }
    out.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
    out.push(b'.');
    out.resize(out.len() + scale - fraction.len(), b'0');
    out.extend_from_slice(fraction);
}

fn negate(limbs: &mut [u64; 4]) {
    let mut carry = true;
    for limb in limbs {
        (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
    }
}

/// Returns the digits of a number without leading zeros; one digit for zero.
fn digits(mut limbs: [u64; 4]) -> Vec<u8> {
    /// The largest power of ten in a limb, and its zeros.
    const BASE: u128 = 10_u128.pow(19);
    const DIGITS: usize = 19;
    let mut reversed = Vec::with_capacity(DIGITS);
    loop {
        let mut remainder = 0_u128;
        for limb in limbs.iter_mut().rev() {
            let value = remainder << 64 | u128::from(*limb);
            (*limb, remainder) = ((value / BASE) as u64, value % BASE);
        }
        let is_last = limbs == [0; 4];
        let mut group = remainder as u64;
        for _ in 0..DIGITS {
            if is_last && group == 0 && !reversed.is_empty() {
                break;
            }
            reversed.push(b'0' + (group % 10) as u8);
            group /= 10;
        }
        if is_last {
            break;
        }
    }
    while reversed.len() > 1 && reversed.last() == Some(&b'0') {
        reversed.pop();
    }
    reversed.reverse();
    reversed
}

/// Appends a floating-point number with the digits that read back as the same one, and a point or an
/// exponent. JSON has no infinity, and no NaN: they are texts, which ClickHouse reads.
pub(super) fn put_float(value: f64, is_single: bool, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    _ = match value {
        value if value.is_nan() && value.is_sign_negative() => out.write_all(b"\"-nan\""),
        value if value.is_nan() => out.write_all(b"\"nan\""),
        f64::INFINITY => out.write_all(b"\"inf\""),
        f64::NEG_INFINITY => out.write_all(b"\"-inf\""),
        _ if is_single => serde_json::to_writer(out, &(value as f32)).map_err(Into::into),
        _ => serde_json::to_writer(out, &value).map_err(Into::into),
    };
}

/// Appends a date, without quotes.
pub(super) fn put_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = date_of(days);
    _ = write!(out, "{year:04}-{month:02}-{day:02}");
}

/// Appends a time in UTC as ISO 8601, without quotes. `ticks` are units of 10^-`scale` seconds.
pub(super) fn put_date_time(ticks: i64, scale: usize, out: &mut Vec<u8>) {
    let (seconds, fraction) = split(ticks, scale);
    put_date(seconds.div_euclid(DAY), out);
    out.push(b'T');
    put_clock(seconds.rem_euclid(DAY), out);
    put_fraction(fraction, scale, out);
    out.push(b'Z');
}

/// Appends a time of day, or a span of time, without quotes.
pub(super) fn put_time(ticks: i64, scale: usize, out: &mut Vec<u8>) {
    if ticks < 0 {
        out.push(b'-');
    }
    let unit = unit(scale);
    let ticks = i128::from(ticks).abs();
    put_clock((ticks / unit) as i64, out);
    put_fraction((ticks % unit) as i64, scale, out);
}

fn unit(scale: usize) -> i128 {
    // A scale has at most nine digits.
    10_i128.pow(scale.min(18) as u32)
}

fn split(ticks: i64, scale: usize) -> (i64, i64) {
    let (ticks, unit) = (i128::from(ticks), unit(scale));
    (ticks.div_euclid(unit) as i64, ticks.rem_euclid(unit) as i64)
}

fn put_clock(seconds: i64, out: &mut Vec<u8>) {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    _ = write!(out, "{hours:02}:{minutes:02}:{:02}", seconds % 60);
}

fn put_fraction(fraction: i64, scale: usize, out: &mut Vec<u8>) {
    if scale > 0 {
        _ = write!(out, ".{fraction:0scale$}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn text(put: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_have_all_their_digits() {
        let integer = |bytes: &[u8], is_signed, scale| text(|out| put_integer(bytes, is_signed, scale, out));
        for value in [
            0,
            1,
            -1,
            9,
            10,
            -128,
            i64::MIN,
            i64::MAX,
            10_i64.pow(18),
            -(10_i64.pow(18)),
        ] {
            assert_eq!(integer(&value.to_le_bytes(), true, 0), value.to_string());
            assert_eq!(integer(&value.to_le_bytes(), false, 0), (value as u64).to_string());
            let wide = i128::from(value) * i128::from(u64::MAX);
            assert_eq!(integer(&wide.to_le_bytes(), true, 0), wide.to_string());
        }
        assert_eq!(integer(&[0xff], true, 0), "-1");
        assert_eq!(integer(&[0xff], false, 0), "255");
        let most = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        assert_eq!(integer(&[0xff; 32], false, 0), most);
        let mut least = [0; 32];
        least[31] = 0x80;
        let text = "-57896044618658097711785492504343953926634992332820282019728792003956564819968";
        assert_eq!(integer(&least, true, 0), text);
        assert_eq!(
            integer(&10_u128.pow(38).to_le_bytes(), false, 0),
            format!("1{}", "0".repeat(38))
        );
    }

    #[test]
    fn a_decimal_has_the_digits_of_its_scale() {
        for (value, scale, expected) in [
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (-5, 3, "-0.005"),
            (1500, 3, "1.500"),
            (-123_456, 2, "-1234.56"),
            (7, 0, "7"),
        ] {
            assert_eq!(
                text(|out| put_integer(&i32::to_le_bytes(value), true, scale, out)),
                expected
            );
        }
    }

    #[test]
    fn floats_read_back_and_are_no_integers() {
        for (value, is_single, expected) in [
            (1.0, false, "1.0"),
            (0.1, false, "0.1"),
            (f64::from(0.1_f32), true, "0.1"),
            (1e300, false, "1e+300"),
            (-0.0, false, "-0.0"),
            (f64::NAN, false, "\"nan\""),
            (-f64::NAN, false, "\"-nan\""),
            (f64::NEG_INFINITY, true, "\"-inf\""),
        ] {
            assert_eq!(text(|out| put_float(value, is_single, out)), expected);
        }
    }

    #[test]
    fn times_before_and_after_1970_are_in_utc() {
        for (ticks, scale, expected) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (1_796_076_900_123, 3, "2026-11-30T22:15:00.123Z"),
            (-1, 3, "1969-12-31T23:59:59.999Z"),
            (-2_208_988_799_999_999_999, 9, "1900-01-01T00:00:00.000000001Z"),
            (4_294_967_295, 0, "2106-02-07T06:28:15Z"),
        ] {
            assert_eq!(text(|out| put_date_time(ticks, scale, out)), expected);
        }
        for (ticks, scale, expected) in [
            (1, 0, "00:00:01"),
            (-3_599_999, 0, "-999:59:59"),
            (-500, 3, "-00:00:00.500"),
            (3_599_999_999_999_999, 9, "999:59:59.999999999"),
        ] {
            assert_eq!(text(|out| put_time(ticks, scale, out)), expected);
        }
        assert_eq!(text(|out| put_date(-25_567, out)), "1900-01-01");
    }
}
