//! The program: reads the command line, and runs the command over the tables of a crate.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use rowmill_ingest::route::Routes;

use crate::{
    backfill, check,
    cli::{Cli, Command, LogFormat},
    client_types, commands, deliver, dev, forget, init, log, memory, rejected, replay, serve, sign, spool,
};

/// Runs the program `rowmill` over the tables of the routes `R`: reads the arguments of the process,
/// and returns its exit status.
///
/// `R` is the type `Routes` of a module with generated tables. [`main!`](crate::main) calls this
/// function.
pub fn run<R: Routes>() -> ExitCode {
    let schema = R::schema();
    memory::return_large_allocations_to_os();
    let cli = Cli::parse();
    // Scripts read standard output, so the log goes to standard error.
    log::start(cli.log_format);

    // `serve`, `deliver` and `engine` do not write to a pipe, so a broken pipe is a real error for them.
    let is_service = matches!(
        cli.command,
        None | Some(Command::Serve(_) | Command::Deliver(_) | Command::Engine(_))
    );
    let result = match cli.command {
        None => serve::serve::<R>(cli.serve, cli.log_format),
        Some(Command::Serve(options)) => serve::serve::<R>(*options, cli.log_format),
        Some(Command::Deliver(options)) => deliver::deliver(&options, schema, R::DESTINATIONS),
        Some(Command::Engine(options)) => commands::engine(&options),
        Some(Command::Check(options)) => check::check(&options),
        Some(Command::Init(options)) => init::init(&options),
        Some(Command::Dev(options)) => dev::dev(&options),
        Some(Command::Schema) => check::schema(),
        Some(Command::Plan(options)) => match commands::plan(&options, schema) {
            Ok(true) if options.exit_code => return ExitCode::from(commands::DIFFERS),
            planned => planned.map(drop),
        },
        Some(Command::Apply(options)) => commands::apply(&options, schema),
        Some(Command::Backfill(options)) => backfill::backfill(options, schema),
        Some(Command::Sign(options)) => sign::sign(&options, R::DESTINATIONS),
        Some(Command::Routes) => commands::routes(R::DESTINATIONS),
        Some(Command::ClientTypes) => client_types::print(R::DESTINATIONS, schema),
        Some(Command::Spool(command)) => spool::spool(command, schema),
        Some(Command::Replay(options)) => replay::replay(&options, schema),
        Some(Command::Rejected(command)) => rejected::rejected(command, schema),
        Some(Command::Forget(options)) => forget::forget(&options, schema),
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
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
