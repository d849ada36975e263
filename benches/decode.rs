//! The cost of decoding an event's text into an encoded row, and nothing else:
//! `cargo bench --bench decode`.
//!
//! Each figure is for one event: decoded, given its metadata, checked and encoded. The counter is
//! the number of columns, so its reciprocal is the time per column.

#[allow(dead_code, clippy::panic, reason = "this bench only needs the texts")]
mod events;

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use events::{FIELDS, PAGE, SENT};
use rowmill::tables;
use rowmill_ingest::{
    __rt::intake,
    route::{Event, RowBatch, Sink},
    row::{Row, TypedTable},
};
use serde_json::{Map, Value};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Rows after which the batch is cleared; a block has more.
const ROWS: usize = 1_000;

fn main() {
    divan::main();
}

/// Measures an event that fills `columns` columns.
fn measure<T: TypedTable>(bencher: Bencher<'_, '_>, query: &str, json: &str, columns: usize) {
    let mut rows = RowBatch::default();
    let mut decode = move || {
        if rows.count() == ROWS {
            rows.clear();
        }
        Event::from_texts(black_box(query), black_box(json), |event| {
            intake::<T>(event, Sink::Rows(&mut rows)).is_ok()
        })
    };
    // Checks that the event is not rejected, and grows the buffers to their final size.
    for _ in 0..=ROWS {
        assert!(decode());
    }
    bencher.counter(ItemsCount::new(columns)).bench_local(decode);
}

#[divan::bench(sample_size = 200)]
fn json(bencher: Bencher<'_, '_>) {
    let columns = columns_of(&tables::MailStatistics::default(), "", &object(SENT));
    measure::<tables::MailStatistics<'_>>(bencher, "", SENT, columns);
}

#[divan::bench(sample_size = 200)]
fn query(bencher: Bencher<'_, '_>) {
    let row = tables::MailStatistics::default();
    let names = FIELDS.split('&').filter_map(|field| field.split('=').next());
    let columns = names.filter(|name| row.column(name).is_some()).count();
    measure::<tables::MailStatistics<'_>>(bencher, FIELDS, "", columns);
}

#[divan::bench(sample_size = 200)]
fn page_view(bencher: Bencher<'_, '_>) {
    let columns = columns_of(&tables::Events::default(), "", &object(PAGE));
    measure::<tables::Events<'_>>(bencher, "", PAGE, columns);
}

/// An event with a value for every column that an event can fill, in one flat object.
#[divan::bench(sample_size = 200)]
fn all_columns(bencher: Bencher<'_, '_>) {
    let (json, columns) = full_event();
    measure::<tables::Events<'_>>(bencher, "", &json, columns);
}

fn object(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).expect("an event is an object")
}

/// Returns how many values of an event have a column.
fn columns_of<'a>(row: &impl Row<'a>, prefix: &str, event: &Map<String, Value>) -> usize {
    let columns = event.iter().map(|(key, value)| match value {
        Value::Object(below) => columns_of(row, &format!("{prefix}{key}_"), below),
        _ => usize::from(row.column(&format!("{prefix}{key}")).is_some()),
    });
    columns.sum()
}

/// Returns an event with a value for each column of the widest standard table, and their number.
fn full_event() -> (String, usize) {
    let row = tables::events::Events::default();
    let members: Vec<_> = tables::events::TABLE
        .columns
        .iter()
        .filter(|column| row.column(column.name).is_some())
        .map(|column| {
            let value = match column.data_type {
                "String" => "\"some words\"",
                array if array.starts_with("Array(") => "[]",
                _ => "1",
            };
            format!("\"{}\":{value}", column.name)
        })
        .collect();
    (format!("{{{}}}", members.join(",")), members.len())
}
