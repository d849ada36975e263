//! The option `privacy` of a table and of a route: the parts of a visitor's data that are kept; and
//! `pii` of a column: personal data.

use super::{DeclarationReader, secret::is_variable};
use crate::{
    diagnostic::Diagnostic,
    source::Span,
    yaml::{Key, Node},
};

/// The privacy options of a table or a route; `None` and an empty list are options that it does not
/// state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Privacy {
    pub(crate) ip: Option<AddressRule>,
    pub(crate) user_agent: Option<UserAgentRule>,
    /// The environment variable with the key of hashes.
    pub(crate) hash_salt_env: Option<String>,
    pub(crate) hash_rotate: Option<Rotation>,
    pub(crate) dnt: Option<Signal>,
    pub(crate) gpc: Option<Signal>,
    /// The field of an event that must be true.
    pub(crate) consent: Option<String>,
    pub(crate) without_consent: Option<WithoutConsent>,
    /// The personal columns of the route's table.
    pub(crate) columns: Vec<PersonalColumn>,
    /// The place of the options.
    pub(crate) place: Option<Span>,
}

/// The treatment of the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressRule {
    Keep,
    /// The network: 24 bits of an IPv4 address, 48 of an IPv6 address.
    Truncate,
    Hash,
    Drop,
}

/// The treatment of the header `User-Agent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserAgentRule {
    Keep,
    /// The names of browser and system, without versions.
    Family,
    Hash,
    Drop,
}

/// The period after which hashes of the same value differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotation {
    Never,
    Daily,
}

/// The treatment of a header with which browsers object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Ignore,
    Respect,
}

/// The treatment of an event without the visitor's consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithoutConsent {
    /// The event is recorded without the visitor's data.
    Anonymous,
    /// The event is not recorded.
    Drop,
}

/// A column with personal data, as dead letters need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PersonalColumn {
    pub(crate) name: String,
    /// The paths of the value in an event.
    pub(crate) paths: Vec<String>,
    pub(crate) personal: Personal,
}

/// The treatment of a personal value in the table of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Personal {
    Hash,
    Drop,
}

/// The words of each key.
pub(crate) const ADDRESS_RULES: [(&str, AddressRule); 4] = [
    ("keep", AddressRule::Keep),
    ("truncate", AddressRule::Truncate),
    ("hash", AddressRule::Hash),
    ("drop", AddressRule::Drop),
];
pub(crate) const USER_AGENT_RULES: [(&str, UserAgentRule); 4] = [
    ("keep", UserAgentRule::Keep),
    ("family", UserAgentRule::Family),
    ("hash", UserAgentRule::Hash),
    ("drop", UserAgentRule::Drop),
];
pub(crate) const ROTATIONS: [(&str, Rotation); 2] = [("never", Rotation::Never), ("daily", Rotation::Daily)];
pub(crate) const SIGNALS: [(&str, Signal); 2] = [("ignore", Signal::Ignore), ("respect", Signal::Respect)];
pub(crate) const WITHOUT_CONSENT: [(&str, WithoutConsent); 2] =
    [("anonymous", WithoutConsent::Anonymous), ("drop", WithoutConsent::Drop)];
const PERSONAL: [(&str, Option<Personal>); 4] = [
    ("true", Some(Personal::Drop)),
    ("drop", Some(Personal::Drop)),
    ("hash", Some(Personal::Hash)),
    ("false", None),
];

/// The keys of `privacy`.
pub(crate) const PRIVACY_KEYS: [&str; 8] = [
    "consent",
    "dnt",
    "gpc",
    "hash_rotate",
    "hash_salt_env",
    "ip",
    "user_agent",
    "without_consent",
];

impl Privacy {
    /// Returns the options with those of `other` where these state none.
    pub(crate) fn or(self, other: &Self) -> Self {
        Self {
            ip: self.ip.or(other.ip),
            user_agent: self.user_agent.or(other.user_agent),
            hash_salt_env: self.hash_salt_env.or_else(|| other.hash_salt_env.clone()),
            hash_rotate: self.hash_rotate.or(other.hash_rotate),
            dnt: self.dnt.or(other.dnt),
            gpc: self.gpc.or(other.gpc),
            consent: self.consent.or_else(|| other.consent.clone()),
            without_consent: self.without_consent.or(other.without_consent),
            columns: self.columns,
            place: self.place.or_else(|| other.place.clone()),
        }
    }

