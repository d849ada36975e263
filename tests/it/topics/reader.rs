//! A reader of a topic, whose messages ClickHouse reads into a table of the same columns.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use rskafka::{
    client::{Client, ClientBuilder, partition::UnknownTopicHandling},
    record::RecordAndOffset,
};
use tokio::runtime::Runtime;

use crate::support::{broker::Broker, engine::Database, wait_for};

/// The length of the records of one answer, in bytes.
const FETCH_BYTES: i32 = 8 << 20;

/// The table `messages` of a database, with the rows of a topic.
pub struct Reader {
    database: Database,
    /// The table from which the rows come, and its columns.
    table: String,
    columns: String,
    topic: String,
    /// ClickHouse's name of the format of the messages.
    format: &'static str,
    /// `None` if ClickHouse itself reads the topic.
    client: Option<(Runtime, Client)>,
    /// The next offset of each partition.
    next: RefCell<HashMap<i32, i64>>,
}

impl Reader {
    /// Starts to read a topic with the rows of `table`.
    pub fn start(database: &Database, broker: &Broker, table: &str, topic: &str, format: &'static str) -> Self {
        let mut reader = Self::create(database, table, topic, format);
        let runtime = Runtime::new().unwrap();
        let client = ClientBuilder::new(vec![broker.address().to_string()]).build();
        let client = runtime.block_on(client).unwrap();
        reader.client = Some((runtime, client));
        reader
    }

    /// Starts to read a topic with the rows of `table`, by ClickHouse's own engine Kafka.
    pub fn start_engine(database: &Database, broker: &Broker, table: &str, topic: &str, format: &'static str) -> Self {
        let reader = Self::create(database, table, topic, format);
        reader.query(&format!(
            "CREATE TABLE queue ({}) ENGINE = Kafka SETTINGS kafka_broker_list = '{}', kafka_topic_list = '{topic}', \
             kafka_group_name = '{}', kafka_format = '{format}', kafka_flush_interval_ms = 500, \
             input_format_binary_read_json_as_string = 1",
            structure(database, table),
            broker.address(),
            reader.database.name,
        ));
        reader.query(&format!(
            "CREATE MATERIALIZED VIEW reading TO messages AS SELECT {}, \
             mapFromArrays(`_headers.name`, `_headers.value`) AS headers, _partition AS partition, _offset AS offset \
             FROM queue",
            reader.columns
        ));
        reader
    }

    fn create(database: &Database, table: &str, topic: &str, format: &'static str) -> Self {
        let reader = Database::create(&format!("{}_reader", database.name));
        // A message that is read twice has the same place in the topic.
        reader.query(&format!(
            "CREATE TABLE messages ({}, headers Map(String, String), partition UInt64, offset UInt64) \
             ENGINE = ReplacingMergeTree ORDER BY (partition, offset)",
            structure(database, table)
        ));
        Self {
            database: reader,
            table: format!("`{}`.`{table}`", database.name),
            columns: list(database, table, "concat('`', name, '`')"),
            topic: topic.to_owned(),
            format,
            client: None,
            next: RefCell::default(),
        }
    }

    pub fn query(&self, sql: &str) -> String {
        self.database.query(sql)
    }

    /// Returns the name of the database with the table `messages`.
    pub fn name(&self) -> &str {
        &self.database.name
    }

    /// Reads the messages that are new.
    fn read(&self) {
        let Some((runtime, client)) = &self.client else { return };
        let topics = runtime.block_on(client.list_topics()).unwrap();
        let topic = topics.into_iter().find(|topic| topic.name == self.topic);
        for partition in topic.map(|topic| topic.partitions).unwrap_or_default() {
            let mut next = self.next.borrow_mut();
            let next = next.entry(partition).or_default();
            let records = runtime.block_on(async {
                let client = client
                    .partition_client(&*self.topic, partition, UnknownTopicHandling::Error)
                    .await
                    .unwrap();
                let (records, _) = client.fetch_records(*next, 1..FETCH_BYTES, 100).await.unwrap();
                records
            });
            let Some(last) = records.last() else { continue };
            *next = last.offset + 1;
            self.insert(partition, &records);
        }
    }

