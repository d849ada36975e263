//! Values: names with a meaning in JavaScript, numbers out of range, and values of another type.

use serde_json::json;

use super::{IP, Victim};

#[test]
fn javascript_property_names_are_ordinary_names() {
    let victim = Victim::start();
    let body = r#"{"event":"js","__proto__":{"polluted":1},"constructor":"c","toString":2,"hasOwnProperty":null}"#;
    assert_eq!(victim.post("/wh/mail", body).status, 200);
    let fields = "event=query&__proto__[polluted]=1&constructor=c&toString=2";
    assert_eq!(victim.get(&format!("/wh/mail?{fields}")).status, 200);
    assert_eq!(
        victim
            .send("POST", "/wh/mail", &[], fields.replace("query", "form").as_bytes())
            .status,
        200
    );
    for name in ["constructor", "__proto__"] {
        let answer = victim.get(&format!("/{name}/toString"));
        assert_eq!(
            (answer.status, &answer.json()["key"]),
            (200, &json!(format!("in.gen.{name}.toString")))
        );
        assert_eq!(
            victim.get(&format!("/pixel/{name}")).header("content-type"),
            Some("image/gif")
        );
    }
    let after = victim.stop();
    assert!(after.dead_letters.is_empty(), "{:?}", after.dead_letters);
    assert_eq!(
        after.rows("mail_statistics", "event, extra.key, extra.value"),
        "js\t['__proto___polluted','constructor','toString','hasOwnProperty']\t['1','c','2','null']\n\
         query\t['__proto___polluted','constructor','toString']\t['1','c','2']\n\
         form\t['__proto___polluted','constructor','toString']\t['1','c','2']\n"
    );
    assert_eq!(
        after.rows("webhooks", "service, name"),
        "constructor\ttoString\npixel\tconstructor\n__proto__\ttoString\npixel\t__proto__\n"
    );
}

#[test]
fn a_repeated_service_or_name_selects_no_destination() {
    let victim = Victim::start();
    let answer = victim.get("/wh/mail?service=a&service=b&event=twice");
    assert_eq!((answer.status, &answer.json()["key"]), (200, &json!("in.gen.wh.mail")));
    assert_eq!(victim.get("/wh?name=a&name=b").status, 404);
    let after = victim.stop();
    assert!(after.dead_letters.is_empty(), "{:?}", after.dead_letters);
    assert_eq!(
        after.rows("mail_statistics", "service, event, extra.key, extra.value"),
        "wh\ttwice\t['service']\t['a,b']\n"
    );
}

