//! The protocols of adapters, from their own clients: the libraries of npm and PyPI, changed in
//! nothing but the host, against a real ClickHouse.

use std::process::Command;

use embedder::tables;
use rowmill_ingest::{EventOptions, layer::RouteSecrets, server::not_found};
use tower::{Layer, service_fn};

use crate::support::{
    clients,
    engine::Database,
    http::{self, Answer},
    service::Served,
};

const PAGE: &str = include_str!("../../docs/adapters.md");

/// The certificate of the messages in `tests/clients/sns.json`.
const CERTIFICATE: &str = include_str!("../../ingest/src/verify/sns/certificate.pem");

const JSON: (&str, &str) = ("Content-Type", "application/json");

struct Clients {
    database: Database,
    served: Served,
}

impl Clients {
    fn start(name: &str) -> Self {
        let database = Database::create(name);
        let served = Served::start(&database, &tables::SCHEMA, |writer| {
            let options = EventOptions {
                secrets: RouteSecrets::default()
                    .with("keyed/segment", ["KEY:"])
                    .with("signed/sns", [CERTIFICATE]),
                ..EventOptions::default()
            };
            tables::layer(writer)
                .unwrap()
                .with_options(&options)
                .layer(service_fn(not_found))
        });
        Self { database, served }
    }

    /// Sends the events of a protocol with its client for Node. Returns whether it is installed.
    fn send_from_node(&self, protocol: &str) -> bool {
        let Some(folder) = clients::of_npm() else {
            return false;
        };
        self.run(Command::new("node").arg(folder.join("adapters.mjs")), protocol);
        true
    }

    /// Sends the events of a protocol with its client for Python. Returns whether it is installed.
    fn send_from_python(&self, protocol: &str) -> bool {
        let Some((folder, python)) = clients::of_pypi() else {
            return false;
        };
        self.run(Command::new(python).arg(folder.join("adapters.py")), protocol);
        true
    }

    fn run(&self, command: &mut Command, protocol: &str) {
        let output = command
            .arg(format!("http://{}/", self.served.address))
            .arg(protocol)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{protocol}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        http::send(self.served.address, "POST", path, headers, body.as_bytes())
    }

    /// Returns the rows of a query, after all requests.
    fn rows(&self, query: &str) -> String {
        self.served.drain();
        self.database.query(&format!("{query} FORMAT TSVRaw"))
    }
}

#[test]
fn the_clients_of_segment() {
    let clients = Clients::start("adapter_segment");
    let from_node = clients.send_from_node("segment");
    let from_python = clients.send_from_python("segment");
    let rows = clients.rows(
        "SELECT type, event, name, user_id, anonymous_id, message_id, library, properties, traits, \
         happened_at > '2026-01-01', sent_at >= happened_at FROM segment_events WHERE library LIKE '%node%' ORDER BY message_id",
    );
    if from_node {
        assert_eq!(
            rows,
            "identify\t\t\tu1\t\tnode-1\t@segment/analytics-node\t{}\t{\"plan\":\"pro\"}\t1\t1\n\
             track\tOrder Completed\t\tu1\t\tnode-2\t@segment/analytics-node\t{\"total\":27.5}\t{}\t1\t1\n\
             page\t\tHome\t\ta1\tnode-3\t@segment/analytics-node\t{\"path\":\"\\/\"}\t{}\t1\t1\n"
        );
    }
    if from_python {
        let rows = clients.rows(
            "SELECT type, event, user_id, group_id, properties, traits, count() FROM segment_events \
             WHERE library = 'analytics-python' GROUP BY ALL ORDER BY type",
        );
        assert_eq!(
            rows,
            "group\t\tu2\tg1\t{}\t{\"name\":\"Acme\"}\t2\n\
             track\tOrder Completed\tu2\t\t{\"total\":12}\t{}\t2\n"
        );
    }
    assert_eq!(clients.database.count("rejected"), 0);
}

