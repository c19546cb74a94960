//! Settling: everything that arrivals touched is resolved once.
//!
//! Two roads lead to the same clusters. Where records only came or gained values, nothing in reach is contested, and all
//! that they touch may be one cluster, the greedy order of links cannot matter: the clusters are joined as they are.
//! Everywhere else (a value was lost, turned generic or ceased to be; a link is contested) the region is resolved afresh:
//! see [`super::region`].

use hashbrown::HashMap;
use onefold_core::change::ProfileChange;
use petgraph::unionfind::UnionFind;
use smallvec::SmallVec;

use crate::index::NONE;
use crate::index::records::{Warm, flag};
use crate::index::values::flag as value_flag;
use crate::resolve::Engine;
use crate::resolve::diversity::Behind;
use crate::resolve::identity::NewCluster;

impl Engine {
    /// Resolves all that was touched since the last time, hands on the profiles' ids by law 4, and answers with what
    /// became of them, in canonical order: erased, created, updated, split, merged, emptied, each by ordinal.
    pub fn settle(&mut self) -> Vec<ProfileChange> {
        self.match_rows();
        if self.replaying {
            self.refresh();
        }
        let erased = self.tell_erased();
        let dirty_values = std::mem::take(&mut self.dirty_values);
        let dirty_records = std::mem::take(&mut self.dirty_records);
        self.relist(&dirty_values);

        let mut reopened = Vec::new();
        for value in &dirty_values {
            self.weigh_value(*value, &mut reopened);
        }
        for record in &dirty_records {
            let warm = &self.records.warm[*record];
            let profile = warm.placed().then(|| &self.profiles.column[warm.profile]);
            // In a contested component new facts alone may turn a tie, and in an uneven cluster what is compared.
            let delicate = profile.is_some_and(|profile| profile.contested || profile.uneven);
            if warm.has(flag::LIVE) && (warm.has(flag::REOPENED) || delicate) {
                reopened.push(*record);
            }
        }
        let gone = self.take_out_the_retracted(&dirty_records);

        let mut clusters = self.join_as_they_are(&dirty_records, &dirty_values, &mut reopened);
        let afresh = self.resolve_afresh(reopened);
        // What is resolved afresh takes in all of a group or nothing.
        clusters.retain(|group| !group.records.iter().any(|record| self.records.warm[*record].has(flag::VISITED)));
        clusters.extend(afresh);

        let mut changes = erased;
        changes.extend(self.hand_on(clusters, &dirty_records, &gone));
        self.clean(dirty_records, dirty_values);
        self.profiles.handed.settled();
        changes
    }

    /// Notes what stands behind a touched value now, and which records must be resolved afresh for it.
    fn weigh_value(&mut self, value: u32, reopened: &mut Vec<u32>) {
        if !self.values.column[value].has(value_flag::COUNTED) {
            self.recount_if_many(value);
        }
        let linked = self.linking(value);
        let behind = self.behind(value);
        self.set_value_flag(value, value_flag::GENERIC, matches!(behind, Behind::Generic(_)));
        self.set_value_flag(value, value_flag::DISPUTED, matches!(behind, Behind::Disputed(_)));
        let links = self.linking(value);
        let held = &self.values.column[value];
        if linked != links || (links && held.has(value_flag::SHRANK | value_flag::PARKED)) {
            reopened.extend(self.holders(value).iter().filter(|holder| self.records.warm[**holder].links()));
        }
        self.unlist_if_far_too_crowded(value);
        // Whether it is parked still, its holders' component will tell; with no holder left, nobody would.
        self.set_value_flag(value, value_flag::PARKED, false);
    }

    /// Drops the list of a value's holders far above the bound at which it is generic, so that coming back under that
    /// bound, which asks for a pass over all records, is paid for by many retractions. Only here, after the holders that
    /// it had linked until now were told.
    pub(super) fn unlist_if_far_too_crowded(&mut self, value: u32) {
        let listed_max = self.rules.value_records_max.saturating_mul(4);
        let links = self.linking(value);
        let held = &mut self.values.column[value];
        if held.holders.len > listed_max && !links && !held.has(value_flag::UNLISTED) {
            let len = held.holders.len;
            self.lists.clear(&mut held.holders);
            held.holders.len = len;
            held.flags |= value_flag::UNLISTED;
        }
    }

