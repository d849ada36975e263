//! The browser client `/rowmill.js` in a browser: batches, refusals, failures, the end of a page.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

use crate::support::{
    browser,
    collector::{self, Collector, run},
    engine::Database,
    http,
};

/// A request that a server of this test has received.
#[derive(Debug, Clone)]
struct Request {
    method: String,
    path: String,
    key: Option<String>,
    body: String,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (mut key, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            match line.trim().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("idempotency-key") => key = Some(value.to_owned()),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        Some(Self {
            method,
            path,
            key,
            body,
        })
    }
}

/// Serves requests, until the test process ends: `respond` returns the head after the status line's
/// version, and the body; `None` closes the connection.
fn serve(respond: impl Fn(&Request) -> Option<(String, String)> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let respond = Arc::new(respond);
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let respond = Arc::clone(&respond);
            thread::spawn(move || {
                let request = Request::read(&client)?;
                let (head, body) = respond(&request)?;
                let length = body.len();
                let _ = write!(
                    client,
                    "HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                Some(())
            });
        }
    });
    address
}

/// The script of the client, as a collector serves it.
fn script() -> String {
    let database = Database::named("browser_client_script");
    let answer = http::get(Collector::start(&database).address, "/rowmill.js");
    assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
    answer.text().to_owned()
}

/// Shows a text in the page; the browser's clock stands still while `busy` is.
const TOOLS: &str = r#"<!doctype html><pre id="out"></pre><script>
const show = (text) => document.getElementById('out').textContent += text + ' '
const settle = async (ms) => { const end = Date.now() + ms; while (Date.now() < end) await new Promise((done) => setTimeout(done, 20)) }
</script>"#;

/// Returns the text that a page has shown; `None` without a browser.
fn shown(url: &str) -> Option<String> {
    let Some(document) = browser::open(url) else {
        eprintln!("there is no chromium: the test is skipped");
        return None;
    };
    let shown = document.split(r#"<pre id="out">"#).nth(1)?.split("</pre>").next()?;
    Some(shown.trim().to_owned())
}

#[test]
fn events_become_rows_from_pages_of_each_site() {
    let database = Database::named("browser_client_rows");
    let collector = Collector::start(&database);
    let address = format!("localhost:{}", collector.address.port());
    let page = format!(
        r#"{TOOLS}<script src="http://{address}/rowmill.js"></script><script>
(async () => {{
  rowmill.configure({{ onError: (error) => show('error=' + error.status + ',' + error.answer.errors[0].column) }})
  rowmill.send('wh/mail', {{ event: 'one', email: '\u00e9' }})
  rowmill.send('wh/mail', {{ event: 'two' }})
  rowmill.send('track/page', {{ sess: {{ num: 1 }} }})
  rowmill.send('track/page', {{ sess: {{ num: 'x' }} }})
  await rowmill.flush()
  rowmill.send('wh/mail', {{ event: 'three' }})
  // A browser counts the bytes of a request that may outlive its page: here, three for each character.
  for (let n = 0; n < 20; n++) rowmill.send('wh/mail', {{ event: 'long', email: '\u20ac'.repeat(2000) }})
  await rowmill.flush()
  show('sent')
}})()
</script>"#
    );
    let site = browser::site(page);
    let Some(own) = shown(&format!("http://localhost:{}/", site.port())) else {
        return;
    };
    assert_eq!(own, "error=200,sess_num sent");
    // A page of another site may not send the cookie, and sends its events without.
    let other = shown(&format!("http://127.0.0.1:{}/", site.port())).unwrap();
    assert_eq!(other, "error=200,sess_num sent");

    let module = format!(
        r#"{TOOLS}<script type="module">
import rowmill, {{ send }} from 'http://{address}/rowmill.mjs'
send('wh/mail', {{ event: 'module' }})
await rowmill.flush()
show('sent')
</script>"#
    );
    let site = browser::site(module);
    assert_eq!(shown(&format!("http://localhost:{}/", site.port())).unwrap(), "sent");

    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database
            .query("SELECT event, count(), countIf(email = 'é') FROM mail_statistics GROUP BY event ORDER BY event"),
        "long\t40\t0\nmodule\t1\t0\none\t2\t2\nthree\t2\t0\ntwo\t2\t0\n"
    );
    // Batches of one page have one visitor if the page may send the cookie.
    assert_eq!(database.query("SELECT count(), sum(sess_num) FROM events"), "2\t2\n");
    assert_eq!(database.count("rejected"), 2);
}

