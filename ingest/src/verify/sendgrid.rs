//! SendGrid's signed event webhook: an ECDSA signature of a time and the body.

use super::{
    Unverified, accepted_by, encoding,
    key::Key,
    request::{Clock, SignedRequest},
};

pub(super) fn verify(request: &SignedRequest<'_>, clock: Clock, keys: &[Key]) -> Result<(), Unverified> {
    let timestamp = request.text("x-twilio-email-event-webhook-timestamp")?;
    let signature = request.header("x-twilio-email-event-webhook-signature")?;
    let signature = encoding::base64(signature).ok_or(Unverified::Malformed)?;
    let message = [timestamp.as_bytes(), request.body].concat();
    accepted_by(keys, |key| key.is_ecdsa_of(&message, &signature))?;
    clock.check(timestamp)
}
