//! Idempotency keys: a repeat of a request is one row and has the answer of the first.

mod crash;
mod page;
mod process;

use std::{
    fs,
    net::SocketAddr,
    sync::{Barrier, mpsc},
    thread,
    time::Duration,
};

use embedder::tables;
use rowmill_ingest::{EventOptions, WriterOptions, server::not_found};
use tempfile::TempDir;
use tower::{Layer, service_fn};

use self::process::Process;
use crate::support::{
    engine::Database,
    http::{self, Answer},
    service::Served,
    wait_for,
};

/// Starts a collector in the test's process.
fn start(database: &Database, spool: &TempDir, options: WriterOptions) -> Served {
    let options = WriterOptions {
        block_age: Duration::from_millis(20),
        ..options
    };
    let events = EventOptions {
        ack_timeout: Duration::from_millis(300),
        ..EventOptions::default()
    };
    Served::start_in(
        Some(spool.path()),
        &database.url(),
        &tables::SCHEMA,
        options,
        |writer| {
            tables::layer(writer)
                .unwrap()
                .with_options(&events)
                .layer(service_fn(not_found))
        },
    )
}

/// Sends an event with the headers of `keys`, each written as `name: value`.
fn post(address: SocketAddr, path: &str, keys: &[&str], body: &str) -> Answer {
    let media_type = match path.contains("?lines") {
        true => "application/x-ndjson",
        false => "application/json",
    };
    let keys = keys.iter().map(|key| key.split_once(": ").unwrap());
    let headers: Vec<_> = [("Content-Type", media_type)].into_iter().chain(keys).collect();
    http::send(address, "POST", path, &headers, body.as_bytes())
}

fn is_replayed(answer: &Answer) -> bool {
    match answer.header("idempotency-replayed") {
        None => false,
        value => {
            assert_eq!(value, Some("true"));
            true
        }
    }
}

/// Asserts that an answer is a repeat of another one.
fn assert_repeat(repeat: &Answer, first: &Answer) {
    assert_eq!(
        (repeat.status, &repeat.body),
        (first.status, &first.body),
        "{}",
        repeat.text()
    );
    assert_eq!(repeat.header("x-rowmill-ack"), first.header("x-rowmill-ack"));
    assert!(is_replayed(repeat) && !is_replayed(first));
}

fn rows(database: &Database) -> String {
    database.query("SELECT number, message_id FROM payments ORDER BY ALL")
}

