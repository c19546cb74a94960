//! LAW 4: ids are a contract. Which profile each new cluster goes on under, and what becomes of the others.
//!
//! Each old profile's heir is the new cluster with most of its records; among equals the one that holds its oldest
//! record. A new cluster keeps the oldest id whose heir it is. Of the other ids, one whose records all went to one
//! cluster is merged into it, one whose records went several ways is split. A cluster that is nobody's heir takes up an
//! emptied id that one of its returning records remembers, or opens a new one.
//!
//! An id that ended stays ended. Whoever kept it is led to where the records are that it held when it did
//! ([`crate::index::profiles::Profiles::ends`]): when the merge is undone, to the part that has them, and never to the other party.

use hashbrown::HashSet;
use onefold_core::change::ProfileChange;
use onefold_core::ids::{Digest128, ProfileOrdinal};
use smallvec::SmallVec;

use crate::index::NONE;
use crate::index::profiles::{HELD_MAX, Kind};
use crate::index::records::flag;
use crate::resolve::Engine;

/// A cluster as it must be now: either all of its records, or some records that join whole profiles.
#[derive(Clone, Debug, Default)]
pub(super) struct NewCluster {
    /// Ascending.
    pub(super) records: SmallVec<[u32; 4]>,
    /// Profiles that join with all their members, besides `records`.
    pub(super) joins: SmallVec<[u32; 2]>,
    /// Unique values in it.
    pub(super) uniques: SmallVec<[u32; 2]>,
    /// A member has a parked link, or holds a divided value.
    pub(super) contested: bool,
    /// Not every pair is harmless.
    pub(super) uneven: bool,
}

/// What happened, before it is put into words.
#[derive(Debug, Default)]
struct Moves {
    /// Profiles from this ordinal on were opened in this settlement.
    opened_from: u32,
    /// (Profile, record) where the record was in none.
    joined: Vec<(u32, Digest128)>,
    /// (Profile, record) where the record stayed or was retracted.
    touched: Vec<(u32, Digest128)>,
    /// (From, to, record).
    moved: Vec<(u32, u32, Digest128)>,
    emptied: Vec<u32>,
}

impl Engine {
    /// Gives every cluster its profile, moves the records, and tells it. `gone` are (profile, record) pairs of retracted
    /// records that were taken out already.
    pub(super) fn hand_on(
        &mut self,
        clusters: Vec<NewCluster>,
        dirty_records: &[u32],
        gone: &[(u32, u32)],
    ) -> Vec<ProfileChange> {
        let mut moves = Moves { opened_from: self.profiles.column.count(), ..Moves::default() };
        let targets = self.targets(&clusters);
        let new_facts: Vec<(u32, u32)> = dirty_records
            .iter()
            .map(|record| (*record, &self.records.warm[*record]))
            .filter(|(_, warm)| warm.has(flag::LIVE) && warm.placed() && warm.has(flag::FACTS))
            .map(|(record, warm)| (record, warm.profile))
            .collect();
        for (cluster, target) in clusters.into_iter().zip(&targets) {
            self.place(cluster, *target, &mut moves);
        }
        for (record, profile) in new_facts {
            // A record that moved is named by its move.
            if self.records.warm[record].profile == profile {
                moves.touched.push((profile, self.records.cold[record].digest));
            }
        }
        moves.joined.sort_unstable();
        moves.moved.sort_unstable();
        for (profile, record) in gone {
            let ended = &self.profiles.column[*profile];
            let moved_on = || {
                let first = moves.moved.partition_point(|(from, ..)| from < profile);
                moves.moved.get(first).is_some_and(|(from, ..)| from == profile)
            };
            if ended.count == 0 && !moved_on() {
                moves.emptied.push(*profile);
            } else {
                moves.touched.push((*profile, self.records.cold[*record].digest));
            }
        }
        moves.touched.sort_unstable();
        moves.emptied.sort_unstable();
        moves.emptied.dedup();
        self.tell(moves)
    }

