//! WebSockets: clients of npm and a browser, stops and kills, and floods.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::{Value, json};

use crate::support::{
    browser, clients,
    collector::Collector,
    engine::Database,
    http, wait_for,
    websocket::{Message, WebSocket, frame},
};

/// Runs a script of the folder, and returns the lines that it prints.
fn script(folder: &Path, name: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new("node")
        .arg(folder.join(name))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Returns a message with the number of its event.
fn numbered(number: usize) -> String {
    format!(r#"{{"service":"wh","name":"mail","event":"{number}","id__":{number}}}"#)
}

#[test]
fn a_client_of_npm_sends_events_and_gets_their_answers() {
    let Some(folder) = clients::of_npm() else { return };
    let database = Database::named("websocket_npm");
    let collector = Collector::start(&database);
    let url = format!("ws://{}/wss?uid=1234567890", collector.address);
    let messages = [
        r#"{"service":"track","name":"hello","id__":"_1","uid":"1234567890"}"#,
        r#"{"service":"track","name":"ping","id__":"_2"}"#,
        r#"{"service":"wh","name":"mail","event":"open","email":"ann@example.com","id__":"_3"}"#,
        r#"{"service":"track","name":"page","sess":{"num":"x"},"id__":"_4"}"#,
        r#"[{"service":"wh","name":"mail","event":"click","id__":"_5"},{"service":"other","name":"thing"}]"#,
    ];
    let lines = script(&folder, "websocket.mjs", &[&[url.as_str()], &messages[..]].concat());
    let (end, answers) = lines.split_last().unwrap();
    assert_eq!(end, "closed 1000");
    let answers: Vec<Value> = answers.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        answers[0],
        json!({"type__": "data", "headers": [], "statusCode": 200, "data": {"message": "hi"}, "ack": "spooled", "id__": "_1"})
    );
    assert_eq!(
        (&answers[1]["data"]["message"], &answers[1]["id__"]),
        (&json!("pong"), &json!("_2"))
    );
    assert_eq!(answers[2]["data"]["key"], "in.gen.wh.mail");
    assert_eq!(
        (&answers[3]["statusCode"], &answers[3]["id__"]),
        (&json!(400), &json!("_4"))
    );
    assert_eq!(answers[3]["refused"][0]["column"], "sess_num");
    assert_eq!(answers[4][0]["id__"], "_5");
    assert_eq!(answers[4][1]["data"]["key"], "in.gen.other.thing");

    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query("SELECT event, channel, service, name, uid, td_ip, td_ua FROM mail_statistics ORDER BY id"),
        "open\tws\twh\tmail\t1234567890\t127.0.0.1\tws\nclick\tws\twh\tmail\t1234567890\t127.0.0.1\tws\n"
    );
    assert_eq!(
        database.query("SELECT name, id__, channel FROM ping ORDER BY id"),
        "hello\t_1\tws\nping\t_2\tws\n"
    );
    assert_eq!(
        database.query("SELECT service, name, channel FROM webhooks"),
        "other\tthing\tws\n"
    );
    assert_eq!(
        database.query("SELECT service, name, column FROM rejected"),
        "track\tpage\tsess_num\n"
    );
}

#[test]
fn the_request_of_the_page_works_as_typed() {
    let Some(folder) = clients::of_npm() else { return };
    let database = Database::named("websocket_page");
    let collector = Collector::start(&database);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/websocket.md");
    let text = fs::read_to_string(page).unwrap();
    let block = |language: &str| {
        let start = text.split(&format!("```{language}\n")).nth(1).unwrap();
        start.split("```").next().unwrap().to_owned()
    };
    let script = block("js").replace("127.0.0.1:8080", &collector.address.to_string());
    let script =
        format!("import WebSocket from 'ws'\n{script}\nsocket.addEventListener('message', () => socket.close())");
    let output = Command::new("node")
        .current_dir(folder)
        .args(["--input-type=module", "--eval", &script])
        .output()
        .unwrap();
    let ids = |text: &str| {
        let mut answer: Value = serde_json::from_str(text).unwrap();
        answer["data"]["id"] = Value::Null;
        answer
    };
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(ids(&printed), ids(&block("json")));
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query("SELECT event, email FROM mail_statistics"),
        "open\tann@example.com\n"
    );
}