    /// Sets a flag that is counted.
    pub(super) fn set_value_flag(&mut self, value: u32, flag: u16, on: bool) {
        let held = &mut self.values.column[value];
        if held.has(flag) == on {
            return;
        }
        held.flags ^= flag;
        let count = if flag == value_flag::GENERIC { &mut self.values.generic } else { &mut self.values.parked };
        if on {
            *count += 1;
        } else {
            *count -= 1;
        }
    }

    /// Lists the holders of values again that were only counted and are no longer crowded.
    pub(super) fn relist(&mut self, dirty_values: &[u32]) {
        let max = self.rules.value_records_max;
        let mut wanted: HashMap<u32, Vec<u32>> = dirty_values
            .iter()
            .filter(|value| {
                let held = &self.values.column[**value];
                held.has(value_flag::UNLISTED) && held.holders.len <= max
            })
            .map(|value| (*value, Vec::new()))
            .collect();
        if wanted.is_empty() {
            return;
        }
        for record in 0..self.records.warm.count() {
            for value in self.lists.get(&self.records.warm[record].values) {
                if let Some(holders) = wanted.get_mut(value) {
                    holders.push(record);
                }
            }
        }
        for (value, holders) in wanted {
            let held = &mut self.values.column[value];
            held.holders = crate::index::lists::List::default();
            self.lists.set(&mut held.holders, &holders);
            held.flags &= !value_flag::UNLISTED;
        }
    }

    /// Takes retracted records out of their profiles; answers with (profile, record).
    fn take_out_the_retracted(&mut self, dirty_records: &[u32]) -> Vec<(u32, u32)> {
        let mut gone = Vec::new();
        for record in dirty_records {
            let warm = &self.records.warm[*record];
            if !warm.has(flag::LIVE) && warm.placed() {
                gone.push((warm.profile, *record));
                self.profiles.leave(&mut self.records.warm, *record);
            }
        }
        gone
    }

    /// Joins what new links touch where the outcome is plain; the rest goes to `reopened`.
    fn join_as_they_are(
        &mut self,
        dirty_records: &[u32],
        dirty_values: &[u32],
        reopened: &mut Vec<u32>,
    ) -> Vec<NewCluster> {
        let grown = |warm: &Warm| warm.flags & (flag::LIVE | flag::GREW) == flag::LIVE | flag::GREW;
        // Nodes: the records that grew, then the profiles they touch.
        let mut nodes: Vec<u32> =
            dirty_records.iter().copied().filter(|record| grown(&self.records.warm[*record])).collect();
        nodes.sort_unstable();
        let records = nodes.len();
        let node_of_record: HashMap<u32, u32> = nodes.iter().copied().zip(0..).collect();
        let mut node_of_profile: HashMap<u32, u32> = HashMap::new();
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        let mut profile_node = |profile: u32, nodes: &mut Vec<u32>| {
            *node_of_profile.entry(profile).or_insert_with(|| {
                nodes.push(profile);
                nodes.len() as u32 - 1
            })
        };
        for node in 0..records {
            let warm = &self.records.warm[nodes[node]];
            if warm.placed() {
                pairs.push((node as u32, profile_node(warm.profile, &mut nodes)));
            }
        }
        for value in dirty_values {
            if self.values.column[*value].holders.len < 2 || !self.linking(*value) {
                continue;
            }
            let mut first = None;
            // Newcomers stand at the end. All holders before them are in one cluster, or the value would be parked.
            for holder in self.holders(*value).iter().rev() {
                let warm = &self.records.warm[*holder];
                if !warm.links() {
                    continue;
                }
                let (node, last) = match node_of_record.get(holder) {
                    Some(node) => (*node, false),
                    None if warm.placed() => (profile_node(warm.profile, &mut nodes), true),
                    None => continue,
                };
                pairs.push((*first.get_or_insert(node), node));
                if last {
                    break;
                }
            }
        }

        for node in 0..records {
            for (other, _) in self.links_by_weight(nodes[node]) {
                let warm = &self.records.warm[other];
                let linked = match node_of_record.get(&other) {
                    Some(node) => *node,
                    None if warm.placed() => profile_node(warm.profile, &mut nodes),
                    None => continue,
                };
                pairs.push((node as u32, linked));
            }
        }

        let mut union = UnionFind::<u32>::new(nodes.len());
        for (a, b) in pairs {
            union.union(a, b);
        }
        let mut group_of_root = vec![NONE; nodes.len()];
        let mut groups: Vec<NewCluster> = Vec::new();
        for (node, name) in nodes.iter().enumerate() {
            let group = &mut group_of_root[union.find_mut(node as u32) as usize];
            if *group == NONE {
                *group = groups.len() as u32;
                groups.push(NewCluster::default());
            }
            let group = &mut groups[*group as usize];
            if node < records {
                group.records.push(*name);
            } else {
                group.joins.push(*name);
            }
        }
        // Profiles that only stand behind a value whose holders' names changed have nothing to join.
        groups.retain(|group| !group.records.is_empty());
        groups.retain_mut(|group| {
            let plain = self.is_plain(group);
            if !plain {
                reopened.extend(&group.records);
            }
            plain
        });
        groups
    }

