//! Compressed bodies, their limits, and bodies that are not what they declare.

use std::io::Write;

use bytes::Bytes;
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use http::{Request, header};

use super::world::{FORM, JSON, NDJSON, Outcome, World, options};
use crate::collect::options::EventOptions;

/// `{"n":5}`, as node's `zlib.brotliCompressSync` encodes it.
const BROTLI: &[u8] = b"\x0b\x03\x80\x7b\x22\x6e\x22\x3a\x35\x7d\x03";

/// The same with a large window, which is not part of the coding `br`.
const LARGE_WINDOW_BROTLI: &[u8] = b"\x11\x1e\x0c\x00\x02\x7b\x22\x6e\x22\x3a\x35\x7d\x03";

/// 3 MiB of spaces.
const BROTLI_BOMB: &[u8] = b"\x9b\xff\xff\x2f\xf8\x25\x40\xe2\xb1\x40\x20\xf7\xfe\x05";

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 3).unwrap()
}

fn post(world: &World, content_type: &str, encoding: &str, body: &[u8]) -> Outcome {
    world.post_bytes(&[("Content-Type", content_type), ("Content-Encoding", encoding)], body)
}

#[test]
fn each_coding_is_decoded() {
    let world = World::new(&options());
    let text = br#"{"n":5}"#;
    for (encoding, body) in [
        ("gzip", gzip(text)),
        ("x-gzip", gzip(text)),
        (" GZIP ", gzip(text)),
        // Two members are one body.
        ("gzip", [gzip(&text[..3]), gzip(&text[3..])].concat()),
        ("deflate", zlib(text)),
        ("deflate", raw_deflate(text)),
        ("br", BROTLI.to_vec()),
        ("zstd", zstd(text)),
        ("zstd", [zstd(&text[..3]), zstd(&text[3..])].concat()),
        // The codings in the order in which they were applied.
        ("gzip, zstd", zstd(&gzip(text))),
        ("zstd,gzip", gzip(&zstd(text))),
        ("identity, gzip", gzip(text)),
        ("br, gzip", gzip(BROTLI)),
        ("identity", text.to_vec()),
        ("", text.to_vec()),
    ] {
        let outcome = post(&world, JSON, encoding, &body);
        assert_eq!(
            (outcome.status, outcome.rows),
            (200, vec!["wh/mail 7 0 n=5".to_owned()]),
            "{encoding}"
        );
    }
    for (content_type, text, rows) in [
        (JSON, "[{\"n\":1},{\"n\":2}]", 2),
        (NDJSON, "{\"n\":1}\n{\"n\":2}", 2),
        (FORM, "n=1", 1),
        ("", "n=1", 1),
        (FORM, "", 1),
    ] {
        let outcome = post(&world, content_type, "gzip", &gzip(text.as_bytes()));
        assert_eq!(
            (outcome.status, outcome.rows.len()),
            (200, rows),
            "{content_type} {text}"
        );
    }
    // Some clients state a coding for no body.
    assert_eq!(post(&world, FORM, "gzip", b"").rows.len(), 1);
}

#[test]
fn an_unknown_coding_is_refused_with_the_known_ones() {
    let world = World::new(&options());
    for encoding in ["compress", "gzip, gzip, gzip", "gzip;q=1", "aes128gcm", "gzip br"] {
        let request = Request::post("/wh/mail")
            .header(header::CONTENT_ENCODING, encoding)
            .body(Ok(Bytes::from_static(b"{}")))
            .unwrap();
        let response = world.respond(request);
        let accepted = &response.headers()[header::ACCEPT_ENCODING];
        assert_eq!(
            (response.status().as_u16(), accepted.as_bytes()),
            (415, &b"gzip, deflate, br, zstd"[..])
        );
        assert!(!response.headers().contains_key(header::ACCEPT));
        let outcome = post(&world, JSON, encoding, b"{}");
        assert_eq!((outcome.status, outcome.codes), (415, vec!["body"]), "{encoding}");
        assert!(
            outcome.body.contains("must be gzip, deflate, br or zstd"),
            "{}",
            outcome.body
        );
    }
}

