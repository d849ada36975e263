//! Valid and invalid input: the answer names the problem, no part of a rejected event is lost, and
//! the collector still accepts the next event.

mod addresses;
mod bodies;
mod connections;
mod content_types;
mod counts;
mod privacy;
mod redirects;
mod values;

use serde_json::{Value, json};

use crate::support::{collector::Collector, engine::Database, http};

/// A collector that receives invalid input.
struct Victim {
    database: Database,
    collector: Collector,
}

/// The state that such a collector leaves.
struct Aftermath {
    database: Database,
    /// The dead letters in the order of their events: service, name, table, column, code, reason,
    /// payload, ip.
    dead_letters: Vec<[String; 8]>,
    log: String,
}

/// A valid event.
const GOOD: &str = r#"{"event":"good"}"#;

/// The client address of all tests.
const IP: &str = "127.0.0.1";

impl Victim {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(arguments: &[&str]) -> Self {
        Self::start_as(&[], arguments)
    }

    fn start_as(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let database = Database::named("bad_input");
        let collector = Collector::start_as(&database.url(), variables, arguments);
        Self { database, collector }
    }

    fn post(&self, target: &str, json: &str) -> http::Answer {
        http::post_json(self.collector.address, target, json)
    }

    fn get(&self, target: &str) -> http::Answer {
        http::get(self.collector.address, target)
    }

    fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> http::Answer {
        http::send(self.collector.address, method, target, headers, body)
    }

    fn send_bytes(&self, bytes: &[u8]) -> http::Answer {
        http::send_bytes(self.collector.address, bytes)
    }

    /// Checks that a valid event is still accepted, stops the collector and returns the state that
    /// it leaves.
    fn stop(self) -> Aftermath {
        assert_eq!(self.post("/wh/mail", GOOD).status, 200);
        let ended = self.collector.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        let database = self.database;
        assert_eq!(
            database.query("SELECT count() FROM mail_statistics WHERE event = 'good'"),
            "1\n"
        );
        let dead_letters = database.query(
            "SELECT service, name, table, column, code, reason, payload, ip FROM rejected \
             WHERE abs(now() - time) < 600 ORDER BY time, id FORMAT JSONCompactEachRow",
        );
        let dead_letters = dead_letters.lines().map(|line| serde_json::from_str(line).unwrap());
        Aftermath {
            dead_letters: dead_letters.collect(),
            log: ended.log,
            database,
        }
    }
}

impl Aftermath {
    /// Returns all rows except the valid event's, as tab-separated text.
    fn rows(&self, table: &str, columns: &str) -> String {
        self.database.query(&format!(
            "SELECT {columns} FROM {table} WHERE name != 'mail' OR {} ORDER BY id",
            if table == "mail_statistics" {
                "event != 'good'"
            } else {
                "1"
            }
        ))
    }

    /// Asserts that there is no row except the valid event's.
    fn assert_no_rows(&self) {
        for table in ["mail_statistics", "webhooks", "events"] {
            assert_eq!(self.rows(table, "id"), "", "{table}");
        }
    }

    /// Asserts that there is neither a row nor a dead letter except the valid event's row.
    fn assert_nothing(&self) {
        assert!(self.dead_letters.is_empty(), "{:?}", self.dead_letters);
        self.assert_no_rows();
    }
}

/// Returns the body of an answer with one reason.
fn bad_request(reason: &str) -> Value {
    json!({"message": "Bad Request", "reason": reason})
}

/// Returns the dead letter of a request whose body could not be read.
fn dead_letter_of_body<'a>(code: &'a str, reason: &'a str, payload: &'a str) -> [&'a str; 8] {
    ["wh", "mail", "", "", code, reason, payload, IP]
}
