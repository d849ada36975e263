//! Compares responses with recorded ones, header for header.

#![allow(clippy::unwrap_used)]

mod browsers;

use std::{
    num::NonZeroU64,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::Full;

use super::{content::PIXEL, cookie::Cookie, header_set::HeaderSet, visitor_cookie::VisitorCookie, *};
use crate::{
    identify::CorsOrigin,
    request::body::ACCEPTED_TYPES,
    table::{Column, ColumnKind, refusal::ValueError},
};

/// The start of the recorded process: 2026-11-24 03:58:02 UTC.
fn started() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_492_682)
}

/// Returns a leaked cookie: it lives as long as the test.
fn cookie(options: &VisitorCookie, domain: Option<&str>, set: HeaderSet) -> Option<&'static Cookie> {
    Some(Box::leak(Box::new(Cookie::new(options, domain, set, started()))))
}

fn context() -> Context<'static> {
    Context {
        cookie: cookie(&VisitorCookie::default(), None, HeaderSet::Modern),
        headers: HeaderSet::Modern,
        uid: 7_530_842_328_009_801_728,
        cookie_uid: NonZeroU64::new(7_530_842_328_009_801_728),
        origin: CorsOrigin::Any,
        allows_credentials: true,
        requested_headers: None,
        host: None,
        is_secure: true,
        native: false,
        is_head: false,
    }
}

/// Returns the response as sent: hyper adds the length of bodies that have none yet.
fn finish(answer: Answer<'_>, context: &Context<'_>) -> Response<Full<Bytes>> {
    let mut response = ResponseDraft::new(answer, context).into_response(HeaderMap::new(), 0);
    let length = body_of(&response).len();
    response
        .headers_mut()
        .entry(header::CONTENT_LENGTH)
        .or_insert(length.into());
    response
}

fn body_of(response: &Response<Full<Bytes>>) -> Bytes {
    use http_body_util::BodyExt;
    let body = std::pin::pin!(response.body().clone().collect());
    match body.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(body) => body.unwrap().to_bytes(),
        std::task::Poll::Pending => unreachable!("a full body is complete"),
    }
}

fn text_of(answer: Answer<'_>, context: &Context<'_>) -> String {
    String::from_utf8(body_of(&finish(answer, context)).to_vec()).unwrap()
}

/// One recorded response: the request as a command, status, headers and body.
struct Recording<'a> {
    request: &'a str,
    status: u16,
    headers: Vec<(String, &'a str)>,
    body: &'a [u8],
}

/// Reads `golden/01_http_full_headers.txt`: a line `----- request`, the response, a line
/// `[curl rc 0]`.
fn recordings(file: &[u8]) -> Vec<Recording<'_>> {
    let find = |text: &[u8], word: &[u8]| memchr::memmem::find(text, word);
    let mut rest = file;
    let mut recordings = Vec::new();
    while let Some(end) = find(rest, b"\n[curl rc 0]\n") {
        let one = &rest[..end];
        rest = &rest[end + "\n[curl rc 0]\n".len()..];
        let head = find(one, b"\n\n").unwrap();
        let mut lines = std::str::from_utf8(&one[..head]).unwrap().lines();
        let request = lines.next().unwrap().strip_prefix("----- ").unwrap();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value)).collect();
        recordings.push(Recording {
            request,
            status,
            headers,
            body: &one[head + 2..],
        });
    }
    recordings
}

const TO: &str = r#"{"message":"Parameter \"to\" is required"}"#;
const FORBIDDEN: &str = r#"{"message":"Bad Request","reason":"parameter \"to\" must begin with http:// or https://"}"#;
const LIBRARY: &str = ";window[\"rstat4\"]&&window[\"rstat4\"]('configure',{\"initialUid\":\"7530842328848662528\",\"urlMark\":\"band\"});\
                       ;window[\"rstat\"]&&window[\"rstat\"]('configure',{\"initialUid\":\"7530842328848662528\",\"urlMark\":\"band\"});\n";

