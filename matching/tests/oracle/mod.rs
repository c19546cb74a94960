//! A naive resolver, straight from the rules' words: no index, no increments, nothing shared with the product's code.

pub mod looks;

use std::collections::{BTreeMap, BTreeSet};

use onefold_core::ids::Digest128;
use onefold_core::namespace::NamespaceClass;
use onefold_matching::pair::Features;
use onefold_matching::prepared::{LinkValue, Prepared};
use onefold_matching::resolve::{LinkRules, Thresholds, Verdict};

/// The last word on each record.
#[derive(Clone, Default)]
pub struct Ground {
    /// Judgements in force, by pair.
    pub judgements: BTreeMap<(Digest128, Digest128), Verdict>,
    last: BTreeMap<Digest128, (i64, bool, Digest128, Option<Prepared>)>,
}

impl Ground {
    pub fn put(&mut self, prepared: &Prepared) {
        self.offer(prepared.record, (prepared.observed_at.0, false, prepared.facts, Some(prepared.clone())));
    }

    pub fn retract(&mut self, record: Digest128, at: i64) {
        self.offer(record, (at, true, Digest128([0; 16]), None));
    }

    fn offer(&mut self, record: Digest128, word: (i64, bool, Digest128, Option<Prepared>)) {
        match self.last.get(&record) {
            Some(held) if (held.0, held.1, held.2) >= (word.0, word.1, word.2) => {}
            _ => {
                self.last.insert(record, word);
            }
        }
    }

    pub fn live(&self) -> Vec<&Prepared> {
        self.last.values().filter_map(|word| word.3.as_ref()).collect()
    }

    /// The clusters that must be, without a model.
    #[allow(dead_code, reason = "not every test that includes this goes without a model")]
    pub fn clusters(&self, rules: &LinkRules) -> BTreeSet<BTreeSet<Digest128>> {
        self.clusters_with(rules, None)
    }

    /// The clusters that must be, with the model of dice under this seed and these lines.
    pub fn clusters_with(&self, rules: &LinkRules, model: Option<(u8, Thresholds)>) -> BTreeSet<BTreeSet<Digest128>> {
        let live = self.live();
        let judge = Judge { model };
        let mut holders: BTreeMap<LinkValue, Vec<&Prepared>> = BTreeMap::new();
        for fragment in &live {
            for value in &fragment.links {
                holders.entry(*value).or_default().push(fragment);
            }
        }
        let mut links: Vec<OrderedLink<'_>> = Vec::new();
        for (value, held) in &holders {
            let rule = rules.rule(value.namespace);
            if rule.class == NamespaceClass::Supporting || is_generic(rules, value, held) {
                continue;
            }
            let members: Vec<&Prepared> =
                held.iter().copied().filter(|fragment| !contradicts(rules, &[fragment])).collect();
            // What two provably different parties hold identifies neither.
            if contradicts(rules, &members) {
                continue;
            }
            let class = if rule.class == NamespaceClass::Unique { 0 } else { 1 };
            let says = if class == 1 { says(rule.priority) } else { NOTHING };
            let groups = if class == 1 { judge.groups(members, says) } else { vec![members] };
            for members in groups {
                let facts = sorted_facts(&members);
                links.push((class, u16::MAX - rule.priority, members.len(), facts, members, says));
            }
        }
        for ((one, other), verdict) in &self.judgements {
            let pair: Vec<&Prepared> =
                live.iter().copied().filter(|fragment| [one, other].contains(&&fragment.record)).collect();
            let may_link = pair.len() == 2 && pair.iter().all(|fragment| !contradicts(rules, &[fragment]));
            if *verdict == Verdict::Same && may_link {
                links.push((-1, 0, 2, sorted_facts(&pair), pair, NOTHING));
            }
        }
        for (one, other, weight) in judge.edges(&live) {
            let pair = vec![one, other];
            if weight >= judge.lines().link_bits && pair.iter().all(|fragment| !contradicts(rules, &[fragment])) {
                let weakness = u16::MAX - (weight * 64.0).round() as u16;
                links.push((2, weakness, 2, sorted_facts(&pair), pair, NOTHING));
            }
        }
        links.sort_by(|a, b| (a.0, a.1, a.2, &a.3).cmp(&(b.0, b.1, b.2, &b.3)));

        let mut clusters: Vec<Vec<&Prepared>> = live.iter().map(|fragment| vec![*fragment]).collect();
        for (class, .., members, says) in links {
            let touches =
                |cluster: &Vec<&Prepared>| cluster.iter().any(|f| members.iter().any(|m| m.record == f.record));
            let (touched, others): (Vec<_>, Vec<_>) = clusters.iter().cloned().partition(touches);
            let whole: Vec<&Prepared> = touched.concat();
            let fits =
                whole.len() <= rules.cluster_records_max as usize && !contradicts(rules, &whole) && !self.parts(&whole);
            if fits && (class <= 0 || judge.admits(class, says, &touched)) {
                clusters = others;
                clusters.extend((!whole.is_empty()).then_some(whole));
            }
        }
        clusters.iter().map(|cluster| cluster.iter().map(|fragment| fragment.record).collect()).collect()
    }
}

