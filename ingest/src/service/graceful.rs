//! The graceful end of a connection: it answers its open requests, and then closes.
//!
//! hyper-util has the same for connections that cannot become WebSockets.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::sync::watch;

pin_project! {
    /// A connection that shuts down when the server stops.
    struct Graceful<C, F> {
        #[pin]
        connection: C,
        #[pin]
        stopped: F,
        is_stopping: bool,
        shut_down: fn(Pin<&mut C>),
    }
}

impl<C: Future, F: Future> Future for Graceful<C, F> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let mut this = self.project();
        if !*this.is_stopping && this.stopped.poll(cx).is_ready() {
            *this.is_stopping = true;
            (this.shut_down)(this.connection.as_mut());
        }
        this.connection.poll(cx)
    }
}

/// Returns `connection`, which `shut_down` begins to end when `stop` is true or its sender is gone.
pub(super) fn until_stopped<C: Future>(
    connection: C,
    stop: watch::Receiver<bool>,
    shut_down: fn(Pin<&mut C>),
) -> impl Future<Output = C::Output> {
    Graceful {
        connection,
        stopped: stopped(stop),
        is_stopping: false,
        shut_down,
    }
}

/// Waits until `stop` is true or its sender is gone.
pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
