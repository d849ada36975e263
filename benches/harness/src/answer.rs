//! The part of HTTP that the load generator needs: the end of an answer, its status, and its
//! headers.
//!
//! Parses HTTP/1.1 answers with a `Content-Length`, or without a body by their status. The measured
//! servers send no others.

use memchr::memmem;

/// A complete answer at the start of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'b> {
    /// The status code.
    pub status: u16,
    /// Length of head and body, in bytes.
    pub len: usize,
    head: &'b [u8],
}

/// The error for bytes that are not a readable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl<'b> Answer<'b> {
    /// Returns the answer at the start of `bytes`, or `None` if it is incomplete.
    ///
    /// # Errors
    /// If the bytes are not an answer.
    pub fn parse(bytes: &'b [u8]) -> Result<Option<Self>, Unreadable> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = &bytes[..end + 2];
        let status = status(head).ok_or(Unreadable)?;
        let body = match status {
            204 | 304 => 0,
            _ => header(head, "content-length").and_then(number).ok_or(Unreadable)?,
        };
        let len = end + 4 + body;
        Ok((bytes.len() >= len).then_some(Self { status, len, head }))
    }

    /// Returns the value of a header; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&'b str> {
        header(self.head, name).and_then(|value| str::from_utf8(value).ok())
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let digits = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    number(digits).and_then(|status| u16::try_from(status).ok())
}

fn number(digits: &[u8]) -> Option<usize> {
    str::from_utf8(digits).ok()?.parse().ok()
}

fn header<'b>(head: &'b [u8], name: &str) -> Option<&'b [u8]> {
    // hyper writes names in lower case, so one search finds them. Other servers' headers are
    // searched line by line.
    let mut line = [b'\n'; 40];
    let needle = line.get_mut(..name.len() + 2)?;
    needle[1..=name.len()].copy_from_slice(name.as_bytes());
    needle[name.len() + 1] = b':';
    let start = match memmem::find(head, needle) {
        Some(at) => at + needle.len(),
        None => {
            needle.len()
                + memchr::memchr_iter(b'\n', head).find(|at| {
                    let line = head.get(*at..*at + needle.len());
                    line.is_some_and(|line| line.eq_ignore_ascii_case(needle))
                })?
        }
    };
    let value = &head[start..];
    Some(value[..memchr::memchr(b'\r', value)?].trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &[u8] =
        b"HTTP/1.1 302 Found\r\ncontent-type: text/html\r\nContent-Length: 5\r\nx-rowmill-ack: spooled\r\n\r\nhello";

    #[test]
    fn an_answer_ends_with_its_body() -> Result<(), Unreadable> {
        for end in 0..SENT.len() {
            assert_eq!(Answer::parse(&SENT[..end])?, None, "cut at {end}");
        }
        let two = [SENT, SENT].concat();
        let answer = Answer::parse(&two)?;
        assert_eq!(
            answer.map(|answer| (answer.status, answer.len)),
            Some((302, SENT.len()))
        );
        Ok(())
    }

    #[test]
    fn header_names_are_case_insensitive() -> Result<(), Unreadable> {
        let answer = Answer::parse(SENT)?.ok_or(Unreadable)?;
        assert_eq!(answer.header("x-rowmill-ack"), Some("spooled"));
        assert_eq!(answer.header("content-length"), Some("5"));
        assert_eq!(answer.header("rowmill-ack"), None);
        Ok(())
    }

    #[test]
    fn bytes_that_are_not_an_answer_are_unreadable() {
        for bytes in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        ] {
            assert_eq!(Answer::parse(bytes.as_bytes()), Err(Unreadable), "{bytes:?}");
        }
    }
}
