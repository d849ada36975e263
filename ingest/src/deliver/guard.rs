//! Keeps a table that refuses every row from turning all rows into dead letters, and refused rows
//! from blocking other rows.
//!
//! A refused row becomes a dead letter only while there is credit. A hundred refusals in a row use
//! up the credit. Each successful insert restores it, since it proves that the rows are bad and not
//! the table. Without credit, the guard parks refused rows: newer rows continue, and delivery
//! retries one parked row from time to time.

use std::sync::Arc;

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    block::{layout::InsertTarget, parts::Part, sealed::SealedBlock},
    store::backoff::HOLD,
};

/// The number of rows that ClickHouse may refuse in a row before the credit is used up.
pub(super) const CREDIT: u32 = 100;

/// After this many refusals in a row, delivery tries the largest part of a block next, to find good
/// rows sooner.
const EXPLORE_AFTER: u32 = 10;

/// The state of a table's rows that cannot be inserted.
#[derive(Debug)]
pub(super) struct Guard {
    credit: u32,
    refused_in_a_row: u32,
    /// Blocks with rows that ClickHouse refused when there was no credit.
    blocks: Vec<Uuid>,
    /// Insert targets whose rows the table does not accept.
    layouts: Vec<Arc<InsertTarget>>,
    retry_at: Option<Instant>,
    failures: u32,
    /// Blocks whose rows a view refuses as a whole, and that have waited once for newer rows to
    /// succeed.
    waited: Vec<Uuid>,
    /// One part of a parked block that delivery may try.
    probe: Option<(Uuid, Part)>,
}

impl Guard {
    /// Returns a guard without parked rows. A table whose rows ClickHouse refused before the start
    /// begins `without_credit`, until its first successful insert.
    pub(super) fn new(without_credit: bool) -> Self {
        Self {
            credit: if without_credit { 0 } else { CREDIT },
            refused_in_a_row: 0,
            blocks: Vec::new(),
            layouts: Vec::new(),
            retry_at: None,
            failures: 0,
            waited: Vec::new(),
            probe: None,
        }
    }

    /// Returns whether these rows must wait.
    pub(super) fn is_parked(&self, block: &SealedBlock, part: &Part) -> bool {
        if self.parks_all(&block.layout) {
            return true;
        }
        let is_probe = |(id, probe): &(Uuid, Part)| *id == block.id && probe == part;
        if self.probe.as_ref().is_some_and(is_probe) {
            return false;
        }
        self.blocks.contains(&block.id)
    }

    /// Returns whether delivery tries no row of this insert target before `retry_at`, including
    /// future rows.
    pub(super) fn parks_all(&self, layout: &Arc<InsertTarget>) -> bool {
        let is_parked = self.layouts.iter().any(|parked| Arc::ptr_eq(parked, layout));
        is_parked || (self.credit == 0 && !self.blocks.is_empty() && self.retry_at.is_some())
    }

    /// Returns whether the next try should use rows that were not refused yet; every other try uses
    /// a parked row.
    pub(super) fn prefers_others(&self) -> bool {
        self.failures % 2 == 1
    }

    /// Returns whether a retry of parked rows is scheduled.
    pub(super) fn is_retry_scheduled(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Returns whether rows are parked, including while delivery retries one of them.
    pub(super) fn has_parked(&self) -> bool {
        !self.blocks.is_empty() || !self.layouts.is_empty()
    }

    /// Returns the time of the next retry of parked rows.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Returns the part of a block to try next.
    pub(super) fn choose(&self, block: &SealedBlock, first: Part) -> Part {
        if self.refused_in_a_row < EXPLORE_AFTER {
            return first;
        }
        let state = block.state();
        let parts = state.parts.iter().filter(|part| !self.is_parked(block, part));
        parts.max_by_key(Part::len).unwrap_or(first)
    }

    /// Records a successful insert.
    pub(super) fn accept(&mut self) {
        self.credit = CREDIT;
        self.refused_in_a_row = 0;
        self.blocks.clear();
        self.probe = None;
        if self.layouts.is_empty() {
            self.retry_at = None;
            self.failures = 0;
        }
    }

    /// Returns whether delivery may search for the bad rows and turn them into dead letters.
    pub(super) fn may_refuse(&self) -> bool {
        self.credit > 0
    }

    /// Records that a refused row became a dead letter.
    pub(super) fn spend_credit(&mut self) {
        self.credit = self.credit.saturating_sub(1);
        self.refused_in_a_row += 1;
    }

    /// Parks a block with refused rows.
    pub(super) fn park_block(&mut self, block: &SealedBlock) {
        self.refused_in_a_row += 1;
        self.probe = None;
        if !self.blocks.contains(&block.id) {
            self.blocks.push(block.id);
        }
        self.schedule_retry();
    }

    /// Parks a block whose rows a view refuses as a whole, unless this block has waited before. If
    /// newer rows succeed in the meantime, the rows are bad and not the view. Returns whether the
    /// block waits.
    pub(super) fn waits_for_others(&mut self, block: &SealedBlock) -> bool {
        if let Some(at) = self.waited.iter().position(|id| *id == block.id) {
            self.waited.swap_remove(at);
            return false;
        }
        self.waited.push(block.id);
        self.credit = 0;
        self.park_block(block);
        true
    }

    /// Parks all rows of this insert target.
    pub(super) fn park_layout(&mut self, layout: &Arc<InsertTarget>) {
        if !self.layouts.iter().any(|parked| Arc::ptr_eq(parked, layout)) {
            self.layouts.push(Arc::clone(layout));
        }
        self.schedule_retry();
    }

    fn schedule_retry(&mut self) {
        if self.retry_at.is_none_or(|at| at <= Instant::now()) {
            self.failures += 1;
            self.retry_at = Some(Instant::now() + HOLD.wait(self.failures));
        }
    }

    /// Begins a retry of all parked insert targets and of the returned block, of which delivery
    /// [tries](Self::probe) one row.
    pub(super) fn retry(&mut self) -> Option<Uuid> {
        self.layouts.clear();
        self.retry_at = None;
        let first = *self.blocks.first()?;
        // Rotates the blocks so that each gets its turn.
        self.blocks.rotate_left(1);
        Some(first)
    }

    /// Lets delivery try this part of a parked block.
    pub(super) fn probe(&mut self, block: Uuid, part: Part) {
        self.probe = Some((block, part));
    }

    /// Forgets a parked block that no longer exists.
    pub(super) fn forget(&mut self, block: Uuid) {
        self.blocks.retain(|id| *id != block);
        if self.blocks.is_empty() && self.layouts.is_empty() {
            self.retry_at = None;
        } else if self.retry_at.is_none() {
            self.retry_at = Some(Instant::now());
        }
    }
}
