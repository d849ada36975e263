//! Progress: how far a block's rows have come, and the answers that wait for it.
//!
//! One commit completes the answers of many connections of an event loop, and to wake a task of another thread is a system call. So
//! only waits that are over are woken, and of those of one thread only the first: its task wakes the others when it runs, which costs
//! no more than a place in that thread's own queue. A wait that ends without having run, since its connection is gone, hands that on.

use std::{
    future::Future,
    mem,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread::{self, ThreadId},
};

use slab::Slab;

use crate::ack::Ack;

/// How far a block's rows have come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// This many rows, from the first on, are on disk.
    pub(crate) on_disk: u32,
    /// The last try to bring more of them there has failed.
    pub(crate) is_failing: bool,
    /// All of them are where they belong: in the table, or among the dead letters.
    pub(crate) is_done: bool,
    /// Those that ClickHouse has refused.
    pub(crate) refused: Vec<u32>,
}

impl Progress {
    /// Returns how far some of the rows have come, which is as far as the last of them.
    pub(crate) fn level(&self, rows: &Range<u32>) -> Ack {
        if self.is_done && !self.refused.iter().any(|row| rows.contains(row)) {
            Ack::Stored
        } else if self.on_disk >= rows.end {
            Ack::Spooled
        } else {
            Ack::Accepted
        }
    }
}

/// What a wait is for.
#[derive(Debug, Clone)]
pub(crate) struct WaitCondition {
    /// The rows that are waited for.
    pub(crate) rows: Range<u32>,
    /// How far they should come.
    pub(crate) ack: Ack,
    /// Whether the wait is over, too, when the disk fails.
    pub(crate) is_impatient: bool,
}

impl WaitCondition {
    /// Returns whether there is nothing left to wait for: the rows are so far, or will not come further, or not soon.
    fn is_over(&self, progress: &Progress) -> bool {
        let level = progress.level(&self.rows);
        progress.is_done || level >= self.ack || (self.is_impatient && progress.is_failing && level < Ack::Spooled)
    }
}

/// The progress of one block, for all who change it and who wait for it.
#[derive(Debug, Default)]
pub(crate) struct SharedProgress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    progress: Progress,
    waits: Slab<Wait>,
}

/// Somebody who waits.
#[derive(Debug)]
struct Wait {
    wish: WaitCondition,
    waker: Waker,
    /// Where it was polled last.
    thread: ThreadId,
    /// It has been woken, or somebody will do so.
    is_over: bool,
    /// Those that it is to wake when it runs.
    followers: Vec<Waker>,
}

impl SharedProgress {
    pub(crate) fn new(progress: Progress) -> Self {
        Self(Mutex::new(State {
            progress,
            waits: Slab::new(),
        }))
    }

