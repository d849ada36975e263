//! Distinct requests of the example's event, generated before the measurement starts.
//!
//! No two requests of a bench are alike, because repeated rows compress better than real ones. Each
//! has its own message, address, task, visitor and answer of a mail server. If a bench needs more
//! requests than were generated, it sends them again with new message ids.

use std::fmt::Write;

use crate::Failure;

/// A placeholder in a message id. The generator replaces it with the pass: how often all requests
/// have been sent before.
pub const PASS: &str = "####";

const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.4 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
];
const NAMES: [&str; 16] = [
    "anna", "bob", "carla", "denis", "elena", "felix", "galina", "henry", "irina", "jonas", "katya", "lars", "maria",
    "nikita", "olga", "pavel",
];
const HOSTS: [&str; 8] = [
    "example.com",
    "mail.example",
    "post.example.org",
    "example.net",
    "corp.example",
    "yandex.example",
    "web.example.de",
    "inbox.example",
];
const SUBJECTS: [&str; 8] = [
    "Your order is on its way",
    "New arrivals for autumn",
    "Invoice for October",
    "We miss you",
    "Confirm your address",
    "Weekly digest",
    "Tickets for Saturday",
    "Your password was changed",
];

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `POST /wh/mail` with JSON of about 250 bytes, as the mail service sends it.
    Webhook,
    /// `GET /pixel/mail?…`, as a mail program fetches it.
    Pixel,
    /// `GET /redir/mail?…&to=…`, as a browser follows it.
    Redirect,
}

/// Requests of one kind.
#[derive(Debug)]
pub struct Requests {
    before: String,
    after: String,
    /// The differing parts of all requests, one after the other.
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// The position of a request's differing part, and the offset of [`PASS`] in it.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    len: u16,
    pass: u16,
}

impl Requests {
    /// Generates `count` distinct requests of a kind.
    ///
    /// # Errors
    /// If all requests together take 4 GiB or more.
    pub fn generate(kind: Kind, count: usize) -> Result<Self, Failure> {
        let mut random = Random(kind as u64 + 1);
        let mut text = String::new();
        let (before, after) = match kind {
            Kind::Webhook => (
                "POST /wh/mail HTTP/1.1\r\nHost: stats.example.com\r\nUser-Agent: mailer/2.4\r\nAccept: */*\r\n\
                 Content-Type: application/json\r\n",
                "",
            ),
            Kind::Pixel | Kind::Redirect => ("", "Host: stats.example.com\r\nAccept: */*\r\n\r\n"),
        };
        Self::with(before, after, count, |index, out| {
            text.clear();
            match kind {
                Kind::Webhook => put_webhook(&mut text, index, &mut random)?,
                Kind::Pixel | Kind::Redirect => put_link(&mut text, kind, index, &mut random)?,
            }
            out.push_str(&text);
            Ok(())
        })
    }

    /// Returns `count` requests: `put` writes each one's differing part, with one [`PASS`], between
    /// `before` and `after`.
    ///
    /// # Errors
    /// Those of `put`; and if a request has no [`PASS`], or all together take 4 GiB or more.
    pub fn with(
        before: &str,
        after: &str,
        count: usize,
        mut put: impl FnMut(usize, &mut String) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let mut requests = Self {
            before: before.to_owned(),
            after: after.to_owned(),
            bytes: Vec::new(),
            places: Vec::with_capacity(count),
        };
        let mut text = String::new();
        for index in 0..count {
            text.clear();
            put(index, &mut text)?;
            requests.places.push(Place {
                start: u32::try_from(requests.bytes.len())?,
                len: u16::try_from(text.len())?,
                pass: u16::try_from(text.find(PASS).ok_or("a request without a pass")?)?,
            });
            requests.bytes.extend_from_slice(text.as_bytes());
        }
        Ok(requests)
    }

    /// Adds a header to all requests.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let line = format!("{name}: {value}\r\n");
        if self.after.is_empty() {
            self.before.push_str(&line);
        } else {
            self.after.insert_str(0, &line);
        }
        self
    }

    /// Returns the mean length of a request in bytes.
    pub fn mean_len(&self) -> usize {
        self.before.len() + self.after.len() + self.bytes.len() / self.places.len().max(1)
    }

    /// Writes the request with this number into `out`, replacing its content.
    pub fn write(&self, number: u64, out: &mut Vec<u8>) {
        let count = self.places.len() as u64;
        let place = self.places[(number % count) as usize];
        let start = place.start as usize;
        out.clear();
        out.extend_from_slice(self.before.as_bytes());
        let pass = out.len() + usize::from(place.pass);
        out.extend_from_slice(&self.bytes[start..start + usize::from(place.len)]);
        out.extend_from_slice(self.after.as_bytes());
        let mut value = number / count;
        for digit in out[pass..pass + PASS.len()].iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
}

