//! `rowmill dev`: checks the schema at each save, builds, and restarts the collector.
//!
//! The check runs in this process, so its report does not wait for cargo. The last good collector
//! runs until the next one is built.

use std::{
    env,
    error::Error,
    fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use rowmill_codegen::generate;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::cli::DevOptions;

/// The interval of the looks at the files.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Watches the folder of a crate until a signal ends it.
pub(crate) fn dev(options: &DevOptions) -> Result<(), Box<dyn Error>> {
    let manifest = options.package.join("Cargo.toml");
    if !manifest.exists() {
        return Err(format!(
            "`{}` does not exist: run `dev` in the folder of the crate, or name it with `--crate`",
            manifest.display()
        )
        .into());
    }
    let stop = Signals::start()?;
    let mut dev = Dev {
        options,
        stop,
        collector: None,
    };
    let ended = dev.watch();
    dev.stop_collector();
    ended
}

/// The signals that end the program.
#[derive(Debug)]
struct Signals {
    /// The number of signals so far.
    count: watch::Receiver<u32>,
    /// Dropped last: the signals arrive in it.
    _runtime: Runtime,
}

impl Signals {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (sender, count) = watch::channel(0);
        let entered = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        drop(entered);
        runtime.spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                sender.send_modify(|count| *count += 1);
            }
        });
        Ok(Self {
            count,
            _runtime: runtime,
        })
    }

    fn count(&self) -> u32 {
        *self.count.borrow()
    }
}

/// A file with its length and its time.
type Seen = (PathBuf, u64, SystemTime);

/// The collector that runs, and the crate that it is built from.
#[derive(Debug)]
struct Dev<'a> {
    options: &'a DevOptions,
    stop: Signals,
    collector: Option<Child>,
}

impl Dev<'_> {
    fn watch(&mut self) -> Result<(), Box<dyn Error>> {
        let mut seen = None;
        while self.stop.count() == 0 {
            let now = self.files();
            if seen.as_ref() != Some(&now) {
                seen = Some(now);
                self.changed(seen.as_ref())?;
            }
            self.note_end();
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Checks the schema, builds, and restarts the collector. A change meanwhile ends the build.
    fn changed(&mut self, seen: Option<&Vec<Seen>>) -> Result<(), Box<dyn Error>> {
        if !check(&self.options.package.join(&self.options.schemas))? {
            say("the schema has errors: save a file to check it again");
            return Ok(());
        }
        say("building");
        let mut build = self.cargo(&["build"]).spawn()?;
        let built = loop {
            if let Some(status) = build.try_wait()? {
                break status.success();
            }
            if self.stop.count() > 0 || Some(&self.files()) != seen {
                stop_group(&build);
                build.wait()?;
                return Ok(());
            }
            thread::sleep(POLL_INTERVAL);
        };
        if !built {
            say("the build has failed: save a file to build again");
            return Ok(());
        }
        self.stop_collector();
        if self.stop.count() > 0 {
            return Ok(());
        }
        say("starting the collector");
        // On Unix, `cargo run` becomes the program.
        let mut run = self.cargo(&["run", "--quiet", "--", "serve", "--tied"]);
        // The child has the other end, which closes with this process, however it ends.
        run.stdin(Stdio::piped()).args(&self.options.serve);
        self.collector = Some(run.spawn()?);
        Ok(())
    }

    /// Returns cargo in the folder of the crate, in a process group of its own: Ctrl-C in a terminal
    /// reaches this process alone, and each child gets one signal.
    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(arguments)
            .current_dir(&self.options.package)
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// Reports a collector that has ended by itself.
    fn note_end(&mut self) {
        let Some(collector) = &mut self.collector else {
            return;
        };
        if let Ok(Some(status)) = collector.try_wait() {
            self.collector = None;
            say(&format!(
                "the collector has ended ({status}): save a file to start it again"
            ));
        }
    }

    /// Stops the collector, and returns when it has ended. A signal meanwhile is passed on, and
    /// makes the stop immediate.
    fn stop_collector(&mut self) {
        let Some(mut collector) = self.collector.take() else {
            return;
        };
        stop(&collector);
        let mut signals = self.stop.count();
        while matches!(collector.try_wait(), Ok(None)) {
            if self.stop.count() > signals {
                signals = self.stop.count();
                stop(&collector);
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Returns the files of the schema folder and of the crate's sources.
    fn files(&self) -> Vec<Seen> {
        let package = &self.options.package;
        let mut files = Vec::new();
        for folder in [package.join(&self.options.schemas), package.join("src")] {
            list(&folder, &mut files);
        }
        for file in ["Cargo.toml", "build.rs"] {
            files.extend(look(package.join(file)));
        }
        files.sort();
        files
    }
}

/// Prints the problems of the schema. Returns whether it has no errors.
fn check(schemas: &Path) -> io::Result<bool> {
    let problems = generate(schemas).problems;
    let mut out = io::stderr().lock();
    for problem in problems.errors.iter().chain(&problems.warnings) {
        writeln!(out, "{}\n", problem.text)?;
    }
    Ok(problems.errors.is_empty())
}

/// Prints a line about what happens. A closed standard error must not end the program.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "dev: {text}");
}

/// Asks a child to stop. A child that has ended is not asked.
fn stop(child: &Child) {
    if let Some(id) = id(child) {
        let _ = kill_process(id, Signal::TERM);
    }
}

/// Asks a child and the processes that it has started to stop.
fn stop_group(child: &Child) {
    if let Some(id) = id(child) {
        let _ = kill_process_group(id, Signal::TERM);
    }
}

fn id(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Adds the files of a folder and of its folders.
fn list(folder: &Path, files: &mut Vec<Seen>) {
    // A folder that is missing has no files.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.extend(look(path));
        }
    }
}

fn look(path: PathBuf) -> Option<Seen> {
    let metadata = fs::metadata(&path).ok()?;
    Some((path, metadata.len(), metadata.modified().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_saved_a_new_and_a_deleted_file_are_changes() {
        let folder = tempfile::tempdir().unwrap();
        let options = DevOptions {
            package: folder.path().to_owned(),
            schemas: "schemas".into(),
            serve: Vec::new(),
        };
        let dev = Dev {
            options: &options,
            stop: Signals::start().unwrap(),
            collector: None,
        };
        let schema = folder.path().join("schemas/sub/a.yml");
        fs::create_dir_all(schema.parent().unwrap()).unwrap();
        let empty = dev.files();
        fs::write(&schema, "a").unwrap();
        let new = dev.files();
        assert_ne!(empty, new);
        fs::write(&schema, "ab").unwrap();
        assert_ne!(new, dev.files());
        fs::remove_file(&schema).unwrap();
        assert_eq!(empty, dev.files());
    }
}
