//! A run: tables, collectors, clients, faults in random order, and the final comparison.

use std::{
    iter::repeat_n,
    mem,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    event::Target,
    others::OtherWriters,
    random::Random,
    report::{Found, Place, Report},
    tables::sums,
    world::{Fault, World},
};
use crate::support::engine::Database;

/// The longest pause before a fault. A random pause lets faults meet inserts in every state.
const MAX_PAUSE_MS: u64 = 300;

/// The settings of a run.
#[derive(Debug)]
pub struct Run {
    pub collectors: usize,
    /// Statements that change the tables of the collector.
    pub statements: Vec<String>,
    pub targets: &'static [Target],
    pub places: &'static [Place],
    /// A view that sums numbers, made by [`summed`](super::tables::summed).
    pub view: Option<View>,
    /// The tables that other writers insert into.
    pub others: &'static [&'static str],
    /// How many events are acknowledged between two faults.
    pub between_faults: u64,
    /// The pause of each client after an answer.
    pub pause: Duration,
}

#[derive(Debug, Clone, Copy)]
pub struct View {
    pub table: &'static str,
    /// An SQL expression for the number of the event.
    pub number: &'static str,
}

impl View {
    /// Returns the sums and the states of the views' tables, and the results of the views' queries
    /// over the whole source table.
    fn sums(&self, database: &Database) -> [String; 2] {
        let Self { table, number } = self;
        let of_rows = sums(table, number);
        let both = |sums: &str, states: &str| {
            database.query(&format!("SELECT * FROM ({sums}) ORDER BY bucket"))
                + &database.query(&format!("SELECT * FROM ({states}) ORDER BY decade"))
        };
        let of_views = both(
            &format!("SELECT bucket, sum(events), sum(total) FROM {table}_sums GROUP BY bucket"),
            &format!(
                "SELECT decade, sumMerge(events), sumMerge(total), uniqExactMerge(buckets) FROM {table}_states GROUP BY decade"
            ),
        );
        let of_table = both(
            &of_rows,
            &format!(
                "SELECT intDiv(bucket, 10) AS decade, sum(events), sum(total), uniqExact(bucket) FROM ({of_rows}) GROUP BY decade"
            ),
        );
        [of_views, of_table]
    }
}

impl Default for Run {
    fn default() -> Self {
        Self {
            collectors: 1,
            statements: Vec::new(),
            targets: &[],
            places: &[],
            view: None,
            others: &[],
            between_faults: 30,
            pause: Duration::ZERO,
        }
    }
}

impl Run {
    /// Causes the given number of faults of each kind in random order, then compares the tables
    /// with the sent events.
    pub fn inject(&self, kinds: &[(Fault, usize)]) {
        let started = Instant::now();
        let seed = Random::seed();
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut faults: Vec<_> = kinds
            .iter()
            .flat_map(|&(fault, times)| repeat_n(fault, times))
            .collect();
        random.shuffle(&mut faults);

        let mut world = World::start(&self.statements, self.collectors);
        let clients = world.clients(self.targets, self.pause);
        let others = OtherWriters::start(self.others, &world.database(), world.proxy());
        for (place, &fault) in faults.iter().enumerate() {
            let before = clients.acknowledged();
            world.until("events between faults", |_| {
                clients.acknowledged() >= before + self.between_faults
            });
            sleep(Duration::from_millis(random.below(MAX_PAUSE_MS)));
            println!("{:>8.3} s  {:>3} {fault:?}", started.elapsed().as_secs_f32(), place + 1);
            world.inject(fault, &clients, &mut random);
        }
        let sent = clients.stop();
        let other_inserts = others.inserts();
        drop(others);
        let ended = world.stop_collectors();
        let log = ended
            .iter()
            .fold(mem::take(&mut world.logs), |log, ended| log + &ended.log);
        assert!(ended.iter().all(|ended| ended.code == Some(0)), "{log}");

        let database = world.database();
        let report = Report {
            seed,
            took: started.elapsed(),
            collectors: self.collectors,
            faults,
            kills_during_insert: world.kills_during_insert,
            aborts: world.aborts,
            other_inserts,
            inserts: self
                .places
                .iter()
                .map(|place| world.proxy().inserts(place.table).begun)
                .collect(),
            places: self
                .places
                .iter()
                .map(|place| Found::count(&database, &sent, place))
                .collect(),
        };
        println!("{report}");
        let view = self.view.map(|view| view.sums(&database));
        if let Some([of_view, of_table]) = &view
            && of_view != of_table
        {
            println!("the view has\n{of_view}instead of\n{of_table}");
        }
        assert!(report.places.iter().all(Found::is_exact), "{report}\n{log}");
        let is_exact = view.as_ref().is_none_or(|[of_view, of_table]| of_view == of_table);
        assert!(is_exact, "a view's sums differ from its table's: {view:?}\n{log}");
        assert_eq!(
            database.count("rejected"),
            0,
            "{}",
            database.query("SELECT * FROM rejected LIMIT 5")
        );
    }
}
