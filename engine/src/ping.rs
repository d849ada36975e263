//! Checks whether an engine answers, and whether it is ours.
//!
//! `GET /ping` is not enough: another ClickHouse may take the port after the check and before ours
//! does. It would answer while ours fails. The request therefore carries the password, which only
//! an engine on the same data folder accepts.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::access::Account;

/// The timeout for a server that accepts a connection and does not answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A valid answer has a few hundred bytes; a longer one is cut here and fails the check.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Returns whether a ClickHouse at the address accepts this user and password.
pub(crate) fn accepts(address: SocketAddr, account: &Account) -> bool {
    request(address, account).is_ok_and(|answer| is_one(&answer))
}

fn request(address: SocketAddr, account: &Account) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // HTTP/1.0, so that the answer is not chunked and the connection closes after it.
    write!(
        stream,
        "GET /?query=SELECT%201 HTTP/1.0\r\nHost: {address}\r\n{}Connection: close\r\n\r\n",
        account.headers("\r\n")
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Returns whether an answer has status 200 and the body `1`.
fn is_one(answer: &[u8]) -> bool {
    let is_ok = answer.starts_with(b"HTTP/1.0 200 ") || answer.starts_with(b"HTTP/1.1 200 ");
    is_ok && answer.ends_with(b"\r\n\r\n1\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_status_200_with_the_expected_body_is_accepted() {
        assert!(is_one(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n1\n"));
        assert!(!is_one(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n0\n"));
        assert!(!is_one(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n11\n"));
        assert!(!is_one(b"HTTP/1.1 500 Oh\r\n\r\n1\n"));
        assert!(!is_one(b"1\n"));
        assert!(!is_one(b""));
    }
}