    /// Returns whether the options keep only a part of the client's address.
    pub(crate) fn hides_address(&self) -> bool {
        self.ip.is_some_and(|rule| rule != AddressRule::Keep)
    }

    /// Returns whether the options keep only a part of the header `User-Agent`.
    pub(crate) fn hides_user_agent(&self) -> bool {
        self.user_agent.is_some_and(|rule| rule != UserAgentRule::Keep)
    }

    /// Returns whether an event can be without its visitor's consent.
    pub(crate) fn asks_for_consent(&self) -> bool {
        [self.dnt, self.gpc].contains(&Some(Signal::Respect)) || self.consent.is_some()
    }

    /// Returns whether a value is hashed.
    pub(crate) fn hashes(&self) -> bool {
        self.ip == Some(AddressRule::Hash)
            || self.user_agent == Some(UserAgentRule::Hash)
            || self.columns.iter().any(|column| column.personal == Personal::Hash)
    }

    /// Returns whether the options change anything.
    pub(crate) fn has_effect(&self) -> bool {
        self.hides_address() || self.hides_user_agent() || self.asks_for_consent() || !self.columns.is_empty()
    }
}

impl DeclarationReader<'_> {
    /// Reads `privacy` of a table or a route; omits values that have a problem.
    pub(super) fn privacy(&mut self, node: Node) -> Privacy {
        const CODE: &str = "bad-privacy";
        let mut privacy = Privacy {
            place: Some(node.span.clone()),
            ..Privacy::default()
        };
        let entries = self.mapping(
            node,
            "`privacy` must map names to values",
            "privacy: { ip: truncate, dnt: respect }",
        );
        for (key, node) in entries.unwrap_or_default() {
            let place = node.span.clone().or(&key.span);
            match key.text.as_str() {
                "ip" => privacy.ip = self.one_of(&node, place, CODE, "`ip`", &ADDRESS_RULES),
                "user_agent" => {
                    privacy.user_agent = self.one_of(&node, place, CODE, "`user_agent`", &USER_AGENT_RULES);
                }
                "hash_rotate" => privacy.hash_rotate = self.one_of(&node, place, CODE, "`hash_rotate`", &ROTATIONS),
                "dnt" => privacy.dnt = self.one_of(&node, place, CODE, "`dnt`", &SIGNALS),
                "gpc" => privacy.gpc = self.one_of(&node, place, CODE, "`gpc`", &SIGNALS),
                "without_consent" => {
                    privacy.without_consent = self.one_of(&node, place, CODE, "`without_consent`", &WITHOUT_CONSENT);
                }
                "consent" => privacy.consent = self.text(node, "the field with the consent").map(|(text, _)| text),
                "hash_salt_env" => privacy.hash_salt_env = self.salt_variable(node),
                "hash_salt" | "salt" => self.secret_in_privacy(&key),
                _ => self.unknown_key(&key, "`privacy`", &PRIVACY_KEYS),
            }
        }
        privacy
    }

    fn salt_variable(&mut self, node: Node) -> Option<String> {
        let (text, span) = self.text(node, "the name of an environment variable")?;
        if is_variable(&text) {
            return Some(text);
        }
        let message = "`hash_salt_env` must be the name of an environment variable";
        let diagnostic = Diagnostic::error("bad-privacy", message).label(span, "");
        let help = "write a name such as `PRIVACY_SALT`, and set the variable where the collector starts";
        self.report.push(diagnostic.help(help));
        None
    }

    fn secret_in_privacy(&mut self, key: &Key) {
        let diagnostic = Diagnostic::error("bad-secret", "a schema cannot contain a secret")
            .label(key.span.clone(), "")
            .help("write `hash_salt_env: NAME`, and set the variable where the collector starts");
        self.report.push(diagnostic);
    }

    /// Reads `pii` of a column.
    pub(super) fn personal(&mut self, node: Node, key: &Key) -> Option<Personal> {
        let place = node.span.clone().or(&key.span);
        self.one_of(&node, place, "bad-privacy", "`pii`", &PERSONAL).flatten()
    }
}
