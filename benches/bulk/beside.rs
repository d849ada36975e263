//! Beside what ClickHouse takes: the same rows, through the collector's layer and as blocks that were made before.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clickhouse::{Client, Compression, insert_formatted::CompressedData};
use rowmill::tables;
use rowmill_harness::{Failure, bench::Bench, spread::Spread, store::Store};
use rowmill_ingest::{StoreUrl, Writer, WriterOptions};
use tokio::runtime::Runtime;

use crate::{BODIES, LINES, take_in};

const TABLE: &str = "bulk.mail_statistics";

/// Rows of a block that is ready: as many as the collector has in one.
const BLOCK_ROWS: usize = 42_000;

/// How long the last rows may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Prints rows a second of both, and their ratio, round by round.
pub(super) fn run(bodies: &[Bytes], rounds: usize, events: usize) -> Result<(), Failure> {
    let bench = Bench::start(
        Path::new(env!("CARGO_BIN_EXE_rowmill")),
        Path::new(env!("CARGO_TARGET_TMPDIR")),
    )?;
    // Its threads are where this one is.
    let cores = bench.cores.clone();
    cores.as_server(move || turns(&bench.store, bodies, rounds, events))?
}

fn turns(store: &Store, bodies: &[Bytes], rounds: usize, events: usize) -> Result<(), Failure> {
    let runtime = Runtime::new()?;
    store.query("CREATE DATABASE bulk")?;
    let create = &tables::mail_statistics::TABLE.create;
    store.query(&create.replacen("`mail_statistics`", TABLE, 1))?;
    store.query(&format!("CREATE TABLE bulk.ready AS {TABLE}"))?;
    // Once around, so that there are rows to make blocks of.
    through_the_layer(store, &runtime, bodies, LINES * BODIES)?;
    let blocks = runtime.block_on(blocks(store))?;
    let (mut ours, mut theirs) = (Spread::default(), Spread::default());
    for _ in 0..rounds {
        let layer = through_the_layer(store, &runtime, bodies, events)?;
        let ready = runtime.block_on(ready(store, &blocks, events))?;
        println!("{layer:>10.0} rows/s through the layer, {ready:>10.0} of blocks that are ready");
        ours.push(layer);
        theirs.push(ready);
    }
    println!(
        "median: {ours:.0} and {theirs:.0} rows/s, ratio {:.2}",
        ours.to(&theirs)
    );
    Ok(())
}

/// Returns how many rows a second came into the table through the layer, the last of them included.
fn through_the_layer(store: &Store, runtime: &Runtime, bodies: &[Bytes], events: usize) -> Result<f64, Failure> {
    store.empty(TABLE)?;
    let url: StoreUrl = format!("{}/bulk", store.url()).parse()?;
    let writer = {
        let _inside = runtime.enter();
        Writer::start(&tables::SCHEMA, url.client(), &WriterOptions::default())
    };
    let started = Instant::now();
    take_in(runtime, &writer, bodies, events)?;
    let report = runtime.block_on(writer.drain(PATIENCE));
    let took = started.elapsed();
    let arrived = store.number(&format!("SELECT count() FROM {TABLE}"))?;
    if !report.is_complete() || arrived != events as u64 {
        return Err(format!("{arrived} of {events} rows arrived").into());
    }
    Ok(events as f64 / took.as_secs_f64())
}

/// Returns the table's rows as blocks of Native, and how many there are in each.
async fn blocks(store: &Store) -> Result<Vec<(usize, Bytes)>, Failure> {
    let client = Client::default()
        .with_url(store.url())
        .with_compression(Compression::None);
    let mut blocks = Vec::new();
    for start in (0..LINES * BODIES).step_by(BLOCK_ROWS) {
        let rows = BLOCK_ROWS.min(LINES * BODIES - start);
        let select =
            format!("SELECT * FROM {TABLE} ORDER BY id LIMIT {rows} OFFSET {start} SETTINGS max_block_size = {rows}");
        let block = client.query(&select).fetch_bytes("Native")?.collect().await?;
        blocks.push((rows, block));
    }
    Ok(blocks)
}

/// Returns how many rows a second ClickHouse takes of ready blocks: two at a time, so that it need not wait for the next one.
async fn ready(store: &Store, blocks: &[(usize, Bytes)], events: usize) -> Result<f64, Failure> {
    store.empty("bulk.ready")?;
    let client = Client::default()
        .with_url(store.url())
        .with_compression(Compression::Lz4)
        .with_setting("async_insert", "0")
        // The same block comes again and again.
        .with_setting("deduplicate_insert", "disable");
    let mut bodies = Vec::new();
    let mut rows = 0;
    for (count, block) in blocks.iter().cycle() {
        if rows >= events {
            break;
        }
        bodies.push(CompressedData::new(block, Compression::Lz4)?);
        rows += count;
    }
    let started = Instant::now();
    let mut bodies = bodies.into_iter();
    while let Some(first) = bodies.next() {
        let second = bodies.next();
        tokio::try_join!(insert(&client, first), async {
            match second {
                Some(second) => insert(&client, second).await,
                None => Ok(()),
            }
        })?;
    }
    Ok(rows as f64 / started.elapsed().as_secs_f64())
}

async fn insert(client: &Client, body: CompressedData) -> Result<(), Failure> {
    let mut insert = client.insert_formatted_with("INSERT INTO bulk.ready FORMAT Native");
    insert.send_compressed(body).await?;
    insert.end().await?;
    Ok(())
}
