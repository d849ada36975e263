//! The cost of one event from the end of its body to its row in a block and its answer, without
//! sockets: `cargo bench --bench hot_path`.
//!
//! The rows go to a server that reads and discards them, on its own threads.

#![allow(clippy::panic, reason = "a bench stops if it would measure something else")]

mod events;
mod null_store;

use std::hint::black_box;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use events::{Kind, answer_of};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rowmill::tables;
use rowmill_ingest::{ClickHouseUrl, Writer, WriterOptions, store::Servers};
use tokio::{net::TcpListener, runtime::Runtime};
use tower::{Layer, Service};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
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
                    let connection =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(null_store::discard));
                    tokio::spawn(connection);
                }
            });
            let store: ClickHouseUrl = format!("http://{address}/stats").parse().expect("a URL");
            Writer::start(
                &tables::SCHEMA,
                Servers::without_sync(store.clone()),
                &WriterOptions {
                    memory_bytes: 4 << 30,
                    ..WriterOptions::default()
                },
            )
        });
        Self { runtime, writer }
    }

    fn run(&self, bencher: Bencher<'_, '_>, kind: Kind) {
        let _inside = self.runtime.enter();
        let inner = tower::service_fn(rowmill_ingest::server::not_found);
        let service = tables::layer(self.writer.clone())
            .expect("the writer of this schema")
            .layer(inner)
            .with_peer([203, 0, 113, 7].into());
        bencher
            .counter(ItemsCount::new(1_u32))
            .with_inputs(|| kind.request())
            .bench_local_values(|request| black_box(answer_of(service.clone().call(request))));
    }
}

#[divan::bench]
fn webhook(bencher: Bencher<'_, '_>) {
    Bench::new().run(bencher, Kind::Webhook);
}

#[divan::bench]
fn pixel(bencher: Bencher<'_, '_>) {
    Bench::new().run(bencher, Kind::Pixel);
}

#[divan::bench]
fn redirect(bencher: Bencher<'_, '_>) {
    Bench::new().run(bencher, Kind::Redirect);
}

#[divan::bench]
fn page_view(bencher: Bencher<'_, '_>) {
    Bench::new().run(bencher, Kind::PageView);
}
