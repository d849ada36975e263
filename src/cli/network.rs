//! The options of `rowmill serve` about connections: TLS, the operator's listener, and proxies.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use http::HeaderName;
use rowmill_ingest::server::ClientCertificates;

use super::value::{address, seconds};

#[derive(Debug, Clone, Args)]
pub(crate) struct NetworkOptions {
    /// Certificate for https, as a PEM file with its intermediate certificates. The collector reads
    /// it again when it changes. Default: plain HTTP.
    #[arg(long, env = "ROWMILL_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert, as a PEM file.
    #[arg(long, env = "ROWMILL_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// CA that signs the certificates of senders, as a PEM file. Needs --tls-cert. Default: senders
    /// need no certificate.
    #[arg(long, env = "ROWMILL_TLS_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// Senders that need a certificate of --tls-client-ca: `required` for all; `optional` for those of
    /// routes with `verify: { scheme: client-certificate }`.
    #[arg(
        long,
        env = "ROWMILL_TLS_CLIENT_CERT",
        value_enum,
        default_value = "required",
        value_name = "required|optional",
        hide_possible_values = true
    )]
    pub(crate) tls_client_cert: ClientCertificatesOption,

    /// Listener of the operator's pages /metrics, /ready and /: an address for a listener of their
    /// own; `local` for --listen, and only for requests of this machine without a proxy; `public`
    /// for --listen and everyone; `off`. Every listener has /health; with `local` and `off`, /ready
    /// without reasons, too.
    #[arg(
        long,
        env = "ROWMILL_ADMIN_LISTEN",
        default_value = "local",
        value_name = "ADDR|local|public|off"
    )]
    pub(crate) admin_listen: AdminListen,

    /// File with a token; requests with it as `Authorization: Bearer` see the operator's pages on
    /// each listener, and a listener of their own needs it then.
    #[arg(long, env = "ROWMILL_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,

    /// Time that an idle connection is kept open after a response, such as 75 or 75s; longer than
    /// the balancer in front keeps it.
    #[arg(long, env = "ROWMILL_IDLE_TIMEOUT", default_value = "75s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) idle_timeout: Duration,

    /// Read the header of the PROXY protocol, version 1 or 2, at the start of each connection of a
    /// trusted proxy; such a connection without the header is closed.
    #[arg(long, env = "ROWMILL_PROXY_PROTOCOL")]
    pub(crate) proxy_protocol: bool,

    /// Header in which the trusted proxies name the client, such as CF-Connecting-IP. Default:
    /// X-Real-IP, or else Forwarded or X-Forwarded-For.
    #[arg(long, env = "ROWMILL_CLIENT_ADDRESS_HEADER", value_name = "NAME")]
    pub(crate) client_address_header: Option<HeaderName>,
}

/// Whether each sender needs a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientCertificatesOption {
    /// Each sender.
    Required,
    /// Those of routes that verify it.
    Optional,
}

impl From<ClientCertificatesOption> for ClientCertificates {
    fn from(option: ClientCertificatesOption) -> Self {
        match option {
            ClientCertificatesOption::Required => Self::Required,
            ClientCertificatesOption::Optional => Self::Optional,
        }
    }
}

/// The listener of the operator's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdminListen {
    /// The public listener, for direct requests of this machine.
    Local,
    /// The public listener, for everyone.
    Public,
    /// None.
    Off,
    /// A listener of their own.
    At(SocketAddr),
}

impl FromStr for AdminListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            "public" => Ok(Self::Public),
            "off" => Ok(Self::Off),
            text => address(text)
                .map(Self::At)
                .map_err(|error| format!("{error}, or `local`, `public` or `off`")),
        }
    }
}
