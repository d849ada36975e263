//! Lingering: a connection that closes before the client has sent its whole request.
//!
//! If a process closes a socket with unread bytes, the operating system resets the connection, and
//! the client may lose the answer that explains the refusal. A [`Lingering`] stream first tells the
//! client that no more bytes come, and then reads and drops what the client still sends, within
//! bounds. Meanwhile the connection counts as idle: it closes at once if another needs its slot.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use crate::service::idle::Activity;

/// The longest time that a connection lingers.
const MAX_TIME: Duration = Duration::from_secs(30);

/// The time without a byte after which a lingering connection closes.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The most bytes that a lingering connection drops. A body of the largest accepted size several
/// times over fits.
const MAX_BYTES: usize = 64 << 20;

/// The number of bytes that one read drops at most.
const BUFFER_BYTES: usize = 16 << 10;

/// A stream that lingers if it closes before a request is complete.
#[derive(Debug)]
pub(crate) struct Lingering<T> {
    inner: T,
    activity: Arc<Activity>,
    /// The state of a stream that lingers; most never do.
    drain: Option<Box<Drain>>,
}

#[derive(Debug)]
struct Drain {
    started: Instant,
    pause: Pin<Box<Sleep>>,
    bytes: usize,
}

impl<T> Lingering<T> {
    pub(crate) fn new(inner: T, activity: Arc<Activity>) -> Self {
        Self {
            inner,
            activity,
            drain: None,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Lingering<T> {
    /// Reads and drops bytes until the client closes the connection or a bound is reached.
    #[cold]
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let read = poll_drop(&mut self.inner, cx);
            match read {
                // The client has closed the connection.
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Pending if self.drain.is_none() && !self.activity.has_refused_long_body() => {
                    return Poll::Ready(());
                }
                _ => {}
            }
            let drain = self.drain.get_or_insert_with(|| {
                Box::new(Drain {
                    started: Instant::now(),
                    pause: Box::pin(sleep(MAX_PAUSE)),
                    bytes: 0,
                })
            });
            match read {
                Poll::Ready(read) => {
                    drain.bytes += read.unwrap_or_default();
                    if drain.bytes > MAX_BYTES || drain.started.elapsed() > MAX_TIME {
                        return Poll::Ready(());
                    }
                    drain.pause.as_mut().reset(Instant::now() + MAX_PAUSE);
                }
                Poll::Pending => {
                    ready!(drain.pause.as_mut().poll(cx));
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// Reads some bytes, drops them and returns their number.
fn poll_drop(stream: &mut (impl AsyncRead + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
    let mut buffer = ReadBuf::uninit(&mut buffer);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
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
        if self.drain.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        }
        self.poll_drain(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Returns a client, and the stream of a connection whose last request had a long body and was
    /// refused, or was not.
    fn pair(is_refused: bool) -> (DuplexStream, Lingering<DuplexStream>) {
        let (client, server) = duplex(1 << 10);
        let activity: Arc<Activity> = Arc::default();
        drop(Activity::begin(&activity));
        if is_refused {
            activity.note_long_body();
            activity.note_unusual(http::StatusCode::PAYLOAD_TOO_LARGE);
        }
        (client, Lingering::new(server, activity))
    }

    /// Closes a stream and returns how long that took.
    async fn close(mut stream: Lingering<DuplexStream>) -> Duration {
        let started = Instant::now();
        poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await.unwrap();
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_unread_bytes_closes_at_once() {
        let (client, server) = pair(false);
        assert_eq!(close(server).await, Duration::ZERO);
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_on_is_read_to_its_end() {
        for is_refused in [true, false] {
            let (mut client, server) = pair(is_refused);
            // The first bytes have arrived when the server closes.
            client.write_all(&[b'x'; 1 << 10]).await.unwrap();
            let sent = tokio::spawn(async move {
                for _ in 0..10 {
                    tokio::time::sleep(MAX_PAUSE / 2).await;
                    client.write_all(&[b'x'; 4 << 10]).await.unwrap();
                }
            });
            let took = close(server).await;
            assert_eq!(took.as_secs(), (MAX_PAUSE / 2 * 10).as_secs(), "{is_refused}");
            sent.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_pauses_or_never_ends_is_cut_off() {
        let (client, server) = pair(true);
        assert_eq!(close(server).await.as_secs(), MAX_PAUSE.as_secs());
        drop(client);

        let (mut client, server) = pair(true);
        let sender = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let took = close(server).await;
        assert!(took > MAX_TIME && took < MAX_TIME + MAX_PAUSE, "{took:?}");
        sender.await.unwrap();

        let (mut client, server) = pair(true);
        let sender = tokio::spawn(async move {
            let mut sent = 0;
            while client.write_all(&[b'x'; 1 << 10]).await.is_ok() {
                sent += 1 << 10;
            }
            sent
        });
        close(server).await;
        let sent = sender.await.unwrap();
        assert!((MAX_BYTES..MAX_BYTES + (64 << 10)).contains(&sent), "{sent}");
    }
}
