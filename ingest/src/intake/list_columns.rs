//! The columns that lists of objects fill, by the paths of the lists.

/// The columns that a list of objects fills, all of them arrays.
#[derive(Debug, Clone, Copy)]
pub struct ListColumns {
    /// The path of the list as the schema writes it.
    pub path: &'static str,
    /// The columns, and the path of each as the schema writes it.
    pub columns: &'static [(usize, &'static str)],
}

/// Returns whether a path of an event is one of the schema, in which `.` may stand for `_`.
#[inline]
pub(crate) fn is_same_path(written: &str, path: &str) -> bool {
    let joined = written.bytes().map(|byte| if byte == b'.' { b'_' } else { byte });
    written == path || joined.eq(path.bytes())
}
