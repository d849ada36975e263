//! Routes with `verify`: what reaches them, and what does not. `ingest/src/verify/tests.rs` tests
//! the schemes.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use bytes::Bytes;
use embedder::tables;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use ring::hmac;
use rowmill_ingest::{
    EventLayer, EventOptions, Writer,
    layer::{EventService, RouteSecrets},
    server::not_found,
    test,
};
use tower::{Layer, ServiceExt, service_fn};

const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const UNAUTHORIZED: &str = r#"{"message":"Unauthorized"}"#;
const GITHUB: &str = "It's a Secret to Everybody";

/// A collector with the routes of `tests/embedder/schemas/verified.yml`.
struct Collector {
    writer: Writer,
    options: EventOptions,
}

impl Collector {
    fn new() -> Self {
        let secrets = RouteSecrets::default()
            .with("signed/github", [GITHUB])
            .with("signed/unsigned", [GITHUB])
            .with("signed/bearer", ["new", "old"])
            .with("pixel/signed", ["user:password"])
            .with("redir/signed", [GITHUB])
            .with("redir/link", ["a key of sixteen bytes"])
            .with("sealed/default", ["seal"]);
        Self {
            writer: test::writer(&tables::SCHEMA),
            options: EventOptions {
                secrets,
                ..EventOptions::default()
            },
        }
    }

    /// As the ready collector, which reads service and name from the query and the body, too.
    fn catching_all() -> Self {
        let mut collector = Self::new();
        collector.options.catch_all = true;
        collector
    }

    async fn send(&self, method: Method, target: &str, headers: &[(&str, &str)], body: &str) -> Response<Bytes> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let layer = EventLayer::<tables::Routes>::new(self.writer.clone()).unwrap();
        let service: EventService<_, _> = layer.with_options(&self.options).layer(service_fn(not_found));
        let response = service
            .oneshot(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }

    async fn post(&self, target: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        self.send(Method::POST, target, headers, body).await.status().as_u16()
    }

    /// Returns the numbers of rows and of dead letters.
    fn rows(&self) -> (u64, u64) {
        (test::rows(&self.writer, "signed"), test::rows(&self.writer, "rejected"))
    }

    /// Returns the counters of a route that are not 0.
    fn counts(&self, route: &str) -> Vec<(&'static str, u64)> {
        let counts = self.writer.status().unverified.into_iter();
        let counts = counts.filter(|count| count.route == route && count.count > 0);
        counts.map(|count| (count.reason, count.count)).collect()
    }
}

fn signature(body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, GITHUB.as_bytes()), body.as_bytes());
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

