//! Generic values: how many parties stand behind one value.
//!
//! A value's standing is a pure function of its live holders. Few holders are scanned; for many there are exact counters,
//! kept up at every arrival and departure, so a hot value costs the same for each. Beyond the bound at which it is
//! crowded anyway, neither is needed.

use hashbrown::HashMap;
use onefold_core::ids::NamespaceId;
use onefold_core::namespace::NamespaceClass;
use smallvec::SmallVec;

use crate::index::records::flag;
use crate::index::values::flag as value_flag;
use crate::resolve::Engine;
use crate::resolve::lookup::GenericReason;

/// Holders from which on they are counted rather than scanned.
const COUNTED_FROM: u32 = 32;
/// Holders below which counting stops again.
const COUNTED_UNTIL: u32 = 16;

/// Exact counts behind one value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diversity {
    names: HashMap<u32, u32>,
    uniques: HashMap<u32, u32>,
    /// Distinct unique values by namespace.
    distinct: SmallVec<[(u16, u32); 2]>,
}

impl Diversity {
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.names.allocation_size() + self.uniques.allocation_size()
    }
}

/// What stands behind a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Nothing that keeps it from linking.
    OneParty,
    /// Too many parties.
    Generic(GenericReason),
    /// Its holders themselves name two values of this unique namespace.
    Disputed(NamespaceId),
}

impl Engine {
    /// What stands behind the value now. Supporting values are always `OneParty`: they never link anyway.
    ///
    /// A record that contradicts itself counts as a holder and by its name, but says nothing about unique values.
    pub(crate) fn behind(&self, value: u32) -> Behind {
        let held = &self.values.column[value];
        let rule = self.rules.rule(NamespaceId(held.namespace));
        if rule.class == NamespaceClass::Supporting {
            return Behind::OneParty;
        }
        let records = held.holders.len;
        if records > self.rules.value_records_max {
            return Behind::Generic(GenericReason::Crowded { records, limit: self.rules.value_records_max });
        }
        let limit = u32::from(rule.diversity_limit);
        if records <= 1 && limit >= 1 {
            return Behind::OneParty;
        }
        let (names, distinct) = match self.counted.get(&value) {
            Some(diversity) => (
                u32::try_from(diversity.names.len()).unwrap_or(u32::MAX),
                diversity.distinct.iter().filter(|(namespace, _)| *namespace != held.namespace).copied().collect(),
            ),
            None => self.scan(value, limit),
        };
        if names > limit {
            return Behind::Generic(GenericReason::Names { names, limit });
        }
        // The largest count decides; among equals the first namespace, so that the reason is one of content.
        let widest = distinct.iter().copied().max_by_key(|(namespace, count)| (*count, std::cmp::Reverse(*namespace)));
        match widest {
            Some((namespace, values)) if values > limit => {
                Behind::Generic(GenericReason::Uniques { namespace: NamespaceId(namespace), values, limit })
            }
            Some((namespace, values)) if values > 1 => Behind::Disputed(NamespaceId(namespace)),
            _ => Behind::OneParty,
        }
    }

