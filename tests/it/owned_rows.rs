//! Rows that own their texts: they are inserted from Rust, read back with `fetch_all`, and sent
//! through channels.

use std::time::Duration;

use clickhouse::Client;
use embedder::tables::{
    self, Families, FamiliesOwned, Orders, OrdersOwned, Totals, TotalsOwned, Visits, VisitsOwned, orders::State,
};
use rowmill::tables::{MailStatistics, MailStatisticsOwned};
use rowmill_ingest::{
    Ack, ClickHouseUrl, Writer, WriterOptions,
    json::Reader,
    value::{Decimal64, Decode},
};
use tokio::{runtime::Runtime, sync::mpsc};

use crate::support::engine::Database;

fn options() -> WriterOptions {
    WriterOptions {
        block_age: Duration::from_millis(50),
        ..WriterOptions::default()
    }
}

fn url(database: &Database) -> ClickHouseUrl {
    database.url().parse().unwrap()
}

/// Returns a client that reads every type: the `clickhouse` crate knows some of them only without
/// validation.
fn client(database: &Database) -> Client {
    url(database)
        .client()
        .with_validation(false)
        .with_setting("output_format_binary_write_json_as_string", "1")
}

fn value<'a, T: Decode<'a>>(json: &'a str) -> T {
    T::from_json(&mut Reader::new(json)).unwrap()
}

