//! Amazon SNS: its messages over HTTP, in their envelopes or by raw delivery.
//!
//! A message is an event with the fields of the envelope, and JSON in place of a `Message` that is the
//! text of it. Raw delivery gives the same event, as far as its headers tell.
//!
//! A topic asks for a confirmation first. Such a request is no event; the log has the URL that confirms,
//! if it is one of Amazon.

use std::sync::atomic::{AtomicU64, Ordering};

use url::Url;

use super::{
    Adapted, AdapterError, Request,
    document::{DocumentWriter, ObjectWriter},
};
use crate::{
    json::{Kind, Reader},
    request::{
        body::Payload,
        text_field::{hidden_json, text_field, unhidden},
    },
};

/// The field of an envelope with the sender's text.
const MESSAGE: &str = "Message";

/// The largest number of confirmations in the log: anybody can send such requests to a route
/// without `verify`.
const MAX_LOGGED: u64 = 100;

static LOGGED: AtomicU64 = AtomicU64::new(0);

pub(super) fn read(request: &Request<'_>) -> Result<Adapted, AdapterError> {
    if request.header("x-amz-sns-rawdelivery").eq_ignore_ascii_case("true") {
        return raw(request);
    }
    if !matches!(&*request.media_type(), "" | "application/json" | "text/plain") {
        return Err(AdapterError::MediaType);
    }
    let text = request.json()?;
    if Reader::new(text).peek()? != Kind::Object {
        return Err(AdapterError::Protocol("the body is not a message of SNS".to_owned()));
    }
    let mut document = DocumentWriter::new(text.len());
    let payload = Payload::Json(text);
    let field = |name| text_field(&payload, name, request.arena);
    match field("Type") {
        Some("Notification") => {
            let event = unhidden(&payload, &[MESSAGE], request.arena);
            document.item().push_str(event.as_deref().unwrap_or(text));
        }
        Some("SubscriptionConfirmation") => confirm(field("TopicArn"), field("SubscribeURL")),
        Some("UnsubscribeConfirmation") => tracing::debug!("a topic of SNS is no longer subscribed"),
        _ => {
            let reason = "`Type` is neither Notification, SubscriptionConfirmation nor UnsubscribeConfirmation";
            return Err(AdapterError::Protocol(reason.to_owned()));
        }
    }
    Ok(document.finish())
}

/// Makes the event of a raw delivery.
fn raw(request: &Request<'_>) -> Result<Adapted, AdapterError> {
    let text = request.text()?;
    let mut document = DocumentWriter::new(text.len());
    let mut fields = ObjectWriter::new(document.item());
    fields.text("Type", "Notification");
    for (name, header) in [
        ("MessageId", "x-amz-sns-message-id"),
        ("TopicArn", "x-amz-sns-topic-arn"),
    ] {
        fields.text(name, request.header(header));
    }
    match hidden_json(text.into(), false, request.arena) {
        Some(json) => fields.json(MESSAGE, json),
        None => fields.text(MESSAGE, text),
    }
    fields.finish();
    Ok(document.finish())
}

/// Logs the URL that confirms the subscription of a topic.
fn confirm(topic: Option<&str>, url: Option<&str>) {
    let (Some(topic), Some(url)) = (topic, url.and_then(confirming_url)) else {
        return;
    };
    if LOGGED.fetch_add(1, Ordering::Relaxed) < MAX_LOGGED && is_arn(topic) {
        tracing::warn!(
            topic,
            subscribe_url = url.as_str(),
            hint = "open the URL once if the topic is yours: `curl -s 'URL'`",
            "a topic of SNS asks whether it may send events here"
        );
    }
}

fn is_arn(topic: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.".contains(&byte);
    topic.starts_with("arn:aws") && topic.len() <= 512 && topic.bytes().all(is_plain)
}

/// Returns a URL of Amazon that confirms a subscription; `None` for any other URL, which somebody
/// else has sent.
fn confirming_url(url: &str) -> Option<Url> {
    let url = Url::parse(url).ok().filter(|url| url.as_str().len() <= 2_048)?;
    let host = url.host_str()?;
    let domain = host.strip_suffix(".cn").unwrap_or(host);
    let region = domain.strip_prefix("sns.")?.strip_suffix(".amazonaws.com")?;
    let is_region = !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_plain =
        url.scheme() == "https" && url.port().is_none() && url.username().is_empty() && url.password().is_none();
    (is_region && is_plain && !url.as_str().contains('\'')).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_amazon_confirm() {
        for url in [
            "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn&Token=2336",
            "https://sns.cn-north-1.amazonaws.com.cn/?Action=ConfirmSubscription",
        ] {
            assert!(confirming_url(url).is_some(), "{url}");
        }
        for url in [
            "http://sns.us-east-1.amazonaws.com/",
            "https://sns.us-east-1.amazonaws.com:8443/",
            "https://user@sns.us-east-1.amazonaws.com/",
            "https://sns.us-east-1.amazonaws.com.example.org/",
            "https://sns.amazonaws.com/",
            "https://sns..amazonaws.com/",
            "https://sns.a.b.amazonaws.com/",
            "https://example.org/?sns.us-east-1.amazonaws.com",
            "https://sns.us-east-1.amazonaws.com/'$(id)'",
            "sns.us-east-1.amazonaws.com",
            "",
        ] {
            assert!(confirming_url(url).is_none(), "{url}");
        }
        assert!(is_arn("arn:aws:sns:us-east-1:123456789012:my_topic-1.fifo"));
        assert!(!is_arn("arn:aws:sns:\u{1b}[31m"));
    }
}
