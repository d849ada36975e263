//! One try to insert the rows of a part: looks up rows in doubt, converts and compresses the rows,
//! and sends them.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Delivery,
    adapt::Origin,
    attach::redirected,
    backend::Backend,
    compress::{Compressed, Form},
    failure::Failure,
    lookup::{Found, Lookup, query_prefix},
    prefetch::Prefetched,
    table::{KnownForm, MAX_TIMEOUTS, Sending, TableDelivery, Tried, Tries, token_of},
};
use crate::{
    block::{parts::Part, sealed::SealedBlock},
    spool::{Counters, Outcome},
    store::{ClickHouseError, InsertRequest},
    table::column_history::FORM_LIFETIME,
};

/// NO_SUCH_COLUMN_IN_TABLE: the table has changed since its columns were compared.
const NO_SUCH_COLUMN: u32 = 16;

/// The longest time of a try, as a multiple of the usual timeout.
const MAX_TIME_FACTOR: u32 = 8;

/// The number of timeouts after which rows of a replicated table may be divided: those with all of
/// the longer times.
const MAX_REPLICATED_TIMEOUTS: u32 = MAX_TIMEOUTS + MAX_TIME_FACTOR.ilog2();

/// The maximum number of times that delivery sends rows under another token because ClickHouse has
/// confirmed them and their table does not have them.
const MAX_GENERATIONS: u32 = 3;

impl<'a, B: Backend> TableDelivery<'a, B> {
    /// Sends rows once, after a lookup if they may be stored already.
    pub(super) async fn attempt(
        &mut self,
        block: &Arc<SealedBlock>,
        part: &Part,
        tries: &mut Tries,
    ) -> Result<Tried, Failure> {
        let target = self.target;
        // The wait for a server with the tables does not count as a failure.
        target.wait().await;
        // The permit covers the try, not the wait for the next one. `acquire` cannot fail, since
        // delivery never closes the semaphore.
        let _permit = target.permits().acquire().await;
        let server = self.server_for(block, part).await?;
        let was_in_doubt = self.reader.is_in_doubt(block, part);
        let result = self.look_up_and_send(server.backend(), block, part, tries).await;
        if was_in_doubt && result.is_err() && target.has_turns() {
            // Another replica may still have the rows, which a server of other rows must not get.
            self.reader.doubt(block, part);
        }
        let error = match &result {
            Err(Failure::Server(error)) => Some(error),
            _ => None,
        };
        if error.is_some_and(ClickHouseError::may_be_stored) {
            self.reader.doubt(block, part);
        }
        target.record(&server, block, error);
        result
    }

    pub(super) async fn look_up_and_send(
        &mut self,
        connection: &B,
        block: &Arc<SealedBlock>,
        part: &Part,
        tries: &mut Tries,
    ) -> Result<Tried, Failure> {
        let (reader, timeout) = (self.reader, &self.delivery.timeout);
        let is_too_large = self.is_too_large(block, part, tries);
        if !reader.is_in_doubt(block, part) {
            if is_too_large {
                return self.send_less(block, part).await.map(|()| Tried::Divided);
            }
            return self.send(connection, block, part, tries.generation).await;
        }
        let lookup = self.look_up(connection, block, part).await?;
        let counters = reader.counters();
        Counters::add(&counters.lookups, 1);
        let may_be_missed = lookup.has_views || connection.has_quorum();
        match lookup.found {
            Found::Running => return Err(Failure::Running),
            Found::Unknowable => {
                // Halves would have other tokens, so ClickHouse could store the rows twice.
                let within = time_for(*timeout, tries.timeouts);
                if within > *timeout {
                    tracing::warn!(
                        table = %block.layout.table, block = %block.id, rows = part.len(), timeouts = tries.timeouts,
                        seconds = within.as_secs_f64(),
                        "an insert timed out, and its table cannot be queried for the rows it has: the next \
                         attempt has the same rows and more time"
                    );
                }
                let token = token_of(block, part, 0);
                return self
                    .send_as(
                        connection,
                        block,
                        part,
                        Sending {
                            token: &token,
                            ignores_views: false,
                            within,
                            into: None,
                        },
                    )
                    .await;
            }
            // Views or other replicas may have missed the rows; the token keeps the table from
            // storing them twice.
            Found::All if may_be_missed && lookup.is_remembered => {
                return self.send(connection, block, part, 0).await;
            }
            Found::Some(_) if lookup.has_views && tries.generation == 0 => {
                return self.complete(connection, block, part, &lookup, tries).await;
            }
            Found::Some(_) if may_be_missed && lookup.is_remembered && tries.generation == 0 => {
                self.send(connection, block, part, 0).await?;
                tries.generation = 1;
                return Err(Failure::Missing);
            }
            Found::All | Found::Some(_) if lookup.has_views => self.report_missed(block),
            Found::None if tries.generation > MAX_GENERATIONS => {
                Counters::add(&counters.rows_missing, part.len() as u64);
                tracing::error!(
                    table = %block.layout.table, block = %block.id, rows = part.len(),
                    "ClickHouse confirms these rows on every insert, but they are not in the table"
                );
                return Ok(Tried::Stored);
            }
            Found::None => {
                reader.trust(block, part);
                // Views may have the rows under their token, and would get halves under other
                // tokens again.
                let has_views = lookup.has_views && (tries.is_missing || tries.timeouts < MAX_TIMEOUTS);
                // Another replica may still store the rows, and this one gets them later.
                let may_arrive = lookup.is_replicated && (1..MAX_REPLICATED_TIMEOUTS).contains(&tries.timeouts);
                if is_too_large && !has_views && !may_arrive {
                    return self.send_less(block, part).await.map(|()| Tried::Divided);
                }
                let token = token_of(block, part, tries.generation);
                let sending = Sending {
                    token: &token,
                    ignores_views: false,
                    within: match may_arrive {
                        true => time_for(*timeout, tries.timeouts),
                        false => *timeout,
                    },
                    into: None,
                };
                let tried = self.send_as(connection, block, part, sending).await?;
                if lookup.is_replicated {
                    // Keeper has the token only together with the rows' part. This replica may get
                    // it later.
                    return Ok(tried);
                }
                // A ClickHouse that was killed may remember a token whose rows are gone.
                reader.doubt(block, part);
                let lookup = self.look_up(connection, block, part).await?;
                if lookup.found == Found::All || lookup.found == Found::Unknowable {
                    return Ok(tried);
                }
                if lookup.has_views {
                    return self.attach_missing(connection, block, part, &lookup.found, tries).await;
                }
                tries.generation += 1;
                return Err(Failure::Missing);
            }
            Found::All | Found::Some(_) => {}
        }
        match lookup.found {
            Found::Some(rows) => {
                Counters::add(&counters.rows_found, rows.iter().map(|rows| rows.len() as u64).sum());
                self.settle_stored(block, &Part::of(rows)).await;
                Ok(Tried::Divided)
            }
            _ => {
                Counters::add(&counters.rows_found, part.len() as u64);
                Ok(Tried::Stored)
            }
        }
    }

