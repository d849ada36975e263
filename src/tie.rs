//! The tie of a collector to the program that has started it: `rowmill dev` holds the other end of
//! the collector's standard input. However `dev` ends, the collector stops as after SIGTERM.

use std::{
    io::{self, Read},
    thread,
};

use rustix::process::{Signal, getpid, kill_process};

/// Sends this process SIGTERM at the end of standard input.
///
/// # Errors
/// The system refuses a thread.
pub(crate) fn stop_at_end_of_input() -> io::Result<()> {
    let wait = || {
        let mut ignored = [0; 64];
        loop {
            match io::stdin().read(&mut ignored) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        // A process can always signal itself.
        let _ = kill_process(getpid(), Signal::TERM);
    };
    thread::Builder::new().name("tie".to_owned()).spawn(wait).map(drop)
}
