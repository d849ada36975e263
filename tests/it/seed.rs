//! The seed's example, with the program as a user starts it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    path::PathBuf,
    process::{self, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rowmill::tables;
use rowmill_ingest::{
    __rt::intake,
    route::{Event, RowBatch, Sink},
};
use serde_json::json;

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
};

const COLUMNS: &str =
    "event, email, message_id, list_id, task_id, link_id, detailed, service, name, extra.key, extra.value";

#[test]
fn the_three_requests_become_three_rows() {
    let database = Database::named("seed");
    let collector = Collector::start(&database);

    let sent = json!({
        "event": "sent", "email": "bob@example.com", "message_id": "QWERTY_ASDFGH",
        "task_id": "QWERTY", "list_id": "12345", "detailed": "250 ok",
    });
    let answer = http::post_json(collector.address, "/wh/mail", &sent.to_string());
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["key"], "in.gen.wh.mail");
    let id = answer.json()["id"].as_str().unwrap().to_owned();

    let fields = "task_id=QWERTY&message_id=QWERTY_ASDFGH&email=bob@example.com&list_id=12345";
    let answer = http::get(collector.address, &format!("/pixel/mail?event=open&{fields}"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/gif")));
    assert_eq!(answer.body.len(), 43);

    let target = format!("/redir/mail?event=click&{fields}&link_id=1&to=https%3A%2F%2Fya.ru");
    let answer = http::get(collector.address, &target);
    assert_eq!((answer.status, answer.header("location")), (302, Some("https://ya.ru")));

    database.wait_for_rows("mail_statistics", 3);
    let rows = database.query(&format!(
        "SELECT {COLUMNS} FROM mail_statistics ORDER BY event DESC FORMAT TSV"
    ));
    assert_eq!(
        rows,
        "sent\tbob@example.com\tQWERTY_ASDFGH\t12345\tQWERTY\t\t250 ok\twh\tmail\t[]\t[]\n\
         open\tbob@example.com\tQWERTY_ASDFGH\t12345\tQWERTY\t\t\tpixel\tmail\t[]\t[]\n\
         click\tbob@example.com\tQWERTY_ASDFGH\t12345\tQWERTY\t1\t\tredir\tmail\t['to']\t['https://ya.ru']\n"
    );
    assert_eq!(
        database
            .query("SELECT toString(id) FROM mail_statistics WHERE event = 'sent'")
            .trim(),
        id
    );
}

#[test]
fn the_collector_fills_its_own_columns() {
    let database = Database::named("server_columns");
    let collector = Collector::start(&database);
    let headers = [
        ("Content-Type", "application/json"),
        ("User-Agent", "ua"),
        ("Referer", "https://shop.example/page"),
        ("X-Forwarded-Host", "stat.example.com"),
        ("Cookie", "uid=7530842328009801728"),
    ];
    let answer = http::send(collector.address, "POST", "/wh/mail/17", &headers, b"{}");
    assert_eq!(answer.status, 200);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("uid=7530842328009801728; Domain=stat.example.com; Path=/; Expires="),
        "{cookie}"
    );

    database.wait_for_rows("mail_statistics", 1);
    let row = database.query(
        "SELECT uid, channel, projectId, td_ip, td_ua, td_fpid, td_ref, td_extra.key, td_extra.value, \
         date = toDate(dateTime, 'UTC'), toUnixTimestamp(dateTime) = intDiv(timestamp, 1000), bitShiftRight(id, 22) = timestamp, \
         abs(now() - dateTime) < 60 FROM mail_statistics",
    );
    assert_eq!(
        row,
        "7530842328009801728\thttp\t17\t127.0.0.1\tua\t14676452135893381398\thttps://shop.example/page\t['host']\t\
         ['stat.example.com']\t1\t1\t1\t1\n"
    );
}

