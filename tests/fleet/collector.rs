//! The whole program over tables on the shards of the cluster `fleet`.
//!
//! `FLEET_SCHEMA=new` selects the schema with one column more.

use std::{env, process::ExitCode};

use evolution::rows::{after, before};

fn main() -> ExitCode {
    match env::var_os("FLEET_SCHEMA") {
        Some(version) if version == "new" => rowmill::run::<after::Routes>(),
        _ => rowmill::run::<before::Routes>(),
    }
}
