//! Stop: the reasons why an upload ends before the end of its body.

use std::borrow::Cow;

use http::StatusCode;

use crate::{
    answer::BatchFailure, collect::upload::frame_queue::End, intake::rejection::Rejection, request::body::BodyError,
};

/// The reason why an upload ends before the end of its body.
#[derive(Debug)]
pub(super) enum Stop {
    /// The connection broke.
    Cut,
    /// The body made no progress.
    TimedOut,
    /// The body cannot be read.
    Body(BodyError),
    /// The header of the body is invalid.
    Header(Rejection),
    /// The spool had no space for a long time, or the collector shuts down.
    Full,
}

impl From<End> for Stop {
    /// Returns the reason of a body that ends while its decoder needs more of it.
    fn from(end: End) -> Self {
        match end {
            End::Complete => Self::Body(BodyError::Coding),
            End::Cut => Self::Cut,
            End::TimedOut => Self::TimedOut,
            End::Failed => Self::Full,
        }
    }
}

impl From<BodyError> for Stop {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl Stop {
    /// Returns the reason for the client.
    pub(super) fn to_failure(&self) -> BatchFailure {
        let (status, reason): (_, Cow<'static, str>) = match self {
            Self::Cut => (StatusCode::BAD_REQUEST, "the body was cut".into()),
            Self::TimedOut => (StatusCode::REQUEST_TIMEOUT, "the body made no progress".into()),
            Self::Body(error) => (error.status(), error.reason().into()),
            Self::Header(rejection) => (StatusCode::BAD_REQUEST, rejection.message("")),
            Self::Full => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the spool has no space for more events; those counted here are recorded".into(),
            ),
        };
        BatchFailure { status, reason }
    }
}
