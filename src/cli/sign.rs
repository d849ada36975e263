//! The options of `rowmill sign`.

use std::time::Duration;

use clap::Args;

use super::value::seconds;

#[derive(Debug, Clone, Args)]
pub(crate) struct SignOptions {
    /// Target of the link, such as https://example.org/offer.
    pub(crate) url: String,

    /// Route of the link, as the schema has it, such as redir/mail.
    #[arg(long, value_name = "ROUTE")]
    pub(crate) route: String,

    /// Time until the link expires, such as 24h or 90d.
    #[arg(long, default_value = "90d", value_parser = seconds, value_name = "DURATION")]
    pub(crate) expires: Duration,

    /// Environment variable with the key. Default: the first secret of the route in the schema.
    #[arg(long, value_name = "NAME")]
    pub(crate) key_env: Option<String>,

    /// URL of the collector, which precedes the path, such as https://stat.example.com.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "URL")]
    pub(crate) base: String,
}
