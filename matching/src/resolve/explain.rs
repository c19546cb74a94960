//! LAW 8: why two records are one party, or why not.

use std::collections::BTreeSet;

use hashbrown::{HashMap, HashSet};
use onefold_core::ids::{Digest128, NamespaceId, ProfileOrdinal};
use onefold_core::namespace::NamespaceClass;
use petgraph::algo::astar;
use petgraph::graph::{NodeIndex, UnGraph};

use crate::index::records::flag;
use crate::prepared::LinkValue;
use crate::resolve::Engine;
use crate::resolve::diversity::Behind;
use crate::resolve::lookup::GenericReason;
use crate::resolve::partition::Rank;

/// Reasons that one explanation names at most.
pub const REASONS_MAX: usize = 64;

/// One step of the evidence between two records: both hold the value, and the value links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvidenceStep {
    /// A record.
    pub from: Digest128,
    /// The next one.
    pub to: Digest128,
    /// What both hold.
    pub value: LinkValue,
    /// How strongly it links.
    pub rank: Rank,
}

/// Why two records are, or are not, in one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// This record has no live fragment, or is not settled yet.
    NotLive(Digest128),
    /// They are one party.
    Together {
        /// Its profile.
        profile: ProfileOrdinal,
        /// The fewest links from one to the other; of several such ways the strongest.
        path: Vec<EvidenceStep>,
        /// Which step of the path is the weakest. `None` when the records are the same.
        weakest: Option<usize>,
    },
    /// They are two.
    Separate {
        /// The profiles of the first and of the second.
        profiles: (ProfileOrdinal, ProfileOrdinal),
        /// What stands between their clusters, strongest link first; never empty, at most [`REASONS_MAX`].
        reasons: Vec<SeparateReason>,
    },
}

/// One reason why two clusters are not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeparateReason {
    /// No value is held on both sides.
    NothingShared,
    /// Both sides hold this value, and its namespace only supports.
    Supporting(LinkValue),
    /// Both sides hold this value, and it is generic.
    Generic(LinkValue, GenericReason),
    /// The value would join them, but they hold different values of a unique namespace.
    Vetoed {
        /// What is shared.
        value: LinkValue,
        /// The unique namespace in which they differ.
        namespace: NamespaceId,
    },
    /// The value would join them, but one of its holders contradicts itself in this namespace and joins nobody.
    Contradicting {
        /// What is shared.
        value: LinkValue,
        /// The record that contradicts itself.
        record: Digest128,
    },
    /// The value is held by further parties that contradict each other, so it speaks for none.
    Contested {
        /// What is shared.
        value: LinkValue,
        /// Profiles that hold it.
        profiles: u32,
    },
    /// The value would make a cluster larger than the bound.
    TooLarge {
        /// What is shared.
        value: LinkValue,
        /// Records that the cluster would have.
        records: u32,
        /// The bound.
        limit: u32,
    },
}

/// The records of one cluster and the values that tie them, as a graph.
pub(super) struct Ties {
    /// Records first, then values.
    pub(super) graph: UnGraph<(), u64>,
    /// By node.
    pub(super) records: Vec<u32>,
    /// By node, less the records.
    pub(super) values: Vec<u32>,
    /// Of each value.
    pub(super) ranks: Vec<Rank>,
}

impl Ties {
    pub(super) fn value_node(&self, value: usize) -> NodeIndex {
        NodeIndex::new(self.records.len() + value)
    }
}

impl Engine {
    /// Why two records are, or are not, in one profile.
    #[must_use]
    pub fn explain(&self, one: Digest128, other: Digest128) -> Explanation {
        let settled = |digest: Digest128| {
            let record = self.records.find(digest)?;
            Some((record, self.profile_of_index(record)?))
        };
        match (settled(one), settled(other)) {
            (None, _) => Explanation::NotLive(one),
            (_, None) => Explanation::NotLive(other),
            (Some((one, profile)), Some((other, same))) if profile == same => {
                self.explain_together(profile, one, other)
            }
            (Some((_, one)), Some((_, other))) => {
                Explanation::Separate { profiles: (one, other), reasons: self.explain_separate(one, other) }
            }
        }
    }

