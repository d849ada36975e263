//! The endpoint that takes the waiting rows of other collectors, on the operator's listener.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use rowmill_ingest::{
    Writer,
    handover::{MAX_BODY_BYTES, PATH, ReceiveError, Received},
    writer::IncomingPackage,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::pages::access::Token;

/// The time without a byte after which a request ends.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest number of requests whose bodies are read at a time.
const MAX_REQUESTS: usize = 2;

/// The wait that a busy or full collector asks for, in seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// Takes the rows of collectors that know the secret.
#[derive(Debug)]
pub(crate) struct Handover {
    writer: Writer,
    secret: Token,
    requests: Arc<Semaphore>,
}

/// The reason why a body was not read.
enum BodyError {
    TooLong,
    Late,
    Broken,
    /// There is no memory for it.
    Full(ReceiveError),
}

impl Handover {
    pub(crate) fn new(writer: Writer, secret: Token) -> Self {
        Self {
            writer,
            secret,
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
        }
    }

    /// Answers a request of the operator's listener that is for none of its pages.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if request.uri().path() != PATH {
            return response(StatusCode::NOT_FOUND, "this listener has no such page");
        }
        if !self.secret.is_in(request.headers()) {
            let mut refusal = response(
                StatusCode::UNAUTHORIZED,
                "the secret of --handover-secret-file is missing or wrong",
            );
            let scheme = HeaderValue::from_static("Bearer");
            refusal.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            return refusal;
        }
        if request.method() != Method::POST {
            return response(StatusCode::METHOD_NOT_ALLOWED, "blocks are handed over with POST");
        }
        let Ok(permit) = Arc::clone(&self.requests).try_acquire_owned() else {
            return later("other collectors hand over rows at the same time");
        };
        let package = match read(request.into_body(), self.writer.incoming_package()).await {
            Ok(package) => package,
            Err(BodyError::TooLong) => {
                let reason = format!("the blocks of one request may have {MAX_BODY_BYTES} bytes");
                return response(StatusCode::PAYLOAD_TOO_LARGE, &reason);
            }
            Err(BodyError::Full(error)) => return refusal(&error),
            Err(BodyError::Late) => return response(StatusCode::REQUEST_TIMEOUT, "the body does not arrive in time"),
            Err(BodyError::Broken) => return response(StatusCode::BAD_REQUEST, "the body is incomplete"),
        };
        match self.receive(package, permit).await {
            Ok(received) => {
                tracing::info!(
                    blocks = received.taken,
                    known = received.known,
                    "blocks of another collector are on disk, and go to ClickHouse from here"
                );
                json(received.to_json())
            }
            Err(error) => {
                tracing::warn!(%error, "blocks of another collector are not taken over");
                refusal(&error)
            }
        }
    }

    /// Takes the blocks of a package, also if the client goes away meanwhile: the permit is back only
    /// when the package is out of memory, however long the disk takes.
    async fn receive(&self, package: IncomingPackage, permit: OwnedSemaphorePermit) -> Result<Received, ReceiveError> {
        let writer = self.writer.clone();
        let receiving = tokio::spawn(async move {
            let received = writer.receive(package).await;
            drop(permit);
            received
        });
        receiving
            .await
            .unwrap_or_else(|error| Err(ReceiveError::Disk(io::Error::other(error))))
    }
}

/// Reads a body into `package`.
async fn read<B>(mut body: B, mut package: IncomingPackage) -> Result<IncomingPackage, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        match timeout(STALL_TIMEOUT, body.frame()).await {
            Err(_) => return Err(BodyError::Late),
            Ok(None) => return Ok(package),
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else { continue };
                if package.len() + data.len() > MAX_BODY_BYTES {
                    return Err(BodyError::TooLong);
                }
                package.push(&data).map_err(BodyError::Full)?;
            }
        }
    }
}

fn refusal(error: &ReceiveError) -> Response<Full<Bytes>> {
    let text = error.to_string();
    match error {
        _ if error.is_transient() => later(&text),
        _ if error.is_about_queue() => response(StatusCode::CONFLICT, &text),
        _ => response(StatusCode::UNPROCESSABLE_ENTITY, &text),
    }
}

/// Asks the other collector to send the blocks again.
fn later(reason: &str) -> Response<Full<Bytes>> {
    let mut later = response(StatusCode::SERVICE_UNAVAILABLE, reason);
    later.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S);
    later
}

fn response(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{text}\n"))));
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}

fn json(text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let media_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}
