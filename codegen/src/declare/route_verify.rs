//! The option `verify` of a route: the scheme of the sender's signatures, and where its secrets
//! are.

use super::{DeclarationReader, secret::SecretSource};
use crate::{
    diagnostic::Diagnostic,
    types,
    yaml::{Key, Node, Value},
};

/// The verification of a route's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verify {
    pub(crate) scheme: Scheme,
    pub(crate) secrets: Vec<SecretSource>,
    /// The largest age of a signature, in seconds.
    pub(crate) tolerance_s: Option<u64>,
    /// Whether a request may have fields that its signature does not cover.
    pub(crate) allows_unsigned: bool,
}

/// The scheme of a sender, with its own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bearer,
    Basic,
    Header {
        name: String,
    },
    BodyHmac {
        header: String,
        algorithm: Algorithm,
        encoding: Encoding,
        prefix: String,
    },
    Stripe,
    Slack,
    StandardWebhooks,
    SendGrid,
    AwsSns {
        topics: Vec<String>,
        allows_sha1: bool,
    },
    Mailgun,
    Twilio {
        url: String,
    },
    ClientCertificate {
        names: Vec<String>,
    },
}

impl Scheme {
    /// Returns whether a signature covers the body, or a part of it, and not the URL.
    pub(crate) fn signs_body_alone(&self) -> bool {
        match self {
            Self::BodyHmac { .. }
            | Self::Stripe
            | Self::Slack
            | Self::StandardWebhooks
            | Self::SendGrid
            | Self::AwsSns { .. }
            | Self::Mailgun => true,
            Self::Bearer | Self::Basic | Self::Header { .. } | Self::Twilio { .. } | Self::ClientCertificate { .. } => {
                false
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Hex,
    Base64,
}

/// The keys of `verify`.
pub(crate) const VERIFY_KEYS: [&str; 12] = [
    "algorithm",
    "allow_unsigned",
    "encoding",
    "header",
    "name",
    "prefix",
    "scheme",
    "secret_env",
    "secret_file",
    "tolerance",
    "topic",
    "url",
];

/// The names of the schemes, each with the keys that it has besides those of the secrets.
pub(crate) const SCHEMES: [(&str, &[&str]); 15] = [
    ("aws-sns", &["topic", "algorithm", "allow_unsigned"]),
    ("basic", &[]),
    ("bearer", &[]),
    (CLIENT_CERTIFICATE, &["name"]),
    ("github", &["allow_unsigned"]),
    ("header", &["header"]),
    ("hmac", &["header", "algorithm", "encoding", "prefix", "allow_unsigned"]),
    ("mailgun", &["tolerance", "allow_unsigned"]),
    ("postmark", &[]),
    ("sendgrid", &["tolerance", "allow_unsigned"]),
    ("shopify", &["allow_unsigned"]),
    ("slack", &["tolerance", "allow_unsigned"]),
    ("standard-webhooks", &["tolerance", "allow_unsigned"]),
    ("stripe", &["tolerance", "allow_unsigned"]),
    ("twilio", &["url"]),
];

/// The scheme without a secret: the listener's CA has signed the certificate.
const CLIENT_CERTIFICATE: &str = "client-certificate";

/// The names of the hash functions.
pub(crate) const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("sha1", Algorithm::Sha1),
    ("sha256", Algorithm::Sha256),
    ("sha384", Algorithm::Sha384),
    ("sha512", Algorithm::Sha512),
];

/// The names of the forms of an HMAC.
pub(crate) const ENCODINGS: [(&str, Encoding); 2] = [("hex", Encoding::Hex), ("base64", Encoding::Base64)];

/// The tolerance of the schemes whose specification has one, in seconds.
const DEFAULT_TOLERANCE_S: u64 = 300;

/// The values of `verify` that depend on its scheme.
#[derive(Default)]
struct Values {
    header: Option<String>,
    algorithm: Option<Algorithm>,
    encoding: Option<Encoding>,
    prefix: Option<String>,
    topics: Vec<String>,
    url: Option<String>,
    names: Vec<String>,
    tolerance_s: Option<u64>,
    allows_unsigned: bool,
}

impl DeclarationReader<'_> {
    /// Reads `verify` of a route.
    pub(super) fn verify(&mut self, node: Node, key: &Key) -> Option<Verify> {
        let known_problems = self.report.found();
        let place = node.span.clone().or(&key.span);
        let example = "verify: { scheme: github, secret_env: NAME }";
        let entries = self.mapping(
            node,
            "`verify` must contain a scheme and the place of a secret",
            example,
        )?;
        let (mut scheme, mut secrets, mut values, mut present) = (None, Vec::new(), Values::default(), Vec::new());
        for (key, node) in entries {
            match key.text.as_str() {
                "scheme" => scheme = self.scheme(node),
                "secret_env" | "secret_file" => secrets.extend(self.secret_sources(node, &key)),
                "secret" | "secrets" => self.secret_in_schema(&key),
                "header" => values.header = self.verified_header(node),
                "algorithm" => values.algorithm = self.word(node, "the algorithm", &ALGORITHMS),
                "encoding" => values.encoding = self.word(node, "the encoding", &ENCODINGS),
                "prefix" => values.prefix = self.text(node, "the prefix").map(|(text, _)| text),
                "topic" => values.topics = self.topics(node),
                "url" => values.url = self.public_url(node),
                "name" => values.names = self.certificate_names(node),
                "allow_unsigned" => values.allows_unsigned = self.boolean(node, "`allow_unsigned`"),
                "tolerance" => values.tolerance_s = self.tolerance(node),
                _ => {
                    self.unknown_key(&key, "`verify`", &VERIFY_KEYS);
                    continue;
                }
            }
            present.push(key);
        }
        if self.report.found() > known_problems {
            return None;
        }
        let Some(name) = scheme else {
            let diagnostic = Diagnostic::error("bad-verify", "`verify` has no scheme").label(place, "");
            self.report
                .push(diagnostic.help(format!("add `scheme: …`: {}", scheme_names())));
            return None;
        };
        let own_keys = SCHEMES
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(&[][..], |(_, keys)| keys);
        for key in &present {
            let is_of_secret = key.text.starts_with("secret") && name != CLIENT_CERTIFICATE;
            let is_common = key.text == "scheme" || is_of_secret;
            if !is_common && !own_keys.contains(&key.text.as_str()) {
                let message = format!("the scheme `{name}` has no `{}`", key.text);
                let diagnostic = Diagnostic::error("bad-verify", message).label(key.span.clone(), "");
                self.report.push(match own_keys {
                    [] => diagnostic.help("it needs only the place of its secret"),
                    [only] => diagnostic.help(format!("its only other key is `{only}`")),
                    keys => diagnostic.help(format!("its other keys are `{}`", keys.join("`, `"))),
                });
            }
        }
        if secrets.is_empty() && name != CLIENT_CERTIFICATE {
            self.missing_secret(place.clone(), "`verify`");
        }
        let tolerance_s = match name {
            "standard-webhooks" | "stripe" | "slack" => values.tolerance_s.or(Some(DEFAULT_TOLERANCE_S)),
            _ => values.tolerance_s,
        };
        let allows_unsigned = values.allows_unsigned;
        let scheme = match values.scheme(name) {
            Ok(scheme) => scheme,
            Err((missing, example)) => {
                let message = format!("the scheme `{name}` needs `{missing}`");
                let diagnostic = Diagnostic::error("bad-verify", message).label(place, "");
                self.report.push(diagnostic.help(format!("add `{missing}: {example}`")));
                return None;
            }
        };
        Some(Verify {
            scheme,
            secrets,
            tolerance_s,
            allows_unsigned,
        })
    }

    /// Reads the name of a scheme.
    fn scheme(&mut self, node: Node) -> Option<&'static str> {
        let (text, span) = self.text(node, "the scheme")?;
        let names = || SCHEMES.iter().map(|(name, _)| *name);
        let found = names().find(|name| *name == text);
        if found.is_none() {
            let help = match types::closest(&text, names()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => scheme_names(),
            };
            let diagnostic = Diagnostic::error("bad-verify", format!("unknown scheme `{text}`"));
            self.report.push(diagnostic.label(span, "").help(help));
        }
        found
    }

