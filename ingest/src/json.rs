//! (skeleton)

/// Where and why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// The byte at which the text stops being JSON.
    pub at: usize,
}

/// (skeleton)
#[derive(Debug)]
pub struct Reader<'a> {
    /// (skeleton)
    pub text: &'a str,
}
