//! Tests how tables inherit. Each section of the record, which holds the results of the original,
//! has its YAML here.
//!
//! The record's tables have `extra.key` without `extra.value`, which Rowmill rejects. The YAML here
//! has both, and the comparison omits `extra.value`.

#![allow(clippy::unwrap_used, clippy::panic)]

use rowmill_codegen::{Generated, generate_texts};

const RECORD: &str = include_str!("../../tests/golden/04_extend_sql.txt");

/// The tables that most sections begin with.
const PARENTS: &str = "
clickhouse:
  tables:
    base: { id: UInt64, date: Date, _options: { abstract: true } }
    webhooks:
      extra.key: Array(String)
      extra.value: Array(String)
      _options: { extend: base, engine: 'MergeTree(date, (date), 8192)' }
";

/// The old form of the engine, which ClickHouse rejects, and its modern translation. The window
/// makes ClickHouse store a block once if it is sent twice.
const OLD_ENGINE: &str = "MergeTree(date, (date), 8192)";
const MODERN_ENGINE: &str = "MergeTree PARTITION BY toYYYYMM(date) ORDER BY (date) \
                             SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000";

/// A section of the record: its title and its YAML.
struct Section {
    title: &'static str,
    parents: Parents,
    yaml: &'static str,
}

/// The text before a section's YAML.
enum Parents {
    /// [`PARENTS`], in a separate file.
    Standard,
    /// No text: the YAML is the whole file.
    None,
}

const fn section(title: &'static str, yaml: &'static str) -> Section {
    Section {
        title,
        parents: Parents::Standard,
        yaml,
    }
}

const SECTIONS: &[Section] = &[
    section("two level", "mail: { event: String, _options: { extend: webhooks } }"),
    section(
        "three level, defined in order",
        "a: { ca: String, _options: { extend: webhooks } }
b: { cb: String, _options: { extend: a } }",
    ),
    section(
        "three level, child before parent",
        "b: { cb: String, _options: { extend: a } }
a: { ca: String, _options: { extend: webhooks } }",
    ),
    section(
        "child before grandparent chain (webhooks-before-base like)",
        "z: { cz: String, _options: { extend: y } }
y: { cy: String, _options: { extend: x } }
x: { cx: String, _options: { extend: webhooks } }",
    ),
    section(
        "override parent column type",
        "mail: { id: String, _options: { extend: webhooks } }",
    ),
    section(
        "override engine",
        "mail: { event: String, _options: { extend: webhooks, engine: Log } }",
    ),
    section(
        "extend missing",
        "mail: { event: String, _options: { extend: nothing, engine: Log } }",
    ),
    section("no engine no extend", "mail: { event: String, _options: {} }"),
    section("no _options", "mail: { event: String }"),
    section(
        "extend abstract base w/out engine",
        "mail: { event: String, _options: { extend: base } }",
    ),
    section(
        "null column (removed parent col)",
        "mail: { id: null, _options: { extend: webhooks } }",
    ),
    section(
        "abstract child of webhooks and grandchild",
        "m: { c1: String, _options: { extend: webhooks, abstract: true } }
n: { c2: String, _options: { extend: m } }",
    ),
    section(
        "other keys in table: number, list, map",
        "mail: { a: 5, b: [String, Int8], c: { d: String }, _options: { extend: webhooks } }",
    ),
    section("alter", "mail: { n: Int8 DEFAULT -1, _options: { extend: webhooks } }"),
    Section {
        title: "clickhouse.base outside tables (old layout)",
        parents: Parents::None,
        yaml: "
clickhouse:
  base: { id: UInt64, date: Date }
  tables:
    webhooks: { extra.key: Array(String), extra.value: Array(String), _options: { engine: Log } }
    mail: { event: String, _options: { extend: webhooks } }",
    },
    section(
        "self extend / cycle",
        "a: { ca: String, _options: { extend: a, engine: Log } }",
    ),
    section(
        "cycle",
        "a: { ca: String, _options: { extend: b, engine: Log } }
b: { cb: String, _options: { extend: a, engine: Log } }",
    ),
    Section {
        title: "no tables",
        parents: Parents::None,
        yaml: "clickhouse: {}",
    },
];

/// An intended difference between Rowmill and the original.
struct Deviation {
    section: &'static str,
    /// The table; empty if Rowmill rejects the whole schema.
    table: &'static str,
    expected: &'static str,
    reason: &'static str,
}

const ENGINE_AT_ANY_DEPTH: &str =
    "an engine is inherited at any depth; the original read one level up and sent `ENGINE = undefined`";
const NO_ENGINE: &str =
    "the build rejects a table without an engine; the original sent `ENGINE = undefined` or crashed";
