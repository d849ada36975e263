//! Automated: requests that a program makes by itself, and not a person who opens a page or a mail.
//!
//! Only what a program states in its headers counts. Apple's mail proxy states nothing that its
//! documentation names, and its requests look like those of people.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The value for a request of a person, as far as its headers show.
const NONE: &str = "";
/// A browser fetches a page or an image before anybody opens it.
const PREFETCH: &str = "prefetch";
/// A mail provider fetches the images of a mail for its users.
const MAIL_PROXY: &str = "mail-proxy";
/// A program fetches a link of a mail or a chat to check it or to show a preview.
const SCANNER: &str = "scanner";
/// Any other program that names itself as one.
const BOT: &str = "bot";

/// The headers in which browsers state the purpose of a request.
const PURPOSE_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
];

/// The starts of purposes that are not a visit; `Sec-Purpose` has parameters behind one.
const PURPOSES: [&[u8]; 3] = [b"prefetch", b"prerender", b"preview"];

/// The parts of the header `User-Agent`, in lower case, by which programs name themselves. The first
/// kind that fits counts.
const MARKS: [(&str, &[&str]); 3] = [
    (MAIL_PROXY, &["googleimageproxy", "yahoomailproxy"]),
    (
        SCANNER,
        &[
            "barracuda",
            "bitlybot",
            "discordbot",
            "facebookexternalhit",
            "linkedinbot",
            "mattermost-bot",
            "microsoftpreview",
            "mimecast",
            "pinterestbot",
            "proofpoint",
            "skypeuripreview",
            "slackbot",
            "slack-imgproxy",
            "telegrambot",
            "twitterbot",
            "urlscan",
            "viber",
            "virustotal",
            "vkshare",
            "whatsapp",
        ],
    ),
    (
        BOT,
        &[
            "bot/",
            "bot;",
            "bot)",
            "bot ",
            "-bot",
            "_bot",
            "crawler",
            "crawl/",
            "curl/",
            "go-http-client",
            "headlesschrome",
            "libwww-perl",
            "lighthouse",
            "okhttp/",
            "phantomjs",
            "python-requests",
            "python-urllib",
            "python/",
            "scrapy",
            "spider",
            "wget/",
        ],
    ),
];

/// The longest part of the header that is searched, in bytes.
const SEARCHED_BYTES: usize = 1024;

/// Returns the kind of program that made a request: `prefetch`, `mail-proxy`, `scanner`, `bot`, or an
/// empty text for none.
pub(crate) fn automated(headers: &HeaderMap) -> &'static str {
    let is_purpose = |value: &HeaderValue| {
        let value = value.as_bytes().trim_ascii_start();
        let starts = |purpose: &[u8]| {
            value
                .get(..purpose.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(purpose))
        };
        PURPOSES.into_iter().any(starts)
    };
    if PURPOSE_HEADERS
        .iter()
        .any(|name| headers.get_all(name).iter().any(is_purpose))
    {
        return PREFETCH;
    }
    let Some(user_agent) = headers.get(header::USER_AGENT) else {
        return NONE;
    };
    let user_agent = user_agent.as_bytes();
    let user_agent = &user_agent[..user_agent.len().min(SEARCHED_BYTES)];
    // The phones of one maker have a name that ends like a bot's.
    let user_agent = String::from_utf8_lossy(user_agent)
        .to_ascii_lowercase()
        .replace("cubot", "");
    let is_named = |marks: &[&str]| marks.iter().any(|mark| user_agent.contains(mark)) || user_agent.ends_with("bot");
    let kind = MARKS.into_iter().find(|(kind, marks)| match *kind {
        BOT => is_named(marks),
        _ => marks.iter().any(|mark| user_agent.contains(mark)),
    });
    kind.map_or(NONE, |(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn programs_state_what_they_are() {
        let chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 \
                      Safari/537.36";
        for (name, value, expected) in [
            ("user-agent", chrome, NONE),
            ("user-agent", "Mozilla/5.0", NONE),
            ("user-agent", "", NONE),
            (
                "user-agent",
                "Mozilla/5.0 (Linux; Android 9; CUBOT X19) Chrome/99.0",
                NONE,
            ),
            ("sec-purpose", "prefetch", PREFETCH),
            ("sec-purpose", "Prefetch;prerender", PREFETCH),
            ("sec-purpose", "", NONE),
            ("purpose", "prefetch", PREFETCH),
            ("x-purpose", "preview", PREFETCH),
            ("x-moz", "prefetch", PREFETCH),
            ("x-moz", "no", NONE),
            (
                "user-agent",
                "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
                MAIL_PROXY,
            ),
            (
                "user-agent",
                "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
                MAIL_PROXY,
            ),
            (
                "user-agent",
                "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
                SCANNER,
            ),
            ("user-agent", "facebookexternalhit/1.1", SCANNER),
            ("user-agent", "WhatsApp/2.23.20.0", SCANNER),
            (
                "user-agent",
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                BOT,
            ),
            ("user-agent", "Mozilla/5.0 (compatible; bingbot/2.0)", BOT),
            ("user-agent", "curl/8.5.0", BOT),
            ("user-agent", "MyBot", BOT),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(automated(&headers), expected, "{name}: {value}");
        }
        assert_eq!(automated(&HeaderMap::new()), NONE);
        let mut long = HeaderMap::new();
        long.insert(header::USER_AGENT, HeaderValue::from_str(&"é".repeat(2000)).unwrap());
        assert_eq!(automated(&long), NONE);
    }
}
