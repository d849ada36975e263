//! Forms with files that are cut anywhere.

use super::world::{World, options};

const TYPE: &str = "multipart/form-data; boundary=b";

fn part(disposition: &str, content_type: &str, content: &str) -> String {
    let content_type = match content_type {
        "" => String::new(),
        _ => format!("Content-Type: {content_type}\r\n"),
    };
    format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n{content_type}\r\n{content}\r\n")
}

#[test]
fn a_form_that_is_cut_anywhere_makes_no_event() {
    let world = World::new(&options());
    let file = r#"name="file"; filename="events""#;
    for (body, count) in [
        (part(r#"name="n""#, "", "5") + &part(r#"name="city""#, "", "Omsk"), 1),
        (part(file, "application/json", r#"{"n":1}"#), 1),
        (part(file, "application/json", r#"[{"n":1},{"n":2}]"#), 2),
        (part(file, "application/x-ndjson", "{\"n\":1}\n{\"n\":2}\n"), 2),
        (part(file, "text/csv", "n,city\n1,Omsk\n2,Tver\n"), 2),
    ] {
        let body = body + "--b--\r\n";
        assert_eq!(world.post("/wh/mail", TYPE, &body).rows.len(), count, "{body}");
        // Without its last line end, the form is complete; without its last boundary, it is not.
        for cut in 1..body.len() - 4 {
            let outcome = world.post("/wh/mail", TYPE, &body[..cut]);
            assert_eq!((outcome.status, outcome.rows.len()), (400, 0), "{}", &body[..cut]);
        }
    }
}
