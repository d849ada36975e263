//! Browsers: the visitor's cookie over each scheme, the uids of visitors, and the pages that may
//! read a response.

use crate::support::{
    browser,
    collector::{Collector, run},
    engine::Database,
    http::{self, Answer},
};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// The headers of a proxy with TLS.
const OVER_TLS: (&str, &str) = ("X-Forwarded-Proto", "https");

fn set_cookie(answer: &Answer) -> &str {
    answer.header("set-cookie").unwrap_or_default()
}

/// Returns the uid of the cookie that a response sets.
fn uid(answer: &Answer) -> &str {
    let cookie = set_cookie(answer).strip_prefix("uid=").unwrap();
    cookie.split_once(';').unwrap().0
}

#[test]
fn the_cookie_fits_the_scheme() {
    let database = Database::named("browsers_cookie");
    let collector = Collector::start(&database);
    let get = |headers: &[(&str, &str)]| http::send(collector.address, "GET", "/pixel/mail", headers, b"");
    let plain = get(&[]);
    assert!(
        set_cookie(&plain).ends_with("; HttpOnly; SameSite=Lax"),
        "{}",
        set_cookie(&plain)
    );
    let secure = "; HttpOnly; Secure; SameSite=None";
    assert!(set_cookie(&get(&[OVER_TLS])).ends_with(secure));
    // A proxy that reports a client and no scheme counts as one with TLS.
    assert!(set_cookie(&get(&[("X-Real-IP", "198.51.100.1")])).ends_with(secure));
    let plain_proxy = get(&[("X-Real-IP", "198.51.100.1"), ("X-Forwarded-Proto", "http")]);
    assert!(set_cookie(&plain_proxy).ends_with("; SameSite=Lax"));

    let untrusting = Collector::start_with(&database.url(), &["--trusted-proxies", ""]);
    let answer = http::send(untrusting.address, "GET", "/pixel/mail", &[OVER_TLS], b"");
    assert!(set_cookie(&answer).ends_with("; SameSite=Lax"));
}

#[test]
fn the_cookie_is_configured() {
    let database = Database::named("browsers_options");
    let collector = Collector::start_with(
        &database.url(),
        &[
            "--cookie-name",
            "visitor",
            "--cookie-domain",
            "example.com",
            "--cookie-same-site",
            "strict",
            "--cookie-max-age",
            "30d",
        ],
    );
    let headers = [
        OVER_TLS,
        ("X-Forwarded-Host", "stat.other.com"),
        ("Cookie", "visitor=1234567890; uid=9999999999"),
    ];
    let answer = http::send(collector.address, "GET", "/pixel/mail", &headers, b"");
    assert_eq!(
        set_cookie(&answer),
        "visitor=1234567890; Domain=example.com; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Strict"
    );
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(database.query("SELECT uid FROM mail_statistics"), "1234567890\n");

    let without = Database::named("browsers_no_cookie");
    let collector = Collector::start_with(&without.url(), &["--no-cookie"]);
    for _ in 0..2 {
        let answer = http::send(
            collector.address,
            "GET",
            "/pixel/mail",
            &[("Cookie", "uid=1234567890")],
            b"",
        );
        assert_eq!(answer.header("set-cookie"), None);
    }
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        without.query("SELECT uniq(uid), countIf(uid = 1234567890) FROM mail_statistics"),
        "2\t0\n"
    );

    for arguments in [
        ["--cookie-name", "a b"],
        ["--cookie-domain", "https://example.com"],
        ["--cookie-same-site", "all"],
        ["--allow-origin", "shop.example.com"],
    ] {
        let output = run(&["serve", arguments[0], arguments[1]]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_uid_of_a_link_or_a_body_marks_the_event_and_sets_no_cookie() {
    let database = Database::named("browsers_fixation");
    let collector = Collector::start(&database);
    let send = |target: &str, headers: &[(&str, &str)], body: &str| {
        let method = if body.is_empty() { "GET" } else { "POST" };
        http::send(collector.address, method, target, headers, body.as_bytes())
    };
    let victim = [("Cookie", "uid=2222222222")];
    for (target, body) in [
        ("/redir/mail?to=https%3A%2F%2Fexample.org&event=link&uid=1111111111", ""),
        ("/wh/mail?event=query&uid=1111111111", ""),
        ("/wh/mail.json", r#"{"event":"body","uid":"1111111111"}"#),
    ] {
        assert_eq!(send(target, &[], body).header("set-cookie"), None, "{target}");
        // The visitor keeps the uid of the browser.
        assert_eq!(uid(&send(target, &victim, body)), "2222222222", "{target}");
    }
    // An invalid uid is none.
    assert_ne!(uid(&send("/wh/mail?event=none&uid=x", &[], "")), "x");
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query(
            "SELECT event, count(), any(uid) FROM mail_statistics WHERE uid = 1111111111 GROUP BY event ORDER BY event"
        ),
        "body\t2\t1111111111\nlink\t2\t1111111111\nquery\t2\t1111111111\n"
    );

    // Rockstat's collector puts any uid into its cookie.
    let compatible = Collector::start_with(&database.url(), &["--compat", "rockstat"]);
    let answer = http::get(compatible.address, "/wh/mail?uid=1111111111");
    assert_eq!(uid(&answer), "1111111111");
}

#[test]
fn uids_of_visitors_cannot_be_guessed() {
    let database = Database::named("browsers_uids");
    let collector = Collector::start(&database);
    let uids: Vec<u64> = (0..50)
        .map(|_| uid(&http::get(collector.address, "/pixel/mail")).parse().unwrap())
        .collect();
    for uid in &uids {
        assert!((10_u64.pow(18)..=i64::MAX as u64).contains(uid), "{uid}");
    }
    // Neither their order nor their first bits follow the time.
    assert!(!uids.is_sorted());
    let distances = uids.windows(2).map(|pair| pair[0].abs_diff(pair[1]));
    assert!(distances.min().unwrap() > 1 << 32);
    assert_eq!(collector.stop().code, Some(0));
    let stored = database.query("SELECT uid FROM mail_statistics ORDER BY id");
    let stored: Vec<u64> = stored.lines().map(|uid| uid.parse().unwrap()).collect();
    assert_eq!(stored, uids);
}

#[test]
fn a_page_of_another_site_gets_no_credentials() {
    let database = Database::named("browsers_cors");
    let collector = Collector::start_with(&database.url(), &["--domain", "stat.shop.example"]);
    let allowed = |collector: &Collector, method: &str, origin: &str| {
        let answer = http::send(
            collector.address,
            method,
            "/wh/mail",
            &[JSON, ("Origin", origin)],
            b"{}",
        );
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("vary"), Some("Origin"));
        let header = |name| answer.header(name).map(str::to_owned);
        (
            header("access-control-allow-origin").unwrap(),
            header("access-control-allow-credentials").is_some(),
        )
    };
    let with = |origin: &str| (origin.to_owned(), true);
    let without = ("*".to_owned(), false);
    for method in ["POST", "OPTIONS"] {
        // The request's host is `localhost`.
        for own in [
            "http://localhost:3000",
            "https://www.shop.example",
            "http://shop.example",
        ] {
            assert_eq!(allowed(&collector, method, own), with(own));
        }
        for other in [
            "https://evil.example",
            "https://shop.example.evil.example",
            "null",
            "file://",
        ] {
            assert_eq!(allowed(&collector, method, other), without, "{other}");
        }
    }

    let listed = Collector::start_with(
        &database.url(),
        &[
            "--allow-origin",
            "https://a.example,https://*.b.example",
            "--allow-origin",
            "http://c.example:81",
        ],
    );
    for origin in ["https://a.example", "https://x.b.example", "http://c.example:81"] {
        assert_eq!(allowed(&listed, "POST", origin), with(origin));
    }
    for origin in [
        "http://a.example",
        "https://b.example",
        "http://c.example",
        "http://localhost",
        "null",
    ] {
        assert_eq!(allowed(&listed, "POST", origin), without, "{origin}");
    }
    // With the original's headers, each page gets its own.
    let compatible = Collector::start_with(&database.url(), &["--compat", "rockstat"]);
    let answer = http::send(
        compatible.address,
        "POST",
        "/wh/mail",
        &[JSON, ("Origin", "https://evil.example")],
        b"{}",
    );
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://evil.example")
    );
}

