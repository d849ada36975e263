//! Rate: limits the number of requests per address and per route.
//!
//! Each limit is a [GCRA](https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm): one number is
//! the theoretical arrival time (TAT) of the next request. A request that would move the TAT more
//! than one period ahead is rejected. Without limits there is no check at all.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    collect::{options::EventOptions, rate_limit::RateLimit, route::Destination},
    request::target::name_key,
};

/// The limits of one layer.
#[derive(Debug)]
pub(crate) struct Rates {
    started: Instant,
    addresses: Option<Addresses>,
    routes: Box<[RouteRate]>,
}

impl Rates {
    /// Returns the limits that the options and the schema set; `None` if they set none.
    pub(crate) fn new(options: &EventOptions, destinations: &'static [Destination]) -> Option<Self> {
        let route = |destination: &Destination| {
            // The path `other` has neither service nor name.
            let (service, name) = destination.path.split_once('/').unwrap_or_default();
            let is_view = VIEWS.contains(&service);
            let limit = destination
                .rate_limit
                .or(options.rate_limit_per_route.filter(|_| !is_view));
            RouteRate {
                service,
                name,
                limit,
                tat: AtomicU64::new(0),
            }
        };
        let mut routes: Box<[_]> = destinations.iter().map(route).collect();
        if routes.iter().all(|route| route.limit.is_none()) {
            routes = Box::default();
        }
        let addresses = options.rate_limit_per_ip.map(Addresses::new);
        (addresses.is_some() || !routes.is_empty()).then(|| Self {
            started: Instant::now(),
            addresses,
            routes,
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX / 2)
    }

    /// Counts a request of an address.
    ///
    /// # Errors
    ///
    /// The time until the address may send another request, if this one is over the limit.
    pub(crate) fn admit_from_address(&self, address: IpAddr) -> Result<(), Duration> {
        match &self.addresses {
            Some(addresses) => addresses.admit(address, self.now()),
            None => Ok(()),
        }
    }

    /// Counts a request to the route of a service and name.
    ///
    /// # Errors
    ///
    /// The time until the route accepts another request, if this one is over the limit.
    pub(crate) fn admit_to_route(&self, service: &str, name: &str) -> Result<(), Duration> {
        if self.routes.is_empty() {
            return Ok(());
        }
        let name = name_key(name);
        let find = |service: &str, name: &str| {
            let mut routes = self.routes.iter();
            routes.find(|route| route.service == service && route.name == name)
        };
        let route = find(service, &name)
            .or_else(|| find(service, OTHERS))
            .or_else(|| find("", ""));
        match route.and_then(|route| Some((route, route.limit?))) {
            Some((route, limit)) => admit(&route.tat, limit, self.now()),
            None => Ok(()),
        }
    }
}

/// The name of the destination for all other names of a service.
const OTHERS: &str = "default";

/// The services whose responses are visible to a visitor: only the schema limits their routes.
pub(crate) const VIEWS: [&str; 2] = ["pixel", "redir"];

#[derive(Debug)]
struct RouteRate {
    service: &'static str,
    name: &'static str,
    limit: Option<RateLimit>,
    tat: AtomicU64,
}

fn admit(tat: &AtomicU64, limit: RateLimit, now: u64) -> Result<(), Duration> {
    let mut seen = tat.load(Ordering::Relaxed);
    loop {
        let next = limit.next(seen, now)?;
        match tat.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Ok(()),
            Err(other) => seen = other,
        }
    }
}

/// The number of sets, each with its own lock: 32 768 addresses in half a megabyte.
const SETS: usize = 4 << 10;

/// The number of addresses in a set.
const WAYS: usize = 8;

/// The addresses that have sent requests lately. A new address replaces the address in its set with
/// the earliest TAT. The table may forget an address while others send more, but it never limits
/// an address for the requests of others.
struct Addresses {
    limit: RateLimit,
    sets: Box<[Mutex<[Sent; WAYS]>]>,
    /// Has random keys, so that a client cannot choose addresses that fall into one set.
    hasher: RandomState,
}

/// The requests of one address.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    /// The hash of the address; 0 in an empty entry.
    address: u64,
    tat: u64,
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Addresses {
    fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    fn admit(&self, address: IpAddr, now: u64) -> Result<(), Duration> {
        let hash = self.hasher.hash_one(subscriber(address)).max(1);
        let set = &self.sets[hash as usize % SETS];
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let known = set.iter().position(|sent| sent.address == hash);
        let least = || (0..WAYS).min_by_key(|&way| set[way].tat).unwrap_or_default();
        let way = known.unwrap_or_else(least);
        let tat = if known.is_some() { set[way].tat } else { 0 };
        set[way] = Sent {
            address: hash,
            tat: self.limit.next(tat, now)?,
        };
        Ok(())
    }
}

