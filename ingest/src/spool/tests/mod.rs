//! Tests of the spool, without a ClickHouse.
//!
//! ```text
//! disk          a disk that loses power and fails on request
//! world         a spool on such a disk, without threads
//! queue         what the queues count and schedule
//! commit        what a commit writes, and when
//! reader        which blocks delivery gets
//! dead_letters  a refused row is in one place, whatever happens
//! log           segments stay as long as they are needed
//! recover       what a start finds
//! signal        when the committer wakes up
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
pub(crate) mod limits;
pub(crate) mod liveness;
pub(crate) mod log;
pub(crate) mod queue;
pub(crate) mod reader;
pub(crate) mod recover;
pub(crate) mod signal;
pub(crate) mod simulation;
pub(crate) mod world;