    /// Whether all that the group touches may be one cluster without asking further; fills in its unique values.
    fn is_plain(&self, group: &mut NewCluster) -> bool {
        if group.records.iter().any(|record| !self.judged_with(*record).is_empty()) {
            return false;
        }
        let mut size = 0;
        for profile in &group.joins {
            let profile = &self.profiles.column[*profile];
            if profile.contested || profile.uneven {
                return false;
            }
            size += u64::from(profile.count);
            group.uniques.extend_from_slice(self.lists.get(&profile.list));
        }
        for record in &group.records {
            size += u64::from(!self.records.warm[*record].placed());
            group.uniques.extend_from_slice(self.uniques_of(*record));
        }
        group.uniques.sort_unstable();
        group.uniques.dedup();
        if size > u64::from(self.rules.cluster_records_max) {
            return false;
        }
        let mut namespaces: SmallVec<[u16; 4]> =
            group.uniques.iter().map(|value| self.values.column[*value].namespace).collect();
        namespaces.sort_unstable();
        namespaces.windows(2).all(|pair| pair[0] != pair[1]) && self.joins_evenly(group)
    }

    /// Whether no pair of records across what the group joins speaks against it.
    fn joins_evenly(&self, group: &NewCluster) -> bool {
        if self.rows.is_off() {
            return true;
        }
        let joined = |record: &&u32| !self.records.warm[**record].placed();
        let mut parts: SmallVec<[SmallVec<[u32; 8]>; 4]> =
            group.records.iter().filter(joined).map(|record| SmallVec::from_slice(&[*record])).collect();
        let members = |profile: &u32| self.profiles.members(&self.records.warm, *profile).collect();
        parts.extend(group.joins.iter().map(members));
        self.are_even_across(&parts)
    }

    /// Clears the marks of this settlement and forgets values that nobody holds.
    pub(super) fn clean(&mut self, mut dirty_records: Vec<u32>, mut dirty_values: Vec<u32>) {
        for record in &dirty_records {
            self.records.warm[*record].flags &= !flag::PASSING;
        }
        for value in &dirty_values {
            self.values.column[*value].flags &= !value_flag::PASSING;
            if self.values.column[*value].holders.len == 0 {
                self.values.release(*value);
            }
        }
        // The vectors are kept for the next batch, unless an unusual one made them large.
        dirty_records.clear();
        dirty_values.clear();
        dirty_records.shrink_to(4_096);
        dirty_values.shrink_to(16_384);
        self.dirty_records = dirty_records;
        self.dirty_values = dirty_values;
    }
}
