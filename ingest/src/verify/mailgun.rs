//! Mailgun's signature: an HMAC of a time and a token, all three in the object `signature` of the
//! JSON body. It covers nothing else of the body.

use std::borrow::Cow;

use super::{
    Unverified, accepted_by, encoding,
    key::Key,
    request::{Clock, SignedRequest},
};
use crate::json::{Error, Kind, Reader};

/// The object `signature`.
#[derive(Default)]
struct Signature<'b> {
    timestamp: Option<Cow<'b, str>>,
    token: Option<Cow<'b, str>>,
    signature: Option<Cow<'b, str>>,
}

pub(super) fn verify(request: &SignedRequest<'_>, clock: Clock, keys: &[Key]) -> Result<(), Unverified> {
    let body = str::from_utf8(request.body).map_err(|_| Unverified::Malformed)?;
    let Some(Signature {
        timestamp: Some(timestamp),
        token: Some(token),
        signature: Some(signature),
    }) = read(body)?
    else {
        return Err(Unverified::Missing);
    };
    let tag = encoding::hex(signature.as_bytes()).ok_or(Unverified::Malformed)?;
    let parts = [timestamp.as_bytes(), token.as_bytes()];
    accepted_by(keys, |key| key.is_hmac_of(&parts, &tag))?;
    clock.check(&timestamp)
}

impl From<Error> for Unverified {
    fn from(_: Error) -> Self {
        Self::Malformed
    }
}

/// Reads the signature of a body. A key that is there twice is an error: the collector and another
/// reader could take different ones.
fn read(body: &str) -> Result<Option<Signature<'_>>, Unverified> {
    let mut reader = Reader::new(body);
    let mut found = None;
    reader.begin_object()?;
    while let Some(key) = reader.next_key()? {
        if key != "signature" {
            reader.skip()?;
        } else if found.is_some() {
            return Err(Unverified::Malformed);
        } else {
            found = Some(read_signature(&mut reader)?);
        }
    }
    reader.end()?;
    Ok(found)
}

fn read_signature<'b>(reader: &mut Reader<'b>) -> Result<Signature<'b>, Unverified> {
    let mut signature = Signature::default();
    reader.begin_object()?;
    while let Some(key) = reader.next_key()? {
        let field = match &*key {
            "timestamp" => &mut signature.timestamp,
            "token" => &mut signature.token,
            "signature" => &mut signature.signature,
            _ => {
                reader.skip()?;
                continue;
            }
        };
        if field.is_some() {
            return Err(Unverified::Malformed);
        }
        *field = Some(match reader.peek()? {
            Kind::Number => Cow::Borrowed(reader.number()?),
            _ => reader.string()?,
        });
    }
    Ok(signature)
}
