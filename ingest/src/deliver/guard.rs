//! Guard: keeps a table that refuses every row from turning all of them into dead letters, and rows that
//! are refused from holding the others.
//!
//! A refused row becomes a dead letter only while there is credit. A hundred refusals in a row use it up,
//! and every insert that is taken gives it back: then it is the rows, and not the table. Without credit,
//! refused rows are parked: newer rows go on, and one of the parked is tried again from time to time.

use std::sync::Arc;

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    block::{layout::InsertTarget, parts::Part, sealed::SealedBlock},
    store::backoff::{HOLD, dice},
};

/// So many rows may be refused without one that is taken between them.
pub(super) const CREDIT: u32 = 100;

/// After so many refusals in a row, the largest part of a block is tried next: what is good in it is found sooner so.
const EXPLORE_AFTER: u32 = 10;

/// What is known of a table's rows that cannot be inserted.
#[derive(Debug)]
pub(super) struct Guard {
    credit: u32,
    refused_in_a_row: u32,
    /// Blocks of which rows were refused when there was no credit.
    blocks: Vec<Uuid>,
    /// Layouts that the table does not take.
    layouts: Vec<Arc<InsertTarget>>,
    retry_at: Option<Instant>,
    failures: u32,
    /// Blocks that a view refuses as a whole, and which waited once for others to be taken.
    waited: Vec<Uuid>,
    /// One of the parked rows that may be tried.
    probe: Option<(Uuid, Part)>,
}

impl Guard {
    /// Returns a guard without parked rows. With `is_wary`, rows were refused before the start, and the first one that is taken
    /// gives credit.
    pub(super) fn new(is_wary: bool) -> Self {
        Self {
            credit: if is_wary { 0 } else { CREDIT },
            refused_in_a_row: 0,
            blocks: Vec::new(),
            layouts: Vec::new(),
            retry_at: None,
            failures: 0,
            waited: Vec::new(),
            probe: None,
        }
    }

    /// Returns whether these rows have to wait.
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

    /// Returns whether nothing is tried before the time for it comes, rows of this layout that are still to come included.
    pub(super) fn parks_all(&self, layout: &Arc<InsertTarget>) -> bool {
        let is_parked = self.layouts.iter().any(|parked| Arc::ptr_eq(parked, layout));
        is_parked || (self.credit == 0 && !self.blocks.is_empty() && self.retry_at.is_some())
    }

    /// Returns whether rows that were not refused yet are tried next; every other time it is a parked one.
    pub(super) fn prefers_others(&self) -> bool {
        self.failures % 2 == 1
    }

    /// Returns whether any rows are parked.
    pub(super) fn has_parked(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Returns whether rows are parked, also while one of them is tried again.
    pub(super) fn is_holding(&self) -> bool {
        !self.blocks.is_empty() || !self.layouts.is_empty()
    }

    /// Returns when parked rows are to be tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Returns the part of a block that is tried next.
    pub(super) fn choose(&self, block: &SealedBlock, first: Part) -> Part {
        if self.refused_in_a_row < EXPLORE_AFTER {
            return first;
        }
        let state = block.state();
        let parts = state.parts.iter().filter(|part| !self.is_parked(block, part));
        parts.max_by_key(Part::len).unwrap_or(first)
    }

    /// Notes that rows were taken.
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

    /// Notes that rows were refused; returns whether the bad ones may be looked for, and become dead letters.
    pub(super) fn may_refuse(&self) -> bool {
        self.credit > 0
    }

    /// Notes that a row was refused and is a dead letter.
    pub(super) fn spend(&mut self) {
        self.credit = self.credit.saturating_sub(1);
        self.refused_in_a_row += 1;
    }

    /// Lets a block wait of which rows were refused.
    pub(super) fn park_block(&mut self, block: &SealedBlock) {
        self.refused_in_a_row += 1;
        self.probe = None;
        if !self.blocks.contains(&block.id) {
            self.blocks.push(block.id);
        }
        self.schedule();
    }

    /// Lets a block wait of which a view refuses every row, if it has not done so before. Where newer rows are taken meanwhile it is the rows, and
    /// not the view; returns whether it waits.
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

    /// Lets all rows of this layout wait.
    pub(super) fn park_layout(&mut self, layout: &Arc<InsertTarget>) {
        if !self.layouts.iter().any(|parked| Arc::ptr_eq(parked, layout)) {
            self.layouts.push(Arc::clone(layout));
        }
        self.schedule();
    }

    fn schedule(&mut self) {
        if self.retry_at.is_none_or(|at| at <= Instant::now()) {
            self.failures += 1;
            self.retry_at = Some(Instant::now() + HOLD.wait(self.failures, dice()));
        }
    }

    /// Begins another try of what is parked: all layouts, and of the blocks the returned one, of which one row is to be
    /// [tried](Self::probe).
    pub(super) fn retry(&mut self) -> Option<Uuid> {
        self.layouts.clear();
        self.retry_at = None;
        let first = *self.blocks.first()?;
        // Each gets its turn.
        self.blocks.rotate_left(1);
        Some(first)
    }

    /// Lets these parked rows be tried.
    pub(super) fn probe(&mut self, block: Uuid, part: Part) {
        self.probe = Some((block, part));
    }

    /// Forgets the parked rows of a block that is not there any more.
    pub(super) fn forget(&mut self, block: Uuid) {
        self.blocks.retain(|id| *id != block);
        if self.blocks.is_empty() && self.layouts.is_empty() {
            self.retry_at = None;
        } else if self.retry_at.is_none() {
            self.retry_at = Some(Instant::now());
        }
    }
}
