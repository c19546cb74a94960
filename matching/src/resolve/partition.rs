//! LAW 2: from the links of one component to its clusters, as a pure function.
//!
//! Links are taken strongest first. A link joins all clusters that its members are in, or none: when joining them
//! would put two values of a unique namespace into one cluster, or a pair that must stay apart, or more records than
//! the bound, then what the link says is provably true of two parties, so it speaks for neither. It is parked, with its
//! reason, and shown (law 5). Ties break by the content of the members, never by order of arrival or by keyed digests,
//! so two installations with the same fragments agree.
//!
//! What only suggests (an identifying value, a match by weight) is guarded besides: before clusters are joined on such
//! evidence, records of theirs are compared across, and [`admits`] is asked. So chains of lookalikes do not snowball. Where some
//! pair speaks against it, the clusters must match as wholes too ([`Across::whole`]): two that plainly differ, though no two of
//! their records tell of both, stay two.

use onefold_core::fragment::PartyKind;
use onefold_core::ids::{Digest128, NamespaceId};
use petgraph::unionfind::UnionFind;
use smallvec::SmallVec;

use crate::resolve::{Shared, Thresholds};

/// Records of each cluster that are compared across before two clusters are joined: the first by content.
pub const CROSS_RECORDS_MAX: usize = 16;
/// Pairs that are compared across for one link.
pub const CROSS_PAIRS_MAX: usize = 1_024;
/// One pair counts for no more than this in the mean across, for or against, in bits.
pub const CROSS_CLAMP_BITS: f32 = 12.0;
/// Match weight that pairs across must have in the mean, in bits. A whole number, so that sums of it are exact.
pub const CROSS_MEAN_BITS: f32 = -1.0;

/// By so much more than two records must two clusters match, all that is known of each taken together, in bits.
const WHOLE_OVER_BITS: f32 = 1.0;
/// And no more is asked of them, however high a model draws its line for records, of which each may tell little.
const WHOLE_BITS_MAX: f32 = 4.0;
/// Match weight against kin below which two clusters that share an identifier are plainly two, in bits.
const WHOLE_AGAINST_KIN_BITS: f32 = -1.5;

/// Where a link's strength comes from, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// A steward's judgement.
    Judgement,
    /// A shared value of a unique namespace.
    Unique,
    /// A shared value of an identifying namespace.
    Identifying,
    /// A match by weight.
    Probable,
}

/// A link's strength. The smaller, the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// Its kind.
    pub tier: Tier,
    /// Strength within the kind, turned round: 0 is the strongest.
    pub weakness: u16,
    /// Records that the link names: the fewer, the more it says about each.
    pub members: u32,
}

/// A record, as far as clustering cares.
#[derive(Clone, Debug)]
pub struct Node {
    /// Unkeyed digest of its facts; orders ties.
    pub facts: Digest128,
    /// Person or organisation: whose thresholds hold.
    pub party: PartyKind,
    /// Its values of unique namespaces, each named by any number that means the value.
    pub uniques: SmallVec<[(NamespaceId, u32); 2]>,
}

/// What a match model is asked beside: on what a link rests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grounds {
    /// Its kind.
    pub tier: Tier,
    /// What the shared value says that the model does not.
    pub shared: Shared,
}

impl Grounds {
    /// Those of a match by weight, of which the model has said all.
    pub const WEIGHT: Self = Self { tier: Tier::Probable, shared: Shared::NOTHING };
}

/// Evidence that its members are one party.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its strength.
    pub rank: Rank,
    /// What it says that no match model does.
    pub shared: Shared,
    /// Indexes of nodes, no index twice.
    pub members: SmallVec<[u32; 4]>,
}

/// Records and the links between them.
#[derive(Clone, Debug, Default)]
pub struct Component {
    /// The records.
    pub nodes: Vec<Node>,
    /// The links, in any order.
    pub links: Vec<Link>,
    /// Pairs of nodes that must not share a cluster.
    pub apart: Vec<(u32, u32)>,
    /// Records that one cluster may hold.
    pub records_max: u32,
    /// The lines of the match model, by kind of party; `None` without a model.
    pub thresholds: [Option<Thresholds>; 2],
}

