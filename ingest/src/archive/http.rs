//! Requests to S3, over the HTTP and the TLS that the collector has already.
//!
//! A body may take as long as it needs while its bytes move. A store's error can have the request's
//! signature and the token of a session, so it is cut to its code and its message before anything can
//! log it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::uri::Scheme;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use object_store::{
    ClientConfigKey, ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
        HttpResponseBody, HttpService,
    },
};
use tokio::time::{Duration, Instant, Sleep, sleep, timeout_at};

use crate::store::{ClientTls, Connector, connector};

/// The longest time in which no byte of a request or of an answer moves. The system and the client take
/// the last bytes of a request, up to some MiB, before the store has them.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// The bytes of a request that move at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The longest error of a store that is read.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// The longest part of an error that is logged, in characters.
const MAX_ERROR_CHARACTERS: usize = 300;

/// Makes the clients of a store.
#[derive(Debug)]
pub(super) struct StoreConnector;

impl HttpConnector for StoreConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = Client::builder(TokioExecutor::new()).build(connector(Some(&ClientTls::of_system())));
        Ok(HttpClient::new(StoreClient {
            client,
            allows_http: allows_http(options.get_config_value(&ClientConfigKey::AllowHttp)),
        }))
    }
}

/// Returns whether a value of `AWS_ALLOW_HTTP` allows requests without TLS.
pub(super) fn allows_http(value: Option<String>) -> bool {
    let value = value.unwrap_or_default().to_ascii_lowercase();
    matches!(&*value, "1" | "true" | "on" | "yes" | "y")
}

#[derive(Debug)]
struct StoreClient {
    client: Client<Connector, SentBody>,
    /// Whether requests without TLS are sent, as to the service that has the credentials of a machine.
    allows_http: bool,
}

#[async_trait]
impl HttpService for StoreClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if !self.allows_http && request.uri().scheme() != Some(&Scheme::HTTPS) {
            let error = io::Error::other("requests without TLS need AWS_ALLOW_HTTP=true");
            return Err(HttpError::new(HttpErrorKind::Unknown, error));
        }
        let progress = Progress::new();
        let request = request.map(|body| SentBody::new(body, progress.clone()));
        let answer = progress.wait(self.client.request(request)).await.ok_or_else(idle)?;
        let answer = answer.map_err(|error| {
            let kind = match error.is_connect() {
                true => HttpErrorKind::Connect,
                false => HttpErrorKind::Request,
            };
            HttpError::new(kind, error)
        })?;
        let (head, body) = answer.into_parts();
        let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error));
        let body = ReceivedBody::new(body);
        let body = match head.status.is_success() {
            true => HttpResponseBody::new(body),
            false => error_text(&read_error(body).await).into(),
        };
        Ok(HttpResponse::from_parts(head, body))
    }
}

fn idle() -> HttpError {
    let error = io::Error::new(
        io::ErrorKind::TimedOut,
        format!("no byte moved within {} s", IDLE_TIMEOUT.as_secs()),
    );
    HttpError::new(HttpErrorKind::Timeout, error)
}

/// The time at which a byte of a request moved last.
#[derive(Debug, Clone)]
struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn deadline(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) + IDLE_TIMEOUT
    }

    /// Waits for an answer for as long as bytes move; `None` once they do not.
    async fn wait<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let deadline = self.deadline();
            if let Ok(answer) = timeout_at(deadline, answer.as_mut()).await {
                return Some(answer);
            }
            if self.deadline() <= deadline {
                return None;
            }
        }
    }
}

/// The body of a request, in chunks whose progress is noted.
#[derive(Debug)]
struct SentBody {
    inner: HttpRequestBody,
    /// The rest of the frame that is sent.
    frame: Bytes,
    progress: Progress,
}

