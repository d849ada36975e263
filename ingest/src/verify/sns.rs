//! Amazon SNS: an RSA signature of the fields of a message, in the JSON body.
//!
//! Amazon signs the messages of all its customers with the same certificates. A signature therefore
//! counts only for the topics of the route.
//!
//! The signed text is lines: names and values, one after the other. It names its topic and its type in
//! one way only, since no value but that of `Message` may have a line feed.

use std::borrow::Cow;

use super::{
    Unverified, accepted_by, encoding,
    key::{Key, RsaHash},
    request::SignedRequest,
};
use crate::json::{Kind, Reader};

/// The header of a message without its envelope.
const RAW_DELIVERY: &str = "x-amz-sns-rawdelivery";

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
    // Nothing of a raw delivery is signed: with its header, a signed envelope would be a `Message`.
    if request.headers.contains_key(RAW_DELIVERY) {
        return Err(Unverified::Malformed);
    }
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
    /// could take different ones. So is a key that joins others to a path, as `Message_number` does:
    /// it is not signed, and the path is that of a signed value.
    fn read(body: &'b str) -> Result<Self, Unverified> {
        let mut reader = Reader::new(body);
        let mut texts = [const { None }; FIELDS.len()];
        reader.begin_object()?;
        while let Some(key) = reader.next_key()? {
            match FIELDS.iter().position(|field| key == *field) {
                None if is_plain(&key) => reader.skip()?,
                None => return Err(Unverified::Malformed),
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
            "SubscriptionConfirmation" | "UnsubscribeConfirmation" => &OF_CONFIRMATION,
            _ => return Err(Unverified::Malformed),
        };
        let mut signed = String::new();
        for field in fields {
            match self.text(field) {
                // Only a subject may be absent.
                Err(Unverified::Missing) if *field == "Subject" => {}
                // Further lines could pass for other fields.
                Ok(text) if *field != "Message" && text.contains('\n') => return Err(Unverified::Malformed),
                text => signed.extend([field, "\n", text?, "\n"]),
            }
        }
        Ok(signed)
    }
}

/// Returns whether a key is one as Amazon's are, which have letters and digits alone.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests;
