//! The answer to a first insert: success, errors that pass by themselves, errors for the operator,
//! and unknown outcomes.

use super::Case;
use crate::deliver::{
    lookup::Found,
    tests::fake_backend::{
        Fault::{self, Code, CutOff, Late, NotSent, TimedOut, Unconfirmed},
        Reply::{Done, Fails},
        has,
    },
};

/// Returns a case in which the first insert of a block fails, and the same rows go out again.
fn retried(shows: &'static str, fault: Fault) -> Case {
    let steps = vec![("insert 4 as a", Fails(fault)), ("soon: insert 4 as a", Done)];
    Case::new(shows, 4, steps, "4 acknowledged")
}

/// Returns a case in which the first insert of a block fails, and the rows are held.
fn held(shows: &'static str, fault: Fault) -> Case {
    let steps = vec![("insert 4 as a", Fails(fault)), ("later: insert 4 as a", Done)];
    Case::new(shows, 4, steps, "4 acknowledged")
}

/// Returns a case in which the outcome of the first insert is unknown, and the table has the rows.
fn in_doubt(shows: &'static str, fault: Fault) -> Case {
    let steps = vec![
        ("insert 4 as a", Fails(fault)),
        ("soon: look up a:0-4", has(Found::All)),
    ];
    Case::new(shows, 4, steps, "4 acknowledged, 4 found")
}

#[tokio::test(start_paused = true)]
async fn the_answer_decides_whether_rows_are_acknowledged_sent_again_held_or_looked_up() {
    for case in [
        Case::new("success", 4, vec![("insert 4 as a", Done)], "4 acknowledged"),
        Case::new(
            "blocks in order",
            9,
            vec![
                ("insert 4 as a", Fails(NotSent)),
                ("soon: insert 4 as a", Done),
                ("insert 4 as a#2", Done),
                ("insert 1 as a#3", Done),
            ],
            "9 acknowledged",
        ),
        retried("unreachable", NotSent),
        retried("TOO_MANY_SIMULTANEOUS_QUERIES", Code(202)),
        retried("TOO_MANY_PARTS of the table", Code(252)),
        retried("SERVER_OVERLOADED", Code(745)),
        held("UNKNOWN_TABLE", Code(60)),
        held("NO_SUCH_COLUMN_IN_TABLE", Code(16)),
        held("AUTHENTICATION_FAILED", Code(516)),
        in_doubt("cut off", CutOff),
        in_doubt("timed out", TimedOut),
        in_doubt("the success of another service", Unconfirmed),
        in_doubt("MEMORY_LIMIT_EXCEEDED", Code(241)),
        in_doubt("NETWORK_ERROR", Code(210)),
        in_doubt("an unknown error", Code(9999)),
        in_doubt("a late exception", Late(252)),
    ] {
        case.run().await;
    }
}
