//! Who sends an event, and what the event is called.
//!
//! Takes the parsed target, what query and body claim, the headers and the peer's address; gives the event's address, its project, the
//! visitor's uid and the client. Everything is borrowed, and whatever is not valid counts as not said. Only a trusted
//! proxy is believed when it speaks of somebody else.

use std::{
    borrow::Cow,
    fmt,
    hash::Hasher,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use twox_hash::XxHash64;

use crate::{fields::Fields, target::Target};

const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The cookie that carries the visitor's uid.
pub(crate) const UID_COOKIE: &str = "uid";

const UID_DIGITS: std::ops::RangeInclusive<usize> = 10..=22;
/// The least number of ten digits. A uid of smaller value, all zeros in front, would come back as a cookie too short to be one.
const MIN_UID: u64 = 1_000_000_000;

/// The longest name of a host, in bytes ([RFC 1035](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4)).
const MAX_HOST_BYTES: usize = 253;

const FINGERPRINT_SEED: u64 = 0xCACA_3ADA;

/// What a query, or a body, says of the event that it belongs to; `None` is absent, or not a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Claims<'a> {
    /// `service`, the first half of the address.
    pub(crate) service: Option<&'a str>,
    /// `name`, the second half.
    pub(crate) name: Option<&'a str>,
    /// `projectId`; a JSON number as the text of it.
    pub(crate) project: Option<&'a str>,
    /// `uid`; a JSON number as the text of it.
    pub(crate) uid: Option<&'a str>,
}

impl<'a> Claims<'a> {
    /// Returns the claims among the fields of a query or a form.
    pub(crate) fn from_fields(fields: &'a Fields<'_>) -> Self {
        Self {
            service: fields.text("service"),
            name: fields.text("name"),
            project: fields.text("projectId"),
            uid: fields.text("uid"),
        }
    }
}

/// What an event is called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Address<'a> {
    /// The service; it stands in the query before the body before the path.
    pub(crate) service: &'a str,
    /// The name; it stands in the path before the query before the body.
    pub(crate) name: &'a str,
    /// The project; looked for in the order of the name.
    pub(crate) project: Project,
}

impl<'a> Address<'a> {
    /// Returns the address of an event; `None` when service or name is missing.
    pub(crate) fn resolve(target: &Target<'a>, query: &Claims<'a>, body: &Claims<'a>) -> Option<Self> {
        let service = first_said([query.service, body.service, Some(target.service)])?;
        let name = first_said([Some(target.name), query.name, body.name])?;
        let project = first_said([Some(target.project), query.project, body.project]);
        Some(Self {
            service,
            name,
            project: Project::parse(project),
        })
    }
}

fn first_said(claims: [Option<&str>; 3]) -> Option<&str> {
    claims.into_iter().flatten().find(|claim| !claim.is_empty())
}

/// The number of a project, as JavaScript's `Number()` reads it. Whether it fits, the column decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Project {
    /// Not said: 0.
    Missing,
    /// A whole number, exact.
    Whole(i128),
    /// A number with a fraction, or one beyond `i128`.
    Real(f64),
    /// Text that is no number: the column's default.
    NotANumber,
}

impl Project {
    fn parse(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::Missing };
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if text.is_empty() {
            return Self::Whole(0);
        }
        if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            return Self::parse_hexadecimal(digits);
        }
        // Rust's own parser also takes `inf` and `nan`.
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        {
            return Self::NotANumber;
        }
        match text.parse() {
            Ok(whole) => Self::Whole(whole),
            Err(_) => text.parse().map_or(Self::NotANumber, Self::from_real),
        }
    }

    fn parse_hexadecimal(digits: &str) -> Self {
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Self::NotANumber;
        }
        i128::from_str_radix(digits, 16).map_or_else(
            |_| {
                let digits = digits.chars().filter_map(|digit| digit.to_digit(16));
                Self::from_real(digits.fold(0.0, |number, digit| number * 16.0 + f64::from(digit)))
            },
            Self::Whole,
        )
    }

    fn from_real(number: f64) -> Self {
        const LIMIT: f64 = i128::MAX as f64;
        match number {
            _ if !number.is_finite() => Self::NotANumber,
            _ if number.fract() == 0.0 && number.abs() < LIMIT => Self::Whole(number as i128),
            _ => Self::Real(number),
        }
    }

    /// Returns the number as a column reads it from text; `None` leaves the column its default.
    pub(crate) fn to_text(self) -> Option<Cow<'static, str>> {
        match self {
            Self::Missing | Self::Whole(0) => Some(Cow::Borrowed("0")),
            Self::Whole(number) => Some(Cow::Owned(number.to_string())),
            Self::Real(number) => Some(Cow::Owned(number.to_string())),
            Self::NotANumber => None,
        }
    }
}

