//! Edges between records: what the model says of pairs that share a blocking key.

use smallvec::SmallVec;

use crate::index::NONE;
use crate::index::column::Column;
use crate::index::number::{TAIL, decode, encode};

/// Weights are kept in steps of this part of a bit: twice as fine as what ranks them.
const STEPS: f32 = 128.0;
/// Bytes of a weight.
const WEIGHT: usize = 2;
/// Blocks begin at multiples of this, so that 8 GiB of them are in reach of 32 bits.
const GRAIN: usize = 2;
/// Block sizes: of four bytes to sixteen in grains, then eight for each doubling, up to 2^32 bytes.
const SIZES: usize = 7 + 28 * 8;

/// A weight as an edge keeps it: rounded down to a step, but never to the other side of the line from which records are linked,
/// so that it decides as the weight itself does.
pub(crate) fn as_kept(weight: f32, link_bits: f32) -> f32 {
    let down = (weight * STEPS).floor() / STEPS;
    let kept = if down < link_bits && weight >= link_bits { down + 1.0 / STEPS } else { down };
    kept.clamp(f32::from(i16::MIN) / STEPS, f32::from(i16::MAX) / STEPS)
}

/// A kept weight in steps.
pub(crate) fn in_steps(kept: f32) -> i16 {
    (kept * STEPS).round() as i16
}

/// The weight of so many steps.
pub(crate) fn of_steps(steps: i16) -> f32 {
    f32::from(steps) / STEPS
}

/// Both directions of every edge, five bytes or so each: the neighbour, told from the one before, and the weight in steps.
#[derive(Clone, Debug)]
pub(crate) struct Edges {
    /// By record: where its block begins, in grains; [`NONE`] without edges.
    starts: Column<u32>,
    /// Blocks: a number tells how many bytes follow it, then come the neighbours, ascending, each with its weight. A freed
    /// block waits in the free list of its size, which is threaded through the first four bytes.
    bytes: Column<u8>,
    free: [u32; SIZES],
    /// Number of edges.
    pub(crate) count: u64,
}

impl Default for Edges {
    fn default() -> Self {
        Self { starts: Column::default(), bytes: Column::default(), free: [NONE; SIZES], count: 0 }
    }
}

/// The index of the smallest block size that holds so many bytes.
const fn size_index(bytes: usize) -> usize {
    match bytes {
        0..=4 => 0,
        5..=16 => (bytes - 3) / GRAIN,
        // Eight sizes for each doubling: 18, 20, 22, 24, 26, 28, 30, 32, 36, …
        _ => {
            let power = (bytes - 1).ilog2() as usize;
            let eighth = ((bytes - 1) >> (power - 3)) & 7;
            7 + (power - 4) * 8 + eighth
        }
    }
}

/// Bytes in a block of this size.
const fn size_of_block(size: usize) -> usize {
    if size < 7 {
        return 4 + size * GRAIN;
    }
    let (power, eighth) = ((size - 7) / 8 + 4, (size - 7) % 8);
    (9 + eighth) << (power - 3)
}

/// An edge as it lies in a block.
#[derive(Clone, Copy)]
struct Held {
    neighbour: u32,
    steps: i16,
    /// Where its number begins, and where the next edge does.
    from: usize,
    to: usize,
}

/// The edges of one block, in ascending order of neighbours.
struct Block<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    /// The neighbour before.
    before: u32,
}

/// What stands before the first neighbour.
const FIRST: u32 = u32::MAX;

impl Iterator for Block<'_> {
    type Item = Held;

    #[inline]
    fn next(&mut self) -> Option<Held> {
        if self.at >= self.end {
            return None;
        }
        let (from, (over, len)) = (self.at, decode(self.bytes, self.at));
        let weight = from + len;
        let steps =
            self.bytes.get(weight..).and_then(|bytes| bytes.first_chunk()).map_or(0, |b| i16::from_le_bytes(*b));
        self.before = self.before.wrapping_add(1).wrapping_add(over);
        self.at = weight + WEIGHT;
        Some(Held { neighbour: self.before, steps, from, to: self.at })
    }
}

/// Room for the bytes of a block in the making.
type Bytes = SmallVec<[u8; 256]>;

fn put(out: &mut Bytes, before: u32, neighbour: u32) {
    let (bytes, len) = encode(neighbour.wrapping_sub(before).wrapping_sub(1));
    out.extend_from_slice(&bytes[..len]);
}

impl Edges {
    /// The neighbours of a record with the match weights, in no order that means anything.
    pub(crate) fn of(&self, record: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.block(record).map(|held| (held.neighbour, of_steps(held.steps)))
    }

