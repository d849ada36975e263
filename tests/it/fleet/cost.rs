//! The CPU time of the collectors per row, by their number.

use std::{fs, thread, time::Duration};

use super::{ROWS, world::Fleet};
use crate::support::{collector::Collector, http};

/// The rows of a request.
const LINES: u64 = 200;

const REQUESTS: u64 = 1_500;

/// Returns the CPU time of a process so far.
fn cpu_time(collector: &Collector) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", collector.pid())).unwrap();
    // The name of the program is in parentheses, and may have spaces.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2);
    // `CLK_TCK` is 100 on Linux.
    Duration::from_millis(ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}

#[test]
#[ignore = "a measurement, which CONTRIBUTING.md names"]
fn cpu_per_row_with_one_two_and_four_collectors() {
    for collectors in [1, 2, 4] {
        let Some(mut fleet) = Fleet::start(collectors, collectors, &[]) else {
            return;
        };
        let addresses: Vec<_> = fleet.slots.iter().map(|slot| slot.address).collect();
        let times = |fleet: &Fleet| -> Vec<_> {
            let collectors = fleet.slots.iter().filter_map(|slot| slot.collector.as_ref());
            collectors.map(cpu_time).collect()
        };
        let before = times(&fleet);
        thread::scope(|scope| {
            for (sender, &address) in addresses.iter().enumerate() {
                scope.spawn(move || {
                    for request in (0..REQUESTS).filter(|request| *request as usize % collectors == sender) {
                        let lines = (request * LINES..(request + 1) * LINES).map(|number| ROWS.json(number) + "\n");
                        let lines: String = lines.collect();
                        let headers = [("Content-Type", "application/x-ndjson")];
                        let answer = http::send(address, "POST", ROWS.path, &headers, lines.as_bytes());
                        assert_eq!(answer.status, 200, "{}", answer.text());
                    }
                });
            }
        });
        for slot in 0..collectors {
            fleet.until("the end of the delivery", |fleet| fleet.pending(slot) == 0);
        }
        let after = times(&fleet);
        let per_row: Vec<_> = before
            .iter()
            .zip(after)
            .map(|(before, after)| (after - *before) * collectors as u32 / (REQUESTS * LINES) as u32)
            .collect();
        let rows = fleet.shards[0].database.count("rows");
        assert_eq!(rows, REQUESTS * LINES);
        println!("{collectors} collectors: CPU per row {per_row:?}");
        fleet.deliver_and_stop();
    }
}
