//! The options of a route.

use serde_json::{Value, json};

use crate::declare::{ADAPTERS, ALGORITHMS, ENCODINGS, METHODS, REDIRECTS, SCHEMES};

/// A text, or a list of texts that match `item`.
fn one_or_more(item: &Value, description: &str) -> Value {
    json!({ "description": description, "anyOf": [item, { "type": "array", "items": item }] })
}

pub(super) fn adapter() -> Value {
    json!({
        "enum": ADAPTERS.map(|(name, _)| name),
        "description": "The protocol of the sender: its paths, the place of its events, and the answers that it expects.",
    })
}

pub(super) fn paths() -> Value {
    one_or_more(
        &json!({ "type": "string", "pattern": "^/" }),
        "The paths beside /service/name that lead to this destination, for example /batch/ or /hooks/*.",
    )
}

pub(super) fn methods() -> Value {
    one_or_more(
        &json!({ "enum": METHODS }),
        "The methods of the events, if not GET and POST.",
    )
}

pub(super) fn parse() -> Value {
    one_or_more(
        &json!({ "$ref": "#/$defs/text" }),
        "The fields of the body whose text is JSON: its values are read as if they were in place of the text.",
    )
}

pub(super) fn answer() -> Value {
    let text = |description: &str| json!({ "$ref": "#/$defs/text", "description": description });
    json!({
        "description": "The answer that the sender expects.",
        "type": "object",
        "properties": {
            "body": text("The body of the response to a recorded event."),
            "content_type": text("The type of the body, or of the echo: text/plain or application/json."),
            "echo": text("The field that the response sends back: a request with the field is no event."),
            "status": { "type": "integer", "minimum": 200, "maximum": 299, "description": "The status of the response to \
                a recorded event." },
            "token": text("The field of such a request that contains a token, for example hub.verify_token."),
            "token_env": text("The environment variable with the expected token."),
        },
        "additionalProperties": false,
    })
}

/// Returns the schema of `idempotency`.
pub(super) fn idempotency() -> Value {
    let period = "^ *0*[1-9][0-9]* *([smhd]|(second|minute|hour|day)s?) *$";
    json!({
        "description": "The key with which a repeat of a request or an event is recognized, so that it makes no second \
            row: the name of a header, or a mapping.",
        "anyOf": [
            { "$ref": "#/$defs/text" },
            {
                "type": "object",
                "properties": {
                    "column": { "$ref": "#/$defs/text", "description": "The column whose value is the key of each event." },
                    "header": { "$ref": "#/$defs/text", "description": "The header with the key of the request, for \
                        example Idempotency-Key or webhook-id." },
                    "required": { "type": ["boolean", "null"], "description": "Whether a request without the header is \
                        rejected." },
                    "window": { "type": "string", "pattern": period, "description": "The time for which a key is known, for \
                        example 3d or 12h." },
                },
                "additionalProperties": false,
            },
        ],
    })
}

pub(super) fn stream() -> Value {
    json!({ "type": "boolean", "description": "Whether a body of any length is taken, and decoded while it arrives." })
}

pub(super) fn redirect() -> Value {
    json!({
        "description": "The hosts that links of this route lead to: any host, the hosts of the collector's own site, those of \
            a list, or any host if the link is signed.",
        "anyOf": [
            { "enum": REDIRECTS },
            {
                "type": "object",
                "properties": {
                    "hosts": texts("A host such as example.com, all hosts below one such as *.example.com, or a list of \
                        them."),
                    "signed": {
                        "description": "The keys of signatures by `rowmill sign`.",
                        "type": "object",
                        "properties": { "secret_env": secret_env(), "secret_file": secret_file() },
                        "additionalProperties": false,
                    },
                },
                "additionalProperties": false,
            },
        ],
    })
}

pub(super) fn verify() -> Value {
    let text = |description: &str| json!({ "$ref": "#/$defs/text", "description": description });
    json!({
        "description": "How the collector recognizes the sender of a request; any other request gets 401 and is not stored.",
        "type": "object",
        "properties": {
            "algorithm": { "enum": ALGORITHMS.map(|(name, _)| name), "description": "The hash function of the scheme `hmac` \
                or `aws-sns`; sha256 by default." },
            "allow_unsigned": { "type": "boolean", "description": "Whether a request may have fields in its query, and a project in \
                its path, which the signature of its body does not cover; false by default." },
            "encoding": { "enum": ENCODINGS.map(|(name, _)| name), "description": "The form of an HMAC of the scheme `hmac`; \
                hex by default." },
            "header": text("The header with the HMAC of the scheme `hmac`, or with the secret of the scheme `header`."),
            "name": texts("The host or the address in the certificate of the scheme `client-certificate`, or a list of them; any \
                certificate by default."),
            "prefix": text("The text before an HMAC of the scheme `hmac`, for example `sha256=`."),
            "scheme": { "enum": SCHEMES.map(|(name, _)| name), "description": "The sender's way to sign its requests." },
            "secret_env": secret_env(),
            "secret_file": secret_file(),
            "tolerance": text("The largest difference between the time in a signature and the collector's, for example 5m."),
            "topic": texts("The ARN of the topic of the scheme `aws-sns`, or a list of them."),
            "url": text("The URL to which Twilio sends, up to the path, for example https://stat.example.com."),
        },
        "additionalProperties": false,
    })
}

fn secret_env() -> Value {
    texts(
        "The environment variable with the secret, or a list of variables, of which each secret is valid. A variable has one \
         secret on each line.",
    )
}

fn secret_file() -> Value {
    texts(
        "The file with the secret, or a list of files, of which each secret is valid. A file has one secret on each line, and \
         the collector reads it again when it changes.",
    )
}

fn texts(description: &str) -> Value {
    json!({
        "description": description,
        "anyOf": [
            { "$ref": "#/$defs/text" },
            { "type": "array", "items": { "$ref": "#/$defs/text" }, "minItems": 1 },
        ],
    })
}