#[tokio::test]
async fn a_signed_request_is_stored_and_any_other_leaves_a_counter_alone() {
    let collector = Collector::new();
    let body = r#"{"number":1}"#;
    let signature = signature(body);
    let signed = [JSON, ("x-hub-signature-256", signature.as_str())];
    assert_eq!(collector.post("/signed/github", &signed, body).await, 200);
    assert_eq!(collector.rows(), (1, 0));

    for (headers, body) in [
        (&[JSON][..], body),
        (&signed, r#"{"number":2}"#),
        (&[JSON, ("x-hub-signature-256", "sha256=00")], body),
        (&[JSON, ("x-hub-signature-256", "00")], body),
        // These would become dead letters, or responses that name the error.
        (&[JSON], "{"),
        (&[JSON], ""),
        (&[JSON], "[1]"),
        (&[NDJSON], "{}\n{"),
        (&[("content-type", "multipart/form-data")], "x"),
        (&[JSON, ("content-encoding", "gzip")], "x"),
        (&[JSON, ("x-rowmill-ack", "unknown")], body),
    ] {
        let response = collector.send(Method::POST, "/signed/github", headers, body).await;
        assert_eq!(
            (response.status().as_u16(), &response.body()[..]),
            (401, UNAUTHORIZED.as_bytes())
        );
    }
    assert_eq!(collector.rows(), (1, 0));
    assert_eq!(
        collector.counts("signed/github"),
        [("malformed", 1), ("missing", 8), ("signature", 2)]
    );
    let status = collector.writer.status();
    let refused: u64 = status.rejections.events.iter().map(|(_, count)| count).sum();
    assert_eq!(refused, 0, "no event was refused, since none was read");
    assert!(status.rejections.requests.contains(&(401, 11)));

    // A verified event that does not fit is refused as on any other route.
    let bad = r#"{"number":"x"}"#;
    let signature = self::signature(bad);
    let signed = [JSON, ("x-hub-signature-256", signature.as_str())];
    assert_eq!(collector.post("/signed/github", &signed, bad).await, 400);
    assert_eq!(collector.rows(), (1, 1));
}

#[tokio::test]
async fn lines_are_verified_together() {
    let collector = Collector::new();
    let lines = "{\"number\":1}\n{\"number\":2}\n";
    let signature = signature(lines);
    let signed = [NDJSON, ("x-hub-signature-256", signature.as_str())];
    assert_eq!(collector.post("/signed/github", &signed, lines).await, 200);
    let more = format!("{lines}{{\"number\":3}}\n");
    assert_eq!(collector.post("/signed/github", &signed, &more).await, 401);
    assert_eq!(collector.rows(), (2, 0));
}

#[tokio::test]
async fn each_spelling_of_a_path_is_verified() {
    for collector in [Collector::new(), Collector::catching_all()] {
        for target in [
            "/signed/github",
            "/signed/GitHub",
            "/signed/github/5",
            "/signed/github/5/more.json",
            "/signed/github.json",
            "/band/signed/github",
            "/signed/github?service=signed&name=open",
            "/sealed/anything",
            "/sealed/default",
            "/gif/signed",
            "/away/signed?to=https://ya.ru",
        ] {
            assert_eq!(
                collector.post(target, &[JSON], r#"{"number":1}"#).await,
                401,
                "{target}"
            );
        }
        assert_eq!(collector.rows(), (0, 0));
        assert_eq!(
            collector
                .post("/sealed/x", &[JSON, ("x-seal", "seal")], r#"{"number":1}"#)
                .await,
            200
        );
        assert_eq!(collector.post("/signed/open", &[JSON], r#"{"number":1}"#).await, 200);
        assert_eq!(collector.rows(), (2, 0));
    }
}

#[tokio::test]
async fn no_field_leads_to_a_verified_route_without_a_signature() {
    let collector = Collector::catching_all();
    let by_body = r#"{"service":"signed","name":"github","number":1}"#;
    for (target, headers, body) in [
        ("/?service=signed&name=github", JSON, r#"{"number":1}"#),
        ("/signed?name=github", JSON, r#"{"number":1}"#),
        ("/?service=signed&name=github", JSON, "{"),
        ("/?service=signed&name=github", NDJSON, "{\"number\":1}\n"),
        ("/", JSON, by_body),
        ("/signed", JSON, r#"{"name":"github"}"#),
        (
            "/",
            ("content-type", "application/x-www-form-urlencoded"),
            "service=signed&name=github&number=1",
        ),
        ("/", JSON, r#"{"\u0073ervice":"signed","name":"github"}"#),
    ] {
        assert_eq!(collector.post(target, &[headers], body).await, 401, "{target} {body}");
    }
    assert_eq!(collector.rows(), (0, 0));
    let signature = signature(by_body);
    let signed = [JSON, ("x-hub-signature-256", signature.as_str())];
    assert_eq!(collector.post("/", &signed, by_body).await, 200);
    assert_eq!(collector.rows(), (1, 0));
}

#[tokio::test]
async fn a_copied_request_takes_no_other_fields_along() {
    let body = r#"{"number":1}"#;
    let signature = signature(body);
    let signed = [JSON, ("x-hub-signature-256", signature.as_str())];
    for collector in [Collector::new(), Collector::catching_all()] {
        for (target, status) in [
            ("/signed/github?number=2", 401),
            ("/signed/github?x", 401),
            ("/signed/github/5", 401),
            ("/redir/signed?to=https%3A%2F%2Fya.ru", 401),
            // Neither of them is a field.
            ("/signed/github?", 200),
            ("/signed/github.json", 200),
            // The route accepts them.
            ("/signed/unsigned?number=2", 200),
            ("/signed/unsigned/5", 200),
        ] {
            assert_eq!(collector.post(target, &signed, body).await, status, "{target}");
        }
        assert_eq!(collector.rows(), (4, 0));
        assert_eq!(collector.counts("signed/github"), [("unsigned", 3)]);
        assert_eq!(collector.counts("redir/signed"), [("unsigned", 1)]);
        // A wrong signature does not tell what else would be wrong.
        let wrong = [JSON, ("x-hub-signature-256", "sha256=00")];
        assert_eq!(collector.post("/signed/github?number=2", &wrong, body).await, 401);
        assert_eq!(collector.counts("signed/github"), [("signature", 1), ("unsigned", 3)]);
        // A token is no signature: whoever has copied it can send anything.
        let token = [JSON, ("authorization", "Bearer new")];
        assert_eq!(collector.post("/signed/bearer?number=2", &token, body).await, 200);
    }
}

#[tokio::test]
async fn a_route_without_a_certificate_of_its_connection_refuses() {
    let collector = Collector::new();
    let forged = [JSON, ("x-client-cert", "shop.example.com")];
    assert_eq!(
        collector.post("/signed/certified", &forged, r#"{"number":1}"#).await,
        401
    );
    assert_eq!(collector.counts("signed/certified"), [("missing", 1)]);
    assert_eq!(collector.rows(), (0, 0));
}

#[tokio::test]
async fn pixels_and_redirects_need_a_proof_without_a_body() {
    let collector = Collector::new();
    let authorized = [("authorization", "Basic dXNlcjpwYXNzd29yZA==")];
    for method in [Method::GET, Method::HEAD] {
        let response = collector
            .send(method.clone(), "/pixel/signed?number=1", &authorized, "")
            .await;
        assert_eq!(response.status(), 200);
        let response = collector.send(method.clone(), "/pixel/signed?number=1", &[], "").await;
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"events\"");
        // The signature of an empty body is not one of the query.
        let signature = signature("");
        let signed = [("x-hub-signature-256", signature.as_str())];
        let response = collector
            .send(method, "/redir/signed?to=https%3A%2F%2Fya.ru", &signed, "")
            .await;
        assert_eq!(
            (response.status().as_u16(), response.headers().get("location")),
            (401, None)
        );
    }
    // HEAD is not an event.
    assert_eq!(collector.rows(), (1, 0));
    assert_eq!(collector.counts("redir/signed"), [("method", 2)]);
    // A preflight of a browser has no credentials.
    let response = collector.send(Method::OPTIONS, "/signed/bearer", &[], "").await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn both_secrets_are_valid_during_a_rotation() {
    let collector = Collector::new();
    for (token, expected) in [("new", 200), ("old", 200), ("older", 401), ("", 401)] {
        let token = format!("Bearer {token}");
        let headers = [JSON, ("authorization", token.as_str())];
        assert_eq!(
            collector.post("/signed/bearer", &headers, r#"{"number":1}"#).await,
            expected,
            "{token}"
        );
    }
    assert_eq!(collector.rows(), (2, 0));
}

#[tokio::test]
async fn a_route_without_its_secret_accepts_nothing() {
    let mut collector = Collector::new();
    let headers = [JSON, ("stripe-signature", "t=1,v1=00")];
    let response = collector.send(Method::POST, "/signed/stripe", &headers, "{}").await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "2");
    assert_eq!(collector.rows(), (0, 0));
    assert_eq!(collector.counts("signed/stripe"), [("no-secret", 1)]);

    let check = |options: &EventOptions| EventLayer::<tables::Routes>::check_secrets(options);
    assert_eq!(
        check(&collector.options).unwrap_err().to_string(),
        "no secret for the route `signed/standard`: the environment variable EMBEDDER_STANDARD is not set"
    );
    let secrets = collector.options.secrets.clone();
    collector.options.secrets = secrets
        .with("signed/standard", ["whsec_c2VjcmV0"])
        .with("signed/stripe", ["secret"])
        .with("signed/twilio", ["secret"])
        .with("signed/shopify", ["secret"])
        .with("signed/slack", ["secret"])
        .with("signed/mailgun", ["secret"]);
    assert_eq!(check(&collector.options).unwrap_err().route(), "signed/sendgrid");
    let key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eN\
               Ec6wEA3F+g==";
    let secrets = collector.options.secrets.clone();
    collector.options.secrets = secrets
        .with("signed/sendgrid", [key])
        .with("keyed/segment", ["KEY:"])
        .with("signed/sns", [include_str!("../src/verify/sns/certificate.pem")]);
    assert_eq!(check(&collector.options), Ok(()));
}
