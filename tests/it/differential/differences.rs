//! The differences that are meant: the one table of them.

use std::collections::HashMap;

use super::cases;

/// The table, in the notation that its head describes.
const FILE: &str = include_str!("differences.txt");

/// How what is here differs from what ClickHouse does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It is refused here, and ClickHouse takes it.
    Stricter,
    /// It is taken here as this, and ClickHouse refuses it.
    Kinder(String),
    /// It is taken here as this, and ClickHouse takes it as something else.
    Other(String),
}

/// Returns the differences by the fields of their cases.
pub fn listed() -> HashMap<String, Difference> {
    let mut listed = HashMap::new();
    let mut add = |fields: String, difference| {
        let twice = listed.insert(fields.clone(), difference);
        assert_eq!(twice, None, "{fields} is listed twice");
    };
    for (head, line) in cases::lines(FILE) {
        let (kind, names) = head.split_once(' ').unwrap();
        let (value, stored) = match kind {
            "stricter" => (line, ""),
            _ => line.rsplit_once(" => ").unwrap(),
        };
        let stored = stored.to_owned();
        let difference = match kind {
            "stricter" => Difference::Stricter,
            "kinder" => Difference::Kinder(stored),
            "other" => Difference::Other(stored),
            _ => panic!("{kind} is no kind of difference"),
        };
        for fields in cases::fields(names, value) {
            add(fields, difference.clone());
        }
    }
    // ClickHouse keeps the low bits of a number that does not fit; a number that nobody sent is worse than none.
    for edge in cases::edges().filter(|edge| !edge.fits) {
        add(edge.fields, Difference::Stricter);
    }
    listed
}
