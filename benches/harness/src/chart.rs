//! Curves as SVG: lines, and a point at each measured value, drawn without a library.

use std::fmt::{self, Write};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 66.0;

/// The number of horizontal grid lines to aim for.
const GRID_LINES: f64 = 5.0;

/// Okabe and Ito's colours, which colour-blind people can tell apart.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// A picture of curves.
#[derive(Debug, Clone)]
pub struct Chart {
    /// The title above the picture.
    pub title: String,
    /// The label of the horizontal axis: the quantity that varies.
    pub x: String,
    /// The label of the vertical axis: the measured quantity and its unit.
    pub y: String,
    /// The curves.
    pub series: Vec<Series>,
}

/// One curve.
#[derive(Debug, Clone)]
pub struct Series {
    /// The name in the legend.
    pub name: String,
    /// Its points in ascending order of x; x is positive.
    pub points: Vec<(f64, f64)>,
}

/// Writes the SVG. The x axis is logarithmic, as the benches choose their points; y begins at zero.
impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let mut places: Vec<f64> = points().map(|(x, _)| *x).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let (first, last) = match places[..] {
            [first, .., last] => (first, last),
            [only] => (only / 2.0, only * 2.0),
            [] => (1.0, 2.0),
        };
        let step = step(points().map(|(_, y)| *y).fold(0.0, f64::max));
        let lines = (points().map(|(_, y)| *y).fold(0.0, f64::max) / step).ceil().max(1.0);
        let x = |value: f64| LEFT + (value / first).ln() / (last / first).ln() * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / (step * lines) * (HEIGHT - TOP - BOTTOM);

        writeln!(
            f,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#333">
<rect width="100%" height="100%" fill="#fff"/>
<text x="{LEFT}" y="22" font-size="15">{}</text>"##,
            Escaped(&self.title)
        )?;
        for line in 0..=lines as u32 {
            let value = f64::from(line) * step;
            writeln!(
                f,
                r##"<path d="M{LEFT} {at:.1}H{end}" stroke="#ddd"/><text x="{before}" y="{below:.1}" text-anchor="end">{}</text>"##,
                Number(value),
                at = y(value),
                end = WIDTH - RIGHT,
                before = LEFT - 8.0,
                below = y(value) + 4.0,
            )?;
        }
        for place in places {
            writeln!(
                f,
                r#"<text x="{:.1}" y="{}" text-anchor="middle">{}</text>"#,
                x(place),
                HEIGHT - BOTTOM + 18.0,
                Number(place)
            )?;
        }
        let (middle, base) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - BOTTOM + 36.0);
        writeln!(
            f,
            r#"<text x="{middle}" y="{base}" text-anchor="middle">{}</text>"#,
            Escaped(&self.x)
        )?;
        let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
        writeln!(
            f,
            r#"<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{}</text>"#,
            Escaped(&self.y)
        )?;
        let mut legend = LEFT;
        for (series, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let mut line = String::new();
            for (at, value) in &series.points {
                write!(
                    line,
                    "{}{:.1} {:.1}",
                    if line.is_empty() { 'M' } else { 'L' },
                    x(*at),
                    y(*value)
                )?;
                writeln!(
                    f,
                    r#"<circle cx="{:.1}" cy="{:.1}" r="3.5" fill="{colour}"/>"#,
                    x(*at),
                    y(*value)
                )?;
            }
            writeln!(
                f,
                r#"<path d="{line}" fill="none" stroke="{colour}" stroke-width="2"/>"#
            )?;
            writeln!(
                f,
                r#"<circle cx="{:.1}" cy="{}" r="4" fill="{colour}"/><text x="{:.1}" y="{}">{}</text>"#,
                legend + 4.0,
                HEIGHT - 14.0,
                legend + 13.0,
                HEIGHT - 10.0,
                Escaped(&series.name)
            )?;
            legend += 34.0 + 6.8 * series.name.chars().count() as f64;
        }
        f.write_str("</svg>\n")
    }
}

/// Returns the distance between grid lines: 1, 2 or 5 times a power of ten.
fn step(most: f64) -> f64 {
    let rough = if most > 0.0 { most / GRID_LINES } else { 1.0 };
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough);
    factor.unwrap_or(10.0) * power
}

/// A number on an axis: with separated thousands, and no more digits than needed.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1_000.0 {
            // Multiples of a step carry rounding errors.
            return write!(f, "{}", (self.0 * 1e6).round() / 1e6);
        }
        let digits = format!("{:.0}", self.0);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index) % 3 == 0 {
                f.write_char('\u{202f}')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '&' => f.write_str("&amp;"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> String {
        let series = Series {
            name: "p99 < 1 & more".to_owned(),
            points: points.to_vec(),
        };
        Chart {
            title: "Latency".to_owned(),
            x: "tables".to_owned(),
            y: "ms".to_owned(),
            series: vec![series],
        }
        .to_string()
    }

    #[test]
    fn points_are_at_their_coordinates() {
        let svg = chart(&[(2.0, 0.0), (20.0, 50.0), (200.0, 100.0)]);
        // On the logarithmic axis, 20 is halfway between 2 and 200; 50 is halfway between 0 and
        // 100.
        assert!(svg.contains(r#"d="M76.0 294.0L348.0 169.0L620.0 44.0""#), "{svg}");
        assert!(svg.contains("p99 &lt; 1 &amp; more"));
    }

    #[test]
    fn a_chart_accepts_one_point_or_none() {
        for points in [&[][..], &[(64.0, 3.0)], &[(1.0, 0.0)]] {
            let svg = chart(points);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn steps_are_round() {
        assert_eq!(
            [0.0, 1.0, 7.3, 99.0, 130_000.0].map(step),
            [1.0, 0.2, 2.0, 20.0, 50_000.0]
        );
        assert_eq!(Number(120_000.0).to_string(), "120\u{202f}000");
        assert_eq!(Number(0.2 * 3.0).to_string(), "0.6");
    }
}
