//! The requests of Rockstat's browser library, as a browser makes them.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    browser,
    collector::{Collector, run},
    engine::Database,
    http,
};

/// Returns a page that makes the requests of the library from a page of the own site, and shows
/// their results.
fn page(collector: &str) -> String {
    format!(
        r#"<!doctype html><pre id="out"></pre>
<script>
const calls = [];
window.rstat = (...call) => calls.push(call);
</script>
<script src="http://{collector}/lib.js"></script>
<script>
const show = (text) => document.getElementById('out').textContent += text + ' ';
const base = 'http://{collector}/band/';
const uid = calls[0][1].initialUid;
const message = (name) => ({{service: 'track', name, data: {{}}, projectId: 7, uid: 0, page: {{title: 'T', ref: '', url: location.href}},
  sess: {{pageNum: 1, eventNum: 2, type: 'direct', marks: {{utm_source: 'x'}}, num: 1}}, browser: {{w: 800, h: 600}}, lib: {{id: 'web-sdk', v: 4001000, sv: 4001000}}}});
let isOver = false;
const xhr = () => new Promise((resolve) => {{
  const request = new XMLHttpRequest();
  request.open('POST', base + 't4k.json?');
  request.withCredentials = true;
  request.setRequestHeader('Content-Type', 'application/json');
  request.onload = () => resolve(request.status + ' ' + Object.keys(JSON.parse(request.responseText)).join());
  request.onerror = () => resolve('error');
  request.send(JSON.stringify(message('session')));
}});
const image = () => new Promise((resolve) => {{
  const image = new Image();
  // The answer is JSON, so the image fails; the library does not look.
  image.onload = image.onerror = () => resolve();
  image.src = base + 't4k.gif?name=link_click&data[href]=x&projectId=7&uid=0&browser[w]=800&sess[num]=1';
}});
const socket = () => new Promise((resolve) => {{
  const answers = [];
  const socket = new WebSocket('ws://{collector}/wss?uid=' + uid);
  socket.onopen = () => {{
    socket.send(JSON.stringify({{service: 'track', name: 'hello', id__: '_1', uid}}));
    socket.send(JSON.stringify({{service: 'track', name: 'ping', id__: '_2', uid}}));
    socket.send(JSON.stringify({{...message('activity'), uid, id__: '_3'}}));
  }};
  socket.onmessage = ({{data}}) => {{
    const answer = JSON.parse(data);
    answers.push(answer.id__ + ':' + (answer.data.message || typeof answer.data.id));
    if (answers.length === 3) resolve(answers.join());
  }};
  socket.onclose = () => resolve('closed');
}});
(async () => {{
  show('loaded=' + window.isLibraryLoaded);
  show('mark=' + calls[0][1].urlMark + ',' + /^\d{{19}}$/.test(uid));
  show('beacon=' + navigator.sendBeacon(base + 't4k.json?', JSON.stringify(message('page'))));
  show('xhr=' + await xhr());
  await image();
  show('socket=' + await socket());
  isOver = true;
}})();
(async () => {{ while (!isOver) await fetch('/', {{cache: 'no-store'}}); }})();
</script>"#
    )
}

#[test]
fn each_transport_of_the_library_works_in_a_browser() {
    let database = Database::named("browser_sdk");
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("lib.js");
    fs::write(&library, "window.isLibraryLoaded = true;\n").unwrap();
    let collector = Collector::start_with(&database.url(), &["--lib-js", library.to_str().unwrap()]);
    let site = browser::site(page(&format!("localhost:{}", collector.address.port())));
    let Some(document) = browser::open(&format!("http://localhost:{}/", site.port())) else {
        eprintln!("there is no chromium: the test is skipped");
        return;
    };
    let shown = document
        .split(r#"<pre id="out">"#)
        .nth(1)
        .unwrap()
        .split("</pre>")
        .next()
        .unwrap();
    assert_eq!(
        shown,
        "loaded=true mark=band,true beacon=true xhr=200 type__,statusCode,data,native__ \
         socket=_1:hi,_2:pong,_3:string "
    );
    assert_eq!(collector.stop().code, Some(0));
    // The visitor is the same over all transports: the cookie of `/lib.js`.
    assert_eq!(
        database.query(
            "SELECT name, channel, uniq(uid), any(page_title), any(sess_marks_utm_source) \
             FROM (SELECT name, channel, uid, page_title, sess_marks_utm_source FROM events \
             UNION ALL SELECT name, channel, uid, page_title, sess_marks_utm_source FROM activity) \
             GROUP BY name, channel ORDER BY name"
        ),
        "activity\tws\t1\tT\tx\nlink_click\tpixel\t1\t\t\npage\thttp\t1\tT\tx\nsession\thttp\t1\tT\tx\n"
    );
    assert_eq!(
        database.query(
            "SELECT uniq(uid) FROM (SELECT uid FROM events UNION ALL SELECT uid FROM activity UNION ALL SELECT uid FROM ping)"
        ),
        "1\n"
    );
}

#[test]
fn the_answers_where_band_stands_in_the_path_are_native() {
    let database = Database::named("browser_sdk_native");
    let collector = Collector::start(&database);
    let send = |target: &str, kind: &str, body: &str| {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let mut answer = http::send(
            collector.address,
            method,
            target,
            &[("Content-Type", kind)],
            body.as_bytes(),
        )
        .json();
        if let Value::Object(data) = &mut answer["data"] {
            assert!(data.remove("id").is_some_and(|id| id.is_string()));
        }
        answer
    };
    let data = json!({"type__": "data", "statusCode": 200, "data": {}, "native__": true});
    let text = "text/plain;charset=UTF-8";
    assert_eq!(
        send("/band/t4k.json?", text, r#"{"service":"track","name":"page","uid":0}"#),
        data
    );
    assert_eq!(
        send(
            "/band/t4k.json?",
            "application/json",
            r#"{"service":"track","name":"page","uid":0}"#
        ),
        data
    );
    let pixel = json!({"type__": "pixel", "statusCode": 200, "type": "pixel", "native__": true, "data": null});
    let mut image = send("/band/t4k.gif?name=page&projectId=7&uid=0", "", "");
    image["data"] = Value::Null;
    assert_eq!(image, pixel);
    // `request` and `notify` of the library, for another service.
    let other = send(
        "/band/shop.json?",
        text,
        r#"{"service":"shop","name":"order","data":{"n":1}}"#,
    );
    assert_eq!(other["data"]["key"], "in.gen.shop.order");
}

#[test]
fn a_library_that_cannot_be_read_stops_the_start() {
    let output = run(&["serve", "--lib-js", "/nonexistent/lib.js"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("--lib-js /nonexistent/lib.js: "), "{error}");
}
