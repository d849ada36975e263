//! Progress: the state of a block's rows on their way to the table, and the responses that wait.
//!
//! One commit completes the responses of many connections of an event loop, and waking a task on
//! another thread is a system call. `update` therefore wakes only completed waits, and only one
//! task per thread: that task wakes the others on its thread when it runs, which only pushes them
//! onto the thread's own queue. If its wait is dropped first because the connection is gone, `Drop`
//! wakes the others.

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

/// The state of a block's rows on their way to the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The number of rows, from the first on, that are on disk.
    pub(crate) on_disk: u32,
    /// Whether the last attempt to write more rows to disk failed.
    pub(crate) is_failing: bool,
    /// Whether every row is in its table or in the dead letters, or in the shared log.
    pub(crate) is_done: bool,
    /// Whether the rows are in the shared log, from which another delivery reads them.
    pub(crate) is_in_shared_log: bool,
    /// The rows that ClickHouse has refused.
    pub(crate) refused: Vec<u32>,
    /// The rows among them that the shared log has refused.
    pub(crate) too_long: Vec<TooLong>,
}

/// A row that is longer than the shared log accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub(crate) row: u32,
    /// The length of the row.
    pub(crate) bytes: usize,
}

impl Progress {
    /// Returns the level that all of `rows` have reached.
    pub(crate) fn level(&self, rows: &Range<u32>) -> Ack {
        if self.is_done && !self.refused.iter().any(|row| rows.contains(row)) {
            if self.is_in_shared_log {
                Ack::Replicated
            } else {
                Ack::Stored
            }
        } else if self.on_disk >= rows.end {
            Ack::Spooled
        } else {
            Ack::Accepted
        }
    }

    /// Returns the length of the longest of `rows` that the shared log has refused, in bytes, once
    /// it has all others; `None` if it has refused none of them.
    pub(crate) fn too_long_bytes(&self, rows: &Range<u32>) -> Option<usize> {
        let refused = self.too_long.iter().filter(|refused| rows.contains(&refused.row));
        refused.map(|refused| refused.bytes).max().filter(|_| self.is_done)
    }
}

/// The rows to wait for, and the level to wait for.
#[derive(Debug, Clone)]
pub(crate) struct WaitCondition {
    /// The rows to wait for.
    pub(crate) rows: Range<u32>,
    /// The level that the rows should reach.
    pub(crate) ack: Ack,
    /// Whether a failing disk ends the wait, too.
    pub(crate) fail_fast: bool,
}

impl WaitCondition {
    /// Returns whether the wait is over: the rows have reached the level, or cannot reach it, or
    /// cannot reach it soon.
    fn is_over(&self, progress: &Progress) -> bool {
        let level = progress.level(&self.rows);
        progress.is_done || level >= self.ack || (self.fail_fast && progress.is_failing && level < Ack::Spooled)
    }
}

/// The progress of one block, shared by the code that updates it and the tasks that wait for it.
#[derive(Debug, Default)]
pub(crate) struct SharedProgress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    progress: Progress,
    waits: Slab<Wait>,
}

/// A waiting task.
#[derive(Debug)]
struct Wait {
    condition: WaitCondition,
    waker: Waker,
    /// The thread that polled the task last.
    thread: ThreadId,
    /// Whether the task has been woken, or another task will wake it.
    is_over: bool,
    /// The wakers of the tasks that this task wakes when it runs.
    followers: Vec<Waker>,
}

impl SharedProgress {
    pub(crate) fn new(progress: Progress) -> Self {
        Self(Mutex::new(State {
            progress,
            waits: Slab::new(),
        }))
    }

