//! The same events in each format: the CPU time from the bytes of a body to finished blocks, beside
//! that of ClickHouse for the same bytes.

use std::{collections::BTreeMap, io::Write, path::Path};

use bytes::Bytes;
use clickhouse::{Client, Compression};
use flate2::write::GzEncoder;
use rowmill::tables;
use rowmill_harness::{Failure, bench::Bench, grid::Grid, spread::Spread, store::Store};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{BODIES, Bodies, LINES, NDJSON, measure_with_null_store};

/// A format, and how ClickHouse calls it.
struct Format {
    name: &'static str,
    bodies: Bodies,
    /// `None` if ClickHouse is not measured with it.
    of_clickhouse: Option<&'static str>,
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
    let of_lines = Bodies {
        bodies: lines.bodies.clone(),
        ..*lines
    };
    let array = with("application/json", "identity", &array)?;
    let gzip = with(NDJSON, "gzip", &gzip)?;
    let csv = with("text/csv", "identity", &csv)?;
    Ok([
        ("NDJSON", of_lines, Some("JSONEachRow")),
        ("JSON array", array, Some("JSONEachRow")),
        ("NDJSON with gzip", gzip, None),
        ("CSV", csv, Some("CSVWithNames")),
    ]
    .map(|(name, bodies, of_clickhouse)| Format {
        name,
        bodies,
        of_clickhouse,
    })
    .into())
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
    store.query("CREATE DATABASE formats")?;
    let create = &tables::mail_statistics::TABLE.create;
    store.query(&create.replacen("`mail_statistics`", "formats.mail_statistics", 1))?;
    store.query("CREATE TABLE formats.nothing AS formats.mail_statistics ENGINE = Null")?;
    let runtime = Runtime::new()?;
    let mut grid = Grid::new(&[
        "from the bytes of a body to finished blocks",
        "MB/s/core",
        "events/s/core",
        "ClickHouse from the same bytes to blocks, events/s/core",
        "of ClickHouse's",
    ]);
    for format in formats(lines)? {
        let bytes: usize = format.bodies.bodies.iter().map(Bytes::len).sum();
        let ns = measure_with_null_store(&format.bodies, rounds, events)?.sent;
        let per_second = 1e9 / ns.median();
        let of_clickhouse = match format.of_clickhouse {
            None => None,
            Some(name) => {
                let mut spread = Spread::default();
                for _ in 0..rounds {
                    spread.push(runtime.block_on(read_by_clickhouse(store, name, &format.bodies.bodies))?);
                }
                Some(spread)
            }
        };
        let beside = of_clickhouse.as_ref().map(|spread| 1e9 / spread.median());
        grid.push([
            format.name.to_owned(),
            format!("{:.0}", per_second * bytes as f64 / (LINES * BODIES) as f64 / 1e6),
            format!("{per_second:.0}"),
            beside.map_or_else(String::new, |beside| format!("{beside:.0}")),
            beside.map_or_else(String::new, |beside| format!("{:.2}", per_second / beside)),
        ]);
    }
    Ok(grid)
}

/// Returns the CPU time of ClickHouse for an event, in nanoseconds: it reads all bodies and discards
/// the rows.
async fn read_by_clickhouse(store: &Store, format: &str, bodies: &[Bytes]) -> Result<f64, Failure> {
    let client = Client::default()
        .with_url(store.url())
        .with_user(store.account().name())
        .with_password(store.account().password())
        .with_compression(Compression::None)
        .with_setting("async_insert", "0")
        .with_setting("input_format_skip_unknown_fields", "1")
        .with_setting("date_time_input_format", "best_effort");
    let before = store.processes().cpu_time()?;
    for body in bodies {
        let mut insert = client.insert_formatted_with(format!("INSERT INTO formats.nothing FORMAT {format}"));
        insert.send(body.clone()).await?;
        insert.end().await?;
    }
    let used = store.processes().cpu_time()?.saturating_sub(before);
    Ok(used.as_nanos() as f64 / (LINES * BODIES) as f64)
}
