//! Open-addressing tables with linear probing, whose inner order never leaves them.
//!
//! `IdTable` maps live order ids to slots. `KeyIndex` maps 128-bit keys to positions of a `History`; it
//! grows step by step, so that no single command pays for moving millions of keys.

const ID_CAPACITY: usize = 1 << 10;
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Order id (never 0) to slot, at most half full.
pub(crate) struct IdTable {
    ids: Vec<u64>,
    slots: Vec<u32>,
    shift: u32,
    length: usize,
}

impl IdTable {
    pub(crate) fn new() -> IdTable {
        IdTable::with_capacity(ID_CAPACITY)
    }

    fn with_capacity(capacity: usize) -> IdTable {
        IdTable {
            ids: vec![0; capacity],
            slots: vec![0; capacity],
            shift: 64 - capacity.trailing_zeros(),
            length: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    #[inline]
    fn home(&self, id: u64) -> usize {
        (id.wrapping_mul(GOLDEN) >> self.shift) as usize
    }

    #[inline]
    fn place_of(&self, id: u64) -> Result<usize, usize> {
        let mask = self.ids.len() - 1;
        let mut at = self.home(id);
        loop {
            match self.ids[at] {
                0 => return Err(at),
                found if found == id => return Ok(at),
                _ => at = (at + 1) & mask,
            }
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: u64) -> Option<u32> {
        if id == 0 {
            return None;
        }
        self.place_of(id).ok().map(|at| self.slots[at])
    }

    pub(crate) fn insert(&mut self, id: u64, slot: u32) {
        if self.length * 2 >= self.ids.len() {
            let mut larger = IdTable::with_capacity(self.ids.len() * 2);
            for (id, slot) in self.pairs() {
                larger.insert(id, slot);
            }
            *self = larger;
        }
        let place = self.place_of(id);
        assert!(place.is_err(), "order {id} is already in the table");
        if let Err(at) = place {
            self.ids[at] = id;
            self.slots[at] = slot;
            self.length += 1;
        }
    }

    pub(crate) fn remove(&mut self, id: u64) {
        let place = self.place_of(id);
        assert!(place.is_ok(), "order {id} is not in the table");
        let (Ok(mut hole) | Err(mut hole)) = place;
        let mask = self.ids.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let moved = self.ids[at];
            if moved == 0 {
                break;
            }
            if fills_hole(self.home(moved), hole, at, mask) {
                self.ids[hole] = moved;
                self.slots[hole] = self.slots[at];
                hole = at;
            }
        }
        self.ids[hole] = 0;
        self.length -= 1;
    }

    /// All pairs in no particular order: sort before anything depends on it.
    pub(crate) fn pairs(&self) -> Vec<(u64, u32)> {
        let filled = self.ids.iter().zip(&self.slots).filter(|(id, _)| **id != 0);
        filled.map(|(id, slot)| (*id, *slot)).collect()
    }
}

/// Whether an entry at `at` whose home is `home` may move back to `hole` (all modulo the mask).
#[inline]
fn fills_hole(home: usize, hole: usize, at: usize, mask: usize) -> bool {
    at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask
}

/// Mix both words, so that chosen keys cannot easily be made to fall together.
#[inline]
pub(crate) fn mix(key: [u64; 2]) -> u64 {
    let first = (key[0] ^ 0x243F_6A88_85A3_08D3).wrapping_mul(GOLDEN);
    let second = (first ^ first >> 32 ^ key[1]).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    second ^ second >> 32
}

/// Positions by hash: a slot holds 32 bits of the hash (one of them always set) and a position.
pub(crate) struct KeyIndex {
    slots: Vec<u64>,
    length: usize,
}

impl KeyIndex {
    pub(crate) fn with_capacity(capacity: usize) -> KeyIndex {
        KeyIndex { slots: vec![0; capacity.next_power_of_two()], length: 0 }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Whether one more would make it more than half full.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.length * 2 >= self.slots.len()
    }

    #[inline]
    fn tag(hash: u64) -> u64 {
        (hash >> 32 | 1) << 32
    }

    /// The position whose entry satisfies `same` among those with this hash.
    #[inline]
    pub(crate) fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let tag = KeyIndex::tag(hash);
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if slot & 0xFFFF_FFFF_0000_0000 == tag && same(slot as u32) {
                return Some(slot as u32);
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, position: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = KeyIndex::tag(hash) | u64::from(position);
        self.length += 1;
    }

    /// Take out `position`; `hash_of` tells the hash of any position still in the index.
    pub(crate) fn remove(&mut self, hash: u64, position: u32, hash_of: impl Fn(u32) -> u64) {
        let mask = self.slots.len() - 1;
        let entry = KeyIndex::tag(hash) | u64::from(position);
        let mut hole = hash as usize & mask;
        while self.slots[hole] != entry {
            assert!(self.slots[hole] != 0, "position {position} is not in the index");
            hole = (hole + 1) & mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let moved = self.slots[at];
            if moved == 0 {
                break;
            }
            if fills_hole(hash_of(moved as u32) as usize & mask, hole, at, mask) {
                self.slots[hole] = moved;
                hole = at;
            }
        }
        self.slots[hole] = 0;
        self.length -= 1;
    }

    /// The slot where a key with this hash begins: to read it ahead of `find` warms the cache.
    #[inline]
    pub(crate) fn peek(&self, hash: u64) -> u64 {
        self.slots[hash as usize & (self.slots.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn ids_agree_with_a_map_through_inserts_and_removals() {
        let mut table = IdTable::new();
        let mut model = BTreeMap::new();
        let mut state = 7_u64;
        for id in 1..60_000_u64 {
            table.insert(id, id as u32 ^ 5);
            model.insert(id, id as u32 ^ 5);
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040);
            let old = 1 + (state >> 33) % id;
            assert_eq!(table.get(old), model.get(&old).copied());
            if model.len() > 3000 && model.remove(&old).is_some() {
                table.remove(old);
            }
        }
        assert_eq!(table.len(), model.len());
        let mut pairs = table.pairs();
        pairs.sort_unstable();
        assert_eq!(pairs, model.into_iter().collect::<Vec<_>>());
        assert_eq!(table.get(0), None);
    }

    #[test]
    fn keys_that_differ_in_one_word_only_spread() {
        for word in 0..2 {
            let mut homes = std::collections::BTreeSet::new();
            for number in 0..4096_u64 {
                let mut key = [0; 2];
                key[word] = number << 20;
                homes.insert(mix(key) & 0xFFFF);
            }
            assert!(homes.len() > 3500, "only {} homes for word {word}", homes.len());
        }
    }
}
