//! The limit of new parts per second: blocks become older, in each collector of a table.

use crate::support::{collector::Collector, engine::Database, http, wait_for};

/// The age of the blocks of the table in `wh/mail`.
const AGE: &str = "rowmill_block_age_seconds{table=\"mail_statistics\"}";

/// With a block per second, ten times the limit.
const LIMIT: [&str; 2] = ["--max-parts-per-second", "0.1"];

fn age(collector: &Collector) -> f64 {
    collector.metric_as(AGE)
}

#[test]
fn blocks_become_older_in_all_collectors_of_a_table_until_the_limit_is_kept() {
    let database = Database::create("parts_rate");
    let busy = Collector::start_with(&database.url(), &LIMIT);
    let idle = Collector::start_with(&database.url(), &LIMIT);
    let without_limit = Collector::start_with(&database.url(), &["--max-parts-per-second", "0"]);
    assert_eq!((age(&busy), age(&idle)), (1.0, 1.0));

    let mut sent = 0;
    wait_for("older blocks in both collectors", || {
        let answer = http::post_json(busy.address, "/wh/mail", r#"{"event":"open"}"#);
        assert_eq!(answer.status, 200, "{}", answer.text());
        sent += 1;
        (age(&busy) > 4.0 && age(&idle) > 4.0).then_some(())
    });
    assert_eq!(age(&without_limit), 1.0);
    let new_parts = || {
        let query = "SELECT countIf(level = 0) FROM system.parts \
                     WHERE database = currentDatabase() AND table = 'mail_statistics'";
        database.query(query).trim().parse::<u64>().unwrap()
    };
    let before = new_parts();
    // The open block, whose age has grown, is inserted at a stop without a wait.
    busy.stop();
    database.wait_for_rows("mail_statistics", sent);
    assert!(new_parts() <= before + 1);
}

#[test]
fn a_limit_that_is_no_number_is_named() {
    for wrong in ["many", "-1", "inf"] {
        let output = crate::support::collector::run(&["serve", "--max-parts-per-second", wrong]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        assert!(
            error.contains("such as 5 or 0.5, or 0 for no limit") || error.contains("unexpected argument '-1'"),
            "{error}"
        );
    }
}
