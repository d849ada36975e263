//! The checker against ClickHouse: both accept the same declarations and tables, and both refuse
//! the same.
//!
//! `columns.txt` contains column declarations, one per line; the test adds the cases of the
//! parser's own tests. `tables.txt` contains whole tables. If the checker accepts a case,
//! ClickHouse gets the statement of the schema; if it refuses the case, ClickHouse gets the
//! unchanged text. If both accept a case, the columns must have the same types, including those
//! that ClickHouse infers. If they disagree, `disagreements.txt` states the reason, with the cases
//! indented below it. A disagreement that is missing in the file fails the test, and so does an
//! outdated entry.

mod codecs;
mod names;
mod partitions;
mod tables;
mod throwing;

use std::{collections::BTreeMap, fs, path::Path};

use rowmill_codegen::{Generated, generate_texts};

use crate::support::engine::Database;

/// The cases of the parser, whose first field is a declaration.
const PARSER_CASES: [&str; 3] = ["declarations.tsv", "refused.tsv", "types.tsv"];

/// The code of a refusal because no event can fill the column. It says nothing about the table, so
/// the test skips the case.
const SKIPPED_CODE: &str = "aggregate-state";

/// The code of a refusal because ClickHouse would store another value than the default.
const CHANGED_CODE: &str = "changed-default";

#[test]
fn the_checker_and_clickhouse_agree() {
    let mut both = Both::start("checker");
    for declaration in columns() {
        both.column(&declaration);
    }
    for line in lines(include_str!("tables.txt")) {
        both.table(line);
    }
    both.finish();
}

/// The number of disagreements must stay below this limit.
const MAX_DISAGREEMENTS: usize = 5;

/// The results of the cases so far.
struct Both {
    database: Database,
    /// The numbers of cases that ClickHouse accepts and refuses.
    accepted: usize,
    refused: usize,
    /// The number of accepted cases that have the same columns if the unchanged text creates them.
    identical: usize,
    /// Both results for each case with a disagreement.
    disagreements: BTreeMap<String, String>,
}

impl Both {
    fn start(name: &str) -> Self {
        let database = Database::named(name);
        // The definitions of the tables need not reach a disk.
        let create = format!("CREATE DATABASE {} ENGINE = Memory", database.name);
        database.on_server(&create).unwrap();
        Self {
            database,
            accepted: 0,
            refused: 0,
            identical: 0,
            disagreements: BTreeMap::new(),
        }
    }

    /// Compares the results for a table with one more column.
    fn column(&mut self, declaration: &str) {
        // These clauses need a MergeTree; a Memory table is created faster.
        let engine = match ["TTL", "PRIMARY", "STATISTICS", "SETTINGS"]
            .iter()
            .any(|word| declaration.contains(word))
        {
            true => "MergeTree ORDER BY k",
            false => "Memory",
        };
        let yaml = format!(
            "clickhouse:\n  destinations: {{ a/b: t }}\n  tables:\n    t:\n      c: {}\n      k: UInt64\n      k2: Int64\n      \
             time: DateTime\n      _options: {{ engine: {engine} }}\n",
            quoted(declaration)
        );
        let raw = format!("(c {declaration}\n, k UInt64, k2 Int64, time DateTime) ENGINE = {engine}");
        self.compare(declaration, yaml, raw);
    }

    fn table(&mut self, line: &str) {
        let table = tables::Table::parse(line);
        self.compare(line, table.yaml(), table.sql());
    }

    fn compare(&mut self, case: &str, yaml: String, raw: String) {
        let generated = generate_texts([("t.yml", yaml)]);
        if generated
            .problems
            .errors
            .iter()
            .any(|problem| problem.code == SKIPPED_CODE)
        {
            return;
        }
        let name = format!("t{}", self.accepted + self.refused);
        let raw = |name: &str| format!("CREATE TABLE `{name}` {raw}");
        let statement = match generated.statements.first() {
            Some(statement) => statement.replacen("IF NOT EXISTS `t`", &format!("`{name}`"), 1),
            None => raw(&name),
        };
        let created = self.database.try_query(&statement);
        match &created {
            Ok(_) => self.accepted += 1,
            Err(_) => self.refused += 1,
        }
        let checked = verdict(&generated);
        // ClickHouse accepts a default that it changes: the checker must be right about the change.
        let code = generated.problems.errors.first().map(|problem| problem.code);
        if code == Some(CHANGED_CODE) && created.is_ok() {
            if let Some((written, stored)) = self.unchanged_default(&name) {
                let text = format!("checker: refuses it\n  ClickHouse: stores {stored} for {written}");
                self.disagreements.insert(case.to_owned(), text);
            }
            return;
        }
        if checked.is_ok() != created.is_ok() {
            let describe = |result: Result<String, String>| result.err().unwrap_or_else(|| "accepts it".to_owned());
            let text = format!(
                "checker: {}\n  ClickHouse: {}",
                describe(checked),
                describe(created).trim_end()
            );
            self.disagreements.insert(case.to_owned(), text);
        } else if checked.is_ok() {
            // ClickHouse may refuse the raw text: the checker also accepts modifiers in any order
            // and keys in a list.
            let of_raw = format!("{name}_raw");
            if self.database.try_query(&raw(&of_raw)).is_ok() {
                let (ours, theirs) = (self.columns_of(&name), self.columns_of(&of_raw));
                assert_eq!(ours, theirs, "{case}");
                self.identical += 1;
            }
        }
    }

