//! The requests of senders, signed by the senders' own libraries, against a real ClickHouse.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use embedder::tables;
use rowmill_ingest::{EventOptions, layer::RouteSecrets, server::not_found};
use serde_json::Value;
use tower::{Layer, service_fn};

use crate::support::{
    clients,
    engine::Database,
    http::{self, Answer},
    service::Served,
};

/// A request that a sender's library has signed.
#[derive(Debug, Clone)]
struct Signed {
    path: String,
    secret: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Signed {
    fn parse(line: &str) -> Self {
        let mut sent: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| sent[key].as_str().unwrap().to_owned();
        Self {
            path: text("path"),
            secret: text("secret"),
            body: text("body"),
            headers: serde_json::from_value(sent["headers"].take()).unwrap(),
        }
    }

    /// Returns the path of the route in the schema.
    fn route(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        path.trim_start_matches('/')
    }

    /// Returns a secret of another sender.
    fn other_secret(&self) -> String {
        match self.route() {
            "signed/standard" => "whsec_b3RoZXIgc2VjcmV0".to_owned(),
            // The key of SendGrid's documentation.
            "signed/sendgrid" => {
                "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+\
                                  2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
                    .to_owned()
            }
            _ => "another".to_owned(),
        }
    }

    /// Returns whether the signature covers a time.
    fn has_time(&self) -> bool {
        !["signed/github", "signed/shopify", "signed/twilio"].contains(&self.route())
    }

    /// Returns the names of the headers of the signature.
    fn headers_of_signature(&self) -> Vec<String> {
        let names = self.headers.keys().filter(|name| *name != "Content-Type");
        names.cloned().collect()
    }

    fn send(&self, served: &Served) -> Answer {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        http::send(served.address, "POST", &self.path, &headers, self.body.as_bytes())
    }
}

/// Returns the requests of all senders with signatures of a time; `None` without the libraries.
fn signed(unix_s: u64) -> Option<Vec<Signed>> {
    let folder = clients::of_npm()?;
    let output = Command::new("node")
        .arg(folder.join("sign.mjs"))
        .arg(unix_s.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    Some(lines.lines().map(Signed::parse).collect())
}

fn serve(database: &Database, secrets: impl IntoIterator<Item = (String, Vec<String>)>) -> Served {
    let secrets = secrets
        .into_iter()
        .fold(RouteSecrets::default(), |all, (route, own)| all.with(&route, own));
    Served::start(database, &tables::SCHEMA, |writer| {
        let options = EventOptions {
            secrets,
            ..EventOptions::default()
        };
        tables::layer(writer)
            .unwrap()
            .with_options(&options)
            .layer(service_fn(not_found))
    })
}

#[test]
fn the_requests_of_the_senders_libraries_are_stored_and_changed_ones_are_not() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let Some(requests) = signed(now) else { return };
    let database = Database::create("senders");
    // As during a rotation: each route has another secret, too.
    let secrets = |signed: &Signed| vec![signed.other_secret(), signed.secret.clone()];
    let served = serve(
        &database,
        requests
            .iter()
            .map(|signed| (signed.route().to_owned(), secrets(signed))),
    );
    for signed in &requests {
        let answer = signed.send(&served);
        assert_eq!(answer.status, 200, "{signed:?} {}", answer.text());
        let refused = |what: &str, signed: Signed| {
            let answer = signed.send(&served);
            let expected = (401, r#"{"message":"Unauthorized"}"#);
            assert_eq!((answer.status, answer.text()), expected, "{what}: {signed:?}");
        };
        for name in signed.headers_of_signature() {
            let mut without = signed.clone();
            without.headers.remove(&name);
            refused("a missing header", without);
            let mut changed = signed.clone();
            changed
                .headers
                .entry(name)
                .and_modify(|value| value.insert(value.len() / 2, '0'));
            refused("a changed header", changed);
        }
        let mut changed = signed.clone();
        changed.body = match signed.route() {
            // Only these are signed.
            "signed/mailgun" => changed.body.replace(r#""token":"a1""#, r#""token":"a2""#),
            _ => changed.body.replace('1', "2"),
        };
        refused("a changed byte", changed);
        // Of most senders, the signature does not cover the query.
        let mut elsewhere = signed.clone();
        let start = if signed.path.contains('?') { '&' } else { '?' };
        elsewhere.path.push_str(&format!("{start}number=2"));
        refused("another query", elsewhere);
    }
    for signed in signed(now - 310).unwrap().into_iter().filter(Signed::has_time) {
        // The key of SendGrid is another one in each run.
        if signed.route() != "signed/sendgrid" {
            assert_eq!(signed.send(&served).status, 401, "an old time: {signed:?}");
        }
    }
    served.drain();
    assert_eq!(database.count("signed"), requests.len() as u64);
    assert_eq!(database.count("rejected"), 0);

    let wrong = serve(
        &database,
        requests
            .iter()
            .map(|signed| (signed.route().to_owned(), vec![signed.other_secret()])),
    );
    for signed in &requests {
        assert_eq!(signed.send(&wrong).status, 401, "a wrong key: {signed:?}");
    }
    wrong.drain();
    assert_eq!(database.count("signed"), requests.len() as u64);
    assert_eq!(database.count("rejected"), 0);
}
