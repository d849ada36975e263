//! A session: reads messages, and writes their answers in the same order.
//!
//! Only a few messages are in progress at a time: while their answers are not written, the session
//! reads no further ones, so that a client that does not read its answers stops itself.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt, stream::FuturesOrdered};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    task::yield_now,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{CloseCode, Data, OpCode},
            },
        },
    },
};

use super::{
    handle::SessionHandle,
    message::{PendingAnswer, Sender},
    metered::{MessageError, MessageLimits, Metered},
};
use crate::{
    budget::Booking,
    collect::{Collector, route::Routes},
};

/// The most messages whose answers are not written yet.
const MAX_UNANSWERED: usize = 16;

/// The length of a message, in bytes, from which on no other message is in progress beside it.
const LONG_MESSAGE: usize = 16 << 10;

/// The number of messages that are handled before other connections have their turn.
const MESSAGES_BETWEEN_YIELDS: u32 = 32;

/// The buffers of a session, in bytes: one for frames that arrive, one for frames that leave.
const BUFFER_BYTES: usize = 4 << 10;

/// The interval in which the session looks whether the client has sent anything.
const CHECK_INTERVAL: Duration = Duration::from_secs(20);

/// The number of checks without a byte after which the client counts as gone. The session pings the
/// client after the first one.
const MAX_QUIET_CHECKS: u32 = 3;

/// The time in which the client has to read an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The time in which the client has to confirm the end of the session.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The most bytes of frames per byte of a message: headers of short fragments count, too.
const FRAME_OVERHEAD: usize = 2;

/// The session of one connection.
pub(super) struct Session<R, S> {
    collector: Arc<Collector>,
    sender: Arc<Sender>,
    socket: WebSocketStream<Metered<S>>,
    handle: SessionHandle,
    answers: FuturesOrdered<PendingAnswer>,
    /// Whether a long message is in progress.
    is_alone: bool,
    /// A message that arrived while the session made the socket release its buffer.
    next: Option<Result<Incoming, End>>,
    routes: PhantomData<R>,
}

/// A message that has arrived.
struct Incoming {
    text: Bytes,
    booking: Option<Booking>,
}

/// The reason why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client has closed the session, or the connection is broken.
    Gone,
    /// The collector closes the session.
    Close(CloseCode, &'static str),
}

impl End {
    const STOP: Self = Self::Close(CloseCode::Away, "the collector closes idle sessions, or stops");
    const NOT_TEXT: Self = Self::Close(CloseCode::Unsupported, "a binary message must be JSON in UTF-8");
    const INVALID_TEXT: Self = Self::Close(CloseCode::Invalid, "a text must be UTF-8");
    const TOO_LONG: Self = Self::Close(CloseCode::Size, "the message is too long");
    const OUT_OF_MEMORY: Self = Self::Close(CloseCode::Again, "the memory for messages is full");
    const TIMED_OUT: Self = Self::Close(CloseCode::Policy, "the message did not arrive in time");
    const PROTOCOL: Self = Self::Close(CloseCode::Protocol, "");
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match &error {
            Error::Capacity(_) => Self::TOO_LONG,
            Error::Utf8(_) => Self::INVALID_TEXT,
            Error::Protocol(_) => Self::PROTOCOL,
            Error::Io(error) => match MessageError::of(error) {
                Some(MessageError::TooLong) => Self::TOO_LONG,
                Some(MessageError::OutOfMemory) => Self::OUT_OF_MEMORY,
                Some(MessageError::TimedOut) => Self::TIMED_OUT,
                None => Self::Gone,
            },
            _ => Self::Gone,
        }
    }
}

impl<R: Routes, S: AsyncRead + AsyncWrite + Unpin> Session<R, S> {
    pub(super) async fn new(collector: Arc<Collector>, sender: Sender, stream: S, handle: SessionHandle) -> Self {
        let max_message = collector.bulk_limits.max_bytes;
        let limits = MessageLimits {
            max_bytes: max_message.saturating_mul(FRAME_OVERHEAD) + BUFFER_BYTES,
            timeout: collector.bulk_limits.timeout,
        };
        let stream = Metered::new(stream, limits, Arc::clone(collector.writer.request_memory()));
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_message_size(Some(max_message))
            .max_frame_size(Some(max_message));
        Self {
            collector,
            sender: Arc::new(sender),
            socket: WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await,
            handle,
            answers: FuturesOrdered::new(),
            is_alone: false,
            next: None,
            routes: PhantomData,
        }
    }

