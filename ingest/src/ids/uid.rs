//! Uids of new visitors: random, so that nobody can guess the uid of another visitor.
//!
//! A uid has nineteen digits and fits a signed 64-bit integer, like the ids of events, but it says
//! nothing about the time or the order of visitors.

use std::cell::RefCell;

/// The smallest number of nineteen digits.
const MIN: u64 = 1_000_000_000_000_000_000;

/// The number of random words that a thread takes from the operating system at a time, so that few
/// uids need a system call.
const WORDS: usize = 128;

thread_local! {
    static RANDOM: RefCell<RandomWords> = const { RefCell::new(RandomWords { words: [0; WORDS * 8], left: 0 }) };
}

/// Returns a new uid; `None` if the operating system has no random numbers.
pub(crate) fn new_uid() -> Option<u64> {
    RANDOM.with_borrow_mut(|random| {
        loop {
            let uid = random.next()? >> 1;
            // Nine of ten numbers are large enough.
            if uid >= MIN {
                return Some(uid);
            }
        }
    })
}

/// Words from the generator of the operating system.
struct RandomWords {
    words: [u8; WORDS * 8],
    /// The number of words that are not used yet.
    left: usize,
}

impl RandomWords {
    fn next(&mut self) -> Option<u64> {
        if self.left == 0 {
            self.refill()?;
        }
        self.left -= 1;
        let (words, _) = self.words.as_chunks::<8>();
        words.get(self.left).map(|word| u64::from_ne_bytes(*word))
    }

    #[cold]
    fn refill(&mut self) -> Option<()> {
        getrandom::fill(&mut self.words).ok()?;
        self.left = WORDS;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn uids_have_nineteen_digits_and_no_order() {
        let uids: Vec<_> = (0..1000).map(|_| new_uid().unwrap()).collect();
        for uid in &uids {
            assert_eq!(uid.to_string().len(), 19, "{uid}");
            assert!(*uid <= i64::MAX as u64, "{uid}");
        }
        let ascending = uids.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((300..700).contains(&ascending), "{ascending}");
        // Each bit below the first is 1 in about half of the uids.
        for bit in 0..60 {
            let ones = uids.iter().filter(|uid| **uid >> bit & 1 == 1).count();
            assert!((350..650).contains(&ones), "bit {bit}: {ones}");
        }
        let mut distinct = uids;
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 1000);
    }
}
