//! What must not happen twice: keys and outcomes in the order in which they came, findable by key.
//!
//! Entries lie in blocks, so that growing never copies them, and each has a position that stays its own
//! until it goes. The index grows beside the old one: every insertion moves a few entries, and both are
//! asked until all have moved.

use std::collections::VecDeque;

use crate::table::{mix, KeyIndex};

const BLOCK: usize = 4096;
const INDEX_CAPACITY: usize = 1 << 20;
const MOVED_PER_INSERT: u32 = 8;

/// An entry that is found by a 128-bit key.
pub(crate) trait Keyed: Copy {
    fn key(&self) -> [u64; 2];
}

/// That an order used this client order id (as its key).
#[derive(Clone, Copy)]
pub(crate) struct UsedKey {
    pub(crate) key: [u64; 2],
    pub(crate) order_id: u64,
    pub(crate) session: u32,
}

/// What became of a request.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) request: [u64; 2],
    pub(crate) reason: u16,
    pub(crate) kind: u8,
    pub(crate) session: u32,
    pub(crate) number: u64,
    pub(crate) a: i64,
    pub(crate) b: i64,
}

impl Keyed for UsedKey {
    fn key(&self) -> [u64; 2] {
        self.key
    }
}

impl Keyed for Outcome {
    fn key(&self) -> [u64; 2] {
        self.request
    }
}

/// Entries in blocks that never move; `first` is the position of the oldest.
struct Blocks<T> {
    filled: VecDeque<Vec<T>>,
    skipped: usize,
    length: usize,
    first: u32,
}

impl<T: Keyed> Blocks<T> {
    #[inline]
    fn at(&self, position: u32) -> &T {
        let offset = position.wrapping_sub(self.first) as usize + self.skipped;
        &self.filled[offset / BLOCK][offset % BLOCK]
    }

    fn push_back(&mut self, entry: T) -> u32 {
        let position = self.first.wrapping_add(self.length as u32);
        if self.skipped + self.length == self.filled.len() * BLOCK {
            self.filled.push_back(Vec::with_capacity(BLOCK));
        }
        let last = self.filled.len() - 1;
        self.filled[last].push(entry);
        self.length += 1;
        position
    }

    fn pop_front(&mut self) {
        self.skipped += 1;
        self.length -= 1;
        self.first = self.first.wrapping_add(1);
        if self.skipped == BLOCK {
            self.filled.pop_front();
            self.skipped = 0;
        }
    }

    fn push_front(&mut self, entry: T) -> u32 {
        if self.skipped == 0 {
            self.filled.push_front(vec![entry; BLOCK]);
            self.skipped = BLOCK;
        }
        self.skipped -= 1;
        self.length += 1;
        self.first = self.first.wrapping_sub(1);
        self.filled[0][self.skipped] = entry;
        self.first
    }
}

/// Entries, oldest first, at most one per key.
pub(crate) struct History<T> {
    entries: Blocks<T>,
    index: KeyIndex,
    /// The index before the last growth, and the position up to which its entries have moved.
    older: Option<(KeyIndex, u32)>,
}

