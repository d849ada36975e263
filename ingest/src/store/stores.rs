//! Stores: the ClickHouse servers that rows may go to.

use crate::store::StoreUrl;

/// The ClickHouse servers that rows may go to: one, or replicas of each other, of which one is used as long as it answers.
///
/// The writer brings the tables of each server to the schema before it sends a row there, as
/// [`sync`](crate::sync()) does, and waits for a server that is unavailable.
/// [`without_sync`](Self::without_sync) leaves the tables to somebody else.
#[derive(Debug, Clone)]
pub struct Stores(Vec<Store>);

/// One server.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) url: StoreUrl,
    /// Its tables are brought to the schema first.
    pub(crate) is_synced: bool,
}

impl Stores {
    /// Returns one server whose tables are taken as they are: somebody else has made them.
    pub fn without_sync(url: StoreUrl) -> Self {
        Self::without_sync_of([url])
    }

    /// Returns replicas whose tables are taken as they are: somebody else has made them.
    pub fn without_sync_of(urls: impl IntoIterator<Item = StoreUrl>) -> Self {
        let store = |url| Store { url, is_synced: false };
        Self(urls.into_iter().map(store).collect())
    }

    pub(crate) fn into_vec(self) -> Vec<Store> {
        self.0
    }
}

impl From<StoreUrl> for Stores {
    fn from(url: StoreUrl) -> Self {
        Self::from_iter([url])
    }
}

/// Without any, nothing is delivered.
impl FromIterator<StoreUrl> for Stores {
    fn from_iter<T: IntoIterator<Item = StoreUrl>>(urls: T) -> Self {
        let store = |url| Store { url, is_synced: true };
        Self(urls.into_iter().map(store).collect())
    }
}
