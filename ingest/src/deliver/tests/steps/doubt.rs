//! Rows whose outcome is unknown: the lookup decides what is sent again.

use super::Case;
use crate::deliver::{
    lookup::{Found, Lookup},
    tests::fake_backend::{
        Fault::{Code, CutOff, Forbidden, NotSent},
        Reply::{self, Done, Fails},
        has, has_some,
    },
};

#[tokio::test(start_paused = true)]
async fn rows_in_doubt_are_sent_again_only_if_their_table_lacks_them() {
    let lost = ("insert 4 as a", Fails(CutOff));
    for case in [
        Case::new(
            "no row is stored",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a", Done),
                ("look up a:0-4", has(Found::All)),
            ],
            "4 acknowledged",
        ),
        Case::new(
            "some partitions are stored",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has_some(&[0..1, 3..4])),
                ("look up a:1-3", has(Found::None)),
                ("insert 2 as a:1-3", Done),
                ("look up a:1-3", has(Found::All)),
            ],
            "4 acknowledged, 2 found",
        ),
        Case::new(
            "the other partitions leave a gap",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has_some(&[1..2])),
                ("look up a:0-1,2-4", has(Found::None)),
                ("insert 3 as a:0-4…", Done),
                ("look up a:0-1,2-4", has(Found::All)),
            ],
            "4 acknowledged, 1 found",
        ),
        Case::new(
            "an earlier try still runs, and then a lookup fails",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has(Found::Running)),
                ("soon: look up a:0-4", Fails(Code(60))),
                ("soon: look up a:0-4", has(Found::All)),
            ],
            "4 acknowledged, 4 found",
        ),
        Case::new(
            "the proxy's refusal does not prove that the rows are not stored",
            4,
            vec![
                ("insert 4 as a", Fails(Forbidden)),
                ("later: look up a:0-4", has(Found::All)),
            ],
            "4 acknowledged, 4 found",
        ),
        Case::new(
            "a row is refused, and the lookup has shown that none is stored",
            2,
            vec![
                ("insert 2 as a", Fails(CutOff)),
                ("soon: look up a:0-2", has(Found::None)),
                ("insert 2 as a", Fails(Code(33))),
                ("insert 1 as a:0-1", Done),
                ("insert 1 as a:1-2", Fails(Code(33))),
                ("insert 1 as rejected", Done),
            ],
            "1 acknowledged, 1 refused",
        ),
        Case::new(
            "ClickHouse remembers the token of rows that are gone",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a", Done),
                ("look up a:0-4", has(Found::None)),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a@1", Done),
                ("look up a:0-4", has(Found::All)),
            ],
            "4 acknowledged",
        ),
        Case::new(
            "ClickHouse remembers the token of rows, and some of them are gone",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a", Done),
                ("look up a:0-4", has_some(&[2..4])),
                ("soon: look up a:0-4", has_some(&[2..4])),
                ("look up a:0-2", has(Found::None)),
                ("insert 2 as a:0-2", Done),
                ("look up a:0-2", has(Found::All)),
            ],
            "4 acknowledged, 2 found",
        ),
        Case::new(
            "the table never shows the rows",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a", Done),
                ("look up a:0-4", has(Found::None)),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a@1", Done),
                ("look up a:0-4", has(Found::None)),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a@2", Done),
                ("look up a:0-4", has(Found::None)),
                ("wait: look up a:0-4", has(Found::None)),
                ("insert 4 as a@3", Done),
                ("look up a:0-4", has(Found::None)),
                ("wait: look up a:0-4", has(Found::None)),
            ],
            "4 acknowledged, 4 missing",
        ),
        Case::new(
            "rows without ids rely on their token",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has(Found::Unknowable)),
                ("insert 4 as a", Done),
            ],
            "4 acknowledged",
        ),
        Case {
            servers: &["first: ", "second: "],
            ..Case::new(
                "another server gets the rows",
                4,
                vec![
                    ("first: insert 4 as a", Fails(NotSent)),
                    ("soon: second: insert 4 as a", Fails(CutOff)),
                    // Neither answers, so the server that may have the rows is tried again at once.
                    ("soon: second: look up a:0-4", has(Found::All)),
                ],
                "4 acknowledged, 4 found",
            )
        },
        Case {
            servers: &["first: ", "second: "],
            ..Case::new(
                "rows that may be stored wait for their server, and later ones do not",
                8,
                vec![
                    ("first: insert 4 as a", Fails(CutOff)),
                    ("soon: second: insert 4 as a#2", Done),
                    ("later: first: look up a:0-4", has(Found::None)),
                    ("first: insert 4 as a", Done),
                    ("first: look up a:0-4", has(Found::All)),
                ],
                "8 acknowledged",
            )
        },
        Case {
            servers: &["replica 1: ", "replica 2: "],
            ..Case::new(
                "another replica knows the rows that may be stored",
                4,
                vec![
                    ("replica 1: insert 4 as a", Fails(CutOff)),
                    ("soon: replica 2: look up a:0-4", has(Found::All)),
                ],
                "4 acknowledged, 4 found",
            )
        },
        Case {
            servers: &["first: ", "second: "],
            ..Case::new(
                "blocks take turns",
                12,
                vec![
                    ("first: insert 4 as a", Done),
                    ("second: insert 4 as a#2", Done),
                    ("first: insert 4 as a#3", Done),
                ],
                "12 acknowledged",
            )
        },
        Case {
            servers: &["first: ", "second: "],
            ..Case::new(
                "rows that are on no server may go to another one",
                4,
                vec![
                    ("first: insert 4 as a", Fails(Code(252))),
                    ("soon: second: insert 4 as a", Done),
                ],
                "4 acknowledged",
            )
        },
        Case::new(
            "a replica may know the token of rows that it has not got yet",
            4,
            vec![
                lost.clone(),
                (
                    "soon: look up a:0-4",
                    Reply::Has(Lookup {
                        found: Found::None,
                        has_views: false,
                        is_remembered: false,
                        is_replicated: true,
                    }),
                ),
                ("insert 4 as a", Done),
            ],
            "4 acknowledged",
        ),
        Case {
            has_quorum: true,
            ..Case::new(
                "the other replicas may lack what this one has",
                4,
                vec![
                    lost.clone(),
                    (
                        "soon: look up a:0-4",
                        Reply::Has(Lookup {
                            found: Found::All,
                            has_views: false,
                            is_remembered: true,
                            is_replicated: true,
                        }),
                    ),
                    ("insert 4 as a", Done),
                ],
                "4 acknowledged",
            )
        },
    ] {
        case.run().await;
    }
}
