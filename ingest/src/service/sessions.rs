//! Sessions: connections that have become WebSockets.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use tokio::sync::watch;

use crate::{
    collect::websocket::SessionHandle,
    service::{connections::Connections, graceful::stopped, idle::Activity},
};

/// Waits for the end of a session, and asks it to close when the server stops or another connection
/// needs its slot.
pub(super) async fn run(
    session: &SessionHandle,
    activity: &Activity,
    counts: &Connections,
    stop: watch::Receiver<bool>,
) {
    let _open = counts.count_session();
    let mut ended = pin!(session.ended());
    let mut stopping = pin!(stopped(stop));
    let mut is_stopping = false;
    poll_fn(|cx| {
        if ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !is_stopping && stopping.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            session.request_close();
        }
        if activity.takes_close_request(cx) {
            counts.count_closed();
            session.request_slot();
        }
        Poll::Pending
    })
    .await;
}
