//! The runtime of Rowmill: Tower layers that turn HTTP requests into typed rows of ClickHouse.
//!
//! Tables are described in YAML. When the project is built, `rowmill-codegen` turns them into typed
//! rows, decoders, encoders, DDL and layers, which use this crate at run time. To embed them in
//! your own service, call `rowmill_codegen::build("schemas")` in the build script, and include the
//! tables:
//!
//! ```
//! mod tables {
//!     # /*
//!     rowmill_ingest::include_tables!();
//!     # */
//!     # pub use embedder::tables::*;
//! }
//!
//! use std::{convert::Infallible, error::Error, future::pending, net::SocketAddr, path::Path, time::Duration};
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use rowmill_ingest::{Ack, ClickHouseUrl, Writer, WriterOptions, server};
//! use tower::{Layer, service_fn};
//!
//! /// The service of your own.
//! async fn shop<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(Response::new(Full::new("the shop".into())))
//! }
//!
//! async fn run() -> Result<(), Box<dyn Error>> {
//!     let clickhouse: ClickHouseUrl = "http://127.0.0.1:8123/stats".parse()?;
//!     let options = WriterOptions::default();
//!     let writer = Writer::open(&tables::SCHEMA, clickhouse, &options, Path::new("data/spool"))?;
//!     // The writer also creates the tables. Do not start if they differ from the schema.
//!     writer.synced(Duration::from_secs(10)).await?;
//!
//!     // A row of your own, under the same promises as the rows of events.
//!     let row = tables::Orders { number: "A-1".into(), ..Default::default() };
//!     writer.insert(&row, Ack::Spooled)?.reached().await;
//!
//!     // The events of the schema's routes become rows; every other request goes to the shop.
//!     let service = tables::layer(writer.clone())?.layer(service_fn(shop));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     let service_for = |peer: SocketAddr| service.clone().with_peer(peer.ip());
//!     let stop = async { _ = tokio::signal::ctrl_c().await };
//!     server::serve(listener, service_for, server::ServeOptions::default(), stop).await;
//!
//!     // Send the remaining rows to ClickHouse before the process ends.
//!     let report = writer.drain(Duration::from_secs(30)).await;
//!     assert!(report.is_complete() || report.is_kept);
//!     Ok(())
//! }
//! ```
//!
//! # The modules
//!
//! The items that every program uses are at the root. The others are grouped:
//!
//! | module | contents |
//! |---|---|
//! | [`layer`] | the Tower layer, its service and options |
//! | [`server`] | a hyper server for services |
//! | [`writer`] | the handle through which rows go to ClickHouse, its options and status |
//! | [`ack`] | the levels of an acknowledgement |
//! | [`row`] | typed rows, and the interface that decodes events into them |
//! | [`route`] | the table for the events of each path |
//! | [`schema`] | creates and compares the tables in ClickHouse |
//! | [`store`] | the servers of ClickHouse and their errors |
//! | [`log`] | the address of a shared log, and of topics |
//! | [`spool`] | reads the folder of a spool |
//! | [`rejected`] | sends refused rows again |
//! | [`forget`] | deletes the rows of a person |
//! | [`handover`] | hands waiting rows to another collector |
//! | [`archive`] | rows as objects in S3 or a folder, and their replay |
//! | [`topics`] | rows as messages of Kafka topics |
//! | [`backfill`] | fills the table of a new view from older rows |
//! | [`table`], [`refusal`] | the description of a table, and the reasons to reject a value |
//! | [`value`], [`json`] | the values of columns, and the JSON reader for them |
//! | [`test`](mod@test) | a writer and a collector for tests, without a ClickHouse |
//!
//! # The path of a request
//!
//! The folders are listed in the order of the data. A folder uses only those below it;
//! `tests/imports.rs` checks that.
//!
//! ```text
//! test       a collector for the requests of a test
//! service    the Tower layer, and a hyper server for it
//! collect    one request from its route to its response
//! verify     whether a request comes from the sender of its route
//! intake     turns an event into an encoded row: decode, add metadata, check, encode
//! answer     every response: status, headers, cookie, body, redirect
//! writer     the handle through which rows enter the spool
//! rejected   the replay of dead letters
//! forget     deletes the rows and dead letters of a person
//! backfill   the rows of a view that are older than the view
//! topics     rows as messages of Kafka topics, beside ClickHouse
//! archive    rows as objects in S3 or a folder, beside ClickHouse
//! kafka      a shared log between the collectors and the deliveries
//! handover   hands the blocks of a spool to another collector
//! deliver    inserts blocks into ClickHouse until it confirms them
//! spool      blocks that are not stored yet, in memory and on disk
//! idempotency the keys of accepted requests, over restarts
//! block      the rows of one table that are inserted together
//! native     the rows of a block in ClickHouse's columnar format, compressed
//! row_bytes  the values in the bytes of a row, by the types of its columns
//! lease      a node number that no other process has
//! ids        ids of events and visitors
//! sync       makes the tables in ClickHouse match the schema
//! value      each column type: the values that it accepts, and their bytes
//! privacy    the parts of a visitor's data that rows and dead letters have
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
//! leb128     lengths in ClickHouse's formats
//! private    files and folders that only the collector's user may read
//! tls        the cryptography and the certificate files of TLS
//! ```
//!
//! # Acknowledgements
//!
//! A successful response carries an [`Ack`]: the event's row is in memory, on disk, or in its
//! table. With [`Writer::open`], rows are on disk until ClickHouse has confirmed them, and a
//! process that is killed loses no row that it acknowledged as on disk. With [`Writer::start`],
//! rows are only in memory. With [`Writer::append_to_log`], a shared log keeps them, and a row that
//! is acknowledged as replicated survives the loss of the machine.

