//! Which records have which blocking key: a multimap in about nine bytes a posting.
//!
//! Keys of few records lie in shards of sorted slots, seven bytes each, reached by open addressing. A key of more moves
//! to a list in the arena. Where far more records than a block may hold have a key, their list is kept up lazily:
//! what left stays in it until a look at the records tidies it up, so that leaving costs the same for each.

use crate::index::NONE;
use crate::index::column::Column;
use crate::index::lists::{List, Lists};

/// Shards grow one by one, so that no arrival waits for the whole.
const SHARDS: usize = 256;
/// Holders of one key that lie in slots.
const INLINE_MAX: usize = 3;
/// Holders from which on a list is kept up lazily.
const EXACT_MAX: u32 = 256;
/// Marks a slot that names a block and not a record.
const BLOCK: u32 = 1 << 31;

/// Bytes of a slot: what of the key the shard does not tell, and a record, a block, or [`NONE`].
const SLOT: usize = 7;
/// Slots are read eight bytes at a time: one more follows the last.
const BEYOND: usize = 1;
/// Bits of the key that a slot holds.
const KEY_BITS: u32 = 24;
/// Slots behind the homes, for what is pushed on.
const SPARE: usize = 32;

#[derive(Clone, Debug, Default)]
struct Shard {
    bytes: Vec<u8>,
    /// Slots that a key may be sent to; a few more follow for what is pushed on.
    homes: u32,
    used: u32,
}

/// A key of many records.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// May name records that left, and records twice; exact while it is no longer than `live`.
    list: List,
    live: u32,
}

/// Who has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holders<'a> {
    /// All of them.
    Listed(&'a [u32]),
    /// So many; the list must be tidied before it is read.
    Untidy(u32),
}

/// Who has a key, or had it lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roughly<'a> {
    /// All who have it; others too, and some twice, unless `exact`.
    pub records: &'a [u32],
    /// How many have it.
    pub live: u32,
    /// Whether `records` are just those.
    pub exact: bool,
}

#[cfg(test)]
impl Holders<'_> {
    const fn count(&self) -> u32 {
        match self {
            Self::Listed(records) => records.len() as u32,
            Self::Untidy(count) => *count,
        }
    }
}

/// The multimap.
#[derive(Clone, Debug)]
pub(crate) struct Postings {
    shards: Vec<Shard>,
    blocks: Column<Block>,
    spare: Vec<u32>,
    lists: Lists,
    /// What the last look at a key found in slots.
    few: [u32; INLINE_MAX + 1],
}

impl Default for Postings {
    fn default() -> Self {
        Self {
            shards: vec![Shard::default(); SHARDS],
            blocks: Column::default(),
            spare: Vec::new(),
            lists: Lists::default(),
            few: [NONE; INLINE_MAX + 1],
        }
    }
}

impl Shard {
    fn home(&self, key: u32) -> usize {
        ((u64::from(key) * u64::from(self.homes)) >> KEY_BITS) as usize
    }

    fn slots(&self) -> usize {
        self.bytes.len() / SLOT
    }

    /// The key and what has it.
    #[inline]
    fn slot(&self, at: usize) -> (u32, u32) {
        let bytes = self.bytes.get(at * SLOT..).and_then(|bytes| bytes.first_chunk::<8>());
        let word = bytes.map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
        (word as u32 & KEY_MAX, (word >> KEY_BITS) as u32)
    }

    fn set(&mut self, at: usize, (key, what): (u32, u32)) {
        let word = u64::from(key) | u64::from(what) << KEY_BITS;
        self.bytes[at * SLOT..(at + 1) * SLOT].copy_from_slice(&word.to_le_bytes()[..SLOT]);
    }

    fn is_empty(&self, at: usize) -> bool {
        self.slot(at).1 == NONE
    }

    /// The first slot of the key, or where it would lie. Slots of one run ascend by key.
    fn seek(&self, key: u32) -> usize {
        let mut at = self.home(key);
        loop {
            let (held, what) = self.slot(at);
            if what == NONE || held >= key {
                return at;
            }
            at += 1;
        }
    }

