//! Parses bodies of each declared type and text.

use super::*;

/// Returns a leaked arena: its values live as long as the test.
fn arena() -> &'static Arena {
    Box::leak(Box::default())
}

fn parse<'a>(declared: Declared<'_>, body: &'a [u8]) -> Result<Payload<'a>, BodyError> {
    Payload::parse(declared, body, arena())
}

fn of_type(content_type: &str) -> Declared<'_> {
    Declared {
        content_type: Some(content_type.as_bytes()),
        ..Declared::default()
    }
}

fn json(text: &str) -> Result<Payload<'_>, BodyError> {
    Ok(Payload::Json(text))
}

fn batch(text: &str, format: BatchFormat) -> Result<Payload<'_>, BodyError> {
    Ok(Payload::Batch { text, format })
}

fn form(text: &str) -> Result<Payload<'_>, BodyError> {
    Ok(Payload::Form(Fields::from_body(text, arena())))
}

#[test]
fn the_extension_overrides_the_header() {
    let extension = |extension| Declared {
        extension: Some(extension),
        ..of_type("text/plain")
    };
    assert_eq!(parse(extension("json"), b"[1]"), batch("[1]", BatchFormat::Array));
    assert_eq!(parse(extension("png"), b"a=1"), form("a=1"));
    let gif = Declared {
        extension: Some("gif"),
        ..of_type("application/json")
    };
    assert_eq!(parse(gif, b"a=1"), form("a=1"));
    assert!(gif.is_image());
    assert!(of_type("Image/png").is_image());
    assert!(
        !Declared {
            extension: Some("json"),
            ..of_type("image/png")
        }
        .is_image()
    );
}

#[test]
fn detects_json_by_its_type_in_any_case() {
    for content_type in [
        "application/json",
        "APPLICATION/JSON",
        "application/vnd.x+json",
        "text/x; a=json",
    ] {
        assert_eq!(parse(of_type(content_type), b"5"), json("5"), "{content_type}");
    }
}

#[test]
fn detects_json_by_its_brace_whatever_the_type() {
    for content_type in [
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "",
        "x/y",
    ] {
        assert_eq!(parse(of_type(content_type), b" \r\n{\"a\":1}"), json(" \r\n{\"a\":1}"));
    }
    assert_eq!(parse(Declared::default(), b"{"), json("{"));
    assert_eq!(parse(Declared::default(), b"a={"), form("a={"));
}

