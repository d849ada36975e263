//! nginx as a collector of pixels, a common setup: it answers, and writes each request to a log of
//! JSON lines for another program to read.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Command,
};

use crate::Failure;

/// The routes whose events are complete in the request's head, each with a fixed answer, in a
/// single process, which is measured as a whole.
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

/// Returns the command that runs nginx in `folder` and its listen address, or `None` if nginx is
/// not installed.
///
/// # Errors
/// Those of the file system.
pub fn command(folder: &Path) -> Result<Option<(Command, SocketAddr)>, Failure> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian's folder for nginx is not on every user's `PATH`.
    let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    let Some(program) = folders.map(|folder| folder.join("nginx")).find(|file| file.is_file()) else {
        return Ok(None);
    };
    // nginx cannot choose a free port, so the bench chooses one.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    fs::create_dir_all(folder)?;
    let config = folder.join("nginx.conf");
    fs::write(&config, CONFIG.replace("ADDRESS", &address.to_string()))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).arg("-c").arg(config);
    // The log that nginx opens before it reads its configuration.
    command.args(["-e", "stderr"]);
    Ok(Some((command, address)))
}
