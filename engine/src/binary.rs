//! ClickHouse as a program: a child of the engine's process.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use nix::unistd::Pid;

use crate::error::{Error, Kind};

/// A started ClickHouse program, before a thread waits for its end.
#[derive(Debug)]
pub(crate) struct Binary {
    child: Child,
}

impl Binary {
    /// Runs `PROGRAM local ARGUMENTS` with a pipe as its standard input.
    ///
    /// The program inherits the signal mask of the calling thread.
    pub(crate) fn spawn(program: &Path, arguments: Vec<OsString>) -> Result<Binary, Error> {
        let child = Command::new(program)
            .arg("local")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Signals that a terminal sends to its whole group must reach this process only.
            .process_group(0)
            .spawn()
            .map_err(|cause| Kind::Spawn {
                program: program.to_owned(),
                cause,
            })?;
        Ok(Binary { child })
    }

    /// Waits for the program on a new thread, then calls `ended`.
    ///
    /// Returns the other end of the pipe and the program's id. The program ends soon after that end
    /// closes, whether this process closes it or dies.
    pub(crate) fn watch(mut self, ended: impl FnOnce() + Send + 'static) -> Result<(OwnedFd, Pid), Error> {
        let id = Pid::from_raw(self.child.id().cast_signed());
        let no_pipe = || Error::system("a pipe")(io::ErrorKind::BrokenPipe.into());
        let lifeline = self.child.stdin.take().ok_or_else(no_pipe)?;
        thread::Builder::new()
            .name("clickhouse".to_owned())
            .spawn(move || {
                // `wait` fails only if another thread has already waited for the child.
                let _ = self.child.wait();
                ended();
            })
            .map_err(Error::system("a thread"))?;
        Ok((lifeline.into(), id))
    }
}
