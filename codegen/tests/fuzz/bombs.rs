//! Inputs that are small to write and expensive to process.

/// Returns all such inputs.
pub(crate) fn all() -> Vec<String> {
    let many = |count: usize, piece: &dyn Fn(usize) -> String| (0..count).map(piece).collect::<String>();
    let nested =
        |open: &str, inner: &str, close: &str, depth| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
    let enumeration = |values, name: &dyn Fn(usize) -> String| {
        let values: Vec<String> = (0..values)
            .map(|value| format!("'{}' = {value}", name(value)))
            .collect();
        table(&format!("      e: \"Enum16({})\"\n", values.join(", ")), "k")
    };
    // Each anchor contains the previous one nine times.
    let laughs = |first: &str, wrap: &dyn Fn(&str) -> String| {
        let anchors = many(9, &|level| {
            let nine = vec![format!("*a{level}"); 9].join(", ");
            format!("a{}: &a{} {}\n", level + 1, level + 1, wrap(&nine))
        });
        format!("a0: &a0 {first}\n{anchors}{}", table("", "k"))
    };
    vec![
        table(&format!("      c: {}\n", nested("[", "", "]", 50_000)), "k"),
        many(2_000, &|depth| format!("{}a:\n", "  ".repeat(depth))),
        table(
            &format!("      c: \"{}\"\n", nested("Array(", "Int8", ")", 50_000)),
            "k",
        ),
        table(&format!("      c: \"{}\"\n", nested("Tuple(a ", "Int8", ")", 95)), "k"),
        table(
            &format!("      c: \"UInt64 DEFAULT {}\"\n", nested("(", "k", ")", 20_000)),
            "k",
        ),
        table("", &format!("\"{}\"", nested("(", "k", ")", 20_000))),
        table("", &format!("\"{}\"", nested("f(", "k", ")", 5_000))),
        table("", &format!("\"{}\"", nested("CASE WHEN ", "k", " END", 10_000))),
        table("", &format!("[{}k]", "d, ".repeat(1_000))),
        laughs("[x, x]", &|nine| format!("[{nine}]")),
        laughs("{ x: 1 }", &|nine| format!("{{ <<: [{nine}] }}")),
        enumeration(20_000, &|value| format!("v{value}")),
        // Names that have no character left in Rust.
        enumeration(2_000, &|value| "я".repeat(1 + value % 40) + &"ж".repeat(1 + value / 40)),
        table(
            &many(3_000, &|column| {
                format!("      c{column}: UInt8 DEFAULT c{}\n", column + 1)
            }),
            "k",
        ),
        table(
            &many(3_000, &|column| {
                format!("      c{column}: UInt8 DEFAULT c{}\n", (column + 1) % 3_000)
            }),
            "k",
        ),
        table(&many(3_000, &|column| format!("      c{column}: Foo{column}\n")), "k"),
        table(
            &many(3_000, &|column| {
                format!("      \"{}\": UInt8\n", "я".repeat(column % 50 + 1))
            }),
            "k",
        ),
        table(&format!("      ? {}\n      : UInt8\n", "n".repeat(200_000)), "k"),
        table(
            &format!(
                "      c: \"Nested({})\"\n",
                many(5_000, &|field| format!("a{field} UInt8,"))
            ),
            "k",
        ),
        format!(
            "clickhouse:\n  destinations: {{ a/b: t0 }}\n  tables:\n    t0: {{ k: UInt64, _options: {{ engine: Memory }} }}\n{}",
            many(300, &|table| format!(
                "    t{}: {{ k{table}: Int8, _options: {{ extend: t{table} }} }}\n",
                table + 1
            ))
        ),
        format!("{}{}", "# remark\n".repeat(100_000), table("", "k")),
        "\u{0}".repeat(10_000),
        "<% ".repeat(10_000),
        "'".repeat(10_001),
    ]
}

fn table(columns: &str, order_by: &str) -> String {
    format!(
        "clickhouse:\n  destinations: {{ a/b: t }}\n  tables:\n    t:\n      k: UInt64\n{columns}      _options: {{ engine: MergeTree, \
         order_by: {order_by} }}\n"
    )
}
