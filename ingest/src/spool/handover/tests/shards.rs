//! The rows of shards, and a spool that is closed.

use super::{Node, folders, taken};
use crate::{
    ack::Ack,
    block::{layout::InsertTarget, shard::Shard},
    deliver::tests::fake_server::SCHEMA,
    spool::handover::receive::ReceiveError,
};

#[tokio::test]
async fn the_rows_of_a_shard_go_to_the_queue_of_that_shard() {
    let [a, b] = folders();
    let (from, to) = (Node::open(a.path()), Node::open(b.path()));
    // The local table has the name of another table of the schema.
    let local = SCHEMA.tables[1].name;
    let on_shard = |number, server: &str| {
        let shard = Shard {
            table: SCHEMA.tables[0].name.into(),
            cluster: "fleet".into(),
            number,
            replicas: [server.into()].into(),
        };
        InsertTarget::of(SCHEMA.tables[0]).on_shard(local, shard)
    };
    let (id, reader) = from.spool.add_shard(on_shard(1, "one:9000")).unwrap();
    let appended = from.spool.appender().append(id, Ack::Accepted, |out| out.push(7));
    assert!(appended.is_ok());
    let reader = reader.unwrap();
    let package = reader.pack(&mut reader.seal_all(), usize::MAX).await.unwrap();
    _ = to.spool.add_shard(on_shard(1, "two:9000")).unwrap();
    let error = to.receive(&package).await.unwrap_err();
    assert!(
        matches!(&error, ReceiveError::UnknownShard(_)) && error.is_about_queue() && !error.is_transient(),
        "{error}"
    );
    // The shard has another number by now.
    let (_, same) = to.spool.add_shard(on_shard(2, "one:9000")).unwrap();
    assert_eq!(to.receive(&package).await.unwrap(), taken(1, 0));
    assert_eq!(to.receive(&package).await.unwrap(), taken(0, 1));
    let waiting: Vec<_> = to
        .spool
        .readers()
        .iter()
        .map(|reader| reader.seal_all().len())
        .collect();
    assert_eq!(waiting.iter().sum::<usize>(), 1, "{waiting:?}");
    assert_eq!(same.unwrap().seal_all()[0].id, package.blocks[0].0.id);
    reader.handed_over(&package).unwrap();
    // A second time is once.
    reader.handed_over(&package).unwrap();
    let handed_over = from
        .spool
        .counts()
        .iter()
        .map(|counts| counts.rows_handed_over)
        .sum::<u64>();
    assert_eq!(handed_over, 1);
    from.end();
    to.end();
}

#[tokio::test]
async fn a_closed_spool_takes_no_blocks() {
    let [a, b] = folders();
    let (from, to) = (Node::open(a.path()), Node::open(b.path()));
    from.append(0..3);
    let package = from.pack().await;
    to.spool.close();
    assert!(matches!(to.receive(&package).await, Err(ReceiveError::Full)));
    from.end();
    to.end();
}
