//! Rows that own their texts, with the `clickhouse` crate's mock of a server.

#![allow(clippy::unwrap_used)]

use clickhouse::{
    Client,
    test::{Mock, handlers},
};
use embedder::tables::{Orders, OrdersOwned, Visits, VisitsOwned};

fn order(number: &str) -> OrdersOwned {
    let row = Orders {
        id: 7,
        number: number.into(),
        address_extra_key: vec![number.into()],
        ..Orders::default()
    };
    row.into_owned()
}

#[tokio::test]
async fn a_mock_provides_and_records_owned_rows() {
    let mock = Mock::new();
    let client = Client::default().with_mock(&mock);
    mock.add(handlers::provide([order("A"), order("B")]));
    let rows = client
        .query("SELECT ?fields FROM orders")
        .fetch_all::<OrdersOwned>()
        .await
        .unwrap();
    assert_eq!(rows, [order("A"), order("B")]);

    let recording = mock.add(handlers::record::<OrdersOwned>());
    let mut insert = client.insert::<OrdersOwned>("orders").await.unwrap();
    insert.write(&order("C")).await.unwrap();
    insert.end().await.unwrap();
    let recorded: Vec<OrdersOwned> = recording.collect().await;
    assert_eq!(recorded, [order("C")]);

    mock.add(handlers::provide([Visits::default()]));
    let visits = client
        .query("SELECT ?fields FROM visits")
        .fetch_all::<VisitsOwned>()
        .await
        .unwrap();
    assert_eq!(visits, [Visits::default().into_owned()]);
}

#[test]
fn an_owned_row_has_the_fields_of_its_row() {
    fn is_send<T: Send + 'static>(_: &T) {}

    let mut owned = order("A");
    is_send(&owned);
    owned.items = 3;
    assert_eq!((&*owned.number, owned.items), ("A", 3));
    let borrowed: &Orders<'static> = &owned;
    assert_eq!(OrdersOwned::from(borrowed.clone()), owned);
    assert_eq!(owned.clone().into_row().number, "A");
}