    /// Whether the two are neighbours.
    pub(crate) fn has(&self, one: u32, other: u32) -> bool {
        self.block(one).any(|held| held.neighbour == other)
    }

    /// Adds an edge that is not there yet, with a weight that is [`as_kept`].
    pub(crate) fn add(&mut self, one: u32, other: u32, weight: f32) {
        debug_assert!(!self.has(one, other), "an edge is added once");
        let last = one.max(other);
        if self.starts.count() <= last {
            self.starts.resize(last as usize + 1, NONE);
        }
        for (from, to) in [(one, other), (other, one)] {
            self.insert(from, to, in_steps(weight));
        }
        self.count += 1;
    }

    /// Removes an edge, if it is there.
    pub(crate) fn remove(&mut self, one: u32, other: u32) {
        self.forget(other, one);
        if self.forget(one, other) {
            self.count -= 1;
        }
    }

    /// Removes all edges of a record; answers with them.
    pub(crate) fn clear(&mut self, record: u32) -> Vec<(u32, f32)> {
        let edges: Vec<(u32, f32)> = self.of(record).collect();
        for (neighbour, _) in &edges {
            self.forget(*neighbour, record);
        }
        self.count -= edges.len() as u64;
        self.store(record, &[]);
        edges
    }

    /// The lowest record that has had no edge, nor has any behind it.
    pub(crate) fn end(&self) -> u32 {
        self.starts.count()
    }