/// Returns the uid that the visitor has already: of the query, the body, or the cookie, whichever is valid first.
pub(crate) fn known_uid(query: &Claims<'_>, body: &Claims<'_>, headers: &HeaderMap) -> Option<u64> {
    let claimed = [query.uid, body.uid].into_iter().flatten().find_map(parse_uid);
    claimed.or_else(|| cookies(headers, UID_COOKIE).find_map(parse_uid))
}

/// Returns the uid that `text` is: 10 to 22 digits that fit 64 bits.
fn parse_uid(text: &str) -> Option<u64> {
    let is_uid = UID_DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|uid| is_uid && *uid >= MIN_UID)
}

/// Returns the values of all cookies called `name`, in the order of the headers.
fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(move |cookie| {
        let (key, value) = cookie.split_once('=')?;
        let value = value.trim();
        let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        (key.trim() == name).then(|| unquoted.unwrap_or(value))
    })
}

/// Who has sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client<'a> {
    /// The address that the request came from, or that a trusted proxy says it came from; IPv4 in its plain form.
    pub(crate) ip: IpAddr,
    /// `User-Agent`.
    pub(crate) user_agent: Option<Cow<'a, str>>,
    /// `Referer`.
    pub(crate) referer: Option<Cow<'a, str>>,
    /// The host that the client asked for, where a trusted proxy says so; a valid host name without a port.
    pub(crate) host: Option<&'a str>,
}

impl<'a> Client<'a> {
    /// Returns the client of a request that came from `peer`.
    pub(crate) fn identify(headers: &'a HeaderMap, peer: IpAddr, trusted: &TrustedProxies) -> Self {
        let peer = peer.to_canonical();
        let text = |name| {
            headers
                .get(name)
                .map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()))
        };
        let said = |name| text(name).filter(|text| !text.is_empty());
        let mut client = Self {
            ip: peer,
            user_agent: said(header::USER_AGENT),
            referer: said(header::REFERER),
            host: None,
        };
        if trusted.contains(peer) {
            let real_ip = headers
                .get(X_REAL_IP)
                .and_then(|value| value.to_str().ok()?.trim().parse().ok());
            client.ip = real_ip.map_or(peer, |ip: IpAddr| ip.to_canonical());
            client.host = headers
                .get(X_FORWARDED_HOST)
                .and_then(|value| host_of(value.to_str().ok()?));
        }
        client
    }

    /// Returns a number that tells apart address and browser; `None` without a `User-Agent`.
    ///
    /// It is the XXH64 of `<ip>:<user agent>` with its bytes in reverse, which is how the events that exist have it.
    pub(crate) fn fingerprint(&self) -> Option<u64> {
        let user_agent = self.user_agent.as_deref()?;
        let mut hash = XxHash64::with_seed(FINGERPRINT_SEED);
        let mut address = [0; 64];
        let mut rest = &mut address[..];
        // An address has 45 bytes at most.
        write!(rest, "{}:", self.ip).ok()?;
        let unused = rest.len();
        hash.write(&address[..address.len() - unused]);
        hash.write(user_agent.as_bytes());
        Some(hash.finish().swap_bytes())
    }
}

/// Returns the name in `host[:port]`, where it can be one: so that nothing but a name gets into a cookie or a row.
fn host_of(text: &str) -> Option<&str> {
    let text = text.trim();
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => text,
    };
    is_host_name(host).then_some(host)
}

fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host.len() <= MAX_HOST_BYTES && host.split('.').all(is_label)
}

/// Returns the `Domain` of the uid cookie for a collector at `domain`, so that the sites beside it share the visitor:
/// `stat.example.com` gives `.example.com`. `None`, a cookie of this host alone, for an address and for a single label.
///
/// It knows no public suffixes: under `co.uk` and the like the domain is to be set by hand.
pub(crate) fn auto_domain(domain: &str) -> Option<String> {
    let host = host_of(domain).filter(|host| host.contains('.') && host.parse::<Ipv4Addr>().is_err())?;
    let host = host.strip_prefix("www.").unwrap_or(host);
    let shared = match host.split_once('.') {
        Some((_, parent)) if parent.contains('.') => parent,
        _ => host,
    };
    Some(format!(".{shared}"))
}

