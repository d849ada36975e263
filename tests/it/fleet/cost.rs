//! The CPU time of the collectors per row, by the number of those that get events.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::{ROWS, world::Fleet};
use crate::support::{collector::Collector, http};

/// The rows of a request.
const LINES: u64 = 200;

/// The requests to each collector in a round, and the time between two of them: the same load for each,
/// however many there are, which leaves the processors idle for a part of the time.
const REQUESTS: u64 = 400;
const PACE: Duration = Duration::from_millis(20);

/// The numbers of collectors that get events.
const ACTIVE: [usize; 3] = [1, 2, 4];

const ROUNDS: usize = 6;

/// Returns the CPU time of a process so far.
fn cpu_time(collector: &Collector) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", collector.pid())).unwrap();
    // The name of the program is in parentheses, and may have spaces.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2);
    // `CLK_TCK` is 100 on Linux.
    Duration::from_millis(ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}

/// Returns the CPU time of the first `active` collectors so far.
fn cpu_times(fleet: &Fleet, active: usize) -> Duration {
    let collectors = fleet.slots[..active].iter().filter_map(|slot| slot.collector.as_ref());
    collectors.map(cpu_time).sum()
}

/// Sends rows with the numbers from `first` to the first `active` collectors, at the same pace to each, and
/// returns their CPU time for a row.
fn measure(fleet: &mut Fleet, active: usize, first: u64) -> Duration {
    let before = cpu_times(fleet, active);
    let began = Instant::now();
    thread::scope(|scope| {
        for (sender, slot) in fleet.slots[..active].iter().enumerate() {
            let (address, first) = (slot.address, first + sender as u64 * REQUESTS * LINES);
            scope.spawn(move || {
                for request in 0..REQUESTS {
                    let at = began + PACE * request as u32;
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                    let first = first + request * LINES;
                    let lines: String = (first..first + LINES).map(|number| ROWS.json(number) + "\n").collect();
                    let headers = [("Content-Type", "application/x-ndjson")];
                    let answer = http::send(address, "POST", ROWS.path, &headers, lines.as_bytes());
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            });
        }
    });
    for slot in 0..active {
        fleet.until("the end of the delivery", |fleet| fleet.pending(slot) == 0);
    }
    (cpu_times(fleet, active) - before) / (active as u64 * REQUESTS * LINES) as u32
}

#[test]
#[ignore = "a measurement, which CONTRIBUTING.md names"]
fn cpu_per_row_with_one_two_and_four_collectors() {
    const COLLECTORS: usize = ACTIVE[ACTIVE.len() - 1];
    // The collectors that get no events in a turn run as well, and their time does not count.
    let Some(mut fleet) = Fleet::start(COLLECTORS, COLLECTORS, &[]) else {
        return;
    };
    let mut measured: [Vec<Duration>; ACTIVE.len()] = Default::default();
    let mut next = 0;
    // The first round warms up. In each round, another number comes first.
    for round in 0..=ROUNDS {
        for turn in 0..ACTIVE.len() {
            let at = (round + turn) % ACTIVE.len();
            let per_row = measure(&mut fleet, ACTIVE[at], next);
            next += ACTIVE[at] as u64 * REQUESTS * LINES;
            println!("{} collectors: {per_row:?} per row", ACTIVE[at]);
            measured[at].extend((round > 0).then_some(per_row));
        }
    }
    assert_eq!(fleet.shards[0].database.count("rows"), next);
    let medians = measured.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    let growth = medians.map(|median| median.as_secs_f64() / medians[0].as_secs_f64() - 1.0);
    println!("CPU per row with {ACTIVE:?} collectors: {medians:?}, growth {growth:.3?}");
    assert!(
        cfg!(debug_assertions) || growth.iter().all(|growth| growth.abs() < 0.1),
        "{growth:?}"
    );
    fleet.deliver_and_stop();
}
