//! Content codings: decodes a compressed body, piece by piece and within its limits.
//!
//! The limits hold while the decoder writes: for the decoded body, for the ratio to the body as
//! sent, and for what is between two codings. A body that exceeds them is refused with what is
//! decoded so far, so a small body cannot fill the memory.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Cursor, Read},
};

use brotli_decompressor::{BrotliDecoderParameter, Decompressor};
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status, bufread::MultiGzDecoder};

use crate::{
    budget::{Booking, SpoolFull},
    native::time_slice::TimeSlice,
    request::{body::BodyError, read_body::BodyLimits},
};

/// The maximum number of codings of one body.
const MAX_CODINGS: usize = 2;

/// The maximum size of a decoded body, as a multiple of the body as sent.
const MAX_RATIO: usize = 200;

/// The size that any decoded body may have, whatever its ratio is, in bytes.
const SIZE_OF_ANY_RATIO: usize = 1 << 20;

/// The largest window of zstd, as a power of 2: the 8 MiB that
/// [RFC 9659](https://www.rfc-editor.org/rfc/rfc9659) allows in HTTP.
const MAX_ZSTD_WINDOW: u32 = 23;

/// The number of bytes to decode between two reads of the clock.
const PIECE: usize = 16 << 10;

/// A coding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The codings of a body, in the order in which the sender applied them; at most [`MAX_CODINGS`].
type Codings = Vec<Coding>;

/// Returns the codings that a `Content-Encoding` names.
fn codings(content_encoding: &[u8]) -> Result<Codings, BodyError> {
    let names = content_encoding.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
    let codings: Option<Codings> = names.take(MAX_CODINGS + 1).map(coding).collect();
    codings
        .filter(|codings| codings.len() <= MAX_CODINGS)
        .ok_or(BodyError::UnknownCoding)
}

fn coding(name: &[u8]) -> Option<Coding> {
    const NAMES: [(&str, Coding); 5] = [
        ("gzip", Coding::Gzip),
        ("x-gzip", Coding::Gzip),
        ("deflate", Coding::Deflate),
        ("br", Coding::Brotli),
        ("zstd", Coding::Zstd),
    ];
    let found = NAMES
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
    found.map(|(_, coding)| *coding)
}

/// The reason why a body is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecodeError {
    /// The body cannot be read.
    Body(BodyError),
    /// The decoded body is larger than allowed.
    TooLarge,
    /// The requests in progress have used up their memory budget.
    OutOfMemory,
}

impl From<BodyError> for DecodeError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<SpoolFull> for DecodeError {
    fn from(_: SpoolFull) -> Self {
        Self::OutOfMemory
    }
}

/// A body that is being decoded.
pub(super) struct Decoding {
    reader: Box<dyn Read + Send>,
    decoded: Vec<u8>,
    limits: BodyLimits,
    /// The maximum size by the ratio to the body as sent, in bytes.
    max_expanded: usize,
    booking: Booking,
    /// The bytes booked for the body as sent.
    booked_for_sent: usize,
}

impl Decoding {
    /// Begins to decode a body with these codings, of which `booking` has the memory.
    ///
    /// # Errors
    ///
    /// [`BodyError::UnknownCoding`].
    pub(super) fn begin(
        content_encoding: &[u8],
        body: Bytes,
        limits: BodyLimits,
        booking: Booking,
    ) -> Result<Self, BodyError> {
        let codings = codings(content_encoding)?;
        let max_expanded = body.len().saturating_mul(MAX_RATIO).max(SIZE_OF_ANY_RATIO);
        let mut reader: Box<dyn BufRead + Send> = Box::new(Cursor::new(body));
        for coding in codings.into_iter().rev() {
            let decoder = decoder(coding, reader).map_err(|_| BodyError::Coding)?;
            let limited = Limited {
                reader: decoder,
                left: limits.max_array_bytes.min(max_expanded),
            };
            reader = Box::new(BufReader::with_capacity(PIECE, limited));
        }
        Ok(Self {
            reader: Box::new(reader),
            decoded: Vec::new(),
            limits,
            max_expanded,
            booked_for_sent: booking.bytes(),
            booking,
        })
    }

    /// Decodes for one time slice, at most up to a length of `max_length` bytes. Returns whether
    /// the body is complete.
    ///
    /// # Errors
    ///
    /// Any [`DecodeError`].
    pub(super) fn step(&mut self, max_length: usize) -> Result<bool, DecodeError> {
        let slice = TimeSlice::begin();
        while self.decoded.len() < max_length {
            if self.read_piece()? == 0 {
                return Ok(true);
            }
            if slice.is_spent() {
                break;
            }
        }
        Ok(false)
    }

