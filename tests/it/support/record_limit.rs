//! A limit of the length of records, for a broker that has none: the answer of Kafka's protocol to
//! records that are longer than `max.message.bytes`.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

/// The number of the request that appends records.
const PRODUCE: i16 = 0;

/// The error code of records that are longer than the topic accepts.
const MESSAGE_TOO_LARGE: i16 = 10;

/// Passes the requests of a client on to the broker, and answers those whose records have more than
/// `max_bytes` itself. A client waits for the answer to one request before it sends the next one.
pub fn pass_requests(mut client: TcpStream, mut broker: TcpStream, max_bytes: usize) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        client.read_exact(&mut request)?;
        match refusal(&request, max_bytes) {
            Some(answer) => {
                client.write_all(&(answer.len() as u32).to_be_bytes())?;
                client.write_all(&answer)?;
            }
            None => {
                broker.write_all(&length)?;
                broker.write_all(&request)?;
            }
        }
    }
}

/// Returns the answer to a request with long records for one partition; `None` for other requests.
///
/// The request is of version 3 to 7: kind, version, number, client; transaction, acks, timeout, topics.
fn refusal(mut request: &[u8], max_bytes: usize) -> Option<Vec<u8>> {
    let kind = take_i16(&mut request)?;
    let version = take_i16(&mut request)?;
    let number = take(&mut request, 4)?;
    if kind != PRODUCE {
        return None;
    }
    let _client = take_text(&mut request)?;
    let _transaction = take_text(&mut request)?;
    let _acks_and_timeout = take(&mut request, 6)?;
    let _topics = take(&mut request, 4)?;
    let topic = take_text(&mut request)?;
    let _partitions = take(&mut request, 4)?;
    let partition = take(&mut request, 4)?;
    let records = u32::from_be_bytes(take(&mut request, 4)?.try_into().unwrap());
    if records as usize <= max_bytes {
        return None;
    }
    let mut answer = number.to_vec();
    answer.extend(1_u32.to_be_bytes());
    answer.extend((topic.len() as u16).to_be_bytes());
    answer.extend(topic);
    answer.extend(1_u32.to_be_bytes());
    answer.extend(partition);
    answer.extend(MESSAGE_TOO_LARGE.to_be_bytes());
    // The offset, the time, from version 5 on the first offset, and the time to wait.
    answer.extend((-1_i64).to_be_bytes());
    answer.extend((-1_i64).to_be_bytes());
    if version >= 5 {
        answer.extend((-1_i64).to_be_bytes());
    }
    answer.extend(0_u32.to_be_bytes());
    Some(answer)
}

fn take<'r>(request: &mut &'r [u8], length: usize) -> Option<&'r [u8]> {
    let (value, rest) = request.split_at_checked(length)?;
    *request = rest;
    Some(value)
}

fn take_i16(request: &mut &[u8]) -> Option<i16> {
    Some(i16::from_be_bytes(take(request, 2)?.try_into().unwrap()))
}

/// Takes a text, which may be absent.
fn take_text<'r>(request: &mut &'r [u8]) -> Option<&'r [u8]> {
    let length = take_i16(request)?;
    take(request, usize::try_from(length).unwrap_or(0))
}