    fn run(&self, key: u32) -> impl Iterator<Item = u32> + '_ {
        let from = if self.homes == 0 { 0 } else { self.seek(key) };
        let slots = (from..).map(|at| self.slot(at));
        slots.take_while(move |(held, what)| *what != NONE && *held == key).map(|(_, what)| what)
    }

    fn insert(&mut self, key: u32, what: u32) {
        if self.used >= self.homes / 8 * 7 {
            self.grow();
        }
        loop {
            let at = self.seek(key);
            let Some(end) = (at..self.slots()).find(|at| self.is_empty(*at)) else {
                self.grow();
                continue;
            };
            // One empty slot always ends the last run.
            if end + 1 == self.slots() {
                self.grow();
                continue;
            }
            self.bytes.copy_within(at * SLOT..end * SLOT, (at + 1) * SLOT);
            self.set(at, (key, what));
            self.used += 1;
            return;
        }
    }

    fn grow(&mut self) {
        let old = std::mem::take(self);
        self.homes = old.homes + (old.homes / 8).max(16);
        self.used = old.used;
        self.make_room(self.homes as usize + SPARE);
        // Old slots ascend by key, so each goes behind the one before it.
        let mut next = 0;
        for slot in (0..old.slots()).map(|at| old.slot(at)).filter(|(_, what)| *what != NONE) {
            let at = self.home(slot.0).max(next);
            next = at + 1;
            if next >= self.slots() {
                self.make_room(next + SPARE);
            }
            self.set(at, slot);
        }
    }

    /// Empty slots up to this many.
    fn make_room(&mut self, slots: usize) {
        let bytes = slots * SLOT + BEYOND;
        self.bytes.reserve_exact(bytes - self.bytes.len());
        self.bytes.resize(bytes, u8::MAX);
    }

    fn remove(&mut self, key: u32, what: u32) -> bool {
        if self.homes == 0 {
            return false;
        }
        let mut at = self.seek(key);
        while self.slot(at) != (key, what) {
            if self.is_empty(at) || self.slot(at).0 != key {
                return false;
            }
            at += 1;
        }
        // What was pushed on moves back.
        while !self.is_empty(at + 1) && self.home(self.slot(at + 1).0) <= at {
            self.set(at, self.slot(at + 1));
            at += 1;
        }
        self.set(at, (KEY_MAX, NONE));
        self.used -= 1;
        true
    }
}

/// The part of a key that a slot holds, all ones.
const KEY_MAX: u32 = (1 << KEY_BITS) - 1;

/// The shard of a key, and what of the key its slots hold.
const fn place_of(key: u32) -> (usize, u32) {
    ((key >> KEY_BITS) as usize, key & KEY_MAX)
}

impl Postings {
    fn run(&self, key: u32) -> impl Iterator<Item = u32> + '_ {
        let (shard, key) = place_of(key);
        self.shards[shard].run(key)
    }

    /// Adds a posting that is not there yet; answers how many records have the key now.
    pub(crate) fn add(&mut self, key: u32, record: u32) -> u32 {
        let (shard, key) = place_of(key);
        let shard = &mut self.shards[shard];
        let mut count = 0;
        for what in shard.run(key) {
            if what & BLOCK != 0 {
                let block = &mut self.blocks[what & !BLOCK];
                block.live += 1;
                self.lists.push(&mut block.list, record);
                return block.live;
            }
            self.few[count] = what;
            count += 1;
        }
        if count < INLINE_MAX {
            shard.insert(key, record);
            return count as u32 + 1;
        }
        let mut list = List::default();
        for held in &self.few[..count] {
            shard.remove(key, *held);
            self.lists.push(&mut list, *held);
        }
        self.lists.push(&mut list, record);
        let block = Block { list, live: list.len };
        let at = match self.spare.pop() {
            Some(at) => {
                self.blocks[at] = block;
                at
            }
            None => self.blocks.push(block),
        };
        shard.insert(key, at | BLOCK);
        list.len
    }

    /// Takes a posting out; answers how many records have the key now, and whether their list wants tidying.
    pub(crate) fn remove(&mut self, key: u32, record: u32) -> (u32, bool) {
        let (mut count, mut block) = (0, None);
        for what in self.run(key) {
            if what & BLOCK != 0 {
                block = Some(what & !BLOCK);
                break;
            }
            count += 1;
        }
        if let Some(at) = block {
            return self.leave_block(key, at, record);
        }
        let (shard, rest) = place_of(key);
        let was_there = self.shards[shard].remove(rest, record);
        debug_assert!(was_there, "a posting is taken out once");
        (count - u32::from(was_there), false)
    }

    fn leave_block(&mut self, key: u32, at: u32, record: u32) -> (u32, bool) {
        let block = &mut self.blocks[at];
        block.live = block.live.saturating_sub(1);
        let live = block.live;
        if block.list.len > EXACT_MAX || block.list.len > live + 1 {
            return (live, block.list.len > live.saturating_mul(2).max(EXACT_MAX));
        }
        self.lists.remove(&mut block.list, record);
        if block.list.len < INLINE_MAX as u32 {
            let list = block.list;
            self.dissolve(key, at, list);
        }
        (live, false)
    }

    /// A block of few goes back into slots.
    fn dissolve(&mut self, key: u32, at: u32, mut list: List) {
        let (shard, key) = place_of(key);
        let shard = &mut self.shards[shard];
        shard.remove(key, at | BLOCK);
        for record in self.lists.get(&list) {
            shard.insert(key, *record);
        }
        self.lists.clear(&mut list);
        self.spare.push(at);
    }

    /// Strikes from a key's list what does not have the key any more.
    pub(crate) fn tidy(&mut self, key: u32, has: impl Fn(u32) -> bool) {
        let Some(at) = self.block_of(key) else { return };
        let mut records = self.lists.get(&self.blocks[at].list).to_vec();
        records.sort_unstable();
        records.dedup();
        records.retain(|record| has(*record));
        let block = &mut self.blocks[at];
        debug_assert_eq!(block.live as usize, records.len(), "leaving and coming were both counted");
        block.live = records.len() as u32;
        self.lists.set(&mut block.list, &records);
        if records.len() < INLINE_MAX {
            let list = block.list;
            self.dissolve(key, at, list);
        }
    }

    fn block_of(&self, key: u32) -> Option<u32> {
        self.run(key).next().filter(|what| what & BLOCK != 0).map(|what| what & !BLOCK)
    }

    /// Who has the key. `few` is room for those that lie in slots.
    pub(crate) fn holders<'a>(&'a self, key: u32, few: &'a mut [u32; INLINE]) -> Holders<'a> {
        let mut count = 0;
        for what in self.run(key) {
            if what & BLOCK != 0 {
                let block = &self.blocks[what & !BLOCK];
                return if block.list.len > block.live {
                    Holders::Untidy(block.live)
                } else {
                    Holders::Listed(self.lists.get(&block.list))
                };
            }
            few[count] = what;
            count += 1;
        }
        Holders::Listed(&few[..count])
    }

    /// Who has the key, tidy or not. `few` is room for those that lie in slots.
    pub(crate) fn roughly<'a>(&'a self, key: u32, few: &'a mut [u32; INLINE]) -> Roughly<'a> {
        if let Some(at) = self.block_of(key) {
            let block = &self.blocks[at];
            let records = self.lists.get(&block.list);
            return Roughly { records, live: block.live, exact: block.list.len <= block.live };
        }
        match self.holders(key, few) {
            Holders::Listed(records) => Roughly { records, live: records.len() as u32, exact: true },
            Holders::Untidy(live) => Roughly { records: &[], live, exact: true },
        }
    }

    /// Bytes of memory, spare capacity included.
    pub(crate) fn memory_bytes(&self) -> usize {
        let slots: usize = self.shards.iter().map(|shard| shard.bytes.capacity()).sum();
        slots
            + SHARDS * size_of::<Shard>()
            + self.blocks.memory_bytes()
            + self.spare.capacity() * size_of::<u32>()
            + self.lists.memory_bytes()
    }
}