#[test]
fn a_repeated_call_of_segment_is_one_row_and_a_key_is_asked_for() {
    let clients = Clients::start("adapter_segment_keyed");
    // The name `KEY` without a password, as Segment's libraries send a write key.
    let key = ("Authorization", "Basic S0VZOg==");
    let batch = r#"{"sentAt":"s","batch":[{"type":"track","event":"a","messageId":"m1","properties":{"amount":5}},
        {"type":"track","event":"b","messageId":"m2","properties":{"amount":500}},
        {"type":"track","event":"c","messageId":"m3"},{"type":"track","event":"c","messageId":"m3"}]}"#;
    let refused = clients.post("/keyed/v1/batch", &[JSON], batch);
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["success"], false);
    for duplicates in [1, 3] {
        let answer = clients.post("/keyed/v1/batch", &[JSON, key], batch);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let report = answer.json();
        assert_eq!((&report["success"], &report["recorded"]), (&false.into(), &3.into()));
        assert_eq!(
            (&report["refused"], &report["duplicates"]),
            (&1.into(), &duplicates.into())
        );
        assert_eq!(
            (&report["errors"][0]["index"], &report["errors"][0]["column"]),
            (&1.into(), &"amount".into())
        );
    }
    let call = r#"{"event":"d","messageId":"m4","timestamp":"2026-05-29T00:00:00Z"}"#;
    for _ in 0..2 {
        let answer = clients.post("/keyed/v1/track", &[JSON, key], call);
        assert_eq!((answer.status, answer.text()), (200, r#"{"success":true}"#));
    }
    assert_eq!(
        clients.rows("SELECT type, event, message_id, sent_at, amount FROM segment_calls ORDER BY event"),
        "track\ta\tm1\ts\t5\ntrack\tc\tm3\ts\t0\ntrack\td\tm4\t\t0\n"
    );
}

#[test]
fn the_trackers_of_snowplow() {
    let clients = Clients::start("adapter_snowplow");
    let (from_node, from_python) = (clients.send_from_node("snowplow"), clients.send_from_python("snowplow"));
    if from_node {
        for tracker in ["post-true", "get-true", "post-false", "get-false"] {
            let rows = clients.rows(&format!(
                "SELECT event, app_id, user_id, url, title, category, action, value, schema, data, contexts, length(event_id), \
                 happened_at > '2026-01-01' FROM snowplow_events WHERE tracker_name = '{tracker}' ORDER BY event"
            ));
            assert_eq!(
                rows,
                "pv\tshop\tu1\thttps://example.com/?a=1&b=2\tHome\t\t\t\\N\t\t\t\
                 [{\"schema\":\"iglu:com.acme/user/jsonschema/1-0-0\",\"data\":{\"kind\":\"tester\"}}]\t36\t1\n\
                 se\tshop\tu1\t\t\tcart\tadd\t9.5\t\t\t\t36\t1\n\
                 ue\tshop\tu1\t\t\t\t\t\\N\tiglu:com.acme/order/jsonschema/1-0-0\t{\"number\":\"A-1\",\"note\":\"£ÿ?\"}\t\t36\t1\n",
                "{tracker}"
            );
        }
    }
    if from_python {
        let rows = clients.rows(
            "SELECT event, title, schema, data, count() FROM snowplow_events WHERE tracker_name LIKE 'python%' \
             GROUP BY ALL ORDER BY event",
        );
        assert_eq!(
            rows,
            "pv\tHome\t\t\t2\nue\t\tiglu:com.acme/order/jsonschema/1-0-0\t{\"number\": \"A-2\"}\t2\n"
        );
    }
    assert_eq!(clients.database.count("rejected"), 0);
}

#[test]
fn the_exporters_of_opentelemetry() {
    let clients = Clients::start("adapter_otlp");
    let (from_node, from_python) = (clients.send_from_node("otlp"), clients.send_from_python("otlp"));
    if from_node {
        for service in ["json", "protobuf", "gzip"] {
            let rows = clients.rows(&format!(
                "SELECT happened_at, severity, severity_text, body, event, attributes, resource['host.name'], scope, \
                 scope_version FROM otlp_logs WHERE service = '{service}' ORDER BY happened_at"
            ));
            assert_eq!(
                rows,
                "2026-05-28 20:26:40.123456789\t17\tERROR\tdisk full\t\t\
                 {'path':'/var','free':'0','ratio':'0.5','is_root':'true','tags':'[\"a\",\"b\"]'}\th1\tlib\t1.2.3\n\
                 2026-05-28 20:26:41.000000000\t9\t\t{\"a\":[1,\"x\",null]}\tstarted\t{}\th1\tlib\t1.2.3\n",
                "{service}"
            );
        }
    }
    if from_python {
        let rows = clients.rows(
            "SELECT severity, severity_text, body, attributes['amount'], scope, happened_at > '2026-01-01' FROM otlp_logs \
             WHERE service = 'python'",
        );
        assert_eq!(rows, "17\tERROR\tpayment of A-1 failed\t5\tshop\t1\n");
    }
    assert_eq!(clients.database.count("rejected"), 0);
}

#[test]
fn other_signals_of_opentelemetry_are_refused_in_the_form_of_their_exporters() {
    let database = Database::create("adapter_otlp_signals");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        let options = EventOptions {
            catch_all: true,
            ..EventOptions::default()
        };
        let layer = tables::layer(writer).unwrap().with_options(&options);
        layer.layer(service_fn(not_found))
    });
    let reason = "this collector takes OpenTelemetry logs only: turn the exporter of this signal off";
    for path in ["/v1/traces", "/v1/metrics", "/v1development/profiles"] {
        let answer = http::send(served.address, "POST", path, &[JSON], br#"{"resourceSpans":[]}"#);
        assert_eq!(
            (answer.status, &answer.json()["message"]),
            (404, &reason.into()),
            "{path}"
        );
        let protobuf = [("Content-Type", "application/x-protobuf")];
        let answer = http::send(served.address, "POST", path, &protobuf, b"\x0a\x00");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, Some("application/x-protobuf")),
            "{path}"
        );
        let message = answer.body.windows(reason.len()).any(|part| part == reason.as_bytes());
        assert!(message, "{:?}", answer.body);
    }
    served.drain();
    assert_eq!(database.count("rejected"), 0);
}

