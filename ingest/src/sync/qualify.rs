//! The database in the statements of a plan, so that they do the same whatever database the client
//! that runs them has selected.

use super::{Kind, dictionary_names::qualify_dictionaries};
use crate::store::quoted;

/// The beginnings of the statements that name a table next.
const BEFORE_TABLE: [&str; 6] = [
    "CREATE TABLE IF NOT EXISTS ",
    "CREATE DICTIONARY IF NOT EXISTS ",
    "CREATE OR REPLACE DICTIONARY ",
    "ALTER TABLE ",
    "DROP TABLE ",
    "INSERT INTO ",
];

/// The beginnings of the statements whose expressions may read dictionaries.
const WITH_EXPRESSIONS: [&str; 2] = ["CREATE TABLE IF NOT EXISTS ", "ALTER TABLE "];

/// The clause of a CREATE statement whose functions ClickHouse computes when the statement runs.
const ENGINE: &str = "\nENGINE = ";

/// Returns a statement with the database before its table's name, unless it has one. Any other
/// statement stays as it is.
///
/// In the engine of a CREATE statement, `currentDatabase()` becomes the database's name, and so does
/// the empty database of a Buffer. The name of a dictionary in an expression gets its database, as
/// ClickHouse stores it.
pub(super) fn qualified_statement(statement: &str, database: &str) -> String {
    let Some(before) = BEFORE_TABLE.into_iter().find(|before| statement.starts_with(before)) else {
        return statement.to_owned();
    };
    let rest = &statement[before.len()..];
    let Some(name) = leading_name(rest) else {
        return statement.to_owned();
    };
    if rest[name.len()..].starts_with('.') {
        return statement.to_owned();
    }
    let mut qualified = format!("{before}{}.{rest}", quoted(database));
    if WITH_EXPRESSIONS.contains(&before) {
        qualified = qualify_dictionaries(&qualified, database);
    }
    match qualified.rfind(ENGINE) {
        Some(at) if before == BEFORE_TABLE[0] => {
            let (columns, engine) = qualified.split_at(at);
            let (engine, options) = match engine[1..].find('\n') {
                Some(end) => engine.split_at(end + 1),
                None => (engine, ""),
            };
            let name = format!("'{}'", database.replace('\\', "\\\\").replace('\'', "\\'"));
            let engine =
                engine
                    .replace("currentDatabase()", &name)
                    .replacen("Buffer('',", &format!("Buffer({name},"), 1);
            format!("{columns}{engine}{options}")
        }
        _ => qualified,
    }
}

/// Returns a refusal whose statements have the database before their table's name.
pub(super) fn qualified_kind(kind: Kind, database: &str) -> Kind {
    match kind {
        Kind::Differs { mut differences, done } => {
            for difference in &mut differences {
                difference.statement = qualified_statement(&difference.statement, database);
            }
            Kind::Differs { differences, done }
        }
        other => other,
    }
}

/// Returns the quoted name at the beginning of a text.
pub(super) fn leading_name(text: &str) -> Option<&str> {
    let mut is_escaped = false;
    let mut characters = text.char_indices();
    if characters.next()?.1 != '`' {
        return None;
    }
    for (at, character) in characters {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '`' => return Some(&text[..=at]),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_gets_its_database_once() {
        for (statement, qualified) in [
            (
                "ALTER TABLE `t` ADD COLUMN `a` UInt8",
                "ALTER TABLE `my d`.`t` ADD COLUMN `a` UInt8",
            ),
            ("ALTER TABLE `e`.`t` MODIFY TTL a", "ALTER TABLE `e`.`t` MODIFY TTL a"),
            (
                r"ALTER TABLE `a\`.b` ON CLUSTER `c` DROP INDEX `i`",
                r"ALTER TABLE `my d`.`a\`.b` ON CLUSTER `c` DROP INDEX `i`",
            ),
            ("DROP TABLE `t` SYNC", "DROP TABLE `my d`.`t` SYNC"),
            (
                "CREATE DICTIONARY IF NOT EXISTS `d` ON CLUSTER `c`",
                "CREATE DICTIONARY IF NOT EXISTS `my d`.`d` ON CLUSTER `c`",
            ),
            (
                "CREATE OR REPLACE DICTIONARY `d`\n(…)",
                "CREATE OR REPLACE DICTIONARY `my d`.`d`\n(…)",
            ),
            (
                "INSERT INTO `c` …, the rows since then",
                "INSERT INTO `my d`.`c` …, the rows since then",
            ),
            (
                "ALTER TABLE `t` ADD COLUMN `a` String MATERIALIZED dictGet('names', 'name', b)",
                "ALTER TABLE `my d`.`t` ADD COLUMN `a` String MATERIALIZED dictGet('my d.names', 'name', b)",
            ),
            (
                "CREATE DATABASE IF NOT EXISTS `my d`",
                "CREATE DATABASE IF NOT EXISTS `my d`",
            ),
            (
                "CREATE TABLE IF NOT EXISTS `t`\n(\n    `a` String DEFAULT currentDatabase()\n)\n\
                 ENGINE = Distributed('c', currentDatabase(), 'l')\nSETTINGS x = 1",
                "CREATE TABLE IF NOT EXISTS `my d`.`t`\n(\n    `a` String DEFAULT currentDatabase()\n)\n\
                 ENGINE = Distributed('c', 'my d', 'l')\nSETTINGS x = 1",
            ),
            (
                "CREATE TABLE IF NOT EXISTS `t`\n(\n    `a` String\n)\nENGINE = Buffer('', 'l', 1)",
                "CREATE TABLE IF NOT EXISTS `my d`.`t`\n(\n    `a` String\n)\nENGINE = Buffer('my d', 'l', 1)",
            ),
        ] {
            assert_eq!(qualified_statement(statement, "my d"), qualified);
        }
    }
}
