//! The browser client: `/rowmill.js` for a script tag, and `/rowmill.mjs` for `import`.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::Full;

const SCRIPT: &str = include_str!("rowmill.js");

/// The end of the script as a module, whose address is that of the collector.
const EXPORTS: &str = "
rowmill.configure({ url: new URL('.', import.meta.url).href })
export const { configure, send, flush } = rowmill
export default rowmill
";

const SCRIPT_PATH: &str = "/rowmill.js";
const MODULE_PATH: &str = "/rowmill.mjs";

/// The headers of both. A page of any site may run the client, and import it as a module.
static HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/javascript; charset=utf-8"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    ),
];

/// Returns whether a request is one for the client.
pub(super) fn is_requested(parts: &Parts) -> bool {
    matches!(parts.uri.path(), SCRIPT_PATH | MODULE_PATH) && matches!(parts.method, Method::GET | Method::HEAD)
}

/// Returns the response to a request for the client; without a body if the browser has it already.
#[cold]
#[inline(never)]
pub(super) fn respond(parts: &Parts) -> Response<Full<Bytes>> {
    let text = match parts.uri.path() {
        MODULE_PATH => Bytes::from([SCRIPT, EXPORTS].concat()),
        _ => Bytes::from_static(SCRIPT.as_bytes()),
    };
    let tag = format!("\"{:08x}\"", crc32c::crc32c(&text));
    let is_known = has_tag(&parts.headers, &tag);
    let mut response = Response::new(Full::new(if is_known { Bytes::new() } else { text }));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    for (name, value) in &HEADERS {
        headers.insert(name.clone(), value.clone());
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// Returns whether `If-None-Match` has the tag.
fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    tags.any(|known| matches!(known.trim(), "*") || known.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use http::Request;
    use http_body::Body;

    use super::*;

    fn get(path: &str, tag: Option<&str>) -> Response<Full<Bytes>> {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        assert!(is_requested(&parts));
        respond(&parts)
    }

    #[test]
    fn the_client_takes_less_than_three_kilobytes() {
        for text in [SCRIPT.to_owned(), [SCRIPT, EXPORTS].concat()] {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
            gzip.write_all(text.as_bytes()).unwrap();
            let length = gzip.finish().unwrap().len();
            assert!(length < 3_000, "{length} bytes");
        }
    }

    #[test]
    fn a_browser_that_has_the_client_does_not_get_it_again() {
        let first = get("/rowmill.js", None);
        assert_eq!(first.status(), 200);
        assert_eq!(first.headers()["content-type"], "text/javascript; charset=utf-8");
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let again = get("/rowmill.js", Some(&known));
            assert_eq!(
                (again.status(), again.body().size_hint().exact()),
                (StatusCode::NOT_MODIFIED, Some(0))
            );
        }
        // The module is another file.
        assert_eq!(get("/rowmill.mjs", Some(&tag)).status(), 200);
        let (post, ()) = Request::post("/rowmill.js").body(()).unwrap().into_parts();
        assert!(!is_requested(&post));
    }
}
