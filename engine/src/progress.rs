//! Shows progress on standard error: one redrawn line on a terminal, a few plain lines in a log.

use std::io::{self, IsTerminal, Write};

const MIB: u64 = 1024 * 1024;

/// The width of the bar in columns; with its text the line stays below 80.
const BAR_WIDTH: u64 = 28;

/// The number of bytes between two redraws on a terminal: small enough to look continuous.
const REDRAW_BYTES: u64 = MIB / 2;

/// Writes a line for the user to standard error.
pub(crate) fn note(text: &str) {
    print(&format!("rowmill: {text}\n"));
}

/// Writes to standard error, except in unit tests, where it would mix with their results.
fn print(text: &str) {
    if !cfg!(test) {
        // An error means that standard error is closed, and there is no other channel to report it.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// The progress of one step of the work.
#[derive(Debug)]
pub(crate) struct Progress {
    label: &'static str,
    total: Option<u64>,
    output: Output,
    drawn: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Terminal,
    Log,
}

impl Progress {
    /// Starts a step. `total` is in bytes; without it, no percentage is shown.
    pub(crate) fn start(label: &'static str, total: Option<u64>) -> Progress {
        let output = match io::stderr().is_terminal() {
            true => Output::Terminal,
            false => Output::Log,
        };
        let mut progress = Progress {
            label,
            total,
            output,
            drawn: None,
        };
        progress.reach(0);
        progress
    }

    /// Records that `bytes` bytes are done.
    pub(crate) fn reach(&mut self, bytes: u64) {
        if let Some(text) = self.advance(bytes) {
            print(&text);
        }
    }

    /// Records that the step is done. A step that is dropped without this call has failed.
    pub(crate) fn finish(mut self, bytes: u64) {
        // A log already has its last line if the total was not an overestimate.
        if self.output == Output::Terminal || self.drawn < self.total || self.total.is_none() {
            self.total = Some(bytes);
            self.drawn = None;
            self.reach(bytes);
        }
    }

    /// Returns the text to write, if any is due.
    fn advance(&mut self, bytes: u64) -> Option<String> {
        let due = match (self.output, self.drawn) {
            (_, None) => true,
            (Output::Terminal, Some(drawn)) => bytes.abs_diff(drawn) >= REDRAW_BYTES,
            (Output::Log, Some(drawn)) => self.quarter(bytes) > self.quarter(drawn),
        };
        if !due {
            return None;
        }
        self.drawn = Some(bytes);
        Some(match self.output {
            Output::Terminal => format!("\r\x1b[2K{}", self.line(bytes)),
            Output::Log => format!("{}\n", self.line(bytes)),
        })
    }

    /// Returns the completed quarters of the total, or without a total the completed
    /// units of 64 MiB.
    fn quarter(&self, bytes: u64) -> u64 {
        match self.total {
            Some(total) => bytes.min(total) * 4 / total.max(1),
            None => bytes / (64 * MIB),
        }
    }

    fn line(&self, bytes: u64) -> String {
        let (label, done) = (self.label, bytes / MIB);
        let Some(total) = self.total else {
            return format!("rowmill: {label} {done} MiB");
        };
        let share = |whole: u64| bytes.min(total) * whole / total.max(1);
        let (percent, whole) = (share(100), total / MIB);
        match self.output {
            Output::Log => format!("rowmill: {label} {percent}% ({done} of {whole} MiB)"),
            Output::Terminal => {
                let full = share(BAR_WIDTH) as usize;
                let (full, rest) = ("█".repeat(full), "░".repeat(BAR_WIDTH as usize - full));
                format!("{label} {full}{rest} {percent:>3}% {done} of {whole} MiB")
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.output == Output::Terminal {
            print("\n");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn progress(output: Output, total: Option<u64>) -> Progress {
        Progress {
            label: "fetching",
            total,
            output,
            drawn: None,
        }
    }

    #[test]
    fn a_log_gets_a_line_for_each_quarter() {
        let mut progress = progress(Output::Log, Some(100 * MIB));
        let lines: Vec<String> = (0..=100).filter_map(|mib| progress.advance(mib * MIB)).collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[1], "rowmill: fetching 25% (25 of 100 MiB)\n");
    }

    #[test]
    fn a_terminal_gets_one_line_that_fits() {
        let mut progress = progress(Output::Terminal, Some(9999 * MIB));
        let line = progress.advance(9999 * MIB).unwrap();
        assert!(line.starts_with("\r\x1b[2K") && !line.contains('\n'));
        assert!(line.chars().count() < 80);
        assert_eq!(progress.advance(9999 * MIB + 1), None, "redrawn for nothing");
    }

    #[test]
    fn an_estimate_that_was_too_low_stays_within_its_bar() {
        let mut progress = progress(Output::Terminal, Some(MIB));
        assert!(progress.advance(3 * MIB).unwrap().contains("100%"));
    }

    #[test]
    fn without_a_total_there_is_no_percentage() {
        let mut progress = progress(Output::Log, None);
        assert_eq!(progress.advance(70 * MIB).unwrap(), "rowmill: fetching 70 MiB\n");
    }
}
