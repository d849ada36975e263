//! One request as an event.

use crate::{
    ack::Ack,
    arena::{self, Arena},
    block::{receipt::Receipt, rows::RowBatch},
    fields::Fields,
    intake::{event_meta::EventMeta, rejection::Rejection},
    request::body::Payload,
    writer::Writer,
};

/// One request as an event.
#[derive(Debug)]
pub struct Event<'a> {
    /// The collector's metadata.
    pub(crate) meta: EventMeta<'a>,
    pub(crate) query: &'a Fields<'a>,
    pub(crate) payload: &'a Payload<'a>,
    /// The acknowledgement level that the response promises.
    pub(crate) ack: Ack,
    /// The fields of the body that may hide JSON in a text.
    pub(crate) hiding: &'static [&'static str],
    pub(crate) arena: &'a Arena,
}

impl Event<'_> {
    /// Passes the event of a query and a JSON body to `handle`, without a request: the event has no
    /// sender and no time.
    ///
    /// For code that decodes events outside of a server, such as benchmarks and tools that try a
    /// table.
    ///
    /// ```
    /// use embedder::tables; // what `include_tables!` includes
    /// use rowmill_ingest::route::{Event, RowBatch, Routes, Sink};
    ///
    /// let route = tables::Routes::find("wh", "order").expect("the schema declares wh/order");
    /// let mut rows = RowBatch::default();
    /// let decoded = Event::from_texts("items=3", r#"{"number":"A-1"}"#, |event| {
    ///     (route.handler)(event, Sink::Rows(&mut rows))
    /// });
    /// assert!(decoded.is_ok());
    /// assert_eq!(rows.count(), 1);
    /// ```
    pub fn from_texts<T>(query: &str, json: &str, handle: impl FnOnce(&Event<'_>) -> T) -> T {
        arena::with(|arena| {
            let query = Fields::from_query(query, arena);
            handle(&Event {
                meta: EventMeta {
                    query: Some(&query),
                    ..EventMeta::default()
                },
                query: &query,
                payload: &if json.is_empty() {
                    Payload::Empty
                } else {
                    Payload::Json(json)
                },
                ack: Ack::Accepted,
                hiding: &[],
                arena,
            })
        })
    }
}

/// A function that ingests events into a table; the build step names one for each destination.
pub type TableHandler = fn(&Event<'_>, Sink<'_>) -> Result<Receipt, Rejection>;

/// The destination of an event's row.
#[derive(Debug)]
pub enum Sink<'s> {
    /// The table's open block.
    Block(&'s Writer),
    /// The rows of the same request, which go into a block together.
    Rows(&'s mut RowBatch),
}