/// The fields that all three kinds share, with different values in each request.
struct Mail {
    message: u64,
    name: &'static str,
    number: u64,
    host: &'static str,
    list: u64,
    task: u64,
}

impl Mail {
    fn next(random: &mut Random) -> Self {
        Self {
            message: random.next(),
            name: random.of(&NAMES),
            number: random.below(100_000),
            host: random.of(&HOSTS),
            list: 10_000 + random.below(50),
            task: random.below(200),
        }
    }
}

fn put_webhook(out: &mut String, index: usize, random: &mut Random) -> Result<(), Failure> {
    let mail = Mail::next(random);
    let (queue, seconds, code) = (random.next(), 1_795_492_727 + index / 50, random.below(3));
    let detailed = match code {
        0 => format!("250 2.0.0 OK {seconds} {queue:016x} - gsmtp"),
        1 => format!("250 2.6.0 queued as {queue:011X} at {seconds}"),
        _ => format!("451 4.7.1 try again later ({queue:08x}) {seconds}"),
    };
    let body = format!(
        r#"{{"event":"{}","email":"{}{}@{}","message_id":"{PASS}-{index:08}-{:016x}","list_id":"{}","task_id":"QWERTY_TASK_{}","link_id":"","detailed":"{detailed}; {}"}}"#,
        ["sent", "delivered", "deferred"][code as usize],
        mail.name,
        mail.number,
        mail.host,
        mail.message,
        mail.list,
        mail.task,
        random.of(&SUBJECTS),
    );
    write!(out, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    Ok(())
}

fn put_link(out: &mut String, kind: Kind, index: usize, random: &mut Random) -> Result<(), Failure> {
    let mail = Mail::next(random);
    let (path, event) = match kind {
        Kind::Redirect => ("redir", "click"),
        _ => ("pixel", "open"),
    };
    write!(
        out,
        "GET /{path}/mail?event={event}&task_id=QWERTY_TASK_{}&message_id={PASS}-{index:08}-{:016x}&email={}{}%40{}&list_id={}",
        mail.task, mail.message, mail.name, mail.number, mail.host, mail.list,
    )?;
    if kind == Kind::Redirect {
        let (link, page) = (random.below(20), random.below(10_000));
        write!(out, "&link_id={link}&to=https%3A%2F%2Fshop.example%2Fgoods%2F{page}")?;
    }
    let visitor = 7_000_000_000_000_000_000 + random.next() % 1_000_000_000_000_000_000;
    write!(
        out,
        " HTTP/1.1\r\nUser-Agent: {}\r\nCookie: uid={visitor}\r\n",
        random.of(&AGENTS)
    )?;
    Ok(())
}

/// SplitMix64 with a fixed seed: each run generates the same requests.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_requests_are_alike_in_any_pass() -> Result<(), Failure> {
        for kind in [Kind::Webhook, Kind::Pixel, Kind::Redirect] {
            let requests = Requests::generate(kind, 100)?.with_header("X-Rowmill-Ack", "accepted");
            let mut request = Vec::new();
            let mut seen = HashSet::new();
            for number in 0..1_300 {
                requests.write(number, &mut request);
                let text = str::from_utf8(&request)?;
                let (head, body) = text.split_once("\r\n\r\n").ok_or("a head without an end")?;
                assert!(head.contains("\r\nX-Rowmill-Ack: accepted"), "{text}");
                assert!(
                    text.contains(&format!("{:04}-{:08}-", number / 100, number % 100)),
                    "{text}"
                );
                let length = head
                    .split("\r\n")
                    .find_map(|line| line.strip_prefix("Content-Length: "));
                assert_eq!(length.unwrap_or("0"), body.len().to_string());
                assert!(seen.insert(request.clone()), "{text}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_webhook_has_about_250_bytes() -> Result<(), Failure> {
        let requests = Requests::generate(Kind::Webhook, 1_000)?;
        let bodies = requests.bytes.len() / 1_000 - "Content-Length: 250\r\n\r\n".len();
        assert!((230..270).contains(&bodies), "{bodies}");
        Ok(())
    }
}
