//! Tests how files merge into one schema. Each case has the files for one line of the record, which
//! holds the results of the original.
//!
//! The record shows whole configurations; Rowmill reads one section of them. The tests therefore
//! hold the record's values as column comments: the record's `"v":"a"` is a column `v` of the table
//! `top`, and `"l":{"a":1}` is a column `a` of a table `l`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs, path::Path};

use rowmill_codegen::{Generated, generate, generate_texts};

const RECORD: &str = include_str!("../../tests/golden/06_config_merge.txt");

/// One line of the record.
struct Case {
    /// The text before the record's result.
    title: &'static str,
    /// Paths in the schema folder with their texts, in any order.
    files: &'static [(&'static str, &'static str)],
    /// The pieces of Rowmill's result, or the codes of its errors.
    expected: &'static [&'static str],
    /// The reason for a deviation from the record; empty without one.
    reason: &'static str,
}

/// A schema with one table `top` of one column `v`, whose comment names its origin.
macro_rules! v {
    ($value:literal) => {
        concat!(
            "clickhouse: { tables: { top: { v: String COMMENT '",
            $value,
            "', _options: { engine: Memory } } } }"
        )
    };
}

const OWN_STREAM: &str = "each file is a separate stream, so that none depends on the end of the previous one";
const NO_TEMPLATES: &str =
    "files are YAML, not templates: the build compiles the tables before there is an environment";
const ONE_SECTION: &str = "only `clickhouse` is read; the original merged `dev` over everything, in production too";

