//! `plan --out FILE` and `apply FILE`: the plan that somebody has read is the one that is carried out.

use std::{fs, path::Path};

use crate::support::{collector, engine::Database};

/// Runs a command, and returns its exit status, its output and its errors.
fn run(arguments: &[&str], database: &Database) -> (Option<i32>, String, String) {
    let output = collector::run(&[arguments, &["--clickhouse", &database.url()]].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn plan(allow: &[&str], file: &Path, database: &Database) -> String {
    let arguments = [&["plan", "--out", file.to_str().unwrap()], allow].concat();
    let (status, output, errors) = run(&arguments, database);
    assert_eq!(status, Some(0), "{errors}");
    output
}

fn apply(file: &Path, database: &Database) -> (Option<i32>, String, String) {
    run(&["apply", file.to_str().unwrap()], database)
}

fn is_done(database: &Database) -> bool {
    run(&["plan", "--exit-code"], database).0 == Some(0)
}

#[test]
fn a_plan_is_applied_to_the_state_that_it_was_made_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.yml");
    let database = Database::named("plan_file");
    let printed = plan(&[], &file, &database);
    assert!(printed.contains("CREATE DATABASE"), "{printed}");
    assert!(fs::read_to_string(&file).unwrap().contains("CREATE DATABASE"));

    // Somebody else was faster.
    database
        .on_server(&format!("CREATE DATABASE {}", database.name))
        .unwrap();
    let (status, output, errors) = apply(&file, &database);
    assert_eq!((status, output.as_str()), (Some(1), ""));
    assert!(errors.contains("was made for another state"), "{errors}");
    assert!(errors.contains("no longer needed: CREATE DATABASE"), "{errors}");
    assert_eq!(database.query("SHOW TABLES"), "");

    plan(&[], &file, &database);
    let (status, _, errors) = apply(&file, &database);
    assert_eq!(status, Some(0), "{errors}");
    assert!(is_done(&database));
    // The plan is done.
    let (status, _, errors) = apply(&file, &database);
    assert_eq!(status, Some(1));
    assert!(errors.contains("no longer needed: CREATE TABLE"), "{errors}");
}

#[test]
fn a_plan_has_the_kinds_of_changes_that_it_allows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.yml");
    let database = Database::named("plan_file_allow");
    assert_eq!(run(&["apply"], &database).0, Some(0));
    database.query("ALTER TABLE mail_statistics ADD COLUMN old String");
    plan(&["--allow", "drop"], &file, &database);

    // The options of the plan count, and not others.
    let other = run(&["apply", file.to_str().unwrap(), "--allow", "rewrite"], &database);
    assert_eq!(other.0, Some(2), "{}", other.2);
    database.query("ALTER TABLE mail_statistics ADD COLUMN older String");
    let (status, _, errors) = apply(&file, &database);
    assert_eq!(status, Some(1));
    assert!(errors.contains("not in the plan: drop: `mail_statistics`"), "{errors}");
    assert!(errors.contains("older"), "{errors}");

    database.query("ALTER TABLE mail_statistics DROP COLUMN older");
    let (status, output, errors) = apply(&file, &database);
    assert_eq!(status, Some(0), "{errors}");
    assert!(output.contains("DROP COLUMN"), "{output}");
    assert!(is_done(&database));

    fs::write(&file, "tables: {}\n").unwrap();
    let (status, _, errors) = apply(&file, &database);
    assert_eq!(status, Some(1));
    assert!(
        errors.contains("plan.yml is not a plan of `rowmill plan --out`"),
        "{errors}"
    );
}

#[test]
fn a_plan_that_could_not_list_what_is_missing_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.yml");
    let database = Database::named("plan_file_stopped");
    assert_eq!(run(&["apply"], &database).0, Some(0));
    database.query("ALTER TABLE mail_statistics MODIFY COLUMN list_id UUID");
    let allow = ["--allow", "rewrite", "--allow", "lossy"];
    let arguments = [&["plan", "--exit-code", "--out", file.to_str().unwrap()], &allow[..]].concat();
    let (status, _, errors) = run(&arguments, &database);
    assert_eq!(status, Some(2), "{errors}");
    assert!(fs::read_to_string(&file).unwrap().contains("\"statements\": null"));

    // The schema gains a table after that.
    database.query("DROP TABLE webhooks");
    let (status, _, errors) = apply(&file, &database);
    assert_eq!(status, Some(1));
    assert!(errors.contains("make a new plan for what is missing"), "{errors}");
    assert!(!database.query("SHOW TABLES").contains("webhooks"));
    let (_, needed, _) = run(&["plan"], &database);
    assert!(
        needed.contains("webhooks") && !needed.contains("`list_id` is UUID"),
        "{needed}"
    );
}
