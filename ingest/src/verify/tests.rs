//! Each scheme against the vectors that its sender has published, and against changed requests.
//! `tests/it/senders.rs` compares the schemes with the senders' own libraries.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};

use super::{
    Unverified, Verification,
    client_certificate::ClientCertificate,
    guard::Guard,
    request::SignedRequest,
    scheme::{Algorithm, BodyHmac, Encoding, Scheme},
    secret::{RouteSecrets, SecretSource},
};

const ROUTE: &str = "wh/test";

const GITHUB: Scheme = Scheme::BodyHmac(BodyHmac {
    header: "x-hub-signature-256",
    algorithm: Algorithm::Sha256,
    encoding: Encoding::Hex,
    prefix: "sha256=",
});

const SHOPIFY: Scheme = Scheme::BodyHmac(BodyHmac {
    header: "x-shopify-hmac-sha256",
    algorithm: Algorithm::Sha256,
    encoding: Encoding::Base64,
    prefix: "",
});

/// A request that its sender has signed, and what is needed to verify it.
#[derive(Clone)]
struct Sent {
    scheme: Scheme,
    secrets: Vec<String>,
    tolerance_s: Option<u64>,
    headers: Vec<(&'static str, String)>,
    uri: &'static str,
    body: Vec<u8>,
    has_body: bool,
    allows_unsigned: bool,
    certificate: Option<ClientCertificate>,
    unix_s: u64,
}

impl Sent {
    fn new(scheme: Scheme, secret: &str, headers: &[(&'static str, &str)], body: &str, unix_s: u64) -> Self {
        Self {
            scheme,
            secrets: vec![secret.to_owned()],
            tolerance_s: Some(300),
            headers: headers
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            uri: "/wh/test",
            body: body.into(),
            has_body: true,
            allows_unsigned: false,
            certificate: None,
            unix_s,
        }
    }

    fn verify(&self) -> Result<(), Unverified> {
        let verification = Box::leak(Box::new(Verification {
            route: ROUTE,
            scheme: self.scheme,
            secrets: &[],
            tolerance_s: self.tolerance_s,
            allows_unsigned: self.allows_unsigned,
        }));
        let secrets = RouteSecrets::default().with(ROUTE, self.secrets.clone());
        let guard = Guard::new([&*verification].into_iter(), &secrets).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let uri: Uri = self.uri.parse().unwrap();
        let request = SignedRequest {
            headers: &headers,
            uri: &uri,
            body: &self.body,
            has_body: self.has_body,
            has_fields_beside_body: uri.query().is_some(),
            certificate: self.certificate.as_ref(),
            unix_s: self.unix_s,
        };
        guard.verify(verification, &request)
    }

    fn changed(&self, change: impl FnOnce(&mut Self)) -> Result<(), Unverified> {
        let mut changed = self.clone();
        change(&mut changed);
        changed.verify()
    }
}

/// The requests of the senders' documentation and of the tests of their libraries.
fn published() -> Vec<Sent> {
    let webhook = Sent::new(
        Scheme::StandardWebhooks,
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ],
        r#"{"test": 2432232314}"#,
        1_614_265_330,
    );
    let mut svix = webhook.clone();
    for ((name, _), svix) in svix
        .headers
        .iter_mut()
        .zip(["svix-id", "svix-timestamp", "svix-signature"])
    {
        *name = svix;
    }
    let github = Sent::new(
        GITHUB,
        "It's a Secret to Everybody",
        &[(
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )],
        "Hello, World!",
        0,
    );
    let slack = Sent::new(
        Scheme::Slack,
        "8f742231b10e8888abcd99yyyzzz85a5",
        &[
            ("x-slack-request-timestamp", "1531420618"),
            (
                "x-slack-signature",
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            ),
        ],
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar\
         &user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com\
         %2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.\
         803a0bc887a14d10d2c447fce8b6703c",
        1_531_420_618,
    );
    let sendgrid = Sent::new(
        Scheme::SendGrid,
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6\
         wEA3F+g==",
        &[
            (
                "x-twilio-email-event-webhook-signature",
                "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
            ),
            ("x-twilio-email-event-webhook-timestamp", "1600112502"),
        ],
        "[{\"email\":\"hello@world.com\",\"event\":\"dropped\",\"reason\":\"Bounced Address\",\"sg_event_id\":\
         \"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA\",\"sg_message_id\":\"LRzXl_NHStOGhQ4kofSm_A.\
         filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0\",\"smtp-id\":\"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.\
         sendgrid.net>\",\"timestamp\":1600112492}]\r\n",
        1_600_112_502,
    );
    let mut twilio = Sent::new(
        Scheme::Twilio {
            url: "https://mycompany.com",
        },
        "12345",
        &[("x-twilio-signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")],
        "To=%2B18005551212&From=%2B14158675309&Digits=1234&Caller=%2B14158675309&CallSid=CA1234567890ABCDE",
        0,
    );
    twilio.uri = "/myapp.php?foo=1&bar=2";
    vec![webhook, svix, github, slack, sendgrid, twilio]
}

fn hmac_of(parts: &[&[u8]], key: &[u8]) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, &parts.concat())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Requests of the senders that have published none, as their documentation describes them.
fn described() -> Vec<Sent> {
    let stripe = hex(hmac_of(&[b"1700000000.{}"], b"whsec_stripe").as_ref());
    let shopify = STANDARD.encode(hmac_of(&[b"{}"], b"shop").as_ref());
    let mailgun = hex(hmac_of(&[b"1700000000", b"abc"], b"mail").as_ref());
    vec![
        Sent::new(
            Scheme::Stripe,
            "whsec_stripe",
            &[("stripe-signature", &format!("t=1700000000,v1={stripe},v0=abc"))],
            "{}",
            1_700_000_000,
        ),
        Sent::new(SHOPIFY, "shop", &[("x-shopify-hmac-sha256", &shopify)], "{}", 0),
        Sent::new(
            Scheme::Mailgun,
            "mail",
            &[],
            &format!(
                r#"{{"event-data":{{"id":"a"}},"signature":{{"timestamp":"1700000000","token":"abc","signature":"{mailgun}"}}}}"#
            ),
            1_700_000_000,
        ),
        Sent::new(Scheme::Bearer, "token", &[("authorization", "bearer  token")], "", 0),
        Sent::new(
            Scheme::Basic,
            "user:pass word",
            &[("authorization", &format!("Basic {}", STANDARD.encode("user:pass word")))],
            "",
            0,
        ),
        Sent::new(
            Scheme::Header { name: "x-token" },
            "token",
            &[("x-token", "token")],
            "",
            0,
        ),
    ]
}

#[test]
fn the_published_requests_are_verified() {
    for sent in published().into_iter().chain(described()) {
        assert_eq!(sent.verify(), Ok(()), "{}", sent.scheme.name());
    }
}

#[test]
fn a_wrong_secret_is_refused_and_a_second_one_is_tried() {
    for sent in published().into_iter().chain(described()) {
        let other = match sent.scheme {
            Scheme::StandardWebhooks => "whsec_c29tZXRoaW5nIGVsc2U=",
            Scheme::Basic => "user:other",
            // Another key on the curve.
            Scheme::SendGrid => {
                "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEDr/LjtrTD6XSRAdKZmnlxNGXb5MaFtqiBzkNpxC/XXWbpZUzBpAVUFtoXPVwOD5fT7ZuhhTmqJhKdU4LXfZtw=="
            }
            _ => "another",
        };
        let name = sent.scheme.name();
        assert_eq!(
            sent.changed(|sent| sent.secrets = vec![other.to_owned()]),
            Err(Unverified::Signature),
            "{name}"
        );
        assert_eq!(
            sent.changed(|sent| sent.secrets.insert(0, other.to_owned())),
            Ok(()),
            "{name}"
        );
        assert_eq!(
            sent.changed(|sent| sent.secrets.push(other.to_owned())),
            Ok(()),
            "{name}"
        );
    }
}

#[test]
fn each_changed_byte_of_a_signed_body_is_refused() {
    for sent in published().into_iter().chain(described()) {
        let name = sent.scheme.name();
        for at in 0..sent.body.len() {
            let changed = sent.changed(|sent| sent.body[at] ^= 1);
            // Mailgun signs a part of its body only; `the_signature_of_mailgun_is_read_once` tests it.
            assert!(changed.is_err() || sent.scheme == Scheme::Mailgun, "{name} {at}");
        }
        if sent.scheme.signs_body() && sent.scheme != Scheme::Mailgun {
            assert!(sent.changed(|sent| sent.body.push(b'\n')).is_err(), "{name}");
            assert!(sent.changed(|sent| sent.body.clear()).is_err(), "{name}");
        }
    }
}

#[test]
fn a_header_that_is_missing_or_there_twice_is_refused() {
    for sent in published().into_iter().chain(described()) {
        let name = sent.scheme.name();
        for at in 0..sent.headers.len() {
            let removed = sent.changed(|sent| drop(sent.headers.remove(at)));
            assert_eq!(removed, Err(Unverified::Missing), "{name} {at}");
            let twice = sent.changed(|sent| sent.headers.push(sent.headers[at].clone()));
            assert_eq!(twice, Err(Unverified::Malformed), "{name} {at}");
            let emptied = sent.changed(|sent| sent.headers[at].1.clear());
            assert!(emptied.is_err(), "{name} {at}");
            let changed = sent.changed(|sent| sent.headers[at].1.insert(0, 'x'));
            assert!(changed.is_err(), "{name} {at}");
        }
    }
}

#[test]
fn a_signature_is_refused_beyond_its_tolerance() {
    for sent in published().into_iter().chain(described()) {
        let name = sent.scheme.name();
        let has_time = matches!(
            sent.scheme,
            Scheme::StandardWebhooks | Scheme::Stripe | Scheme::Slack | Scheme::SendGrid | Scheme::Mailgun
        );
        let at = |unix_s: u64| sent.changed(|sent| sent.unix_s = unix_s);
        if has_time {
            for (unix_s, expected) in [
                (sent.unix_s + 300, Ok(())),
                (sent.unix_s - 300, Ok(())),
                (sent.unix_s + 301, Err(Unverified::Timestamp)),
                (sent.unix_s - 301, Err(Unverified::Timestamp)),
                (0, Err(Unverified::Timestamp)),
            ] {
                assert_eq!(at(unix_s), expected, "{name}");
            }
        } else {
            assert_eq!(at(u64::MAX), Ok(()), "{name}");
        }
        let without_limit = sent.changed(|sent| (sent.unix_s, sent.tolerance_s) = (0, None));
        assert_eq!(without_limit, Ok(()), "{name}");
    }
}

#[test]
fn a_request_without_a_body_needs_a_scheme_that_signs_none() {
    for sent in published().into_iter().chain(described()) {
        let expected = match sent.scheme {
            Scheme::Bearer | Scheme::Basic | Scheme::Header { .. } => Ok(()),
            _ => Err(Unverified::Method),
        };
        assert_eq!(sent.changed(|sent| sent.has_body = false), expected);
    }
}

#[test]
fn one_of_several_signatures_suffices() {
    let webhook = published().swap_remove(0);
    let good = webhook.headers[2].1.clone();
    let bad = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (signatures, expected) in [
        (format!("{bad} {good}"), Ok(())),
        (format!("{good} {bad}"), Ok(())),
        (format!("v2,??? {good}"), Ok(())),
        (bad.to_owned(), Err(Unverified::Signature)),
        (good.replace("v1,", "v1a,"), Err(Unverified::Signature)),
        (good.replace("v1,", "v2,"), Err(Unverified::Signature)),
        (good.replace("v1,", "v1"), Err(Unverified::Malformed)),
        (format!("{good} v1,?"), Err(Unverified::Malformed)),
        (format!("{good} ").repeat(17), Err(Unverified::Malformed)),
    ] {
        let result = webhook.changed(|sent| sent.headers[2].1 = signatures.clone());
        assert_eq!(result, expected, "{signatures}");
    }
    let stripe = described().swap_remove(0);
    let header = stripe.headers[0].1.clone();
    for (header, expected) in [
        (header.replace(",v1=", ",v1=00,v1="), Ok(())),
        (header.replace(",v1=", ", v1="), Ok(())),
        (header.replace("t=", "t=1,t="), Err(Unverified::Malformed)),
        (header.replace("t=1700000000,", ""), Err(Unverified::Missing)),
        (header.replace("v1=", "v0="), Err(Unverified::Missing)),
        (header.replace("v1=", "v1=zz"), Err(Unverified::Malformed)),
    ] {
        let result = stripe.changed(|sent| sent.headers[0].1 = header.clone());
        assert_eq!(result, expected, "{header}");
    }
}

#[test]
fn a_signature_of_ed25519_is_verified_beside_an_hmac() {
    let random = SystemRandom::new();
    let pair = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
    let public = format!("whpk_{}", STANDARD.encode(pair.public_key()));
    let signature = STANDARD.encode(pair.sign(b"msg_1.1700000000.{}"));
    let sent = Sent::new(
        Scheme::StandardWebhooks,
        &public,
        &[
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "1700000000"),
            ("webhook-signature", &format!("v1a,{signature}")),
        ],
        "{}",
        1_700_000_000,
    );
    assert_eq!(sent.verify(), Ok(()));
    let with_hmac = |sent: &mut Sent| {
        sent.secrets
            .insert(0, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned())
    };
    assert_eq!(sent.changed(with_hmac), Ok(()));
    assert_eq!(
        sent.changed(|sent| sent.body = b"[]".to_vec()),
        Err(Unverified::Signature)
    );
    assert_eq!(
        sent.changed(|sent| sent.headers[2].1 = format!("v1,{signature}")),
        Err(Unverified::Signature)
    );
    // A public key is known to everybody: no HMAC with it as the secret is accepted.
    let tag = STANDARD.encode(hmac_of(&[b"msg_1.1700000000.{}"], pair.public_key().as_ref()));
    assert_eq!(
        sent.changed(|sent| sent.headers[2].1 = format!("v1,{tag}")),
        Err(Unverified::Signature)
    );
}

