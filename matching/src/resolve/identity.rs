//! LAW 4: ids are a contract. Which profile each new cluster goes on under, and what becomes of the others.
//!
//! Each old profile's heir is the new cluster with most of its records; among equals the one that holds its oldest
//! record. A new cluster keeps the oldest id whose heir it is. Of the other ids, one whose records all went to one
//! cluster is merged into it, one whose records went several ways is split. A cluster that is nobody's heir takes up an
//! emptied id that one of its returning records remembers, or opens a new one.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use onefold_core::change::ProfileChange;
use onefold_core::ids::{Digest128, ProfileOrdinal};
use smallvec::SmallVec;

use crate::index::NONE;
use crate::index::profiles::Kind;
use crate::index::records::flag;
use crate::resolve::Engine;

/// A cluster as it must be now: either all of its records, or some records that join whole profiles.
#[derive(Clone, Debug, Default)]
pub(super) struct NewCluster {
    /// Ascending.
    pub(super) records: Vec<u32>,
    /// Profiles that join with all their members, besides `records`.
    pub(super) joins: SmallVec<[u32; 2]>,
    /// Unique values in it.
    pub(super) uniques: SmallVec<[u32; 2]>,
    /// A parked value is held by a member.
    pub(super) contested: bool,
}

/// What happened, by profile, before it is put into words.
#[derive(Debug, Default)]
struct Moves {
    created: BTreeMap<u32, Vec<u32>>,
    joined: BTreeMap<u32, Vec<u32>>,
    touched: BTreeMap<u32, Vec<u32>>,
    /// From, to.
    moved: BTreeMap<(u32, u32), Vec<u32>>,
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
        let mut moves = Moves::default();
        let targets = self.targets(&clusters, &mut moves);
        let new_facts: Vec<(u32, u32)> = dirty_records
            .iter()
            .map(|record| (*record, &self.records.warm[*record]))
            .filter(|(_, warm)| {
                warm.flags & (flag::LIVE | flag::PLACED | flag::FACTS) == flag::LIVE | flag::PLACED | flag::FACTS
            })
            .map(|(record, warm)| (record, warm.profile))
            .collect();
        for (cluster, target) in clusters.into_iter().zip(&targets) {
            self.place(cluster, *target, &mut moves);
        }
        for (record, profile) in new_facts {
            // A record that moved is named by its move.
            if self.records.warm[record].profile == profile {
                moves.touched.entry(profile).or_default().push(record);
            }
        }
        for (profile, record) in gone {
            let ended = &self.profiles.column[*profile];
            if ended.count == 0 && ended.kind == Kind::Live && !moves.joined.contains_key(profile) {
                let moved_on = moves.moved.range((*profile, 0)..=(*profile, NONE)).next().is_some();
                if !moved_on {
                    moves.emptied.push(*profile);
                    continue;
                }
            }
            moves.touched.entry(*profile).or_default().push(*record);
        }
        moves.emptied.sort_unstable();
        moves.emptied.dedup();
        self.tell(moves)
    }

    /// The profile that each cluster goes on under.
    fn targets(&mut self, clusters: &[NewCluster], moves: &mut Moves) -> Vec<u32> {
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
                None => {
                    let opened = self.profiles.open();
                    moves.created.insert(opened, Vec::new());
                    opened
                }
            };
        }
        targets
    }

    /// The oldest profile without members that a returning record of the cluster was in last.
    fn remembered(&self, cluster: &NewCluster, taken_up: &HashSet<u32>) -> Option<u32> {
        cluster
            .records
            .iter()
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
            for record in &members {
                self.profiles.detach(&mut self.records.warm, *record);
                self.profiles.attach(&mut self.records.warm, *record, target);
            }
            moves.moved.entry((*from, target)).or_default().extend(members);
        }
        let mut fresh = Vec::new();
        for record in cluster.records {
            let warm = &mut self.records.warm[record];
            warm.flags &= !flag::VISITED;
            let from = warm.profile;
            if warm.placed() {
                if from == target {
                    continue;
                }
                self.profiles.detach(&mut self.records.warm, record);
                moves.moved.entry((from, target)).or_default().push(record);
            } else {
                fresh.push(record);
            }
            self.profiles.attach(&mut self.records.warm, record, target);
        }
        if !fresh.is_empty() {
            let told = match moves.created.get_mut(&target) {
                Some(created) => created,
                None => moves.joined.entry(target).or_default(),
            };
            told.extend(fresh);
        }
        let profile = &mut self.profiles.column[target];
        profile.contested = cluster.contested;
        self.lists.set(&mut profile.list, &cluster.uniques);
    }

    /// Ends the profiles that lost everything, and puts what happened into words.
    fn tell(&mut self, moves: Moves) -> Vec<ProfileChange> {
        let mut changes = Vec::new();
        for (profile, records) in moves.created {
            changes.push(ProfileChange::Created { profile: ProfileOrdinal(profile), records: self.named(records) });
        }
        let mut joined = moves.joined;
        let mut touched = moves.touched;
        touched.retain(|_, records| !records.is_empty());
        let updated: std::collections::BTreeSet<u32> = joined.keys().chain(touched.keys()).copied().collect();
        for profile in updated {
            changes.push(ProfileChange::Updated {
                profile: ProfileOrdinal(profile),
                joined: self.named(joined.remove(&profile).unwrap_or_default()),
                touched: self.named(touched.remove(&profile).unwrap_or_default()),
            });
        }
        let mut parts: BTreeMap<u32, Vec<(u32, Vec<u32>)>> = BTreeMap::new();
        for ((from, to), records) in moves.moved {
            parts.entry(from).or_default().push((to, records));
        }
        let mut merged = Vec::new();
        for (from, parts) in parts {
            let stays = self.profiles.column[from].count > 0;
            let mut into: Vec<(ProfileOrdinal, Vec<Digest128>)> =
                parts.into_iter().map(|(to, records)| (ProfileOrdinal(to), self.named(records))).collect();
            match into.as_mut_slice() {
                [(to, records)] if !stays => {
                    self.profiles.end(from, Kind::Merged, &[to.0], &mut self.lists);
                    let (from, into) = (ProfileOrdinal(from), *to);
                    merged.push(ProfileChange::Merged { from, into, records: std::mem::take(records) });
                }
                _ => {
                    if !stays {
                        let ends: Vec<u32> = into.iter().map(|(to, _)| to.0).collect();
                        self.profiles.end(from, Kind::Split, &ends, &mut self.lists);
                    }
                    changes.push(ProfileChange::Split { from: ProfileOrdinal(from), stays, into });
                }
            }
        }
        changes.extend(merged);
        for profile in moves.emptied {
            self.profiles.end(profile, Kind::Emptied, &[], &mut self.lists);
            changes.push(ProfileChange::Emptied { profile: ProfileOrdinal(profile) });
        }
        changes
    }

    /// The records' digests, sorted.
    fn named(&self, records: Vec<u32>) -> Vec<Digest128> {
        let mut names: Vec<Digest128> = records.into_iter().map(|record| self.records.cold[record].digest).collect();
        names.sort_unstable();
        names
    }
}
