//! Resolving afresh, and no more than need be.
//!
//! [`partition`] is a function of a whole component. Components of clusters that contested links tie together can grow
//! without bound, though: recycled phone numbers chain a whole city. So a region is resolved alone, as if every parked
//! link that leads out of it stayed parked; what such a link meets outside is put in its place by *ghosts*, which hold
//! what the outer cluster had come to hold when the link's turn came. If in the end each such link is parked, the outcome
//! is that of the whole component, by induction over the links in their order: inside nothing else could happen, and
//! outside nothing changes. If one is not, the region takes in what it leads to, and is resolved once more.

use hashbrown::{HashMap, HashSet};
use onefold_core::ids::{Digest128, NamespaceId};
use onefold_core::namespace::NamespaceClass;
use smallvec::SmallVec;

use crate::index::records::flag;
use crate::index::values::flag as value_flag;
use crate::resolve::Engine;
use crate::resolve::identity::NewCluster;
use crate::resolve::partition::{Component, Link, Node, Rank, Tier, partition};

/// How often a region grows link by link before it takes in its whole component.
const ROUNDS_MAX: u32 = 6;

/// What is resolved together.
#[derive(Debug, Default)]
struct Region {
    records: Vec<u32>,
    values: Vec<u32>,
    profiles: HashSet<u32>,
    /// Parked links are followed too.
    whole: bool,
}

/// A region in the plain terms of [`partition`].
#[derive(Debug, Default)]
struct Description {
    component: Component,
    /// The value behind each link.
    values: Vec<u32>,
    /// Links that lead out of the region.
    outward: Vec<u32>,
}

impl Engine {
    /// The clusters of these records and of all that their fate depends on.
    pub(super) fn resolve_afresh(&mut self, seeds: Vec<u32>) -> Vec<NewCluster> {
        let mut region = Region::default();
        self.take_in(&mut region, seeds);
        if region.records.is_empty() {
            return Vec::new();
        }
        let mut round = 0;
        let (description, outcome) = loop {
            region.records.sort_unstable();
            let description = self.describe(&region);
            let outcome = partition(&description.component);
            let parked: HashSet<u32> = outcome.parked.iter().map(|(link, _)| *link).collect();
            let mut beyond: Vec<u32> = Vec::new();
            for link in description.outward.iter().filter(|link| !parked.contains(*link)) {
                beyond.extend(self.linking_holders(description.values[*link as usize]));
            }
            if beyond.is_empty() {
                break (description, outcome);
            }
            round += 1;
            if round == ROUNDS_MAX {
                region.whole = true;
                for value in &region.values {
                    beyond.extend(self.linking_holders(*value));
                }
            }
            self.take_in(&mut region, beyond);
        };

        for value in &region.values {
            self.set_value_flag(*value, value_flag::PARKED, false);
            self.values.column[*value].flags &= !value_flag::VISITED;
        }
        let mut contested = vec![false; outcome.clusters.len()];
        for (link, _) in &outcome.parked {
            self.set_value_flag(description.values[*link as usize], value_flag::PARKED, true);
            for member in &description.component.links[*link as usize].members {
                contested[outcome.cluster_of[*member as usize] as usize] = true;
            }
        }
        let clusters = outcome.clusters.iter().zip(contested);
        clusters
            .filter(|(nodes, _)| nodes.first().is_some_and(|first| (*first as usize) < region.records.len()))
            .map(|(nodes, contested)| {
                let mut uniques: SmallVec<[u32; 2]> = nodes
                    .iter()
                    .flat_map(|node| description.component.nodes[*node as usize].uniques.iter())
                    .map(|(_, value)| *value)
                    .collect();
                uniques.sort_unstable();
                uniques.dedup();
                let records = nodes.iter().map(|node| region.records[*node as usize]).collect();
                NewCluster { records, joins: SmallVec::new(), uniques, contested }
            })
            .collect()
    }

