//! WebSockets: the turns of arrays, so that others do not wait for them.

use http::{Request, header};
use serde_json::json;
use tokio::task::yield_now;

use super::{
    websocket::{Client, run},
    world::{World, options},
};

const EVENTS: usize = 500;

async fn open(world: &World) -> Client {
    let handshake = Request::get("/wss").header(header::COOKIE, "uid=1000000007");
    Client::with(world, handshake, 1 << 20).await
}

/// Returns an array of events.
fn array(length: usize) -> String {
    json!(vec![json!({"service": "wh", "name": "mail", "n": 1}); length]).to_string()
}

fn successes(answer: &str) -> usize {
    answer.matches(r#""statusCode":200"#).count()
}

#[test]
fn a_long_array_waits_for_its_turn_and_short_messages_do_not() {
    run(&options(), async |world| {
        let collector = world.collector();
        let permits = &collector.batch_permits;
        let all = u32::try_from(permits.available_permits()).unwrap();
        let batches = permits.acquire_many(all).await.unwrap();
        let (mut flooding, mut other) = (open(world).await, open(world).await);
        flooding.send(&array(EVENTS)).await;
        while flooding.messages() < 1 {
            yield_now().await;
        }
        for message in [&array(1)[1..array(1).len() - 1], &array(2)] {
            other.send(message).await;
            let answer = other.text().await;
            assert_eq!(World::rows().len(), successes(&answer), "{answer}");
        }
        drop(batches);
        assert_eq!(successes(&flooding.text().await), EVENTS);
        assert_eq!(World::rows().len(), EVENTS);
    });
}

#[test]
fn others_have_their_turn_before_an_array_is_recorded() {
    run(&options(), async |world| {
        let mut client = open(world).await;
        client.send(&array(EVENTS)).await;
        let mut recorded = World::rows().len();
        while recorded == 0 {
            yield_now().await;
            recorded = World::rows().len();
        }
        // The first time slice is over, and the task of this test runs.
        assert!(recorded < EVENTS, "{recorded}");
        assert_eq!(successes(&client.text().await), EVENTS);
        assert_eq!(recorded + World::rows().len(), EVENTS);
    });
}
