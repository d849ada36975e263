//! Returns large allocations to the operating system as soon as they are freed.
//!
//! A block of rows, its columns and their frame use megabytes each. One thread allocates them,
//! another one frees them, and they live for about a second. glibc maps such an allocation
//! separately at first. When the first one is freed, glibc raises its threshold
//! ([`M_MMAP_THRESHOLD`](https://man7.org/linux/man-pages/man3/mallopt.3.html), "dynamic") and
//! places all later ones up to that size in the arenas of the threads, where the gaps between them
//! add up. A threshold that is set explicitly stays as it is.

/// glibc maps allocations of at least this length separately, and soon reuses shorter ones.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES: i32 = 1 << 20;

/// Sets the threshold of the allocator. Call it before any other thread starts.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "a setting of the C library has no other name")]
pub(crate) fn return_large_allocations_to_os() {
    // SAFETY: `mallopt` only stores a number, any number is valid, and no other thread allocates
    // meanwhile.
    let is_set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES) } == 1;
    debug_assert!(is_set, "glibc accepts any threshold up to 32 MiB");
}

/// Does nothing: other allocators keep their defaults.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn return_large_allocations_to_os() {}