impl SentBody {
    fn new(inner: HttpRequestBody, progress: Progress) -> Self {
        Self {
            inner,
            frame: Bytes::new(),
            progress,
        }
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        self.progress.note();
        if self.frame.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.frame = bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.frame.len().min(CHUNK_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.frame.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.frame.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.frame.len() as u64;
        match self.inner.size_hint().exact() {
            Some(length) => SizeHint::with_exact(rest + length),
            None => SizeHint::new(),
        }
    }
}

/// The body of an answer, which ends with an error once no byte comes any more.
struct ReceivedBody<B> {
    inner: B,
    timer: Pin<Box<Sleep>>,
}

impl<B> ReceivedBody<B> {
    fn new(inner: B) -> Self {
        Self {
            inner,
            timer: Box::pin(sleep(IDLE_TIMEOUT)),
        }
    }
}

impl<B: Body<Data = Bytes, Error = HttpError> + Unpin> Body for ReceivedBody<B> {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.timer.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
                Poll::Ready(frame)
            }
            Poll::Pending => self.timer.as_mut().poll(cx).map(|()| Some(Err(idle()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Reads the body of an error; nothing, if it is long or ends early.
async fn read_error<B: Body<Data = Bytes, Error = HttpError> + Unpin>(body: ReceivedBody<B>) -> Bytes {
    let read = Limited::new(body, MAX_ERROR_BYTES).collect().await;
    read.map(|read| read.to_bytes()).unwrap_or_default()
}

/// Returns the code and the message of a store's error; nothing else of it.
fn error_text(body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    let parts = ["Code", "Message"].map(|name| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        let (text, _) = rest.split_once(&format!("</{name}>"))?;
        let text = text.chars().filter(|character| !character.is_control());
        Some(text.take(MAX_ERROR_CHARACTERS).collect::<String>())
    });
    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::{StreamExt, stream};
    use http_body_util::StreamBody;
    use object_store::{
        ObjectStoreExt, RetryConfig,
        aws::{AmazonS3, AmazonS3Builder},
        path::Path,
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// As S3 answers a wrong secret of a role's session.
    const ERROR: &str = "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>The signature\n \
        does not match.</Message><AWSAccessKeyId>AKIA-SEEN</AWSAccessKeyId><CanonicalRequest>PUT\n/a\n\
        x-amz-security-token:TOKEN-SEEN</CanonicalRequest></Error>";

    fn store(address: &str, allow_http: bool) -> AmazonS3 {
        let builder = AmazonS3Builder::new()
            .with_bucket_name("events")
            .with_endpoint(format!("http://{address}"))
            .with_access_key_id("AKIA-SEEN")
            .with_secret_access_key("secret")
            .with_allow_http(allow_http)
            .with_http_connector(StoreConnector);
        let retry = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        builder.with_retry(retry).build().unwrap()
    }

    #[tokio::test]
    async fn an_error_has_its_code_and_message_and_no_secret() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1 << 16];
            let length = stream.read(&mut request).await.unwrap();
            assert!(length > 0);
            let head = "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length:";
            let answer = format!("{head} {}\r\n\r\n{ERROR}", ERROR.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream
        };
        let (store, path) = (store(&address, true), Path::from("a"));
        let (answer, _) = tokio::join!(store.get(&path), server);
        let error = answer.unwrap_err();
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("SEEN"), "{text}");
            assert!(
                text.contains("403") && text.contains("SignatureDoesNotMatch: The signature does not match."),
                "{text}"
            );
        }
        assert_eq!(error_text(b"AKIA-SEEN"), "");
    }

    #[tokio::test]
    async fn requests_without_tls_have_to_be_allowed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let error = store(&address, false)
            .get(&Path::from("a"))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("AWS_ALLOW_HTTP=true"), "{error}");
        for (value, is_allowed) in [("true", true), ("1", true), ("false", false), ("", false)] {
            assert_eq!(allows_http(Some(value.to_owned())), is_allowed, "{value}");
        }
        assert!(!allows_http(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_take_as_long_as_its_bytes_move() {
        let length = 10 * CHUNK_BYTES + 1;
        let progress = Progress::new();
        let mut body = SentBody::new(vec![7; length].into(), progress.clone());
        let send = async {
            let mut sent = 0;
            while let Some(frame) = body.frame().await {
                sleep(IDLE_TIMEOUT - Duration::from_secs(1)).await;
                sent += frame.unwrap().into_data().unwrap().len();
                assert_eq!(body.size_hint().exact(), Some((length - sent) as u64));
            }
            sent
        };
        assert_eq!(progress.wait(send).await, Some(length));
        assert!(body.is_end_stream());
        let begin = Instant::now();
        progress.note();
        assert_eq!(progress.wait(std::future::pending::<()>()).await, None);
        assert!(begin.elapsed() < IDLE_TIMEOUT + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_stalls_ends_with_an_error() {
        let chunk = |_| async {
            sleep(IDLE_TIMEOUT - Duration::from_secs(1)).await;
            Ok(Frame::data(Bytes::from_static(b"row")))
        };
        let frames = Box::pin(stream::iter(0..5).then(chunk));
        let whole = ReceivedBody::new(StreamBody::new(frames)).collect().await;
        assert_eq!(whole.unwrap().to_bytes().len(), 15);
        let frames = Box::pin(stream::iter(0..2).then(chunk).chain(stream::pending()));
        let error = ReceivedBody::new(StreamBody::new(frames)).collect().await.unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Timeout);
    }
}
