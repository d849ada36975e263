//! The refusal of HTTP/2 on a connection that speaks HTTP/1.
//!
//! A client with prior knowledge begins with the preface of HTTP/2, which hyper's HTTP/1 answers
//! with the end of the connection. The client then cannot know whether the server is broken. These
//! frames tell it to use HTTP/1.1 instead.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;

/// The start of each connection of HTTP/2
/// ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113#section-3.4)).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Empty SETTINGS, which begin each server's half of a connection, and GOAWAY with the error
/// HTTP_1_1_REQUIRED (13) and its reason as debug data.
const REFUSAL: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x26\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0duse HTTP/1.1, or TLS with ALPN";

/// Returns whether the first bytes of a connection are those of HTTP/2.
#[inline]
pub(super) fn is_http2(bytes: &[u8]) -> bool {
    bytes.starts_with(PREFACE)
}

/// Sends the refusal. Nothing else has been sent yet, so it fits into the empty buffer of the
/// connection.
#[cold]
pub(super) fn refuse(stream: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) {
    if let Poll::Ready(Err(error)) = Pin::new(stream).poll_write(cx, REFUSAL) {
        tracing::debug!(%error, "cannot refuse HTTP/2");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_have_the_lengths_that_they_declare() {
        let (settings, goaway) = REFUSAL.split_at(9);
        assert_eq!(settings, b"\0\0\0\x04\0\0\0\0\0");
        assert_eq!(goaway[3], 7, "the type of GOAWAY");
        assert_eq!(usize::from(goaway[2]), goaway.len() - 9);
        assert_eq!(goaway[9..17], [0, 0, 0, 0, 0, 0, 0, 13]);
    }
}
