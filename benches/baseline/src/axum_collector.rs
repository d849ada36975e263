//! A hand-written collector for the seed's event: axum's extractors, a struct for serde, and a
//! channel to a task with the `clickhouse` crate's `Inserter`.
//!
//! It fills the same columns of the same table as the collector, sets the same cookie and answers
//! the same three routes. Like most such programs, it has no further headers, no dead letters, no
//! retries of a failed insert and no checks of type bounds.

use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use clickhouse::{Client, Row, inserter::Inserter};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

use crate::Failure;

const TABLE: &str = "mail_statistics";

/// Capacity of the channel to the inserter, in rows.
const QUEUE: usize = 200_000;

/// Maximum number of rows that the inserter receives at a time.
const BATCH_ROWS: usize = 1_000;

const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\x01\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\x01\0,\0\0\0\0\x01\0\x01\0\0\x02\x02L\x01\0;";

/// The event, from JSON or from a query string.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Mail {
    event: String,
    email: String,
    message_id: String,
    list_id: String,
    task_id: String,
    link_id: String,
    detailed: String,
    /// The target of a redirect.
    to: String,
}

/// A row of the table, in the order of its columns.
#[derive(Debug, Row, Serialize)]
struct MailRow {
    id: u64,
    uid: u64,
    date: u16,
    #[serde(rename = "dateTime")]
    date_time: u32,
    timestamp: u64,
    channel: &'static str,
    #[serde(rename = "projectId")]
    project_id: u32,
    name: &'static str,
    service: &'static str,
    td_ip: String,
    td_ua: String,
    td_fpid: u64,
    td_ref: String,
    #[serde(rename = "td_extra.key")]
    td_extra_key: Vec<String>,
    #[serde(rename = "td_extra.value")]
    td_extra_value: Vec<String>,
    #[serde(rename = "extra.key")]
    extra_key: Vec<String>,
    #[serde(rename = "extra.value")]
    extra_value: Vec<String>,
    event: String,
    email: String,
    message_id: String,
    list_id: String,
    task_id: String,
    link_id: String,
    detailed: String,
}

#[derive(Debug, Clone)]
struct Collector {
    rows: mpsc::Sender<MailRow>,
    ids: Arc<AtomicU64>,
}

#[derive(Debug, Serialize)]
struct Recorded {
    id: String,
}

/// Serves until `stop` ends, then inserts the remaining rows.
///
/// # Errors
/// If a connection cannot be accepted, or the last insert fails.
pub async fn serve(
    listener: TcpListener,
    client: Client,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failure> {
    // RowBinary without names and types: the struct is known to match the table.
    let client = client.with_validation(false);
    let (sender, receiver) = mpsc::channel(QUEUE);
    let inserter = client
        .inserter::<MailRow>(TABLE)
        .with_max_rows(100_000)
        .with_period(Some(Duration::from_secs(1)));
    let inserting = tokio::spawn(insert(inserter, receiver));

    let collector = Collector {
        rows: sender,
        // A random start, so that ids of an earlier run do not repeat.
        ids: Arc::new(AtomicU64::new(RandomState::new().hash_one(TABLE) >> 1)),
    };
    let routes = Router::new()
        .route("/wh/mail", post(webhook))
        .route("/pixel/mail", get(pixel))
        .route("/redir/mail", get(redirect))
        .with_state(collector)
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, routes).with_graceful_shutdown(stop).await?;
    inserting.await?
}

/// Inserts rows until all senders are dropped.
async fn insert(mut inserter: Inserter<MailRow>, mut rows: mpsc::Receiver<MailRow>) -> Result<(), Failure> {
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    loop {
        let wait = inserter.time_left().unwrap_or(Duration::from_secs(1));
        match timeout(wait, rows.recv_many(&mut batch, BATCH_ROWS)).await {
            Ok(0) => break,
            Ok(_) => {
                for row in batch.drain(..) {
                    inserter.write(&row).await?;
                }
            }
            Err(_) => {}
        }
        inserter.commit().await?;
    }
    inserter.end().await?;
    Ok(())
}

async fn webhook(
    State(collector): State<Collector>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Json(mail): Json<Mail>,
) -> Response {
    match collector.record("wh", "http", peer, &headers, mail) {
        Ok(ids) => (ids.cookie(), Json(Recorded { id: ids.id.to_string() })).into_response(),
        Err(full) => full.into_response(),
    }
}

async fn pixel(
    State(collector): State<Collector>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(mail): Query<Mail>,
) -> Response {
    match collector.record("pixel", "pixel", peer, &headers, mail) {
        Ok(ids) => {
            let fixed = [
                (header::CONTENT_TYPE, "image/gif"),
                (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
            ];
            (ids.cookie(), fixed, GIF).into_response()
        }
        Err(full) => full.into_response(),
    }
}

async fn redirect(
    State(collector): State<Collector>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(mut mail): Query<Mail>,
) -> Response {
    let Ok(to) = HeaderValue::try_from(std::mem::take(&mut mail.to)) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match collector.record("redir", "http", peer, &headers, mail) {
        Ok(ids) => (StatusCode::FOUND, ids.cookie(), [(header::LOCATION, to)]).into_response(),
        Err(full) => full.into_response(),
    }
}

/// The ids that the answer to a recorded event carries.
struct EventIds {
    id: u64,
    uid: u64,
}

impl EventIds {
    fn cookie(&self) -> AppendHeaders<[(header::HeaderName, String); 1]> {
        AppendHeaders([(
            header::SET_COOKIE,
            format!("uid={}; Path=/; Max-Age=94608000; HttpOnly", self.uid),
        )])
    }
}

impl Collector {
    fn record(
        &self,
        service: &'static str,
        channel: &'static str,
        peer: SocketAddr,
        headers: &HeaderMap,
        mail: Mail,
    ) -> Result<EventIds, StatusCode> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let known = text(header::COOKIE)
            .into_iter()
            .flat_map(|cookies| cookies.split("; "))
            .find_map(|cookie| cookie.strip_prefix("uid=")?.parse().ok());
        let uid = known.unwrap_or(id);
        let row = MailRow {
            id,
            uid,
            date: u16::try_from(now.as_secs() / 86_400).unwrap_or(u16::MAX),
            date_time: u32::try_from(now.as_secs()).unwrap_or(u32::MAX),
            timestamp: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            channel,
            project_id: 0,
            name: "mail",
            service,
            td_ip: peer.ip().to_string(),
            td_ua: text(header::USER_AGENT).unwrap_or_default().to_owned(),
            td_fpid: 0,
            td_ref: text(header::REFERER).unwrap_or_default().to_owned(),
            td_extra_key: Vec::new(),
            td_extra_value: Vec::new(),
            extra_key: Vec::new(),
            extra_value: Vec::new(),
            event: mail.event,
            email: mail.email,
            message_id: mail.message_id,
            list_id: mail.list_id,
            task_id: mail.task_id,
            link_id: mail.link_id,
            detailed: mail.detailed,
        };
        self.rows.try_send(row).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        Ok(EventIds { id, uid })
    }
}