impl Ground {
    /// Whether a judgement keeps two of these apart.
    fn parts(&self, whole: &[&Prepared]) -> bool {
        let has = |record: &Digest128| whole.iter().any(|fragment| fragment.record == *record);
        let mut different = self.judgements.iter().filter(|(_, verdict)| **verdict == Verdict::Different);
        different.any(|((one, other), _)| has(one) && has(other))
    }

    /// Whether the judgements in force with this one in place of an earlier one would make two parties one and keep them
    /// apart.
    #[allow(dead_code, reason = "not every test that includes this judges")]
    pub fn would_contradict(&self, one: Digest128, other: Digest128, verdict: Verdict) -> bool {
        let mut judgements = self.judgements.clone();
        judgements.insert((one.min(other), one.max(other)), verdict);
        let mut parties: Vec<BTreeSet<Digest128>> = Vec::new();
        for ((a, b), _) in judgements.iter().filter(|(_, verdict)| **verdict == Verdict::Same) {
            let (with, without): (Vec<_>, Vec<_>) =
                parties.into_iter().partition(|party| party.contains(a) || party.contains(b));
            parties = without;
            parties.push(with.into_iter().flatten().chain([*a, *b]).collect());
        }
        let mut different = judgements.iter().filter(|(_, verdict)| **verdict == Verdict::Different);
        different.any(|((a, b), _)| parties.iter().any(|party| party.contains(a) && party.contains(b)))
    }
}

/// Class, weakness, members, their facts, they themselves, and what the value says that the model does not.
type OrderedLink<'a> = (i8, u16, usize, Vec<Digest128>, Vec<&'a Prepared>, Says);

/// Bits for one party: rather than two of a household, rather than strangers.
type Says = (f32, f32);

const NOTHING: Says = (0.0, 0.0);

/// What a shared value says that the dice, which know faces only, do not.
const fn says(priority: u16) -> Says {
    if priority < 600 { (1.0, 12.0) } else { (3.25, 12.0) }
}

fn sorted_facts(members: &[&Prepared]) -> Vec<Digest128> {
    let mut facts: Vec<Digest128> = members.iter().map(|fragment| fragment.facts).collect();
    facts.sort();
    facts
}

/// The naive reading of a model.
struct Judge {
    model: Option<(u8, Thresholds)>,
}

impl Judge {
    fn lines(&self) -> Thresholds {
        self.model.map_or(looks::LINES, |(_, lines)| lines)
    }

    fn weight(&self, one: &Prepared, other: &Prepared) -> Option<f32> {
        let (seed, _) = self.model?;
        let face = |fragment: &Prepared| Some(compared(fragment)?.texts().next()?.to_owned());
        Some(looks::weight(seed, &face(one)?, &face(other)?))
    }

    fn contradict(&self, one: &Prepared, other: &Prepared, says: Says) -> bool {
        let plainly = |weight: f32| weight + says.1 < self.lines().conflict_bits && weight + says.0 < -1.0;
        self.weight(one, other).is_some_and(plainly)
    }

