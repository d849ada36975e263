//! Redirects: the hosts that the links of a route may lead to.

use url::{Host, Url};

use crate::{
    answer::{
        Answer,
        redirect::{Location, RedirectError},
    },
    collect::{
        Collector, head::RequestHead, redirect_policy::RedirectPolicy, response::requested_host, route::Destination,
    },
    verify::{
        Unverified, Verification,
        link::{EXPIRES, Link, SIGNATURE},
    },
};

/// The policies of a layer that has any.
#[derive(Debug)]
pub(crate) struct Redirects {
    /// The policy for paths that name no destination.
    other: &'static RedirectPolicy,
}

/// The policy for paths that name no destination, unless `other` has one: a path of any other name
/// would be a way around the policies of the schema.
const CLOSED: &RedirectPolicy = &RedirectPolicy::Hosts(&[]);

impl Redirects {
    /// Returns the policies of the destinations; `None` if links of all of them lead to any host.
    pub(crate) fn new(destinations: &'static [Destination]) -> Option<Self> {
        let policy = |route: &'static Destination| route.options?.redirect.as_ref();
        let mut policies = destinations.iter().filter_map(policy);
        policies.any(|policy| *policy != RedirectPolicy::Open).then(|| Self {
            other: destinations
                .iter()
                .find(|route| route.path == "other")
                .and_then(policy)
                .unwrap_or(CLOSED),
        })
    }
}

impl Collector {
    /// Returns the answer if the policy of the request's path allows it.
    ///
    /// A path that names no destination has the policy of `other`, even if a field leads to another
    /// route.
    #[cold]
    #[inline(never)]
    pub(super) fn restricted<'a>(
        &self,
        redirects: &Redirects,
        answer: Answer<'a>,
        head: &RequestHead<'_>,
    ) -> Answer<'a> {
        let policy = match head.route {
            Some(route) => route.options.and_then(|options| options.redirect.as_ref()),
            None => Some(redirects.other),
        };
        let Some(policy) = policy else { return answer };
        let location = match answer {
            Answer::Redirect(location) => location,
            // The target of a listed host or a signed link may be private.
            Answer::InvalidRedirect(RedirectError::Private) if *policy != RedirectPolicy::Open => {
                let to = head.query.text("to").unwrap_or_default();
                match Location::parse_private(to) {
                    Ok(location) => location,
                    Err(_) => return answer,
                }
            }
            _ => return answer,
        };
        self.allowed(policy, location, head).into()
    }

    fn allowed(
        &self,
        policy: &RedirectPolicy,
        location: Location,
        head: &RequestHead<'_>,
    ) -> Result<Location, RedirectError> {
        let is_allowed = match policy {
            RedirectPolicy::Open => true,
            RedirectPolicy::SameSite => match (location.host(), own_host(head)) {
                (Some(host), Some(own)) => site(&host) == site(&own),
                _ => false,
            },
            RedirectPolicy::Hosts(patterns) => location.host().is_some_and(|host| is_listed(&host, patterns)),
            RedirectPolicy::Signed(verification) => {
                self.check_link(verification, &location, head)?;
                true
            }
        };
        is_allowed.then_some(location).ok_or(RedirectError::Host)
    }

    fn check_link(
        &self,
        verification: &Verification,
        location: &Location,
        head: &RequestHead<'_>,
    ) -> Result<(), RedirectError> {
        let link = Link {
            location: location.as_str(),
            expires: head.query.text(EXPIRES),
            signature: head.query.text(SIGNATURE),
            unix_s: head.unix_ms / 1_000,
        };
        let result = match &self.guard {
            Some(guard) => guard.verify_link(verification, &link),
            None => Err(Unverified::NoSecret),
        };
        result.map_err(|reason| {
            self.writer.unverified().add(verification.route, reason.name(), 1);
            match reason {
                Unverified::Timestamp => RedirectError::Expired,
                _ => RedirectError::Signature,
            }
        })
    }
}

/// Returns whether a host is one of the patterns, which are in lower case.
fn is_listed(host: &Host, patterns: &[&str]) -> bool {
    let host = host.to_string();
    let host = host.strip_suffix('.').unwrap_or(&host);
    patterns.iter().any(|pattern| match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => host == *pattern,
    })
}

/// Returns the registrable domain of a host; an address is a site of its own.
fn site(host: &Host) -> String {
    match host {
        Host::Domain(domain) => {
            let domain = domain.strip_suffix('.').unwrap_or(domain);
            psl::domain_str(domain).unwrap_or(domain).to_owned()
        }
        Host::Ipv4(_) | Host::Ipv6(_) => host.to_string(),
    }
}

/// Returns the host that the visitor requested.
fn own_host(head: &RequestHead<'_>) -> Option<Host> {
    let url = Url::parse(&format!("http://{}/", requested_host(head)?)).ok()?;
    url.host().map(|host| host.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn a_pattern_is_a_host_or_all_hosts_below_it() {
        let patterns = ["example.com", "*.shop.example", "10.0.0.5", "[::1]"];
        for (name, expected) in [
            ("example.com", true),
            ("EXAMPLE.com", true),
            ("example.com.", true),
            ("www.example.com", false),
            ("badexample.com", false),
            ("example.com.evil.net", false),
            ("a.shop.example", true),
            ("b.a.shop.example", true),
            ("shop.example", false),
            ("badshop.example", false),
            ("10.0.0.5", true),
            ("0x0a000005", true),
            ("10.0.0.6", false),
            ("[0:0::1]", true),
        ] {
            assert_eq!(is_listed(&host(name), &patterns), expected, "{name}");
        }
        assert!(!is_listed(&host("example.com"), &[]));
    }

    #[test]
    fn a_site_is_a_registrable_domain() {
        for (own, other, expected) in [
            ("stat.example.com", "www.example.com", true),
            ("stat.example.com", "example.com.", true),
            ("example.com", "example.org", false),
            ("stat.example.co.uk", "shop.example.co.uk", true),
            ("stat.example.co.uk", "evil.co.uk", false),
            ("a.github.io", "b.github.io", false),
            ("localhost", "localhost", true),
            ("127.0.0.1", "2130706433", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("[::1]", "[::1]", true),
        ] {
            assert_eq!(site(&host(own)) == site(&host(other)), expected, "{own} {other}");
        }
    }
}
