//! Tests of the spool as a whole, without a ClickHouse.

#[cfg(test)]
pub(crate) mod damage;
#[cfg(test)]
pub(crate) mod disk;
#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
pub(crate) mod limits;
#[cfg(test)]
pub(crate) mod liveness;
#[cfg(test)]
pub(crate) mod simulation;
