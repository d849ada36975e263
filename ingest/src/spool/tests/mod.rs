//! Tests of the spool as a whole, without a ClickHouse.

pub(crate) mod damage;
pub(crate) mod disk;
pub(crate) mod faults;
pub(crate) mod frames;
pub(crate) mod limits;
pub(crate) mod liveness;
pub(crate) mod simulation;