/// Room for the holders that lie in slots.
pub(crate) const INLINE: usize = INLINE_MAX + 1;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn read(postings: &Postings, key: u32) -> BTreeSet<u32> {
        match postings.holders(key, &mut [NONE; INLINE]) {
            Holders::Listed(records) => records.iter().copied().collect(),
            Holders::Untidy(_) => panic!("tidied before"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Whatever lies where: keys of a crowd, keys that collide in their first bits, keys that empty and fill again.
        #[test]
        fn postings_behave_like_a_map_of_sets(
            steps in proptest::collection::vec((0..12u32, 0..700u32, 0..3u8), 0..3_000), spread in 0..3u32
        ) {
            let mut postings = Postings::default();
            let mut plain: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
            for (key, record, verb) in steps {
                let key = match spread { 0 => key, 1 => key << 20, _ => key.wrapping_mul(0x9e37_79b9) };
                // Some keys are held by all, some by few.
                let record = if key % 3 == 0 { record } else { record % 5 };
                let held = plain.entry(key).or_default();
                if verb > 0 && held.insert(record) {
                    prop_assert_eq!(postings.add(key, record) as usize, held.len());
                } else if verb == 0 && held.remove(&record) {
                    let (left, untidy) = postings.remove(key, record);
                    prop_assert_eq!(left as usize, held.len());
                    if untidy {
                        postings.tidy(key, |record| held.contains(&record));
                        prop_assert_eq!(&read(&postings, key), &*held);
                    }
                }
                prop_assert_eq!(postings.holders(key, &mut [NONE; INLINE]).count() as usize, held.len());
            }
            for (key, held) in &plain {
                postings.tidy(*key, |record| held.contains(&record));
                prop_assert_eq!(&read(&postings, *key), held);
            }
        }
    }

    #[test]
    fn many_keys_take_about_nine_bytes_a_posting() {
        let mut postings = Postings::default();
        for number in 0..400_000u32 {
            postings.add(number.wrapping_mul(0x9e37_79b9), number);
        }
        let bytes = postings.memory_bytes() as f64 / 400_000.0;
        assert!(bytes < 10.0, "{bytes:.1} bytes a posting");
        for number in (0..400_000u32).step_by(977) {
            assert_eq!(read(&postings, number.wrapping_mul(0x9e37_79b9)), BTreeSet::from([number]));
        }
    }
}