#[test]
fn unknown_services_go_to_webhooks_and_nothing_of_them_is_lost() {
    let database = Database::named("webhooks");
    let collector = Collector::start(&database);
    let body = r#"{"id":"evt_1","name":"Bob","date":"yesterday","data":{"a":[1,{"b":null}],"ok":true},"uid":5}"#;
    assert_eq!(
        http::post_json(collector.address, "/stripe/Charge%20Paid", body).status,
        200
    );
    database.wait_for_rows("webhooks", 1);
    assert_eq!(
        database.query("SELECT service, name, extra.key, extra.value FROM webhooks"),
        "stripe\tCharge%20Paid\t['id','name','date','data_a','data_ok','uid']\t\
         ['evt_1','Bob','yesterday','1,{\"b\":null}','true','5']\n"
    );
}

#[test]
fn a_query_field_replaces_the_whole_body_field() {
    let database = Database::named("query_over_body");
    let collector = Collector::start(&database);
    let body = r#"{"event":"body","foo":"body","address":{"city":"body","zip":1},"kept":"body"}"#;
    let answer = http::post_json(collector.address, "/wh/mail?event=query&foo=query&address=query", body);
    assert_eq!(answer.status, 200);
    database.wait_for_rows("mail_statistics", 1);
    assert_eq!(
        database.query("SELECT event, extra.key, extra.value FROM mail_statistics"),
        "query\t['kept','foo','address']\t['body','query','query']\n"
    );
}

#[test]
fn a_request_cannot_fill_the_collectors_columns() {
    let database = Database::named("spoofed");
    let collector = Collector::start(&database);
    assert_eq!(
        http::get(collector.address, "/wh/mail?td_ref=x&td_fpid=77&id=5&td_ip=1.1.1.1").status,
        200
    );
    database.wait_for_rows("mail_statistics", 1);
    assert_eq!(
        database.query("SELECT td_ref, td_fpid, td_ip, id = 5, extra.key FROM mail_statistics"),
        "\t0\t127.0.0.1\t0\t['td_ref','td_fpid','id','td_ip']\n"
    );
}

#[test]
fn web_sdk_events_reach_their_tables() {
    let database = Database::named("sdk");
    let collector = Collector::start_with(&database.url(), &["--allow-origin", "https://shop.example"]);
    let page = json!({
        "service": "track", "name": "page", "projectId": 42, "uid": 0,
        "page": {"title": "Home", "url": "https://shop.example/", "query": {"utm_source": "mail", "q": "shoes"}},
        "sess": {"pageNum": 2, "marks": {"has_gclid": 1}},
        "browser": {"w": 1440, "plt": "Linux"}, "lib": {"id": "web-sdk", "v": 4001000},
        "data": {"plan": "pro"}, "lost": 1,
    });
    let headers = [
        ("Content-Type", "text/plain;charset=UTF-8"),
        ("Origin", "https://shop.example"),
    ];
    let answer = http::send(
        collector.address,
        "POST",
        "/band/t4k.json?",
        &headers,
        page.to_string().as_bytes(),
    );
    assert_eq!((answer.status, answer.header("content-type")), (200, None));
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://shop.example")
    );
    assert_eq!(answer.json()["type__"], "data");

    let scroll = r#"{"service":"track","name":"scroll","scroll":{"to":-3,"dh":900}}"#;
    assert_eq!(http::post_json(collector.address, "/band/t4k.json", scroll).status, 200);
    let ping = http::get(collector.address, "/track/ping.gif?id__=_7");
    assert_eq!((ping.status, ping.body.len()), (200, 43));

    database.wait_for_rows("events", 1);
    database.wait_for_rows("activity", 1);
    database.wait_for_rows("ping", 1);
    assert_eq!(
        database.query(
            "SELECT page_title, page_query_utm_source, page_query_extra.key, page_query_extra.value, sess_pageNum, \
             sess_marks_has_gclid, sess_marks_has_yclid, browser_w, lib_v, data_extra.key, data_extra.value, char_ls, \
             projectId, uid > 1000000000 FROM events"
        ),
        "Home\tmail\t['q']\t['shoes']\t2\t1\t-1\t1440\t4001000\t['plan']\t['pro']\t-1\t42\t1\n"
    );
    assert_eq!(database.query("SELECT scroll_to, scroll_dh FROM activity"), "-3\t900\n");
    assert_eq!(database.query("SELECT id__, channel FROM ping"), "_7\tpixel\n");
}

