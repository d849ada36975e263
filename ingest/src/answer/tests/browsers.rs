//! The visitor's cookie, and the pages that may read a response.

use super::*;
use crate::answer::visitor_cookie::SameSite;

#[test]
fn a_page_without_permission_reads_the_response_without_credentials() {
    let page = HeaderValue::from_static("https://evil.example");
    for answer in [Answer::Pong, Answer::NOT_FOUND, Answer::Pixel, Answer::Preflight(&[])] {
        let response = finish(
            answer,
            &Context {
                origin: CorsOrigin::Given(&page),
                allows_credentials: false,
                ..context()
            },
        );
        let headers = response.headers();
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(headers[header::VARY], "Origin");
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }
}

#[test]
fn a_preflight_allows_the_headers_of_the_page_but_not_those_of_proxies() {
    let page = HeaderValue::from_static("https://shop.example");
    let allowed = |requested: &str| {
        let requested = HeaderValue::from_str(requested).unwrap();
        let context = Context {
            origin: CorsOrigin::Given(&page),
            requested_headers: Some(&requested),
            ..context()
        };
        let response = finish(Answer::Preflight(&[]), &context);
        let allowed = response.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS]
            .to_str()
            .unwrap();
        allowed
            .strip_prefix("Accept, Authorization, Content-Type, Idempotency-Key, X-Requested-With, X-Rowmill-Ack")
            .unwrap()
            .to_owned()
    };
    assert_eq!(allowed("content-type,idempotency-key,x-rowmill-ack"), "");
    assert_eq!(allowed("content-type, traceparent,x-shop"), ", traceparent, x-shop");
    assert_eq!(
        allowed("x-real-ip,x-forwarded-for,X-Forwarded-Host,forwarded,x-forwarded-proto,x-shop"),
        ", x-shop"
    );
    assert_eq!(allowed("*,x shop,,x-shop"), ", x-shop");
    assert_eq!(allowed(&"x,".repeat(600)), "");
}

#[test]
fn browsers_keep_the_cookie_over_each_scheme() {
    let set_cookie = |options: VisitorCookie, set, is_secure| {
        let context = Context {
            cookie: cookie(&options, None, set),
            headers: set,
            cookie_uid: NonZeroU64::new(1_000_000_000),
            is_secure,
            ..context()
        };
        let response = finish(Answer::Pong, &context);
        response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned()
    };
    let modern = |options, is_secure| set_cookie(options, HeaderSet::Modern, is_secure);
    let default = VisitorCookie::default();
    let start = "uid=1000000000; Path=/; Expires=Fri, 23 Nov 2029 03:58:02 GMT; HttpOnly;";
    assert_eq!(modern(default.clone(), true), format!("{start} Secure; SameSite=None"));
    assert_eq!(modern(default.clone(), false), format!("{start} SameSite=Lax"));
    let strict = VisitorCookie {
        name: "v".parse().unwrap(),
        same_site: SameSite::Strict,
        max_age: Duration::from_secs(3600),
        ..default.clone()
    };
    let start = "v=1000000000; Path=/; Max-Age=3600; HttpOnly;";
    assert_eq!(modern(strict.clone(), true), format!("{start} Secure; SameSite=Strict"));
    assert_eq!(modern(strict, false), format!("{start} SameSite=Strict"));
    let of_session = VisitorCookie {
        max_age: Duration::ZERO,
        ..default.clone()
    };
    assert_eq!(
        modern(of_session, false),
        "uid=1000000000; Path=/; HttpOnly; SameSite=Lax"
    );
    // Rockstat's collector sends the same cookie over both.
    let rockstat = "uid=1000000000; Path=/; Expires=Fri, 23 Nov 2029 03:58:02 GMT; HttpOnly; Secure; SameSite=None";
    for is_secure in [false, true] {
        assert_eq!(set_cookie(default.clone(), HeaderSet::Rockstat, is_secure), rockstat);
    }
}

#[test]
fn names_the_domain_of_the_cookie() {
    let set_cookie = |fixed: Option<&str>, domain, host| {
        let options = VisitorCookie {
            domain: fixed.map(|domain| domain.parse().unwrap()),
            ..VisitorCookie::default()
        };
        let context = Context {
            cookie: cookie(&options, domain, HeaderSet::Modern),
            cookie_uid: NonZeroU64::new(u64::MAX),
            host,
            ..context()
        };
        let response = finish(Answer::Pong, &context);
        response
            .headers()
            .get(header::SET_COOKIE)
            .map(|cookie| cookie.to_str().unwrap().to_owned())
    };
    let tail = "Path=/; Expires=Fri, 23 Nov 2029 03:58:02 GMT; HttpOnly; Secure; SameSite=None";
    let expected = |domain: &str| Some(format!("uid=18446744073709551615; {domain}{tail}"));
    assert_eq!(set_cookie(None, None, None), expected(""));
    assert_eq!(set_cookie(None, Some(".a.com"), None), expected("Domain=.a.com; "));
    assert_eq!(
        set_cookie(None, Some(".a.com"), Some("stat.b.com")),
        expected("Domain=stat.b.com; ")
    );
    assert_eq!(
        set_cookie(Some("c.com"), Some(".a.com"), Some("stat.b.com")),
        expected("Domain=c.com; ")
    );
    assert_eq!(set_cookie(None, Some("a\r\nSet-Cookie: x"), None), None);
    // Without a uid of its own or without a cookie at all, the response sets none.
    for context in [
        Context {
            cookie_uid: None,
            ..context()
        },
        Context {
            cookie: None,
            ..context()
        },
    ] {
        assert!(
            !finish(Answer::Pong, &context)
                .headers()
                .contains_key(header::SET_COOKIE)
        );
    }
}
