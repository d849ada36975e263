//! HMACs in place of values: equal values have equal HMACs, and the values do not follow from them
//! without the key.

use std::{env, fmt};

use ring::hmac::{self, HMAC_SHA256, Key};

use super::{Privacy, Salt};

/// The bytes of an HMAC that are kept: enough that two values never share one.
const HASH_BYTES: usize = 16;

const MS_PER_DAY: u64 = 86_400_000;

/// The keys of all routes of one layer.
#[derive(Debug)]
pub(crate) struct Salts(Vec<(&'static str, Option<Key>)>);

impl Salts {
    /// Reads the keys from their environment variables. A variable that is not set or empty is an
    /// error in the log, and the values that it would hash are dropped.
    pub(crate) fn read<'p>(options: impl Iterator<Item = &'p Privacy>) -> Self {
        let mut salts = Vec::new();
        for Salt { env, .. } in options.filter_map(|privacy| privacy.salt) {
            if salts.iter().any(|(known, _)| *known == env) {
                continue;
            }
            let key = key(env);
            if key.is_none() {
                tracing::error!(
                    variable = env,
                    "the environment variable with the key of hashes is not set: the values are dropped"
                );
            }
            salts.push((env, key));
        }
        Self(salts)
    }

    /// Returns the first 16 bytes of the HMAC-SHA256 of a value in hexadecimal digits; `kind`
    /// separates values of different columns. `None` without a key.
    pub(crate) fn hash(&self, salt: Option<Salt>, kind: &str, value: &str, unix_ms: u64) -> Option<String> {
        let Salt { env, is_daily } = salt?;
        let (_, key) = self.0.iter().find(|(known, _)| *known == env)?;
        let key = key.as_ref()?;
        let of_day = is_daily.then(|| {
            let day = unix_ms / MS_PER_DAY;
            Key::new(HMAC_SHA256, hmac::sign(key, &day.to_le_bytes()).as_ref())
        });
        let mut context = hmac::Context::with_key(of_day.as_ref().unwrap_or(key));
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(value.as_bytes());
        let tag = context.sign();
        let hash = tag.as_ref().iter().take(HASH_BYTES);
        Some(hash.map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The error of hashes without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingSalt {
    /// The environment variable.
    pub variable: &'static str,
}

impl fmt::Display for MissingSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no key for the hashes of `privacy`: the environment variable {} is not set",
            self.variable
        )
    }
}

impl std::error::Error for MissingSalt {}

/// Checks that the keys of all hashes are there.
///
/// # Errors
///
/// The first environment variable that is not set or empty.
pub(crate) fn check_salts<'p>(mut options: impl Iterator<Item = &'p Privacy>) -> Result<(), MissingSalt> {
    let missing = |privacy: &Privacy| privacy.salt.map(|salt| salt.env).filter(|env| key(env).is_none());
    match options.find_map(missing) {
        Some(variable) => Err(MissingSalt { variable }),
        None => Ok(()),
    }
}

fn key(env: &str) -> Option<Key> {
    let text = env::var(env).ok().filter(|text| !text.is_empty())?;
    Some(Key::new(HMAC_SHA256, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // A variable that every test has.
    const SALT: Salt = Salt {
        env: "PATH",
        is_daily: false,
    };
    const DAILY: Salt = Salt { is_daily: true, ..SALT };

    fn salts() -> Salts {
        let privacy = |salt| Privacy {
            salt: Some(salt),
            ..Privacy::NONE
        };
        Salts::read([privacy(SALT), privacy(DAILY)].iter())
    }

    #[test]
    fn equal_values_of_one_column_have_equal_hashes() {
        let salts = salts();
        let hash = |kind, value| salts.hash(Some(SALT), kind, value, 0);
        assert_eq!(hash("ip", "203.0.113.7"), hash("ip", "203.0.113.7"));
        assert_ne!(hash("ip", "203.0.113.7"), hash("ip", "203.0.113.8"));
        assert_ne!(hash("ip", "203.0.113.7"), hash("email", "203.0.113.7"));
        assert_eq!(hash("ip", "").map(|hash| hash.len()), Some(2 * HASH_BYTES));
    }

    #[test]
    fn a_daily_hash_changes_at_midnight() {
        let salts = salts();
        let hash = |unix_ms| salts.hash(Some(DAILY), "ip", "203.0.113.7", unix_ms);
        assert_eq!(hash(0), hash(MS_PER_DAY - 1));
        assert_ne!(hash(0), hash(MS_PER_DAY));
        assert_ne!(hash(0), salts.hash(Some(SALT), "ip", "203.0.113.7", 0));
    }

    #[test]
    fn nothing_is_hashed_without_a_key() {
        const UNSET: Salt = Salt {
            env: "ROWMILL_NO_SUCH_SALT",
            is_daily: false,
        };
        let privacy = Privacy {
            salt: Some(UNSET),
            ..Privacy::NONE
        };
        let missing = MissingSalt {
            variable: "ROWMILL_NO_SUCH_SALT",
        };
        assert_eq!(check_salts([privacy].iter()), Err(missing));
        assert_eq!(Salts::read([privacy].iter()).hash(Some(UNSET), "ip", "::1", 0), None);
        assert_eq!(salts().hash(None, "ip", "::1", 0), None);
    }
}