/// Returns a row in which no column has its default.
fn of_all_families() -> Families<'static> {
    Families {
        n: 1,
        Array: value("[1,-2]"),
        BFloat16: value("1.5"),
        Bool: true,
        Date: "2024-02-29".parse().unwrap(),
        Date32: "1900-01-01".parse().unwrap(),
        DateTime: "2024-02-29 12:13:14".parse().unwrap(),
        DateTime32: "2106-02-07 06:28:15".parse().unwrap(),
        DateTime64: "1969-12-31 23:59:59.999999".parse().unwrap(),
        Decimal: "-12345678901234567.125".parse().unwrap(),
        Decimal128: "123456789012345678901234567890.00001".parse().unwrap(),
        Decimal256: "-1234567890123456789012345678901234567890.5".parse().unwrap(),
        Decimal32: "-0.001".parse().unwrap(),
        Decimal64: "12.5".parse().unwrap(),
        Enum: value(r#""a""#),
        Enum16: value(r#""a""#),
        Enum8: value(r#""a""#),
        FixedString: value(r#""a text""#),
        Float32: -0.5,
        Float64: 1e300,
        IPv4: value(r#""192.0.2.1""#),
        IPv6: value(r#""2001:db8::1""#),
        Int128: i128::MIN,
        Int16: -2,
        Int256: value("-170141183460469231731687303715884105729"),
        Int32: -3,
        Int64: i64::MIN,
        Int8: -1,
        IntervalDay: 1,
        IntervalHour: 2,
        IntervalMicrosecond: 3,
        IntervalMillisecond: 4,
        IntervalMinute: 5,
        IntervalMonth: 6,
        IntervalNanosecond: 7,
        IntervalQuarter: 8,
        IntervalSecond: -9,
        IntervalWeek: 10,
        IntervalYear: 11,
        LineString: value("[[1,2],[3,4]]"),
        LowCardinality: value(r#""low""#),
        Map: value(r#"{"k":1,"l":2}"#),
        MultiLineString: value("[[[1,2]],[[3,4]]]"),
        MultiPolygon: value("[[[[0,0],[1,0],[0,1]]]]"),
        Nested_a: value("[1,2]"),
        Nested_b: value(r#"["x","é"]"#),
        Nullable: Some(-7),
        Point: (0.5, -0.5),
        Polygon: value("[[[0,0],[1,0],[0,1]]]"),
        Ring: value("[[0,0],[1,0],[0,1]]"),
        SimpleAggregateFunction: -8,
        String: "it's 'a' \\ \n text".into(),
        Time: "-12:13:14".parse().unwrap(),
        Time64: "123:00:00.125".parse().unwrap(),
        Tuple: (1, "two".into()),
        UInt128: u128::MAX,
        UInt16: u16::MAX,
        UInt256: value("340282366920938463463374607431768211456"),
        UInt32: u32::MAX,
        UInt64: u64::MAX,
        UInt8: u8::MAX,
        UUID: value(r#""01234567-89ab-cdef-0123-456789abcdef""#),
        Dynamic: value(r#"{"a":[1,null],"b":"x"}"#),
        Geometry: value("[[1,2],[3,4]]"),
        JSON: value(r#"{"a":1,"b":{"c":"x"}}"#),
        QBit: value("[1,-2.5,0,4]"),
        Variant: value(r#"{"k":3}"#),
    }
}

#[test]
fn a_row_of_all_families_is_read_back_as_it_was_inserted() {
    const ROW: &str = "SELECT * REPLACE (ifNull(toJSONString(Dynamic), 'null') AS Dynamic) FROM families ORDER BY n";
    let database = Database::named("owned_families");
    Runtime::new().unwrap().block_on(async {
        let writer = Writer::start(&tables::SCHEMA, url(&database), &options());
        let rows = [
            of_all_families(),
            Families {
                n: 2,
                ..Families::default()
            },
        ];
        for row in &rows {
            assert_eq!(writer.insert(row, Ack::Stored).unwrap().await, Ack::Stored);
        }
        let found: Vec<FamiliesOwned> = client(&database).query(ROW).fetch_all().await.unwrap();
        assert_eq!(*found[0], rows[0]);
        assert_eq!(found[0], of_all_families().into_owned());
        assert_eq!(found.len(), 2);
        // ClickHouse shows a path that has a type in each JSON.
        assert_eq!(
            (found[1].n, &*found[1].String, found[1].JSON.as_str()),
            (2, "", r#"{"a":0}"#)
        );

        // The rows that were read are inserted again.
        for mut row in found {
            row.n += 2;
            assert_eq!(writer.insert(&row, Ack::Stored).unwrap().await, Ack::Stored);
        }
        let again: Vec<FamiliesOwned> = client(&database).query(ROW).fetch_all().await.unwrap();
        assert_eq!(again.len(), 4);
        assert_eq!(
            *again[2],
            Families {
                n: 3,
                ..of_all_families()
            }
        );
        writer.drain(Duration::from_secs(60)).await;
    });
}

#[test]
fn rows_of_several_tables_are_read_back() {
    let database = Database::named("owned_tables");
    Runtime::new().unwrap().block_on(async {
        let writer = Writer::start(&tables::SCHEMA, url(&database), &options());
        let order = Orders {
            id: 7,
            dateTime: "2024-02-29 12:13:14.123".parse().unwrap(),
            number: "A-1".into(),
            amount: Decimal64(1_250),
            // ClickHouse computes the DEFAULT of a column that is absent.
            state: State::Paid,
            created: "2024-02-29 12:13:14".parse().unwrap(),
            r#type: "x".into(),
            address_extra_key: vec!["floor".into()],
            address_extra_value: vec!["2".into()],
            ..Orders::default()
        };
        let visit = Visits {
            uid: 3,
            price: Some(0.5),
            timestamp: 1_600_000_000_000,
        };
        let total = Totals {
            shop: "a".into(),
            last: "z".into(),
            tags: vec!["p".into()],
            visits: 2,
            ..Totals::default()
        };
        for receipt in [
            writer.insert(&order, Ack::Stored),
            writer.insert(&visit, Ack::Stored),
            writer.insert(&total, Ack::Stored),
        ] {
            assert_eq!(receipt.unwrap().await, Ack::Stored);
        }
        let (without_validation, client) = (client(&database), url(&database).client());
        // An EPHEMERAL column is in the row, but never in the table.
        let query = client.query("SELECT *, '' AS raw FROM orders");
        let orders: Vec<OrdersOwned> = query.fetch_all().await.unwrap();
        assert_eq!(orders, [order.into_owned()]);
        let visits: Vec<VisitsOwned> = client.query("SELECT ?fields FROM visits").fetch_all().await.unwrap();
        assert_eq!(visits, [visit.into_owned()]);
        let query = without_validation.query("SELECT ?fields FROM totals");
        let totals: Vec<TotalsOwned> = query.fetch_all().await.unwrap();
        assert_eq!(totals, [total.into_owned()]);
        writer.drain(Duration::from_secs(60)).await;
    });
}

#[test]
fn owned_rows_go_through_a_channel() {
    let database = Database::named("owned_channel");
    Runtime::new().unwrap().block_on(async {
        let writer = Writer::start(&rowmill::tables::SCHEMA, url(&database), &options());
        let (sender, mut receiver) = mpsc::channel::<MailStatisticsOwned>(4);
        let inserting = tokio::spawn({
            let writer = writer.clone();
            async move {
                let mut stored = 0;
                while let Some(row) = receiver.recv().await {
                    let receipt = writer.insert(&row, Ack::Stored).unwrap();
                    stored += u32::from(receipt.await == Ack::Stored);
                }
                stored
            }
        });
        for number in 0..3 {
            // The row borrows from a text that lives no longer than the loop's turn.
            let email = format!("{number}@example.com");
            let row = MailStatistics {
                email: email.as_str().into(),
                event: "sent".into(),
                ..MailStatistics::default()
            };
            sender.send(row.into_owned()).await.unwrap();
        }
        drop(sender);
        assert_eq!(inserting.await.unwrap(), 3);
        let query = url(&database).client();
        let query = query.query("SELECT ?fields FROM mail_statistics ORDER BY email");
        let rows: Vec<MailStatisticsOwned> = query.fetch_all().await.unwrap();
        let emails: Vec<_> = rows.iter().map(|row| &*row.email).collect();
        assert_eq!(emails, ["0@example.com", "1@example.com", "2@example.com"]);
        assert!(rows.iter().all(|row| row.id > 0 && row.service == "rust"));
        writer.drain(Duration::from_secs(60)).await;
    });
}

#[test]
fn rowmill_writes_dates_times_and_decimals_as_clickhouse_does() {
    let database = Database::named("owned_text");
    Runtime::new().unwrap().block_on(async {
        let writer = Writer::start(&tables::SCHEMA, url(&database), &options());
        let row = of_all_families();
        assert_eq!(writer.insert(&row, Ack::Stored).unwrap().await, Ack::Stored);
        let texts = [
            row.Date.to_string(),
            row.Date32.to_string(),
            row.DateTime.to_string(),
            row.DateTime32.to_string(),
            row.DateTime64.to_string(),
            row.Decimal.to_string(),
            row.Decimal128.to_string(),
            row.Decimal256.to_string(),
            row.Decimal32.to_string(),
            row.Decimal64.to_string(),
            row.Time.to_string(),
            row.Time64.to_string(),
        ];
        let shown = database.query(
            "SELECT toString(Date), toString(Date32), toString(toTimeZone(DateTime, 'UTC')), toString(DateTime32), \
             toString(toTimeZone(DateTime64, 'UTC')), toString(Decimal), toString(Decimal128), toString(Decimal256), \
             toString(Decimal32), toString(Decimal64), toString(Time), toString(Time64) FROM families",
        );
        assert_eq!(shown, texts.join("\t") + "\n");
        writer.drain(Duration::from_secs(60)).await;
    });
}
