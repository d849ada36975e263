//! The kinds of changes: their events, the rows that these become, and what each version plans.

use rowmill_ingest::table::Schema;

use super::process::Version::{self, New, Old};

/// A kind of change of a table.
#[derive(Debug)]
pub struct Kind {
    /// The name of the table in both schemas.
    pub table: &'static str,
    pub before: &'static Schema,
    pub after: &'static Schema,
    /// The expressions of the payload in the changed table.
    pub payload: &'static str,
    /// The columns of the changed table.
    pub columns: &'static str,
    /// Returns the keys and values of an event, without its number.
    pub event: fn(Version, u32) -> String,
    /// Returns the payload of an event's row, or `None` if the row becomes a dead letter.
    pub row: fn(Version, u32) -> Option<String>,
    /// The plan of the new version before the change.
    pub plan_of_new: &'static [&'static str],
    /// The plan of the old version after the change.
    pub plan_of_old: &'static [&'static str],
}

impl Kind {
    pub fn schema(&self, version: Version) -> &'static Schema {
        match version {
            Old => self.before,
            New => self.after,
        }
    }
}

pub static RENAME: Kind = Kind {
    table: "rename",
    before: &::evolution::rename::before::SCHEMA,
    after: &::evolution::rename::after::SCHEMA,
    payload: "city",
    columns: "id UInt64,number UInt32,city LowCardinality(String)",
    event: |version, n| match version {
        Old => format!(r#""town":"t{n}""#),
        New => format!(r#""city":"t{n}""#),
    },
    row: |_, n| Some(format!("t{n}")),
    plan_of_new: &[
        "stops the start: rewrite: `rename`: column `city` is `town` in the database and `city` in the schema",
    ],
    plan_of_old: &[
        "note: `rename`.`town` is `city` in the database, since a later schema has renamed it: its values go there",
    ],
};

pub static WIDEN: Kind = Kind {
    table: "widen",
    before: &::evolution::widen::before::SCHEMA,
    after: &::evolution::widen::after::SCHEMA,
    payload: "amount, note",
    columns: "id UInt64,number UInt32,amount UInt64,note Nullable(String)",
    event: |version, n| match version {
        Old => format!(r#""amount":{},"note":"n{n}""#, 60_000 + n),
        New => format!(r#""amount":{},"note":null"#, 70_000 + n),
    },
    row: |version, n| {
        Some(match version {
            Old => format!("{}\tn{n}", 60_000 + n),
            New => format!("{}\t\\N", 70_000 + n),
        })
    },
    plan_of_new: &[
        "stops the start: rewrite: `widen`: column `amount` is UInt16 in the database and UInt64 in the schema",
        "stops the start: rewrite: `widen`: column `note` is String in the database and Nullable(String) in the schema",
    ],
    plan_of_old: &[
        "rewrite: `widen`: column `amount` is UInt64 in the database and UInt16 in the schema; no value would change",
        "rewrite: `widen`: column `note` is Nullable(String) in the database and String in the schema; no value would change",
    ],
};

/// Returns an amount that the new type cannot hold for one event of each group after the first.
fn amount(n: u32) -> u32 {
    if n > 10 && n % 10 == 1 { 300 } else { n }
}

pub static NARROW: Kind = Kind {
    table: "narrow",
    before: &::evolution::narrow::before::SCHEMA,
    after: &::evolution::narrow::after::SCHEMA,
    payload: "amount, town",
    columns: "id UInt64,number UInt32,amount UInt8,town String",
    event: |version, n| match version {
        Old => format!(r#""amount":{},"town":"t{n}""#, amount(n)),
        New => format!(r#""amount":{n},"town":"t{n}""#),
    },
    row: |version, n| (version == New || amount(n) == n).then(|| format!("{n}\tt{n}")),
    plan_of_new: &[
        "rewrite: `narrow`: column `amount` is UInt32 in the database and UInt8 in the schema; no value would change",
    ],
    plan_of_old: &[
        "rewrite: `narrow`: column `amount` is UInt8 in the database and UInt32 in the schema, since a later schema has narrowed it",
    ],
};

pub static REMOVE: Kind = Kind {
    table: "remove",
    before: &::evolution::remove::before::SCHEMA,
    after: &::evolution::remove::after::SCHEMA,
    payload: "town",
    columns: "id UInt64,number UInt32,town String",
    event: |version, n| match version {
        Old => format!(r#""town":"t{n}","spare":"s{n}""#),
        New => format!(r#""town":"t{n}""#),
    },
    row: |_, n| Some(format!("t{n}")),
    plan_of_new: &["drop: `remove`: column `spare` is String in the database and none in the schema"],
    plan_of_old: &["safe: `remove`: column `spare` was dropped and is in the schema"],
};

pub static REORDER: Kind = Kind {
    table: "reorder",
    before: &::evolution::reorder::before::SCHEMA,
    after: &::evolution::reorder::after::SCHEMA,
    payload: "amount, town",
    columns: "id UInt64,number UInt32,town String,amount UInt16",
    event: |_, n| format!(r#""amount":{n},"town":"t{n}""#),
    row: |_, n| Some(format!("{n}\tt{n}")),
    plan_of_new: &[],
    plan_of_old: &[],
};

pub static ADD: Kind = Kind {
    table: "add",
    before: &::evolution::add::before::SCHEMA,
    after: &::evolution::add::after::SCHEMA,
    payload: "town, zip",
    columns: "id UInt64,number UInt32,zip String,town String",
    event: |version, n| match version {
        Old => format!(r#""town":"t{n}""#),
        New => format!(r#""town":"t{n}","zip":"z{n}""#),
    },
    row: |version, n| {
        Some(match version {
            Old => format!("t{n}\t"),
            New => format!("t{n}\tz{n}"),
        })
    },
    plan_of_new: &["ALTER TABLE `add` ADD COLUMN IF NOT EXISTS `zip` String AFTER `number`"],
    plan_of_old: &["drop: `add`: column `zip` is String in the database and none in the schema"],
};

pub static REKEY: Kind = Kind {
    table: "rekey",
    before: &::evolution::rekey::before::SCHEMA,
    after: &::evolution::rekey::after::SCHEMA,
    payload: "town",
    columns: "id UInt64,number UInt32,town String",
    event: |_, n| format!(r#""town":"t{n}""#),
    row: |_, n| Some(format!("t{n}")),
    plan_of_new: &[
        "impossible in place: `rekey`: PRIMARY KEY is id in the database and (number, id) in the schema",
        "impossible in place: `rekey`: ORDER BY is id in the database and (number, id) in the schema",
    ],
    plan_of_old: &[
        "impossible in place: `rekey`: PRIMARY KEY is (number, id) in the database and id in the schema",
        "impossible in place: `rekey`: ORDER BY is (number, id) in the database and id in the schema",
    ],
};
