//! Messages that openssl has signed with the key of `certificate.pem`.
#![allow(clippy::unwrap_used)]

use http::{HeaderMap, HeaderValue, Uri};
use serde_json::{Value, json};

use super::*;
use crate::verify::scheme::Scheme;

const CERTIFICATE: &str = include_str!("certificate.pem");

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:orders";

const SCHEME: Scheme = Scheme::AwsSns {
    topics: &[TOPIC],
    allows_sha1: false,
};

fn keys() -> Vec<Key> {
    vec![Key::parse(SCHEME, CERTIFICATE).unwrap()]
}

fn verify_for(body: &str, topics: &[&str], allows_sha1: bool) -> Result<(), Unverified> {
    let request = SignedRequest {
        headers: &HeaderMap::new(),
        uri: &Uri::from_static("/wh/sns"),
        body: body.as_bytes(),
        has_body: true,
        has_fields_beside_body: false,
        certificate: None,
        unix_s: 0,
    };
    verify(&request, topics, allows_sha1, &keys())
}

fn verify_body(body: &str) -> Result<(), Unverified> {
    verify_for(body, &[TOPIC], false)
}

fn notification() -> Value {
    json!({
        "Type": "Notification",
        "MessageId": "m1",
        "TopicArn": TOPIC,
        "Message": "{\"number\":\"A-1\"}\n",
        "Timestamp": "2026-05-29T00:00:00.000Z",
        "SignatureVersion": "2",
        "Signature": "Jsas5Yk7OwxNK0iXxFOUnr60NQivQ0NLLzu4P9eaYjSZ8udVGsVMfga8q6EW8fUwLFTFNOlDkwPXDCLuBSIN4Q0aFrb8PJ6oEhEG3RZQ+V/j5CglpT1ORt3NOmDRhRicAHyT4rq2+qlmVjClBrgOCxDo4GOxsZ8obCt/BEAJT/dXgXwpAjAveGTJVJdn8zm5ZDgEmnM/ZzE1/ViBf5pdVu8uJpksKVm6rrS2dbYzTeVVq2j19ZsSUwcpUrBw5vAN2lnURu6l3Njc95ZDLEbZCb43TD9SCKvHFjZYn5Ajf05/StUNd3K4pv2FB+eAbP4b2HyLGWHh4pEPsEy2QOItNw==",
        "MessageAttributes": {},
    })
}

fn with_sha1() -> Value {
    let mut message = notification();
    message["Subject"] = "s é".into();
    message["SignatureVersion"] = "1".into();
    message["Signature"] = "lMWaIV4Ij2TEyPCyDDJsEYR/0GC5NSCAU1fVnY3XEkIRsOkO+VMY6N+N9YmXikD7jIzVkazbSRljMfl9HiZVK73jvaKnNsP4iBcOvc2y9XAfX6t3xSxcyjMCDMFGZ+Phx856WEScjiiiBcX/0oqzCpabeALgwYiXNoT0TvXgruzvNBAxQewMDvHh70L2/0Q5+u3zOgIKGTQ1A3yzW7O4HoxlBEOkG9zqdyAz9Sy/poY/OK4LsD4yb6cwXKzHRr5fviiIzxEFwZhkaV3MoUsSwCEhTVP7d1o5b6xm8q7Y0/YnwB1eA8ADeAp+GQ/srbrg5sUjxhyLgtUdxRpP6+Xz0g==".into();
    message
}

fn confirmation() -> Value {
    let mut message = notification();
    message["Type"] = "SubscriptionConfirmation".into();
    message["Message"] = "You have chosen…".into();
    message["Token"] = "2336".into();
    message["SubscribeURL"] = "https://sns.us-east-1.amazonaws.com/?Token=2336".into();
    message["Signature"] = "BahOFW0agJCOjQBgt/bM1D0vWVafuR0LsVfFOAyyLCK22kiSgOcCp/mOjS1rouHgeQ+LWt7KaFIsNod5Du4eZ2qNmXQjiyhDwJUhfeF+1kD5rfwlHOsyxp3FJixOStMQgcg1uc061kpSr/+z73fueXV4rWqMyPNrO4gqu1t091PdfLYFj85sMaJ1TMaXGP9M3CXq09wszwrKKgeQKjDrMLM2xV5eUzB8V9Av6ay7qVHhDnz2VM7MjKDcYQTdSljRa1aqFpvNATrF4WFXzGhY0gVJjq06OSpCE4t2dZkVbFbuY5kGPu+DJmBEbYa1SJrmaieJikYqrew9M/j+q542hg==".into();
    message
}

#[test]
fn a_signed_message_is_verified() {
    for message in [notification(), confirmation()] {
        assert_eq!(verify_body(&message.to_string()), Ok(()), "{message}");
    }
    let mut without_subject = notification();
    without_subject["Subject"] = Value::Null;
    assert_eq!(verify_body(&without_subject.to_string()), Ok(()));
}

#[test]
fn sha1_is_accepted_only_where_the_route_allows_it() {
    let message = with_sha1().to_string();
    assert_eq!(verify_body(&message), Err(Unverified::Signature));
    assert_eq!(verify_for(&message, &[TOPIC], true), Ok(()));
    let mut as_sha256 = with_sha1();
    as_sha256["SignatureVersion"] = "2".into();
    assert_eq!(
        verify_for(&as_sha256.to_string(), &[TOPIC], true),
        Err(Unverified::Signature)
    );
}

