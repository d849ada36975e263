//! The presets of `schemas/presets`: requests of the shape that each sender documents, and their rows.

use std::process::Command;

use embedder::tables;
use rowmill_ingest::server::not_found;
use tower::{Layer, service_fn};

use crate::support::{
    engine::Database,
    http::{self, Answer},
    service::Served,
};

struct Senders {
    database: Database,
    served: Served,
}

impl Senders {
    fn start(name: &str) -> Self {
        let database = Database::create(name);
        let served = Served::start(&database, &tables::SCHEMA, |writer| {
            tables::layer(writer).unwrap().layer(service_fn(not_found))
        });
        Self { database, served }
    }

    fn post(&self, path: &str, content_type: &str, body: &str) -> Answer {
        let headers = [("Content-Type", content_type)];
        let answer = http::send(self.served.address, "POST", path, &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    /// Returns the rows of a query, after all requests.
    fn rows(self, query: &str) -> String {
        self.served.drain();
        assert_eq!(self.database.count("rejected"), 0);
        self.database.query(query)
    }
}

#[test]
fn sendgrid() {
    let senders = Senders::start("preset_sendgrid");
    let events = [
        r#"{"email":"ann@example.com","timestamp":1780000000,"smtp-id":"<14c5d75ce93.dfd.64b469@ismtpd-555>","event":"processed","category":["welcome","new"],"sg_event_id":"rbtnWrG1DVDGGGFHFyun0A==","sg_message_id":"14c5d75ce93.dfd.64b469.0"}"#,
        r#"{"email":"ann@example.com","timestamp":1780000001,"smtp-id":"<14c5d75ce93.dfd.64b469@ismtpd-555>","event":"bounce","category":"welcome","sg_event_id":"6g4ZI7SA-xmRDv57GoPIPw==","sg_message_id":"14c5d75ce93.dfd.64b469.0","reason":"500 unknown recipient","status":"5.0.0","type":"bounce","tls":1,"order":"A-1"}"#,
        r#"{"email":"ann@example.com","timestamp":1780000002,"event":"click","sg_event_id":"kCAi1KttyQdEKHhdC-nuEA==","sg_message_id":"14c5d75ce93.dfd.64b469.0","useragent":"Mozilla/5.0","ip":"192.0.2.7","url":"https://example.org/","url_offset":{"index":0,"type":"html"},"asm_group_id":10}"#,
    ];
    senders.post("/wh/sendgrid", "application/json", &format!("[{}]", events.join(",")));
    let rows = senders.rows(
        "SELECT event, toUnixTimestamp(happened_at), smtp_id, category, reason, status, type, tls, url, unsubscribe_group, \
         extra.key, extra.value FROM sendgrid_events ORDER BY happened_at FORMAT TSVRaw",
    );
    assert_eq!(
        rows,
        "processed\t1780000000\t<14c5d75ce93.dfd.64b469@ismtpd-555>\t['welcome','new']\t\t\t\tfalse\t\t0\t[]\t[]\n\
         bounce\t1780000001\t<14c5d75ce93.dfd.64b469@ismtpd-555>\t['welcome']\t500 unknown recipient\t5.0.0\tbounce\ttrue\t\t0\t\
         ['order']\t['A-1']\n\
         click\t1780000002\t\t[]\t\t\t\tfalse\thttps://example.org/\t10\t['url_offset_index','url_offset_type']\t['0','html']\n"
    );
}

#[test]
fn mailgun() {
    let senders = Senders::start("preset_mailgun");
    senders.post(
        "/wh/mailgun",
        "application/json",
        r#"{"signature":{"timestamp":"1780000000","token":"a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0","signature":"d2271d12299f6592d9d44cd9d250f0704e4674c30d79d07c47a66f95ce71cf55"},
        "event-data":{"id":"DACSsAdVSeGpLid7TN03WA","timestamp":1780000000.908181,"log-level":"error","event":"failed","severity":"permanent","reason":"suppress-bounce",
        "recipient":"bob@example.com","recipient-domain":"example.com","tags":["offers"],"campaigns":[],"user-variables":{"order":"A-1"},
        "delivery-status":{"attempt-no":1,"message":"No such mailbox","code":605,"description":"Not delivering to previously bounced address"},
        "message":{"headers":{"to":"bob@example.com","message-id":"20130503192659.13651.20287@example.com","from":"ann@example.com","subject":"Hello"},"size":111}}}"#,
    );
    senders.post(
        "/wh/mailgun",
        "application/json",
        r#"{"event-data":{"event":"opened","timestamp":1780000001,"ip":"192.0.2.7","geolocation":{"country":"DE","region":"BE","city":"Berlin"},
        "client-info":{"client-os":"Linux","device-type":"desktop","client-name":"Firefox","client-type":"browser","user-agent":"Mozilla/5.0"},
        "message":{"headers":{"message-id":"m2"}},"user-variables":[]}}"#,
    );
    let rows = senders.rows(
        "SELECT event, toUnixTimestamp64Milli(happened_at), recipient_domain, message_id, subject, tags, severity, smtp_code, \
         attempt, country, device, variables FROM mailgun_events ORDER BY happened_at FORMAT TSVRaw",
    );
    assert_eq!(
        rows,
        "failed\t1780000000908\texample.com\t20130503192659.13651.20287@example.com\tHello\t['offers']\tpermanent\t605\t1\t\t\t\
         {'order':'A-1'}\n\
         opened\t1780000001000\t\tm2\t\t[]\t\t0\t0\tDE\tdesktop\t{}\n"
    );
}

