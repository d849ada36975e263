//! Idempotency keys in a handshake: none of its messages has them.

use std::net::Ipv4Addr;

use futures_util::{SinkExt, StreamExt};
use http::{Request, header};
use serde_json::Value;
use tokio::io::duplex;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{
    routes::{KeyedRoutes, take_rows},
    websocket::run,
    world::options,
};
use crate::collect::{head::Arrival, websocket::SessionHandle};

#[test]
fn a_key_of_the_handshake_makes_no_message_a_repeat() {
    run(&options(), async |world| {
        let handshake = Request::get("/wss")
            .header(header::COOKIE, "uid=1000000007")
            .header("Idempotency-Key", "5f0c");
        let (parts, ()) = handshake.body(()).unwrap().into_parts();
        let (client, server) = duplex(1 << 16);
        let arrival = Arrival::now(Ipv4Addr::new(203, 0, 113, 7).into(), None);
        let handle = SessionHandle::new();
        let collector = world.collector();
        let session = tokio::spawn(collector.run_session::<KeyedRoutes>(parts, arrival, server, handle));
        let mut socket = WebSocketStream::from_raw_socket(client, Role::Client, None).await;

        let mut ids = Vec::new();
        // With the key, the second message would be a repeat of the first, and the third would have
        // another content.
        for (name, n, status) in [
            ("keyed", 1, 200),
            ("keyed", 1, 200),
            ("keyed", 2, 200),
            ("required", 3, 400),
        ] {
            let message = format!(r#"{{"service":"wh","name":"{name}","n":{n}}}"#);
            socket.send(Message::text(message)).await.unwrap();
            let answer: Value = match socket.next().await.unwrap().unwrap() {
                Message::Text(text) => serde_json::from_str(&text).unwrap(),
                other => panic!("{other:?}"),
            };
            assert_eq!(answer["statusCode"], status, "{answer}");
            ids.extend(answer["data"]["id"].as_str().map(str::to_owned));
        }
        assert!(ids.len() == 3 && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
        assert_eq!(
            take_rows(),
            ["wh/keyed 7 0 n=1", "wh/keyed 7 0 n=1", "wh/keyed 7 0 n=2"]
        );
        drop(socket);
        session.await.unwrap();
    });
}