const CASES: &[Case] = &[
    Case {
        title: "order: top files, then subdirs",
        files: &[
            ("custom/10_x.yml", v!("custom10")),
            ("10_x.yml", v!("10")),
            ("9_x.yml", v!("9")),
            ("custom/05_x.yml", v!("custom05")),
        ],
        expected: &[r#""v":"custom10""#],
        reason: "",
    },
    Case {
        title: "custom vs top: custom last?",
        files: &[("custom/00.yml", v!("custom")), ("zz.yml", v!("top"))],
        expected: &[r#""v":"custom""#],
        reason: "",
    },
    Case {
        title: "zzz dir after custom",
        files: &[("zzz/00.yml", v!("zzz")), ("custom/99.yml", v!("custom"))],
        expected: &[r#""v":"zzz""#],
        reason: "",
    },
    Case {
        title: "nested deep",
        files: &[("custom/sub/01.yml", v!("sub01")), ("custom/99.yml", v!("custom99"))],
        expected: &[r#""v":"sub01""#],
        reason: "",
    },
    Case {
        title: "case order",
        files: &[
            ("a.yml", v!("a")),
            (
                "B.yml",
                "clickhouse: { tables: { top: { v: String COMMENT 'B' }, l: { a: String COMMENT '1', _options: { engine: Memory } } } }",
            ),
        ],
        expected: &[r#""v":"a""#, r#""l":{"a":1}"#],
        reason: "",
    },
    Case {
        title: ".yaml ext & dotfiles ignored",
        files: &[
            ("a.yml", v!("a")),
            ("b.yaml", v!("b")),
            (".c.yml", v!("c")),
            (".d/d.yml", v!("d")),
        ],
        expected: &[r#""v":"b""#],
        reason: "a file that ends in `.yaml` is a schema as well as one in `.yml`",
    },
    Case {
        title: "no --- : joined to previous doc",
        files: &[("a.yml", v!("a")), ("b.yml", v!("b"))],
        expected: &[r#""v":"b""#],
        reason: OWN_STREAM,
    },
    Case {
        title: "no --- different keys",
        files: &[
            (
                "a.yml",
                "clickhouse: { tables: { a: { x: String COMMENT '1', _options: { engine: Memory } } } }",
            ),
            (
                "b.yml",
                "clickhouse: { tables: { top: { b: String COMMENT '2', _options: { engine: Memory } } } }",
            ),
        ],
        expected: &[r#""a":{"x":1}"#, r#""b":2"#],
        reason: "",
    },
    Case {
        title: "bad yaml",
        files: &[("a.yml", v!("a")), ("b.yml", "clickhouse: { tables: [\n")],
        expected: &["error[yaml]"],
        reason: "",
    },
    Case {
        title: "dup keys in doc",
        files: &[(
            "a.yml",
            "clickhouse:\n  tables: { top: { a: String, a: String, _options: { engine: Memory } } }\n",
        )],
        expected: &["error[duplicate-key]"],
        reason: "",
    },
    Case {
        title: "deep merge maps, replace lists, null",
        files: &[
            (
                "a.yml",
                "
clickhouse:
  tables:
    p: { a: String COMMENT '1', b: String COMMENT '2', _options: { engine: Memory } }
    top: { n: String COMMENT '1', l: String COMMENT 'l', 1: Int8, 2: Int8, 9: Int8, _options: { engine: MergeTree, order_by: ['`1`', '`2`'] } }
",
            ),
            (
                "b.yml",
                "
clickhouse:
  tables:
    p: { b: String COMMENT '3', c: String COMMENT '4' }
    top: { n: null, _options: { order_by: ['`9`'] } }
",
            ),
        ],
        expected: &[r#""p":{"a":1,"b":3,"c":4}"#, r#""l":[9]"#],
        reason: "",
    },
    Case {
        title: "map over scalar / scalar over map",
        files: &[
            (
                "a.yml",
                "
clickhouse:
  tables:
    c: { y: String COMMENT '0', _options: { engine: Memory } }
    top: { d: { type: String, comment: '6' }, _options: { engine: Memory } }
",
            ),
            (
                "b.yml",
                "
clickhouse:
  tables:
    c: { y: { type: String, comment: '1' } }
    top: { d: String COMMENT '7' }
",
            ),
        ],
        expected: &[r#""c":{"y":1}"#, r#""d":7"#],
        reason: "",
    },
    Case {
        title: "ejs env",
        files: &[(
            "a.yml",
            "clickhouse: { tables: { top: { c: String COMMENT '<%= env.HOME %>' } } }",
        )],
        expected: &["error[template]"],
        reason: NO_TEMPLATES,
    },
    Case {
        title: "ejs escapes html",
        files: &[(
            "a.yml",
            "clickhouse: { tables: { top: { c: String COMMENT '<%= \"a&b\" %>' } } }",
        )],
        expected: &["error[template]"],
        reason: NO_TEMPLATES,
    },
    Case {
        title: "ejs js err",
        files: &[("a.yml", "clickhouse: { tables: { top: { c: <%= nope.x %> } } }")],
        expected: &["error[template]"],
        reason: NO_TEMPLATES,
    },
    Case {
        title: "ejs in comment still runs",
        files: &[(
            "a.yml",
            "# <%= nope.x %>\nclickhouse: { tables: { top: { c: String, _options: { engine: Memory } } } }",
        )],
        expected: &["error[template]"],
        reason: "a template in a comment may decide which lines follow, so Rowmill rejects it",
    },
    Case {
        title: "dev/prod",
        files: &[("a.yml", v!("base")), ("b.yml", concat!("dev: { ", v!("dev"), " }"))],
        expected: &[r#""v":"base""#],
        reason: ONE_SECTION,
    },
    Case {
        title: "dev/prod NODE_ENV=production",
        files: &[
            ("a.yml", v!("base")),
            ("b.yml", concat!("production: { ", v!("production"), " }")),
        ],
        expected: &[r#""v":"base""#],
        reason: ONE_SECTION,
    },
    Case {
        title: "env name",
        files: &[(
            "a.yml",
            "clickhouse: { tables: { top: { g: String COMMENT '<%= envName %>' } } }",
        )],
        expected: &["error[template]"],
        reason: NO_TEMPLATES,
    },
    Case {
        title: "top-level list",
        files: &[("a.yml", "- 1\n")],
        expected: &["error[not-a-mapping]"],
        reason: "",
    },
    Case {
        title: "scalar doc",
        files: &[("a.yml", "foo\n")],
        expected: &["error[not-a-mapping]"],
        reason: "",
    },
    Case {
        title: "empty doc",
        files: &[(
            "a.yml",
            "---\n---\n# nothing\n---\nclickhouse: { tables: { top: { a: String COMMENT '1', _options: { engine: Memory } } } }\n---\n",
        )],
        expected: &[r#""a":1"#],
        reason: "",
    },
    Case {
        title: "no files",
        files: &[],
        expected: &["error[no-schema]"],
        reason: "a folder without schemas is probably the wrong one",
    },
    Case {
        title: "octal/bool/date keys",
        files: &[(
            "a.yml",
            "
clickhouse:
  tables:
    top:
      5: String COMMENT 'five'
      No: String COMMENT '1'
      n: null
      y: { type: String, comment: 0o14 }
      z: { type: String, comment: 2018-01-01 }
      t: { type: String, comment: on }
      x: { type: String, comment: yes }
      _options: { engine: Memory }
",
        )],
        expected: &[
            r#""5":"five""#,
            r#""No":1"#,
            r#""y":"0o14""#,
            r#""z":"2018-01-01""#,
            r#""t":"on""#,
            r#""x":"yes""#,
        ],
        reason: "a value keeps its written form, since it goes into SQL: `0o14` does not become 12, nor a date a timestamp",
    },
    Case {
        title: "__proto__",
        files: &[(
            "a.yml",
            "
clickhouse:
  tables:
    __proto__: { p: String COMMENT '1', _options: { engine: Memory } }
    top: { b: String COMMENT '1', _options: { engine: Memory } }
",
        )],
        expected: &[r#""__proto__":{"p":1}"#, r#""b":1"#],
        reason: "",
    },
    Case {
        title: "anchors/merge",
        files: &[(
            "a.yml",
            "
clickhouse:
  tables:
    a: &a { k: String COMMENT '1', _options: &options { engine: Memory } }
    b: { <<: *a, m: String COMMENT '2' }
",
        )],
        expected: &[r#""a":{"k":1}"#, r#""b":{"k":1,"m":2}"#],
        reason: "",
    },
    Case {
        title: "tabs",
        files: &[("a.yml", "clickhouse:\n\ttables: {}\n")],
        expected: &["error[yaml]"],
        reason: "",
    },
    Case {
        title: "CRLF/BOM",
        files: &[
            (
                "a.yml",
                "clickhouse:\r\n  tables:\r\n    top:\r\n      a: String COMMENT '1'\r\n      _options: { engine: Memory }\r\n",
            ),
            (
                "b.yml",
                "\u{feff}clickhouse:\r\n  tables:\r\n    top:\r\n      b: String COMMENT '2'\r\n",
            ),
        ],
        expected: &[r#""a":1"#, r#""b":2"#],
        reason: "files from Windows editors are accepted, with the byte order mark that begins each file",
    },
    Case {
        title: "no trailing newline then ---",
        files: &[
            (
                "a.yml",
                "clickhouse: { tables: { top: { a: String COMMENT '1', _options: { engine: Memory } } } }",
            ),
            (
                "b.yml",
                "---\nclickhouse: { tables: { top: { b: String COMMENT '1' } } }",
            ),
        ],
        expected: &[r#""a":1"#, r#""b":1"#],
        reason: "",
    },
    Case {
        title: "%> in value",
        files: &[(
            "a.yml",
            "clickhouse: { tables: { top: { a: String COMMENT '50%>x', _options: { engine: Memory } } } }",
        )],
        expected: &[r#""a":"50%>x""#],
        reason: "without templates, `%>` is a text like any other",
    },
];

#[test]
fn files_merge_as_recorded_but_for_the_deviations() {
    let recorded = recorded_lines();
    let titles: Vec<&str> = recorded.iter().map(|(title, _)| *title).collect();
    let expected: Vec<&str> = CASES.iter().map(|case| case.title).collect();
    assert_eq!(titles, expected, "each line of the record has its files");

    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("merging");
    for (index, (case, (title, recorded))) in CASES.iter().zip(recorded).enumerate() {
        let folder = root.join(index.to_string());
        write(&folder, case.files);
        let seen = seen(&generate(&folder));
        assert_eq!(seen, case.expected, "{title} {}", case.reason);

        let is_as_recorded = if seen[0].starts_with("error[") {
            recorded.starts_with("ERR ")
        } else {
            seen.iter().all(|piece| recorded.contains(piece.as_str()))
        };
        if case.reason.is_empty() {
            assert!(is_as_recorded, "{title}: {seen:?}, recorded {recorded}");
        } else if !seen[0].starts_with("error[") {
            // An error may match the record although its reason differs.
            assert!(!is_as_recorded, "{title} no longer deviates");
        }
    }
}

#[test]
fn places_after_a_byte_order_mark_and_in_another_script_are_right() {
    let text = "\u{feff}clickhouse:\r\n  tables:\r\n    mail:\r\n      имя: \"Strng COMMENT 'кто'\"\r\n";
    let errors = generate_texts([("mail.yml", text)]).problems.errors;
    assert!(errors[0].text.contains("mail.yml:4:13"), "{}", errors[0].text);
    assert!(errors[0].text.contains("^^^^^"), "{}", errors[0].text);
}

#[test]
fn a_problem_in_an_alias_has_the_place_of_its_anchor() {
    let text = "
clickhouse:
  tables:
    a: { size: &size Unt8, _options: &options { engine: Memory } }
    b: { size: *size, _options: *options }
";
    let errors = generate_texts([("mail.yml", text)]).problems.errors;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].text.contains("mail.yml:4:22"), "{}", errors[0].text);
}

/// Returns the titles and results of the record.
fn recorded_lines() -> Vec<(&'static str, &'static str)> {
    RECORD
        .lines()
        .filter_map(|line| line.strip_prefix("== "))
        .map(|line| {
            let at = line.find(" ERR ").or_else(|| line.find(": {")).unwrap();
            let (title, result) = line.split_at(at);
            (title, result.trim_start_matches([':', ' ']))
        })
        .collect()
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).unwrap();
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Returns a result in the record's notation: columns with their comments and sorting keys, or the
/// codes of the errors.
fn seen(generated: &Generated) -> Vec<String> {
    let errors = &generated.problems.errors;
    if !errors.is_empty() {
        return errors
            .iter()
            .map(|error| error.text.split(':').next().unwrap().to_owned())
            .collect();
    }
    let mut pieces = Vec::new();
    for sql in &generated.statements {
        let name = sql.split('`').nth(1).unwrap();
        let order = sql
            .split_once("\nORDER BY (")
            .map(|(_, rest)| rest.split(')').next().unwrap());
        let columns: Vec<String> = sql
            .lines()
            .filter_map(|line| {
                let (column, comment) = line.trim().strip_prefix('`')?.split_once("` String COMMENT '")?;
                let comment = comment.trim_end_matches(',').strip_suffix('\'')?;
                Some(match (order, comment.parse::<i64>()) {
                    (Some(order), _) => format!(r#""{column}":[{}]"#, order.replace('`', "")),
                    (None, Ok(number)) => format!(r#""{column}":{number}"#),
                    (None, Err(_)) => format!(r#""{column}":"{comment}""#),
                })
            })
            .collect();
        if name == "top" {
            pieces.extend(columns);
        } else {
            pieces.push(format!(r#""{name}":{{{}}}"#, columns.join(",")));
        }
    }
    pieces
}
