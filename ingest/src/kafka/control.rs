//! The control topic, whose name is the prefix: what the deliveries of a log tell one another. It has one
//! partition, so all of them read its records in one order.
//!
//! A record is a JSON object with one key:
//!
//! ```json
//! {"cut":{"topic":"events.mail","partition":0,"end":1200,"sequences":{"…":[17,1199]}}}
//! {"beat":"0191…"}
//! {"left":"0191…"}
//! ```

use std::collections::BTreeMap;

use rskafka::record::Record;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{client::now, cuts::Cut};

/// A record of the control topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Control {
    /// A proposal to divide the records of a partition.
    Cut {
        topic: String,
        partition: i32,
        #[serde(flatten)]
        cut: Cut,
    },
    /// The process delivers.
    Beat(Uuid),
    /// The process has stopped.
    Left(Uuid),
}

impl Control {
    pub(super) fn to_record(&self) -> Record {
        Record {
            key: None,
            value: serde_json::to_vec(self).ok(),
            headers: BTreeMap::new(),
            timestamp: now(),
        }
    }

    /// Reads a record; returns `None` if a later version wrote it.
    pub(super) fn read(record: &Record) -> Option<Self> {
        serde_json::from_slice(record.value.as_deref()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::cuts::Sequences, *};

    #[test]
    fn each_record_is_read_as_it_was_written() {
        let id = Uuid::from_u128(7);
        let cut = Control::Cut {
            topic: "events.mail".to_owned(),
            partition: 3,
            cut: Cut {
                end: 12,
                sequences: Sequences::from([(id, (u64::MAX, 11))]),
            },
        };
        for control in [cut, Control::Beat(id), Control::Left(id)] {
            assert_eq!(Control::read(&control.to_record()), Some(control));
        }
        let mut later = Control::Beat(id).to_record();
        later.value = Some(br#"{"other":1}"#.to_vec());
        assert_eq!(Control::read(&later), None);
    }
}
