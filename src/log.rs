//! The log on standard error: one line per event, as text for people or as JSON for log collectors.
//!
//! `ROWMILL_LOG` sets its level or filter: `debug`, or `rowmill_ingest=trace,warn`.

use std::{
    fmt::{self, Debug, Write},
    io::{self, IsTerminal},
};

use tracing::{Subscriber, field::Field};
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt,
    fmt::{
        FormatFields, MakeWriter,
        format::{Writer, debug_fn},
    },
    util::SubscriberInitExt,
};

use crate::cli::LogFormat;

/// Starts the log of this process.
pub(crate) fn start(format: LogFormat) {
    subscriber(format, io::stderr, io::stderr().is_terminal()).init();
}

/// The default filter. Rowmill itself reports the failures of the shared log.
const DEFAULT_FILTER: &str = "info,rskafka=off";

fn subscriber<W>(format: LogFormat, writer: W, has_colors: bool) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let log = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_ansi(has_colors)
        .with_env_filter(EnvFilter::try_from_env("ROWMILL_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER)))
        // Standard error may be closed, and a report of this on standard error would panic.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => Box::new(log.with_target(false).fmt_fields(escaped_fields()).finish()),
        LogFormat::Json => Box::new(
            log.json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .finish(),
        ),
    }
}

/// Returns the text format of an event's message and fields. It escapes line ends and terminal
/// control sequences in all of them.
fn escaped_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    let put = |writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
        match (field.name(), writer.has_ansi_escapes()) {
            ("message", _) => {}
            (name, true) => write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
            (name, false) => write!(writer, "{name}=")?,
        }
        write!(Escaping(writer), "{value:?}")
    };
    debug_fn(put).delimited(" ")
}

/// Escapes control characters.
struct Escaping<'a, 'w>(&'a mut Writer<'w>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(char::is_control) {
            match piece.chars().next_back().filter(|last| last.is_control()) {
                Some(control) => {
                    self.0.write_str(&piece[..piece.len() - control.len_utf8()])?;
                    write!(self.0, "{}", control.escape_default())?;
                }
                None => self.0.write_str(piece)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use super::*;

    /// Returns the log of `events`.
    fn logged(format: LogFormat, has_colors: bool, events: impl FnOnce()) -> String {
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&log);
        let subscriber = subscriber(format, move || Appender(Arc::clone(&written)), has_colors);
        tracing::subscriber::with_default(subscriber, events);
        let log = log.lock().unwrap().clone();
        String::from_utf8(log).unwrap()
    }

    struct Appender(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Appender {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const EVIL: &str = "a\u{1b}[31m\r\nERROR forged\u{9b}2J\t\u{7f}é";

    fn log_evil() {
        tracing::warn!(path = %EVIL, quoted = EVIL, debug = ?EVIL, rows = 3, "cannot read {EVIL}");
    }

    #[test]
    fn control_characters_of_any_field_are_escaped() {
        let plain = r"a\u{1b}[31m\r\nERROR forged\u{9b}2J\t\u{7f}é";
        for has_colors in [false, true] {
            let log = logged(LogFormat::Text, has_colors, log_evil);
            let line = log.strip_suffix('\n').unwrap();
            let styles = ["\x1b[0m", "\x1b[2m", "\x1b[3m", "\x1b[33m"];
            let line = styles
                .iter()
                .fold(line.to_owned(), |line, styles| line.replace(styles, ""));
            assert!(!line.contains(char::is_control), "{line:?}");
            let fields = format!(" WARN cannot read {plain} path={plain} quoted=\"{plain}\" debug=\"{plain}\" rows=3");
            assert!(line.ends_with(&fields), "{line}");
        }
    }

    #[test]
    fn json_is_one_object_a_line() {
        let log = logged(LogFormat::Json, true, || {
            log_evil();
            log_evil();
        });
        assert_eq!(log.lines().count(), 2);
        for line in log.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["level"], "WARN");
            assert_eq!(event["message"], format!("cannot read {EVIL}"));
            assert_eq!((&event["path"], &event["rows"]), (&EVIL.into(), &3.into()));
            assert!(event["timestamp"].is_string() && event["target"].is_string(), "{line}");
        }
    }
}
