//! The JSON Schema of the YAML: with it, an editor completes keys, shows their meaning and
//! underlines unknown ones.
//!
//! The JSON Schema allows every key that the checker allows. The checker finds missing tables and
//! types that do not parse. No key is required, since files are merged and one may hold only a part
//! of a column or of a destination.

use serde_json::{Value, json};

use crate::{
    declare::{ACKS, FOREIGN_KEYS},
    diagnostic::WARNINGS,
};

/// Returns the [JSON Schema](https://json-schema.org/draft/2020-12) of a schema file, for editors.
pub fn json_schema() -> String {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Rowmill: tables and the events that go to them",
        "type": "object",
        "properties": { "clickhouse": section() },
        "$defs": {
            "column": column(),
            "destination": destination(),
            "expressions": {
                "description": "An expression, or a list of them.",
                "anyOf": [
                    { "$ref": "#/$defs/text_or_nothing" },
                    { "type": "array", "items": { "$ref": "#/$defs/text" } },
                ],
            },
            "options": options(),
            "table": table(),
            // YAML reads some texts as numbers and booleans; Rowmill keeps the text as written.
            "text": { "type": ["string", "number", "boolean"] },
            "text_or_nothing": { "anyOf": [{ "$ref": "#/$defs/text" }, { "type": "null" }] },
        },
    });
    format!("{schema:#}\n")
}

fn section() -> Value {
    let mut section = json!({
        "description": "Tables, and the destinations that lead events to them.",
        "type": ["object", "null"],
        "properties": {
            "destinations": {
                "description": "Which table an event goes to: paths to tables. A path is `service/name`, \
                    `service/default` for \
                                the rest of a service, or `other` for everything else.",
                "type": ["object", "null"],
                // Names of events are matched in lower case, with `_` for each space.
                "propertyNames": { "pattern": "^(other|[^/?#]+/[^/?#\\sA-Z]+)$" },
                "additionalProperties": { "$ref": "#/$defs/destination" },
            },
            "tables": {
                "description": "Tables by their names.",
                "type": ["object", "null"],
                "additionalProperties": { "$ref": "#/$defs/table" },
            },
        },
        // A table may stand beside `tables`.
        "additionalProperties": { "$ref": "#/$defs/table" },
    });
    for key in FOREIGN_KEYS {
        section["properties"][key] =
            json!({ "description": "Not read: an option of the collector, or not needed.", "deprecated": true });
    }
    section
}

fn destination() -> Value {
    json!({
        "description": "The table that the events go to; nothing takes the destination of an earlier file away.",
        "anyOf": [
            { "$ref": "#/$defs/text_or_nothing" },
            {
                "type": "object",
                "properties": {
                    "ack": { "enum": ACKS.map(|(name, _)| name), "description": "What a success says of an event: \
                        it is in memory, on disk, or in its table." },
                    "ack_header": { "type": ["boolean", "null"], "description": "Whether a request may ask for another \
                        acknowledgement, in the header X-Rowmill-Ack." },
                    "rate_limit": { "type": "string", "pattern": "^0*[1-9][0-9]* */ *[smh]$", "description": "How many requests \
                        the route takes: a number a second, a minute or an hour, such as 100/s, 600/m or 1000/h." },
                    "table": { "$ref": "#/$defs/text", "description": "The table that the events go to." },
                },
                "additionalProperties": false,
            },
        ],
    })
}

fn table() -> Value {
    json!({
        "description": "A table: its columns by their names, and its `_options`.",
        "type": "object",
        "properties": { "_options": { "$ref": "#/$defs/options" } },
        "additionalProperties": { "$ref": "#/$defs/column" },
    })
}

