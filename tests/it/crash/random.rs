//! Random choices that the same seed repeats.

use std::time::{SystemTime, UNIX_EPOCH};

/// The environment variable with the seed of the run to repeat.
const SEED: &str = "ROWMILL_CRASH_SEED";

/// SplitMix64: small, and good enough to choose faults.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Returns the seed of the run: the requested one, or a new one.
    pub fn seed() -> u64 {
        match std::env::var(SEED) {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
        }
    }

    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}
