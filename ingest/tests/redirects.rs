//! Redirects: the hosts that the links of each policy lead to.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use embedder::tables;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use rowmill_ingest::{EventLayer, EventOptions, Writer, layer::RouteSecrets, route::LinkKey, server::not_found, test};
use tower::{Layer, ServiceExt, service_fn};

const KEY: &str = "a long random text of 32 bytes!!";
const OLD_KEY: &str = "another long random text: 32 b!!";

struct Collector {
    writer: Writer,
    options: EventOptions,
}

impl Collector {
    fn new(catch_all: bool) -> Self {
        Self {
            writer: test::writer(&tables::SCHEMA),
            options: EventOptions {
                catch_all,
                secrets: RouteSecrets::default().with("redir/link", [KEY, OLD_KEY]),
                ..EventOptions::default()
            },
        }
    }

    async fn send(&self, request: Request<&'static str>) -> Response<String> {
        let layer = EventLayer::<tables::Routes>::new(self.writer.clone()).unwrap();
        let service = layer.with_options(&self.options).layer(service_fn(not_found));
        let response = service
            .oneshot(request.map(|body| Full::new(Bytes::from(body))))
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Response::from_parts(parts, String::from_utf8(body.into()).unwrap())
    }

    /// Returns the status of a link, and where it leads.
    async fn follow(&self, link: &str) -> (u16, Option<String>) {
        let request = Request::get(link).header("host", "stat.example.co.uk:8080");
        let response = self.send(request.body("").unwrap()).await;
        let location = response.headers().get("location");
        (
            response.status().as_u16(),
            location.map(|value| value.to_str().unwrap().to_owned()),
        )
    }

    async fn leads(&self, path: &str, to: &str) -> bool {
        let to: String = form_urlencoded(to);
        match self
            .follow(&format!("{path}{}to={to}", if path.contains('?') { '&' } else { '?' }))
            .await
        {
            (302, Some(_)) => true,
            (403, None) => false,
            other => panic!("{path} {to} {other:?}"),
        }
    }
}

fn form_urlencoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn each_policy_leads_to_its_hosts() {
    let collector = Collector::new(false);
    for (to, anywhere, site, listed) in [
        ("https://example.org/a?b#c", true, false, true),
        ("https://EXAMPLE.org:8443", true, false, true),
        ("https://ex%61mple.org.", true, false, true),
        ("https://evil.com/example.org", true, false, false),
        ("https://example.org.evil.com", true, false, false),
        ("https://a.shop.example", true, false, true),
        ("https://shop.example", true, false, false),
        ("https://www.example.co.uk", true, true, false),
        ("https://example.co.uk", true, true, false),
        ("https://evil.co.uk", true, false, false),
        ("https://xexample.co.uk", true, false, false),
        // Private hosts, except a listed one.
        ("http://10.0.0.5/x", false, false, true),
        ("http://0xa000005/x", false, false, true),
        ("http://10.0.0.6/x", false, false, false),
        ("http://localhost/x", false, false, false),
        ("http://[::ffff:127.0.0.1]/x", false, false, false),
    ] {
        assert_eq!(collector.leads("/redir/anywhere", to).await, anywhere, "{to}");
        assert_eq!(collector.leads("/redir/site", to).await, site, "{to}");
        assert_eq!(collector.leads("/redir/listed", to).await, listed, "{to}");
        assert!(!collector.leads("/redir/link", to).await, "{to}");
    }
    let encoded = collector
        .follow("/redir/listed?to=http://0xa000005:80/%2561?b=%2531")
        .await;
    assert_eq!(encoded, (302, Some("http://10.0.0.5/%61?b=%31".to_owned())));
}

#[tokio::test]
async fn a_refused_link_is_an_event_and_says_why() {
    let collector = Collector::new(false);
    let request = Request::get("/redir/listed?number=1&to=https://evil.com");
    let response = collector.send(request.body("").unwrap()).await;
    assert_eq!(response.status(), 403);
    assert_eq!(
        response.body(),
        r#"{"message":"Forbidden","reason":"parameter \"to\" leads to a host that this link may not lead to"}"#
    );
    assert_eq!(test::rows(&collector.writer, "clicks"), 1);
    assert!(collector.writer.status().rejections.requests.contains(&(403, 1)));
}

#[tokio::test]
async fn the_visitors_own_host_is_its_site() {
    let collector = Collector::new(false);
    for (host, to, expected) in [
        ("localhost:8080", "http://localhost:3000/", 302),
        ("127.0.0.1:8080", "http://127.0.0.1:3000/", 302),
        ("127.0.0.1:8080", "http://127.0.0.2/", 403),
        ("stat.example.com", "http://example.com/", 302),
        ("stat.example.com", "http://example.org/", 403),
        ("evil.com@example.com", "http://evil.com/", 403),
        ("", "http://example.com/", 403),
    ] {
        let request = Request::get(format!("/redir/site?to={to}")).header("host", host);
        let response = collector.send(request.body("").unwrap()).await;
        assert_eq!(response.status(), expected, "{host} {to}");
    }
}

