//! Keeps the last lines that a child process writes to standard error.
//!
//! A thread reads them as they arrive, so that the child never waits for a full pipe. The thread
//! ends when the child's end of the pipe closes. Before [`Tail::echo`] the thread only keeps the
//! lines, for the error if the child fails; afterwards it also writes new lines to our standard
//! error.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use crate::error::Error;

/// The number of lines kept: npm's messages are long, and their beginning matters.
const MAX_LINES: usize = 48;

/// The longest piece kept as one line; it bounds the memory for output without line feeds.
const MAX_LINE_BYTES: u64 = 4096;

/// The reader of one child's lines.
#[derive(Debug)]
pub(crate) struct Tail {
    shared: Arc<Shared>,
    /// Disconnected when the reading thread has ended.
    end: mpsc::Receiver<()>,
}

/// The state that the reading thread shares with its [`Tail`].
#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<VecDeque<String>>,
    echo: AtomicBool,
}

impl Tail {
    /// Starts the thread that reads.
    pub(crate) fn follow(from: impl Read + Send + 'static) -> Result<Tail, Error> {
        let (reads, end) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let sink = Arc::clone(&shared);
        thread::Builder::new()
            .name("engine-stderr".to_owned())
            .spawn(move || {
                sink.keep_last(BufReader::new(from));
                drop(reads);
            })
            .map_err(Error::system("a thread"))?;
        Ok(Tail { shared, end })
    }

    /// Starts to copy new lines to our standard error.
    pub(crate) fn echo(&self) {
        self.shared.echo.store(true, Ordering::Relaxed);
    }

    /// Returns the last lines of a child that has ended.
    pub(crate) fn lines(self) -> Vec<String> {
        // A grandchild may still hold the pipe open, so the wait is limited to one second.
        let _ = self.end.recv_timeout(Duration::from_secs(1));
        self.shared.lines()
    }
}

impl Shared {
    fn keep_last(&self, mut from: impl BufRead) {
        let mut line = Vec::new();
        // An error on a pipe counts as its end.
        while matches!((&mut from).take(MAX_LINE_BYTES).read_until(b'\n', &mut line), Ok(1..)) {
            if self.echo.load(Ordering::Relaxed) {
                let _ = io::stderr().write_all(&line);
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if !text.is_empty() {
                self.keep(text);
            }
            line.clear();
        }
    }

    fn keep(&self, text: String) {
        let mut last = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == MAX_LINES {
            last.pop_front();
        }
        last.push_back(text);
    }

    fn lines(&self) -> Vec<String> {
        let last = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_lines(from: &[u8]) -> Vec<String> {
        let shared = Shared::default();
        shared.keep_last(from);
        shared.lines()
    }

    #[test]
    fn the_last_lines_are_kept_and_empty_ones_are_not() {
        let text: String = (0..60).map(|line| format!("line {line}\n\n")).collect();
        let lines = last_lines(text.as_bytes());
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!((&*lines[0], &*lines[MAX_LINES - 1]), ("line 12", "line 59"));
    }

    #[test]
    fn long_binary_output_is_split() {
        let lines = last_lines(&[0xff].repeat(MAX_LINE_BYTES as usize + 1));
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1], "\u{fffd}");
    }
}
