//! The server's side of a login with SASL: PLAIN ([RFC 4616]) and SCRAM ([RFC 5802], [RFC 7677]).
//!
//! [RFC 4616]: https://www.rfc-editor.org/rfc/rfc4616
//! [RFC 5802]: https://www.rfc-editor.org/rfc/rfc5802
//! [RFC 7677]: https://www.rfc-editor.org/rfc/rfc7677

use std::num::NonZero;

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{digest, hmac, pbkdf2};

/// The salt and the iterations of the stored password.
const SALT: &[u8] = b"salt of the test";
const ITERATIONS: NonZero<u32> = NonZero::new(4096).unwrap();

/// The server's part of a nonce.
const NONCE: &str = "3rfcNHYJY1ZVvWVs7j";

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

/// The only user and the password.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    pub password: String,
}

/// A login in progress.
#[derive(Debug)]
pub struct Session {
    mechanism: Mechanism,
    login: Login,
    /// The first message of a client without its head, and the answer, of SCRAM.
    first: Option<(String, String)>,
}

/// The answer to a message of a client.
#[derive(Debug)]
pub enum Step {
    Continue(Vec<u8>),
    Done(Vec<u8>),
    Failed,
}

impl Mechanism {
    /// Returns the name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Login {
    /// Begins a login.
    pub fn begin(&self, mechanism: Mechanism) -> Session {
        Session {
            mechanism,
            login: self.clone(),
            first: None,
        }
    }
}

impl Session {
    /// Answers a message of the client.
    pub fn step(&mut self, message: &[u8]) -> Step {
        let text = str::from_utf8(message).unwrap_or_default();
        let step = match (self.mechanism, self.first.take()) {
            (Mechanism::Plain, _) => self.plain(text),
            (_, None) => self.scram_first(text),
            (Mechanism::ScramSha256, Some(first)) => self.scram_final(
                text,
                &first,
                pbkdf2::PBKDF2_HMAC_SHA256,
                hmac::HMAC_SHA256,
                &digest::SHA256,
            ),
            (_, Some(first)) => self.scram_final(
                text,
                &first,
                pbkdf2::PBKDF2_HMAC_SHA512,
                hmac::HMAC_SHA512,
                &digest::SHA512,
            ),
        };
        step.unwrap_or(Step::Failed)
    }

    fn plain(&self, text: &str) -> Option<Step> {
        let [_, user, password] = text.split('\0').collect::<Vec<_>>()[..] else {
            return None;
        };
        (user == self.login.user && password == self.login.password).then(|| Step::Done(Vec::new()))
    }

    fn scram_first(&mut self, text: &str) -> Option<Step> {
        let bare = text.strip_prefix("n,,")?;
        let (user, nonce) = bare.strip_prefix("n=")?.split_once(",r=")?;
        if user.replace("=2C", ",").replace("=3D", "=") != self.login.user {
            return None;
        }
        let salt = BASE64_STANDARD.encode(SALT);
        let answer = format!("r={nonce}{NONCE},s={salt},i={ITERATIONS}");
        self.first = Some((bare.to_owned(), answer.clone()));
        Some(Step::Continue(answer.into_bytes()))
    }

    fn scram_final(
        &self,
        text: &str,
        (bare, answer): &(String, String),
        derivation: pbkdf2::Algorithm,
        mac: hmac::Algorithm,
        hash: &'static digest::Algorithm,
    ) -> Option<Step> {
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let proof = BASE64_STANDARD.decode(proof).ok()?;
        let (nonce, _) = answer.split_once(",s=")?;
        if without_proof != format!("c=biws,{nonce}") {
            return None;
        }
        let mut salted = vec![0; hash.output_len()];
        let password = self.login.password.as_bytes();
        pbkdf2::derive(derivation, ITERATIONS, SALT, password, &mut salted);
        let salted = hmac::Key::new(mac, &salted);
        let stored = digest::digest(hash, hmac::sign(&salted, b"Client Key").as_ref());
        let exchange = format!("{bare},{answer},{without_proof}");
        let signature = hmac::sign(&hmac::Key::new(mac, stored.as_ref()), exchange.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        if digest::digest(hash, &client_key).as_ref() != stored.as_ref() {
            return None;
        }
        let server_key = hmac::Key::new(mac, hmac::sign(&salted, b"Server Key").as_ref());
        let signature = BASE64_STANDARD.encode(hmac::sign(&server_key, exchange.as_bytes()));
        Some(Step::Done(format!("v={signature}").into_bytes()))
    }
}
