//! The visitor: the uids that a request contains.

use std::iter;

use http::{HeaderMap, header};
use memchr::memchr;

use crate::request::claims::Claims;

/// The default name of the cookie that carries the visitor's uid.
pub(crate) const UID_COOKIE: &str = "uid";

const UID_DIGITS: std::ops::RangeInclusive<usize> = 10..=22;
/// The smallest number of ten digits. A cookie would contain a smaller uid without its leading
/// zeros, which is too short to be valid.
const MIN_UID: u64 = 1_000_000_000;
/// The number of digits whose value always fits 64 bits.
const FITTING_DIGITS: usize = 19;

/// Returns the uid that the request names: the first valid one of the query and the body.
///
/// Any page or link can name the uid of another visitor, so this uid marks the event and never
/// becomes that of the cookie.
pub(crate) fn claimed_uid(query: &Claims<'_>, body: &Claims<'_>) -> Option<u64> {
    let claimed = [query.uid, body.uid].into_iter().flatten();
    claimed.map(str::as_bytes).find_map(parse_uid)
}

/// Returns the uid that the browser has stored: the first valid one of the cookies called `name`.
pub(crate) fn stored_uid(headers: &HeaderMap, name: &[u8]) -> Option<u64> {
    cookies(headers, name).find_map(parse_uid)
}

/// Parses a uid: 10 to 22 digits whose value fits 64 bits and is at least [`MIN_UID`].
fn parse_uid(text: &[u8]) -> Option<u64> {
    if !UID_DIGITS.contains(&text.len()) {
        return None;
    }
    let (fitting, others) = text.split_at(text.len().min(FITTING_DIGITS));
    let uid = fitting
        .iter()
        .try_fold(0_u64, |uid, byte| Some(uid * 10 + digit(*byte)?))?;
    let uid = others
        .iter()
        .try_fold(uid, |uid, byte| uid.checked_mul(10)?.checked_add(digit(*byte)?))?;
    (uid >= MIN_UID).then_some(uid)
}

/// Returns the value of a digit.
fn digit(byte: u8) -> Option<u64> {
    let digit = byte.wrapping_sub(b'0');
    (digit <= 9).then_some(digit.into())
}

/// Returns the values of all cookies called `name`, in the order of the headers.
fn cookies<'a>(headers: &'a HeaderMap, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    lines
        .flat_map(|line| {
            let mut rest = Some(line.as_bytes());
            iter::from_fn(move || {
                let line = rest?;
                let end = memchr(b';', line).unwrap_or(line.len());
                rest = line.get(end + 1..);
                line.get(..end)
            })
        })
        .filter_map(move |cookie| {
            let equals = memchr(b'=', cookie)?;
            if cookie[..equals].trim_ascii() != name {
                return None;
            }
            let value = cookie[equals + 1..].trim_ascii();
            let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            Some(unquoted.unwrap_or(value))
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::identify::testing::headers;

    #[test]
    fn resolves_the_first_valid_uid() {
        let query = |uid| Claims {
            uid: Some(uid),
            ..Claims::default()
        };
        let none = Claims::default();
        let cookie = headers(&[(header::COOKIE, "a=b; uid=3333333333; uid=4444444444")]);
        assert_eq!(
            claimed_uid(&query("1111111111"), &query("2222222222")),
            Some(1_111_111_111)
        );
        assert_eq!(claimed_uid(&query("abc"), &query("2222222222")), Some(2_222_222_222));
        assert_eq!(claimed_uid(&query("0"), &none), None);
        assert_eq!(stored_uid(&cookie, b"uid"), Some(3_333_333_333));
        assert_eq!(stored_uid(&cookie, b"visitor"), None);
    }

    #[test]
    fn accepts_ten_to_twenty_two_digits_that_fit() {
        let valid = [
            ("1000000000", MIN_UID),
            ("18446744073709551615", u64::MAX),
            ("0018446744073709551615", u64::MAX),
            ("9999999999999999999", 9_999_999_999_999_999_999),
        ];
        for (text, uid) in valid {
            assert_eq!(parse_uid(text.as_bytes()), Some(uid));
        }
        let invalid = [
            "",
            "0",
            "123456789",
            "18446744073709551616",
            "9999999999999999999999",
            "00018446744073709551615",
            "0000000012",
            "+1234567890",
            "-1234567890",
            " 1234567890",
            "1234567890\n",
            "12345678９0",
        ];
        for text in invalid {
            assert_eq!(parse_uid(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn finds_cookies_among_others() {
        let found = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| (header::COOKIE, *line)).collect();
            let headers = headers(&lines);
            let found = cookies(&headers, b"uid").map(|value| String::from_utf8_lossy(value).into_owned());
            found.collect::<Vec<_>>()
        };
        assert_eq!(found(&["uid=1"]), ["1"]);
        assert_eq!(found(&["xuid=0;uid = \"2\" ;uidx=3"]), ["2"]);
        assert_eq!(found(&["a", "uid", "=;;", "uid=3", "b=uid=4"]), ["3"]);
        assert_eq!(found(&["uid=\u{44f}; uid=4", "uid=5"]), ["\u{44f}", "4", "5"]);
        assert!(found(&["UID=1"]).is_empty());
    }
}
