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
fn a_link_that_html_escapes_leads_on() {
    let site = "https://example.org/";
    let queries = [
        "&amp;to=https%3A%2F%2Fexample.org%2F",
        "&amp%3Bto=https%3A%2F%2Fexample.org%2F",
        "&amp;amp;to=https%3A%2F%2Fexample.org%2F",
        "&%2338%3Bto=https%3A%2F%2Fexample.org%2F",
    ];
    let mut links: Vec<_> = queries.map(|query| link(query, site, Location(site))).into();
    // The escaped separator within a target belongs to the target.
    links.push(link(
        "&amp;to=https%3A%2F%2Fexample.org%2F%3Fa%3D1%26amp%3Bb%3D2",
        "https://example.org/?a=1&amp;b=2",
        Location("https://example.org/?a=1&amp;b=2"),
    ));
    follow(&links);
}

#[test]
fn a_target_with_percent_sequences_of_its_own_is_decoded_once() {
    follow(&[
        link(
            "&to=https%3A%2F%2Fexample.org%2Fa%2520b%3Fq%3D100%2525%23part",
            "https://example.org/a%20b?q=100%25#part",
            Location("https://example.org/a%20b?q=100%25#part"),
        ),
        link(
            "&to=https%3A%2F%2Fexample.org%2F%3Fq%3Da%20b",
            "https://example.org/?q=a b",
            Location("https://example.org/?q=a%20b"),
        ),
    ]);
}

#[test]
fn a_target_with_unreadable_percent_sequences_leads_on() {
    follow(&[
        link(
            "&to=https%3A%2F%2Fexample.org%2F%3Fq%3D50%",
            "https://example.org/?q=50%",
            Location("https://example.org/?q=50%"),
        ),
        // A search in windows-1251: the site gets the bytes that it expects.
        link(
            "&to=https%3A%2F%2Fexample.org%2F%3Fq%3D%CF%F0%E8%26b%3D%D1%8F",
            "https://example.org/?q=%CF%F0%E8&b=я",
            Location("https://example.org/?q=%CF%F0%E8&b=%D1%8F"),
        ),
        link(
            "&to=https%3A%2F%2Fexample.org%2F%3Fq%3D%25CF%25F0",
            "https://example.org/?q=%CF%F0",
            Location("https://example.org/?q=%CF%F0"),
        ),
        // The parts that a checked target must not have are found beside unreadable ones.
        link("&to=https://ya.ru%zz%40evil.com", "https://ya.ru%zz@evil.com", USER),
        link("&to=javascript%3Aalert(1)%", "javascript:alert(1)%", NOT_WEB),
        link("&to=https://ya.ru/%0d%0a%", "https://ya.ru/\r\n%", CONTROL),
    ]);
}

#[test]
fn the_columns_of_a_click_have_values_in_every_spelling() {
    let victim = Victim::start();
    let to = "to=https%3A%2F%2Fexample.org%2F";
    for query in [
        format!("event=amp&amp;email=amp1@example.com&amp;{to}"),
        format!("event=percent&email=pct1@example.com&{to}%3Fq%3D50%"),
        format!("event=tag&email=*|EMAIL|*&task_id={{{{id}}}}&{to}"),
        format!("event=plus&email=a%2Bb@example.com&task_id=50%25&{to}"),
        format!("event=broken&email=a%40b.example%zz&task_id=%CF%F0&{to}"),
    ] {
        let answer = victim.get(&format!("/redir/mail?{query}"));
        assert_eq!(answer.status, 302, "{query}");
        assert!(
            answer.header("location").unwrap().starts_with("https://example.org/"),
            "{query}"
        );
    }
    let after = victim.stop();
    assert!(after.dead_letters.is_empty(), "{:?}", after.dead_letters);
    assert_eq!(
        after.rows("mail_statistics", "event, email, task_id"),
        "amp\tamp1@example.com\t\n\
         percent\tpct1@example.com\t\n\
         tag\t*|EMAIL|*\t{{id}}\n\
         plus\ta+b@example.com\t50%\n\
         broken\ta@b.example%zz\t%CF%F0\n"
    );
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