#[test]
fn mandrill() {
    let senders = Senders::start("preset_mandrill");
    let events = serde_json::json!([
        {"event": "hard_bounce", "_id": "m1", "ts": 1_780_000_001, "msg": {
            "ts": 1_780_000_000, "subject": "Hello + \"you\"", "email": "ann@example.com", "sender": "shop@example.com",
            "tags": ["welcome"], "state": "bounced", "metadata": {"user_id": 111}, "_id": "m1", "template": null,
            "diag": "smtp;550 5.1.1 unknown", "bounce_description": "bad_mailbox", "opens": [], "clicks": []}},
        {"event": "click", "_id": "m2", "ts": 1_780_000_002, "url": "https://example.org/?a=1&b=2", "ip": "192.0.2.7",
            "location": {"country_short": "DE", "city": "Berlin"}, "user_agent": "Mozilla/5.0",
            "user_agent_parsed": {"os_name": "Linux", "mobile": false},
            "msg": {"ts": 1_780_000_000, "email": "bob@example.com", "_id": "m2", "tags": [], "metadata": []}},
        {"type": "blacklist", "action": "add", "ts": 1_780_000_003,
            "reject": {"reason": "hard-bounce", "email": "eve@example.com", "expired": false, "sender": null}},
    ]);
    let encoded: String = events.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    // Mandrill checks the address with HEAD before it sends events.
    let head = http::send(senders.served.address, "HEAD", "/wh/mandrill", &[], &[]);
    assert_eq!(head.status, 200);
    let answer = senders.post(
        "/wh/mandrill",
        "application/x-www-form-urlencoded",
        &format!("mandrill_events={encoded}"),
    );
    assert_eq!(answer.json()["recorded"], 3);
    let rows = senders.rows(
        "SELECT event, action, toUnixTimestamp(happened_at), message_id, email, subject, tags, metadata, reason, diagnostic, url, \
         country, system FROM mandrill_events ORDER BY happened_at FORMAT TSVRaw",
    );
    assert_eq!(
        rows,
        "hard_bounce\t\t1780000001\tm1\tann@example.com\tHello + \"you\"\t['welcome']\t{'user_id':'111'}\tbad_mailbox\t\
         smtp;550 5.1.1 unknown\t\t\t\n\
         click\t\t1780000002\tm2\tbob@example.com\t\t[]\t{}\t\t\thttps://example.org/?a=1&b=2\tDE\tLinux\n\
         blacklist\tadd\t1780000003\t\teve@example.com\t\t[]\t{}\thard-bounce\t\t\t\t\n"
    );
}

