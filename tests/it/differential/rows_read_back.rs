//! Reads and inserts rows with the generated types and the client's `fetch` and `insert`.

use clickhouse::{Client, RowRead, RowWrite, error::Error};
use embedder::tables::{
    Orders, Types, Visits,
    orders::State,
    types::{CEnum8, CNamed, CNamedDeep},
};
use rowmill::tables::{self as standard, MailStatistics};
use rowmill_ingest::{server::not_found, value::Decimal64};
use tokio::runtime::Runtime;
use tower::{Layer, service_fn};

use super::{Both, random_rows};
use crate::support::{engine::Database, http, service::Served};

fn client(database: &Database) -> Client {
    Client::default()
        .with_url(format!("http://{}", database.engine))
        .with_user("collector")
        .with_password(&database.password)
        .with_database(&database.name)
}

/// Reads rows with the client, and inserts each into another table. Returns their number.
fn copy<T: RowRead + RowWrite>(client: &Client, select: &str, into: &str) -> Result<u64, Error> {
    Runtime::new().unwrap().block_on(async {
        let mut insert = client.insert::<T>(into).await?;
        let mut rows = client.query(select).fetch::<T>()?;
        let mut count = 0;
        while let Some(row) = rows.next().await? {
            insert.write(&row).await?;
            count += 1;
        }
        insert.end().await?;
        Ok(count)
    })
}

/// Reads the only row of a query, and passes it to `check`.
fn read<T: RowRead>(client: &Client, select: &str, check: impl FnOnce(T::Value<'_>)) {
    Runtime::new().unwrap().block_on(async {
        let mut rows = client.query(select).fetch::<T>().unwrap();
        check(rows.next().await.unwrap().unwrap());
        assert!(rows.next().await.unwrap().is_none());
    });
}

/// With validation, the client cannot read two kinds of columns of `types`: tuples with named
/// elements and decimals of 256 bits. The query casts each to the nearest supported type with the
/// same bytes.
const VALIDATED: &str = "SELECT * REPLACE (\
     reinterpret(c_dec76, 'Int256') AS c_dec76, \
     CAST(c_named AS Tuple(Float64, String, Tuple(Int8))) AS c_named, \
     CAST(c_arr_tuple AS Array(Tuple(UInt32, Enum8('x' = 1, 'y' = 2)))) AS c_arr_tuple\
     ) FROM types ORDER BY n";

#[test]
fn rows_of_all_types_are_read_and_inserted_again() {
    const ROWS: usize = 200;
    let both = Both::start("read_back");
    for event in random_rows::events().take(ROWS) {
        both.post(&event).unwrap();
    }
    both.served.drain();
    let without = client(&both.database).with_validation(false);
    let copied = copy::<Types<'_>>(&without, "SELECT ?fields FROM types", "twin").unwrap();
    assert_eq!(copied, ROWS as u64);
    assert_eq!(both.rows("twin"), both.rows("types"));
}

#[test]
fn types_are_those_that_the_client_expects() {
    let both = Both::start("validated");
    let event = r#"{"n":1,"c_string":"é\n","c_i256":-5,"c_bf16":1.5,"c_dec18":"-1.5","c_enum8":"it's","c_null_s":null,
        "c_arr_n":[1,null],"c_map":{"k":2},"c_named":{"lat":0.5,"long name":"x","deep":{"x":-1}},"c_nested.a":[7]}"#;
    both.post(event).unwrap();
    both.served.drain();
    read::<Types<'_>>(&client(&both.database), VALIDATED, |row| {
        assert_eq!((row.n, &*row.c_string, row.c_enum8), (1, "é\n", CEnum8::ItS));
        assert_eq!(
            (row.c_i256.0.as_i8(), f32::from(row.c_bf16), row.c_dec18),
            (-5, 1.5, Decimal64(-15_000))
        );
        assert_eq!((row.c_null_s, row.c_arr_n), (None, vec![Some(1), None]));
        assert_eq!(row.c_map.0, [("k".into(), 2)]);
        let named = CNamed {
            lat: 0.5,
            long_name: "x".into(),
            deep: CNamedDeep { x: -1 },
        };
        assert_eq!(row.c_named, named);
        assert_eq!((row.c_nested_a, row.c_nested_b), (vec![7], vec!["".into()]));
    });
}

#[test]
fn orders_and_visits_are_read_and_inserted_again() {
    let Both { database, served, .. } = Both::start("orders_back");
    let order = r#"{"number":"A-1","amount":"12.5","type":"x","address":{"zip":1}}"#;
    assert_eq!(http::post_json(served.address, "/wh/order", order).status, 200);
    assert_eq!(
        http::post_json(served.address, "/shop/x", r#"{"price":0.25}"#).status,
        200
    );
    served.drain();
    let client = client(&database);
    // An EPHEMERAL column is in the row, but never in the table.
    let orders = "SELECT *, '' AS raw FROM orders";
    read::<Orders<'_>>(&client, orders, |row| {
        assert_eq!(
            (&*row.number, row.amount, &*row.currency),
            ("A-1", Decimal64(1_250), "EUR")
        );
        assert_eq!(
            (row.state, row.created.seconds(), &*row.r#type),
            (State::Paid, 1_577_934_245, "x")
        );
        assert_eq!(
            (row.address_extra_key, row.address_extra_value),
            (vec!["zip".into()], vec!["1".into()])
        );
        assert_eq!(row.dateTime.ticks().cast_unsigned(), row.id >> 22);
    });
    read::<Visits>(&client, "SELECT ?fields FROM visits", |row| {
        assert_eq!(row.price, Some(0.25));
    });

    database.query("CREATE TABLE orders_again AS orders ENGINE = Memory");
    database.query("CREATE TABLE visits_again AS visits ENGINE = Memory");
    assert_eq!(copy::<Orders<'_>>(&client, orders, "orders_again").unwrap(), 1);
    assert_eq!(
        copy::<Visits>(&client, "SELECT ?fields FROM visits", "visits_again").unwrap(),
        1
    );
    for table in ["orders", "visits"] {
        let rows = |table: &str| database.query(&format!("SELECT * FROM {table} FORMAT TSV"));
        assert_eq!(rows(&format!("{table}_again")), rows(table));
    }
}

#[test]
fn the_seeds_table_is_read_and_inserted_again() {
    let database = Database::create("mail_back");
    let served = Served::start(&database, &standard::SCHEMA, |writer| {
        standard::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let sent = r#"{"event":"sent","email":"bob@example.com","message_id":"m","spam":{"score":1.5}}"#;
    let answer = http::post_json(served.address, "/wh/mail", sent);
    assert_eq!(answer.status, 200);
    served.drain();
    let client = client(&database);
    let all = "SELECT ?fields FROM mail_statistics";
    read::<MailStatistics<'_>>(&client, all, |row| {
        assert_eq!(row.id.to_string(), answer.json()["id"]);
        assert_eq!((&*row.service, &*row.name, &*row.event), ("wh", "mail", "sent"));
        assert_eq!(
            (row.extra_key, row.extra_value),
            (vec!["spam_score".into()], vec!["1.5".into()])
        );
        assert_eq!(u64::from(row.dateTime.seconds()), row.timestamp / 1000);
    });
    database.query("CREATE TABLE again AS mail_statistics ENGINE = Memory");
    assert_eq!(copy::<MailStatistics<'_>>(&client, all, "again").unwrap(), 1);
    assert_eq!(
        database.query("SELECT * FROM again FORMAT TSV"),
        database.query("SELECT * FROM mail_statistics FORMAT TSV")
    );
}
