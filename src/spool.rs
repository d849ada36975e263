//! `rowmill spool`: lists, verifies, replays, exports and hands over the rows that wait on disk, or in
//! a shared log.

use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rowmill_ingest::{
    ClickHouseUrl, Writer, WriterOptions,
    schema::{missing_tables, sync},
    spool::{BlockReport, SpoolReport, inspect},
    store::Servers,
    table::Schema,
    writer::hand_over_folder,
};
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    cli::{ExportOptions, ReplayOptions, SecretOptions, SpoolCommand, SpoolOptions},
    database::Database,
    log_spool,
    serve::spool_folder,
};

/// A duration of a replay that stands for no limit.
pub(crate) const NO_LIMIT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The time between two attempts to reach a ClickHouse that is unavailable.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) fn spool(command: SpoolCommand, schema: &'static Schema) -> Result<(), Box<dyn Error>> {
    match command {
        SpoolCommand::List(options) => match options.log.log.url()? {
            Some(log) => log_spool::list(&log, &options.log, schema),
            None => list(&options.spool),
        },
        SpoolCommand::Verify(options) => match options.log.log.url()? {
            Some(log) => log_spool::verify(&log, &options.log, schema),
            None => verify(&options.spool),
        },
        SpoolCommand::Replay(options) => match options.log.url()? {
            Some(log) => log_spool::replay(&log, &options, schema),
            None => replay(&options, schema),
        },
        SpoolCommand::Export(options) => match options.log.log.url()? {
            Some(log) => log_spool::export(&log, &options, schema),
            None => export(&options),
        },
        SpoolCommand::Send(options) => {
            let data = &options.spool.data;
            hand_over(data, &options.url, &options.secret, options.within, schema)
        }
        SpoolCommand::Adopt(options) => {
            hand_over(&options.folder, &options.to, &options.secret, options.within, schema)
        }
    }
}

/// Inspects the spool of a data folder. A missing spool is an error: the folder is probably the
/// wrong one.
fn inspect_spool(options: &SpoolOptions) -> Result<SpoolReport, Box<dyn Error>> {
    Ok(inspect(&existing_spool(&options.data)?)?)
}

/// Returns the folder of the spool in a data folder.
fn existing_spool(data: &Path) -> Result<PathBuf, String> {
    let folder = spool_folder(data);
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(format!(
            "{}: there is no spool; name the data directory of `rowmill serve`",
            folder.display()
        )),
    }
}

fn list(options: &SpoolOptions) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let report = inspect_spool(options)?;
    let width = report
        .blocks
        .iter()
        .map(|block| block.table.len())
        .max()
        .unwrap_or(0)
        .max(5);
    if !report.blocks.is_empty() {
        writeln!(
            out,
            "{:width$}  {:36}  {:>9}  {:>12}  {:>8}  parts",
            "table", "block", "rows", "bytes", "age"
        )?;
    }
    for block in &report.blocks {
        let age = age(block.opened);
        writeln!(
            out,
            "{:width$}  {:36}  {:>9}  {:>12}  {age:>8}  {}",
            block.table,
            block.id,
            block.rows,
            block.bytes,
            block.parts.len()
        )?;
    }
    print_summary(&report, &mut out)?;
    Ok(())
}

fn verify(options: &SpoolOptions) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let report = inspect_spool(options)?;
    print_summary(&report, &mut out)?;
    let missing: u64 = report.blocks.iter().map(|block| block.rows_missing).sum();
    if report.damaged_bytes > 0 || missing > 0 || !report.quarantined.is_empty() {
        return Err(format!(
            "{} bytes are damaged, {missing} rows cannot be read, {} damaged segments are kept as *.damaged",
            report.damaged_bytes,
            report.quarantined.len()
        )
        .into());
    }
    if report.torn_bytes > 0 {
        return Err(format!(
            "{} bytes at the end of a segment are incomplete: a crash interrupted the last write, or the file lost its end",
            report.torn_bytes
        )
        .into());
    }
    writeln!(out, "all checksums are correct")?;
    Ok(())
}

fn print_summary(report: &SpoolReport, out: &mut impl Write) -> io::Result<()> {
    let rows: u64 = report.blocks.iter().map(|block| block.rows).sum();
    writeln!(
        out,
        "{rows} rows wait in {} blocks; {} segments, {} bytes",
        report.blocks.len(),
        report.segments,
        report.bytes
    )?;
    for block in &report.blocks {
        if block.rows_missing > 0 {
            writeln!(
                out,
                "{} {}: {} rows cannot be read",
                block.table, block.id, block.rows_missing
            )?;
        }
    }
    let open: Vec<_> = report.blocks.iter().filter(|block| block.is_open).collect();
    if !open.is_empty() {
        let rows: u64 = open.iter().map(|block| block.rows).sum();
        writeln!(
            out,
            "{rows} of the rows are in {} blocks that were still open when the process ended",
            open.len()
        )?;
    }
    if report.torn_bytes > 0 {
        writeln!(
            out,
            "{} bytes at the end of a segment are incomplete; `serve` removes them",
            report.torn_bytes
        )?;
    }
    if let Some(archive) = &report.archive {
        writeln!(
            out,
            "{} segments, {} bytes are kept for the archive; only the archive needs {} of the bytes",
            archive.segments, archive.bytes, archive.only_bytes
        )?;
    }
    if let Some(topics) = &report.topics {
        writeln!(
            out,
            "{} segments, {} bytes are kept for the topics; ClickHouse has {} of the bytes",
            topics.segments, topics.bytes, topics.only_bytes
        )?;
    }
    for path in &report.quarantined {
        writeln!(out, "damaged: {}", path.display())?;
    }
    Ok(())
}

