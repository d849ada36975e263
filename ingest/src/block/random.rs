//! The random values of the spool: ids of blocks and salts of segments. A simulation derives them
//! from its seed instead.

use uuid::Uuid;

use crate::block::frame_format::Salt;

/// Returns the id of a new block, which sorts after all ids that this process has drawn before.
pub(crate) fn block_id() -> Uuid {
    #[cfg(test)]
    if let Some(id) = seeded::block_id() {
        return id;
    }
    Uuid::now_v7()
}

/// Returns the salt that distinguishes the frames of a new segment from those of any other.
pub(crate) fn salt() -> Salt {
    #[cfg(test)]
    if let Some(salt) = seeded::salt() {
        return salt;
    }
    Salt(fastrand::u32(..))
}

#[cfg(test)]
pub(crate) mod seeded {
    //! The seeded values of a simulation, whose thread runs nothing else.

    use std::cell::RefCell;

    use uuid::{Builder, Uuid};

    use crate::block::{frame_format::Salt, rng::Rng};

    thread_local! {
        static SOURCE: RefCell<Option<Source>> = const { RefCell::new(None) };
    }

    #[derive(Debug)]
    struct Source {
        rng: Rng,
        blocks: u64,
    }

    /// While this value exists, all values that its thread draws follow from the seed.
    #[derive(Debug)]
    pub(crate) struct Seeded(());

    impl Seeded {
        pub(crate) fn new(seed: u64) -> Self {
            let rng = Rng::new(seed);
            SOURCE.set(Some(Source { rng, blocks: 0 }));
            Self(())
        }
    }

    impl Drop for Seeded {
        fn drop(&mut self) {
            SOURCE.set(None);
        }
    }

    /// Up to four blocks share each millisecond, as they may in production.
    pub(crate) fn block_id() -> Option<Uuid> {
        SOURCE.with_borrow_mut(|source| {
            let Source { rng, blocks } = source.as_mut()?;
            *blocks += 1;
            let mut random = [0; 10];
            random[0] = (*blocks % 4) as u8;
            random[2..].copy_from_slice(&rng.below(u64::MAX).to_le_bytes());
            Some(Builder::from_unix_timestamp_millis(*blocks / 4, &random).into_uuid())
        })
    }

    pub(crate) fn salt() -> Option<Salt> {
        SOURCE.with_borrow_mut(|source| Some(Salt(source.as_mut()?.rng.below(1 << 32) as u32)))
    }
}
