//! The rows of a person in one table, as an expression of SQL that does not contain the value.

use ring::digest::{SHA256, digest};

use crate::store::quoted;

/// One column of a table.
#[derive(Debug)]
pub(super) struct ColumnOfTable {
    pub(super) name: String,
    pub(super) data_type: String,
}

/// The types whose values cannot be compared with one value.
const COMPOUND_TYPES: [&str; 8] = [
    "AggregateFunction",
    "Dynamic",
    "JSON",
    "Nested",
    "Object",
    "QBit",
    "Tuple",
    "Variant",
];

/// Returns the condition for the rows that have the value in one of the columns, or under their names
/// in an extra; `None` if the table has none of them.
///
/// # Errors
///
/// The reason why the condition cannot be written.
pub(super) fn of_table(columns: &[ColumnOfTable], names: &[&str], value: &str) -> Result<Option<String>, String> {
    let hash = hash(value);
    let mut conditions = Vec::new();
    for name in names {
        match columns.iter().find(|column| column.name == *name) {
            Some(column) => conditions.push(of_column(column, &hash)?),
            None => conditions.extend(extras(columns).filter_map(|extra| of_extra(extra, name, &hash))),
        }
    }
    Ok((!conditions.is_empty()).then(|| conditions.join(" OR ")))
}

/// Returns the SHA-256 of a value, as ClickHouse's `hex` prints it.
fn hash(value: &str) -> String {
    let hash = digest(&SHA256, value.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

fn of_column(column: &ColumnOfTable, hash: &str) -> Result<String, String> {
    let ColumnOfTable { name, data_type } = column;
    let inner = bare(data_type);
    if let Some(compound) = COMPOUND_TYPES.iter().find(|compound| inner.starts_with(**compound)) {
        return Err(format!(
            "the column `{name}` has the type {compound}, whose values are several"
        ));
    }
    let name = quoted(name);
    if inner.starts_with("Array(") {
        return Ok(format!(
            "arrayExists(x -> ifNull({}, 0), {name})",
            is_hash("x", inner, hash)
        ));
    }
    if inner.starts_with("Map(") {
        return Ok(format!(
            "arrayExists(x -> ifNull({}, 0), mapValues({name}))",
            is_hash("x", inner, hash)
        ));
    }
    Ok(format!("ifNull({}, 0)", is_hash(&name, inner, hash)))
}

/// Returns the comparison of one value.
fn is_hash(value: &str, data_type: &str, hash: &str) -> String {
    // A FixedString has zeros up to its length.
    let to_text = if data_type.contains("FixedString") {
        "toStringCutToZero"
    } else {
        "toString"
    };
    format!("hex(SHA256({to_text}({value}))) = '{hash}'")
}

/// Returns a type without LowCardinality and Nullable around it.
fn bare(data_type: &str) -> &str {
    for wrapper in ["LowCardinality(", "Nullable("] {
        if let Some(inner) = data_type.strip_prefix(wrapper) {
            return bare(inner.strip_suffix(')').unwrap_or(inner));
        }
    }
    data_type
}

/// Returns the prefixes of the columns `….key` and `….value` of extras.
fn extras(columns: &[ColumnOfTable]) -> impl Iterator<Item = &str> {
    let has = |name: String| columns.iter().any(|column| column.name == name);
    columns
        .iter()
        .filter_map(|column| column.name.strip_suffix(".key"))
        .filter(move |prefix| prefix.ends_with("extra") && has(format!("{prefix}.value")))
}

/// Returns the condition for an extra; `None` if it has no keys of this path.
fn of_extra(extra: &str, name: &str, hash: &str) -> Option<String> {
    let path = extra.strip_suffix("extra")?;
    let key = name.strip_prefix(path)?.replace('\\', "\\\\").replace('\'', "\\'");
    let (keys, values) = (quoted(&format!("{extra}.key")), quoted(&format!("{extra}.value")));
    let is_value = is_hash("v", "String", hash);
    Some(format!(
        "arrayExists((k, v) -> k = '{key}' AND {is_value}, {keys}, {values})"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HASH: &str = "2C26B46B68FFC68FF99B453C1D30413413422D706483BFA0F98A5E886266E7AE";

    fn condition(types: &[(&str, &str)], names: &[&str]) -> Result<Option<String>, String> {
        let columns = types.iter().map(|(name, data_type)| ColumnOfTable {
            name: (*name).to_owned(),
            data_type: (*data_type).to_owned(),
        });
        let columns: Vec<_> = columns.collect();
        of_table(&columns, names, "foo").map(|condition| condition.map(|text| text.replace(HASH, "HASH")))
    }

    #[test]
    fn a_condition_has_the_hash_of_the_value() {
        for (data_type, expected) in [
            ("String", "ifNull(hex(SHA256(toString(`a`))) = 'HASH', 0)"),
            (
                "LowCardinality(Nullable(String))",
                "ifNull(hex(SHA256(toString(`a`))) = 'HASH', 0)",
            ),
            (
                "FixedString(8)",
                "ifNull(hex(SHA256(toStringCutToZero(`a`))) = 'HASH', 0)",
            ),
            (
                "Array(Nullable(UUID))",
                "arrayExists(x -> ifNull(hex(SHA256(toString(x))) = 'HASH', 0), `a`)",
            ),
            (
                "Map(String, String)",
                "arrayExists(x -> ifNull(hex(SHA256(toString(x))) = 'HASH', 0), mapValues(`a`))",
            ),
        ] {
            assert_eq!(
                condition(&[("a", data_type)], &["a"]).unwrap().unwrap(),
                expected,
                "{data_type}"
            );
        }
        assert!(condition(&[("a", "Tuple(String, String)")], &["a"]).is_err());
        assert_eq!(condition(&[("b", "String")], &["a"]), Ok(None));
    }

    #[test]
    fn an_extra_has_values_without_a_column() {
        let pair = [("extra.key", "Array(String)"), ("extra.value", "Array(String)")];
        assert_eq!(
            condition(&pair, &["it's"]).unwrap().unwrap(),
            "arrayExists((k, v) -> k = 'it\\'s' AND hex(SHA256(toString(v))) = 'HASH', `extra.key`, `extra.value`)"
        );
        let below = [("td_extra.key", "Array(String)"), ("td_extra.value", "Array(String)")];
        assert_eq!(condition(&below, &["email"]), Ok(None));
        assert!(
            condition(&below, &["td_email"])
                .unwrap()
                .unwrap()
                .contains("k = 'email'")
        );
        assert_eq!(condition(&[("extra.key", "Array(String)")], &["email"]), Ok(None));
    }
}
