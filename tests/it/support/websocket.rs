//! A WebSocket client that sends any frames, and reads texts.

use std::{
    io::{BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::http::{self, Answer};

/// The headers of a handshake, without a host.
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// An open session.
#[derive(Debug)]
pub struct WebSocket {
    stream: BufReader<TcpStream>,
    /// The head of the response that has opened the session.
    pub opened: Answer,
}

/// A message of the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Text(String),
    /// The session ends with this code.
    Close(u16),
    /// The connection ends.
    End,
}

impl WebSocket {
    /// Opens a session; fails with the response if the server opens none.
    pub fn open(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Result<Self, Answer> {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all((request + "\r\n").as_bytes()).unwrap();
        let mut stream = BufReader::new(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let opened = http::parse(&head);
        match opened.status {
            101 => Ok(Self { stream, opened }),
            _ => Err(opened),
        }
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends a text in one frame.
    pub fn send(&mut self, text: &str) -> std::io::Result<()> {
        self.send_bytes(&frame(0x81, text.as_bytes()))
    }

    /// Waits for the next message.
    pub fn receive(&mut self) -> Message {
        self.try_receive().unwrap_or(Message::End)
    }

    fn try_receive(&mut self) -> std::io::Result<Message> {
        let mut text = Vec::new();
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head)?;
            let length = match head[1] {
                126 => {
                    let mut length = [0; 2];
                    self.stream.read_exact(&mut length)?;
                    u16::from_be_bytes(length).into()
                }
                127 => panic!("no frame of the server is so long"),
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload)?;
            match head[0] & 0xf {
                8 => return Ok(Message::Close(u16::from_be_bytes([payload[0], payload[1]]))),
                0 | 1 => {
                    text.extend_from_slice(&payload);
                    if head[0] & 0x80 != 0 {
                        return Ok(Message::Text(String::from_utf8(text).unwrap()));
                    }
                }
                _ => {}
            }
        }
    }

    /// Waits for the next text, which is JSON.
    pub fn json(&mut self) -> serde_json::Value {
        match self.receive() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// Returns a frame with the mask 0.
pub fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![head];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | length as u8),
        length @ ..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}
