//! The access of a server to a session: its activity, its end, and the request to close.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
};

use tokio::{sync::Notify, task::JoinHandle};

/// A session, as the server of its connection sees it. The response that opens the session has it
/// among its extensions.
#[derive(Debug, Clone)]
pub(crate) struct SessionHandle(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// The number of messages so far; it may wrap around.
    messages: AtomicU32,
    /// The number of messages whose answer is not sent yet.
    unanswered: AtomicUsize,
    /// Has a permit once the session is asked to close.
    close: Notify,
    /// Whether another connection waits for the end of the session.
    is_awaited: AtomicBool,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl SessionHandle {
    pub(in crate::collect) fn new() -> Self {
        Self(Arc::default())
    }

    pub(super) fn set_task(&self, task: JoinHandle<()>) {
        *self.0.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    /// Returns the number of messages so far.
    pub(crate) fn messages(&self) -> u32 {
        self.0.messages.load(Ordering::Relaxed)
    }

    /// Returns whether all messages are answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.unanswered.load(Ordering::Relaxed) == 0
    }

    /// Asks the session to answer the messages that it has read, and then to close.
    pub(crate) fn request_close(&self) {
        self.0.close.notify_one();
    }

    /// Asks the session to close for a new connection: it does not wait until the client confirms
    /// its end.
    pub(crate) fn request_slot(&self) {
        self.0.is_awaited.store(true, Ordering::Relaxed);
        self.request_close();
    }

    /// Waits for the end of the session. If the returned future is dropped, the session ends at once.
    pub(crate) async fn ended(&self) {
        let task = self.0.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let mut task = AbortOnDrop(task);
            if let Err(error) = (&mut task.0).await
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }

    pub(super) fn count_message(&self) {
        self.0.messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_unanswered(&self, messages: usize) {
        self.0.unanswered.store(messages, Ordering::Relaxed);
    }

    /// Returns whether another connection waits for the end of the session.
    pub(super) fn is_awaited(&self) -> bool {
        self.0.is_awaited.load(Ordering::Relaxed)
    }

    /// Waits until the session is asked to close.
    pub(super) async fn close_requested(&self) {
        self.0.close.notified().await;
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
