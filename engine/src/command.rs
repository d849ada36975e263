//! Builds the command line that keeps `clickhouse local` serving until its standard input closes.

use std::{ffi::OsString, net::SocketAddr, path::Path};

/// Makes ClickHouse listen, then read a standard input that never carries data.
///
/// ClickHouse runs the queries as its user `default`, who needs a right for each (see `access`).
///
/// A query over `file('-')` ends with the input, and `clickhouse local` then shuts down cleanly.
/// (An endless sleep would keep it up too, but only a signal can end that.)
const QUERIES: &str = "SYSTEM START LISTEN HTTP; SELECT * FROM file('-', 'LineAsString', 'line String') FORMAT Null";

/// Returns the arguments of ClickHouse's `local`, without the program and the word `local`.
pub(crate) fn arguments(listen: SocketAddr, data: &Path, config: &Path) -> Vec<OsString> {
    let with = |flag: &str, path: &Path| {
        let mut argument = OsString::from(flag);
        argument.push(path);
        argument
    };
    vec![
        with("--path=", data),
        with("--config-file=", config),
        format!("--listen_host={}", listen.ip()).into(),
        format!("--http_port={}", listen.port()).into(),
        format!("--query={QUERIES}").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_are_written_as_clickhouse_reads_them() {
        let arguments_for = |listen: SocketAddr| arguments(listen, Path::new("/d"), Path::new("/c.xml"));
        let four = arguments_for(([127, 0, 0, 1], 8123).into());
        assert_eq!(
            four[..4],
            [
                "--path=/d",
                "--config-file=/c.xml",
                "--listen_host=127.0.0.1",
                "--http_port=8123"
            ]
        );
        let six = arguments_for((std::net::Ipv6Addr::LOCALHOST, 1).into());
        assert_eq!(six[2], "--listen_host=::1");
    }
}
