//! The routes of the collectors in these tests, and the rows of their events.

use std::cell::RefCell;

use crate::{
    ack::AckPolicy,
    adapters::Adapter,
    answer::FixedAnswer,
    block::receipt::Receipt,
    collect::{
        echo::Echo,
        idempotency::{Idempotency, KeySource},
        item_path::ItemPath,
        own_paths::{Methods, OwnPaths},
        route::{Destination, Route, RouteOptions, Routes},
    },
    intake::{
        event::{Event, Sink},
        intake,
        rejection::Rejection,
        testing::{TABLE, TestRow, row_text},
    },
    privacy::{AddressRule, PersonalColumn, Privacy},
    table::Schema,
    verify::{Verification, scheme::Scheme},
};

pub(super) static SCHEMA: Schema = Schema::new(&[&TABLE]);

/// The lowest valid uid; the rows below contain their uid minus this one.
const LOWEST_UID: u64 = 1_000_000_000;

thread_local! {
    /// The rows that the requests of this thread have made: address, sender and values.
    static ROWS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Returns the rows that this thread has made since the last look.
pub(super) fn take_rows() -> Vec<String> {
    ROWS.take()
}

/// Ingests an event and notes the text of its row.
fn ingest(event: &Event<'_>, sink: Sink<'_>) -> Result<Receipt, Rejection> {
    let row = row_text::<false>(event);
    let receipt = intake::<TestRow<'_, false>>(event, sink)?;
    let meta = &event.meta;
    let project = meta.project.to_text().unwrap_or_default();
    let uid = meta.uid.wrapping_sub(LOWEST_UID);
    let sender = format!("{}/{} {uid} {project}", meta.service, meta.name);
    ROWS.with_borrow_mut(|rows| rows.push(format!("{sender} {}", row.unwrap()).trim_end().to_owned()));
    Ok(receipt)
}

const ROUTE: Route = Route {
    handler: ingest,
    acks: AckPolicy::NONE,
    options: None,
};

/// The route `wh/options`, with options of each kind.
pub(super) const OPTIONS_ROUTE: Route = Route {
    options: Some(&RouteOptions {
        own_paths: Some(OwnPaths {
            service: "wh",
            name: "options",
            paths: &["/track", "/v1/batch/", "/hooks/*"],
        }),
        methods: Methods(&["POST", "PUT", "GET"]),
        answer: Some(FixedAnswer {
            status: 202,
            content_type: Some("text/plain"),
            body: "ok",
        }),
        echo: Some(Echo {
            field: "challenge",
            is_json: false,
            token: None,
        }),
        hiding: &["address", "tags", "payload"],
        ..RouteOptions::NONE
    }),
    ..ROUTE
};

/// A route whose events are in an array that hides in a text.
const HIDDEN_BATCH: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                items: Some(ItemPath {
                    keys: &["events"],
                    shared: &["city"],
                }),
                hiding: &["events"],
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route whose documents have many events inside.
#[allow(clippy::needless_update, reason = "a route may have other options besides")]
const BATCH: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                items: Some(ItemPath {
                    keys: &["data", "events"],
                    shared: &["page", "n", "projectId"],
                }),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route whose sender speaks the HTTP API of Segment.
const SEGMENT: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                adapter: Some(Adapter::Segment),
                own_paths: Some(OwnPaths {
                    service: "wh",
                    name: "segment",
                    paths: &["/v1/track", "/v1/batch"],
                }),
                methods: Methods(&["POST"]),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route that leaves out events without consent.
pub(super) const CONSENT: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                privacy: Some(Privacy {
                    consent: Some("city"),
                    drops_without_consent: true,
                    ..Privacy::NONE
                }),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route for a tracker of Snowplow.
const SNOWPLOW: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                adapter: Some(Adapter::Snowplow),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route for CloudEvents.
pub(super) const CLOUDEVENTS: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                adapter: Some(Adapter::CloudEvents),
                methods: Methods(&["POST"]),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route for CloudEvents that records nothing without consent, and has personal data.
pub(super) const CONSENTED_CLOUDEVENTS: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                adapter: Some(Adapter::CloudEvents),
                privacy: Some(Privacy {
                    consent: Some("agreed"),
                    drops_without_consent: true,
                    columns: &[PersonalColumn {
                        name: "email",
                        paths: &["dataBase64"],
                        is_hashed: false,
                    }],
                    ..Privacy::NONE
                }),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route whose city is personal, and that keeps no address.
pub(super) const PERSONAL: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                privacy: Some(Privacy {
                    ip: AddressRule::Drop,
                    columns: &[PersonalColumn {
                        name: "city",
                        paths: &["city"],
                        is_hashed: false,
                    }],
                    ..Privacy::NONE
                }),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route whose requests need a token.
const VERIFIED: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                verify: Some(Verification {
                    route: "wh/verified",
                    scheme: Scheme::Bearer,
                    secrets: &[],
                    tolerance_s: None,
                    allows_unsigned: false,
                }),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// Returns the options of a route with an idempotency key in a header.
const fn keyed(scope: &'static str, required: bool) -> RouteOptions {
    RouteOptions {
        idempotency: Some(Idempotency {
            scope,
            key: KeySource::Header("idempotency-key"),
            window_s: 60,
            required,
        }),
        ..RouteOptions::NONE
    }
}

/// The route `wh/keyed`, whose requests may have an idempotency key.
static MAY_HAVE_KEY: RouteOptions = keyed("wh/keyed", false);

/// The route `wh/required`, whose requests need an idempotency key.
static NEEDS_KEY: RouteOptions = keyed("wh/required", true);

/// Returns one of the routes with idempotency keys.
fn keyed_route(service: &str, name: &str) -> Option<Route> {
    let options = match (service, name) {
        ("wh", "keyed") => &MAY_HAVE_KEY,
        ("wh", "required") => &NEEDS_KEY,
        _ => return None,
    };
    Some(Route {
        options: Some(options),
        ..ROUTE
    })
}

/// The routes with idempotency keys.
#[derive(Debug)]
pub(super) struct KeyedRoutes;

impl Routes for KeyedRoutes {
    const DESTINATIONS: &'static [Destination] = &[
        Destination {
            path: "wh/keyed",
            table: "events",
            acks: AckPolicy::NONE,
            rate_limit: None,
            options: Some(&MAY_HAVE_KEY),
        },
        Destination {
            path: "wh/required",
            table: "events",
            acks: AckPolicy::NONE,
            rate_limit: None,
            options: Some(&NEEDS_KEY),
        },
    ];

    fn schema() -> &'static Schema {
        &SCHEMA
    }

    fn find(service: &str, name: &str) -> Option<Route> {
        keyed_route(service, name)
    }
}

