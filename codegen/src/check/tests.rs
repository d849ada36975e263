//! Tests that every rule is needed: without it, some pinned report changes.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use super::{RULES, Rule};
use crate::{generate, generate_texts};

thread_local! {
    /// The rule that does not run in this thread.
    static SKIPPED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

pub(super) fn is_skipped(rule: &Rule) -> bool {
    SKIPPED.get() == Some(rule.name)
}

/// Returns the pinned cases, those named after the rule first.
fn cases(rule: &Rule) -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir("tests/cases/bad")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "yml"))
        .collect();
    let name = rule.name.replace('_', "-");
    cases.sort_by_key(|case| (!case.to_string_lossy().contains(&name), case.clone()));
    cases
}

fn report(case: &Path) -> Vec<String> {
    let generated = match case.is_dir() {
        true => generate(case),
        false => generate_texts([(case, fs::read_to_string(case).unwrap())]),
    };
    let problems = generated.problems;
    let problems = problems
        .errors
        .into_iter()
        .chain(problems.warnings)
        .chain(problems.notes);
    problems.map(|problem| problem.text).collect()
}

#[test]
fn each_rule_changes_a_pinned_report() {
    for rule in RULES {
        let is_missed = cases(rule).iter().any(|case| {
            let pinned = report(case);
            SKIPPED.set(Some(rule.name));
            let without = report(case);
            SKIPPED.set(None);
            pinned != without
        });
        assert!(is_missed, "no pinned case needs the rule `{}`", rule.name);
    }
}
