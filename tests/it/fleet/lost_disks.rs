//! Collectors of a shared log lose their disks, and every process fails at random: each acknowledged
//! event is in the cluster once.

use std::{
    collections::BTreeSet,
    fs, io,
    iter::repeat_n,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{Version, program, world::Fleet};
use crate::{
    crash::{clients::Sent, random::Random},
    shared_log::{Deliverer, log_options},
    support::broker::Broker,
};

/// How many events are acknowledged between two faults.
const BETWEEN_FAULTS: u64 = 50;

const MAX_PAUSE_MS: u64 = 300;

/// How long the acknowledged rows of a run may take to reach their tables in the end.
const DELIVERY: Duration = Duration::from_secs(240);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A collector is killed, and its data folder is removed.
    LoseDisk,
    KillDelivery,
    BrokerAway,
    PauseBroker,
    KillShard,
    PauseShard,
    KillBalancer,
    PauseCollector,
}

#[test]
fn a_lost_disk_loses_no_replicated_row() {
    inject(&[
        (Fault::LoseDisk, 3),
        (Fault::KillDelivery, 2),
        (Fault::BrokerAway, 1),
        (Fault::PauseBroker, 1),
        (Fault::KillShard, 1),
        (Fault::PauseShard, 1),
        (Fault::KillBalancer, 1),
    ]);
}

#[test]
#[ignore = "takes minutes; CONTRIBUTING.md says how to run it"]
fn many_lost_disks_lose_no_replicated_row() {
    inject(&[
        (Fault::LoseDisk, 30),
        (Fault::KillDelivery, 20),
        (Fault::BrokerAway, 12),
        (Fault::PauseBroker, 10),
        (Fault::KillShard, 12),
        (Fault::PauseShard, 8),
        (Fault::KillBalancer, 6),
        (Fault::PauseCollector, 8),
    ]);
}

/// Causes the given number of faults of each kind in random order, then compares the tables with the
/// sent events.
fn inject(kinds: &[(Fault, usize)]) {
    let Some(broker) = Broker::start() else { return };
    let started = Instant::now();
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut faults: Vec<_> = kinds
        .iter()
        .flat_map(|&(fault, times)| repeat_n(fault, times))
        .collect();
    random.shuffle(&mut faults);
    let log = broker.log("fleet");
    let Some(mut fleet) = Fleet::start(3, 3, &log_options(&log)) else {
        return;
    };
    let clickhouse = fleet.clickhouse();
    let deliver = || Deliverer::start_program(program(Version::Old), &clickhouse, &log);
    let mut deliverers = [0, 1].map(|_| Some(deliver()));
    let clients = fleet.clients("replicated");
    for (place, &fault) in faults.iter().enumerate() {
        let before = clients.acknowledged();
        fleet.until("events between faults", |_| {
            clients.acknowledged() >= before + BETWEEN_FAULTS
        });
        sleep(Duration::from_millis(random.below(MAX_PAUSE_MS)));
        println!("{:>8.3} s  {:>3} {fault:?}", started.elapsed().as_secs_f32(), place + 1);
        let slot = random.below(3) as usize;
        let shard = random.below(fleet.shards.len() as u64) as usize;
        let moment = Duration::from_millis(random.below(2_000));
        match fault {
            Fault::LoseDisk => {
                fleet.kill_collector(slot);
                match fs::remove_dir_all(&fleet.slots[slot].data) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
                    _ => fleet.start_new(slot),
                }
            }
            Fault::KillDelivery => {
                let deliverer = &mut deliverers[random.below(2) as usize];
                // Dropped, and so killed, before the next one starts.
                drop(deliverer.take());
                *deliverer = Some(deliver());
            }
            Fault::BrokerAway => {
                broker.go_away();
                sleep(moment / 4);
                broker.come_back();
            }
            Fault::PauseBroker => {
                broker.pause();
                sleep(moment / 2);
                broker.resume();
            }
            Fault::KillShard => {
                fleet.kill_shard(shard);
                sleep(moment);
                fleet.start_shard(shard);
            }
            Fault::PauseShard => {
                fleet.shards[shard].pause();
                sleep(moment * 2);
                fleet.shards[shard].resume();
            }
            Fault::KillBalancer => fleet.balancer.restart(),
            Fault::PauseCollector => {
                fleet.signal(slot, Signal::SIGSTOP);
                sleep(moment);
                fleet.signal(slot, Signal::SIGCONT);
            }
        }
        fleet.wait_for_balancer();
    }
    let (failed, unavailable, sent) = (clients.failed(), clients.unavailable(), clients.stop());
    wait_for_acknowledged(&mut fleet, &sent);
    for slot in fleet.running() {
        assert_eq!(fleet.stop_collector(slot).code, Some(0), "{}", fleet.logs);
    }
    deliverers.into_iter().flatten().for_each(Deliverer::stop);
    println!(
        "seed {seed}: {} faults in {} s, {failed} requests without an answer, {unavailable} refused; \
         ClickHouse ended by itself {} times",
        faults.len(),
        started.elapsed().as_secs(),
        fleet.aborts
    );
    fleet.assert_exact(&sent);
}

/// Waits until each acknowledged event is in the cluster.
fn wait_for_acknowledged(fleet: &mut Fleet, sent: &Sent) {
    let started = Instant::now();
    let acknowledged: BTreeSet<_> = sent.acknowledged.iter().map(|event| event.number).collect();
    loop {
        fleet.restart_ended_shards();
        let rows = fleet.shards[0].database.try_query("SELECT number FROM rows");
        let rows = rows.unwrap_or_default();
        let found: BTreeSet<u64> = rows.lines().map(|number| number.parse().unwrap()).collect();
        if acknowledged.is_subset(&found) {
            return;
        }
        let missing = acknowledged.difference(&found).count();
        assert!(started.elapsed() < DELIVERY, "{missing} acknowledged rows are missing");
        sleep(Duration::from_millis(500));
    }
}
