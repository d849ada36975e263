//! The number of a project, as the path, the query or the body contains it.

use std::borrow::Cow;

/// The number of a project, as JavaScript's `Number()` reads it. The column decides whether it
/// fits.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Project {
    /// Absent: 0.
    #[default]
    Missing,
    /// A whole number, exact.
    Whole(i128),
    /// A number with a fraction, or one beyond `i128`.
    Real(f64),
    /// Text that is not a number: the column's default.
    NotANumber,
}

impl Project {
    pub(super) fn parse(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::Missing };
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if text.is_empty() {
            return Self::Whole(0);
        }
        if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            return Self::parse_hexadecimal(digits);
        }
        // Rust's parser also accepts `inf` and `nan`.
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        {
            return Self::NotANumber;
        }
        match text.parse() {
            Ok(whole) => Self::Whole(whole),
            Err(_) => text.parse().map_or(Self::NotANumber, Self::from_real),
        }
    }

    fn parse_hexadecimal(digits: &str) -> Self {
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Self::NotANumber;
        }
        i128::from_str_radix(digits, 16).map_or_else(
            |_| {
                let digits = digits.chars().filter_map(|digit| digit.to_digit(16));
                Self::from_real(digits.fold(0.0, |number, digit| number * 16.0 + f64::from(digit)))
            },
            Self::Whole,
        )
    }

    fn from_real(number: f64) -> Self {
        const LIMIT: f64 = i128::MAX as f64;
        match number {
            _ if !number.is_finite() => Self::NotANumber,
            _ if number.fract() == 0.0 && number.abs() < LIMIT => Self::Whole(number as i128),
            _ => Self::Real(number),
        }
    }

    /// Returns whether `text` equals the result of [`to_text`](Self::to_text).
    pub(crate) fn is_written(self, text: &str) -> bool {
        match self {
            Self::Whole(number) => itoa::Buffer::new().format(number) == text,
            _ => self.to_text().is_some_and(|own| own == text),
        }
    }

    /// Returns the number as text for a column; `None` leaves the column its default.
    pub(crate) fn to_text(self) -> Option<Cow<'static, str>> {
        match self {
            Self::Missing | Self::Whole(0) => Some(Cow::Borrowed("0")),
            Self::Whole(number) => Some(Cow::Owned(number.to_string())),
            Self::Real(number) => Some(Cow::Owned(number.to_string())),
            Self::NotANumber => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn reads_a_project_as_a_javascript_number() {
        let cases = [
            ("99", Project::Whole(99)),
            ("-5", Project::Whole(-5)),
            ("+7", Project::Whole(7)),
            ("007", Project::Whole(7)),
            ("4294967296", Project::Whole(4_294_967_296)),
            ("18446744073709551615", Project::Whole(u64::MAX.into())),
            ("0x10", Project::Whole(16)),
            ("0XfF", Project::Whole(255)),
            (" 5\n", Project::Whole(5)),
            ("  ", Project::Whole(0)),
            ("1e3", Project::Whole(1000)),
            ("2.0", Project::Whole(2)),
            ("-0", Project::Whole(0)),
            ("1.5", Project::Real(1.5)),
            (".5", Project::Real(0.5)),
            ("1e40", Project::Real(1e40)),
            ("abc", Project::NotANumber),
            ("5a", Project::NotANumber),
            ("0x", Project::NotANumber),
            ("0x-1", Project::NotANumber),
            ("-0x10", Project::NotANumber),
            ("1_000", Project::NotANumber),
            ("Infinity", Project::NotANumber),
            ("inf", Project::NotANumber),
            ("nan", Project::NotANumber),
            ("1e400", Project::NotANumber),
            (".", Project::NotANumber),
            ("1e", Project::NotANumber),
        ];
        for (text, project) in cases {
            assert_eq!(Project::parse(Some(text)), project, "{text}");
        }
        assert_eq!(Project::parse(None), Project::Missing);
        assert!(matches!(
            Project::parse(Some(&format!("0x{}", "f".repeat(40)))),
            Project::Real(_)
        ));
        assert_eq!(
            Project::parse(Some(&format!("0x{}", "f".repeat(400)))),
            Project::NotANumber
        );
        assert_eq!(Project::parse(Some("1.5")).to_text().as_deref(), Some("1.5"));
        assert_eq!(Project::parse(Some("-5")).to_text().as_deref(), Some("-5"));
        assert_eq!(Project::Missing.to_text().as_deref(), Some("0"));
        assert_eq!(Project::NotANumber.to_text(), None);
        for number in [
            "0",
            "-5",
            "1.5",
            "x",
            "18446744073709551615",
            "170141183460469231731687303715884105727",
        ] {
            let project = Project::parse(Some(number));
            assert_eq!(project.is_written(number), project.to_text().is_some(), "{number}");
            assert!(!project.is_written("05") && !project.is_written(""));
        }
    }
}
