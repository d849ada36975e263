//! Requests of Kafka's protocol before a broker that lacks a rule: a limit of the length of records,
//! or a login.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use super::sasl::{Login, Mechanism, Step};

/// The number of the request that appends records.
const PRODUCE: i16 = 0;

/// The number of the request that chooses the mechanism of a login.
const SASL_HANDSHAKE: i16 = 17;

/// The number of the request that asks for the versions of requests, which needs no login.
const API_VERSIONS: i16 = 18;

/// The number of the request with a message of a login.
const SASL_AUTHENTICATE: i16 = 36;

/// The error code of records that are longer than the topic accepts.
const MESSAGE_TOO_LARGE: i16 = 10;

/// The error code of a mechanism that the broker does not offer.
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;

/// The error code of a wrong user or password.
const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// The rule of a gate.
#[derive(Debug, Clone)]
pub enum Rule {
    /// All requests go to the broker.
    Open,
    /// The records of one append have at most this number of bytes (`max.message.bytes`).
    MaxRecordBytes(usize),
    /// A connection begins with a login of this mechanism.
    Login(Mechanism, Login),
}

/// A request, without its length.
struct Request<'r> {
    kind: i16,
    version: i16,
    number: &'r [u8],
    body: &'r [u8],
}

/// Passes the requests of a client on to the broker, and answers those that the rule concerns. A
/// client waits for the answer to one request before it sends the next one.
pub fn pass_requests(mut client: TcpStream, mut broker: TcpStream, rule: &Rule) -> io::Result<()> {
    let mut is_known = !matches!(rule, Rule::Login(..));
    let mut login = None;
    loop {
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        client.read_exact(&mut bytes)?;
        let Some(request) = Request::read(&bytes) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let answer = match (rule, request.kind) {
            (Rule::MaxRecordBytes(max), PRODUCE) => request.too_large(*max),
            (Rule::Login(mechanism, credentials), SASL_HANDSHAKE) => {
                login = Some(credentials.begin(*mechanism));
                Some(request.handshake(*mechanism))
            }
            (Rule::Login(..), SASL_AUTHENTICATE) => {
                let message = request.login_message();
                let step = match (&mut login, message) {
                    (Some(login), Some(message)) => login.step(message),
                    _ => Step::Failed,
                };
                is_known = matches!(step, Step::Done(_));
                Some(request.authenticate(&step))
            }
            (_, API_VERSIONS) => None,
            // As Kafka does.
            _ if !is_known => return Ok(()),
            _ => None,
        };
        match answer {
            Some(answer) => {
                client.write_all(&(answer.len() as u32).to_be_bytes())?;
                client.write_all(&answer)?;
            }
            None => {
                broker.write_all(&length)?;
                broker.write_all(&bytes)?;
            }
        }
    }
}

impl<'r> Request<'r> {
    fn read(mut bytes: &'r [u8]) -> Option<Self> {
        let kind = take_i16(&mut bytes)?;
        let version = take_i16(&mut bytes)?;
        let number = take(&mut bytes, 4)?;
        let _client = take_text(&mut bytes)?;
        Some(Self {
            kind,
            version,
            number,
            body: bytes,
        })
    }

    /// Returns the answer to long records for one partition; `None` for others. The version is 3 to 7.
    fn too_large(&self, max_bytes: usize) -> Option<Vec<u8>> {
        let mut body = self.body;
        let _transaction = take_text(&mut body)?;
        let _acks_and_timeout = take(&mut body, 6)?;
        let _topics = take(&mut body, 4)?;
        let topic = take_text(&mut body)?;
        let _partitions = take(&mut body, 4)?;
        let partition = take(&mut body, 4)?;
        let records = u32::from_be_bytes(take(&mut body, 4)?.try_into().unwrap());
        if records as usize <= max_bytes {
            return None;
        }
        let mut answer = self.number.to_vec();
        answer.extend(1_u32.to_be_bytes());
        put_text(&mut answer, topic);
        answer.extend(1_u32.to_be_bytes());
        answer.extend(partition);
        answer.extend(MESSAGE_TOO_LARGE.to_be_bytes());
        // The offset, the time, from version 5 on the first offset, and the time to wait.
        answer.extend([0xff; 16]);
        if self.version >= 5 {
            answer.extend([0xff; 8]);
        }
        answer.extend(0_u32.to_be_bytes());
        Some(answer)
    }

    /// Returns the answer to the choice of a mechanism, which names the only one.
    fn handshake(&self, mechanism: Mechanism) -> Vec<u8> {
        let chosen = take_text(&mut { self.body });
        let error = match chosen == Some(mechanism.name().as_bytes()) {
            true => 0,
            false => UNSUPPORTED_SASL_MECHANISM,
        };
        let mut answer = self.number.to_vec();
        answer.extend(error.to_be_bytes());
        answer.extend(1_u32.to_be_bytes());
        put_text(&mut answer, mechanism.name().as_bytes());
        answer
    }

    /// Returns the message of a login. From version 2 on, lengths are shorter.
    fn login_message(&self) -> Option<&'r [u8]> {
        let mut body = self.body;
        if self.version < 2 {
            let length = u32::from_be_bytes(take(&mut body, 4)?.try_into().unwrap());
            return take(&mut body, length as usize);
        }
        let _tags = take(&mut body, 1)?;
        let mut length = 0;
        for shift in [0, 7, 14] {
            let byte = take(&mut body, 1)?[0];
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        take(&mut body, length.checked_sub(1)?)
    }

    /// Returns the answer to a message of a login.
    fn authenticate(&self, step: &Step) -> Vec<u8> {
        let (error, message) = match step {
            Step::Continue(message) | Step::Done(message) => (0, message.as_slice()),
            Step::Failed => (SASL_AUTHENTICATION_FAILED, &b""[..]),
        };
        let mut answer = self.number.to_vec();
        if self.version < 2 {
            answer.extend(error.to_be_bytes());
            answer.extend((-1_i16).to_be_bytes());
            answer.extend((message.len() as u32).to_be_bytes());
            answer.extend(message);
            if self.version == 1 {
                answer.extend([0; 8]);
            }
            return answer;
        }
        answer.push(0);
        answer.extend(error.to_be_bytes());
        answer.push(0);
        let length = message.len() + 1;
        answer.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
        answer.extend(message);
        answer.extend([0; 8]);
        answer.push(0);
        answer
    }
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

fn put_text(answer: &mut Vec<u8>, text: &[u8]) {
    answer.extend((text.len() as u16).to_be_bytes());
    answer.extend(text);
}