    /// Runs the session to its end.
    pub(super) async fn run(mut self) {
        let Err(end) = self.exchange().await;
        // Messages that are recorded have an answer, whatever ends the session.
        let end = match end {
            End::Gone => end,
            End::Close(..) => self.write_answers().await.err().unwrap_or(end),
        };
        self.handle.set_unanswered(0);
        self.close(end).await;
    }

    /// Reads messages and writes answers.
    ///
    /// # Errors
    ///
    /// The reason why the session ends; there is always one.
    async fn exchange(&mut self) -> Result<std::convert::Infallible, End> {
        let handle = self.handle.clone();
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checks.reset();
        let mut quiet_checks = 0;
        loop {
            let may_read = match self.is_alone {
                true => self.answers.is_empty(),
                false => self.answers.len() < MAX_UNANSWERED,
            };
            let Self {
                socket, answers, next, ..
            } = self;
            tokio::select! {
                biased;
                () = handle.close_requested() => return Err(End::STOP),
                Some(answer) = answers.next(), if !answers.is_empty() => {
                    self.write(&answer.text).await?;
                }
                message = incoming(socket, next), if may_read => {
                    self.begin(message?).await;
                }
                _ = checks.tick() => {
                    quiet_checks = if self.socket.get_mut().was_quiet() { quiet_checks + 1 } else { 0 };
                    match quiet_checks {
                        0 => {}
                        MAX_QUIET_CHECKS.. => return Err(End::Gone),
                        _ => self.send(Message::Ping(Bytes::new())).await?,
                    }
                }
            }
            self.handle.set_unanswered(self.answers.len());
        }
    }

    /// Begins the handling of a message.
    async fn begin(&mut self, Incoming { text, booking }: Incoming) {
        self.handle.count_message();
        self.is_alone = text.len() >= LONG_MESSAGE;
        if self.is_alone {
            // The socket keeps the memory of a message for the next one, unless it is in use when the
            // socket reads on.
            self.next = incoming(&mut self.socket, &mut None).now_or_never();
        }
        let answer = self.collector.begin_message::<R>(&self.sender, text, booking);
        self.answers.push_back(answer);
        if self.handle.messages().is_multiple_of(MESSAGES_BETWEEN_YIELDS) {
            yield_now().await;
        }
    }

    /// Writes the answers of all messages that have been read.
    async fn write_answers(&mut self) -> Result<(), End> {
        while let Some(answer) = self.answers.next().await {
            self.write(&answer.text).await?;
        }
        Ok(())
    }

    /// Writes an answer in frames of the size of the socket's buffer, which it keeps.
    async fn write(&mut self, text: &str) -> Result<(), End> {
        let mut opcode = OpCode::Data(Data::Text);
        let mut chunks = text.as_bytes().chunks(BUFFER_BYTES).peekable();
        while let Some(chunk) = chunks.next() {
            let frame = Frame::message(Bytes::copy_from_slice(chunk), opcode, chunks.peek().is_none());
            self.send(Message::Frame(frame)).await?;
            opcode = OpCode::Data(Data::Continue);
        }
        Ok(())
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(WRITE_TIMEOUT, self.socket.send(message)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(End::Gone),
        }
    }

    /// Closes the session and the connection.
    async fn close(mut self, end: End) {
        let closing = async {
            if let End::Close(code, reason) = end {
                let frame = CloseFrame {
                    code,
                    reason: reason.into(),
                };
                self.socket.close(Some(frame)).await?;
            }
            // The client confirms, or the socket confirms to the client.
            while !self.handle.is_awaited()
                && let Some(Ok(_)) = self.socket.next().await
            {}
            self.socket.get_mut().shutdown().await?;
            Ok::<_, Error>(())
        };
        match timeout(CLOSE_TIMEOUT, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a WebSocket ended"),
            Err(_) => tracing::debug!("the client of a WebSocket has not confirmed its end"),
        }
    }
}

/// Waits for the next message; `next` is one that has already arrived.
async fn incoming<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<Metered<S>>,
    next: &mut Option<Result<Incoming, End>>,
) -> Result<Incoming, End> {
    if let Some(next) = next.take() {
        return next;
    }
    loop {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text.into(),
            Some(Ok(Message::Binary(bytes))) if str::from_utf8(&bytes).is_ok() => bytes,
            Some(Ok(Message::Binary(_))) => return Err(End::NOT_TEXT),
            Some(Ok(Message::Ping(data) | Message::Pong(data))) => {
                socket.get_mut().skip_control_frame(data.len());
                continue;
            }
            Some(Ok(Message::Close(_) | Message::Frame(_))) | None => return Err(End::Gone),
            Some(Err(error)) => return Err(error.into()),
        };
        let booking = socket.get_mut().end_message();
        return Ok(Incoming { text, booking });
    }
}