#[test]
fn the_signature_of_mailgun_is_read_once() {
    let mailgun = described().swap_remove(2);
    let body = String::from_utf8(mailgun.body.clone()).unwrap();
    for (from, to, expected) in [
        (r#""id":"a""#, r#""id":"b""#, Ok(())),
        ("1700000000", "1700000001", Err(Unverified::Signature)),
        ("abc", "abd", Err(Unverified::Signature)),
        (r#""timestamp":"1700000000""#, r#""timestamp":1700000000"#, Ok(())),
        (r#""token":"abc","#, "", Err(Unverified::Missing)),
        (
            r#""token":"abc""#,
            r#""token":"abc","token":"abc""#,
            Err(Unverified::Malformed),
        ),
        (r#""token":"abc""#, r#""token":["abc"]"#, Err(Unverified::Malformed)),
        (
            "{\"event-data\"",
            "{\"signature\":{},\"event-data\"",
            Err(Unverified::Malformed),
        ),
        (r#""signature":{"#, r#""signatures":{"#, Err(Unverified::Missing)),
        ("}}", "}", Err(Unverified::Malformed)),
        ("}}", "}}x", Err(Unverified::Malformed)),
    ] {
        let at = body.rfind(from).unwrap();
        let changed = format!("{}{to}{}", &body[..at], &body[at + from.len()..]);
        let result = mailgun.changed(|sent| sent.body = changed.clone().into());
        assert_eq!(result, expected, "{changed}");
    }
    assert_eq!(
        mailgun.changed(|sent| sent.body = b"\xff".to_vec()),
        Err(Unverified::Malformed)
    );
}

#[test]
fn the_url_of_twilio_is_the_public_one() {
    let twilio = published().pop().unwrap();
    assert_eq!(
        twilio.changed(|sent| sent.uri = "/myapp.php?foo=1"),
        Err(Unverified::Signature)
    );
    let other = Scheme::Twilio {
        url: "http://mycompany.com",
    };
    assert_eq!(twilio.changed(|sent| sent.scheme = other), Err(Unverified::Signature));
    // A field that is added by a stranger is part of the signature.
    let add = |sent: &mut Sent| sent.body.extend(b"&Extra=1");
    assert_eq!(twilio.changed(add), Err(Unverified::Signature));

    let body = br#"{"a":1}"#;
    let hash = hex(ring::digest::digest(&ring::digest::SHA256, body).as_ref());
    let uri: &'static str = format!("/wh/test?bodySHA256={hash}").leak();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345");
    let tag = hmac::sign(&key, format!("https://mycompany.com{uri}").as_bytes());
    let json = Sent {
        uri,
        body: body.to_vec(),
        headers: vec![("x-twilio-signature", STANDARD.encode(tag))],
        ..twilio
    };
    assert_eq!(json.verify(), Ok(()));
    assert_eq!(json.changed(|sent| sent.body[1] ^= 1), Err(Unverified::Signature));
}

#[test]
fn credentials_must_be_whole() {
    let bearer = Sent::new(Scheme::Bearer, "token", &[("authorization", "Bearer token")], "", 0);
    for (value, expected) in [
        ("Bearer token", Ok(())),
        ("BEARER token", Ok(())),
        ("Bearer toke", Err(Unverified::Signature)),
        ("Bearer tokens", Err(Unverified::Signature)),
        ("Bearer Token", Err(Unverified::Signature)),
        ("Bearer", Err(Unverified::Malformed)),
        ("Bearertoken", Err(Unverified::Malformed)),
        ("Basic token", Err(Unverified::Malformed)),
        ("token", Err(Unverified::Malformed)),
    ] {
        let result = bearer.changed(|sent| sent.headers[0].1 = value.to_owned());
        assert_eq!(result, expected, "{value}");
    }
}

/// Returns the verification of a route with a scheme and the secrets of a file.
fn of_file(scheme: Scheme, path: &Path) -> &'static Verification {
    let path: &'static str = path.to_str().unwrap().to_owned().leak();
    Box::leak(Box::new(Verification {
        route: ROUTE,
        scheme,
        secrets: vec![SecretSource::File(path)].leak(),
        tolerance_s: None,
        allows_unsigned: false,
    }))
}

#[test]
fn a_secret_that_cannot_be_read_is_named_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let error = |scheme, content: Option<&[u8]>| {
        let _ = fs::remove_file(&path);
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let error = RouteSecrets::default().keys(of_file(scheme, &path)).unwrap_err();
        error.to_string().replace(path.to_str().unwrap(), "PATH")
    };
    let start = "no secret for the route `wh/test`: the file PATH ";
    assert_eq!(
        error(Scheme::Slack, None),
        format!("{start}cannot be read: No such file or directory (os error 2)")
    );
    assert_eq!(error(Scheme::Slack, Some(b" \n\r\n")), format!("{start}is empty"));
    assert_eq!(error(Scheme::Slack, Some(b"\xff")), format!("{start}is not UTF-8"));
    for (scheme, secret) in [
        (Scheme::StandardWebhooks, "whsec_hunter2"),
        (Scheme::StandardWebhooks, "whpk_aHVudGVy"),
        (Scheme::StandardWebhooks, "whsec_"),
        (Scheme::Basic, "hunter2"),
        (Scheme::SendGrid, "aHVudGVy"),
    ] {
        let error = error(scheme, Some(secret.as_bytes()));
        let starts = error.starts_with(&format!("{start}does not have the form of its scheme: expected "));
        assert!(
            starts && !error.contains("hunter") && !error.contains("aHVudGVy"),
            "{error}"
        );
    }
    let secrets = RouteSecrets::default().with("wh/test", ["hunter2"]);
    assert_eq!(format!("{secrets:?}"), r#"{"wh/test"}"#);
    let none = RouteSecrets::default().with("wh/test", [""; 0]);
    let error = none.keys(of_file(Scheme::Slack, &path)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no secret for the route `wh/test`: the program's list of secrets is empty"
    );
}

#[tokio::test]
async fn a_changed_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    fs::write(&path, "first\n").unwrap();
    let verification = of_file(Scheme::Bearer, &path);
    let guard = Guard::new([verification].into_iter(), &RouteSecrets::default()).unwrap();
    guard.reload_on(&tokio::runtime::Handle::current());
    let verify = |token: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(
            "authorization",
            HeaderValue::try_from(format!("Bearer {token}")).unwrap(),
        );
        let request = SignedRequest {
            headers: &headers,
            uri: &Uri::default(),
            body: &[],
            has_body: false,
            has_fields_beside_body: false,
            certificate: None,
            unix_s: 0,
        };
        guard.verify(verification, &request)
    };
    let becomes_valid = async |token: &str| {
        while verify(token).is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    assert_eq!(
        (verify("first"), verify("second")),
        (Ok(()), Err(Unverified::Signature))
    );
    // During a rotation, both are valid. A secret may contain spaces, but none at its ends.
    fs::write(&path, "second one \r\n\n first").unwrap();
    becomes_valid("second one").await;
    assert_eq!(verify("first"), Ok(()));
    // A file that is gone, or empty for a moment, leaves the secrets as they are.
    fs::remove_file(&path).unwrap();
    guard.reload();
    fs::write(&path, "").unwrap();
    guard.reload();
    assert_eq!(verify("second one"), Ok(()));
    fs::write(&path, "third").unwrap();
    becomes_valid("third").await;
    assert_eq!(verify("first"), Err(Unverified::Signature));
}
