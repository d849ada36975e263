//! The smaller commands: `engine`, `plan`, `apply` and `routes`.

use std::{
    error::Error,
    io::{self, Write},
};

use rowmill::tables;
use rowmill_engine::{RunOptions, Tie};
use rowmill_ingest::{
    ClickHouseUrl,
    route::{Destination, Routes},
    schema::{SyncReport, plan as plan_sync, sync},
};
use tokio::runtime::Runtime;

use crate::cli::{DatabaseOptions, EngineOptions};

/// Runs the embedded ClickHouse in this process.
pub(crate) fn engine(options: &EngineOptions) -> Result<(), Box<dyn Error>> {
    rowmill_engine::run(RunOptions {
        listen: options.listen,
        data: options.data.clone(),
        tie: if options.tied { Tie::Stdin } else { Tie::Free },
    })?;
    Ok(())
}

/// Prints the statements that the database lacks.
pub(crate) fn plan(options: &DatabaseOptions) -> Result<(), Box<dyn Error>> {
    let store: ClickHouseUrl = options.clickhouse.parse()?;
    print(&Runtime::new()?.block_on(plan_sync(&store, &tables::SCHEMA))?)
}

/// Runs the statements that the database lacks, and prints them.
pub(crate) fn apply(options: &DatabaseOptions) -> Result<(), Box<dyn Error>> {
    let store: ClickHouseUrl = options.clickhouse.parse()?;
    print(&Runtime::new()?.block_on(sync(&store, &tables::SCHEMA))?)
}

/// Prints each destination with its table, and with its acknowledgement and rate limit where the
/// schema sets them.
pub(crate) fn routes() -> Result<(), Box<dyn Error>> {
    let destinations = <tables::Routes as Routes>::DESTINATIONS;
    let width = destinations
        .iter()
        .map(|destination| destination.path.len())
        .max()
        .unwrap_or_default();
    let mut out = io::stdout().lock();
    for Destination {
        path,
        table,
        acks,
        rate_limit,
    } in destinations
    {
        let ack = acks.ack.map_or("", |ack| ack.name());
        let by_header = if acks.by_header { " or by X-Rowmill-Ack" } else { "" };
        let at_most = rate_limit.map_or_else(String::new, |limit| format!("  at most {limit}"));
        writeln!(
            out,
            "{}",
            format!("{path:width$}  {table:30}  {ack}{by_header}{at_most}").trim_end()
        )?;
    }
    Ok(())
}

fn print(report: &SyncReport) -> Result<(), Box<dyn Error>> {
    let (mut out, mut remarks) = (io::stdout().lock(), io::stderr().lock());
    for statement in &report.statements {
        writeln!(out, "{statement};")?;
    }
    for warning in &report.warnings {
        writeln!(remarks, "warning: {warning}")?;
    }
    if report.statements.is_empty() {
        writeln!(remarks, "the database matches the schema")?;
    }
    Ok(())
}
