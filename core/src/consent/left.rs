//! Where statements are heard on beside the points at which they were made, until something is told of these: what a record held that
//! is not there any more, what a fragment would have brought that was never taken in, what a restore brought back apart.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::consent::elsewhere::Elsewhere;
use crate::fragment::ObservedAt;
use crate::ids::Digest128;

/// Which version of a record: when it was observed, and the digest of its facts, by which ties break.
pub type Version = (ObservedAt, Digest128);

/// Points that are heard at others, each until something is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind {
    /// All of it.
    all: Elsewhere,
    /// What anything that is told of the point ends.
    plain: HashMap<Digest128, BTreeSet<Digest128>>,
    /// What versions of the record would have brought that were never taken in, each with the newest of these: what is older than
    /// that says nothing of it.
    brought: HashMap<Digest128, BTreeMap<Digest128, Version>>,
}

/// One point in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRow {
    point: Digest128,
    plain: Vec<Digest128>,
    brought: Vec<(Digest128, Version)>,
}

impl LeftBehind {
    /// Statements at a point are heard at these too; `of` is the version of the record that would have brought them.
    pub fn add(&mut self, point: Digest128, heard_at: &[Digest128], of: Option<Version>) {
        let others = heard_at.iter().filter(|other| **other != point);
        match of {
            None => self.plain.entry(point).or_default().extend(others),
            Some(version) => {
                let brought = self.brought.entry(point).or_default();
                for other in others {
                    let known = brought.entry(*other).or_insert(version);
                    *known = version.max(*known);
                }
            }
        }
        self.renew(point);
    }

    /// A version of a record is known, and holds these identifiers now or held them last, in place of what was there before it.
    pub fn replace(&mut self, record: Digest128, before: &[Digest128], now: &[Digest128], version: Version) {
        if let Some(plain) = self.plain.get_mut(&record) {
            plain.retain(|point| !before.contains(point));
        }
        self.pass(record, version);
        self.add(record, now, None);
    }

    /// A record is live with this version: what is not of a newer one is at an end.
    pub fn end(&mut self, record: Digest128, version: Version) {
        self.plain.remove(&record);
        self.pass(record, version);
        self.renew(record);
    }

    /// What would have been brought by this version, or one before it, is heard no more.
    fn pass(&mut self, record: Digest128, version: Version) {
        if let Some(brought) = self.brought.get_mut(&record) {
            brought.retain(|_, of| *of > version);
        }
    }

    /// Of what is heard elsewhere only this is any more.
    pub fn retain(&mut self, point: Digest128, keep: impl Fn(&Digest128) -> bool) {
        if let Some(plain) = self.plain.get_mut(&point) {
            plain.retain(&keep);
        }
        if let Some(brought) = self.brought.get_mut(&point) {
            brought.retain(|other, _| keep(other));
        }
        self.renew(point);
    }

    /// The newest version of a record, never taken in, that would have brought an identifier.
    #[must_use]
    pub fn version_of(&self, record: Digest128, identifier: Digest128) -> Option<Version> {
        self.brought.get(&record)?.get(&identifier).copied()
    }

    /// Where the statements at a point are heard too.
    #[must_use]
    pub fn of(&self, point: Digest128) -> &[Digest128] {
        self.all.of(point)
    }

    /// The points whose statements are heard here too.
    #[must_use]
    pub fn heard_here(&self, point: Digest128) -> &[Digest128] {
        self.all.heard_here(point)
    }

    /// Where something began or ceased to be heard since this was asked.
    pub fn take_moved(&mut self) -> HashSet<Digest128> {
        self.all.take_moved()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Forgets these points, from both sides.
    pub fn forget(&mut self, points: &HashSet<Digest128>) {
        let from = points.iter().flat_map(|point| self.all.heard_here(*point)).copied();
        let touched: BTreeSet<Digest128> = from.chain(points.iter().copied()).collect();
        for point in touched {
            let gone = points.contains(&point);
            self.retain(point, |other| !gone && !points.contains(other));
        }
    }

    /// Says what is heard where, after a change.
    fn renew(&mut self, point: Digest128) {
        if self.plain.get(&point).is_some_and(BTreeSet::is_empty) {
            self.plain.remove(&point);
        }
        if self.brought.get(&point).is_some_and(BTreeMap::is_empty) {
            self.brought.remove(&point);
        }
        let plain = self.plain.get(&point).into_iter().flatten();
        let brought = self.brought.get(&point).into_iter().flat_map(BTreeMap::keys);
        let all: BTreeSet<Digest128> = plain.chain(brought).copied().collect();
        self.all.set(point, all.into_iter().collect());
    }

    /// As a checkpoint keeps it, by point.
    #[must_use]
    pub fn to_rows(&self) -> Vec<LeftRow> {
        let row = |(point, _): (Digest128, Vec<Digest128>)| LeftRow {
            point,
            plain: self.plain.get(&point).into_iter().flatten().copied().collect(),
            brought: self.brought.get(&point).into_iter().flatten().map(|(other, of)| (*other, *of)).collect(),
        };
        self.all.rows().into_iter().map(row).collect()
    }

    /// From a checkpoint.
    #[must_use]
    pub fn from_rows(rows: Vec<LeftRow>) -> Self {
        let mut left = Self::default();
        for LeftRow { point, plain, brought } in rows {
            left.add(point, &plain, None);
            for (other, of) in brought {
                left.add(point, &[other], Some(of));
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(number: u8) -> Digest128 {
        Digest128([number; 16])
    }

    const fn version(at: i64) -> Version {
        (ObservedAt(at), Digest128([0; 16]))
    }

    #[test]
    fn what_is_older_takes_nothing_of_what_a_newer_version_would_have_brought() {
        let mut left = LeftBehind::default();
        left.add(point(1), &[point(2), point(1)], None);
        left.add(point(1), &[point(3), point(4)], Some(version(5)));
        left.add(point(1), &[point(4)], Some(version(3)));
        assert_eq!(left.of(point(1)), [point(2), point(3), point(4)]);
        assert_eq!(left.heard_here(point(4)), [point(1)]);
        assert_eq!(
            (left.version_of(point(1), point(4)), left.version_of(point(1), point(2))),
            (Some(version(5)), None)
        );
        assert_eq!(LeftBehind::from_rows(left.to_rows()), left, "a checkpoint keeps it");
        left.end(point(1), version(4));
        assert_eq!(left.of(point(1)), [point(3), point(4)]);
        left.replace(point(1), &[], &[point(6)], version(4));
        left.replace(point(1), &[point(6)], &[point(7)], version(4));
        assert_eq!(left.of(point(1)), [point(3), point(4), point(7)]);
        left.forget(&HashSet::from([point(3)]));
        assert_eq!(left.of(point(1)), [point(4), point(7)]);
        left.end(point(1), version(5));
        assert!(left.is_empty() && left.heard_here(point(4)).is_empty());
        assert_eq!(left, LeftBehind::default());
    }

    #[test]
    fn a_point_that_is_forgotten_is_heard_nowhere() {
        let mut left = LeftBehind::default();
        left.add(point(1), &[point(2)], Some(version(5)));
        left.add(point(3), &[point(1), point(2)], None);
        left.forget(&HashSet::from([point(1)]));
        assert_eq!((left.of(point(1)), left.of(point(3))), (&[][..], &[point(2)][..]));
        assert_eq!(left.heard_here(point(2)), [point(3)]);
    }
}
