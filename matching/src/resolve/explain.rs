//! LAW 8: why two records are one party, or why not.

use std::collections::BTreeSet;

use hashbrown::{HashMap, HashSet};
use onefold_core::ids::{Digest128, NamespaceId, ProfileOrdinal};
use onefold_core::namespace::NamespaceClass;
use petgraph::algo::astar;
use petgraph::graph::{NodeIndex, UnGraph};

use crate::index::records::flag;
use crate::index::values::flag as value_flag;
use crate::pair::MatchEvidence;
use crate::prepared::LinkValue;
use crate::resolve::diversity::Behind;
use crate::resolve::lookup::GenericReason;
use crate::resolve::partition::{CROSS_CLAMP_BITS, CROSS_MEAN_BITS, CROSS_RECORDS_MAX, Grounds, Rank, whole_bits};
use crate::resolve::region::{JUDGED, rank_by_weight};
use crate::resolve::{Engine, Verdict};

/// Reasons that one explanation names at most.
pub const REASONS_MAX: usize = 64;

/// What a link rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evidence {
    /// All its records hold the value, and it links them.
    Value(LinkValue),
    /// Its two records match by this weight, in bits.
    Weight(f32),
    /// A steward judged its two records to be one party.
    Judgement,
}

/// One step of the evidence between two records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvidenceStep {
    /// A record.
    pub from: Digest128,
    /// The next one.
    pub to: Digest128,
    /// What links them.
    pub evidence: Evidence,
    /// How strongly it links.
    pub rank: Rank,
}

/// Why two records are, or are not, in one profile.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SeparateReason {
    /// No value is held on both sides, and nothing can be said by weight.
    NothingShared,
    /// A steward judged these records, one on each side, to be different.
    Judged {
        /// The one.
        one: Digest128,
        /// The other.
        other: Digest128,
    },
    /// The value's holders contradict each other by weight, so it joins only those of them that do not.
    Divided {
        /// What is shared.
        value: LinkValue,
    },
    /// These records, one on each side, contradict each other by weight: no evidence that only suggests may join them.
    Contradiction {
        /// The one.
        one: Digest128,
        /// The other.
        other: Digest128,
        /// Their match weight in bits.
        weight_bits: f32,
        /// Below this it is a contradiction.
        conflict_bits: f32,
    },
    /// The clusters of both do not match, all that is known of each taken together.
    Unlike {
        /// Their match weight in bits.
        weight_bits: f32,
        /// As much would do.
        least_bits: f32,
    },
    /// The two records asked about match by weight, but their clusters hold different values of a unique namespace.
    Exclusive {
        /// In which they differ.
        namespace: NamespaceId,
        /// The records' match weight in bits.
        weight_bits: f32,
    },
    /// The two records asked about share a blocking key, but weigh too little.
    FellShort {
        /// Their match weight in bits.
        weight_bits: f32,
        /// What links.
        link_bits: f32,
    },
    /// The two records asked about share no blocking key whose block is within its bound, so they are never compared.
    NoSharedKey {
        /// What they would weigh, in bits.
        weight_bits: f32,
        /// What links.
        link_bits: f32,
    },
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

/// The records of one cluster and the links that tie them, as a graph.
pub(super) struct Ties {
    /// Records first, then links.
    pub(super) graph: UnGraph<(), u64>,
    /// By node.
    pub(super) records: Vec<u32>,
    /// By node, less the records.
    pub(super) links: Vec<Tie>,
}

/// A link inside a cluster.
pub(super) struct Tie {
    pub(super) evidence: Evidence,
    pub(super) rank: Rank,
}

