//! Raw targets: request targets with bytes that a URI must not contain.
//!
//! Old mail clients send `<`, `"` or letters of their own charset without percent-encoding. hyper
//! answers such a request with a bare 400, and its event is lost. A [`RawTargets`] stream
//! percent-encodes these bytes before hyper reads them.
//!
//! The stream has to know where a request begins, and must not change the body of another one. So it
//! changes only a request for which two things are certain: it is at the start of a read, and all
//! earlier bytes of the connection are complete requests without a body. After the first request
//! with a body, the stream passes all bytes on.

use std::{
    borrow::Cow,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    scan::{self, all},
    service::{http2_refusal, idle::Activity},
};

/// The start of the requests that the stream changes: those of pixels and links.
const GET: &[u8] = b"GET ";

/// A stream whose requests may have raw targets.
#[derive(Debug)]
pub(crate) struct RawTargets<T> {
    inner: T,
    activity: Arc<Activity>,
    place: Place,
    /// The bytes of a changed request that did not fit into the reader's buffer.
    pending: Vec<u8>,
}

/// The place of the next byte of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A request begins here.
    Start,
    /// A request head began at a known place and goes on here.
    Head,
    /// There may be a body here.
    Unknown,
}

impl<T> RawTargets<T> {
    pub(crate) fn new(inner: T, activity: Arc<Activity>) -> Self {
        Self {
            inner,
            activity,
            place: Place::Start,
            pending: Vec::new(),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for RawTargets<T> {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.activity.may_have_body() {
            this.place = Place::Unknown;
        }
        if !this.pending.is_empty() {
            put_pending(&mut this.pending, buffer);
            return Poll::Ready(Ok(()));
        }
        let start = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
        if this.place != Place::Unknown {
            let bytes = &buffer.filled()[start..];
            let next = if bytes.ends_with(b"\r\n\r\n") {
                Place::Start
            } else {
                Place::Head
            };
            if this.place == Place::Start && has_raw_target(bytes) {
                this.pending = with_encoded_target(bytes).into_owned();
                buffer.set_filled(start);
                put_pending(&mut this.pending, buffer);
            }
            if this.place == Place::Start && http2_refusal::is_http2(&buffer.filled()[start..]) {
                http2_refusal::refuse(&mut this.inner, cx);
            }
            this.place = next;
        }
        Poll::Ready(Ok(()))
    }
}

/// Moves as many pending bytes as fit into a buffer.
#[cold]
fn put_pending(pending: &mut Vec<u8>, buffer: &mut ReadBuf<'_>) {
    let count = pending.len().min(buffer.remaining());
    buffer.put_slice(&pending[..count]);
    pending.drain(..count);
}

impl<T: AsyncWrite + Unpin> AsyncWrite for RawTargets<T> {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Returns whether a request may have a raw target. `request` begins with its head.
#[inline]
fn has_raw_target(request: &[u8]) -> bool {
    let Some(target) = request.strip_prefix(GET) else {
        return false;
    };
    // One bit is the only difference between a space and `"`, and between `<` and `>`. The first bit
    // of a byte is that of the mark, so that each byte that is not ASCII marks itself.
    let end = scan::first(target, |chunk| {
        let pairs = chunk | all(b' ' ^ b'"');
        pairs.simd_eq(all(b'"')) | pairs.simd_eq(all(b'>')) | chunk.simd_eq(all(b'`')) | chunk
    });
    target.get(end).is_some_and(|byte| *byte != b' ')
}

/// Returns the bytes of a request with a target that is valid in a URI. They stay the same if they
/// do not contain the whole target.
#[cold]
fn with_encoded_target(request: &[u8]) -> Cow<'_, [u8]> {
    let target = request.strip_prefix(GET).unwrap_or_default();
    let Some(end) = memchr(b' ', target).filter(|end| memchr(b'\n', &target[..*end]).is_none()) else {
        return request.into();
    };
    let (target, rest) = target.split_at(end);
    // Letters in UTF-8 are valid, and stay as they are in the name of an event.
    let is_utf8 = std::str::from_utf8(target).is_ok();
    let mut is_query = false;
    let mut encoded = Vec::with_capacity(request.len() + 2 * target.len());
    encoded.extend_from_slice(GET);
    for byte in target {
        is_query |= *byte == b'?';
        let is_valid = match byte {
            b'<' | b'>' | 0x7f => false,
            b'"' => !is_query,
            b'`' => is_query,
            0x80.. => is_utf8,
            _ => true,
        };
        if is_valid {
            encoded.push(*byte);
        } else {
            encoded.extend_from_slice(percent_encoding::percent_encode_byte(*byte).as_bytes());
        }
    }
    encoded.extend_from_slice(rest);
    encoded.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const END: &str = " HTTP/1.1\r\nHost: a\r\n\r\n";

    fn request(target: &[u8]) -> Vec<u8> {
        [GET, target, END.as_bytes()].concat()
    }

    #[test]
    fn exactly_the_bytes_that_a_uri_must_not_contain_are_encoded() {
        let cases: [(&[u8], &str); 10] = [
            (b"/pixel/mail?a=\"b\"", "/pixel/mail?a=%22b%22"),
            (b"/pixel/mail?a=<b>", "/pixel/mail?a=%3Cb%3E"),
            (b"/pixel/m<a>`il?a=`b`", "/pixel/m%3Ca%3E%60il?a=`b`"),
            (b"/pixel/\"mail\"?a=\"", "/pixel/\"mail\"?a=%22"),
            (b"/pixel/mail?email=\xe8\xe2", "/pixel/mail?email=%E8%E2"),
            (b"/pixel/mail?a=\xe8<", "/pixel/mail?a=%E8%3C"),
            ("/wh/письмо?a=щ".as_bytes(), "/wh/письмо?a=щ"),
            ("/wh/письмо?a=<щ>".as_bytes(), "/wh/письмо?a=%3Cщ%3E"),
            (b"/pixel/mail?a={b}|c^d\\e[f]%2", "/pixel/mail?a={b}|c^d\\e[f]%2"),
            (b"/pixel/mail", "/pixel/mail"),
        ];
        for (target, expected) in cases {
            let sent = request(target);
            assert_eq!(with_encoded_target(&sent), request(expected.as_bytes()), "{expected}");
            // hyper accepts the result.
            assert!(expected.parse::<http::Uri>().is_ok(), "{expected}");
            if target != expected.as_bytes() {
                assert!(has_raw_target(&sent), "{expected}");
            }
        }
        // Each byte in each place: the result is valid unless the byte ends the target.
        for byte in (0x21..=0xff_u8).filter(|byte| *byte != 0x7f) {
            for before in ["/pixel/mail?a=", "/pixel/ma", "/pixel/mail?a=0123456789abcdef"] {
                let sent = request(&[before.as_bytes(), &[byte]].concat());
                let fixed = match has_raw_target(&sent) {
                    true => with_encoded_target(&sent).into_owned(),
                    false => sent,
                };
                let target = &fixed[GET.len()..fixed.len() - END.len()];
                assert!(http::Uri::try_from(target).is_ok(), "{byte:#x} after {before}");
            }
        }
    }

    #[test]
    fn other_bytes_do_not_change() {
        for sent in [
            &b"POST /wh/mail?a=<b> HTTP/1.1\r\n\r\n"[..],
            b"GET /wh/mail HTTP/1.1\r\nReferer: <>\"`\xe8\r\n\r\n",
            b"\r\nGET /wh/mail?a=<b> HTTP/1.1\r\n\r\n",
            b"GET ",
            b"",
        ] {
            assert!(!has_raw_target(sent), "{}", sent.escape_ascii());
        }
        for cut in [&b"GET /wh/mail?a=<b>"[..], b"GET /wh/mail?a=<b>\r\nX: y"] {
            assert_eq!(with_encoded_target(cut), cut);
        }
    }

    /// Sends each piece after the one before it has been read, and returns all bytes that are read.
    /// The piece `BODY` is that of a request with a body.
    async fn read(pieces: &[&[u8]], capacity: usize) -> Vec<u8> {
        let (mut client, server) = duplex(64 << 10);
        let activity: Arc<Activity> = Arc::default();
        let mut stream = RawTargets::new(server, Arc::clone(&activity));
        let mut all = Vec::new();
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            let mut buffer = vec![0; capacity];
            loop {
                let count = stream.read(&mut buffer).await.unwrap();
                all.extend_from_slice(&buffer[..count]);
                if count < capacity && stream.pending.is_empty() {
                    break;
                }
            }
            if piece.starts_with(b"POST") {
                activity.note_body();
            }
        }
        all
    }

    #[tokio::test]
    async fn requests_on_one_connection_are_changed_until_one_has_a_body() {
        let raw = request(b"/pixel/mail?a=<");
        let encoded = request(b"/pixel/mail?a=%3C");
        let post = b"POST /wh/mail HTTP/1.1\r\nContent-Length: 100\r\n\r\n";
        // The first buffer is one byte too short for the changed request.
        for capacity in [raw.len() + 1, 1 << 10] {
            let sent = [&raw[..], &raw, post, &raw];
            assert_eq!(
                read(&sent, capacity).await,
                [&encoded[..], &encoded, post, &raw].concat(),
                "{capacity}"
            );
        }
    }

    #[tokio::test]
    async fn bytes_within_a_head_are_no_request_line() {
        let raw = request(b"/pixel/mail?a=<");
        let half = b"GET /pixel/mail HTTP/1.1\r\nHost: a\r\nX-Half: ";
        // What follows is the value of the header, although it looks like a request.
        assert_eq!(read(&[half, &raw], 1 << 10).await, [&half[..], &raw].concat());
        // Then, a request begins.
        let encoded = request(b"/pixel/mail?a=%3C");
        assert_eq!(
            read(&[half, &raw, &raw], 1 << 10).await,
            [&half[..], &raw, &encoded].concat()
        );
    }
}
