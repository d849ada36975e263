//! The cluster `fleet` with real replication: two shards of two replicas, which are servers of Debian's
//! ClickHouse 18.16, and their ZooKeeper.
//!
//! The embedded ClickHouse has neither replicas nor a queue for statements ON CLUSTER. 18.16 is the
//! only server with both that a machine of CI can get. `tests/cluster/fetch` gets it.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{Read, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{http, wait_for};

/// The jars of ZooKeeper, beside those that its own manifest names on a machine where they are installed.
const JARS: [&str; 6] = [
    "zookeeper",
    "zookeeper-jute",
    "slf4j-api",
    "netty-all",
    "snappy-java",
    "metrics-core",
];

/// The servers of each shard.
const REPLICAS: usize = 2;

/// The query that fails while a server has no connection to ZooKeeper.
const CONNECTED: &[u8] = b"SELECT count() FROM system.zookeeper WHERE path = '/'";

/// The time for a replica to catch up, beside other tests on a machine with few processors.
const REPLICATION_TIMEOUT: Duration = Duration::from_secs(180);

/// A running cluster. Its processes are killed when it is dropped, and when their test ends in any
/// other way.
#[derive(Debug)]
pub struct Fleet {
    /// The replicas of the first shard, then those of the second one.
    pub servers: Vec<OldServer>,
    _zookeeper: Process,
    _folder: tempfile::TempDir,
    /// Five processes are enough for the memory and the processors of a test run.
    _only: MutexGuard<'static, ()>,
}

/// A server of ClickHouse 18.16.
#[derive(Debug)]
pub struct OldServer {
    pub address: SocketAddr,
    folder: PathBuf,
    process: Process,
}

/// A child that is killed when it is dropped.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the folder with the programs.
fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/cluster")
}

/// Returns a command whose process ends with the thread that starts it.
fn tied(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

impl Fleet {
    /// Starts the cluster; returns `None`, and says so, if its programs are missing.
    pub fn start() -> Option<Self> {
        static ONLY: Mutex<()> = Mutex::new(());
        if !tools().exists() {
            eprintln!("skipped: `tests/cluster/fetch` gets ClickHouse 18.16 and ZooKeeper");
            return None;
        }
        let only = ONLY.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let (zookeeper, keeper_port) = start_zookeeper(&folder.path().join("zookeeper"));
        // Of HTTP, the native protocol, and the transfer of parts.
        let ports = free_ports(3 * 2 * REPLICAS);
        let ports: Vec<_> = ports.chunks(3).collect();
        let mut shards = String::new();
        for shard in ports.chunks(REPLICAS) {
            shards.push_str("<shard><internal_replication>true</internal_replication>");
            for replica in shard {
                write!(
                    shards,
                    "<replica><host>127.0.0.1</host><port>{}</port></replica>",
                    replica[1]
                )
                .unwrap();
            }
            shards.push_str("</shard>");
        }
        let servers = ports.iter().enumerate().map(|(number, ports)| {
            let folder = folder.path().join(number.to_string());
            let config = config(&folder, number, ports, keeper_port, &shards);
            OldServer::start(folder, ports[0], &config)
        });
        let servers: Vec<_> = servers.collect();
        for server in &servers {
            server.wait_until_ready();
        }
        Some(Self {
            servers,
            _zookeeper: zookeeper,
            _folder: folder,
            _only: only,
        })
    }

    /// Returns the replicas of each shard.
    pub fn shards(&self) -> impl Iterator<Item = &[OldServer]> {
        self.servers.chunks(REPLICAS)
    }
}

/// Returns ports that were free a moment ago.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
        .collect();
    listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}

/// Starts ZooKeeper, and returns its port.
fn start_zookeeper(folder: &Path) -> (Process, u16) {
    let root = tools();
    let java = fs::read_dir(root.join("usr/lib/jvm")).into_iter().flatten().flatten();
    let mut java = java.map(|jvm| jvm.path().join("bin/java"));
    let java = java.find(|java| java.exists()).unwrap_or_else(|| "java".into());
    let jars = JARS.map(|name| format!("{}/usr/share/java/{name}.jar", root.display()));
    let port = free_ports(1)[0];
    fs::create_dir_all(folder.join("data")).unwrap();
    let config = folder.join("zoo.cfg");
    // A lost disk is not tested here, so nothing waits for one.
    let text = format!(
        "tickTime=500\ndataDir={}/data\nclientPort={port}\nclientPortAddress=127.0.0.1\nforceSync=no\n\
         admin.enableServer=false\n4lw.commands.whitelist=srvr\n",
        folder.display()
    );
    fs::write(&config, text).unwrap();
    let log = File::create(folder.join("log")).unwrap();
    let child = tied(&java)
        .args([
            "-Xmx96m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            &jars.join(":"),
        ])
        .args([
            "-Dzookeeper.jmx.log4j.disable=true",
            "org.apache.zookeeper.server.ZooKeeperServerMain",
        ])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut process = Process(child);
    wait_for("ZooKeeper", || {
        if process.0.try_wait().unwrap().is_some() {
            panic!(
                "ZooKeeper has ended: {}",
                fs::read_to_string(folder.join("log")).unwrap()
            );
        }
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        // It leaves some connections open, and has a state after its first line if it serves requests.
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        stream.write_all(b"srvr").ok()?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer)
            .contains("Mode: standalone")
            .then_some(())
    });
    (process, port)
}

