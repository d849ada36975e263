//! Connections: their number, their addresses, and the order in which idle ones make room for
//! others.
//!
//! Only the begin and the end of a connection touch this state, no request does. A connection that
//! is asked to go decides by itself: it stays if a request has come meanwhile.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout};

use crate::service::idle::Activity;

/// The time that a connection has for its first request before it has to make room, unless many
/// wait for theirs.
const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(1);

/// Connections without a request are many from one in so many of all on.
const MANY: usize = 8;

/// The time until another connection is asked to go, where none has ended meanwhile.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Trouble comes with thousands of connections at once; the log has one line in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// A list longer than twice the open connections and this drops the entries of ended ones.
const SPARE_ENTRIES: usize = 64;

/// The open connections of a server, and of all that are served with the same value.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    refused: AtomicU64,
    let_go: AtomicU64,
    /// Told of each end.
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    /// Only where there is a bound for each.
    by_address: HashMap<IpAddr, usize>,
    /// Connections without a request at the last look, the oldest first.
    silent: VecDeque<(Weak<Activity>, Instant)>,
    /// The others, with the count of their requests at the last look; the longest unseen first.
    known: VecDeque<(Weak<Activity>, u32)>,
    logged: Option<Instant>,
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) all: usize,
    /// 0 for no bound.
    pub(crate) per_ip: usize,
}

/// Why a connection is not let in.
enum Outside {
    Full,
    TooManyOfAddress,
}

/// An open connection's place, which is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    /// Where it is counted by its address.
    address: Option<IpAddr>,
}

impl Connections {
    /// Returns how many are open.
    pub fn open(&self) -> usize {
        self.0.state().open
    }

    /// Returns how many were closed at once because their address had too many.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Returns how many idle ones have been closed to make room for others.
    pub fn let_go(&self) -> u64 {
        self.0.let_go.load(Ordering::Relaxed)
    }

    /// Waits for a place for a connection, and asks idle ones to go while there is none. Returns
    /// `None` if its address has too many.
    pub(crate) async fn enter(&self, activity: &Arc<Activity>, address: IpAddr, bounds: Bounds) -> Option<Place> {
        loop {
            let entered = self.0.state().enter(activity, address, bounds);
            match entered {
                Ok(address) => {
                    let shared = Arc::clone(&self.0);
                    return Some(Place { shared, address });
                }
                Err(Outside::TooManyOfAddress) => {
                    self.0.refused.fetch_add(1, Ordering::Relaxed);
                    self.log(|refused, _| {
                        tracing::warn!(refused, "an address has too many connections: further ones are closed")
                    });
                    return None;
                }
                Err(Outside::Full) => {
                    let asked = self.0.state().ask_one_to_go(bounds.all / MANY);
                    self.log(|_, let_go| match asked {
                        true => tracing::warn!(let_go, "no room for connections: idle ones are closed for new ones"),
                        false => tracing::warn!("no room for connections: all are busy, and new ones wait"),
                    });
                }
            }
            // An end that comes before the wait wakes it, too. A busy connection that becomes idle
            // does not.
            let _ = timeout(ASK_AGAIN, self.0.ended.notified()).await;
        }
    }

    /// Asks some idle connections to go, since the process has no descriptors left.
    pub(crate) fn ask_some_to_go(&self) {
        let mut state = self.0.state();
        for _ in 0..=state.open / 64 {
            state.ask_one_to_go(0);
        }
    }

    /// Counts a connection that has gone since it was asked to.
    pub(crate) fn count_let_go(&self) {
        self.0.let_go.fetch_add(1, Ordering::Relaxed);
    }

