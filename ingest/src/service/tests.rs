//! Tables of requests and of the layer's responses, without a server and without a ClickHouse.

#![allow(clippy::unwrap_used)]

use std::{cell::RefCell, convert::Infallible, net::IpAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::{layer::EventLayer, peer::Peer};
use crate::{
    ack::{Ack, AckPolicy},
    block::receipt::Receipt,
    budget::SpoolFull,
    collect::{
        options::EventOptions,
        route::{Destination, Route, Routes},
    },
    intake::{
        event::{Event, Sink},
        rejection::Rejection,
    },
    store::{ClickHouseUrl, servers::Servers},
    table::{Column, ColumnKind, Format, Schema, Table},
    writer::{Writer, WriterOptions},
};

static COLUMNS: [Column; 1] = [Column::new("n", "UInt8", "n UInt8", ColumnKind::Plain)];
static MAIL: Table = Table::new("mail", 0, &COLUMNS, "", Format::RowBinary);
static SCHEMA: Schema = Schema::new(&[&MAIL]);
static OTHER_SCHEMA: Schema = Schema::new(&[]);

thread_local! {
    /// The client's address of the last event.
    static LAST_IP: RefCell<String> = RefCell::default();
}

fn ingest(event: &Event<'_>, sink: Sink<'_>) -> Result<Receipt, Rejection> {
    LAST_IP.set(event.meta.ip.to_owned());
    let encode = |out: &mut Vec<u8>| out.push(0);
    match sink {
        Sink::Block(writer) => writer.append(&MAIL, event.ack, encode),
        Sink::Rows(rows) => rows.push(&MAIL, encode).map(|()| Receipt::NONE),
    }
    .map_err(|SpoolFull| Rejection::SpoolFull)
}

#[derive(Debug)]
struct Mail;

impl Routes for Mail {
    const DESTINATIONS: &'static [Destination] = &[];

    fn schema() -> &'static Schema {
        &SCHEMA
    }

    fn find(service: &str, name: &str) -> Option<Route> {
        let route = |acks| {
            Some(Route {
                handler: ingest,
                acks,
                options: None,
            })
        };
        match (service, name) {
            ("wh" | "pixel" | "redir", "mail") => route(AckPolicy::NONE),
            ("wh", "choice") => route(AckPolicy {
                ack: None,
                by_header: true,
            }),
            ("shop", _) => route(AckPolicy::NONE),
            _ => None,
        }
    }

    fn fallback() -> Option<Route> {
        let acks = AckPolicy::NONE;
        Some(Route {
            handler: ingest,
            acks,
            options: None,
        })
    }
}

fn writer_of(options: &WriterOptions) -> Writer {
    let unreachable: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().unwrap();
    Writer::start(&SCHEMA, Servers::without_sync(unreachable), options)
}

fn layer() -> EventLayer<Mail> {
    EventLayer::new(writer_of(&WriterOptions::default())).unwrap()
}

/// The inner service answers with a status that the layer never sends, and returns the body.
async fn inner(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::IM_A_TEAPOT;
    *response.headers_mut() = parts.headers;
    Ok(response)
}

