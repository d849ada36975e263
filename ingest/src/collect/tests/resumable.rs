//! The requests of tus, and their responses: offsets, checksums, lengths, the end of an upload.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, Request, header};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::world::{World, options, text_of};
use crate::collect::options::{EventOptions, ResumableUploads};

const PART: (&str, &str) = ("Content-Type", "application/offset+octet-stream");

/// A response to a request of the protocol.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn status_and_offset(&self) -> (u16, &str) {
        (self.status, self.header("upload-offset"))
    }
}

/// A collector with its folder of uploads.
struct Uploads {
    folder: tempfile::TempDir,
    options: EventOptions,
    world: World,
}

impl Uploads {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ResumableUploads)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut uploads = ResumableUploads::new(&folder.path().join("uploads"));
        change(&mut uploads);
        let options = EventOptions {
            resumable_uploads: Some(uploads),
            ..options()
        };
        Self {
            world: World::new(&options),
            options,
            folder,
        }
    }

    /// Sends a request, whose connection breaks after the body unless `is_complete`.
    fn send_part(&self, method: &str, uri: &str, headers: &[(&str, &str)], part: &[u8], is_complete: bool) -> Reply {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .world
            .respond_to_upload(request.body(()).unwrap(), &[part], is_complete);
        Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: text_of(response),
        }
    }

    /// Sends a request of version 1.0.0 without a body.
    fn send(&self, method: &str, uri: &str, headers: &[(&str, &str)]) -> Reply {
        let headers = [&[("Tus-Resumable", "1.0.0")][..], headers].concat();
        self.send_part(method, uri, &headers, b"", true)
    }

    /// Sends a part from `offset` on.
    fn patch(&self, uri: &str, offset: &str, headers: &[(&str, &str)], part: &[u8]) -> Reply {
        let headers = [
            &[("Tus-Resumable", "1.0.0"), PART, ("Upload-Offset", offset)][..],
            headers,
        ]
        .concat();
        self.send_part("PATCH", uri, &headers, part, true)
    }

    /// Creates an upload, and returns its path.
    fn create(&self, length: usize) -> String {
        let reply = self.send("POST", "/upload/wh/mail", &[("Upload-Length", &length.to_string())]);
        assert_eq!(reply.status_and_offset(), (201, "0"), "{reply:?}");
        reply.header("location").to_owned()
    }

    /// Returns the offset that HEAD answers.
    fn offset(&self, uri: &str) -> String {
        let reply = self.send("HEAD", uri, &[]);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("cache-control"), "no-store");
        reply.header("upload-offset").to_owned()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("uploads")
    }

    /// Returns the length of an upload's file.
    fn file_length(&self, uri: &str) -> u64 {
        let data = self.path().join(uri.strip_prefix("/upload/").unwrap());
        fs::metadata(data.with_extension("data")).unwrap().len()
    }

    /// Changes what the collector keeps about an upload.
    fn change_record(&self, uri: &str, change: impl FnOnce(&mut serde_json::Value)) {
        let record = self.path().join(uri.strip_prefix("/upload/").unwrap());
        let record = record.with_extension("json");
        let mut changed = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        change(&mut changed);
        fs::write(&record, changed.to_string()).unwrap();
    }

    fn restart(&mut self) {
        self.world.read_uploads_again(&self.options);
    }
}

fn count_of_files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// Two lines of eight bytes, and a third.
const LINES: &[u8] = b"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n";

#[test]
fn an_upload_goes_on_at_the_offset_that_head_answers() {
    let mut uploads = Uploads::new();
    let uri = uploads.create(LINES.len());
    assert_eq!(uploads.send("HEAD", &uri, &[]).header("upload-length"), "24");
    assert_eq!(uploads.offset(&uri), "0");
    assert_eq!(
        uploads.patch(&uri, "0", &[], &LINES[..10]).status_and_offset(),
        (204, "10")
    );
    // A part from anywhere else is refused, with the offset, and changes nothing.
    for offset in ["0", "9", "11", "23", "24", "25"] {
        let reply = uploads.patch(&uri, offset, &[], b"x");
        assert_eq!(reply.status_and_offset(), (409, "10"), "{offset}");
        assert!(reply.body.contains("the offset of the upload is 10"), "{}", reply.body);
        assert_eq!(uploads.file_length(&uri), 10, "{offset}");
    }
    // The bytes before a cut stay.
    let headers = [("Tus-Resumable", "1.0.0"), PART, ("Upload-Offset", "10")];
    let cut = uploads.send_part("PATCH", &uri, &headers, &LINES[10..13], false);
    assert_eq!(cut.status_and_offset(), (400, "13"));
    for _ in 0..2 {
        assert_eq!((&*uploads.offset(&uri), uploads.file_length(&uri)), ("13", 13));
        assert_eq!(uploads.send("GET", &uri, &[]).status, 404, "there is no report yet");
        uploads.restart();
    }
    assert_eq!(World::rows(), [""; 0]);
    assert_eq!(
        uploads.patch(&uri, "13", &[], &LINES[13..]).status_and_offset(),
        (204, "24")
    );
    assert_eq!(World::rows().len(), 3);
    for _ in 0..2 {
        assert_eq!(uploads.offset(&uri), "24");
        let report = r#"{"key":"in.gen.wh.mail","recorded":3,"refused":0}"#;
        assert_eq!(uploads.send("GET", &uri, &[]).body, report);
        uploads.restart();
    }
}

