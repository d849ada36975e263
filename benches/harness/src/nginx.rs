//! nginx as collectors of pictures are often built: it answers, and what was asked goes to a log of JSON lines that something else reads.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Command,
};

use crate::Failure;

/// What is answered where: the original's routes for what is all in the head, each with a fixed answer, in one process that can be measured as one.
const CONFIG: &str = r#"
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events { worker_connections 16384; }
http {
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    log_format event escape=json '{"time":"$msec","ip":"$remote_addr","uri":"$uri","query":"$args","status":$status,'
        '"agent":"$http_user_agent","referer":"$http_referer","cookie":"$http_cookie"}';
    access_log events.log event buffer=64k flush=1s;
    server {
        listen ADDRESS;
        location /pixel/ { empty_gif; }
        location /redir/ { return 302 https://example.com/; }
    }
}
"#;

/// Returns the command that runs nginx in `folder`, and where it will listen; none where it is not installed.
///
/// # Errors
/// Those of the file system.
pub fn command(folder: &Path) -> Result<Option<(Command, SocketAddr)>, Failure> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Where Debian puts it is not on the path of everybody.
    let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    let Some(program) = folders.map(|folder| folder.join("nginx")).find(|file| file.is_file()) else {
        return Ok(None);
    };
    // It cannot be told to take any port that is free.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    fs::create_dir_all(folder)?;
    let config = folder.join("nginx.conf");
    fs::write(&config, CONFIG.replace("ADDRESS", &address.to_string()))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).arg("-c").arg(config);
    // The log that is open before the configuration is read.
    command.args(["-e", "stderr"]);
    Ok(Some((command, address)))
}
