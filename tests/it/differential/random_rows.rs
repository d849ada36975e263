//! Valid events that fill all columns; they differ from each other, but each run has the same.

/// Any number but 0. A failure prints its event.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// Pieces of JSON strings: escapes, characters that other formats quote, and UTF-8 characters of
/// each length.
const PIECES: [&str; 16] = [
    "a",
    "Z",
    "0",
    " ",
    "'",
    ",",
    "é",
    "€",
    "😀",
    r"\n",
    r"\t",
    r"\\",
    r#"\""#,
    r"\u0000",
    r"\u00e9",
    r"\ud83d\ude00",
];

/// Local times in Berlin or New York that are skipped or occur twice.
const CHANGES: [&str; 6] = [
    "2024-03-31 02:30:00",
    "2024-10-27 02:00:00",
    "1996-10-27 02:59:59",
    "2024-03-10 02:59:59",
    "2024-11-03 01:30:00",
    "2006-10-29 01:00:00",
];

/// Returns an endless sequence of events, numbered from 0.
pub fn events() -> impl Iterator<Item = String> {
    let mut random = Random(SEED);
    (0..).map(move |n| random.event(n))
}

/// [Marsaglia's xorshift](https://www.jstatsoft.org/article/view/v008i14) with its constants for 64
/// bits.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    fn between(&mut self, least: u64, greatest: u64) -> u64 {
        least + self.below(greatest - least + 1)
    }

    fn pick<'c>(&mut self, choices: &[&'c str]) -> &'c str {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn list(&mut self, mut element: impl FnMut(&mut Self) -> String) -> String {
        let elements: Vec<String> = (0..self.below(5)).map(|_| element(self)).collect();
        format!("[{}]", elements.join(","))
    }

    fn object(&mut self, mut value: impl FnMut(&mut Self) -> String) -> String {
        let entries: Vec<String> = (0..self.below(4))
            .map(|_| format!("{}:{}", self.text(8), value(self)))
            .collect();
        format!("{{{}}}", entries.join(","))
    }

    fn or_null(&mut self, value: impl FnOnce(&mut Self) -> String) -> String {
        if self.below(5) == 0 {
            "null".to_owned()
        } else {
            value(self)
        }
    }

    /// Returns the number unchanged or as a string.
    fn or_text(&mut self, number: String) -> String {
        if self.below(3) == 0 {
            format!("\"{number}\"")
        } else {
            number
        }
    }

    fn text(&mut self, pieces: u64) -> String {
        let text: String = (0..self.below(pieces)).map(|_| self.pick(&PIECES)).collect();
        format!("\"{text}\"")
    }

    fn digits(&mut self, most: u64) -> String {
        (0..self.below(most + 1))
            .map(|_| char::from(b'0' + self.below(10) as u8))
            .collect()
    }

    /// Returns a whole number without leading zeros.
    fn whole(&mut self, most_digits: u64) -> String {
        let digits = self.digits(most_digits);
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            "0".to_owned()
        } else {
            digits.to_owned()
        }
    }

    fn unsigned(&mut self, bits: u32) -> String {
        // The shift makes small numbers as frequent as large ones.
        let shift = 128 - bits + self.below(bits.into()) as u32;
        let number = u128::from(self.bits()) << 64 | u128::from(self.bits());
        self.or_text((number >> shift).to_string())
    }

    fn signed(&mut self, bits: u32) -> String {
        let shift = 128 - bits + self.below(bits.into()) as u32;
        let number = u128::from(self.bits()) << 64 | u128::from(self.bits());
        self.or_text((number as i128 >> shift).to_string())
    }

    fn float(&mut self, greatest_exponent: u64) -> String {
        let (whole, fraction) = (self.whole(18), self.digits(18));
        let mut number = format!("{}{whole}", self.pick(&["", "-"]));
        if !fraction.is_empty() {
            number = format!("{number}.{fraction}");
        }
        if self.below(2) == 0 {
            let exponent = self.below(greatest_exponent);
            number = format!("{number}{}{exponent}", self.pick(&["e", "e-", "E+"]));
        }
        self.or_text(number)
    }

    fn decimal(&mut self, precision: u64, scale: u64) -> String {
        let (whole, fraction) = (self.whole(precision - scale), self.digits(scale + 3));
        let sign = self.pick(&["", "-"]);
        let number = if fraction.is_empty() {
            format!("{sign}{whole}")
        } else {
            format!("{sign}{whole}.{fraction}")
        };
        self.or_text(number)
    }

    fn date(&mut self, first_year: u64, last_year: u64) -> String {
        let year = self.between(first_year, last_year);
        let (month, day) = (self.between(1, 12), self.between(1, 28));
        match self.below(4) {
            0 => format!("\"{year}{month:02}{day:02}\""),
            1 => format!("\"{year}/{month}/{day}\""),
            _ => format!("\"{year}-{month:02}-{day:02}\""),
        }
    }

    fn date_time(&mut self, first_year: u64, last_year: u64) -> String {
        if self.below(20) == 0 {
            return format!("\"{}\"", self.pick(&CHANGES));
        }
        if self.below(10) == 0 {
            let seconds = self.between(1_000_000_000, 4_000_000_000);
            return format!("\"{seconds}\"");
        }
        let year = self.between(first_year, last_year);
        let (month, day) = (self.between(1, 12), self.between(1, 28));
        let (hour, minute, second) = (self.below(24), self.below(60), self.below(60));
        let separator = self.pick(&[" ", "T"]);
        let fraction = self.digits(9);
        let fraction = if fraction.is_empty() {
            fraction
        } else {
            format!(".{fraction}")
        };
        let offset = self.pick(&["", "", "Z", "+02:00", "-0530"]);
        format!("\"{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}{fraction}{offset}\"")
    }

    fn uuid(&mut self) -> String {
        let hex = format!("{:016x}{:016x}", self.bits(), self.bits());
        match self.below(3) {
            0 => format!("\"{hex}\""),
            1 => format!("\"{}\"", with_hyphens(&hex).to_uppercase()),
            _ => format!("\"{}\"", with_hyphens(&hex)),
        }
    }

    fn ip4(&mut self) -> String {
        let [a, b, c, d, ..] = self.bits().to_le_bytes();
        format!("\"{a}.{b}.{c}.{d}\"")
    }

    fn ip6(&mut self) -> String {
        let group = |random: &mut Self| format!("{:x}", random.below(0x1_0000));
        let mut groups = |count| (0..count).map(|_| group(self)).collect::<Vec<_>>().join(":");
        let (whole, short) = (groups(8), format!("{}::{}", groups(2), groups(3)));
        match self.below(3) {
            0 => format!("\"{whole}\""),
            1 => format!("\"{short}\""),
            _ => self.ip4(),
        }
    }

    fn event(&mut self, n: u64) -> String {
        let elements = self.below(4);
        let (a, b): (Vec<_>, Vec<_>) = (0..elements).map(|_| (self.unsigned(8), self.text(4))).unzip();
        let seconds = self.between(0, u32::MAX.into()).to_string();
        let fields = [
            ("n", n.to_string()),
            ("c_string", self.text(40)),
            (
                "c_fixed",
                format!("\"{}\"", self.pick(&["", "a", "ab", "abcd", "é", "😀", r"\u0000b"])),
            ),
            ("c_u8", self.unsigned(8)),
            ("c_u16", self.unsigned(16)),
            ("c_u32", self.unsigned(32)),
            ("c_u64", self.unsigned(64)),
            ("c_u128", self.unsigned(128)),
            ("c_u256", self.whole(76)),
            ("c_i8", self.signed(8)),
            ("c_i16", self.signed(16)),
            ("c_i32", self.signed(32)),
            ("c_i64", self.signed(64)),
            ("c_i128", self.signed(128)),
            ("c_i256", format!("\"-{}\"", self.whole(76))),
            ("c_f32", self.float(18)),
            ("c_f64", self.float(280)),
            ("c_bf16", self.float(18)),
            ("c_bool", self.pick(&["true", "false", "1", "0"]).to_owned()),
            ("c_dec9", self.decimal(9, 2)),
            ("c_dec18", self.decimal(18, 4)),
            ("c_dec38", self.decimal(38, 10)),
            ("c_dec76", self.decimal(76, 20)),
            ("c_date", self.date(1971, 2148)),
            ("c_date32", self.date(1901, 2298)),
            (
                "c_dt",
                if self.below(7) == 0 {
                    seconds
                } else {
                    self.date_time(1971, 2105)
                },
            ),
            ("c_dt_tz", self.date_time(1971, 2105)),
            ("c_dt64", self.date_time(1, 9998)),
            ("c_dt64_tz", self.date_time(1901, 2298)),
            ("c_uuid", self.uuid()),
            ("c_ip4", self.ip4()),
            ("c_ip6", self.ip6()),
            (
                "c_enum8",
                self.pick(&["\"open\"", "\"click\"", "\"it's\"", "1", "\"-3\""])
                    .to_owned(),
            ),
            (
                "c_enum16",
                self.pick(&["\"a\"", "\"b\"", "-1000", "\"1000\""]).to_owned(),
            ),
            ("c_lc", self.text(3)),
            ("c_lcn", self.or_null(|random| random.text(3))),
            ("c_null_i", self.or_null(|random| random.signed(32))),
            ("c_null_s", self.or_null(|random| random.text(9))),
            ("c_null_dt", self.or_null(|random| random.date_time(1971, 2298))),
            ("c_arr_s", self.list(|random| random.text(5))),
            ("c_arr_i", self.list(|random| random.signed(16))),
            (
                "c_arr_n",
                self.list(|random| random.or_null(|random| random.signed(32))),
            ),
            (
                "c_arr_arr",
                self.list(|random| random.list(|random| random.unsigned(8))),
            ),
            ("c_arr_lc", self.list(|random| random.text(3))),
            ("c_map", self.object(|random| random.unsigned(64))),
            (
                "c_map_n",
                self.object(|random| random.list(|random| random.or_null(|random| random.float(99)))),
            ),
            ("c_tuple", format!("[{},{}]", self.unsigned(8), self.text(5))),
            (
                "c_named",
                format!(
                    "{{\"deep\":{{\"x\":{}}},\"long name\":{},\"lat\":{}}}",
                    self.signed(8),
                    self.text(5),
                    self.float(99)
                ),
            ),
            (
                "c_arr_tuple",
                self.list(|random| {
                    format!(
                        "{{\"kind\":\"{}\",\"id\":{}}}",
                        random.pick(&["x", "y"]),
                        random.unsigned(32)
                    )
                }),
            ),
            ("c_nested.a", format!("[{}]", a.join(","))),
            ("c_nested.b", format!("[{}]", b.join(","))),
        ];
        let fields = fields.map(|(column, value)| format!("\"{column}\":{value}"));
        format!("{{{}}}", fields.join(","))
    }
}

fn with_hyphens(hex: &str) -> String {
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}