impl<T: Keyed> History<T> {
    pub(crate) fn new() -> History<T> {
        History {
            entries: Blocks { filled: VecDeque::new(), skipped: 0, length: 0, first: 0 },
            index: KeyIndex::with_capacity(INDEX_CAPACITY),
            older: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.length
    }

    #[inline]
    pub(crate) fn find(&self, key: [u64; 2]) -> Option<&T> {
        let hash = mix(key);
        let same = |position: u32| self.entries.at(position).key() == key;
        let position = self
            .index
            .find(hash, same)
            .or_else(|| self.older.as_ref().and_then(|(index, _)| index.find(hash, same)))?;
        Some(self.entries.at(position))
    }

    /// Read where the key begins, so that `find` and `push` meet a warm cache.
    #[inline]
    pub(crate) fn peek(&self, key: [u64; 2]) -> u64 {
        self.index.peek(mix(key))
    }

    /// Append an entry whose key is not there yet.
    pub(crate) fn push(&mut self, entry: T) {
        if self.index.is_full() {
            self.finish_move();
            let larger = KeyIndex::with_capacity(self.index.capacity() * 2);
            let old = std::mem::replace(&mut self.index, larger);
            self.older = Some((old, self.entries.first));
        }
        if self.older.is_some() {
            self.move_some(MOVED_PER_INSERT);
        }
        let hash = mix(entry.key());
        let position = self.entries.push_back(entry);
        self.index.insert(hash, position);
    }

    /// Let `count` entries of the old index move into the new one; the last one ends the move.
    fn move_some(&mut self, count: u32) {
        let Some((old, mut position)) = self.older.take() else { return };
        let moved_max = old.len();
        for _ in 0..count {
            let done = position.wrapping_sub(self.entries.first) as usize;
            if done >= moved_max {
                return;
            }
            self.index.insert(mix(self.entries.at(position).key()), position);
            position = position.wrapping_add(1);
        }
        self.older = Some((old, position));
    }

    fn finish_move(&mut self) {
        while self.older.is_some() {
            self.move_some(u32::MAX);
        }
    }

    fn pop_oldest(&mut self) -> Option<T> {
        if self.entries.length == 0 {
            return None;
        }
        self.finish_move();
        let entry = *self.entries.at(self.entries.first);
        let entries = &self.entries;
        let hash_of = |position: u32| mix(entries.at(position).key());
        self.index.remove(mix(entry.key()), entries.first, hash_of);
        self.entries.pop_front();
        Some(entry)
    }

    /// Drop the oldest while `is_old`; those that `stays` go to the end, changed by `renew`.
    pub(crate) fn turn_over(
        &mut self,
        is_old: impl Fn(&T) -> bool,
        stays: impl Fn(&T) -> bool,
        renew: impl Fn(T) -> T,
    ) {
        let mut staying = Vec::new();
        while self.entries.length > 0 && is_old(self.entries.at(self.entries.first)) {
            staying.extend(self.pop_oldest().filter(&stays));
        }
        for entry in staying {
            self.push(renew(entry));
        }
    }

    /// Drop the oldest until `keep` are left; those that `stays` keep their place.
    pub(crate) fn shrink(&mut self, keep: usize, stays: impl Fn(&T) -> bool) {
        let mut staying = Vec::new();
        while self.entries.length + staying.len() > keep {
            let Some(entry) = self.pop_oldest() else { break };
            if stays(&entry) {
                staying.push(entry);
            }
        }
        for entry in staying.into_iter().rev() {
            let hash = mix(entry.key());
            let position = self.entries.push_front(entry);
            self.index.insert(hash, position);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.entries.length as u32)
            .map(|offset| self.entries.at(self.entries.first.wrapping_add(offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> UsedKey {
        UsedKey { key: [number, number << 7], order_id: number, session: (number / 1000) as u32 }
    }

    fn ids(history: &History<UsedKey>) -> Vec<u64> {
        history.iter().map(|entry| entry.order_id).collect()
    }

    #[test]
    fn finds_every_entry_while_the_index_grows() {
        let mut history = History::new();
        for number in 0..40_000 {
            assert!(history.find(entry(number).key).is_none());
            history.push(entry(number));
            let other = number * 7 / 11;
            assert_eq!(history.find(entry(other).key).map(|e| e.order_id), Some(other));
        }
        assert_eq!(history.len(), 40_000);
        assert_eq!(ids(&history), (0..40_000).collect::<Vec<_>>());
    }

    #[test]
    fn shrink_drops_the_oldest_and_leaves_what_stays_in_place() {
        let mut history = History::new();
        (0..9000).for_each(|number| history.push(entry(number)));
        history.shrink(100, |entry| entry.order_id % 1000 == 3);
        let mut expected: Vec<u64> = (0..9).map(|thousand| thousand * 1000 + 3).collect();
        expected.extend(8909..9000);
        assert_eq!(ids(&history), expected);
        assert!(history.find(entry(4).key).is_none());
        assert!(history.find(entry(3).key).is_some());
        history.shrink(5, |_| true);
        assert_eq!(ids(&history), expected);
        history.shrink(0, |_| false);
        assert_eq!(history.len(), 0);
        history.push(entry(4));
        assert_eq!(ids(&history), [4]);
    }

    #[test]
    fn turn_over_moves_what_stays_to_the_end() {
        let mut history = History::new();
        (0..5000).for_each(|number| history.push(entry(number)));
        history.turn_over(
            |entry| entry.session <= 1,
            |entry| entry.order_id == 7,
            |entry| UsedKey { session: 9, ..entry },
        );
        let mut expected: Vec<u64> = (2000..5000).collect();
        expected.push(7);
        assert_eq!(ids(&history), expected);
        assert_eq!(history.find(entry(7).key).map(|entry| entry.session), Some(9));
    }
}
