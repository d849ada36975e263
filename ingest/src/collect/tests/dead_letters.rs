//! The dead letter of each rejection.

use std::net::{IpAddr, Ipv4Addr};

use http::Request;

use crate::{
    arena,
    collect::head::{Arrival, RequestHead},
    identify::Proxies,
    intake::{event_meta::EventMeta, rejection::Rejection, testing::TABLE},
    json::{self, ErrorKind},
    table::refusal::{InvalidColumn, ValueError},
};

#[test]
fn a_dead_letter_names_the_event_and_its_first_reason() {
    let (parts, ()) = Request::post("/wh/mail?a=1").body(()).unwrap().into_parts();
    let arrival = Arrival::now(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), None);
    let meta = EventMeta {
        id: 5,
        service: "wh",
        name: "mail",
        ip: "203.0.113.7",
        ..EventMeta::default()
    };
    let invalid = |problem, got: &str| InvalidColumn {
        column: &TABLE.columns[1],
        problem,
        got: got.to_owned(),
    };
    let columns = vec![
        invalid(ValueError::OutOfRange, "300"),
        invalid(ValueError::WrongKind, "[]"),
    ];
    let syntax = json::Error {
        at: 2,
        kind: ErrorKind::ExpectedKey,
    };
    arena::with(|arena| {
        let head = RequestHead::read(&parts, arrival, &Proxies::default(), arena);
        for (rejection, expected) in [
            (
                Rejection::Syntax(syntax),
                Some((
                    "",
                    "",
                    "json",
                    "the body is not JSON: expected a key in double quotes (line 1, column 3)",
                )),
            ),
            (
                Rejection::NotAnObject(json::Kind::Null),
                Some(("", "", "not-an-object", "expected a JSON object, got null")),
            ),
            (
                Rejection::InvalidColumns { table: &TABLE, columns },
                Some((
                    "events",
                    "n",
                    "out-of-range",
                    "column `n` (Int8): the value is outside the type's range: 300; \
                     column `n` (Int8): the type does not accept this kind of value: []",
                )),
            ),
            (
                Rejection::UnknownKeys {
                    table: &TABLE,
                    keys: vec!["coupon".to_owned(), "user_x".to_owned()],
                },
                Some((
                    "events",
                    "",
                    "unknown-key",
                    "table `events` has no column for `coupon`, `user_x`",
                )),
            ),
            // The spool has no space for a dead letter either.
            (Rejection::SpoolFull, None),
        ] {
            let message = rejection.message("{ x}");
            let dead_letter = rejection.dead_letter(&head, &meta, &message);
            let found = dead_letter.map(|dead_letter| {
                assert_eq!(
                    (dead_letter.id, dead_letter.service, dead_letter.name),
                    (5, "wh", "mail")
                );
                assert_eq!((dead_letter.ip, dead_letter.payload), ("203.0.113.7", &b""[..]));
                (
                    dead_letter.table,
                    dead_letter.column,
                    dead_letter.code,
                    dead_letter.reason,
                )
            });
            assert_eq!(found, expected);
        }
        assert_eq!(head.payload_with_query(b"{}").as_ref(), b"?a=1\n{}");
    });
}
