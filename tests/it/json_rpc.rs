//! JSON-RPC: the requests of docs/json-rpc.md as typed, and calls that become rows or rejections.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{collector::Collector, engine::Database, http};

/// Sends the requests of docs/json-rpc.md, and returns the replies.
fn replies_to_page(collector: &Collector) -> Vec<Value> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json-rpc.md");
    let text = fs::read_to_string(page).unwrap();
    let commands = text.split("```sh\ncurl http://127.0.0.1:8080/rpc -d '").skip(1);
    let bodies = commands.map(|command| command.split("'\n```").next().unwrap());
    bodies
        .map(|body| {
            // The type that curl declares for `-d`.
            let form = ("Content-Type", "application/x-www-form-urlencoded");
            let answer = http::send(collector.address, "POST", "/rpc", &[form], body.as_bytes());
            assert_eq!(answer.status, 200, "{body}");
            answer.json()
        })
        .collect()
}

#[test]
fn the_requests_of_the_page_become_rows() {
    let database = Database::named("json_rpc_page");
    let collector = Collector::start(&database);
    let replies = replies_to_page(&collector);
    let [reply, batch, discovered] = &replies[..] else {
        panic!("the page has three requests");
    };
    assert_eq!(
        (&reply["id"], &reply["result"]["key"]),
        (&json!(1), &json!("in.gen.wh.mail"))
    );
    assert_eq!(batch.as_array().unwrap().len(), 1, "{batch}");
    assert_eq!(batch[0]["id"], "a");
    let methods = discovered["result"]["methods"].as_array();
    let mail = methods.unwrap().iter().find(|method| method["name"] == "wh.mail");
    let params = mail.unwrap()["params"].as_array().unwrap();
    let email = params.iter().find(|param| param["name"] == "email").unwrap();
    assert_eq!(email["schema"], json!({ "type": "string", "description": "String" }));

    assert!(collector.stop().code == Some(0));
    let rows = database.query("SELECT event, email FROM mail_statistics ORDER BY event FORMAT TSV");
    assert_eq!(
        rows,
        "bounce\tben@example.com\nclick\tann@example.com\nopen\tann@example.com\n"
    );
}

#[test]
fn a_call_that_does_not_fit_its_table_costs_no_other_call() {
    let database = Database::named("json_rpc_rejected");
    let collector = Collector::start(&database);
    let call = |session: Value, id: u32| json!({ "jsonrpc": "2.0", "method": "track.page", "params": { "sess": { "num": session } }, "id": id });
    let batch = json!([call(json!(1), 1), call(json!("one"), 2), call(json!(3), 3)]);
    let answer = http::post_json(collector.address, "/rpc", &batch.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let replies = answer.json();
    assert!(replies[0]["result"]["id"].is_string() && replies[2]["result"]["id"].is_string());
    let error = &replies[1]["error"];
    assert_eq!(
        (&error["code"], &error["data"]["status"]),
        (&json!(-32_602), &json!(400))
    );
    assert_eq!(error["data"]["answer"]["refused"][0]["column"], "sess_num", "{error}");
    assert!(collector.stop().code == Some(0));
    assert_eq!(
        database.query("SELECT sess_num FROM events ORDER BY sess_num FORMAT TSV"),
        "1\n3\n"
    );
    assert_eq!(
        database.query("SELECT service, name FROM rejected FORMAT TSV"),
        "track\tpage\n"
    );
}