/// The page that may read an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CorsOrigin<'a> {
    /// The `Origin` of the request.
    Given(&'a HeaderValue),
    /// `scheme://host[:port]` of its `Referer`.
    Referer(&'a str),
    /// Neither is known.
    Any,
}

impl<'a> CorsOrigin<'a> {
    /// Returns the origin of a request.
    pub(crate) fn from_headers(headers: &'a HeaderMap) -> Self {
        if let Some(origin) = headers.get(header::ORIGIN).filter(|origin| !origin.is_empty()) {
            return Self::Given(origin);
        }
        let referer = headers.get(header::REFERER).and_then(|referer| referer.to_str().ok());
        referer.and_then(origin_of).map_or(Self::Any, Self::Referer)
    }

    /// Returns the value of `Access-Control-Allow-Origin`.
    pub(crate) fn to_value(self) -> HeaderValue {
        match self {
            Self::Given(origin) => origin.clone(),
            Self::Referer(origin) => HeaderValue::from_str(origin).unwrap_or(HeaderValue::from_static("*")),
            Self::Any => HeaderValue::from_static("*"),
        }
    }
}

fn origin_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let is_authority = authority.starts_with(|c| c != ':')
        && authority
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    (is_scheme && is_authority).then(|| &url[..scheme.len() + "://".len() + authority.len()])
}

/// The addresses of proxies that are believed when they say who the client is. The default is the machine itself.
///
/// Read from text: addresses and networks, with commas between them; the empty text trusts nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// A network; one of IPv4 stands where IPv6 maps it, so that one comparison serves both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: u128,
    mask: u128,
}

/// A text that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkError(String);

impl TrustedProxies {
    /// Returns whether `ip` is one of them.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        let ip = bits_of(ip);
        self.0.iter().any(|network| ip & network.mask == network.address)
    }
}

impl Default for TrustedProxies {
    fn default() -> Self {
        Self(vec![
            Network::new(Ipv4Addr::new(127, 0, 0, 0).to_ipv6_mapped(), 96 + 8),
            Network::new(Ipv6Addr::LOCALHOST, 128),
        ])
    }
}

impl FromStr for TrustedProxies {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let networks = text.split(',').map(str::trim).filter(|network| !network.is_empty());
        networks
            .map(|network| Network::parse(network).ok_or_else(|| NetworkError(network.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Network {
    fn new(address: Ipv6Addr, prefix: u32) -> Self {
        let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        Self {
            address: address.to_bits() & mask,
            mask,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse().ok()?)),
            None => (text, None),
        };
        match address.parse().ok()? {
            IpAddr::V4(address) => {
                let prefix = prefix.unwrap_or(32);
                (prefix <= 32).then(|| Self::new(address.to_ipv6_mapped(), 96 + prefix))
            }
            IpAddr::V6(address) => {
                let prefix = prefix.unwrap_or(128);
                (prefix <= 128).then(|| Self::new(address, prefix))
            }
        }
    }
}

fn bits_of(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is neither an IP address nor a network such as 10.0.0.0/8",
            self.0
        )
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Map, Value};

