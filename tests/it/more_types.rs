//! The types that are rare in events, against ClickHouse: the collector stores a value as
//! `INSERT … FORMAT JSONEachRow` does, except for listed differences, each with its reason.

mod random;

use std::{collections::BTreeMap, fmt::Write};

use embedder::tables::{
    self,
    more_types::{EitherList, Narrow, Numbers},
};
use rowmill_ingest::{ClickHouseUrl, server::not_found, value};
use tokio::runtime::Runtime;
use tower::{Layer, service_fn};

use crate::support::{engine::Database, http, service::Served};

/// A column and a value for it, one pair per line.
const CASES: &str = include_str!("more_types/cases.txt");

/// The kind of a difference, the case, and the reason. `stricter`: the collector refuses a value
/// that ClickHouse accepts; `kinder`: it accepts one that ClickHouse refuses; `other`: it stores
/// another value.
const DIFFERENCES: &str = include_str!("more_types/differences.txt");

/// The types of values whose columns allow several; the text of a value does not show its type.
const TYPES: &str = "dynamicType(any), arrayMap(x -> dynamicType(x), anys), dynamicType(any_few), \
     arrayMap(x -> dynamicType(x), mapValues(any_map)), variantType(shape), arrayMap(x -> variantType(x), shapes), \
     variantType(narrow), variantType(numbers), variantType(dates), variantType(moments), variantType(fixed_or), variantType(tuples), \
     variantType(named), arrayMap(x -> variantType(x), either_list), arrayMap(x -> variantType(x), mapValues(either_map)), \
     variantType(either_tuple.a), JSONAllPathsWithTypes(doc_rare), JSONAllPathsWithTypes(doc_either)";

fn serve(database: &Database) -> Served {
    Served::start(database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    })
}

#[test]
fn values_are_stored_as_clickhouse_stores_them() {
    let database = Database::create("more_types");
    let served = serve(&database);
    database.query("CREATE TABLE twin AS more_types ENGINE = Memory");
    for (n, case) in CASES.lines().enumerate() {
        let (column, value) = case.split_once(' ').unwrap();
        let event = format!("{{\"n\":{n},\"{column}\":{value}}}");
        let answer = http::post_json(served.address, "/wh/more", &event);
        assert!([200, 400].contains(&answer.status), "{case}: {}", answer.text());
        // One at a time, because ClickHouse stops at the first row that it refuses.
        let _ = database.try_query(&format!("INSERT INTO twin FORMAT JSONEachRow {event}"));
    }
    served.drain();

    let (ours, theirs) = (rows(&database, "more_types"), rows(&database, "twin"));
    let mut known: BTreeMap<&str, &str> = DIFFERENCES
        .lines()
        .map(|line| {
            let mut parts = line.split('\t');
            let (kind, case) = (parts.next().unwrap(), parts.next().unwrap());
            assert!(
                parts.next().is_some_and(|reason| !reason.is_empty()),
                "no reason: {line}"
            );
            (case, kind)
        })
        .collect();
    let mut unknown = String::new();
    for (n, case) in CASES.lines().enumerate() {
        let kind = match (ours.get(&n), theirs.get(&n)) {
            (Some(_), None) => "kinder",
            (None, Some(_)) => "stricter",
            (Some(ours), Some(theirs)) if ours != theirs => "other",
            _ => continue,
        };
        if known.remove(case) != Some(kind) {
            let (ours, theirs) = (ours.get(&n), theirs.get(&n));
            writeln!(unknown, "{kind} {case}\n  ours   {ours:?}\n  theirs {theirs:?}").unwrap();
        }
    }
    assert!(unknown.is_empty(), "differences that are not listed:\n{unknown}");
    assert!(known.is_empty(), "listed differences that do not exist: {known:?}");
}

/// Returns the rows of a table by number.
fn rows(database: &Database, table: &str) -> BTreeMap<usize, String> {
    let sql = format!(
        "SELECT toString(n), * EXCEPT n, {TYPES} FROM {table} FORMAT JSONCompactEachRow SETTINGS output_format_json_quote_denormals = 1"
    );
    let rows = database.query(&sql);
    let numbered = rows.lines().map(|row| {
        let (number, row) = row.strip_prefix("[\"").and_then(|row| row.split_once('"')).unwrap();
        (number.parse().unwrap(), row.to_owned())
    });
    numbered.collect()
}

#[test]
fn values_may_come_as_text() {
    let database = Database::create("more_types_text");
    let served = serve(&database);
    let fields = "n=1&t=-1:02:03&t64=5.25&interval_s=-7&interval_y=&point=[1,2.5]&ring=[[1,2],[3,4]]&points={\"a\":[1,2]}\
                  &doc={\"a\":{\"b\":[1,null]}}&doc_typed={\"a\":{\"i\":\"-5\"}}&doc_array=[{\"x\":1}]\
                  &any=2024-02-29&narrow=7&shape=[1,2]&vector=[1,2,3]&either_list=[1]";
    let fields = fields.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    let answer = http::get(served.address, &format!("/wh/more.gif?{fields}"));
    assert_eq!(answer.status, 200);
    served.drain();
    let columns = "t, t64, interval_s, interval_y, point, ring, points, doc, doc_typed.a.i, doc_array, any, \
                   dynamicType(any), narrow, variantType(narrow), shape, vector, either_list";
    assert_eq!(
        database.query(&format!("SELECT {columns} FROM more_types")),
        "-01:02:03\t00:00:05.250\t-7\t0\t(1,2.5)\t[(1,2),(3,4)]\t{'a':(1,2)}\t{\"a\":{\"b\":[1,null]}}\t-5\t\
         ['{\"x\":1}']\t2024-02-29\tDate\t7\tUInt8\t(1,2)\t[1,2,3]\t[1]\n"
    );
}

