//! Rows of all type families, as messages that ClickHouse reads into a table of the same types.

use std::time::Duration;

use embedder::tables;
use rowmill_ingest::{
    WriterOptions,
    log::TopicOptions,
    server::not_found,
    topics::{MessageFormat, Topics},
};
use tower::{Layer, service_fn};

use super::reader::Reader;
use crate::{
    support::{broker::Broker, engine::Database, http, service::Served},
    type_families::{assert_equals_twin, random_events},
};

/// The rows that are sent, of each table.
const ROWS: usize = 150;

/// Starts a reader of the topic with the rows of a table.
type Start = fn(&Database, &Broker, &str, &str, &'static str) -> Reader;

/// Sends rows to the topics in each format, and compares what the readers get with the tables.
fn run(test: &str, start: Start) {
    let Some(broker) = Broker::start() else { return };
    let events = random_events(&Database::create(test));
    let mut readers = Vec::new();
    for (format, clickhouse_format) in [
        (MessageFormat::Json, "JSONEachRow"),
        (MessageFormat::RowBinary, "RowBinary"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::create(&format!("{test}_{format}"));
        let topics = Topics {
            tables: Some(vec!["families".to_owned(), "families_in_columns".to_owned()]),
            created: TopicOptions {
                partitions: 2,
                replicas: 1,
            },
            format,
            ..Topics::new(broker.log(&format.to_string()).parse().unwrap())
        };
        let options = WriterOptions {
            block_age: Duration::from_millis(50),
            topics: Some(topics),
            ..WriterOptions::default()
        };
        let served = Served::start_in(
            Some(folder.path()),
            &database.url(),
            &tables::SCHEMA,
            options,
            |writer| tables::layer(writer).unwrap().layer(service_fn(not_found)),
        );
        for event in events.lines().take(ROWS) {
            for path in ["/wh/families", "/wh/columns"] {
                let answer = http::post_json(served.address, path, event);
                assert_eq!(answer.status, 200, "{}: {event}", answer.text());
            }
        }
        served.drain();
        for table in [&tables::families::TABLE, &tables::families_in_columns::TABLE] {
            let topic = format!("{format}.{}", table.name);
            let reader = start(&database, &broker, table.name, &topic, clickhouse_format);
            readers.push((reader, database.clone(), table));
        }
    }
    for (reader, database, table) in readers {
        reader.wait_for(ROWS as u64);
        assert_equals_twin(&database, table, &format!("`{}`.messages", reader.name()), ROWS);
    }
}

#[test]
fn messages_have_the_values_of_the_table() {
    run("topics_families", Reader::start);
}

#[test]
#[ignore = "the broker takes half a minute to let a group of readers in"]
fn clickhouse_itself_reads_the_values_of_the_table() {
    run("topics_engine", Reader::start_engine);
}
