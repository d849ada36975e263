//! Writes schemas with names of the pool, types, inheritance and routes.

use super::pool::{KEYWORDS, ODD, ROUTES, USED};

/// Returns the schema of a seed.
pub(crate) fn schema(seed: u64) -> String {
    let mut writer = Writer { random: Random(seed) };
    writer.schema()
}

/// The generator of Steele, Lea and Flood, `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    /// Returns true once in `times` times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

const PLAIN: &[&str] = &[
    "String",
    "UInt8",
    "Int64",
    "Int256",
    "UInt256",
    "UInt128",
    "Float32",
    "Float64",
    "BFloat16",
    "Bool",
    "Date",
    "Date32",
    "DateTime",
    "DateTime('Europe/Berlin')",
    "DateTime64(3)",
    "DateTime64(6, 'Asia/Tokyo')",
    "UUID",
    "IPv4",
    "IPv6",
    "Decimal(9, 2)",
    "Decimal(60, 5)",
    "FixedString(3)",
    "LowCardinality(String)",
    "Nullable(String)",
    "Time",
    "Point",
    "Polygon",
    "JSON",
    "Dynamic",
    "SimpleAggregateFunction(sum, UInt64)",
    "LowCardinality(Nullable(String))",
    "Time64(3)",
    "QBit(Float32, 3)",
    "IntervalDay",
    "Geometry",
    "Nullable(UInt8)",
];

struct Writer {
    random: Random,
}

impl Writer {
    fn name(&mut self) -> String {
        let pool = match self.random.below(5) {
            0 | 1 => KEYWORDS,
            2 | 3 => USED,
            _ => ODD,
        };
        let name = self.random.of(pool);
        match self.random.below(12) {
            0 => format!("{name}_"),
            1 => name.to_uppercase(),
            2 => {
                let mut chars = name.chars();
                chars
                    .next()
                    .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
            }
            3 => format!("{name} {}", self.random.of(ODD)),
            4 if self.random.once_in(4) => name.repeat(100),
            _ => name.to_owned(),
        }
    }

    fn schema(&mut self) -> String {
        let mut tables: Vec<String> = Vec::new();
        let mut lines = Vec::new();
        let mut concrete = Vec::new();
        for _ in 0..=self.random.below(3) {
            let name = self.name();
            if tables.contains(&name) || name == "base" {
                continue;
            }
            let is_abstract = self.random.once_in(4);
            lines.push(format!("    {}:", quoted(&name)));
            let mut columns: Vec<String> = Vec::new();
            for _ in 0..=self.random.below(5) {
                let column = self.name();
                if columns.contains(&column) || column == "_options" {
                    continue;
                }
                lines.push(format!("      {}: {}", quoted(&column), self.column()));
                columns.push(column);
            }
            if self.random.once_in(8) {
                lines.push("      extra.key: Array(String)\n      extra.value: Array(String)".to_owned());
            }
            let mut options = vec!["engine: MergeTree".to_owned(), "order_by: tuple()".to_owned()];
            if is_abstract {
                options.push("abstract: true".to_owned());
            } else {
                concrete.push(name.clone());
            }
            if !tables.is_empty() && self.random.once_in(2) {
                let parent = self.random.below(tables.len());
                options.push(format!("extend: {}", quoted(&tables[parent])));
            }
            if self.random.once_in(8) {
                options.push(format!("rust: {}", quoted(&self.name())));
            }
            if self.random.once_in(6) {
                options.push(format!("unknown: {}", self.random.of(&["ignore", "reject"])));
            }
            lines.push(format!("      _options: {{ {} }}", options.join(", ")));
            tables.push(name);
        }
        let mut routes: Vec<String> = Vec::new();
        let count = if self.random.once_in(6) { 14 } else { 4 };
        for _ in 0..self.random.below(count) {
            if concrete.is_empty() {
                break;
            }
            let path = match self.random.below(8) {
                0 => "other".to_owned(),
                1 | 2 => format!("{}/{}", self.random.of(ROUTES), self.random.of(ROUTES)),
                _ => format!("wh/{}", self.random.of(ROUTES)),
            };
            let table = self.random.below(concrete.len());
            let line = format!("    {}: {}", quoted(&path), quoted(&concrete[table]));
            if !routes
                .iter()
                .any(|route| route.starts_with(&format!("    {}:", quoted(&path))))
            {
                routes.push(line);
            }
        }
        format!(
            "clickhouse:\n  destinations:\n{}\n  tables:\n{}\n",
            routes.join("\n"),
            lines.join("\n")
        )
    }

    fn column(&mut self) -> String {
        let nested = self.random.once_in(10);
        let ty = if nested {
            let fields = self.elements(1);
            format!("Nested({fields})")
        } else {
            self.ty(2)
        };
        match self.random.below(12) {
            0 => {
                let mut keys = vec![format!("type: {}", quoted(&ty))];
                if self.random.once_in(2) {
                    keys.push(format!("rust: {}", quoted(&self.name())));
                }
                if self.random.once_in(2) {
                    keys.push("required: true".to_owned());
                }
                if self.random.once_in(2) {
                    keys.push(format!("from: [{}, {}]", quoted(&self.name()), quoted(&self.name())));
                }
                if self.random.once_in(3) {
                    keys.push("max_bytes: 9".to_owned());
                }
                if self.random.once_in(3) {
                    keys.push(format!("was: {}", quoted(&self.name())));
                }
                format!("{{ {} }}", keys.join(", "))
            }
            1 => quoted("UInt8 DEFAULT 7"),
            2 => quoted("UInt8 MATERIALIZED 7"),
            3 => quoted("DateTime DEFAULT now()"),
            _ => quoted(&ty),
        }
    }

    fn ty(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.random.of(PLAIN).to_owned();
        }
        match self.random.below(16) {
            0..=3 => self.enumeration(),
            4..=6 => format!("Tuple({})", self.elements(depth - 1)),
            7 => format!("Tuple({}, {})", self.ty(depth - 1), self.ty(depth - 1)),
            8 => format!("Array({})", self.ty(depth - 1)),
            9 => format!("Map(String, {})", self.ty(depth - 1)),
            10 => format!("Map({}, UInt8)", self.enumeration()),
            11 => format!("Variant({}, {})", self.ty(depth - 1), self.ty(depth - 1)),
            12 => {
                let path = self.name();
                let path: String = path.chars().filter(|c| !c.is_control()).collect();
                format!("JSON({} {})", identifier(&path), self.ty(depth - 1))
            }
            _ => self.random.of(PLAIN).to_owned(),
        }
    }

    fn elements(&mut self, depth: usize) -> String {
        let mut names: Vec<String> = Vec::new();
        for _ in 0..=self.random.below(3) {
            let name = self.name();
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        let elements = names
            .iter()
            .map(|name| format!("{} {}", identifier(name), self.ty(depth)));
        let elements: Vec<String> = elements.collect();
        if elements.is_empty() {
            "a UInt8".to_owned()
        } else {
            elements.join(", ")
        }
    }

    fn enumeration(&mut self) -> String {
        let mut names: Vec<String> = Vec::new();
        for _ in 0..=self.random.below(4) {
            let name = self.name();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let first = self.random.below(5);
        let values = names
            .iter()
            .enumerate()
            .map(|(at, name)| format!("{} = {}", text(name), at + first));
        format!(
            "Enum{}({})",
            self.random.of(&["8", "16"]),
            values.collect::<Vec<_>>().join(", ")
        )
    }
}

/// Returns a YAML scalar between double quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() || !c.is_ascii() => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns a name of ClickHouse between backquotes.
fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// Returns a text of ClickHouse.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
