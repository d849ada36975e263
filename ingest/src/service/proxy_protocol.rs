//! The PROXY protocol: the first bytes of a connection, in which a proxy names its client.
//!
//! [The specification](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt) has two versions,
//! a line of text and a binary header; both are accepted. The header is read to its last byte and no
//! further, so that what follows it, such as a TLS handshake, is left in the connection.

use std::{io, net::SocketAddr};

use ppp::{v1, v2};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// The first bytes of a header of version 2. One of version 1 is longer.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The first bytes of a header of version 1.
const TEXT: &[u8] = b"PROXY ";

/// The longest header of version 1, according to the specification.
const MAX_TEXT: usize = 107;

/// The length of a header of version 2 before its addresses.
const FIXED: usize = 16;

/// The longest header of version 2 that is read. Addresses take at most 216 bytes, and the rest is
/// for a proxy's remarks about the connection.
const MAX_BINARY: usize = 4096;

/// Reads the header of a connection. Returns the client's address, or `None` if the proxy speaks for
/// itself, as it does in a health check.
///
/// # Errors
/// The connection does not begin with a valid header, or ends before the end of one.
pub(super) async fn read_header(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        return binary(stream, header).await;
    }
    if header.starts_with(TEXT) {
        return text(stream, header).await;
    }
    Err(invalid("the connection does not begin with a PROXY header"))
}

async fn text(stream: &mut TcpStream, mut header: Vec<u8>) -> io::Result<Option<SocketAddr>> {
    loop {
        let mut seen = [0; MAX_TEXT];
        let seen = &mut seen[..MAX_TEXT - header.len()];
        if seen.is_empty() {
            return Err(invalid("the PROXY line has no end"));
        }
        let length = stream.peek(seen).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line_end = seen[..length].iter().position(|&byte| byte == b'\n');
        let from = header.len();
        header.resize(from + line_end.map_or(length, |end| end + 1), 0);
        stream.read_exact(&mut header[from..]).await?;
        if line_end.is_some() {
            break;
        }
    }
    let header = v1::Header::try_from(&*header).map_err(|error| invalid(error.to_string()))?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(addresses) => Some((addresses.source_address, addresses.source_port).into()),
        v1::Addresses::Tcp6(addresses) => Some((addresses.source_address, addresses.source_port).into()),
        v1::Addresses::Unknown => None,
    })
}

async fn binary(stream: &mut TcpStream, mut header: Vec<u8>) -> io::Result<Option<SocketAddr>> {
    header.resize(FIXED, 0);
    stream.read_exact(&mut header[SIGNATURE.len()..]).await?;
    let length = FIXED + usize::from(u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]));
    if length > MAX_BINARY {
        return Err(invalid("the PROXY header is too long"));
    }
    header.resize(length, 0);
    stream.read_exact(&mut header[FIXED..]).await?;
    let header = v2::Header::try_from(&*header).map_err(|error| invalid(error.to_string()))?;
    Ok(match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(addresses)) => {
            Some((addresses.source_address, addresses.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(addresses)) => {
            Some((addresses.source_address, addresses.source_port).into())
        }
        _ => None,
    })
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    /// Returns the outcome for a connection that begins with `bytes`, sent in pieces of `piece`
    /// bytes, and the bytes that are left.
    async fn read(bytes: &[u8], piece: usize) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let send = async {
            let mut proxy = TcpStream::connect(address).await.unwrap();
            proxy.set_nodelay(true).unwrap();
            for piece in bytes.chunks(piece) {
                // The reader may have closed the connection.
                if proxy.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        let receive = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let header = read_header(&mut stream).await;
            let mut rest = Vec::new();
            if header.is_ok() {
                stream.read_to_end(&mut rest).await.unwrap();
            }
            (header, rest)
        };
        tokio::join!(send, receive).1
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_what_follows() {
        let ipv4 = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        let mut ipv6 = [0; 36];
        (ipv6[0], ipv6[1], ipv6[15], ipv6[32], ipv6[33]) = (0x20, 0x01, 7, 0x12, 0x67);
        let with_remarks = [&ipv4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        for (header, expected) in [
            (
                b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n".to_vec(),
                Some("203.0.113.7:4711"),
            ),
            (b"PROXY TCP6 2001::7 ::1 4711 80\r\n".to_vec(), Some("[2001::7]:4711")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff:f ffff:f 65535 65535\r\n".to_vec(), None),
            (v2(0x21, 0x11, &ipv4), Some("203.0.113.7:4711")),
            (v2(0x21, 0x11, &with_remarks), Some("203.0.113.7:4711")),
            (v2(0x21, 0x21, &ipv6), Some("[2001::7]:4711")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &ipv4), None),
        ] {
            for piece in [1, 7, 4096] {
                let (client, rest) = read(&[&header[..], b"GET / HTTP/1.1\r\n"].concat(), piece).await;
                let client = client.unwrap().map(|client| client.to_string());
                assert_eq!(client.as_deref(), expected, "{header:?}");
                assert_eq!(rest, b"GET / HTTP/1.1\r\n", "{header:?} {piece}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_a_header_is_an_error() {
        let endless = [TEXT, &[b'1'; 200]].concat();
        for bytes in [
            &b""[..],
            b"PROXY TCP4",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711\r\n",
            b"PROXY TCP4 203.0.113.700 10.0.0.1 4711 80\r\n",
            b"PROXY TCP9 203.0.113.7 10.0.0.1 4711 80\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\n",
            &endless,
            &v2(0x31, 0x11, &[0; 12]),
            &v2(0x21, 0x11, &[0; 4]),
            &v2(0x21, 0x11, &vec![0; MAX_BINARY]),
            &v2(0x21, 0x11, &[0; 12])[..20],
        ] {
            let (client, _) = read(bytes, 4096).await;
            assert!(client.is_err(), "{bytes:?}: {client:?}");
        }
    }
}