/// What is asked of a match model about nodes that a link on these grounds would join. Answers must be symmetric.
pub trait Across {
    /// What speaks across two nodes, in bits; `None` when nothing is known of one of them.
    fn pair(&self, grounds: Grounds, one: u32, other: u32) -> Option<f32>;

    /// What all that is known of the ones says against all that is known of the others, in bits: what no two records tell of
    /// both, two clusters may. `None` when nothing is known of one side, or it is not asked for.
    fn whole(&self, _grounds: Grounds, _ones: &[u32], _others: &[u32]) -> Option<f32> {
        None
    }
}

impl<F: Fn(Grounds, u32, u32) -> Option<f32>> Across for F {
    fn pair(&self, grounds: Grounds, one: u32, other: u32) -> Option<f32> {
        self(grounds, one, other)
    }
}

/// Why a link was parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParkReason {
    /// It would join two values of this unique namespace.
    Exclusive(NamespaceId),
    /// It would join a pair that must stay apart.
    Apart,
    /// It would make a cluster larger than the bound.
    TooLarge,
    /// Records of the clusters that it would join contradict each other by weight, or speak against it in the mean.
    Contradiction,
}

/// Whether clusters may be joined on evidence that only suggests, when pairs across them have these match weights, in an
/// order that is one of content: none may contradict, and by and large they must not speak against it.
///
/// # Errors
/// Why not.
pub fn admits(cross: &[f32], thresholds: &Thresholds) -> Result<(), ParkReason> {
    let total: f32 = cross.iter().map(|weight| weight.clamp(-CROSS_CLAMP_BITS, CROSS_CLAMP_BITS)).sum();
    let contradicts = cross.iter().any(|weight| *weight < thresholds.conflict_bits);
    if contradicts || total < CROSS_MEAN_BITS * cross.len() as f32 {
        return Err(ParkReason::Contradiction);
    }
    Ok(())
}

/// While every pair of a cluster weighs at least this, [`admits`] has nothing against any way in which it may have grown.
/// Never below `conflict_bits`.
#[must_use]
pub const fn harmless_bits(thresholds: &Thresholds) -> f32 {
    if thresholds.conflict_bits > CROSS_MEAN_BITS { thresholds.conflict_bits } else { CROSS_MEAN_BITS }
}

/// The outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// For each node, the index of its cluster.
    pub cluster_of: Vec<u32>,
    /// The nodes of each cluster, ascending; clusters by their first node.
    pub clusters: Vec<Vec<u32>>,
    /// Links that joined nobody, by index, ascending.
    pub parked: Vec<(u32, ParkReason)>,
}

/// What a growing cluster holds.
#[derive(Clone, Debug, Default)]
struct Held {
    /// Its nodes in the order of their facts, each by its position in that order.
    members: SmallVec<[u32; 4]>,
    uniques: SmallVec<[(NamespaceId, u32); 2]>,
    apart: SmallVec<[u32; 1]>,
}