    /// Decodes one piece, and returns its length.
    fn read_piece(&mut self) -> Result<usize, DecodeError> {
        let length = self.decoded.len();
        if length + PIECE > self.decoded.capacity() {
            let capacity = (length + PIECE).max(2 * self.decoded.capacity());
            // A decoder keeps up to as much for its window.
            self.booking.grow_to(self.booked_for_sent + 2 * capacity)?;
            self.decoded.reserve_exact(capacity - length);
        }
        self.decoded.resize(length + PIECE, 0);
        let read = self.reader.read(&mut self.decoded[length..]);
        self.decoded.truncate(length + read.as_ref().map_or(0, |count| *count));
        let max_bytes = self.limits.max_of(&self.decoded);
        match read {
            Ok(count) if length + count <= max_bytes.min(self.max_expanded) => Ok(count),
            Err(error) if error.kind() != io::ErrorKind::FileTooLarge => Err(DecodeError::Body(BodyError::Coding)),
            _ if max_bytes > self.max_expanded => Err(DecodeError::Body(BodyError::Expansion)),
            _ => Err(DecodeError::TooLarge),
        }
    }

    /// Returns the decoded body with its booking.
    pub(super) fn finish(self) -> (Bytes, Booking) {
        (self.decoded.into(), self.booking)
    }
}

/// Returns a decoder of a body that arrives in pieces, and has at most one coding; at least two bytes of
/// the body must be there. The decoder fails with the error of `body`, and can be read again after
/// `WouldBlock`.
///
/// # Errors
///
/// [`BodyError::UnknownCoding`], or [`BodyError::TwoCodings`].
pub(super) fn streamed(
    content_encoding: &[u8],
    body: Box<dyn BufRead + Send>,
) -> Result<Box<dyn Read + Send>, BodyError> {
    match codings(content_encoding)?[..] {
        [] => Ok(Box::new(body)),
        [coding] => decoder(coding, body).map_err(|_| BodyError::Coding),
        _ => Err(BodyError::TwoCodings),
    }
}

/// Returns the coding of a compressed file that begins with `start`; empty if the file is not
/// compressed, or in another way.
pub(super) fn coding_of_file(start: &[u8]) -> &'static str {
    match start {
        [0x1f, 0x8b, ..] => "gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        _ => "",
    }
}

/// Returns whether a decoded body is far larger than the body as sent.
pub(super) const fn is_expansion(decoded: u64, sent: u64) -> bool {
    decoded > SIZE_OF_ANY_RATIO as u64 && decoded > sent.saturating_mul(MAX_RATIO as u64)
}

/// Returns a decoder of one coding.
fn decoder(coding: Coding, mut encoded: Box<dyn BufRead + Send>) -> io::Result<Box<dyn Read + Send>> {
    Ok(match coding {
        Coding::Gzip => Box::new(MultiGzDecoder::new(encoded)),
        // By RFC 9110, `deflate` has the header of zlib; some senders omit it.
        Coding::Deflate => Box::new(Inflate {
            inflate: Decompress::new(has_zlib_header(encoded.fill_buf()?)),
            encoded,
            is_complete: false,
        }),
        Coding::Brotli => {
            let mut decoder = Decompressor::new(encoded, PIECE);
            // Larger windows are not part of the coding `br`.
            decoder.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
            Box::new(decoder)
        }
        Coding::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(encoded)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW)?;
            Box::new(decoder)
        }
    })
}

/// Returns whether data begins with a header of zlib ([RFC 1950](https://www.rfc-editor.org/rfc/rfc1950)).
fn has_zlib_header(data: &[u8]) -> bool {
    match data {
        [method, flags, ..] => method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0,
        _ => false,
    }
}

/// A decoder of `deflate` that fails if the end is missing; those of flate2 do not.
struct Inflate<R> {
    encoded: R,
    inflate: Decompress,
    is_complete: bool,
}

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = self.encoded.fill_buf()?;
            let is_end = input.is_empty();
            if self.is_complete {
                return match is_end {
                    true => Ok(0),
                    false => Err(io::ErrorKind::InvalidData.into()),
                };
            }
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(input, buffer, FlushDecompress::None)
                .map_err(|_| io::ErrorKind::InvalidData)?;
            self.encoded.consume((self.inflate.total_in() - read) as usize);
            let count = (self.inflate.total_out() - written) as usize;
            self.is_complete = status == Status::StreamEnd;
            match count {
                0 if self.is_complete => {}
                0 if is_end => return Err(io::ErrorKind::UnexpectedEof.into()),
                0 if self.inflate.total_in() == read => return Err(io::ErrorKind::InvalidData.into()),
                0 => {}
                _ => return Ok(count),
            }
        }
    }
}

/// A reader that fails after a number of bytes.
struct Limited<R> {
    reader: R,
    left: usize,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count)
            .ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(count)
    }
}

impl fmt::Debug for Decoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoding")
            .field("decoded", &self.decoded.len())
            .finish_non_exhaustive()
    }
}
