//! Handles rows on which a materialized view throws although their table has stored them.
//!
//! ClickHouse writes an insert into its table and then into each view. A view that throws gets no
//! row of the insert, and other views may get none either. Delivery finishes such an insert in
//! steps that it can repeat after a crash, since ClickHouse recognizes each step by the token of
//! the first try:
//!
//! 1. Delivery sends the same rows with `materialized_views_ignore_errors`. Then the table and all
//!    other views have them. Delivery attaches rows that the table still lacks (see `attach`).
//! 2. Delivery runs each view's query over some of the rows, by halves, without writing anything.
//!    This finds the rows on which the query throws (see `view_search`).
//! 3. Delivery sends the other rows under the token of all rows. The table and the other views skip
//!    them; the view that threw receives them, and so do the views over its table.
//! 4. Dead letters name the rows that a view lacks, and delivery settles the rows.
//!
//! Step 3 relies on the token, so the table must be sure to remember it. Otherwise the view may
//! miss the insert, which delivery logs. If the lookup cannot query the table for the rows, the
//! insert waits until the operator acts.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;

use super::{
    Failure,
    backend::Backend,
    guard::CREDIT,
    lookup::Found,
    table::{Sending, TableDelivery, Tries},
    view_search::{NumberedRow, RefusedRows},
};
use crate::{
    block::{
        parts::{Part, ranges_of},
        rows::RowBatch,
        sealed::SealedBlock,
    },
    budget::SpoolFull,
    spool::Counters,
    store::{ClickHouseError, failure_log::FailureLog},
    sync::qualified,
    table::dead_letter::{DeadLetter, REJECTED},
};

/// The maximum number of dead letters for one part. The log and the metrics contain the number of
/// all refused rows.
const MAX_DEAD_LETTERS: usize = 100;

