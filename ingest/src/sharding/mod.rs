//! Sharding: computes the shard of a row as ClickHouse's
//! [Distributed](https://clickhouse.com/docs/engines/table-engines/special/distributed) engine does.
//!
//! ```text
//! key        the sharding key: an expression over columns, computed from the bytes of a row
//! slots      the shard of a key, by the weights of the shards
//! router     the queue of a row's shard
//! city_hash  the function behind `cityHash64`
//! ```
//!
//! Promises: the shard of a row is the one that ClickHouse would choose, or none. A row whose key
//! only ClickHouse can compute is inserted through the Distributed table.

mod city_hash;
mod key;
mod router;
mod slots;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    key::{ShardingKey, UnknownKey},
    router::Router,
    slots::Slots,
};
