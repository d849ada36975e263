//! WebSockets: messages and their answers, the ends of sessions, and their bounds.

use std::{net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, header, request::Builder};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{
            Role,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};

use super::{
    routes::TestRoutes,
    world::{World, options},
};
use crate::{
    answer::cors::AllowedOrigin,
    collect::{head::Arrival, options::EventOptions, websocket::SessionHandle},
};

/// A client of a session.
pub(super) struct Client {
    pub(super) socket: WebSocketStream<DuplexStream>,
    handle: SessionHandle,
    session: JoinHandle<()>,
}

impl Client {
    /// Opens a session with the visitor's cookie.
    async fn open(world: &World) -> Self {
        Self::with(
            world,
            Request::get("/wss").header(header::COOKIE, "uid=1000000007"),
            1 << 16,
        )
        .await
    }

    /// Opens a session with a handshake; `capacity` bytes may be on their way.
    pub(super) async fn with(world: &World, handshake: Builder, capacity: usize) -> Self {
        let (client, session, handle) = Self::raw(world, handshake, capacity);
        Self {
            socket: WebSocketStream::from_raw_socket(client, Role::Client, None).await,
            handle,
            session,
        }
    }

    pub(super) fn raw(
        world: &World,
        handshake: Builder,
        capacity: usize,
    ) -> (DuplexStream, JoinHandle<()>, SessionHandle) {
        let (parts, ()) = handshake.body(()).unwrap().into_parts();
        let (client, server) = duplex(capacity);
        let arrival = Arrival::now(Ipv4Addr::new(203, 0, 113, 7).into(), None);
        let handle = SessionHandle::new();
        let session = world
            .collector()
            .run_session::<TestRoutes>(parts, arrival, server, handle.clone());
        (client, tokio::spawn(session), handle)
    }

