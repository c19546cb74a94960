//! LAW 2: from the links of one component to its clusters, as a pure function.
//!
//! Links are taken strongest first. A link joins all clusters that its members are in, or none: when joining them
//! would put two values of a unique namespace into one cluster, or a pair that must stay apart, or more records than
//! the bound, then what the link says is provably true of two parties, so it speaks for neither. It is parked, with its
//! reason, and shown (law 5). Ties break by the content of the members, never by order of arrival or by keyed digests,
//! so two installations with the same fragments agree.

use onefold_core::ids::{Digest128, NamespaceId};
use petgraph::unionfind::UnionFind;
use smallvec::SmallVec;

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
    /// How many records it stands for.
    pub weight: u32,
    /// Its values of unique namespaces, each named by any number that means the value.
    pub uniques: SmallVec<[(NamespaceId, u32); 2]>,
}

/// Evidence that its members are one party.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its strength.
    pub rank: Rank,
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
    weight: u64,
    uniques: SmallVec<[(NamespaceId, u32); 2]>,
    apart: SmallVec<[u32; 1]>,
}

/// Clusters of the component.
///
/// A node that holds two values of one unique namespace contradicts itself: it is left out of every link and stays
/// alone, so one broken record neither joins two parties nor parks a link between others.
#[must_use]
pub fn partition(component: &Component) -> Partition {
    let nodes = &component.nodes;
    let mut union = UnionFind::<u32>::new(nodes.len());
    let mut held: Vec<Held> = nodes
        .iter()
        .map(|node| {
            let mut uniques = node.uniques.clone();
            uniques.sort_unstable();
            uniques.dedup();
            Held { weight: u64::from(node.weight), uniques, apart: SmallVec::new() }
        })
        .collect();
    let contradicting: Vec<bool> = held.iter().map(|held| first_clash(&held.uniques).is_some()).collect();
    for &(a, b) in &component.apart {
        held[a as usize].apart.push(b);
        held[b as usize].apart.push(a);
    }

    let mut parked = Vec::new();
    for index in strongest_first(component, &contradicting) {
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
        match joined(&roots, &held, &union, component.records_max) {
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
fn strongest_first(component: &Component, contradicting: &[bool]) -> Vec<u32> {
    // Comparing positions in the order of facts is comparing facts.
    let mut by_facts: Vec<u32> = (0..component.nodes.len() as u32).collect();
    by_facts.sort_unstable_by_key(|node| component.nodes[*node as usize].facts);
    let mut position = vec![0; component.nodes.len()];
    for (at, node) in by_facts.iter().enumerate() {
        position[*node as usize] = at as u32;
    }
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
        whole.weight += part.weight;
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
    if whole.weight > u64::from(records_max) {
        return Err(ParkReason::TooLarge);
    }
    Ok(whole)
}

/// The first namespace with two different values. `uniques` is sorted, no pair twice.
fn first_clash(uniques: &[(NamespaceId, u32)]) -> Option<NamespaceId> {
    uniques.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].0)
}
