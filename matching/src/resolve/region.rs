//! Resolving afresh, and no more than need be.
//!
//! [`partition`] is a function of a whole component. Components of clusters that contested links tie together can grow
//! without bound, though: recycled phone numbers chain a whole city. So a region is resolved alone, as if every parked
//! link that leads out of it stayed parked. What such a link meets outside is its *fringe*: the profiles of its outer
//! members, which grow in the same run by their own inner links, so that each stands as it stood when the link's turn
//! came. If in the end no profile of the fringe has met the region or another, every link outward is parked, and the
//! outcome is that of the whole component, by induction over the links in their order: inside nothing else could happen,
//! and outside nothing changes. If one has, the region takes it in, and is resolved once more.
//!
//! Of what was touched at once most hangs together with little: a region falls into *parts* that no link ties together, not
//! even by way of the fringe. A part whose fringe met nobody is done; only the others are resolved once more, and with them
//! any that is done and has in its fringe what they take in.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use onefold_core::fragment::PartyKind;
use onefold_core::ids::NamespaceId;
use onefold_core::namespace::NamespaceClass;
use petgraph::unionfind::UnionFind;
use smallvec::SmallVec;

use crate::index::records::flag;
use crate::index::values::flag as value_flag;
use crate::resolve::identity::NewCluster;
use crate::resolve::partition::{Across, Component, Grounds, Link, Node, Partition, Rank, Tier, partition};
use crate::resolve::soft::Group;
use crate::resolve::{Engine, Shared};

/// How often a region grows profile by profile before it takes in its whole fringe at a time.
const ROUNDS_MAX: u32 = 8;

/// What is resolved together.
#[derive(Debug, Default)]
struct Region {
    /// Records that are still to be resolved, and the values that link them.
    records: Vec<u32>,
    values: Vec<u32>,
    profiles: HashSet<u32>,
    /// The groups of holders behind each value, and whether the value is divided.
    groups: HashMap<u32, (Vec<Group>, bool)>,
    /// Parts that are done; taken apart again, one holds nothing.
    done: Vec<Part>,
    /// Values that link nothing but records of parts that are done.
    done_values: HashSet<u32>,
    /// By record in the fringe of parts that are done: which.
    fringe: HashMap<u32, SmallVec<[u32; 2]>>,
    /// Parts that are done and have records in their fringe that were taken in since.
    undone: Vec<u32>,
}

/// Records that no link ties to others of the region, resolved.
#[derive(Debug, Default)]
struct Part {
    records: Vec<u32>,
    /// Each with whether a link of a member is parked.
    clusters: Vec<(SmallVec<[u32; 4]>, bool)>,
}

/// A region in the plain terms of [`partition`], its fringe behind it.
#[derive(Debug, Default)]
struct Description {
    component: Component,
    /// By node.
    records: Vec<u32>,
    node_of: HashMap<u32, u32>,
    /// By node: 0 is the region, each other number a profile of the fringe.
    owner: Vec<u32>,
    owners: u32,
}

impl Description {
    fn nodes(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.records.len()
    }

    /// By node, a number for its part: what links, profiles of the fringe and pairs to be kept apart tie together.
    fn parts(&self) -> Vec<u32> {
        let mut union = UnionFind::<u32>::new(self.records.len());
        let mut first_of: HashMap<u32, u32> = HashMap::new();
        for (node, owner) in (0..).zip(&self.owner).filter(|(_, owner)| **owner > 0) {
            union.union(*first_of.entry(*owner).or_insert(node), node);
        }
        for members in self.component.links.iter().map(|link| &link.members) {
            for pair in members.windows(2) {
                union.union(pair[0], pair[1]);
            }
        }
        for (one, other) in &self.component.apart {
            union.union(*one, *other);
        }
        union.into_labeling()
    }

    fn link(&mut self, rank: Rank, shared: Shared, members: impl Iterator<Item = u32>) {
        self.component.links.push(Link { rank, shared, members: members.collect() });
    }
}

