//! One request and its answer, off the clock: questions to ClickHouse and to a server's own pages.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use crate::Failure;

/// Sends a request and returns the status and the body of its answer.
///
/// # Errors
/// If nobody answers, or not with HTTP.
pub fn ask(address: SocketAddr, method: &str, target: &str, body: &str) -> Result<(u16, String), Failure> {
    let mut stream = TcpStream::connect(address)?;
    // HTTP/1.0: the answer comes as it is and ends with the connection.
    write!(
        stream,
        "{method} {target} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or("an answer without a status")?, body.to_owned()))
}
