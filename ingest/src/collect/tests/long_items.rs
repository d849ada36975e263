//! Items of a streamed body that are too long or malformed, on routes with privacy options: their dead letters have
//! no personal value.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use http::Request;

use super::{
    routes::{CONSENT, PERSONAL},
    world::{World, options},
};
use crate::{
    ack::Ack,
    collect::{
        batch::{StreamedBatch, Taken},
        head::Arrival,
        resolve::VisitorUid,
        route::Route,
    },
    request::batch_format::BatchFormat,
};

/// The longest item, in bytes.
const MAX_ITEM: usize = 60;

/// A text that makes an item too long.
const LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// Returns the rows and the rejected items of a body that arrives in these pieces.
fn take(world: &World, route: Route, query: &str, format: BatchFormat, pieces: &[&str]) -> Taken {
    let collector = world.collector();
    let uid = VisitorUid {
        of_event: 1_000_000_007,
        of_cookie: None,
    };
    let booking = collector.writer().request_memory().booking();
    let ack = (None, Ack::Accepted);
    let mut batch = StreamedBatch::new(route, format, ack, uid, booking, MAX_ITEM, true);
    let (parts, ()) = Request::post(format!("/wh/any{query}"))
        .header("User-Agent", "Agent/7")
        .body(())
        .unwrap()
        .into_parts();
    let arrival = Arrival::now(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), Some(route));
    for (index, piece) in pieces.iter().enumerate() {
        batch.text().push_str(piece);
        while batch.prepare(index + 1 == pieces.len()).unwrap() {
            let permit = || Arc::clone(&collector.batch_permits).try_acquire_owned().unwrap();
            while batch.decode(&collector, permit(), &parts, arrival).is_none() {}
            if !batch.remove_decoded(&collector, &parts, arrival) {
                break;
            }
        }
    }
    World::rows();
    batch.take()
}

#[test]
fn an_item_that_is_too_long_leaves_no_personal_value_in_its_dead_letter() {
    let world = World::new(&options());
    let line = format!(r#"{{"city":"Secretville","n":5,"note":"{LONG}"}}"#);
    let record = format!("5,Secretville,{LONG}");
    let (start, end) = line.split_at(line.len() - 2);
    let (cell_start, cell_end) = record.split_at(record.len() - 2);
    let spread = format!("{line}{LONG}");
    // The payload of a dead letter keeps what is certainly not personal.
    for (format, pieces, keeps_note) in [
        // The item is there as a whole.
        (BatchFormat::Lines, vec!["{\"n\":1}\n", &line, "\n{\"n\":2}\n"], true),
        (BatchFormat::Array, vec!["[{\"n\":1},", &line, ",{\"n\":2}]"], true),
        (BatchFormat::Csv, vec!["n,city,note\n1,,\n", &record, "\n2,,\n"], false),
        // The item is skipped before its end arrives.
        (
            BatchFormat::Lines,
            vec!["{\"n\":1}\n", start, LONG, LONG, end, "\n{\"n\":2}\n"],
            false,
        ),
        (
            BatchFormat::Array,
            vec!["[{\"n\":1},", start, LONG, LONG, end, ",{\"n\":2}]"],
            false,
        ),
        (
            BatchFormat::Csv,
            vec!["n,city,note\n1,,\n", cell_start, LONG, LONG, cell_end, "\n2,,\n"],
            false,
        ),
        // The text before the end of the line is an object already.
        (
            BatchFormat::Lines,
            vec!["{\"n\":1}\n", &spread, LONG, "\n{\"n\":2}\n"],
            false,
        ),
    ] {
        // The query may be personal, too.
        let taken = take(&world, PERSONAL, "?city=Secretville", format, &pieces);
        let letters = String::from_utf8_lossy(taken.dead_letters.bytes()).into_owned();
        assert_eq!((taken.rows.count(), taken.rejected), (2, 1), "{format:?} {pieces:?}");
        assert_eq!((taken.dead_letters.count(), taken.left_out), (1, 0), "{pieces:?}");
        assert_eq!(taken.codes, [("too-large", 1)], "{pieces:?}");
        assert!(letters.contains("the event is longer than 60 bytes"), "{letters}");
        assert!(!letters.contains("Secretville"), "{format:?} {pieces:?}: {letters}");
        assert!(!letters.contains("203.0.113.7"), "{format:?} {pieces:?}: {letters}");
        assert_eq!(letters.contains(LONG), keeps_note, "{format:?} {pieces:?}: {letters}");
    }
}

#[test]
fn an_item_that_is_too_long_and_has_no_consent_has_no_dead_letter() {
    let world = World::new(&options());
    let line = format!(r#"{{"city":"1","n":5,"note":"{LONG}"}}"#);
    let (start, end) = line.split_at(line.len() - 2);
    for pieces in [vec![&*line, "\n"], vec![start, LONG, LONG, end, "\n"]] {
        // The text of the item does not count: nobody has read it.
        for (query, letters) in [("", 0), ("?city=0", 0), ("?city=1", 1)] {
            let taken = take(&world, CONSENT, query, BatchFormat::Lines, &pieces);
            assert_eq!(
                (taken.rejected, taken.dead_letters.count()),
                (1, letters),
                "{query} {pieces:?}"
            );
        }
    }
}

#[test]
fn the_rest_of_a_malformed_body_leaves_no_personal_value_either() {
    let world = World::new(&options());
    for (format, body, count) in [
        (BatchFormat::Array, r#"[{"n":1} {"city":"Secretville"}]"#, 1),
        // An item, and the rest.
        (BatchFormat::Array, r#"[{"n":1},{"city":"Secretville"]"#, 2),
        (BatchFormat::Csv, "n,city\n1,\n2,\"Secretville", 1),
    ] {
        let taken = take(&world, PERSONAL, "", format, &[body]);
        let letters = String::from_utf8_lossy(taken.dead_letters.bytes()).into_owned();
        assert_eq!((taken.rows.count(), taken.dead_letters.count()), (1, count), "{body}");
        for personal in ["Secretville", "203.0.113.7"] {
            assert!(!letters.contains(personal), "{body}: {letters}");
        }
        // Without consent, nothing of it is kept.
        let taken = take(&world, CONSENT, "", format, &[body]);
        assert_eq!((taken.rejected > 0, taken.dead_letters.count()), (true, 0), "{body}");
    }
}