    /// Logs something with the counts of connections that were refused and let go, if it is time
    /// to.
    pub(crate) fn log(&self, log: impl FnOnce(u64, u64)) {
        let now = Instant::now();
        let mut state = self.0.state();
        if state.logged.is_none_or(|logged| now - logged >= LOG_INTERVAL) {
            state.logged = Some(now);
            drop(state);
            log(self.refused(), self.let_go());
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a connection in, and returns the address under which it has been.
    fn enter(&mut self, activity: &Arc<Activity>, address: IpAddr, bounds: Bounds) -> Result<Option<IpAddr>, Outside> {
        let address = (bounds.per_ip > 0).then(|| counted(address));
        let of_address = address.and_then(|address| self.by_address.get(&address));
        if of_address.is_some_and(|open| *open >= bounds.per_ip) {
            return Err(Outside::TooManyOfAddress);
        }
        if self.open >= bounds.all.max(1) {
            return Err(Outside::Full);
        }
        self.open += 1;
        if let Some(address) = address {
            *self.by_address.entry(address).or_default() += 1;
        }
        if self.silent.len() + self.known.len() > 2 * self.open + SPARE_ENTRIES {
            self.silent.retain(|(activity, _)| activity.strong_count() > 0);
            self.known.retain(|(activity, _)| activity.strong_count() > 0);
        }
        self.silent.push_back((Arc::downgrade(activity), Instant::now()));
        Ok(address)
    }

    /// Asks one idle connection to go, and returns whether there is one. Silent ones go first if
    /// they are `many` or have had their time.
    fn ask_one_to_go(&mut self, many: usize) -> bool {
        self.ask_silent(many) || self.ask_known() || self.ask_silent(0)
    }

    fn ask_silent(&mut self, many: usize) -> bool {
        while let Some((activity, since)) = self.silent.front() {
            let Some(activity) = activity.upgrade() else {
                self.silent.pop_front();
                continue;
            };
            let is_silent = activity.requests() == 0;
            if is_silent && self.silent.len() < many && since.elapsed() < FIRST_REQUEST_WITHIN {
                return false;
            }
            self.silent.pop_front();
            self.known.push_back((Arc::downgrade(&activity), activity.requests()));
            if is_silent {
                activity.ask_to_go();
                return true;
            }
        }
        false
    }

    /// Looks at each connection once at most, and passes those with a request since their last
    /// look.
    fn ask_known(&mut self) -> bool {
        for _ in 0..self.known.len() {
            let Some((known, seen)) = self.known.pop_front() else {
                return false;
            };
            let Some(activity) = known.upgrade() else { continue };
            let requests = activity.requests();
            self.known.push_back((known, requests));
            if requests == seen && activity.is_idle() {
                activity.ask_to_go();
                return true;
            }
        }
        false
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.open -= 1;
        if let Some(address) = self.address
            && let Some(open) = state.by_address.get_mut(&address)
        {
            *open -= 1;
            if *open == 0 {
                state.by_address.remove(&address);
            }
        }
        drop(state);
        self.shared.ended.notify_one();
    }
}

/// Returns the address that a connection counts for: with IPv6 the network `/64`, which one
/// customer has whole.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const BOUNDS: Bounds = Bounds { all: 4, per_ip: 2 };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_address_has_so_many_connections_and_no_more() {
        let connections = Connections::default();
        let activity = Arc::default();
        let enter = |from: &'static str| connections.enter(&activity, address(from), BOUNDS);
        let first = enter("192.0.2.1").await;
        let second = enter("::ffff:192.0.2.1").await;
        assert!(first.is_some() && second.is_some());
        assert!(enter("192.0.2.1").await.is_none());
        let other = enter("192.0.2.2").await;
        assert_eq!((connections.open(), connections.refused()), (3, 1));
        drop(second);
        assert!(enter("192.0.2.1").await.is_some());
        drop((first, other));
        assert_eq!(connections.open(), 0);
        assert!(connections.0.state().by_address.is_empty());
        let network = [enter("2001:db8::1").await, enter("2001:db8::2").await];
        assert!(enter("2001:db8::3").await.is_none());
        assert!(enter("2001:db8:0:1::3").await.is_some());
        drop(network);
    }

    #[test]
    fn those_that_have_said_nothing_go_first_and_busy_ones_never() {
        let mut state = State::default();
        let bounds = Bounds { all: 9, per_ip: 0 };
        let [busy, silent, sender, former]: [Arc<Activity>; 4] = Default::default();
        for activity in [&busy, &former, &sender, &silent] {
            assert!(state.enter(activity, address("192.0.2.1"), bounds).is_ok());
        }
        let _request = Activity::begin(&busy);
        drop(Activity::begin(&former));
        drop(Activity::begin(&sender));
        // There are few of them, and this one is new: one that has sent a request goes before it.
        assert!(state.ask_one_to_go(9));
        assert!(former.is_asked_to_go() && !silent.is_asked_to_go());
        drop(former);
        assert!(state.ask_one_to_go(1));
        assert!(silent.is_asked_to_go());
        drop(silent);
        // A request since the time before is a reason to stay.
        drop(Activity::begin(&sender));
        assert!(!state.ask_known(), "{state:?}");
        assert!(state.ask_known() && sender.is_asked_to_go());
        drop(sender);
        assert!(!state.ask_one_to_go(0) && !busy.is_asked_to_go());
    }

    #[test]
    fn connections_that_have_ended_are_forgotten() {
        let mut state = State::default();
        for _ in 0..10_000 {
            let entered = state.enter(&Arc::default(), address("192.0.2.1"), Bounds { all: 9, per_ip: 0 });
            assert!(entered.is_ok());
            state.open -= 1;
        }
        assert!(state.silent.len() + state.known.len() <= SPARE_ENTRIES + 3);
    }
}
