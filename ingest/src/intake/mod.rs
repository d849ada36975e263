//! Intake: turns one event into one encoded row, in one synchronous call: decode → fill metadata →
//! check → encode.
//!
//! The decoder visits each value of the event once. It joins the keys of nested objects with `_` to
//! a path. A value goes into the column of its path, otherwise into the nearest extra above it;
//! without an extra it is dropped, as in Rockstat, and its key counted ([`unknown`]). A list of
//! objects fills array columns ([`list`]). Fields of the query override fields of the body.
//! If a column has several paths, the first of them that the event contains counts, whatever their
//! order in the event. The typed row borrows from the request, so nothing here awaits.

mod duplicate_keys;
pub(crate) mod event;
pub(crate) mod event_meta;
pub(crate) mod far_off_date;
pub(crate) mod insert;
pub(crate) mod list;
pub(crate) mod list_columns;
pub(crate) mod owned;
mod path;
pub(crate) mod present_columns;
pub(crate) mod rejection;
mod reserved;
pub(crate) mod row;
mod row_builder;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod unknown;
mod walk;

use crate::{
    block::receipt::Receipt,
    budget::SpoolFull,
    intake::{
        event::{Event, Sink},
        rejection::Rejection,
        row::{Row, TypedTable},
        walk::decode,
    },
};

/// Ingests an event into the table of `T`. The response can wait for its acknowledgement with the
/// receipt.
///
/// # Errors
///
/// Any [`Rejection`]; the table's block is then unchanged.
pub fn intake<T: TypedTable>(event: &Event<'_>, sink: Sink<'_>) -> Result<Receipt, Rejection> {
    let mut row = <T::Row<'_> as Default>::default();
    let mut unknown_keys = 0;
    let present = decode(&mut row, T::TABLE, event, &mut unknown_keys)?;
    let encode = |out: &mut Vec<u8>| row.encode(&present, out);
    match sink {
        Sink::Block(writer) => {
            let appended = writer.append(T::TABLE, event.ack, encode);
            if unknown_keys > 0 && appended.is_ok() {
                writer.count_unknown_keys(T::TABLE, unknown_keys.into());
            }
            appended
        }
        Sink::Rows(rows) => {
            let pushed = rows.push(T::TABLE, encode);
            pushed.map(|()| {
                rows.add_unknown_keys(unknown_keys);
                Receipt::NONE
            })
        }
    }
    .map_err(|SpoolFull| Rejection::SpoolFull)
}