const NO_CYCLE: &str = "a cycle has no first table; the original swapped a few columns and continued";

const DEVIATIONS: &[Deviation] = &[
    Deviation {
        section: "three level, defined in order",
        table: "b",
        expected: "ca String, extra.key Array(String), id UInt64, date Date, cb String; MergeTree",
        reason: ENGINE_AT_ANY_DEPTH,
    },
    Deviation {
        section: "three level, child before parent",
        table: "b",
        expected: "ca String, extra.key Array(String), id UInt64, date Date, cb String; MergeTree",
        reason: ENGINE_AT_ANY_DEPTH,
    },
    Deviation {
        section: "child before grandparent chain (webhooks-before-base like)",
        table: "z",
        expected: "cy String, cx String, extra.key Array(String), id UInt64, date Date, cz String; MergeTree",
        reason: "the order of declaration does not matter; the original reached two levels up if children were first",
    },
    Deviation {
        section: "child before grandparent chain (webhooks-before-base like)",
        table: "y",
        expected: "cx String, extra.key Array(String), id UInt64, date Date, cy String; MergeTree",
        reason: ENGINE_AT_ANY_DEPTH,
    },
    Deviation {
        section: "override parent column type",
        table: "mail",
        expected: "extra.key Array(String), id String, date Date; MergeTree",
        reason: "the child wins; the original silently ignored the child's type",
    },
    Deviation {
        section: "extend missing",
        table: "",
        expected: "error[unknown-extend]",
        reason: "the build rejects a misspelt parent; the original created the table without it",
    },
    Deviation {
        section: "no engine no extend",
        table: "",
        expected: "error[missing-engine]",
        reason: NO_ENGINE,
    },
    Deviation {
        section: "no _options",
        table: "",
        expected: "error[missing-engine]",
        reason: NO_ENGINE,
    },
    Deviation {
        section: "extend abstract base w/out engine",
        table: "",
        expected: "error[missing-engine]",
        reason: NO_ENGINE,
    },
    Deviation {
        section: "null column (removed parent col)",
        table: "mail",
        expected: "extra.key Array(String), date Date; MergeTree",
        reason: "an empty value removes an inherited column; the original ignored it",
    },
    Deviation {
        section: "abstract child of webhooks and grandchild",
        table: "n",
        expected: "c1 String, extra.key Array(String), id UInt64, date Date, c2 String; MergeTree",
        reason: ENGINE_AT_ANY_DEPTH,
    },
    Deviation {
        section: "other keys in table: number, list, map",
        table: "",
        expected: "error[type-syntax] error[not-a-type] error[not-a-type]",
        reason: "the build rejects an invalid type; the original sent it to ClickHouse",
    },
    Deviation {
        section: "clickhouse.base outside tables (old layout)",
        table: "webhooks",
        expected: "id UInt64, date Date, extra.key Array(String); Log",
        reason: "columns of the old base come first, as those of any parent; in the original, after those of the table",
    },
    Deviation {
        section: "self extend / cycle",
        table: "",
        expected: "error[extend-cycle]",
        reason: NO_CYCLE,
    },
    Deviation {
        section: "cycle",
        table: "",
        expected: "error[extend-cycle]",
        reason: NO_CYCLE,
    },
    Deviation {
        section: "no tables",
        table: "",
        expected: "error[no-schema]",
        reason: "an empty schema is a problem with a place; the original crashed",
    },
];

#[test]
fn tables_inherit_as_recorded_but_for_the_deviations() {
    let recorded = recorded_sections();
    let titles: Vec<&str> = recorded.iter().map(|(title, _)| *title).collect();
    let expected: Vec<&str> = SECTIONS.iter().map(|section| section.title).collect();
    assert_eq!(titles, expected, "each section of the record has its YAML");

    for (section, (title, lines)) in SECTIONS.iter().zip(recorded) {
        let generated = generate_texts(section.files());
        let recorded: Vec<(&str, String)> = lines.iter().filter_map(|line| recorded_table(line)).collect();
        let made: Vec<(String, String)> = generated.statements.iter().map(|sql| generated_table(sql)).collect();

        if let Some(deviation) = deviation(title, "") {
            assert_eq!(codes(&generated), deviation.expected, "{title}: {}", deviation.reason);
            continue;
        }
        assert_eq!(codes(&generated), "", "{title}: {:#?}", generated.problems.errors);
        for (table, recorded) in &recorded {
            let Some((_, made)) = made.iter().find(|(name, _)| name == table) else {
                panic!("{title}: `{table}` is missing");
            };
            match deviation(title, table) {
                Some(deviation) => {
                    assert_eq!(made, deviation.expected, "{title}, `{table}`: {}", deviation.reason);
                    assert_ne!(made, recorded, "{title}, `{table}` no longer deviates");
                }
                None => assert_eq!(made, recorded, "{title}, `{table}`"),
            }
        }
        let created = lines.iter().filter(|line| line.starts_with("CREATE")).count();
        let altered = lines.iter().filter(|line| line.starts_with("ALTER")).count();
        assert_eq!(made.len(), created + altered, "{title}: as many tables as recorded");
    }
}

