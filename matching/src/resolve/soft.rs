//! Values that hold people together softly.
//!
//! One landline rings for a couple, one mailbox serves a family. Where a model is in force, an identifying value joins
//! only holders that do not contradict each other. A holder is *torn* when it is compatible with two others that
//! contradict each other: it might be either, so the value says nothing about it. Among the holders that are not torn,
//! being compatible is an equivalence (were a with b, b with c, but not a with c, then b would be torn), so they fall into
//! groups, whatever the order they are looked at. Each group is a link of its own.

use onefold_core::ids::Digest128;
use onefold_core::namespace::NamespaceClass;

use crate::index::records::flag;
use crate::index::values::flag as value_flag;
use crate::resolve::Engine;
use crate::resolve::partition::CROSS_MEAN_BITS;

/// Different rows behind one value that are compared each with each. Further ones are compared with these only.
pub const SOFT_ROWS_MAX: usize = 32;

/// The records that one value may join.
pub(super) type Group = Vec<u32>;

impl Engine {
    /// The groups of linking holders that a linking value joins, each of two or more; as last weighed.
    pub(super) fn groups(&self, value: u32) -> Vec<Group> {
        if self.values.column[value].has(value_flag::DIVIDED) {
            self.divide(value).unwrap_or_default()
        } else {
            let all: Group = self.linking_holders(value).collect();
            if all.len() > 1 { vec![all] } else { Vec::new() }
        }
    }

    /// The groups of a value whose holders contradict each other; `None` when they are as one.
    pub(super) fn divide(&self, value: u32) -> Option<Vec<Group>> {
        if self.rules.class(self.values.column[value].namespace) != NamespaceClass::Identifying {
            return None;
        }
        let mut holders: Vec<(Digest128, u32)> =
            self.linking_holders(value).map(|holder| (self.records.cold[holder].facts, holder)).collect();
        let first = holders.first()?.1;
        let conflict_bits = self.thresholds(self.records.warm[first].party())?.conflict_bits;
        let grounds = self.grounds(value, first);
        let far_bits = grounds.shared.over_strangers_bits;
        if holders.len() < 2 {
            return None;
        }
        holders.sort_unstable();
        // Holders with one row are judged as one; in the order of the first of each by content.
        let mut kinds: Vec<Group> = Vec::new();
        let mut kind_of = hashbrown::HashMap::new();
        for (_, holder) in holders {
            let corrects = self.records.warm[holder].has(flag::CORRECTS);
            let kind = *kind_of.entry((corrects, self.rows.of(holder))).or_insert(kinds.len());
            match kinds.get_mut(kind) {
                Some(alike) => alike.push(holder),
                None => kinds.push(vec![holder]),
            }
        }
        let witnesses = kinds.len().min(SOFT_ROWS_MAX);
        let contradict = |one: usize, other: usize| {
            let (one, other) = (kinds[one][0], kinds[other][0]);
            one != other
                && self.weigh(one, other).is_some_and(|weight| weight + far_bits < conflict_bits)
                // Records that say little about each other do not speak against each other.
                && self.weigh_across(grounds, one, other).is_some_and(|bits| bits < CROSS_MEAN_BITS)
        };
        // By kind, the witnesses that it contradicts, as bits.
        let mut against = vec![0u32; kinds.len()];
        for kind in 0..kinds.len() {
            for witness in 0..witnesses.min(kind) {
                if contradict(kind, witness) {
                    against[kind] |= 1 << witness;
                    if kind < witnesses {
                        against[witness] |= 1 << kind;
                    }
                }
            }
        }
        if against.iter().all(|against| *against == 0) {
            return None;
        }
        let all = u32::MAX >> (32 - witnesses);
        let bits = |set: u32| (0..witnesses).filter(move |witness| set >> witness & 1 == 1);
        let torn = |kind: usize| {
            let compatible = all & !against[kind];
            bits(compatible).any(|witness| against[witness] & compatible != 0)
        };
        let firm = (0..witnesses).filter(|kind| !torn(*kind)).fold(0u32, |firm, kind| firm | 1 << kind);
        let mut groups: Vec<(u32, Group)> = Vec::new();
        for (kind, alike) in kinds.iter().enumerate() {
            if torn(kind) {
                continue;
            }
            // Firm witnesses that it is compatible with: all of one group, or it is in none.
            let with = firm & !against[kind];
            let whole = bits(with).all(|witness| firm & !against[witness] == with);
            if !whole || with == 0 {
                continue;
            }
            match groups.iter_mut().find(|(known, _)| *known == with) {
                Some((_, group)) => group.extend_from_slice(alike),
                None => groups.push((with, alike.clone())),
            }
        }
        Some(groups.into_iter().map(|(_, group)| group).filter(|group| group.len() > 1).collect())
    }
}