#[test]
fn a_changed_or_missing_field_is_refused() {
    for message in [notification(), confirmation()] {
        for field in [
            "Message",
            "MessageId",
            "Timestamp",
            "TopicArn",
            "Type",
            "Signature",
            "SignatureVersion",
        ] {
            let mut changed = message.clone();
            changed[field] = "x".into();
            assert!(verify_body(&changed.to_string()).is_err(), "{field}");
            changed.as_object_mut().unwrap().remove(field);
            assert_eq!(verify_body(&changed.to_string()), Err(Unverified::Missing), "{field}");
        }
    }
    let mut changed = confirmation();
    changed["SubscribeURL"] = "https://sns.us-east-1.amazonaws.com/?Token=other".into();
    assert_eq!(verify_body(&changed.to_string()), Err(Unverified::Signature));
    let mut changed = notification();
    changed["Subject"] = "added".into();
    assert_eq!(verify_body(&changed.to_string()), Err(Unverified::Signature));
}

#[test]
fn a_message_of_another_topic_is_refused() {
    let message = notification().to_string();
    assert_eq!(
        verify_for(&message, &["arn:aws:sns:us-east-1:210987654321:orders"], false),
        Err(Unverified::Signature)
    );
    assert_eq!(verify_for(&message, &["arn:x", TOPIC], false), Ok(()));
}

#[test]
fn a_field_that_is_there_twice_or_no_text_is_refused() {
    let message = notification().to_string();
    let twice = message.replacen('{', r#"{"TopicArn":"arn:other","#, 1);
    assert_eq!(verify_body(&twice), Err(Unverified::Malformed));
    for body in [
        "",
        "[]",
        "{",
        r#"{"Type":5}"#,
        &message.replace("\"m1\"", "{}"),
        &message.replace("Jsas", "?"),
        &format!("{message} {{}}"),
    ] {
        assert_eq!(verify_body(body), Err(Unverified::Malformed), "{body}");
    }
    assert_eq!(verify_body("{}"), Err(Unverified::Missing));
}

#[test]
fn a_text_signed_for_another_topic_passes_for_no_message_of_this_one() {
    let lines = format!("x\nMessageId\ny\nSubscribeURL\nu\nTimestamp\nt\nToken\nk\nTopicArn\n{TOPIC}\nType\nq");
    let own = json!({
        "Type": "Notification",
        "MessageId": "B",
        "TopicArn": "arn:attacker",
        "Message": lines,
        "Timestamp": "T",
    });
    let signed = Message::read(&own.to_string()).unwrap().signed_text().unwrap();
    let mut forged = json!({
        "Type": "q\nMessageId\nB\nTimestamp\nT\nTopicArn\narn:attacker\nType\nNotification",
        "MessageId": "y",
        "TopicArn": TOPIC,
        "Message": "x",
        "SubscribeURL": "u",
        "Timestamp": "t",
        "Token": "k",
        "SignatureVersion": "2",
        "Signature": "AAAA",
    });
    let mut text = String::new();
    for field in OF_CONFIRMATION {
        text.extend([field, "\n", forged[field].as_str().unwrap(), "\n"]);
    }
    assert_eq!(text, signed);
    assert_eq!(verify_body(&forged.to_string()), Err(Unverified::Malformed));
    // No other type, and no other field that takes several lines, can do so.
    forged["Type"] = "q".into();
    assert_eq!(verify_body(&forged.to_string()), Err(Unverified::Malformed));
    for message in [notification(), confirmation()] {
        for field in ["MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn"] {
            let mut lines = message.clone();
            lines[field] = "a\nb".into();
            let is_signed = match message["Type"].as_str().unwrap() {
                "Notification" => OF_NOTIFICATION.contains(&field),
                _ => OF_CONFIRMATION.contains(&field),
            };
            if is_signed {
                assert_eq!(verify_body(&lines.to_string()), Err(Unverified::Malformed), "{field}");
            }
        }
    }
}

#[test]
fn a_signed_message_is_no_raw_delivery() {
    let body = notification().to_string();
    let mut headers = HeaderMap::new();
    headers.insert(RAW_DELIVERY, HeaderValue::from_static("true"));
    let request = SignedRequest {
        headers: &headers,
        uri: &Uri::from_static("/wh/sns"),
        body: body.as_bytes(),
        has_body: true,
        has_fields_beside_body: false,
        certificate: None,
        unix_s: 0,
    };
    assert_eq!(verify(&request, &[TOPIC], false, &keys()), Err(Unverified::Malformed));
}

#[test]
fn a_key_that_joins_others_is_refused() {
    for key in ["Message_number", "Message.number", "Message[number]", ""] {
        let mut message = notification();
        message[key] = "evil".into();
        assert_eq!(verify_body(&message.to_string()), Err(Unverified::Malformed), "{key}");
    }
    let mut message = notification();
    message["SequenceNumber"] = "1".into();
    message["UnsubscribeURL"] = "https://sns.us-east-1.amazonaws.com/".into();
    assert_eq!(verify_body(&message.to_string()), Ok(()));
}

#[test]
fn a_secret_is_a_certificate_with_an_rsa_key() {
    let key = rcgen::KeyPair::generate().unwrap();
    let ecdsa = rcgen::CertificateParams::new(["a".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    for secret in [
        "",
        "x",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        &ecdsa.pem(),
    ] {
        assert!(Key::parse(SCHEME, secret).is_err(), "{secret}");
    }
}