    /// Bytes of memory, spare capacity included.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.starts.memory_bytes() + self.bytes.memory_bytes() + size_of::<Self>()
    }

    /// Where the record's block begins.
    fn start_of(&self, record: u32) -> Option<usize> {
        self.starts.get(record as usize).filter(|start| **start != NONE).map(|start| *start as usize * GRAIN)
    }

    fn block(&self, record: u32) -> Block<'_> {
        let bytes: &[u8] = &self.bytes;
        let (at, end) = self.start_of(record).map_or((0, 0), |start| {
            let (len, head) = decode(bytes, start);
            (start + head, start + head + len as usize)
        });
        Block { bytes, at, end, before: FIRST }
    }

    fn insert(&mut self, record: u32, neighbour: u32, steps: i16) {
        let mut block = self.block(record);
        let (first, end) = (block.at, block.end);
        let (mut before, mut at) = (FIRST, first);
        let next = block.find(|held| {
            let found = held.neighbour > neighbour;
            if !found {
                (before, at) = (held.neighbour, held.to);
            }
            found
        });
        let bytes: &[u8] = &self.bytes;
        let mut new = Bytes::from_slice(&bytes[first..at]);
        put(&mut new, before, neighbour);
        new.extend_from_slice(&steps.to_le_bytes());
        if let Some(next) = next {
            put(&mut new, neighbour, next.neighbour);
            new.extend_from_slice(&bytes[next.to - WEIGHT..end]);
        }
        self.store(record, &new);
    }

    fn forget(&mut self, record: u32, neighbour: u32) -> bool {
        let mut block = self.block(record);
        let (first, end) = (block.at, block.end);
        let mut before = FIRST;
        let gone = block.find(|held| {
            let found = held.neighbour == neighbour;
            if !found {
                before = held.neighbour;
            }
            found
        });
        let Some(gone) = gone else { return false };
        let bytes: &[u8] = &self.bytes;
        let mut new = Bytes::from_slice(&bytes[first..gone.from]);
        if let Some(next) = block.next() {
            put(&mut new, before, next.neighbour);
            new.extend_from_slice(&bytes[next.to - WEIGHT..end]);
        }
        self.store(record, &new);
        true
    }

    /// Makes these the edges in the record's block.
    fn store(&mut self, record: u32, edges: &[u8]) {
        let old = self.start_of(record).map(|start| {
            let (len, head) = decode(&self.bytes, start);
            (start, size_index(head + len as usize))
        });
        if edges.is_empty() {
            if let Some((start, size)) = old {
                self.give(start, size);
                self.starts[record] = NONE;
            }
            return;
        }
        let (head, len) = encode(edges.len() as u32);
        let size = size_index(len + edges.len());
        let start = match old {
            Some((start, held)) if held == size => start,
            _ => {
                if let Some((start, held)) = old {
                    self.give(start, held);
                }
                self.take(size)
            }
        };
        self.bytes.overwrite(start, &head[..len]);
        self.bytes.overwrite(start + len, edges);
        self.starts[record] = (start / GRAIN) as u32;
    }

    fn take(&mut self, size: usize) -> usize {
        let first = self.free[size];
        if first != NONE {
            let start = first as usize * GRAIN;
            let bytes: &[u8] = &self.bytes;
            self.free[size] = bytes[start..].first_chunk().map_or(NONE, |bytes| u32::from_le_bytes(*bytes));
            return start;
        }
        let start = self.bytes.len().saturating_sub(TAIL);
        self.bytes.resize(start + size_of_block(size) + TAIL, 0);
        assert!(u32::try_from(start / GRAIN).is_ok(), "edges of one tenant stay below 8 GiB");
        start
    }

    fn give(&mut self, start: usize, size: usize) {
        self.bytes.overwrite(start, &self.free[size].to_le_bytes());
        self.free[size] = (start / GRAIN) as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn edges_lie_in_both_directions(
            steps in proptest::collection::vec((0..24u32, 0..24u32, 0..12u8), 0..600), apart in 0..3u32
        ) {
            // Neighbours that take one byte, two or three.
            let apart = 1 << (8 * apart);
            let steps = steps.into_iter().map(|(one, other, verb)| (one * apart, other * apart, verb));
            let mut edges = Edges::default();
            let mut plain: BTreeMap<(u32, u32), f32> = BTreeMap::new();
            for (number, (one, other, verb)) in (0..).zip(steps) {
                let pair = (one.min(other), one.max(other));
                let weight = (number - 40) as f32 / 8.0;
                match verb {
                    0 => {
                        plain.remove(&pair);
                        edges.remove(one, other);
                    }
                    1 if one / apart % 4 == 0 => {
                        plain.retain(|(a, b), _| *a != one && *b != one);
                        edges.clear(one);
                    }
                    _ if one != other && !plain.contains_key(&pair) => {
                        plain.insert(pair, weight);
                        edges.add(one, other, weight);
                    }
                    _ => {}
                }
            }
            for record in (0..24).map(|record| record * apart) {
                let mut held: Vec<(u32, f32)> = edges.of(record).collect();
                held.sort_by_key(|edge| edge.0);
                let mut wanted: Vec<(u32, f32)> = plain
                    .iter()
                    .filter(|((a, b), _)| *a == record || *b == record)
                    .map(|((a, b), weight)| (a + b - record, *weight))
                    .collect();
                wanted.sort_by_key(|edge| edge.0);
                prop_assert_eq!(held, wanted);
            }
            prop_assert_eq!(edges.count as usize, plain.len());
            // What is freed is used again.
            let all: Vec<(u32, u32)> = plain.keys().copied().collect();
            let before = edges.bytes.len();
            for _ in 0..3 {
                all.iter().for_each(|(one, other)| edges.remove(*one, *other));
                all.iter().for_each(|(one, other)| edges.add(*one, *other, 1.0));
            }
            prop_assert!(edges.bytes.len() <= before * 2 + 128, "{} bytes after {before}", edges.bytes.len());
        }

        #[test]
        fn a_weight_as_kept_decides_as_the_weight_does(weight in -60.0..90.0f32, above in -0.02..0.02f32) {
            for link_bits in [8.3, 12.0, weight + above] {
                let kept = as_kept(weight, link_bits);
                prop_assert_eq!(kept >= link_bits, weight >= link_bits, "{} at {}", weight, link_bits);
                prop_assert!((kept - weight).abs() <= 1.0 / STEPS);
                let mut edges = Edges::default();
                edges.add(0, 1, kept);
                prop_assert_eq!(edges.of(1).collect::<Vec<_>>(), vec![(0, kept)]);
            }
        }
    }

    #[test]
    fn blocks_waste_at_most_a_ninth_beyond_a_grain() {
        let mut before = 0;
        for bytes in 1..100_000 {
            let size = size_of_block(size_index(bytes));
            assert!(size >= bytes.max(4) && size.is_multiple_of(GRAIN), "{bytes} bytes in a block of {size}");
            assert!(bytes < 4 || (size - bytes < GRAIN || size * 8 <= bytes * 9), "{bytes} bytes in a block of {size}");
            assert!(size_index(bytes) >= before && size_index(size) == size_index(bytes), "{bytes}");
            before = size_index(bytes);
        }
        assert!(size_index(u32::MAX as usize) < SIZES);
    }

    #[test]
    fn an_edge_takes_about_five_bytes_in_each_direction() {
        const RECORDS: u32 = 100_000;
        let mut edges = Edges::default();
        for record in 0..RECORDS {
            // Eight to each record, four of them before it.
            for step in [1, 20, 700, 9_000] {
                if let Some(other) = record.checked_sub(step) {
                    edges.add(record, other, 11.5);
                }
            }
        }
        let each = edges.memory_bytes() as f64 / (2 * edges.count) as f64;
        assert!(each < 6.5, "{each:.2} bytes");
    }
}