    /// Sends a part under its token although its table, which has views, has some of its rows
    /// already. Then the views have the part, and the table gets the rows that it still lacks.
    async fn complete(
        &mut self,
        connection: &B,
        block: &Arc<SealedBlock>,
        part: &Part,
        lookup: &Lookup,
        tries: &mut Tries,
    ) -> Result<Tried, Failure> {
        if lookup.is_remembered {
            self.send(connection, block, part, 0).await?;
        } else {
            // The table may have forgotten the token, so it must not get the other rows again.
            self.report_missed(block);
            let (token, within) = (token_of(block, part, 0), self.delivery.timeout);
            let sending = Sending {
                token: &token,
                ignores_views: false,
                within,
                into: None,
            };
            self.send_as(connection, block, &lookup.found.missing(part), sending)
                .await?;
        }
        let after = self.look_up(connection, block, part).await?;
        self.attach_missing(connection, block, part, &after.found, tries).await
    }

    /// Reports stored rows that views may lack.
    fn report_missed(&self, block: &SealedBlock) {
        Counters::add(&self.reader.counters().views_in_doubt, 1);
        tracing::warn!(
            table = %block.layout.table, block = %block.id,
            "rows are stored, but a materialized view over their table may have missed them: \
             the table had too many inserts since, or the view fills a table without a deduplication window"
        );
    }

    /// Marks rows as stored in the spool, and confirms them to the audit.
    pub(super) async fn settle_stored(&self, block: &Arc<SealedBlock>, part: &Part) {
        let reader = self.reader;
        let Some(audit) = &self.delivery.audit else {
            return reader.settle(block, part, Outcome::Stored);
        };
        // The audit reads the rows before the spool forgets them. It does not compare rows that
        // cannot be read.
        let rows = reader.rows(block, part).await;
        reader.settle(block, part, Outcome::Stored);
        if let Some(table) = reader.schema_queue()
            && let Some(ids) = rows.ok().and_then(|rows| block.layout.row_ids(&rows.bytes, &rows.ends))
        {
            audit.confirm(table, &ids);
        }
    }

    pub(super) async fn look_up(
        &self,
        connection: &B,
        block: &Arc<SealedBlock>,
        part: &Part,
    ) -> Result<Lookup, Failure> {
        let rows = self.reader.rows(block, part).await.map_err(Failure::Disk)?;
        let lookup = connection.look_up(block, part, &rows, self.delivery.timeout).await;
        lookup.map_err(|error| Failure::Server(error.of_lookup()))
    }

    pub(super) async fn send(
        &mut self,
        connection: &B,
        block: &Arc<SealedBlock>,
        part: &Part,
        generation: u32,
    ) -> Result<Tried, Failure> {
        let token = token_of(block, part, generation);
        let within = self.delivery.timeout;
        self.send_as(
            connection,
            block,
            part,
            Sending {
                token: &token,
                ignores_views: false,
                within,
                into: None,
            },
        )
        .await
    }

