//! The JSON Schema of the YAML: with it, an editor completes keys, shows their meaning and
//! underlines unknown ones.
//!
//! The JSON Schema allows every key that the checker allows. The checker finds missing tables and
//! types that do not parse. No key is required, since files are merged and one may hold only a part
//! of a column or of a destination.

mod privacy;
mod routes;

use serde_json::{Value, json};

use crate::{
    declare::{ACKS, FOREIGN_KEYS, Source, UNITS, UNKNOWN_KEYS},
    diagnostic::{ALLOWED_ERRORS, WARNINGS},
};

/// Returns the [JSON Schema](https://json-schema.org/draft/2020-12) of a schema file, for editors.
pub fn json_schema() -> String {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Rowmill: tables and the destinations of their events",
        "type": "object",
        "properties": { "clickhouse": section(), "presets": presets(), "standard": standard() },
        "$defs": {
            "column": column(),
            "destination": destination(),
            "dictionary": dictionary(),
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
            "view": view(),
        },
    });
    format!("{schema:#}\n")
}

fn presets() -> Value {
    let preset = json!({ "enum": crate::presets::all().collect::<Vec<_>>() });
    json!({
        "description": "The senders of mail whose tables and routes the schema includes.",
        "anyOf": [preset, { "type": "array", "items": preset }],
    })
}

fn standard() -> Value {
    json!({
        "description": "Whether the schema includes the standard tables `webhooks`, `events`, `activity` and `ping`, \
            and the abstract table `base`, which other tables extend.",
        "type": "boolean",
    })
}

fn section() -> Value {
    let mut section = json!({
        "description": "Tables, and the destinations of events.",
        "type": ["object", "null"],
        "properties": {
            "cluster": {
                // A table may have this name, too.
                "anyOf": [
                    { "type": "string", "description": "The cluster on which Rowmill creates all tables, views and dictionaries \
                        that name none." },
                    { "$ref": "#/$defs/table" },
                ],
            },
            "destinations": {
                "description": "The table for each path. A path is `service/name`, `service/default` for all other \
                    names of a service, or `other` for all other events.",
                "type": ["object", "null"],
                // Names of events are matched in lower case, with `_` for each space.
                "propertyNames": { "pattern": "^(other|[^/?#]+/[^/?#\\sA-Z]+)$" },
                "additionalProperties": { "$ref": "#/$defs/destination" },
            },
            "dictionaries": {
                "description": "Dictionaries by their names, for `dictGet` in columns and views.",
                // A table may have this name, too.
                "anyOf": [
                    { "type": ["object", "null"], "additionalProperties": { "$ref": "#/$defs/dictionary" } },
                    { "$ref": "#/$defs/table" },
                ],
            },
            "tables": {
                "description": "Tables by their names.",
                "type": ["object", "null"],
                "additionalProperties": { "$ref": "#/$defs/table" },
            },
            "views": {
                "description": "Materialized views by their names.",
                // A table may have this name, too.
                "anyOf": [
                    { "type": ["object", "null"], "additionalProperties": { "$ref": "#/$defs/view" } },
                    { "$ref": "#/$defs/table" },
                ],
            },
        },
        // A table may also be directly under `clickhouse`.
        "additionalProperties": { "$ref": "#/$defs/table" },
    });
    for key in FOREIGN_KEYS {
        section["properties"][key] =
            json!({ "description": "Rowmill ignores this option of the original collector.", "deprecated": true });
    }
    section
}