    /// Reads one of several words.
    fn word<T: Copy>(&mut self, node: Node, what: &str, words: &[(&'static str, T)]) -> Option<T> {
        let (text, span) = self.text(node, what)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("{what} must be one of `{}`, not `{text}`", names.join("`, `"));
            let diagnostic = Diagnostic::error("bad-verify", message).label(span, "");
            self.report.push(diagnostic.did_you_mean(&text, names));
        }
        found
    }

    /// Reads the name of a header, and returns it in lower case.
    fn verified_header(&mut self, node: Node) -> Option<String> {
        let (text, span) = self.text(node, "the name of a header")?;
        let help = "write, for example, `header: X-Signature`";
        self.header_name(&text, &span, "bad-verify", help)
    }

    /// Reads the ARNs of topics, one or a list of them.
    fn topics(&mut self, node: Node) -> Vec<String> {
        let mut topics = self.texts(node, "a topic", "bad-verify");
        topics.retain(|(topic, span)| {
            let is_arn = topic.starts_with("arn:") && topic.split(':').count() == 6;
            if !is_arn {
                let diagnostic = Diagnostic::error("bad-verify", format!("`{topic}` is not the ARN of a topic"));
                let help = "write, for example, `topic: arn:aws:sns:us-east-1:123456789012:orders`";
                self.report.push(diagnostic.label(span.clone(), "").help(help));
            }
            is_arn
        });
        topics.into_iter().map(|(topic, _)| topic).collect()
    }

    /// Reads the names in a client's certificate, one or a list of them.
    fn certificate_names(&mut self, node: Node) -> Vec<String> {
        if matches!(&node.value, Value::List(names) if names.is_empty()) {
            let diagnostic = Diagnostic::error("bad-verify", "the list of names is empty").label(node.span.clone(), "");
            let help = "omit `name` to accept any certificate that the CA of the listener has signed";
            self.report.push(diagnostic.help(help));
        }
        let mut names = self.texts(node, "a name", "bad-verify");
        names.retain(|(name, span)| {
            let is_address = name.parse::<std::net::IpAddr>().is_ok();
            let is_name = is_address || is_host(name);
            if !is_name {
                let diagnostic = Diagnostic::error("bad-verify", format!("`{name}` is not a host or an address"));
                let help = "write a name of the certificate's `subjectAltName`, for example `name: shop.example.com`";
                self.report.push(diagnostic.label(span.clone(), "").help(help));
            }
            is_name
        });
        names.into_iter().map(|(name, _)| name).collect()
    }

    /// Reads the URL of a collector, up to the path.
    fn public_url(&mut self, node: Node) -> Option<String> {
        let (text, span) = self.text(node, "the URL")?;
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        if host.is_some_and(|host| !host.is_empty() && !host.contains(['?', '#', ' '])) {
            return Some(text.trim_end_matches('/').to_owned());
        }
        let diagnostic = Diagnostic::error("bad-verify", format!("`{text}` is not the URL of a collector"));
        self.report.push(
            diagnostic
                .label(span, "")
                .help("write the part of the sender's URL before the path, for example `https://stat.example.com`"),
        );
        None
    }

    /// Reads a period, in seconds.
    fn tolerance(&mut self, node: Node) -> Option<u64> {
        let found = match &node.value {
            Value::Text(text) => period(text),
            _ => None,
        };
        if found.is_none() {
            let found = match &node.value {
                Value::Text(text) => format!("`{text}`"),
                other => other.kind().to_owned(),
            };
            let message = format!("`tolerance` must be a number of seconds, minutes, hours or days, not {found}");
            let diagnostic = Diagnostic::error("bad-period", message).label(node.span, "");
            self.report.push(diagnostic.help("write, for example, `tolerance: 5m`"));
        }
        found
    }
}

impl Values {
    /// Returns a scheme with its values.
    ///
    /// # Errors
    ///
    /// The key that is missing, and an example of its value.
    fn scheme(self, name: &str) -> Result<Scheme, (&'static str, &'static str)> {
        let preset = |header: &str, encoding, prefix: &str| Scheme::BodyHmac {
            header: header.to_owned(),
            algorithm: Algorithm::Sha256,
            encoding,
            prefix: prefix.to_owned(),
        };
        Ok(match name {
            "aws-sns" if self.topics.is_empty() => {
                return Err(("topic", "arn:aws:sns:us-east-1:123456789012:orders"));
            }
            "aws-sns" if matches!(self.algorithm, Some(Algorithm::Sha384 | Algorithm::Sha512)) => {
                return Err(("algorithm", "sha256` or `sha1"));
            }
            "aws-sns" => Scheme::AwsSns {
                topics: self.topics,
                allows_sha1: self.algorithm == Some(Algorithm::Sha1),
            },
            "bearer" => Scheme::Bearer,
            "github" => preset("x-hub-signature-256", Encoding::Hex, "sha256="),
            "header" => Scheme::Header {
                name: self.header.ok_or(("header", "X-Token"))?,
            },
            "hmac" => Scheme::BodyHmac {
                header: self.header.ok_or(("header", "X-Signature"))?,
                algorithm: self.algorithm.unwrap_or(Algorithm::Sha256),
                encoding: self.encoding.unwrap_or(Encoding::Hex),
                prefix: self.prefix.unwrap_or_default(),
            },
            "mailgun" => Scheme::Mailgun,
            "sendgrid" => Scheme::SendGrid,
            "shopify" => preset("x-shopify-hmac-sha256", Encoding::Base64, ""),
            "slack" => Scheme::Slack,
            "standard-webhooks" => Scheme::StandardWebhooks,
            "stripe" => Scheme::Stripe,
            "twilio" => Scheme::Twilio {
                url: self.url.ok_or(("url", "https://stat.example.com"))?,
            },
            CLIENT_CERTIFICATE => Scheme::ClientCertificate { names: self.names },
            // Postmark has no signatures, but sends a name and a password.
            _ => Scheme::Basic,
        })
    }
}

/// Returns whether a name is that of a host, without a wildcard.
fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !label.is_empty() && label.len() <= 63 && label.bytes().all(is_plain) && !label.starts_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn scheme_names() -> String {
    let names: Vec<&str> = SCHEMES.iter().map(|(name, _)| *name).collect();
    format!("the schemes are `{}`", names.join("`, `"))
}

/// Returns the seconds of a period such as `300s`, `5m` or `5 minutes`.
fn period(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "s" | "second" | "seconds" => 1,
        "m" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3_600,
        "d" | "day" | "days" => 86_400,
        _ => return None,
    };
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    number.checked_mul(factor)
}
