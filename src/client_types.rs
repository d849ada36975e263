//! `rowmill client-types`: the TypeScript types of the browser client, for the routes of a schema.

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, Write},
};

use rowmill_ingest::{
    route::Destination,
    table::{Column, Schema, Table},
};

/// The columns that the collector fills in tables that inherit `base`.
const OF_COLLECTOR: [&str; 9] = [
    "id",
    "uid",
    "date",
    "dateTime",
    "timestamp",
    "channel",
    "projectId",
    "name",
    "service",
];

const HEADER: &str = "\
// The types of the browser client, from the tables of this collector. `rowmill client-types` has written them.

export interface Options {
  /** The address of the collector, with a slash at its end. */
  url?: string
  /** Whether requests contain the visitor's cookie. */
  credentials?: RequestCredentials
  /** The time for which an event waits for others of its route, in milliseconds. */
  delay?: number
  /** The longest pause before a batch is sent again, in milliseconds. */
  maxPause?: number
  /** Called for events that are refused or dropped. */
  onError?: (error: { route?: string; status?: number; answer?: unknown; reason?: string; dropped?: number }) => void
}
";

/// Prints the types.
pub(crate) fn print(destinations: &[Destination], schema: &Schema) -> Result<(), Box<dyn Error>> {
    io::stdout().write_all(types(destinations, schema).as_bytes())?;
    Ok(())
}

/// Returns the declarations of the module `/rowmill.mjs`, and of the global of `/rowmill.js`.
fn types(destinations: &[Destination], schema: &Schema) -> String {
    let mut text = HEADER.to_owned();
    let (mut routes, mut families) = (String::new(), String::new());
    for destination in destinations {
        let Some((service, name)) = destination.path.split_once('/') else {
            continue;
        };
        let Some(table) = schema.tables.iter().find(|table| table.name == destination.table) else {
            continue;
        };
        // Writing to a string cannot fail.
        let _ = match name {
            "default" => writeln!(
                families,
                "  (route: `{service}/${{string}}`, event: {}): void",
                interface(table)
            ),
            _ => writeln!(routes, "  {:?}: {}", destination.path, interface(table)),
        };
    }
    for table in schema.tables {
        if destinations.iter().any(|destination| destination.table == table.name) {
            write_table(&mut text, table);
        }
    }
    let _ = write!(
        text,
        "
export interface Routes {{
{routes}}}

export interface Send {{
  <R extends keyof Routes>(route: R, event: Routes[R]): void
{families}}}

export interface Rowmill {{
  configure(options: Options): Options
  send: Send
  /** Sends the events that wait; resolves when they are sent, or a batch has to wait. */
  flush(): Promise<void>
}}

export const configure: Rowmill['configure']
export const send: Send
export const flush: Rowmill['flush']
declare const rowmill: Rowmill
export default rowmill

declare global {{
  var rowmill: Rowmill
}}
"
    );
    text
}

/// Returns the name of a table's interface: `MailStatistics` for `mail_statistics`.
fn interface(table: &Table) -> String {
    let words = table.name.split(|c: char| !c.is_alphanumeric());
    let mut name = String::new();
    for word in words {
        let mut chars = word.chars();
        name.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        name.push_str(chars.as_str());
    }
    let is_taken = ["Options", "Rowmill", "Routes", "Send"].contains(&name.as_str());
    match name.starts_with(|c: char| c.is_alphabetic()) && !is_taken {
        true => name,
        false => format!("Table{name}"),
    }
}

fn write_table(text: &mut String, table: &Table) {
    let _ = writeln!(text, "\n/** An event for the table `{}`. */", table.name);
    let _ = writeln!(text, "export interface {} {{", interface(table));
    let has_base = table.columns.iter().any(|column| column.name == "dateTime");
    for column in table.columns {
        let is_of_collector = has_base && (OF_COLLECTOR.contains(&column.name) || column.name.starts_with("td_"));
        let is_extra = column.name.ends_with("extra.key") || column.name.ends_with("extra.value");
        if column.kind.is_inserted() && !is_of_collector && !is_extra {
            let _ = writeln!(text, "  /** `{}` */", comment(column.data_type));
            let _ = writeln!(text, "  {}?: {}", key(column.name), type_of(column));
        }
    }
    text.push_str("  /** Fields of other names are kept where the table has a column `extra`. */\n  [field: string]: unknown\n}\n");
}

/// Returns a text that cannot end the comment around it.
fn comment(text: &str) -> String {
    text.replace("*/", "* /").replace(['\n', '\r'], " ")
}

/// Returns the key of a field.
fn key(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty();
    match is_plain {
        true => name.to_owned(),
        false => serde_json::Value::from(name).to_string(),
    }
}

fn type_of(column: &Column) -> String {
    let json = json_type(column.data_type);
    match column.is_nullable || json == "unknown" {
        false => format!("{json} | null"),
        true => json,
    }
}

/// Returns the type of the values that a column of a type accepts.
fn json_type(data_type: &str) -> String {
    if let Some(inner) = argument(data_type, "LowCardinality") {
        return json_type(inner);
    }
    if let Some(inner) = argument(data_type, "Nullable") {
        return format!("{} | null", json_type(inner));
    }
    if let Some(inner) = argument(data_type, "Array") {
        return format!("Array<{}>", json_type(inner));
    }
    let family = data_type.split('(').next().unwrap_or_default();
    match family {
        "Bool" => "boolean",
        "String" | "FixedString" => "string | number | boolean",
        "UUID" | "IPv4" | "IPv6" | "Enum8" | "Enum16" => "string",
        "Map" => "Record<string, unknown>",
        _ if family.starts_with("Int") || family.starts_with("UInt") => "number | string | boolean",
        _ if family.starts_with("Float") || family.starts_with("Decimal") => "number | string",
        _ if family.starts_with("Date") => "string | number | Date",
        _ if family.starts_with("Time") => "string | number",
        _ => "unknown",
    }
    .to_owned()
}

/// Returns the argument of a type such as `Nullable(…)`.
fn argument<'t>(data_type: &'t str, family: &str) -> Option<&'t str> {
    data_type.strip_prefix(family)?.strip_prefix('(')?.strip_suffix(')')
}

#[cfg(test)]
mod tests {
    use rowmill_ingest::route::Routes;

    use super::*;
    use crate::tables;

    #[test]
    fn the_routes_have_the_columns_of_their_tables() {
        let text = types(tables::Routes::DESTINATIONS, tables::Routes::schema());
        for line in [
            "  \"wh/mail\": MailStatistics\n",
            "  (route: `track/${string}`, event: Events): void\n",
            "export interface MailStatistics {\n  /** `String` */\n  event?: string | number | boolean | null\n",
            "  \"track/ping\": Ping\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        // The collector's own columns are not fields of events.
        assert!(!text.contains("  dateTime?:") && !text.contains("  td_ip?:"), "{text}");
    }

    #[test]
    fn each_name_and_type_is_valid_typescript() {
        assert_eq!(key("a_1"), "a_1");
        assert_eq!(key("a-b\"c"), r#""a-b\"c""#);
        assert_eq!(key("1a"), "\"1a\"");
        assert_eq!(
            json_type("Array(LowCardinality(Nullable(UInt8)))"),
            "Array<number | string | boolean | null>"
        );
        assert_eq!(json_type("JSON"), "unknown");
        assert_eq!(comment("Enum8('*/' = 1)"), "Enum8('* /' = 1)");
    }
}
