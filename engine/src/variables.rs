//! The environment variables that name an engine and its cache.

/// The environment variable that names the engine.
pub const ENGINE_VARIABLE: &str = "ROWMILL_ENGINE";

/// The environment variable that names the folder to keep a fetched engine in.
pub const CACHE_VARIABLE: &str = "ROWMILL_CACHE";
