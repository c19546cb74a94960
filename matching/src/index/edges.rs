//! Edges between records: what the model says of pairs that share a blocking key.

use crate::index::column::Column;
use crate::index::lists::{List, Lists};

/// Both directions of every edge, eight bytes each: the neighbour and the weight's bits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edges {
    /// By record; neighbours and weights take turns.
    handles: Column<List>,
    lists: Lists,
    /// Number of edges.
    pub(crate) count: u64,
}

impl Edges {
    /// Makes room for records up to this one.
    pub(crate) fn cover(&mut self, record: u32) {
        if self.handles.count() <= record {
            self.handles.resize(record as usize + 1, List::default());
        }
    }

    /// The neighbours of a record with the match weights, in no order that means anything.
    pub(crate) fn of(&self, record: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        let items = self.handles.get(record as usize).map_or(&[][..], |list| self.lists.get(list));
        items.chunks_exact(2).map(|edge| (edge[0], f32::from_bits(edge[1])))
    }

    /// Whether the two are neighbours.
    pub(crate) fn has(&self, one: u32, other: u32) -> bool {
        self.of(one).any(|(neighbour, _)| neighbour == other)
    }

    /// Adds an edge that is not there yet.
    pub(crate) fn add(&mut self, one: u32, other: u32, weight: f32) {
        debug_assert!(!self.has(one, other), "an edge is added once");
        self.cover(one.max(other));
        for (from, to) in [(one, other), (other, one)] {
            let list = &mut self.handles[from];
            self.lists.push(list, to);
            self.lists.push(list, weight.to_bits());
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
        if let Some(list) = self.handles.get(record as usize).copied() {
            let mut list = list;
            self.lists.clear(&mut list);
            self.handles[record] = list;
        }
        edges
    }

    fn forget(&mut self, record: u32, neighbour: u32) -> bool {
        if self.handles.count() <= record {
            return false;
        }
        let mut list = self.handles[record];
        let mut items: smallvec::SmallVec<[u32; 64]> = smallvec::SmallVec::from_slice(self.lists.get(&list));
        let Some(at) = items.chunks_exact(2).position(|edge| edge[0] == neighbour) else { return false };
        let last = items.len() - 2;
        (items[2 * at], items[2 * at + 1]) = (items[last], items[last + 1]);
        items.truncate(last);
        self.lists.set(&mut list, &items);
        self.handles[record] = list;
        true
    }

    /// The lowest record that has no handle.
    pub(crate) fn end(&self) -> u32 {
        self.handles.count()
    }

    /// Bytes of memory, spare capacity included.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.handles.memory_bytes() + self.lists.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn edges_lie_in_both_directions(steps in proptest::collection::vec((0..8u32, 0..8u32, 0..4u8), 0..200)) {
            let mut edges = Edges::default();
            let mut plain: BTreeMap<(u32, u32), f32> = BTreeMap::new();
            for (number, (one, other, verb)) in (0..).zip(steps) {
                let pair = (one.min(other), one.max(other));
                match verb {
                    0 => {
                        plain.remove(&pair);
                        edges.remove(one, other);
                    }
                    1 => {
                        plain.retain(|(a, b), _| *a != one && *b != one);
                        edges.clear(one);
                    }
                    _ if one != other && !plain.contains_key(&pair) => {
                        plain.insert(pair, number as f32);
                        edges.add(one, other, number as f32);
                    }
                    _ => {}
                }
                for record in 0..8 {
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
            }
        }
    }
}