    use super::*;
    use crate::body::{Declared, Payload};

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
    const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let bytes = |value: &str| HeaderValue::from_bytes(value.as_bytes()).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), bytes(value));
        }
        headers
    }

    #[test]
    fn reads_a_project_as_a_number_of_javascript() {
        let cases = [
            ("99", Project::Whole(99)),
            ("-5", Project::Whole(-5)),
            ("+7", Project::Whole(7)),
            ("007", Project::Whole(7)),
            ("4294967296", Project::Whole(4_294_967_296)),
            ("18446744073709551615", Project::Whole(u64::MAX.into())),
            ("0x10", Project::Whole(16)),
            ("0XfF", Project::Whole(255)),
            (" 5\n", Project::Whole(5)),
            ("  ", Project::Whole(0)),
            ("1e3", Project::Whole(1000)),
            ("2.0", Project::Whole(2)),
            ("-0", Project::Whole(0)),
            ("1.5", Project::Real(1.5)),
            (".5", Project::Real(0.5)),
            ("1e40", Project::Real(1e40)),
            ("abc", Project::NotANumber),
            ("5a", Project::NotANumber),
            ("0x", Project::NotANumber),
            ("0x-1", Project::NotANumber),
            ("-0x10", Project::NotANumber),
            ("1_000", Project::NotANumber),
            ("Infinity", Project::NotANumber),
            ("inf", Project::NotANumber),
            ("nan", Project::NotANumber),
            ("1e400", Project::NotANumber),
            (".", Project::NotANumber),
            ("1e", Project::NotANumber),
        ];
        for (text, project) in cases {
            assert_eq!(Project::parse(Some(text)), project, "{text}");
        }
        assert_eq!(Project::parse(None), Project::Missing);
        assert!(matches!(
            Project::parse(Some(&format!("0x{}", "f".repeat(40)))),
            Project::Real(_)
        ));
        assert_eq!(
            Project::parse(Some(&format!("0x{}", "f".repeat(400)))),
            Project::NotANumber
        );
        assert_eq!(Project::parse(Some("1.5")).to_text().as_deref(), Some("1.5"));
        assert_eq!(Project::parse(Some("-5")).to_text().as_deref(), Some("-5"));
        assert_eq!(Project::Missing.to_text().as_deref(), Some("0"));
        assert_eq!(Project::NotANumber.to_text(), None);
    }

    #[test]
    fn takes_the_first_valid_uid() {
        let query = |uid| Claims {
            uid: Some(uid),
            ..Claims::default()
        };
        let none = Claims::default();
        let cookie = headers(&[(header::COOKIE, "a=b; uid=3333333333; uid=4444444444")]);
        assert_eq!(
            known_uid(&query("1111111111"), &query("2222222222"), &cookie),
            Some(1_111_111_111)
        );
        assert_eq!(
            known_uid(&query("abc"), &query("2222222222"), &cookie),
            Some(2_222_222_222)
        );
        assert_eq!(known_uid(&query("0"), &none, &cookie), Some(3_333_333_333));
        assert_eq!(known_uid(&none, &none, &HeaderMap::new()), None);
    }

    #[test]
    fn accepts_ten_to_twenty_two_digits_that_fit() {
        let valid = [
            ("1000000000", MIN_UID),
            ("18446744073709551615", u64::MAX),
            ("0018446744073709551615", u64::MAX),
        ];
        for (text, uid) in valid {
            assert_eq!(parse_uid(text), Some(uid));
        }
        let invalid = [
            "",
            "0",
            "123456789",
            "18446744073709551616",
            "9999999999999999999999",
            "00018446744073709551615",
            "0000000012",
            "+1234567890",
            "-1234567890",
            " 1234567890",
            "1234567890\n",
            "12345678９0",
        ];
        for text in invalid {
            assert_eq!(parse_uid(text), None, "{text}");
        }
    }

    #[test]
    fn finds_cookies_among_others() {
        let found = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| (header::COOKIE, *line)).collect();
            cookies(&headers(&lines), "uid").map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(found(&["uid=1"]), ["1"]);
        assert_eq!(found(&["xuid=0;uid = \"2\" ;uidx=3"]), ["2"]);
        assert_eq!(found(&["a", "uid", "=;;", "uid=3", "b=uid=4"]), ["3"]);
        assert_eq!(found(&["uid=\u{44f}", "uid=5"]), ["5"]);
        assert!(found(&["UID=1"]).is_empty());
    }

    #[test]
    fn believes_a_proxy_only_where_it_is_trusted() {
        let headers = headers(&[
            (X_REAL_IP, "198.51.100.1"),
            (X_FORWARDED_HOST, "stat.example.com:443"),
            (header::USER_AGENT, "ua"),
            (header::REFERER, ""),
        ]);
        let trusted = TrustedProxies::default();
        let direct = Client::identify(&headers, PEER, &trusted);
        assert_eq!((direct.ip, direct.host, direct.referer), (PEER, None, None));
        let proxied = Client::identify(&headers, PROXY, &trusted);
        assert_eq!(
            (proxied.ip.to_string().as_str(), proxied.host),
            ("198.51.100.1", Some("stat.example.com"))
        );
        let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        assert_eq!(Client::identify(&headers, mapped, &trusted), proxied);
        assert_eq!(Client::identify(&headers, PROXY, &"".parse().unwrap()).ip, PROXY);
    }

    #[test]
    fn keeps_the_peer_when_a_proxy_talks_nonsense() {
        for (ip, host) in [
            ("unknown", "a.com; Path=/x"),
            ("1.2.3", "a.com, b.com"),
            ("", ""),
            ("1.1.1.1, 2.2.2.2", "a..b"),
        ] {
            let headers = headers(&[(X_REAL_IP, ip), (X_FORWARDED_HOST, host)]);
            let client = Client::identify(&headers, PROXY, &TrustedProxies::default());
            assert_eq!((client.ip, client.host), (PROXY, None), "{ip} {host}");
        }
    }

    #[test]
    fn takes_only_names_for_hosts() {
        for (text, host) in [
            ("a.com", "a.com"),
            ("a.com:8080", "a.com"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("a_b", "a_b"),
        ] {
            assert_eq!(host_of(text), Some(host));
        }
        let long = "a".repeat(64);
        let all = format!("{}a", "a.".repeat(127));
        for text in [
            "", ".", "a.", ".a", "a:b", "a:99999", "[::1]:80", "a b", "a;b", "a\"b", "п.рф", &long, &all, "a/b",
        ] {
            assert_eq!(host_of(text), None, "{text}");
        }
    }

    #[test]
    fn shares_the_cookie_with_the_sites_beside() {
        let cases = [
            ("stat.example.com", Some(".example.com")),
            ("www.example.com", Some(".example.com")),
            ("example.com", Some(".example.com")),
            ("a.b.example.com:8080", Some(".b.example.com")),
            ("example.co.uk", Some(".co.uk")),
            ("localhost", None),
            ("10.0.0.5", None),
            ("not a host", None),
        ];
        for (domain, expected) in cases {
            assert_eq!(auto_domain(domain).as_deref(), expected, "{domain}");
        }
    }

    #[test]
    fn allows_the_origin_or_that_of_the_referer() {
        let value = |pairs: &[(HeaderName, &str)]| CorsOrigin::from_headers(&headers(pairs)).to_value();
        assert_eq!(
            value(&[(header::ORIGIN, "https://a.ru"), (header::REFERER, "https://b.ru/")]),
            "https://a.ru"
        );
        assert_eq!(value(&[(header::ORIGIN, "null")]), "null");
        assert_eq!(
            value(&[(header::ORIGIN, ""), (header::REFERER, "https://b.ru/x")]),
            "https://b.ru"
        );
        let referers = [
            ("http://b.ru:81?x://y", "http://b.ru:81"),
            ("https://[::1]:80/", "https://[::1]:80"),
            ("android-app://com.example", "android-app://com.example"),
            ("junk", "*"),
            ("://b.ru", "*"),
            ("https://", "*"),
            ("https://:80", "*"),
            ("https://user@b.ru/", "*"),
            ("https://b.ru,c.ru/", "*"),
            ("1http://b.ru", "*"),
            ("/x?y=https://b.ru", "*"),
        ];
        for (referer, origin) in referers {
            assert_eq!(value(&[(header::REFERER, referer)]), origin, "{referer}");
        }
        assert_eq!(value(&[]), "*");
    }

    #[test]
    fn knows_its_networks() {
        let trusted: TrustedProxies = "10.0.0.0/8, 192.168.1.7,fd00::/8 ,, 2001:db8::1".parse().unwrap();
        for ip in ["10.255.0.1", "192.168.1.7", "fd12::1", "2001:db8::1", "::ffff:10.1.1.1"] {
            assert!(trusted.contains(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["11.0.0.1", "192.168.1.8", "fe00::1", "2001:db8::2", "127.0.0.1"] {
            assert!(!trusted.contains(ip.parse().unwrap()), "{ip}");
        }
        let everybody: TrustedProxies = "0.0.0.0/0".parse().unwrap();
        assert!(everybody.contains(PEER) && !everybody.contains("2001:db8::1".parse().unwrap()));
        assert!("::/0".parse::<TrustedProxies>().unwrap().contains(PEER));
        for text in ["10.0.0.0/33", "::/129", "10.0.0/8", "host", "10.0.0.1/", "10.0.0.1/-1"] {
            let error = text.parse::<TrustedProxies>().unwrap_err();
            assert!(error.to_string().contains(text));
        }
    }

    #[test]
    fn makes_the_recorded_fingerprint() {
        let headers = headers(&[(header::USER_AGENT, "ua")]);
        let client = Client::identify(&headers, PROXY, &TrustedProxies::default());
        assert_eq!(client.fingerprint(), Some(14_676_452_135_893_381_398));
        assert_eq!(
            Client::identify(&HeaderMap::new(), PROXY, &TrustedProxies::default()).fingerprint(),
            None
        );
        let longest = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));
        assert!(
            Client::identify(&headers, longest, &TrustedProxies::default())
                .fingerprint()
                .is_some()
        );
    }

    /// Recorded cases that are answered otherwise on purpose: the data that is recorded instead, or `None` for a refusal.
    const DIFFERENT_ON_PURPOSE: [(&str, Option<&str>); 5] = [
        // Sniffed by its brace: all three became one absurd key.
        ("json w/out content-type", Some(r#"{"event":"b"}"#)),
        ("json text/plain", Some(r#"{"event":"b"}"#)),
        (".gif ext with JSON ctype", Some(r#"{"event":"b"}"#)),
        // The type is matched in any case.
        ("json upper ctype", Some(r#"{"event":"b"}"#)),
        // Became absurd keys as well; now refused with a reason.
        ("multipart", None),
    ];

    /// `/` is a page whatever the query says, which is decided before anything of this file.
    const PAGE: &str = "/";

    #[test]
    fn makes_the_recorded_events() {
        let mut differences = 0;
        for line in include_str!("../../tests/golden/02_http_cases.jsonl").lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let name = case["name"].as_str().unwrap();
            let uri: http::Uri = case["request"]["target"].as_str().unwrap().parse().unwrap();
            if uri.path() == PAGE {
                continue;
            }
            let made = made_event(&case["request"], &uri);
            let mut expected = case["event"].clone();
            if let Some((_, data)) = DIFFERENT_ON_PURPOSE.iter().find(|(different, _)| *different == name) {
                differences += 1;
                match data {
                    Some(data) => expected["data"] = serde_json::from_str(data).unwrap(),
                    None => expected = Value::Null,
                }
            }
            if expected.is_null() {
                assert_eq!(made, None, "{name}");
                continue;
            }
            let Some(made) = made else {
                unreachable!("{name} is refused")
            };
            for key in ["service", "name", "projectId", "channel", "data"] {
                assert_eq!(made[key], expected[key], "{key} of {name}");
            }
        }
        assert_eq!(differences, DIFFERENT_ON_PURPOSE.len());
    }

    fn made_event(request: &Value, uri: &http::Uri) -> Option<Value> {
        let target = Target::parse(uri.path());
        let sent: Vec<(String, String)> = serde_json::from_value(request["headers"].clone()).unwrap();
        let header = |name: &str| {
            sent.iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_bytes())
        };
        let declared = Declared {
            extension: target.extension,
            content_type: header("Content-Type"),
            content_encoding: header("Content-Encoding"),
        };
        let body = match &request["body"]["base64"] {
            Value::String(text) => from_base64(text),
            _ => request["body"]["text"].as_str().unwrap().as_bytes().to_vec(),
        };
        let payload = if request["method"] == "POST" {
            Payload::parse(declared, &body).ok()?
        } else {
            Payload::Empty
        };
        let query = Fields::from_query(uri.query().unwrap_or_default());
        let mut data = match &payload {
            Payload::Empty => Map::new(),
            Payload::Form(form) => object_of(form),
            // An array, a number or a string is an event without data.
            Payload::Json(text) => match serde_json::from_str(text).ok()? {
                Value::Object(data) => data,
                _ => Map::new(),
            },
        };
        let text_of = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let said: Vec<Option<String>> = ["service", "name", "projectId"]
            .iter()
            .map(|key| data.get(*key).map(text_of))
            .collect();
        let in_body = Claims {
            service: said[0].as_deref(),
            name: said[1].as_deref(),
            project: said[2].as_deref(),
            uid: None,
        };
        let address = Address::resolve(&target, &Claims::from_fields(&query), &in_body)?;
        let project = address
            .project
            .to_text()
            .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
        data.extend(object_of(&query));
        Some(serde_json::json!({
            "service": address.service,
            "name": address.name,
            "projectId": project,
            "channel": if declared.is_image() { "pixel" } else { "http" },
            "data": data,
        }))
    }

    fn object_of(fields: &Fields<'_>) -> Map<String, Value> {
        match fields {
            Fields::Flat(pairs) => pairs
                .iter()
                .map(|(name, value)| (name.to_string(), (&**value).into()))
                .collect(),
            Fields::Tree(tree) => serde_json::from_str(tree.json()).unwrap(),
        }
    }

    fn from_base64(text: &str) -> Vec<u8> {
        const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
        for digit in text.chars().map_while(|digit| DIGITS.find(digit)) {
            bits = (bits << 6) | digit as u32;
            count += 6;
            if count >= 8 {
                count -= 8;
                bytes.push((bits >> count) as u8);
            }
        }
        bytes
    }
}