#[test]
fn the_last_byte_counts_with_the_rows() {
    let mut uploads = Uploads::new();
    let uri = uploads.create(8);
    // The process ends after the last byte, and before the rows.
    let data = uploads.path().join(uri.strip_prefix("/upload/").unwrap());
    fs::write(data.with_extension("data"), &LINES[..8]).unwrap();
    uploads.restart();
    assert_eq!(uploads.offset(&uri), "7");
    assert_eq!(uploads.patch(&uri, "7", &[], b"\n").status_and_offset(), (204, "8"));
    assert_eq!(World::rows().len(), 1);
}

#[test]
fn a_part_with_another_checksum_is_refused_and_leaves_nothing() {
    let sha1 = |part: &[u8]| BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, part));
    let sha256 = |part: &[u8]| BASE64_STANDARD.encode(digest(&SHA256, part));
    // The bytes of a part that is refused are free again.
    let uploads = Uploads::with(|uploads| uploads.max_bytes = 40);
    let uri = uploads.create(LINES.len());
    let right = format!("sha1 {}", sha1(&LINES[..8]));
    assert_eq!(
        uploads
            .patch(&uri, "0", &[("Upload-Checksum", &right)], &LINES[..8])
            .status_and_offset(),
        (204, "8")
    );
    let part = &LINES[8..16];
    for (checksum, status) in [
        (format!("sha1 {}", sha1(b"other")), 460),
        (format!("sha256 {}", sha256(b"other")), 460),
        (format!("sha256 {}", sha1(part)), 460),
        (format!("md5 {}", sha1(part)), 400),
        ("sha1 *".to_owned(), 400),
    ] {
        let reply = uploads.patch(&uri, "8", &[("Upload-Checksum", &checksum)], part);
        assert_eq!(reply.status, status, "{checksum} {}", reply.body);
        assert_eq!(
            (&*uploads.offset(&uri), uploads.file_length(&uri)),
            ("8", 8),
            "{checksum}"
        );
    }
    // Of a part that is cut, no checksum is known.
    let right = format!("sha256 {}", sha256(part));
    let headers = [
        ("Tus-Resumable", "1.0.0"),
        PART,
        ("Upload-Offset", "8"),
        ("Upload-Checksum", &*right),
    ];
    assert_eq!(
        uploads.send_part("PATCH", &uri, &headers, &part[..5], false).status,
        400
    );
    assert_eq!((&*uploads.offset(&uri), uploads.file_length(&uri)), ("8", 8));
    let reply = uploads.patch(&uri, "8", &[("Upload-Checksum", &right)], part);
    assert_eq!(reply.status_and_offset(), (204, "16"));
}

#[test]
fn bytes_whose_checksum_is_not_checked_do_not_count_after_a_crash() {
    let mut uploads = Uploads::new();
    let uri = uploads.create(LINES.len());
    assert_eq!(uploads.patch(&uri, "0", &[], &LINES[..16]).status, 204);
    // The process ended while it received the second line with a checksum.
    uploads.change_record(&uri, |record| record["unchecked_from"] = 8.into());
    uploads.restart();
    assert_eq!(uploads.offset(&uri), "8");
    assert_eq!(
        uploads.patch(&uri, "8", &[], &LINES[8..]).status_and_offset(),
        (204, "24")
    );
    assert_eq!(World::rows().len(), 3);
}

#[test]
fn an_upload_that_cannot_be_decoded_now_needs_its_last_byte_again() {
    let uploads = Uploads::new();
    let uri = uploads.create(8);
    let permits = uploads.world.collector().uploads.clone();
    let count = permits.available_permits().try_into().unwrap();
    let others = permits.try_acquire_many(count).unwrap();
    let reply = uploads.patch(&uri, "0", &[], &LINES[..8]);
    assert_eq!(reply.status_and_offset(), (503, "7"), "{reply:?}");
    assert_eq!((&*uploads.offset(&uri), World::rows().len()), ("7", 0));
    drop(others);
    assert_eq!(uploads.patch(&uri, "7", &[], b"\n").status_and_offset(), (204, "8"));
    assert_eq!(World::rows().len(), 1);
}