    fn linking_holders(&self, value: u32) -> impl Iterator<Item = u32> + '_ {
        self.holders(value).iter().copied().filter(|holder| self.records.warm[*holder].links())
    }

    /// Takes records into the region, with all they were together with and all that links not parked lead to.
    fn take_in(&mut self, region: &mut Region, mut stack: Vec<u32>) {
        while let Some(record) = stack.pop() {
            if self.records.warm[record].has(flag::VISITED) {
                continue;
            }
            self.records.warm[record].flags |= flag::VISITED;
            region.records.push(record);
            let warm = self.records.warm[record];
            // Those it was with until now, though nothing may hold them together any more.
            if warm.placed() && region.profiles.insert(warm.profile) {
                stack.extend(self.profiles.members(&self.records.warm, warm.profile));
            }
            if !warm.links() {
                continue;
            }
            for value in self.lists.get(&warm.values) {
                if !self.linking(*value) || self.values.column[*value].has(value_flag::VISITED) {
                    continue;
                }
                self.values.column[*value].flags |= value_flag::VISITED;
                region.values.push(*value);
                if region.whole || !self.values.column[*value].has(value_flag::PARKED) {
                    let holders = self.lists.get(&self.values.column[*value].holders);
                    stack.extend(holders.iter().filter(|holder| self.records.warm[**holder].links()));
                }
            }
        }
    }

    /// The region in the plain terms of [`partition`]: its records, then the ghosts.
    fn describe(&self, region: &Region) -> Description {
        let mut told = Description::default();
        told.component.records_max = self.rules.cluster_records_max;
        let node_of: HashMap<u32, u32> = region.records.iter().copied().zip(0..).collect();
        told.component.nodes = region
            .records
            .iter()
            .map(|record| Node {
                facts: self.records.cold[*record].facts,
                weight: 1,
                uniques: self.named_uniques(&[*record]),
            })
            .collect();
        for value in &region.values {
            let mut members: SmallVec<[u32; 4]> = SmallVec::new();
            let mut outside: Vec<u32> = Vec::new();
            for holder in self.linking_holders(*value) {
                match node_of.get(&holder) {
                    Some(node) => members.push(*node),
                    None => outside.push(holder),
                }
            }
            if members.len() + outside.len() < 2 {
                continue;
            }
            let rank = self.rank(*value, members.len() + outside.len());
            if !outside.is_empty() {
                told.outward.push(told.component.links.len() as u32);
                for ghost in self.ghosts(*value, rank, outside) {
                    members.push(told.component.nodes.len() as u32);
                    told.component.nodes.push(ghost);
                }
            }
            told.component.links.push(Link { rank, members });
            told.values.push(*value);
        }
        told
    }

    /// The unique values that these records hold, in the terms of [`partition`].
    fn named_uniques(&self, records: &[u32]) -> SmallVec<[(NamespaceId, u32); 2]> {
        let values = records.iter().flat_map(|record| self.uniques_of(*record));
        values.map(|value| (NamespaceId(self.values.column[*value].namespace), *value)).collect()
    }

    /// A node for each outer holder of a parked value. The first of those that were in one cluster when the value's turn
    /// came stands for all of that cluster, the others for nothing but themselves in the order of ties.
    fn ghosts(&self, value: u32, rank: Rank, holders: Vec<u32>) -> Vec<Node> {
        let turn = (rank, self.holders_facts(value));
        let mut stands_for: HashMap<u32, bool> = HashMap::new();
        let mut ghosts = Vec::new();
        for holder in holders {
            let facts = self.records.cold[holder].facts;
            if stands_for.contains_key(&holder) {
                ghosts.push(Node { facts, weight: 0, uniques: SmallVec::new() });
                continue;
            }
            let mut cluster = vec![holder];
            stands_for.insert(holder, true);
            let mut next = 0;
            while let Some(record) = cluster.get(next).copied() {
                next += 1;
                for tie in self.values_of(record) {
                    let held = &self.values.column[*tie];
                    if held.holders.len > 1
                        && !held.has(value_flag::PARKED)
                        && self.linking(*tie)
                        && self.comes_before(*tie, &turn)
                    {
                        let others = self.linking_holders(*tie);
                        cluster.extend(others.filter(|other| stands_for.insert(*other, true).is_none()));
                    }
                }
            }
            let uniques = self.named_uniques(&cluster);
            ghosts.push(Node { facts, weight: cluster.len() as u32, uniques });
        }
        ghosts
    }

    fn comes_before(&self, value: u32, turn: &(Rank, Vec<Digest128>)) -> bool {
        let rank = self.rank(value, self.linking_holders(value).count());
        rank < turn.0 || (rank == turn.0 && self.holders_facts(value) < turn.1)
    }

    fn holders_facts(&self, value: u32) -> Vec<Digest128> {
        let mut facts: Vec<Digest128> =
            self.linking_holders(value).map(|holder| self.records.cold[holder].facts).collect();
        facts.sort_unstable();
        facts
    }

    /// How strongly a value links this many records.
    pub(super) fn rank(&self, value: u32, members: usize) -> Rank {
        let rule = self.rules.rule(NamespaceId(self.values.column[value].namespace));
        Rank {
            tier: match rule.class {
                NamespaceClass::Unique => Tier::Unique,
                NamespaceClass::Identifying | NamespaceClass::Supporting => Tier::Identifying,
            },
            weakness: u16::MAX - rule.priority,
            members: u32::try_from(members).unwrap_or(u32::MAX),
        }
    }
}
