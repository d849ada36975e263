//! The headers of the protocol.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, Method, StatusCode, request::Parts};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

pub(super) const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub(super) const VERSION: HeaderName = HeaderName::from_static("tus-version");
pub(super) const EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
pub(super) const MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
pub(super) const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
pub(super) const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(super) const LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub(super) const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
pub(super) const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// The version of the protocol.
pub(super) const VERSION_1: &str = "1.0.0";

pub(super) const EXTENSIONS: &str = "creation,creation-with-upload,termination,checksum,expiration";
pub(super) const ALGORITHMS: &str = "sha1,sha256";

/// The type of a body with a part of an upload.
const PART_TYPE: &[u8] = b"application/offset+octet-stream";

/// The longest `Upload-Metadata`, in bytes.
const MAX_METADATA: usize = 4 << 10;

/// The status of a body that has another checksum.
const CHECKSUM_MISMATCH: u16 = 460;

/// Returns whether a request is one of the protocol, and not an upload in one request.
pub(in crate::collect::upload) fn is_request(parts: &Parts) -> bool {
    parts.method != Method::POST || parts.headers.contains_key(RESUMABLE)
}

/// Returns the method, which clients behind some proxies send in a header.
pub(super) fn method(parts: &Parts) -> Method {
    let other = parts.headers.get(METHOD_OVERRIDE);
    let other = other.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    other.unwrap_or_else(|| parts.method.clone())
}

/// Returns a header that is a number of bytes; `None` if it is absent or malformed.
pub(super) fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Returns whether the body is a part of an upload.
pub(super) fn has_part(headers: &HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(PART_TYPE))
}

/// Returns the type that the metadata of an upload names: its `filetype`, or that of its `filename`.
/// `None` if there is none, `Err` if the metadata is malformed.
pub(super) fn media_type(headers: &HeaderMap) -> Result<Option<String>, StatusCode> {
    let Some(metadata) = headers.get(METADATA) else {
        return Ok(None);
    };
    let metadata = metadata.to_str().map_err(|_| StatusCode::BAD_REQUEST)?;
    if metadata.len() > MAX_METADATA {
        return Err(StatusCode::BAD_REQUEST);
    }
    let (mut of_type, mut of_name) = (None, None);
    for pair in metadata.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = BASE64_STANDARD.decode(value.trim());
        let value = value.map_err(|_| StatusCode::BAD_REQUEST)?;
        let value = String::from_utf8(value).unwrap_or_default();
        match name {
            "filetype" | "contentType" | "content_type" => of_type = Some(value),
            "filename" | "name" => of_name = type_of_file(&value),
            _ => {}
        }
    }
    // The type of a compressed file, or of any file, says nothing about its text.
    let says_nothing = |name: &str| {
        [
            "",
            "application/gzip",
            "application/x-gzip",
            "application/zstd",
            "application/octet-stream",
        ]
        .contains(&name)
    };
    Ok(of_type
        .filter(|name| !says_nothing(name))
        .or(of_name.map(str::to_owned)))
}

/// Returns the type that the name of a file implies.
fn type_of_file(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let name = [".gz", ".zst", ".zstd"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(&name);
    Some(match name.rsplit_once('.')?.1 {
        "ndjson" | "jsonl" => "application/x-ndjson",
        "csv" => "text/csv",
        "tsv" => "text/tab-separated-values",
        _ => return None,
    })
}

/// The checksum of a body, and the one that its request names.
pub(super) struct Checksum {
    context: Context,
    expected: Vec<u8>,
}

impl Checksum {
    /// Returns the checksum that a request names, if it names one.
    ///
    /// # Errors
    ///
    /// 400: the header is malformed, or names an unknown algorithm.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, StatusCode> {
        let Some(checksum) = headers.get(CHECKSUM) else {
            return Ok(None);
        };
        let parsed = checksum.to_str().ok().and_then(|text| {
            let (algorithm, value) = text.trim().split_once(' ')?;
            let algorithm = match algorithm {
                "sha1" => &SHA1_FOR_LEGACY_USE_ONLY,
                "sha256" => &SHA256,
                _ => return None,
            };
            Some(Self {
                context: Context::new(algorithm),
                expected: BASE64_STANDARD.decode(value.trim()).ok()?,
            })
        });
        parsed.map(Some).ok_or(StatusCode::BAD_REQUEST)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Checks the checksum of all bytes.
    ///
    /// # Errors
    ///
    /// 460: the body has another one.
    pub(super) fn finish(self) -> Result<(), StatusCode> {
        match self.context.finish().as_ref() == self.expected {
            true => Ok(()),
            false => Err(StatusCode::from_u16(CHECKSUM_MISMATCH).unwrap_or(StatusCode::BAD_REQUEST)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn the_type_comes_from_the_metadata() {
        let encoded = |text: &str| BASE64_STANDARD.encode(text);
        for (metadata, expected) in [
            (String::new(), None),
            (format!("filetype {}", encoded("text/csv")), Some("text/csv")),
            (
                format!(
                    "filename {}, filetype {}",
                    encoded("a.csv"),
                    encoded("application/x-ndjson")
                ),
                Some("application/x-ndjson"),
            ),
            (
                format!(
                    "filetype {},filename {}",
                    encoded("application/gzip"),
                    encoded("A.JSONL.GZ")
                ),
                Some("application/x-ndjson"),
            ),
            (
                format!("is_confidential,name {}", encoded("x.tsv.zst")),
                Some("text/tab-separated-values"),
            ),
            (format!("filename {}", encoded("x.json")), None),
            (format!("filename {}", encoded("csv")), None),
        ] {
            let found = media_type(&headers(METADATA, &metadata)).unwrap();
            assert_eq!(found.as_deref(), expected, "{metadata}");
        }
        assert!(media_type(&headers(METADATA, "filename *")).is_err());
        assert!(media_type(&headers(METADATA, &"a,".repeat(4 << 10))).is_err());
    }

    #[test]
    fn a_checksum_covers_all_bytes() {
        for (checksum, is_right) in [
            ("sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", true),
            ("sha256 ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", true),
            ("sha1 ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", false),
        ] {
            let mut of = Checksum::of(&headers(CHECKSUM, checksum)).unwrap().unwrap();
            of.update(b"a");
            of.update(b"bc");
            assert_eq!(of.finish().is_ok(), is_right, "{checksum}");
        }
        for malformed in ["sha1", "md5 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", "sha1 !", ""] {
            assert!(Checksum::of(&headers(CHECKSUM, malformed)).is_err(), "{malformed}");
        }
        assert!(Checksum::of(&HeaderMap::new()).unwrap().is_none());
    }
}