    /// What ties the cluster together, in an order that is one of content: records by facts, values by strength and then
    /// by the facts of their holders.
    pub(super) fn ties(&self, profile: ProfileOrdinal) -> Ties {
        let mut records = self.member_indexes(profile);
        records.sort_unstable_by_key(|record| self.records.cold[*record].facts);
        let node_of: HashMap<u32, u32> = records.iter().copied().zip(0..).collect();
        let mut seen = HashSet::new();
        let mut links: Vec<(Rank, Vec<u32>, u32)> = Vec::new();
        for record in &records {
            for value in self.values_of(*record) {
                if !self.linking(*value) || !seen.insert(*value) {
                    continue;
                }
                let holders = self.holders(*value).iter().filter(|holder| self.records.warm[**holder].links());
                let mut members = Vec::new();
                let mut outside = false;
                for holder in holders {
                    match node_of.get(holder) {
                        Some(node) => members.push(*node),
                        None => outside = true,
                    }
                }
                // With holders outside it is parked, and ties nobody.
                if members.len() > 1 && !outside {
                    members.sort_unstable();
                    links.push((self.rank(*value, members.len()), members, *value));
                }
            }
        }
        links.sort_unstable_by(|a, b| {
            let digest = |value: u32| self.values.column[value].digest;
            (a.0, &a.1).cmp(&(b.0, &b.1)).then_with(|| digest(a.2).cmp(&digest(b.2)))
        });
        let mut graph = UnGraph::with_capacity(records.len() + links.len(), links.len() * 2);
        for _ in 0..records.len() + links.len() {
            graph.add_node(());
        }
        for (index, (rank, members, _)) in links.iter().enumerate() {
            for member in members {
                graph.add_edge(NodeIndex::new(*member as usize), NodeIndex::new(records.len() + index), cost(*rank));
            }
        }
        let (ranks, values) = links.into_iter().map(|(rank, _, value)| (rank, value)).unzip();
        Ties { graph, records, values, ranks }
    }

    fn explain_together(&self, profile: ProfileOrdinal, one: u32, other: u32) -> Explanation {
        let ties = self.ties(profile);
        let node = |record: u32| ties.records.iter().position(|held| *held == record).map(NodeIndex::new);
        let mut path = Vec::new();
        if let (Some(from), Some(to)) = (node(one), node(other))
            && let Some((_, nodes)) = astar(&ties.graph, from, |node| node == to, |edge| *edge.weight(), |_| 0)
        {
            for step in nodes.windows(3).step_by(2) {
                let value = step[1].index() - ties.records.len();
                path.push(EvidenceStep {
                    from: self.records.cold[ties.records[step[0].index()]].digest,
                    to: self.records.cold[ties.records[step[2].index()]].digest,
                    value: self.values.column[ties.values[value]].link_value(),
                    rank: ties.ranks[value],
                });
            }
        }
        let weakest = (0..path.len()).max_by_key(|step| (path[*step].rank, std::cmp::Reverse(*step)));
        Explanation::Together { profile, path, weakest }
    }

    fn explain_separate(&self, one: ProfileOrdinal, other: ProfileOrdinal) -> Vec<SeparateReason> {
        let values = |profile: ProfileOrdinal| -> BTreeSet<u32> {
            let members = self.member_indexes(profile);
            members.iter().flat_map(|record| self.values_of(*record).iter().copied()).collect()
        };
        let others = values(other);
        let mut shared: Vec<u32> = values(one).into_iter().filter(|value| others.contains(value)).collect();
        shared.sort_unstable_by_key(|value| {
            (self.rank(*value, self.values.column[*value].holders.len as usize), self.values.column[*value].digest)
        });
        shared.truncate(REASONS_MAX);
        if shared.is_empty() {
            return vec![SeparateReason::NothingShared];
        }
        shared.into_iter().map(|value| self.explain_parked(value, one, other)).collect()
    }

    /// Why a value held in both clusters does not join them.
    fn explain_parked(&self, value: u32, one: ProfileOrdinal, other: ProfileOrdinal) -> SeparateReason {
        let held = &self.values.column[value];
        let name = held.link_value();
        if self.rules.class(held.namespace) == NamespaceClass::Supporting {
            return SeparateReason::Supporting(name);
        }
        if let Behind::Generic(reason) = self.behind(value) {
            return SeparateReason::Generic(name, reason);
        }
        let contradicting = self.holders(value).iter().find(|holder| {
            let warm = &self.records.warm[**holder];
            warm.has(flag::SELF_CONTRADICTING) && (warm.profile == one.0 || warm.profile == other.0)
        });
        if let Some(record) = contradicting {
            return SeparateReason::Contradicting { value: name, record: self.records.cold[*record].digest };
        }
        let (first, second) = (&self.profiles.column[one.0], &self.profiles.column[other.0]);
        let clash = self.lists.get(&first.list).iter().find_map(|a| {
            let namespace = self.values.column[*a].namespace;
            let differs = |b: &&u32| **b != *a && self.values.column[**b].namespace == namespace;
            self.lists.get(&second.list).iter().find(differs).map(|_| NamespaceId(namespace))
        });
        if let Some(namespace) = clash {
            return SeparateReason::Vetoed { value: name, namespace };
        }
        let limit = self.rules.cluster_records_max;
        let profiles: BTreeSet<u32> = self.holders(value).iter().map(|h| self.records.warm[*h].profile).collect();
        let records: u32 = profiles.iter().map(|profile| self.profiles.column[*profile].count).sum();
        if profiles.len() == 2 && records > limit {
            return SeparateReason::TooLarge { value: name, records, limit };
        }
        SeparateReason::Contested { value: name, profiles: profiles.len() as u32 }
    }
}

/// What a step costs: one step more always costs more than any weakness.
fn cost(rank: Rank) -> u64 {
    (1 << 32) + ((rank.tier as u64) << 16 | u64::from(rank.weakness))
}
