//! The options of `rowmill serve` for the browsers of visitors.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use rowmill_ingest::layer::{AllowedOrigin, CookieDomain, CookieName, SameSite, VisitorCookie};

use super::value::seconds;

#[derive(Debug, Clone, Args)]
pub(crate) struct BrowserOptions {
    /// Origins of the pages that may send the visitor's cookie and read the response, such as
    /// https://shop.example.com or https://*.example.com, separated by commas. Other pages may read
    /// responses to requests without cookies. Default: the pages of the collector's own site.
    #[arg(long, env = "ROWMILL_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) allow_origin: Vec<AllowedOrigin>,

    /// Name of the visitor's cookie.
    #[arg(long, env = "ROWMILL_COOKIE_NAME", default_value = "uid", value_name = "NAME")]
    pub(crate) cookie_name: CookieName,

    /// Domain whose hosts share the visitor's cookie, such as example.com. Default: the parent domain
    /// of --domain, or the X-Forwarded-Host of a trusted proxy, or the collector's host alone.
    #[arg(long, env = "ROWMILL_COOKIE_DOMAIN", value_name = "DOMAIN")]
    pub(crate) cookie_domain: Option<CookieDomain>,

    /// Pages of other sites whose requests contain the cookie: all (none), those that link to the
    /// collector (lax), or no page (strict). Over plain HTTP, `none` becomes `lax`.
    #[arg(
        long,
        env = "ROWMILL_COOKIE_SAME_SITE",
        value_enum,
        default_value = "none",
        value_name = "none|lax|strict"
    )]
    pub(crate) cookie_same_site: SameSiteValue,

    /// Time after which a browser deletes the cookie, such as 30d or 3600 (seconds), counted from the
    /// visitor's last event; 0 means when the browser closes.
    #[arg(long, env = "ROWMILL_COOKIE_MAX_AGE", default_value = "1095d", value_parser = seconds, value_name = "DURATION")]
    pub(crate) cookie_max_age: Duration,

    /// Set and read no cookie; each event without a `uid` of its own then has a new visitor.
    #[arg(long, env = "ROWMILL_NO_COOKIE")]
    pub(crate) no_cookie: bool,

    /// Script of Rockstat's browser library, which /lib.js sends after the calls that configure it.
    /// Default: only these calls.
    #[arg(long, env = "ROWMILL_LIB_JS", value_name = "FILE")]
    pub(crate) lib_js: Option<PathBuf>,
}

impl BrowserOptions {
    /// Returns the script of the browser library; empty if there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn library(&self) -> Result<Arc<str>, String> {
        let Some(file) = &self.lib_js else {
            return Ok(Arc::default());
        };
        let script = fs::read_to_string(file).map_err(|error| format!("--lib-js {}: {error}", file.display()))?;
        Ok(script.into())
    }

    /// Returns the visitor's cookie, unless there is none.
    pub(crate) fn cookie(&self) -> Option<VisitorCookie> {
        (!self.no_cookie).then(|| VisitorCookie {
            name: self.cookie_name.clone(),
            domain: self.cookie_domain.clone(),
            same_site: self.cookie_same_site.into(),
            max_age: self.cookie_max_age,
        })
    }
}

/// A value of the cookie's attribute `SameSite`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SameSiteValue {
    None,
    Lax,
    Strict,
}

impl From<SameSiteValue> for SameSite {
    fn from(value: SameSiteValue) -> Self {
        match value {
            SameSiteValue::None => Self::None,
            SameSiteValue::Lax => Self::Lax,
            SameSiteValue::Strict => Self::Strict,
        }
    }
}
