//! Events become rows. No ClickHouse is needed.

use rowmill_ingest::test::TestCollector;

use crate::tables;

#[test]
fn an_order_becomes_a_row() {
    let collector = TestCollector::<tables::Routes>::start().unwrap();
    let response = collector.post("/wh/orders", r#"{"number":"A-1","amount":"12.50"}"#);
    assert_eq!(response.status(), 200);
    let orders: Vec<tables::OrdersOwned> = collector.read_rows();
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].number, "A-1");
    assert_eq!(orders[0].amount, "12.50".parse().unwrap());
    assert_eq!(orders[0].currency, "EUR");
}

#[test]
fn an_order_without_a_number_is_refused() {
    let collector = TestCollector::<tables::Routes>::start().unwrap();
    let response = collector.post("/wh/orders", r#"{"amount":"12.50"}"#);
    assert_eq!(response.status(), 400);
    assert_eq!(collector.rows("orders"), 0);
}