    /// Looks at the progress.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Progress) -> T) -> T {
        look(&self.lock().progress)
    }

    /// Changes the progress, and wakes whoever need not wait any more.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Progress)) {
        let mut state = self.lock();
        change(&mut state.progress);
        let first_of_each = state.end_waits();
        drop(state);
        first_of_each.into_iter().for_each(Waker::wake);
    }

    /// Waits until the wish is fulfilled, or cannot be.
    pub(crate) fn until(self: &Arc<Self>, wish: WaitCondition) -> Until {
        Until {
            shared: Arc::clone(self),
            wish,
            key: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends the waits that are over, and returns whom to wake: one for each thread, who has to wake the others there.
    fn end_waits(&mut self) -> Vec<Waker> {
        // The key of the first of each thread.
        let mut firsts: Vec<(ThreadId, usize, Waker)> = Vec::new();
        let mut followers: Vec<(usize, Waker)> = Vec::new();
        for (key, wait) in &mut self.waits {
            if wait.is_over || !wait.wish.is_over(&self.progress) {
                continue;
            }
            wait.is_over = true;
            match firsts.iter().find(|(thread, ..)| *thread == wait.thread) {
                Some((_, first, _)) => followers.push((*first, wait.waker.clone())),
                None => firsts.push((wait.thread, key, wait.waker.clone())),
            }
        }
        for (first, follower) in followers {
            if let Some(first) = self.waits.get_mut(first) {
                first.followers.push(follower);
            }
        }
        firsts.into_iter().map(|(_, _, waker)| waker).collect()
    }
}

/// A wait for the progress of a block.
#[derive(Debug)]
pub(crate) struct Until {
    shared: Arc<SharedProgress>,
    wish: WaitCondition,
    /// Its place among the waits; none before it has to wait, and after its end.
    key: Option<usize>,
}

impl Until {
    /// Gives up its place, and returns those that it was to wake.
    fn leave(&mut self, state: &mut State) -> Vec<Waker> {
        let wait = self.key.take().and_then(|key| state.waits.try_remove(key));
        wait.map(|wait| wait.followers).unwrap_or_default()
    }
}

impl Future for Until {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let shared = Arc::clone(&this.shared);
        let mut state = shared.lock();
        if this.wish.is_over(&state.progress) {
            let followers = this.leave(&mut state);
            drop(state);
            followers.into_iter().for_each(Waker::wake);
            return Poll::Ready(());
        }
        let thread = thread::current().id();
        match this.key.and_then(|key| state.waits.get_mut(key)) {
            Some(wait) => {
                wait.waker.clone_from(cx.waker());
                wait.thread = thread;
                // The disk failed and works again: what it was woken for has passed.
                wait.is_over = false;
                let followers = mem::take(&mut wait.followers);
                drop(state);
                followers.into_iter().for_each(Waker::wake);
            }
            None => {
                let wait = Wait {
                    wish: this.wish.clone(),
                    waker: cx.waker().clone(),
                    thread,
                    is_over: false,
                    followers: Vec::new(),
                };
                this.key = Some(state.waits.insert(wait));
            }
        }
        Poll::Pending
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        if self.key.is_none() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let followers = self.leave(&mut shared.lock());
        followers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    /// Counts how often a task was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A task that waits for one row to be on disk.
    struct Task {
        until: Until,
        count: Arc<Count>,
    }

    impl Task {
        fn new(shared: &Arc<SharedProgress>, row: u32) -> Self {
            let wish = WaitCondition {
                rows: row..row + 1,
                ack: Ack::Spooled,
                is_impatient: true,
            };
            Self {
                until: shared.until(wish),
                count: Arc::default(),
            }
        }

        fn is_over(&mut self) -> bool {
            let waker = Arc::clone(&self.count).into();
            Pin::new(&mut self.until)
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
        }

        fn woken(&self) -> usize {
            self.count.0.load(Ordering::Relaxed)
        }
    }

    fn waiting(shared: &Arc<SharedProgress>, rows: Range<u32>) -> Vec<Task> {
        let mut tasks: Vec<_> = rows.map(|row| Task::new(shared, row)).collect();
        assert!(tasks.iter_mut().all(|task| !task.is_over()));
        tasks
    }

    fn woken(tasks: &[Task]) -> Vec<usize> {
        tasks.iter().map(Task::woken).collect()
    }

    #[test]
    fn the_first_of_a_thread_wakes_the_others() {
        let shared = Arc::new(SharedProgress::default());
        let mut tasks = waiting(&shared, 0..4);
        shared.change(|progress| progress.on_disk = 3);
        assert_eq!(woken(&tasks), [1, 0, 0, 0]);
        // Those that are to be woken are not woken for more that comes.
        shared.change(|progress| progress.on_disk = 3);
        assert!(tasks[0].is_over());
        assert_eq!(woken(&tasks), [1, 1, 1, 0]);
        assert!(tasks[1].is_over() && tasks[2].is_over() && !tasks[3].is_over());
        shared.change(|progress| progress.on_disk = 4);
        assert_eq!(woken(&tasks), [1, 1, 1, 1]);
        assert!(tasks[3].is_over());
        assert!(shared.lock().waits.is_empty());
    }

    #[test]
    fn each_thread_has_a_first() {
        let shared = Arc::new(SharedProgress::default());
        let mut here = waiting(&shared, 0..2);
        let mut there = thread::scope(|scope| scope.spawn(|| waiting(&shared, 2..4)).join().unwrap());
        shared.change(|progress| progress.on_disk = 4);
        assert_eq!((woken(&here), woken(&there)), (vec![1, 0], vec![1, 0]));
        assert!(here[0].is_over() && there[0].is_over());
        assert_eq!((woken(&here), woken(&there)), (vec![1, 1], vec![1, 1]));
    }

    #[test]
    fn a_first_that_goes_away_hands_it_on() {
        let shared = Arc::new(SharedProgress::default());
        let mut tasks = waiting(&shared, 0..3);
        shared.change(|progress| progress.on_disk = 3);
        drop(tasks.remove(0));
        assert_eq!(woken(&tasks), [1, 1]);
        drop(tasks);
        assert!(shared.lock().waits.is_empty());
    }

    #[test]
    fn a_first_that_has_to_wait_again_wakes_the_others_nevertheless() {
        let shared = Arc::new(SharedProgress::default());
        let mut tasks = waiting(&shared, 0..2);
        shared.change(|progress| progress.is_failing = true);
        shared.change(|progress| progress.is_failing = false);
        assert!(!tasks[0].is_over());
        assert_eq!(woken(&tasks), [1, 1]);
        assert!(!tasks[1].is_over());
        shared.change(|progress| progress.on_disk = 2);
        assert!(tasks[0].is_over());
        assert_eq!(woken(&tasks), [2, 2]);
    }
}