#[doc(hidden)]
#[path = "rt.rs"]
pub mod __rt;
pub mod ack;
mod adapters;
mod answer;
pub mod archive;
mod arena;
pub mod backfill;
mod block;
pub(crate) mod budget;
mod collect;
mod deliver;
mod fields;
pub mod forget;
pub mod handover;
mod idempotency;
mod identify;
mod ids;
mod intake;
pub mod json;
mod kafka;
mod lease;
mod leb128;
mod native;
mod privacy;
mod private;
pub mod rejected;
mod request;
mod row_bytes;
mod scan;
mod service;
mod sharding;
pub mod spool;
pub mod store;
mod sync;
pub mod table;
pub mod test;
mod tls;
pub mod topics;
pub mod value;
mod verify;
pub mod writer;

pub use crate::table::refusal;
pub use crate::{
    ack::Ack,
    layer::{EventLayer, EventOptions},
    store::ClickHouseUrl,
    writer::{Writer, WriterOptions},
};

/// The Tower layer that handles events, its service, and its options.
pub mod layer {
    #[cfg(feature = "axum")]
    pub use crate::service::peer::connect_info;
    pub use crate::{
        answer::{
            cors::{AllowedOrigin, InvalidOrigin},
            header_set::HeaderSet,
            visitor_cookie::{CookieDomain, CookieName, InvalidCookie, SameSite, VisitorCookie},
        },
        collect::{
            options::{EventOptions, NetworkError, ResumableUploads, TrustedProxies},
            rate_limit::{InvalidRateLimit, RateLimit},
        },
        privacy::salt::MissingSalt,
        service::{
            future::EventFuture,
            layer::{EventLayer, EventService, SchemaMismatch},
            peer::Peer,
            response_body::ResponseBody,
        },
        verify::secret::{RouteSecrets, SecretError},
    };
}

/// Routes: the table for the events of a path, and its handler. The build step generates the
/// routes.
pub mod route {
    pub use crate::{
        adapters::Adapter,
        answer::FixedAnswer,
        block::rows::RowBatch,
        collect::{
            echo::{Echo, EchoToken},
            idempotency::{Idempotency, KeySource},
            own_paths::{Methods, OwnPaths},
            redirect_policy::RedirectPolicy,
            route::{Destination, Route, RouteOptions, Routes},
        },
        intake::{
            event::{Event, Sink, TableHandler},
            rejection::Rejection,
        },
        privacy::{AddressRule, PersonalColumn, Privacy, Salt, UserAgentRule},
        verify::{
            Verification,
            link::{InvalidLink, LinkKey},
            scheme::{Algorithm, BodyHmac, Encoding, Scheme},
            secret::SecretSource,
        },
    };
}

/// Typed rows: the interface between a table's generated struct and the runtime.
///
/// The build step implements [`Row`](row::Row) and [`TypedTable`](row::TypedTable) for the struct
/// of each table. [`Writer::insert`] accepts such a row from Rust code. [`Owned`](row::Owned) is a row
/// that borrows nothing.
pub mod row {
    pub use crate::intake::{
        event_meta::{CollectorValue, EventMeta},
        owned::{InsertRow, Owned},
        row::{EventRules, ExtraMut, Input, PresentColumns, Row, TypedTable},
    };
}

/// The tables in ClickHouse and the schema: creates what is missing, and compares them.
pub mod schema {
    pub use crate::sync::{
        CopyPlan, Difference, Drift, DriftReport, Impact, Refused, SyncError, SyncReport, apply_drift, compare, copy,
        dictionary_drift, drift, missing_tables, plan, plan_copies, state::SchemaState, sync, view_drift,
    };
    pub use crate::table::dictionary::without_passwords;
}

/// A shared log, for rows that outlive the collector's machine.
pub mod log {
    pub use crate::kafka::{
        InvalidLogKey, InvalidLogUrl, LogEnds, LogInspectError, LogReport, LogRows, LogUrl, PartitionLag,
        PartitionReport, TopicOptions, inspect_log,
    };
}

/// A hyper server for services.
pub mod server {
    pub use crate::service::{
        connections::Connections,
        not_found::not_found,
        serve::{ServeOptions, serve},
        tls::{ClientCertificates, Tls},
    };
    pub use crate::{tls::TlsError, verify::client_certificate::ClientCertificate};
}

/// Includes the tables that `rowmill_codegen::build` generated for this crate.
#[macro_export]
macro_rules! include_tables {
    () => {
        include!(concat!(env!("OUT_DIR"), "/rowmill_tables.rs"));
    };
}
