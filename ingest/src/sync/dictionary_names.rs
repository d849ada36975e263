//! The names of dictionaries in SQL: ClickHouse stores `dictGet('names', …)` of a table or a view
//! with the database, as `dictGet('database.names', …)`.

/// The beginning of the names of the functions that take the name of a dictionary first.
const FUNCTIONS: &str = "dict";

/// Adds the database to each name of a dictionary that has none.
pub(super) fn qualify_dictionaries(sql: &str, database: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find(FUNCTIONS) {
        let is_start = !rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let after = at + FUNCTIONS.len();
        let end = rest[after..]
            .find(|c: char| !c.is_ascii_alphanumeric())
            .map_or(rest.len(), |length| after + length);
        text.push_str(&rest[..end]);
        rest = &rest[end..];
        let Some(arguments) = rest.strip_prefix('(').filter(|_| is_start) else {
            continue;
        };
        let Some(name) = arguments.trim_start().strip_prefix('\'') else {
            continue;
        };
        let Some(length) = name.find('\'').filter(|length| !name[..*length].contains('.')) else {
            continue;
        };
        text.push_str(&format!("('{database}.{}'", &name[..length]));
        rest = &name[length + 1..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_database_get_one() {
        for (sql, expected) in [
            ("SELECT dictGet('a', 'b', c)", "SELECT dictGet('d.a', 'b', c)"),
            (
                "dictHas( 'a', 1) + dictGetOrDefault('x.a', 'b', 1, 2)",
                "dictHas('d.a', 1) + dictGetOrDefault('x.a', 'b', 1, 2)",
            ),
            (
                "my_dict('a'), dictionary, 'dict', dictGet(name)",
                "my_dict('a'), dictionary, 'dict', dictGet(name)",
            ),
            ("SELECT a FROM t", "SELECT a FROM t"),
        ] {
            assert_eq!(qualify_dictionaries(sql, "d"), expected);
        }
    }
}
