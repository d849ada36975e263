//! Answers: everything that a client of the collector can be told, as one enum, and how each of them looks as HTTP.
//!
//! Takes an [`Answer`] and the [`Context`] of its request, gives the whole response: the headers of the original collector in
//! its order, with the fixed ones from one constant table. It cannot fail; a cookie domain that no header can carry only
//! costs the cookie. `Date`, `Connection` and `Keep-Alive` are hyper's.

use std::{
    fmt::{self, Write},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use serde::{Serialize, Serializer};

use crate::{
    body::BodyError,
    identify::{CorsOrigin, UID_COOKIE},
    redirect::{Location, RedirectError},
    refusal::Refusal,
};

/// How long a visitor is known, counted from the start of the process.
const COOKIE_AGE: Duration = Duration::from_secs(3 * 365 * 24 * 60 * 60);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html");
const GIF: HeaderValue = HeaderValue::from_static("image/gif");
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript");

const X_RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");
const X_MY_NAME: HeaderName = HeaderName::from_static("x-my-name");
const MAX_AGE_SCOPE: HeaderName = HeaderName::from_static("access-control-max-age-scope");

/// Room for the headers of any answer, hyper's included, without growing.
const MAX_HEADERS: usize = 24;

/// Digits of the greatest uid.
const MAX_DIGITS: usize = 20;

/// The attribute of the cookie that names its domain.
const DOMAIN: &str = "; Domain=";

const fn fixed(name: HeaderName, value: &'static str) -> (HeaderName, HeaderValue) {
    (name, HeaderValue::from_static(value))
}

/// The fixed headers of every answer but the preflight's. The origin in them gives way to that of the request.
static COMMON: [(HeaderName, HeaderValue); 9] = [
    fixed(header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    fixed(header::X_XSS_PROTECTION, "1"),
    fixed(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    fixed(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
    fixed(header::ACCESS_CONTROL_EXPOSE_HEADERS, "Content-Length,Content-Type"),
    fixed(header::PRAGMA, "no-cache"),
    fixed(header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
    fixed(header::EXPIRES, "Mon, 01 Jan 1990 21:00:12 GMT"),
    fixed(header::LAST_MODIFIED, "Sun, 17 May 1998 03:44:30 GMT"),
];

/// The fixed headers of the answer to a preflight.
static PREFLIGHT: [(HeaderName, HeaderValue); 15] = [
    fixed(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    fixed(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
    fixed(header::ACCESS_CONTROL_EXPOSE_HEADERS, "Content-Length,Content-Type"),
    fixed(header::ACCESS_CONTROL_ALLOW_METHODS, "POST,GET"),
    fixed(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "X-Requested-With,Access-Control-Allow-Origin,Content-Type,Authorization,Accept",
    ),
    fixed(MAX_AGE_SCOPE, "domain"),
    fixed(header::ACCESS_CONTROL_MAX_AGE, "86400"),
    fixed(header::CONTENT_LENGTH, "2"),
    fixed(header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
    fixed(header::VARY, "Origin"),
    fixed(header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    fixed(header::X_XSS_PROTECTION, "1"),
    fixed(header::PRAGMA, "no-cache"),
    fixed(header::EXPIRES, "Mon, 01 Jan 1990 21:00:12 GMT"),
    fixed(header::LAST_MODIFIED, "Sun, 17 May 1998 03:44:30 GMT"),
];

/// One transparent point.
static PIXEL: [u8; 43] = *b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\xff\xff\xff!\xf9\x04\x01\n\0\x01\0,\0\0\0\0\x01\0\x01\0\0\x02\x02L\x01\0;";

/// What a request is answered with.
#[derive(Debug, Clone)]
pub(crate) enum Answer<'a> {
    /// An event of any service without a handler of its own: its full key and its id.
    Recorded {
        /// The service of the event.
        service: &'a str,
        /// Its name, as it was sent.
        name: &'a str,
        /// Its id.
        id: u64,
    },
    /// An event of `track`: its id.
    Tracked {
        /// The id of the event.
        id: u64,
    },
    /// The image of 43 bytes; also good for `/favicon.ico`.
    Pixel,
    /// Away to another page.
    Redirect(Location),
    /// There is nowhere to redirect to.
    RedirectRefused(RedirectError),
    /// The answer to `/hello/ping`.
    Pong,
    /// The answer to `/hello/hello`.
    Hi,
    /// `/lib.js`: tells the browser library its visitor's uid. The library itself is not ours to send.
    Library,
    /// `/coffee`.
    Teapot,
    /// The answer to OPTIONS.
    Preflight,
    /// Any failure that its status says all about, with a reason where there is more to say.
    Failed {
        /// The status; its standard phrase is the message.
        status: StatusCode,
        /// What the client can do about it.
        reason: Option<&'a str>,
    },
    /// The event does not fit the table.
    Refused(&'a [Refusal]),
    /// There is no room for events; worth trying again.
    Unavailable {
        /// When to try, in seconds.
        retry_after_s: u32,
    },
}

impl Answer<'_> {
    /// No service or no name, or nothing under them.
    pub(crate) const NOT_FOUND: Self = Self::Failed {
        status: StatusCode::NOT_FOUND,
        reason: None,
    };
    /// A method that the collector does not take, and whatever else has no reason of its own.
    pub(crate) const BAD_REQUEST: Self = Self::Failed {
        status: StatusCode::BAD_REQUEST,
        reason: None,
    };
    /// A body that is too long; the original says 400.
    pub(crate) const TOO_LARGE: Self = Self::Failed {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        reason: None,
    };
    /// A body that did not come in time.
    pub(crate) const TIMED_OUT: Self = Self::Failed {
        status: StatusCode::REQUEST_TIMEOUT,
        reason: None,
    };

    fn status(&self) -> StatusCode {
        match self {
            Self::Redirect(_) => StatusCode::FOUND,
            Self::RedirectRefused(_) | Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::Teapot => StatusCode::IM_A_TEAPOT,
            Self::Failed { status, .. } => *status,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }
    }
}

/// The original answers a body that it cannot read without any header for browsers; here it has all of them, as otherwise
/// a page could not read the reason.
impl From<BodyError> for Answer<'_> {
    fn from(error: BodyError) -> Self {
        Self::Failed {
            status: error.status(),
            reason: Some(error.reason()),
        }
    }
}

impl From<Result<Location, RedirectError>> for Answer<'_> {
    fn from(target: Result<Location, RedirectError>) -> Self {
        target.map_or_else(Self::RedirectRefused, Self::Redirect)
    }
}

/// What an answer takes from its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The visitor, known or new.
    pub(crate) uid: u64,
    /// The page that may read the answer.
    pub(crate) origin: CorsOrigin<'a>,
    /// The host that a trusted proxy names; the cookie is for it, then.
    pub(crate) host: Option<&'a str>,
    /// Whether the answer is the native structure, which has neither `Content-Type` nor `Location`.
    pub(crate) native: bool,
    /// Whether the method is HEAD: everything as for GET, but no body.
    pub(crate) is_head: bool,
    /// When the request came.
    pub(crate) started: Instant,
}

/// What all answers of a process have in common; made once.
#[derive(Debug)]
pub(crate) struct Answers {
    /// `; Domain=…`, or nothing for a cookie of the host alone.
    cookie_domain: String,
    /// Everything of the cookie behind its domain.
    cookie_tail: String,
}

impl Answers {
    /// Returns the answers of a process that started at `started`. The uid cookie is for `cookie_domain`
    /// (see [`auto_domain`](crate::identify::auto_domain)), without one for the host alone.
    pub(crate) fn new(cookie_domain: Option<&str>, started: SystemTime) -> Self {
        let expires = Timestamp::try_from(started + COOKIE_AGE)
            .and_then(|expires| DateTimePrinter::new().timestamp_to_rfc9110_string(&expires));
        // A clock beyond the calendar leaves a cookie of the browser's session.
        let expires = expires
            .map(|expires| format!(" Expires={expires};"))
            .unwrap_or_default();
        Self {
            cookie_domain: cookie_domain
                .map(|domain| format!("{DOMAIN}{domain}"))
                .unwrap_or_default(),
            cookie_tail: format!("; Path=/;{expires} HttpOnly; Secure; SameSite=None"),
        }
    }

    /// Returns the response for `answer`.
    pub(crate) fn finish(&self, answer: Answer<'_>, context: &Context<'_>) -> Response<Full<Bytes>> {
        let status = answer.status();
        let (media_type, body) = content(&answer, status, context);
        let mut headers = HeaderMap::with_capacity(MAX_HEADERS);
        if matches!(answer, Answer::Teapot) {
            headers.insert(X_MY_NAME, HeaderValue::from_static("Rowmill"));
        }
        let table = if matches!(answer, Answer::Preflight) {
            &PREFLIGHT[..]
        } else {
            &COMMON[..]
        };
        for (name, value) in table {
            headers.insert(name.clone(), value.clone());
        }
        if context.origin != CorsOrigin::Any {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, context.origin.to_value());
        }
        if let Some(cookie) = self.cookie(context) {
            headers.insert(header::SET_COOKIE, cookie);
        }
        let elapsed_ms = u64::try_from(context.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        headers.insert(X_RESPONSE_TIME, elapsed_ms.into());
        match answer {
            Answer::Redirect(location) if !context.native => {
                headers.insert(header::LOCATION, location.into_value());
            }
            Answer::Unavailable { retry_after_s } => {
                headers.insert(header::RETRY_AFTER, retry_after_s.into());
            }
            // The rest of the body may still come, and must not be taken for the next request.
            Answer::Failed {
                status: StatusCode::REQUEST_TIMEOUT,
                ..
            } => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        if let Some(media_type) = media_type {
            headers.insert(header::CONTENT_TYPE, media_type);
        }
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        let mut response = Response::new(Full::new(if context.is_head { Bytes::new() } else { body }));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// Returns the cookie that keeps the visitor's uid; `None` when the configured domain cannot stand in a header.
    fn cookie(&self, context: &Context<'_>) -> Option<HeaderValue> {
        let domain = context
            .host
            .map_or(self.cookie_domain.len(), |host| DOMAIN.len() + host.len());
        let mut cookie = String::with_capacity("uid=".len() + MAX_DIGITS + domain + self.cookie_tail.len());
        write!(cookie, "{UID_COOKIE}={}", context.uid).ok()?;
        match context.host {
            Some(host) => cookie.extend([DOMAIN, host]),
            None => cookie.push_str(&self.cookie_domain),
        }
        cookie.push_str(&self.cookie_tail);
        HeaderValue::try_from(cookie).ok()
    }
}

/// The type and the bytes of a body.
type Content = (Option<HeaderValue>, Bytes);

/// Returns the body of an answer. Pages, the preflight and the teapot have paths of their own and no native form.
fn content(answer: &Answer<'_>, status: StatusCode, context: &Context<'_>) -> Content {
    let native = context.native;
    match answer {
        Answer::Recorded { service, name, id } => data(
            status,
            native,
            &Recorded {
                key: format_args!("in.gen.{service}.{name}"),
                id: *id,
            },
        ),
        Answer::Tracked { id } => data(status, native, &Tracked { id: *id }),
        Answer::Pong => data(status, native, &Message::of("pong")),
        Answer::Hi => data(status, native, &Message::of("hi")),
        Answer::Pixel if native => native_json(&WithoutData::Pixel {
            status: status.as_u16(),
            kind: "pixel",
            native,
        }),
        Answer::Pixel => (Some(GIF), Bytes::from_static(&PIXEL)),
        Answer::Redirect(location) if native => native_json(&WithoutData::Redirect {
            location: location.as_str(),
            status: status.as_u16(),
            native,
        }),
        Answer::Redirect(_) => (Some(HTML), Bytes::new()),
        Answer::RedirectRefused(error @ RedirectError::Missing) => failure(status, native, Message::of(error.reason())),
        Answer::RedirectRefused(error) => failure(
            status,
            native,
            Message {
                reason: Some(error.reason()),
                ..Message::of_status(status)
            },
        ),
        Answer::Failed { reason, .. } => failure(
            status,
            native,
            Message {
                reason: *reason,
                ..Message::of_status(status)
            },
        ),
        Answer::Refused(refused) => failure(
            status,
            native,
            Message {
                refused,
                ..Message::of_status(status)
            },
        ),
        Answer::Unavailable { .. } => failure(status, native, Message::of_status(status)),
        Answer::Teapot => (Some(JSON), json(&Message::of_status(status))),
        Answer::Preflight => (Some(JSON), Bytes::from_static(b"{}")),
        Answer::Library => (Some(JAVASCRIPT), Bytes::from(library(context.uid))),
    }
}

/// Returns the call that configures the browser library, under the name that the original calls it by and under the one it has.
fn library(uid: u64) -> String {
    let mut script = String::new();
    for global in ["rstat4", "rstat"] {
        // Writing to a string cannot fail.
        let _ = write!(
            script,
            r#";window["{global}"]&&window["{global}"]('configure',{{"initialUid":"{uid}","urlMark":"band"}});"#
        );
    }
    script.push('\n');
    script
}

fn data<T: Serialize>(status: StatusCode, native: bool, data: &T) -> Content {
    if native {
        native_json(&Native::Data {
            status: status.as_u16(),
            data,
            native,
        })
    } else {
        (Some(JSON), json(data))
    }
}

fn failure(status: StatusCode, native: bool, failure: Message<'_>) -> Content {
    if native {
        let Message {
            message,
            reason,
            refused,
        } = failure;
        native_json(&WithoutData::Error {
            status: status.as_u16(),
            message,
            reason,
            refused,
            native,
        })
    } else {
        (Some(JSON), json(&failure))
    }
}

fn native_json<T: Serialize>(native: &Native<'_, T>) -> Content {
    (None, json(native))
}

fn json<T: Serialize>(body: &T) -> Bytes {
    // Writing to memory fails only where a `Serialize` says so, and none of those below does.
    serde_json::to_vec(body).unwrap_or_default().into()
}

#[derive(Serialize)]
struct Recorded<'a> {
    key: fmt::Arguments<'a>,
    #[serde(serialize_with = "as_text")]
    id: u64,
}

#[derive(Serialize)]
struct Tracked {
    #[serde(serialize_with = "as_text")]
    id: u64,
}

/// A message; in a failure also what can be said beyond it.
#[derive(Serialize)]
struct Message<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    refused: &'a [Refusal],
}

impl<'a> Message<'a> {
    const fn of(message: &'a str) -> Self {
        Self {
            message,
            reason: None,
            refused: &[],
        }
    }

    fn of_status(status: StatusCode) -> Self {
        Self::of(status.canonical_reason().unwrap_or("Error"))
    }
}

/// The structure that `band` in a path asks for.
#[derive(Serialize)]
#[serde(tag = "type__", rename_all = "lowercase")]
enum Native<'a, T> {
    Data {
        #[serde(rename = "statusCode")]
        status: u16,
        data: &'a T,
        #[serde(rename = "native__")]
        native: bool,
    },
    Redirect {
        location: &'a str,
        #[serde(rename = "statusCode")]
        status: u16,
        #[serde(rename = "native__")]
        native: bool,
    },
    Pixel {
        #[serde(rename = "statusCode")]
        status: u16,
        #[serde(rename = "type")]
        kind: &'static str,
        #[serde(rename = "native__")]
        native: bool,
    },
    Error {
        #[serde(rename = "statusCode")]
        status: u16,
        #[serde(rename = "errorMessage")]
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        refused: &'a [Refusal],
        #[serde(rename = "native__")]
        native: bool,
    },
}

type WithoutData<'a> = Native<'a, ()>;

/// Ids go out as text, since a number of JavaScript holds 53 bits only.
fn as_text<S: Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        refusal::Problem,
        table::{Column, ColumnKind},
    };

    /// When the recorded process started: 2026-11-24 03:58:02 UTC.
    fn started() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_492_682)
    }

    fn context() -> Context<'static> {
        Context {
            uid: 7_530_842_328_009_801_728,
            origin: CorsOrigin::Any,
            host: None,
            native: false,
            is_head: false,
            started: Instant::now(),
        }
    }

    fn body_of(response: &Response<Full<Bytes>>) -> Bytes {
        use http_body_util::BodyExt;
        let body = std::pin::pin!(response.body().clone().collect());
        match body.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(body) => body.unwrap().to_bytes(),
            std::task::Poll::Pending => unreachable!("a full body is there at once"),
        }
    }

    fn text_of(answer: Answer<'_>, context: &Context<'_>) -> String {
        String::from_utf8(body_of(&Answers::new(None, started()).finish(answer, context)).to_vec()).unwrap()
    }

    /// One recorded answer: the request as a command, status, headers and body.
    struct Recording<'a> {
        request: &'a str,
        status: u16,
        headers: Vec<(String, &'a str)>,
        body: &'a [u8],
    }

    /// Reads `golden/01_http_full_headers.txt`: a line `----- request`, the answer, a line `[curl rc 0]`.
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
    const FORBIDDEN: &str =
        r#"{"message":"Bad Request","reason":"parameter \"to\" must begin with http:// or https://"}"#;
    const LIBRARY: &str = ";window[\"rstat4\"]&&window[\"rstat4\"]('configure',{\"initialUid\":\"7530842328848662528\",\"urlMark\":\"band\"});\
                           ;window[\"rstat\"]&&window[\"rstat\"]('configure',{\"initialUid\":\"7530842328848662528\",\"urlMark\":\"band\"});\n";

    /// Where our answer is not the recorded one on purpose: our body, and the reason.
    const DIFFERENT_ON_PURPOSE: [(&str, &[u8]); 6] = [
        // The key is the whole one, not the branch of the tree that has handled it.
        ("-X POST http://127.0.0.1:18080/wh/mail ", br#"{"key":"in.gen.wh.mail","id":"7530842328013996032"}"#),
        ("http://127.0.0.1:18080/wh/mail.gif", br#"{"key":"in.gen.wh.mail","id":"7530842328479563777"}"#),
        (
            "http://127.0.0.1:18080/band/wh/mail",
            br#"{"type__":"data","statusCode":200,"data":{"key":"in.gen.wh.mail","id":"7530842329045794817"},"native__":true}"#,
        ),
        // `img` is a pixel, as its documentation has it.
        ("http://127.0.0.1:18080/img/mail", &PIXEL),
        // Both names of the library.
        ("http://127.0.0.1:18080/lib.js", LIBRARY.as_bytes()),
        // No open redirect.
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
            _ if request.starts_with("-X OPTIONS") => Answer::Preflight,
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
            "/lib.js" => Answer::Library,
            _ => Answer::NOT_FOUND,
        }
    }

    /// Returns whether a header is compared: those of hyper and the time are not, nor a length that hyper puts last.
    fn is_compared(name: &str, native: bool) -> bool {
        let is_of_hyper = ["date", "connection", "keep-alive"].contains(&name) || (native && name == "content-length");
        !is_of_hyper && name != "x-response-time"
    }

    #[test]
    fn answers_as_recorded_header_for_header() {
        let answers = Answers::new(Some(".example.com"), started());
        let recordings = recordings(include_bytes!("../../tests/golden/01_http_full_headers.txt"));
        assert_eq!(recordings.len(), 25);
        let mut differences = 0;
        // The page at `/` is the program's.
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
                uid: number_after(sent("set-cookie"), "uid="),
                origin: CorsOrigin::Given(&origin),
                native,
                is_head: request.starts_with("-I"),
                ..context()
            };
            let id = number_after(&String::from_utf8_lossy(body), "\"id\":\"");
            let response = answers.finish(answer_to(request, id), &context);
            let different = DIFFERENT_ON_PURPOSE
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
            let theirs: Vec<(&str, &str)> = headers
                .iter()
                .filter(|(name, _)| is_compared(name, native))
                .map(|(name, value)| match name.as_str() {
                    "x-my-name" => ("x-my-name", "Rowmill"),
                    "content-length" if different.is_some() => ("content-length", length.as_str()),
                    "content-type" if request.contains("/img/") => ("content-type", "image/gif"),
                    name => (name, *value),
                })
                .collect();
            let ours = response
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
            let ours: Vec<(&str, &str)> = ours.filter(|(name, _)| is_compared(name, native)).collect();
            assert_eq!(ours, theirs, "headers of {request}");
        }
        assert_eq!(differences, DIFFERENT_ON_PURPOSE.len());
    }

    #[test]
    fn counts_the_length_of_every_body() {
        let answers = Answers::new(None, started());
        let location = Location::parse("https://ya.ru").unwrap();
        for native in [false, true] {
            for is_head in [false, true] {
                let context = Context {
                    native,
                    is_head,
                    ..context()
                };
                for answer in [Answer::Pixel, Answer::Redirect(location.clone()), Answer::NOT_FOUND] {
                    let full = body_of(&answers.finish(
                        answer.clone(),
                        &Context {
                            is_head: false,
                            ..context
                        },
                    ));
                    let response = answers.finish(answer, &context);
                    let length = response.headers()[header::CONTENT_LENGTH].to_str().unwrap();
                    assert_eq!(length, full.len().to_string());
                    assert_eq!(body_of(&response).len(), if is_head { 0 } else { full.len() });
                }
            }
        }
    }

    #[test]
    fn escapes_what_it_repeats() {
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
    fn says_what_is_wrong() {
        static SCORE: Column = Column::new("score", "Int8", "`score` Int8", ColumnKind::Plain);
        let refused = [Refusal {
            column: &SCORE,
            problem: Problem::OutOfRange,
            got: "\"300\"".to_owned(),
        }];
        let cases = [
            (
                Answer::Refused(&refused),
                r#"{"message":"Bad Request","refused":[{"column":"score","code":"out-of-range","expected":"Int8","got":"\"300\""}]}"#,
            ),
            (
                BodyError::Charset.into(),
                r#"{"message":"Bad Request","reason":"the charset of the Content-Type header is not known"}"#,
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
        let answers = Answers::new(None, started());
        let unavailable = answers.finish(Answer::Unavailable { retry_after_s: 7 }, &context());
        assert_eq!(unavailable.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(unavailable.headers()[header::RETRY_AFTER], "7");
        let timed_out = answers.finish(Answer::TIMED_OUT, &context());
        assert_eq!(timed_out.headers()[header::CONNECTION], "close");
        let multipart = answers.finish(BodyError::Multipart.into(), &context());
        assert_eq!(multipart.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(multipart.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    }

    #[test]
    fn names_the_domain_of_the_cookie() {
        let cookie = |domain, host| {
            let context = Context {
                uid: u64::MAX,
                host,
                ..context()
            };
            let response = Answers::new(domain, started()).finish(Answer::Pong, &context);
            response
                .headers()
                .get(header::SET_COOKIE)
                .map(|cookie| cookie.to_str().unwrap().to_owned())
        };
        let tail = "Path=/; Expires=Fri, 23 Nov 2029 03:58:02 GMT; HttpOnly; Secure; SameSite=None";
        let expected = |domain: &str| Some(format!("uid=18446744073709551615; {domain}{tail}"));
        assert_eq!(cookie(None, None), expected(""));
        assert_eq!(cookie(Some(".a.com"), None), expected("Domain=.a.com; "));
        assert_eq!(
            cookie(Some(".a.com"), Some("stat.b.com")),
            expected("Domain=stat.b.com; ")
        );
        assert_eq!(cookie(Some("a\r\nSet-Cookie: x"), None), None);
    }
}
