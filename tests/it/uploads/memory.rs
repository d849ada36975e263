//! Uploads take little memory, however long they are.

use std::{io::Write, time::Instant};

use super::{assert_rows, upload, write_events};
use crate::support::{collector::Collector, engine::Database};

/// The memory above that of an idle collector that an upload may take.
const MAX_MEMORY: u64 = 64 << 20;

/// Uploads `count` events in each form, and checks the memory and the rows.
fn run(test: &str, count: usize) {
    for (is_array, is_compressed) in [(false, false), (true, false), (false, true), (true, true)] {
        let database = Database::create(&format!("{test}_{is_array}_{is_compressed}"));
        let collector = Collector::start(&database);
        let idle = collector.peak_memory();
        let since = Instant::now();
        let answer = upload(collector.address, "/upload/wh/mail", &[], |body| match is_compressed {
            false => write_events(body, is_array, count),
            true => {
                let mut body = zstd::Encoder::new(body, 1)?;
                write_events(&mut body, is_array, count)?;
                body.finish()?.flush()
            }
        });
        let (seconds, above) = (since.elapsed().as_secs_f64(), collector.peak_memory() - idle);
        println!(
            "array {is_array}, zstd {is_compressed}: {count} events in {seconds:.1} s, {} MiB above {} MiB",
            above >> 20,
            idle >> 20
        );
        assert_eq!((answer.status, &answer.json()["recorded"]), (200, &count.into()));
        assert!(above < MAX_MEMORY, "{} MiB", above >> 20);
        assert_rows(&database, count);
    }
}

#[test]
fn an_upload_of_any_form_takes_little_memory() {
    run("uploads_memory", 350_000);
}

/// With `ROWMILL_PROGRAM`, a release build.
#[test]
#[ignore = "4 GiB take minutes"]
fn a_gibibyte_of_any_form_takes_little_memory() {
    run("uploads_gibibyte", 7_600_000);
}
