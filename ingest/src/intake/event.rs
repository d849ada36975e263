//! One request as an event, and why it may not become a row.

use crate::{
    ack::Ack,
    arena::{self, Arena},
    block::{receipt::Receipt, rows::RowBatch},
    fields::Fields,
    intake::stamp::EventMeta,
    json::{self, Kind},
    request::body::Payload,
    table::{Table, refusal::InvalidColumn},
    writer::Writer,
};

/// One request as an event.
#[derive(Debug)]
pub struct Event<'a> {
    pub(crate) stamp: EventMeta<'a>,
    pub(crate) query: &'a Fields<'a>,
    pub(crate) payload: &'a Payload<'a>,
    /// What its answer is to promise.
    pub(crate) ack: Ack,
    pub(crate) arena: &'a Arena,
}

impl Event<'_> {
    /// Lets `take` see the event that a query and a JSON body make, without a request around them: nobody sent it, at no time.
    ///
    /// For what decodes events outside of a server, such as benches and tools that try a table.
    pub fn from_texts<T>(query: &str, json: &str, take: impl FnOnce(&Event<'_>) -> T) -> T {
        arena::with(|arena| {
            take(&Event {
                stamp: EventMeta::default(),
                query: &Fields::from_query(query, arena),
                payload: &if json.is_empty() {
                    Payload::Empty
                } else {
                    Payload::Json(json)
                },
                ack: Ack::Accepted,
                arena,
            })
        })
    }
}

/// What takes events into a table; the build step names one for each destination.
pub type TableHandler = fn(&Event<'_>, Sink<'_>) -> Result<Receipt, Rejection>;

/// Where an event's row goes.
#[derive(Debug)]
pub enum Sink<'s> {
    /// Into the table's open block.
    Block(&'s Writer),
    /// Behind the rows of the same request, which go into a block together.
    Rows(&'s mut RowBatch),
}

/// Why an event did not become a row.
#[derive(Debug)]
pub struct Rejection {
    /// The table that it was for.
    pub table: &'static Table,
    /// What was wrong.
    pub reason: Reason,
}

/// What was wrong with an event.
#[derive(Debug)]
pub enum Reason {
    /// The body is not JSON.
    Syntax(json::Error),
    /// The body is JSON of another kind than an object, and has no fields.
    NotAnObject(Kind),
    /// Values that do not fit their columns.
    Refused(Vec<InvalidColumn>),
    /// There is no room for more rows.
    SpoolFull,
}
