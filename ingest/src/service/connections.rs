//! Connections: their number, their addresses, and the order in which idle ones are closed for new
//! ones.
//!
//! This state changes only when a connection begins or ends, never per request. A connection that
//! is asked to close decides by itself: it stays open while a request is open.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout};

use crate::service::idle::Activity;

/// The time in which a new connection must send its first request. Before that, the connection is
/// closed only if many connections are silent or no other connection is idle.
const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(1);

/// Silent connections close first if they are at least one in this many of the connection limit.
const SILENT_SHARE: usize = 8;

/// The time until the server asks another connection to close, if none has ended by then.
const CLOSE_INTERVAL: Duration = Duration::from_millis(50);

/// The shortest time between two log lines: thousands of connections may fail at once.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest time between two log lines about requests that are not valid.
const MALFORMED_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The lists drop the entries of ended connections when they are longer than twice the number of
/// open connections plus this.
const SPARE_ENTRIES: usize = 64;

/// The open connections of a server, and of all servers that share this value.
///
/// ```
/// use rowmill_ingest::server::Connections;
///
/// assert_eq!(Connections::default().open(), 0);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    refused: AtomicU64,
    closed: AtomicU64,
    failed_handshakes: AtomicU64,
    failed_proxy_headers: AtomicU64,
    malformed: AtomicU64,
    /// The number of open WebSockets.
    sessions: AtomicUsize,
    malformed_log: Mutex<Option<Instant>>,
    /// Notified when a connection ends.
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    /// The open connections per address; empty if [`Limits::per_ip`] is 0.
    by_address: HashMap<IpAddr, usize>,
    /// Connections that had sent no request when last checked, the oldest first.
    silent: VecDeque<(Weak<Activity>, Instant)>,
    /// All other connections, with their request count when last checked; the least recently
    /// checked first.
    known: VecDeque<(Weak<Activity>, u32)>,
    logged: Option<Instant>,
}

/// The limits on the number of connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) all: usize,
    /// 0 means no limit.
    pub(crate) per_ip: usize,
}

/// The reason why a connection is not admitted.
enum NotAdmitted {
    Full,
    TooManyOfAddress,
}

/// The slot of an open connection; dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Slot {
    shared: Arc<Shared>,
    /// The address that the connection is counted under, if addresses have a limit.
    address: Option<IpAddr>,
}

impl Connections {
    /// Returns the number of open connections.
    ///
    /// ```
    /// use rowmill_ingest::server::ServeOptions;
    ///
    /// fn log(options: &ServeOptions) {
    ///     println!("{} open connections", options.connections.open());
    /// }
    /// # log(&ServeOptions::default());
    /// ```
    pub fn open(&self) -> usize {
        self.0.state().open
    }

    /// Returns the number of open WebSockets, which are among the open connections.
    pub fn sessions(&self) -> usize {
        self.0.sessions.load(Ordering::Relaxed)
    }

    /// Counts a WebSocket as open until the returned value is dropped.
    pub(crate) fn count_session(&self) -> OpenSession {
        self.0.sessions.fetch_add(1, Ordering::Relaxed);
        OpenSession(Arc::clone(&self.0))
    }

    /// Returns the number of connections that were closed at once because their address had too
    /// many.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Returns the number of idle connections that were closed for new ones.
    pub fn closed_idle(&self) -> u64 {
        self.0.closed.load(Ordering::Relaxed)
    }

    /// Returns the number of connections that were closed because their TLS handshake failed or took
    /// too long.
    pub fn failed_handshakes(&self) -> u64 {
        self.0.failed_handshakes.load(Ordering::Relaxed)
    }

