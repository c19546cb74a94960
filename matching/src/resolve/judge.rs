//! Judgements of stewards: what outranks evidence.
//!
//! A judgement speaks of two source records, holds whatever their fragments say from now on, and waits where one of them
//! is not live. *Same* is a link stronger than all others (law 5 still bars two values of a unique namespace); *different*
//! keeps the clusters of both apart. The accepted judgements are a set: their order does not show in the clusters.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use onefold_core::ids::Digest128;
use petgraph::algo::astar;
use petgraph::graph::{NodeIndex, UnGraph};
use smallvec::SmallVec;

use crate::index::records::flag;
use crate::resolve::Engine;

/// Judgements in force at one time.
pub const JUDGEMENTS_MAX: usize = 1_000_000;

pub use onefold_core::judgement::Verdict;

/// A judgement in force. Who judged and why lies with the caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// What was said.
    pub verdict: Verdict,
    /// The match weight that the steward saw, in bits: later evidence is held against it.
    pub seen_bits: Option<f32>,
    /// When it ends, in microseconds since 1970; `None` for never. See [`Engine::expire_judgements`].
    pub expires_at: Option<i64>,
}

/// A judgement that others in force contradict, or one too many.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JudgementRefused {
    /// A record cannot be compared with itself.
    #[error("a judgement speaks of two different records")]
    OneRecord,
    /// Taken with these judgements, one party would be two: the shortest chain from the first record to the second.
    #[error("the judgement contradicts a chain of {} judgements in force", .0.len())]
    Contradiction(Vec<(Digest128, Digest128, Verdict)>),
    /// [`JUDGEMENTS_MAX`] are in force.
    #[error("more than {JUDGEMENTS_MAX} judgements are in force")]
    TooMany,
}

/// The judgements in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judgements {
    /// By pair, the smaller digest first.
    pairs: BTreeMap<(Digest128, Digest128), Judgement>,
    /// The other records that one was judged with.
    others: HashMap<Digest128, SmallVec<[Digest128; 2]>>,
}

fn pair(one: Digest128, other: Digest128) -> (Digest128, Digest128) {
    (one.min(other), one.max(other))
}

impl Judgements {
    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub(crate) fn get(&self, one: Digest128, other: Digest128) -> Option<&Judgement> {
        self.pairs.get(&pair(one, other))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Digest128, Digest128, &Judgement)> {
        self.pairs.iter().map(|((one, other), judgement)| (*one, *other, judgement))
    }

