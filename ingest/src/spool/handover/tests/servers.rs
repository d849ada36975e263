//! The server of a block over restarts and handovers.

use super::Node;
use crate::spool::{Next, Parked};

/// Returns the server of the first table's oldest block.
async fn server_of(node: &Node) -> Option<String> {
    let (block, part) = node.next().await;
    assert!(node.reader().is_in_doubt(&block, &part));
    let sent_to = block.state().sent_to.clone();
    sent_to.as_deref().map(str::to_owned)
}

#[tokio::test]
async fn the_last_server_of_a_block_is_known_after_a_restart_and_to_another_collector() {
    let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let node = Node::open(from.path());
    node.append(0..3);
    let Next::Rows(block, _) = node.reader().next_block(Parked::NONE).await else {
        panic!("no block")
    };
    for server in ["http://a/stats", "http://b/stats\n/tables/a 1,2"] {
        node.reader().send_to(&block, server.into()).await;
    }
    drop(block);
    node.end();

    let node = Node::open(from.path());
    assert_eq!(server_of(&node).await.as_deref(), Some("http://b/stats\n/tables/a 1,2"));
    let package = node.pack().await;
    let other = Node::open(to.path());
    assert_eq!(other.receive(&package).await.unwrap().taken, 1);
    assert_eq!(
        server_of(&other).await.as_deref(),
        Some("http://b/stats\n/tables/a 1,2")
    );
    node.end();
    other.end();
}

#[tokio::test]
async fn a_block_without_a_server_has_none_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    node.append(0..3);
    _ = node.next().await;
    node.end();
    let node = Node::open(folder.path());
    assert_eq!(server_of(&node).await, None);
    node.end();
}
