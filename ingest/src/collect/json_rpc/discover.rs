//! `rpc.discover`: the description of all methods, by the
//! [OpenRPC](https://spec.open-rpc.org) specification 1.3.

use serde_json::{Value, json, value::RawValue};

use crate::{
    collect::route::{Destination, Routes},
    table::{Column, Schema},
};

/// Returns the OpenRPC document of the routes.
pub(super) fn document<R: Routes>() -> Box<RawValue> {
    let schema = R::schema();
    let declared = R::DESTINATIONS.iter();
    let methods: Vec<Value> = declared.filter_map(|route| method(route, schema)).collect();
    let document = json!({
        "openrpc": "1.3.2",
        "info": { "title": "Rowmill", "version": env!("CARGO_PKG_VERSION") },
        "methods": methods,
    });
    serde_json::value::to_raw_value(&document).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Returns the description of a route's method; `None` for `other`, which stands for every method.
fn method(route: &Destination, schema: &Schema) -> Option<Value> {
    let (service, name) = route.path.split_once('/')?;
    let table = schema.table(route.table)?;
    let columns = table.columns.iter().filter(|column| column.kind.is_inserted());
    let params: Vec<Value> = columns.map(param).collect();
    Some(json!({
        "name": format!("{service}.{name}"),
        "summary": format!("Records an event in the table `{}`.", table.name),
        "paramStructure": "by-name",
        "params": params,
        "result": {
            "name": "receipt",
            "schema": {
                "type": "object",
                "properties": { "key": { "type": "string" }, "id": { "type": "string" } },
            },
        },
    }))
}

fn param(column: &Column) -> Value {
    let mut schema = schema_of(column.data_type);
    schema["description"] = column.data_type.into();
    json!({ "name": column.name, "required": false, "schema": schema })
}

/// Returns the JSON Schema of the values that a column of a type accepts in JSON.
fn schema_of(data_type: &str) -> Value {
    if let Some(inner) = argument(data_type, "LowCardinality") {
        return schema_of(inner);
    }
    if let Some(inner) = argument(data_type, "Nullable") {
        return json!({ "anyOf": [schema_of(inner), { "type": "null" }] });
    }
    if let Some(inner) = argument(data_type, "Array") {
        return json!({ "type": "array", "items": schema_of(inner) });
    }
    let family = data_type.split('(').next().unwrap_or_default();
    match family {
        "Bool" => json!({ "type": "boolean" }),
        "String" | "FixedString" | "UUID" | "IPv4" | "IPv6" | "Enum8" | "Enum16" => json!({ "type": "string" }),
        "Map" => json!({ "type": "object" }),
        _ if family.starts_with("Int") || family.starts_with("UInt") => json!({ "type": ["integer", "string"] }),
        _ if family.starts_with("Float") || family.starts_with("Decimal") => json!({ "type": ["number", "string"] }),
        _ if family.starts_with("Date") || family.starts_with("Time") => json!({ "type": ["string", "number"] }),
        // Any value; the description has the type.
        _ => json!({}),
    }
}

/// Returns the argument of a type such as `Nullable(…)`.
fn argument<'t>(data_type: &'t str, family: &str) -> Option<&'t str> {
    data_type.strip_prefix(family)?.strip_prefix('(')?.strip_suffix(')')
}
