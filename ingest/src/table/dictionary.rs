//! The runtime's description of a dictionary.

use crate::store::quoted;

/// One dictionary of ClickHouse.
#[derive(Debug)]
pub struct Dictionary {
    /// The dictionary's name, unquoted.
    pub name: &'static str,
    /// The text of the statement that creates the dictionary, after the name and the cluster.
    pub definition: &'static str,
    /// The cluster on which the dictionary is created.
    pub cluster: Option<&'static str>,
}

impl Dictionary {
    /// Returns a dictionary of one server.
    pub const fn new(name: &'static str, definition: &'static str) -> Self {
        Self {
            name,
            definition,
            cluster: None,
        }
    }

    /// Sets the cluster.
    pub const fn on_cluster(mut self, cluster: &'static str) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// Returns the statement that creates the dictionary if it is missing.
    pub(crate) fn create(&self) -> String {
        self.statement("CREATE DICTIONARY IF NOT EXISTS")
    }

    /// Returns the statement that creates the dictionary in place of an existing one.
    pub(crate) fn replace(&self) -> String {
        self.statement("CREATE OR REPLACE DICTIONARY")
    }

    fn statement(&self, start: &str) -> String {
        let cluster = self.cluster.map(|cluster| format!(" ON CLUSTER {}", quoted(cluster)));
        format!(
            "{start} {}{}{}",
            quoted(self.name),
            cluster.unwrap_or_default(),
            self.definition
        )
    }
}

/// Returns a statement with each text after PASSWORD hidden, as ClickHouse shows it.
pub fn without_passwords(statement: &str) -> String {
    const KEYWORD: &str = "PASSWORD";
    let mut text = String::with_capacity(statement.len());
    let mut rest = statement;
    while let Some(at) = rest.to_ascii_uppercase().find(KEYWORD) {
        let (before, after) = rest.split_at(at + KEYWORD.len());
        text.push_str(before);
        rest = after;
        let Some(quoted) = after.trim_start().strip_prefix('\'') else {
            continue;
        };
        let mut is_escaped = false;
        let end = quoted.find(|c: char| {
            let is_end = c == '\'' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        text.push_str(" '[HIDDEN]'");
        rest = end.map_or("", |end| &quoted[end + 1..]);
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_name_the_cluster() {
        let dictionary = Dictionary::new("d", "\n(…)").on_cluster("c");
        assert_eq!(
            dictionary.create(),
            "CREATE DICTIONARY IF NOT EXISTS `d` ON CLUSTER `c`\n(…)"
        );
        assert_eq!(
            Dictionary::new("d", "\n(…)").replace(),
            "CREATE OR REPLACE DICTIONARY `d`\n(…)"
        );
    }

    #[test]
    fn passwords_are_hidden() {
        for (statement, shown) in [
            (
                "SOURCE(MYSQL(USER 'a' PASSWORD 'it\\'s' DB 'b'))",
                "SOURCE(MYSQL(USER 'a' PASSWORD '[HIDDEN]' DB 'b'))",
            ),
            ("password   'x'", "password '[HIDDEN]'"),
            ("PASSWORD 'open", "PASSWORD '[HIDDEN]'"),
            ("no_password_here", "no_password_here"),
        ] {
            assert_eq!(without_passwords(statement), shown);
        }
    }
}