    /// Returns the default of the column `c` as it is written and as ClickHouse stores it, if both
    /// are the same value.
    fn unchanged_default(&self, table: &str) -> Option<(String, String)> {
        let of_column = format!("database = currentDatabase() AND table = '{table}' AND name = 'c'");
        let query = format!("SELECT default_expression, type FROM system.columns WHERE {of_column} FORMAT TSVRaw");
        let row = self.database.query(&query);
        let (written, ty) = row.trim_end().split_once('\t').unwrap();
        let query = format!("SELECT toString({written}), toString(CAST({written} AS {ty})) FORMAT TSVRaw");
        let row = self.database.query(&query);
        let (written, stored) = row.trim_end().split_once('\t').unwrap();
        (written == stored).then(|| (written.to_owned(), stored.to_owned()))
    }

    /// Returns a table's columns and their types as ClickHouse prints them.
    fn columns_of(&self, table: &str) -> String {
        let of_table = format!("database = currentDatabase() AND table = '{table}'");
        let query = format!("SELECT name, type, default_kind FROM system.columns WHERE {of_table} ORDER BY position");
        self.database.query(&query)
    }

    /// Finishes a comparison that has no known disagreement.
    fn finish_without_exceptions(self) {
        let Self {
            accepted,
            refused,
            disagreements,
            ..
        } = self;
        let disagreements: Vec<String> = disagreements
            .iter()
            .map(|(case, results)| format!("{case}\n  {results}"))
            .collect();
        assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
        println!("{accepted} cases accepted and {refused} refused by ClickHouse");
        assert!(accepted >= 200 && refused >= 200);
    }

    fn finish(self) {
        let listed: Vec<&str> = include_str!("disagreements.txt")
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .collect();
        let unlisted: Vec<String> = self
            .disagreements
            .iter()
            .filter(|(case, _)| !listed.contains(&case.as_str()))
            .map(|(case, results)| format!("{case}\n  {results}"))
            .collect();
        assert!(
            unlisted.is_empty(),
            "{} disagreements:\n{}",
            unlisted.len(),
            unlisted.join("\n")
        );
        let outdated: Vec<_> = listed
            .iter()
            .filter(|case| !self.disagreements.contains_key(**case))
            .collect();
        assert!(outdated.is_empty(), "outdated disagreements: {outdated:?}");
        let Self {
            accepted,
            refused,
            identical,
            ..
        } = self;
        println!(
            "{} cases, {accepted} accepted and {refused} refused by ClickHouse; {identical} compared column by column; {} disagreements",
            accepted + refused,
            listed.len()
        );
        assert!(listed.len() < MAX_DISAGREEMENTS, "{} disagreements", listed.len());
        assert!(accepted >= 200 && refused >= 200 && identical >= 200);
    }
}

/// Returns the first error of the checker, if there is one.
fn verdict(generated: &Generated) -> Result<String, String> {
    match generated.problems.errors.first() {
        None => Ok(String::new()),
        Some(problem) => Err(format!("{} ({})", problem.message, problem.code)),
    }
}

/// Returns the declarations without duplicates.
fn columns() -> Vec<String> {
    let mut columns: Vec<String> = lines(include_str!("columns.txt")).map(str::to_owned).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("codegen/src/types/testdata");
    for name in PARSER_CASES {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let declarations = text.lines().filter_map(|line| line.split('\t').next());
        columns.extend(declarations.map(str::to_owned));
    }
    columns.sort();
    columns.dedup();
    columns
}

/// Returns the lines that are neither empty nor comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Returns a text as a double-quoted YAML string, which has the syntax of a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
