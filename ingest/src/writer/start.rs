//! The start of a writer: its spool, its ids, and the tasks that run in the background.

use std::{path::Path, sync::Arc, thread, time::Duration};

use tokio::{runtime::Handle, sync::Mutex, task::JoinSet};

use super::{Shared, Work, Writer, WriterOptions};
use crate::{
    deliver::{
        Audit, Changes, Delivery,
        run::{StopAfter, run},
        servers::ActiveServer,
    },
    ids::{
        IdGenerator,
        id_file::{IdFile, Record},
    },
    lease,
    spool::{Spool, SpoolError, TableLayouts},
    store::servers::Servers,
    sync,
    table::Schema,
    writer::{
        left_out_counts::LeftOutCounters, payload_rate::PayloadRate, rejection_counts::RejectionCounters,
        unknown_key_counts::UnknownKeyCounters, unverified_counts::UnverifiedCounters,
    },
};

/// The minimum delay of the audit's comparison. With a shorter delay, the audit would query without
/// a pause.
const MIN_AUDIT_AFTER: Duration = Duration::from_millis(10);

/// The ids of a writer that is about to run.
struct Ids {
    generator: IdGenerator,
    /// The generator's initial record.
    record: Record,
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
    /// // Two replicas; the writer uses one of them as long as it answers.
    /// let urls: [ClickHouseUrl; 2] = ["http://a:8123/stats".parse()?, "http://b:8123/stats".parse()?];
    /// let writer = Writer::start(&tables::SCHEMA, Servers::from_iter(urls), &WriterOptions::default());
    /// # Ok(())
    /// # }
    /// ```
    pub fn start(schema: &'static Schema, servers: impl Into<Servers>, options: &WriterOptions) -> Self {
        let spool = Spool::in_memory(TableLayouts::of(schema), options.limits());
        let record = lease::first_record(options.base(), None);
        let ids = Ids {
            generator: IdGenerator::new(record.base),
            record,
        };
        Self::run(schema, spool, None, ids, servers.into(), options)
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
        let (spool, log) = Spool::open(folder, TableLayouts::of(schema), options.limits())?;
        // This process holds the folder's lock, so no other process writes the file.
        let (file, earlier) = IdFile::open(folder).map_err(|error| {
            spool.stop();
            SpoolError::Io(folder.to_owned(), error)
        })?;
        let record = lease::first_record(base, earlier);
        let ids = Ids {
            generator: IdGenerator::with_file(file, record),
            record,
        };
        Ok(Self::run(schema, spool, Some(log), ids, servers.into(), options))
    }

    fn run(
        schema: &'static Schema,
        spool: Spool,
        log: Option<thread::JoinHandle<()>>,
        ids: Ids,
        servers: Servers,
        options: &WriterOptions,
    ) -> Self {
        let mut syncs = JoinSet::new();
        let quorum = options
            .insert_quorum
            .map(|quorum| quorum.settings(options.insert_timeout));
        let settings = quorum.unwrap_or_default();
        let states = sync::start(servers, schema, options.rejected_days, settings, &mut syncs);
        let generator = Arc::new(ids.generator);
        let lease = lease::start(
            Arc::clone(&generator),
            options.base(),
            ids.record,
            states.clone(),
            &mut syncs,
        );
        let audit_after = options.audit_after.map(|after| after.max(MIN_AUDIT_AFTER));
        let audit = audit_after.map(|after| Arc::new(Audit::new(spool.readers().len(), after)));
        if let Some(audit) = audit.clone() {
            let (servers, spool) = (ActiveServer::new(states.clone()), spool.clone());
            let timeout = options.insert_timeout;
            syncs.spawn(async move { audit.run(&servers, &spool, timeout).await });
        }
        let delivery = Delivery::new(
            ActiveServer::new(states.clone()),
            spool.clone(),
            options.inserts_in_flight,
            options.insert_timeout,
            Changes::new(options.column_changes.clone(), schema),
            audit,
        );
        // The log thread runs until the deliveries end.
        let delivery = Arc::new(StopAfter(delivery, spool.clone()));
        let stop_log = Arc::downgrade(&delivery);
        let mut deliveries = JoinSet::new();
        for reader in spool.readers() {
            deliveries.spawn(run(Arc::clone(&delivery), reader));
        }
        Self {
            shared: Arc::new(Shared {
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
                work: Mutex::new(Work {
                    deliveries,
                    syncs,
                    log,
                    stop_log,
                }),
            }),
        }
    }
}
