//! Edges between records: what the model says of pairs that share a blocking key.

use crate::index::NONE;
use crate::index::column::Column;

/// Weights are kept in steps of this part of a bit: twice as fine as what ranks them.
const STEPS: f32 = 128.0;
/// Units of an edge in a block: two for the neighbour, one for the weight.
const EDGE: usize = 3;
/// Units in front of a block's edges: how many there are.
const HEAD: usize = 2;
/// Block sizes: of one to eight edges, then four for each doubling, up to 2^32 edges.
const SIZES: usize = 124;

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

/// Both directions of every edge, six bytes each: the neighbour, and the weight in steps.
#[derive(Clone, Debug)]
pub(crate) struct Edges {
    /// By record: where its block begins; [`NONE`] without edges.
    starts: Column<u32>,
    /// Blocks: two units tell how many edges it holds, then three for each, then room for more. A freed one waits in the
    /// free list of its size, which is threaded through the first two units.
    units: Column<u16>,
    free: [u32; SIZES],
    /// Number of edges.
    pub(crate) count: u64,
}

impl Default for Edges {
    fn default() -> Self {
        Self { starts: Column::default(), units: Column::default(), free: [NONE; SIZES], count: 0 }
    }
}

/// The index of the smallest block size that holds so many edges.
fn size_index(edges: usize) -> usize {
    match edges {
        0..=8 => edges.saturating_sub(1),
        // Four sizes for each doubling: 10, 12, 14, 16, 20, 24, 28, 32, …
        _ => {
            let power = (edges - 1).ilog2() as usize;
            let quarter = ((edges - 1) >> (power - 2)) & 3;
            8 + (power - 3) * 4 + quarter
        }
    }
}

/// Edges that a block of this size holds.
const fn size_of_block(size: usize) -> usize {
    if size < 8 {
        return size + 1;
    }
    let (power, quarter) = ((size - 8) / 4 + 3, (size - 8) % 4);
    (5 + quarter) << (power - 2)
}

impl Edges {
    /// The neighbours of a record with the match weights, in no order that means anything.
    pub(crate) fn of(&self, record: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        let (start, count) = self.block_of(record).unwrap_or_default();
        let edges = self.units.get(start + HEAD..).and_then(|units| units.get(..count * EDGE)).unwrap_or_default();
        edges.chunks_exact(EDGE).map(|edge| (pair(edge[0], edge[1]), of_steps(edge[2].cast_signed())))
    }

    /// Whether the two are neighbours.
    pub(crate) fn has(&self, one: u32, other: u32) -> bool {
        self.of(one).any(|(neighbour, _)| neighbour == other)
    }

    /// Adds an edge that is not there yet, with a weight that is [`as_kept`].
    pub(crate) fn add(&mut self, one: u32, other: u32, weight: f32) {
        debug_assert!(!self.has(one, other), "an edge is added once");
        let last = one.max(other);
        if self.starts.count() <= last {
            self.starts.resize(last as usize + 1, NONE);
        }
        for (from, to) in [(one, other), (other, one)] {
            self.push(from, to, weight);
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
        if let Some((start, count)) = self.block_of(record) {
            self.give(start, size_index(count));
            self.starts[record] = NONE;
        }
        edges
    }

    /// The lowest record that has had no edge, nor has any behind it.
    pub(crate) fn end(&self) -> u32 {
        self.starts.count()
    }

    /// Bytes of memory, spare capacity included.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.starts.memory_bytes() + self.units.memory_bytes() + size_of::<Self>()
    }

    /// Where the record's block begins, and how many edges it holds.
    fn block_of(&self, record: u32) -> Option<(usize, usize)> {
        let start = *self.starts.get(record as usize).filter(|start| **start != NONE)? as usize;
        Some((start, self.number_at(start) as usize))
    }

    fn push(&mut self, from: u32, to: u32, weight: f32) {
        let (start, count) = match self.block_of(from) {
            None => (self.take(0), 0),
            Some((start, count)) => {
                let (old, new) = (size_index(count), size_index(count + 1));
                (if old == new { start } else { self.relocate(start, count, (old, new)) }, count)
            }
        };
        let at = start + HEAD + count * EDGE;
        self.put(at, to);
        self.units[at as u32 + 2] = in_steps(weight).cast_unsigned();
        self.put(start, count as u32 + 1);
        self.starts[from] = start as u32;
    }

    fn forget(&mut self, record: u32, neighbour: u32) -> bool {
        let Some((start, count)) = self.block_of(record) else { return false };
        let Some(place) = self.of(record).position(|(other, _)| other == neighbour) else { return false };
        if count == 1 {
            self.give(start, 0);
            self.starts[record] = NONE;
            return true;
        }
        let (hole, last) = (start + HEAD + place * EDGE, start + HEAD + (count - 1) * EDGE);
        for unit in 0..EDGE {
            self.units[(hole + unit) as u32] = self.units[(last + unit) as u32];
        }
        self.put(start, count as u32 - 1);
        let (old, new) = (size_index(count), size_index(count - 1));
        if old != new {
            let moved = self.relocate(start, count - 1, (old, new));
            self.starts[record] = moved as u32;
        }
        true
    }

    /// Moves so many edges to a block of another size, and frees the one where they were.
    fn relocate(&mut self, start: usize, count: usize, (old, new): (usize, usize)) -> usize {
        let to = self.take(new);
        self.units.copy_within(start..start + HEAD + count * EDGE, to);
        self.give(start, old);
        to
    }

    fn take(&mut self, size: usize) -> usize {
        let first = self.free[size];
        if first != NONE {
            self.free[size] = self.number_at(first as usize);
            return first as usize;
        }
        let start = self.units.len();
        self.units.resize(start + HEAD + size_of_block(size) * EDGE, 0);
        assert!(u32::try_from(start).is_ok(), "edges of one tenant stay below 8 GiB");
        start
    }

    fn give(&mut self, start: usize, size: usize) {
        self.put(start, self.free[size]);
        self.free[size] = start as u32;
    }

    fn number_at(&self, at: usize) -> u32 {
        pair(self.units[at as u32], self.units[at as u32 + 1])
    }

    fn put(&mut self, at: usize, number: u32) {
        self.units[at as u32] = number as u16;
        self.units[at as u32 + 1] = (number >> 16) as u16;
    }
}

/// A number from two units.
const fn pair(low: u16, high: u16) -> u32 {
    low as u32 | (high as u32) << 16
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn edges_lie_in_both_directions(steps in proptest::collection::vec((0..24u32, 0..24u32, 0..12u8), 0..600)) {
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
                    1 if one % 4 == 0 => {
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
            for record in 0..24 {
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
            let before = edges.units.len();
            for _ in 0..3 {
                all.iter().for_each(|(one, other)| edges.remove(*one, *other));
                all.iter().for_each(|(one, other)| edges.add(*one, *other, 1.0));
            }
            prop_assert!(edges.units.len() <= before * 2 + 64, "{} units after {before}", edges.units.len());
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
    fn blocks_waste_at_most_a_fifth() {
        for edges in 1..10_000 {
            let size = size_of_block(size_index(edges));
            assert!(size >= edges && size * 4 <= edges * 5, "{edges} edges in a block of {size}");
        }
        assert!(size_index(u32::MAX as usize) < SIZES);
    }
}
