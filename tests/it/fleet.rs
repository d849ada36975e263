//! A fleet: collectors behind haproxy, over the shards of a cluster.

mod cost;
mod faults;
mod lost_disks;
mod rolling;
mod starts;
mod world;

use std::{env, process::Command};

use crate::{
    crash::{event::Target, report::Place},
    support::{cluster::ShardOf, collector},
};

/// Two shards of one server each, since the embedded ClickHouse has no replication.
const SHARDS: [ShardOf; 2] = [ShardOf { weight: 1, replicas: 1 }; 2];

/// The events of all tests.
const TARGETS: [Target; 1] = [ROWS];

const ROWS: Target = Target {
    path: "/wh/row",
    key: "number",
    texts: &["event", "email", "detailed", "more"],
    padding: 0,
    lines: 1,
};

/// The rows of all shards, read through the Distributed table.
const PLACE: Place = Place {
    target: 0,
    table: "rows",
    filter: "1",
    number: "number",
    payload: "[('number', toString(number)), ('event', event), ('email', email), ('detailed', detailed), ('more', more)]",
};

/// The schema of a collector of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Old,
    /// With one column more.
    New,
}

/// Returns the command of the collector over the shards.
pub fn program(version: Version) -> Command {
    let folder = env::current_exe().unwrap();
    let program = folder.ancestors().nth(2).unwrap().join("examples/fleet");
    assert!(
        program.exists(),
        "`cargo test --workspace` builds the example; for these tests alone, run `cargo build --example fleet` before"
    );
    let mut command = collector::command_of(program);
    if version == Version::New {
        command.env("FLEET_SCHEMA", "new");
    }
    command
}
