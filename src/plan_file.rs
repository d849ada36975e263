//! The file of `plan --out`: the changes that a plan found, and the kinds that it allows. `apply FILE`
//! makes them only if the database and the schema still need the same ones.

use std::{collections::BTreeSet, error::Error, fs, path::Path};

use clap::ValueEnum;
use rowmill_ingest::{
    ClickHouseUrl,
    schema::{CopyPlan, Drift, without_passwords},
};
use serde_json::{Value, json};

use crate::cli::Allowed;

/// The version of the format.
const VERSION: u32 = 1;

/// The text before the first id that a new view processes.
const BEFORE_ID: &str = "` >= ";

/// From this many digits on, such an id follows from the time.
const ID_DIGITS: usize = 15;

/// The changes of a plan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlanFile {
    database: String,
    /// The kinds of changes that the plan allows.
    pub(crate) allow: Vec<Allowed>,
    /// The statements that create what is missing; `None` if a column of another type keeps the
    /// collector from a start.
    statements: Option<Vec<String>>,
    /// The differences of existing tables, with their statements.
    changes: Vec<String>,
}

impl PlanFile {
    pub(crate) fn new(
        url: &ClickHouseUrl,
        allow: &[Allowed],
        statements: Option<&[String]>,
        drifts: &[Drift],
        copies: &[CopyPlan],
    ) -> Self {
        let change = |drift: &Drift| {
            let (impact, table, difference) = (drift.impact.name(), drift.table, &drift.difference);
            let statements = drift.statements.iter().map(|statement| without_passwords(statement));
            let statements = statements.fold(String::new(), |all, statement| all + "\n" + &statement + ";");
            format!("{impact}: `{table}`: {difference}{statements}")
        };
        let copy = |copy: &CopyPlan| {
            // The text of an obstacle has sizes, which change with the data.
            let can_be = if copy.obstacle.is_none() {
                "possible"
            } else {
                "impossible"
            };
            format!("copy: `{}`: {can_be}", copy.table)
        };
        let mut allow = allow.to_vec();
        allow.dedup();
        Self {
            database: url.database().to_owned(),
            allow,
            statements: statements.map(<[_]>::to_vec),
            changes: drifts.iter().map(change).chain(copies.iter().map(copy)).collect(),
        }
    }

    /// Writes the plan to a file, in JSON, which is YAML as well.
    pub(crate) fn write(&self, file: &Path) -> Result<(), Box<dyn Error>> {
        let allow: Vec<_> = self.allow.iter().map(|allowed| name(*allowed)).collect();
        let plan = json!({
            "rowmill_plan": VERSION,
            "database": self.database,
            "allow": allow,
            "statements": self.statements,
            "changes": self.changes,
        });
        fs::write(file, format!("{plan:#}\n")).map_err(|error| format!("{}: {error}", file.display()).into())
    }

