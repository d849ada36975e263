//! Duplicate keys: if one object has the same key twice, the last value counts, as in JavaScript.

use std::{borrow::Cow, collections::HashMap};

use bumpalo::collections::Vec as BumpVec;

use crate::arena::Arena;

/// The keys that one object has added to extras.
#[derive(Debug)]
pub(super) struct DuplicateKeys<'a> {
    few: BumpVec<'a, usize>,
    many: HashMap<Cow<'a, str>, usize>,
}

impl<'a> DuplicateKeys<'a> {
    /// Up to this number, keys are compared one by one; a hash table pays off above.
    const FEW: usize = 16;

    pub(super) fn new_in(arena: &'a Arena) -> Self {
        Self {
            few: BumpVec::new_in(arena),
            many: HashMap::new(),
        }
    }

    /// Returns the index of `key` in `keys` if this object has added it before; otherwise
    /// inserts `index` for it.
    #[expect(
        clippy::ptr_arg,
        reason = "a key that is borrowed from the event stays borrowed in the table"
    )]
    pub(super) fn find_or_insert(&mut self, key: &Cow<'a, str>, keys: &[Cow<'a, str>], index: usize) -> Option<usize> {
        if self.few.len() < Self::FEW {
            let found = self.few.iter().copied().find(|index| keys[*index] == *key);
            if found.is_none() {
                self.few.push(index);
            }
            return found;
        }
        if self.many.is_empty() {
            self.many = self.few.iter().map(|index| (keys[*index].clone(), *index)).collect();
        }
        let found = self.many.get(key).copied();
        if found.is_none() {
            self.many.insert(key.clone(), index);
        }
        found
    }
}