fn destination() -> Value {
    json!({
        "description": "The table for the events of this path; an empty value removes the destination of an earlier file.",
        "anyOf": [
            { "$ref": "#/$defs/text_or_nothing" },
            {
                "type": "object",
                "properties": {
                    "ack": { "enum": ACKS.map(|(name, _)| name), "description": "The meaning of a successful response: \
                        the event is in memory, on disk, in the shared log, or in its table." },
                    "ack_header": { "type": ["boolean", "null"], "description": "Whether a request may choose another \
                        acknowledgement, with the header X-Rowmill-Ack." },
                    "adapter": routes::adapter(),
                    "answer": routes::answer(),
                    "automated": privacy::automated(),
                    "idempotency": routes::idempotency(),
                    "methods": routes::methods(),
                    "parse": routes::parse(),
                    "paths": routes::paths(),
                    "privacy": privacy::privacy(),
                    "items": { "type": "string", "pattern": "^[^.]+(\\.[^.]+){0,7}$", "description": "The path of the events in \
                        a JSON document, its keys joined by dots, for example batch or data.events: an array of objects, or \
                        one object." },
                    "rate_limit": { "type": "string", "pattern": "^0*[1-9][0-9]* */ *[smh]$", "description": "The largest number \
                        of requests per second, minute or hour, for example 100/s, 600/m or 1000/h." },
                    "redirect": routes::redirect(),
                    "stream": routes::stream(),
                    "table": { "$ref": "#/$defs/text", "description": "The table for the events." },
                    "verify": routes::verify(),
                    "with": {
                        "description": "A field at the root of the document that each of its events gets, or a list of \
                            them; a field of the event takes precedence. Needs `items`.",
                        "anyOf": [
                            { "$ref": "#/$defs/text" },
                            { "type": "array", "items": { "$ref": "#/$defs/text" }, "maxItems": 32 },
                        ],
                    },
                },
                "additionalProperties": false,
            },
        ],
    })
}

