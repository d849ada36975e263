//! Example requests for the tables of a collector, which the start prints.

use std::{fmt::Write, time::SystemTime};

use jiff::Timestamp;
use rowmill_ingest::{
    route::{Destination, Routes},
    table::{Column, Schema},
    test::TestCollector,
};
use serde_json::{Map, Value};

use crate::gallery::EXAMPLES;

/// The columns of an example; an event may leave out the others.
const MAX_COLUMNS: usize = 8;

/// The columns that the collector fills in tables that inherit `base`.
const OF_COLLECTOR: [&str; 13] = [
    "id",
    "uid",
    "date",
    "dateTime",
    "timestamp",
    "channel",
    "projectId",
    "name",
    "service",
    "td_ip",
    "td_ua",
    "td_fpid",
    "td_ref",
];

/// The kinds of requests, by the service of their path.
const PIXEL: &str = "pixel";
const REDIRECT: &str = "redir";
const WEBHOOK: &str = "wh";

/// The example requests of a collector, as far as its schema has destinations for them.
#[derive(Debug, Default)]
pub(crate) struct Examples {
    webhook: Option<Example>,
    pixel: Option<Example>,
    redirect: Option<Example>,
}

/// An example event for a destination.
#[derive(Debug, PartialEq)]
struct Example {
    /// The path, with a slash before it.
    path: String,
    /// The table of the event's row, and its columns that the event has.
    table: &'static str,
    columns: Vec<&'static str>,
    /// The event.
    event: Map<String, Value>,
}

impl Examples {
    /// Returns examples for the destinations of `R`. Each of them has become a row of its table in
    /// a collector without a ClickHouse.
    pub(crate) fn of<R: Routes>() -> Self {
        // Without an event loop, there are no examples.
        let Ok(collector) = TestCollector::<R>::start() else {
            return Self::default();
        };
        let first = |service: &str| {
            let mut destinations: Vec<_> = R::DESTINATIONS.iter().filter(|it| is_of(it, service)).collect();
            destinations.sort_by_key(|destination| !destination.path.starts_with(service));
            let mut examples = destinations
                .into_iter()
                .flat_map(|destination| candidates(destination, R::schema()));
            examples.find(|example| {
                let before = collector.rows(example.table);
                let response = if service == WEBHOOK {
                    collector.post(&example.path, example.json())
                } else {
                    collector.get(&example.target(service == REDIRECT))
                };
                !response.status().is_client_error() && collector.rows(example.table) == before + 1
            })
        };
        Self {
            webhook: first(WEBHOOK),
            pixel: first(PIXEL),
            redirect: first(REDIRECT),
        }
    }

    /// Returns the text with the requests, and with a query for the rows. `collector` and
    /// `clickhouse` are URLs, and `options` those of curl for ClickHouse, with a space after them.
    pub(crate) fn text(&self, collector: &str, clickhouse: &str, options: &str, database: &str) -> String {
        let mut text = "\nTry, in another terminal:\n\n".to_owned();
        // Writing to a string cannot fail.
        if let Some(webhook) = &self.webhook {
            let (path, event) = (&webhook.path, quoted(&webhook.json()));
            let _ = writeln!(
                text,
                "  curl {collector}{path} -H 'Content-Type: application/json' -d {event}"
            );
        }
        if let Some(pixel) = &self.pixel {
            let url = quoted(&format!("{collector}{}", pixel.target(false)));
            let _ = writeln!(text, "  curl -o pixel.gif {url}");
        }
        if let Some(redirect) = &self.redirect {
            let url = quoted(&format!("{collector}{}", redirect.target(true)));
            let _ = writeln!(text, "  curl -i {url}");
        }
        let examples = [&self.webhook, &self.pixel, &self.redirect];
        let Some(example) = examples.into_iter().flatten().next() else {
            return String::new();
        };
        let (table, columns) = (identifier(example.table), example.list());
        let query = quoted(&format!("SELECT {columns} FROM {database}.{table} FORMAT Vertical"));
        let _ = writeln!(
            text,
            "\nand a second later the rows:\n\n  curl {clickhouse} {options}--data-binary {query}"
        );
        text
    }
}

/// Returns whether a destination takes the requests of a service. Webhooks go to every service
/// other than those of pixels and redirects.
fn is_of(destination: &Destination, service: &str) -> bool {
    match destination.path.split_once('/') {
        Some((PIXEL | REDIRECT, _)) if service == WEBHOOK => false,
        // The fallback of all services takes no request of its own.
        None => false,
        Some((own, _)) => own == service || service == WEBHOOK,
    }
}

/// Returns events for a destination: that of the gallery, if its path is from there, and one of
/// values for the first columns of the table.
fn candidates(destination: &Destination, schema: &Schema) -> Vec<Example> {
    let table = schema.tables.iter().find(|table| table.name == destination.table);
    let (Some((service, name)), Some(table)) = (destination.path.split_once('/'), table) else {
        return Vec::new();
    };
    // `default` stands for every name without a destination of its own.
    let name = if name == "default" { "example" } else { name };
    let example = |event: Map<String, Value>| Example {
        path: format!("/{}/{}", escaped(service), escaped(name)),
        table: table.name,
        columns: table
            .columns
            .iter()
            .filter(|column| event.contains_key(column.name))
            .map(|column| column.name)
            .collect(),
        event,
    };
    let values = table
        .columns
        .iter()
        .filter_map(|column| Some((column.name.to_owned(), value(column)?)));
    let values = values.take(MAX_COLUMNS).collect();
    let of_gallery = EXAMPLES.iter().find(|example| example.path() == Some(destination.path));
    let of_gallery = of_gallery.and_then(|example| example.event_of_yesterday().ok());
    let of_gallery = of_gallery.and_then(|event| event.as_object().cloned());
    of_gallery.into_iter().chain([values]).map(example).collect()
}

