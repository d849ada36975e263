//! Tables that others have created, as YAML: `rowmill init --from-table` and the schema create the
//! same table again.
//!
//! The test compares a folder of statements (`ROWMILL_PUBLIC_TABLES`, one CREATE TABLE for each
//! `*.sql`) with the tables that the schema makes of them, in `system.columns`, `system.tables` and
//! the definitions. The folder is the user's: the repository has no statements of other projects.

use std::{collections::BTreeMap, env, fs, path::Path};

use rowmill_codegen::{generate_texts, import_table};

use crate::support::engine::Database;

/// Statements of our own with every part that a table can have.
const OWN: &str = include_str!("imported.sql");

/// The setting that the schema adds to each MergeTree, so that no insert is stored twice.
const OWN_SETTING: &str = "non_replicated_deduplication_window = 1000";

/// The result for one statement.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Equal,
    /// ClickHouse refuses the statement itself.
    NotCreated(String),
    /// The table has states, so only a view can fill it: the columns' messages. In a schema, such a
    /// table is the `to:` of its view.
    OfView(Vec<String>),
    /// The schema is refused: the codes and messages of its errors.
    Refused(Vec<String>),
    /// The parts that differ, theirs and ours.
    Differs(Vec<String>),
}

/// Creates a table by its statement and by the schema that comes from it, and compares the two.
fn compare(database: &Database, statement: &str) -> Outcome {
    if let Err(error) = database.try_query(statement) {
        return Outcome::NotCreated(error);
    }
    let tables = database.query("SELECT name FROM system.tables WHERE database = currentDatabase()");
    let name = tables.trim();
    let show = |name: &str| database.query(&format!("SHOW CREATE TABLE `{name}` FORMAT TSVRaw"));
    let theirs = show(name);
    let facts = facts(database);
    database.query(&format!("DROP TABLE `{name}` SYNC"));

    let Some(imported) = import_table(&theirs) else {
        return Outcome::Refused(vec!["not a table".to_owned()]);
    };
    let generated = generate_texts([("table.yml", imported.yaml.clone())]);
    if !generated.problems.errors.is_empty() {
        let errors = generated.problems.errors;
        let is_of_view = errors.iter().all(|error| error.code == "aggregate-state");
        let errors = errors.iter().map(|error| format!("[{}] {}", error.code, error.message));
        return match is_of_view {
            true => Outcome::OfView(errors.collect()),
            false => Outcome::Refused(errors.collect()),
        };
    }
    if let Err(error) = database.try_query(&generated.statements[0]) {
        return Outcome::Differs(vec![format!("ClickHouse refuses the schema's statement: {error}")]);
    }
    let (ours, our_facts) = (show(name), self::facts(database));
    database.query(&format!("DROP TABLE `{name}` SYNC"));
    let mut differences: Vec<String> = Vec::new();
    for (what, theirs) in &facts {
        let ours = our_facts.get(what).map_or("nothing", String::as_str);
        if ours != theirs {
            differences.push(format!("{what}: {theirs} / {ours}"));
        }
    }
    differences.extend(
        our_facts
            .iter()
            .filter(|(what, _)| !facts.contains_key(*what))
            .map(|(what, ours)| format!("{what}: nothing / {ours}")),
    );
    let (ours, theirs) = (lines(&ours), lines(&theirs));
    if differences.is_empty() {
        let missing = theirs.iter().filter(|line| !ours.contains(line));
        differences.extend(missing.map(|line| format!("definition: {line} / nothing")));
        let added = ours.iter().filter(|line| !theirs.contains(line));
        differences.extend(added.map(|line| format!("definition: nothing / {line}")));
    }
    match differences.is_empty() {
        true => Outcome::Equal,
        false => Outcome::Differs(differences),
    }
}

/// Returns the lines of a definition, with each setting on a separate line: ClickHouse prints
/// settings in the order of the statement.
fn lines(definition: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in definition.trim().lines() {
        match line.strip_prefix("SETTINGS ") {
            Some(settings) => lines.extend(settings.split(", ").map(|setting| format!("SETTINGS {setting}"))),
            None => lines.push(line.to_owned()),
        }
    }
    lines.retain(|line| line.strip_prefix("SETTINGS ") != Some(OWN_SETTING));
    lines
}

/// Returns what ClickHouse knows of the database's only table, by names.
fn facts(database: &Database) -> BTreeMap<String, String> {
    let columns = database.query(
        "SELECT concat('column ', toString(position), ' ', name), concat(type, '|', default_kind, '|', default_expression, '|', comment, '|', \
         compression_codec) FROM system.columns WHERE database = currentDatabase() FORMAT TSV",
    );
    let table = database.query(
        "SELECT arrayJoin(mapFromArrays(['engine', 'partition key', 'sorting key', 'primary key', 'sampling key', 'comment'], \
         [engine, partition_key, sorting_key, primary_key, sampling_key, comment])) AS fact, fact.1, fact.2 FROM system.tables \
         WHERE database = currentDatabase() FORMAT TSV",
    );
    let columns = columns.lines().filter_map(|line| line.split_once('\t'));
    let table = table.lines().filter_map(|line| {
        let mut fields = line.rsplitn(3, '\t');
        let value = fields.next()?;
        Some((fields.next()?, value))
    });
    columns
        .chain(table)
        .map(|(what, fact)| (what.to_owned(), fact.to_owned()))
        .collect()
}

#[test]
fn a_schema_creates_the_table_that_it_was_imported_from() {
    let database = Database::create("imported");
    let statements: Vec<&str> = OWN
        .split(";\n")
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .collect();
    assert!(statements.len() > 5);
    for statement in statements {
        assert_eq!(compare(&database, statement), Outcome::Equal, "{statement}");
    }
}

/// Prints a table of results. `ROWMILL_PUBLIC_TABLES=folder cargo test --test it imported -- --ignored --nocapture`
#[test]
#[ignore = "needs a folder of statements in ROWMILL_PUBLIC_TABLES"]
fn public_tables_as_schemas() {
    let folder = env::var("ROWMILL_PUBLIC_TABLES").expect("ROWMILL_PUBLIC_TABLES names a folder of *.sql");
    let mut files: Vec<_> = fs::read_dir(Path::new(&folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    let database = Database::create("public");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for file in &files {
        let statement = fs::read_to_string(file).unwrap();
        let outcome = compare(&database, statement.trim().trim_end_matches(';'));
        let (result, details) = match outcome {
            Outcome::Equal => ("equal", Vec::new()),
            Outcome::NotCreated(error) => ("not created", vec![error]),
            Outcome::OfView(columns) => ("of a view", columns),
            Outcome::Refused(errors) => ("refused", errors),
            Outcome::Differs(differences) => ("differs", differences),
        };
        *counts.entry(result).or_default() += 1;
        println!("{:40} {result}", file.file_stem().unwrap().to_string_lossy());
        for detail in details {
            println!("    {}", detail.trim());
        }
    }
    println!("{} tables: {counts:?}", files.len());
}
