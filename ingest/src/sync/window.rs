//! Deduplication windows: whether ClickHouse remembers which blocks it has taken, so that one that is sent again is taken once.
//!
//! A table of ours is created with a window. One that was there before may have none: in a plain MergeTree that is the default, and
//! a lost answer would double a block's rows.

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::{STATEMENT_TIMEOUT, altered};
use crate::{
    store::{StoreError, within},
    table::Table,
};

/// The window of a table whose schema says nothing of it: what a table of ours is created with.
pub(super) const WINDOW: u64 = 1000;

/// The setting of tables that are by themselves.
pub(super) const OWN: &str = "non_replicated_deduplication_window";

/// The setting of tables whose replicas share what they remember.
pub(super) const SHARED: &str = "replicated_deduplication_window";

/// What keeps rows from coming twice, and what is missing for it.
#[derive(Debug, Default)]
pub(super) struct Deduplication {
    /// Give tables a window that have none.
    pub(super) statements: Vec<String>,
    /// Tables that cannot have one.
    pub(super) warnings: Vec<String>,
    /// The user's profile turns deduplication off, and an insert may turn it on.
    pub(super) is_turned_off: bool,
}

/// A table as the database has it.
#[derive(Debug, Row, Deserialize)]
struct Existing {
    name: String,
    engine: String,
    engine_full: String,
}

/// A setting as the server has it.
#[derive(Debug, Row, Deserialize)]
struct Setting {
    name: String,
    value: String,
    readonly: u8,
}

impl Deduplication {
    /// Looks at the tables that exist, and changes nothing.
    pub(super) async fn look(client: &Client, database: &str, tables: &[&Table]) -> Result<Self, StoreError> {
        let names: Vec<_> = tables.iter().map(|table| table.name).collect();
        let existing = client
            .query("SELECT ?fields FROM system.tables WHERE database = ? AND name IN ?")
            .bind(database)
            .bind(names);
        let existing: Vec<Existing> = within(STATEMENT_TIMEOUT, existing.fetch_all()).await?;
        // What a table does not say itself is its server's default, which a configuration may change.
        let settings = client
            .query(
                "SELECT name, value, toUInt8(0) AS readonly FROM system.merge_tree_settings WHERE name = ? \
                 UNION ALL SELECT name, value, toUInt8(0) FROM system.replicated_merge_tree_settings WHERE name = ? \
                 UNION ALL SELECT name, value, toUInt8(readonly) FROM system.settings WHERE name = ?",
            )
            .bind(OWN)
            .bind(SHARED)
            .bind(TURNS_OFF);
        let settings: Vec<Setting> = within(STATEMENT_TIMEOUT, settings.fetch_all()).await?;
        Ok(Self::of(tables, &existing, &settings))
    }

    fn of(tables: &[&Table], existing: &[Existing], settings: &[Setting]) -> Self {
        let mut found = Self::default();
        let setting = |name: &str| settings.iter().find(|setting| setting.name == name);
        for table in tables {
            let Some(there) = existing.iter().find(|there| there.name == table.name) else {
                continue;
            };
            let window = match there.engine.strip_suffix("MergeTree") {
                Some(kind) if kind.starts_with("Replicated") || kind.starts_with("Shared") => SHARED,
                Some(_) => OWN,
                None => {
                    if !is_meant(table, &there.engine) {
                        found.warnings.push(format!(
                            "the table `{}` is a {}, which remembers no blocks: its rows can come twice after a lost answer",
                            table.name, there.engine
                        ));
                    }
                    continue;
                }
            };
            let own = window_in(&there.engine_full, window);
            let default = || setting(window).and_then(|setting| setting.value.parse().ok());
            let wanted = window_in(table.create, window).unwrap_or(WINDOW);
            // An unknown default is one of a server that has its own way.
            if own.or_else(default) == Some(0) && wanted > 0 {
                found.statements.push(format!(
                    "ALTER TABLE {} MODIFY SETTING {window} = {wanted}",
                    altered(table)
                ));
            }
        }
        if let Some(off) = setting(TURNS_OFF).filter(|setting| setting.value == "disable") {
            if off.readonly == 0 {
                found.is_turned_off = true;
            } else {
                found.warnings.push(format!(
                    "the user's profile says {TURNS_OFF} = 'disable' and lets nobody change it: rows can come twice after a lost answer"
                ));
            }
        }
        found
    }
}

/// The setting of a user's profile that goes before `insert_deduplicate`, in servers that know it.
pub(super) const TURNS_OFF: &str = "deduplicate_insert";

/// Returns whether the schema itself asks for this engine.
fn is_meant(table: &Table, engine: &str) -> bool {
    let said = table.create.split("ENGINE = ").skip(1);
    let mut said = said.filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next());
    said.any(|said| said == engine)
}