/// Clusters of the component. `about` is asked of records in two clusters only.
///
/// A node that holds two values of one unique namespace contradicts itself: it is left out of every link and stays
/// alone, so one broken record neither joins two parties nor parks a link between others.
#[must_use]
pub fn partition(component: &Component, about: &dyn Across) -> Partition {
    let nodes = &component.nodes;
    let mut union = UnionFind::<u32>::new(nodes.len());
    // Comparing positions in the order of facts is comparing facts.
    let mut by_facts: Vec<u32> = (0..nodes.len() as u32).collect();
    by_facts.sort_unstable_by_key(|node| nodes[*node as usize].facts);
    let mut position = vec![0; nodes.len()];
    for (at, node) in by_facts.iter().enumerate() {
        position[*node as usize] = at as u32;
    }
    let mut held: Vec<Held> = nodes
        .iter()
        .zip(&position)
        .map(|(node, at)| {
            let mut uniques = node.uniques.clone();
            uniques.sort_unstable();
            uniques.dedup();
            Held { members: SmallVec::from_elem(*at, 1), uniques, apart: SmallVec::new() }
        })
        .collect();
    let contradicting: Vec<bool> = held.iter().map(|held| first_clash(&held.uniques).is_some()).collect();
    for &(a, b) in &component.apart {
        held[a as usize].apart.push(b);
        held[b as usize].apart.push(a);
    }

    let mut parked = Vec::new();
    for index in strongest_first(component, &position, &contradicting) {
        let link = &component.links[index as usize];
        let mut roots: SmallVec<[u32; 4]> = link
            .members
            .iter()
            .filter(|member| !contradicting[**member as usize])
            .map(|member| union.find_mut(*member))
            .collect();
        roots.sort_unstable();
        roots.dedup();
        let [first, others @ ..] = roots.as_slice() else { continue };
        if others.is_empty() {
            continue;
        }
        let whole = joined(&roots, &held, &union, component.records_max).and_then(|whole| {
            if link.rank.tier >= Tier::Identifying
                && let Some(thresholds) = &component.thresholds[nodes[*first as usize].party as usize]
            {
                let grounds = Grounds { tier: link.rank.tier, shared: link.shared };
                let clusters = first_by_content(&roots, &held, &by_facts);
                let cross = across(&clusters, grounds, about);
                admits(&cross, thresholds)?;
                // Where no pair is against it, nothing is: even clusters need no guard.
                if cross.iter().any(|bits| *bits < harmless_bits(thresholds)) {
                    admits_wholly(&clusters, grounds, about, thresholds)?;
                }
            }
            Ok(whole)
        });
        match whole {
            Err(reason) => parked.push((index, reason)),
            Ok(whole) => {
                for other in others {
                    union.union(*first, *other);
                    held[*other as usize] = Held::default();
                }
                held[*first as usize] = Held::default();
                held[union.find_mut(*first) as usize] = whole;
            }
        }
    }
    // What was parked in its turn may have been joined by later evidence.
    parked.retain(|(index, _)| {
        let members = component.links[*index as usize].members.iter();
        let mut roots = members.filter(|member| !contradicting[**member as usize]).map(|member| union.find(*member));
        let first = roots.next();
        roots.any(|root| Some(root) != first)
    });
    parked.sort_unstable();

    let mut cluster_of = vec![u32::MAX; nodes.len()];
    let mut clusters: Vec<Vec<u32>> = Vec::new();
    let mut cluster_of_root = vec![u32::MAX; nodes.len()];
    for node in 0..u32::try_from(nodes.len()).expect("nodes are indexed by u32") {
        let root = union.find_mut(node) as usize;
        if cluster_of_root[root] == u32::MAX {
            cluster_of_root[root] = u32::try_from(clusters.len()).expect("fewer clusters than nodes");
            clusters.push(Vec::new());
        }
        cluster_of[node as usize] = cluster_of_root[root];
        clusters[cluster_of_root[root] as usize].push(node);
    }
    Partition { cluster_of, clusters, parked }
}

/// The links' indexes in the order in which they are tried.
fn strongest_first(component: &Component, position: &[u32], contradicting: &[bool]) -> Vec<u32> {
    let mut order: Vec<(Rank, SmallVec<[u32; 4]>, u32)> = component
        .links
        .iter()
        .enumerate()
        .map(|(index, link)| {
            let mut content: SmallVec<[u32; 4]> = link
                .members
                .iter()
                .filter(|member| !contradicting[**member as usize])
                .map(|member| position[*member as usize])
                .collect();
            content.sort_unstable();
            (link.rank, content, index as u32)
        })
        .filter(|(_, content, _)| content.len() > 1)
        .collect();
    // Links that tie in rank and members are interchangeable: the index decides nothing.
    order.sort_unstable();
    order.into_iter().map(|(_, _, index)| index).collect()
}

