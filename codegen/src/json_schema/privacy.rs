//! The options on visitors and programs: `privacy`, `pii` and `automated`.

use serde_json::{Value, json};

use crate::declare::{ADDRESS_RULES, AUTOMATED, ROTATIONS, SIGNALS, USER_AGENT_RULES, WITHOUT_CONSENT};

/// Returns the schema of `privacy`.
pub(super) fn privacy() -> Value {
    let text = |description: &str| json!({ "$ref": "#/$defs/text", "description": description });
    let signal = |description: &str| json!({ "enum": SIGNALS.map(|(word, _)| word), "description": description });
    json!({
        "description": "The parts of a visitor's data that rows and dead letters have. The options of a route take precedence \
            over those of its table.",
        "type": "object",
        "properties": {
            "consent": text("The field of the query or the body that must be true; an event without it is one without consent."),
            "dnt": signal("Whether a request with the header DNT: 1 is one without consent."),
            "gpc": signal("Whether a request with the header Sec-GPC: 1 is one without consent."),
            "hash_rotate": { "enum": ROTATIONS.map(|(word, _)| word), "description": "Whether the hashes of a value differ from \
                one day to the next, in UTC; never by default." },
            "hash_salt_env": text("The environment variable with the key of the hashes."),
            "ip": { "enum": ADDRESS_RULES.map(|(word, _)| word), "description": "What is kept of the client's address: all of \
                it, its network (/24 or /48), an HMAC, or nothing." },
            "user_agent": { "enum": USER_AGENT_RULES.map(|(word, _)| word), "description": "What is kept of the header \
                User-Agent: all of it, the names of browser and system, an HMAC, or nothing." },
            "without_consent": { "enum": WITHOUT_CONSENT.map(|(word, _)| word), "description": "Whether an event without \
                consent is recorded without the visitor's data (the default), or not at all." },
        },
        "additionalProperties": false,
    })
}

/// Returns the schema of `pii`.
pub(super) fn personal() -> Value {
    json!({
        "enum": [true, false, "drop", "hash"],
        "description": "Whether the column is personal data: dead letters have no value of it, or its HMAC, no message quotes \
            it, and `rowmill forget` finds it.",
    })
}

/// Returns the schema of `automated`.
pub(super) fn automated() -> Value {
    json!({
        "enum": AUTOMATED.map(|(word, _)| word),
        "description": "Whether requests of programs (prefetches, mail proxies, link scanners, bots) are events; they are by \
            default.",
    })
}
