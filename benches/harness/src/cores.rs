//! Where each process of a bench runs, and before whom.
//!
//! A server that is measured has its cores for itself; the load generator and ClickHouse share what is left. ClickHouse gives way to
//! the load generator there: a clock that waits for somebody else's merge would count that as the server's latency. Where it has a core
//! in common with the server as well, it is only of a lower priority, for it would else get nothing.

use std::{io, process::Command, thread};

use rustix::{
    process::setpriority_process,
    thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity},
};

use crate::Failure;

/// How far somebody gives way to others on the same core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Courtesy {
    None,
    /// Takes a tenth of what the others take, a time slice at a time.
    Nice,
    /// Takes what nobody wants, and is interrupted as soon as anybody does: `SCHED_IDLE` of
    /// [sched(7)](https://man7.org/linux/man-pages/man7/sched.7.html).
    Idle,
}

/// The cores of a bench.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cores {
    /// Those of the server that is measured.
    pub server: Vec<usize>,
    /// That of the load generator.
    pub load: usize,
    /// Those of ClickHouse.
    pub store: Vec<usize>,
}

impl Cores {
    /// Returns one core for the server and another one for the load; ClickHouse has the load's on a machine of two, else the rest.
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
            _ => Err("two cores are needed: one for the server, one for what drives it".into()),
        }
    }

    /// Returns the same with `count` cores for the server; where there are too few, the others' are among them.
    ///
    /// # Errors
    /// If there are not so many.
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

    /// Runs `action` where the server belongs; a child that it starts stays there.
    ///
    /// # Errors
    /// If the cores cannot be had.
    pub fn as_server<T: Send>(&self, action: impl FnOnce() -> T + Send) -> io::Result<T> {
        elsewhere(&self.server, Courtesy::None, action)
    }

    /// Runs `action` where the load generator belongs.
    ///
    /// # Errors
    /// If the core cannot be had.
    pub fn as_load<T: Send>(&self, action: impl FnOnce() -> T + Send) -> io::Result<T> {
        elsewhere(&[self.load], Courtesy::None, action)
    }

    /// Runs `action` where ClickHouse belongs, and as one that gives way.
    ///
    /// # Errors
    /// If the cores cannot be had.
    pub fn as_store<T: Send>(&self, action: impl FnOnce() -> T + Send) -> io::Result<T> {
        let courtesy = if self.are_apart() {
            Courtesy::Idle
        } else {
            Courtesy::Nice
        };
        elsewhere(&self.store, courtesy, action)
    }
}

/// Returns the cores that this process may use.
fn usable() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

impl Courtesy {
    /// Makes this thread so, and what it starts from here on.
    fn adopt(self) -> io::Result<()> {
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

/// On a thread of its own, whose children inherit its cores and its courtesy.
fn elsewhere<T: Send>(cores: &[usize], courtesy: Courtesy, action: impl FnOnce() -> T + Send) -> io::Result<T> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    let pinned = move || {
        sched_setaffinity(None, &set)?;
        courtesy.adopt()?;
        Ok(action())
    };
    thread::scope(|scope| {
        let thread = scope.spawn(pinned);
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread ended by a panic")))
    })
}
