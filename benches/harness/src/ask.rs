//! Single requests outside of the measurement: queries to ClickHouse and requests to a server's own
//! pages.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::Failure;

/// The time limit for each read of an answer: ClickHouse takes seconds to count the rows of a
/// bench.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Sends a request and returns the status and the body of its answer.
///
/// # Errors
/// If the server sends nothing for two minutes, or answers with something other than HTTP.
pub fn ask(address: SocketAddr, method: &str, target: &str, body: &str) -> Result<(u16, String), Failure> {
    ask_as("", address, method, target, body)
}

/// As [`ask`], with further headers, each with its line end.
pub(crate) fn ask_as(
    headers: &str,
    address: SocketAddr,
    method: &str,
    target: &str,
    body: &str,
) -> Result<(u16, String), Failure> {
    ask_within(TIMEOUT, headers, address, method, target, body)
        .map_err(|error| format!("{address}: {method} {target} {}: {error}", beginning(body)).into())
}

fn ask_within(
    timeout: Duration,
    headers: &str,
    address: SocketAddr,
    method: &str,
    target: &str,
    body: &str,
) -> Result<(u16, String), Failure> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    // With HTTP/1.0 the body is not chunked and ends with the connection.
    write!(
        stream,
        "{method} {target} HTTP/1.0\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an incomplete answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or("an answer without a status")?, body.to_owned()))
}

/// Returns the part of a body that an error shows.
fn beginning(body: &str) -> &str {
    body.get(..100).unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_server_that_never_answers_times_out() -> Result<(), Failure> {
        // The kernel accepts the connection and buffers the request; no code reads it.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let result = ask_within(Duration::from_millis(50), "", listener.local_addr()?, "GET", "/", "");
        let error = result
            .map(drop)
            .err()
            .and_then(|error| error.downcast::<std::io::Error>().ok());
        assert!(error.is_some_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        Ok(())
    }
}
