//! The application without a ClickHouse.

use axum::{body::Body, http::Request};
use rowmill_ingest::test;
use tower::ServiceExt;

use super::{application, tables};

#[tokio::test]
async fn an_order_becomes_a_row_and_other_requests_go_to_the_shop() {
    let writer = test::writer(&tables::SCHEMA);
    let application = application(writer.clone()).unwrap();

    let order = Request::post("/wh/orders").body(Body::from(r#"{"number":"A-1"}"#)).unwrap();
    let response = application.clone().oneshot(order).await.unwrap();
    assert_eq!(response.status(), 200);
    let orders: Vec<tables::OrdersOwned> = test::read_rows(&writer);
    assert_eq!(orders[0].number, "A-1");

    let home = Request::get("/").body(Body::empty()).unwrap();
    let response = application.oneshot(home).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(test::rows(&writer, "orders"), 1);
}
