//! The visitor: the uids that a request contains.

use std::iter;

use http::{HeaderMap, HeaderValue, header};
use memchr::memchr;

use crate::request::headers::RequestHeaders;

/// The default name of the cookie that carries the visitor's uid.
pub(crate) const UID_COOKIE: &str = "uid";

const UID_DIGITS: std::ops::RangeInclusive<usize> = 10..=22;
/// The smallest number of ten digits. A cookie would contain a smaller uid without its leading
/// zeros, which is too short to be valid.
const MIN_UID: u64 = 1_000_000_000;
/// The number of digits whose value always fits 64 bits.
const FITTING_DIGITS: usize = 19;

/// Returns the uid that the request names: the first valid one of the `uid` of the query and that of
/// the body.
///
/// Any page or link can name the uid of another visitor, so this uid marks the event and never
/// becomes that of the cookie.
pub(crate) fn claimed_uid(query: Option<&str>, body: Option<&str>) -> Option<u64> {
    let parse = |text: &str| parse_uid(text.as_bytes());
    query.and_then(parse).or_else(|| body.and_then(parse))
}

/// Returns the uid that the browser has stored: the first valid one of the cookies called `name`.
pub(crate) fn stored_uid(headers: &RequestHeaders<'_>, all: &HeaderMap, name: &[u8]) -> Option<u64> {
    let first = cookies(headers.cookie?, name).find_map(parse_uid);
    match first {
        None if headers.has_more_cookies => stored_uid_of_lines(all, name),
        first => first,
    }
}

#[cold]
fn stored_uid_of_lines(headers: &HeaderMap, name: &[u8]) -> Option<u64> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    lines.flat_map(|line| cookies(line, name)).find_map(parse_uid)
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

/// Returns the values of the cookies called `name` in a `Cookie` header, in their order.
fn cookies<'a>(line: &'a HeaderValue, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(line.as_bytes());
    let cookies = iter::from_fn(move || {
        let line = rest?;
        let end = memchr(b';', line).unwrap_or(line.len());
        rest = line.get(end + 1..);
        line.get(..end)
    });
    cookies.filter_map(move |cookie| {
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
        let cookie = headers(&[(header::COOKIE, "a=b; uid=3333333333; uid=4444444444")]);
        assert_eq!(claimed_uid(Some("1111111111"), Some("2222222222")), Some(1_111_111_111));
        assert_eq!(claimed_uid(Some("abc"), Some("2222222222")), Some(2_222_222_222));
        assert_eq!(claimed_uid(None, Some("2222222222")), Some(2_222_222_222));
        assert_eq!(claimed_uid(Some("0"), None), None);
        let stored = |headers: &HeaderMap, name| stored_uid(&RequestHeaders::from_map(headers), headers, name);
        assert_eq!(stored(&cookie, b"uid"), Some(3_333_333_333));
        assert_eq!(stored(&cookie, b"visitor"), None);
        assert_eq!(stored(&headers(&[]), b"uid"), None);
        let lines = headers(&[
            (header::COOKIE, "a=b; uid=5"),
            (header::COOKIE, "c=d"),
            (header::COOKIE, "uid=6666666666"),
        ]);
        assert_eq!(stored(&lines, b"uid"), Some(6_666_666_666));
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
            let found = headers.values().flat_map(|line| cookies(line, b"uid"));
            found
                .map(|value| String::from_utf8_lossy(value).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(found(&["uid=1"]), ["1"]);
        assert_eq!(found(&["xuid=0;uid = \"2\" ;uidx=3"]), ["2"]);
        assert_eq!(found(&["a", "uid", "=;;", "uid=3", "b=uid=4"]), ["3"]);
        assert_eq!(found(&["uid=\u{44f}; uid=4", "uid=5"]), ["\u{44f}", "4", "5"]);
        assert!(found(&["UID=1"]).is_empty());
    }
}