fn column() -> Value {
    let key = |description: &str| json!({ "$ref": "#/$defs/text", "description": description });
    json!({
        "description": "A column: its type as ClickHouse has it, and behind it DEFAULT, MATERIALIZED, ALIAS, \
            EPHEMERAL, CODEC, TTL and COMMENT; or a mapping with a key for each. Nothing takes an inherited column away.",
        "anyOf": [
            { "type": ["string", "null"] },
            {
                "type": "object",
                "properties": {
                    "type": {
                        "type": "string",
                        "description": "The type as ClickHouse has it, for example `LowCardinality(String)`; \
                            modifiers may stand behind it.",
                    },
                    "default": key("The expression for a row that has no value: a text of SQL stands between single \
                        quotes of its own, `\"'EUR'\"`."),
                    "materialized": key("The expression that ClickHouse computes and stores; no event fills the \
                        column."),
                    "alias": key("The expression that ClickHouse computes whenever the column is read; it is not \
                        stored."),
                    "ephemeral": {
                        "$ref": "#/$defs/text_or_nothing",
                        "description": "The column is not stored, only there for the defaults of others; its own \
                            default, or nothing.",
                    },
                    "codec": key("How the column is compressed, for example `Delta, ZSTD(1)`."),
                    "ttl": key("When a value is given up, for example `date + INTERVAL 1 MONTH`."),
                    "required": {
                        "type": "boolean",
                        "description": "Whether an event that does not give the column is refused.",
                    },
                    "from": {
                        "description": "Where the value stands in an event, if not under the column's own name: the \
                            keys down to it with dots between them, for example `address.city`; or a list of such \
                            paths, of which the first that an event has counts.",
                        "anyOf": [
                            { "$ref": "#/$defs/text" },
                            { "type": "array", "items": { "$ref": "#/$defs/text" }, "minItems": 1 },
                        ],
                    },
                    "was": {
                        "description": "The name that the column had before it was renamed, or a list of such names: a table that \
                            still has one of them is to be altered, and rows that wait under it go into this column.",
                        "anyOf": [
                            { "$ref": "#/$defs/text" },
                            { "type": "array", "items": { "$ref": "#/$defs/text" } },
                        ],
                    },
                    "max_age": {
                        "type": "string",
                        "pattern": "^ *0*[1-9][0-9]* +(second|minute|hour|day)s? *$",
                        "description": "How long before the event's arrival a date may be, as `400 days`; an event with an \
                            earlier one is refused.",
                    },
                    "max_ahead": {
                        "type": "string",
                        "pattern": "^ *0*[1-9][0-9]* +(second|minute|hour|day)s? *$",
                        "description": "How long after the event's arrival a date may be, as `2 days`; an event with a later \
                            one is refused.",
                    },
                    "max_bytes": {
                        "type": "integer",
                        "minimum": 1,
                        "description": "How many bytes a value may take; an event with a longer one is refused.",
                    },
                    "comment": key("What the column holds; it stands in ClickHouse and in the documentation of the \
                        Rust field."),
                },
                "additionalProperties": false,
            },
        ],
    })
}

fn options() -> Value {
    let text = |description: &str| json!({ "$ref": "#/$defs/text_or_nothing", "description": description });
    let expressions = |description: &str| json!({ "$ref": "#/$defs/expressions", "description": description });
    let by_name = |of: &str, description: &str| {
        json!({
            "description": description,
            "type": ["object", "null"],
            "additionalProperties": { "$ref": format!("#/$defs/{of}") },
        })
    };
    json!({
        "description": "What a table extends, its engine, and what stands in its CREATE TABLE beside its columns.",
        "type": ["object", "null"],
        "properties": {
            "abstract": {
                "description": "Whether the table is only there to be extended and does not exist in ClickHouse.",
                "type": ["boolean", "null"],
            },
            "allow": {
                "description": "The warnings of the checker that are meant to be so, one or a list of them.",
                "anyOf": [
                    { "enum": WARNINGS },
                    { "type": "array", "items": { "enum": WARNINGS } },
                    { "type": "null" },
                ],
            },
            "cluster": text("The cluster on which the table is created."),
            "comment": text("What the table holds; it stands in ClickHouse and in the documentation of the Rust \
                row. It is not inherited."),
            "engine": text("The table engine as ClickHouse has it, for example `ReplacingMergeTree(version)`."),
            "extend": text("The table whose columns and options this one takes over."),
            "indexes": by_name("text_or_nothing", "Data skipping indexes by their names, for example `email TYPE \
                bloom_filter GRANULARITY 4`; nothing takes an inherited one away."),
            "order_by": expressions("The sorting key."),
            "partition_by": expressions("The partition key."),
            "primary_key": expressions("The primary key, if it is not the sorting key."),
            "projections": by_name("text_or_nothing", "Projections by their names, for example `SELECT * ORDER BY \
                email`; nothing takes an inherited one away."),
            "sample_by": expressions("The sampling key."),
            "settings": by_name("text", "Settings of the table engine by their names."),
            "ttl": text("When rows are deleted or moved, for example `date + INTERVAL 1 YEAR`."),
        },
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::{COLUMN_KEYS, DESTINATION_KEYS, OPTION_KEYS};

    fn keys(schema: &Value) -> Vec<&str> {
        let mut keys: Vec<&str> = schema["properties"]
            .as_object()
            .into_iter()
            .flat_map(|properties| properties.keys().map(String::as_str))
            .collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn the_keys_are_those_of_the_checker() {
        assert_eq!(keys(&options()), OPTION_KEYS);
        assert_eq!(keys(&column()["anyOf"][1]), COLUMN_KEYS);
        assert_eq!(keys(&destination()["anyOf"][1]), DESTINATION_KEYS);
    }

    #[test]
    fn each_reference_has_its_definition() {
        let text = json_schema();
        let names: Vec<&str> = text
            .split("\"#/$defs/")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(!names.is_empty());
        for name in names {
            assert!(text.contains(&format!("\n    \"{name}\": {{")), "{name}");
        }
    }
}
