//! The layer around a gRPC service of tonic: events are answered, and calls reach the service with
//! their trailers. The codec of the service is one for texts, so that nothing needs protoc.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes};
use embedder::tables;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use rowmill_ingest::test;
use tonic::{
    Response, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, UnaryService},
};
use tower::{Layer, Service, ServiceExt};

/// Messages that are texts.
#[derive(Default)]
struct Texts;

impl Codec for Texts {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Texts {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Texts {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        String::from_utf8(bytes.to_vec())
            .map(Some)
            .map_err(|_| Status::invalid_argument("not a text"))
    }
}

/// The method `Greet`.
struct Greet;

impl UnaryService<String> for Greet {
    type Response = String;
    type Future = Ready<Result<Response<String>, Status>>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        ready(match request.into_inner() {
            name if name.is_empty() => Err(Status::invalid_argument("a name is needed")),
            name => Ok(Response::new(format!("Hello, {name}"))),
        })
    }
}

/// What tonic generates for a service with this method.
#[derive(Clone)]
struct Greeter;

impl Service<Request<Full<Bytes>>> for Greeter {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        Box::pin(async move {
            match request.uri().path() {
                "/greeter.Greeter/Greet" => Ok(Grpc::new(Texts).unary(Greet, request).await),
                _ => Ok(Status::unimplemented("no such method").into_http()),
            }
        })
    }
}

/// Returns a gRPC request: the message after its length.
fn call(path: &str, message: &str) -> Request<Full<Bytes>> {
    let mut body = vec![0];
    body.put_u32(message.len().try_into().unwrap());
    body.put_slice(message.as_bytes());
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::from(body))
        .unwrap()
}

#[tokio::test]
async fn events_and_grpc_calls_share_a_service() {
    let writer = test::writer(&tables::SCHEMA);
    let service = tables::layer(writer.clone()).unwrap().layer(Greeter);

    let order = Request::post("/wh/order").body(Full::from(r#"{"number":"A-1"}"#));
    let answer = service.clone().oneshot(order.unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(test::rows(&writer, "orders"), 1);

    let greet = call("/greeter.Greeter/Greet", "Anna");
    let answer = service.clone().oneshot(greet).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/grpc");
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(&body.to_bytes()[5..], b"Hello, Anna");

    // An error of the method, and one of the router.
    for (path, status) in [("/greeter.Greeter/Greet", "3"), ("/greeter.Greeter/Leave", "12")] {
        let answer = service.clone().oneshot(call(path, "")).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], status, "{path}");
    }
    assert_eq!(test::rows(&writer, "orders"), 1);
}
