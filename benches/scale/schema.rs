//! Schemas of many tables and of wide ones, and events for them.

use std::fmt::Write;

use rowmill_harness::{
    Failure,
    events::{PASS, Requests},
};

/// The columns that the collector fills itself, as in the standard tables.
const BASE: [(&str, &str); 17] = [
    ("id", "UInt64"),
    ("uid", "UInt64"),
    ("date", "Date"),
    ("dateTime", "DateTime"),
    ("timestamp", "UInt64"),
    ("channel", "String"),
    ("projectId", "UInt32"),
    ("name", "String"),
    ("service", "String"),
    ("td_ip", "String"),
    ("td_ua", "String"),
    ("td_fpid", "UInt64"),
    ("td_ref", "String"),
    ("td_extra.key", "Array(String)"),
    ("td_extra.value", "Array(String)"),
    ("extra.key", "Array(String)"),
    ("extra.value", "Array(String)"),
];

/// The columns of the seed's example.
const MAIL: [&str; 7] = [
    "event",
    "email",
    "message_id",
    "list_id",
    "task_id",
    "link_id",
    "detailed",
];

/// The types of the columns of wide tables, in turn: mostly short strings and small numbers, as in
/// web analytics.
const TYPES: [&str; 5] = ["String", "UInt32", "String", "Int16", "Float64"];

/// The maximum memory of the distinct events for wide tables.
const WIDE_BYTES: usize = 256 << 20;

/// Returns the name of a table in the schema of many tables.
pub(crate) fn table_name(index: usize) -> String {
    format!("t{:04}", index + 1)
}

/// Returns the name of the table with `columns` columns.
pub(crate) fn wide_name(columns: usize) -> String {
    format!("c{columns}")
}

/// Returns a schema of `count` tables with the columns of the seed's example.
pub(crate) fn many_tables(count: usize) -> Result<String, Failure> {
    let mail: Vec<_> = MAIL.iter().map(|name| ((*name).to_owned(), "String")).collect();
    schema((0..count).map(|index| (table_name(index), mail.clone())))
}

/// Returns a schema of one table for each number of columns.
pub(crate) fn wide_tables(columns: &[usize]) -> Result<String, Failure> {
    schema(
        columns
            .iter()
            .map(|columns| (wide_name(*columns), own_columns(*columns))),
    )
}

fn own_columns(columns: usize) -> Vec<(String, &'static str)> {
    let own = columns.saturating_sub(BASE.len() + 1);
    let typed = (0..own).zip(TYPES.iter().cycle());
    let mut all = vec![("message_id".to_owned(), "String")];
    all.extend(typed.map(|(index, data_type)| (format!("field_{index}"), *data_type)));
    all
}

fn schema(tables: impl Iterator<Item = (String, Vec<(String, &'static str)>)>) -> Result<String, Failure> {
    let mut destinations = String::new();
    let mut text = String::from("  tables:\n    base:\n");
    for (name, data_type) in BASE {
        writeln!(text, "      {name}: {data_type}")?;
    }
    text.push_str("      _options: { abstract: true }\n");
    for (table, columns) in tables {
        writeln!(destinations, "    wh/{table}: {table}")?;
        writeln!(text, "    {table}:")?;
        for (name, data_type) in columns {
            writeln!(text, "      {name}: {data_type}")?;
        }
        writeln!(
            text,
            "      _options: {{ extend: base, engine: \"MergeTree(date, (service, name, date), 8192)\" }}"
        )?;
    }
    Ok(format!("clickhouse:\n  destinations:\n{destinations}{text}"))
}

/// Returns `count` events of the seed's shape, spread evenly over `tables` tables.
pub(crate) fn events_of_many(tables: usize, count: usize) -> Result<Requests, Failure> {
    let mut body = String::new();
    Requests::with("", "", count, |index, out| {
        let mixed = mixed(index as u64);
        body.clear();
        write!(
            body,
            r#"{{"event":"sent","email":"reader{}@example.com","message_id":"{PASS}-{index:08}-{mixed:016x}","list_id":"{}","#,
            mixed % 1_000_003,
            10_000 + mixed % 50,
        )?;
        write!(
            body,
            r#""task_id":"QWERTY_TASK_{}","link_id":"","detailed":"250 2.0.0 OK {} {:016x} - gsmtp queued"}}"#,
            mixed % 200,
            1_795_492_727 + index / 50,
            mixed.rotate_left(17),
        )?;
        put_request(out, &table_name(index % tables), &body)
    })
}

/// Returns events for the wide table with `columns` columns, each with a value for every column
/// beyond the base.
pub(crate) fn wide_events(columns: usize, count: usize) -> Result<Requests, Failure> {
    let own = own_columns(columns);
    let count = count.min(WIDE_BYTES / (own.len() * 24));
    let mut body = String::new();
    Requests::with("", "", count, |index, out| {
        body.clear();
        write!(body, r#"{{"message_id":"{PASS}-{index:08}""#)?;
        for (column, (name, data_type)) in own.iter().enumerate().skip(1) {
            let value = mixed((index * own.len() + column) as u64);
            match *data_type {
                "String" => write!(body, r#","{name}":"value {:x}""#, value >> 40)?,
                "UInt32" => write!(body, r#","{name}":{}"#, value >> 40)?,
                "Int16" => write!(body, r#","{name}":{}"#, value >> 50)?,
                _ => write!(body, r#","{name}":{}.{}"#, value >> 54, value % 1_000)?,
            }
        }
        body.push('}');
        put_request(out, &wide_name(columns), &body)
    })
}

fn put_request(out: &mut String, table: &str, body: &str) -> Result<(), Failure> {
    write!(
        out,
        "POST /wh/{table} HTTP/1.1\r\nHost: stats.example.com\r\nUser-Agent: mailer/2.4\r\nAccept: */*\r\n\
         Content-Type: application/json\r\nX-Rowmill-Ack: accepted\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

/// Mixes the bits of a number, so that consecutive numbers give unrelated results.
fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}