#[test]
fn a_body_that_is_cut_or_damaged_makes_no_event() {
    let world = World::new(&options());
    let text = format!(r#"{{"n":5,"a":"{}"}}"#, "\u{44f} x".repeat(20));
    let lines = "{\"n\":5}\n".repeat(2);
    for (content_type, encoding, body) in [
        (JSON, "gzip", gzip(text.as_bytes())),
        (JSON, "deflate", zlib(text.as_bytes())),
        (JSON, "deflate", raw_deflate(text.as_bytes())),
        (JSON, "zstd", zstd(text.as_bytes())),
        (JSON, "br", BROTLI.to_vec()),
        (JSON, "gzip, zstd", zstd(&gzip(text.as_bytes()))),
        (NDJSON, "gzip", gzip(lines.as_bytes())),
        (JSON, "gzip", gzip(b"[{\"n\":5},{\"n\":5}]")),
    ] {
        assert_eq!(post(&world, content_type, encoding, &body).status, 200);
        for end in 1..body.len() {
            let outcome = post(&world, content_type, encoding, &body[..end]);
            assert_eq!(
                (outcome.status, outcome.rows.len(), outcome.codes),
                (400, 0, vec!["body"]),
                "{encoding}, {end} bytes: {}",
                outcome.body
            );
        }
        // The decoder of brotli ignores bytes after the end.
        if encoding == "br" {
            continue;
        }
        let outcome = post(&world, content_type, encoding, &[&body[..], b"x"].concat());
        assert_eq!((outcome.status, outcome.rows.len()), (400, 0), "{encoding} and more");
    }
    for (encoding, body) in [
        ("gzip", &b"{\"n\":5}"[..]),
        ("zstd", b"{\"n\":5}"),
        ("br", b"{\"n\":5}"),
        ("deflate", b"{\"n\":5}"),
        ("br", LARGE_WINDOW_BROTLI),
        ("gzip", &zlib(b"{}")),
    ] {
        let outcome = post(&world, JSON, encoding, body);
        assert_eq!(
            (outcome.status, outcome.rows.len()),
            (400, 0),
            "{encoding}: {}",
            outcome.body
        );
    }
}

#[test]
fn a_decoded_body_has_the_limits_of_a_body() {
    let world = World::new(&EventOptions {
        max_body_bytes: 100_000,
        max_bulk_bytes: 4 << 20,
        ..options()
    });
    // A text that is not compressed much.
    let digits = |length: usize| {
        let mut digits: String = (0..)
            .map(|number: u64| (number * 7_919).to_string())
            .take(length / 4)
            .collect();
        digits.truncate(length);
        digits
    };
    let text = digits(90_000);
    for (content_type, body, status) in [
        (JSON, format!(r#"{{"a":"{text}"}}"#), 200),
        (JSON, format!(r#"{{"a":"{text}{text}"}}"#), 413),
        (JSON, format!(r#"[{{"a":"{text}"}},{{"a":"{text}"}}]"#), 200),
        (NDJSON, format!("{{\"a\":\"{text}\"}}\n{{\"a\":\"{text}\"}}\n"), 200),
        (NDJSON, digits(5 << 20), 413),
    ] {
        for encoding in ["gzip", "zstd"] {
            let encoded = if encoding == "gzip" {
                gzip(body.as_bytes())
            } else {
                zstd(body.as_bytes())
            };
            let outcome = post(&world, content_type, encoding, &encoded);
            assert_eq!(outcome.status, status, "{content_type} {} {}", body.len(), outcome.body);
            assert_eq!(outcome.rows.is_empty(), status != 200);
        }
    }
}

#[test]
fn a_bomb_is_refused_early() {
    let world = World::new(&EventOptions {
        max_bulk_bytes: 1 << 30,
        ..options()
    });
    let spaces = vec![b' '; 3 << 20];
    let empty_members = gzip(b"").repeat(1 << 17);
    for (encoding, body) in [
        ("gzip", gzip(&spaces)),
        ("deflate", zlib(&spaces)),
        ("zstd", zstd(&spaces)),
        ("br", BROTLI_BOMB.to_vec()),
        ("gzip, zstd", zstd(&gzip(&spaces))),
        // Nothing comes out, however much is decoded in between.
        ("gzip, zstd", zstd(&empty_members)),
    ] {
        let outcome = post(&world, NDJSON, encoding, &body);
        assert_eq!(
            (outcome.status, outcome.rows.len(), outcome.codes),
            (413, 0, vec!["body"]),
            "{encoding}"
        );
        assert!(outcome.body.contains("more than 200 times"), "{}", outcome.body);
        // One event may not be as long as that in any case.
        assert_eq!(post(&world, JSON, encoding, &body).status, 413, "{encoding}");
    }
    let used = world.request_memory();
    assert_eq!(used, 0, "all bookings are released");
}