fn dictionary() -> Value {
    let text = |description: &str| json!({ "$ref": "#/$defs/text_or_nothing", "description": description });
    json!({
        "description": "A dictionary of ClickHouse; an empty value removes the dictionary of an earlier file.",
        "type": ["object", "null"],
        "properties": {
            "attributes": {
                "description": "The types of the attributes by their names, the key's among them, for example \
                    `String DEFAULT 'unknown'`.",
                "type": ["object", "null"],
                "additionalProperties": { "$ref": "#/$defs/text" },
            },
            "cluster": text("The cluster on which Rowmill creates the dictionary."),
            "comment": text("A description of the dictionary."),
            "layout": text("How ClickHouse keeps the dictionary in memory, for example `HASHED()` or \
                `COMPLEX_KEY_HASHED()`."),
            "lifetime": text("The seconds between two updates, for example `300` or `MIN 300 MAX 360`."),
            "primary_key": { "$ref": "#/$defs/expressions", "description": "The attribute that is the key, or a list of \
                them." },
            "range": text("The attributes of a range, for example `MIN first MAX last`."),
            "settings": text("Settings of the dictionary, for example `max_threads = 1`."),
            "source": text("The source of the data, for example `CLICKHOUSE(TABLE 'countries')` or `NULL()`."),
        },
        "additionalProperties": false,
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

fn view() -> Value {
    let text = |description: &str| json!({ "$ref": "#/$defs/text_or_nothing", "description": description });
    json!({
        "description": "A materialized view; an empty value removes the view of an earlier file.",
        "type": ["object", "null"],
        "properties": {
            "cluster": text("The cluster on which Rowmill creates the view."),
            "comment": text("A description of the view, for ClickHouse."),
            "refresh": text("The schedule of a refreshable view, for example `EVERY 1 HOUR`. Without it, the view processes \
                each inserted row."),
            "select": text("The query of the view."),
            "to": {
                "description": "The table that receives the rows: the name of a table of the schema, or the name of a \
                    table that no event fills, with its columns and `_options`.",
                "anyOf": [
                    { "$ref": "#/$defs/text_or_nothing" },
                    {
                        "type": "object",
                        "additionalProperties": { "$ref": "#/$defs/table" },
                        "minProperties": 1,
                        "maxProperties": 1,
                    },
                ],
            },
        },
        "additionalProperties": false,
    })
}

fn column() -> Value {
    let key = |description: &str| json!({ "$ref": "#/$defs/text", "description": description });
    json!({
        "description": "A column: its type as in ClickHouse, and after it DEFAULT, MATERIALIZED, ALIAS, EPHEMERAL, \
            CODEC, TTL and COMMENT; or a mapping with a key for each. An empty value removes an inherited column.",
        "anyOf": [
            { "type": ["string", "null"] },
            {
                "type": "object",
                "properties": {
                    "type": {
                        "type": "string",
                        "description": "The type as in ClickHouse, for example `LowCardinality(String)`; \
                            modifiers may follow it.",
                    },
                    "default": key("The expression for a row without a value; a string of SQL has its own single \
                        quotes, for example `\"'EUR'\"`."),
                    "materialized": key("The expression that ClickHouse computes and stores; events do not fill \
                        the column."),
                    "alias": key("The expression that ClickHouse computes when a query reads the column; ClickHouse \
                        does not store it."),
                    "ephemeral": {
                        "$ref": "#/$defs/text_or_nothing",
                        "description": "The default of a column that ClickHouse does not store, and that only \
                            the defaults of other columns use; may be empty.",
                    },
                    "codec": key("The compression of the column, for example `Delta, ZSTD(1)`."),
                    "ttl": key("The time at which ClickHouse deletes a value, for example `date + INTERVAL 1 MONTH`."),
                    "deprecated": key("Since when or why the column should not be filled any more, for example `since 2026-10: use \
                        city`. The field of the Rust row is deprecated; events may still fill it."),
                    "example": key("A value of the column, for the documentation of the Rust field."),
                    "owner": key("The person or team to ask about the column, for the documentation of the Rust field."),
                    "pii": privacy::personal(),
                    "required": {
                        "type": "boolean",
                        "description": "Whether the collector rejects an event without the column.",
                    },
                    "from": from(),
                    "was": {
                        "description": "The earlier name of a renamed column, or a list of names. A plan renames the column of an \
                            existing table, and waiting rows with an earlier name go into this column.",
                        "anyOf": [
                            { "$ref": "#/$defs/text" },
                            { "type": "array", "items": { "$ref": "#/$defs/text" } },
                        ],
                    },
                    "max_age": {
                        "type": "string",
                        "pattern": "^ *0*[1-9][0-9]* +(second|minute|hour|day)s? *$",
                        "description": "The longest time that a date may be before the event's arrival, for example `400 days`; \
                            the collector rejects an event with an earlier date.",
                    },
                    "max_ahead": {
                        "type": "string",
                        "pattern": "^ *0*[1-9][0-9]* +(second|minute|hour|day)s? *$",
                        "description": "The longest time that a date may be after the event's arrival, for example `2 days`; \
                            the collector rejects an event with a later date.",
                    },
                    "max_bytes": {
                        "type": "integer",
                        "minimum": 1,
                        "description": "The largest size of a value in bytes; the collector rejects an event with a longer one.",
                    },
                    "unit": {
                        "enum": UNITS.map(|(name, _)| name),
                        "description": "The unit of a JSON number for a DateTime or a DateTime64, which counts the time since \
                            1970; `raw` is the unit of the type, as in ClickHouse.",
                    },
                    "rust": rust_names(),
                    "strict": {
                        "type": "boolean",
                        "description": "Whether values of the column are read by ClickHouse's rules alone, whatever the \
                            table's `strict` is.",
                    },
                    "comment": key("A description of the column, for ClickHouse and the documentation of the \
                        Rust field."),
                },
                "additionalProperties": false,
            },
        ],
    })
}

fn from() -> Value {
    // A text that begins with one `$` names a value of the collector.
    let path = json!({ "type": ["string", "number", "boolean"], "pattern": r"^(\$\$|[^$]|$)" });
    json!({
        "description": "The path of the value in an event, if it is not the column's name: its keys, \
            joined by dots, for example `address.city`; or a list of paths, of which the collector \
            uses the first one that the event has. Or a value of the collector, for example `$id` or \
            `$header.X-GitHub-Event`; in a path, `$$` is a `$`.",
        "anyOf": [
            { "enum": Source::names().collect::<Vec<_>>() },
            { "type": "string", "pattern": r"^\$(header|query)\..", "examples": ["$header.X-GitHub-Event", "$query.utm_source"] },
            path,
            { "type": "array", "items": path, "minItems": 1 },
        ],
    })
}

fn options() -> Value {
    let text = |description: &str| json!({ "$ref": "#/$defs/text_or_nothing", "description": description });
    let expressions = |description: &str| json!({ "$ref": "#/$defs/expressions", "description": description });
    let by_name = |definition: &str, description: &str| {
        json!({
            "description": description,
            "type": ["object", "null"],
            "additionalProperties": { "$ref": format!("#/$defs/{definition}") },
        })
    };
    let allowed: Vec<&str> = WARNINGS.into_iter().chain(ALLOWED_ERRORS).collect();
    json!({
        "description": "The table that this one extends, its engine, and the other clauses of its CREATE TABLE.",
        "type": ["object", "null"],
        "properties": {
            "abstract": {
                "description": "Whether the table does not exist in ClickHouse, and other tables only extend it.",
                "type": ["boolean", "null"],
            },
            "allow": {
                "description": "A warning of the checker that it does not report for this table, or a list of them.",
                "anyOf": [
                    { "enum": allowed },
                    { "type": "array", "items": { "enum": allowed } },
                    { "type": "null" },
                ],
            },
            "cluster": text("The cluster on which Rowmill creates the table."),
            "comment": text("A description of the table, for ClickHouse and the documentation of the Rust \
                row. Other tables do not inherit it."),
            "constraints": by_name("text_or_nothing", "Conditions that each row must fulfil, by their names, for example \
                `CHECK amount > 0`; an empty value removes an inherited constraint."),
            "deprecated": text("Since when or why the table should not be used any more, for the documentation of the Rust row. \
                Other tables do not inherit it."),
            "distributed": text("Whether the rows are on the shards of the table's cluster, or the name of the cluster: `orders` is then \
                a table over all shards, and `orders_local` has the rows of one."),
            "engine": text("The table engine as in ClickHouse, for example `ReplacingMergeTree(version)`."),
            "extend": text("The table whose columns and options this one inherits."),
            "indexes": by_name("text_or_nothing", "Data skipping indexes by their names, for example `email TYPE \
                bloom_filter GRANULARITY 4`; an empty value removes an inherited index."),
            "insert_settings": by_name("text", "Settings of ClickHouse by their names that each insert of the table has, for \
                example `max_insert_threads: 4`."),
            "order_by": expressions("The sorting key."),
            "owner": text("The person or team to ask about the table, for the documentation of the Rust row. Other tables do not \
                inherit it."),
            "partition_by": expressions("The partition key."),
            "primary_key": expressions("The primary key, if it is not the sorting key."),
            "privacy": { "anyOf": [privacy::privacy(), { "type": "null" }] },
            "projections": by_name("text_or_nothing", "Projections by their names, for example `SELECT * ORDER BY \
                email`; an empty value removes an inherited projection."),
            "replicated": {
                "description": "Whether the servers of a shard replicate the table.",
                "type": ["boolean", "null"],
            },
            "rust": text("The name from which the generated Rust derives the names of the table's module, row and \
                layer, if they are not to follow the table's name. Other tables do not inherit it."),
            "sample_by": expressions("The sampling key."),
            "settings": by_name("text", "Settings of the table engine by their names."),
            "sharding_key": expressions("The expression that determines the shard of a row, for example `cityHash64(email)`; \
                the id of the row unless stated."),
            "strict": {
                "description": "Whether values of events are read by ClickHouse's rules alone, without the lenient rules of \
                    docs/types.md.",
                "type": ["boolean", "null"],
            },
            "unknown": {
                "description": "What happens to a key of an event that no column reads: the collector ignores it, counts it \
                    in the metrics (the default), rejects the event, or keeps it in the columns `extra.key` and `extra.value`.",
                "anyOf": [{ "enum": UNKNOWN_KEYS.map(|(name, _)| name) }, { "type": "null" }],
            },
            "ttl": text("The time at which ClickHouse deletes or moves rows, for example `date + INTERVAL 1 YEAR`."),
        },
        "additionalProperties": false,
    })
}

fn rust_names() -> Value {
    let text = |description: &str| json!({ "$ref": "#/$defs/text", "description": description });
    json!({
        "description": "The name of the field in the generated Rust, if it is not to follow the column's name; or a \
            mapping, which can name the values of enums as well.",
        "anyOf": [
            { "$ref": "#/$defs/text" },
            {
                "type": "object",
                "properties": {
                    "name": text("The name of the field."),
                    "values": {
                        "type": "object",
                        "description": "The names of values of the column's enums, for example `'in progress': Running`.",
                        "additionalProperties": { "type": "string", "pattern": "^[^_]+$" },
                    },
                },
                "additionalProperties": false,
            },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::{
        COLUMN_KEYS, DESTINATION_KEYS, DICTIONARY_KEYS, OPTION_KEYS, PRIVACY_KEYS, REDIRECT_KEYS, VERIFY_KEYS,
        VIEW_KEYS,
    };

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
    fn the_keys_match_the_checker() {
        assert_eq!(keys(&view()), VIEW_KEYS);
        assert_eq!(keys(&dictionary()), DICTIONARY_KEYS);
        assert_eq!(keys(&privacy::privacy()), PRIVACY_KEYS);
        assert_eq!(keys(&routes::verify()), VERIFY_KEYS);
        assert_eq!(keys(&routes::redirect()["anyOf"][1]), REDIRECT_KEYS);
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
