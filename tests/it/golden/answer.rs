//! Normalizes answers for comparison: replaces values that differ each time, if they are well
//! formed.

/// Headers that the server library chooses.
const LIBRARY_HEADERS: [&str; 3] = ["date", "connection", "keep-alive"];

/// The recorded headers of each case with an event.
const RECORDED_HEADERS: [&str; 5] = [
    "access-control-allow-origin",
    "set-cookie",
    "location",
    "content-type",
    "content-length",
];

/// An answer in which values that differ each time are replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct NormalizedAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl NormalizedAnswer {
    /// Returns an answer with the headers to compare: if `is_whole`, all except the library's,
    /// otherwise the recorded ones.
    pub fn of(status: u16, headers: &[(String, String)], body: &[u8], is_whole: bool) -> Self {
        let is_compared = |name: &str| {
            if is_whole {
                !LIBRARY_HEADERS.contains(&name)
            } else {
                RECORDED_HEADERS.contains(&name)
            }
        };
        let length = body.len().to_string();
        let headers = headers.iter().map(|(name, value)| {
            let name = name.to_ascii_lowercase();
            let value = match name.as_str() {
                "content-length" if *value == length => "<length>".to_owned(),
                "x-response-time" if value.parse::<u32>().is_ok() => "<ms>".to_owned(),
                "set-cookie" => normalize_cookie(value),
                _ => value.clone(),
            };
            (name, value)
        });
        // The original had no acknowledgement header.
        let headers = headers
            .filter(|(name, _)| is_compared(name) && name != "x-rowmill-ack")
            .collect();
        let body = match std::str::from_utf8(body) {
            // The content of a page is not compared.
            Ok(text) if text.to_ascii_lowercase().starts_with("<!doctype html>") => "<page>".to_owned(),
            Ok(text) => without_ids(text),
            Err(_) => body.escape_ascii().to_string(),
        };
        Self { status, headers, body }
    }
}

/// Returns a cookie in which a well-formed uid and date are replaced.
fn normalize_cookie(cookie: &str) -> String {
    let is_date = |text: &str| {
        let form: String = text
            .chars()
            .map(|c| match c {
                _ if c.is_ascii_digit() => '0',
                _ if c.is_ascii_alphabetic() => 'a',
                _ => c,
            })
            .collect();
        form == "aaa, 00 aaa 0000 00:00:00 aaa"
    };
    let attributes = cookie.split("; ").map(|attribute| match attribute.split_once('=') {
        Some(("uid", uid)) => format!("uid={}", without_ids(uid)),
        Some(("Expires", date)) if is_date(date) => "Expires=<date>".to_owned(),
        _ => attribute.to_owned(),
    });
    attributes.collect::<Vec<_>>().join("; ")
}

/// Returns a text in which each number of 10 to 22 digits is replaced.
fn without_ids(text: &str) -> String {
    let (mut without, mut digits) = (String::new(), String::new());
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        without.push_str(if (10..=22).contains(&digits.len()) {
            "<id>"
        } else {
            &digits
        });
        digits.clear();
        without.push(c);
    }
    without.pop();
    without
}
