//! Bodies that are decoded while they arrive: in all formats and codings, in any pieces, cut anywhere.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use http::Method;

use super::world::{NDJSON, Outcome, World, options};
use crate::collect::{
    options::{EventOptions, ResumableUploads},
    rate_limit::RateLimit,
};

const CSV: &str = "text/csv";

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 3).unwrap()
}

fn upload(world: &World, content_type: &str, pieces: &[&[u8]]) -> Outcome {
    let headers = [("Content-Type", content_type)];
    let headers = if content_type.is_empty() { &[][..] } else { &headers };
    world.upload("/upload/wh/mail", headers, pieces, true)
}

/// Returns the row of an event with the field `n`.
fn row(n: usize) -> String {
    format!("wh/mail 7 0 n={n}")
}

#[test]
fn an_upload_is_a_batch_of_its_route() {
    let world = World::new(&options());
    let recorded = |count: usize| format!(r#"{{"key":"in.gen.wh.mail","recorded":{count},"refused":0}}"#);
    for (content_type, body) in [
        (NDJSON, "{\"n\":1}\n{\"n\":2}\n\n{\"n\":3}"),
        ("", "\u{feff} \n{\"n\":1}\n{\"n\":2}\r\n{\"n\":3}\r\n"),
        ("application/x-www-form-urlencoded", "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n"),
        ("application/json", "[{\"n\":1}, {\"n\":2},\n{\"n\":3}]\n"),
        (
            "application/json-seq",
            "\u{1e}{\"n\":1}\n\u{1e}{\"n\":2}\n\u{1e}{\"n\":3}\n",
        ),
        (CSV, "n\n1\n2\n\"3\"\n"),
        ("text/tab-separated-values", "n\n1\n2\n3"),
    ] {
        for body in [body.as_bytes().to_vec(), gzip(body.as_bytes()), zstd(body.as_bytes())] {
            let outcome = upload(&world, content_type, &[&body]);
            assert_eq!((outcome.status, outcome.body), (200, recorded(3)), "{content_type}");
            assert_eq!(outcome.rows, [row(1), row(2), row(3)], "{content_type}");
            // The pieces do not matter.
            for cut in 0..body.len() {
                let outcome = upload(&world, content_type, &[&body[..cut], &body[cut..]]);
                assert_eq!(outcome.body, recorded(3), "{content_type} {cut}");
                assert_eq!(outcome.rows, [row(1), row(2), row(3)], "{content_type} {cut}");
            }
            let bytes: Vec<_> = body.chunks(1).collect();
            let outcome = upload(&world, content_type, &bytes);
            assert_eq!(outcome.rows, [row(1), row(2), row(3)], "{content_type} byte by byte");
        }
    }
    assert_eq!(world.request_memory(), 0);
    for (content_type, body) in [
        ("", ""),
        ("", " \n"),
        (NDJSON, "\n"),
        ("", "[]"),
        (CSV, "n\n"),
        (CSV, ""),
    ] {
        let outcome = upload(&world, content_type, &[body.as_bytes()]);
        assert_eq!(
            (outcome.status, outcome.body),
            (200, recorded(0)),
            "{content_type} {body:?}"
        );
    }
}

#[test]
fn a_body_that_is_cut_leaves_its_complete_items() {
    let world = World::new(&options());
    for (content_type, body, ends) in [
        (NDJSON, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", vec![8, 16, 24]),
        ("", "[{\"n\":1},{\"n\":2},{\"n\":3}]", vec![9, 17, 25]),
        (CSV, "n\n1\n\"2\"\n3\n", vec![4, 8, 10]),
    ] {
        for cut in 0..body.len() {
            let headers = [("Content-Type", content_type)];
            let headers = if content_type.is_empty() { &[][..] } else { &headers };
            let outcome = world.upload("/upload/wh/mail", headers, &[&body.as_bytes()[..cut]], false);
            let complete = ends.iter().filter(|end| **end <= cut).count();
            let rows: Vec<_> = (1..=complete).map(row).collect();
            assert_eq!(outcome.rows, rows, "{:?}", &body[..cut]);
            assert_eq!(outcome.status, 400, "{:?}", &body[..cut]);
            assert!(outcome.body.contains("the body was cut"), "{}", outcome.body);
        }
        let compressed = gzip(body.as_bytes());
        for cut in 0..compressed.len() {
            let outcome = world.upload(
                "/upload/wh/mail",
                &[("Content-Type", NDJSON)],
                &[&compressed[..cut]],
                false,
            );
            assert_eq!(outcome.status, 400, "{cut}");
            // What is decompressed before the cut may have complete items.
            let rows = (1..=outcome.rows.len()).map(row).collect::<Vec<_>>();
            assert!(outcome.rows == rows && rows.len() <= 3, "{cut}: {:?}", outcome.rows);
        }
    }
}

#[test]
fn refused_lines_are_counted_and_the_first_hundred_are_named() {
    let world = World::new(&options());
    let mut body = String::new();
    for number in 0..250 {
        body.push_str(if number % 2 == 0 {
            "{\"n\":1}\n"
        } else {
            "{\"n\":\"x\"}\n"
        });
    }
    let outcome = upload(&world, NDJSON, &[&body.as_bytes()[..999], &body.as_bytes()[999..]]);
    assert_eq!(
        (outcome.status, outcome.rows.len(), outcome.codes.len()),
        (200, 125, 125)
    );
    let report: serde_json::Value = serde_json::from_str(&outcome.body).unwrap();
    assert_eq!((&report["recorded"], &report["refused"]), (&125.into(), &125.into()));
    let errors = report["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 100);
    assert_eq!((&errors[99]["line"], &errors[99]["column"]), (&200.into(), &"n".into()));
    let outcome = upload(&world, NDJSON, &[b"5\n{\"n\":\"x\"}\n"]);
    assert_eq!((outcome.status, outcome.codes.len()), (400, 2));
}

#[test]
fn an_item_that_is_too_long_is_one_refusal() {
    let world = World::new(&EventOptions {
        max_body_bytes: 100,
        max_bulk_bytes: 100,
        ..options()
    });
    let long = "x".repeat(300_000);
    for (content_type, body) in [
        (NDJSON, format!("{{\"n\":1}}\n{{\"tag\":\"{long}\"}}\n{{\"n\":2}}\n")),
        (
            "",
            format!("[{{\"n\":1}},{{\"tag\":[\"{long}\",[\"]\"]]}}\n,{{\"n\":2}}]"),
        ),
        (CSV, format!("n,tag\n1,\n5,\"{long}\n\"\n2,\n")),
        // The last record has no end.
        (CSV, format!("n,tag\n1,\n2,\n5,{long}")),
        (CSV, format!("n,tag\n1,\n2,\n5,\"{long}")),
        (NDJSON, format!("{{\"n\":1}}\n{}\n{{\"n\":2}}\n", &long[..101])),
    ] {
        for size in [body.len(), 1_000, 33_000] {
            let pieces: Vec<_> = body.as_bytes().chunks(size).collect();
            let outcome = upload(&world, content_type, &pieces);
            let numbers: Vec<_> = outcome.rows.iter().map(|row| row.split("n=").last().unwrap()).collect();
            assert!(
                numbers[0].starts_with('1') && numbers[1].starts_with('2'),
                "{numbers:?}"
            );
            assert_eq!(
                (outcome.rows.len(), outcome.codes),
                (2, vec!["too-large"]),
                "{content_type} {size}"
            );
            assert!(
                outcome.body.contains("the event is longer than 100 bytes"),
                "{}",
                outcome.body
            );
        }
    }
    // White space is not an item.
    let spaces = format!("[{{\"n\":1}}]{}", " ".repeat(300_000));
    let outcome = upload(&world, "", &[spaces.as_bytes()]);
    assert_eq!((outcome.status, outcome.rows.len(), outcome.codes.len()), (200, 1, 0));
    let header = "n".repeat(300_000);
    let outcome = upload(&world, CSV, &[header.as_bytes()]);
    assert_eq!((outcome.status, outcome.codes), (400, vec!["too-large"]));
}

#[test]
fn a_body_that_cannot_be_read_is_refused_with_what_is_recorded() {
    let world = World::new(&options());
    let lines = "{\"n\":1}\n".repeat(10_000);
    let bomb = gzip(&vec![b' '; 4 << 20]);
    let mut broken = gzip(lines.as_bytes());
    let end = broken.len();
    broken[end - 6] ^= 1;
    for (content_type, encoding, body, status, reason) in [
        ("", "", &b"<a/>"[..], 415, "of this Content-Type"),
        ("multipart/form-data; boundary=b", "", b"--b--", 415, "multipart"),
        ("text/x; charset=klingon", "", b"{}", 400, "charset"),
        (CSV, "", b"a,a\n1,2\n", 400, "twice"),
        (NDJSON, "gzip, gzip", b"{}", 415, "must be one coding"),
        (NDJSON, "unknown", b"{}", 415, "Content-Encoding"),
        (NDJSON, "gzip", b"{}", 400, "Content-Encoding states"),
        (NDJSON, "", &bomb, 413, "200 times"),
        (NDJSON, "", &broken, 400, "Content-Encoding states"),
    ] {
        let mut headers = vec![("Content-Type", content_type), ("Content-Encoding", encoding)];
        headers.retain(|(_, value)| !value.is_empty());
        let outcome = world.upload("/upload/wh/mail", &headers, &[body], true);
        assert_eq!(outcome.status, status, "{content_type} {encoding} {}", outcome.body);
        assert!(outcome.body.contains(reason), "{}", outcome.body);
        assert_eq!(world.request_memory(), 0);
    }
    let outcome = world.upload("/upload/wh/mail", &[], &[&broken], true);
    assert_eq!((outcome.status, outcome.rows.len()), (400, 10_000));
    assert!(outcome.body.contains("\"recorded\":10000"), "{}", outcome.body);
    // An array that breaks has the elements before the break.
    let outcome = upload(&world, "", &[b"[{\"n\":1} {\"n\":2}]"]);
    assert_eq!((outcome.rows.len(), outcome.codes), (1, vec!["json"]));
}

#[test]
fn an_upload_has_the_options_of_its_route() {
    let world = World::catching_all();
    let post = |uri: &str, headers: &[(&str, &str)]| world.upload(uri, headers, &[b"{\"n\":1}\n"], true);
    let outcome = post("/upload/wh/Mail?n=5&projectId=3", &[]);
    assert_eq!(
        (outcome.status, outcome.rows),
        (200, vec!["wh/Mail 7 3 n=5".to_owned()])
    );
    let outcome = post("/upload/wh/any", &[]);
    assert_eq!(outcome.rows, ["wh/any 7 0 n=1"]);
    assert_eq!(post("/upload/wh/batch", &[]).status, 400);
    // A path without a name is that of an event, as before.
    let outcome = world.post("/upload/wh", "", "{\"n\":1}");
    assert_eq!(outcome.rows, ["upload/wh 7 0 n=1"]);
    assert!(World::new(&options()).passes_on(&http::Method::POST, "/upload/wh/any"));
    assert!(World::new(&options()).passes_on(&http::Method::PUT, "/upload/wh/mail"));
    assert!(World::new(&options()).passes_on(&http::Method::POST, "/uploads/wh/mail"));
}

#[test]
fn a_route_whose_options_need_the_whole_request_takes_no_upload() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&resumable(folder.path()));
    let key = [("Idempotency-Key", "5f0c")];
    // With tus, no request is the whole upload.
    for (name, headers, status, status_of_tus, reason) in [
        ("batch", &[][..], 400, 400, "inside documents"),
        ("segment", &[], 400, 400, "inside documents"),
        ("verified", &[], 403, 403, "verified with their whole body"),
        ("keyed", &[], 200, 400, "keys of their own"),
        ("keyed", &key, 400, 400, "key"),
        ("required", &key, 400, 400, "key"),
        ("required", &[], 400, 400, "key"),
    ] {
        let uri = format!("/upload/wh/{name}");
        let outcome = world.upload(&uri, headers, &[b"{\"n\":1}\n"], true);
        assert_eq!(
            (outcome.status, outcome.rows.len()),
            (status, usize::from(status == 200)),
            "{name} {headers:?} {}",
            outcome.body
        );
        assert!(
            status == 200 || outcome.body.contains(reason),
            "{name} {}",
            outcome.body
        );
        let outcome = world.tus(Method::POST, &uri, ("Upload-Length", 8), b"{\"n\":1}\n");
        assert_eq!((outcome.status, outcome.rows.len()), (status_of_tus, 0), "{name}");
        assert!(
            outcome.body.contains(reason) || name == "required",
            "{name} {}",
            outcome.body
        );
    }
}

#[test]
fn an_upload_counts_for_the_limit_of_its_address() {
    let world = World::new(&EventOptions {
        rate_limit_per_ip: Some(RateLimit::new(2, 3_600)),
        ..options()
    });
    let outcomes = [(); 3].map(|()| upload(&world, NDJSON, &[b"{\"n\":1}\n"]));
    assert_eq!(
        outcomes.map(|outcome| (outcome.status, outcome.rows.len())),
        [(200, 1), (200, 1), (429, 0)]
    );
}

#[test]
fn the_query_of_an_upload_does_not_limit_its_items() {
    let world = World::new(&EventOptions {
        max_bulk_bytes: 10_000,
        ..options()
    });
    let uri = format!("/upload/wh/mail?unknown={}", "q".repeat(2_000));
    let outcome = world.upload(&uri, &[], &["{\"n\":1}\n".repeat(1_000).as_bytes()], true);
    assert_eq!((outcome.status, outcome.rows.len()), (200, 1_000), "{}", outcome.body);
}

/// Returns the options of a collector with resumable uploads in a folder of `folder`.
fn resumable(folder: &Path) -> EventOptions {
    EventOptions {
        resumable_uploads: Some(ResumableUploads::new(&folder.join("uploads"))),
        ..options()
    }
}

/// Returns the record of the only upload in `folder`, and its path.
fn upload_in(folder: &Path) -> (PathBuf, String) {
    let files = fs::read_dir(folder.join("uploads")).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    let record = paths.find(|path| path.extension().is_some_and(|end| end == "json"));
    let record = record.unwrap();
    let path = format!("/upload/{}", record.file_stem().unwrap().to_str().unwrap());
    (record, path)
}

#[test]
fn an_upload_that_is_decoded_again_passes_over_events_that_its_route_leaves_out() {
    let folder = tempfile::tempdir().unwrap();
    let options = resumable(folder.path());
    let mut world = World::new(&options);
    let body = "{\"n\":1}\n{\"n\":\"x\",\"city\":\"1\"}\n{\"n\":2,\"city\":\"1\"}\n{\"n\":3,\"city\":\"1\"}\n";
    let length = body.len() as u64;
    let outcome = world.tus(
        Method::POST,
        "/upload/wh/consent",
        ("Upload-Length", length),
        body.as_bytes(),
    );
    assert_eq!((outcome.status, outcome.rows.len()), (201, 2), "{}", outcome.body);
    assert_eq!(outcome.codes.len(), 1);

    // The process ends before the upload has its report.
    let (record, path) = upload_in(folder.path());
    let mut without_report: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    without_report["report"] = serde_json::Value::Null;
    fs::write(&record, without_report.to_string()).unwrap();
    fs::write(record.with_extension("data"), body).unwrap();
    world.read_uploads_again(&options);
    let outcome = world.tus(Method::PATCH, &path, ("Upload-Offset", length - 1), b"\n");
    assert_eq!((outcome.status, outcome.rows.len()), (204, 0), "{}", outcome.body);
    assert_eq!(outcome.codes, [""; 0]);
}

#[test]
fn an_upload_that_is_complete_takes_no_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&resumable(folder.path()));
    let outcome = world.tus(Method::POST, "/upload/wh/mail", ("Upload-Length", 8), b"{\"n\":1}\n");
    assert_eq!((outcome.status, outcome.rows.len()), (201, 1), "{}", outcome.body);
    let (record, path) = upload_in(folder.path());
    for (offset, status) in [(8, 204), (7, 204), (9, 409), (u64::MAX, 409)] {
        let outcome = world.tus(Method::PATCH, &path, ("Upload-Offset", offset), b"");
        assert_eq!(
            (outcome.status, outcome.rows.len()),
            (status, 0),
            "{offset} {}",
            outcome.body
        );
        assert!(!record.with_extension("data").exists(), "{offset}");
    }
}

#[test]
fn an_upload_whose_file_stays_keeps_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&resumable(folder.path()));
    let outcome = world.tus(Method::POST, "/upload/wh/mail", ("Upload-Length", 9), b"{\"n\":1}\n");
    assert_eq!(outcome.status, 201, "{}", outcome.body);
    let (record, path) = upload_in(folder.path());
    // A folder cannot be removed as a file.
    let data = record.with_extension("data");
    fs::remove_file(&data).unwrap();
    fs::create_dir(&data).unwrap();
    let outcome = world.tus(Method::DELETE, &path, ("Upload-Offset", 0), b"");
    assert_eq!((outcome.status, record.exists()), (204, true), "{}", outcome.body);
}
