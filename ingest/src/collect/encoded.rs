//! Encoded: a request with a compressed body.
//!
//! A short body is decoded on the event loop, as far as one time slice allows. The rest is long
//! work: it continues on the delivery runtime, under the permits of batches. The decoded body is
//! then processed as any other.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, header, request::Parts};
use tokio::task::yield_now;

use crate::{
    answer::Answer,
    arena,
    collect::{
        Collector, Processed, Response,
        content_coding::{DecodeError, Decoding},
        head::{Arrival, RequestHead},
        offload::{LONG_BODY, unavailable},
        route::Routes,
    },
    request::{body::BodyError, read_body::ReadyBody, turns::Turn},
};

impl Collector {
    /// Answers a request with a compressed body.
    #[cold]
    #[inline(never)]
    pub(super) fn answer_encoded<R: Routes>(
        self: Arc<Self>,
        mut parts: Parts,
        body: ReadyBody,
        mut arrival: Arrival,
    ) -> Response {
        let ReadyBody { bytes, booking, turn } = body;
        let booking = booking.unwrap_or_else(|| self.writer.request_memory().booking());
        let limits = self.decoded_limits(&parts, arrival.route());
        let content_encoding = parts.headers.remove(header::CONTENT_ENCODING);
        let content_encoding = content_encoding.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        let mut decoding = match Decoding::begin(content_encoding, bytes.clone(), limits, booking) {
            Ok(decoding) => decoding,
            Err(error) => return self.answer_undecoded::<R>(parts, &bytes, error.into(), arrival),
        };
        match decoding.step(LONG_BODY) {
            Err(error) => return self.answer_undecoded::<R>(parts, &bytes, error, arrival),
            Ok(true) => return self.answer_decoded::<R>(parts, decoding, turn, arrival),
            Ok(false) => {}
        }
        arrival.mark_delayed();
        Response::Waiting(Box::pin(async move {
            let collector = Arc::clone(&self);
            let answering = async move {
                let decoded = collector.decode_rest(&mut decoding).await;
                match decoded {
                    Ok(()) => collector.answer_decoded::<R>(parts, decoding, turn, arrival),
                    Err(error) => collector.answer_undecoded::<R>(parts, &bytes, error, arrival),
                }
            };
            match self.offload(answering).await {
                Some(Response::Ready(response)) => response,
                Some(Response::Waiting(response)) => response.await,
                None => unavailable(),
            }
        }))
    }

    /// Decodes the rest of a body, one time slice per permit.
    async fn decode_rest(&self, decoding: &mut Decoding) -> Result<(), DecodeError> {
        loop {
            // The semaphore is never closed.
            let _permit = self.batch_permits.acquire().await;
            if decoding.step(usize::MAX)? {
                return Ok(());
            }
            drop(_permit);
            yield_now().await;
        }
    }

    /// Answers a request whose body is decoded.
    fn answer_decoded<R: Routes>(
        self: Arc<Self>,
        parts: Parts,
        decoding: Decoding,
        turn: Turn,
        arrival: Arrival,
    ) -> Response {
        let (bytes, booking) = decoding.finish();
        let body = ReadyBody {
            bytes,
            booking: Some(booking),
            turn,
        };
        let processed = arena::with(|arena| {
            // The rate limits have counted the request already.
            let head = RequestHead::read(&parts, arrival, &self.proxies, arena);
            self.process_body::<R>(&head, body, arena)
        });
        match processed {
            Processed::Draft(draft) => self.respond(parts, draft, arrival),
            Processed::Batch(request) => self.respond_to_batch(parts, request, arrival),
            // The head has no `Content-Encoding` any more.
            Processed::Encoded(body) => {
                self.answer_undecoded::<R>(parts, &body.bytes, BodyError::UnknownCoding.into(), arrival)
            }
        }
    }

    /// Answers a request whose body is not decoded.
    fn answer_undecoded<R: Routes>(
        self: Arc<Self>,
        parts: Parts,
        body: &Bytes,
        error: DecodeError,
        arrival: Arrival,
    ) -> Response {
        let draft = arena::with(|arena| {
            let head = RequestHead::read(&parts, arrival, &self.proxies, arena);
            match error {
                DecodeError::Body(error) => self.reject_body::<R>(&head, body, error),
                DecodeError::TooLarge => self.draft(Answer::TOO_LARGE, &head, None),
                DecodeError::OutOfMemory => self.draft(Answer::FULL, &head, None),
            }
        });
        self.respond(parts, draft, arrival)
    }
}
