//! ClickHouse as a library: loaded into this process and run on one of its threads.
//!
//! This module holds the crate's only `unsafe` code. The library's interface is C; this module uses
//! the first two of these functions:
//!
//! ```c
//! void chdb_set_signal_handlers_enabled(int enabled);
//! chdb_result * chdb_query_cmdline(int argc, char ** argv);   // NULL or an opaque result
//! void chdb_destroy_query_result(chdb_result *);              // not called: the process ends
//! ```

#![allow(
    unsafe_code,
    reason = "a foreign library is loaded and called; nothing else in the workspace does"
)]

use std::{
    ffi::{CString, OsString, c_char, c_int, c_void},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    path::Path,
    thread,
};

use libloading::Library;

use crate::error::{Error, Kind};

/// The stack of a main thread on the systems that ClickHouse usually runs on; other threads of Rust
/// have 2 MiB.
const STACK_BYTES: usize = 16 * 1024 * 1024;

type SetSignalHandlersEnabled = unsafe extern "C" fn(c_int);
type QueryCommandLine = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;

/// Runs `clickhouse local ARGUMENTS` on a thread of this process, with a pipe as its standard
/// input.
///
/// Returns the other end of that pipe. ClickHouse ends soon after that end closes; the thread then
/// calls `ended`. The pipe replaces this process's standard input.
///
/// # Errors
///
/// - The library does not load, or lacks a function.
/// - The system refuses the pipe or the thread.
pub(crate) fn start(
    path: &Path,
    arguments: Vec<OsString>,
    ended: impl FnOnce() + Send + 'static,
) -> Result<OwnedFd, Error> {
    let query = load(path).map_err(|cause| Kind::Library {
        path: path.to_owned(),
        cause,
    })?;
    let (input, lifeline) = io::pipe().map_err(Error::system("a pipe"))?;
    nix::unistd::dup2_stdin(&input)
        .map_err(io::Error::from)
        .map_err(Error::system("a standard input"))?;
    drop(input);
    thread::Builder::new()
        .name("clickhouse".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            call(query, arguments);
            ended();
        })
        .map_err(Error::system("a thread"))?;
    Ok(lifeline.into())
}

/// Loads the library and never unloads it.
fn load(path: &Path) -> Result<QueryCommandLine, libloading::Error> {
    // SAFETY: loading runs the library's initialisers. They belong to a ClickHouse, or to a library
    // that the user has named in its place.
    let library = unsafe { Library::new(path)? };
    // SAFETY: the type is the function's in the header of every libchdb since 3.0.
    let query = unsafe { *library.get::<QueryCommandLine>(b"chdb_query_cmdline\0")? };
    // SAFETY: likewise; older libraries lack this function, and then keep their handlers.
    let handlers = unsafe { library.get::<SetSignalHandlersEnabled>(b"chdb_set_signal_handlers_enabled\0") };
    if let Ok(enable) = handlers {
        // ClickHouse's handlers for fatal signals spend minutes on a report before the process
        // ends; without them it ends at once and can be restarted at once.
        //
        // SAFETY: the function only sets a flag and resets handlers, and nothing runs yet.
        unsafe { enable(0) };
    }
    // Unloading would remove the code under ClickHouse's running threads.
    std::mem::forget(library);
    Ok(query)
}

/// Runs ClickHouse, and returns when it has ended. ClickHouse reports to standard error.
fn call(query: QueryCommandLine, arguments: Vec<OsString>) {
    let program = OsString::from("clickhouse");
    // No argument contains a NUL: the paths have been opened before.
    let mut arguments: Vec<Vec<u8>> = std::iter::once(program)
        .chain(arguments)
        .filter_map(|it| CString::new(it.into_vec()).ok())
        .map(CString::into_bytes_with_nul)
        .collect();
    let mut pointers: Vec<*mut c_char> = arguments.iter_mut().map(|it| it.as_mut_ptr().cast()).collect();
    let count = pointers.len() as c_int;
    // As in C's `main`, the list ends with a null pointer that is not counted.
    pointers.push(std::ptr::null_mut());
    // SAFETY: `argv` points to `argc` NUL-terminated strings and a null pointer. The strings and
    // the list are writable, and live until the call returns. The end of the process frees the
    // result.
    unsafe { query(count, pointers.as_mut_ptr()) };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::fs;

    use super::*;

    #[test]
    fn a_library_that_does_not_load_is_an_error_with_the_loaders_message() {
        let path = std::env::temp_dir().join(format!("rowmill-library-{}.so", std::process::id()));
        fs::write(&path, b"\x7fELF and nothing more").unwrap();
        let error = start(&path, Vec::new(), || {}).unwrap_err();
        fs::remove_file(&path).unwrap();
        assert!(error.is_library_broken(), "{error:?}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(!cause.is_empty());
    }
}