#[test]
fn an_invalid_project_number_is_refused() {
    let victim = Victim::start();
    let out_of_range = ("out-of-range", "the value is outside the type's range");
    let not_an_integer = ("not-an-integer", "the number has a fraction or an exponent");
    let cases = [
        ("/wh/mail/-5", r#"{"event":"1"}"#, "-5", out_of_range),
        ("/wh/mail/4294967296", r#"{"event":"2"}"#, "4294967296", out_of_range),
        ("/wh/mail", r#"{"event":"3","projectId":1.5}"#, "1.5", not_an_integer),
        (
            "/wh/mail",
            r#"{"event":"4","projectId":"1e40"}"#,
            "10000000000000000000000000000000000000000",
            out_of_range,
        ),
    ];
    for (target, body, got, (code, _)) in cases {
        let answer = victim.post(target, body);
        let refused = json!([{"column": "projectId", "code": code, "expected": "UInt32", "got": got}]);
        let expected = json!({"message": "Bad Request", "refused": refused});
        assert_eq!((answer.status, answer.json()), (400, expected), "{body}");
    }
    // The greatest number is accepted, and a segment that is not a number leaves the column its
    // default.
    assert_eq!(victim.post("/wh/mail/4294967295", "{}").status, 200);
    assert_eq!(victim.post("/wh/mail/five", "{}").status, 200);
    let after = victim.stop();
    let dead_letters = cases.map(|(_, body, got, (code, problem))| {
        let reason = format!("column `projectId` (UInt32): {problem}: {got}");
        ["wh", "mail", "mail_statistics", "projectId", code, &reason, body, IP].map(str::to_owned)
    });
    assert_eq!(after.dead_letters, dead_letters);
    assert_eq!(after.rows("mail_statistics", "projectId"), "4294967295\n0\n");
}

#[test]
fn pixels_and_redirects_are_answered_despite_an_invalid_value() {
    let victim = Victim::start();
    let answer = victim.get("/pixel/mail/-5?event=open");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/gif")));
    assert_eq!(answer.body.len(), 43);
    let answer = victim.get("/redir/mail?projectId=-5&to=https://ya.ru");
    assert_eq!((answer.status, answer.header("location")), (302, Some("https://ya.ru")));
    let answer = victim.get("/track/page.gif?sess_num=70000");
    assert_eq!((answer.status, answer.body.len()), (200, 43));
    let after = victim.stop();
    let out_of_range = "the value is outside the type's range";
    let project = format!("column `projectId` (UInt32): {out_of_range}: -5");
    let number = format!("column `sess_num` (UInt16): {out_of_range}: 70000");
    assert_eq!(
        after.dead_letters,
        [
            [
                "pixel",
                "mail",
                "mail_statistics",
                "projectId",
                "out-of-range",
                &project,
                "?event=open",
                IP
            ],
            [
                "redir",
                "mail",
                "mail_statistics",
                "projectId",
                "out-of-range",
                &project,
                "?projectId=-5&to=https://ya.ru",
                IP
            ],
            [
                "track",
                "page",
                "events",
                "sess_num",
                "out-of-range",
                &number,
                "?sess_num=70000",
                IP
            ],
        ]
    );
    after.assert_no_rows();
}

#[test]
fn an_answer_lists_all_invalid_columns() {
    let victim = Victim::start();
    let body = r#"{"sess":{"num":70000},"browser":{"w":"x"},"char":{"ls":1.5},"page":{"title":"fine"}}"#;
    let answer = victim.post("/track/page", body);
    let refused = json!({"message": "Bad Request", "refused": [
        {"column": "sess_num", "code": "out-of-range", "expected": "UInt16", "got": "70000"},
        {"column": "browser_w", "code": "malformed", "expected": "Int16", "got": "\"x\""},
        {"column": "char_ls", "code": "not-an-integer", "expected": "Int16", "got": "1.5"},
    ]});
    assert_eq!((answer.status, answer.json()), (400, refused));
    let query = "sess_num=70000&browser[w]=x&char_ls=1.5";
    let answer = victim.get(&format!("/track/page?{query}"));
    assert_eq!(
        (answer.status, answer.json()["refused"].as_array().unwrap().len()),
        (400, 3)
    );
    let after = victim.stop();
    let reason = "column `sess_num` (UInt16): the value is outside the type's range: 70000; \
                  column `browser_w` (Int16): the text is not a value of the type: \"x\"; \
                  column `char_ls` (Int16): the number has a fraction or an exponent: 1.5";
    assert_eq!(after.dead_letters.len(), 2);
    assert_eq!(
        after.dead_letters[0],
        ["track", "page", "events", "sess_num", "out-of-range", reason, body, IP]
    );
    assert_eq!(after.dead_letters[1][6], format!("?{query}"));
    after.assert_no_rows();
}

#[test]
fn a_native_answer_names_the_columns_too() {
    let victim = Victim::start();
    let answer = victim.post("/band/track/page.json", r#"{"sess_num":[]}"#);
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json(),
        json!({
            "type__": "error", "statusCode": 400, "errorMessage": "Bad Request", "native__": true,
            "refused": [{"column": "sess_num", "code": "wrong-kind", "expected": "UInt16", "got": "[]"}],
        })
    );
    let after = victim.stop();
    assert_eq!(after.dead_letters.len(), 1);
    after.assert_no_rows();
}
