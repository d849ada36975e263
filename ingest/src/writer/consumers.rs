//! The consumers of a spool's rows beside ClickHouse: the archive and the topics.

use std::{io, path::Path, sync::Arc};

use super::WriterOptions;
use crate::{
    archive::{self, ArchiveStatus, Archiver, ArchiverHandle},
    spool::{Spool, links::SegmentLinks},
    table::Schema,
    topics::{self, FanOut, FanOutHandle, TopicsStatus},
};

/// The links that each consumer has.
#[derive(Debug)]
pub(super) struct ConsumerLinks {
    archive: Option<Arc<SegmentLinks>>,
    topics: Option<Arc<SegmentLinks>>,
}

/// The running consumers.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    archiver: Option<ArchiverHandle>,
    fan_out: Option<FanOutHandle>,
}

/// Reads the status of the consumers.
#[derive(Debug)]
pub(super) struct ConsumerReaders {
    archive: Option<archive::StatusReader>,
    topics: Option<topics::StatusReader>,
}

impl ConsumerLinks {
    /// Opens the links in the spool's folder.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn open(options: &WriterOptions, folder: &Path) -> io::Result<Self> {
        let archive = options.archive.as_ref().map(|_| Archiver::links(folder));
        let topics = options.topics.as_ref().map(|_| FanOut::links(folder));
        Ok(Self {
            archive: archive.transpose()?,
            topics: topics.transpose()?,
        })
    }

    /// Returns the links that a new segment gets.
    pub(super) fn all(&self) -> Vec<Arc<SegmentLinks>> {
        self.archive.iter().chain(&self.topics).cloned().collect()
    }
}

impl Consumers {
    /// Starts the consumers of a spool.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn start(
        options: &WriterOptions,
        links: ConsumerLinks,
        spool: &Spool,
        schema: &Schema,
    ) -> io::Result<Self> {
        let archive = options.archive.as_ref().zip(links.archive);
        let topics = options.topics.as_ref().zip(links.topics);
        let archiver = archive.map(|(archive, links)| Archiver::start(archive, links, spool.clone(), schema));
        let fan_out = topics.map(|(topics, links)| FanOut::start(topics, links, spool.clone(), schema));
        Ok(Self {
            archiver: archiver.transpose()?,
            fan_out: fan_out.transpose()?,
        })
    }

    /// Begins to send all rows to the consumers, whatever their age. The spool is closed, and its
    /// deliveries go on.
    pub(super) fn send_rest(&self) {
        archive::upload_rest(self.archiver.as_ref());
        topics::send_rest(self.fan_out.as_ref());
    }

    /// Sends what is left to the consumers, until `deadline`: the rest stays on disk for the next process.
    /// The spool's log has ended. A stop that is late already waits no more.
    pub(super) async fn finish(&mut self, is_late: bool, deadline: impl Future<Output = ()> + Clone) {
        tokio::join!(
            archive::finish(&mut self.archiver, is_late, deadline.clone()),
            topics::finish(&mut self.fan_out, is_late, deadline),
        );
    }

    /// Returns readers of the status.
    pub(super) fn readers(&self) -> ConsumerReaders {
        ConsumerReaders {
            archive: self.archiver.as_ref().map(ArchiverHandle::reader),
            topics: self.fan_out.as_ref().map(FanOutHandle::reader),
        }
    }
}

impl ConsumerReaders {
    /// Returns the status of the archive, if there is one.
    pub(super) fn archive(&self) -> Option<ArchiveStatus> {
        self.archive.as_ref().map(archive::StatusReader::status)
    }

    /// Returns the status of the topics, if there are any.
    pub(super) fn topics(&self) -> Option<TopicsStatus> {
        self.topics.as_ref().map(topics::StatusReader::status)
    }
}
