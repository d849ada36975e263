//! The layers among the layers of tower and tower-http, around them and beneath them, without a
//! ClickHouse: events are answered, and all other requests reach the inner service.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{convert::Infallible, fmt::Debug, future::pending, sync::Arc, time::Duration};

use bytes::Bytes;
use embedder::{shop, tables};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use rowmill_ingest::{ClickHouseUrl, EventLayer, Writer, WriterOptions, store::Servers};
use tokio::{sync::Semaphore, time::timeout};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, cors::CorsLayer, limit::RequestBodyLimitLayer,
    timeout::TimeoutLayer, trace::TraceLayer,
};

const ORDER: &str = r#"{"number":"A-1","amount":"12.50"}"#;

/// A wait that no test reaches.
const LONG: Duration = Duration::from_secs(20);

fn writer() -> Writer {
    let away: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().unwrap();
    Writer::start(&tables::SCHEMA, Servers::without_sync(away), &WriterOptions::default())
}

fn events(writer: &Writer) -> EventLayer<tables::Routes> {
    tables::layer(writer.clone()).unwrap()
}

fn orders(writer: &Writer) -> u64 {
    writer.status().table("orders").unwrap().rows_appended
}

fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let body = body.into();
    Request::post("/wh/order")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, body.len())
        .header(header::ORIGIN, "https://shop.example")
        .header(header::ACCEPT_ENCODING, "gzip")
        .body(Full::new(body))
        .unwrap()
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).body(Full::default()).unwrap()
}

async fn send<S, B>(service: &S, request: Request<Full<Bytes>>) -> (StatusCode, HeaderMap, Bytes)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
    S::Error: Debug,
    B: Body<Data = Bytes>,
    B::Error: Debug,
{
    let (parts, body) = service.clone().oneshot(request).await.unwrap().into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
}

/// Checks that an event becomes a row and that another request reaches the shop. Returns the
/// headers of the response to the event.
async fn check<S, B>(writer: &Writer, service: S) -> HeaderMap
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
    S::Error: Debug,
    B: Body<Data = Bytes>,
    B::Error: Debug,
{
    let before = orders(writer);
    let (status, headers, body) = send(&service, post(ORDER)).await;
    assert_eq!(status, 200);
    if !headers.contains_key(header::CONTENT_ENCODING) {
        assert!(body.windows(15).any(|part| part == b"in.gen.wh.order"), "{body:?}");
    }
    assert_eq!(orders(writer), before + 1);

    let (status, _, body) = send(&service, get("/wh/elsewhere")).await;
    assert_eq!((status, &*body), (StatusCode::OK, &b"shop: /wh/elsewhere"[..]));
    assert_eq!(orders(writer), before + 1);
    headers
}

/// Panics instead of an answer.
async fn broken<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    panic!("the shop is broken");
}

#[tokio::test]
async fn trace() {
    let writer = writer();
    let around = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(events(&writer));
    check(&writer, around.service(service_fn(shop))).await;
    let beneath = ServiceBuilder::new()
        .layer(events(&writer))
        .layer(TraceLayer::new_for_http());
    check(&writer, beneath.service(service_fn(shop))).await;
}