    /// The profile that each cluster goes on under.
    fn targets(&mut self, clusters: &[NewCluster]) -> Vec<u32> {
        // (old profile, cluster, oldest record of the part, size of the part)
        let mut parts: Vec<(u32, u32, u32, u32)> = Vec::new();
        let mut targets = vec![NONE; clusters.len()];
        for (index, cluster) in clusters.iter().enumerate() {
            if let Some(oldest) = cluster.joins.iter().min() {
                targets[index] = *oldest;
                continue;
            }
            let from = parts.len();
            for record in &cluster.records {
                let warm = &self.records.warm[*record];
                if warm.placed() {
                    parts.push((warm.profile, index as u32, *record, 1));
                }
            }
            parts[from..].sort_unstable();
            let mut kept = from;
            for at in from..parts.len() {
                if at > from && parts[kept].0 == parts[at].0 {
                    parts[kept].3 += 1;
                } else {
                    if at > from {
                        kept += 1;
                    }
                    parts[kept] = parts[at];
                }
            }
            parts.truncate(if parts.len() > from { kept + 1 } else { from });
        }
        parts.sort_unstable_by_key(|(old, _, oldest, size)| (*old, std::cmp::Reverse(*size), *oldest));
        parts.dedup_by_key(|(old, ..)| *old);
        // By age: the first that comes to its heir keeps its id.
        for (old, heir, ..) in parts {
            if targets[heir as usize] == NONE {
                targets[heir as usize] = old;
            }
        }
        let mut heirless: Vec<usize> = (0..clusters.len()).filter(|index| targets[*index] == NONE).collect();
        heirless.sort_unstable_by_key(|index| clusters[*index].records.first().copied());
        let mut taken_up = HashSet::new();
        for index in heirless {
            targets[index] = match self.remembered(&clusters[index], &taken_up) {
                Some(emptied) => {
                    taken_up.insert(emptied);
                    if self.profiles.column[emptied].kind == Kind::Emptied {
                        self.profiles.revive(emptied);
                    }
                    emptied
                }
                None => self.profiles.open(),
            };
        }
        targets
    }

    /// The oldest profile without members that a returning record of the cluster was in last. One that came back as somebody
    /// else's takes up no id: whoever kept that asks for the person of before.
    fn remembered(&self, cluster: &NewCluster, taken_up: &HashSet<u32>) -> Option<u32> {
        cluster
            .records
            .iter()
            .filter(|record| !self.profiles.handed.is_unsettled(**record))
            .map(|record| &self.records.warm[*record])
            .filter(|warm| !warm.placed() && warm.profile != NONE)
            .map(|warm| self.profiles.end_of_merges(warm.profile))
            .filter(|profile| !taken_up.contains(profile))
            .filter(|profile| {
                let profile = &self.profiles.column[*profile];
                profile.count == 0 && matches!(profile.kind, Kind::Emptied | Kind::Live)
            })
            .min()
    }

    /// Moves the cluster's records into its profile.
    fn place(&mut self, cluster: NewCluster, target: u32, moves: &mut Moves) {
        for from in cluster.joins.iter().filter(|from| **from != target) {
            let members: Vec<u32> = self.profiles.members(&self.records.warm, *from).collect();
            for record in members {
                self.profiles.detach(&mut self.records.warm, record);
                self.profiles.attach(&mut self.records.warm, record, target);
                moves.moved.push((*from, target, self.records.cold[record].digest));
            }
        }
        for record in cluster.records {
            let warm = &mut self.records.warm[record];
            warm.flags &= !flag::VISITED;
            let from = warm.profile;
            let digest = self.records.cold[record].digest;
            if warm.placed() {
                if from == target {
                    continue;
                }
                self.profiles.detach(&mut self.records.warm, record);
                moves.moved.push((from, target, digest));
            } else {
                moves.joined.push((target, digest));
            }
            self.profiles.attach(&mut self.records.warm, record, target);
        }
        let profile = &mut self.profiles.column[target];
        profile.contested = cluster.contested;
        profile.uneven = cluster.uneven;
        self.lists.set(&mut profile.list, &cluster.uniques);
    }

