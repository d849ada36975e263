//! The guard: the verified routes of one layer, with their current keys.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, time::sleep};

use super::{
    Unverified, Verification,
    key::Key,
    link::Link,
    request::SignedRequest,
    secret::{RouteSecrets, SecretError},
};

/// The time between two reads of the secret files.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two messages in the log about requests of one route.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The verified routes of one layer.
#[derive(Debug)]
pub(crate) struct Guard {
    routes: Box<[GuardedRoute]>,
    secrets: RouteSecrets,
}

#[derive(Debug)]
struct GuardedRoute {
    verification: &'static Verification,
    /// `None` if the secrets cannot be read.
    keys: RwLock<Option<Arc<[Key]>>>,
    /// Whether the last read of the secrets failed.
    is_failing: AtomicBool,
    last_log: Mutex<Option<Instant>>,
}

impl Guard {
    /// Returns the guard of the verified routes; `None` if there are none. A route whose secrets
    /// cannot be read accepts no request.
    pub(crate) fn new(
        verifications: impl Iterator<Item = &'static Verification>,
        secrets: &RouteSecrets,
    ) -> Option<Arc<Self>> {
        let route = |verification| {
            let keys = secrets.keys(verification);
            GuardedRoute {
                verification,
                is_failing: keys.is_err().into(),
                keys: RwLock::new(keys.ok().map(Into::into)),
                last_log: Mutex::default(),
            }
        };
        let routes: Box<[_]> = verifications.map(route).collect();
        (!routes.is_empty()).then(|| {
            Arc::new(Self {
                routes,
                secrets: secrets.clone(),
            })
        })
    }

    /// Returns the routes' verifications.
    pub(crate) fn verifications(&self) -> impl Iterator<Item = &'static Verification> {
        self.routes.iter().map(|route| route.verification)
    }

    /// Verifies a request.
    ///
    /// # Errors
    ///
    /// The request is not verified.
    pub(crate) fn verify(&self, verification: &Verification, request: &SignedRequest<'_>) -> Result<(), Unverified> {
        let keys = self.route(verification).and_then(GuardedRoute::keys);
        verification.verify(request, &keys.ok_or(Unverified::NoSecret)?)
    }

    /// Verifies a link.
    ///
    /// # Errors
    ///
    /// The link is not verified.
    pub(crate) fn verify_link(&self, verification: &Verification, link: &Link<'_>) -> Result<(), Unverified> {
        let keys = self.route(verification).and_then(GuardedRoute::keys);
        link.verify(verification.route, &keys.ok_or(Unverified::NoSecret)?)
    }

    /// Logs that a request of a route is not verified, at most once in [`LOG_INTERVAL`].
    #[cold]
    pub(crate) fn log(&self, verification: &Verification, reason: Unverified) {
        let Some(route) = self.route(verification) else { return };
        let mut last_log = route.last_log.lock().unwrap_or_else(PoisonError::into_inner);
        if last_log.is_some_and(|last| last.elapsed() < LOG_INTERVAL) {
            return;
        }
        *last_log = Some(Instant::now());
        let (route, scheme) = (verification.route, verification.scheme.name());
        match reason {
            Unverified::NoSecret => match self.secrets.keys(verification) {
                Err(error) => tracing::error!(route, "requests get 503: {error}"),
                Ok(_) => tracing::error!(route, "requests get 503: their secret was not there until now"),
            },
            Unverified::Unsigned => tracing::warn!(
                route,
                scheme,
                reason = reason.name(),
                "a request has fields in its query or its path, which its signature does not cover; it gets 401 and is \
                 not stored; `allow_unsigned: true` accepts such fields"
            ),
            _ => tracing::warn!(
                route,
                scheme,
                reason = reason.name(),
                "a request is not from the sender of its route; it gets 401 and is not stored"
            ),
        }
    }

    /// Reads the secret files again and again as long as the guard lives, so that a rotation needs
    /// no restart. A file that cannot be read leaves the keys as they are.
    pub(crate) fn reload_on(self: &Arc<Self>, runtime: &Handle) {
        if !self
            .routes
            .iter()
            .any(|route| self.secrets.may_change(route.verification))
        {
            return;
        }
        let guard = Arc::downgrade(self);
        let blocking = runtime.clone();
        runtime.spawn(async move {
            loop {
                sleep(RELOAD_INTERVAL).await;
                let Some(guard) = guard.upgrade() else { return };
                // A file of a network may take long.
                if blocking.spawn_blocking(move || guard.reload()).await.is_err() {
                    return;
                }
            }
        });
    }

    pub(super) fn reload(&self) {
        for route in &self.routes {
            if self.secrets.may_change(route.verification) {
                route.set(self.secrets.keys(route.verification));
            }
        }
    }

    fn route(&self, verification: &Verification) -> Option<&GuardedRoute> {
        // A route may have a verification of requests and one of links.
        let is_it = |route: &&GuardedRoute| {
            let own = route.verification;
            own.route == verification.route && own.is_of_links() == verification.is_of_links()
        };
        self.routes.iter().find(is_it)
    }
}

impl GuardedRoute {
    fn keys(&self) -> Option<Arc<[Key]>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, keys: Result<Vec<Key>, SecretError>) {
        let was_failing = self.is_failing.swap(keys.is_err(), Ordering::Relaxed);
        match keys {
            Ok(keys) => *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys.into()),
            Err(error) if !was_failing => tracing::error!("{error}; the collector keeps the secrets that it has"),
            Err(_) => {}
        }
    }
}

/// Checks that the secrets of all verified routes can be read.
///
/// # Errors
///
/// The first route whose secrets cannot be read.
pub(crate) fn check_secrets(
    mut verifications: impl Iterator<Item = &'static Verification>,
    secrets: &RouteSecrets,
) -> Result<(), SecretError> {
    verifications.try_for_each(|verification| secrets.keys(verification).map(drop))
}
