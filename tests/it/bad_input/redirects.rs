//! Redirects: invalid targets in `to`, and the `Location` of valid ones. Every click is recorded in
//! either case.

use serde_json::json;

use super::{Victim, bad_request};

/// A link, its decoded `to`, and the expected answer.
struct Link {
    query: &'static str,
    to: Option<&'static str>,
    answer: Answer,
}

enum Answer {
    Location(&'static str),
    Missing,
    Refused(&'static str),
}

use Answer::{Location, Missing, Refused};

const NOT_WEB: Answer = Refused("parameter \"to\" must begin with http:// or https://");
const CONTROL: Answer = Refused("parameter \"to\" contains a control character");
const USER: Answer = Refused("parameter \"to\" must not have a user name before its host");

const fn link(query: &'static str, to: &'static str, answer: Answer) -> Link {
    Link {
        query,
        to: Some(to),
        answer,
    }
}

/// Follows all links, and checks that each click is in its table with its `to`.
fn follow(links: &[Link]) {
    let victim = Victim::start();
    let mut rows = String::new();
    for Link { query, to, answer } in links {
        let sent = victim.get(&format!("/redir/mail?event=click{query}"));
        let location = sent.header("location");
        match answer {
            Location(to) => {
                assert_eq!((sent.status, location, sent.body.len()), (302, Some(*to), 0), "{query}");
            }
            Missing => {
                assert_eq!((sent.status, location), (400, None), "{query}");
                assert_eq!(sent.json(), json!({"message": "Parameter \"to\" is required"}));
            }
            Refused(reason) => {
                assert_eq!((sent.status, location), (400, None), "{query}");
                assert_eq!(sent.json(), bad_request(reason), "{query}");
            }
        }
        assert_eq!(
            sent.headers.iter().filter(|(name, _)| name == "set-cookie").count(),
            1,
            "{query}"
        );
        let keys: &[&str] = if to.is_some() { &["to"] } else { &[] };
        let row = json!(["redir", "click", keys, to.as_slice()]);
        rows.push_str(&format!("{row}\n"));
    }
    let after = victim.stop();
    assert!(after.dead_letters.is_empty(), "{:?}", after.dead_letters);
    let recorded = after.database.query(
        "SELECT service, event, extra.key, extra.value FROM mail_statistics WHERE event = 'click' ORDER BY id \
         SETTINGS output_format_json_escape_forward_slashes = 0 FORMAT JSONCompactEachRow",
    );
    assert_eq!(recorded.replace(", ", ","), rows.replace(", ", ","));
}

#[test]
fn a_script_url_is_refused() {
    follow(&[
        link("&to=javascript:alert(1)", "javascript:alert(1)", NOT_WEB),
        link(
            "&to=JavaScript://ya.ru/%250aalert(1)",
            "JavaScript://ya.ru/%0aalert(1)",
            NOT_WEB,
        ),
        link("&to=data:text/html,x", "data:text/html,x", NOT_WEB),
        link("&to=java%09script:alert(1)", "java\tscript:alert(1)", CONTROL),
    ]);
}

#[test]
fn a_target_with_a_hidden_host_is_refused() {
    follow(&[
        link("&to=//evil.com", "//evil.com", NOT_WEB),
        link("&to=/%5Cevil.com", "/\\evil.com", NOT_WEB),
        link("&to=https:evil.com", "https:evil.com", NOT_WEB),
        link("&to=https://ya.ru%40evil.com", "https://ya.ru@evil.com", USER),
    ]);
}

#[test]
fn line_ends_in_a_target_add_no_headers() {
    follow(&[
        link(
            "&to=https://ya.ru/%0d%0aSet-Cookie:%20uid=1",
            "https://ya.ru/\r\nSet-Cookie: uid=1",
            CONTROL,
        ),
        link("&to=https://ya.ru/%0ax", "https://ya.ru/\nx", CONTROL),
        link(
            "&to=https://ya.ru/%00x",
            "https://ya.ru/\0x",
            Location("https://ya.ru/%00x"),
        ),
    ]);
}

#[test]
fn a_cyrillic_target_is_percent_encoded() {
    follow(&[
        link(
            "&to=https%3A%2F%2Fya.ru%2F%D0%BF%D1%83%D1%82%D1%8C%3Fq%3D%D1%8F",
            "https://ya.ru/путь?q=я",
            Location("https://ya.ru/%D0%BF%D1%83%D1%82%D1%8C?q=%D1%8F"),
        ),
        // Mail programs that encode nothing send links like this one.
        link(
            "&to=https://ya.ru/путь",
            "https://ya.ru/путь",
            Location("https://ya.ru/%D0%BF%D1%83%D1%82%D1%8C"),
        ),
        link(
            "&to=https://%D1%8F.%D1%80%D1%84",
            "https://я.рф",
            Location("https://xn--41a.xn--p1ai/"),
        ),
    ]);
}

#[test]
fn a_missing_target_is_reported() {
    let without = Link {
        query: "",
        to: None,
        answer: Missing,
    };
    follow(&[
        without,
        link("&to=", "", Missing),
        // If there are two targets, the intended one is unknown.
        link("&to=https://a.ru&to=https://b.ru", "https://a.ru,https://b.ru", Missing),
    ]);
}
