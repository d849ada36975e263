//! `rowmill check --engine`: the embedded ClickHouse creates the tables and views of a folder, and
//! the report has the place of each part that it refuses or changes.

use std::{fs, path::PathBuf, process::Stdio};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{collector, wait_for};

/// Writes a schema folder.
fn folder(name: &str, text: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("t.yml"), text).unwrap();
    folder
}

/// Runs the command, and returns its standard output and whether it has succeeded.
fn check(folder: &str) -> (String, bool) {
    let output = collector::run(&["check", "--engine", folder]);
    assert_eq!(String::from_utf8_lossy(&output.stderr).matches("panicked").count(), 0);
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

/// Each line in which the check must find something ends with a comment: the column of the place,
/// and a part of the message.
const REFUSED: &str = "clickhouse:
  destinations: { wh/a: a }
  tables:
    a:
      id: UInt64
      kept: ALIAS reverse(text)
      text: String
      day: Date
      at: DateTime
      sum: UInt8 DEFAULT 100 + 200 # 26 stores this default as `44`
      list: Array(UInt8) DEFAULT [1, 100 + 200] # 34 stores this default as `[1,44]`
      index: UInt64 DEFAULT dictGetUInt64() # 29 Wrong argument count
      _options:
        engine: ReplicatedMergeTree
        order_by: [id, toYYYYMM(text)] # 24 Illegal type String
        cluster: all
        allow: [no-row-id]
        indexes:
          i: text TYPE bloom_filter(3) # 14 false positive
        projections:
          p: SELECT day, count(), sum(text) GROUP BY day # 35 Illegal type String
        ttl: day + INTERVAL 1 WEK # 14 Syntax error
  views:
    lost:
      select: SELECT *, 1 FROM a # 15 no column `1`
      to:
        copies:
          id: UInt64
          text: String
          day: Date
          at: DateTime
          sum: UInt8
          list: Array(UInt8)
          index: UInt64
          _options: { engine: MergeTree, order_by: id }
    states:
      select: SELECT day, uniqState(id) AS users FROM a GROUP BY day # 44 CANNOT_CONVERT_TYPE
      to:
        daily:
          day: Date
          users: AggregateFunction(uniq, UInt32)
          _options: { engine: AggregatingMergeTree, order_by: day }
    typo:
      select: SELECT day, sum(text) AS ids FROM a GROUP BY day # 27 Illegal type String
      to:
        typos:
          day: Date
          ids: UInt64
          _options: { engine: SummingMergeTree, order_by: day }
";

#[test]
fn each_part_that_clickhouse_refuses_or_changes_is_reported_at_its_place() {
    let folder = folder("check-engine-refused", REFUSED);
    let (output, is_success) = check(folder.to_str().unwrap());
    assert!(!is_success, "{output}");
    let problems: Vec<&str> = output.split("\n\n").collect();
    let mut expected = 0;
    for (number, line) in REFUSED.lines().enumerate() {
        let Some((_, remark)) = line.split_once(" # ") else {
            continue;
        };
        expected += 1;
        let (column, part) = remark.split_once(' ').unwrap();
        let place = format!("t.yml:{}:{column}\n", number + 1);
        assert!(
            problems
                .iter()
                .any(|problem| problem.contains(&place) && problem.contains(part)),
            "{place}{part} is not in {output}"
        );
    }
    assert_eq!(output.matches("error[").count(), expected, "{output}");
}

const DISTRIBUTED: &str = "clickhouse:
  cluster: fleet
  destinations: { wh/a: a }
  tables:
    a:
      id: { type: UInt64, from: $id }
      day: Date
      sum: UInt8 DEFAULT 100 + 200
      _options: { engine: MergeTree, order_by: id, replicated: true, distributed: true, sharding_key: id }
  views:
    totals:
      select: SELECT day, count() AS n FROM a_local GROUP BY day
      to:
        sums:
          day: Date
          n: UInt64
          _options: { engine: SummingMergeTree, order_by: day, distributed: true, sharding_key: toUInt32(day) }
";

#[test]
fn the_tables_of_a_shard_are_checked_and_reported_once() {
    let folder = folder("check-engine-distributed", DISTRIBUTED);
    let (output, _) = check(folder.to_str().unwrap());
    assert_eq!(output.matches("error[").count(), 1, "{output}");
    assert!(output.contains("t.yml:8:26\n"), "{output}");
    assert!(!output.contains("needs other servers"), "{output}");
}

#[test]
fn clickhouse_accepts_the_schemas_of_the_repository() {
    let root = env!("CARGO_MANIFEST_DIR");
    let (output, is_success) = check(&format!("{root}/schemas"));
    assert!(
        is_success && output.ends_with("schemas: 5 tables, no errors\n"),
        "{output}"
    );
    let (output, is_success) = check(&format!("{root}/tests/embedder/schemas"));
    assert!(is_success, "{output}");
}

#[test]
fn a_schema_with_errors_starts_no_engine() {
    let folder = folder("check-engine-broken", "clickhouse: { tables: { t: { a: Strng } } }\n");
    let output = collector::command()
        .args(["check", "--engine", folder.to_str().unwrap()])
        .env("ROWMILL_ENGINE", "/nonexistent")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("unknown-type"), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

/// Returns a child of a process, if it has one.
fn child_of(parent: u32) -> Option<i32> {
    let is_child = |process: &i32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        status.lines().any(|line| line == format!("PPid:\t{parent}"))
    };
    let mut processes = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.find(is_child)
}

#[test]
fn an_engine_that_dies_leaves_no_folder() {
    let schemas = folder(
        "check-engine-killed",
        "clickhouse: { tables: { t: { a: String, _options: { engine: Memory } } } }\n",
    );
    let temporary = tempfile::tempdir().unwrap();
    let mut check = collector::command()
        .args(["check", "--engine"])
        .arg(&schemas)
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let engine = wait_for("the engine", || child_of(check.id()));
    wait_for("its folder", || {
        (fs::read_dir(temporary.path()).unwrap().count() > 0).then_some(())
    });
    kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
    assert!(!check.wait().unwrap().success());
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}
