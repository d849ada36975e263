//! The command line of the collector.

mod backfill;
mod check;
mod check_engine;
mod cli;
mod commands;
mod conditions;
mod descriptors;
mod engine;
mod gallery;
mod init;
mod log;
mod memory;
mod pages;
mod rejected;
mod serve;
mod spool;
mod stop;
mod workers;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::cli::{Cli, Command, LogFormat};

fn main() -> ExitCode {
    memory::return_large_allocations_to_os();
    let cli = Cli::parse();
    // Scripts read standard output, so the log goes to standard error.
    log::start(cli.log_format);

    // `serve` and `engine` do not write to a pipe, so a broken pipe is a real error for them.
    let is_service = matches!(cli.command, None | Some(Command::Serve(_) | Command::Engine(_)));
    let result = match cli.command {
        None => serve::serve(cli.serve, cli.log_format),
        Some(Command::Serve(options)) => serve::serve(options, cli.log_format),
        Some(Command::Engine(options)) => commands::engine(&options),
        Some(Command::Check(options)) => check::check(&options),
        Some(Command::Init(options)) => init::init(&options),
        Some(Command::Plan(options)) => commands::plan(&options),
        Some(Command::Apply(options)) => commands::apply(&options),
        Some(Command::Backfill(options)) => backfill::backfill(options),
        Some(Command::Routes) => commands::routes(),
        Some(Command::Spool(command)) => spool::spool(command),
        Some(Command::Rejected(command)) => rejected::rejected(command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader, for example `head`, has closed the pipe. 141 is the shell's status for
        // SIGPIPE.
        Err(error) if !is_service && is_broken_pipe(&*error) => ExitCode::from(141),
        Err(error) => {
            let error = chain(&*error);
            match cli.log_format {
                LogFormat::Text => drop(writeln!(io::stderr(), "error: {error}")),
                LogFormat::Json => tracing::error!(error, "the command failed"),
            }
            ExitCode::FAILURE
        }
    }
}

/// Returns whether the error is a broken pipe on standard output.
fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Returns an error's text followed by the texts of its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
