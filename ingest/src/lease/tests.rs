//! Leases without a server: the number that a process begins with, and long outages.

#![allow(clippy::unwrap_used)]

use super::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Starts a lease of number 7 without a server. The last beat is an hour old.
fn cut_off(chosen: Option<Base>, tasks: &mut JoinSet<()>) -> (Arc<IdGenerator>, watch::Receiver<Progress>) {
    let node = Base::of_node(7).unwrap();
    let record = Record {
        base: node,
        holder: Uuid::now_v7(),
        held_ms: unix_ms() - HOUR.as_millis() as u64,
        until_ms: 0,
    };
    let ids = Arc::new(IdGenerator::new(node));
    let (servers, states) = watch::channel(vec![State::Unreachable]);
    // Keeps the states' sender alive as long as the test runs.
    tasks.spawn(async move { servers.closed().await });
    let progress = start(Arc::clone(&ids), chosen, record, states, tasks);
    (ids, progress)
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_cut_off_for_a_day_leaves_its_number_before_others_take_it() {
    let mut tasks = JoinSet::new();
    let (ids, _progress) = cut_off(None, &mut tasks);
    let id = ids.next(unix_ms());
    sleep(RELEASE_AFTER - HOUR - BEAT_INTERVAL).await;
    assert_eq!(ids.base().node(), Some(7), "it is leased");
    sleep(3 * BEAT_INTERVAL).await;
    assert_eq!(ids.base().node(), None);
    let later = ids.next(unix_ms());
    assert!(later > id && later & (1 << 21) != 0, "{later:x}");
}

#[tokio::test(start_paused = true)]
async fn an_operators_number_stays_during_any_outage() {
    let mut tasks = JoinSet::new();
    let (ids, _progress) = cut_off(Base::of_node(7), &mut tasks);
    sleep(3 * LEASE).await;
    assert_eq!(ids.base().node(), Some(7));
}

#[test]
fn a_process_continues_with_its_predecessors_number_while_it_is_leased() {
    let now_ms = unix_ms();
    let node = Base::of_node(7).unwrap();
    let earlier = |held_ms| Record {
        base: node,
        holder: Uuid::now_v7(),
        held_ms,
        until_ms: now_ms,
    };
    let lease_ms = DAY_MS as u64;
    for (held_ms, is_kept) in [
        (now_ms - 1_000, true),
        (now_ms - lease_ms + 60_000, true),
        (now_ms - lease_ms - 1, false),
        // The clock was set back, so the age of the beat is unknown.
        (now_ms + 60_000, false),
        (0, false),
    ] {
        let earlier = earlier(held_ms);
        let record = first_record(None, Some(earlier));
        assert_eq!(record.base == node, is_kept, "{held_ms} {now_ms}");
        assert_eq!(record.base.node().is_some(), is_kept);
        assert_eq!((record.until_ms, record.holder), (earlier.until_ms, earlier.holder));
        // The operator's number takes precedence, and used ids stay used.
        let chosen = first_record(Base::of_node(9), Some(earlier));
        assert_eq!((chosen.base.node(), chosen.until_ms), (Some(9), earlier.until_ms));
    }
    let spare = Record {
        base: Base::spare(5),
        ..earlier(0)
    };
    assert_eq!(first_record(None, Some(spare)).base, spare.base);
    assert_ne!(first_record(None, None).base, first_record(None, None).base);
}