#[test]
fn the_script_of_the_page_works_in_a_browser() {
    let database = Database::named("websocket_page_browser");
    let collector = Collector::start(&database);
    let text = include_str!("../../docs/websocket.md");
    let script = text.split("```js\n").nth(1).unwrap().split("```").next().unwrap();
    let script = script.replace("127.0.0.1:8080", &format!("localhost:{}", collector.address.port()));
    // The browser's clock stands still during a fetch, but not for a WebSocket.
    let site = browser::site(format!(
        r#"<!doctype html><pre id="out"></pre><script>
console.log = (text) => document.getElementById('out').textContent += text
{script}
socket.addEventListener('message', () => socket.close());
(async () => {{ while (socket.readyState !== 3) await fetch('/', {{ cache: 'no-store' }}) }})()
</script>"#
    ));
    let Some(shown) = browser::open(&format!("http://localhost:{}/", site.port())) else {
        eprintln!("there is no chromium: the test is skipped");
        return;
    };
    assert!(shown.contains(r#""key":"in.gen.wh.mail""#), "{shown}");
    assert!(shown.contains(r#""ack":"spooled","id__":"_1"}</pre>"#), "{shown}");
    assert_eq!(collector.stop().code, Some(0));
    let rows = database.query("SELECT event, email, channel FROM mail_statistics");
    assert_eq!(rows, "open\tann@example.com\tws\n");
}

#[test]
fn a_json_rpc_client_of_npm_works_over_http_and_websocket() {
    let Some(folder) = clients::of_npm() else { return };
    let database = Database::named("websocket_json_rpc");
    let collector = Collector::start(&database);
    let lines = script(&folder, "json_rpc.mjs", &[&collector.address.to_string()]);
    for name in ["http", "ws"] {
        let of_client: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix(name)).collect();
        assert!(
            of_client[0].starts_with(r#" result {"key":"in.gen.wh.mail","id":""#),
            "{lines:?}"
        );
        assert_eq!(of_client[1..], [" both 2", " batch [0,-32601]", " error -32602"]);
    }
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query(
            "SELECT channel, arraySort(groupArray(event)) FROM mail_statistics GROUP BY channel ORDER BY channel"
        ),
        "http\t['http-four','http-notified','http-one','http-three','http-two']\n\
         ws\t['ws-four','ws-notified','ws-one','ws-three','ws-two']\n"
    );
}

/// Returns a page that sends an event over a WebSocket and shows the answer.
fn page(collector: &str) -> String {
    format!(
        r#"<!doctype html><pre id="out"></pre><script>
let isOver = false;
const show = (text) => document.getElementById('out').textContent += text + ' ';
const socket = new WebSocket('ws://{collector}/wss?uid=0');
socket.onopen = () => socket.send(JSON.stringify({{service: 'wh', name: 'mail', event: 'page', id__: '_7'}}));
socket.onmessage = ({{data}}) => {{ const answer = JSON.parse(data); show(answer.id__ + '=' + answer.statusCode); socket.close(1000); }};
socket.onclose = ({{code}}) => {{ show('closed=' + code); isOver = true; }};
// The browser's clock stands still during a fetch, but not for a WebSocket.
(async () => {{ while (!isOver) await fetch('/', {{cache: 'no-store'}}); }})();
</script>"#
    )
}

#[test]
fn a_browser_opens_a_session_from_pages_of_the_own_site_alone() {
    let database = Database::named("websocket_browser");
    let collector = Collector::start(&database);
    let site = browser::site(page(&format!("localhost:{}", collector.address.port())));
    let Some(own) = browser::open(&format!("http://localhost:{}/", site.port())) else {
        eprintln!("there is no chromium: the test is skipped");
        return;
    };
    assert!(own.contains("_7=200 closed=1000"), "{own}");
    let other = browser::open(&format!("http://127.0.0.1:{}/", site.port())).unwrap();
    assert!(other.contains(r#"<pre id="out">closed=1006 "#), "{other}");
    assert_eq!(collector.stop().code, Some(0));
    let row = database.query("SELECT event, channel, uid > 0, td_ua LIKE '%Chrome%' FROM mail_statistics");
    assert_eq!(row, "page\tws\t1\t1\n");
}

#[test]
fn a_session_has_the_cookie_and_the_address_of_its_handshake() {
    let database = Database::named("websocket_handshake");
    let collector = Collector::start_with(&database.url(), &["--allow-origin", "https://shop.example"]);
    let open = |headers: &[(&str, &str)]| WebSocket::open(collector.address, "/wss", headers);
    let refused = open(&[("Origin", "https://evil.example")]).unwrap_err();
    assert_eq!(refused.status, 403);
    let mut socket = open(&[("Origin", "https://shop.example"), ("X-Real-IP", "198.51.100.7")]).unwrap();
    assert_eq!(
        socket.opened.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    let cookie = socket.opened.header("set-cookie").unwrap();
    let uid = cookie
        .strip_prefix("uid=")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    socket.send(&numbered(1)).unwrap();
    assert_eq!(socket.json()["ack"], "spooled");
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(socket.receive(), Message::Close(1001));
    assert_eq!(
        database.query("SELECT toString(uid), td_ip FROM mail_statistics"),
        format!("{uid}\t198.51.100.7\n")
    );
    let plain = http::get(Collector::start(&database).address, "/wss");
    assert_eq!((plain.status, plain.header("upgrade")), (426, Some("websocket")));
}

#[test]
fn a_rate_limit_counts_each_message() {
    let database = Database::named("websocket_rate");
    let collector = Collector::start_with(&database.url(), &["--rate-limit-per-ip", "5/h"]);
    let mut socket = WebSocket::open(collector.address, "/wss", &[]).unwrap();
    let statuses: Vec<_> = (0..6)
        .map(|number| {
            socket.send(&numbered(number)).unwrap();
            let answer = socket.json();
            (answer["statusCode"].as_u64().unwrap(), answer["retryAfter"].is_u64())
        })
        .collect();
    // The handshake counts, too.
    let expected = [[(200, false); 4].as_slice(), &[(429, true); 2]].concat();
    assert_eq!(statuses, expected);
}

#[test]
fn a_stop_answers_what_it_has_read_and_closes() {
    let database = Database::named("websocket_stop");
    let collector = Collector::start(&database);
    let address = collector.address;
    let is_ready = AtomicBool::new(false);
    let acknowledged = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let is_ready = &is_ready;
                scope.spawn(move || {
                    let mut socket = WebSocket::open(address, "/wss", &[]).unwrap();
                    let mut acknowledged = Vec::new();
                    for number in (client * 1_000_000).. {
                        if socket.send(&numbered(number)).is_err() {
                            break;
                        }
                        match socket.receive() {
                            Message::Text(answer) => {
                                let answer: Value = serde_json::from_str(&answer).unwrap();
                                assert_eq!((&answer["ack"], &answer["id__"]), (&json!("spooled"), &json!(number)));
                                acknowledged.push(number);
                            }
                            Message::Close(code) => {
                                assert_eq!(code, 1001);
                                break;
                            }
                            Message::End => panic!("the session has no end"),
                        }
                        if acknowledged.len() == 20 {
                            is_ready.store(true, Ordering::SeqCst);
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        wait_for("the clients", || is_ready.load(Ordering::SeqCst).then_some(()));
        let ended = collector.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect::<BTreeSet<usize>>()
    });
    assert_exactly_once(&database, &acknowledged);
}

#[test]
fn acknowledged_messages_survive_a_kill() {
    let database = Database::named("websocket_kill");
    let data = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        let collector = Collector::start_in(data.path(), &database.url(), &[]);
        let address = collector.address;
        let (sender, receiver) = std::sync::mpsc::channel();
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let sender = sender.clone();
                thread::spawn(move || {
                    let mut socket = WebSocket::open(address, "/wss", &[]).unwrap();
                    let first = (round * 10 + client) * 100_000;
                    // Several messages are in progress at a time.
                    for number in first..first + 8 {
                        socket.send(&numbered(number)).unwrap();
                    }
                    for number in first + 8.. {
                        let Message::Text(answer) = socket.receive() else { break };
                        let answer: Value = serde_json::from_str(&answer).unwrap();
                        let _ = sender.send(answer["id__"].as_u64().unwrap() as usize);
                        if socket.send(&numbered(number)).is_err() {
                            break;
                        }
                    }
                })
            })
            .collect();
        drop(sender);
        for _ in 0..200 {
            acknowledged.insert(receiver.recv().unwrap());
        }
        collector.kill();
        acknowledged.extend(receiver.iter());
        clients.into_iter().for_each(|client| client.join().unwrap());
    }
    assert_eq!(
        Collector::start_in(data.path(), &database.url(), &[]).stop().code,
        Some(0)
    );
    assert_exactly_once(&database, &acknowledged);
}

/// Asserts that each acknowledged event is in the table once, and no event twice.
fn assert_exactly_once(database: &Database, acknowledged: &BTreeSet<usize>) {
    let events = database.query("SELECT event FROM mail_statistics");
    let rows: Vec<usize> = events.lines().map(|event| event.parse().unwrap()).collect();
    let distinct: BTreeSet<usize> = rows.iter().copied().collect();
    assert_eq!(distinct.len(), rows.len());
    let lost: Vec<_> = acknowledged.difference(&distinct).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn floods_of_sessions_take_bounded_memory_and_stop_no_one() {
    const JUNK: usize = 1_000;
    const SILENT: usize = 500;
    let database = Database::named("websocket_flood");
    let collector = Collector::start(&database);
    let address = collector.address;
    let mut honest = WebSocket::open(address, "/wss", &[]).unwrap();
    honest.send(&numbered(0)).unwrap();
    assert_eq!(honest.json()["statusCode"], 200);
    let before = collector.peak_memory();

    let mut held = Vec::new();
    // Messages that never end: 4 MiB are announced, and a part of them comes.
    for number in 0..JUNK {
        let mut socket = WebSocket::open(address, "/wss", &[]).unwrap();
        let junk: &[u8] = match number % 4 {
            0 => b"\x81\xff\0\0\0\0\0\x40\0\0\0\0\0\0",
            1 => b"\x01\x80\0\0\0\0\x00\x80\0\0\0\0",
            2 => b"\x81\x85\0\0\0\0junk!",
            _ => b"\x89\x80\0\0\0\0",
        };
        socket.send_bytes(junk).unwrap();
        if number % 4 == 0 {
            // The kernel takes some of it even if the collector does not.
            socket.send_bytes(&[b' '; 64 << 10]).unwrap();
        }
        held.push(socket);
    }
    // Arrays whose answers nobody reads.
    let array = format!(
        "[{}]",
        vec![r#"{"service":"track","name":"x","sess":{"num":"x"}}"#; 500].join(",")
    );
    for _ in 0..SILENT {
        let mut socket = WebSocket::open(address, "/wss", &[]).unwrap();
        socket.send(&array).unwrap();
        // The second one waits until the answer to the first is sent.
        let _ = socket.send_bytes(&frame(0x81, array.as_bytes())[..1_000]);
        held.push(socket);
    }
    assert!(collector.metric("rowmill_websockets_open") >= 500);
    for number in 1..20 {
        honest.send(&numbered(number)).unwrap();
        assert_eq!(honest.json()["statusCode"], 200);
        assert_eq!(http::post_json(address, "/wh/mail", "{}").status, 200);
    }
    let peak = collector.peak_memory();
    let grown = (peak.saturating_sub(before)) >> 20;
    println!("{grown} MiB for {} sessions", held.len());
    // The budget of rows and requests is 256 MiB, and rejected events are rows.
    assert!(grown < 400, "{grown} MiB");
    drop(held);
    wait_for("the end of the sessions", || {
        (collector.metric("rowmill_websockets_open") == 1).then_some(())
    });
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(honest.receive(), Message::Close(1001));
    assert_eq!(
        database.query("SELECT count() FROM mail_statistics WHERE channel = 'ws'"),
        "20\n"
    );
}

#[test]
fn idle_sessions_close_for_new_connections() {
    let database = Database::named("websocket_slots");
    let collector = Collector::start_with(&database.url(), &["--max-connections", "16"]);
    let address = collector.address;
    let mut idle = vec![WebSocket::open(address, "/wss", &[]).unwrap()];
    let mut busy = WebSocket::open(address, "/wss", &[]).unwrap();
    for number in 0..40 {
        busy.send(&numbered(number)).unwrap();
        assert_eq!(busy.json()["statusCode"], 200);
        idle.push(WebSocket::open(address, "/wss", &[]).unwrap());
    }
    busy.send(&numbered(99)).unwrap();
    assert_eq!(busy.json()["statusCode"], 200);
    // The oldest ones have made room.
    assert_eq!(idle[0].receive(), Message::Close(1001));
}