/// Returns the configuration of a server. It has the users, too. An ALTER waits five seconds, and not a
/// minute, for a replica that is down.
fn config(folder: &Path, number: usize, ports: &[u16], keeper_port: u16, shards: &str) -> String {
    let folder = folder.display();
    format!(
        "<yandex>
        <logger><level>warning</level><log>{folder}/log</log><errorlog>{folder}/errors</errorlog></logger>
        <listen_host>127.0.0.1</listen_host>
        <http_port>{}</http_port><tcp_port>{}</tcp_port>
        <interserver_http_port>{}</interserver_http_port><interserver_http_host>127.0.0.1</interserver_http_host>
        <path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path>
        <user_files_path>{folder}/files/</user_files_path><format_schema_path>{folder}/formats/</format_schema_path>
        <users_config>config.xml</users_config>
        <default_profile>default</default_profile><default_database>default</default_database>
        <timezone>UTC</timezone>
        <mark_cache_size>5242880</mark_cache_size><uncompressed_cache_size>0</uncompressed_cache_size>
        <macros><shard>{}</shard><replica>{number}</replica></macros>
        <merge_tree><replicated_max_ratio_of_wrong_parts>1</replicated_max_ratio_of_wrong_parts></merge_tree>
        <zookeeper>
            <node><host>127.0.0.1</host><port>{keeper_port}</port></node>
            <session_timeout_ms>4000</session_timeout_ms>
        </zookeeper>
        <distributed_ddl><path>/ddl</path></distributed_ddl>
        <remote_servers><fleet>{shards}</fleet></remote_servers>
        <profiles><default>
            <distributed_ddl_task_timeout>60</distributed_ddl_task_timeout>
            <replication_alter_columns_timeout>5</replication_alter_columns_timeout>
            <insert_distributed_sync>1</insert_distributed_sync>
        </default></profiles>
        <quotas><default/></quotas>
        <users><default>
            <password></password><networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile><quota>default</quota>
        </default></users>
        </yandex>",
        ports[0],
        ports[1],
        ports[2],
        number / REPLICAS + 1,
    )
}

impl OldServer {
    fn start(folder: PathBuf, port: u16, config: &str) -> Self {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.xml"), config).unwrap();
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            process: spawn(&folder),
            folder,
        }
    }

    fn wait_until_ready(&self) {
        wait_for("a server of 18.16", || {
            (try_send(self.address, "/", CONNECTED)?.status == 200).then_some(())
        });
    }

    /// Kills the server as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    /// Starts the server again after a [`kill`](Self::kill), at the same address and on its data.
    pub fn start_again(&mut self) {
        self.process = spawn(&self.folder);
        self.wait_until_ready();
    }

    /// Runs SQL and returns its output as text, or ClickHouse's error.
    pub fn try_query(&self, sql: &str) -> Result<String, String> {
        let has_database = !sql.starts_with("CREATE DATABASE ");
        self.run(if has_database { "/?database=stats" } else { "/" }, sql)
    }

    /// Runs a statement ON CLUSTER that waits two seconds for servers that are down, and returns
    /// ClickHouse's error.
    pub fn query_without_all(&self, sql: &str) -> String {
        self.run("/?database=stats&distributed_ddl_task_timeout=2", sql)
            .expect_err("the error that counts the servers")
    }

    fn run(&self, target: &str, sql: &str) -> Result<String, String> {
        let answer = try_send(self.address, target, sql.as_bytes());
        let answer = answer.ok_or("the server is down")?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status == 200 { Ok(text) } else { Err(text) }
    }

    pub fn query(&self, sql: &str) -> String {
        self.try_query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Waits until a table has all that the other replicas of its shard have. A server that was killed
    /// is read-only until ZooKeeper has forgotten its earlier session, and a fetch that failed is
    /// tried again after a while.
    pub fn wait_for_replication(&self, table: &str) {
        let start = Instant::now();
        while let Err(error) = self.try_query(&format!("SYSTEM SYNC REPLICA stats.{table}")) {
            let queue = "SELECT type, new_part_name, source_replica, num_tries, last_exception, postpone_reason \
                         FROM system.replication_queue FORMAT Vertical";
            assert!(
                start.elapsed() < REPLICATION_TIMEOUT,
                "no replication: {error}\n{}",
                self.try_query(queue).unwrap_or_else(|error| error)
            );
            sleep(Duration::from_millis(100));
        }
    }
}

/// Sends a request to a server of 18.16; returns `None` if it is down or ends before it has answered.
pub fn try_send(server: SocketAddr, target: &str, body: &[u8]) -> Option<http::Answer> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let length = body.len();
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    // Each answer of 18.16 is in chunks, of which the last one is empty.
    answer.ends_with(b"0\r\n\r\n").then(|| http::parse(&answer))
}

fn spawn(folder: &Path) -> Process {
    let root = tools();
    let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
    let libraries = libraries.map(|folder| root.join(folder).display().to_string());
    let log = File::create(folder.join("output")).unwrap();
    let child = tied(&root.join("usr/sbin/clickhouse-server"))
        .arg("--config-file=config.xml")
        .current_dir(folder)
        .env("LD_LIBRARY_PATH", libraries.join(":"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Process(child)
}