/// Returns the value of a setting in the text of a table's engine, which has it behind SETTINGS.
pub(super) fn window_in(engine: &str, name: &str) -> Option<u64> {
    let (_, settings) = engine.rsplit_once("SETTINGS ")?;
    settings.split(", ").find_map(|setting| {
        let (said, value) = setting.split_once(" = ")?;
        let digits = value.trim_start_matches('\'');
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        (said.trim() == name).then(|| digits[..end].parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Format;

    const fn table(create: &'static str) -> Table {
        Table {
            name: "t",
            index: 0,
            columns: &[],
            create,
            format: Format::RowBinary,
            row_id: None,
            partition_key: None,
        }
    }

    const CREATE: &str = "CREATE TABLE IF NOT EXISTS `t`\n(\n    `a` UInt8\n)\nENGINE = MergeTree\nORDER BY `a`\n\
                          SETTINGS non_replicated_deduplication_window = 500, index_granularity = 8192\nCOMMENT 'x'";

    fn look(create: &'static str, engine_full: &str, settings: &[(&str, &str, u8)]) -> Deduplication {
        let existing = Existing {
            name: "t".to_owned(),
            engine: engine_full.split([' ', '(']).next().unwrap_or_default().to_owned(),
            engine_full: engine_full.to_owned(),
        };
        let settings: Vec<_> = settings
            .iter()
            .map(|&(name, value, readonly)| Setting {
                name: name.to_owned(),
                value: value.to_owned(),
                readonly,
            })
            .collect();
        Deduplication::of(&[&table(create)], &[existing], &settings)
    }

    const DEFAULTS: [(&str, &str, u8); 3] = [(OWN, "0", 0), (SHARED, "10000", 0), (TURNS_OFF, "enable", 0)];

    #[test]
    fn a_table_without_a_window_gets_the_schemas() {
        let own = |create, engine| look(create, engine, &DEFAULTS).statements;
        let cure = ["ALTER TABLE `t` MODIFY SETTING non_replicated_deduplication_window = 500"];
        assert_eq!(
            own(CREATE, "MergeTree ORDER BY a SETTINGS index_granularity = 8192"),
            cure
        );
        assert_eq!(
            own(
                CREATE,
                "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 0, index_granularity = 8192"
            ),
            cure
        );
        assert_eq!(
            own(
                "CREATE TABLE IF NOT EXISTS `t` ON CLUSTER `c`\n(\n    `a` UInt8\n)\nENGINE = MergeTree",
                "MergeTree ORDER BY a"
            ),
            ["ALTER TABLE `t` ON CLUSTER `c` MODIFY SETTING non_replicated_deduplication_window = 1000"]
        );
    }

    #[test]
    fn a_window_is_the_tables_or_else_the_servers() {
        for (engine, settings) in [
            (
                "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 1",
                &DEFAULTS[..],
            ),
            ("ReplacingMergeTree ORDER BY a", &[(OWN, "100", 0)]),
            (
                "ReplicatedMergeTree('/p', '{replica}') ORDER BY a SETTINGS index_granularity = 8192",
                &DEFAULTS,
            ),
            ("SharedMergeTree ORDER BY a", &[(OWN, "0", 0)]),
        ] {
            let found = look(CREATE, engine, settings);
            assert!(
                found.statements.is_empty() && found.warnings.is_empty(),
                "{engine}: {found:?}"
            );
        }
        let replicated = look(
            CREATE,
            "ReplicatedMergeTree('/p', '{replica}') ORDER BY a SETTINGS replicated_deduplication_window = 0",
            &DEFAULTS,
        );
        assert_eq!(
            replicated.statements,
            ["ALTER TABLE `t` MODIFY SETTING replicated_deduplication_window = 1000"]
        );
    }

    #[test]
    fn what_the_schema_says_of_it_is_meant() {
        let none = "CREATE TABLE IF NOT EXISTS `t`\n(\n    `a` UInt8\n)\nENGINE = MergeTree\nSETTINGS non_replicated_deduplication_window = 0";
        assert!(look(none, "MergeTree ORDER BY a", &DEFAULTS).statements.is_empty());
        let log = "CREATE TABLE IF NOT EXISTS `t`\n(\n    `a` UInt8\n)\nENGINE = Log";
        assert!(look(log, "Log", &DEFAULTS).warnings.is_empty());
        let other = look(CREATE, "Log", &DEFAULTS);
        assert!(
            other.statements.is_empty() && other.warnings[0].contains("is a Log"),
            "{other:?}"
        );
    }

    #[test]
    fn a_profile_that_turns_deduplication_off_is_noticed() {
        let engine = "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 1";
        let off = look(CREATE, engine, &[(TURNS_OFF, "disable", 0)]);
        assert!(off.is_turned_off && off.warnings.is_empty());
        let fixed = look(CREATE, engine, &[(TURNS_OFF, "disable", 1)]);
        assert!(!fixed.is_turned_off && fixed.warnings.len() == 1);
        assert!(!look(CREATE, engine, &DEFAULTS).is_turned_off);
    }
}
