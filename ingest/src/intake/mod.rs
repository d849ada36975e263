//! Intake: turns one event into one encoded row, in one synchronous call: decode → fill metadata →
//! check → encode.
//!
//! The decoder visits each value of the event once. It joins the keys of nested objects with `_` to
//! a path. A value goes into the column of its path, otherwise into the nearest extra above it;
//! without an extra it is dropped, as in Rockstat. Fields of the query override fields of the body.
//! If a column has several paths, the first of them that the event contains counts, whatever their
//! order in the event. The typed row borrows from the request, so nothing here awaits.

pub(crate) mod event;
pub(crate) mod far_off_date;
pub(crate) mod insert;
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

/// Ingests an event into the table of `T`. The response can wait for its acknowledgement with the
/// receipt.
///
/// # Errors
///
/// The reason why the event did not become a row; the table's block is unchanged.
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
