//! Bases: the position of a generator's ids among the ids of a millisecond.

/// The greatest node number.
pub(crate) const MAX_NODE: u16 = 511;

/// The number of low bits of an id that are its place.
pub(crate) const PLACE_BITS: u32 = 22;

/// The number of low bits of a place that are its sequence.
pub(crate) const SEQUENCE_BITS: u32 = 12;

/// The number of ids of one generator in one millisecond.
pub(super) const SEQUENCES: u64 = 1 << SEQUENCE_BITS;

/// The first place after those of all nodes.
pub(super) const FIRST_SPARE: u64 = 1 << (PLACE_BITS - 1);

/// The first of a generator's places in each millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base(pub(super) u64);

impl Base {
    /// Returns the base of a node; `None` when the node is above [`MAX_NODE`].
    pub(crate) fn of_node(node: u16) -> Option<Self> {
        (node <= MAX_NODE).then(|| Self(u64::from(node) << SEQUENCE_BITS))
    }

    /// Returns a base among the places that no node has. Two such bases overlap in the first `n`
    /// ids of a millisecond with a probability of about `n` in a million.
    pub(crate) fn spare(random: u64) -> Self {
        Self(FIRST_SPARE + random % (FIRST_SPARE - SEQUENCES + 1))
    }

    /// Returns the base at a place; `None` if no base begins there.
    pub(crate) fn at(place: u64) -> Option<Self> {
        let is_spare = (FIRST_SPARE..=FIRST_SPARE * 2 - SEQUENCES).contains(&place);
        let is_node = place < FIRST_SPARE && place.is_multiple_of(SEQUENCES);
        (is_spare || is_node).then_some(Self(place))
    }

    /// Returns the first place of the base.
    pub(crate) fn place(self) -> u64 {
        self.0
    }

    /// Returns the node of the base; `None` if no node has it.
    pub(crate) fn node(self) -> Option<u16> {
        let node = u16::try_from(self.0 >> SEQUENCE_BITS).ok()?;
        (self.0 < FIRST_SPARE).then_some(node)
    }
}
