//! Deduplication windows: whether ClickHouse remembers the blocks that it has stored, so that it
//! stores a block once even if the block is sent again.
//!
//! The schema's tables are created with a window. An existing table may have none, which is the
//! default of a plain MergeTree; a lost response would then duplicate a block's rows. The same is
//! true of the tables that materialized views fill from the schema's tables.

use std::collections::BTreeMap;

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::{
    STATEMENT_TIMEOUT, altered,
    views::{Existing, Receiver, TableName, Tables, current_database, qualified},
};
use crate::{
    store::{ClickHouseError, within},
    table::Table,
};

/// A setting that limits how much a table remembers.
#[derive(Debug)]
struct Window {
    name: &'static str,
    /// The value for a table whose schema does not set one.
    wanted: u64,
    /// The smallest sufficient default of a server. A table's own value is deliberate unless it is
    /// 0.
    least: u64,
    /// Whether the setting counts blocks, as opposed to seconds.
    counts_blocks: bool,
}

/// The settings of tables that are not replicated.
const OWN: &[Window] = &[Window {
    name: "non_replicated_deduplication_window",
    wanted: 1000,
    least: 1,
    counts_blocks: true,
}];

/// The settings of tables whose replicas share what they remember. Some versions have defaults of
/// 1000 blocks and an hour.
const SHARED: &[Window] = &[
    Window {
        name: "replicated_deduplication_window",
        wanted: 10_000,
        least: 10_000,
        counts_blocks: true,
    },
    Window {
        name: "replicated_deduplication_window_seconds",
        wanted: 7 * 24 * 60 * 60,
        least: 7 * 24 * 60 * 60,
        counts_blocks: false,
    },
];

/// The changes that prevent duplicate rows, and the tables where that is impossible.
#[derive(Debug, Default)]
pub(super) struct Deduplication {
    /// Statements for tables that lack a window.
    pub(super) statements: Vec<String>,
    /// Warnings about tables that cannot have a window.
    pub(super) warnings: Vec<String>,
    /// Whether the user's profile turns deduplication off and allows an insert to turn it on.
    pub(super) is_turned_off: bool,
}

/// A setting on the server.
#[derive(Debug, Row, Deserialize)]
struct Setting {
    name: String,
    value: String,
    readonly: u8,
}

impl Deduplication {
    /// Checks the existing tables and the tables that views fill from them, without changing
    /// anything.
    pub(super) async fn check(client: &Client, database: &str, tables: &[&Table]) -> Result<Self, ClickHouseError> {
        let existing = Tables::read(client, database, tables.iter().map(|table| table.name)).await?;
        let settings = settings(client).await?;
        Ok(Self::of(database, tables, &existing, &settings))
    }

    fn of(database: &str, tables: &[&Table], existing: &Tables, settings: &[Setting]) -> Self {
        let mut found = Self::default();
        // The tables that receive rows, each with its source and the number of schema tables it
        // receives from.
        let mut receivers: BTreeMap<TableName, (TableName, u64)> = BTreeMap::new();
        for table in tables {
            let name = (database.to_owned(), table.name.to_owned());
            let Some(actual) = existing.get(&name) else { continue };
            let declared = |window: &Window| window_in(table.create, window.name);
            match windows_of(&actual.engine) {
                Some(windows) => {
                    let wanted = |window: &Window| declared(window).unwrap_or(window.wanted);
                    found.require(actual, windows, wanted, settings, &altered(table));
                }
                None if is_declared_engine(table, &actual.engine) => {}
                // The code below checks the tables that a Distributed table writes to.
                None if actual.engine == "Distributed" && existing.knows_receivers_of(actual) => {}
                None => found.warnings.push(format!(
                    "the table `{}` is a {}, {}: its rows can be stored twice after a lost response",
                    table.name,
                    actual.engine,
                    drawback(&actual.engine)
                )),
            }
            if OWN.iter().chain(SHARED).any(|window| declared(window) == Some(0)) {
                continue;
            }
            for Receiver { name, source } in existing.receivers_of(&name) {
                receivers.entry(name).or_insert((source, 0)).1 += 1;
            }
        }
        let is_schema_table = |(of, name): &TableName| of == database && tables.iter().any(|table| table.name == name);
        for (receiver, (from, tables)) in receivers.iter().filter(|(receiver, _)| !is_schema_table(receiver)) {
            let (name, source) = (qualified(receiver), qualified(from));
            match existing.get(receiver) {
                // The receiver is on other servers.
                None if existing.get(from).is_some_and(|from| from.engine == "Distributed") => {}
                None => found.warnings.push(format!(
                    "{name}, which receives rows of {source}, is not visible to this user, who needs GRANT SHOW \
                     TABLES, ALTER SETTINGS for it: after a lost response it can have them twice"
                )),
                Some(actual) => match windows_of(&actual.engine) {
                    Some(windows) => {
                        let times = |window: &Window| if window.counts_blocks { *tables } else { 1 };
                        let wanted = |window: &Window| window.wanted * times(window);
                        found.require(actual, windows, wanted, settings, &name);
                    }
                    // Such a table has no rows, and its own receivers are checked separately.
                    None if matches!(&*actual.engine, "Null" | "Distributed") => {}
                    None => found.warnings.push(format!(
                        "{name}, which receives rows of {source}, is a {}, {}: after a lost response it can have \
                         them twice; a MergeTree would not",
                        actual.engine,
                        drawback(&actual.engine)
                    )),
                },
            }
        }
        if let Some(off) = setting(settings, TURNS_OFF).filter(|setting| setting.value == "disable") {
            if off.readonly == 0 {
                found.is_turned_off = true;
            } else {
                found.warnings.push(format!(
                    "the user's profile sets {TURNS_OFF} = 'disable' as read-only: rows can be stored twice after a lost response"
                ));
            }
        }
        found
    }