#[test]
fn the_libraries_of_cloudevents() {
    let clients = Clients::start("adapter_cloudevents");
    let from_node = clients.send_from_node("cloudevents");
    let from_python = clients.send_from_python("cloudevents");
    if from_node {
        let rows = clients.rows(
            "SELECT event_id, type, subject, happened_at, content_type, data FROM cloudevents WHERE source = '/shop' \
             ORDER BY event_id",
        );
        let time = "2026-05-29 00:00:00.000";
        assert_eq!(
            rows,
            format!(
                "batch-1\torder\t\t{time}\t\t{{\"number\":3}}\nbatch-2\torder\t\t{time}\t\t{{\"number\":4}}\n\
                 binary\torder\té \"x\"\t{time}\tapplication/json; charset=utf-8\t{{\"number\":2}}\n\
                 structured\torder\t\t{time}\t\t{{\"number\":1}}\n\
                 text\torder\t\t{time}\ttext/plain\tplain\n"
            )
        );
    }
    if from_python {
        let rows =
            clients.rows("SELECT event_id, subject, data FROM cloudevents WHERE source = '/python' ORDER BY event_id");
        assert_eq!(
            rows,
            "to_binary\ts\t{\"number\": 5}\nto_structured\ts\t{\"number\": 5}\n"
        );
    }
    assert_eq!(clients.database.count("rejected"), 0);
}

#[test]
fn a_refused_cloudevent_is_a_dead_letter_of_its_own() {
    let clients = Clients::start("adapter_cloudevents_batch");
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"number":5}}"#;
    let bad = r#"{"specversion":"1.0","id":"2","source":"/s","type":"t","data":{"number":500}}"#;
    let answer = clients.post(
        "/ce/orders",
        &[("Content-Type", "application/cloudevents-batch+json")],
        &format!("[{event},{bad},{{}}]"),
    );
    let report = answer.json();
    assert_eq!(
        (answer.status, &report["recorded"], &report["refused"]),
        (200, &1.into(), &2.into())
    );
    assert_eq!(answer.header("x-rowmill-ack"), Some("stored"));
    assert_eq!(clients.rows("SELECT event_id, number FROM ce_orders"), "1\t5\n");
    assert_eq!(
        clients.rows("SELECT code, payload FROM rejected ORDER BY code"),
        format!("out-of-range\t{bad}\nprotocol\t{{}}\n")
    );
}

