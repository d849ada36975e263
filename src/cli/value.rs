//! The values of options.

use std::{
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;

/// Parses a pair of column names.
pub(super) fn renamed(text: &str) -> Result<(String, String), String> {
    let (old, new) = text.split_once('=').ok_or("not of the form OLD=NEW")?;
    Ok((old.to_owned(), new.to_owned()))
}

/// Parses a time, or an age as a time in the past.
pub(super) fn since(text: &str) -> Result<SystemTime, String> {
    const HELP: &str = "expected a time such as 2026-11-28T22:00:00Z, or an age such as 90m, 24h or 7d";
    if let Ok(time) = text.parse::<Timestamp>() {
        return SystemTime::try_from(time).map_err(|error| error.to_string());
    }
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(HELP)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(HELP.to_owned()),
    };
    let age = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(seconds));
    age.and_then(|age| SystemTime::now().checked_sub(Duration::from_secs(age)))
        .ok_or_else(|| HELP.to_owned())
}

/// Parses a duration: a number of seconds, or a number with a unit.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    const HELP: &str = "expected a number of seconds, or a duration such as 500ms, 30s, 5m, 2h or 1d";
    let (number, unit) = number_and_unit(text);
    let factor = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(HELP.to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| HELP.to_owned())?;
    Duration::try_from_secs_f64(number * factor).map_err(|error| error.to_string())
}

/// Parses a number of parts per second.
pub(super) fn parts_per_second(text: &str) -> Result<f64, String> {
    let is_rate = |rate: &f64| rate.is_finite() && *rate >= 0.0;
    let rate = text.parse().ok().filter(is_rate);
    rate.ok_or_else(|| "expected a number of parts per second, such as 5 or 0.5, or 0 for no limit".to_owned())
}

/// Parses a size in bytes: a number of bytes, or a number with a unit.
pub(super) fn bytes<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    const HELP: &str = "expected a number of bytes, or a size such as 64KiB, 256MiB, 8GiB, 500kB or 2GB";
    let (number, unit) = number_and_unit(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(HELP.to_owned()),
    };
    let bytes = match number.parse::<u64>() {
        Ok(number) => number.checked_mul(factor),
        Err(_) => return Err(HELP.to_owned()),
    };
    let bytes = bytes.and_then(|bytes| T::try_from(bytes).ok());
    bytes.ok_or_else(|| "the size is too large".to_owned())
}

/// Returns the number at the start of a text, and the unit after it.
fn number_and_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    // A float may have an exponent.
    if text.parse::<f64>().is_ok_and(f64::is_finite) {
        return (text, "");
    }
    (number.trim_end(), unit)
}

/// Parses an address to listen on. Without a host, it is all addresses of the machine.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    const HELP: &str = "expected a host and a port, such as 127.0.0.1:8080, localhost:8080 or :8080";
    if let Some(port) = text.strip_prefix(':') {
        let port = port.parse().map_err(|_| HELP.to_owned())?;
        return Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(_))) {
        return Err(HELP.to_owned());
    }
    let addresses = text
        .to_socket_addrs()
        .map_err(|error| format!("cannot find the host: {error}"))?;
    // `localhost` may be an IPv6 address as well; the default of the option is an IPv4 address.
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
        .first()
        .copied()
        .ok_or_else(|| "the host has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_an_age() {
        assert_eq!(
            since("1970-01-01T00:01:00Z"),
            Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(60))
        );
        for (text, seconds) in [("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("5s", 5)] {
            let age = since(text).ok().and_then(|time| time.elapsed().ok());
            assert_eq!(age.map(|age| age.as_secs()), Some(seconds), "{text}");
        }
        for text in [
            "",
            "d",
            "7",
            "7w",
            "-1d",
            "é",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert!(since(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_is_a_number_of_seconds_or_has_a_unit() {
        for (text, milliseconds) in [
            ("0", 0),
            ("30", 30_000),
            ("0.5", 500),
            ("1e3", 1_000_000),
            ("30s", 30_000),
            ("500ms", 500),
            ("1.5m", 90_000),
            ("2 h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(seconds(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "-1", "-1s", "30x", "30 s s", "nan", "inf", "1e400", "30S"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_a_number_of_bytes_or_has_a_unit() {
        for (text, size) in [
            ("0", 0),
            ("268435456", 256 << 20),
            ("256MiB", 256 << 20),
            ("256 mib", 256 << 20),
            ("8GiB", 8 << 30),
            ("64KiB", 64 << 10),
            ("500kB", 500_000),
            ("2GB", 2_000_000_000),
            ("12B", 12),
        ] {
            assert_eq!(bytes::<u64>(text), Ok(size), "{text}");
        }
        // A single letter has two meanings.
        for text in [
            "",
            "MiB",
            "1.5GiB",
            "-1",
            "1M",
            "1e6",
            "256MiBs",
            "18446744073709551616",
            "18446744073709551615KiB",
        ] {
            assert!(bytes::<u64>(text).is_err(), "{text}");
        }
        assert!(bytes::<u32>("8GiB").is_err());
    }

    #[test]
    fn an_address_may_have_a_name_or_no_host() {
        for (text, expected) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (":8080", "0.0.0.0:8080"),
            ("[::1]:0", "[::1]:0"),
            ("localhost:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(
                address(text).map(|address| address.to_string()),
                Ok(expected.to_owned())
            );
        }
        for text in [
            "",
            ":",
            "8080",
            "localhost",
            "127.0.0.1",
            "127.0.0.1:",
            "localhost:http",
            ":99999",
            "::1",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
