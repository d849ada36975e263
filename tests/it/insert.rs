//! Typed rows of Rust code: `Writer::insert`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use embedder::tables::{self, Dated, Orders, Signups, Visits};
use rowmill::tables::MailStatistics;
use rowmill_ingest::{
    Ack, ClickHouseUrl, Writer, WriterOptions,
    refusal::ValueError,
    value::{DateTime64, Decimal64, Utc},
    writer::InsertError,
};
use tokio::runtime::Runtime;

use crate::support::engine::Database;

const LONG: Duration = Duration::from_secs(60);

fn options() -> WriterOptions {
    WriterOptions {
        block_age: Duration::from_millis(50),
        ..WriterOptions::default()
    }
}

fn unreachable_writer() -> Writer {
    let url: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().unwrap();
    Writer::start(&tables::SCHEMA, url, &options())
}

/// Returns the columns that an error names, each with the code of its reason.
fn invalid(error: &InsertError) -> Vec<(&'static str, &'static str)> {
    let InsertError::Invalid(columns) = error else {
        panic!("{error:?}");
    };
    let columns = columns
        .iter()
        .map(|invalid| (invalid.column.name, invalid.problem.code()));
    columns.collect()
}

#[test]
fn a_row_of_a_table_with_the_base_columns_is_stored() {
    let database = Database::named("insert_base");
    let folder = tempfile::tempdir().unwrap();
    Runtime::new().unwrap().block_on(async {
        let url: ClickHouseUrl = database.url().parse().unwrap();
        let schema = &rowmill::tables::SCHEMA;
        let writer = Writer::open(schema, url, &options(), &folder.path().join("spool")).unwrap();
        // The row borrows from a text that lives no longer than the call.
        let email = format!("{}@example.com", "bob");
        let row = MailStatistics {
            event: "sent".into(),
            email: email.as_str().into(),
            service: "job".into(),
            uid: 42,
            ..MailStatistics::default()
        };
        let receipt = writer.insert(&row, Ack::Stored).unwrap();
        assert_eq!(receipt.reached_within(LONG).await, Ack::Stored);
        let again = writer.insert(&row, Ack::Spooled).unwrap();
        assert_eq!(again.reached_within(LONG).await, Ack::Spooled);
        assert!(writer.drain(LONG).await.is_complete());
    });
    assert_eq!(
        database.query(
            "SELECT count(), uniqExact(id), min(id > 0), uniqExact(event, email, service, uid), any(email), any(uid) \
             FROM mail_statistics"
        ),
        "2\t2\t1\t1\tbob@example.com\t42\n"
    );
    assert_eq!(
        database.query(
            "SELECT countIf(date = today() AND abs(timestamp - toUnixTimestamp(now()) * 1000) < 60000 \
             AND abs(toInt64(dateTime) - toUnixTimestamp(now())) < 60) FROM mail_statistics"
        ),
        "2\n"
    );
}

#[test]
fn a_row_of_any_table_is_stored_with_its_defaults() {
    let database = Database::named("insert_own");
    Runtime::new().unwrap().block_on(async {
        let url: ClickHouseUrl = database.url().parse().unwrap();
        let writer = Writer::start(&tables::SCHEMA, url, &options());
        let absent = Orders {
            number: "A".into(),
            ..Orders::default()
        };
        let given = Orders {
            id: 7,
            dateTime: DateTime64::<3, Utc>::from_ticks(1_600_000_000_123),
            number: "B".into(),
            amount: Decimal64(1250),
            currency: "USD".into(),
            items: 3,
            address_extra_key: vec!["floor".into()],
            address_extra_value: vec!["2".into()],
            ..Orders::default()
        };
        let visit = Visits {
            price: Some(0.5),
            ..Visits::default()
        };
        for receipt in [
            writer.insert(&absent, Ack::Stored),
            writer.insert(&given, Ack::Stored),
            writer.insert(&visit, Ack::Stored),
        ] {
            assert_eq!(receipt.unwrap().reached_within(LONG).await, Ack::Stored);
        }
        writer.drain(LONG).await;
    });
    assert_eq!(
        database.query(
            "SELECT number, amount, currency, items, state, created, total, address_extra.key, id = 7, \
             dateTime > now64() - 60, toUnixTimestamp64Milli(dateTime) = 1600000000123 FROM orders ORDER BY number"
        ),
        "A\t0.5\tEUR\t-1\tpaid\t2020-01-02 03:04:05\t1\t[]\t0\t1\t0\n\
         B\t12.5\tUSD\t3\tpaid\t2020-01-02 03:04:05\t25\t['floor']\t1\t0\t1\n"
    );
    assert_eq!(
        database.query("SELECT price, timestamp > 0, uid FROM visits"),
        "0.5\t1\t0\n"
    );
}

#[test]
fn a_row_keeps_the_rules_of_an_event() {
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let writer = unreachable_writer();
    let good = Signups {
        event: "join".into(),
        ..Signups::default()
    };
    assert!(writer.insert(&good, Ack::Accepted).is_ok());
    let refused = |row: &Signups<'_>| invalid(&writer.insert(row, Ack::Accepted).unwrap_err());

    assert_eq!(refused(&Signups::default()), [("event", "missing")]);
    let long = Signups {
        event: "01234567890".into(),
        user: Some("123456".into()),
        ..good.clone()
    };
    assert_eq!(
        refused(&long),
        [("event", "over-max-bytes"), ("user", "over-max-bytes")]
    );
    let uneven = Signups {
        lines_sku: vec!["a".into(), "b".into()],
        lines_n: vec![1],
        extra_key: vec!["k".into()],
        ..good.clone()
    };
    assert_eq!(
        refused(&uneven),
        [("extra.value", "unequal-lengths"), ("lines.n", "unequal-lengths")]
    );
    // An absent array of a Nested is filled, as that of an event is.
    let one_sided = Signups {
        lines_sku: vec!["a".into()],
        ..good
    };
    assert!(writer.insert(&one_sided, Ack::Accepted).is_ok());

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let day = 24 * 60 * 60 * 1000;
    let paid_at = |ms: u128| Dated {
        paid_at: DateTime64::from_ticks(i64::try_from(ms).unwrap()),
        ..Dated::default()
    };
    assert!(writer.insert(&paid_at(now - 9 * day), Ack::Accepted).is_ok());
    let early = writer.insert(&paid_at(now - 11 * day), Ack::Accepted).unwrap_err();
    assert_eq!(invalid(&early), [("paid_at", "far-off-date")]);

    let counts = writer.status();
    assert_eq!(counts.table("signups").unwrap().rows_appended, 2);
    assert_eq!(counts.table("dated").unwrap().rows_appended, 1);
}

#[test]
fn an_insert_error_contains_no_value() {
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let writer = unreachable_writer();
    let row = Signups {
        event: "secret-and-long".into(),
        ..Signups::default()
    };
    let error = writer.insert(&row, Ack::Accepted).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the row breaks rules of the schema: column `event` (String): {}",
            ValueError::OverMaxBytes(10).text()
        )
    );
}

#[test]
fn a_row_of_another_schema_or_after_the_drain_is_an_error() {
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let writer = unreachable_writer();
    let other = writer.insert(&MailStatistics::default(), Ack::Accepted).unwrap_err();
    assert!(
        matches!(other, InsertError::UnknownTable("mail_statistics")),
        "{other:?}"
    );
    runtime.block_on(writer.drain(Duration::ZERO));
    let late = writer.insert(&Visits::default(), Ack::Accepted).unwrap_err();
    assert!(matches!(late, InsertError::SpoolFull), "{late:?}");
}
