//! Checks that the published JSON Schema is the one that the crate generates.
//! `ROWMILL_BLESS=1 cargo test -p rowmill-codegen` rewrites it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::Path;

use support::Pinned;

#[test]
fn the_published_schema_is_current() {
    let mut pinned = Pinned::default();
    pinned.compare(Path::new("../docs/schema.json"), &rowmill_codegen::json_schema());
    pinned.finish();
}
