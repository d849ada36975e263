//! The keys of a column's long form that concern its value in an event: its path, whether it is
//! required, its maximum length, how far a date may be from its arrival, and the rules for its values.

use super::{DeclarationReader, Personal, Source, Unit};
use crate::{
    diagnostic::Diagnostic,
    yaml::{Key, Node, Value},
};

/// The keys `required`, `from`, `max_bytes`, `max_age`, `max_ahead`, `unit` and `strict` of a column.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventKeys {
    /// Whether the collector rejects an event without the column.
    pub(crate) is_required: bool,
    /// The paths of the value in an event, the preferred one first; empty for the column's name.
    pub(crate) from: Vec<Key>,
    /// The collector's value that the column holds in place of a value of the event.
    pub(crate) source: Option<Source>,
    pub(crate) max_bytes: Option<usize>,
    /// The most seconds that a date may be before the event's arrival.
    pub(crate) max_age: Option<u32>,
    /// The most seconds that a date may be after the event's arrival.
    pub(crate) max_ahead: Option<u32>,
    /// The unit of numbers; `None` if the column does not name it.
    pub(crate) unit: Option<Unit>,
    /// Whether values are read by ClickHouse's rules alone; `None` if the table decides it.
    pub(crate) is_strict: Option<bool>,
    /// The treatment of the values among the dead letters, if they are personal data.
    pub(crate) personal: Option<Personal>,
    /// The keys that have an effect, with their places.
    pub(crate) present_keys: Vec<Key>,
}

impl EventKeys {
    /// Returns the keys for an element of a Nested; its paths are below those of the whole.
    pub(crate) fn of_element(&self, element: &str) -> Self {
        let mut keys = self.clone();
        for path in &mut keys.from {
            path.text = format!("{}.{element}", path.text);
        }
        keys
    }
}

impl DeclarationReader<'_> {
    /// Reads one of the keys; omits a value that has a problem.
    pub(super) fn event_key(&mut self, key: Key, node: Node, keys: &mut EventKeys) {
        let is_present = match key.text.as_str() {
            "required" => {
                keys.is_required = self.boolean(node, "`required`");
                keys.is_required
            }
            "from" => {
                keys.from = self.paths(node, &key);
                keys.source = self.source(&mut keys.from);
                !keys.from.is_empty() || keys.source.is_some()
            }
            "max_age" => {
                keys.max_age = self.period(node, &key);
                keys.max_age.is_some()
            }
            "max_ahead" => {
                keys.max_ahead = self.period(node, &key);
                keys.max_ahead.is_some()
            }
            "unit" => {
                keys.unit = self.unit(node, &key);
                keys.unit.is_some()
            }
            "strict" => {
                keys.is_strict = Some(self.boolean(node, "`strict`"));
                true
            }
            _ => {
                keys.max_bytes = self.bytes(node, &key);
                keys.max_bytes.is_some()
            }
        };
        if is_present {
            keys.present_keys.push(key);
        }
    }

    fn paths(&mut self, node: Node, key: &Key) -> Vec<Key> {
        let nodes = match node.value {
            Value::List(nodes) if !nodes.is_empty() => nodes,
            _ => vec![node],
        };
        let mut paths = Vec::new();
        for node in nodes {
            let diagnostic = match node.value {
                Value::Text(text) if !text.trim().is_empty() => {
                    let text = text.trim().to_owned();
                    let Some((problem, help)) = path_problem(&text) else {
                        paths.push(Key { text, span: node.span });
                        continue;
                    };
                    Diagnostic::error("bad-source", format!("invalid path `{text}`"))
                        .label(node.span.or(&key.span), problem)
                        .help(help)
                }
                other => {
                    let found = match other {
                        Value::Text(_) => "an empty string",
                        _ => other.kind(),
                    };
                    Diagnostic::error("bad-source", format!("`from` must be a path, not {found}"))
                        .label(node.span.or(&key.span), "")
                        .help("write `from: address.city`, or a list of such paths")
                }
            };
            self.report.push(diagnostic);
        }
        paths
    }

    /// Takes the collector's value out of the paths: a path that begins with one `$` names one. In
    /// the other paths, `$$` is the event's `$`.
    fn source(&mut self, paths: &mut Vec<Key>) -> Option<Source> {
        let is_source = |path: &Key| path.text.starts_with('$') && !path.text.starts_with("$$");
        let source = paths.iter().find(|path| is_source(path)).cloned();
        let is_alone = paths.len() == 1;
        for path in paths.iter_mut().filter(|path| path.text.starts_with("$$")) {
            path.text.remove(0);
        }
        let source = source?;
        paths.clear();
        if !is_alone {
            let diagnostic = Diagnostic::error("bad-source", format!("`{}` must stand alone in `from`", source.text))
                .label(source.span, "a value of the collector")
                .help("give the value of the event a column of its own");
            self.report.push(diagnostic);
            return None;
        }
        Source::parse(source).map_err(|problem| self.report.push(problem)).ok()
    }

    /// Reads a period, such as `400 days`, in seconds.
    fn period(&mut self, node: Node, key: &Key) -> Option<u32> {
        let seconds = match &node.value {
            Value::Text(text) => period(text),
            _ => None,
        };
        if seconds.is_none() {
            let found = match &node.value {
                Value::Text(text) => format!("`{text}`"),
                other => other.kind().to_owned(),
            };
            let message = format!(
                "`{}` must be a number of seconds, minutes, hours or days, not {found}",
                key.text
            );
            let diagnostic = Diagnostic::error("bad-period", message).label(node.span.or(&key.span), "");
            self.report
                .push(diagnostic.help(format!("write, for example, `{}: 2 days`", key.text)));
        }
        seconds
    }

    fn bytes(&mut self, node: Node, key: &Key) -> Option<usize> {
        let number = match &node.value {
            Value::Text(text) => text.trim().parse().ok().filter(|bytes| *bytes > 0),
            _ => None,
        };
        if number.is_none() {
            let found = match &node.value {
                Value::Text(text) => format!("`{text}`"),
                other => other.kind().to_owned(),
            };
            let diagnostic = Diagnostic::error(
                "bad-max-bytes",
                format!("`max_bytes` must be a number of bytes, not {found}"),
            );
            self.report.push(
                diagnostic
                    .label(node.span.or(&key.span), "")
                    .help("write a whole number above 0, for example `max_bytes: 2000`"),
            );
        }
        number
    }
}

/// Returns the seconds of a period longer than 0 and shorter than 136 years.
pub(super) fn period(text: &str) -> Option<u32> {
    let (number, unit) = text.trim().split_once(' ')?;
    let unit = match unit.trim().trim_end_matches('s') {
        "second" => 1,
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        _ => return None,
    };
    number
        .parse::<u32>()
        .ok()?
        .checked_mul(unit)
        .filter(|seconds| *seconds > 0)
}

/// Returns the problem of a path and a help text.
fn path_problem(path: &str) -> Option<(&'static str, String)> {
    if path.starts_with('$') && !path.starts_with("$$") {
        return None;
    }
    if path.contains(['[', ']']) {
        let dotted = path.replace(']', "").replace('[', ".");
        Some(("a path cannot contain brackets", format!("write `{dotted}`")))
    } else if path.split('.').any(|key| key.trim().is_empty()) {
        Some((
            "a key of the path is empty",
            "write the keys down to the value, with a `.` between them".to_owned(),
        ))
    } else {
        None
    }
}