#[test]
fn a_refusal_names_the_column_and_its_type() {
    let database = Database::create("more_types_refused");
    let served = serve(&database);
    let answer = http::post_json(served.address, "/wh/more", r#"{"doc_few":{"a":1,"a":2}}"#);
    assert_eq!(answer.status, 400);
    let expected = "JSON(max_dynamic_types=1, max_dynamic_paths=1)";
    assert!(answer.text().contains(expected), "{}", answer.text());
}

#[test]
fn aggregates_merge_as_clickhouse_merges_them() {
    let database = Database::create("totals");
    let served = serve(&database);
    for event in [
        r#"{"shop":"a","count":2,"worst":1.5,"last":"x","tags":["p","q"],"by_country":{"de":1}}"#,
        r#"{"shop":"a","count":"3","worst":null,"last":"y","tags":["q","r"],"by_country":{"de":2,"fr":5},"visits":10}"#,
        r#"{"shop":"b"}"#,
    ] {
        let answer = http::post_json(served.address, "/wh/totals", event);
        assert_eq!(answer.status, 200, "{event}");
    }
    served.drain();
    assert_eq!(
        database.query(
            "SELECT shop, count, worst, last, arraySort(tags), by_country, visits FROM totals FINAL ORDER BY shop"
        ),
        "a\t5\t1.5\ty\t['p','q','r']\t{'de':3,'fr':5}\t11\nb\t0\t\\N\t\t[]\t{}\t1\n"
    );

    // The client does not support LowCardinality inside a SimpleAggregateFunction.
    let client = database
        .url()
        .parse::<ClickHouseUrl>()
        .unwrap()
        .client()
        .with_validation(false);
    Runtime::new().unwrap().block_on(async {
        let query = client.query("SELECT ?fields FROM totals FINAL ORDER BY shop");
        let mut totals = query.fetch::<tables::Totals<'_>>().unwrap();
        let total = totals.next().await.unwrap().unwrap();
        assert_eq!((&*total.last, total.count, total.worst), ("y", 5, Some(1.5)));
    });
}

#[test]
fn the_columns_of_an_earlier_start_are_the_same() {
    let database = Database::create("more_types_again");
    drop(serve(&database));
    let columns = "SELECT count() FROM system.columns WHERE database = currentDatabase() AND table = 'more_types'";
    let before = database.query(columns);
    // If the schema spelled a type differently from ClickHouse, the sync would report a changed
    // type.
    drop(serve(&database));
    assert_eq!(database.query(columns), before);
}

#[test]
fn rows_are_read_back_as_they_were_sent() {
    let database = Database::create("more_types_read");
    let served = serve(&database);
    let event = r#"{"n":1,"t":"1:02:03","t64":"-0:00:00.5","interval_s":90,"polygon":[[[0,0],[1,0],[0,1]]],"doc":{"a":{"b":1}},
                    "place":{"at":[1,2]},"doc_null":null,"any":{"b":1,"a":[2]},"anys":[1,null,"x"],"shape":[[1,2]],"narrow":"x","numbers":null,
                    "either_list":[7,null],"vector":[1,2.5,-3],"halves":null}"#;
    assert_eq!(http::post_json(served.address, "/wh/more", event).status, 200);
    served.drain();

    // The client's type parser does not support names in tuples.
    let client = database
        .url()
        .parse::<ClickHouseUrl>()
        .unwrap()
        .client()
        .with_validation(false);
    let query = client
        .query(
            "SELECT * REPLACE (ifNull(toJSONString(any), 'null') AS any, ifNull(toJSONString(any_few), 'null') AS any_few, \
             arrayMap(x -> ifNull(toJSONString(x), 'null'), anys) AS anys, \
             mapApply((k, v) -> (k, ifNull(toJSONString(v), 'null')), any_map) AS any_map) \
             FROM more_types",
        )
        .with_setting("output_format_binary_write_json_as_string", "1");
    Runtime::new().unwrap().block_on(async {
        let mut rows = query.fetch::<tables::MoreTypes<'_>>().unwrap();
        let row = rows.next().await.unwrap().unwrap();
        assert_eq!((row.t, row.t64), (value::Time(3_723), value::Time64(-500)));
        assert_eq!((row.interval_s, row.interval_y), (90, None));
        assert_eq!(row.polygon, [[(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]]);
        assert_eq!(row.place.at, (1.0, 2.0));
        assert_eq!(row.any.as_str(), r#"{"a":[2],"b":1}"#);
        let anys: Vec<&str> = row.anys.iter().map(|any| any.as_str()).collect();
        assert_eq!(anys, ["1", "null", "\"x\""]);
        assert_eq!(row.shape, value::Geometry::LineString(vec![(1.0, 2.0)]));
        assert_eq!(row.narrow, Narrow::String("x".into()));
        assert_eq!(row.numbers, Numbers::Null);
        assert_eq!(row.either_list, [EitherList::UInt8(7), EitherList::Null]);
        assert_eq!((row.vector.0.as_slice(), row.halves), (&[1.0, 2.5, -3.0][..], None));
        assert_eq!((row.doc.as_str(), row.doc_null), (r#"{"a":{"b":1}}"#, None));
    });
}