    /// Adds a statement for the windows that a table lacks.
    fn require(
        &mut self,
        actual: &Existing,
        windows: &[Window],
        wanted: impl Fn(&Window) -> u64,
        settings: &[Setting],
        altered: &str,
    ) {
        let lacks = |window: &&Window| match window_in(&actual.engine_full, window.name) {
            Some(own) => own == 0,
            // A server without this setting deduplicates in a different way.
            None => default_of(window, settings).is_some_and(|default| default < window.least),
        };
        let changes: Vec<_> = windows
            .iter()
            .filter(lacks)
            .filter(|window| wanted(window) > 0)
            .map(|window| format!("{} = {}", window.name, wanted(window)))
            .collect();
        if !changes.is_empty() {
            self.statements
                .push(format!("ALTER TABLE {altered} MODIFY SETTING {}", changes.join(", ")));
        }
    }
}

/// Returns whether each table that receives rows of `table` through materialized views recognizes a
/// block that is sent again.
///
/// # Errors
/// ClickHouse is unreachable, or the user lacks the permission.
pub(crate) async fn views_recognize_blocks(client: &Client, table: &str) -> Result<bool, ClickHouseError> {
    let database = current_database(client).await?;
    let existing = Tables::read(client, &database, [table]).await?;
    let settings = settings(client).await?;
    let own_or_default = |actual: &Existing, window: &Window| {
        window_in(&actual.engine_full, window.name).or_else(|| default_of(window, &settings))
    };
    let recognizes = |actual: &Existing| match windows_of(&actual.engine) {
        Some(windows) => windows.iter().all(|window| own_or_default(actual, window) != Some(0)),
        None => matches!(&*actual.engine, "Null" | "Distributed"),
    };
    let receivers = existing.receivers_of(&(database, table.to_owned()));
    Ok(receivers
        .iter()
        .all(|receiver| existing.get(&receiver.name).is_some_and(recognizes)))
}

/// Returns the server's value of a setting, for tables that do not set it themselves.
fn default_of(window: &Window, settings: &[Setting]) -> Option<u64> {
    setting(settings, window.name).and_then(|setting| setting.value.parse().ok())
}

/// Reads the server's defaults of table settings, which its configuration may change, and the
/// setting of the user's profile.
async fn settings(client: &Client) -> Result<Vec<Setting>, ClickHouseError> {
    let names = |windows: &[Window]| windows.iter().map(|window| window.name).collect::<Vec<_>>();
    let settings = client
        .query(
            "SELECT name, value, toUInt8(0) AS readonly FROM system.merge_tree_settings WHERE name IN ? \
             UNION ALL SELECT name, value, toUInt8(0) FROM system.replicated_merge_tree_settings WHERE name IN ? \
             UNION ALL SELECT name, value, toUInt8(readonly) FROM system.settings WHERE name = ?",
        )
        .bind(names(OWN))
        .bind(names(SHARED))
        .bind(TURNS_OFF);
    within(STATEMENT_TIMEOUT, settings.fetch_all()).await
}

fn setting<'a>(settings: &'a [Setting], name: &str) -> Option<&'a Setting> {
    settings.iter().find(|setting| setting.name == name)
}

/// Returns the settings that limit how much a table of this engine remembers; `None` if it
/// remembers nothing.
fn windows_of(engine: &str) -> Option<&'static [Window]> {
    let kind = engine.strip_suffix("MergeTree")?;
    let is_shared = kind.starts_with("Replicated") || kind.starts_with("Shared");
    Some(if is_shared { SHARED } else { OWN })
}