/// Nodes by what is known of their records.
struct Regional<'a> {
    engine: &'a Engine,
    records: &'a [u32],
}

impl Across for Regional<'_> {
    fn pair(&self, grounds: Grounds, one: u32, other: u32) -> Option<f32> {
        self.engine.weigh_across(grounds, self.records[one as usize], self.records[other as usize])
    }

    fn whole(&self, grounds: Grounds, ones: &[u32], others: &[u32]) -> Option<f32> {
        let records =
            |nodes: &[u32]| nodes.iter().map(|node| self.records[*node as usize]).collect::<SmallVec<[u32; 16]>>();
        self.engine.weigh_whole(grounds, &records(ones), &records(others))
    }
}

impl Engine {
    /// The clusters of these records and of all that their fate depends on.
    pub(super) fn resolve_afresh(&mut self, seeds: Vec<u32>) -> Vec<NewCluster> {
        let mut region = Region::default();
        self.take_in(&mut region, seeds);
        if region.records.is_empty() {
            return Vec::new();
        }
        for round in 1.. {
            region.records.sort_unstable();
            let told = self.describe(&mut region);
            let outcome = partition(&told.component, &Regional { engine: self, records: &told.records });
            let mut met = met(&told, &outcome);
            let parts = told.parts();
            let going_on: HashSet<u32> =
                told.nodes().filter(|node| met.contains(&told.owner[*node])).map(|node| parts[node]).collect();
            self.set_aside(&mut region, &told, &outcome, (&parts, &going_on));
            if going_on.is_empty() {
                break;
            }
            if round >= ROUNDS_MAX {
                let owners = told.nodes().filter(|node| going_on.contains(&parts[*node])).map(|node| told.owner[node]);
                met.extend(owners.filter(|owner| *owner > 0));
            }
            let beyond = told.records.iter().zip(&told.owner).filter(|(_, owner)| met.contains(*owner));
            self.take_in(&mut region, beyond.map(|(record, _)| *record).collect());
            self.take_apart(&mut region);
        }
        self.new_clusters(region)
    }

    /// Sets aside what is done of the region: all but the parts that go on.
    fn set_aside(
        &self,
        region: &mut Region,
        told: &Description,
        outcome: &Partition,
        (parts, going_on): (&[u32], &HashSet<u32>),
    ) {
        let mut contested = vec![false; outcome.clusters.len()];
        for (link, _) in &outcome.parked {
            for member in &told.component.links[*link as usize].members {
                contested[outcome.cluster_of[*member as usize] as usize] = true;
            }
        }
        let mut number_of: HashMap<u32, u32> = HashMap::new();
        for (nodes, contested) in outcome.clusters.iter().zip(contested) {
            let Some(first) = nodes.first().map(|first| *first as usize) else { continue };
            if told.owner[first] == 0 && !going_on.contains(&parts[first]) {
                let records: SmallVec<[u32; 4]> = nodes.iter().map(|node| told.records[*node as usize]).collect();
                let number = *number_of.entry(parts[first]).or_insert(region.done.len() as u32) as usize;
                if number == region.done.len() {
                    region.done.push(Part::default());
                }
                region.done[number].records.extend_from_slice(&records);
                region.done[number].clusters.push((records, contested));
            }
        }
        if going_on.is_empty() {
            return;
        }
        for node in told.nodes().filter(|node| told.owner[*node] > 0) {
            if let Some(number) = number_of.get(&parts[node]) {
                region.fringe.entry(told.records[node]).or_default().push(*number);
            }
        }
        let goes_on =
            |record: &u32| told.node_of.get(record).is_some_and(|node| going_on.contains(&parts[*node as usize]));
        region.records.retain(goes_on);
        let (going_on, done): (Vec<u32>, Vec<u32>) = std::mem::take(&mut region.values)
            .into_iter()
            .partition(|value| self.linking_holders(*value).any(|holder| goes_on(&holder)));
        region.values = going_on;
        region.done_values.extend(done);
    }

