//! What one event costs from the end of its body to its row in the block and its answer, without sockets: `cargo bench --bench hot_path`.
//!
//! The rows go to a store that reads and forgets them, on threads of its own.

#![allow(clippy::panic, reason = "a bench that measures something else has to stop")]

use std::{convert::Infallible, hint::black_box};

use bytes::Bytes;
use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rowmill::tables;
use rowmill_ingest::{StoreUrl, Writer, WriterOptions};
use tokio::{net::TcpListener, runtime::Runtime};
use tower::{Layer, Service};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// The event of the example, 250 bytes.
const SENT: &str = concat!(
    r#"{"event":"sent","email":"bob@example.com","message_id":"QWERTY_ASDFGH_0123456789","task_id":"QWERTY_TASK_42","#,
    r#""list_id":"12345","link_id":"","detailed":"250 2.0.0 OK 1732406400 a1b2c3d4e5f6-a7b8c9d0si1234567abc.123 - "#,
    r#"gsmtp queued as 4XyZ12ABC"}"#
);

const FIELDS: &str = "event=open&task_id=QWERTY&message_id=QWERTY_ASDFGH&email=bob@example.com&list_id=12345";

/// A page view of the web SDK, some forty columns.
const PAGE: &str = concat!(
    r#"{"service":"track","name":"page","projectId":42,"uid":"7530842328009801728","page":{"title":"Shoes for all weathers","#,
    r#""url":"https://shop.example/shoes?utm_source=mail","ref":"https://search.example/","query":{"utm_source":"mail","#,
    r#""utm_medium":"cpc","utm_campaign":"autumn"}},"sess":{"type":"campaign","engine":"google","num":3,"hasMarks":1,"#,
    r#""pageNum":2,"eventNum":9,"start":1795492727283,"refhost":"search.example","marks":{"utm_source":"mail","has_gclid":1,"#,
    r#""gclid":"EAIaIQobChMI"}},"char":{"ls":1,"pr":2,"ae":1,"sb":1,"wp":0},"browser":{"if1":0,"if2":0,"w":1440,"h":900,"tw":1440,"#,
    r#""th":820,"aw":1440,"ah":860,"sopr":1,"soa":0,"sot":"landscape-primary","plt":"Linux x86_64","prd":"Gecko"},"#,
    r#""lib":{"id":"web-sdk","v":4001000,"sv":4001000},"user":{"ts":1795492727283,"tz":"Europe/Berlin","tzo":-60,"gaId":"GA1.2.3"},"#,
    r#""perf":{"cs":1,"scs":2,"dl":3,"dc":400,"di":300,"rqs":4,"rss":50,"rse":60,"ce":1}}"#
);

/// Answers every insert as ClickHouse does when all is well.
async fn forget(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    while let Some(Ok(_)) = request.body_mut().frame().await {}
    Ok(Response::new(Full::default()))
}

struct Bench {
    runtime: Runtime,
    writer: Writer,
}

impl Bench {
    fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let writer = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(forget));
                    tokio::spawn(connection);
                }
            });
            let store: StoreUrl = format!("http://{address}/stats").parse().expect("a URL");
            Writer::start(
                &tables::SCHEMA,
                store.client(),
                WriterOptions {
                    spool_bytes: 2 << 30,
                    ..WriterOptions::default()
                },
            )
        });
        Self { runtime, writer }
    }

    fn run(&self, bencher: Bencher<'_, '_>, request: impl Fn() -> Request<Full<Bytes>>) {
        let _inside = self.runtime.enter();
        let inner = tower::service_fn(rowmill_ingest::not_found);
        let service = tables::layer(self.writer.clone())
            .layer(inner)
            .with_peer([203, 0, 113, 7].into());
        bencher
            .counter(ItemsCount::new(1_u32))
            .with_inputs(request)
            .bench_local_values(|request| {
                // Everything is there, so that the first poll is the last.
                let answer = answer_of(service.clone().call(request));
                assert!(answer.status().as_u16() < 400);
                black_box(answer)
            });
    }
}

fn answer_of<F: Future<Output = Result<T, E>>, T, E>(future: F) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Ok(answer)) => answer,
        _ => panic!("the request was not answered at once"),
    }
}

fn request(method: &str, target: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, "127.0.0.1:8080")
        .header(
            header::USER_AGENT,
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        )
        .header(header::ACCEPT, "*/*")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::COOKIE, "uid=7530842328009801728")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .expect("a request")
}

#[divan::bench]
fn webhook(bencher: Bencher<'_, '_>) {
    Bench::new().run(bencher, || request("POST", "/wh/mail", SENT));
}

#[divan::bench]
fn pixel(bencher: Bencher<'_, '_>) {
    Bench::new().run(bencher, || request("GET", &format!("/pixel/mail?{FIELDS}"), ""));
}

#[divan::bench]
fn redirect(bencher: Bencher<'_, '_>) {
    let target = format!("/redir/mail?{FIELDS}&to=https%3A%2F%2Fya.ru");
    Bench::new().run(bencher, || request("GET", &target, ""));
}

#[divan::bench]
fn page_view(bencher: Bencher<'_, '_>) {
    Bench::new().run(bencher, || request("POST", "/track/page", PAGE));
}