fn replay(options: &ReplayOptions, schema: &'static Schema) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let waiting = inspect_spool(&options.spool)?;
    print_summary(&waiting, &mut out)?;
    let database = Database::open(&options.database, &options.spool.data, schema)?;
    let store = database.url().clone();
    let folder = spool_folder(&options.spool.data);
    let writer_options = WriterOptions {
        column_changes: options.columns.changes(),
        ..WriterOptions::default()
    };
    let report = Runtime::new()?.block_on(async {
        let now = Instant::now();
        let deadline = now.checked_add(options.within).unwrap_or(now + NO_LIMIT);
        let tables = waiting.blocks.iter().map(|block| &*block.table).collect();
        prepare_tables(&store, schema, &tables, options.create_tables, deadline).await?;
        let writer = Writer::open(schema, Servers::without_sync(store), &writer_options, &folder)?;
        Ok::<_, Box<dyn Error>>(writer.drain_until(sleep_until(deadline)).await)
    })?;
    if report.is_complete() {
        writeln!(out, "all rows are in ClickHouse")?;
        return Ok(());
    }
    for counts in &report.left {
        writeln!(out, "{}: {} rows are left", counts.table, counts.rows_pending)?;
    }
    Err(format!("{} rows are still in the spool", report.rows_left()).into())
}

/// Checks that the database has the tables of waiting rows, and first creates the schema's tables if
/// `create` is set. Waits until `deadline` for a ClickHouse that is unavailable.
///
/// # Errors
/// A table is missing, or ClickHouse is unavailable or refuses the user.
pub(crate) async fn prepare_tables(
    store: &ClickHouseUrl,
    schema: &Schema,
    tables: &BTreeSet<&str>,
    create: bool,
    deadline: Instant,
) -> Result<(), Box<dyn Error>> {
    let missing = loop {
        let created = if create {
            sync(store, schema).await.map(drop)
        } else {
            Ok(())
        };
        let missing = match created {
            Ok(()) => missing_tables(store, tables.iter().copied()).await,
            Err(error) => Err(error),
        };
        match missing {
            Err(error) if error.is_transient() && Instant::now() < deadline => sleep(RETRY_INTERVAL).await,
            found => break found?,
        }
    };
    if missing.is_empty() {
        return Ok(());
    }
    let remedy = if create {
        "the schema does not have them either; create them, or export the rows with `rowmill spool export`"
    } else {
        "create them with `rowmill apply`, or repeat the replay with --create-tables"
    };
    Err(format!(
        "{store} lacks the tables of waiting rows: {}; {remedy}",
        missing.join(", ")
    )
    .into())
}

/// Hands the rows in a data folder to another collector.
///
/// # Errors
/// A collector uses the folder, or rows stay in it.
fn hand_over(
    data: &Path,
    url: &str,
    secret: &SecretOptions,
    within: Duration,
    schema: &'static Schema,
) -> Result<(), Box<dyn Error>> {
    let folder = existing_spool(data)?;
    let target = secret.target(url)?;
    let report = Runtime::new()?.block_on(async {
        let give_up = sleep(within.min(NO_LIMIT));
        hand_over_folder(schema, &folder, &target, give_up).await
    })?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} rows in {} blocks are on the disk of {target}; it had {} of the blocks before",
        report.rows, report.blocks, report.blocks_known
    )?;
    if report.rows_lost > 0 {
        writeln!(out, "{} rows were damaged on this disk and are lost", report.rows_lost)?;
    }
    if report.is_complete() {
        writeln!(out, "the spool is empty")?;
        return Ok(());
    }
    for reason in &report.reasons {
        writeln!(out, "{reason}")?;
    }
    Err(format!(
        "{} rows are still in the spool; repeat the command to hand them over",
        report.rows_left
    )
    .into())
}

fn export(options: &ExportOptions) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let report = inspect_spool(&options.spool)?;
    let folder = spool_folder(&options.spool.data);
    fs::create_dir_all(&options.to)?;
    let is_selected = |block: &&BlockReport| options.table.as_ref().is_none_or(|table| *table == block.table);
    let mut files = 0;
    for block in report.blocks.iter().filter(is_selected) {
        files += export_block(block, &folder, &options.to)?;
    }
    writeln!(
        out,
        "{files} files of rows in {}, each with a file of its request",
        options.to.display()
    )?;
    Ok(())
}

/// Writes each part of a block as the body of an INSERT, and the statement and token beside it.
fn export_block(block: &BlockReport, folder: &Path, to: &Path) -> Result<usize, Box<dyn Error>> {
    for part in &block.parts {
        let rows = block.read(folder, part)?;
        let name = format!("{}-{}-{}", as_file_name(&block.table), block.id, part.first);
        fs::write(to.join(format!("{name}.rows")), rows)?;
        let request = format!("{}\n-- insert_deduplication_token = {}\n", block.statement, part.token);
        fs::write(to.join(format!("{name}.sql")), request)?;
    }
    Ok(block.parts.len())
}

/// Returns the name of a table, which may be invalid as a file name, with only letters, digits, `_` and
/// `-`.
pub(crate) fn as_file_name(table: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || c == '_' { c } else { '-' };
    table.chars().map(safe).collect()
}

pub(crate) fn age(opened: SystemTime) -> String {
    let seconds = SystemTime::now()
        .duration_since(opened)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
