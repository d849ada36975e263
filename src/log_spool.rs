//! `rowmill spool --log`: lists, verifies, replays and exports the rows of a shared log that are not
//! stored yet.

use std::{
    error::Error,
    fs,
    io::{self, Write},
    path::Path,
};

use rowmill_ingest::{
    Writer, WriterOptions,
    log::{LogEnds, LogReport, LogRows, LogUrl, PartitionReport, inspect_log},
    store::Servers,
    table::Schema,
};
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    cli::{ExportOptions, LogInspectOptions, ReplayOptions},
    database::Database,
    spool::{NO_LIMIT, RETRY_INTERVAL, age, as_file_name, prepare_tables},
};

/// Reads the rows that wait, and gives them to `take`.
fn inspect(
    log: &LogUrl,
    options: &LogInspectOptions,
    schema: &Schema,
    take: impl FnMut(LogRows<'_>) -> io::Result<()>,
) -> Result<LogReport, Box<dyn Error>> {
    let database = options.database()?;
    Ok(Runtime::new()?.block_on(inspect_log(log, schema, database.as_ref(), take))?)
}

pub(crate) fn list(log: &LogUrl, options: &LogInspectOptions, schema: &Schema) -> Result<(), Box<dyn Error>> {
    let report = inspect(log, options, schema, |_| Ok(()))?;
    let mut out = io::stdout().lock();
    let waiting: Vec<_> = report.partitions.iter().filter(|found| found.records > 0).collect();
    let width = waiting.iter().map(|found| found.table.len()).max().unwrap_or(0).max(5);
    if !waiting.is_empty() {
        writeln!(
            out,
            "{:width$}  {:>9}  {:>9}  {:>9}  {:>12}  {:>8}  offsets",
            "table", "partition", "records", "rows", "bytes", "age"
        )?;
    }
    for found in waiting {
        let age = found.oldest.map(age).unwrap_or_default();
        writeln!(
            out,
            "{:width$}  {:>9}  {:>9}  {:>9}  {:>12}  {age:>8}  {}..{}",
            found.table,
            found.partition,
            found.records,
            found.rows,
            found.bytes,
            found.position.unwrap_or(found.first).max(found.first),
            found.end
        )?;
    }
    print_summary(&report, log, &mut out)?;
    Ok(())
}

pub(crate) fn verify(log: &LogUrl, options: &LogInspectOptions, schema: &Schema) -> Result<(), Box<dyn Error>> {
    let report = inspect(log, options, schema, |_| Ok(()))?;
    let mut out = io::stdout().lock();
    print_summary(&report, log, &mut out)?;
    let sum = |count: fn(&PartitionReport) -> u64| report.partitions.iter().map(count).sum::<u64>();
    let (damaged, later, removed) = (
        sum(|found| found.damaged),
        sum(|found| found.later),
        sum(|found| found.removed),
    );
    let cut_off = report.partitions.iter().filter(|found| found.is_cut_off()).count();
    if damaged + later + removed > 0 || cut_off > 0 {
        return Err(format!(
            "{damaged} records are damaged or no rows of their table, {later} have a later format, {removed} were removed \
             before their rows were stored, {cut_off} partitions end before the rows that are stored"
        )
        .into());
    }
    writeln!(out, "all checksums are correct")?;
    Ok(())
}

fn print_summary(report: &LogReport, log: &LogUrl, out: &mut impl Write) -> io::Result<()> {
    let sum = |count: fn(&PartitionReport) -> u64| report.partitions.iter().map(count).sum::<u64>();
    writeln!(
        out,
        "{} rows wait in {} records of {log}; {} partitions, {} bytes",
        sum(|found| found.rows),
        sum(|found| found.records),
        report.partitions.len(),
        sum(|found| found.bytes)
    )?;
    let copies = sum(|found| found.copies);
    if copies > 0 {
        writeln!(out, "{copies} records are copies, which deliveries leave out")?;
    }
    if report.partitions.iter().all(|found| found.position.is_none()) {
        writeln!(
            out,
            "no position of a delivery is known, so rows that are stored count, too; --clickhouse names the database that \
             has them"
        )?;
    }
    for found in &report.partitions {
        let problems = [
            (found.damaged, "records are damaged or no rows of this table"),
            (found.later, "records have the format of a later version"),
            (found.removed, "records were removed before their rows were stored"),
        ];
        for (count, problem) in problems.iter().filter(|(count, _)| *count > 0) {
            writeln!(out, "{} {}: {count} {problem}", found.topic, found.partition)?;
        }
        if found.is_cut_off() {
            writeln!(
                out,
                "{} {}: the partition ends at {}, before the position of the rows that are stored",
                found.topic, found.partition, found.end
            )?;
        }
    }
    Ok(())
}

/// Delivers the rows that the log has now, beside the deliveries that run.
pub(crate) fn replay(log: &LogUrl, options: &ReplayOptions, schema: &'static Schema) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let database = Database::open(&options.database, &options.spool.data, schema)?;
    let store = database.url().clone();
    let bounds = WriterOptions {
        column_changes: options.columns.changes(),
        ..WriterOptions::default()
    };
    let left = Runtime::new()?.block_on(async {
        let now = Instant::now();
        let deadline = now.checked_add(options.within).unwrap_or(now + NO_LIMIT);
        let ends = LogEnds::now(log, schema).await?;
        let tables = ends.tables().collect();
        prepare_tables(&store, schema, &tables, options.create_tables, deadline).await?;
        let mut left = ends.records_left(&store).await?;
        writeln!(out, "{left} records wait in {log}")?;
        let servers = Servers::without_sync(store.clone());
        let writer = Writer::deliver_log(schema, servers, &bounds, log, options.topics.topics());
        while left > 0 && Instant::now() < deadline {
            sleep(RETRY_INTERVAL).await;
            // A ClickHouse that is away is asked again; the delivery has logged the reason.
            left = ends.records_left(&store).await.unwrap_or(left);
        }
        writer.drain_until(sleep_until(deadline)).await;
        Ok::<_, Box<dyn Error>>(ends.records_left(&store).await.unwrap_or(left))
    })?;
    if left > 0 {
        return Err(format!("{left} records are still in the shared log").into());
    }
    writeln!(out, "all rows are in ClickHouse")?;
    Ok(())
}

pub(crate) fn export(log: &LogUrl, options: &ExportOptions, schema: &Schema) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(&options.to)?;
    let mut files = 0;
    inspect(log, &options.log, schema, |rows| {
        if options.table.as_ref().is_none_or(|table| *table == *rows.table) {
            export_rows(&rows, &options.to)?;
            files += 1;
        }
        Ok(())
    })?;
    writeln!(
        io::stdout(),
        "{files} files of rows in {}, each with a file of its request",
        options.to.display()
    )?;
    Ok(())
}

/// Writes rows as the body of an INSERT, and the statement beside it. They have no token: the blocks
/// of the deliveries are others.
fn export_rows(rows: &LogRows<'_>, to: &Path) -> io::Result<()> {
    let LogRows {
        table,
        partition,
        first,
        last,
        ..
    } = rows;
    let name = format!("{}-{partition}-{first}-{last}", as_file_name(table));
    fs::write(to.join(format!("{name}.rows")), rows.rows)?;
    let request = format!(
        "{}\n-- records {first} to {last} of partition {partition}\n",
        rows.statement
    );
    fs::write(to.join(format!("{name}.sql")), request)
}
