//! The service without a ClickHouse.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use rowmill_ingest::test;
use tower::{Layer, ServiceExt, service_fn};

use super::{shop, tables};

#[tokio::test]
async fn an_order_becomes_a_row_and_other_requests_go_to_the_shop() {
    let writer = test::writer(&tables::SCHEMA);
    let service = tables::layer(writer.clone()).unwrap().layer(service_fn(shop));

    let order = Request::post("/wh/orders").body(Full::new(Bytes::from(r#"{"number":"A-1"}"#))).unwrap();
    let response = service.clone().oneshot(order).await.unwrap();
    assert_eq!(response.status(), 200);
    let orders: Vec<tables::OrdersOwned> = test::read_rows(&writer);
    assert_eq!(orders[0].number, "A-1");

    let home = Request::get("/").body(Full::new(Bytes::new())).unwrap();
    let response = service.oneshot(home).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(test::rows(&writer, "orders"), 1);
}