#[derive(Debug)]
pub(super) struct TestRoutes;

impl Routes for TestRoutes {
    const DESTINATIONS: &'static [Destination] = &[];

    fn schema() -> &'static Schema {
        &SCHEMA
    }

    fn find_path(path: &str) -> Option<Route> {
        if matches!(path, "/v1/track" | "/v1/batch") {
            return Some(SEGMENT);
        }
        let is_own = matches!(path, "/track" | "/v1/batch/") || (path.starts_with("/hooks/") && path.len() > 7);
        is_own.then_some(OPTIONS_ROUTE)
    }

    fn find(service: &str, name: &str) -> Option<Route> {
        if (service, name) == ("wh", "options") {
            return Some(OPTIONS_ROUTE);
        }
        if (service, name) == ("wh", "mandrill") {
            return Some(HIDDEN_BATCH);
        }
        if (service, name) == ("wh", "batch") {
            return Some(BATCH);
        }
        match (service, name) {
            ("wh", "consent") => return Some(CONSENT),
            ("wh", "segment") => return Some(SEGMENT),
            ("wh", "snowplow") => return Some(SNOWPLOW),
            ("wh", "cloudevents") => return Some(CLOUDEVENTS),
            ("wh", "consented") => return Some(CONSENTED_CLOUDEVENTS),
            ("wh", "verified") => return Some(VERIFIED),
            ("wh", "keyed" | "required") => return keyed_route(service, name),
            _ => {}
        }
        let is_declared = matches!(
            (service, name),
            ("wh" | "pixel" | "redir", "mail") | ("track", "page") | ("hello", "ping")
        );
        is_declared.then_some(ROUTE)
    }

    fn fallback() -> Option<Route> {
        Some(ROUTE)
    }
}
