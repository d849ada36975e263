//! Makes inputs from others with a small random generator: the same seed produces the same input.

/// Separators of a schema's parts, and texts that parsers often handle badly.
const PIECES: [&str; 44] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "`",
    ",",
    ": ",
    "\n",
    "\n  ",
    "\n      ",
    "#",
    " # ",
    "- ",
    "? ",
    "&a ",
    "*a",
    "<<: *a",
    "|\n",
    ">-\n",
    "%",
    "@",
    "!",
    "---\n",
    "\t",
    "\u{feff}",
    "\0",
    "é",
    "\u{10ffff}",
    "->",
    "::",
    ".",
    "..",
    ".1",
    " AS ",
    " DEFAULT ",
    " TYPE ",
    "SELECT ",
    "$$",
    "/*",
    "-- ",
];

/// Makes inputs from a corpus.
#[derive(Debug)]
pub(crate) struct Mutator {
    corpus: Vec<String>,
}

/// [SplitMix64](https://doi.org/10.1145/2714064.2660195).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn choose<'a>(&mut self, items: &'a [impl AsRef<str>]) -> &'a str {
        items[self.below(items.len())].as_ref()
    }
}

impl Mutator {
    pub(crate) fn new(corpus: Vec<String>) -> Self {
        Self { corpus }
    }

    /// Returns the input for a seed.
    pub(crate) fn input(&self, seed: u64) -> String {
        let mut random = Random(seed);
        let mut text = random.choose(&self.corpus).to_owned();
        // Wrap a type or an expression in a schema, quoted or unchanged.
        if !text.contains("clickhouse") {
            text = self.schema(&text, &mut random);
        }
        for _ in 0..random.below(6) {
            self.mutate(&mut text, &mut random);
        }
        text
    }

    fn schema(&self, declaration: &str, random: &mut Random) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let other = random.choose(&self.corpus).replace('\n', " ");
        let column = match random.below(3) {
            0 => declaration.to_owned(),
            1 => quoted(declaration),
            _ => format!("{{ type: {}, default: {} }}", quoted(declaration), quoted(&other)),
        };
        let key = match random.below(3) {
            0 => "id".to_owned(),
            1 => quoted(&other),
            _ => "[c, \"toDate(c)\"]".to_owned(),
        };
        format!(
            "clickhouse:\n  destinations: {{ a/b: t }}\n  tables:\n    t:\n      id: UInt64\n      c: {column}\n      _options: {{ \
             engine: MergeTree, order_by: {key}, ttl: {} }}\n",
            quoted(&other)
        )
    }

    fn mutate(&self, text: &mut String, random: &mut Random) {
        let (start, end) = {
            let (one, other) = (position(text, random), position(text, random));
            (one.min(other), one.max(other))
        };
        let piece = match random.below(6) {
            // An empty piece, a part of another input, or a fixed piece.
            0 => String::new(),
            1 => {
                let other = random.choose(&self.corpus);
                let (one, two) = (position(other, random), position(other, random));
                other[one.min(two)..one.max(two)].to_owned()
            }
            2 => random.choose(&PIECES).to_owned(),
            // The range twice, a fixed piece many times, or the range nested.
            3 => text[start..end].repeat(2),
            4 => random.choose(&PIECES).repeat(1 << random.below(12)),
            _ => {
                let (open, close) = [("(", ")"), ("[", "]"), ("Array(", ")"), ("{a: ", "}")][random.below(4)];
                let depth = 1 << random.below(10);
                format!("{}{}{}", open.repeat(depth), &text[start..end], close.repeat(depth))
            }
        };
        let end = if random.below(2) == 0 { start } else { end };
        text.replace_range(start..end, &piece);
    }
}

/// Returns a random position on a character boundary.
fn position(text: &str, random: &mut Random) -> usize {
    let mut at = random.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
