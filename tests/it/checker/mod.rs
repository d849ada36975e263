//! The checker beside ClickHouse: what it takes, CREATE TABLE takes, and what it refuses, CREATE TABLE refuses.
//!
//! `columns.txt` has declarations of columns, one a line, and the cases of the parser's own tests come to them; `tables.txt` has
//! whole tables. Of what the checker takes, ClickHouse gets the statement that goes into the schema; of what it refuses, the text
//! as it is. Of what both take, the columns have to have the same types, those that ClickHouse infers among them. Where the two
//! disagree, `disagreements.txt` says why, with the cases indented under each reason; one that is not in it fails the test, and so
//! does an entry that is none any more.

mod partitions;
mod tables;
mod throwing;

use std::{collections::BTreeMap, fs, path::Path};

use rowmill_codegen::{Generated, generate_texts};

use crate::support::engine::Database;

/// The cases of the parser, whose first field is a declaration.
const PARSER_CASES: [&str; 3] = ["declarations.tsv", "refused.tsv", "types.tsv"];

/// What is refused because no event can fill it is no judgement of the table.
const NO_JUDGEMENT: &str = "aggregate-state";

#[test]
fn the_checker_and_clickhouse_agree() {
    let mut both = Both::start();
    for declaration in columns() {
        both.column(&declaration);
    }
    for line in lines(include_str!("tables.txt")) {
        both.table(line);
    }
    both.finish();
}

/// Fewer cases than this are left in which the two disagree.
const MAX_DISAGREEMENTS: usize = 5;

/// What was made of the cases so far.
struct Both {
    database: Database,
    /// Of the two, how many cases ClickHouse takes and how many it refuses.
    taken: usize,
    refused: usize,
    /// Of those taken, how many have the same columns when they are created by the text as it is.
    alike: usize,
    /// What the two said where they disagreed.
    disagreements: BTreeMap<String, String>,
}

impl Both {
    fn start() -> Self {
        let database = Database::named("checker");
        // Nothing of the tables' definitions has to reach a disk.
        let create = format!("CREATE DATABASE {} ENGINE = Memory", database.name);
        database.on_server(&create).unwrap();
        Self {
            database,
            taken: 0,
            refused: 0,
            alike: 0,
            disagreements: BTreeMap::new(),
        }
    }

    /// Compares what becomes of a table with one column more.
    fn column(&mut self, declaration: &str) {
        // What only a MergeTree has needs one; a table in memory is there sooner.
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
            .any(|problem| problem.code == NO_JUDGEMENT)
        {
            return;
        }
        let name = format!("t{}", self.taken + self.refused);
        let raw = |name: &str| format!("CREATE TABLE `{name}` {raw}");
        let statement = match generated.statements.first() {
            Some(ours) => ours.replacen("IF NOT EXISTS `t`", &format!("`{name}`"), 1),
            None => raw(&name),
        };
        let created = self.database.try_query(&statement);
        match &created {
            Ok(_) => self.taken += 1,
            Err(_) => self.refused += 1,
        }
        let checked = verdict(&generated);
        if checked.is_ok() != created.is_ok() {
            let said = |result: Result<String, String>| result.err().unwrap_or_else(|| "takes it".to_owned());
            let text = format!("checker: {}\n  ClickHouse: {}", said(checked), said(created).trim_end());
            self.disagreements.insert(case.to_owned(), text);
        } else if checked.is_ok() {
            // Not all of them: modifiers may come in any order here, and keys in a list.
            let of_raw = format!("{name}_raw");
            if self.database.try_query(&raw(&of_raw)).is_ok() {
                let (ours, theirs) = (self.columns_of(&name), self.columns_of(&of_raw));
                assert_eq!(ours, theirs, "{case}");
                self.alike += 1;
            }
        }
    }

    /// Returns a table's columns and their types, as ClickHouse shows them.
    fn columns_of(&self, table: &str) -> String {
        let of_table = format!("database = currentDatabase() AND table = '{table}'");
        let query = format!("SELECT name, type, default_kind FROM system.columns WHERE {of_table} ORDER BY position");
        self.database.query(&query)
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
            .map(|(case, said)| format!("{case}\n  {said}"))
            .collect();
        assert!(
            unlisted.is_empty(),
            "{} disagreements:\n{}",
            unlisted.len(),
            unlisted.join("\n")
        );
        let ended: Vec<_> = listed
            .iter()
            .filter(|case| !self.disagreements.contains_key(**case))
            .collect();
        assert!(ended.is_empty(), "no disagreements any more: {ended:?}");
        let Self {
            taken, refused, alike, ..
        } = self;
        println!(
            "{} cases, {taken} taken and {refused} refused by ClickHouse; {alike} compared column by column; {} disagreements",
            taken + refused,
            listed.len()
        );
        assert!(listed.len() < MAX_DISAGREEMENTS, "{} disagreements", listed.len());
        assert!(taken >= 200 && refused >= 200 && alike >= 200);
    }
}

/// Returns what the checker says.
fn verdict(generated: &Generated) -> Result<String, String> {
    match generated.problems.errors.first() {
        None => Ok(String::new()),
        Some(problem) => Err(format!("{} ({})", problem.message, problem.code)),
    }
}

/// Returns the declarations, each once.
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

/// Returns the lines that are neither empty nor remarks.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Returns a text as YAML has it between double quotes, which is also how JSON has it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
