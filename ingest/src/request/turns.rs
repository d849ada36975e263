//! Turns: limits how many bodies are read at a time, so that hundreds of senders of large bodies
//! delay other events by one piece each, and not by as many pieces as there are senders.
//!
//! Nearly all bodies are shorter than the 8 KiB that need no turn. A longer one takes a turn and
//! keeps it while its pieces keep coming, so that bodies are completed one after the other and few
//! of them hold memory. Waiting bodies get their turns in order of arrival. Short bodies do not
//! wait for long ones.

use std::{
    fmt,
    future::Future,
    num::NonZero,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The longest short body, in bytes.
const SHORT_BYTES: usize = 256 << 10;

/// The turns of all bodies of one layer.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

impl Turns {
    /// Returns turns for short bodies on as many event loops as there are cores, and for long ones
    /// on half of them.
    pub(crate) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self::with_permits(cores, cores.div_ceil(2))
    }

    pub(super) fn with_permits(short: usize, long: usize) -> Self {
        Self {
            short: Arc::new(Semaphore::new(short)),
            long: Arc::new(Semaphore::new(long)),
        }
    }

    fn of_length(&self, max_length: usize) -> &Arc<Semaphore> {
        match max_length {
            ..=SHORT_BYTES => &self.short,
            _ => &self.long,
        }
    }
}

type Acquire = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// The turn of one body; `None` if the body has not asked for it.
#[derive(Default)]
pub(crate) struct Turn(Option<Box<State>>);

enum State {
    Waiting(Acquire),
    Held {
        _permit: OwnedSemaphorePermit,
        /// Whether the body was empty when it was last polled.
        was_empty: bool,
    },
}

impl Turn {
    /// Waits for the turn; `max_length` is the maximum length of the body.
    #[cold]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, turns: &Turns, max_length: usize) -> Poll<()> {
        let acquire = match self.0.as_deref_mut() {
            Some(State::Held { .. }) => return Poll::Ready(()),
            Some(State::Waiting(acquire)) => acquire,
            None => {
                let permits = Arc::clone(turns.of_length(max_length));
                self.0 = Some(Box::new(State::Waiting(Box::pin(permits.acquire_owned()))));
                return self.poll(cx, turns, max_length);
            }
        };
        // The semaphore is never closed.
        let Poll::Ready(Ok(_permit)) = acquire.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        let was_empty = false;
        self.0 = Some(Box::new(State::Held { _permit, was_empty }));
        Poll::Ready(())
    }

    /// Notes that a piece has come.
    #[inline]
    pub(crate) fn piece_came(&mut self) {
        if let Some(State::Held { was_empty, .. }) = self.0.as_deref_mut() {
            *was_empty = false;
        }
    }

    /// Notes that no piece is there. The turn ends if two polls in a row find none: hyper reads the
    /// next piece only after the body was polled without success.
    #[inline]
    pub(crate) fn no_piece(&mut self, cx: &Context<'_>) {
        match self.0.as_deref_mut() {
            Some(State::Held { was_empty: true, .. }) => self.0 = None,
            Some(State::Held { was_empty, .. }) => {
                *was_empty = true;
                cx.waker().wake_by_ref();
            }
            Some(State::Waiting(_)) | None => {}
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.as_deref() {
            None => "None",
            Some(State::Waiting(_)) => "Waiting",
            Some(State::Held { .. }) => "Held",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const SHORT: usize = SHORT_BYTES;
    const LONG: usize = SHORT_BYTES + 1;

    fn poll(turn: &mut Turn, turns: &Turns, max_length: usize) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        turn.poll(&mut cx, turns, max_length).is_ready()
    }

    fn no_piece(turn: &mut Turn) {
        turn.no_piece(&Context::from_waker(Waker::noop()));
    }

    #[test]
    fn a_body_waits_until_the_one_before_it_is_dropped() {
        let turns = Turns::with_permits(1, 1);
        let [mut first, mut second, mut third] = <[Turn; 3]>::default();
        assert!(poll(&mut first, &turns, LONG));
        assert!(!poll(&mut second, &turns, LONG) && !poll(&mut third, &turns, LONG));
        assert!(poll(&mut first, &turns, LONG), "it keeps its turn");
        drop(first);
        assert!(!poll(&mut third, &turns, LONG), "the second was there earlier");
        assert!(poll(&mut second, &turns, LONG));
        drop(second);
        assert!(poll(&mut third, &turns, LONG));
    }

    #[test]
    fn a_body_without_pieces_gives_its_turn_away() {
        let turns = Turns::with_permits(1, 1);
        let [mut slow, mut other] = <[Turn; 2]>::default();
        assert!(poll(&mut slow, &turns, LONG));
        for _ in 0..3 {
            no_piece(&mut slow);
            slow.piece_came();
        }
        assert!(!poll(&mut other, &turns, LONG), "a piece comes every second time");
        no_piece(&mut slow);
        no_piece(&mut slow);
        assert!(poll(&mut other, &turns, LONG));
        assert!(!poll(&mut slow, &turns, LONG));
    }

    #[test]
    fn short_bodies_do_not_wait_for_long_ones() {
        let turns = Turns::with_permits(1, 1);
        let [mut long, mut short, mut unknown] = <[Turn; 3]>::default();
        assert!(poll(&mut long, &turns, LONG));
        assert!(poll(&mut short, &turns, SHORT));
        assert!(!poll(&mut unknown, &turns, usize::MAX));
    }
}
