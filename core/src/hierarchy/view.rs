//! The hierarchy as it is served: source accounts that are one party are one node, and the nodes form a forest.
//!
//! A node's parent comes from the statements of all its source accounts. Those that stay inside the node vanish; of the
//! rest the strongest counts: of the most trusted source, then the newest, then by content. That gives every node at most
//! one way up. Where the ways close a circle, which only a merge can bring about, the weakest of the circle's edges is
//! parked. So each node hangs on one parent or none, every circle is open at one place, and what does not count is shown
//! with its reason. Nothing here is stored: a split gives back what was before.
//!
//! A walk up costs as much as the way is long, a walk down as much as there is below.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};

use super::{AccountOrdinal, Forest, Moment};
use crate::ids::SourceId;

/// What the view has to know of the parties behind accounts.
pub trait Companies {
    /// The accounts that are one party with this one today, itself included, sorted; `None` when it stands alone.
    fn together(&self, account: AccountOrdinal) -> Option<Vec<AccountOrdinal>>;
    /// How far a source is believed; more over less.
    fn trust(&self, source: SourceId) -> u16;
}

/// A source account and its parent, as told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    /// The source account below.
    pub child: AccountOrdinal,
    /// The source account above.
    pub parent: AccountOrdinal,
    /// Since when.
    pub from: Moment,
}

/// Why an edge does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParkedReason {
    /// Both ends are one party today.
    Inside,
    /// Another source account of the same party names another parent, and is believed more.
    OtherParent,
    /// It is the weakest edge of a circle that merges brought about.
    Cycle,
}

/// An edge that does not count, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The edge.
    pub edge: Edge,
    /// Why.
    pub reason: ParkedReason,
}

/// Source accounts that are one party: the oldest of them names the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Sorted; never empty.
    pub members: Vec<AccountOrdinal>,
}

impl Node {
    /// The oldest of its source accounts.
    #[must_use]
    pub fn key(&self) -> AccountOrdinal {
        self.members.first().copied().unwrap_or(AccountOrdinal(u32::MAX))
    }

    /// Whether this source account is one of it.
    #[must_use]
    pub fn holds(&self, account: AccountOrdinal) -> bool {
        self.members.binary_search(&account).is_ok()
    }
}

/// The way from a node to the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestry {
    /// The node, its parent, and so on up to its ultimate parent; never empty.
    pub path: Vec<Node>,
    /// The edge that was parked to open a circle on this way.
    pub parked: Option<Edge>,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Up to the ultimate parent.
    pub ancestry: Ancestry,
    /// The edges that make the parent, strongest first: source accounts that agree.
    pub edges: Vec<Edge>,
    /// Edges of the node that do not count, strongest first.
    pub parked: Vec<Parked>,
}

/// The hierarchy at one moment.
#[derive(Clone, Copy)]
pub struct View<'a, C> {
    forest: &'a Forest,
    companies: &'a C,
    at: Moment,
}

impl<C> std::fmt::Debug for View<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View({} accounts at {:?})", self.forest.len(), self.at)
    }
}

impl<'a, C: Companies> View<'a, C> {
    /// The hierarchy at this moment, with accounts merged as they are today.
    pub const fn new(forest: &'a Forest, companies: &'a C, at: Moment) -> Self {
        Self { forest, companies, at }
    }

    /// The node of a source account.
    pub fn node(&self, account: AccountOrdinal) -> Node {
        Node { members: self.companies.together(account).unwrap_or_else(|| vec![account]) }
    }

    /// Edges of a node to other nodes, strongest first, and those that stay inside it.
    fn edges(&self, node: &Node) -> (Vec<Edge>, Vec<Edge>) {
        // What is not there yet is nobody's child, and nobody's parent.
        let there = |account| self.forest.get(account).filter(|known| known.exists(self.at));
        let told = node.members.iter().filter_map(|child| {
            let step = there(*child)?.step(self.at)?;
            let parent = step.parent?;
            there(parent)?;
            Some(Edge { child: *child, parent, from: step.from })
        });
        let (inside, mut outward): (Vec<Edge>, Vec<Edge>) = told.partition(|edge| node.holds(edge.parent));
        if outward.len() > 1 {
            outward.sort_by_cached_key(|edge| self.strength(edge));
        }
        (outward, inside)
    }