    /// Reads the progress.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Progress) -> T) -> T {
        read(&self.lock().progress)
    }

    /// Updates the progress, and wakes the tasks whose wait is over.
    pub(crate) fn update(&self, update: impl FnOnce(&mut Progress)) {
        let mut state = self.lock();
        update(&mut state.progress);
        let first_of_each = state.end_waits();
        drop(state);
        first_of_each.into_iter().for_each(Waker::wake);
    }

    /// Waits until the condition is met, or cannot be met.
    pub(crate) fn until(self: &Arc<Self>, condition: WaitCondition) -> ProgressFuture {
        ProgressFuture {
            shared: Arc::clone(self),
            condition,
            key: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends the waits that are over, and returns one waker per thread. Its task wakes the others
    /// there.
    fn end_waits(&mut self) -> Vec<Waker> {
        // For each thread: the key and the waker of its first wait.
        let mut firsts: Vec<(ThreadId, usize, Waker)> = Vec::new();
        let mut followers: Vec<(usize, Waker)> = Vec::new();
        for (key, wait) in &mut self.waits {
            if wait.is_over || !wait.condition.is_over(&self.progress) {
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

/// A future that resolves when a wait for a block's progress is over.
#[derive(Debug)]
pub(crate) struct ProgressFuture {
    shared: Arc<SharedProgress>,
    condition: WaitCondition,
    /// The key of the wait in `State::waits`; `None` before the first poll and after the end.
    key: Option<usize>,
}

impl ProgressFuture {
    /// Removes the wait, and returns the wakers that it was to wake.
    fn remove_wait(&mut self, state: &mut State) -> Vec<Waker> {
        let wait = self.key.take().and_then(|key| state.waits.try_remove(key));
        wait.map(|wait| wait.followers).unwrap_or_default()
    }
}

impl Future for ProgressFuture {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let shared = Arc::clone(&this.shared);
        let mut state = shared.lock();
        if this.condition.is_over(&state.progress) {
            let followers = this.remove_wait(&mut state);
            drop(state);
            followers.into_iter().for_each(Waker::wake);
            return Poll::Ready(());
        }
        let thread = thread::current().id();
        match this.key.and_then(|key| state.waits.get_mut(key)) {
            Some(wait) => {
                wait.waker.clone_from(cx.waker());
                wait.thread = thread;
                // The disk failed and works again, so the reason for the wake has passed.
                wait.is_over = false;
                let followers = mem::take(&mut wait.followers);
                drop(state);
                followers.into_iter().for_each(Waker::wake);
            }
            None => {
                let wait = Wait {
                    condition: this.condition.clone(),
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

impl Drop for ProgressFuture {
    fn drop(&mut self) {
        if self.key.is_none() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let followers = self.remove_wait(&mut shared.lock());
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
        until: ProgressFuture,
        count: Arc<Count>,
    }

    impl Task {
        fn new(shared: &Arc<SharedProgress>, row: u32) -> Self {
            let condition = WaitCondition {
                rows: row..row + 1,
                ack: Ack::Spooled,
                fail_fast: true,
            };
            Self {
                until: shared.until(condition),
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
    fn the_first_task_of_a_thread_wakes_the_others() {
        let shared = Arc::new(SharedProgress::default());
        let mut tasks = waiting(&shared, 0..4);
        shared.update(|progress| progress.on_disk = 3);
        assert_eq!(woken(&tasks), [1, 0, 0, 0]);
        // A task that is about to be woken is not woken again by a further update.
        shared.update(|progress| progress.on_disk = 3);
        assert!(tasks[0].is_over());
        assert_eq!(woken(&tasks), [1, 1, 1, 0]);
        assert!(tasks[1].is_over() && tasks[2].is_over() && !tasks[3].is_over());
        shared.update(|progress| progress.on_disk = 4);
        assert_eq!(woken(&tasks), [1, 1, 1, 1]);
        assert!(tasks[3].is_over());
        assert!(shared.lock().waits.is_empty());
    }

    #[test]
    fn one_task_per_thread_is_woken() {
        let shared = Arc::new(SharedProgress::default());
        let mut here = waiting(&shared, 0..2);
        let mut there = thread::scope(|scope| scope.spawn(|| waiting(&shared, 2..4)).join().unwrap());
        shared.update(|progress| progress.on_disk = 4);
        assert_eq!((woken(&here), woken(&there)), (vec![1, 0], vec![1, 0]));
        assert!(here[0].is_over() && there[0].is_over());
        assert_eq!((woken(&here), woken(&there)), (vec![1, 1], vec![1, 1]));
    }

    #[test]
    fn a_dropped_first_task_wakes_the_others() {
        let shared = Arc::new(SharedProgress::default());
        let mut tasks = waiting(&shared, 0..3);
        shared.update(|progress| progress.on_disk = 3);
        drop(tasks.remove(0));
        assert_eq!(woken(&tasks), [1, 1]);
        drop(tasks);
        assert!(shared.lock().waits.is_empty());
    }

    #[test]
    fn a_first_task_that_waits_again_wakes_the_others() {
        let shared = Arc::new(SharedProgress::default());
        let mut tasks = waiting(&shared, 0..2);
        shared.update(|progress| progress.is_failing = true);
        shared.update(|progress| progress.is_failing = false);
        assert!(!tasks[0].is_over());
        assert_eq!(woken(&tasks), [1, 1]);
        assert!(!tasks[1].is_over());
        shared.update(|progress| progress.on_disk = 2);
        assert!(tasks[0].is_over());
        assert_eq!(woken(&tasks), [2, 2]);
    }
}