#[tokio::test]
async fn timeout_of_the_inner_service() {
    let writer = writer();
    let long = || TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, LONG);
    let around = ServiceBuilder::new().layer(long()).layer(events(&writer));
    check(&writer, around.service(service_fn(shop))).await;
    let beneath = ServiceBuilder::new().layer(events(&writer)).layer(long());
    check(&writer, beneath.service(service_fn(shop))).await;

    // Beneath the layer, the time-out is that of the shop alone.
    let short = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::ZERO);
    let hang = service_fn(|_| pending::<Result<Response<Full<Bytes>>, Infallible>>());
    let service = ServiceBuilder::new().layer(events(&writer)).layer(short).service(hang);
    assert_eq!(send(&service, get("/")).await.0, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(send(&service, post(ORDER)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn cors() {
    let writer = writer();
    let around = ServiceBuilder::new()
        .layer(CorsLayer::permissive())
        .layer(events(&writer))
        .service(service_fn(shop));
    let headers = check(&writer, around.clone()).await;
    let origins: Vec<_> = headers.get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN).iter().collect();
    assert_eq!(origins, ["*"]);
    let preflight = Request::options("/wh/order")
        .header(header::ORIGIN, "https://shop.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .body(Full::default())
        .unwrap();
    let (status, headers, _) = send(&around, preflight).await;
    assert_eq!(status, 200);
    assert!(headers.contains_key(header::ACCESS_CONTROL_ALLOW_METHODS));

    // Beneath the layer, it concerns the shop alone.
    let beneath = ServiceBuilder::new()
        .layer(events(&writer))
        .layer(CorsLayer::permissive());
    let headers = check(&writer, beneath.service(service_fn(shop))).await;
    assert_eq!(headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "*");
}

#[tokio::test]
async fn request_body_limit() {
    let writer = writer();
    let long = format!(r#"{{"number":"{}"}}"#, "A".repeat(200));
    let around = ServiceBuilder::new()
        .layer(RequestBodyLimitLayer::new(100))
        .layer(events(&writer))
        .service(service_fn(shop));
    check(&writer, around.clone()).await;
    assert_eq!(send(&around, post(long.clone())).await.0, StatusCode::PAYLOAD_TOO_LARGE);

    let beneath = ServiceBuilder::new()
        .layer(events(&writer))
        .layer(RequestBodyLimitLayer::new(100))
        .service(service_fn(shop));
    check(&writer, beneath.clone()).await;
    assert_eq!(send(&beneath, post(long)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn compression() {
    let writer = writer();
    let around = ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .layer(events(&writer));
    let headers = check(&writer, around.service(service_fn(shop))).await;
    assert_eq!(headers.get(header::CONTENT_ENCODING).unwrap(), "gzip");
    let beneath = ServiceBuilder::new()
        .layer(events(&writer))
        .layer(CompressionLayer::new());
    let headers = check(&writer, beneath.service(service_fn(shop))).await;
    assert_eq!(headers.get(header::CONTENT_ENCODING), None);
}

#[tokio::test]
async fn catch_panic() {
    let writer = writer();
    let around = || {
        ServiceBuilder::new()
            .layer(CatchPanicLayer::new())
            .layer(events(&writer))
    };
    check(&writer, around().service(service_fn(shop))).await;
    let beneath = || {
        ServiceBuilder::new()
            .layer(events(&writer))
            .layer(CatchPanicLayer::new())
    };
    check(&writer, beneath().service(service_fn(shop))).await;

    let (around, beneath) = (
        around().service(service_fn(broken)),
        beneath().service(service_fn(broken)),
    );
    assert_eq!(send(&around, get("/")).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(send(&around, post(ORDER)).await.0, StatusCode::OK);
    assert_eq!(send(&beneath, get("/")).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(send(&beneath, post(ORDER)).await.0, StatusCode::OK);
}

/// Answers a request as the shop does when the semaphore has a permit for it.
async fn slow(permits: Arc<Semaphore>, request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    permits.acquire().await.unwrap().forget();
    shop(request).await
}

#[tokio::test]
async fn events_do_not_wait_for_a_full_inner_service() {
    let writer = writer();
    let permits = Arc::new(Semaphore::new(0));
    let service = ServiceBuilder::new()
        .layer(events(&writer))
        .concurrency_limit(1)
        .service(service_fn(|request| slow(Arc::clone(&permits), request)));
    let (mut first, mut second) = (
        Box::pin(service.clone().oneshot(get("/1"))),
        Box::pin(service.clone().oneshot(get("/2"))),
    );
    // The first request takes the one permit and hangs; the second waits for it.
    for request in [&mut first, &mut second] {
        assert!(timeout(Duration::from_millis(1), request).await.is_err());
    }

    let (status, ..) = timeout(LONG, send(&service, post(ORDER))).await.unwrap();
    assert_eq!((status, orders(&writer)), (StatusCode::OK, 1));

    permits.add_permits(2);
    assert_eq!(timeout(LONG, first).await.unwrap().unwrap().status(), 200);
    assert_eq!(timeout(LONG, second).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn an_event_takes_no_permit_of_the_inner_service() {
    let writer = writer();
    let service = ServiceBuilder::new()
        .layer(events(&writer))
        .concurrency_limit(1)
        .service(service_fn(shop));
    // Each clone is made ready, as a server does before it has the request, and lives on.
    let mut clones = vec![service.clone(); 3];
    for clone in &mut clones {
        let ready = timeout(LONG, clone.ready()).await.unwrap().unwrap();
        assert_eq!(ready.call(post(ORDER)).await.unwrap().status(), 200);
        timeout(LONG, clone.ready()).await.unwrap().unwrap();
    }
    let (status, ..) = timeout(LONG, send(&service, get("/"))).await.unwrap();
    assert_eq!(status, 200);
}

#[tokio::test]
async fn the_inner_service_sheds_its_own_load() {
    let writer = writer();
    let permits = Arc::new(Semaphore::new(0));
    let service = ServiceBuilder::new()
        .layer(events(&writer))
        .load_shed()
        .concurrency_limit(1)
        .service(service_fn(|request| slow(Arc::clone(&permits), request)));
    let mut hanging = Box::pin(service.clone().oneshot(get("/1")));
    assert!(timeout(Duration::from_millis(1), &mut hanging).await.is_err());
    let error = service.clone().oneshot(get("/2")).await.unwrap_err();
    assert!(error.is::<tower::load_shed::error::Overloaded>());
    assert_eq!(send(&service, post(ORDER)).await.0, 200);
}

/// A gRPC service, such as tonic's, answers with trailers, and reads its own bodies.
#[tokio::test]
async fn the_trailers_of_a_grpc_service_pass() {
    let grpc = service_fn(async |request: Request<Full<Bytes>>| {
        let body = request.into_body().collect().await?.to_bytes();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let body = Full::new(body).with_trailers(std::future::ready(Some(Ok(trailers))));
        let response = Response::builder()
            .header(header::CONTENT_TYPE, "application/grpc")
            .body(body);
        Ok::<_, Infallible>(response.unwrap())
    });
    let writer = writer();
    let service = events(&writer).layer(grpc);
    let message = Bytes::from_static(b"\0\0\0\0\x01x");
    let call = Request::post("/shop.Orders/Place")
        .header(header::CONTENT_TYPE, "application/grpc")
        .body(Full::new(message.clone()))
        .unwrap();
    let response = service.clone().oneshot(call).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/grpc");
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), message);

    assert_eq!(send(&service, post(ORDER)).await.0, 200);
    assert_eq!(orders(&writer), 1);
}