/// Returns the drawback of an engine that remembers nothing, as the end of a sentence.
fn drawback(engine: &str) -> &'static str {
    match engine {
        "Buffer" => {
            "which does not deduplicate blocks and holds rows only in memory for a while, so a ClickHouse that \
             is killed loses rows that were acknowledged as stored"
        }
        _ => "which does not deduplicate blocks",
    }
}

/// The setting of a user's profile that overrides `insert_deduplicate`, on servers that have it.
pub(super) const TURNS_OFF: &str = "deduplicate_insert";

/// Returns whether the schema itself specifies this engine.
fn is_declared_engine(table: &Table, engine: &str) -> bool {
    let clauses = table.create.split("ENGINE = ").skip(1);
    let mut engines = clauses.filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next());
    engines.any(|declared| declared == engine)
}

/// Returns the value of a setting in the SETTINGS clause of a table's engine.
fn window_in(engine: &str, name: &str) -> Option<u64> {
    let (_, settings) = engine.rsplit_once("SETTINGS ")?;
    settings.split(", ").find_map(|setting| {
        let (key, value) = setting.split_once(" = ")?;
        let digits = value.trim_start_matches('\'');
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        (key.trim() == name).then(|| digits[..end].parse().ok())?
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

    fn check(create: &'static str, engine_full: &str, settings: &[(&str, &str, u8)]) -> Deduplication {
        check_tables(create, [existing("d", "t", engine_full)], settings)
    }

    fn existing(database: &str, name: &str, engine_full: &str) -> Existing {
        Existing {
            database: database.to_owned(),
            name: name.to_owned(),
            engine: engine_full.split([' ', '(']).next().unwrap_or_default().to_owned(),
            engine_full: engine_full.to_owned(),
            ..Existing::default()
        }
    }

    fn check_tables<const N: usize>(
        create: &'static str,
        existing: [Existing; N],
        settings: &[(&str, &str, u8)],
    ) -> Deduplication {
        let settings: Vec<_> = settings
            .iter()
            .map(|&(name, value, readonly)| Setting {
                name: name.to_owned(),
                value: value.to_owned(),
                readonly,
            })
            .collect();
        Deduplication::of("d", &[&table(create)], &existing.into_iter().collect(), &settings)
    }

    const DEFAULTS: [(&str, &str, u8); 4] = [
        ("non_replicated_deduplication_window", "0", 0),
        ("replicated_deduplication_window", "10000", 0),
        ("replicated_deduplication_window_seconds", "604800", 0),
        (TURNS_OFF, "enable", 0),
    ];

    #[test]
    fn a_table_without_a_window_gets_the_schemas() {
        let own = |create, engine| check(create, engine, &DEFAULTS).statements;
        let statement = ["ALTER TABLE `t` MODIFY SETTING non_replicated_deduplication_window = 500"];
        assert_eq!(
            own(CREATE, "MergeTree ORDER BY a SETTINGS index_granularity = 8192"),
            statement
        );
        assert_eq!(
            own(
                CREATE,
                "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 0, index_granularity = 8192"
            ),
            statement
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
    fn a_sufficient_window_is_the_tables_or_the_servers() {
        for (engine, settings) in [
            (
                "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 1",
                &DEFAULTS[..],
            ),
            ("ReplacingMergeTree ORDER BY a", &[(OWN[0].name, "100", 0)]),
            (
                "ReplicatedMergeTree('/p', '{replica}') ORDER BY a SETTINGS index_granularity = 8192",
                &DEFAULTS,
            ),
            ("SharedMergeTree ORDER BY a", &[(OWN[0].name, "0", 0)]),
        ] {
            let found = check(CREATE, engine, settings);
            assert!(
                found.statements.is_empty() && found.warnings.is_empty(),
                "{engine}: {found:?}"
            );
        }
    }

    #[test]
    fn a_replicated_table_remembers_ten_thousand_blocks_for_a_week() {
        let alter = |create, engine: &str, settings: &[_]| check(create, engine, settings).statements;
        let engine = "ReplicatedMergeTree('/p', '{replica}') ORDER BY a SETTINGS index_granularity = 8192";
        let defaults = [
            ("replicated_deduplication_window", "1000", 0),
            ("replicated_deduplication_window_seconds", "3600", 0),
        ];
        assert_eq!(
            alter(CREATE, engine, &defaults),
            [
                "ALTER TABLE `t` MODIFY SETTING replicated_deduplication_window = 10000, \
                 replicated_deduplication_window_seconds = 604800"
            ]
        );
        assert_eq!(
            alter(
                CREATE,
                &engine.replace("SETTINGS", "SETTINGS replicated_deduplication_window = 0,"),
                &DEFAULTS
            ),
            ["ALTER TABLE `t` MODIFY SETTING replicated_deduplication_window = 10000"]
        );
        let chosen = "SETTINGS replicated_deduplication_window = 5, replicated_deduplication_window_seconds = 60,";
        assert!(alter(CREATE, &engine.replace("SETTINGS", chosen), &defaults).is_empty());
        let declared = "CREATE TABLE IF NOT EXISTS `t`\n(\n    `a` UInt8\n)\nENGINE = ReplicatedMergeTree\n\
                    SETTINGS replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400";
        assert_eq!(
            alter(declared, engine, &defaults),
            [
                "ALTER TABLE `t` MODIFY SETTING replicated_deduplication_window = 20000, \
                 replicated_deduplication_window_seconds = 86400"
            ]
        );
    }

    #[test]
    fn the_schemas_window_and_engine_are_deliberate() {
        let none = "CREATE TABLE IF NOT EXISTS `t`\n(\n    `a` UInt8\n)\nENGINE = MergeTree\nSETTINGS non_replicated_deduplication_window = 0";
        assert!(check(none, "MergeTree ORDER BY a", &DEFAULTS).statements.is_empty());
        let log = "CREATE TABLE IF NOT EXISTS `t`\n(\n    `a` UInt8\n)\nENGINE = Log";
        assert!(check(log, "Log", &DEFAULTS).warnings.is_empty());
        let other = check(CREATE, "Log", &DEFAULTS);
        assert!(
            other.statements.is_empty() && other.warnings[0].contains("is a Log"),
            "{other:?}"
        );
    }

    #[test]
    fn a_profile_that_turns_deduplication_off_is_detected() {
        let engine = "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 1";
        let off = check(CREATE, engine, &[(TURNS_OFF, "disable", 0)]);
        assert!(off.is_turned_off && off.warnings.is_empty());
        let fixed = check(CREATE, engine, &[(TURNS_OFF, "disable", 1)]);
        assert!(!fixed.is_turned_off && fixed.warnings.len() == 1);
        assert!(!check(CREATE, engine, &DEFAULTS).is_turned_off);
    }

    /// Returns a table with a view over it, and the view, which writes into `target`.
    fn viewed(target: &str) -> [Existing; 2] {
        let table = Existing {
            dependencies_database: vec!["d".to_owned()],
            dependencies_table: vec!["v".to_owned()],
            ..existing(
                "d",
                "t",
                "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 1",
            )
        };
        let view = Existing {
            create_view: format!("CREATE MATERIALIZED VIEW d.v TO {target} (`a` UInt8) AS SELECT a FROM d.t"),
            ..existing("d", "v", "MaterializedView")
        };
        [table, view]
    }

    #[test]
    fn a_table_that_a_view_fills_gets_the_window_of_the_views_table() {
        let of = |engine| {
            let [table, view] = viewed("e.`s m`");
            check_tables(CREATE, [table, view, existing("e", "s m", engine)], &DEFAULTS)
        };
        assert_eq!(
            of("SummingMergeTree ORDER BY a").statements,
            ["ALTER TABLE `e`.`s m` MODIFY SETTING non_replicated_deduplication_window = 1000"]
        );
        let large = "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 7";
        assert_eq!(of(large).statements, [""; 0]);
        assert!(of("Null").warnings.is_empty());
        let log = of("Log");
        assert!(
            log.statements.is_empty()
                && log.warnings[0].starts_with("`e`.`s m`, which receives rows of `d`.`v`, is a Log"),
            "{log:?}"
        );
        let hidden = check_tables(CREATE, viewed("e.s"), &DEFAULTS);
        assert!(
            hidden.warnings.len() == 1
                && hidden.warnings[0].starts_with("`e`.`s`, which receives rows of `d`.`v`, is not visible"),
            "{hidden:?}"
        );
    }

    #[test]
    fn views_over_a_table_with_window_zero_are_unchanged() {
        let none = "CREATE TABLE IF NOT EXISTS `t`\n(\n    `a` UInt8\n)\nENGINE = MergeTree\nSETTINGS non_replicated_deduplication_window = 0";
        let [table, view] = viewed("e.s");
        let found = check_tables(
            none,
            [table, view, existing("e", "s", "MergeTree ORDER BY a")],
            &DEFAULTS,
        );
        assert!(found.statements.is_empty(), "{found:?}");
    }
}