    /// Sorts the strongest edge first. Digests make the order the same whatever came first.
    fn strength(&self, edge: &Edge) -> impl Ord + use<'a, C> {
        let facts = |account| self.forest.get(account).map(|known| &known.facts);
        let child = facts(edge.child);
        let trust = child.map_or(0, |child| self.companies.trust(child.source));
        (
            Reverse(trust),
            Reverse(edge.from),
            child.map(|child| child.record),
            facts(edge.parent).map(|above| above.record),
        )
    }

    fn strongest(&self, node: &Node) -> Option<Edge> {
        self.edges(node).0.first().copied()
    }

    /// The way up from a source account's node.
    pub fn ancestry(&self, account: AccountOrdinal) -> Ancestry {
        let mut path = vec![self.node(account)];
        let mut edges: Vec<Edge> = Vec::new();
        let mut seen: HashMap<AccountOrdinal, usize> = HashMap::from([(path[0].key(), 0)]);
        while let Some(edge) = path.last().and_then(|node| self.strongest(node)) {
            let above = self.node(edge.parent);
            edges.push(edge);
            match seen.entry(above.key()) {
                std::collections::hash_map::Entry::Occupied(known) => {
                    // The circle begins where the way comes back; it is opened at its weakest edge.
                    let begins = *known.get();
                    let weakest = (begins..edges.len()).max_by_key(|at| self.strength(&edges[*at]));
                    let parked = weakest.map(|at| {
                        path.truncate(at + 1);
                        edges[at]
                    });
                    return Ancestry { path, parked };
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(path.len());
                    path.push(above);
                }
            }
        }
        Ancestry { path, parked: None }
    }

    /// Where the node of a source account stands, and every edge of it that does not count.
    pub fn placement(&self, account: AccountOrdinal) -> Placement {
        let ancestry = self.ancestry(account);
        let (edges, parked) = self.told(&ancestry.path[0], ancestry.parked);
        Placement { ancestry, edges, parked }
    }

    /// The edges of a node that make its parent, and those that do not count. `open` is the open place of the circle that
    /// the node may lie on.
    fn told(&self, node: &Node, open: Option<Edge>) -> (Vec<Edge>, Vec<Parked>) {
        let (outward, inside) = self.edges(node);
        let above = outward.first().map(|edge| self.node(edge.parent));
        let opens_circle = open.is_some() && open == outward.first().copied();
        let (mut edges, mut parked) = (Vec::new(), Vec::new());
        for edge in outward {
            let agrees = above.as_ref().is_some_and(|above| above.holds(edge.parent));
            match (agrees, opens_circle) {
                (true, false) => edges.push(edge),
                (true, true) => parked.push(Parked { edge, reason: ParkedReason::Cycle }),
                (false, _) => parked.push(Parked { edge, reason: ParkedReason::OtherParent }),
            }
        }
        parked.extend(inside.into_iter().map(|edge| Parked { edge, reason: ParkedReason::Inside }));
        (edges, parked)
    }

    /// The edges that do not count of a node whose way up is known, or that counts as right below the first of it.
    pub fn parked(&self, node: &Node, way: &Ancestry) -> Vec<Parked> {
        self.told(node, way.parked).1
    }

    /// The nodes right below a node, in order of the arrival of the source account that names it as its parent first.
    pub fn children(&self, account: AccountOrdinal) -> Vec<Node> {
        let ancestry = self.ancestry(account);
        self.children_of(&ancestry.path[0], &ancestry)
    }

    /// The nodes right below one whose way up is known, or that counts as right below the first of it: a walk to the top for
    /// each of many children takes as many times as long.
    pub fn children_of(&self, node: &Node, way: &Ancestry) -> Vec<Node> {
        self.below(node, way.parked, &mut HashSet::new())
    }

    /// Whether a node counts as right below one whose way up is known.
    pub fn is_below(&self, node: &Node, above: &Node, way: &Ancestry) -> bool {
        self.counts_below(node, above, way.parked)
    }

    fn counts_below(&self, node: &Node, above: &Node, parked: Option<Edge>) -> bool {
        self.strongest(node).is_some_and(|edge| above.holds(edge.parent) && parked != Some(edge))
    }

    /// The children of a node. `parked` is the open place of the circle that the node may lie on: a node below it lies on
    /// no other.
    fn below(&self, node: &Node, parked: Option<Edge>, seen: &mut HashSet<AccountOrdinal>) -> Vec<Node> {
        let mut found = Vec::new();
        for member in &node.members {
            for child in self.forest.children(*member, self.at) {
                if node.holds(child) || seen.contains(&child) {
                    continue;
                }
                let below = self.node(child);
                if self.counts_below(&below, node, parked) {
                    seen.extend(&below.members);
                    found.push(below);
                }
            }
        }
        found
    }

    /// Every node of the subtree with its level below the source account's own, which comes first at level 0; each before
    /// those below it. Takes time in proportion to what is visited.
    pub fn subtree(&self, account: AccountOrdinal, mut visit: impl FnMut(&Node, usize)) {
        let ancestry = self.ancestry(account);
        let mut seen: HashSet<AccountOrdinal> = HashSet::new();
        let mut open: VecDeque<(Node, usize)> = ancestry.path.into_iter().take(1).map(|node| (node, 0)).collect();
        while let Some((node, level)) = open.pop_front() {
            visit(&node, level);
            let below = self.below(&node, ancestry.parked, &mut seen);
            open.extend(below.into_iter().map(|below| (below, level + 1)));
        }
    }
}
