//! The same events in each format: the CPU time from the bytes of a body to finished blocks, beside
//! that of ClickHouse for the same bytes.
//!
//! ClickHouse gets all events in one INSERT, so that the cost of a statement is not part of its
//! time, and its table has the engine Null, so that it does not store the rows.

use std::{collections::BTreeMap, io::Write, path::Path};

use bytes::Bytes;
use clickhouse::{Client, Compression};
use flate2::write::GzEncoder;
use rowmill_harness::{Failure, bench::Bench, grid::Grid, spread::Spread, store::Store};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    BODIES, Bodies, LINES, NDJSON,
    beside::{create_table, through_the_layer},
    cost_with_null_store,
};

const DATABASE: &str = "formats";

/// The number of distinct events.
const EVENTS: usize = LINES * BODIES;

/// The events in a format.
struct Format {
    name: &'static str,
    bodies: Bodies,
    /// `None` if ClickHouse is not measured with it.
    of_clickhouse: Option<OfClickHouse>,
}

/// All events in one body, and ClickHouse's name of its format.
struct OfClickHouse {
    format: &'static str,
    body: Bytes,
}

/// Returns the events of `lines` in each format.
fn formats(lines: &Bodies) -> Result<Vec<Format>, Failure> {
    let array = |body: &Bytes| {
        let lines = body.strip_suffix(b"\n").unwrap_or(body);
        let elements = lines.split(|&byte| byte == b'\n').collect::<Vec<_>>();
        Ok([&b"["[..], &elements.join(&b","[..]), b"]"].concat())
    };
    let gzip = |body: &Bytes| {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body)?;
        Ok(encoder.finish()?)
    };
    let with = |content_type, encoding, of: &dyn Fn(&Bytes) -> Result<Vec<u8>, Failure>| {
        let bodies = lines.bodies.iter().map(|body| of(body).map(Bytes::from));
        let bodies = bodies.collect::<Result<Vec<_>, _>>()?;
        Ok::<_, Failure>(Bodies {
            content_type,
            encoding,
            bodies,
        })
    };
    let all = Bytes::from(lines.bodies.concat());
    let of_clickhouse = |format, body| Some(OfClickHouse { format, body });
    Ok(vec![
        Format {
            name: "NDJSON",
            bodies: Bodies {
                bodies: lines.bodies.clone(),
                ..*lines
            },
            of_clickhouse: of_clickhouse("JSONEachRow", all.clone()),
        },
        Format {
            name: "JSON array",
            bodies: with("application/json", "identity", &array)?,
            of_clickhouse: of_clickhouse("JSONEachRow", array(&all)?.into()),
        },
        Format {
            name: "NDJSON with gzip",
            bodies: with(NDJSON, "gzip", &gzip)?,
            of_clickhouse: None,
        },
        Format {
            name: "CSV",
            bodies: with("text/csv", "identity", &csv)?,
            of_clickhouse: of_clickhouse("CSVWithNames", csv(&all)?.into()),
        },
    ])
}

/// Returns the events of a body as CSV, with the names of all fields in its first line.
fn csv(lines: &Bytes) -> Result<Vec<u8>, Failure> {
    let lines = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let events = lines.map(serde_json::from_slice::<BTreeMap<String, Value>>);
    let events = events.collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<&String> = events.iter().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut csv = names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(",") + "\n";
    for event in &events {
        let values = names.iter().map(|name| match event.get(*name) {
            None => String::new(),
            Some(Value::String(text)) => quoted(text),
            Some(other) => quoted(&other.to_string()),
        });
        csv.push_str(&values.collect::<Vec<_>>().join(","));
        csv.push('\n');
    }
    Ok(csv.into_bytes())
}

/// Returns a row for each format.
pub(super) fn run(lines: &Bodies, rounds: usize, events: usize) -> Result<Grid, Failure> {
    let bench = Bench::start(
        Path::new(env!("CARGO_BIN_EXE_rowmill")),
        Path::new(env!("CARGO_TARGET_TMPDIR")),
    )?;
    let store = &bench.store;
    create_table(store, DATABASE)?;
    store.query("CREATE TABLE formats.nothing AS formats.mail_statistics ENGINE = Null")?;
    let runtime = Runtime::new()?;
    let mut grid = Grid::new(&[
        "from the bytes of a body to finished blocks, and sent",
        "bytes/event",
        "CPU ns/event",
        "MB/s/core",
        "events/s/core",
        "ClickHouse reads the same bytes, CPU ns/event",
        "ClickHouse's CPU time : this",
    ]);
    for format in formats(lines)? {
        let bytes: usize = format.bodies.bodies.iter().map(Bytes::len).sum();
        let bytes = bytes as f64 / EVENTS as f64;
        check(store, &runtime, &format)?;
        let (mut sent, mut read) = (Spread::default(), Spread::default());
        for _ in 0..rounds {
            sent.push(cost_with_null_store(&format.bodies, events)?);
            if let Some(of_clickhouse) = &format.of_clickhouse {
                store.settle()?;
                read.push(runtime.block_on(read_by_clickhouse(store, of_clickhouse))?);
            }
        }
        let if_read = |text: String| {
            if format.of_clickhouse.is_some() {
                text
            } else {
                String::new()
            }
        };
        grid.push([
            format.name.to_owned(),
            format!("{bytes:.0}"),
            format!("{sent:.0}"),
            format!("{:.0}", bytes * 1e3 / sent.median()),
            format!("{:.0}", 1e9 / sent.median()),
            if_read(format!("{read:.0}")),
            if_read(format!("{:.2}", read.to(&sent))),
        ]);
    }
    Ok(grid)
}

/// Checks that ClickHouse reads all rows, with the same values as the layer.
fn check(store: &Store, runtime: &Runtime, format: &Format) -> Result<(), Failure> {
    let rows = || {
        store.query(
            "SELECT count(), sum(cityHash64(event, email, message_id, list_id, task_id, link_id, detailed)) \
             FROM formats.mail_statistics",
        )
    };
    through_the_layer(store, DATABASE, runtime, &format.bodies, EVENTS)?;
    let Some(of_clickhouse) = &format.of_clickhouse else {
        return Ok(());
    };
    let of_layer = rows()?;
    store.empty("formats.mail_statistics")?;
    runtime.block_on(insert(store, "formats.mail_statistics", of_clickhouse))?;
    let read = rows()?;
    if read != of_layer {
        let name = format.name;
        return Err(
            format!("{name}: the rows and their hash are {of_layer} by the layer, {read} by ClickHouse").into(),
        );
    }
    Ok(())
}

/// Returns the CPU time of ClickHouse for an event, in nanoseconds: it reads all events and discards
/// the rows.
async fn read_by_clickhouse(store: &Store, events: &OfClickHouse) -> Result<f64, Failure> {
    let before = store.processes().cpu_time()?;
    insert(store, "formats.nothing", events).await?;
    let used = store.processes().cpu_time()?.saturating_sub(before);
    Ok(used.as_nanos() as f64 / EVENTS as f64)
}

async fn insert(store: &Store, table: &str, events: &OfClickHouse) -> Result<(), Failure> {
    let client = Client::default()
        .with_url(store.url())
        .with_user(store.account().name())
        .with_password(store.account().password())
        .with_compression(Compression::None)
        .with_setting("async_insert", "0")
        .with_setting("input_format_skip_unknown_fields", "1")
        // The rows are the same in each format.
        .with_setting("deduplicate_insert", "disable");
    let mut insert = client.insert_formatted_with(format!("INSERT INTO {table} FORMAT {}", events.format));
    insert.send(events.body.clone()).await?;
    insert.end().await?;
    Ok(())
}
