//! Expressions that throw: the checker warns of exactly those on which ClickHouse throws for some
//! value.

use rowmill_codegen::{Generated, Problem, generate_texts};

use super::{lines, quoted};
use crate::support::engine::Database;

const CODE: &str = "throwing-expression";

#[test]
fn the_checker_warns_of_expressions_that_throw() {
    let database = Database::create("throwing");
    let (mut throwing, mut quiet) = (0, 0);
    let mut wrong = Vec::new();
    for line in lines(include_str!("throwing.txt")) {
        let mut parts = line.split(" | ");
        let (ty, computed, instead) = (parts.next().unwrap(), parts.next().unwrap(), parts.next());
        let warning = warning(ty, computed);
        let thrown = thrown(&database, ty, computed);
        if warning.is_some() != thrown.is_some() {
            wrong.push(format!("{line}\n  checker: {warning:?}\n  ClickHouse: {thrown:?}"));
        }
        match thrown {
            Some(_) => throwing += 1,
            None => quiet += 1,
        }
        let (Some(instead), Some(warning)) = (instead, warning) else {
            continue;
        };
        let help = warning.help.join("; ");
        let is_named = |function: &str| instead.contains(&format!("{function}("));
        if !help.split('`').skip(1).step_by(2).any(is_named) {
            wrong.push(format!("{line}\n  the help names another function: {help}"));
        }
        let (warning, thrown) = (self::warning(ty, instead), self::thrown(&database, ty, instead));
        if warning.is_some() || thrown.is_some() {
            wrong.push(format!(
                "{instead} of {ty}\n  checker: {warning:?}\n  ClickHouse: {thrown:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(throwing > 50 && quiet > 20, "{throwing} throw, {quiet} do not");
}

/// ClickHouse has each function that a warning proposes.
#[test]
fn proposed_functions_exist() {
    let database = Database::create("proposed");
    let mut proposed: Vec<String> = Vec::new();
    for line in lines(include_str!("throwing.txt")) {
        let mut parts = line.split(" | ");
        let (ty, computed) = (parts.next().unwrap(), parts.next().unwrap());
        let help = warning(ty, computed).into_iter().flat_map(|warning| warning.help);
        let replacements = help.filter(|help| help.ends_with("not throw"));
        proposed.extend(replacements.flat_map(|help| {
            help.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        }));
    }
    proposed.sort();
    proposed.dedup();
    assert!(proposed.len() > 80, "{proposed:?}");
    let known = database.query("SELECT name FROM system.functions");
    let unknown: Vec<_> = proposed
        .iter()
        .filter(|name| !known.lines().any(|known| known == *name))
        .collect();
    assert!(unknown.is_empty(), "ClickHouse has no {unknown:?}");
}

/// A condition prevents the exception, except in a computed default.
#[test]
fn a_condition_guards_keys_indexes_ttls_and_projections() {
    let database = Database::create("guarded");
    let bare = "intDiv(5, c)";
    let guarded = "if(c = 0, 0, intDiv(5, c))";
    for (clause, throws) in [(bare, true), (guarded, false)] {
        for options in [
            format!("order_by: {}", quoted(clause)),
            format!("order_by: tuple(), partition_by: {}", quoted(clause)),
            format!("order_by: tuple(), ttl: {}", quoted(&format!("toDateTime({clause})"))),
            format!(
                "order_by: tuple(), indexes: {{ i: {} }}",
                quoted(&format!("{clause} TYPE minmax"))
            ),
            format!(
                "order_by: tuple(), projections: {{ p: {} }}",
                quoted(&format!("SELECT {clause} AS x ORDER BY x"))
            ),
        ] {
            let generated = schema(&format!(
                "      c: UInt32\n      _options: {{ engine: MergeTree, {options} }}\n"
            ));
            database.query("DROP TABLE IF EXISTS t");
            database.query(&generated.statements[0]);
            let thrown = database.try_query("INSERT INTO t VALUES (0), (1)").err();
            assert_eq!(thrown.is_some(), throws, "{options}: {thrown:?}");
            assert_eq!(warning_of(generated).is_some(), throws, "{options}");
        }
    }
}

fn generated(ty: &str, computed: &str) -> Generated {
    schema(&format!(
        "      c: {}\n      d: {}\n      _options: {{ engine: Memory }}\n",
        quoted(ty),
        quoted(computed)
    ))
}

/// Generates the code for a table `t`, whose schema must have no errors.
fn schema(table: &str) -> Generated {
    let text = format!("clickhouse:\n  destinations: {{ a/b: t }}\n  tables:\n    t:\n{table}");
    let generated = generate_texts([("t.yml", text)]);
    let errors = &generated.problems.errors;
    assert!(errors.is_empty(), "{table}: {errors:?}");
    generated
}

fn warning(ty: &str, computed: &str) -> Option<Problem> {
    warning_of(generated(ty, computed))
}

fn warning_of(generated: Generated) -> Option<Problem> {
    let warnings = generated.problems.warnings;
    warnings.into_iter().find(|warning| warning.code == CODE)
}

/// Returns the error if ClickHouse throws on one of the values of a type.
fn thrown(database: &Database, ty: &str, computed: &str) -> Option<String> {
    database.query("DROP TABLE IF EXISTS t");
    database.query(&generated(ty, computed).statements[0]);
    let rows: Vec<String> = values(ty).iter().map(|value| format!("({value})")).collect();
    // A table without the computed column accepts all of the values.
    database.query("DROP TABLE IF EXISTS plain");
    database.query(&format!("CREATE TABLE plain (c {ty}) ENGINE = Memory"));
    database.query(&format!("INSERT INTO plain VALUES {}", rows.join(", ")));
    database.try_query("INSERT INTO t (c) SELECT c FROM plain").err()
}

/// Returns the values of a type on which functions throw, as SQL.
fn values(ty: &str) -> Vec<String> {
    let inner = |prefix: &str| ty.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(')'));
    if let Some(inner) = inner("Nullable(") {
        return [vec!["NULL".to_owned()], values(inner)].concat();
    }
    if let Some(inner) = inner("LowCardinality(") {
        return values(inner);
    }
    if let Some(inner) = inner("Array(") {
        return values(inner).iter().map(|value| format!("[{value}]")).collect();
    }
    if let Some(inner) = inner("Map(String, ") {
        return values(inner).iter().map(|value| format!("map('a', {value})")).collect();
    }
    if let Some(bits) = ty.strip_prefix("UInt").and_then(|bits| bits.parse::<u32>().ok()) {
        return vec!["0".to_owned(), u128::MAX.checked_shr(128 - bits).unwrap().to_string()];
    }
    if let Some(bits) = ty.strip_prefix("Int").and_then(|bits| bits.parse::<u32>().ok()) {
        let max = i128::MAX >> (128 - bits);
        return [0, -1, 1, max, -max - 1].iter().map(i128::to_string).collect();
    }
    if let Some(digits) = inner("Decimal(") {
        let (precision, scale) = digits.split_once(", ").unwrap();
        let (precision, scale): (usize, usize) = (precision.parse().unwrap(), scale.parse().unwrap());
        let max = format!("{}.{}", "9".repeat(precision - scale), "9".repeat(scale));
        return vec!["0".to_owned(), format!("'{max}'"), format!("'-{max}'")];
    }
    let values: &[&str] = match ty {
        "String" => &[
            "''",
            "'x'",
            "'-1'",
            "'1'",
            "'{'",
            "'nan'",
            "'2020-99-99'",
            "'http://a.b/?a=c'",
            "'{\"a\":\"x\"}'",
            "'99999999999999999999999999999999999999999999999999999999999999999999999999999999'",
        ],
        "FixedString(4)" => &["''", "'x'", "'1234'"],
        "Float32" | "Float64" => &["0", "nan", "inf", "-0.5", "1e30"],
        _ => panic!("no values for {ty}"),
    };
    values.iter().map(|value| (*value).to_owned()).collect()
}
