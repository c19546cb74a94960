//! Many short lists of indexes in one array.
//!
//! A list of one item lives inside its handle. Longer ones lie in blocks of 2, 3, 4, 6, 8, 12, 16, 24, … items; a
//! freed block waits in the free list of its size, which is threaded through the blocks themselves.

use crate::index::NONE;
use crate::index::column::Column;

/// Block sizes up to 3 · 2^30 items.
const SIZES: usize = 62;

/// The handle of a list. `at` is the item itself when there is one, else the block's offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) len: u32,
    pub(crate) at: u32,
}

/// The arena that the handles point into.
#[derive(Clone, Debug)]
pub(crate) struct Lists {
    pub(crate) blocks: Column<u32>,
    pub(crate) free: [u32; SIZES],
}

impl Default for Lists {
    fn default() -> Self {
        Self { blocks: Column::default(), free: [NONE; SIZES] }
    }
}

/// The index of the smallest block size that holds `len` items, for two or more.
const fn size_index(len: u32) -> usize {
    let power = len.ilog2() as usize;
    let base = 1u32 << power;
    match len - base {
        0 => 2 * (power - 1),
        over if over <= base / 2 => 2 * (power - 1) + 1,
        _ => 2 * power,
    }
}

/// Items in a block of this size index.
const fn size_of_block(size: usize) -> u32 {
    (if size.is_multiple_of(2) { 2u32 } else { 3 }) << (size / 2)
}

impl Lists {
    /// The items.
    pub(crate) fn get<'a>(&'a self, list: &'a List) -> &'a [u32] {
        match list.len {
            0 => &[],
            1 => std::slice::from_ref(&list.at),
            len => self.blocks.slice(list.at, len),
        }
    }

    /// Appends an item.
    pub(crate) fn push(&mut self, list: &mut List, item: u32) {
        match list.len {
            0 => *list = List { len: 1, at: item },
            len => {
                if len == 1 {
                    let at = self.take(size_index(2));
                    self.blocks[at] = list.at;
                    list.at = at;
                } else if size_index(len) != size_index(len + 1) {
                    list.at = self.relocate(list.at, len, size_index(len), size_index(len + 1));
                }
                let end = list.at + len;
                self.blocks[end] = item;
                list.len = len + 1;
            }
        }
    }

    /// Removes an item; the last one takes its position. Answers whether it was there.
    pub(crate) fn remove(&mut self, list: &mut List, item: u32) -> bool {
        let Some(position) = self.get(list).iter().position(|held| *held == item) else { return false };
        let len = list.len;
        match len {
            1 => *list = List::default(),
            2 => {
                let other = self.blocks[list.at + 1 - position as u32];
                self.give(list.at, size_index(2));
                *list = List { len: 1, at: other };
            }
            _ => {
                let last = self.blocks[list.at + len - 1];
                let hole = list.at + position as u32;
                self.blocks[hole] = last;
                list.len = len - 1;
                if size_index(len) != size_index(len - 1) {
                    list.at = self.relocate(list.at, len - 1, size_index(len), size_index(len - 1));
                }
            }
        }
        true
    }

    /// Replaces the items.
    pub(crate) fn set(&mut self, list: &mut List, items: &[u32]) {
        self.clear(list);
        match items {
            [] => {}
            [only] => *list = List { len: 1, at: *only },
            _ => {
                let len = u32::try_from(items.len()).expect("a list of indexes is shorter than 2^32");
                let at = self.take(size_index(len));
                for (offset, item) in items.iter().enumerate() {
                    self.blocks[at + offset as u32] = *item;
                }
                *list = List { len, at };
            }
        }
    }

    /// Empties the list and frees its block.
    pub(crate) fn clear(&mut self, list: &mut List) {
        if list.len > 1 {
            self.give(list.at, size_index(list.len));
        }
        *list = List::default();
    }

    /// Makes room for lists of these lengths at once.
    pub(crate) fn reserve(&mut self, lens: impl Iterator<Item = u32>) {
        let blocks = lens.filter(|len| *len > 1).map(|len| size_of_block(size_index(len)) as usize);
        self.blocks.reserve(blocks.sum());
    }

    /// Bytes of memory, spare capacity included.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.blocks.memory_bytes() + size_of::<Self>()
    }

    /// Moves the first `len` items from a block of one size to a block of another, and frees the old one.
    fn relocate(&mut self, at: u32, len: u32, old_size: usize, new_size: usize) -> u32 {
        let new = self.take(new_size);
        for offset in 0..len {
            self.blocks[new + offset] = self.blocks[at + offset];
        }
        self.give(at, old_size);
        new
    }

    fn take(&mut self, size: usize) -> u32 {
        let first = self.free[size];
        if first != NONE {
            self.free[size] = self.blocks[first];
            return first;
        }
        let at = self.blocks.count();
        self.blocks.resize(at as usize + size_of_block(size) as usize, NONE);
        at
    }

    fn give(&mut self, at: u32, size: usize) {
        self.blocks[at] = self.free[size];
        self.free[size] = at;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn block_sizes_waste_at_most_a_third() {
        for len in 2..10_000u32 {
            let size = size_of_block(size_index(len));
            assert!(size >= len && size * 2 <= len * 3, "{len} items in a block of {size}");
        }
    }

    proptest! {
        #[test]
        fn lists_behave_like_vectors_and_freed_blocks_are_used_again(
            steps in proptest::collection::vec((0..4usize, 0..5u8, 0..40u32), 0..400)
        ) {
            let mut lists = Lists::default();
            let mut handles = [List::default(); 4];
            let mut plain: [Vec<u32>; 4] = Default::default();
            for (which, verb, item) in steps {
                match verb {
                    0..3 => {
                        lists.push(&mut handles[which], item);
                        plain[which].push(item);
                    }
                    3 => {
                        let position = plain[which].iter().position(|held| *held == item);
                        if let Some(position) = position {
                            plain[which].swap_remove(position);
                        }
                        prop_assert_eq!(lists.remove(&mut handles[which], item), position.is_some());
                    }
                    _ => {
                        let items: Vec<u32> = (0..item).collect();
                        lists.set(&mut handles[which], &items);
                        plain[which] = items;
                    }
                }
                for (handle, plain) in handles.iter().zip(&plain) {
                    prop_assert_eq!(lists.get(handle), plain.as_slice());
                }
            }
            for handle in &mut handles {
                lists.clear(handle);
            }
            let before = lists.blocks.len();
            for handle in &mut handles {
                lists.set(handle, &[1, 2]);
                lists.clear(handle);
            }
            prop_assert!(lists.blocks.len() <= before + 2);
        }
    }
}
