//! The rows of a Distributed table in the queues of their shards.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{path::Path, sync::Arc};

use crate::{
    ack::Ack,
    block::{
        layout::{InsertTarget, TargetColumn},
        rows::RowBatch,
        shard::Shard,
    },
    native::ShapeBuf,
    sharding::Router,
    spool::{
        Spool, TableId, TableReader,
        tests::world::{LIMITS, World, keys, layouts},
    },
    table::dead_letter::REJECTED,
};

/// Returns the insert target for rows of the table `t0` in a shard.
fn shard_layout(number: u32) -> InsertTarget {
    let column = TargetColumn {
        name: "a".into(),
        data_type: "UInt8".into(),
        sent_type: "UInt8".into(),
        shape: Some(ShapeBuf::Fixed(1)),
    };
    let statement = "INSERT INTO `t0` (`a`) FORMAT RowBinary";
    let all = InsertTarget::new("t0".into(), statement.into(), [column].into(), None);
    let shard = Shard {
        table: "t0".into(),
        cluster: "fleet".into(),
        number,
        replicas: [format!("host{number}:9000").into()].into(),
    };
    all.on_shard("t0_local", shard)
}

/// Sends the rows of `t0` to two shards in turn, and returns the readers of their queues.
fn shard_rows(spool: &Spool) -> [TableReader; 2] {
    let (table, _) = spool.table("t0").unwrap();
    let readers = [1, 2].map(|number| spool.add_shard(shard_layout(number)).unwrap().1.unwrap());
    let queues = readers.each_ref().map(|reader| (1, Some(reader.id())));
    spool.set_router(table, Router::new(None, queues));
    readers
}

fn rows(rows: &[&[u8]]) -> RowBatch {
    let mut batch = RowBatch::default();
    for row in rows {
        batch.push(&REJECTED, |out| out.extend_from_slice(row)).unwrap();
    }
    batch
}

fn open_rows(reader: &TableReader) -> Vec<u8> {
    reader.queue().lock().open.content().0.to_vec()
}

fn table(world: &World) -> TableId {
    world.readers[0].id()
}

#[test]
fn rows_wait_in_the_queues_of_their_shards_and_are_recovered_for_them() {
    let mut world = World::new(LIMITS);
    let readers = shard_rows(&world.spool);
    let mut batch = rows(&[b"1", b"2", b"3"]);
    let receipt = world
        .appender
        .append_rows(table(&world), Ack::Spooled, &mut batch)
        .unwrap();
    assert_eq!(readers.each_ref().map(open_rows), [b"13".to_vec(), b"2".to_vec()]);
    assert!(receipt.others.is_some(), "the rows are in two blocks");
    world.append(0, Ack::Spooled, b"4").unwrap();
    assert_eq!(readers.each_ref().map(open_rows), [b"13".to_vec(), b"24".to_vec()]);
    world.commit();
    let counts = &world.spool.counts()[0];
    assert_eq!(
        (&*counts.table, counts.rows_appended, counts.rows_on_disk),
        ("t0", 4, 4)
    );
    assert_eq!(readers[0].schema_queue(), Some(table(&world)));

    let disk = Arc::clone(&world.disk);
    drop(world);
    let (spool, _committer) = Spool::recovered(disk, Path::new("simulated"), layouts(1), LIMITS, keys()).unwrap();
    let left: Vec<_> = spool.readers().into_iter().skip(2).collect();
    let mut numbers: Vec<_> = left
        .iter()
        .map(|reader| reader.layout().shard.as_ref().unwrap().number)
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    for reader in &left {
        let number = reader.layout().shard.as_ref().unwrap().number;
        let (id, new) = spool.add_shard(shard_layout(number)).unwrap();
        assert!(id == reader.id() && new.is_none(), "the shard has its queue already");
    }
    assert!(spool.add_shard(shard_layout(3)).unwrap().1.is_some());
    assert_eq!(spool.counts()[0].rows_pending, 4);
    spool.close();
    assert!(spool.add_shard(shard_layout(4)).is_none());
}

#[test]
fn rows_of_one_request_are_accepted_together_or_not_at_all() {
    let world = World::new(LIMITS);
    let readers = shard_rows(&world.spool);
    let used = world.spool.memory_bytes();
    // One shard has memory for its row, and the other has not.
    let long = vec![b'x'; LIMITS.memory_bytes];
    let mut batch = rows(&[b"1", &long]);
    assert!(
        world
            .appender
            .append_rows(table(&world), Ack::Accepted, &mut batch)
            .is_err()
    );
    assert_eq!(readers.each_ref().map(open_rows), [b"".to_vec(), b"".to_vec()]);
    assert_eq!(world.spool.memory_bytes(), used);
    assert_eq!(world.spool.counts()[0].rows_rejected_full, 2);
    let mut batch = rows(&[b"1", b"2"]);
    assert!(
        world
            .appender
            .append_rows(table(&world), Ack::Accepted, &mut batch)
            .is_ok()
    );
}

#[test]
fn rows_without_a_shard_wait_in_the_queue_of_their_table() {
    let world = World::new(LIMITS);
    let [first, _] = shard_rows(&world.spool);
    let (id, _) = world.spool.table("t0").unwrap();
    let one_queue = Router::new(None, [(1, Some(first.id()))]);
    world.spool.set_router(id, one_queue);
    world.append(0, Ack::Accepted, b"1").unwrap();
    world.spool.set_router(id, None);
    world.append(0, Ack::Accepted, b"2").unwrap();
    assert_eq!(
        [open_rows(&first), open_rows(&world.readers[0])],
        [b"1".to_vec(), b"2".to_vec()]
    );
}