#[test]
fn a_recorded_alter_adds_columns_that_the_whole_table_has() {
    let (_, lines) = recorded_sections()
        .into_iter()
        .find(|(title, _)| *title == "alter")
        .unwrap();
    let alter = lines
        .iter()
        .find_map(|line| line.strip_prefix("ALTER TABLE mail"))
        .unwrap();
    let section = SECTIONS.iter().find(|section| section.title == "alter").unwrap();
    let generated = generate_texts(section.files());
    let (_, made) = generated
        .statements
        .iter()
        .map(|sql| generated_table(sql))
        .find(|(name, _)| name == "mail")
        .unwrap();
    for column in alter
        .split(",  ")
        .map(|column| column.replace("ADD COLUMN", "").replace('"', ""))
    {
        assert!(made.contains(column.trim()), "`{}` in {made}", column.trim());
    }
}

#[test]
fn the_old_engine_is_translated() {
    let generated = generate_texts(SECTIONS[0].files());
    let engine = |sql: &str| sql.split_once("ENGINE = ").map(|(_, engine)| engine.replace('\n', " "));
    for sql in &generated.statements {
        assert_eq!(engine(sql).as_deref(), Some(MODERN_ENGINE), "{sql}");
    }
    assert_eq!(generated.statements.len(), 2);
}

#[test]
fn each_deviation_belongs_to_a_section_and_has_a_reason() {
    for deviation in DEVIATIONS {
        assert!(
            SECTIONS.iter().any(|section| section.title == deviation.section),
            "{}",
            deviation.section
        );
        assert!(!deviation.reason.is_empty(), "{}", deviation.section);
    }
}

impl Section {
    fn files(&self) -> Vec<(&'static str, String)> {
        match self.parents {
            Parents::None => vec![("mail.yml", self.yaml.to_owned())],
            Parents::Standard => {
                let tables = self.yaml.replace('\n', "\n    ");
                vec![
                    ("base.yml", PARENTS.to_owned()),
                    ("mail.yml", format!("clickhouse:\n  tables:\n    {tables}\n")),
                ]
            }
        }
    }
}

fn deviation(section: &str, table: &str) -> Option<&'static Deviation> {
    DEVIATIONS
        .iter()
        .find(|deviation| deviation.section == section && deviation.table == table)
}

/// Returns the titles of the record, each with the lines below it.
fn recorded_sections() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in RECORD.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("=== ") {
            Some(title) => sections.push((title, Vec::new())),
            None => sections.last_mut().unwrap().1.push(line),
        }
    }
    sections
}

/// Returns the name of a recorded `CREATE TABLE name ( "column" type,  …) ENGINE = …`, and its
/// columns and engine in short form.
fn recorded_table(line: &'static str) -> Option<(&'static str, String)> {
    let (name, rest) = line.strip_prefix("CREATE TABLE ")?.split_once(" ( ")?;
    let (columns, engine) = rest.rsplit_once(") ENGINE = ")?;
    let columns = columns.replace('"', "").replace(",  ", ", ");
    let engine = if engine == OLD_ENGINE { "MergeTree" } else { engine };
    Some((name, format!("{columns}; {engine}")))
}

/// Returns the name of a table that Rowmill creates, and its columns and engine in short form.
fn generated_table(sql: &str) -> (String, String) {
    let (head, rest) = sql.split_once("\n(\n").unwrap();
    let (columns, engine) = rest.split_once("\n)\nENGINE = ").unwrap();
    let columns: Vec<String> = columns
        .split(",\n")
        .map(|column| column.trim().replace('`', ""))
        .filter(|column| !column.starts_with("extra.value "))
        .collect();
    let name = head.split('`').nth(1).unwrap();
    let engine = engine.split('\n').next().unwrap();
    (name.to_owned(), format!("{}; {engine}", columns.join(", ")))
}

/// Returns the codes of the errors, separated by spaces.
fn codes(generated: &Generated) -> String {
    let code = |error: &rowmill_codegen::Problem| error.text.split(':').next().unwrap_or_default().to_owned();
    generated.problems.errors.iter().map(code).collect::<Vec<_>>().join(" ")
}