/// Returns a page that sends events to `collector` and shows the results.
fn page(collector: &str) -> String {
    format!(
        r#"<!doctype html><pre id="out"></pre><script>
const send = async (name, credentials) => {{
  try {{
    const answer = await fetch('http://{collector}/wh/mail', {{
      method: 'POST', credentials, body: JSON.stringify({{event: name}}),
      headers: {{'Content-Type': 'application/json', 'Idempotency-Key': name, 'X-Shop': '1', 'X-Rowmill-Ack': 'accepted'}},
    }});
    return name + '=' + answer.status + ',' + answer.headers.get('X-Rowmill-Ack');
  }} catch (error) {{ return name + '=' + error.name; }}
}};
(async () => {{
  const results = [await send('first', 'include'), await send('second', 'include'), await send('omitted', 'omit')];
  document.getElementById('out').textContent = results.join(' ');
}})();
</script>"#
    )
}

#[test]
fn a_browser_keeps_the_cookie_over_plain_http_and_obeys_the_origins() {
    let database = Database::named("browsers_chromium");
    let collector = Collector::start_with(&database.url(), &["--ack-header"]);
    let port = collector.address.port();
    let site = browser::site(page(&format!("localhost:{port}")));
    // Another port of the same host is the same site.
    let Some(own) = browser::open(&format!("http://localhost:{}/", site.port())) else {
        eprintln!("there is no chromium: the test is skipped");
        return;
    };
    assert!(
        own.contains("first=200,accepted second=200,accepted omitted=200,accepted"),
        "{own}"
    );
    // The address is another site than `localhost`, so its page may not send the cookie.
    let other = browser::open(&format!("http://127.0.0.1:{}/", site.port())).unwrap();
    assert!(
        other.contains("first=TypeError second=TypeError omitted=200,accepted"),
        "{other}"
    );
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query(
            "SELECT uniqIf(uid, event != 'omitted'), uniq(uid), groupArraySorted(9)(event) FROM mail_statistics"
        ),
        "1\t3\t['first','omitted','omitted','second']\n"
    );
}