    /// Returns the number of messages that the session has read.
    pub(super) fn messages(&self) -> u32 {
        self.handle.messages()
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Returns the next text.
    pub(super) async fn text(&mut self) -> String {
        match self.socket.next().await.unwrap().unwrap() {
            Message::Text(text) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a message and returns its answer, without the id of the event.
    async fn ask(&mut self, message: &Value) -> Value {
        self.send(&message.to_string()).await;
        let mut answer = serde_json::from_str(&self.text().await).unwrap();
        without_ids(&mut answer);
        answer
    }

    /// Returns the code with which the session ends.
    async fn code(mut self) -> u16 {
        let code = loop {
            match self.socket.next().await.unwrap().unwrap() {
                Message::Close(frame) => break frame.unwrap().code.into(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        };
        // The client's library confirms the end.
        while self.socket.next().await.is_some() {}
        self.session.await.unwrap();
        code
    }
}

fn without_ids(answer: &mut Value) {
    match answer {
        Value::Array(answers) => answers.iter_mut().for_each(without_ids),
        Value::Object(answer) => {
            if let Some(Value::Object(data)) = answer.get_mut("data") {
                data.remove("id");
            }
        }
        _ => {}
    }
}

fn data(key: &str, id: &Value) -> Value {
    json!({"type__": "data", "headers": [], "statusCode": 200, "data": {"key": key}, "id__": id})
}

/// Runs a test of sessions.
pub(super) fn run<T>(options: &EventOptions, test: impl AsyncFnOnce(&World) -> T) -> T {
    let world = World::new(&EventOptions {
        catch_all: true,
        ..options.clone()
    });
    let result = world.run(test(&world));
    assert_eq!(world.request_memory(), 0, "a session that has ended books nothing");
    result
}

#[test]
fn each_message_is_an_event_and_has_its_answer() {
    run(&options(), async |world| {
        let mut client = Client::open(world).await;
        let answer = client
            .ask(&json!({"service": "wh", "name": "mail", "n": 1, "id__": "_4"}))
            .await;
        assert_eq!(answer, data("in.gen.wh.mail", &json!("_4")));
        // The id has any form, and no other route than the message's decides.
        let answer = client
            .ask(&json!({"service": "wh", "name": "Other", "n": 2, "id__": {"a": [1]}}))
            .await;
        assert_eq!(answer, data("in.gen.wh.Other", &json!({"a": [1]})));
        let answer = client.ask(&json!({"service": "pixel", "name": "mail", "n": 3})).await;
        assert_eq!(
            answer,
            json!({"type__": "pixel", "headers": [], "statusCode": 200, "type": "pixel"})
        );
        let answer = client
            .ask(&json!({"service": "redir", "name": "mail", "to": "https://x.example/", "n": 4}))
            .await;
        assert_eq!(
            (&answer["type__"], &answer["statusCode"]),
            (&json!("redirect"), &json!(302))
        );
        assert_eq!(answer["location"], "https://x.example/");
        assert_eq!(
            World::rows(),
            [
                // As in Rockstat's collector, the id is a field of the event.
                "wh/mail 7 0 n=1 extra[id__=_4]",
                "wh/Other 7 0 n=2 extra[id___a=1]",
                "pixel/mail 7 0 n=3",
                "redir/mail 7 0 n=4 extra[to=https://x.example/]"
            ]
        );
    });
}

#[test]
fn the_tracker_is_greeted() {
    run(&options(), async |world| {
        let mut client = Client::open(world).await;
        for (name, expected) in [
            ("hello", json!({"message": "hi"})),
            ("ping", json!({"message": "pong"})),
            ("page", json!({})),
        ] {
            let answer = client
                .ask(&json!({"service": "track", "name": name, "id__": "_1"}))
                .await;
            assert_eq!((&answer["data"], &answer["id__"]), (&expected, &json!("_1")), "{name}");
        }
    });
}

#[test]
fn a_rejection_says_why_and_costs_no_other_message() {
    run(&options(), async |world| {
        let mut client = Client::open(world).await;
        let answer = client
            .ask(&json!({"service": "wh", "name": "mail", "n": "x", "id__": 1}))
            .await;
        assert_eq!(
            (
                &answer["type__"],
                &answer["statusCode"],
                &answer["errorMessage"],
                &answer["id__"]
            ),
            (&json!("error"), &json!(400), &json!("Bad Request"), &json!(1))
        );
        assert_eq!(answer["refused"][0]["column"], "n", "{answer}");
        for message in [
            r#"{"n": 1}"#,
            r#"{"service": "wh"}"#,
            r#"{"name": "x"}"#,
            "5",
            "null",
            "{}",
            r#""text""#,
        ] {
            client.send(message).await;
            assert_eq!(
                client.text().await,
                r#"{"type__":"error","headers":[],"statusCode":400,"errorMessage":"Request must contains \"service\" and \"name\""}"#,
                "{message}"
            );
        }
        for message in [r#"{"service": "wh", "name": "mail""#, "x", "[1, 2", ""] {
            client.send(message).await;
            let answer: Value = serde_json::from_str(&client.text().await).unwrap();
            assert_eq!(answer["statusCode"], 400, "{message}");
        }
        assert_eq!(World::rows(), Vec::<String>::new());
        let answer = client.ask(&json!({"service": "wh", "name": "mail", "n": 1})).await;
        assert_eq!(answer["statusCode"], 200);
        assert_eq!(World::rows(), ["wh/mail 7 0 n=1"]);
    });
}

#[test]
fn an_array_has_the_answers_of_its_events() {
    run(&options(), async |world| {
        let mut client = Client::open(world).await;
        let event = |name: &str, n: Value, id: u32| json!({"service": "wh", "name": name, "n": n, "id__": id});
        let answers = client
            .ask(&json!([
                event("mail", json!(1), 1),
                event("mail", json!("x"), 2),
                5,
                event("other", json!(3), 3)
            ]))
            .await;
        assert_eq!(answers[0], data("in.gen.wh.mail", &json!(1)));
        assert_eq!(
            (&answers[1]["statusCode"], &answers[1]["id__"]),
            (&json!(400), &json!(2))
        );
        assert_eq!(answers[1]["refused"][0]["column"], "n");
        assert_eq!(answers[2]["statusCode"], 400);
        assert_eq!(answers[3], data("in.gen.wh.other", &json!(3)));
        assert_eq!(
            World::rows(),
            ["wh/mail 7 0 n=1 extra[id__=1]", "wh/other 7 0 n=3 extra[id__=3]"]
        );

        assert_eq!(client.ask(&json!([])).await, json!([]));
        // The answer is longer than one frame, and the library joins its parts.
        let many = Value::Array((0..1_000).map(|n| event("mail", json!(n % 100), n)).collect());
        let answers = client.ask(&many).await;
        assert_eq!(answers.as_array().unwrap().len(), 1_000);
        assert_eq!(answers[999], data("in.gen.wh.mail", &json!(999)));
        assert_eq!(World::rows().len(), 1_000);
        let too_many = Value::Array(vec![json!({}); 1_001]);
        let answer = client.ask(&too_many).await;
        assert_eq!(answer["statusCode"], 413);
    });
}

#[test]
fn calls_of_json_rpc_are_answered_as_over_http() {
    run(&options(), async |world| {
        let mut client = Client::open(world).await;
        client
            .send(r#"{"jsonrpc":"2.0","method":"wh.mail","params":{"n":1},"id":"a"}"#)
            .await;
        let reply: Value = serde_json::from_str(&client.text().await).unwrap();
        assert_eq!(
            (&reply["id"], &reply["result"]["key"]),
            (&json!("a"), &json!("in.gen.wh.mail"))
        );
        // A notification has no reply: the next text is that of the batch.
        client
            .send(r#"{"jsonrpc":"2.0","method":"wh.mail","params":{"n":2}}"#)
            .await;
        client
            .send(r#"[{"jsonrpc":"2.0","method":"wh.mail","params":{"n":3},"id":1},{"jsonrpc":"2.0","method":"none","id":2}]"#)
            .await;
        let replies: Value = serde_json::from_str(&client.text().await).unwrap();
        assert_eq!(replies[1]["error"]["code"], -32_601);
        assert_eq!(World::rows(), ["wh/mail 7 0 n=1", "wh/mail 7 0 n=2", "wh/mail 7 0 n=3"]);
    });
}

#[test]
fn the_visitor_is_that_of_the_handshake_unless_a_message_names_one() {
    run(&options(), async |world| {
        let event = json!({"service": "wh", "name": "mail"});
        let with_uid = json!({"service": "wh", "name": "mail", "uid": "1000000001"});
        let uids = |rows: Vec<String>| -> Vec<String> {
            rows.iter()
                .map(|row| row.split(' ').nth(1).unwrap().to_owned())
                .collect()
        };
        // The tracker's `uid` of 0 is none.
        let without = json!({"service": "wh", "name": "mail", "uid": 0});
        let cookie = || Request::get("/wss?uid=0").header(header::COOKIE, "uid=1000000007");
        let mut client = Client::with(world, cookie(), 1 << 16).await;
        for message in [&event, &with_uid, &without] {
            client.ask(message).await;
        }
        assert_eq!(uids(World::rows()), ["7", "1", "7"]);

        let query = Request::get("/wss?uid=1000000009").header(header::COOKIE, "uid=1000000007");
        let mut client = Client::with(world, query, 1 << 16).await;
        client.ask(&event).await;
        assert_eq!(uids(World::rows()), ["9"]);

        let mut client = Client::with(world, Request::get("/wss"), 1 << 16).await;
        client.ask(&event).await;
        client.ask(&event).await;
        let rows = World::rows();
        assert_eq!(rows[0], rows[1], "a new visitor is one for the session");
    });
}

#[test]
fn the_frames_of_a_message_may_be_many_and_its_bytes_may_be_declared_binary() {
    run(&options(), async |world| {
        let mut client = Client::open(world).await;
        let text = r#"{"service":"wh","name":"mail","n":1}"#;
        let mut opcode = OpCode::Data(Data::Text);
        for (at, byte) in text.bytes().enumerate() {
            let frame = Frame::message(vec![byte], opcode, at + 1 == text.len());
            client.socket.send(Message::Frame(frame)).await.unwrap();
            client.socket.send(Message::Ping(Bytes::new())).await.unwrap();
            opcode = OpCode::Data(Data::Continue);
        }
        loop {
            match client.socket.next().await.unwrap().unwrap() {
                Message::Pong(_) => {}
                Message::Text(answer) => break assert!(answer.contains("in.gen.wh.mail"), "{answer}"),
                other => panic!("{other:?}"),
            }
        }
        client
            .socket
            .send(Message::binary(text.replace('1', "2")))
            .await
            .unwrap();
        while !client.socket.next().await.unwrap().unwrap().is_text() {}
        assert_eq!(World::rows(), ["wh/mail 7 0 n=1", "wh/mail 7 0 n=2"]);
    });
}

#[test]
fn each_fault_ends_the_session_with_its_code() {
    run(&options(), async |world| {
        let ends = async |bytes: &[u8]| {
            let (mut stream, session, handle) = Client::raw(world, Request::get("/wss"), 1 << 16);
            stream.write_all(bytes).await.unwrap();
            let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
            Client {
                socket,
                handle,
                session,
            }
            .code()
            .await
        };
        // Frames with the mask 0.
        assert_eq!(
            ends(b"\x81\x82\0\0\0\0\xc3\x28").await,
            1007,
            "a text that is not UTF-8"
        );
        assert_eq!(
            ends(b"\x82\x82\0\0\0\0\xc3\x28").await,
            1003,
            "bytes that are not UTF-8"
        );
        assert_eq!(
            ends(b"\x81\xff\0\0\0\0\x00\x40\x00\x01\0\0\0\0").await,
            1009,
            "a longer frame"
        );
        assert_eq!(ends(b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0").await, 1009);
        assert_eq!(ends(b"\x81\x02{}").await, 1002, "a frame without a mask");
        assert_eq!(ends(b"\x83\x82\0\0\0\0{}").await, 1002, "an unknown type");
        assert_eq!(
            ends(b"\xc1\x82\0\0\0\0{}").await,
            1002,
            "an extension that nobody has agreed on"
        );
        assert_eq!(ends(b"\x80\x82\0\0\0\0{}").await, 1002, "a continuation of nothing");
        assert_eq!(
            ends(&[&b"\x89\xfe\0\x7e\0\0\0\0"[..], &[b'x'; 126]].concat()).await,
            1002,
            "a long ping"
        );
        assert_eq!(ends(b"\x88\x82\0\0\0\0\x03\xe8").await, 1000, "the client's own code");
    });
}

#[test]
fn an_event_is_as_long_as_a_body_and_an_array_as_many_events() {
    let options = EventOptions {
        max_body_bytes: 1_000,
        max_bulk_bytes: 100_000,
        ..options()
    };
    run(&options, async |world| {
        let mut client = Client::with(world, Request::get("/wss"), 1 << 20).await;
        let event = |length: usize| json!({"service": "wh", "name": "mail", "n": 1, "city": "x".repeat(length)});
        assert_eq!(client.ask(&event(900)).await["statusCode"], 200);
        let answer = client.ask(&event(1_000)).await;
        assert_eq!(
            (&answer["statusCode"], &answer["errorMessage"]),
            (&json!(413), &json!("Payload Too Large"))
        );
        let answers = client.ask(&Value::Array(vec![event(900); 100])).await;
        assert_eq!(answers.as_array().unwrap().len(), 100);
        let answers = client.ask(&json!([event(900), event(1_000)])).await;
        assert_eq!(
            (&answers[0]["statusCode"], &answers[1]["statusCode"]),
            (&json!(200), &json!(413))
        );
        client.send(&Value::Array(vec![event(900); 110]).to_string()).await;
        assert_eq!(client.code().await, 1009);
    });
}

#[test]
fn a_session_that_is_asked_to_close_answers_first() {
    run(&options(), async |world| {
        let mut client = Client::open(world).await;
        for n in 0..5 {
            client
                .send(&json!({"service": "wh", "name": "mail", "n": n}).to_string())
                .await;
        }
        while client.messages() < 5 {
            tokio::task::yield_now().await;
        }
        client.handle.request_close();
        for _ in 0..5 {
            assert!(client.text().await.contains("in.gen.wh.mail"));
        }
        assert_eq!(client.code().await, 1001);
        assert_eq!(World::rows().len(), 5);
    });
}

#[test]
fn an_incomplete_message_books_its_memory_and_has_to_arrive_in_time() {
    run(&options(), async |world| {
        tokio::time::pause();
        let (mut stream, session, _) = Client::raw(world, Request::get("/wss"), 1 << 20);
        // A message of 1 MB, of which a tenth arrives.
        stream.write_all(b"\x81\xff\0\0\0\0\x00\x10\0\0\0\0\0\0").await.unwrap();
        stream.write_all(&[b' '; 100 << 10]).await.unwrap();
        while world.request_memory() < 100 << 10 {
            tokio::task::yield_now().await;
        }
        assert!(world.request_memory() <= 256 << 10, "{}", world.request_memory());
        let started = Instant::now();
        session.await.unwrap();
        // The window of a body in which too few bytes have arrived, and the time to confirm the end.
        let took = started.elapsed();
        assert!(
            took >= Duration::from_secs(10) && took < Duration::from_secs(25),
            "{took:?}"
        );
        assert_eq!(world.request_memory(), 0);
    });
}

#[test]
fn a_client_is_pinged_and_a_silent_one_is_gone() {
    run(&options(), async |world| {
        tokio::time::pause();
        let started = Instant::now();
        let mut client = Client::open(world).await;
        // The library answers each ping.
        for _ in 0..5 {
            assert!(client.socket.next().await.unwrap().unwrap().is_ping());
            client.socket.flush().await.unwrap();
        }
        assert!(started.elapsed() >= Duration::from_secs(100));
        let (stream, session, _) = Client::raw(world, Request::get("/wss"), 1 << 16);
        let started = Instant::now();
        session.await.unwrap();
        let took = started.elapsed();
        assert!(
            took >= Duration::from_secs(60) && took < Duration::from_secs(70),
            "{took:?}"
        );
        drop(stream);
    });
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    run(&options(), async |world| {
        tokio::time::pause();
        // Some answers fit into the stream, some wait in the session, and then nothing is read.
        let mut client = Client::with(world, Request::get("/wss"), 1 << 10).await;
        let message = json!({"service": "wh", "name": "mail", "n": 1}).to_string();
        let mut sent = 0;
        let started = Instant::now();
        let send = async {
            loop {
                client.send(&message).await;
                sent += 1;
            }
        };
        assert!(timeout(Duration::from_secs(5), send).await.is_err());
        assert!(started.elapsed() < Duration::from_secs(10));
        assert!(sent < 100, "{sent}");
        assert!(client.handle.messages() < 60, "{}", client.handle.messages());
        // The session does not wait for ever.
        client.session.await.unwrap();
    });
}

#[test]
fn a_handshake_is_refused_with_a_reason() {
    let options = EventOptions {
        allowed_origins: vec!["https://shop.example".parse::<AllowedOrigin>().unwrap()],
        ..options()
    };
    let world = World::new(&EventOptions {
        catch_all: true,
        ..options
    });
    let valid = [
        ("host", "localhost"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let respond = |uri: &str, headers: &[(&str, &str)]| {
        let request = headers.iter().fold(Request::get(uri), |request, (name, value)| {
            request.header(*name, *value)
        });
        world.respond(request.body(Ok(Bytes::new())).unwrap())
    };
    let plain = respond("/wss", &[]);
    assert_eq!(plain.status(), 426);
    assert_eq!(plain.headers()["upgrade"], "websocket");
    assert_eq!(plain.headers()["sec-websocket-version"], "13");
    assert_eq!(
        respond("/wss?service=wh&name=mail", &[]).status(),
        200,
        "an event, as before"
    );
    let old = [&valid[..3], &[("sec-websocket-version", "8")], &valid[4..]].concat();
    assert_eq!(respond("/wss", &old).status(), 426);
    assert_eq!(respond("/wss", &valid[..4]).status(), 400);
    for origin in ["https://evil.example", "null", "http://shop.example"] {
        let with_origin = [&valid[..], &[("origin", origin)]].concat();
        assert_eq!(respond("/wss", &with_origin).status(), 403, "{origin}");
    }
    // Without a server that upgrades, an accepted handshake is answered, too.
    for accepted in [&[][..], &[("origin", "https://shop.example")]] {
        assert_eq!(respond("/wss", &[&valid[..], accepted].concat()).status(), 501);
    }
    // A layer in another service has no path of its own.
    let embedded = World::new(&super::world::options());
    assert!(embedded.passes_on(&http::Method::GET, "/wss"));
}