#[test]
fn an_upload_has_its_length_and_not_a_byte_more() {
    let uploads = Uploads::with(|uploads| uploads.max_bytes = 100);
    for (headers, status, reason) in [
        (vec![], 400, "Upload-Length must be a number of bytes"),
        (
            vec![("Upload-Length", "")],
            400,
            "Upload-Length must be a number of bytes",
        ),
        (
            vec![("Upload-Length", "-1")],
            400,
            "Upload-Length must be a number of bytes",
        ),
        (
            vec![("Upload-Length", "1e3")],
            400,
            "Upload-Length must be a number of bytes",
        ),
        // The extension `creation-defer-length` is not offered.
        (
            vec![("Upload-Defer-Length", "1")],
            400,
            "Upload-Length must be a number of bytes",
        ),
        (vec![("Upload-Length", "101")], 413, "longer than Tus-Max-Size"),
    ] {
        let reply = uploads.send("POST", "/upload/wh/mail", &headers);
        assert_eq!((reply.status, reply.header("location")), (status, ""), "{headers:?}");
        assert!(reply.body.contains(reason), "{headers:?} {}", reply.body);
    }
    let uri = uploads.create(16);
    assert_eq!(uploads.patch(&uri, "0", &[], &LINES[..8]).status, 204);
    let reply = uploads.patch(&uri, "8", &[], &LINES[8..17]);
    assert_eq!(reply.status_and_offset(), (413, "8"));
    assert!(
        reply.body.contains("the upload is longer than its Upload-Length"),
        "{}",
        reply.body
    );
    assert_eq!((uploads.file_length(&uri), World::rows().len()), (8, 0));
    assert_eq!(
        uploads.patch(&uri, "8", &[], &LINES[8..16]).status_and_offset(),
        (204, "16")
    );
    assert_eq!(World::rows().len(), 2);

    // All files together have a limit, too; what a request could not keep is free again.
    let (first, second) = (uploads.create(100), uploads.create(100));
    assert_eq!(uploads.patch(&first, "0", &[], &[b' '; 90]).status, 204);
    assert_eq!(
        uploads.patch(&second, "0", &[], &[b' '; 11]).status_and_offset(),
        (507, "0")
    );
    assert_eq!(uploads.patch(&second, "0", &[], &[b' '; 10]).status, 204);
    assert_eq!(uploads.send("DELETE", &first, &[]).status, 204);
    assert_eq!(uploads.patch(&second, "10", &[], &[b' '; 80]).status, 204);
    // An upload without bytes is complete at once.
    let empty = uploads.send("POST", "/upload/wh/mail", &[("Upload-Length", "0")]);
    assert_eq!(empty.status_and_offset(), (201, "0"));
    assert!(
        uploads
            .send("GET", empty.header("location"), &[])
            .body
            .contains(r#""recorded":0"#)
    );
}

#[test]
fn an_upload_ends_when_its_client_or_its_time_ends_it() {
    let uploads = Uploads::new();
    let (uri, other) = (uploads.create(LINES.len()), uploads.create(8));
    assert_eq!(uploads.patch(&uri, "0", &[], &LINES[..8]).status, 204);
    let ended = uploads.send("DELETE", &uri, &[]);
    assert_eq!((ended.status, ended.body.as_str()), (204, ""));
    for method in ["HEAD", "DELETE", "GET"] {
        assert_eq!(uploads.send(method, &uri, &[]).status, 404, "{method}");
    }
    assert_eq!(uploads.patch(&uri, "8", &[], &LINES[8..]).status, 404);
    assert_eq!(count_of_files(&uploads.path()), 2, "those of the other upload stay");
    assert_eq!(uploads.offset(&other), "0");
    assert_eq!(World::rows(), [""; 0]);

    // Without time, an upload is over at once, and the next one removes its files.
    let uploads = Uploads::with(|uploads| uploads.expiry = Duration::ZERO);
    let uri = uploads.create(8);
    assert_eq!(uploads.send("HEAD", &uri, &[]).status, 404);
    assert_eq!(uploads.patch(&uri, "0", &[], &LINES[..8]).status, 404);
    uploads.create(8);
    let files = uploads.path().join(uri.strip_prefix("/upload/").unwrap());
    for end in ["data", "json"] {
        assert!(!files.with_extension(end).exists(), "{end}");
    }
}

/// Returns the time that a reply states, in seconds from now.
fn expires_in(reply: &Reply) -> i64 {
    let at = jiff::fmt::rfc2822::parse(reply.header("upload-expires")).unwrap();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    at.timestamp().as_second() - now.cast_signed()
}

#[test]
fn each_part_gives_an_upload_its_whole_time_again() {
    let mut uploads = Uploads::with(|uploads| uploads.expiry = Duration::from_secs(3_600));
    let near = 3_500..=3_600;
    let created = uploads.send("POST", "/upload/wh/mail", &[("Upload-Length", "24")]);
    assert!(near.contains(&expires_in(&created)), "{created:?}");
    let uri = created.header("location").to_owned();
    // Most of the time has passed.
    uploads.change_record(&uri, |record| {
        record["expires_s"] = (record["expires_s"].as_u64().unwrap() - 3_000).into();
    });
    uploads.restart();
    let asked = uploads.send("HEAD", &uri, &[]);
    assert!((500..=600).contains(&expires_in(&asked)), "{asked:?}");
    let reply = uploads.patch(&uri, "0", &[], &LINES[..8]);
    assert!(near.contains(&expires_in(&reply)), "{reply:?}");
    uploads.restart();
    assert!(near.contains(&expires_in(&uploads.send("HEAD", &uri, &[]))));
}

#[test]
fn a_request_that_is_not_of_the_protocol_is_refused_with_a_reason() {
    let uploads = Uploads::new();
    let uri = uploads.create(24);
    let unknown = format!("/upload/{}", "0".repeat(32));
    let offset = ("Upload-Offset", "0");
    for (method, path, headers, status, reason) in [
        ("PATCH", &uri, vec![offset], 415, "application/offset+octet-stream"),
        (
            "PATCH",
            &uri,
            vec![PART],
            400,
            "Upload-Offset must be a number of bytes",
        ),
        (
            "PATCH",
            &uri,
            vec![PART, ("Upload-Offset", "x")],
            400,
            "Upload-Offset must be",
        ),
        ("PATCH", &unknown, vec![PART, offset], 404, "the upload has ended"),
        (
            "PUT",
            &uri,
            vec![],
            405,
            "an upload has POST, HEAD, PATCH, DELETE and GET",
        ),
        ("GET", &uri, vec![], 404, "the upload is not complete"),
    ] {
        let reply = uploads.send(method, path, &headers);
        assert_eq!(
            (reply.status, reply.header("tus-resumable")),
            (status, "1.0.0"),
            "{method} {headers:?}"
        );
        assert!(reply.body.contains(reason), "{method} {headers:?}: {}", reply.body);
    }
    for version in [&[][..], &[("Tus-Resumable", "0.2.2")]] {
        let reply = uploads.send_part("HEAD", &uri, version, b"", true);
        assert_eq!((reply.status, reply.header("tus-version")), (412, "1.0.0"));
    }
    // Some proxies pass on POST alone.
    let overridden = [("X-HTTP-Method-Override", "PATCH"), PART, offset];
    let headers = [&[("Tus-Resumable", "1.0.0")][..], &overridden].concat();
    let reply = uploads.send_part("POST", &uri, &headers, &LINES[..8], true);
    assert_eq!(reply.status_and_offset(), (204, "8"));
}

#[test]
fn a_page_of_another_origin_learns_what_it_may_send_and_read() {
    let uploads = Uploads::new();
    let uri = uploads.create(24);
    for path in ["/upload/wh/mail", &uri] {
        let preflight = uploads.send_part(
            "OPTIONS",
            path,
            &[
                ("Origin", "https://shop.example"),
                ("Access-Control-Request-Method", "PATCH"),
                ("Access-Control-Request-Headers", "tus-resumable, upload-offset"),
            ],
            b"",
            true,
        );
        assert_eq!(preflight.status, 204, "{path}");
        for (name, value) in [
            ("access-control-allow-methods", "GET, POST, HEAD, PATCH, DELETE"),
            ("tus-version", "1.0.0"),
            (
                "tus-extension",
                "creation,creation-with-upload,termination,checksum,expiration",
            ),
            ("tus-checksum-algorithm", "sha1,sha256"),
            ("tus-max-size", "10737418240"),
        ] {
            assert_eq!(preflight.header(name), value, "{path} {name}");
        }
        let allowed = preflight.header("access-control-allow-headers");
        assert!(allowed.contains("tus-resumable, upload-offset"), "{path}: {allowed}");
        // Without a page, CORS does not apply.
        let plain = uploads.send_part("OPTIONS", path, &[], b"", true);
        assert!(
            !plain.headers.contains_key(header::ACCESS_CONTROL_ALLOW_METHODS),
            "{path}"
        );
    }
    let reply = uploads.send("HEAD", &uri, &[("Origin", "https://shop.example")]);
    let exposed = reply.header("access-control-expose-headers");
    for name in ["Location", "Upload-Offset", "Upload-Length", "Upload-Expires"] {
        assert!(exposed.split(", ").any(|header| header == name), "{name}: {exposed}");
    }
}
