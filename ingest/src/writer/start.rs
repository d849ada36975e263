//! The start of a writer: its spool, its ids, and the tasks that run in the background.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Mutex, watch},
    task::JoinSet,
};

use super::{ClusterInserts, Shared, Work, Writer, WriterOptions};
use crate::{
    deliver::{
        Audit, Changes, Delivery,
        follow::{Follow, follow},
        pace::keep_pace,
        run::{StopAfter, run},
        servers::{ServerPool, Turns},
    },
    ids::{
        IdGenerator,
        id_file::{IdFile, Record},
    },
    kafka::{self, Lags, LogUrl, TopicOptions},
    lease,
    spool::{LogEnd, Spool, SpoolError, TableLayouts},
    store::servers::Servers,
    sync::{self, state::State, topology::distributed_tables},
    table::Schema,
    writer::{
        consumers::{ConsumerLinks, Consumers},
        left_out_counts::LeftOutCounters,
        payload_rate::PayloadRate,
        rejection_counts::RejectionCounters,
        unknown_key_counts::UnknownKeyCounters,
        unverified_counts::UnverifiedCounters,
    },
};

/// The minimum delay of the audit's comparison. With a shorter delay, the audit would query without
/// a pause.
const MIN_AUDIT_AFTER: Duration = Duration::from_millis(10);

/// The smallest limit of new parts per second. Blocks have an age of at most a minute, so a smaller
/// limit would not be kept.
const MIN_PARTS_PER_SECOND: f64 = 1.0 / 60.0;

/// The ids of a writer that is about to run.
pub(super) struct Ids {
    generator: IdGenerator,
    /// The generator's initial record.
    record: Record,
}

/// What a spool in a folder has in the background.
#[derive(Default)]
pub(super) struct BackgroundWork {
    log: Option<thread::JoinHandle<()>>,
    consumers: Consumers,
}

