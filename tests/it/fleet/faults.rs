//! Every process of a fleet fails at random, and collectors come and go: each acknowledged event is in
//! the cluster once.

use std::{
    fs,
    iter::repeat_n,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{Version, program, world::Fleet};
use crate::{
    crash::{clients::Clients, proxy::Cut, random::Random},
    support::wait_for,
};

/// The places of collectors. Between two and all of them run.
const SLOTS: usize = 4;

/// How many events are acknowledged between two faults.
const BETWEEN_FAULTS: u64 = 50;

/// The longest pause before a fault. A random pause lets faults meet inserts in every state.
const MAX_PAUSE_MS: u64 = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    KillCollector,
    KillShard,
    KillBalancer,
    PauseCollector,
    PauseShard,
    PauseBalancer,
    CutRequest,
    CutAnswer,
    /// A shard is away for seconds, while collectors are killed, too.
    ShardAway,
    /// A collector goes for good and hands its rows to the first one, in half of the cases while a
    /// shard is away.
    ScaleDown,
    /// A collector comes with a new folder.
    ScaleUp,
    /// A collector is killed, and another one adopts its folder.
    Adopt,
}

#[test]
fn a_fleet_loses_and_duplicates_nothing_over_faults() {
    inject(&[
        (Fault::KillCollector, 2),
        (Fault::KillShard, 1),
        (Fault::KillBalancer, 1),
        (Fault::PauseCollector, 1),
        (Fault::PauseShard, 1),
        (Fault::CutRequest, 1),
        (Fault::CutAnswer, 1),
        (Fault::ScaleDown, 1),
        (Fault::ScaleUp, 1),
        (Fault::Adopt, 1),
    ]);
}

#[test]
#[ignore = "takes minutes; CONTRIBUTING.md says how to run it"]
fn a_fleet_loses_and_duplicates_nothing_over_many_faults() {
    inject(&[
        (Fault::KillCollector, 20),
        (Fault::KillShard, 12),
        (Fault::KillBalancer, 8),
        (Fault::PauseCollector, 10),
        (Fault::PauseShard, 8),
        (Fault::PauseBalancer, 4),
        (Fault::CutRequest, 12),
        (Fault::CutAnswer, 12),
        (Fault::ShardAway, 6),
        (Fault::ScaleDown, 12),
        (Fault::ScaleUp, 8),
        (Fault::Adopt, 10),
    ]);
}

/// What the run has seen beside its faults.
#[derive(Debug, Default)]
struct Seen {
    /// Stops that handed all rows over, and stops that left some on their disk.
    handed_over: usize,
    left: usize,
    /// The rows of adopted folders.
    adopted: u64,
}

/// Causes the given number of faults of each kind in random order, then compares the tables with the
/// sent events.
fn inject(kinds: &[(Fault, usize)]) {
    let started = Instant::now();
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut faults: Vec<_> = kinds
        .iter()
        .flat_map(|&(fault, times)| repeat_n(fault, times))
        .collect();
    random.shuffle(&mut faults);
    let Some(mut fleet) = Fleet::start(SLOTS, 3, &["--drain-seconds", "0.5"]) else {
        return;
    };
    let (clients, mut seen) = (fleet.clients("spooled"), Seen::default());
    for (place, &fault) in faults.iter().enumerate() {
        let before = clients.acknowledged();
        fleet.until("events between faults", |_| {
            clients.acknowledged() >= before + BETWEEN_FAULTS
        });
        sleep(Duration::from_millis(random.below(MAX_PAUSE_MS)));
        println!(
            "{:>8.3} s  {:>3} {fault:?}, collectors {:?}",
            started.elapsed().as_secs_f32(),
            place + 1,
            fleet.running()
        );
        cause(fault, &mut fleet, &clients, &mut random, &mut seen);
        fleet.wait_for_balancer();
    }
    let (failed, unavailable, sent) = (clients.failed(), clients.unavailable(), clients.stop());
    fleet.deliver_and_stop();
    println!(
        "seed {seed}: {} faults in {} s, {failed} requests without an answer, {unavailable} refused; {seen:?}; \
         ClickHouse ended by itself {} times",
        faults.len(),
        started.elapsed().as_secs(),
        fleet.aborts
    );
    fleet.assert_exact(&sent);
}