    /// Takes parts apart that were done, until something in their fringe was taken in.
    fn take_apart(&self, region: &mut Region) {
        for number in std::mem::take(&mut region.undone) {
            let part = std::mem::take(&mut region.done[number as usize]);
            for record in part.records {
                region.records.push(record);
                for value in self.values_of(record) {
                    if region.done_values.remove(value) {
                        region.values.push(*value);
                    }
                }
            }
        }
    }

    /// The clusters of a region that is done.
    fn new_clusters(&mut self, mut region: Region) -> Vec<NewCluster> {
        let mut clusters: Vec<(SmallVec<[u32; 4]>, bool)> =
            region.done.into_iter().flat_map(|part| part.clusters).collect();
        clusters.sort_unstable();
        let mut cluster_of: HashMap<u32, usize> = HashMap::new();
        for (index, (records, contested)) in clusters.iter_mut().enumerate() {
            cluster_of.extend(records.iter().map(|record| (*record, index)));
            *contested |= records.iter().any(|record| self.is_kept_apart(*record));
        }
        region.values.extend(region.done_values);
        for value in &region.values {
            let divided = region.groups.get(value).is_some_and(|(_, divided)| *divided);
            let holders: SmallVec<[Option<usize>; 8]> =
                self.linking_holders(*value).map(|holder| cluster_of.get(&holder).copied()).collect();
            let parked = holders.windows(2).any(|pair| pair[0] != pair[1]);
            if parked || divided {
                for cluster in holders.into_iter().flatten() {
                    clusters[cluster].1 = true;
                }
            }
            self.set_value_flag(*value, value_flag::PARKED, parked);
            let held = &mut self.values.column[*value];
            held.flags &= !(value_flag::VISITED | value_flag::DIVIDED);
            if divided {
                held.flags |= value_flag::DIVIDED;
            }
        }
        clusters
            .into_iter()
            .map(|(records, contested)| {
                let mut uniques: SmallVec<[u32; 2]> =
                    records.iter().flat_map(|record| self.uniques_of(*record)).copied().collect();
                uniques.sort_unstable();
                uniques.dedup();
                let uneven = !self.are_even(&records);
                NewCluster { records, joins: SmallVec::new(), uniques, contested, uneven }
            })
            .collect()
    }