#[test]
fn a_repeat_is_one_row_and_has_the_answer_of_the_first() {
    let (database, spool) = (Database::create("once"), tempfile::tempdir().unwrap());
    let served = start(&database, &spool, WriterOptions::default());
    let send =
        |path, keys: &[&str], number: u32| post(served.address, path, keys, &format!(r#"{{"number":{number}}}"#));

    let first = send("/once/header", &["Idempotency-Key: a"], 1);
    assert_eq!((first.status, first.header("x-rowmill-ack")), (200, Some("spooled")));
    for key in ["Idempotency-Key: a", "idempotency-key:  a "] {
        assert_repeat(&send("/once/header", &[key], 1), &first);
    }
    // Other keys, and the same key on another route, are other events.
    for (path, key, number) in [
        ("/once/header", "Idempotency-Key: b", 2),
        ("/once/header", "Idempotency-Key: A", 3),
        ("/once/again", "Idempotency-Key: a", 4),
    ] {
        let other = send(path, &[key], number);
        assert_eq!(other.status, 200);
        assert!(!is_replayed(&other) && other.body != first.body);
    }
    // Without a key, each request is an event.
    for keys in [&[][..], &[], &["Idempotency-Key: "]] {
        assert!(!is_replayed(&send("/once/header", keys, 5)));
    }
    assert_eq!(
        send("/once/header", &["Idempotency-Key: x", "Idempotency-Key: y"], 6).status,
        400
    );

    // The route that waits for its rows does so for a repeat, too.
    let stored = send("/once/stored", &["Idempotency-Key: a"], 7);
    assert_eq!((stored.status, stored.header("x-rowmill-ack")), (200, Some("stored")));
    assert_repeat(&send("/once/stored", &["Idempotency-Key: a"], 7), &stored);

    served.drain();
    assert_eq!(rows(&database), "1\t\n2\t\n3\t\n4\t\n5\t\n5\t\n5\t\n7\t\n");
    assert_eq!(served.writer.status().idempotency.repeats, 3);
}

#[test]
fn a_route_can_require_a_key() {
    let (database, spool) = (Database::create("once_required"), tempfile::tempdir().unwrap());
    let served = start(&database, &spool, WriterOptions::default());
    let missing = post(
        served.address,
        "/once/required",
        &["Idempotency-Key: a"],
        r#"{"number":1}"#,
    );
    assert_eq!(missing.status, 400);
    assert!(missing.text().contains("idempotency key"), "{}", missing.text());
    let lines = post(served.address, "/once/required?lines", &[], "{\"number\":1}\n");
    assert_eq!(lines.status, 400);
    let first = post(served.address, "/once/required", &["webhook-id: a"], r#"{"number":2}"#);
    let repeat = post(served.address, "/once/required", &["webhook-id: a"], r#"{"number":2}"#);
    assert_repeat(&repeat, &first);
    served.drain();
    assert_eq!(rows(&database), "2\t\n");
}

#[test]
fn a_key_belongs_to_the_content_of_its_first_recorded_request() {
    let (database, spool) = (Database::create("once_content"), tempfile::tempdir().unwrap());
    let served = start(&database, &spool, WriterOptions::default());
    let send = |body: &str| post(served.address, "/once/header", &["Idempotency-Key: a"], body);
    // A rejected request does not use up its key.
    assert_eq!(send(r#"{"number":"one"}"#).status, 400);
    assert_eq!(send(r#"{"number":"#).status, 400);
    let first = send(r#"{"number":1}"#);
    assert_eq!(first.status, 200);
    for other in [r#"{"number":2}"#, r#"{"number":"one"}"#, r#"{"number":1} "#] {
        let answer = send(other);
        assert_eq!((answer.status, is_replayed(&answer)), (422, false), "{other}");
        assert!(answer.text().contains("another content"), "{}", answer.text());
    }
    let query = post(
        served.address,
        "/once/header?note=n",
        &["Idempotency-Key: a"],
        r#"{"number":1}"#,
    );
    assert_eq!(query.status, 422, "the query is a part of the content");
    assert_repeat(&send(r#"{"number":1}"#), &first);
    served.drain();
    assert_eq!(rows(&database), "1\t\n");
    assert_eq!(served.writer.status().idempotency.conflicts, 4);
}

#[test]
fn requests_that_arrive_together_are_one_row() {
    let (database, spool) = (Database::create("once_together"), tempfile::tempdir().unwrap());
    let served = start(&database, &spool, WriterOptions::default());
    for (round, path) in ["/once/header", "/once/column", "/once/stored", "/once/header?lines"]
        .iter()
        .enumerate()
    {
        let (count, barrier) = (12, Barrier::new(12));
        let (sender, answers) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..count {
                let (sender, barrier, address) = (sender.clone(), &barrier, served.address);
                scope.spawn(move || {
                    let (key, id) = (
                        format!("Idempotency-Key: {round}"),
                        "{\"number\":1,\"message_id\":\"m\"}",
                    );
                    barrier.wait();
                    sender.send(post(address, path, &[&key], id)).unwrap();
                });
            }
        });
        let answers: Vec<_> = answers.try_iter().collect();
        let first: Vec<_> = answers.iter().filter(|answer| !is_replayed(answer)).collect();
        assert_eq!((answers.len(), first.len()), (count, 1), "{path}");
        for answer in answers.iter().filter(|answer| is_replayed(answer)) {
            assert_repeat(answer, first[0]);
        }
        wait_for("the row", || (database.count("payments") > round as u64).then_some(()));
    }
    served.drain();
    assert_eq!(database.count("payments"), 4);
}

#[test]
fn a_key_of_many_lines_covers_the_request() {
    let (database, spool) = (Database::create("once_lines"), tempfile::tempdir().unwrap());
    let served = start(&database, &spool, WriterOptions::default());
    let lines = "{\"number\":1}\n{\"number\":\"two\"}\n{\"number\":3}\n";
    let send = |body: &str| post(served.address, "/once/header?lines", &["Idempotency-Key: a"], body);
    let first = send(lines);
    assert_eq!((first.status, first.json()["recorded"].as_u64()), (200, Some(2)));
    for _ in 0..3 {
        assert_repeat(&send(lines), &first);
    }
    assert_eq!(send("{\"number\":1}\n").status, 422);
    // A request without any row does not use up its key.
    let none = |body: &str| post(served.address, "/once/header?lines", &["Idempotency-Key: b"], body);
    assert_eq!(none("{\"number\":\"no\"}\n").status, 400);
    let some = none("{\"number\":5}\n");
    assert!(some.status == 200 && !is_replayed(&some));
    served.drain();
    assert_eq!(rows(&database), "1\t\n3\t\n5\t\n");
    assert_eq!(database.count("rejected"), 2, "a repeat repeats no dead letter");
}

#[test]
fn a_column_is_the_key_of_each_event() {
    let (database, spool) = (Database::create("once_column"), tempfile::tempdir().unwrap());
    let served = start(&database, &spool, WriterOptions::default());
    let send = |body: &str| post(served.address, "/once/column", &[], body);
    let first = send(r#"{"number":1,"message_id":"a"}"#);
    assert_eq!(first.status, 200);
    assert_repeat(&send(r#"{"message_id":"a","number":2}"#), &first);
    // An empty value is no key.
    for body in [
        r#"{"number":3}"#,
        r#"{"number":3,"message_id":""}"#,
        r#"{"number":3,"message_id":null}"#,
    ] {
        let answer = send(body);
        assert!(answer.status == 200 && !is_replayed(&answer), "{body}");
    }
    let lines = |body: &str| post(served.address, "/once/column?lines", &[], body).json();
    let line = |number: u32, id: &str| format!("{{\"note\":\"n\",\"number\":{number},\"message_id\":\"{id}\"}}\n");
    let report = lines(&[line(4, "b"), line(5, "a"), line(6, "b"), line(7, ""), line(8, "c")].concat());
    assert_eq!(
        (report["recorded"].as_u64(), report["duplicates"].as_u64()),
        (Some(5), Some(2))
    );
    let report = lines(&[line(9, "d")].concat());
    assert_eq!((report["recorded"].as_u64(), report.get("duplicates")), (Some(1), None));
    let report = lines(&[line(10, "d"), line(11, "b")].concat());
    assert_eq!(
        (report["recorded"].as_u64(), report["duplicates"].as_u64()),
        (Some(2), Some(2))
    );
    // A pixel has its image in any case.
    for _ in 0..2 {
        let pixel = http::get(served.address, "/pixel/once?number=12&message_id=a");
        assert_eq!((pixel.status, pixel.body.len()), (200, 43));
    }
    served.drain();
    assert_eq!(rows(&database), "1\ta\n3\t\n3\t\n3\t\n4\tb\n7\t\n8\tc\n9\td\n12\ta\n");
}

#[test]
fn a_key_can_be_used_again_after_its_window() {
    let (database, spool) = (Database::create("once_window"), tempfile::tempdir().unwrap());
    let served = start(&database, &spool, WriterOptions::default());
    let send = || {
        post(
            served.address,
            "/once/short",
            &["Idempotency-Key: a"],
            r#"{"number":1}"#,
        )
    };
    let first = send();
    assert!(!is_replayed(&first));
    let second = wait_for("the end of the window", || {
        let answer = send();
        assert_eq!(answer.status, 200);
        (!is_replayed(&answer)).then_some(answer)
    });
    assert_ne!(second.body, first.body);
    served.drain();
    assert_eq!(rows(&database), "1\t\n1\t\n");
}

#[test]
fn a_repeat_is_known_after_its_row_is_stored_and_after_restarts() {
    let (database, spool) = (Database::create("once_restart"), tempfile::tempdir().unwrap());
    let send = |process: &Process, key: u32| {
        let (header, body) = (format!("Idempotency-Key: {key}"), format!(r#"{{"number":{key}}}"#));
        post(process.address, "/once/header", &[&header], &body)
    };
    let mut firsts = Vec::new();
    for round in 0..4_u32 {
        let process = Process::start(&database.url(), spool.path());
        for (key, first) in (0..).zip(&firsts) {
            assert_repeat(&send(&process, key), first);
        }
        for key in round * 5..round * 5 + 5 {
            firsts.push(send(&process, key));
            assert_eq!(
                firsts.last().map(|first| (first.status, is_replayed(first))),
                Some((200, false))
            );
        }
        // A row that is stored, and one that is only in the spool.
        if round % 2 == 0 {
            database.wait_for_rows("payments", firsts.len() as u64);
        }
        match round {
            0 | 1 => process.kill(),
            _ => process.stop(),
        }
    }
    let process = Process::start(&database.url(), spool.path());
    for (key, first) in (0..).zip(&firsts) {
        assert_repeat(&send(&process, key), first);
    }
    process.stop();
    assert_eq!(
        rows(&database),
        (0..20).map(|key| format!("{key}\t\n")).collect::<String>()
    );
}

#[test]
fn a_full_spool_and_a_failing_disk_leave_a_key_unused() {
    let (database, spool) = (Database::create("once_full"), tempfile::tempdir().unwrap());
    let served = start(&database, &spool, WriterOptions::default());
    let send = |key: &str| post(served.address, "/once/header", &[key], r#"{"number":1}"#);
    let kept = send("Idempotency-Key: kept");
    assert_eq!(kept.status, 200);

    // The collector recreates a missing folder, but it cannot if a file has the folder's name.
    fs::remove_dir_all(spool.path()).unwrap();
    fs::write(spool.path(), b"").unwrap();
    // The row is in memory, and so is its key.
    let waits = send("Idempotency-Key: a");
    assert_eq!((waits.status, waits.header("x-rowmill-ack")), (503, Some("accepted")));
    // From now on, the collector knows that the disk fails.
    let refused = send("Idempotency-Key: b");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")));
    assert_repeat(&send("Idempotency-Key: kept"), &kept);

    fs::remove_file(spool.path()).unwrap();
    let second = wait_for("another write to the disk", || {
        let answer = send("Idempotency-Key: b");
        (answer.status == 200).then_some(answer)
    });
    assert!(!is_replayed(&second), "the refused request did not use up its key");
    let first = send("Idempotency-Key: a");
    assert!(first.status == 200 && is_replayed(&first), "the row was in memory");
    served.drain();
    assert_eq!(database.count("payments"), 3);
}

#[test]
fn an_index_with_too_many_keys_forgets_the_oldest() {
    let (database, spool) = (Database::create("once_bound"), tempfile::tempdir().unwrap());
    let options = WriterOptions {
        idempotency_keys: 32,
        ..WriterOptions::default()
    };
    let served = start(&database, &spool, options);
    let lines: String = (0..100)
        .map(|id| format!("{{\"number\":{id},\"message_id\":\"{id}\"}}\n"))
        .collect();
    let send = |lines: &str| post(served.address, "/once/column?lines", &[], lines).json()["duplicates"].as_u64();
    assert_eq!(send(&lines), None);
    let counts = served.writer.status().idempotency;
    assert!(counts.keys <= 32 && counts.keys + counts.forgotten == 100, "{counts:?}");
    assert_eq!(send("{\"number\":99,\"message_id\":\"99\"}\n"), Some(1));
    assert_eq!(send("{\"number\":0,\"message_id\":\"0\"}\n"), None);
    served.drain();
    assert_eq!(database.count("payments"), 101);
}
