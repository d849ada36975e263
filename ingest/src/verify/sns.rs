//! Amazon SNS: an RSA signature of the fields of a message, in the JSON body.
//!
//! Amazon signs the messages of all its customers with the same certificates. A signature therefore
//! counts only for the topics of the route.

use std::borrow::Cow;

use super::{
    Unverified, accepted_by, encoding,
    key::{Key, RsaHash},
    request::SignedRequest,
};
use crate::json::{Kind, Reader};

/// The fields that a signature covers or needs.
const FIELDS: [&str; 10] = [
    "Message",
    "MessageId",
    "Signature",
    "SignatureVersion",
    "Subject",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
];

/// The signed fields of a notification, in their order.
const OF_NOTIFICATION: [&str; 6] = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];

/// The signed fields of a confirmation, in their order.
const OF_CONFIRMATION: [&str; 7] = [
    "Message",
    "MessageId",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
];

/// The texts of a message's [`FIELDS`].
struct Message<'b>([Option<Cow<'b, str>>; FIELDS.len()]);

pub(super) fn verify(
    request: &SignedRequest<'_>,
    topics: &[&str],
    allows_sha1: bool,
    keys: &[Key],
) -> Result<(), Unverified> {
    let body = str::from_utf8(request.body).map_err(|_| Unverified::Malformed)?;
    let message = Message::read(body)?;
    let hash = match message.text("SignatureVersion")? {
        "1" if allows_sha1 => RsaHash::Sha1,
        "2" => RsaHash::Sha256,
        _ => return Err(Unverified::Signature),
    };
    let signature = encoding::base64(message.text("Signature")?.as_bytes()).ok_or(Unverified::Malformed)?;
    let signed = message.signed_text()?;
    accepted_by(keys, |key| key.is_rsa_of(hash, signed.as_bytes(), &signature))?;
    let is_of_route = topics.contains(&message.text("TopicArn")?);
    is_of_route.then_some(()).ok_or(Unverified::Signature)
}

impl<'b> Message<'b> {
    /// Reads a message. A field that is there twice is an error: the collector and another reader
    /// could take different ones.
    fn read(body: &'b str) -> Result<Self, Unverified> {
        let mut reader = Reader::new(body);
        let mut texts = [const { None }; FIELDS.len()];
        reader.begin_object()?;
        while let Some(key) = reader.next_key()? {
            match FIELDS.iter().position(|field| key == *field) {
                None => reader.skip()?,
                Some(at) if texts[at].is_some() => return Err(Unverified::Malformed),
                Some(_) if reader.peek()? == Kind::Null => reader.null()?,
                Some(at) => texts[at] = Some(reader.string()?),
            }
        }
        reader.end()?;
        Ok(Self(texts))
    }

    fn text(&self, field: &str) -> Result<&str, Unverified> {
        let at = FIELDS.iter().position(|known| *known == field);
        let text = at.and_then(|at| self.0[at].as_deref());
        text.ok_or(Unverified::Missing)
    }

    /// Returns the text that a signature covers: each field's name and value on lines of their own.
    fn signed_text(&self) -> Result<String, Unverified> {
        let fields: &[&str] = match self.text("Type")? {
            "Notification" => &OF_NOTIFICATION,
            _ => &OF_CONFIRMATION,
        };
        let mut signed = String::new();
        for field in fields {
            match self.text(field) {
                // Only a subject may be absent.
                Err(Unverified::Missing) if *field == "Subject" => {}
                text => signed.extend([field, "\n", text?, "\n"]),
            }
        }
        Ok(signed)
    }
}

#[cfg(test)]
mod tests;