/// Where the rows of a writer's spool come from and go to.
pub(super) enum Flow<'a> {
    /// From the layers to their tables.
    ToTables,
    /// From the layers to a shared log.
    ToLog(&'a LogUrl, TopicOptions),
    /// From a shared log to their tables.
    FromLog(&'a LogUrl, TopicOptions),
    /// From an archive to their tables.
    FromArchive,
}

impl Writer {
    /// Starts the deliveries of all tables of `schema`, and of the dead letters. Rows are only in
    /// memory, so a process that is killed loses those that ClickHouse has not confirmed.
    ///
    /// Options out of range are adjusted to the nearest sensible value.
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime, or if [`WriterOptions::node`] is above 511.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use embedder::tables;
    /// use rowmill_ingest::{ClickHouseUrl, Writer, WriterOptions, store::Servers};
    ///
    /// # fn start() -> Result<(), Box<dyn std::error::Error>> {
    /// // Two servers, whose blocks take turns.
    /// let urls: [ClickHouseUrl; 2] = ["http://a:8123/stats".parse()?, "http://b:8123/stats".parse()?];
    /// let writer = Writer::start(&tables::SCHEMA, Servers::from_iter(urls), &WriterOptions::default());
    /// # Ok(())
    /// # }
    /// ```
    pub fn start(schema: &'static Schema, servers: impl Into<Servers>, options: &WriterOptions) -> Self {
        let spool = Spool::in_memory(TableLayouts::of(schema), options.limits());
        let ids = Ids::in_memory(options);
        Self::run(
            schema,
            spool,
            BackgroundWork::default(),
            ids,
            servers.into(),
            options,
            &Flow::ToTables,
        )
    }

    /// Starts a writer whose rows go to a shared log, from which the deliveries of other writers
    /// ([`deliver_log`](Self::deliver_log)) insert them. Rows are in memory until the log has them.
    ///
    /// The levels of an acknowledgement are [`Ack::Accepted`](crate::Ack::Accepted) and
    /// [`Ack::Replicated`](crate::Ack::Replicated): a row is on the disks of the log, or on none, and
    /// this writer does not learn that a row is stored.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    ///
    /// ```no_run
    /// # use embedder::tables;
    /// use rowmill_ingest::{Ack, ClickHouseUrl, Writer, WriterOptions, log::TopicOptions};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let clickhouse: ClickHouseUrl = "http://127.0.0.1:8123/stats".parse()?;
    /// let log = "kafka://broker:9092/events".parse()?;
    /// let (options, topics) = (WriterOptions::default(), TopicOptions::default());
    /// let collector = Writer::append_to_log(&tables::SCHEMA, clickhouse.clone(), &options, &log, topics);
    /// let deliverer = Writer::deliver_log(&tables::SCHEMA, clickhouse, &options, &log, topics);
    ///
    /// let row = tables::Orders { number: "A-1".into(), ..Default::default() };
    /// assert_eq!(collector.insert(&row, Ack::Replicated)?.await, Ack::Replicated);
    /// # drop(deliverer);
    /// # Ok(())
    /// # }
    /// ```
    pub fn append_to_log(
        schema: &'static Schema,
        servers: impl Into<Servers>,
        options: &WriterOptions,
        log: &LogUrl,
        topics: TopicOptions,
    ) -> Self {
        let limits = kafka::limits_of_appends(options.limits());
        let spool = Spool::of_shared_log(TableLayouts::of(schema), limits, LogEnd::Appends);
        let flow = Flow::ToLog(log, topics);
        Self::run(
            schema,
            spool,
            BackgroundWork::default(),
            Ids::in_memory(options),
            servers.into(),
            options,
            &flow,
        )
    }

    /// Starts a writer that delivers the rows of a shared log to their tables. The processes that
    /// deliver one log share its partitions.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn deliver_log(
        schema: &'static Schema,
        servers: impl Into<Servers>,
        options: &WriterOptions,
        log: &LogUrl,
        topics: TopicOptions,
    ) -> Self {
        let spool = Spool::of_shared_log(TableLayouts::of(schema), options.limits(), LogEnd::Delivers);
        let flow = Flow::FromLog(log, topics);
        Self::run(
            schema,
            spool,
            BackgroundWork::default(),
            Ids::in_memory(options),
            servers.into(),
            options,
            &flow,
        )
    }

    /// Starts a writer as [`start`](Self::start) does, with a spool in `folder`: rows are also on
    /// disk until ClickHouse has confirmed them, and rows that an earlier process left there are
    /// delivered first.
    ///
    /// # Errors
    ///
    /// See [`SpoolError`]: another process holds the folder, or it cannot be read or written.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn open(
        schema: &'static Schema,
        servers: impl Into<Servers>,
        options: &WriterOptions,
        folder: &Path,
    ) -> Result<Self, SpoolError> {
        let base = options.base();
        let io_error = |error| SpoolError::Io(folder.to_owned(), error);
        let links = ConsumerLinks::open(options, folder).map_err(io_error)?;
        let (spool, log) = Spool::open_with(folder, TableLayouts::of(schema), options.limits(), links.all())?;
        // This process holds the folder's lock, so no other process writes the file.
        let (file, earlier) = IdFile::open(folder).map_err(|error| {
            spool.stop();
            io_error(error)
        })?;
        let record = lease::first_record(base, earlier);
        let ids = Ids {
            generator: IdGenerator::with_file(file, record),
            record,
        };
        let consumers = Consumers::start(options, links, &spool, schema).map_err(|error| {
            spool.stop();
            io_error(error)
        })?;
        let work = BackgroundWork {
            log: Some(log),
            consumers,
        };
        let flow = &Flow::ToTables;
        Ok(Self::run(schema, spool, work, ids, servers.into(), options, flow))
    }

    pub(super) fn run(
        schema: &'static Schema,
        spool: Spool,
        work: BackgroundWork,
        ids: Ids,
        servers: Servers,
        options: &WriterOptions,
        flow: &Flow<'_>,
    ) -> Self {
        let mut syncs = JoinSet::new();
        let quorum = options
            .insert_quorum
            .map(|quorum| quorum.settings(options.insert_timeout));
        let settings = quorum.unwrap_or_default();
        let states = sync::start(servers, schema, options.rejected_days, settings, &mut syncs);
        let generator = Arc::new(ids.generator);
        let lease = match flow {
            // The rows of a log, or of an archive, have their ids.
            Flow::FromLog(..) | Flow::FromArchive => lease::none(),
            Flow::ToTables | Flow::ToLog(..) => lease::start(
                Arc::clone(&generator),
                options.base(),
                ids.record,
                states.clone(),
                &mut syncs,
            ),
        };
        let mut deliveries = JoinSet::new();
        let (shards, stop_log) = if let Flow::ToLog(url, topics) = flow {
            kafka::append(&spool, url, *topics, &mut deliveries);
            // The deliveries that read the log insert its rows through the Distributed tables.
            (watch::channel(true).1, Weak::new())
        } else {
            Self::start_deliveries(schema, &spool, &states, options, flow, &mut deliveries, &mut syncs)
        };
        if let (Flow::ToTables | Flow::FromLog(..), Some(limit)) = (flow, options.max_parts_per_second) {
            let (limit, age) = (limit.max(MIN_PARTS_PER_SECOND), options.limits().blocks.age);
            syncs.spawn(keep_pace(spool.clone(), states.clone(), limit, age));
        }
        let lags = match flow {
            Flow::FromLog(url, topics) => {
                kafka::deliver(&spool, url, *topics, options.limits(), states.clone(), &mut deliveries)
            }
            _ => Lags::default(),
        };
        let BackgroundWork { log, consumers } = work;
        Self {
            shared: Arc::new(Shared {
                consumers: consumers.readers(),
                appender: spool.appender(),
                spool,
                schema,
                states,
                rejections: RejectionCounters::default(),
                payload_rate: PayloadRate::new(options.rejected_payload_bytes, options.rejected_bytes_per_second),
                unknown_keys: UnknownKeyCounters::new(schema),
                unverified: UnverifiedCounters::default(),
                left_out: LeftOutCounters::default(),
                runtime: Handle::current(),
                ids: generator,
                lease,
                shards,
                lags,
                work: Mutex::new(Work {
                    deliveries,
                    syncs,
                    log,
                    stop_log,
                    consumers,
                }),
            }),
        }
    }

    /// Starts the deliveries of all queues of a spool. Returns whether the clusters of the schema have
    /// been read, and what stops the log with the last delivery.
    fn start_deliveries(
        schema: &'static Schema,
        spool: &Spool,
        states: &watch::Receiver<Vec<State>>,
        options: &WriterOptions,
        flow: &Flow<'_>,
        deliveries: &mut JoinSet<()>,
        syncs: &mut JoinSet<()>,
    ) -> (watch::Receiver<bool>, Weak<StopAfter>) {
        // The blocks of a log or an archive do not tell which server may have them. One of a log is cut
        // without regard to shards.
        let (turns, has_shards) = match flow {
            Flow::ToTables => (Turns::All, options.cluster_inserts == ClusterInserts::Shards),
            _ => (Turns::One, false),
        };
        let audit_after = options.audit_after.map(|after| after.max(MIN_AUDIT_AFTER));
        let audit = audit_after.map(|after| Arc::new(Audit::new(spool.readers().len(), after)));
        if let Some(audit) = audit.clone() {
            let (servers, spool) = (ServerPool::new(states.clone(), turns), spool.clone());
            let timeout = options.insert_timeout;
            syncs.spawn(async move { audit.run(&servers, &spool, timeout).await });
        }
        let delivery = Delivery::new(
            ServerPool::new(states.clone(), turns),
            spool.clone(),
            options.inserts_in_flight,
            options.insert_timeout,
            Changes::new(options.column_changes.clone(), schema),
            audit,
        );
        // The log thread runs until the deliveries end.
        let delivery = Arc::new(StopAfter(delivery, spool.clone()));
        let stop_log = Arc::downgrade(&delivery);
        let shards = follow_clusters(schema, &delivery, states, has_shards, deliveries);
        for reader in spool.readers() {
            if reader.layout().shard.is_none() {
                deliveries.spawn(run(Arc::clone(&delivery), reader));
            }
        }
        (shards, stop_log)
    }
}

