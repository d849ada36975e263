//! `rowmill init`: schema files from the gallery and from tables of ClickHouse.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use crate::support::{collector, engine::Database};

/// Returns an empty schema folder.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("init-{name}"));
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn init(folder: &Path, arguments: &[&str]) -> Output {
    let mut all = vec!["init", "--schemas", folder.to_str().unwrap()];
    all.extend(arguments);
    collector::run(&all)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn an_example_becomes_a_file_of_the_schema() {
    let folder = folder("example");
    fs::create_dir_all(&folder).unwrap();
    let standard = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/10_base.yml");
    fs::copy(standard, folder.join("10_base.yml")).unwrap();
    for name in ["gallery/logs", "feedback"] {
        let output = init(&folder, &["--from", name]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let output = init(&folder, &["--from", "gallery/ci"]);
    let printed = text(&output.stdout);
    assert!(printed.contains("wrote ") && printed.contains("ci.yml"), "{printed}");
    assert!(
        printed.contains("  curl http://127.0.0.1:8080/wh/build --data-binary '{\""),
        "{printed}"
    );
    let checked = collector::run(&["check", folder.to_str().unwrap()]);
    assert!(
        text(&checked.stdout).ends_with("7 tables, no errors\n"),
        "{}",
        text(&checked.stdout)
    );

    // The user's changes stay.
    fs::write(folder.join("logs.yml"), "# mine\n").unwrap();
    let output = init(&folder, &["--from", "gallery/logs"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("exists already"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(fs::read_to_string(folder.join("logs.yml")).unwrap(), "# mine\n");
}

#[test]
fn a_mistyped_name_shows_the_nearest_and_all() {
    let folder = folder("mistyped");
    for (name, nearest) in [
        ("gallery/lgos", "gallery/logs"),
        ("web-analytics", "gallery/web_analytics"),
        ("mails", "gallery/mail_events"),
    ] {
        let output = init(&folder, &["--from", name]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(error.contains(&format!("did you mean `{nearest}`?")), "{error}");
        assert!(error.contains("  gallery/iot "), "{error}");
    }
    assert!(!folder.exists());
    let output = init(&folder, &["--from", "zzz"]);
    assert!(
        !text(&output.stderr).contains("did you mean"),
        "{}",
        text(&output.stderr)
    );
    let listed = text(&init(&folder, &[]).stdout);
    assert_eq!(listed.lines().count(), 13, "{listed}");
}

#[test]
fn an_existing_table_becomes_a_schema() {
    let folder = folder("table");
    let database = Database::create("init");
    database.query(
        "CREATE TABLE `what?` (id UInt64, at DateTime DEFAULT now() COMMENT 'it\\'s?', INDEX i at TYPE minmax) \
         ENGINE = MergeTree ORDER BY (id, at) TTL at + INTERVAL 1 DAY",
    );
    let url = database.url();
    let output = init(&folder, &["--from-table", "what?", "--clickhouse", &url]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let written = fs::read_to_string(folder.join("what_.yml")).unwrap();
    assert!(
        written.contains("at: DateTime DEFAULT now() COMMENT 'it\\'s?'"),
        "{written}"
    );

    database.query("CREATE VIEW v AS SELECT 1");
    for (table, error) in [("v", "is not a table"), ("none", "exist")] {
        let output = init(&folder, &["--from-table", table, "--clickhouse", &url]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(error), "{}", text(&output.stderr));
    }
}
