//! WebSockets: the memory of arrays, and sessions that are cut.

use http::{Request, header};
use serde_json::json;
use tokio::{io::AsyncWriteExt, task::yield_now};

use super::{
    websocket::{Client, run},
    world::{World, options},
};

/// Returns a frame of a client with the mask 0.
fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[head, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

#[test]
fn an_array_books_the_headers_of_each_event_until_its_answer_is_sent() {
    const EVENTS: usize = 1_000;
    const HEADERS: usize = 50;
    run(&options(), async |world| {
        let mut handshake = Request::get("/wss").header(header::COOKIE, "uid=1000000007");
        for number in 0..HEADERS {
            handshake = handshake.header(format!("x-header-{number}"), "x");
        }
        // The answer is longer than what may be on its way.
        let mut client = Client::with(world, handshake, 16 << 10).await;
        let array = json!(vec![json!({"service": "wh", "name": "mail", "n": 1}); EVENTS]);
        client.send(&array.to_string()).await;
        let least = EVENTS * HEADERS * 100;
        let mut yields = 0;
        while world.request_memory() < least {
            yields += 1;
            assert!(yields < 1_000_000, "{} bytes are booked", world.request_memory());
            yield_now().await;
        }
        assert_eq!(client.text().await.matches(r#""statusCode":200"#).count(), EVENTS);
        while world.request_memory() > 0 {
            yield_now().await;
        }
        assert_eq!(World::rows().len(), EVENTS);
    });
}

#[test]
fn a_session_that_is_cut_anywhere_makes_no_half_event() {
    let (first, second) = (
        r#"{"service":"wh","name":"mail","n":1}"#,
        r#"[{"service":"wh","name":"mail","n":2},{"service":"wh","name":"mail","n":3}]"#,
    );
    // A message in one frame, and one in two frames with a ping in between.
    let (start, end) = second.as_bytes().split_at(40);
    let frames = [
        frame(0x81, first.as_bytes()),
        frame(0x01, start),
        frame(0x89, b"ping"),
        frame(0x80, end),
    ];
    let bytes = frames.concat();
    let whole_first = frames[0].len();
    run(&options(), async |world| {
        let open = || {
            let handshake = Request::get("/wss").header(header::COOKIE, "uid=1000000007");
            Client::raw(world, handshake, 1 << 16)
        };
        for cut in 0..bytes.len() {
            let (mut stream, session, _) = open();
            stream.write_all(&bytes[..cut]).await.unwrap();
            drop(stream);
            session.await.unwrap();
            let complete = usize::from(cut >= whole_first);
            assert_eq!(World::rows(), ["wh/mail 7 0 n=1"][..complete], "{cut}");
        }
        let (mut stream, session, _) = open();
        stream.write_all(&bytes).await.unwrap();
        let mut rows = World::rows();
        while rows.len() < 3 {
            yield_now().await;
            rows.extend(World::rows());
        }
        assert_eq!(rows, ["wh/mail 7 0 n=1", "wh/mail 7 0 n=2", "wh/mail 7 0 n=3"]);
        drop(stream);
        session.await.unwrap();
    });
}