/// Returns the part of an address that identifies a sender: a whole IPv4 address, or the first half
/// of an IPv6 address, because a subscriber has the whole other half.
fn subscriber(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits() & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::ack::AckPolicy;
    use crate::collect::rate_limit::InvalidRateLimit;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_limit_admits_a_burst_and_then_one_request_per_interval() {
        let limit = RateLimit::new(4, 2);
        let tat = AtomicU64::new(0);
        let start = 10 * SECOND;
        for _ in 0..4 {
            assert_eq!(admit(&tat, limit, start), Ok(()));
        }
        let half = Duration::from_millis(500);
        assert_eq!(admit(&tat, limit, start), Err(half));
        assert_eq!(
            admit(&tat, limit, start + SECOND / 4),
            Err(half / 2),
            "a rejected request costs nothing"
        );
        assert_eq!(admit(&tat, limit, start + SECOND / 2), Ok(()));
        assert_eq!(admit(&tat, limit, start + SECOND / 2), Err(half));
        // A pause saves up no more than one period's requests.
        let admitted = (0..100).filter(|_| admit(&tat, limit, start + 100 * SECOND).is_ok());
        assert_eq!(admitted.count(), 4);
    }

    #[test]
    fn a_limit_is_a_number_and_a_period() {
        for (text, limit) in [
            ("100/s", RateLimit::new(100, 1)),
            (" 600 / m ", RateLimit::new(600, 60)),
            ("1/h", RateLimit::new(1, 3_600)),
        ] {
            assert_eq!(text.parse(), Ok(limit));
            assert_eq!(limit.to_string().parse(), Ok(limit));
        }
        for text in [
            "",
            "100",
            "/s",
            "0/s",
            "-1/s",
            "1.5/s",
            "100/d",
            "100/sec",
            "4294967296/s",
        ] {
            assert_eq!(text.parse::<RateLimit>(), Err(InvalidRateLimit), "{text}");
        }
    }

    #[test]
    fn each_address_has_its_own_limit() {
        let addresses = Addresses::new(RateLimit::new(2, 1));
        let passed = |address: IpAddr| (0..5).filter(|_| addresses.admit(address, SECOND).is_ok()).count();
        let v6 = |low: u16, high: u16| IpAddr::from([0x2001, 0xdb8, 0, high, 0, 0, 0, low]);
        assert_eq!(passed(Ipv4Addr::new(192, 0, 2, 1).into()), 2);
        assert_eq!(passed(Ipv4Addr::new(192, 0, 2, 2).into()), 2);
        assert_eq!(passed(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into()), 0);
        assert_eq!(passed(v6(1, 0)), 2);
        assert_eq!(passed(v6(2, 0)), 0, "of one subscriber");
        assert_eq!(passed(v6(1, 1)), 2);
    }

    #[test]
    fn the_table_of_addresses_does_not_grow() {
        let addresses = Addresses::new(RateLimit::new(1, 3_600));
        let greedy = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
        assert!(addresses.admit(greedy, SECOND).is_ok());
        for number in 0..100_000_u32 {
            let address = Ipv6Addr::from_bits(u128::from(number) << 64);
            assert!(
                addresses.admit(address.into(), SECOND).is_ok(),
                "an address has its own limit"
            );
        }
        let known = |set: &Mutex<[Sent; WAYS]>| set.lock().unwrap().iter().filter(|sent| sent.address != 0).count();
        assert!(addresses.sets.iter().map(known).sum::<usize>() <= SETS * WAYS);
    }

    #[test]
    fn a_route_has_its_own_limit_or_the_default_one() {
        const fn destination(path: &'static str, rate_limit: Option<RateLimit>) -> Destination {
            Destination {
                path,
                table: "t",
                acks: AckPolicy::NONE,
                rate_limit,
            }
        }
        static PLAIN: [Destination; 1] = [destination("wh/a", None)];
        static ALL: [Destination; 5] = [
            destination("wh/a", None),
            destination("wh/default", Some(RateLimit::new(2, 3_600))),
            destination("pixel/a", None),
            destination("pixel/b", Some(RateLimit::new(1, 3_600))),
            destination("other", None),
        ];
        let unlimited = EventOptions::default();
        assert!(Rates::new(&unlimited, &PLAIN).is_none());
        let passed =
            |rates: &Rates, service, name| (0..10).filter(|_| rates.admit_to_route(service, name).is_ok()).count();
        let own = Rates::new(&unlimited, &ALL).unwrap();
        assert_eq!(passed(&own, "wh", "a"), 10);
        assert_eq!(passed(&own, "wh", "any"), 2);
        assert_eq!(passed(&own, "wh", "some"), 0, "of the same route");
        assert_eq!((passed(&own, "pixel", "a"), passed(&own, "pixel", "b")), (10, 1));
        assert_eq!(passed(&own, "x", "y"), 10);
        let all = EventOptions {
            rate_limit_per_route: Some(RateLimit::new(3, 3_600)),
            ..unlimited
        };
        let all = Rates::new(&all, &ALL).unwrap();
        assert_eq!((passed(&all, "wh", "a"), passed(&all, "wh", "any")), (3, 2));
        assert_eq!((passed(&all, "pixel", "a"), passed(&all, "pixel", "b")), (10, 1));
        assert_eq!((passed(&all, "x", "y"), passed(&all, "z", "y")), (3, 0));
    }
}