#[tokio::test]
async fn no_other_path_leads_around_a_policy() {
    let collector = Collector::new(true);
    for path in [
        "/redir/LISTED",
        "/away/listed",
        "/band/redir/listed",
        "/redir/listed/5/more.html",
        "/redir/listed?service=redir&name=anywhere",
        // These have no destination, and the schema closes them.
        "/?service=redir&name=anywhere",
        "/redir?name=listed",
        "/redir/?name=anywhere",
    ] {
        let to = format!(
            "{path}{}to=https://evil.com",
            if path.contains('?') { '&' } else { '?' }
        );
        for method in ["GET", "HEAD", "POST"] {
            let request = Request::builder().method(method).uri(&to).body("").unwrap();
            let response = collector.send(request).await;
            assert_eq!(response.headers().get("location"), None, "{method} {to}");
            assert_ne!(response.status(), 302, "{method} {to}");
        }
    }
    // Nor does a field of a body.
    let request = Request::post("/redir/listed").header("content-type", "application/json");
    let response = collector
        .send(request.body(r#"{"to":"https://evil.com"}"#).unwrap())
        .await;
    assert_eq!(response.status(), 403);
    let lines = Request::post("/redir/listed?to=https://evil.com").header("content-type", "application/x-ndjson");
    assert_eq!(collector.send(lines.body("{}\n").unwrap()).await.status(), 403);
    let broken = Request::post("/redir/listed?to=https://evil.com").header("content-type", "application/json");
    assert_eq!(collector.send(broken.body("{").unwrap()).await.status(), 403);
}

#[tokio::test]
async fn a_signed_link_leads_to_its_target_until_it_ends() {
    let collector = Collector::new(false);
    let now = SystemTime::now();
    let end = now + Duration::from_secs(60);
    let key = LinkKey::new(KEY);
    let link = key
        .sign("redir/link", "https://example.org/a%20b?c=d&e=%26#f", end)
        .unwrap();
    let target = (302, Some("https://example.org/a%20b?c=d&e=%26#f".to_owned()));
    assert_eq!(collector.follow(&link).await, target);
    assert_eq!(collector.follow(&format!("{link}&number=7")).await, target);
    let old = LinkKey::new(OLD_KEY)
        .sign("redir/link", "https://example.org", end)
        .unwrap();
    assert_eq!(collector.follow(&old).await.0, 302, "another key, during a rotation");
    let private = key.sign("redir/link", "http://10.0.0.7/x", end).unwrap();
    assert_eq!(
        collector.follow(&private).await.0,
        302,
        "whoever signs knows the target"
    );
    // The table refuses keys without a column; the fields of the signature are none.
    assert_eq!(test::rows(&collector.writer, "clicks"), 4);

    let signature = link.rsplit_once('=').unwrap().1;
    let expired = key
        .sign("redir/link", "https://example.org", now - Duration::from_secs(2))
        .unwrap();
    let forged = LinkKey::new("a key of somebody else")
        .sign("redir/link", "https://example.org", end)
        .unwrap();
    let elsewhere = key.sign("redir/listed", "https://evil.com", end).unwrap();
    let (path, query) = link.split_once('?').unwrap();
    let fields: Vec<&str> = query.split('&').collect();
    for (link, reason) in [
        (expired, "the link has expired"),
        (forged, "signed"),
        (elsewhere.replace("/redir/listed", "/redir/link"), "signed"),
        (link.replace("example.org", "evil.com"), "signed"),
        (link.replace("to_expires=", "to_expires=9"), "signed"),
        (link.replace(signature, ""), "signed"),
        (link.replace(signature, &signature[1..]), "signed"),
        (format!("{path}?{}&{}", fields[0], fields[1]), "signed"),
        (format!("{path}?{}&{}", fields[0], fields[2]), "signed"),
        (format!("{path}?{}", fields[0]), "signed"),
    ] {
        let response = collector.send(Request::get(&link).body("").unwrap()).await;
        assert_eq!(
            (response.status().as_u16(), response.headers().get("location")),
            (403, None),
            "{link}"
        );
        assert!(response.body().contains(reason), "{link} {}", response.body());
    }
    let counts = collector.writer.status().unverified;
    let count = |reason: &str| {
        counts
            .iter()
            .find(|count| (count.route, count.reason) == ("redir/link", reason))
    };
    assert_eq!(count("timestamp").unwrap().count, 1);
    assert_eq!(count("missing").unwrap().count, 3);

    for (target, error) in [
        (
            "javascript:alert(1)",
            "parameter \"to\" must begin with http:// or https://",
        ),
        (
            "https://user@example.org",
            "parameter \"to\" must not have a user name before its host",
        ),
    ] {
        assert_eq!(key.sign("redir/link", target, end).unwrap_err().to_string(), error);
    }
    // An international target is signed in the form in which it is sent.
    let link = key.sign("redir/link", "https://пример.рф/путь", end).unwrap();
    assert_eq!(
        collector.follow(&link).await.1.unwrap(),
        "https://xn--e1afmkfd.xn--p1ai/%D0%BF%D1%83%D1%82%D1%8C"
    );
}
