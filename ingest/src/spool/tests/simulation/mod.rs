//! A simulation of spool and delivery: disks that tear writes and lose power, a ClickHouse that
//! remembers few tokens, one or several collectors that share it, and clients that remember their
//! acknowledgements.
//!
//! A seed determines every step, so a failing case can be repeated. Invariants: a row that
//! was acknowledged is stored in the end, a row that is stored was sent, no row is stored twice,
//! and every recovery completes.

#![allow(clippy::unwrap_used, clippy::panic)]

mod collector;
mod snapshot;
mod store;
mod world;

use self::{snapshot::Snapshot, world::World};

fn run(seed: u64, collectors: usize) -> World {
    run_watched(seed, collectors, |_| {})
}

/// Runs a case, and calls `watch` after each step.
fn run_watched(seed: u64, collectors: usize, mut watch: impl FnMut(&World)) -> World {
    let mut world = World::new(seed, collectors);
    let steps = (20 + world.rng.below(100)) * collectors as u64;
    for _ in 0..steps {
        world.step();
        watch(&world);
        let memory_bytes = world.limits.memory_bytes;
        let collector = world.collector();
        collector.check_counts();
        let bytes = collector.disk.bytes();
        // The bound, the segments in reserve, and the frames around one block.
        assert!(bytes < (8 << 10) + 600, "the disk's bound: {bytes}");
        assert!(collector.spool.memory_bytes() <= memory_bytes + 200);
    }
    world.run_dry();
    watch(&world);
    world.check();
    // Delivered rows leave nothing on disk.
    for at in 0..collectors {
        world.at = at;
        world.collector().committer.log.remove_finished();
        world.commit();
        world.reopen();
        assert!(world.collector().is_done());
    }
    world
}

/// Seeds that once found a bug.
const SEEDS: [u64; 12] = [
    645, 3677, 4244, 2250, 71_543, 3108, 7738, 6177, 15_470, 22_096, 121_418, 14_063,
];

/// Runs all seeds with this number of collectors, and checks that acknowledgements, dead letters,
/// compactions and found rows occur.
/// `ROWMILL_SIMULATION_SEED` runs one case alone.
fn run_all(collectors: usize, cases: u64) {
    if let Ok(seed) = std::env::var("ROWMILL_SIMULATION_SEED") {
        run(seed.parse().unwrap(), collectors);
        return;
    }
    let cases = std::env::var("ROWMILL_SIMULATION_CASES").map_or(cases, |cases| cases.parse().unwrap());
    let (mut sent, mut acknowledged, mut dead_letters, mut emptied, mut found) = (0_u64, 0, 0, 0, 0);
    for seed in SEEDS.into_iter().chain(0..cases) {
        let world = std::panic::catch_unwind(|| run(seed, collectors));
        let world = world.unwrap_or_else(|_| panic!("seed {seed} of {collectors} collectors"));
        sent += u64::from(world.sent);
        acknowledged += world.acknowledged.len();
        dead_letters += world.store.dead_letters.len();
        emptied += world
            .collectors
            .iter()
            .map(|collector| collector.emptied)
            .sum::<usize>();
        found += world.found;
    }
    assert!(acknowledged as u64 > sent / 6, "{acknowledged} of {sent}");
    assert!(
        dead_letters > 0 && emptied > 0 && found > 0,
        "{dead_letters} dead letters, {emptied} segments emptied, {found} rows found"
    );
}

#[test]
fn each_acknowledged_row_is_stored_once() {
    run_all(1, 10_000);
}

#[test]
fn collectors_that_share_a_table_store_each_row_once() {
    run_all(2, 1_500);
    run_all(6, 500);
}

#[test]
fn a_seed_repeats_its_case_exactly() {
    for (seed, collectors) in SEEDS.into_iter().chain(0..20).map(|seed| (seed, 1 + seed as usize % 2)) {
        let [first, second] = [(), ()].map(|()| {
            let mut steps = Vec::new();
            run_watched(seed, collectors, |world| steps.push(Snapshot::of(world)));
            steps
        });
        let differs = first.iter().zip(&second).position(|(first, second)| first != second);
        assert_eq!((differs, first.len()), (None, second.len()), "seed {seed}");
    }
}