    /// Ends the profiles that lost everything, and puts what happened into words.
    fn tell(&mut self, moves: Moves) -> Vec<ProfileChange> {
        let mut changes = Vec::new();
        let opened = moves.joined.partition_point(|(profile, _)| *profile < moves.opened_from);
        let (mut joined, mut founding) = moves.joined.split_at(opened);
        for profile in moves.opened_from..self.profiles.column.count() {
            let records = take_of(&mut founding, profile);
            changes.push(ProfileChange::Created { profile: ProfileOrdinal(profile), records });
        }
        let mut touched = moves.touched.as_slice();
        while let Some(profile) = joined.first().into_iter().chain(touched.first()).map(|(profile, _)| *profile).min() {
            changes.push(ProfileChange::Updated {
                profile: ProfileOrdinal(profile),
                joined: take_of(&mut joined, profile),
                touched: take_of(&mut touched, profile),
            });
        }
        let mut merged = Vec::new();
        for of_one in moves.moved.chunk_by(|a, b| a.0 == b.0) {
            let from = of_one[0].0;
            let stays = self.profiles.column[from].count > 0;
            let mut into: Vec<(ProfileOrdinal, Vec<Digest128>)> = of_one
                .chunk_by(|a, b| a.1 == b.1)
                .map(|part| (ProfileOrdinal(part[0].1), part.iter().map(|(.., record)| *record).collect()))
                .collect();
            match into.as_mut_slice() {
                [(to, records)] if !stays => {
                    let held = self.oldest_of(records.iter());
                    self.profiles.end(from, Kind::Merged, &[to.0], &held, &mut self.lists);
                    let (from, into) = (ProfileOrdinal(from), *to);
                    merged.push(ProfileChange::Merged { from, into, records: std::mem::take(records) });
                }
                _ => {
                    if !stays {
                        let ends: Vec<u32> = into.iter().map(|(to, _)| to.0).collect();
                        let held = self.oldest_of(into.iter().flat_map(|(_, records)| records));
                        self.profiles.end(from, Kind::Split, &ends, &held, &mut self.lists);
                    }
                    self.gave.insert(from);
                    changes.push(ProfileChange::Split { from: ProfileOrdinal(from), stays, into });
                }
            }
        }
        changes.extend(merged);
        for profile in moves.emptied {
            self.profiles.end(profile, Kind::Emptied, &[], &[], &mut self.lists);
            changes.push(ProfileChange::Emptied { profile: ProfileOrdinal(profile) });
        }
        self.part_left();
        changes
    }

    /// The records that say where a profile lives on that ends: the oldest of those that it held.
    pub(super) fn oldest_of<'a>(&self, records: impl IntoIterator<Item = &'a Digest128>) -> Vec<u32> {
        let mut oldest: Vec<u32> = records.into_iter().filter_map(|record| self.records.find(*record)).collect();
        oldest.sort_unstable();
        oldest.truncate(HELD_MAX);
        oldest
    }

    /// Ends a settlement, once all that moved is where it belongs: what follows from profiles giving records to others.
    pub(super) fn part_left(&mut self) {
        let gave = std::mem::take(&mut self.gave);
        self.profiles.part_left(&mut self.records.warm, &self.lists, &gave);
    }
}

/// Takes the records of a profile off the front of a sorted list.
fn take_of(sorted: &mut &[(u32, Digest128)], profile: u32) -> Vec<Digest128> {
    let end = sorted.iter().take_while(|(of, _)| *of == profile).count();
    let (taken, rest) = sorted.split_at(end);
    *sorted = rest;
    taken.iter().map(|(_, record)| *record).collect()
}
