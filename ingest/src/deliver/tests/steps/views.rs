//! Tables with materialized views.

use super::Case;
use crate::deliver::{
    lookup::Found,
    tests::fake_backend::{
        Fault::{CutOff, View},
        Reply::{self, Done, Fails, Strings, Throws},
        has, has_with_views,
    },
};

const ENGINE: (&str, Reply) = ("SELECT engine_full", Strings(&["MergeTree ORDER BY x"]));
const CREATE: (&str, Reply) = ("CREATE TABLE source AS a ENGINE = MergeTree ORDER BY x", Done);
const PARTITIONS: (&str, Reply) = ("SELECT DISTINCT _partition_id", Strings(&["all"]));
const ATTACH: (&str, Reply) = ("ALTER TABLE a ATTACH PARTITION ID 'all' FROM source", Done);
const DROP: (&str, Reply) = ("DROP TABLE source SYNC", Done);

#[tokio::test(start_paused = true)]
async fn views_get_rows_once() {
    let lost = ("insert 4 as a", Fails(CutOff));
    let found = |found, is_remembered| ("soon: look up a:0-4", has_with_views(found, is_remembered));
    for case in [
        Case::new(
            "the table has the rows, and its views may have missed them",
            4,
            vec![lost.clone(), found(Found::All, true), ("insert 4 as a", Done)],
            "4 acknowledged",
        ),
        Case::new(
            "the table may have forgotten the token",
            4,
            vec![lost.clone(), found(Found::All, false)],
            "4 acknowledged, 4 found, 1 views in doubt",
        ),
        Case::new(
            "the table has some rows, and the views get all of them under their token",
            4,
            vec![
                lost.clone(),
                found(Found::Some(vec![0..2]), true),
                ("insert 4 as a", Done),
                ("look up a:0-4", has_with_views(Found::Some(vec![0..2]), true)),
                ENGINE,
                CREATE,
                ("insert 2 as a:2-4 into the source", Done),
                PARTITIONS,
                ENGINE,
                ATTACH,
                DROP,
                ("look up a:0-4", has_with_views(Found::All, true)),
            ],
            "4 acknowledged",
        ),
        Case::new(
            "the table has some rows and may have forgotten their token",
            4,
            vec![
                lost.clone(),
                found(Found::Some(vec![0..2]), false),
                ("insert 2 as a", Done),
                ("look up a:0-4", has_with_views(Found::All, false)),
            ],
            "4 acknowledged, 1 views in doubt",
        ),
        Case::new(
            "ClickHouse remembers the token of rows that are gone, and a lost response hides that they are attached",
            4,
            vec![
                lost.clone(),
                found(Found::None, false),
                ("insert 4 as a", Done),
                ("look up a:0-4", has_with_views(Found::None, false)),
                ENGINE,
                CREATE,
                ("insert 4 as a into the source", Done),
                PARTITIONS,
                ENGINE,
                (ATTACH.0, Fails(CutOff)),
                found(Found::All, true),
                ("insert 4 as a", Done),
            ],
            "4 acknowledged",
        ),
        Case::new(
            "a copy of the table closes it before the rows are attached",
            4,
            vec![
                lost.clone(),
                found(Found::None, false),
                ("insert 4 as a", Done),
                ("look up a:0-4", has_with_views(Found::None, false)),
                ENGINE,
                CREATE,
                ("insert 4 as a into the source", Done),
                PARTITIONS,
                (
                    ENGINE.0,
                    Strings(&["MergeTree ORDER BY x SETTINGS max_parts_in_total = 0"]),
                ),
                found(Found::Running, false),
                found(Found::None, false),
                ("insert 4 as a", Done),
                ("look up a:0-4", has_with_views(Found::All, false)),
            ],
            "4 acknowledged",
        ),
        Case::new(
            "another engine takes no partitions, so the rows go out under another token",
            4,
            vec![
                lost.clone(),
                found(Found::None, false),
                ("insert 4 as a", Done),
                ("look up a:0-4", has_with_views(Found::None, false)),
                ("SELECT engine_full", Strings(&["Memory"])),
                found(Found::None, false),
                ("insert 4 as a@1", Done),
                ("look up a:0-4", has_with_views(Found::All, false)),
            ],
            "4 acknowledged, 1 views in doubt",
        ),
        Case::new(
            "a view throws on a row, which is missing only there",
            4,
            vec![
                ("insert 4 as a", Fails(View(395))),
                ("look up a:0-4", has_with_views(Found::All, true)),
                ("insert 4 as a without errors of views", Done),
                ("search a", Throws(&[2])),
                ("insert 3 as a", Done),
                ("insert 1 as rejected", Done),
            ],
            "4 acknowledged, 1 refused by views",
        ),
        Case::new(
            "a view throws, and no lookup is possible",
            4,
            vec![
                ("insert 4 as a", Fails(View(395))),
                ("look up a:0-4", has(Found::Unknowable)),
                ("later: look up a:0-4", has(Found::Unknowable)),
                ("insert 4 as a", Done),
            ],
            "4 acknowledged",
        ),
    ] {
        case.run().await;
    }
}