impl Ties {
    pub(super) fn link_node(&self, link: usize) -> NodeIndex {
        NodeIndex::new(self.records.len() + link)
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
            (Some((first, one)), Some((second, other))) => {
                let reasons = self.explain_separate((first, one), (second, other));
                Explanation::Separate { profiles: (one, other), reasons }
            }
        }
    }

    /// How two live records match by weight, taken apart; `None` when they are not compared (of two kinds of party, or one a
    /// correction), nothing is known of one, or there is no model.
    #[must_use]
    pub fn match_evidence(&self, one: Digest128, other: Digest128) -> Option<MatchEvidence> {
        let (one, other) = (self.records.find(one)?, self.records.find(other)?);
        let live = [one, other].iter().all(|record| self.records.warm[*record].has(flag::LIVE));
        let party = self.comparable(one, other).filter(|_| live)?;
        self.rows.evidence(party, one, other)
    }

    /// What ties the cluster together, in an order that is one of content: records by facts, links by strength and then
    /// by the facts of their members.
    pub(super) fn ties(&self, profile: ProfileOrdinal) -> Ties {
        let mut records = self.member_indexes(profile);
        records.sort_unstable_by_key(|record| self.records.cold[*record].facts);
        let node_of: HashMap<u32, u32> = records.iter().copied().zip(0..).collect();
        let mut seen = HashSet::new();
        let mut links: Vec<(Rank, Vec<u32>, Option<Digest128>, Evidence)> = Vec::new();
        for (record, node) in records.iter().zip(0..) {
            for value in self.values_of(*record) {
                if !self.linking(*value) || !seen.insert(*value) {
                    continue;
                }
                let held = &self.values.column[*value];
                for group in self.groups(*value) {
                    // With members outside it is parked, and ties nobody.
                    let members: Option<Vec<u32>> = group.iter().map(|holder| node_of.get(holder).copied()).collect();
                    if let Some(mut members) = members {
                        members.sort_unstable();
                        let rank = self.rank(*value, members.len());
                        links.push((rank, members, Some(held.digest), Evidence::Value(held.link_value())));
                    }
                }
            }
            let weights = self.links_by_weight(*record);
            let weights = weights.map(|(other, bits)| (other, rank_by_weight(bits), Evidence::Weight(bits)));
            let judgements = self.links_by_judgement(*record).into_iter();
            for (other, rank, evidence) in weights.chain(judgements.map(|other| (other, JUDGED, Evidence::Judgement))) {
                if let Some(other) = node_of.get(&other).filter(|other| node < **other) {
                    links.push((rank, vec![node, *other], None, evidence));
                }
            }
        }
        links.sort_unstable_by(|a, b| (a.0, &a.1, a.2).cmp(&(b.0, &b.1, b.2)));
        let mut graph = UnGraph::with_capacity(records.len() + links.len(), links.len() * 2);
        for _ in 0..records.len() + links.len() {
            graph.add_node(());
        }
        for (index, (rank, members, ..)) in links.iter().enumerate() {
            for member in members {
                graph.add_edge(NodeIndex::new(*member as usize), NodeIndex::new(records.len() + index), cost(*rank));
            }
        }
        let links = links.into_iter().map(|(rank, .., evidence)| Tie { evidence, rank }).collect();
        Ties { graph, records, links }
    }

    fn explain_together(&self, profile: ProfileOrdinal, one: u32, other: u32) -> Explanation {
        let ties = self.ties(profile);
        let node = |record: u32| ties.records.iter().position(|held| *held == record).map(NodeIndex::new);
        let mut path = Vec::new();
        if let (Some(from), Some(to)) = (node(one), node(other))
            && let Some((_, nodes)) = astar(&ties.graph, from, |node| node == to, |edge| *edge.weight(), |_| 0)
        {
            for step in nodes.windows(3).step_by(2) {
                let tie = &ties.links[step[1].index() - ties.records.len()];
                path.push(EvidenceStep {
                    from: self.records.cold[ties.records[step[0].index()]].digest,
                    to: self.records.cold[ties.records[step[2].index()]].digest,
                    evidence: tie.evidence,
                    rank: tie.rank,
                });
            }
        }
        let weakest = (0..path.len()).max_by_key(|step| (path[*step].rank, std::cmp::Reverse(*step)));
        Explanation::Together { profile, path, weakest }
    }

    /// Each side is a record and its profile.
    fn explain_separate(&self, one: (u32, ProfileOrdinal), other: (u32, ProfileOrdinal)) -> Vec<SeparateReason> {
        let mut reasons = Vec::new();
        reasons.extend(self.explain_judged(one.1, other.1));
        let values = |profile: ProfileOrdinal| -> BTreeSet<u32> {
            let members = self.member_indexes(profile);
            members.iter().flat_map(|record| self.values_of(*record).iter().copied()).collect()
        };
        let others = values(other.1);
        let mut shared: Vec<u32> = values(one.1).into_iter().filter(|value| others.contains(value)).collect();
        shared.sort_unstable_by_key(|value| {
            (self.rank(*value, self.values.column[*value].holders.len as usize), self.values.column[*value].digest)
        });
        reasons.extend(shared.into_iter().map(|value| self.explain_parked(value, one.1, other.1)));
        // The last one is kept for what the weight says.
        reasons.truncate(REASONS_MAX - 1);
        if let Some(weight_bits) = self.weigh(one.0, other.0) {
            reasons.extend(self.explain_weight(one, other, weight_bits).filter(|reason| !reasons.contains(reason)));
        }
        if reasons.is_empty() {
            reasons.push(SeparateReason::NothingShared);
        }
        reasons
    }

    /// A judgement between members of the two profiles.
    fn explain_judged(&self, one: ProfileOrdinal, other: ProfileOrdinal) -> Option<SeparateReason> {
        let digest = |record: u32| self.records.cold[record].digest;
        let of_other = |record: u32| self.records.warm[record].placed() && self.records.warm[record].profile == other.0;
        self.member_indexes(one).into_iter().find_map(|record| {
            let judged = self.judged_with(record).into_iter();
            let mut against = judged.filter(|(to, verdict)| *verdict == Verdict::Different && of_other(*to));
            against.next().map(|(to, _)| SeparateReason::Judged { one: digest(record), other: digest(to) })
        })
    }

    /// What the weight of the two records says.
    fn explain_weight(
        &self,
        one: (u32, ProfileOrdinal),
        other: (u32, ProfileOrdinal),
        weight_bits: f32,
    ) -> Option<SeparateReason> {
        let lines = self.thresholds(self.records.warm[one.0].party())?;
        let link_bits = lines.link_bits;
        if !self.are_candidates(&self.keys_of(one.0), &self.keys_of(other.0)) {
            return Some(SeparateReason::NoSharedKey { weight_bits, link_bits });
        }
        if weight_bits < link_bits {
            return Some(SeparateReason::FellShort { weight_bits, link_bits });
        }
        if let Some(namespace) = self.clash(one.1, other.1) {
            return Some(SeparateReason::Exclusive { namespace, weight_bits });
        }
        let grounds = Grounds::WEIGHT;
        self.contradiction_across(grounds, one.1, other.1).or_else(|| self.unlike_wholly(grounds, one.1, other.1))
    }

    /// What all that is known of two profiles says, in the mean of their records or taken together, if it is too little for a
    /// link on these grounds.
    fn unlike_wholly(&self, grounds: Grounds, one: ProfileOrdinal, other: ProfileOrdinal) -> Option<SeparateReason> {
        let (near, far) = (self.first_by_content(one), self.first_by_content(other));
        let lines = self.thresholds(self.records.warm[*near.first()?].party())?;
        let pairs = near.iter().flat_map(|one| far.iter().map(move |other| (*one, *other)));
        let cross = pairs.filter_map(|(one, other)| self.weigh_across(grounds, one, other));
        let cross: Vec<f32> = cross.map(|bits| bits.clamp(-CROSS_CLAMP_BITS, CROSS_CLAMP_BITS)).collect();
        let mean = cross.iter().sum::<f32>() / cross.len().max(1) as f32;
        if mean < CROSS_MEAN_BITS {
            return Some(SeparateReason::Unlike { weight_bits: mean, least_bits: CROSS_MEAN_BITS });
        }
        let (weight_bits, least_bits) = (self.weigh_whole(grounds, &near, &far)?, whole_bits(grounds.tier, &lines));
        (weight_bits < least_bits).then_some(SeparateReason::Unlike { weight_bits, least_bits })
    }

    /// The records of a profile that the guard of the partition looks at.
    fn first_by_content(&self, profile: ProfileOrdinal) -> Vec<u32> {
        let mut members = self.member_indexes(profile);
        members.sort_unstable_by_key(|record| self.records.cold[*record].facts);
        members.truncate(CROSS_RECORDS_MAX);
        members
    }

    /// The pair across two profiles that weighs least, among those that the guard of the partition looks at, if it is a
    /// contradiction.
    fn contradiction_across(
        &self,
        grounds: Grounds,
        one: ProfileOrdinal,
        other: ProfileOrdinal,
    ) -> Option<SeparateReason> {
        let (near, far) = (self.first_by_content(one), self.first_by_content(other));
        let conflict_bits = self.thresholds(self.records.warm[*near.first()?].party())?.conflict_bits;
        let shared_bits = grounds.shared.over_strangers_bits;
        let pairs = near.iter().flat_map(|one| far.iter().map(move |other| (*one, *other)));
        let weighed = pairs.filter_map(|(one, other)| Some((self.weigh(one, other)? + shared_bits, one, other)));
        let (weight_bits, one, other) = weighed.min_by(|a, b| a.0.total_cmp(&b.0))?;
        let digest = |record: u32| self.records.cold[record].digest;
        (weight_bits < conflict_bits).then(|| SeparateReason::Contradiction {
            one: digest(one),
            other: digest(other),
            weight_bits,
            conflict_bits,
        })
    }

    /// A unique namespace of which the two profiles hold different values.
    fn clash(&self, one: ProfileOrdinal, other: ProfileOrdinal) -> Option<NamespaceId> {
        let (first, second) = (&self.profiles.column[one.0], &self.profiles.column[other.0]);
        self.lists.get(&first.list).iter().find_map(|a| {
            let namespace = self.values.column[*a].namespace;
            let differs = |b: &&u32| **b != *a && self.values.column[**b].namespace == namespace;
            self.lists.get(&second.list).iter().find(differs).map(|_| NamespaceId(namespace))
        })
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
        if let Some(namespace) = self.clash(one, other) {
            return SeparateReason::Vetoed { value: name, namespace };
        }
        let limit = self.rules.cluster_records_max;
        let profiles: BTreeSet<u32> = self.holders(value).iter().map(|h| self.records.warm[*h].profile).collect();
        let records: u32 = profiles.iter().map(|profile| self.profiles.column[*profile].count).sum();
        if profiles.len() == 2 && records > limit {
            return SeparateReason::TooLarge { value: name, records, limit };
        }
        if held.has(value_flag::DIVIDED) {
            return SeparateReason::Divided { value: name };
        }
        let grounds = self.holders(value).first().map(|holder| self.grounds(value, *holder));
        if profiles.len() == 2
            && let Some(grounds) = grounds
            && let Some(contradiction) =
                self.contradiction_across(grounds, one, other).or_else(|| self.unlike_wholly(grounds, one, other))
        {
            return contradiction;
        }
        SeparateReason::Contested { value: name, profiles: profiles.len() as u32 }
    }
}

/// What a step costs: one step more always costs more than any weakness.
fn cost(rank: Rank) -> u64 {
    (1 << 32) + ((rank.tier as u64) << 16 | u64::from(rank.weakness))
}
