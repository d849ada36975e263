//! Tests of the spool, without a ClickHouse.
//!
//! ```text
//! disk          a disk that loses power and fails on request
//! world         a spool on such a disk, without threads
//! queue         the counts and schedules of the queues
//! commit        the frames that a commit writes, and their urgency
//! reader        the blocks that delivery gets
//! dead_letters  a refused row is always in exactly one place
//! log           segments stay as long as they are needed
//! recover       the blocks that a start finds
//! keys          idempotency keys and their rows
//! signal        the time at which the committer wakes up
//! shards        the rows of a Distributed table
//! frames        the bytes of a segment
//! damage        one flipped bit costs one frame
//! faults        failing disks
//! limits        bounds of memory and disk
//! liveness      no fault leaves rows waiting
//! simulation    every order of faults
//! ```

pub(crate) mod commit;
pub(crate) mod damage;
pub(crate) mod dead_letters;
pub(crate) mod disk;
pub(crate) mod faults;
pub(crate) mod frames;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod liveness;
pub(crate) mod log;
pub(crate) mod queue;
pub(crate) mod reader;
pub(crate) mod recover;
pub(crate) mod shards;
pub(crate) mod signal;
pub(crate) mod simulation;
pub(crate) mod world;
