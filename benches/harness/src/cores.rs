//! The cores of each process of a bench, and their scheduling priorities.
//!
//! The measured server has its cores for itself; the load generator and ClickHouse share the
//! others. ClickHouse yields to the load generator there: if the load generator waited for a merge,
//! it would count that time as the server's latency. If ClickHouse also shares a core with the
//! server, it only gets a lower priority, because an idle policy would starve it.

use std::{io, process::Command, thread};

use rustix::{
    process::setpriority_process,
    thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity},
};

use crate::Failure;

/// The scheduling priority of a process on cores that it shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Priority {
    None,
    /// Nice value 10: takes about a tenth of the time of the others, in time slices.
    Nice,
    /// Runs only when no other process wants the core, and is preempted at once: `SCHED_IDLE` of
    /// [sched(7)](https://man7.org/linux/man-pages/man7/sched.7.html).
    Idle,
}

/// The cores of a bench.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cores {
    /// The cores of the measured server.
    pub server: Vec<usize>,
    /// The core of the load generator.
    pub load: usize,
    /// The cores of ClickHouse.
    pub store: Vec<usize>,
}

impl Cores {
    /// Returns one core for the server and one for the load. ClickHouse gets the remaining cores,
    /// or the load's on a machine with two.
    ///
    /// # Errors
    /// If this process may use fewer than two cores.
    pub fn find() -> Result<Self, Failure> {
        match usable()?[..] {
            [server, load] => Ok(Self {
                server: vec![server],
                load,
                store: vec![load],
            }),
            [server, load, ref rest @ ..] => Ok(Self {
                server: vec![server],
                load,
                store: rest.to_vec(),
            }),
            _ => Err("two cores are needed: one for the server, one for the load generator".into()),
        }
    }

    /// Returns these cores with `count` cores for the server, which shares the others' cores if
    /// there are too few.
    ///
    /// # Errors
    /// If there are fewer than `count` cores.
    pub fn with_server_cores(&self, count: usize) -> Result<Self, Failure> {
        let all = usable()?;
        let mut server = self.server.clone();
        let others = |core: &&usize| !self.server.contains(core);
        // The load's own core is the last one to be shared.
        let spare = all.iter().filter(others).filter(|core| **core != self.load);
        server.extend(spare.chain([&self.load]));
        server.truncate(count);
        if server.len() < count {
            return Err(format!("there are no {count} cores").into());
        }
        let left: Vec<_> = self
            .store
            .iter()
            .copied()
            .filter(|core| !server.contains(core))
            .collect();
        Ok(Self {
            server,
            load: self.load,
            store: if left.is_empty() { vec![self.load] } else { left },
        })
    }

    /// Returns whether the server has its cores for itself.
    pub fn are_apart(&self) -> bool {
        !self.server.contains(&self.load) && self.store.iter().all(|core| !self.server.contains(core))
    }

    /// Runs `action` on the server's cores; a child that it starts stays there.
    ///
    /// # Errors
    /// If the process may not use the cores.
    pub fn as_server<T: Send>(&self, action: impl FnOnce() -> T + Send) -> io::Result<T> {
        run_on(&self.server, Priority::None, action)
    }

    /// Runs `action` on the load generator's core.
    ///
    /// # Errors
    /// If the process may not use the core.
    pub fn as_load<T: Send>(&self, action: impl FnOnce() -> T + Send) -> io::Result<T> {
        run_on(&[self.load], Priority::None, action)
    }

    /// Runs `action` on ClickHouse's cores, where it yields to other processes.
    ///
    /// # Errors
    /// If the process may not use the cores.
    pub fn as_store<T: Send>(&self, action: impl FnOnce() -> T + Send) -> io::Result<T> {
        let priority = if self.are_apart() {
            Priority::Idle
        } else {
            Priority::Nice
        };
        run_on(&self.store, priority, action)
    }
}

/// Returns the cores that this process may use.
fn usable() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

impl Priority {
    /// Applies the priority to this thread and to the processes that it starts from now on.
    fn apply(self) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Nice => Ok(setpriority_process(None, 10)?),
            Self::Idle => {
                let thread = gettid().as_raw_nonzero().to_string();
                let status = Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status();
                let status = status.map_err(|error| io::Error::new(error.kind(), format!("chrt: {error}")))?;
                status
                    .success()
                    .then_some(())
                    .ok_or_else(|| io::Error::other(format!("chrt: {status}")))
            }
        }
    }
}

/// Runs `action` on a new thread, whose children inherit its cores and its priority.
fn run_on<T: Send>(cores: &[usize], priority: Priority, action: impl FnOnce() -> T + Send) -> io::Result<T> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    let pinned = move || {
        sched_setaffinity(None, &set)?;
        priority.apply()?;
        Ok(action())
    };
    thread::scope(|scope| {
        let thread = scope.spawn(pinned);
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread ended by a panic")))
    })
}
