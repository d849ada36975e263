//! The recordings: requests, and the original's answers and events.

use serde_json::Value;

use super::answer::NormalizedAnswer;

const ANSWERS: &[u8] = include_bytes!("../../golden/01_http_full_headers.txt");
const CASES: &str = include_str!("../../golden/02_http_cases.jsonl");

/// The original's address in the recordings.
const RECORDED_ORIGIN: &str = "http://127.0.0.1:18080";

/// A request with the original's answer and event.
pub struct Recording {
    pub name: String,
    pub request: Request,
    pub answer: NormalizedAnswer,
    pub record: Record,
}

pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// The recorded event.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// The recording does not contain the event.
    Unknown,
    /// There was no event.
    None,
    Event(Value),
}

/// Reads whole answers, each between two lines: `----- request` with curl's arguments, and
/// `[curl rc 0]`.
pub fn whole_answers() -> Vec<Recording> {
    let find = |text: &[u8], word: &[u8]| text.windows(word.len()).position(|window| window == word);
    let mut rest = ANSWERS;
    let mut recordings = Vec::new();
    while let Some(end) = find(rest, b"\n[curl rc 0]\n") {
        let one = &rest[..end];
        rest = &rest[end + "\n[curl rc 0]\n".len()..];
        let head = find(one, b"\n\n").unwrap();
        let mut lines = std::str::from_utf8(&one[..head]).unwrap().lines();
        let command = lines.next().unwrap().strip_prefix("----- ").unwrap();
        let name = command.replace(RECORDED_ORIGIN, "");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut body = &one[head + 2..];
        if name.contains("-o /dev/null") {
            // The recording does not contain the page.
            body = b"<!DOCTYPE html>";
            headers.retain(|(name, _)| name != "Content-Length");
        }
        recordings.push(Recording {
            request: request_of(&name),
            answer: NormalizedAnswer::of(status, &headers, body, true),
            record: Record::Unknown,
            name,
        });
    }
    recordings
}

/// Reads the request from curl's arguments.
fn request_of(command: &str) -> Request {
    let (options, body) = command.split_once(" -d ").unwrap_or((command, ""));
    let header = options
        .split_once(" -H ")
        .and_then(|(_, header)| header.split_once(": "));
    // The default Content-Type of a body in curl.
    let form = (!body.is_empty()).then_some(("Content-Type", "application/x-www-form-urlencoded"));
    let method = match options.strip_prefix("-X ").and_then(|rest| rest.split(' ').next()) {
        Some(method) => method,
        None if options.starts_with("-I ") => "HEAD",
        None => "GET",
    };
    let target = options.split(' ').find(|word| word.starts_with('/')).unwrap();
    let headers = header.or(form).map(|(name, value)| (name.to_owned(), value.to_owned()));
    Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: headers.into_iter().collect(),
        body: body.as_bytes().to_vec(),
    }
}

/// Reads the cases with their events, one per line.
pub fn cases() -> Vec<Recording> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pairs = |value: &Value| serde_json::from_value::<Vec<(String, String)>>(value.clone()).unwrap();
    CASES
        .lines()
        .map(|line| {
            let case: Value = serde_json::from_str(line).unwrap();
            let (request, answer) = (&case["request"], &case["answer"]);
            let status = answer["status"].as_u64().unwrap().try_into().unwrap();
            Recording {
                name: text(&case["name"]),
                request: Request {
                    method: text(&request["method"]),
                    target: text(&request["target"]),
                    headers: pairs(&request["headers"]),
                    body: match &request["body"]["base64"] {
                        Value::String(base64) => from_base64(base64),
                        _ => text(&request["body"]["text"]).into_bytes(),
                    },
                },
                answer: NormalizedAnswer::of(
                    status,
                    &pairs(&answer["headers"]),
                    text(&answer["body"]).as_bytes(),
                    false,
                ),
                record: match &case["event"] {
                    Value::Null => Record::None,
                    event => Record::Event(event.clone()),
                },
            }
        })
        .collect()
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.chars().map_while(|digit| DIGITS.find(digit)) {
        bits = bits << 6 | u32::try_from(digit).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}
