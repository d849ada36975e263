//! The runtime of Rowmill: Tower layers that turn HTTP requests into typed rows of ClickHouse.
//!
//! Tables are described in YAML; `rowmill-codegen` makes typed rows, decoders, encoders, DDL and layers of them when the project is
//! built, and this crate is what they stand on. A service of your own takes them like this:
//!
//! ```text
//! pub mod tables { rowmill_ingest::include_tables!(); }
//!
//! let store: StoreUrl = "http://127.0.0.1:8123/stats".parse()?;
//! let writer = Writer::open(&tables::SCHEMA, store, &WriterOptions::default(), Path::new("data/spool"))?;
//! writer.synced(Duration::from_secs(10)).await?;
//! let service = tables::layer(writer.clone()).layer(your_service);
//! // … serve it, and before the process ends:
//! writer.drain(Duration::from_secs(30)).await;
//! ```
//!
//! # The way of a request
//!
//! ```text
//! serve     serve       connections, drained at the end
//!           connections how many there may be, and which go first
//!           idle        connections that say nothing are let go
//!           layer       events of known routes stay here, all else goes on to the inner service
//!           gather      the body, within its bounds
//! identify  collect     the steps from here to the answer, in their order
//!           head        what is known before the body: path, query, client, time
//!           said        the headers that matter
//!           target      the path
//!           fields      the query, and urlencoded bodies
//!           body        what the body is: JSON, a form, nothing
//!           envelope    what the body says of its own address
//!           scan        the bytes of a text that mean something
//!           identify    service, name, project, visitor, client
//! route     layer       one match over service and name, written by the build step
//!           rate        how many requests an address or a route may send
//! intake    intake      decode → stamp → check → encode, one synchronous call
//!           json        JSON by pulling, borrowed
//!           value       what each type takes, and its bytes
//!           row         what the build step writes for each table
//!           far_off_date dates that are too far from the event's arrival
//!           stamp       what the collector itself knows
//!           reject      what becomes of an event that is no row
//!           tally       how many of them there were
//! answer    answer      every answer, and where a redirect leads
//! block     block       rows of one table, gathered under one deduplication token
//!           rows        those of one request, before they go into it
//!           room        memory of blocks that are gone, for those that come
//! spool     spool       blocks that are not stored yet, in memory and on disk
//! ack       ack         what an answer promises of a row
//!           progress    how far the rows of a block have come, and who waits for that
//! deliver   deliver     blocks go to ClickHouse, until it has them
//!           layout      what their rows are, and how they are inserted
//!           backoff     how long one waits that has failed
//!           ahead       the next ones are made ready meanwhile
//!           compressed  what is sent of them, in columns where that is possible
//!           native      rows become columns
//!           lz4         those become frames
//!           time_slice  all of that beside the event loops, which it lets go first
//!           stores      the servers, and which of them have the tables
//!           sync        the tables as the schema says
//! letters   dead_letter what is kept of an event that could not become a row, and of a row that was refused
//!           rejected    refused rows go into their tables again
//! ids       id          the numbers of events and visitors, each given once
//!           id_file     the file that lets them go on after a restart
//!           lease       a node number that no other process has
//!           nodes       the table that says so
//! ```
//!
//! # What an answer says
//!
//! [`Ack`]: that the event's row is in memory, on disk, or in its table. With [`Writer::open`] rows are on disk until ClickHouse has
//! confirmed them, and a process that is killed loses none that was acknowledged so; with [`Writer::start`] they are in memory alone.

#[doc(hidden)]
#[path = "rt.rs"]
pub mod __rt;
mod ack;
mod ahead;
mod alarm;
mod answer;
mod arena;
mod backoff;
mod block;
mod body;
mod collect;
mod compressed;
mod connections;
mod dead_letter;
mod deliver;
mod envelope;
mod far_off_date;
mod fields;
mod gather;
mod head;
mod id;
mod id_file;
mod identify;
mod idle;
mod intake;
pub mod json;
mod layer;
mod layout;
mod lease;
mod lz4;
mod native;
mod nodes;
mod options;
mod progress;
mod rate;
mod redirect;
pub mod refusal;
mod reject;
mod rejected;
mod room;
mod row;
mod rows;
mod said;
mod scan;
mod serve;
mod spool;
mod stamp;
mod store;
mod stores;
mod sync;
pub mod table;
mod tally;
mod target;
mod time_slice;
pub mod value;
mod writer;

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;

/// What [`StoreUrl::client`] gives, and [`ping`] and [`Stores`] take.
pub use clickhouse::Client;

pub use crate::{
    ack::{ACK_HEADER, Ack, AckRule, Receipt, UnknownAck},
    connections::Connections,
    dead_letter::DeadLetter,
    deliver::ColumnChanges,
    intake::{Event, Intake, Reason, Rejection, Sink},
    layer::{Destination, EventFuture, EventLayer, EventService, Peer, Route, Routes},
    lease::NodeStatus,
    options::{EventOptions, HeaderSet, NetworkError, TrustedProxies},
    rate::{InvalidRateLimit, RateLimit},
    rejected::{RejectedError, RejectedReplay, RejectedReport, RejectedTable, replay_rejected},
    row::{Row, TypedTable},
    rows::EncodedRows,
    serve::{ServeOptions, serve},
    spool::{BlockReport, NoRoom, PartReport, SpoolError, SpoolReport, TableCounts, inspect},
    stamp::{ServerValue, Stamp},
    store::{InsertQuorum, InvalidInsertQuorum, StoreError, StoreUrl, StoreUrlError, ping},
    stores::{SchemaState, Stores},
    sync::{Difference, SyncError, SyncReport, plan, sync},
    tally::RefusalCounts,
    writer::{DrainReport, Writer, WriterOptions},
};

/// Includes the tables that `rowmill_codegen::build` has made for this crate.
#[macro_export]
macro_rules! include_tables {
    () => {
        include!(concat!(env!("OUT_DIR"), "/rowmill_tables.rs"));
    };
}

/// Answers any request with 404: the innermost service of a program that has nothing but events.
pub async fn not_found<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"message\":\"Not Found\"}")));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}
