//! Memory: what is large goes back to the system as soon as it is freed.
//!
//! A block of rows, its columns and their frame are megabytes each, are taken by one thread and freed by another, and live for a second.
//! glibc maps such memory for itself at first, and learns from the first one that is freed to keep all that are not larger among the small
//! ones, where each thread has an arena and their holes add up ([`M_MMAP_THRESHOLD`](https://man7.org/linux/man-pages/man3/mallopt.3.html),
//! "dynamic"). A threshold that is set is not learned.

/// From this length on, memory is mapped for itself. What is shorter is used again soon.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES: i32 = 1 << 20;

/// Tells the allocator. To be called before there are other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "a setting of the C library has no other name")]
pub(crate) fn give_back_what_is_large() {
    // SAFETY: it stores a number, which every number is allowed to be, and nobody else allocates meanwhile.
    let is_set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES) } == 1;
    debug_assert!(is_set, "glibc takes any threshold up to 32 MiB");
}

/// Elsewhere the allocator does as it does.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back_what_is_large() {}
