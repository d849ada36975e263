//! Intake: one event becomes one encoded row, in one synchronous call: decode → stamp → check → encode.
//!
//! The event is walked once. Nested objects are joined to paths with `_`; a path that is a column of the table goes into that
//! column, anything else into the nearest extra above it, and where there is none it is let go, as in the original. Fields of
//! the query win over fields of the body. Where a column has several paths, the first of them that the event has counts, wherever
//! it stands in it. The typed row borrows from the request, so nothing here awaits.

pub(crate) mod event;
pub(crate) mod far_off_date;
pub(crate) mod row;
pub(crate) mod stamp;
pub(crate) mod walk;

use crate::{
    block::receipt::Receipt,
    budget::SpoolFull,
    intake::{
        event::{Event, Reason, Rejection, Sink},
        row::{Row, TypedTable},
        walk::decode,
    },
};

/// Takes an event into the table of `T`; the receipt lets its answer wait for what it promises.
///
/// # Errors
/// Why it did not become a row; the table's block is as it was then.
pub fn intake<T: TypedTable>(event: &Event<'_>, sink: Sink<'_>) -> Result<Receipt, Rejection> {
    let rejected = |reason| Rejection {
        table: T::TABLE,
        reason,
    };
    let mut row = <T::Row<'_> as Default>::default();
    let given = decode(&mut row, T::TABLE, event).map_err(rejected)?;
    let encode = |out: &mut Vec<u8>| row.encode(&given, out);
    match sink {
        Sink::Block(writer) => writer.append(T::TABLE, event.ack, encode),
        Sink::Rows(rows) => rows.push(T::TABLE, encode).map(|()| Receipt::NONE),
    }
    .map_err(|SpoolFull| rejected(Reason::SpoolFull))
}