impl Example {
    fn json(&self) -> String {
        Value::Object(self.event.clone()).to_string()
    }

    /// Returns the path with the event as its query.
    fn target(&self, is_redirect: bool) -> String {
        let mut fields: Vec<String> = self
            .event
            .iter()
            .map(|(name, value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!("{}={}", escaped(name), escaped(&value))
            })
            .collect();
        if is_redirect {
            fields.push(format!("to={}", escaped("https://example.org")));
        }
        format!("{}?{}", self.path, fields.join("&"))
    }

    /// Returns the columns for a SELECT.
    fn list(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|name| identifier(name)).collect();
        if columns.is_empty() {
            "*".to_owned()
        } else {
            columns.join(", ")
        }
    }
}

/// Returns a value for a column; `None` if the collector fills it, or if its type has no simple
/// values.
fn value(column: &Column) -> Option<Value> {
    if !column.kind.is_inserted() || OF_COLLECTOR.contains(&column.name) {
        return None;
    }
    let mut data_type = column.data_type;
    for wrapper in ["LowCardinality(", "Nullable("] {
        if let Some(inside) = data_type.strip_prefix(wrapper) {
            data_type = inside.trim_end_matches(')');
        }
    }
    let (name, arguments) = data_type.split_once('(').unwrap_or((data_type, ""));
    let today = || Timestamp::try_from(SystemTime::now()).unwrap_or_default().to_string();
    Some(match name {
        "String" if column.name.contains("email") => "ann@example.com".into(),
        "String" => "example".into(),
        "FixedString" => "x".into(),
        "Bool" => true.into(),
        "Float32" | "Float64" | "BFloat16" => 1.5.into(),
        "Decimal" | "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => "0.5".into(),
        "Date" | "Date32" => today().get(..10)?.into(),
        "DateTime" | "DateTime64" => today().get(..19)?.into(),
        "UUID" => "5e6f2c8e-3b7c-4a53-9d3c-0f4a6a1b2c3d".into(),
        "IPv4" => "192.0.2.1".into(),
        "IPv6" => "2001:db8::1".into(),
        "Enum8" | "Enum16" | "Enum" => arguments.split('\'').nth(1)?.into(),
        _ if is_integer(name) => 1.into(),
        _ => return None,
    })
}

fn is_integer(name: &str) -> bool {
    let width = name.strip_prefix("UInt").or_else(|| name.strip_prefix("Int"));
    width.is_some_and(|width| width.parse::<u16>().is_ok())
}

/// Returns a text in the quotes of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Returns a name of a table or a column in SQL.
fn identifier(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c));
    if is_plain && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return name.to_owned();
    }
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// Returns a text with an escape for each byte that a path or a query cannot have.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~@".contains(&byte) {
            escaped.push(byte.into());
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tables;

    #[test]
    fn the_requests_fit_the_tables_of_the_example() {
        let text = Examples::of::<tables::Routes>().text(
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8123",
            "-H @reader ",
            "stats",
        );
        let fields = "detailed=example&email=ann@example.com&event=example&link_id=example&list_id=example\
            &message_id=example&task_id=example";
        for line in [
            "  curl http://127.0.0.1:8080/wh/mail -H 'Content-Type: application/json' -d '{\"detailed\":\"example\",\
             \"email\":\"ann@example.com\",\"event\":\"example\",\"link_id\":\"example\",\"list_id\":\"example\",\
             \"message_id\":\"example\",\"task_id\":\"example\"}'",
            &format!("  curl -o pixel.gif 'http://127.0.0.1:8080/pixel/mail?{fields}'"),
            &format!("  curl -i 'http://127.0.0.1:8080/redir/mail?{fields}&to=https%3A%2F%2Fexample.org'"),
            "  curl http://127.0.0.1:8123 -H @reader --data-binary 'SELECT event, email, message_id, list_id, task_id, \
             link_id, detailed FROM stats.mail_statistics FORMAT Vertical'",
        ] {
            assert!(text.lines().any(|printed| printed == line), "{line}\nis not in{text}");
        }
    }

    #[test]
    fn each_webhook_of_the_gallery_has_an_example() {
        let examples = Examples::of::<gallery::tables::Routes>();
        assert!(examples.webhook.is_some() && examples.pixel.is_some(), "{examples:?}");
        let collector = TestCollector::<gallery::tables::Routes>::start().unwrap();
        let mut accepted = 0;
        for destination in <gallery::tables::Routes as Routes>::DESTINATIONS {
            if destination.path.starts_with(WEBHOOK) {
                let examples = candidates(destination, gallery::tables::Routes::schema());
                let mut responses = Vec::new();
                let mut fits = |example: &Example| {
                    let rows = collector.rows(example.table);
                    let response = collector.post(&example.path, example.json());
                    responses.push(format!("{response:?}"));
                    !response.status().is_client_error() && collector.rows(example.table) == rows + 1
                };
                assert!(examples.iter().any(&mut fits), "{examples:?}: {responses:?}");
                accepted += 1;
            }
        }
        assert!(accepted >= 12, "{accepted}");
    }

    #[test]
    fn a_shell_and_sql_read_odd_names() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(identifier("a b`"), "`a b\\``");
        assert_eq!(escaped("имя &"), "%D0%B8%D0%BC%D1%8F%20%26");
    }
}