    /// Inserts messages as they are, each with its headers and its place.
    fn insert(&self, partition: i32, records: &[RecordAndOffset]) {
        let mut insert = format!(
            "INSERT INTO messages ({}, headers, partition, offset) \
             SETTINGS input_format_binary_read_json_as_string = 1 FORMAT {}\n",
            self.columns, self.format
        )
        .into_bytes();
        for RecordAndOffset { record, offset } in records {
            let value = record.value.as_deref().unwrap();
            match self.format {
                "JSONEachRow" => {
                    let text =
                        |(name, value): (&String, &Vec<u8>)| (name.clone(), String::from_utf8(value.clone()).unwrap());
                    let headers: BTreeMap<_, _> = record.headers.iter().map(text).collect();
                    insert.extend_from_slice(value.strip_suffix(b"}").unwrap());
                    let headers = serde_json::to_string(&headers).unwrap();
                    let rest = format!(",\"headers\":{headers},\"partition\":{partition},\"offset\":{offset}}}\n");
                    insert.extend_from_slice(rest.as_bytes());
                }
                _ => {
                    insert.extend_from_slice(value);
                    // Lengths below 128 are one byte.
                    insert.push(record.headers.len() as u8);
                    for text in record.headers.iter().flat_map(|(name, value)| [name.as_bytes(), value]) {
                        insert.push(text.len() as u8);
                        insert.extend_from_slice(text);
                    }
                    for number in [i64::from(partition), *offset] {
                        insert.extend_from_slice(&number.to_le_bytes());
                    }
                }
            }
        }
        let answer = self
            .database
            .send("POST", &format!("/?database={}", self.database.name), &insert);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Waits until the table has this many different rows.
    pub fn wait_for(&self, rows: u64) {
        let rows = rows.to_string();
        let count = "SELECT uniqExact(headers['rowmill-block'], headers['rowmill-row']) FROM messages";
        wait_for(&format!("{rows} messages"), || {
            self.read();
            (self.query(count).trim() == rows).then_some(())
        });
    }

    /// Checks that the messages have the rows of the table for which a condition holds, and no others.
    pub fn assert_equals_table(&self, condition: &str) {
        let Self { table, columns, .. } = self;
        let (ours, theirs) = (
            format!("SELECT {columns} FROM {table} WHERE {condition}"),
            format!("SELECT {columns} FROM messages"),
        );
        for (all, others) in [(&ours, &theirs), (&theirs, &ours)] {
            let differing = self.query(&format!(
                "SELECT * FROM ({all} EXCEPT DISTINCT {others}) LIMIT 3 FORMAT Vertical"
            ));
            assert_eq!(differing, "", "{all} EXCEPT DISTINCT {others}");
        }
    }

    /// Checks that the block and the number in the headers tell a row from all others, and that a row
    /// that is in the topic twice has the same ones.
    pub fn assert_headers(&self) {
        let columns = &self.columns;
        let distinct = self.query(&format!(
            "SELECT uniqExact({columns}), uniqExact(headers['rowmill-block'], headers['rowmill-row']), \
             uniqExact({columns}, headers['rowmill-block'], headers['rowmill-row']) FROM messages"
        ));
        let mut counts = distinct.trim().split('\t');
        let first = counts.next();
        assert!(counts.all(|count| Some(count) == first), "{distinct}");
    }
}

/// Returns the columns of a table that rows have, with their types.
fn structure(database: &Database, table: &str) -> String {
    list(database, table, "concat('`', name, '` ', type)")
}

fn list(database: &Database, table: &str, item: &str) -> String {
    let list = database.query(&format!(
        "SELECT arrayStringConcat(groupArray({item}), ', ') FROM (SELECT * FROM system.columns \
         WHERE database = '{}' AND table = '{table}' AND default_kind IN ('', 'DEFAULT') ORDER BY position) \
         FORMAT TSVRaw",
        database.name
    ));
    list.trim_end().to_owned()
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Otherwise the engine looks for the broker until the end of the run.
        let _ = self.database.try_query("DROP TABLE IF EXISTS reading");
        let _ = self.database.try_query("DROP TABLE IF EXISTS queue");
    }
}