/// The requests whose response differs from the recorded one on purpose: Rowmill's body, and the
/// reason.
const INTENDED_DIFFERENCES: [(&str, &[u8]); 6] = [
    // The key is the full one, not the branch of the tree that handled the event.
    ("-X POST http://127.0.0.1:18080/wh/mail ", br#"{"key":"in.gen.wh.mail","id":"7530842328013996032"}"#),
    ("http://127.0.0.1:18080/wh/mail.gif", br#"{"key":"in.gen.wh.mail","id":"7530842328479563777"}"#),
    (
        "http://127.0.0.1:18080/band/wh/mail",
        br#"{"type__":"data","statusCode":200,"data":{"key":"in.gen.wh.mail","id":"7530842329045794817"},"native__":true}"#,
    ),
    // `img` is an image, as Rockstat's documentation says.
    ("http://127.0.0.1:18080/img/mail", &PIXEL),
    // The library has two names.
    ("http://127.0.0.1:18080/lib.js", LIBRARY.as_bytes()),
    // The collector is not an open redirect.
    ("http://127.0.0.1:18080/away/mail?to=//evil.com", FORBIDDEN.as_bytes()),
];

fn answer_to(request: &str, id: u64) -> Answer<'static> {
    let address = request
        .split(' ')
        .find_map(|word| word.strip_prefix("http://127.0.0.1:18080"))
        .unwrap();
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let to = query.split('&').find_map(|field| field.strip_prefix("to="));
    match path.strip_prefix("/band").unwrap_or(path) {
        _ if request.starts_with("-X OPTIONS") => Answer::Preflight(&[]),
        _ if request.starts_with("-X PUT") || request.starts_with("-I") => Answer::BAD_REQUEST,
        "/wh/mail" | "/wh/mail.gif" => Answer::Recorded {
            service: "wh",
            name: "mail",
            id,
        },
        "/pixel/mail" | "/gif/mail" | "/img/mail" | "/track/page.gif" => Answer::Pixel,
        "/redir/mail" | "/away/mail" => {
            Location::parse(&to.unwrap_or_default().replace("%3A", ":").replace("%2F", "/")).into()
        }
        "/track/page" | "/t4k/page" => Answer::Tracked { id },
        "/hello/ping" => Answer::Pong,
        "/hello/hello" => Answer::Hi,
        "/coffee" => Answer::Teapot,
        "/lib.js" => Answer::Library(""),
        _ => Answer::NOT_FOUND,
    }
}

/// Returns whether to compare a header: not hyper's headers, the time, or a length that hyper puts
/// last.
fn is_compared(name: &str, native: bool) -> bool {
    let is_of_hyper = ["date", "connection", "keep-alive"].contains(&name) || (native && name == "content-length");
    !is_of_hyper && name != "x-response-time"
}

#[test]
fn answers_as_recorded_header_for_header() {
    let recordings = recordings(include_bytes!("../../../tests/golden/01_http_full_headers.txt"));
    assert_eq!(recordings.len(), 25);
    let mut differences = 0;
    // The program serves the page at `/`.
    let recordings = recordings
        .into_iter()
        .filter(|recording| !format!("{} ", recording.request).contains(":18080/ "));
    for Recording {
        request,
        status,
        headers,
        body,
    } in recordings
    {
        let sent = |name: &str| headers.iter().find(|(key, _)| key == name).unwrap().1;
        let number_after = |text: &str, word: &str| -> u64 {
            let digits = text.split_once(word).map_or("0", |(_, rest)| rest);
            digits
                .split(|c: char| !c.is_ascii_digit())
                .next()
                .unwrap()
                .parse()
                .unwrap()
        };
        let origin = HeaderValue::from_str(sent("access-control-allow-origin")).unwrap();
        let native = request.contains("/band/");
        let context = Context {
            cookie: cookie(&VisitorCookie::default(), Some(".example.com"), HeaderSet::Rockstat),
            headers: HeaderSet::Rockstat,
            uid: number_after(sent("set-cookie"), "uid="),
            cookie_uid: NonZeroU64::new(number_after(sent("set-cookie"), "uid=")),
            is_secure: false,
            origin: CorsOrigin::Given(&origin),
            native,
            is_head: request.starts_with("-I"),
            ..context()
        };
        let id = number_after(&String::from_utf8_lossy(body), "\"id\":\"");
        let response = finish(answer_to(request, id), &context);
        let different = INTENDED_DIFFERENCES
            .iter()
            .find(|(start, _)| format!("{request} ").starts_with(start));
        let expected = different.map_or(body, |(_, body)| body);
        differences += usize::from(different.is_some());
        assert_eq!(body_of(&response), expected, "body of {request}");
        if request.ends_with("//evil.com") {
            assert_eq!(response.status(), StatusCode::BAD_REQUEST);
            continue;
        }
        assert_eq!(response.status().as_u16(), status, "{request}");
        let length = expected.len().to_string();
        let recorded_headers: Vec<(&str, &str)> = headers
            .iter()
            .filter(|(name, _)| is_compared(name, native))
            .map(|(name, value)| match name.as_str() {
                "x-my-name" => ("x-my-name", "Rowmill"),
                "content-length" if different.is_some() => ("content-length", length.as_str()),
                "content-type" if request.contains("/img/") => ("content-type", "image/gif"),
                name => (name, *value),
            })
            .collect();
        let sent_headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let sent_headers: Vec<(&str, &str)> = sent_headers.filter(|(name, _)| is_compared(name, native)).collect();
        assert_eq!(sent_headers, recorded_headers, "headers of {request}");
    }
    assert_eq!(differences, INTENDED_DIFFERENCES.len());
}

#[test]
fn modern_answers_have_the_headers_of_their_kind_and_no_others() {
    let cookie =
        "uid=7530842328009801728; Path=/; Expires=Fri, 23 Nov 2029 03:58:02 GMT; HttpOnly; Secure; SameSite=None";
    let always = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")];
    let cookie = ("set-cookie", cookie);
    let json = ("content-type", "application/json");
    let embeddable = ("cross-origin-resource-policy", "cross-origin");
    let recorded = Answer::Recorded {
        service: "wh",
        name: "mail",
        id: 1,
    };
    let target = Location::parse("https://ya.ru").unwrap();
    let cases = [
        (recorded.clone(), vec![cookie, json]),
        (Answer::Tracked { id: 1 }, vec![cookie, json]),
        (Answer::Pixel, vec![embeddable, cookie, ("content-type", "image/gif")]),
        (
            Answer::Library(""),
            vec![embeddable, cookie, ("content-type", "text/javascript")],
        ),
        (
            Answer::Redirect(target),
            vec![
                ("referrer-policy", "strict-origin-when-cross-origin"),
                cookie,
                ("location", "https://ya.ru"),
            ],
        ),
        (Answer::NOT_FOUND, vec![cookie, json]),
        (Answer::Teapot, vec![cookie, json]),
        (
            Answer::Unavailable { retry_after_s: 5 },
            vec![cookie, ("retry-after", "5"), json],
        ),
        (Answer::Preflight(&[]), vec![json]),
    ];
    let page = HeaderValue::from_static("https://shop.example");
    for (answer, own) in cases {
        let is_preflight = matches!(answer, Answer::Preflight(_));
        for origin in [CorsOrigin::Any, CorsOrigin::Referer(&page), CorsOrigin::Given(&page)] {
            let response = finish(answer.clone(), &Context { origin, ..context() });
            // Another test checks the lengths.
            let headers = response
                .headers()
                .iter()
                .filter(|(name, _)| *name != header::CONTENT_LENGTH);
            let mut headers: Vec<_> = headers
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                .collect();
            let mut expected: Vec<_> = always.into_iter().chain(own.iter().copied()).collect();
            if matches!(origin, CorsOrigin::Given(_)) {
                expected.push(("access-control-allow-origin", "https://shop.example"));
                expected.push(("access-control-allow-credentials", "true"));
                expected.push(("vary", "Origin"));
                if is_preflight {
                    expected.push(("access-control-allow-methods", "GET, POST"));
                    expected.push((
                        "access-control-allow-headers",
                        "Accept, Authorization, Content-Type, Idempotency-Key, X-Requested-With, X-Rowmill-Ack",
                    ));
                    expected.push(("access-control-max-age", "86400"));
                } else {
                    expected.push((
                        "access-control-expose-headers",
                        "Idempotency-Replayed, Retry-After, X-Rowmill-Ack",
                    ));
                }
            }
            headers.sort_unstable();
            expected.sort_unstable();
            assert_eq!(headers, expected, "{answer:?} {origin:?}");
        }
    }
    // A program reads the native structure, so no page embeds it.
    let native = Context {
        native: true,
        ..context()
    };
    assert!(
        !finish(Answer::Pixel, &native)
            .headers()
            .contains_key("cross-origin-resource-policy")
    );
}

#[test]
fn counts_the_length_of_every_body() {
    let location = Location::parse("https://ya.ru").unwrap();
    for native in [false, true] {
        for is_head in [false, true] {
            let context = Context {
                native,
                is_head,
                ..context()
            };
            for answer in [Answer::Pixel, Answer::Redirect(location.clone()), Answer::NOT_FOUND] {
                let full = body_of(&finish(
                    answer.clone(),
                    &Context {
                        is_head: false,
                        ..context
                    },
                ));
                let response = finish(answer, &context);
                let length = response.headers()[header::CONTENT_LENGTH].to_str().unwrap();
                assert_eq!(length, full.len().to_string());
                assert_eq!(body_of(&response).len(), if is_head { 0 } else { full.len() });
            }
        }
    }
}

#[test]
fn the_fast_path_writes_the_same_json_as_the_serializer() {
    for name in ["mail", "a-b_c.d", "with space", "\"", "\\", "\u{7f}", "п", ""] {
        let recorded = |native| Answer::Recorded {
            service: "wh",
            name,
            id: u64::MAX - u64::from(native),
        };
        let native = Context {
            native: true,
            ..context()
        };
        let body = |text: String| -> serde_json::Value { serde_json::from_str(&text).unwrap() };
        let short = body(text_of(recorded(false), &context()));
        let long = body(text_of(recorded(true), &native));
        assert_eq!(short["key"], format!("in.gen.wh.{name}"));
        assert_eq!(short["key"], long["data"]["key"]);
        assert_eq!(short["id"], u64::MAX.to_string());
        assert_eq!(short.as_object().unwrap().len(), 2);
    }
}

#[test]
fn escapes_service_and_name() {
    let answer = Answer::Recorded {
        service: "w\"h",
        name: "п\n\u{1}\\",
        id: 1,
    };
    let body: serde_json::Value = serde_json::from_str(&text_of(answer.clone(), &context())).unwrap();
    assert_eq!(body["key"], "in.gen.w\"h.п\n\u{1}\\");
    let native = text_of(
        answer,
        &Context {
            native: true,
            ..context()
        },
    );
    let native: serde_json::Value = serde_json::from_str(&native).unwrap();
    assert_eq!(native["data"], body);
}

#[test]
fn a_failure_has_a_message_and_its_reasons() {
    static SCORE: Column = Column::new("score", "Int8", "`score` Int8", ColumnKind::Plain);
    let refused = [InvalidColumn {
        column: &SCORE,
        problem: ValueError::OutOfRange,
        got: "\"300\"".to_owned(),
    }];
    let cases = [
        (
            Answer::InvalidColumns(&refused),
            r#"{"message":"Bad Request","refused":[{"column":"score","code":"out-of-range","expected":"Int8","got":"\"300\""}]}"#,
        ),
        (
            BodyError::Charset.into(),
            r#"{"message":"Bad Request","reason":"the charset of the Content-Type header is unknown"}"#,
        ),
        (Answer::TOO_LARGE, r#"{"message":"Payload Too Large"}"#),
        (Answer::TIMED_OUT, r#"{"message":"Request Timeout"}"#),
        (
            Answer::Unavailable { retry_after_s: 5 },
            r#"{"message":"Service Unavailable"}"#,
        ),
        (Location::parse("").into(), TO),
    ];
    for (answer, body) in cases {
        assert_eq!(text_of(answer, &context()), body);
    }
    let native = Context {
        native: true,
        ..context()
    };
    assert_eq!(
        text_of(
            Answer::Failed {
                status: StatusCode::BAD_REQUEST,
                reason: Some("why")
            },
            &native
        ),
        r#"{"type__":"error","statusCode":400,"errorMessage":"Bad Request","reason":"why","native__":true}"#
    );
}

#[test]
fn adds_the_headers_of_its_status() {
    let unavailable = finish(Answer::Unavailable { retry_after_s: 7 }, &context());
    assert_eq!(unavailable.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unavailable.headers()[header::RETRY_AFTER], "7");
    let timed_out = finish(Answer::TIMED_OUT, &context());
    assert_eq!(timed_out.headers()[header::CONNECTION], "close");
    let multipart = finish(BodyError::Multipart.into(), &context());
    assert_eq!(multipart.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(multipart.headers()[header::ACCEPT], ACCEPTED_TYPES);
}
