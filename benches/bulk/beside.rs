//! Inserts the same rows into a real ClickHouse through the collector's layer and as ready-made
//! blocks.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clickhouse::{Client, Compression, insert_formatted::CompressedData};
use rowmill::tables;
use rowmill_harness::{Failure, bench::Bench, grid::Grid, spread::Spread, store::Store};
use rowmill_ingest::{ClickHouseUrl, Writer, WriterOptions, store::Servers};
use tokio::runtime::Runtime;

use crate::{BODIES, Bodies, LINES, send_all};

const DATABASE: &str = "bulk";

/// Rows in each ready-made block: about as many as a block of the collector has, and more.
const BLOCK_ROWS: [usize; 2] = [42_000, 100_000];

/// The time limit for the last rows to arrive.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Returns the rows per second of each way, and their ratios round by round.
pub(super) fn run(bodies: &Bodies, rounds: usize, events: usize) -> Result<Grid, Failure> {
    let bench = Bench::start(
        Path::new(env!("CARGO_BIN_EXE_rowmill")),
        Path::new(env!("CARGO_TARGET_TMPDIR")),
    )?;
    // The runtime's threads inherit the server's cores from this thread.
    let cores = bench.cores.clone();
    cores.as_server(move || run_rounds(&bench.store, bodies, rounds, events))?
}

fn run_rounds(store: &Store, bodies: &Bodies, rounds: usize, events: usize) -> Result<Grid, Failure> {
    let runtime = Runtime::new()?;
    create_table(store, DATABASE)?;
    store.query("CREATE TABLE bulk.ready AS bulk.mail_statistics")?;
    // One pass fills the table, so that the ready-made blocks can be read from it.
    through_the_layer(store, DATABASE, &runtime, bodies, LINES * BODIES)?;
    let ready = BLOCK_ROWS.map(|rows| runtime.block_on(blocks(store, rows)));
    let mut through_layer = Spread::default();
    let mut as_blocks = BLOCK_ROWS.map(|_| Spread::default());
    for _ in 0..rounds {
        through_layer.push(through_the_layer(store, DATABASE, &runtime, bodies, events)?);
        for (blocks, spread) in ready.iter().zip(&mut as_blocks) {
            let blocks = blocks.as_ref().map_err(ToString::to_string)?;
            spread.push(runtime.block_on(insert_all(store, blocks, events))?);
        }
    }
    let mut grid = Grid::new(&["into ClickHouse", "rows/s", "the layer's rows/s : these"]);
    grid.push([
        "through the layer".to_owned(),
        format!("{through_layer:.0}"),
        String::new(),
    ]);
    for (rows, spread) in BLOCK_ROWS.iter().zip(&as_blocks) {
        grid.push([
            format!("blocks of {rows} rows that are ready, two at a time"),
            format!("{spread:.0}"),
            format!("{:.2}", through_layer.to(spread)),
        ]);
    }
    Ok(grid)
}

/// Creates a database with the table of the events.
pub(super) fn create_table(store: &Store, database: &str) -> Result<(), Failure> {
    store.query(&format!("CREATE DATABASE {database}"))?;
    let create = &tables::mail_statistics::TABLE.create;
    let table = format!("{database}.mail_statistics");
    store.query(&create.replacen("`mail_statistics`", &table, 1))?;
    Ok(())
}

/// Inserts events through the layer and returns the rows per second until the last one is stored.
pub(super) fn through_the_layer(
    store: &Store,
    database: &str,
    runtime: &Runtime,
    bodies: &Bodies,
    events: usize,
) -> Result<f64, Failure> {
    let table = format!("{database}.mail_statistics");
    store.empty(&table)?;
    let url: ClickHouseUrl = format!("{}/{database}", store.collector_url()).parse()?;
    let writer = {
        let _inside = runtime.enter();
        Writer::start(
            &tables::SCHEMA,
            Servers::without_sync(url.clone()),
            &WriterOptions::default(),
        )
    };
    let started = Instant::now();
    send_all(runtime, &writer, bodies, events)?;
    let report = runtime.block_on(writer.drain(TIMEOUT));
    let took = started.elapsed();
    let arrived = store.number(&format!("SELECT count() FROM {table}"))?;
    if !report.is_complete() || arrived != events as u64 {
        return Err(format!("{arrived} of {events} rows arrived").into());
    }
    Ok(events as f64 / took.as_secs_f64())
}

/// Returns the table's rows as Native blocks, each with its number of rows.
async fn blocks(store: &Store, block_rows: usize) -> Result<Vec<(usize, Bytes)>, Failure> {
    let client = Client::default()
        .with_url(store.url())
        .with_user(store.account().name())
        .with_password(store.account().password())
        .with_compression(Compression::None);
    let mut blocks = Vec::new();
    for start in (0..LINES * BODIES).step_by(block_rows) {
        let rows = block_rows.min(LINES * BODIES - start);
        let select = format!(
            "SELECT * FROM {DATABASE}.mail_statistics ORDER BY id LIMIT {rows} OFFSET {start} SETTINGS max_block_size = {rows}"
        );
        let block = client.query(&select).fetch_bytes("Native")?.collect().await?;
        blocks.push((rows, block));
    }
    Ok(blocks)
}

/// Returns the rows per second at which ClickHouse inserts ready-made blocks. Two inserts run at a
/// time, so that ClickHouse never waits for the next block.
async fn insert_all(store: &Store, blocks: &[(usize, Bytes)], events: usize) -> Result<f64, Failure> {
    store.empty("bulk.ready")?;
    let client = Client::default()
        .with_url(store.url())
        .with_user(store.account().name())
        .with_password(store.account().password())
        .with_compression(Compression::Lz4)
        .with_setting("async_insert", "0")
        // The same blocks are inserted repeatedly.
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