    pub(super) fn linking_holders(&self, value: u32) -> impl Iterator<Item = u32> + '_ {
        self.holders(value).iter().copied().filter(|holder| self.records.warm[*holder].links())
    }

    /// Whether a link between the two is known to be parked: it was there when they were last settled, apart.
    fn known_apart(&self, one: u32, other: u32) -> bool {
        let (one, other) = (&self.records.warm[one], &self.records.warm[other]);
        one.placed()
            && other.placed()
            && one.profile != other.profile
            && !one.has(flag::GREW | flag::REOPENED)
            && !other.has(flag::GREW | flag::REOPENED)
    }

    /// Takes records into the region, with all they were together with and all that links not parked lead to.
    fn take_in(&mut self, region: &mut Region, mut stack: Vec<u32>) {
        while let Some(record) = stack.pop() {
            if self.records.warm[record].has(flag::VISITED) {
                continue;
            }
            self.records.warm[record].flags |= flag::VISITED;
            region.records.push(record);
            if let Some(parts) = region.fringe.get(&record) {
                region.undone.extend_from_slice(parts);
            }
            let warm = self.records.warm[record];
            // Those it was with until now, though nothing may hold them together any more.
            if warm.placed() && region.profiles.insert(warm.profile) {
                stack.extend(self.profiles.members(&self.records.warm, warm.profile));
            }
            if !warm.links() {
                continue;
            }
            for value in self.lists.get(&warm.values) {
                if !self.linking(*value) {
                    continue;
                }
                if self.values.column[*value].has(value_flag::VISITED) {
                    // Known already; perhaps only by those who are done.
                    if region.done_values.remove(value) {
                        region.values.push(*value);
                    }
                    continue;
                }
                self.values.column[*value].flags |= value_flag::VISITED;
                region.values.push(*value);
                if !self.values.column[*value].has(value_flag::PARKED) {
                    let holders = self.lists.get(&self.values.column[*value].holders);
                    stack.extend(holders.iter().filter(|holder| self.records.warm[**holder].links()));
                }
            }
            let linked = self.links_by_weight(record).map(|(other, _)| other).chain(self.links_by_judgement(record));
            stack.extend(linked.filter(|other| !self.known_apart(record, *other)));
        }
    }

    /// The region in the plain terms of [`partition`].
    fn describe(&self, region: &mut Region) -> Description {
        let mut told = Description { owners: 1, ..Description::default() };
        told.component.records_max = self.rules.cluster_records_max;
        told.component.thresholds = [PartyKind::Person, PartyKind::Organisation].map(|party| self.thresholds(party));
        for record in &region.records {
            self.add_node(&mut told, *record, 0);
        }
        let inside = told.records.len();
        for value in &region.values {
            let (groups, _) = region.groups.entry(*value).or_insert_with(|| match self.divide(*value) {
                Some(groups) => (groups, true),
                None => (vec![self.linking_holders(*value).collect()], false),
            });
            for group in groups.iter().filter(|group| group.len() > 1) {
                if group.iter().any(|holder| told.node_of.get(holder).is_some_and(|node| (*node as usize) < inside)) {
                    self.add_value_link(&mut told, *value, group);
                }
            }
        }
        for record in &region.records {
            for (other, weight) in self.links_by_weight(*record) {
                let inner = told.node_of.get(&other).is_some_and(|node| (*node as usize) < inside);
                if !inner || record < &other {
                    self.add_link(&mut told, rank_by_weight(weight), &[*record, other]);
                }
            }
            for other in self.links_by_judgement(*record) {
                let inner = told.node_of.get(&other).is_some_and(|node| (*node as usize) < inside);
                if !inner || record < &other {
                    self.add_link(&mut told, JUDGED, &[*record, other]);
                }
            }
        }
        self.describe_fringe(&mut told, inside);
        told.component.apart = self.kept_apart(&told.node_of);
        told
    }

    fn add_node(&self, told: &mut Description, record: u32, owner: u32) {
        told.node_of.insert(record, told.records.len() as u32);
        told.records.push(record);
        told.owner.push(owner);
        told.component.nodes.push(Node {
            facts: self.records.cold[record].facts,
            party: self.records.warm[record].party(),
            uniques: self.named_uniques(record),
        });
    }

    /// Adds the link of a value to these holders of it.
    fn add_value_link(&self, told: &mut Description, value: u32, holders: &[u32]) {
        let Some(first) = holders.first() else { return };
        self.add_shared(told, self.rank(value, holders.len()), self.grounds(value, *first).shared, holders);
    }

    /// Adds a link that rests on no value.
    fn add_link(&self, told: &mut Description, rank: Rank, members: &[u32]) {
        self.add_shared(told, rank, Shared::NOTHING, members);
    }

    /// Adds a link, and the profiles of those of its members that are not there yet.
    fn add_shared(&self, told: &mut Description, rank: Rank, shared: Shared, members: &[u32]) {
        for member in members {
            if told.node_of.contains_key(member) {
                continue;
            }
            let owner = told.owners;
            told.owners += 1;
            let warm = &self.records.warm[*member];
            if warm.placed() {
                for record in self.profiles.members(&self.records.warm, warm.profile) {
                    self.add_node(told, record, owner);
                }
            } else {
                self.add_node(told, *member, owner);
            }
        }
        let nodes: SmallVec<[u32; 4]> = members.iter().map(|member| told.node_of[member]).collect();
        told.link(rank, shared, nodes.into_iter());
    }

    /// Adds the inner links of the profiles in the fringe: those whose members are all of one of them.
    fn describe_fringe(&self, told: &mut Description, inside: usize) {
        let mut seen = HashSet::new();
        for node in inside..told.records.len() {
            let (record, owner) = (told.records[node], told.owner[node]);
            if !self.records.warm[record].links() {
                continue;
            }
            let owner_of =
                |told: &Description, record: u32| told.node_of.get(&record).map(|node| told.owner[*node as usize]);
            for value in self.values_of(record) {
                if !self.linking(*value) || self.values.column[*value].holders.len < 2 || !seen.insert(*value) {
                    continue;
                }
                for group in self.groups(*value) {
                    let first = group.first().and_then(|holder| owner_of(told, *holder));
                    let inner = first.is_some_and(|owner| owner > 0)
                        && group.iter().all(|holder| owner_of(told, *holder) == first);
                    if inner {
                        self.add_value_link(told, *value, &group);
                    }
                }
            }
            let edges: SmallVec<[(u32, f32); 8]> = self.links_by_weight(record).collect();
            for (other, weight) in edges {
                if record < other && owner_of(told, other) == Some(owner) {
                    self.add_link(told, rank_by_weight(weight), &[record, other]);
                }
            }
            for other in self.links_by_judgement(record) {
                if record < other && owner_of(told, other) == Some(owner) {
                    self.add_link(told, JUDGED, &[record, other]);
                }
            }
        }
    }

    /// The unique values that a record holds, in the terms of [`partition`].
    fn named_uniques(&self, record: u32) -> SmallVec<[(NamespaceId, u32); 2]> {
        let values = self.uniques_of(record).iter();
        values.map(|value| (NamespaceId(self.values.column[*value].namespace), *value)).collect()
    }

    /// On what a link rests that this value makes between this record and others.
    pub(super) fn grounds(&self, value: u32, holder: u32) -> Grounds {
        let namespace = NamespaceId(self.values.column[value].namespace);
        let (rule, party) = (self.rules.rule(namespace), self.records.warm[holder].party());
        let model = self.rows.weigher(party);
        let compared = |name| model.is_some_and(|model| model.compares(name));
        let shared = if self.rules.name(namespace).is_some_and(compared) { Shared::NOTHING } else { rule.shared() };
        Grounds { tier: tier_of(rule.class), shared }
    }

    /// How strongly a value links this many records.
    pub(super) fn rank(&self, value: u32, members: usize) -> Rank {
        let rule = self.rules.rule(NamespaceId(self.values.column[value].namespace));
        Rank {
            tier: tier_of(rule.class),
            weakness: u16::MAX - rule.priority,
            members: u32::try_from(members).unwrap_or(u32::MAX),
        }
    }
}