#[test]
fn the_pages_answer() {
    let database = Database::named("pages");
    let collector = Collector::start(&database);
    let home = http::get(collector.address, "/?service=wh&name=mail");
    assert_eq!(home.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        home.text()
            .contains("<td><code>wh/mail</code></td><td>mail_statistics</td>")
    );
    assert_eq!(
        http::get(collector.address, "/favicon.ico").header("content-type"),
        Some("image/svg+xml")
    );
    for (page, text) in [
        ("/health", "ok\n"),
        ("/ready", "ready\n"),
        ("/ready?store=1", "ready\n"),
    ] {
        let answer = http::get(collector.address, page);
        assert_eq!((answer.status, answer.text()), (200, text));
    }
    http::post_json(collector.address, "/wh/mail", "{}");
    let metrics = http::get(collector.address, "/metrics");
    assert!(
        metrics
            .text()
            .contains("rowmill_rows_appended_total{table=\"mail_statistics\"} 1\n"),
        "{}",
        metrics.text()
    );
    assert!(metrics.text().contains("# TYPE rowmill_rows_pending gauge\n"));
}

#[test]
fn a_row_can_be_made_without_a_request() {
    let mut rows = RowBatch::default();
    let mut accepts = |query: &str, json: &str| {
        Event::from_texts(query, json, |event| {
            intake::<tables::MailStatistics<'_>>(event, Sink::Rows(&mut rows)).is_ok()
        })
    };
    assert!(accepts("email=bob@example.com", r#"{"event":"open"}"#));
    assert!(!accepts("", r#"{"event":"open""#), "the JSON is cut");
    assert_eq!(rows.count(), 1);
    for text in ["\x04open", "\x0fbob@example.com"] {
        let mut windows = rows.bytes().windows(text.len());
        assert!(windows.any(|window| window == text.as_bytes()), "{text:?}");
    }
    rows.clear();
    assert_eq!((rows.count(), rows.bytes()), (0, &[][..]));

    let is_refused = |json: &str| {
        Event::from_texts("", json, |event| {
            intake::<tables::Events<'_>>(event, Sink::Rows(&mut rows)).is_err()
        })
    };
    assert!([r#"{"sess_num":"7"}"#, r#"{"sess_num":"many"}"#].map(is_refused) == [false, true]);
}

#[test]
fn the_routes_command_lists_the_routes() {
    let output = collector::run(&["routes"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(
        text.lines()
            .any(|line| line.split_whitespace().eq(["redir/mail", "mail_statistics"])),
        "{text}"
    );
    assert!(
        text.lines()
            .any(|line| line.split_whitespace().eq(["other", "webhooks"])),
        "{text}"
    );
}

#[test]
fn without_a_url_the_program_runs_an_embedded_clickhouse_and_prints_a_query() {
    let data = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("own-engine-{}", process::id()));
    let mut child = collector::command()
        .args(["--listen", "127.0.0.1:0", "--engine-listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line
        .trim()
        .strip_prefix("listening on http://")
        .unwrap()
        .parse()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let select = log.find(|line| line.contains("--data-binary")).unwrap();
    let engine = select
        .trim()
        .strip_prefix("curl http://")
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();

    assert_eq!(http::post_json(address, "/wh/mail", r#"{"event":"sent"}"#).status, 200);
    let database = Database::of_engine("stats", engine, &data.join("engine"));
    database.wait_for_rows("mail_statistics", 1);
    assert_eq!(database.query("SELECT event FROM mail_statistics"), "sent\n");

    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(
        TcpStream::connect(engine).is_err(),
        "the engine has outlived the collector"
    );
    fs::remove_dir_all(data).unwrap();
}