#[test]
fn the_pages_of_the_document_work_as_typed() {
    let database = Database::named("browser_client_page");
    let collector = Collector::start(&database);
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/browser-client.md");
    let text = fs::read_to_string(document).unwrap();
    let pages: Vec<_> = text.split("```html\n").skip(1).collect();
    assert_eq!(pages.len(), 2);
    for page in pages {
        let page = page.split("```").next().unwrap();
        let page = page.replace("127.0.0.1:8080", &format!("localhost:{}", collector.address.port()));
        let site = browser::site(format!("<!doctype html>{page}"));
        if browser::open(&format!("http://localhost:{}/", site.port())).is_none() {
            eprintln!("there is no chromium: the test is skipped");
            return;
        }
    }
    assert_eq!(collector.stop().code, Some(0));
    let rows = database.query("SELECT event, email, count() FROM mail_statistics GROUP BY ALL");
    assert_eq!(rows, "open\tann@example.com\t2\n");
}

#[test]
fn a_failed_batch_is_sent_again_unchanged() {
    let script = script();
    let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
    let received = Arc::clone(&requests);
    let server = serve(move |request| {
        let page = || {
            format!(
                r#"{TOOLS}<script src="/rowmill.js"></script><script>
(async () => {{
  let isRefused = false
  rowmill.configure({{ maxPause: 1000, onError: (error) => {{ isRefused = true; show('error=' + error.status) }} }})
  rowmill.send('wh/mail', {{ n: 1 }})
  rowmill.send('wh/mail', {{ n: 2 }})
  await rowmill.flush()
  rowmill.send('wh/refused', {{ n: 3 }})
  rowmill.send('wh/kept', {{ n: 4 }})
  rowmill.send('wh/last', {{ n: 5 }})
  while (!isRefused) await settle(100)
  await rowmill.flush()
  show('over')
}})()
</script>"#
            )
        };
        let json =
            |status: &str, body: &str| Some((format!("{status}\r\nContent-Type: application/json"), body.to_owned()));
        if request.method == "GET" {
            return match &*request.path {
                "/rowmill.js" => Some(("200 OK\r\nContent-Type: text/javascript".to_owned(), script.clone())),
                "/" => Some(("200 OK\r\nContent-Type: text/html".to_owned(), page())),
                _ => json("404 Not Found", "{}"),
            };
        }
        let mut received = received.lock().unwrap();
        received.push(request.clone());
        match (&*request.path, received.len()) {
            // The client tries once more without credentials if a request fails as a whole.
            ("/wh/mail", 1 | 2) => None,
            ("/wh/mail", 3) => json("503 Service Unavailable\r\nRetry-After: 1", "{}"),
            ("/wh/mail", 4) => json("429 Too Many Requests", "{}"),
            ("/wh/refused", _) => json("400 Bad Request", "{}"),
            ("/wh/kept", _) => json("503 Service Unavailable\r\nX-Rowmill-Ack: spooled", "{}"),
            _ => json("200 OK", "{}"),
        }
    });
    let Some(shown) = shown(&format!("http://localhost:{}/", server.port())) else {
        return;
    };
    assert_eq!(shown, "error=400 over");
    let requests = requests.lock().unwrap().clone();
    let paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
    let repeated = ["/wh/mail"; 5];
    assert_eq!(
        paths,
        [&repeated[..], &["/wh/refused", "/wh/kept", "/wh/last"]].concat()
    );
    for request in &requests[..5] {
        assert_eq!(request.body, r#"[{"n":1},{"n":2}]"#);
        assert_eq!(request.key, requests[0].key);
    }
    assert_eq!(requests[5].body, r#"{"n":3}"#);
    assert!(requests[0].key.is_some() && requests[5].key.is_some() && requests[5].key != requests[0].key);
}

#[test]
fn events_outlive_their_page_online_and_offline() {
    let script = script();
    let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
    let received = Arc::clone(&requests);
    let server = serve(move |request| {
        let page = |offline: bool, next: &str| {
            let offline = match offline {
                true => {
                    "Object.defineProperty(navigator, 'onLine', { get: () => false }); window.fetch = () => Promise.reject(new TypeError())"
                }
                false => "",
            };
            format!(
                r#"{TOOLS}<script>{offline}</script><script src="/rowmill.js"></script><script>
addEventListener('load', async () => {{
  if ('{next}') {{
    rowmill.send('wh/mail', {{ from: location.pathname }})
    location.href = '{next}'
  }} else {{
    await rowmill.flush()
    await settle(2000)
    show('last,' + (localStorage.rowmill || 'empty'))
  }}
}})
</script>"#
            )
        };
        let html = |page: String| Some(("200 OK\r\nContent-Type: text/html".to_owned(), page));
        match (&*request.method, &*request.path) {
            ("GET", "/rowmill.js") => Some(("200 OK\r\nContent-Type: text/javascript".to_owned(), script.clone())),
            ("GET", "/online") => html(page(false, "/offline")),
            ("GET", "/offline") => html(page(true, "/last")),
            ("GET", "/last") => html(page(false, "")),
            ("GET", _) => None,
            _ => {
                received.lock().unwrap().push(request.clone());
                Some(("200 OK\r\nContent-Type: application/json".to_owned(), "{}".to_owned()))
            }
        }
    });
    let Some(shown) = shown(&format!("http://localhost:{}/online", server.port())) else {
        return;
    };
    assert_eq!(shown, "last,empty");
    let mut sent: Vec<_> = requests
        .lock()
        .unwrap()
        .iter()
        .map(|request| (request.path.clone(), request.body.clone()))
        .collect();
    sent.sort();
    let event = |path: &str| json!({ "from": path }).to_string();
    // A beacon has the extension, and a batch from the storage goes the usual way.
    assert_eq!(
        sent,
        [
            ("/wh/mail".to_owned(), event("/offline")),
            ("/wh/mail.json".to_owned(), event("/online")),
        ]
    );
}

#[test]
fn a_beacon_of_the_client_is_a_row() {
    let database = Database::named("browser_client_beacon");
    let collector = Collector::start(&database);
    let beacon = http::send(
        collector.address,
        "POST",
        "/wh/mail.json",
        &[("Content-Type", "text/plain;charset=UTF-8")],
        br#"[{"event":"one"},{"event":"two"}]"#,
    );
    assert_eq!((beacon.status, &beacon.json()["recorded"]), (200, &Value::from(2)));
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(database.count("mail_statistics"), 2);
}

#[test]
fn the_types_of_the_client_name_the_routes() {
    let output = run(&["client-types"]);
    assert!(output.status.success());
    let types = String::from_utf8(output.stdout).unwrap();
    assert!(types.contains("  \"wh/mail\": MailStatistics\n"), "{types}");
}

#[test]
fn the_command_of_the_page_writes_the_types() {
    let document = include_str!("../../docs/browser-client.md");
    let command = document.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let (folder, program) = (tempfile::tempdir().unwrap(), collector::command());
    let program = program.get_program().to_str().unwrap();
    let status = Command::new("sh")
        .args(["-ec", &command.replacen("rowmill", program, 1)])
        .current_dir(folder.path())
        .status();
    assert!(status.unwrap().success(), "{command}");
    let types = fs::read_to_string(folder.path().join("rowmill.d.ts")).unwrap();
    assert!(types.contains("  \"wh/mail\": MailStatistics\n"), "{types}");
}