fn request(method: &str, target: &str, headers: &[(&str, &'static str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    request
}

async fn send(layer: &EventLayer<Mail>, request: Request<Full<Bytes>>) -> (u16, HeaderMap, Bytes) {
    let response = layer.layer(service_fn(inner)).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    (
        parts.status.as_u16(),
        parts.headers,
        body.collect().await.unwrap().to_bytes(),
    )
}

/// The status of the inner service.
const INNER: u16 = 418;

#[tokio::test]
async fn method_and_path_decide_whether_a_request_is_an_event() {
    let layer = layer();
    let json = [("content-type", "application/json")];
    for (method, target, body, status) in [
        ("POST", "/wh/mail", "{}", 200),
        ("POST", "/wh/MAIL", "{}", 200),
        ("POST", "/wh/mail/7", "{}", 200),
        ("POST", "/wh/mail.json", "{}", 200),
        ("GET", "/wh/mail", "", 200),
        ("GET", "/pixel/mail.gif", "", 200),
        ("GET", "/gif/mail", "", 200),
        ("GET", "/redir/mail?to=https%3A%2F%2Fa.example", "", 302),
        ("GET", "/redir/mail", "", 400),
        ("HEAD", "/redir/mail?to=https%3A%2F%2Fa.example", "", 302),
        ("HEAD", "/wh/mail", "", 200),
        ("OPTIONS", "/wh/mail", "", 200),
        ("PUT", "/wh/mail", "{}", 400),
        ("DELETE", "/wh/mail", "", 400),
        ("GET", "/shop/anything", "", 200),
        // The inner service gets all other requests, whatever query and body contain.
        ("GET", "/", "", INNER),
        ("GET", "/wh", "", INNER),
        ("GET", "/wh/", "", INNER),
        ("GET", "/shop", "", INNER),
        ("POST", "/wh/other", "{}", INNER),
        ("POST", "/WH/mail", "{}", INNER),
        ("POST", "/api/wh/mail", "{}", INNER),
        ("OPTIONS", "/elsewhere", "", INNER),
        ("GET", "/lib.js", "", INNER),
        ("GET", "/?service=wh&name=mail", "", INNER),
        ("POST", "/login", r#"{"service":"wh","name":"mail"}"#, INNER),
    ] {
        let (answered, _, echo) = send(&layer, request(method, target, &json, body)).await;
        assert_eq!(answered, status, "{method} {target}");
        if status == INNER {
            assert_eq!(
                echo, body,
                "{method} {target}: the inner service gets the body untouched"
            );
        }
    }
}

#[tokio::test]
async fn a_catch_all_layer_passes_no_request_to_the_inner_service() {
    let options = EventOptions {
        catch_all: true,
        ..EventOptions::default()
    };
    let layer = layer().with_options(&options);
    for (method, target, status) in [
        ("GET", "/any/name", 200),
        ("GET", "/?service=wh&name=mail", 200),
        ("GET", "/lib.js", 200),
        ("GET", "/", 404),
        ("PUT", "/", 400),
    ] {
        let (answered, ..) = send(&layer, request(method, target, &[], "")).await;
        assert_eq!(answered, status, "{method} {target}");
    }
}

#[tokio::test]
async fn the_type_of_a_body_decides_how_it_is_read() {
    let layer = layer();
    for (media_type, body, status) in [
        ("application/json", r#"{"a":1}"#, 200),
        ("application/x-www-form-urlencoded", "a=1", 200),
        ("text/plain", r#"{"a":1}"#, 200),
        ("image/png", "x", 415),
        ("image/png", "", 200),
    ] {
        let headers = [("content-type", media_type)];
        let (answered, ..) = send(&layer, request("POST", "/wh/mail", &headers, body)).await;
        assert_eq!(answered, status, "{media_type}: {body}");
    }
    let encoded = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let (status, ..) = send(&layer, request("POST", "/wh/mail", &encoded, "{}")).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_header_chooses_the_acknowledgement_if_the_route_allows_it() {
    let layer = layer();
    for (target, requested, status, reached) in [
        ("/wh/choice", Some("accepted"), 200, Some("accepted")),
        ("/wh/choice", Some("soon"), 400, None),
        ("/wh/mail", Some("soon"), 200, Some("accepted")),
        ("/wh/choice", None, 200, Some("accepted")),
        ("/pixel/mail", None, 200, None),
    ] {
        let mut request = request("POST", target, &[], "{}");
        if let Some(requested) = requested {
            request
                .headers_mut()
                .insert("x-rowmill-ack", HeaderValue::from_static(requested));
        }
        let (answered, headers, _) = send(&layer, request).await;
        let header = headers.get("x-rowmill-ack").map(|value| value.to_str().unwrap());
        assert_eq!((answered, header), (status, reached), "{target} {requested:?}");
    }
}

#[tokio::test]
async fn only_a_request_with_an_origin_gets_the_headers_of_cors() {
    let layer = layer();
    let own = "https://shop.a.example";
    for (origin, allowed) in [
        (None, None),
        (Some(own), Some(own)),
        (Some("https://b.example"), Some("*")),
    ] {
        let mut request = request("POST", "/wh/mail", &[], "{}");
        let host = HeaderValue::from_static("stat.a.example");
        request.headers_mut().insert(header::HOST, host);
        if let Some(origin) = origin {
            request
                .headers_mut()
                .insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        let (status, headers, _) = send(&layer, request).await;
        let header = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(
            (status, header.map(HeaderValue::as_bytes)),
            (200, allowed.map(str::as_bytes))
        );
    }
}

#[tokio::test]
async fn the_address_of_a_request_comes_from_the_nearest_source() {
    let header_ip = |parts: &Parts| parts.headers.get("x-peer")?.to_str().ok()?.parse().ok();
    let connection: IpAddr = [203, 0, 113, 1].into();
    for (is_header, is_extension, is_connection, expected) in [
        (true, true, true, "203.0.113.3"),
        (false, true, true, "203.0.113.2"),
        (false, false, true, "203.0.113.1"),
        (false, false, false, "0.0.0.0"),
        (true, false, false, "203.0.113.3"),
    ] {
        let mut service = layer().peer_from(header_ip).layer(service_fn(inner));
        if is_connection {
            service = service.with_peer(connection);
        }
        let mut request = request("POST", "/wh/mail", &[], "{}");
        if is_header {
            request
                .headers_mut()
                .insert("x-peer", HeaderValue::from_static("203.0.113.3"));
        }
        if is_extension {
            request.extensions_mut().insert(Peer([203, 0, 113, 2].into()));
        }
        assert_eq!(service.call(request).await.unwrap().status(), 200);
        assert_eq!(LAST_IP.take(), expected);
    }
}

#[tokio::test]
async fn a_full_or_closed_writer_refuses_events_and_nothing_else() {
    let full = writer_of(&WriterOptions {
        memory_bytes: 64 << 10,
        ..WriterOptions::default()
    });
    while full.append(&MAIL, Ack::Accepted, |out| out.push(0)).is_ok() {}
    let closed = writer_of(&WriterOptions::default());
    closed.drain(Duration::ZERO).await;

    for writer in [full, closed] {
        let layer = EventLayer::<Mail>::new(writer.clone()).unwrap();
        let (status, headers, _) = send(&layer, request("POST", "/wh/mail", &[], "{}")).await;
        assert_eq!(status, 503);
        assert!(headers.contains_key(header::RETRY_AFTER));
        // The layer still sends an image or a redirect.
        assert_eq!(send(&layer, request("GET", "/pixel/mail", &[], "")).await.0, 200);
        let redirect = "/redir/mail?to=https%3A%2F%2Fa.example";
        assert_eq!(send(&layer, request("GET", redirect, &[], "")).await.0, 302);
        assert_eq!(send(&layer, request("GET", "/", &[], "")).await.0, INNER);
        let rejections = writer.status().rejections;
        assert!(rejections.events.contains(&("no-room", 3)), "{rejections:?}");
    }
}

#[tokio::test]
async fn a_writer_of_another_schema_is_an_error() {
    let unreachable: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().unwrap();
    let writer = Writer::start(
        &OTHER_SCHEMA,
        Servers::without_sync(unreachable),
        &WriterOptions::default(),
    );
    let error = EventLayer::<Mail>::new(writer).unwrap_err().to_string();
    assert!(
        error.contains("the tables [mail]") && error.contains("the tables []"),
        "{error}"
    );
}