    pub(crate) fn read(file: &Path) -> Result<Self, Box<dyn Error>> {
        let place = file.display();
        let text = fs::read_to_string(file).map_err(|error| format!("{place}: {error}"))?;
        let not_a_plan = || format!("{place} is not a plan of `rowmill plan --out`");
        let plan: Value = serde_json::from_str(&text).map_err(|_| not_a_plan())?;
        match plan["rowmill_plan"].as_u64() {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => {
                return Err(format!(
                    "{place} has the version {version} of the format, and this program knows {VERSION}"
                )
                .into());
            }
            None => return Err(not_a_plan().into()),
        }
        let texts = |key: &str| -> Option<Vec<String>> {
            let texts = plan[key].as_array()?.iter();
            texts.map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let allow = texts("allow").and_then(|names| {
            let allowed = names.iter().map(|name| Allowed::from_str(name, false).ok());
            allowed.collect()
        });
        let statements = match &plan["statements"] {
            Value::Null => None,
            _ => Some(texts("statements").ok_or_else(not_a_plan)?),
        };
        Ok(Self {
            database: plan["database"].as_str().ok_or_else(not_a_plan)?.to_owned(),
            allow: allow.ok_or_else(not_a_plan)?,
            statements,
            changes: texts("changes").ok_or_else(not_a_plan)?,
        })
    }

    /// Returns whether the plan lists what is missing. It cannot while a column of another type keeps the
    /// collector from a start.
    pub(crate) fn lists_missing(&self) -> bool {
        self.statements.is_some()
    }

    /// Compares the plan with the changes that the database needs now.
    ///
    /// # Errors
    /// The changes differ: the text names them.
    pub(crate) fn check(&self, now: &Self) -> Result<(), String> {
        if self.database != now.database {
            return Err(format!(
                "the plan is for the database `{}`, not for `{}`",
                self.database, now.database
            ));
        }
        let (planned, needed) = (self.all_changes(), now.all_changes());
        if planned == needed {
            return Ok(());
        }
        let mut text = "the plan was made for another state of the database or the schema: make a new one".to_owned();
        for (prefix, changes, others) in [
            ("no longer needed", &planned, &needed),
            ("not in the plan", &needed, &planned),
        ] {
            for change in changes.difference(others) {
                text.push_str(&format!("\n{prefix}: {}", change.replace('\n', "\n  ")));
            }
        }
        Err(text)
    }

    /// Returns all changes, in a form that does not depend on the time.
    fn all_changes(&self) -> BTreeSet<String> {
        let missing = match &self.statements {
            Some(statements) => statements.iter().map(|statement| without_ids(statement)).collect(),
            None => vec!["a column of another type, which stops a start".to_owned()],
        };
        missing.into_iter().chain(self.changes.iter().cloned()).collect()
    }
}

/// Returns the name of a kind on the command line.
fn name(allowed: Allowed) -> String {
    let value = allowed.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Returns a statement with `…` in place of each id that follows from the time.
fn without_ids(statement: &str) -> String {
    let mut parts = statement.split(BEFORE_ID);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let after = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let (digits, _) = part.split_at(part.len() - after.len());
        text += BEFORE_ID;
        text += if digits.len() < ID_DIGITS { digits } else { "…" };
        text += after;
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn plan(statements: &[&str], changes: &[&str]) -> PlanFile {
        PlanFile {
            database: "stats".to_owned(),
            allow: vec![Allowed::Rewrite, Allowed::Copy],
            statements: Some(statements.iter().map(|text| (*text).to_owned()).collect()),
            changes: changes.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn a_file_has_the_whole_plan() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.yml");
        let stopped = PlanFile {
            statements: None,
            allow: Vec::new(),
            ..plan(&[], &["é\n;"])
        };
        for plan in [plan(&["CREATE …"], &["safe: a"]), stopped] {
            plan.write(&file).unwrap();
            assert_eq!(PlanFile::read(&file).unwrap(), plan);
        }
    }

    #[test]
    fn other_files_are_no_plans() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.yml");
        let error = || PlanFile::read(&file).unwrap_err().to_string();
        assert!(error().contains("plan.yml: "));
        for text in [
            "",
            "[]",
            "{}",
            "tables:\n  a: b\n",
            r#"{"rowmill_plan":1,"database":"d","allow":["all"]}"#,
        ] {
            fs::write(&file, text).unwrap();
            assert!(error().contains("is not a plan of"), "{text}");
        }
        fs::write(&file, r#"{"rowmill_plan":2}"#).unwrap();
        assert!(error().contains("has the version 2 of the format"));
    }

    #[test]
    fn a_plan_of_another_state_names_the_differences() {
        let made = plan(
            &["CREATE a", "CREATE b WHERE `id` >= 7299041234567890123"],
            &["safe: c"],
        );
        let later = plan(
            &["CREATE a", "CREATE b WHERE `id` >= 7299049999999999999"],
            &["safe: c"],
        );
        assert_eq!(made.check(&later), Ok(()));
        let default = |number: &str| plan(&[&format!("CREATE a (b UInt64 DEFAULT {number})")], &[]);
        assert!(default("100000000000000").check(&default("900000000000000")).is_err());
        let other = plan(&["CREATE b WHERE `id` >= 1"], &["safe: c", "drop: d\nALTER"]);
        let error = made.check(&other).unwrap_err();
        for line in [
            "no longer needed: CREATE a",
            "no longer needed: CREATE b WHERE `id` >= …",
            "not in the plan: CREATE b WHERE `id` >= 1",
            "not in the plan: drop: d\n  ALTER",
        ] {
            assert!(error.contains(line), "{error}");
        }
        assert!(!error.contains("safe: c"), "{error}");
        let elsewhere = PlanFile {
            database: "other".to_owned(),
            ..plan(&[], &[])
        };
        assert!(made.check(&elsewhere).unwrap_err().contains("not for `other`"));
    }
}