fn cause(fault: Fault, fleet: &mut Fleet, clients: &Clients, random: &mut Random, seen: &mut Seen) {
    let running = fleet.running();
    let slot = running[random.below(running.len() as u64) as usize];
    let shard = random.below(fleet.shards.len() as u64) as usize;
    let moment = Duration::from_millis(random.below(3_000));
    match fault {
        Fault::KillCollector => {
            fleet.kill_collector(slot);
            sleep(moment / 10);
            fleet.start_collector(slot);
        }
        Fault::KillShard => {
            fleet.kill_shard(shard);
            sleep(moment / 10);
            fleet.start_shard(shard);
        }
        Fault::KillBalancer => fleet.balancer.restart(),
        Fault::PauseCollector => {
            fleet.signal(slot, Signal::SIGSTOP);
            sleep(moment);
            fleet.signal(slot, Signal::SIGCONT);
        }
        // Longer than an insert may take in half of the cases.
        Fault::PauseShard => {
            fleet.shards[shard].pause();
            sleep(moment * 3 / 2);
            fleet.shards[shard].resume();
        }
        Fault::PauseBalancer => {
            fleet.balancer.signal(Signal::SIGSTOP);
            sleep(moment / 2);
            fleet.balancer.signal(Signal::SIGCONT);
        }
        Fault::CutRequest => cut(
            fleet,
            Cut::Request {
                is_late: random.below(2) == 0,
                cut_at: random.next(),
            },
        ),
        Fault::CutAnswer => cut(fleet, Cut::Answer { cut_at: random.next() }),
        Fault::ShardAway => {
            fleet.kill_shard(shard);
            for _ in 0..random.below(3) {
                sleep(moment / 2);
                let before = clients.acknowledged();
                wait_for("events without a shard", || {
                    (clients.acknowledged() > before).then_some(())
                });
                fleet.kill_collector(slot);
                fleet.start_collector(slot);
            }
            sleep(moment * 2);
            fleet.start_shard(shard);
        }
        Fault::ScaleDown => scale_down(fleet, shard, random, seen),
        Fault::ScaleUp => {
            if running.len() == SLOTS {
                scale_down(fleet, shard, random, seen);
            }
            scale_up(fleet);
        }
        Fault::Adopt => {
            fleet.kill_collector(slot);
            let folder = fleet.slots[slot].data.clone();
            fleet.start_new(slot);
            seen.adopted += adopt(fleet, &folder, random);
        }
    }
}

/// Cuts the next insert, whichever shard it is for.
fn cut(fleet: &mut Fleet, cut: Cut) {
    for proxy in &fleet.proxies {
        proxy.cut(cut);
    }
    fleet.until("an insert to cut", |fleet| {
        fleet.proxies.iter().any(|proxy| !proxy.has_pending_cut())
    });
    for proxy in &fleet.proxies {
        proxy.clear_cut();
    }
}

fn scale_up(fleet: &mut Fleet) {
    let slot = fleet.slots.iter().position(|slot| slot.collector.is_none()).unwrap();
    fleet.start_new(slot);
}

/// Stops a collector for good. Its folder is removed, as its volume would be, once it has no rows.
fn scale_down(fleet: &mut Fleet, shard: usize, random: &mut Random, seen: &mut Seen) {
    if fleet.running().len() < 3 {
        scale_up(fleet);
    }
    let running = fleet.running();
    // The first collector takes the rows, so it stays.
    let slot = running[1 + random.below(running.len() as u64 - 1) as usize];
    let is_shard_away = random.below(2) == 0;
    if is_shard_away {
        fleet.kill_shard(shard);
        wait_for("rows that wait", || (fleet.pending(slot) > 0).then_some(()));
    }
    let ended = fleet.stop_collector(slot);
    if is_shard_away {
        fleet.start_shard(shard);
    }
    let folder = fleet.slots[slot].data.clone();
    if ended.code == Some(0) {
        seen.handed_over += usize::from(ended.log.contains("are handed over"));
        fs::remove_dir_all(folder).unwrap();
    } else {
        // The first collector did not reach the shard yet, so the rows stayed.
        assert!(ended.log.contains("are not handed over"), "{}", ended.log);
        println!("{}", ended.log.lines().last().unwrap_or_default());
        seen.left += 1;
        seen.adopted += adopt(fleet, &folder, random);
    }
}

/// Lets a running collector adopt a folder, repeats the command as long as rows stay, and removes the
/// folder. Returns the number of rows.
fn adopt(fleet: &mut Fleet, folder: &Path, random: &mut Random) -> u64 {
    let running = fleet.running();
    let to = running[random.below(running.len() as u64) as usize];
    let url = format!("http://{}", fleet.slots[to].admin);
    let mut rows = 0;
    let started = Instant::now();
    loop {
        let mut command = program(Version::Old);
        command.args([
            "spool",
            "adopt",
            "--within",
            "20",
            "--to",
            &url,
            "--handover-secret-file",
        ]);
        let output = command.arg(fleet.secret()).arg(folder).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        rows += text.split(' ').next().unwrap().parse::<u64>().unwrap_or(0);
        if output.status.success() {
            break;
        }
        fleet.restart_ended_shards();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(started.elapsed() < Duration::from_secs(90), "{text}{errors}");
        sleep(Duration::from_millis(200));
    }
    fs::remove_dir_all(folder).unwrap();
    rows
}