#[test]
fn postmark() {
    let senders = Senders::start("preset_postmark");
    for body in [
        r#"{"RecordType":"Delivery","ServerID":23,"MessageStream":"outbound","MessageID":"883953f4-6105-42a2-a16a-77a8eac79483","Recipient":"ann@example.com","Tag":"welcome","DeliveredAt":"2026-05-29T00:00:00Z","Details":"Test delivery","Metadata":{"order":"A-1"}}"#,
        r#"{"RecordType":"Bounce","ID":42,"Type":"HardBounce","TypeCode":1,"Name":"Hard bounce","Tag":"welcome","MessageID":"m2","Metadata":{},"ServerID":23,"MessageStream":"outbound","Description":"The server was unable to deliver your message.","Details":"Test bounce","Email":"bob@example.com","From":"sender@example.com","BouncedAt":"2026-05-29T00:00:01Z","DumpAvailable":true,"Inactive":true,"CanActivate":true,"Subject":"Hello"}"#,
        r#"{"RecordType":"Open","FirstOpen":true,"Client":{"Name":"Firefox","Company":"Mozilla","Family":"Firefox"},"OS":{"Name":"Linux","Company":"","Family":"Linux"},"Platform":"WebMail","UserAgent":"Mozilla/5.0","Geo":{"CountryISOCode":"DE","Country":"Germany","City":"Berlin","IP":"192.0.2.7"},"MessageID":"m3","ReceivedAt":"2026-05-29T02:00:02.5+02:00","Tag":"welcome","Recipient":"ann@example.com"}"#,
        r#"{"RecordType":"SubscriptionChange","MessageID":"m4","ServerID":23,"MessageStream":"outbound","ChangedAt":"2026-05-29T00:00:03Z","Recipient":"bob@example.com","Origin":"Recipient","SuppressSending":true,"SuppressionReason":"HardBounce","Tag":null,"Metadata":{}}"#,
    ] {
        senders.post("/wh/postmark", "application/json", body);
    }
    let rows = senders.rows(
        "SELECT event, toUnixTimestamp64Milli(happened_at) - 1780012800000, recipient, tag, metadata, bounce_type, bounce_code, \
         is_inactive, is_first_open, system, country, suppresses_sending, suppression_reason FROM postmark_events \
         ORDER BY happened_at FORMAT TSVRaw",
    );
    assert_eq!(
        rows,
        "Delivery\t0\tann@example.com\twelcome\t{'order':'A-1'}\t\t0\tfalse\tfalse\t\t\tfalse\t\n\
         Bounce\t1000\tbob@example.com\twelcome\t{}\tHardBounce\t1\ttrue\tfalse\t\t\tfalse\t\n\
         Open\t2500\tann@example.com\twelcome\t{}\t\t0\tfalse\ttrue\tLinux\tDE\tfalse\t\n\
         SubscriptionChange\t3000\tbob@example.com\t\t{}\t\t0\tfalse\tfalse\t\t\ttrue\tHardBounce\n"
    );
}