impl Ids {
    /// Returns ids that no file keeps over a restart.
    pub(super) fn in_memory(options: &WriterOptions) -> Self {
        let record = lease::first_record(options.base(), None);
        Self {
            generator: IdGenerator::new(record.base),
            record,
        }
    }
}

/// Starts to follow the clusters of the schema's tables, and of rows that an earlier process left for
/// a shard. Returns whether the clusters have been read; that is the case from the start if there are
/// none.
fn follow_clusters(
    schema: &Schema,
    delivery: &Arc<StopAfter>,
    states: &watch::Receiver<Vec<State>>,
    routes_rows: bool,
    deliveries: &mut JoinSet<()>,
) -> watch::Receiver<bool> {
    let mut tables: BTreeSet<String> = distributed_tables(schema).into_iter().map(str::to_owned).collect();
    let mut left = delivery.1.readers();
    left.retain(|reader| reader.layout().shard.is_some());
    tables.extend(left.iter().map(|reader| reader.layout().schema_table().to_string()));
    let (is_settled, receiver) = watch::channel(tables.is_empty());
    if !tables.is_empty() {
        let what = Follow {
            tables: tables.into_iter().collect(),
            routes_rows,
        };
        deliveries.spawn(follow(Arc::clone(delivery), states.clone(), what, left, is_settled));
    }
    receiver
}
