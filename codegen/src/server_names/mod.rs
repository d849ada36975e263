//! The names that ClickHouse 26.7 knows: functions, combinators, table functions and settings.
//!
//! The files are lists of a running server; a test compares them with it.

use std::{collections::HashSet, sync::OnceLock};

const FUNCTIONS: &str = include_str!("functions.txt");
const COMBINATORS: &str = include_str!("combinators.txt");
const TABLE_FUNCTIONS: &str = include_str!("table_functions.txt");
const MERGE_TREE_SETTINGS: &str = include_str!("merge_tree_settings.txt");
const SETTINGS: &str = include_str!("settings.txt");

/// Functions of the parser, and functions that a server's configuration adds, in any case.
const OF_PARSER: [&str; 17] = [
    "columns",
    "date_add",
    "date_sub",
    "dateadd",
    "datesub",
    "exists",
    "extract",
    "file",
    "grouping",
    "overlay",
    "timestamp_add",
    "timestamp_sub",
    "timestampadd",
    "timestampsub",
    "trim",
    "untuple",
    "viewifpermitted",
];

/// The functions by their names.
#[derive(Debug, Default)]
struct Functions {
    exact: HashSet<&'static str>,
    any_case: HashSet<String>,
    aggregates: HashSet<&'static str>,
    any_case_aggregates: HashSet<String>,
}

/// Returns the lines of a list that are no comments.
fn lines(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

fn known() -> &'static Functions {
    static KNOWN: OnceLock<Functions> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let mut functions = Functions::default();
        for line in lines(FUNCTIONS) {
            let (name, flags) = line.split_once(' ').unwrap_or((line, ""));
            functions.exact.insert(name);
            if flags.contains('a') {
                functions.aggregates.insert(name);
            }
            if flags.contains('i') {
                functions.any_case.insert(name.to_ascii_lowercase());
                if flags.contains('a') {
                    functions.any_case_aggregates.insert(name.to_ascii_lowercase());
                }
            }
        }
        functions
    })
}

/// Returns whether ClickHouse has a function of that name, with combinators such as `If` at the end
/// of the names of aggregate functions.
pub(crate) fn is_function(name: &str) -> bool {
    let functions = known();
    let lower = name.to_ascii_lowercase();
    functions.exact.contains(name)
        || functions.any_case.contains(&lower)
        || OF_PARSER.contains(&lower.as_str())
        || has_combinator(name, functions)
}

fn has_combinator(name: &str, functions: &Functions) -> bool {
    lines(COMBINATORS).any(|combinator| {
        name.strip_suffix(combinator).is_some_and(|base| {
            functions.aggregates.contains(base)
                || functions.any_case_aggregates.contains(&base.to_ascii_lowercase())
                || has_combinator(base, functions)
        })
    })
}

/// Returns whether the name is that of an aggregate function, with or without combinators.
pub(crate) fn is_aggregate(name: &str) -> bool {
    let functions = known();
    functions.aggregates.contains(name)
        || functions.any_case_aggregates.contains(&name.to_ascii_lowercase())
        || (!functions.exact.contains(name) && has_combinator(name, functions))
}

/// Returns the names of the functions.
pub(crate) fn functions() -> impl Iterator<Item = &'static str> {
    lines(FUNCTIONS).map(|line| line.split(' ').next().unwrap_or(line))
}

/// Returns whether ClickHouse has a table function of that name.
pub(crate) fn is_table_function(name: &str) -> bool {
    lines(TABLE_FUNCTIONS).any(|known| known == name)
}

/// Returns the names of the settings of tables of the MergeTree family.
pub(crate) fn merge_tree_settings() -> impl Iterator<Item = &'static str> {
    lines(MERGE_TREE_SETTINGS)
}

/// Returns the names of the settings of queries.
pub(crate) fn settings() -> impl Iterator<Item = &'static str> {
    lines(SETTINGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_as_clickhouse_finds_them() {
        for name in [
            "now",
            "NOW",
            "toYYYYMM",
            "sumIf",
            "SUMIf",
            "uniqMergeState",
            "sumOrNullIf",
            "quantileTDigest",
            "CAST",
            "DATE_ADD",
        ] {
            assert!(is_function(name), "{name}");
        }
        for name in ["nw", "toyyyymm", "sumif", "nowIf", "If2", ""] {
            assert!(!is_function(name), "{name}");
        }
    }
}
