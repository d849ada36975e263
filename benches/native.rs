//! The cost of row and column formats in the collector and in ClickHouse:
//! `cargo bench --bench native`, or `… -- --short`.
//!
//! For the seed's example in blocks of 10 000 and 100 000 rows, and for the widest standard table
//! in blocks of 10 000 and 50 000, the bench measures the time to turn rows into columns, the time
//! to compress each format, the bytes on the wire, and ClickHouse's CPU time for an INSERT of each
//! format, in turn. Both tables must have the same content in the end.

#![allow(clippy::print_stdout, reason = "the bench prints its figures")]

use std::{borrow::Cow, hint::black_box, path::Path, process::ExitCode, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Parser;
use clickhouse::{Client, Compression, insert_formatted::CompressedData};
use nix::time::{ClockId, clock_gettime};
use rowmill::tables;
use rowmill_harness::{
    Failure,
    bench::Bench,
    events::{Kind, Requests},
    grid::Grid,
    page::{machine, write_section},
    spread::Spread,
    store::Store,
};
use rowmill_ingest::{
    __rt::{PresentColumns, columns_of},
    row::Row,
    table::{Format, Table},
    value::Date,
};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Bytes before the compressed data: checksum, method, two lengths.
const FRAME_HEADER: usize = 25;

/// Measures rows and columns.
#[derive(Debug, Parser)]
struct Options {
    /// Number of rounds; each inserts everything once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Rows per measurement.
    #[arg(long, default_value_t = 200_000)]
    rows: usize,

    /// A first look: 3 rounds of 100 000 rows.
    #[arg(long)]
    short: bool,

    /// Write the figures into docs/performance.md.
    #[arg(long)]
    write: bool,

    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Rows in the form in which a block has them.
struct Rows {
    bytes: Bytes,
    ends: Arc<[u32]>,
}

/// Rows under construction.
#[derive(Default)]
struct RowsBuilder {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

/// One format of a block, with its figures.
struct Body {
    format: &'static str,
    bytes: Bytes,
    compressing: Spread,
    inserting: Spread,
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.short {
        (options.rounds, options.rows) = (3, 100_000);
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let bench = Bench::start(
        Path::new(env!("CARGO_BIN_EXE_rowmill")),
        Path::new(env!("CARGO_TARGET_TMPDIR")),
    )?;
    let runtime = Runtime::new()?;
    let mut grid = Grid::new(&[
        "table, rows a block",
        "format",
        "bytes a row",
        "to columns, CPU ns a row",
        "LZ4, CPU ns a row",
        "on the wire, bytes a row",
        "ClickHouse, CPU ns a row",
    ]);
    for (table, rows) in [
        (&tables::mail_statistics::TABLE, 10_000),
        (&tables::mail_statistics::TABLE, 100_000),
        (&tables::events::TABLE, 10_000),
        (&tables::events::TABLE, 50_000),
    ] {
        measure(&bench.store, &runtime, options, table, rows, &mut grid)?;
    }
    let report = format!(
        "{}. {} rounds of {} rows; ± is half the distance between the extreme rounds.\n\n{grid}\nBoth tables were the same in the end.\n",
        machine(),
        options.rounds,
        options.rows
    );
    println!("{report}");
    if options.write {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");
        write_section(page.as_ref(), "native", &report)?;
    }
    Ok(())
}

fn measure(
    store: &Store,
    runtime: &Runtime,
    options: &Options,
    table: &'static Table,
    count: usize,
    grid: &mut Grid,
) -> Result<(), Failure> {
    let rows = if table.name == "events" {
        page_views(count)
    } else {
        mails(count)?
    };
    let mut transposing = Spread::default();
    let mut bodies = [(table.format, None), (Format::RowBinary, Some("Native"))].map(|(format, native)| Body {
        format: native.unwrap_or(format.name()),
        bytes: if native.is_some() {
            columns(table, &rows).into()
        } else {
            rows.bytes.clone()
        },
        compressing: Spread::default(),
        inserting: Spread::default(),
    });
    store.query("CREATE DATABASE IF NOT EXISTS native")?;
    let client = Client::default()
        .with_url(store.url())
        .with_user(store.account().name())
        .with_password(store.account().password())
        .with_database("native")
        .with_compression(Compression::Lz4)
        .with_setting("async_insert", "0")
        // The same block is inserted repeatedly.
        .with_setting("deduplicate_insert", "disable");
    for body in &bodies {
        let name = table_of(body);
        store.query(&format!("DROP TABLE IF EXISTS native.{name} SYNC"))?;
        let create = table
            .create
            .replacen(&format!("`{}`", table.name), &format!("native.{name}"), 1);
        store.query(&create)?;
        // The engine's users may not stop merges; with a maximum size of one byte, ClickHouse
        // merges no parts.
        store.query(&format!(
            "ALTER TABLE native.{name} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1"
        ))?;
    }
    let names: Vec<_> = table
        .columns
        .iter()
        .map(|column| format!("`{}`", column.name))
        .collect();
    let mut wire = [0; 2];
    for round in 0..options.rounds {
        let started = own_cpu_time()?;
        black_box(columns(table, &rows));
        transposing.push(per_row(own_cpu_time()? - started, count));
        // The formats alternate, so that neither is always the first.
        for index in [round % 2, 1 - round % 2] {
            let body = &mut bodies[index];
            let started = own_cpu_time()?;
            wire[index] = FRAME_HEADER + black_box(lz4_flex::block::compress(&body.bytes)).len();
            body.compressing.push(per_row(own_cpu_time()? - started, count));
            let statement = format!(
                "INSERT INTO {} ({}) FORMAT {}",
                table_of(body),
                names.join(", "),
                body.format
            );
            let inserts = (options.rows / count).max(1);
            let before = store.processes().cpu_time()?;
            for _ in 0..inserts {
                runtime.block_on(insert(&client, &statement, &body.bytes))?;
            }
            let used = store.processes().cpu_time()?.saturating_sub(before);
            body.inserting.push(per_row(used, inserts * count));
        }
    }
    let [a, b] = bodies.each_ref().map(table_of);
    let contents = [a, b].map(|name| store.query(&format!("SELECT count(), sum(cityHash64(*)) FROM native.{name}")));
    let [a, b] = contents;
    let (a, b) = (a?, b?);
    if a != b {
        return Err(format!("{}: the tables differ: {a}, {b}", table.name).into());
    }
    let per_row = |bytes: usize| format!("{:.1}", bytes as f64 / count as f64);
    for (body, wire) in bodies.iter().zip(wire) {
        let is_native = body.format == "Native";
        grid.push([
            format!("{}, {count}", table.name),
            body.format.to_owned(),
            per_row(body.bytes.len()),
            if is_native {
                format!("{transposing:.0}")
            } else {
                String::new()
            },
            format!("{:.0}", body.compressing),
            per_row(wire),
            format!("{:.0}", body.inserting),
        ]);
    }
    Ok(())
}

fn table_of(body: &Body) -> String {
    format!("t_{}", body.format)
}

/// Returns the CPU time of this thread, which excludes other work on its core.
fn own_cpu_time() -> Result<Duration, Failure> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn per_row(time: Duration, rows: usize) -> f64 {
    time.as_nanos() as f64 / rows as f64
}

fn columns(table: &'static Table, rows: &Rows) -> Vec<u8> {
    columns_of(table, rows.bytes.clone(), Arc::clone(&rows.ends)).unwrap_or_default()
}

async fn insert(client: &Client, statement: &str, bytes: &[u8]) -> Result<(), Failure> {
    let mut insert = client.insert_formatted_with(statement);
    insert
        .send_compressed(CompressedData::new(bytes, Compression::Lz4)?)
        .await?;
    insert.end().await?;
    Ok(())
}

/// Returns rows of the seed's example, from distinct events.
fn mails(count: usize) -> Result<Rows, Failure> {
    let requests = Requests::generate(Kind::Webhook, count)?;
    let mut request = Vec::new();
    let mut rows = RowsBuilder::default();
    for index in 0..count {
        requests.write(index as u64, &mut request);
        let (_, body) = str::from_utf8(&request)?
            .split_once("\r\n\r\n")
            .ok_or("a head without an end")?;
        let event: Value = serde_json::from_str(body)?;
        let text = |name: &str| Cow::Owned(event[name].as_str().unwrap_or_default().to_owned());
        let millis = event_millis(index);
        rows.push(&tables::MailStatistics {
            id: mixed(index, 0),
            uid: mixed(index, 1),
            date: Date((millis / 86_400_000) as u16),
            timestamp: millis,
            channel: Cow::Borrowed("webhook"),
            name: Cow::Borrowed("mail"),
            service: Cow::Borrowed("wh"),
            td_ip: Cow::Owned(format!("203.0.113.{}", mixed(index, 2) % 200)),
            td_ua: Cow::Borrowed("mailer/2.4"),
            td_fpid: mixed(index, 3),
            event: text("event"),
            email: text("email"),
            message_id: text("message_id"),
            list_id: text("list_id"),
            task_id: text("task_id"),
            detailed: text("detailed"),
            ..Default::default()
        });
    }
    Ok(rows.into())
}

/// Returns rows of page views, which fill about forty columns.
fn page_views(count: usize) -> Rows {
    let mut rows = RowsBuilder::default();
    for index in 0..count {
        let millis = event_millis(index);
        let of =
            |texts: &[&'static str], salt| Cow::Borrowed(texts[(mixed(index, salt) % texts.len() as u64) as usize]);
        let number = |below: u64, salt| (mixed(index, salt) % below) as i16;
        rows.push(&tables::Events {
            id: mixed(index, 0),
            uid: mixed(index, 1),
            date: Date((millis / 86_400_000) as u16),
            timestamp: millis,
            channel: Cow::Borrowed("track"),
            name: Cow::Borrowed("page"),
            service: Cow::Borrowed("track"),
            td_ip: Cow::Owned(format!("203.0.113.{}", mixed(index, 2) % 200)),
            td_ua: of(
                &[
                    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                    "Mozilla/5.0 (iPhone)",
                ],
                3,
            ),
            td_fpid: mixed(index, 4),
            page_url: Cow::Owned(format!(
                "https://shop.example/goods/{}?utm_source=mail",
                mixed(index, 5) % 10_000
            )),
            page_ref: of(&["https://search.example/", "https://mail.example/inbox", ""], 6),
            page_title: Cow::Owned(format!("Shoes, model {}", mixed(index, 7) % 10_000)),
            page_domain: Cow::Borrowed("shop.example"),
            page_scheme: Cow::Borrowed("https"),
            page_query_utm_source: of(&["mail", "ads", ""], 8),
            page_query_utm_campaign: of(&["autumn", "winter", ""], 9),
            sess_type: of(&["campaign", "organic", "direct"], 10),
            sess_engine: of(&["google", "yandex", ""], 11),
            sess_start: millis - mixed(index, 12) % 1_000_000,
            browser_w: 1000 + number(1000, 13),
            browser_h: 600 + number(600, 14),
            browser_aw: 1000 + number(1000, 15),
            browser_ah: 600 + number(600, 16),
            browser_sot: of(&["landscape-primary", "portrait-primary"], 17),
            browser_plt: of(&["Linux x86_64", "Win32", "iPhone"], 18),
            browser_prd: Cow::Borrowed("Gecko"),
            user_tz: of(&["Europe/Berlin", "Europe/Moscow", "Asia/Tokyo"], 19),
            user_ts: millis,
            user_tzo: -60,
            user_gaId: Cow::Owned(format!("GA1.2.{}", mixed(index, 20) >> 32)),
            perf_cs: number(10, 21),
            perf_dl: number(100, 22),
            perf_dc: number(1000, 23),
            perf_di: number(1000, 24),
            perf_rqs: number(10, 25),
            perf_rss: number(100, 26),
            ..Default::default()
        });
    }
    rows.into()
}

impl From<RowsBuilder> for Rows {
    fn from(builder: RowsBuilder) -> Self {
        Self {
            bytes: builder.bytes.into(),
            ends: builder.ends.into(),
        }
    }
}

impl RowsBuilder {
    fn push<'a>(&mut self, row: &impl Row<'a>) {
        row.encode(&PresentColumns::default(), &mut self.bytes);
        self.ends.push(self.bytes.len() as u32);
    }
}

/// Returns a time in milliseconds; twenty consecutive events share one.
fn event_millis(index: usize) -> u64 {
    1_795_492_727_283 + index as u64 / 20
}

/// Mixes the bits of a number, so that consecutive numbers give unrelated results.
fn mixed(number: usize, salt: u64) -> u64 {
    let number = (number as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(salt << 32);
    let mixed = (number ^ (number >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb)
}
