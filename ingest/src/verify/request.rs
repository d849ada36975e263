//! The parts of a request that a signature may cover.

use http::{HeaderMap, Uri};

use super::{Unverified, client_certificate::ClientCertificate};

/// A request before anything has parsed it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignedRequest<'r> {
    pub(crate) headers: &'r HeaderMap,
    pub(crate) uri: &'r Uri,
    /// The body as it arrived; compressed if the sender has compressed it.
    pub(crate) body: &'r [u8],
    /// Whether the method has a body, which may be empty.
    pub(crate) has_body: bool,
    /// Whether the query or the path has fields of the event.
    pub(crate) has_fields_beside_body: bool,
    /// The certificate of the connection, if the sender has shown one.
    pub(crate) certificate: Option<&'r ClientCertificate>,
    /// The time of arrival, in seconds since 1970.
    pub(crate) unix_s: u64,
}

impl<'r> SignedRequest<'r> {
    /// Returns the value of a header.
    ///
    /// # Errors
    ///
    /// The header is absent, or it is there twice: a proxy and the collector could then read two
    /// different values.
    pub(super) fn header(&self, name: &str) -> Result<&'r [u8], Unverified> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().ok_or(Unverified::Missing)?;
        match values.next() {
            None => Ok(value.as_bytes().trim_ascii()),
            Some(_) => Err(Unverified::Malformed),
        }
    }

    /// Returns the value of a header that is text.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header); also if the value is not UTF-8.
    pub(super) fn text(&self, name: &str) -> Result<&'r str, Unverified> {
        str::from_utf8(self.header(name)?).map_err(|_| Unverified::Malformed)
    }
}

/// The time at which a signature must have been made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// The collector's time, in seconds since 1970.
    pub(super) unix_s: u64,
    /// The largest difference, in seconds; `None` is no limit.
    pub(super) tolerance_s: Option<u64>,
}

impl Clock {
    /// Checks the time of a signature, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// The text is not a number, or the time is too far from the collector's.
    pub(super) fn check(self, timestamp: &str) -> Result<(), Unverified> {
        // `u64::from_str` also accepts a `+`.
        if !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Unverified::Malformed);
        }
        let signed_at: u64 = timestamp.parse().map_err(|_| Unverified::Malformed)?;
        match self.tolerance_s {
            Some(tolerance_s) if signed_at.abs_diff(self.unix_s) > tolerance_s => Err(Unverified::Timestamp),
            _ => Ok(()),
        }
    }
}
