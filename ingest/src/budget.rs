//! Byte budgets: memory or disk in use, shared so that no user holds more than is free for all
//! others.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The spool cannot accept a row: a limit is reached, the disk fails, or the spool is closed. The
/// row was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolFull;

impl fmt::Display for SpoolFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the spool is full until ClickHouse stores some of its rows")
    }
}

impl std::error::Error for SpoolFull {}

/// The bytes in use, and their limit.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    pub(crate) max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            max,
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Reserves `cost` bytes for a user that holds `held` bytes already, and returns whether they
    /// were reserved. No user may hold more than is free for all others.
    pub(crate) fn reserve(&self, cost: usize, held: usize) -> bool {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let sum = used.checked_add(cost)?;
                (sum.saturating_add(held) <= self.max).then_some(sum)
            })
            .is_ok()
    }

    pub(crate) fn release(&self, cost: usize) {
        self.used.fetch_sub(cost, Ordering::Relaxed);
    }

    pub(crate) fn take(&self, cost: usize) {
        self.used.fetch_add(cost, Ordering::Relaxed);
    }
}

/// The memory of all requests in flight. It counts against the memory budget of the rows. Together,
/// the requests hold at most as much as is free for the rows.
#[derive(Debug)]
pub(crate) struct RequestMemory {
    budget: Arc<Budget>,
    used: AtomicUsize,
}

impl RequestMemory {
    pub(crate) fn new(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            budget,
            used: AtomicUsize::new(0),
        })
    }

    /// Returns the number of bytes that the requests in flight have booked.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the budget of all rows and requests, in bytes.
    pub(crate) fn max(&self) -> usize {
        self.budget.max
    }

    /// Returns whether less than a quarter of the budget is left for requests.
    pub(crate) fn is_tight(&self) -> bool {
        let Budget { max, .. } = *self.budget;
        max.saturating_sub(self.budget.used() + self.used()) < max / 4
    }

    /// Returns an empty booking for one request.
    pub(crate) fn booking(self: &Arc<Self>) -> Booking {
        Booking {
            memory: Arc::clone(self),
            bytes: 0,
        }
    }
}

/// The memory booked by one request; released on drop.
#[derive(Debug)]
pub(crate) struct Booking {
    memory: Arc<RequestMemory>,
    bytes: usize,
}

impl Booking {
    /// Returns the number of booked bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Books memory up to a total of `bytes`. Costs nothing if as much is booked already.
    ///
    /// # Errors
    ///
    /// [`SpoolFull`]: the budget is used up. The booking is unchanged.
    #[inline]
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), SpoolFull> {
        match bytes.checked_sub(self.bytes) {
            None | Some(0) => Ok(()),
            Some(more) => self.grow_by(more),
        }
    }

    fn grow_by(&mut self, more: usize) -> Result<(), SpoolFull> {
        let RequestMemory { budget, used } = &*self.memory;
        // Count before the check of the budget, so that two requests cannot both book the
        // remaining bytes.
        let held = used.fetch_add(more, Ordering::Relaxed);
        if !budget.reserve(more, held + more) {
            used.fetch_sub(more, Ordering::Relaxed);
            return Err(SpoolFull);
        }
        self.bytes += more;
        Ok(())
    }

    /// Releases the booked bytes beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.memory.budget.release(less);
        self.memory.used.fetch_sub(less, Ordering::Relaxed);
        self.bytes -= less;
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(max: usize) -> (Arc<Budget>, Arc<RequestMemory>) {
        let budget = Arc::new(Budget::new(max));
        (Arc::clone(&budget), RequestMemory::new(budget))
    }

    #[test]
    fn requests_book_at_most_as_much_as_is_free_for_rows() {
        let (rows, requests) = memory(100);
        let mut first = requests.booking();
        let mut second = requests.booking();
        assert_eq!(first.grow_to(30), Ok(()));
        assert_eq!(second.grow_to(21), Err(SpoolFull));
        assert_eq!(second.grow_to(20), Ok(()));
        assert_eq!((requests.used(), rows.used()), (50, 50));

        assert!(rows.reserve(40, 0), "the other half is for rows");
        assert_eq!(first.grow_to(31), Err(SpoolFull));
        assert_eq!(first.grow_to(30), Ok(()), "the booking is unchanged");
    }

    #[test]
    fn memory_is_tight_when_requests_or_rows_hold_much_of_it() {
        let (rows, requests) = memory(100);
        let mut booking = requests.booking();
        assert_eq!(booking.grow_to(37), Ok(()));
        assert!(!requests.is_tight());
        assert_eq!(booking.grow_to(38), Ok(()));
        assert!(requests.is_tight());
        booking.shrink_to(10);
        assert!(!requests.is_tight());
        assert!(rows.reserve(60, 0));
        assert!(requests.is_tight());
    }

    #[test]
    fn a_dropped_booking_releases_its_memory() {
        let (rows, requests) = memory(100);
        let mut booking = requests.booking();
        assert_eq!(booking.grow_to(40), Ok(()));
        booking.shrink_to(10);
        assert_eq!((booking.bytes(), requests.used(), rows.used()), (10, 10, 10));
        booking.shrink_to(20);
        assert_eq!(booking.bytes(), 10);
        drop(booking);
        assert_eq!((requests.used(), rows.used()), (0, 0));
    }
}
