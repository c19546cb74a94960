//! LAW 8: how a profile is held together, and what would split it.

use onefold_core::ids::{Digest128, ProfileOrdinal};
use petgraph::algo::articulation_points::articulation_points;
use petgraph::algo::ford_fulkerson;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::unionfind::UnionFind;
use petgraph::visit::{Dfs, EdgeRef, Reversed};

use crate::resolve::Engine;
use crate::resolve::explain::{Evidence, Ties};
use crate::resolve::partition::Rank;

/// Records up to which the smallest cut is found exactly.
pub const CUT_RECORDS_MAX: usize = 64;
/// Links up to which the smallest cut is found exactly.
pub const CUT_LINKS_MAX: usize = 256;

/// A link inside a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldingLink {
    /// What it rests on.
    pub evidence: Evidence,
    /// How strongly it links.
    pub rank: Rank,
    /// Its records, sorted.
    pub records: Vec<Digest128>,
    /// How many parts it joined when links are taken strongest first; 1 or 0 parts means that it only confirms.
    pub joined: u32,
}

/// What would split a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// One record: nothing to split.
    None,
    /// Without these links, and no fewer, the cluster falls apart. Positions in [`Growth::links`].
    Smallest(Vec<usize>),
    /// No single link holds it; the cluster is too large to look for more (see [`CUT_RECORDS_MAX`]).
    AtLeastTwo,
}

/// How a profile is held together.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// Its records, in an order that is one of content.
    pub records: Vec<Digest128>,
    /// Its links, strongest first: the order in which the cluster is built.
    pub links: Vec<HoldingLink>,
    /// What would split it.
    pub cut: Cut,
}

impl Engine {
    /// How a live profile is held together. `None` when it is not live.
    #[must_use]
    pub fn growth(&self, profile: ProfileOrdinal) -> Option<Growth> {
        let ties = self.ties(profile);
        if ties.records.is_empty() {
            return None;
        }
        let name = |node: NodeIndex| self.records.cold[ties.records[node.index()]].digest;
        let mut union = UnionFind::<u32>::new(ties.records.len());
        let mut links = Vec::new();
        for (index, tie) in ties.links.iter().enumerate() {
            let holders: Vec<NodeIndex> = ties.graph.neighbors(ties.link_node(index)).collect();
            let mut parts: Vec<u32> = holders.iter().map(|holder| union.find_mut(holder.index() as u32)).collect();
            parts.sort_unstable();
            parts.dedup();
            for part in &parts {
                union.union(parts[0], *part);
            }
            let mut records: Vec<Digest128> = holders.into_iter().map(name).collect();
            records.sort_unstable();
            links.push(HoldingLink { evidence: tie.evidence, rank: tie.rank, records, joined: parts.len() as u32 });
        }
        let cut = match smallest_cut(&ties) {
            None => Cut::AtLeastTwo,
            Some(cut) if cut.is_empty() => Cut::None,
            Some(cut) => Cut::Smallest(cut),
        };
        let records = (0..ties.records.len()).map(|node| name(NodeIndex::new(node))).collect();
        Some(Growth { records, links, cut })
    }
}

/// Positions of the links whose removal splits the cluster; `None` when that was too much to look for.
fn smallest_cut(ties: &Ties) -> Option<Vec<usize>> {
    let records = ties.records.len();
    if records == 1 {
        return Some(Vec::new());
    }
    // Values come strongest first: the last that alone holds two parts together is the one to doubt.
    let single = articulation_points(&ties.graph).into_iter().filter(|node| node.index() >= records).max();
    if let Some(single) = single {
        return Some(vec![single.index() - records]);
    }
    if records > CUT_RECORDS_MAX || ties.links.len() > CUT_LINKS_MAX {
        return None;
    }
    // Menger: the fewest values between the first record and another is the greatest flow when each value lets one unit
    // through. Some record is on the other side of the smallest cut, so the least over all others is exact.
    let mut network: DiGraph<(), u32> = DiGraph::new();
    for _ in 0..records + 2 * ties.links.len() {
        network.add_node(());
    }
    let endless = ties.links.len() as u32 + 1;
    let (entry, exit) = (|value| NodeIndex::new(records + 2 * value), |value| NodeIndex::new(records + 2 * value + 1));
    for value in 0..ties.links.len() {
        network.add_edge(entry(value), exit(value), 1);
        for record in ties.graph.neighbors(ties.link_node(value)) {
            network.add_edge(record, entry(value), endless);
            network.add_edge(exit(value), record, endless);
        }
    }
    let source = NodeIndex::new(0);
    let (_, sink, flows) = (1..records)
        .map(|record| {
            let (flow, flows) = ford_fulkerson(&network, source, NodeIndex::new(record));
            (flow, NodeIndex::<u32>::new(record), flows)
        })
        .min_by_key(|(flow, sink, _)| (*flow, *sink))?;
    // What can still reach the sink over edges with room left; a value with only its exit on that side is cut.
    let mut residual: DiGraph<(), ()> = DiGraph::new();
    for _ in network.node_indices() {
        residual.add_node(());
    }
    for edge in network.edge_references() {
        if flows[edge.id().index()] < *edge.weight() {
            residual.add_edge(edge.source(), edge.target(), ());
        }
        if flows[edge.id().index()] > 0 {
            residual.add_edge(edge.target(), edge.source(), ());
        }
    }
    let reversed = Reversed(&residual);
    let mut reaches = vec![false; residual.node_count()];
    let mut walk = Dfs::new(reversed, sink);
    while let Some(node) = walk.next(reversed) {
        reaches[node.index()] = true;
    }
    let cut = |value: &usize| !reaches[entry(*value).index()] && reaches[exit(*value).index()];
    Some((0..ties.links.len()).filter(cut).collect())
}
