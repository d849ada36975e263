//! The checker beside ClickHouse: what it takes, CREATE TABLE takes, and what it refuses, CREATE TABLE refuses.
//!
//! `columns.txt` has declarations of columns, one a line, and the cases of the parser's own tests come to them; `tables.txt` has
//! whole tables. Of what the checker takes, ClickHouse gets the statement that goes into the schema; of what it refuses, the text
//! as it is. Where the two disagree, `disagreements.txt` says why, with the cases indented under each reason; one that is not in it
//! fails the test, and so does an entry that is none any more.

mod tables;

use std::{collections::BTreeMap, fs, path::Path};

use rowmill_codegen::{Generated, generate_texts};

use crate::support::engine::Database;

/// The cases of the parser, whose first field is a declaration.
const PARSER_CASES: [&str; 3] = ["declarations.tsv", "refused.tsv", "types.tsv"];

/// What is refused because no event can fill it is no judgement of the table.
const NO_JUDGEMENT: [&str; 2] = ["aggregate-state", "type-not-done"];

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

/// What was made of the cases so far.
struct Both {
    database: Database,
    /// Of the two, how many cases ClickHouse takes and how many it refuses.
    taken: usize,
    refused: usize,
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
        let is_no_judgement = |code| NO_JUDGEMENT.contains(&code);
        if generated
            .problems
            .errors
            .iter()
            .any(|problem| is_no_judgement(problem.code))
        {
            return;
        }
        let name = format!("t{}", self.taken + self.refused);
        let statement = match generated.statements.first() {
            Some(ours) => ours.replacen("IF NOT EXISTS `t`", &format!("`{name}`"), 1),
            None => format!("CREATE TABLE `{name}` {raw}"),
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
        }
    }

    fn finish(self) {
        let (mut reasons, mut listed) = (0, Vec::new());
        for line in include_str!("disagreements.txt").lines() {
            match line.strip_prefix("    ") {
                Some(case) => listed.push(case),
                None => reasons += usize::from(!line.is_empty()),
            }
        }
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
        assert!(reasons < 5, "{reasons} reasons to disagree");
        assert!(self.taken + self.refused >= 400 && self.taken >= 200 && self.refused >= 200);
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
