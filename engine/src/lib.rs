//! A real ClickHouse with nothing to install.
//!
//! The engine is ClickHouse itself, as the library `libchdb` or as a `clickhouse` program, that
//! serves its own HTTP interface from a child process. The control flow:
//!
//! ```text
//! collector, tests                                    the child: `PROGRAM engine …`
//! ────────────────                                    ──────────────────────────────
//! Engine::start ─ locate ─ (fetch ─ unpack) ─ spawn ─▶ run ─ locate ─ library | binary
//!       │                                                               │
//!       └─ ping until it answers as our child ◀──── HTTP ───────────────┘
//! ```
//!
//! - `variables`: the environment variables.
//! - [`locate`]: chooses the ClickHouse: `ROWMILL_ENGINE`, one on `PATH`, the cache, or a download.
//! - `fetch`, `unpack`, `cache`, `progress`: the download, once for each user and version.
//! - [`run`]: turns the calling process into the engine until its end is requested.
//! - `access`: the two users, their passwords and their rights.
//! - `command`, `library`, `binary`: the command line, and the two ways to pass it to ClickHouse.
//! - [`Engine`]: the child process as a value; dropping it ends the child.
//! - [`running`]: finds the engine that another process runs on a data folder.
//! - `place`, `ping`, `tail`: check the address and the folder, check the answer, keep the last
//!   output.
//!
//! ```no_run
//! use rowmill_engine::{Engine, Options};
//!
//! // The program must have an `engine` command that calls `rowmill_engine::run`.
//! let program = std::env::current_exe()?;
//! let engine = Engine::start(&Options::new(program, "data/engine"))?;
//! println!("curl {} {}", engine.url(), engine.reader().curl_option());
//! engine.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The lifeline
//!
//! ClickHouse starts with a query that reads its standard input: a pipe whose other end the child
//! process holds and never writes to. When that end closes, the query is over, and ClickHouse shuts
//! down as after any other query: it flushes buffers and closes files. A pipe closes when its
//! holder dies, however it dies. ClickHouse therefore never outlives the process that runs it, not
//! even after `kill -9`, on every system and without a `prctl`. The child in turn reads a pipe that
//! its parent holds (`--tied`). The child has a separate process group: a Ctrl-C on the terminal
//! reaches the parent only, and the parent can still store its rows before it stops the engine.
//!
//! # Limits
//!
//! Unix only, as ClickHouse is. There is no TLS: passwords and data cross a network unencrypted.
//! The collector's user can create databases of the engines SQLite, PostgreSQL and MySQL, because
//! ClickHouse requires no grant for them; the reader's user cannot create anything. Rows that an
//! `INSERT` has confirmed survive `kill -9` of the engine; a power cut can lose rows that the
//! system had not yet written to the disk, unless the table sets `fsync_after_insert`.

#[cfg(not(unix))]
compile_error!("the engine runs on Linux and macOS: ClickHouse has no build for other systems");

mod access;
mod attach;
mod binary;
mod cache;
mod command;
mod engine;
mod error;
mod fetch;
mod integrity;
mod library;
mod locate;
mod ping;
mod place;
mod progress;
mod run;
mod tail;
mod unpack;
mod variables;

pub use access::Account;
pub use attach::{Running, running};
pub use cache::VERSION;
pub use engine::{Engine, Options};
pub use error::Error;
pub use locate::{Program, locate};
pub use run::{RunOptions, Tie, run};
pub use variables::{CACHE_VARIABLE, ENGINE_VARIABLE};