    /// Counts a connection whose handshake failed.
    pub(crate) fn count_failed_handshake(&self) {
        self.0.failed_handshakes.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of connections of trusted proxies that were closed because they did not
    /// begin with a valid header of the PROXY protocol.
    pub fn failed_proxy_headers(&self) -> u64 {
        self.0.failed_proxy_headers.load(Ordering::Relaxed)
    }

    /// Counts a connection whose PROXY header is missing or invalid.
    pub(crate) fn count_failed_proxy_header(&self) {
        self.0.failed_proxy_headers.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an admitted connection under another address. Returns whether that address may have
    /// one more.
    pub(crate) fn readdress(&self, slot: &mut Slot, address: IpAddr, limits: Limits) -> bool {
        if limits.per_ip == 0 {
            return true;
        }
        let address = counted(address);
        let mut state = self.0.state();
        if state
            .by_address
            .get(&address)
            .is_some_and(|open| *open >= limits.per_ip)
        {
            drop(state);
            self.count_refused();
            return false;
        }
        if let Some(former) = slot.address.replace(address) {
            state.end_of(former);
        }
        *state.by_address.entry(address).or_default() += 1;
        true
    }

    /// Counts a connection that is closed because its address has too many.
    fn count_refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        self.log(|refused, _| tracing::warn!(refused, "an address has too many connections: further ones are closed"));
    }

    /// Returns the number of requests that are not valid HTTP, or have no valid `Host` or another
    /// transfer coding than `chunked`. The server answers them itself, or closes their connection.
    pub fn malformed_requests(&self) -> u64 {
        self.0.malformed.load(Ordering::Relaxed)
    }

    /// Counts requests that are not valid, and logs their number at most once in
    /// [`MALFORMED_LOG_INTERVAL`].
    #[cold]
    pub(crate) fn count_malformed(&self, requests: u64) {
        let malformed = self.0.malformed.fetch_add(requests, Ordering::Relaxed) + requests;
        let now = Instant::now();
        let mut logged = self.0.malformed_log.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|logged| now - logged >= MALFORMED_LOG_INTERVAL) {
            *logged = Some(now);
            drop(logged);
            tracing::warn!(malformed, "requests are not valid HTTP and are refused");
        }
    }

    /// Waits for a free slot and asks idle connections to close while there is none. Returns `None`
    /// if the address has too many connections.
    pub(crate) async fn admit(&self, activity: &Arc<Activity>, address: IpAddr, limits: Limits) -> Option<Slot> {
        loop {
            let admitted = self.0.state().admit(activity, address, limits);
            match admitted {
                Ok(address) => {
                    let shared = Arc::clone(&self.0);
                    return Some(Slot { shared, address });
                }
                Err(NotAdmitted::TooManyOfAddress) => {
                    self.count_refused();
                    return None;
                }
                Err(NotAdmitted::Full) => {
                    let is_one_idle = self.0.state().close_one(limits.all / SILENT_SHARE);
                    self.log(|_, let_go| match is_one_idle {
                        true => tracing::warn!(
                            let_go,
                            "the connection limit is reached: idle connections are closed for new ones"
                        ),
                        false => tracing::warn!(
                            "the connection limit is reached: all connections are busy, and new ones wait"
                        ),
                    });
                }
            }
            // `Notify` keeps the permit of a connection that ended before this wait. A busy
            // connection that becomes idle does not wake it.
            let _ = timeout(CLOSE_INTERVAL, self.0.ended.notified()).await;
        }
    }

    /// Asks some idle connections to close because the process has no file descriptors left.
    pub(crate) fn close_some(&self) {
        let mut state = self.0.state();
        for _ in 0..=state.open / 64 {
            state.close_one(0);
        }
    }