    /// Sends rows under a token, which may be the token of more rows.
    pub(super) async fn send_as(
        &mut self,
        connection: &B,
        block: &Arc<SealedBlock>,
        part: &Part,
        sending: Sending<'_>,
    ) -> Result<Tried, Failure> {
        let is_known = self.forms.iter().any(|known| Arc::ptr_eq(&known.layout, &block.layout));
        let sent = self.send_in_form(connection, block, part, sending).await;
        match sent {
            Err(Failure::Server(error)) if is_known && error.code() == Some(NO_SUCH_COLUMN) => {
                self.forms.clear();
                self.send_in_form(connection, block, part, sending).await
            }
            sent => sent,
        }
    }

    async fn send_in_form(
        &mut self,
        connection: &B,
        block: &Arc<SealedBlock>,
        part: &Part,
        sending: Sending<'_>,
    ) -> Result<Tried, Failure> {
        let form = self.form_of(connection, block).await?;
        let Some(compressed) = self.compressed(block, part, form).await? else {
            return Ok(Tried::Lost);
        };
        // Rows on disk need no memory any more: another try would read them from disk.
        self.reader.evict(block);
        let query_id = format!("{}{:x}", query_prefix(block), fastrand::u64(..));
        let statement = redirected(compressed.statement(block), &block.layout.table, sending.into);
        let request = InsertRequest {
            statement: &statement,
            token: sending.token,
            query_id: &query_id,
            rows: part.len(),
            ignores_views: sending.ignores_views,
            settings: self.delivery.changes.insert_settings(block.layout.schema_table()),
            frames: compressed.frames.clone(),
        };
        let mut insert = pin!(connection.insert(request, sending.within));
        let result = tokio::select! {
            result = &mut insert => result,
            prefetched = self.prefetch_next() => {
                self.prefetched = Some(prefetched);
                insert.await
            }
        };
        result.map(|()| Tried::Stored).map_err(Failure::Server)
    }

    /// Returns the form in which a block's rows fit the table as it is now.
    pub(super) async fn form_of(&mut self, connection: &B, block: &SealedBlock) -> Result<Form, Failure> {
        let Delivery { timeout, changes, .. } = self.delivery;
        let layout = &block.layout;
        let server = connection.address();
        self.forms.retain(|known| known.since.elapsed() < FORM_LIFETIME);
        if let Some(known) = self.forms.iter().find(|known| known.is_of(layout, &server)) {
            return Ok(known.form.clone());
        }
        let since = Instant::now();
        let is_own = Arc::ptr_eq(layout, self.reader.layout());
        let origin = if is_own {
            Origin::ThisBuild
        } else {
            Origin::AnotherBuild
        };
        let form = match connection.form_of(layout, changes, origin, *timeout).await {
            Ok(form) => form,
            // The sync has compared the table with the schema, and the insert may succeed although
            // the query has not.
            Err(Failure::Server(error))
                if is_own && !error.is_timeout() && !connection.is_converting().load(Ordering::Relaxed) =>
            {
                return Ok(Form::Own);
            }
            Err(failure) => return Err(failure),
        };
        if is_own && matches!(form, Form::Columns(_)) {
            connection.is_converting().store(true, Ordering::Relaxed);
        }
        self.forms.push(KnownForm {
            layout: Arc::clone(layout),
            form: form.clone(),
            server,
            since,
        });
        Ok(form)
    }

    /// Returns the compressed rows, or `None` if all of them are lost.
    pub(super) async fn compressed(
        &mut self,
        block: &Arc<SealedBlock>,
        part: &Part,
        form: Form,
    ) -> Result<Option<Compressed>, Failure> {
        let compressor = &self.delivery.compressor;
        let compressing = match Prefetched::take_matching(&mut self.prefetched, block, part) {
            Some(compressing) if matches!(form, Form::Own) => compressing,
            _ => {
                let rows = self.reader.rows(block, part).await.map_err(Failure::Disk)?;
                if rows.ends.is_empty() {
                    return Ok(None);
                }
                compressor.compress(block, rows, form)
            }
        };
        let compressed = compressing.done().await;
        compressed.map(Some).map_err(|error| Failure::Server(error.into()))
    }

    /// Starts to compress the next rows as soon as there are some. The future never completes if
    /// prefetching is not useful now.
    pub(super) async fn prefetch_next(&self) -> Prefetched<'a> {
        let Delivery {
            compressor,
            prefetch_permits,
            ..
        } = self.delivery;
        // The pause of a throttled delivery is longer than the compression.
        let is_waiting = self.guard.is_retry_scheduled() || self.waiting.has_any();
        if self.is_throttled || self.prefetched.is_some() || is_waiting {
            return pending().await;
        }
        let next = self.reader.prefetch().await;
        match prefetch_permits.try_acquire() {
            Ok(permit) => Prefetched::start(next, compressor, permit),
            Err(_) => pending().await,
        }
    }
}

/// Returns the timeout of the next try after `timeouts` timeouts of rows that cannot be divided.
fn time_for(timeout: Duration, timeouts: u32) -> Duration {
    let doublings = (timeouts + 1).saturating_sub(MAX_TIMEOUTS);
    timeout.saturating_mul(2_u32.saturating_pow(doublings).min(MAX_TIME_FACTOR))
}
