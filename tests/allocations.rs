//! Once the first events have been handled, an event allocates nothing from the end of its body to
//! its row in the block and its answer. Exceptions: values without a column, and the header of a
//! redirect.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../benches/events/mod.rs"]
mod events;

use allocation_counter::measure;
use events::{Kind, answer_of};
use rowmill::tables;
use rowmill_ingest::{ClickHouseUrl, Writer, WriterOptions, store::Servers};
use tower::{Layer, Service};

/// The number of events before counting begins, so that buffers reach their size.
const WARM_UP: usize = 3_000;

/// The number of counted events. Their block and its list of rows double in size now and then.
const COUNTED: usize = 1_000;
const GROWTH: u64 = 4;

/// Answer texts use another buffer if the current one is full while an answer in it is pending; no
/// answer is pending here.
const BUFFERS: u64 = 2;

/// Returns the allocations of [`COUNTED`] events.
fn allocations_of(kind: Kind) -> u64 {
    // The runtime is never polled: the rows stay in their open block, and no other thread takes
    // part.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let store: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().unwrap();
    let writer = Writer::start(
        &tables::SCHEMA,
        Servers::without_sync(store.clone()),
        &WriterOptions::default(),
    );
    let service = tables::layer(writer)
        .unwrap()
        .layer(tower::service_fn(rowmill_ingest::server::not_found))
        .with_peer([203, 0, 113, 7].into());
    for _ in 0..WARM_UP {
        answer_of(service.clone().call(kind.request()));
    }
    let mut count = 0;
    for _ in 0..COUNTED {
        let request = kind.request();
        count += measure(|| drop(answer_of(service.clone().call(request)))).count_total;
    }
    count
}

#[test]
fn an_event_costs_no_allocation() {
    for kind in [Kind::Webhook, Kind::Pixel, Kind::PageView] {
        let count = allocations_of(kind);
        assert!(count <= GROWTH + BUFFERS, "{kind:?}: {count} for {COUNTED} events");
    }
}

/// The redirect's target is a header of the answer. It has no column, so it is also an entry of
/// `extra`, whose two arrays are vectors of the row.
#[test]
fn a_redirect_allocates_only_its_header_and_its_extra() {
    const EACH: u64 = 1 + 2;
    let count = allocations_of(Kind::Redirect);
    assert!(count <= EACH * COUNTED as u64 + GROWTH + BUFFERS, "{count}");
}
