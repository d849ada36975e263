//! Rows that are refused or too many: delivery halves them.

use super::Case;
use crate::deliver::{
    lookup::{Found, Lookup},
    tests::fake_backend::{
        Fault::{Code, CutOff, Partitions, TimedOut, TooLarge},
        Reply::{self, Done, Fails},
        has,
    },
};

#[tokio::test(start_paused = true)]
async fn rows_that_are_too_many_or_refused_are_halved_until_one_is_left() {
    let replicated = Reply::Has(Lookup {
        found: Found::None,
        has_views: false,
        is_remembered: false,
        is_replicated: true,
    });
    for case in [
        Case::new(
            "413",
            4,
            vec![
                ("insert 4 as a", Fails(TooLarge)),
                ("look up a:0-2", has(Found::None)),
                ("insert 2 as a:0-2", Done),
                ("look up a:0-2", has(Found::All)),
                ("look up a:2-4", has(Found::All)),
            ],
            "4 acknowledged, 2 found",
        ),
        Case::new(
            "parts grow again after each success",
            8,
            vec![
                ("insert 4 as a", Fails(Partitions)),
                ("insert 2 as a:0-2", Fails(Partitions)),
                ("insert 1 as a:0-1", Done),
                ("insert 1 as a:1-2", Done),
                ("insert 2 as a:2-4", Done),
                ("insert 4 as a#2", Done),
            ],
            "8 acknowledged",
        ),
        Case::new(
            "too many partitions",
            3,
            vec![
                ("insert 3 as a", Fails(Partitions)),
                ("insert 1 as a:0-1", Done),
                ("insert 2 as a:1-3", Fails(Partitions)),
                ("insert 1 as a:1-2", Done),
                ("insert 1 as a:2-3", Done),
            ],
            "3 acknowledged",
        ),
        Case::new(
            "413 for a single row",
            1,
            vec![("insert 1 as a", Fails(TooLarge)), ("insert 1 as rejected", Done)],
            "0 acknowledged, 1 refused",
        ),
        Case::new(
            "a refused row",
            4,
            vec![
                ("insert 4 as a", Fails(Code(33))),
                ("insert 2 as a:0-2", Done),
                ("insert 2 as a:2-4", Fails(Code(33))),
                ("insert 1 as a:2-3", Fails(Code(33))),
                ("insert 1 as a:3-4", Done),
                ("insert 1 as rejected", Done),
            ],
            "3 acknowledged, 1 refused",
        ),
        Case::new(
            "a half with an unknown outcome is looked up alone",
            4,
            vec![
                ("insert 4 as a", Fails(Code(33))),
                ("insert 2 as a:0-2", Fails(CutOff)),
                ("soon: look up a:0-2", has(Found::All)),
                ("insert 2 as a:2-4", Done),
            ],
            "4 acknowledged, 2 found",
        ),
        Case::new(
            "the refused dead letter of a row is sent again and never becomes another one",
            1,
            vec![
                ("insert 1 as a", Fails(Code(33))),
                ("insert 1 as rejected", Fails(Code(33))),
                ("soon: insert 1 as rejected", Fails(CutOff)),
                ("soon: look up rejected:0-1", has(Found::All)),
            ],
            "0 acknowledged, 1 refused",
        ),
        Case {
            dead_letters: 2,
            ..Case::new(
                "refused dead letters of events are sent again together",
                0,
                vec![
                    ("insert 2 as rejected", Fails(Code(33))),
                    ("soon: insert 2 as rejected", Done),
                ],
                "0 acknowledged",
            )
        },
        Case::new(
            "fewer rows after two time-outs",
            4,
            vec![
                ("insert 4 as a", Fails(TimedOut)),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a", Fails(TimedOut)),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 2 as a:0-2", Done),
                ("insert 2 as a:2-4", Done),
            ],
            "4 acknowledged",
        ),
        Case::new(
            "rows that another replica may still store get more time, under the same token",
            4,
            vec![
                ("insert 4 as a", Fails(TimedOut)),
                ("soon: look up a:0-4", replicated.clone()),
                ("insert 4 as a", Fails(TimedOut)),
                ("soon: look up a:0-4", replicated.clone()),
                ("insert 4 as a in 2 times the time", Done),
            ],
            "4 acknowledged",
        ),
        Case::new(
            "rows without ids get more time, under the same token, and the next block is divided",
            8,
            vec![
                ("insert 4 as a", Fails(TimedOut)),
                ("soon: look up a:0-4", has(Found::Unknowable)),
                ("insert 4 as a", Fails(TimedOut)),
                ("soon: look up a:0-4", has(Found::Unknowable)),
                ("insert 4 as a in 2 times the time", Fails(TimedOut)),
                ("soon: look up a:0-4", has(Found::Unknowable)),
                ("insert 4 as a in 4 times the time", Done),
                ("insert 2 as a#2:0-2", Done),
                ("insert 2 as a#2:2-4", Done),
            ],
            "8 acknowledged",
        ),
    ] {
        case.run().await;
    }
}
