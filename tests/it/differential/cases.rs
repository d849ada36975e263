//! The cases: each is the JSON fields of one event without its number.

use std::collections::HashSet;

use embedder::tables;

/// Columns with values, in the notation that the file's head describes.
const FILE: &str = include_str!("cases.txt");

/// Longer than any buffer for a text that is read at once, and within the body limit.
const LONG_TEXT_BYTES: usize = 70_000;

/// A number at the edge of an integer type, and whether the type can hold it.
pub struct Edge {
    pub fields: String,
    pub fits: bool,
}

/// Returns the columns of the table, except the number of the row.
pub fn columns() -> impl Iterator<Item = &'static str> {
    let columns = tables::types::TABLE.columns.iter().map(|column| column.name);
    columns.filter(|name| *name != "n")
}

/// Returns the fields that one line of a file means below the line `names`.
pub fn fields(names: &str, value: &str) -> Vec<String> {
    let field = |column: &str| format!("\"{column}\":{value}");
    match names {
        "*" => columns().map(field).collect(),
        "-" => vec![value.to_owned()],
        names => names.split(' ').map(field).collect(),
    }
}

/// Returns the value lines of a file, each with the line of column names above it. Value lines are
/// indented.
pub fn lines(file: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut names = "";
    file.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(move |line| match line.strip_prefix("    ") {
            Some(value) => Some((names, value)),
            None => {
                names = line;
                None
            }
        })
}

/// Returns all cases without duplicates.
pub fn all() -> Vec<String> {
    let mut cases: Vec<String> = lines(FILE).flat_map(|(names, value)| fields(names, value)).collect();
    cases.extend(edges().map(|edge| edge.fields));
    for text in ["é".repeat(LONG_TEXT_BYTES / 2), "\\n".repeat(LONG_TEXT_BYTES / 2)] {
        cases.extend(fields("c_string c_lc c_null_s", &format!("\"{text}\"")));
    }
    let mut seen = HashSet::new();
    cases.retain(|case| seen.insert(case.clone()));
    cases
}

/// Returns the two outermost numbers at each end of each integer type and the two next beyond, as
/// numbers and as texts.
pub fn edges() -> impl Iterator<Item = Edge> {
    [8, 16, 32, 64, 128, 256].into_iter().flat_map(|bits| {
        let (all, half) = (power_of_two(bits), power_of_two(bits - 1));
        let unsigned = [
            (step(&all, -2), true),
            (step(&all, -1), true),
            (all.clone(), false),
            (step(&all, 1), false),
        ];
        let signed = [
            (step(&half, -2), true),
            (step(&half, -1), true),
            (half.clone(), false),
            (step(&half, 1), false),
            (format!("-{}", step(&half, -1)), true),
            (format!("-{half}"), true),
            (format!("-{}", step(&half, 1)), false),
        ];
        let unsigned = unsigned.map(|(number, fits)| (format!("c_u{bits}"), number, fits));
        let signed = signed.map(|(number, fits)| (format!("c_i{bits}"), number, fits));
        unsigned.into_iter().chain(signed).flat_map(|(column, number, fits)| {
            [format!("\"{column}\":{number}"), format!("\"{column}\":\"{number}\"")].map(|fields| Edge { fields, fits })
        })
    })
}

/// Returns 2^`exponent`, computed digit by digit: no integer type can hold these numbers.
fn power_of_two(exponent: usize) -> String {
    let mut digits = vec![1u8];
    for _ in 0..exponent {
        let mut carry = 0;
        for digit in &mut digits {
            let twice = *digit * 2 + carry;
            (*digit, carry) = (twice % 10, twice / 10);
        }
        digits.extend((carry > 0).then_some(carry));
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

/// Returns the number plus `by`. Powers of two end in 2, 4, 6 or 8, so the sum never carries.
fn step(number: &str, by: i8) -> String {
    let (front, last) = number.split_at(number.len() - 1);
    format!("{front}{}", last.parse::<i8>().unwrap() + by)
}
