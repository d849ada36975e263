//! The environment variables that name an engine and its cache.

/// The environment variable that names the engine.
pub const ENGINE_VARIABLE: &str = "ROWMILL_ENGINE";

/// The environment variable that names the cache folder for a fetched engine.
pub const CACHE_VARIABLE: &str = "ROWMILL_CACHE";