    /// Distinct names (exact only when they can matter) and distinct unique values by namespace among the holders.
    fn scan(&self, value: u32, limit: u32) -> (u32, SmallVec<[(u16, u32); 2]>) {
        let held = &self.values.column[value];
        let holders = self.lists.get(&held.holders);
        let mut uniques: SmallVec<[u32; 8]> = SmallVec::new();
        let mut names: SmallVec<[u32; 32]> = SmallVec::new();
        let names_matter = held.holders.len > limit;
        for holder in holders {
            let warm = &self.records.warm[*holder];
            if names_matter && warm.has(flag::NAMED) {
                names.push(warm.name);
            }
            if warm.links() {
                for unique in self.uniques_of(*holder) {
                    if *unique != value && !uniques.contains(unique) {
                        uniques.push(*unique);
                    }
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        let mut distinct: SmallVec<[(u16, u32); 2]> = SmallVec::new();
        if uniques.len() > 1 || limit == 0 {
            for unique in &uniques {
                let namespace = self.values.column[*unique].namespace;
                // Holders that contradict themselves are left out, so none has another value of the value's own kind.
                match distinct.iter_mut().find(|(known, _)| *known == namespace) {
                    Some((_, count)) => *count += 1,
                    None => distinct.push((namespace, 1)),
                }
            }
        }
        (names.len() as u32, distinct)
    }

    /// Counts a record in, after it was indexed.
    pub(super) fn count(&mut self, value: u32, record: u32) {
        if !self.values.column[value].has(value_flag::COUNTED) {
            self.recount_if_many(value);
            return;
        }
        if self.values.column[value].holders.len > self.rules.value_records_max.saturating_mul(2) {
            self.stop_counting(value);
            return;
        }
        let Some(mut diversity) = self.counted.remove(&value) else { return };
        self.add_to(&mut diversity, record);
        self.counted.insert(value, diversity);
    }

    /// Counts a record out, before it changes in the index.
    pub(super) fn uncount(&mut self, value: u32, record: u32, name: Option<u32>) {
        if !self.values.column[value].has(value_flag::COUNTED) {
            return;
        }
        if self.values.column[value].holders.len <= COUNTED_UNTIL {
            self.stop_counting(value);
            return;
        }
        let Some(mut diversity) = self.counted.remove(&value) else { return };
        if let Some(name) = name
            && decrement(&mut diversity.names, name)
        {
            diversity.names.remove(&name);
        }
        if self.records.warm[record].links() {
            for unique in self.uniques_of(record) {
                if decrement(&mut diversity.uniques, *unique) {
                    diversity.uniques.remove(unique);
                    let namespace = self.values.column[*unique].namespace;
                    if let Some((_, count)) = diversity.distinct.iter_mut().find(|(known, _)| *known == namespace) {
                        *count -= 1;
                    }
                }
            }
        }
        self.counted.insert(value, diversity);
    }

    /// Begins to count when there is much to count.
    pub(super) fn recount_if_many(&mut self, value: u32) {
        let held = &self.values.column[value];
        let supporting = self.rules.class(held.namespace) == NamespaceClass::Supporting;
        let countable = COUNTED_FROM + 1..=self.rules.value_records_max.max(COUNTED_FROM);
        if supporting || held.has(value_flag::UNLISTED) || !countable.contains(&held.holders.len) {
            return;
        }
        let mut diversity = Box::<Diversity>::default();
        for holder in self.lists.get(&held.holders) {
            self.add_to(&mut diversity, *holder);
        }
        self.counted.insert(value, diversity);
        self.values.column[value].flags |= value_flag::COUNTED;
    }

    fn stop_counting(&mut self, value: u32) {
        self.counted.remove(&value);
        self.values.column[value].flags &= !value_flag::COUNTED;
    }

    fn add_to(&self, diversity: &mut Diversity, record: u32) {
        let warm = &self.records.warm[record];
        if warm.has(flag::NAMED) {
            *diversity.names.entry(warm.name).or_insert(0) += 1;
        }
        if warm.links() {
            for unique in self.uniques_of(record) {
                let held = diversity.uniques.entry(*unique).or_insert(0);
                *held += 1;
                if *held == 1 {
                    let namespace = self.values.column[*unique].namespace;
                    match diversity.distinct.iter_mut().find(|(known, _)| *known == namespace) {
                        Some((_, count)) => *count += 1,
                        None => diversity.distinct.push((namespace, 1)),
                    }
                }
            }
        }
    }
}

/// Takes one off; answers whether none is left.
fn decrement<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u32>, key: K) -> bool {
    counts.get_mut(&key).is_some_and(|count| {
        *count -= 1;
        *count == 0
    })
}