/// What the clusters with these roots hold together, or why they may not.
fn joined(roots: &[u32], held: &[Held], union: &UnionFind<u32>, records_max: u32) -> Result<Held, ParkReason> {
    let mut whole = Held::default();
    for root in roots {
        let part = &held[*root as usize];
        whole.members.extend_from_slice(&part.members);
        whole.uniques.extend_from_slice(&part.uniques);
        whole.apart.extend_from_slice(&part.apart);
    }
    whole.uniques.sort_unstable();
    whole.uniques.dedup();
    if let Some(namespace) = first_clash(&whole.uniques) {
        return Err(ParkReason::Exclusive(namespace));
    }
    if whole.apart.iter().any(|other| roots.binary_search(&union.find(*other)).is_ok()) {
        return Err(ParkReason::Apart);
    }
    if whole.members.len() > records_max as usize {
        return Err(ParkReason::TooLarge);
    }
    whole.members.sort_unstable();
    Ok(whole)
}

/// The nodes of the clusters with these roots that are looked at: of each the first by content, the clusters in the order of
/// their first.
fn first_by_content(roots: &[u32], held: &[Held], by_facts: &[u32]) -> SmallVec<[SmallVec<[u32; 16]>; 4]> {
    let mut clusters: SmallVec<[&[u32]; 4]> =
        roots.iter().map(|root| held[*root as usize].members.as_slice()).collect();
    clusters.sort_unstable();
    let first = |members: &&[u32]| members.iter().take(CROSS_RECORDS_MAX).map(|at| by_facts[*at as usize]).collect();
    clusters.iter().map(first).collect()
}

/// Match weights across clusters, within bounds.
fn across(clusters: &[SmallVec<[u32; 16]>], grounds: Grounds, about: &dyn Across) -> SmallVec<[f32; 64]> {
    let mut weights = SmallVec::new();
    let mut pairs = 0;
    for (at, one) in clusters.iter().enumerate() {
        for other in &clusters[at + 1..] {
            for a in one {
                for b in other {
                    if pairs == CROSS_PAIRS_MAX {
                        return weights;
                    }
                    pairs += 1;
                    weights.extend(about.pair(grounds, *a, *b));
                }
            }
        }
    }
    weights
}

/// Whether clusters may be joined, all that is known of each taken together: what no record of the one tells any of the other
/// may be told by two, as seat and registration of two companies of one name.
fn admits_wholly(
    clusters: &[SmallVec<[u32; 16]>],
    grounds: Grounds,
    about: &dyn Across,
    thresholds: &Thresholds,
) -> Result<(), ParkReason> {
    let mut pairs = 0;
    for (at, one) in clusters.iter().enumerate() {
        for other in &clusters[at + 1..] {
            pairs += one.len() * other.len();
            if pairs > CROSS_PAIRS_MAX {
                return Ok(());
            }
            if about.whole(grounds, one, other).is_some_and(|bits| bits < whole_bits(grounds.tier, thresholds)) {
                return Err(ParkReason::Contradiction);
            }
        }
    }
    Ok(())
}

/// What two clusters must weigh, all that is known of each taken together, to be joined by a link of this tier in spite of
/// pairs that speak against it: somewhat more than two records that are linked by weight, since the best of many pairs flatters;
/// where they share an identifier, they must not plainly be kin.
#[must_use]
pub fn whole_bits(tier: Tier, thresholds: &Thresholds) -> f32 {
    match tier {
        Tier::Probable => (thresholds.link_bits + WHOLE_OVER_BITS).min(WHOLE_BITS_MAX),
        _ => WHOLE_AGAINST_KIN_BITS,
    }
}

/// The first namespace with two different values. `uniques` is sorted, no pair twice.
fn first_clash(uniques: &[(NamespaceId, u32)]) -> Option<NamespaceId> {
    uniques.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].0)
}
