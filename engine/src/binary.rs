//! ClickHouse as a program: a child of the process that is the engine.

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

/// A ClickHouse program that has been started, and that nobody waits for yet.
#[derive(Debug)]
pub(crate) struct Binary {
    child: Child,
}

impl Binary {
    /// Runs `PROGRAM local ARGUMENTS` with a pipe as its standard input.
    ///
    /// The program inherits which signals the calling thread has blocked.
    pub(crate) fn spawn(program: &Path, arguments: Vec<OsString>) -> Result<Binary, Error> {
        let child = Command::new(program)
            .arg("local")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // What a terminal sends to a whole group is for us to handle.
            .process_group(0)
            .spawn()
            .map_err(|cause| Kind::Spawn {
                program: program.to_owned(),
                cause,
            })?;
        Ok(Binary { child })
    }

    /// Waits for the program on a thread of its own, and then calls `ended`.
    ///
    /// Returns the other end of the pipe and the program's id. The program ends soon after that end
    /// is closed, by us or by our death.
    pub(crate) fn watch(mut self, ended: impl FnOnce() + Send + 'static) -> Result<(OwnedFd, Pid), Error> {
        let id = Pid::from_raw(self.child.id().cast_signed());
        let no_pipe = || Error::system("a pipe")(io::ErrorKind::BrokenPipe.into());
        let lifeline = self.child.stdin.take().ok_or_else(no_pipe)?;
        thread::Builder::new()
            .name("clickhouse".to_owned())
            .spawn(move || {
                // It fails only for a child that somebody else has waited for.
                let _ = self.child.wait();
                ended();
            })
            .map_err(Error::system("a thread"))?;
        Ok((lifeline.into(), id))
    }
}