#[test]
fn accepts_text_that_looks_like_a_form_if_the_type_allows_a_form() {
    let forms = [
        "a=1",
        "a",
        "a=1&b=&c",
        "a=b=c",
        "[a]=1",
        "first name=Bob Smith",
        "to=https://x.example/?q=\"<1>\"",
        "п=я",
        "a=1&&",
    ];
    for content_type in [
        "",
        "text/plain",
        "Text/Plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
    ] {
        for text in forms {
            let expected = if text.contains('=') {
                form(text)
            } else {
                Err(BodyError::Text)
            };
            assert_eq!(
                parse(of_type(content_type), text.as_bytes()),
                expected,
                "{content_type} {text}"
            );
        }
    }
    // A final line end belongs to the file; one inside a value requires a declared form.
    assert_eq!(parse(Declared::default(), b"a=1\r\n"), form("a=1"));
    let urlencoded = of_type("application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(parse(urlencoded, b"a=1\nb"), form("a=1\nb"));
    assert_eq!(parse(of_type("text/plain"), b"a=1\nb"), Err(BodyError::Text));
    assert_eq!(parse(Declared::default(), " \r\n".as_bytes()), Ok(Payload::Empty));
    assert_eq!(parse(Declared::default(), "\u{feff}a=1".as_bytes()), form("a=1"));
}

#[test]
fn rejects_text_that_is_not_a_form() {
    let texts: [&[u8]; 12] = [
        b"5",
        b"null",
        b"\"a=b\"",
        b"hello, world",
        b"event,email\nopen,bob@example.com\n",
        b"url,event\nhttps://x.example/?a=1,open",
        b"<event name=\"open\"/>",
        b"<event>open</event>",
        b"a=1&<b>=2",
        b"\x0a\x04open\x12=x",
        b"\xff\xfe=1",
        b"- event: open\n  of: x=y\n",
    ];
    for text in texts {
        for content_type in ["", "text/plain", "application/x-www-form-urlencoded"] {
            let text_of = String::from_utf8_lossy(text);
            assert_eq!(
                parse(of_type(content_type), text),
                Err(BodyError::Text),
                "{content_type} {text_of}"
            );
        }
    }
    for text in ["[1]", " [{\"a\":\"b=c\"}]", "[1"] {
        assert_eq!(
            parse(of_type("text/plain"), text.as_bytes()),
            batch(text, BatchFormat::Array)
        );
    }
}

#[test]
fn rejects_other_types_unless_the_body_is_an_object() {
    for content_type in [
        "application/xml",
        "text/html",
        "application/octet-stream",
        "application/x-protobuf",
        "image/png",
    ] {
        for body in [&b"a=1"[..], b"[1]", b"\x00\xff", b"<a/>"] {
            assert_eq!(
                parse(of_type(content_type), body),
                Err(BodyError::MediaType),
                "{content_type}"
            );
        }
        assert_eq!(parse(of_type(content_type), b"{}"), json("{}"), "{content_type}");
        assert_eq!(parse(of_type(content_type), b""), Ok(Payload::Empty), "{content_type}");
    }
    // An extension is the type that the request asks for; only `json` is also the type of the
    // body.
    let gif = Declared {
        extension: Some("gif"),
        ..of_type("text/xml")
    };
    assert_eq!(parse(gif, b"a=1"), Err(BodyError::MediaType));
    assert_eq!(BodyError::MediaType.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for accepted in ACCEPTED_TYPES.split(", ") {
        assert!(BodyError::MediaType.reason().contains(accepted), "{accepted}");
    }
}

#[test]
fn accepts_an_empty_body_but_not_as_json() {
    assert_eq!(parse(Declared::default(), b""), Ok(Payload::Empty));
    assert_eq!(
        parse(of_type("application/x-www-form-urlencoded"), b""),
        Ok(Payload::Empty)
    );
    assert_eq!(parse(of_type("application/json"), b""), Err(BodyError::EmptyJson));
}

#[test]
fn rejects_a_malformed_type() {
    let malformed = [
        "foo",
        "foo/",
        "/foo",
        "a/b/c",
        "a b/c",
        "a/b; charset",
        "a/b; charset=",
        "a/b; =utf-8",
        "a/b; charset=\"utf-8",
        "a/b; charset=utf-8 x",
        "a/b; ch arset=utf-8",
        "a/b; charset=\"\\",
        "a/b, c/d",
        "ж/json",
        ";charset=utf-8",
    ];
    for content_type in malformed {
        assert_eq!(
            parse(of_type(content_type), b"a=1"),
            Err(BodyError::ContentType),
            "{content_type}"
        );
    }
    for content_type in [
        "text/plain;",
        "text/plain ; x=y ;; charset = \"UTF-8\" ",
        "text/plain;x=\"a;\\\"b\";charset=utf8",
        " ",
    ] {
        assert_eq!(parse(of_type(content_type), b"a=1"), form("a=1"), "{content_type}");
    }
}

#[test]
fn decodes_the_declared_charset() {
    let cyrillic = of_type("application/json; charset=windows-1251");
    assert_eq!(parse(cyrillic, b"{\"a\":\"\xef\"}"), json("{\"a\":\"п\"}"));
    let form_in_koi = of_type("application/x-www-form-urlencoded; Charset=\"KOI8-R\"");
    assert_eq!(parse(form_in_koi, b"a=\xd0"), form("a=п"));
    for unknown in ["klingon", "hz-gb-2312", "\"\"", "utf-7"] {
        let content_type = format!("application/json; charset={unknown}");
        assert_eq!(
            parse(of_type(&content_type), b"{}"),
            Err(BodyError::Charset),
            "{unknown}"
        );
    }
}

#[test]
fn borrows_utf8_and_replaces_invalid_bytes() {
    assert!(matches!(parse(Declared::default(), b"{}"), Ok(Payload::Json(_))));
    assert_eq!(
        parse(Declared::default(), b"{\"a\":\"\xff\"}"),
        json("{\"a\":\"\u{fffd}\"}")
    );
    assert_eq!(parse(Declared::default(), b"a=\xff&b=%D0%BF"), form("a=\u{fffd}&b=п"));
}

#[test]
fn skips_a_byte_order_mark() {
    let body = "\u{feff}{\"a\":1}".as_bytes();
    assert_eq!(parse(of_type("application/json"), body), json("{\"a\":1}"));
    assert_eq!(parse(of_type("text/plain"), body), json("{\"a\":1}"));
    assert_eq!(
        parse(of_type("application/jsonl"), body),
        batch("{\"a\":1}", BatchFormat::Lines)
    );
    assert_eq!(parse(of_type("application/json"), "\u{feff}".as_bytes()), json(""));
}

#[test]
fn the_type_or_the_first_byte_declares_many_events() {
    for (content_type, body, format) in [
        ("application/x-ndjson", "{}", BatchFormat::Lines),
        ("Application/NDJSON", "[", BatchFormat::Lines),
        ("application/x-json-stream;charset=utf-8", "x", BatchFormat::Lines),
        ("application/json-seq", "\u{1e}{}", BatchFormat::Sequence),
        ("text/csv; header=present", "a,b\n1,2", BatchFormat::Csv),
        ("application/csv", "[1]", BatchFormat::Csv),
        ("text/tab-separated-values", "a\tb", BatchFormat::Tsv),
        ("application/json", " \n[", BatchFormat::Array),
        ("", "[]", BatchFormat::Array),
    ] {
        assert_eq!(
            parse(of_type(content_type), body.as_bytes()),
            batch(body, format),
            "{content_type}"
        );
    }
}

#[test]
fn a_multipart_form_has_fields_or_one_file() {
    let parse = |parts: &[(&str, &str)]| {
        let parts = parts
            .iter()
            .map(|(head, content)| format!("--b\r\nContent-Disposition: form-data; name={head}\r\n\r\n{content}\r\n"));
        let body = parts.collect::<String>() + "--b--\r\n";
        Payload::parse(
            of_type("multipart/form-data; boundary=b"),
            body.leak().as_bytes(),
            arena(),
        )
    };
    assert_eq!(parse(&[]), form(""));
    assert_eq!(
        parse(&[("a", "1 & 2"), ("b", "\u{44f}\r\n")]),
        form("a=1+%26+2&b=\u{44f}%0D%0A")
    );
    assert_eq!(
        parse(&[("a[x]", "1"), ("a[y]", "2"), ("b", ""), ("b", "c")]),
        form("a[x]=1&a[y]=2&b=&b=c")
    );
    let lines = "f; filename=x\r\nContent-Type: application/x-ndjson";
    assert_eq!(parse(&[(lines, "{}\n{}")]), batch("{}\n{}", BatchFormat::Lines));
    let csv = "f; filename=x.csv\r\nContent-Type: text/csv";
    assert_eq!(parse(&[(csv, "a,b\r\n1,2\r\n")]), batch("a,b\r\n1,2", BatchFormat::Csv));
    assert_eq!(parse(&[("f; filename=x", "[1]")]), batch("[1]", BatchFormat::Array));
    let json_type = "f; filename=x\r\nContent-Type: application/json";
    assert_eq!(parse(&[(json_type, "{}")]), json("{}"));
    for (parts, error) in [
        (&[("a", "1"), (csv, "a\n1")][..], BodyError::FileBesideFields),
        (&[(csv, "a\n1"), (csv, "a\n1")], BodyError::FileBesideFields),
        (&[("f; filename=x", "a=1")], BodyError::File),
        (
            &[("f; filename=x\r\nContent-Type: image/png", "png")],
            BodyError::MediaType,
        ),
        (
            &[(
                "f; filename=x\r\nContent-Type: multipart/form-data; boundary=c",
                "--c--",
            )],
            BodyError::File,
        ),
    ] {
        assert_eq!(parse(parts), Err(error), "{parts:?}");
    }
    for content_type in ["multipart/form-data", "multipart/form-data; boundary=c"] {
        let cut = Payload::parse(of_type(content_type), b"--b--", arena());
        assert_eq!(cut, Err(BodyError::MalformedMultipart), "{content_type}");
    }
}

#[test]
fn rejects_compressed_and_multipart_bodies() {
    let encoded = |encoding: &'static str| Declared {
        content_encoding: Some(encoding.as_bytes()),
        ..Declared::default()
    };
    for encoding in ["gzip", "br", "identity, gzip", "unknown"] {
        assert_eq!(parse(encoded(encoding), b"{}"), Err(BodyError::Encoded));
        assert_eq!(parse(encoded(encoding), b""), Ok(Payload::Empty));
    }
    assert_eq!(parse(encoded(" Identity "), b"{}"), json("{}"));
    let mixed = of_type("Multipart/mixed; boundary=b");
    assert_eq!(parse(mixed, b"--b--"), Err(BodyError::Multipart));
    assert_eq!(BodyError::Multipart.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(BodyError::Charset.status(), StatusCode::BAD_REQUEST);
}
