//! Throttle: rejects requests over the rate limit of their address or their route.

use std::time::Duration;

use http::Method;

use crate::{
    answer::Answer,
    collect::{
        Collector,
        head::{IMAGE_CHANNEL, RequestHead},
        rate::{Rates, VIEWS},
        response::redirect,
    },
    identify::Address,
};

/// The rejection code of a request over a rate limit.
const RATE_LIMITED: &str = "rate-limited";

impl Collector {
    /// Checks the rate limit of the client's address. GET requests for images and redirects do not
    /// count.
    ///
    /// # Errors
    ///
    /// The answer to a request over the limit.
    #[inline]
    pub(super) fn check_rate_of_address(&self, head: &RequestHead<'_>) -> Result<(), Answer<'static>> {
        match &self.rates {
            Some(rates) => self.admit_from_address(rates, head),
            None => Ok(()),
        }
    }

    fn admit_from_address(&self, rates: &Rates, head: &RequestHead<'_>) -> Result<(), Answer<'static>> {
        // Use the path's service: a `service` in the query must not bypass the limit.
        let service = head.target.service;
        if head.parts.method == Method::GET && VIEWS.contains(&service) {
            return Ok(());
        }
        rates.admit_from_address(head.client.ip).map_err(|retry_after| {
            self.writer.rejections().count_event(RATE_LIMITED);
            match service {
                "pixel" => Answer::Pixel,
                "track" if head.channel() == IMAGE_CHANNEL => Answer::Pixel,
                "redir" => redirect(head.query.text("to")),
                _ => too_many_requests(retry_after),
            }
        })
    }

    /// Checks the rate limit of the route of an address.
    ///
    /// # Errors
    ///
    /// The time until the route accepts another request, if this one is over the limit.
    #[inline]
    pub(super) fn check_rate_of_route(&self, address: &Address<'_>) -> Result<(), Duration> {
        match &self.rates {
            Some(rates) => self.admit_to_route(rates, address),
            None => Ok(()),
        }
    }

    fn admit_to_route(&self, rates: &Rates, address: &Address<'_>) -> Result<(), Duration> {
        let result = rates.admit_to_route(address.service, address.name);
        if result.is_err() {
            self.writer.rejections().count_event(RATE_LIMITED);
        }
        result
    }
}

pub(super) fn too_many_requests(retry_after: Duration) -> Answer<'static> {
    let whole_s = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    Answer::TooManyRequests {
        retry_after_s: u32::try_from(whole_s).unwrap_or(u32::MAX),
    }
}
