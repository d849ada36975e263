//! The set of columns that an event has.

/// The set of columns that an event has.
#[derive(Debug, Clone, Default)]
pub struct PresentColumns {
    few: [u64; Self::FEW_WORDS],
    many: Vec<u64>,
}

impl PresentColumns {
    const WORD_BITS: usize = u64::BITS as usize;
    /// Enough for 256 columns without a heap allocation; wider tables need one per row.
    const FEW_WORDS: usize = 4;

    /// Adds a column.
    #[inline]
    pub fn insert(&mut self, column: usize) {
        let (word, bit) = (column / Self::WORD_BITS, 1 << (column % Self::WORD_BITS));
        match self.few.get_mut(word) {
            Some(few) => *few |= bit,
            None => {
                let word = word - Self::FEW_WORDS;
                if self.many.len() <= word {
                    self.many.resize(word + 1, 0);
                }
                self.many[word] |= bit;
            }
        }
    }

    /// Removes a column.
    pub fn remove(&mut self, column: usize) {
        let word = column / Self::WORD_BITS;
        let many = word.checked_sub(Self::FEW_WORDS);
        let word = match many {
            None => self.few.get_mut(word),
            Some(word) => self.many.get_mut(word),
        };
        if let Some(word) = word {
            *word &= !(1 << (column % Self::WORD_BITS));
        }
    }

    /// Returns whether the event has the column.
    #[inline]
    pub fn contains(&self, column: usize) -> bool {
        let word = column / Self::WORD_BITS;
        let word = self.few.get(word).or_else(|| self.many.get(word - Self::FEW_WORDS));
        word.is_some_and(|word| word >> (column % Self::WORD_BITS) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_columns_in_inline_and_in_heap_words() {
        let mut present = PresentColumns::default();
        for column in [0, 63, 64, 255, 256, 1_000] {
            assert!(!present.contains(column));
            present.insert(column);
            assert!(present.contains(column));
            present.remove(column);
            assert!(!present.contains(column));
            present.insert(column);
        }
        present.remove(5_000);
        assert!(!present.contains(1));
        assert!(!present.contains(999));
        assert!(!present.contains(5_000));
    }
}
