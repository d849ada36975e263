//! The runtime of Rowmill: Tower layers that turn HTTP requests into typed rows of ClickHouse.
//!
//! Tables are described in YAML. When the project is built, `rowmill-codegen` turns them into typed
//! rows, decoders, encoders, DDL and layers, which use this crate at run time. To embed them in
//! your own service:
//!
//! ```text
//! pub mod tables { rowmill_ingest::include_tables!(); }
//!
//! let store: ClickHouseUrl = "http://127.0.0.1:8123/stats".parse()?;
//! let writer = Writer::open(&tables::SCHEMA, store, &WriterOptions::default(), Path::new("data/spool"))?;
//! writer.synced(Duration::from_secs(10)).await?;
//! let service = tables::layer(writer.clone()).layer(your_service);
//! // … serve it, and before the process ends:
//! writer.drain(Duration::from_secs(30)).await;
//! ```
//!
//! # The path of a request
//!
//! The folders are listed in the order of the data. A folder uses only those below it;
//! `tests/imports.rs` checks that.
//!
//! ```text
//! service    the Tower layer, and a hyper server for it
//! collect    one request from its route to its response
//! intake     turns an event into an encoded row: decode, add metadata, check, encode
//! writer     the handle through which rows enter the spool
//! rejected   the replay of dead letters
//! deliver    inserts blocks into ClickHouse until it confirms them
//! spool      blocks that are not stored yet, in memory and on disk
//! block      the rows of one table that are inserted together
//! native     the rows of a block in ClickHouse's columnar format, compressed
//! lease      a node number that no other process has
//! ids        ids of events and visitors
//! sync       makes the tables in ClickHouse match the schema
//! answer     every response: status, headers, cookie, body, redirect
//! value      each column type: the values that it accepts, and their bytes
//! identify   service, name, project, visitor and client of an event
//! table      the build step's description of a table
//! request    the parts of a request: path, headers, body
//! json       a JSON reader that borrows
//! fields     queries and urlencoded bodies
//! store      the connection to ClickHouse
//! ack        the levels of an acknowledgement
//! arena      memory of one event, for each thread
//! scan       sixteen bytes of a text at a time
//! budget     bytes in use, and their limit
//! ```
//!
//! # Acknowledgements
//!
//! A successful response carries an [`Ack`]: the event's row is in memory, on disk, or in its
//! table. With [`Writer::open`], rows are on disk until ClickHouse has confirmed them, and a
//! process that is killed loses no row that it acknowledged as on disk. With [`Writer::start`],
//! rows are only in memory.

#[doc(hidden)]
#[path = "rt.rs"]
pub mod __rt;
mod ack;
mod answer;
mod arena;
mod block;
pub(crate) mod budget;
mod collect;
mod deliver;
mod fields;
mod identify;
mod ids;
mod intake;
pub mod json;
mod lease;
mod native;
mod rejected;
mod request;
mod scan;
mod service;
mod spool;
mod store;
mod sync;
pub mod table;
pub mod value;
mod writer;

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;

/// The client that [`ClickHouseUrl::client`] returns, and that [`ping`] and [`Servers`] accept.
pub use clickhouse::Client;

pub use crate::table::refusal;
pub use crate::{
    ack::{ACK_HEADER, Ack, AckPolicy, UnknownAck},
    answer::header_set::HeaderSet,
    block::{receipt::Receipt, rows::RowBatch},
    budget::SpoolFull,
    collect::{
        options::{EventOptions, NetworkError, TrustedProxies},
        rate_limit::{InvalidRateLimit, RateLimit},
        route::{Destination, Route, Routes},
    },
    deliver::ColumnChanges,
    intake::{
        event::{Event, Reason, Rejection, Sink, TableHandler},
        row::{Row, TypedTable},
        stamp::{CollectorValue, EventMeta},
    },
    lease::NodeStatus,
    rejected::{RejectedError, RejectedReplay, RejectedReport, RejectedTable, replay_rejected},
    service::{
        connections::Connections,
        layer::{EventFuture, EventLayer, EventService, Peer},
        serve::{ServeOptions, serve},
    },
    spool::{BlockReport, PartReport, SpoolError, SpoolReport, TableCounts, inspect},
    store::{
        ClickHouseError, ClickHouseUrl, ClickHouseUrlError, InsertQuorum, InvalidInsertQuorum, ping, stores::Servers,
    },
    sync::{
        Difference, Drift, DriftReport, Impact, SyncError, SyncReport, apply_drift, drift, plan, state::SchemaState,
        sync,
    },
    table::dead_letter::DeadLetter,
    writer::{DrainReport, Writer, options::WriterOptions, refusal_counts::RejectionCounts},
};

/// Includes the tables that `rowmill_codegen::build` generated for this crate.
#[macro_export]
macro_rules! include_tables {
    () => {
        include!(concat!(env!("OUT_DIR"), "/rowmill_tables.rs"));
    };
}

/// Answers any request with 404: the innermost service of a program that only serves events.
pub async fn not_found<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"message\":\"Not Found\"}")));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}
