//! The program of the engine's tests: runs the code under test in a separate process.
//!
//! ```text
//! engine-for-tests engine --listen ADDRESS --data FOLDER [--tied]   is an engine
//! engine-for-tests parent FOLDER                                    starts one, never ends
//! ```

use std::{env, error::Error, net::SocketAddr, path::PathBuf, process::ExitCode};

use rowmill_engine::{Engine, Options, RunOptions, Tie};

fn main() -> ExitCode {
    let Err(error) = command() else {
        return ExitCode::SUCCESS;
    };
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

fn command() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let mut next = || arguments.next().ok_or("an argument is missing");
    match next()?.to_str() {
        Some("engine") => {
            let mut options = RunOptions {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                data: PathBuf::new(),
                tie: Tie::Free,
                grants: Vec::new(),
            };
            while let Some(flag) = arguments.next() {
                let mut value = || arguments.next().ok_or("a value is missing");
                match flag.to_str() {
                    Some("--listen") => options.listen = value()?.to_string_lossy().parse()?,
                    Some("--data") => options.data = value()?.into(),
                    Some("--tied") => options.tie = Tie::Stdin,
                    _ => return Err("no such flag".into()),
                }
            }
            Ok(rowmill_engine::run(options)?)
        }
        Some("parent") => {
            let engine = Engine::start(&Options::new(env::current_exe()?, next()?))?;
            println!("{} {}", engine.process_id(), engine.address());
            loop {
                std::thread::park();
            }
        }
        _ => Err("no such command".into()),
    }
}