#[test]
fn amazon_ses_over_sns() {
    let senders = Senders::start("preset_ses");
    let notification = |message: serde_json::Value| {
        serde_json::json!({
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": "arn:aws:sns:eu-central-1:123456789012:mail",
            "Message": message.to_string(),
            "Timestamp": "2026-05-29T00:00:00.831Z",
            "SignatureVersion": "1",
            "Signature": "EXAMPLE",
        })
    };
    let mail = serde_json::json!({
        "timestamp": "2026-05-29T00:00:00.000Z",
        "source": "\"Shop \u{1f4e6}\" <shop@example.com>",
        "messageId": "EXAMPLE7c191be45",
        "destination": ["ann@example.com", "bob@example.com"],
        "headers": [{"name": "X-A", "value": "1"}],
        "commonHeaders": {"subject": "Hello \"you\""},
        "tags": {"ses:configuration-set": ["main"], "order": ["A-1"]},
    });
    let bounce = serde_json::json!({"eventType": "Bounce", "mail": mail, "bounce": {
    "bounceType": "Permanent", "bounceSubType": "General", "timestamp": "2026-05-29T00:00:01.000Z",
    "bouncedRecipients": [
        {"emailAddress": "ann@example.com", "action": "failed", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 unknown"},
        {"emailAddress": "bob@example.com"},
    ]}});
    let click = serde_json::json!({"eventType": "Click", "mail": mail, "click": {
        "ipAddress": "192.0.2.7", "link": "https://example.org/", "linkTags": {"a": ["b"]}, "userAgent": "Mozilla/5.0"}});
    let delivery = serde_json::json!({"notificationType": "Delivery", "mail": mail, "delivery": {
        "processingTimeMillis": 546, "recipients": ["ann@example.com"], "smtpResponse": "250 ok"}});
    for message in [bounce, click, delivery] {
        let body = notification(message).to_string();
        // SNS sends JSON under this type.
        senders.post("/wh/ses", "text/plain; charset=UTF-8", &body);
    }
    senders.post(
        "/wh/ses",
        "text/plain; charset=UTF-8",
        r#"{"Type":"SubscriptionConfirmation","MessageId":"165545c9","Token":"2336412f","TopicArn":"arn","Message":"You have chosen to subscribe.","SubscribeURL":"https://sns.example/?Action=ConfirmSubscription"}"#,
    );
    let rows = senders.rows(
        "SELECT type, event, source, recipients, subject, tags['order'], bounced.emailAddress, bounced.status, smtp_response, \
         processing_ms, ip, link, subscribe_url FROM ses_events ORDER BY event FORMAT TSVRaw",
    );
    let mail = "\"Shop \u{1f4e6}\" <shop@example.com>\t['ann@example.com','bob@example.com']\tHello \"you\"\t['A-1']";
    assert_eq!(
        rows,
        format!(
            "SubscriptionConfirmation\t\t\t[]\t\t[]\t[]\t[]\t\t0\t\t\thttps://sns.example/?Action=ConfirmSubscription\n\
             Notification\tBounce\t{mail}\t['ann@example.com','bob@example.com']\t['5.1.1','']\t\t0\t\t\t\n\
             Notification\tClick\t{mail}\t[]\t[]\t\t0\t192.0.2.7\thttps://example.org/\t\n\
             Notification\tDelivery\t{mail}\t[]\t[]\t250 ok\t546\t\t\t\n"
        )
    );
}

#[test]
fn brevo() {
    let senders = Senders::start("preset_brevo");
    senders.post(
        "/wh/brevo",
        "application/json",
        r#"{"event":"delivered","email":"ann@example.com","id":26224,"date":"2026-05-29 02:00:00","ts":1780012800,"message-id":"<202605290000.1@smtp-relay.example>","ts_event":1780012800,"subject":"Hello","tag":"[\"welcome\"]","sending_ip":"185.41.28.109","ts_epoch":1780012800123,"tags":["welcome"],"template_id":22,"X-Mailin-custom":"order=A-1"}"#,
    );
    let rows = senders.rows(
        "SELECT event, email, toUnixTimestamp64Milli(happened_at), toUnixTimestamp(sent_at), message_id, webhook, template, tags, \
         custom, extra.key FROM brevo_events FORMAT TSVRaw",
    );
    assert_eq!(
        rows,
        "delivered\tann@example.com\t1780012800123\t1780012800\t<202605290000.1@smtp-relay.example>\t26224\t22\t['welcome']\t\
         order=A-1\t['date','ts','tag']\n"
    );
}

#[test]
fn the_request_of_the_page_works_as_typed() {
    let page = include_str!("../../docs/presets.md");
    let command = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let senders = Senders::start("preset_page");
    let command = command
        .replace("127.0.0.1:8080", &senders.served.address.to_string())
        .replace("curl ", "curl --silent --fail-with-body ");
    let output = Command::new("sh").args(["-ec", &command]).output().unwrap();
    if output.status.code() == Some(127) {
        eprintln!("skipped: there is no curl");
        return;
    }
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command}: {answer}");
    assert_eq!(
        senders.rows("SELECT event, recipient, message_id FROM postmark_events"),
        "Delivery\tann@example.com\t883953f4\n"
    );
}