    /// The records that this one was judged with, and what was said.
    pub(crate) fn of(&self, record: Digest128) -> impl Iterator<Item = (Digest128, Verdict)> + '_ {
        let others = self.others.get(&record).map_or(&[][..], SmallVec::as_slice);
        others.iter().filter_map(move |other| Some((*other, self.get(record, *other)?.verdict)))
    }

    pub(crate) fn set(&mut self, one: Digest128, other: Digest128, judgement: Option<Judgement>) {
        match judgement {
            Some(judgement) => {
                if self.pairs.insert(pair(one, other), judgement).is_none() {
                    self.others.entry(one).or_default().push(other);
                    self.others.entry(other).or_default().push(one);
                }
            }
            None => {
                if self.pairs.remove(&pair(one, other)).is_some() {
                    for (from, to) in [(one, other), (other, one)] {
                        if let Some(others) = self.others.get_mut(&from) {
                            others.retain(|held| *held != to);
                            if others.is_empty() {
                                self.others.remove(&from);
                            }
                        }
                    }
                }
            }
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.others.allocation_size() + self.pairs.len() * (size_of::<Judgement>() + 2 * size_of::<Digest128>()) * 2
    }

    /// Records that judgements make one party with this one, each with how many judgements lead to it, as if nothing had been
    /// said of one pair.
    fn party_of(&self, record: Digest128, but: (Digest128, Digest128)) -> HashMap<Digest128, u32> {
        let mut party = HashMap::from_iter([(record, 0)]);
        let mut open = vec![record];
        let mut next = 0;
        while let Some(at) = open.get(next).copied() {
            next += 1;
            let steps = party.get(&at).copied().unwrap_or(0) + 1;
            for (other, verdict) in self.of(at) {
                if verdict == Verdict::Same && pair(at, other) != but && !party.contains_key(&other) {
                    party.insert(other, steps);
                    open.push(other);
                }
            }
        }
        party
    }

    /// The shortest chain that speaks against this verdict; what was said of the two before does not.
    fn contradiction(
        &self,
        one: Digest128,
        other: Digest128,
        verdict: Verdict,
    ) -> Option<Vec<(Digest128, Digest128, Verdict)>> {
        if verdict == Verdict::Unsure {
            return None;
        }
        let but = pair(one, other);
        let (near, far) = (self.party_of(one, but), self.party_of(other, but));
        if verdict == Verdict::Different {
            return near.contains_key(&other).then(|| self.chain(one, other, but));
        }
        if near.contains_key(&other) {
            return None;
        }
        // Some record of the one party was judged to differ from some record of the other.
        let mut worst: Option<(u32, Digest128, Digest128)> = None;
        for (a, steps) in &near {
            for (b, verdict) in self.of(*a) {
                if let (Verdict::Different, false, Some(further)) = (verdict, pair(*a, b) == but, far.get(&b)) {
                    let found = (steps + further, *a, b);
                    worst = Some(worst.map_or(found, |worst| worst.min(found)));
                }
            }
        }
        let (_, a, b) = worst?;
        let mut chain = self.chain(one, a, but);
        chain.push((a, b, Verdict::Different));
        chain.extend(self.chain(b, other, but));
        Some(chain)
    }

    /// The fewest judgements of one party between two records, of others than one pair.
    fn chain(
        &self,
        from: Digest128,
        to: Digest128,
        but: (Digest128, Digest128),
    ) -> Vec<(Digest128, Digest128, Verdict)> {
        let mut records: Vec<Digest128> = self.party_of(from, but).into_keys().collect();
        records.sort_unstable();
        let node_of: HashMap<Digest128, NodeIndex> =
            records.iter().enumerate().map(|(node, record)| (*record, NodeIndex::new(node))).collect();
        let mut graph: UnGraph<(), ()> = UnGraph::with_capacity(records.len(), records.len());
        for _ in &records {
            graph.add_node(());
        }
        for (one, node) in &node_of {
            for (other, verdict) in self.of(*one) {
                let counts = *one < other && (*one, other) != but;
                if let (Verdict::Same, true, Some(other)) = (verdict, counts, node_of.get(&other)) {
                    graph.add_edge(*node, *other, ());
                }
            }
        }
        let (Some(start), Some(end)) = (node_of.get(&from), node_of.get(&to)) else { return Vec::new() };
        let path = astar(&graph, *start, |node| node == *end, |_| 1u32, |_| 0).map(|(_, path)| path);
        let path = path.unwrap_or_default();
        path.windows(2).map(|step| (records[step[0].index()], records[step[1].index()], Verdict::Same)).collect()
    }
}

impl Engine {
    /// Whether this judgement could be taken; changes nothing.
    ///
    /// # Errors
    /// [`JudgementRefused`], with the shortest chain that it contradicts.
    pub fn check_judgement(&self, one: Digest128, other: Digest128, verdict: Verdict) -> Result<(), JudgementRefused> {
        if one == other {
            return Err(JudgementRefused::OneRecord);
        }
        if self.judgements.pairs.len() >= JUDGEMENTS_MAX && self.judgements.get(one, other).is_none() {
            return Err(JudgementRefused::TooMany);
        }
        match self.judgements.contradiction(one, other, verdict) {
            Some(chain) => Err(JudgementRefused::Contradiction(chain)),
            None => Ok(()),
        }
    }

    /// Takes a judgement on two source records, in place of an earlier one on the two. Seen after [`Engine::settle`].
    ///
    /// # Errors
    /// [`JudgementRefused`]; nothing is changed then.
    pub fn judge_pair(
        &mut self,
        one: Digest128,
        other: Digest128,
        judgement: Judgement,
    ) -> Result<(), JudgementRefused> {
        self.check_judgement(one, other, judgement.verdict)?;
        self.take_judgement(one, other, judgement);
        Ok(())
    }

