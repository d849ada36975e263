//! The ClickHouse servers that rows may go to.

use crate::store::ClickHouseUrl;

/// The ClickHouse servers that rows may go to. Blocks take turns over those that answer, so each server
/// has a part of the rows unless the tables are replicated. A block that may be stored stays with its
/// server.
///
/// The writer applies the schema to the tables of each server before it sends a row there, as
/// [`sync`](crate::schema::sync()) does, and waits for a server that is unavailable.
/// [`without_sync`](Self::without_sync) leaves the tables unchanged.
#[derive(Debug, Clone)]
pub struct Servers(Vec<Server>);

/// One server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) url: ClickHouseUrl,
    /// Whether the writer applies the schema to the server's tables first.
    pub(crate) is_synced: bool,
}

impl Servers {
    /// Returns one server whose existing tables are used unchanged.
    pub fn without_sync(url: ClickHouseUrl) -> Self {
        Self::without_sync_of([url])
    }

    /// Returns servers whose existing tables are used unchanged.
    pub fn without_sync_of(urls: impl IntoIterator<Item = ClickHouseUrl>) -> Self {
        let server = |url| Server { url, is_synced: false };
        Self(urls.into_iter().map(server).collect())
    }

    pub(crate) fn into_vec(self) -> Vec<Server> {
        self.0
    }
}

impl From<ClickHouseUrl> for Servers {
    fn from(url: ClickHouseUrl) -> Self {
        Self::from_iter([url])
    }
}

/// Without any server, the writer delivers nothing.
impl FromIterator<ClickHouseUrl> for Servers {
    fn from_iter<T: IntoIterator<Item = ClickHouseUrl>>(urls: T) -> Self {
        let server = |url| Server { url, is_synced: true };
        Self(urls.into_iter().map(server).collect())
    }
}
