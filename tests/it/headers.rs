//! The headers of answers on the wire: the modern set, and the original's if `--compat` requests
//! it.

use crate::support::{
    collector::Collector,
    engine::Database,
    http::{self, Answer},
};

const PAGE: (&str, &str) = ("Origin", "https://shop.example");

/// The headers that hyper adds to every answer.
const HYPER_HEADERS: [&str; 3] = ["connection", "content-length", "date"];

/// A header whose value differs each time; `golden` and the crate's own tests check the value.
const COOKIE: (&str, &str) = ("set-cookie", "…");

const ALWAYS: [(&str, &str); 2] = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")];

const CORS: [(&str, &str); 4] = [
    ("vary", "Origin"),
    ("access-control-allow-origin", PAGE.1),
    ("access-control-allow-credentials", "true"),
    (
        "access-control-expose-headers",
        "Idempotency-Replayed, Retry-After, X-Rowmill-Ack",
    ),
];

fn headers(answer: &Answer) -> Vec<(&str, &str)> {
    let all = answer
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let own = all.filter(|(name, _)| !HYPER_HEADERS.contains(name));
    let mut own: Vec<_> = own
        .map(|(name, value)| if name == COOKIE.0 { COOKIE } else { (name, value) })
        .collect();
    own.sort_unstable();
    own
}

#[track_caller]
fn assert_headers(answer: &Answer, status: u16, parts: &[&[(&str, &str)]]) {
    let mut expected: Vec<_> = [&ALWAYS[..]]
        .iter()
        .chain(parts)
        .flat_map(|part| part.iter().copied())
        .collect();
    expected.sort_unstable();
    assert_eq!((answer.status, headers(answer)), (status, expected));
}

#[test]
fn each_kind_of_answer_has_the_modern_headers_and_no_others() {
    let database = Database::named("headers");
    let collector = Collector::start_with(&database.url(), &["--allow-origin", PAGE.1]);
    let send = |method: &str, target: &str, headers: &[(&str, &str)], body: &str| {
        http::send(collector.address, method, target, headers, body.as_bytes())
    };
    let json = ("content-type", "application/json");
    let spooled = ("x-rowmill-ack", "spooled");
    let of_json = ("Content-Type", "application/json");

    // A mail server and a page.
    let webhook = send("POST", "/wh/mail", &[of_json], "{}");
    assert_headers(&webhook, 200, &[&[COOKIE, json, spooled]]);
    let page = send("POST", "/track/page", &[of_json, PAGE], "{}");
    assert_headers(&page, 200, &[&CORS, &[COOKIE, json, spooled]]);
    // A page that sends a Referer but no Origin does not need CORS headers.
    let with_referer = send("GET", "/track/page", &[("Referer", "https://shop.example/x")], "");
    assert_headers(&with_referer, 200, &[&[COOKIE, json, spooled]]);

    let embeddable = ("cross-origin-resource-policy", "cross-origin");
    let gif = ("content-type", "image/gif");
    assert_headers(&send("GET", "/pixel/mail", &[], ""), 200, &[&[embeddable, COOKIE, gif]]);
    assert_headers(
        &send("GET", "/track/page.gif", &[PAGE], ""),
        200,
        &[&CORS, &[embeddable, COOKIE, gif]],
    );

    let redirect = send("GET", "/redir/mail?to=https%3A%2F%2Fexample.org", &[], "");
    let to = ("location", "https://example.org");
    let origin_only = ("referrer-policy", "strict-origin-when-cross-origin");
    assert_headers(&redirect, 302, &[&[origin_only, COOKIE, to]]);

    let refused = send("POST", "/wh/mail", &[of_json, PAGE], "[");
    assert_headers(&refused, 400, &[&CORS, &[COOKIE, json]]);
    assert_headers(&send("GET", "/nowhere", &[], ""), 404, &[&[COOKIE, json]]);

    let preflight = send(
        "OPTIONS",
        "/track/page",
        &[PAGE, ("Access-Control-Request-Method", "POST")],
        "",
    );
    let allowed = [
        ("access-control-allow-methods", "GET, POST"),
        (
            "access-control-allow-headers",
            "Accept, Authorization, Content-Type, Idempotency-Key, X-Requested-With, X-Rowmill-Ack",
        ),
        ("access-control-max-age", "86400"),
    ];
    assert_headers(&preflight, 200, &[&CORS[..3], &allowed, &[json]]);
    assert_headers(&send("OPTIONS", "/track/page", &[], ""), 200, &[&[json]]);
}

#[test]
fn the_originals_headers_are_an_option() {
    let database = Database::named("headers_compat");
    let collector = Collector::start_with(&database.url(), &["--compat", "rockstat"]);
    let pixel = http::get(collector.address, "/pixel/mail");
    let names: Vec<_> = headers(&pixel).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "access-control-allow-credentials",
            "access-control-allow-origin",
            "access-control-expose-headers",
            "cache-control",
            "content-type",
            "expires",
            "last-modified",
            "pragma",
            "set-cookie",
            "x-frame-options",
            "x-response-time",
            "x-xss-protection",
        ]
    );
    assert_eq!(pixel.header("access-control-allow-origin"), Some("*"));
    // The option has no other value.
    let unknown = crate::support::collector::run(&["serve", "--compat", "other"]);
    assert_eq!(unknown.status.code(), Some(2));
}
