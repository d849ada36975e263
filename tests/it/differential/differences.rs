//! The intended differences.

use std::collections::HashMap;

use super::cases;

/// The differences, in the notation that the file's head describes.
const FILE: &str = include_str!("differences.txt");

/// A difference between the collector and ClickHouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The collector refuses the value, and ClickHouse accepts it.
    Stricter,
    /// The collector stores this, and ClickHouse refuses the value.
    Kinder(String),
    /// The collector stores this, and ClickHouse stores another value.
    Other(String),
}

/// Returns the differences by the fields of the cases.
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
            _ => panic!("{kind} is not a kind of difference"),
        };
        for fields in cases::fields(names, value) {
            add(fields, difference.clone());
        }
    }
    // ClickHouse keeps the low bits of a number out of range. The collector refuses the number: a
    // wrong number is worse than none.
    for edge in cases::edges().filter(|edge| !edge.fits) {
        add(edge.fields, Difference::Stricter);
    }
    listed
}
