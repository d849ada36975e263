//! Medians over rounds, and the noise between the rounds.

use std::fmt;

/// One figure per round, in the order of the rounds.
#[derive(Debug, Clone, Default)]
pub struct Spread {
    values: Vec<f64>,
}

impl Spread {
    /// Adds a round's figure.
    pub fn push(&mut self, value: f64) {
        self.values.push(value);
    }

    /// Returns the ratio to another figure, round by round. Changes from one round to the next that
    /// affect both figures equally cancel out.
    pub fn to(&self, other: &Self) -> Self {
        self.values
            .iter()
            .zip(&other.values)
            .map(|(own, other)| own / other)
            .collect()
    }

    /// Returns the middle value, or the mean of the two in the middle; NaN if there are no values.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let half = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => sorted[half],
            _ => f64::midpoint(sorted[half - 1], sorted[half]),
        }
    }

    /// Returns half the distance between the least and the greatest value, as a share of the
    /// median. A smaller difference between two figures is not significant. A single round has no
    /// noise.
    pub fn noise(&self) -> Option<f64> {
        match self.sorted()[..] {
            [least, .., greatest] => Some((greatest - least) / 2.0 / self.median()),
            _ => None,
        }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl Extend<f64> for Spread {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        self.values.extend(values);
    }
}

impl FromIterator<f64> for Spread {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut spread = Self::default();
        spread.extend(values);
        spread
    }
}

/// Writes the median and the noise, in the requested precision: `8.35 ±1 %`.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        let median = self.median();
        let text = match self.noise() {
            _ if median.is_nan() => "–".to_owned(),
            Some(noise) => format!("{median:.digits$} ±{:.0} %", noise * 100.0),
            None => format!("{median:.digits$}"),
        };
        write!(f, "{text:>width$}", width = f.width().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_the_noise_reaches_both_ends() {
        let odd: Spread = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!((odd.median(), odd.noise()), (2.0, Some(0.5)));
        let even: Spread = [4.0, 1.0, 2.0, 3.0].into_iter().collect();
        assert_eq!((even.median(), even.noise()), (2.5, Some(0.6)));
        assert_eq!(format!("{even:>12.1}"), "   2.5 ±60 %");
        let ratio = odd.to(&[6.0, 4.0, 2.0, 9.0].into_iter().collect());
        assert_eq!(ratio.sorted(), [0.25, 0.5, 1.0]);
        let one: Spread = [7.0].into_iter().collect();
        assert_eq!(
            (format!("{one:.2}"), Spread::default().to_string()),
            ("7.00".to_owned(), "–".to_owned())
        );
    }
}
