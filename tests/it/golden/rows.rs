//! The rows that the original's rules make of events, and the rows in the tables.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::engine::Database;

/// The tables of the requests, each with its columns for fields of an event.
const TABLES: [(&str, &[&str]); 3] = [
    (
        "mail_statistics",
        &[
            "event",
            "email",
            "message_id",
            "list_id",
            "task_id",
            "link_id",
            "detailed",
        ],
    ),
    ("webhooks", &[]),
    ("events", &[]),
];

/// Fields of an event that the original overwrites with its own values.
const OVERWRITTEN: [&str; 10] = [
    "id",
    "channel",
    "uid",
    "name",
    "service",
    "projectId",
    "td",
    "date",
    "dateTime",
    "timestamp",
];

/// Returns the row that the original's rules make of an event.
///
/// The test `flatten` checks the order of pairs in an extra; here the pairs are sorted.
pub fn row_of(event: &Value, uid: String, extra: Option<(&str, &str)>) -> (&'static str, Value) {
    let (service, name) = (event["service"].as_str().unwrap(), event["name"].as_str().unwrap());
    let (table, columns) = match (service, name) {
        ("wh", "mail") => TABLES[0],
        _ => TABLES[1],
    };
    let mut row = json!({
        "service": service, "name": name, "channel": event["channel"], "uid": uid,
        // A value that is not a number leaves the column its default.
        "projectId": event["projectId"].as_u64().unwrap_or(0),
        "td_ip": event["td"]["ip"], "td_ua": "", "td_ref": "", "td_fpid": "0", "td_extra": [],
    });
    for column in columns {
        row[column] = json!("");
    }
    let mut pairs = Vec::new();
    if let Some((key, value)) = extra {
        pairs.push((key.to_owned(), value.to_owned()));
    }
    for (key, value) in event["data"].as_object().unwrap() {
        if !OVERWRITTEN.contains(&key.as_str()) {
            flatten(key.clone(), value, &mut pairs);
        }
    }
    let (of_columns, mut of_extra): (Vec<_>, Vec<_>) =
        pairs.into_iter().partition(|(key, _)| columns.contains(&key.as_str()));
    for (column, value) in of_columns {
        row[column] = json!(value);
    }
    of_extra.sort();
    row["extra"] = json!(of_extra);
    (table, row)
}

fn flatten(path: String, value: &Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                flatten(format!("{path}_{key}"), value, pairs);
            }
        }
        Value::Array(items) => pairs.push((path, items.iter().map(text_of).collect::<Vec<_>>().join(","))),
        _ => pairs.push((path, text_of(value))),
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns all rows by id, each with its table, in the form of [`row_of`].
pub fn rows(database: &Database) -> BTreeMap<u64, (&'static str, Value)> {
    let mut rows = BTreeMap::new();
    for (table, columns) in TABLES {
        let columns: String = columns.iter().map(|column| format!(", {column}")).collect();
        let extra = if table == "events" { "data_extra" } else { "extra" };
        let text = database.query(&format!(
            "SELECT id, service, name, channel, uid, projectId, td_ip, td_ua, td_ref, td_fpid, td_extra.key AS td_extra, \
             arraySort(arrayZip({extra}.key, {extra}.value)) AS extra{columns} FROM {table} \
             SETTINGS output_format_json_quote_64bit_integers = 1 FORMAT JSONEachRow"
        ));
        for line in text.lines() {
            let mut row: Value = serde_json::from_str(line).unwrap();
            let id = row.as_object_mut().unwrap().remove("id").unwrap();
            rows.insert(id.as_str().unwrap().parse().unwrap(), (table, row));
        }
    }
    rows
}
