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

/// The rows of a person in a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Condition {
    /// The condition for the rows; `None` if no column or extra of the table can be searched.
    pub(super) rows: Option<String>,
    /// Why columns of such a name are not searched.
    pub(super) problems: Vec<String>,
}

/// Returns the condition for the rows that have the value in one of the columns, or under their names
/// in an extra, where it stands if the table had no such column yet.
pub(super) fn of_table(columns: &[ColumnOfTable], names: &[&str], value: &str) -> Condition {
    let hash = hash(value);
    let mut conditions = Vec::new();
    let mut problems = Vec::new();
    for name in names {
        match columns
            .iter()
            .find(|column| column.name == *name)
            .map(|column| of_column(column, &hash))
        {
            Some(Ok(condition)) => conditions.push(condition),
            Some(Err(problem)) => problems.push(problem),
            None => {}
        }
        conditions.extend(extras(columns).filter_map(|extra| of_extra(extra, name, &hash)));
    }
    Condition {
        rows: (!conditions.is_empty()).then(|| conditions.join(" OR ")),
        problems,
    }
}

/// Returns the SHA-256 of a value, as ClickHouse's `hex` prints it.
fn hash(value: &str) -> String {
    let hash = digest(&SHA256, value.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Returns the condition for a column.
///
/// # Errors
///
/// The reason why the column cannot be searched.
fn of_column(column: &ColumnOfTable, hash: &str) -> Result<String, String> {
    let ColumnOfTable { name, data_type } = column;
    let inner = bare(data_type);
    let quoted = quoted(name);
    let (values, each) = match inner.split_once('(') {
        Some(("Array", element)) => (Some(quoted.clone()), bare(element.strip_suffix(')').unwrap_or(element))),
        Some(("Map", _)) => (
            Some(format!("mapValues({quoted})")),
            second_argument(inner).map_or("", bare),
        ),
        _ => (None, inner),
    };
    let is_compound = |of: &&str| each.starts_with(*of);
    if each.is_empty() || COMPOUND_TYPES.iter().chain(&["Array(", "Map("]).any(is_compound) {
        return Err(format!(
            "the column `{name}` has the type {data_type}, whose values are several"
        ));
    }
    Ok(match values {
        Some(values) => format!("arrayExists(x -> ifNull({}, 0), {values})", is_hash("x", each, hash)),
        None => format!("ifNull({}, 0)", is_hash(&quoted, each, hash)),
    })
}

/// Returns the comparison of one value.
fn is_hash(value: &str, data_type: &str, hash: &str) -> String {
    // A FixedString has zeros up to its length.
    let to_text = if data_type.starts_with("FixedString(") {
        "toStringCutToZero"
    } else {
        "toString"
    };
    format!("hex(SHA256({to_text}({value}))) = '{hash}'")
}

/// Returns a type without LowCardinality, Nullable and SimpleAggregateFunction around it.
fn bare(data_type: &str) -> &str {
    for wrapper in ["LowCardinality(", "Nullable("] {
        if let Some(inner) = data_type.strip_prefix(wrapper) {
            return bare(inner.strip_suffix(')').unwrap_or(inner));
        }
    }
    match second_argument(data_type) {
        Some(inner) if data_type.starts_with("SimpleAggregateFunction(") => bare(inner),
        _ => data_type,
    }
}

/// Returns what stands after the first comma between the parentheses of a type: the values of a Map.
fn second_argument(data_type: &str) -> Option<&str> {
    let (_, arguments) = data_type.split_once('(')?;
    let arguments = arguments.strip_suffix(')')?;
    let mut depth = 0_u32;
    let mut is_text = false;
    let mut chars = arguments.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if is_text => drop(chars.next()),
            '\'' => is_text = !is_text,
            _ if is_text => {}
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => return Some(arguments[at + 1..].trim_start()),
            _ => {}
        }
    }
    None
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

    fn condition(types: &[(&str, &str)], names: &[&str]) -> Condition {
        let columns = types.iter().map(|(name, data_type)| ColumnOfTable {
            name: (*name).to_owned(),
            data_type: (*data_type).to_owned(),
        });
        let columns: Vec<_> = columns.collect();
        let Condition { rows, problems } = of_table(&columns, names, "foo");
        Condition {
            rows: rows.map(|text| text.replace(HASH, "HASH")),
            problems,
        }
    }

    fn rows(types: &[(&str, &str)], names: &[&str]) -> String {
        condition(types, names).rows.unwrap()
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
                "SimpleAggregateFunction(anyLast, Nullable(FixedString(8)))",
                "ifNull(hex(SHA256(toStringCutToZero(`a`))) = 'HASH', 0)",
            ),
            (
                "Map(Enum8('it\\'s, (a' = 1, 'b' = 2), LowCardinality(FixedString(8)))",
                "arrayExists(x -> ifNull(hex(SHA256(toStringCutToZero(x))) = 'HASH', 0), mapValues(`a`))",
            ),
            (
                "Map(FixedString(2), UInt64)",
                "arrayExists(x -> ifNull(hex(SHA256(toString(x))) = 'HASH', 0), mapValues(`a`))",
            ),
            (
                "Map(String, String)",
                "arrayExists(x -> ifNull(hex(SHA256(toString(x))) = 'HASH', 0), mapValues(`a`))",
            ),
        ] {
            assert_eq!(rows(&[("a", data_type)], &["a"]), expected, "{data_type}");
        }
        assert_eq!(condition(&[("b", "String")], &["a"]), Condition::default());
    }

    #[test]
    fn a_column_of_several_values_leaves_the_others() {
        for data_type in [
            "Tuple(String, String)",
            "JSON",
            "Array(Array(String))",
            "Array(Tuple(a String))",
            "Map(String, Array(String))",
            "Array(Map(String, String))",
            "SimpleAggregateFunction(groupArrayArray, Array(Array(String)))",
        ] {
            let Condition { rows, problems } = condition(&[("a", data_type), ("b", "String")], &["a", "b"]);
            assert_eq!(
                rows.unwrap(),
                "ifNull(hex(SHA256(toString(`b`))) = 'HASH', 0)",
                "{data_type}"
            );
            assert_eq!(
                problems,
                [format!(
                    "the column `a` has the type {data_type}, whose values are several"
                )]
            );
            assert_eq!(condition(&[("a", data_type)], &["a"]).rows, None);
        }
    }

    #[test]
    fn an_extra_has_values_beside_a_column() {
        let pair = [("extra.key", "Array(String)"), ("extra.value", "Array(String)")];
        let of_extra =
            "arrayExists((k, v) -> k = 'it\\'s' AND hex(SHA256(toString(v))) = 'HASH', `extra.key`, `extra.value`)";
        assert_eq!(rows(&pair, &["it's"]), of_extra);
        // Older rows have the value there, from before the column.
        let with_column = [pair[0], pair[1], ("it's", "String")];
        assert_eq!(
            rows(&with_column, &["it's"]),
            format!("ifNull(hex(SHA256(toString(`it's`))) = 'HASH', 0) OR {of_extra}")
        );
        let below = [("td_extra.key", "Array(String)"), ("td_extra.value", "Array(String)")];
        assert_eq!(condition(&below, &["email"]), Condition::default());
        assert!(rows(&below, &["td_email"]).contains("k = 'email'"));
        assert_eq!(
            condition(&[("extra.key", "Array(String)")], &["email"]),
            Condition::default()
        );
    }
}
