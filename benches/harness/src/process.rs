//! A server as a child process: its start and stop, its CPU time and its memory.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::{Failure, cores::Cores};

/// The unit of CPU times in `/proc`, whatever the kernel's own tick rate.
const TICK: Duration = Duration::from_millis(10);

/// The time limit for a server to start to listen; after it, the server is killed.
const START_WITHIN: Duration = Duration::from_secs(60);

/// The time limit for a server to stop; after it, the server is killed.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// A running server; dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts a program on the server's cores and returns it when it has printed
    /// `listening on http://ADDRESS`. Its log goes to the file `log`.
    ///
    /// # Errors
    /// If the program cannot be started, or prints something else, or nothing for a minute.
    pub fn start(mut command: Command, cores: &Cores, log: &Path) -> Result<Self, Failure> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?);
        let mut child = cores.as_server(move || command.spawn())??;
        let (sender, first_line) = mpsc::channel();
        if let Some(out) = child.stdout.take() {
            thread::spawn(move || {
                let mut lines = BufReader::new(out).lines().map_while(Result::ok);
                let _ = lines.next().map(|line| sender.send(line));
                // Further output is discarded, but the server must not find its standard output
                // closed.
                lines.for_each(drop);
            });
        }
        let line = first_line.recv_timeout(START_WITHIN).unwrap_or_default();
        match line.trim().strip_prefix("listening on http://").map(str::parse) {
            Some(Ok(address)) => Ok(Self { child, address }),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("a server did not start; its log is {}", log.display()).into())
            }
        }
    }

    /// As [`start`](Self::start), for a program that does not print its address: it is ready when
    /// it accepts connections at `address`.
    ///
    /// # Errors
    /// If the program cannot be started, or accepts no connection for a minute.
    pub fn start_at(address: SocketAddr, mut command: Command, cores: &Cores, log: &Path) -> Result<Self, Failure> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log)?);
        let child = cores.as_server(move || command.spawn())??;
        let mut server = Self { child, address };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if started.elapsed() > START_WITHIN || server.child.try_wait()?.is_some() {
                return Err(format!("a server did not start; its log is {}", log.display()).into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the CPU time that the server has used, in steps of 10 ms.
    ///
    /// # Errors
    /// If the server has ended.
    pub fn cpu_time(&self) -> Result<Duration, Failure> {
        cpu_time(self.child.id())
    }

    /// Returns the server's current memory, and the peak since the last
    /// [`forget_peak`](Self::forget_peak).
    ///
    /// # Errors
    /// If the server has ended.
    pub fn memory(&self) -> Result<Memory, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            number.ok_or(format!("the kernel does not say {name}"))
        };
        Ok(Memory {
            resident: kib("VmRSS:")? * 1024,
            peak: kib("VmHWM:")? * 1024,
        })
    }

    /// Resets the peak of the server's memory.
    ///
    /// # Errors
    /// If the server has ended.
    pub fn forget_peak(&self) -> Result<(), Failure> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    /// Sends SIGTERM and returns how long the server took to end.
    ///
    /// # Errors
    /// If the server does not end within a minute, or exits with a failure.
    pub fn stop(mut self) -> Result<Duration, Failure> {
        let started = Instant::now();
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        while started.elapsed() < STOP_WITHIN {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(started.elapsed()),
                Some(status) => return Err(format!("a server ended with {status}").into()),
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
        Err("a server did not end".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Current resident memory.
    pub resident: u64,
    /// Peak resident memory.
    pub peak: u64,
}

/// Returns the CPU time that a process has used.
///
/// # Errors
/// If there is no such process.
pub fn cpu_time(id: u32) -> Result<Duration, Failure> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The second field is the program's name in parentheses, which may contain any character.
    let rest = stat.rsplit_once(") ").ok_or("a process without a name")?.1;
    let mut times = rest.split(' ').skip(11).take(2).map(str::parse::<u32>);
    match (times.next(), times.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok(TICK * (user + system)),
        _ => Err(format!("the times of process {id} cannot be read").into()),
    }
}

/// Returns the CPU time that the whole machine has used.
///
/// # Errors
/// If `/proc/stat` cannot be read.
pub fn machine_cpu_time() -> Result<Duration, Failure> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let times: Vec<u64> = line
        .split_ascii_whitespace()
        .skip(1)
        .map_while(|time| time.parse().ok())
        .collect();
    match times[..] {
        [
            user,
            nice,
            system,
            _idle,
            _waiting,
            interrupt,
            soft_interrupt,
            stolen,
            ..,
        ] => {
            let ticks = user + nice + system + interrupt + soft_interrupt + stolen;
            Ok(Duration::from_millis(ticks * TICK.as_millis() as u64))
        }
        _ => Err("the CPU times of the machine cannot be read".into()),
    }
}

/// Raises this process's and its children's limit of open files and connections to `count`.
///
/// # Errors
/// If the system does not allow it.
pub fn allow_open_files(count: u64) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    let wanted = Rlimit {
        current: Some(count),
        maximum: limit.maximum.map(|maximum| maximum.max(count)),
    };
    setrlimit(Resource::Nofile, wanted)
        .map_err(|error| format!("{count} open files are needed (`ulimit -n`): {error}").into())
}