    /// Counts an idle connection that closed for a new one.
    pub(crate) fn count_closed(&self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls `log` with the numbers of refused and closed connections, at most once in
    /// [`LOG_INTERVAL`].
    pub(crate) fn log(&self, log: impl FnOnce(u64, u64)) {
        let now = Instant::now();
        let mut state = self.0.state();
        if state.logged.is_none_or(|logged| now - logged >= LOG_INTERVAL) {
            state.logged = Some(now);
            drop(state);
            log(self.refused(), self.closed_idle());
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Admits a connection and returns the address that it is counted under.
    fn admit(
        &mut self,
        activity: &Arc<Activity>,
        address: IpAddr,
        limits: Limits,
    ) -> Result<Option<IpAddr>, NotAdmitted> {
        let address = (limits.per_ip > 0).then(|| counted(address));
        let of_address = address.and_then(|address| self.by_address.get(&address));
        if of_address.is_some_and(|open| *open >= limits.per_ip) {
            return Err(NotAdmitted::TooManyOfAddress);
        }
        if self.open >= limits.all.max(1) {
            return Err(NotAdmitted::Full);
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

    /// Removes a connection from the count of its address.
    fn end_of(&mut self, address: IpAddr) {
        if let Some(open) = self.by_address.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// Asks one idle connection to close and returns whether there is one. Silent connections close
    /// first if there are at least `many` of them or the oldest has exceeded
    /// [`FIRST_REQUEST_WITHIN`].
    fn close_one(&mut self, many: usize) -> bool {
        self.close_silent(many) || self.close_known() || self.close_silent(0)
    }

    fn close_silent(&mut self, many: usize) -> bool {
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
                activity.request_close();
                return true;
            }
        }
        false
    }

    /// Checks each connection at most once and skips those with a request since their last check.
    fn close_known(&mut self) -> bool {
        for _ in 0..self.known.len() {
            let Some((known, seen)) = self.known.pop_front() else {
                return false;
            };
            let Some(activity) = known.upgrade() else { continue };
            let requests = activity.requests();
            self.known.push_back((known, requests));
            if requests == seen && activity.is_idle() {
                activity.request_close();
                return true;
            }
        }
        false
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct OpenSession(Arc<Shared>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.open -= 1;
        if let Some(address) = self.address {
            state.end_of(address);
        }
        drop(state);
        self.shared.ended.notify_one();
    }
}

/// Returns the address that a connection is counted under. An IPv6 address counts as its network
/// `/64`, because one customer has all of it.
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

    const LIMITS: Limits = Limits { all: 4, per_ip: 2 };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_address_has_at_most_its_limit_of_connections() {
        let connections = Connections::default();
        let activity = Arc::default();
        let admit = |from: &'static str| connections.admit(&activity, address(from), LIMITS);
        let first = admit("192.0.2.1").await;
        let second = admit("::ffff:192.0.2.1").await;
        assert!(first.is_some() && second.is_some());
        assert!(admit("192.0.2.1").await.is_none());
        let other = admit("192.0.2.2").await;
        assert_eq!((connections.open(), connections.refused()), (3, 1));
        drop(second);
        assert!(admit("192.0.2.1").await.is_some());
        drop((first, other));
        assert_eq!(connections.open(), 0);
        assert!(connections.0.state().by_address.is_empty());
        let network = [admit("2001:db8::1").await, admit("2001:db8::2").await];
        assert!(admit("2001:db8::3").await.is_none());
        assert!(admit("2001:db8:0:1::3").await.is_some());
        drop(network);
    }

    #[tokio::test]
    async fn a_connection_of_a_proxy_counts_under_the_address_of_its_client() {
        let connections = Connections::default();
        let (activity, of_proxy) = (Arc::default(), Limits { per_ip: 0, ..LIMITS });
        let mut slots = Vec::new();
        for expected in [true, true, false] {
            let mut slot = connections
                .admit(&activity, address("10.0.0.1"), of_proxy)
                .await
                .unwrap();
            assert_eq!(connections.readdress(&mut slot, address("192.0.2.1"), LIMITS), expected);
            slots.push(slot);
        }
        assert_eq!((connections.open(), connections.refused()), (3, 1));
        assert!(connections.readdress(&mut slots[0], address("192.0.2.2"), LIMITS));
        assert!(connections.readdress(&mut slots[2], address("192.0.2.1"), LIMITS));
        slots.clear();
        assert_eq!(connections.open(), 0);
        assert!(connections.0.state().by_address.is_empty());
    }

    #[test]
    fn silent_connections_close_first_and_busy_ones_never() {
        let mut state = State::default();
        let limits = Limits { all: 9, per_ip: 0 };
        let [busy, silent, sender, former]: [Arc<Activity>; 4] = Default::default();
        for activity in [&busy, &former, &sender, &silent] {
            assert!(state.admit(activity, address("192.0.2.1"), limits).is_ok());
        }
        let _request = Activity::begin(&busy);
        drop(Activity::begin(&former));
        drop(Activity::begin(&sender));
        // There are few silent connections, and this one is new: an idle one with past requests
        // closes first.
        assert!(state.close_one(9));
        assert!(former.is_close_requested() && !silent.is_close_requested());
        drop(former);
        assert!(state.close_one(1));
        assert!(silent.is_close_requested());
        drop(silent);
        // A request since the last check keeps the connection open.
        drop(Activity::begin(&sender));
        assert!(!state.close_known(), "{state:?}");
        assert!(state.close_known() && sender.is_close_requested());
        drop(sender);
        assert!(!state.close_one(0) && !busy.is_close_requested());
    }

    #[test]
    fn the_lists_drop_ended_connections() {
        let mut state = State::default();
        for _ in 0..10_000 {
            let admitted = state.admit(&Arc::default(), address("192.0.2.1"), Limits { all: 9, per_ip: 0 });
            assert!(admitted.is_ok());
            state.open -= 1;
        }
        assert!(state.silent.len() + state.known.len() <= SPARE_ENTRIES + 3);
    }
}