impl<B: Backend> TableDelivery<'_, B> {
    /// Inserts the rows of an insert on which a view threw into the table and the views, except for
    /// the rows that a view refuses. `token` is the token of the insert.
    ///
    /// # Errors
    /// `refusal` if the rows must wait, or the reason to try again. In both cases, delivery settles
    /// nothing.
    pub(super) async fn finish_without_refused(
        &mut self,
        block: &Arc<SealedBlock>,
        part: &Part,
        token: &str,
        refusal: Failure,
    ) -> Result<(), Failure> {
        let (permits, timeout) = (self.target.permits(), &self.delivery.timeout);
        if !self.guard.may_refuse() {
            self.failure_log.report(block, part, 1, &refusal);
            self.guard.park_block(block);
            return Ok(());
        }
        // `acquire` cannot fail, since delivery never closes the semaphore.
        let permit = permits.acquire().await;
        let server = self.server_for(block, part).await?;
        let connection = server.backend();
        let strict = Sending {
            token,
            ignores_views: false,
            within: *timeout,
            into: None,
        };
        let ignoring = Sending {
            ignores_views: true,
            ..strict
        };
        if !self.insert_ignoring_views(connection, block, part, ignoring).await? {
            return Err(refusal);
        }
        // Lets other tables insert during the search.
        drop(permit);
        let rows = self.rows_with_ids(block, part).await?;
        let refused = connection.refused_by_views(block, &rows, *timeout).await;
        let mut refused = refused.map_err(Failure::Server)?;
        let all: BTreeSet<u32> = refused.iter().flat_map(RefusedRows::numbers).collect();
        let accepted = without(part, &all);
        if accepted.is_none() && all.len() > CREDIT as usize && self.guard.waits_for_others(block) {
            self.failure_log.report(block, part, 1, &refusal);
            return Ok(());
        }

        let _permit = permits.acquire().await;
        // Views that refuse fewer rows come first, so that each view gets all rows that it
        // accepts.
        refused.sort_by_key(RefusedRows::len);
        for one in &refused {
            let numbers: BTreeSet<u32> = one.numbers().collect();
            if numbers.len() < all.len()
                && let Some(accepted) = without(part, &numbers)
            {
                self.send_as(connection, block, &accepted, ignoring).await?;
            }
        }
        let mut missed = None;
        if let Some(accepted) = &accepted {
            // This insert ignores no error.
            match self.send_as(connection, block, accepted, strict).await {
                Err(Failure::Server(error)) if error.is_view_error() => {
                    self.send_as(connection, block, accepted, ignoring).await?;
                    missed = Some(error);
                }
                Err(failure) => return Err(failure),
                Ok(_) => {}
            }
        }

        let mut dead_letters = RowBatch::default();
        encode_dead_letters(block, &refused, &mut dead_letters).map_err(out_of_space)?;
        let first = all.first().copied().unwrap_or_default();
        let dead_letters = self.reader.write_notices(block.notice_id(first), &mut dead_letters);
        let dead_letters = dead_letters.await.map_err(out_of_space)?;
        self.settle_stored(block, part).await;
        if let Some(dead_letters) = dead_letters {
            self.reader.release_dead_letter(dead_letters);
        }
        self.log_refused(block, part, &refused, missed.as_ref());
        match accepted {
            Some(_) if missed.is_none() => {
                self.guard.accept();
                self.failure_log = FailureLog::default();
            }
            _ => (0..all.len().clamp(1, CREDIT as usize)).for_each(|_| self.guard.spend_credit()),
        }
        Ok(())
    }

    /// Inserts the rows into the table and all views that do not throw. Returns whether all of them
    /// are sure to recognize the token.
    async fn insert_ignoring_views(
        &mut self,
        connection: &B,
        block: &Arc<SealedBlock>,
        part: &Part,
        ignoring: Sending<'_>,
    ) -> Result<bool, Failure> {
        let before = self.look_up(connection, block, part).await?;
        match before.found {
            Found::Running => return Err(Failure::Running),
            Found::Unknowable => return Ok(false),
            Found::All | Found::Some(_) if !before.is_remembered => return Ok(false),
            Found::All | Found::Some(_) | Found::None => {}
        }
        self.send_as(connection, block, part, ignoring).await?;
        if before.found == Found::All {
            return Ok(true);
        }
        let mut after = self.look_up(connection, block, part).await?;
        if matches!(after.found, Found::None | Found::Some(_)) {
            let tries = &mut Tries::default();
            self.attach_missing(connection, block, part, &after.found, tries)
                .await?;
            after = self.look_up(connection, block, part).await?;
        }
        match after.found {
            Found::All => Ok(after.is_remembered),
            Found::Running => Err(Failure::Running),
            _ => Err(Failure::Missing),
        }
    }

    /// Returns the rows of a part with their ids, or none if some of the rows are lost on disk.
    async fn rows_with_ids(&self, block: &Arc<SealedBlock>, part: &Part) -> Result<Vec<NumberedRow>, Failure> {
        let rows = self.reader.rows(block, part).await.map_err(Failure::Disk)?;
        let ids = block.layout.row_ids(&rows.bytes, &rows.ends).unwrap_or_default();
        Ok(match ids.len() == part.len() {
            true => part.rows().zip(ids).collect(),
            false => Vec::new(),
        })
    }

    fn log_refused(&self, block: &SealedBlock, part: &Part, refused: &[RefusedRows], missed: Option<&ClickHouseError>) {
        let counters = self.reader.counters();
        for one in refused {
            Counters::add(&counters.rows_refused_by_views, one.len() as u64);
            let first = one.rows.first().map(|(_, error)| error);
            let (code, error) = (
                first.and_then(ClickHouseError::code),
                first.map(ClickHouseError::without_values),
            );
            tracing::error!(
                table = %block.layout.table, block = %block.id, view = qualified(&one.view),
                rows = one.len(), of = part.len(), code, error,
                "a materialized view refuses rows that its table has stored: they are missing in the view"
            );
        }
        if let Some(error) = missed {
            Counters::add(&counters.views_in_doubt, 1);
            tracing::error!(
                table = %block.layout.table, block = %block.id, rows = part.len(), error = error.without_values(),
                "a materialized view, or one over its target table, refuses these rows together: they are missing there"
            );
        }
    }
}

/// Writes a dead letter for each row that a view refuses, at most [`MAX_DEAD_LETTERS`]. The row
/// itself is in its table, under the id in the dead letter.
fn encode_dead_letters(
    block: &SealedBlock,
    refused: &[RefusedRows],
    dead_letters: &mut RowBatch,
) -> Result<(), SpoolFull> {
    let all = refused
        .iter()
        .flat_map(|one| one.rows.iter().map(move |row| (&one.view, row)));
    for (view, ((_, id), error)) in all.take(MAX_DEAD_LETTERS) {
        let code = error
            .code()
            .map_or_else(|| "view".to_owned(), |code| format!("view-{code}"));
        let reason = format!("view {}: {}", qualified(view), error.with_values());
        let dead_letter = DeadLetter {
            time: Timestamp::now(),
            id: *id,
            service: "",
            name: "",
            table: &block.layout.table,
            column: "",
            code: &code,
            reason: &reason,
            payload: b"",
            ip: "",
        };
        dead_letters.push(&REJECTED, |out| dead_letter.encode(0, out))?;
    }
    Ok(())
}

fn out_of_space(_: SpoolFull) -> Failure {
    Failure::Disk(std::io::ErrorKind::StorageFull.into())
}

/// Returns a part without some of its rows, or `None` if no row is left.
fn without(part: &Part, rows: &BTreeSet<u32>) -> Option<Part> {
    let ranges = ranges_of(part.rows().filter(|row| !rows.contains(row)));
    (!ranges.is_empty()).then(|| Part::of(ranges))
}