    /// Holders that are not torn between two that contradict each other, in classes.
    fn groups<'a>(&self, members: Vec<&'a Prepared>, says: Says) -> Vec<Vec<&'a Prepared>> {
        let contradict = |one: &Prepared, other: &Prepared| self.contradict(one, other, says);
        let torn = |holder: &Prepared| {
            members
                .iter()
                .any(|a| members.iter().any(|b| contradict(a, b) && !contradict(holder, a) && !contradict(holder, b)))
        };
        let firm: Vec<&Prepared> = members.iter().copied().filter(|holder| !torn(holder)).collect();
        let mut groups: Vec<Vec<&Prepared>> = Vec::new();
        for holder in firm {
            match groups.iter_mut().find(|group| group.iter().all(|other| !contradict(holder, other))) {
                Some(group) => group.push(holder),
                None => groups.push(vec![holder]),
            }
        }
        groups
    }

    /// Pairs that share a key of a block within its bound, if they weigh as much as a question is worth.
    fn edges<'a>(&self, live: &[&'a Prepared]) -> Vec<(&'a Prepared, &'a Prepared, f32)> {
        let keys = |fragment: &Prepared| -> BTreeSet<String> {
            let texts = fragment.features.iter().flat_map(|features| features.texts().skip(1));
            texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
        };
        let mut blocks: BTreeMap<String, Vec<&Prepared>> = BTreeMap::new();
        for fragment in live {
            for key in keys(fragment) {
                blocks.entry(key).or_default().push(fragment);
            }
        }
        let mut edges = BTreeMap::new();
        for block in blocks.values().filter(|block| block.len() <= self.lines().block_records_max as usize) {
            for one in block {
                for other in block.iter().filter(|other| one.record < other.record) {
                    if let Some(weight) = self.weight(one, other)
                        && weight >= self.lines().review_bits
                    {
                        edges.insert((one.record, other.record), (*one, *other, weight));
                    }
                }
            }
        }
        edges.into_values().collect()
    }

    /// No pair across contradicts, and the mean does not speak against it, among the first sixteen of each cluster by content,
    /// and 1,024 pairs; and where a pair speaks against it, the clusters as wholes match well enough.
    fn admits(&self, class: i8, says: Says, clusters: &[Vec<&Prepared>]) -> bool {
        let mut sorted: Vec<Vec<&Prepared>> = clusters.to_vec();
        for cluster in &mut sorted {
            cluster.sort_by_key(|fragment| fragment.facts);
        }
        sorted.sort_by_key(|cluster| cluster[0].facts);
        let mut pairs = Vec::new();
        for (at, one) in sorted.iter().enumerate() {
            for other in &sorted[at + 1..] {
                for a in one.iter().take(16) {
                    pairs.extend(other.iter().take(16).map(|b| (*a, *b)));
                }
            }
        }
        let conflict_bits = self.lines().conflict_bits;
        // Of what strangers would hardly share, strangers' odds count only where they contradict each other all the same.
        let told = |weight: f32| {
            let (kin, strangers) = (weight + says.0, weight + says.1);
            if class < 2 && kin < -1.0 && strangers < conflict_bits { strangers } else { kin }
        };
        let first = pairs.into_iter().take(1_024);
        let weights: Vec<f32> = first.filter_map(|(a, b)| self.weight(a, b)).map(told).collect();
        let total: f32 = weights.iter().map(|weight| weight.clamp(-12.0, 12.0)).sum();
        if weights.iter().any(|weight| *weight < conflict_bits) || total < -(weights.len() as f32) {
            return false;
        }
        let harmless = conflict_bits.max(-1.0);
        weights.iter().all(|weight| *weight >= harmless) || self.match_wholly(class, says, &sorted)
    }

    fn match_wholly(&self, class: i8, says: Says, sorted: &[Vec<&Prepared>]) -> bool {
        let Some((seed, lines)) = self.model else { return true };
        let least = if class == 2 { (lines.link_bits + 1.0).min(4.0) } else { -1.5 };
        let faces = |cluster: &[&Prepared]| -> Vec<String> {
            let known = cluster.iter().take(16).filter_map(|fragment| compared(fragment)?.texts().next());
            known.map(str::to_owned).collect()
        };
        let mut looked_at = 0;
        for (at, one) in sorted.iter().enumerate() {
            for other in &sorted[at + 1..] {
                looked_at += one.len().min(16) * other.len().min(16);
                let (one, other) = (faces(one), faces(other));
                let known = !one.is_empty() && !other.is_empty();
                if looked_at <= 1_024 && known && looks::whole_weight(seed, one, other, class == 2) + says.0 < least {
                    return false;
                }
            }
        }
        true
    }
}

/// What is compared of a fragment: of a correction nothing.
fn compared(fragment: &Prepared) -> Option<&Features> {
    fragment.features.as_ref().filter(|_| !fragment.corrects)
}

fn contradicts(rules: &LinkRules, fragments: &[&Prepared]) -> bool {
    let all: BTreeSet<LinkValue> = fragments.iter().flat_map(|fragment| fragment.links.iter().copied()).collect();
    let unique: Vec<_> = all.iter().filter(|v| rules.rule(v.namespace).class == NamespaceClass::Unique).collect();
    unique.iter().any(|a| unique.iter().any(|b| a.namespace == b.namespace && a.digest != b.digest))
}

fn is_generic(rules: &LinkRules, value: &LinkValue, holders: &[&Prepared]) -> bool {
    let limit = usize::from(rules.rule(value.namespace).diversity_limit);
    let names: BTreeSet<u64> = holders.iter().filter_map(|fragment| fragment.name).collect();
    let mut uniques: BTreeMap<u16, BTreeSet<Digest128>> = BTreeMap::new();
    for other in holders.iter().filter(|f| !contradicts(rules, &[f])).flat_map(|fragment| &fragment.links) {
        if other.namespace != value.namespace && rules.rule(other.namespace).class == NamespaceClass::Unique {
            uniques.entry(other.namespace.0).or_default().insert(other.digest);
        }
    }
    holders.len() > rules.value_records_max as usize
        || names.len() > limit
        || uniques.values().any(|values| values.len() > limit)
}
