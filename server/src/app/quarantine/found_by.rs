//! Which quarantined fragment is found by what, looked up from either side: an erasure costs what it finds, however much waits.

use std::collections::{BTreeMap, BTreeSet};

use onefold_core::ids::{Digest128, Sequence};

use super::points::Points;

/// What quarantined fragments are found by: the points of each entry, and the entries at each point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundBy {
    of: BTreeMap<Sequence, Points>,
    at: BTreeSet<(Digest128, Sequence)>,
}

impl FoundBy {
    /// Notes what an entry is found by, in place of what it was found by before.
    pub fn put(&mut self, entry: Sequence, points: Points) {
        self.take(entry);
        self.at.extend(points.all().map(|point| (*point, entry)));
        self.of.insert(entry, points);
    }

    /// An entry is found no more.
    pub fn take(&mut self, entry: Sequence) -> Option<Points> {
        let points = self.of.remove(&entry)?;
        for point in points.all() {
            self.at.remove(&(*point, entry));
        }
        Some(points)
    }

    /// What an entry is found by.
    pub fn get(&self, entry: Sequence) -> Option<&Points> {
        self.of.get(&entry)
    }

    /// The entries that are found by a point, oldest first.
    pub fn at(&self, point: Digest128) -> impl Iterator<Item = (Sequence, &Points)> {
        let found = self.at.range((point, Sequence(0))..=(point, Sequence(u64::MAX)));
        found.filter_map(|(_, entry)| Some((*entry, self.of.get(entry)?)))
    }

    /// How many entries are found by a point, and of more than `most` so many.
    pub fn count_at(&self, point: Digest128, most: usize) -> usize {
        self.at.range((point, Sequence(0))..=(point, Sequence(u64::MAX))).take(most).count()
    }

    /// The entries of a record, oldest first.
    pub fn of_record(&self, record: Digest128) -> impl Iterator<Item = (Sequence, &Points)> {
        self.at(record).filter(move |(_, points)| points.record() == Some(record))
    }

    /// How many points there are, of all entries together.
    pub fn points(&self) -> usize {
        self.at.len()
    }

    /// All of it, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Sequence, &Points)> {
        self.of.iter().map(|(entry, points)| (*entry, points))
    }
}

impl FromIterator<(Sequence, Points)> for FoundBy {
    fn from_iter<I: IntoIterator<Item = (Sequence, Points)>>(rows: I) -> Self {
        let mut found = Self::default();
        rows.into_iter().for_each(|(entry, points)| found.put(entry, points));
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        Put(u64, u8, Vec<u8>, Vec<u8>),
        Take(u64),
        /// As a checkpoint does it.
        Rebuild,
    }

    fn digest(number: u8) -> Digest128 {
        Digest128([number; 16])
    }

    fn points(record: u8, own: &[u8], mentioned: &[u8]) -> Points {
        let own = std::iter::once(record).chain(own.iter().copied()).map(digest).collect();
        Points { own, mentioned: mentioned.iter().copied().map(digest).collect() }
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let some = || prop::collection::vec(0..12u8, 0..4);
        let act = prop_oneof![
            4 => (0..8u64, 0..12u8, some(), some()).prop_map(|(entry, record, own, more)| Act::Put(entry, record, own, more)),
            2 => (0..8u64).prop_map(Act::Take),
            1 => Just(Act::Rebuild),
        ];
        prop::collection::vec(act, 0..40)
    }

    proptest! {
        /// Looked up, it is what a look at every entry would find, whatever was put, put again and taken.
        #[test]
        fn what_is_looked_up_is_what_a_look_at_all_would_find(acts in acts()) {
            let (mut found, mut all) = (FoundBy::default(), BTreeMap::<Sequence, Points>::new());
            for act in acts {
                match act {
                    Act::Put(entry, record, own, mentioned) => {
                        let points = points(record, &own, &mentioned);
                        found.put(Sequence(entry), points.clone());
                        all.insert(Sequence(entry), points);
                    }
                    Act::Take(entry) => prop_assert_eq!(found.take(Sequence(entry)), all.remove(&Sequence(entry))),
                    Act::Rebuild => {
                        found = found.iter().map(|(entry, points)| (entry, points.clone())).collect();
                    }
                }
                let each = |points: &Points| points.all().copied().collect::<HashSet<_>>().len();
                prop_assert_eq!(found.points(), all.values().map(each).sum::<usize>());
                for point in (0..12).map(digest) {
                    let scan = |is: &dyn Fn(&Points) -> bool| -> Vec<Sequence> {
                        all.iter().filter(|(_, points)| is(points)).map(|(entry, _)| *entry).collect()
                    };
                    let at: Vec<Sequence> = found.at(point).map(|(entry, _)| entry).collect();
                    prop_assert_eq!(found.count_at(point, 3), at.len().min(3));
                    prop_assert_eq!(at, scan(&|points| points.all().any(|known| *known == point)));
                    let of_record: Vec<Sequence> = found.of_record(point).map(|(entry, _)| entry).collect();
                    prop_assert_eq!(of_record, scan(&|points| points.record() == Some(point)));
                }
                for (entry, points) in &all {
                    prop_assert_eq!(found.get(*entry), Some(points));
                }
            }
        }
    }
}
