//! The requests of the hot-path benches, and a way to answer them without a socket.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;

/// The example's event, 250 bytes.
pub(crate) const SENT: &str = concat!(
    r#"{"event":"sent","email":"bob@example.com","message_id":"QWERTY_ASDFGH_0123456789","task_id":"QWERTY_TASK_42","#,
    r#""list_id":"12345","link_id":"","detailed":"250 2.0.0 OK 1732406400 a1b2c3d4e5f6-a7b8c9d0si1234567abc.123 - "#,
    r#"gsmtp queued as 4XyZ12ABC"}"#
);

/// The query of a pixel and of a redirect.
pub(crate) const FIELDS: &str =
    "event=open&task_id=QWERTY&message_id=QWERTY_ASDFGH&email=bob@example.com&list_id=12345";

/// A page view of the web SDK, which fills about forty columns.
pub(crate) const PAGE: &str = concat!(
    r#"{"service":"track","name":"page","projectId":42,"uid":"7530842328009801728","page":{"title":"Shoes for all weathers","#,
    r#""url":"https://shop.example/shoes?utm_source=mail","ref":"https://search.example/","query":{"utm_source":"mail","#,
    r#""utm_medium":"cpc","utm_campaign":"autumn"}},"sess":{"type":"campaign","engine":"google","num":3,"hasMarks":1,"#,
    r#""pageNum":2,"eventNum":9,"start":1795492727283,"refhost":"search.example","marks":{"utm_source":"mail","has_gclid":1,"#,
    r#""gclid":"EAIaIQobChMI"}},"char":{"ls":1,"pr":2,"ae":1,"sb":1,"wp":0},"browser":{"if1":0,"if2":0,"w":1440,"h":900,"tw":1440,"#,
    r#""th":820,"aw":1440,"ah":860,"sopr":1,"soa":0,"sot":"landscape-primary","plt":"Linux x86_64","prd":"Gecko"},"#,
    r#""lib":{"id":"web-sdk","v":4001000,"sv":4001000},"user":{"ts":1795492727283,"tz":"Europe/Berlin","tzo":-60,"gaId":"GA1.2.3"},"#,
    r#""perf":{"cs":1,"scs":2,"dl":3,"dc":400,"di":300,"rqs":4,"rss":50,"rse":60,"ce":1}}"#
);

/// The kinds of requests.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Webhook,
    Pixel,
    Redirect,
    PageView,
}

impl Kind {
    /// Returns a request of this kind, with the headers that browsers and mail servers send.
    pub(crate) fn request(self) -> Request<Full<Bytes>> {
        match self {
            Self::Webhook => request("POST", "/wh/mail", SENT),
            Self::Pixel => request("GET", &format!("/pixel/mail?{FIELDS}"), ""),
            Self::Redirect => request("GET", &format!("/redir/mail?{FIELDS}&to=https%3A%2F%2Fya.ru"), ""),
            Self::PageView => request("POST", "/track/page", PAGE),
        }
    }
}

fn request(method: &str, target: &str, body: &'static str) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, "127.0.0.1:8080")
        .header(
            header::USER_AGENT,
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        )
        .header(header::ACCEPT, "*/*")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::COOKIE, "uid=7530842328009801728")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .expect("a request");
    // A server reuses the header map of the previous answer, which has this capacity.
    request.headers_mut().reserve(24);
    request
}

/// Returns the answer of a service that can answer at the first poll.
pub(crate) fn answer_of<F: Future<Output = Result<Response<B>, E>>, B, E>(future: F) -> Response<B> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    match future.as_mut().poll(&mut context) {
        Poll::Ready(Ok(answer)) if answer.status().as_u16() < 400 => answer,
        _ => panic!("the request was not answered at once"),
    }
}
