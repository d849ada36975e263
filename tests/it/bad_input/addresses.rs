//! Addresses: a declared path determines its destination, regardless of the request's fields.

use super::Victim;

const EVIL: &str = "to=https%3A%2F%2Fevil.example%2F";

#[test]
fn no_field_changes_the_destination_of_a_declared_path() {
    let victim = Victim::start();
    for (target, body) in [
        (format!("/wh/mail?service=redir&event=reroute&{EVIL}"), "{}".to_owned()),
        (
            "/wh/mail?service=pixel&name=other&event=reroute".to_owned(),
            "{}".to_owned(),
        ),
        (
            "/wh/mail".to_owned(),
            r#"{"event":"reroute","service":"redir","name":"x","to":"https://evil.example/"}"#.to_owned(),
        ),
    ] {
        let answer = victim.post(&target, &body);
        assert_eq!(
            (answer.status, answer.header("location"), answer.json()["key"].as_str()),
            (200, None, Some("in.gen.wh.mail")),
            "{target} {body}"
        );
    }
    // A link scanner gets the same answer as the reader after it.
    let head = victim.send("HEAD", &format!("/wh/mail?service=redir&{EVIL}"), &[], b"");
    assert_eq!((head.status, head.header("location")), (200, None));
    // `track/default` declares every name of its service.
    let page = victim.get(&format!("/track/anything?service=redir&{EVIL}"));
    assert_eq!((page.status, page.header("location")), (200, None));

    let after = victim.stop();
    assert!(after.dead_letters.is_empty(), "{:?}", after.dead_letters);
    assert_eq!(
        after.rows(
            "mail_statistics",
            "service, name, event, arraySort(extra.key), extra.value[indexOf(extra.key, 'service')]"
        ),
        "wh\tmail\treroute\t['service','to']\tredir\n\
         wh\tmail\treroute\t['name','service']\tpixel\n\
         wh\tmail\treroute\t['name','service','to']\tredir\n"
    );
    assert_eq!(after.rows("webhooks", "id"), "");
    assert_eq!(after.rows("events", "service, name"), "track\tanything\n");
}

#[test]
fn fields_set_the_service_and_name_of_an_undeclared_path() {
    let victim = Victim::start();
    let key = |answer: &crate::support::http::Answer| answer.json()["key"].as_str().map(str::to_owned);
    let in_query = victim.get("/x?service=wh&name=call");
    assert_eq!(key(&in_query).as_deref(), Some("in.gen.wh.call"));
    let in_body = victim.post("/x", r#"{"service":"wh","name":"mail","event":"body"}"#);
    assert_eq!(key(&in_body).as_deref(), Some("in.gen.wh.mail"));
    let over_path = victim.get("/unknown/thing?service=elsewhere");
    assert_eq!(key(&over_path).as_deref(), Some("in.gen.elsewhere.thing"));

    let after = victim.stop();
    assert_eq!(
        after.rows("mail_statistics", "service, name, event"),
        "wh\tmail\tbody\n"
    );
    assert_eq!(after.rows("webhooks", "service, name"), "wh\tcall\nelsewhere\tthing\n");
}
