//! A growing array that wastes little: it grows by an eighth, and a large one by a thirty-second, not by doubling.

use std::ops::{Deref, Index, IndexMut};

/// Items in the first step of growth.
const FIRST: usize = 64;
/// Bytes from which on an array grows by smaller parts. So large ones have pages of their own, which allocators move
/// without copying what is in them.
const LARGE: usize = 1 << 20;

/// Items by which an array of so many grows.
pub(crate) const fn step<T>(items: usize) -> usize {
    let part = if items * size_of::<T>() < LARGE { items / 8 } else { items / 32 };
    if part < FIRST { FIRST } else { part }
}

/// A dense array indexed by `u32`. At most an eighth of its memory is unused, of a large one's a thirty-second.
#[derive(Clone, Debug)]
pub(crate) struct Column<T> {
    items: Vec<T>,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

impl<T> Column<T> {
    /// Appends, and answers with the new item's index.
    pub(crate) fn push(&mut self, item: T) -> u32 {
        let index = u32::try_from(self.items.len()).expect("memory ends long before 2^32 items of a column");
        if self.items.len() == self.items.capacity() {
            self.items.reserve_exact(step::<T>(self.items.len()));
        }
        self.items.push(item);
        index
    }

    /// Lengthens the column to `len` items.
    pub(crate) fn resize(&mut self, len: usize, item: T)
    where
        T: Clone,
    {
        if len > self.items.capacity() {
            self.items.reserve_exact((len - self.items.len()).max(step::<T>(self.items.len())));
        }
        self.items.resize(len, item);
    }

    /// Appends all of these.
    pub(crate) fn extend_from_slice(&mut self, items: &[T])
    where
        T: Clone,
    {
        if self.items.len() + items.len() > self.items.capacity() {
            self.items.reserve_exact(items.len().max(step::<T>(self.items.len())));
        }
        self.items.extend_from_slice(items);
    }

    /// Writes these items over those from `at` on.
    pub(crate) fn overwrite(&mut self, at: usize, items: &[T])
    where
        T: Copy,
    {
        self.items[at..at + items.len()].copy_from_slice(items);
    }

    /// Drops what is behind the first `len` items.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.items.truncate(len);
    }

    /// Makes room for exactly so many more items.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.items.reserve_exact(more);
    }

    /// `len` items from `at` on.
    pub(crate) fn slice(&self, at: u32, len: u32) -> &[T] {
        &self.items[at as usize..][..len as usize]
    }

    /// Number of items, as an index.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.items.len()).expect("push keeps the length below 2^32")
    }

    /// Bytes of memory, spare capacity included.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.items.capacity() * size_of::<T>()
    }
}

impl<T> From<Vec<T>> for Column<T> {
    fn from(items: Vec<T>) -> Self {
        Self { items }
    }
}

impl<T> Deref for Column<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> Index<u32> for Column<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        &self.items[index as usize]
    }
}

impl<T> IndexMut<u32> for Column<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.items[index as usize]
    }
}
