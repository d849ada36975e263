//! Decode: from the file of an upload to rows.

use std::{
    fs::File,
    future::poll_fn,
    io::Read,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Uri, header, request::Parts};
use http_body_util::BodyExt;
use tokio::task::{JoinSet, spawn_blocking};

use super::store::{Held, Store};
use crate::{
    collect::{
        Collector,
        head::Arrival,
        resolve::declared,
        route::Routes,
        upload::{
            chain::Chain,
            frame_queue::{End, FrameQueue},
            input::Input,
        },
    },
    request::target::Target,
};

/// The number of bytes read at a time.
const PIECE: usize = 128 << 10;

/// The answer to a whole upload: its status, and its body.
pub(super) type Report = (u16, String);

/// Decodes the file of an upload that is complete, and returns the answer. The upload is finished
/// unless the answer is that it should be tried again.
pub(super) async fn decode<R: Routes>(
    collector: &Arc<Collector>,
    store: &Store,
    held: &mut Held,
    parts: Parts,
    arrival: Arrival,
) -> Report {
    held.upload.is_decoding.store(true, Ordering::Release);
    let report = decode_file::<R>(collector, store, held, parts, arrival).await;
    held.upload.is_decoding.store(false, Ordering::Release);
    let report = report.unwrap_or_else(|| unavailable("the upload cannot be decoded now; send its last byte again"));
    if is_temporary(report.0) {
        return report;
    }
    match store.finish(held, report.clone()) {
        Ok(()) => report,
        Err(error) => {
            tracing::error!(%error, "an upload is decoded, and its record cannot be written");
            unavailable("the disk of the collector fails; send the last byte again")
        }
    }
}

/// Returns whether a client should try again.
fn is_temporary(status: u16) -> bool {
    status >= 500
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS]
            .iter()
            .any(|code| *code == status)
}

fn unavailable(reason: &str) -> Report {
    let body = serde_json::json!({ "message": "Service Unavailable", "reason": reason });
    (StatusCode::SERVICE_UNAVAILABLE.as_u16(), body.to_string())
}

/// Returns `None` if the runtime shuts down, or the record is damaged.
async fn decode_file<R: Routes>(
    collector: &Arc<Collector>,
    store: &Store,
    held: &mut Held,
    mut parts: Parts,
    arrival: Arrival,
) -> Option<Report> {
    held.record.is_complete = true;
    store.touch(held).ok()?;
    // The events are those of a request to the route, from the client that sends the last byte.
    parts.method = http::Method::POST;
    parts.uri = held.record.target.parse::<Uri>().ok()?;
    parts.headers.remove(header::CONTENT_ENCODING);
    parts.headers.remove(header::CONTENT_TYPE);
    if let Some(media_type) = &held.record.media_type {
        parts
            .headers
            .insert(header::CONTENT_TYPE, HeaderValue::try_from(media_type).ok()?);
    }
    let path = parts.uri.path();
    let route = R::find_path(path).or_else(|| declared::<R>(&Target::parse(path)));
    let response = match collector.accept_upload::<R>(parts, arrival.with_route(route)) {
        Err(response) => *response,
        Ok(mut upload) => {
            upload.chain = match Chain::find(collector, held.upload.id.0, store.key_window_s(), upload.ack).await {
                Ok(chain) => Some(chain),
                Err(stop) => return Some(unavailable(&stop.to_failure().reason)),
            };
            let queue = Arc::new(FrameQueue::default());
            // A `JoinSet` ends its task when it is dropped.
            let mut reading = JoinSet::new();
            reading.spawn(read(held.upload.id.data_file(store.folder()), Arc::clone(&queue)));
            let input = Input::open(queue, b"").await;
            upload.run(input).await
        }
    };
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Reads a file into a queue, as far as the queue has space.
async fn read(path: PathBuf, queue: Arc<FrameQueue>) {
    let Ok(mut file) = File::open(path) else {
        return queue.end(End::Failed);
    };
    loop {
        poll_fn(|cx| queue.poll_space(cx)).await;
        let read = spawn_blocking(move || {
            let mut piece = vec![0; PIECE];
            let count = file.read(&mut piece)?;
            piece.truncate(count);
            std::io::Result::Ok((file, piece))
        });
        match read.await {
            Ok(Ok((_, piece))) if piece.is_empty() => return queue.end(End::Complete),
            Ok(Ok((same, piece))) => {
                file = same;
                queue.push(Bytes::from(piece));
            }
            _ => return queue.end(End::Failed),
        }
    }
}