const fn tier_of(class: NamespaceClass) -> Tier {
    match class {
        NamespaceClass::Unique => Tier::Unique,
        NamespaceClass::Identifying | NamespaceClass::Supporting => Tier::Identifying,
    }
}

/// Profiles of the fringe that met the region or each other.
fn met(told: &Description, outcome: &Partition) -> HashSet<u32> {
    let mut met = HashSet::new();
    for nodes in &outcome.clusters {
        let mut owners: SmallVec<[u32; 4]> = nodes.iter().map(|node| told.owner[*node as usize]).collect();
        owners.sort_unstable();
        owners.dedup();
        if owners.len() > 1 {
            met.extend(owners.into_iter().filter(|owner| *owner > 0));
        }
    }
    // A profile that nothing new reached is as it was, so it comes out whole. Unless what was read back from a damaged
    // checkpoint never was: then it is put right.
    let mut clusters: BTreeMap<u32, u32> = BTreeMap::new();
    for (owner, cluster) in told.owner.iter().zip(&outcome.cluster_of).filter(|(owner, _)| **owner > 0) {
        if clusters.entry(*owner).or_insert(*cluster) != cluster {
            met.insert(*owner);
        }
    }
    met
}

/// The rank of a judgement.
pub(super) const JUDGED: Rank = Rank { tier: Tier::Judgement, weakness: 0, members: 2 };

/// The rank of a link by weight: sixty-four steps to the bit.
pub(super) fn rank_by_weight(bits: f32) -> Rank {
    let strength = (bits.max(0.0) * 64.0).round().min(f32::from(u16::MAX)) as u16;
    Rank { tier: Tier::Probable, weakness: u16::MAX - strength, members: 2 }
}