    /// The same for one of several that were checked together: on its way to them it may contradict what another of them is
    /// about to replace.
    pub fn take_judgement(&mut self, one: Digest128, other: Digest128, judgement: Judgement) {
        self.judgements.set(one, other, Some(judgement));
        self.judgement_turned(one, other);
    }

    /// Takes a judgement back; answers whether there was one.
    pub fn withdraw_judgement(&mut self, one: Digest128, other: Digest128) -> bool {
        let known = self.judgements.get(one, other).is_some();
        self.judgements.set(one, other, None);
        if known {
            self.judgement_turned(one, other);
        }
        known
    }

    /// Takes back what has ended by this time, in microseconds since 1970; answers with the pairs, in order.
    pub fn expire_judgements(&mut self, now: i64) -> Vec<(Digest128, Digest128)> {
        let ended = |judgement: &Judgement| judgement.expires_at.is_some_and(|at| at <= now);
        let pairs: Vec<(Digest128, Digest128)> =
            self.judgements.iter().filter(|(.., judgement)| ended(judgement)).map(|(a, b, _)| (a, b)).collect();
        for (one, other) in &pairs {
            self.withdraw_judgement(*one, *other);
        }
        pairs
    }

    /// The judgement in force on two records.
    #[must_use]
    pub fn judgement(&self, one: Digest128, other: Digest128) -> Option<Judgement> {
        self.judgements.get(one, other).copied()
    }

    /// All judgements in force, by pair.
    pub fn judgements(&self) -> impl Iterator<Item = (Digest128, Digest128, Judgement)> + '_ {
        self.judgements.iter().map(|(one, other, judgement)| (one, other, *judgement))
    }

    fn judgement_turned(&mut self, one: Digest128, other: Digest128) {
        for record in [one, other] {
            if let Some(record) = self.records.find(record)
                && self.records.warm[record].has(flag::LIVE)
            {
                self.touch_record(record, flag::REOPENED);
            }
        }
    }

    /// The live records that this one is judged with.
    pub(super) fn judged_with(&self, record: u32) -> SmallVec<[(u32, Verdict); 2]> {
        if self.judgements.is_empty() {
            return SmallVec::new();
        }
        self.judgements
            .of(self.records.cold[record].digest)
            .filter_map(|(other, verdict)| {
                let other = self.records.find(other)?;
                self.records.warm[other].has(flag::LIVE).then_some((other, verdict))
            })
            .collect()
    }

    /// The records that a judgement links this one with, where both may link.
    pub(super) fn links_by_judgement(&self, record: u32) -> SmallVec<[u32; 2]> {
        if !self.records.warm[record].links() {
            return SmallVec::new();
        }
        let party = self.records.warm[record].party();
        let links = |other: &u32| self.records.warm[*other].links() && self.records.warm[*other].party() == party;
        let judged = self.judged_with(record).into_iter();
        judged.filter(|(_, verdict)| *verdict == Verdict::Same).map(|(other, _)| other).filter(links).collect()
    }

    /// Whether a judgement keeps this record from another live one.
    pub(super) fn is_kept_apart(&self, record: u32) -> bool {
        self.judged_with(record).iter().any(|(_, verdict)| *verdict == Verdict::Different)
    }

    /// Pairs of these records that judgements keep apart.
    pub(super) fn kept_apart(&self, node_of: &HashMap<u32, u32>) -> Vec<(u32, u32)> {
        if self.judgements.is_empty() {
            return Vec::new();
        }
        let mut pairs = HashSet::new();
        for (record, node) in node_of {
            for (other, verdict) in self.judged_with(*record) {
                if let (Verdict::Different, Some(other)) = (verdict, node_of.get(&other)) {
                    pairs.insert((*node.min(other), *node.max(other)));
                }
            }
        }
        let mut pairs: Vec<(u32, u32)> = pairs.into_iter().collect();
        pairs.sort_unstable();
        pairs
    }
}
