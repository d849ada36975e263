//! The names of the rows that borrow nothing.

use rowmill_codegen::generate_texts;

#[test]
fn a_table_keeps_its_name_before_the_owned_row_of_another() {
    let schema = "clickhouse:\n  tables:\n    \
                  orders: { a: String, b: UInt8, _options: { engine: Memory } }\n    \
                  orders_owned: { a: UInt8, _options: { engine: Memory } }\n";
    let generated = generate_texts([("schema.yml", schema)]);
    assert!(generated.problems.errors.is_empty(), "{:?}", generated.problems.errors);
    let lines = |text: &str| generated.code.lines().filter(|line| line.trim() == text).count();
    for (line, count) in [
        ("pub use orders::Orders;", 1),
        ("pub use orders::OrdersOwned;", 0),
        ("pub use orders_owned::OrdersOwned;", 1),
        ("pub use orders_owned::OrdersOwnedOwned;", 1),
        // The owned row of `orders` is in its module.
        ("pub type OrdersOwned = __rt::Owned<Orders<'static>>;", 1),
        // A row that borrows nothing is its own.
        ("pub type OrdersOwnedOwned = OrdersOwned;", 1),
    ] {
        assert_eq!(lines(line), count, "{line}");
    }
}
