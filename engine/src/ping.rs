//! Whether an engine answers, and whether it is the one that we mean.
//!
//! `GET /ping` is not enough: between the look at a port and ClickHouse's taking it, another ClickHouse may
//! have come, and would answer while ours fails. So the question carries the password, which only an
//! engine on the same data folder knows.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::access::Account;

/// A server that accepts and then says nothing is asked again after so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer is a few hundred bytes; what goes on longer is not one.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Returns whether a ClickHouse at the address knows this user by this password.
pub(crate) fn knows(address: SocketAddr, account: &Account) -> bool {
    ask(address, account).is_ok_and(|answer| is_one(&answer))
}

fn ask(address: SocketAddr, account: &Account) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // HTTP/1.0, so that the answer is neither chunked nor kept open.
    write!(
        stream,
        "GET /?query=SELECT%201 HTTP/1.0\r\nHost: {address}\r\n{}Connection: close\r\n\r\n",
        account.headers("\r\n")
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Whether an answer is 200 with the body `1`.
fn is_one(answer: &[u8]) -> bool {
    let is_ok = answer.starts_with(b"HTTP/1.0 200 ") || answer.starts_with(b"HTTP/1.1 200 ");
    is_ok && answer.ends_with(b"\r\n\r\n1\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_answer_counts() {
        assert!(is_one(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n1\n"));
        assert!(!is_one(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n0\n"));
        assert!(!is_one(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n11\n"));
        assert!(!is_one(b"HTTP/1.1 500 Oh\r\n\r\n1\n"));
        assert!(!is_one(b"1\n"));
        assert!(!is_one(b""));
    }
}