#[test]
fn messages_of_sns() {
    let clients = Clients::start("adapter_sns");
    let text = ("Content-Type", "text/plain; charset=UTF-8");
    let envelope = |kind: &str, message: &str| {
        serde_json::json!({
            "Type": kind, "MessageId": "m1", "TopicArn": "arn:aws:sns:us-east-1:123456789012:orders", "Subject": "s",
            "Message": message, "Timestamp": "2026-05-29T00:00:00.000Z", "SignatureVersion": "1", "Signature": "EXAMPLE",
            "MessageAttributes": { "kind": { "Type": "String", "Value": "x" } },
            "SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=1",
        })
        .to_string()
    };
    for (kind, recorded) in [
        ("SubscriptionConfirmation", 0),
        ("Notification", 1),
        ("UnsubscribeConfirmation", 0),
    ] {
        let answer = clients.post("/wh/sns", &[text], &envelope(kind, r#"{"number":"A-1"}"#));
        assert_eq!(
            (answer.status, &answer.json()["recorded"]),
            (200, &recorded.into()),
            "{kind}"
        );
    }
    assert_eq!(
        clients
            .post("/wh/sns", &[text], &envelope("Notification", "plain"))
            .status,
        200
    );
    let raw = [
        text,
        ("x-amz-sns-rawdelivery", "true"),
        ("x-amz-sns-message-id", "m2"),
        ("x-amz-sns-topic-arn", "arn:raw"),
    ];
    assert_eq!(clients.post("/wh/sns", &raw, r#"{"number":"A-2"}"#).status, 200);
    assert_eq!(clients.post("/wh/sns", &[text], r#"{"Type":"Other"}"#).status, 400);
    let topic = "arn:aws:sns:us-east-1:123456789012:orders";
    let rest = r#"{"kind":{"Type":"String","Value":"x"}}"#;
    assert_eq!(
        clients.rows(
            "SELECT topic, message_id, subject, message, attributes, toUnixTimestamp(happened_at) FROM sns_messages ORDER BY message_id, message"
        ),
        format!(
            "{topic}\tm1\ts\tplain\t{rest}\t1780012800\n{topic}\tm1\ts\t{{\"number\":\"A-1\"}}\t{rest}\t1780012800\n\
             arn:raw\tm2\t\t{{\"number\":\"A-2\"}}\t{{}}\t0\n"
        )
    );
    assert_eq!(clients.rows("SELECT code FROM rejected"), "protocol\n");
}

#[test]
fn signed_messages_of_sns() {
    let clients = Clients::start("adapter_signed_sns");
    if clients.send_from_node("sns") {
        assert_eq!(
            clients.rows("SELECT number, subject FROM sns_orders ORDER BY subject"),
            "A-1\t\nA-1\ts é\n"
        );
        assert_eq!(clients.database.count("rejected"), 0);
    }
}

#[test]
fn lines_and_arrays_of_log_shippers() {
    let clients = Clients::start("adapter_shippers");
    if clients.send_from_python("shippers") {
        assert_eq!(clients.rows("SELECT count(), uniq(number) FROM orders"), "3000\t3000\n");
    }
}

#[test]
fn the_requests_of_the_page_work_as_typed() {
    let clients = Clients::start("adapter_page");
    let folder = tempfile::tempdir().unwrap();
    let blocks = PAGE
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    for block in blocks.filter(|block| block.contains("curl ")) {
        let command = block
            .replace("127.0.0.1:8080", &clients.served.address.to_string())
            .replace("curl ", "curl --silent --fail-with-body ");
        let output = Command::new("sh")
            .args(["-ec", &command])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}: {answer}");
    }
    assert!(
        std::fs::read(folder.path().join("pixel.gif"))
            .unwrap()
            .starts_with(b"GIF89a")
    );
    for (table, rows) in [
        ("segment_events", 1),
        ("cloudevents", 3),
        ("snowplow_events", 2),
        ("otlp_logs", 1),
        ("sns_messages", 1),
        ("rejected", 0),
    ] {
        assert_eq!(
            clients.rows(&format!("SELECT count() FROM {table}")),
            format!("{rows}\n"),
            "{table}"
        );
    }
}
