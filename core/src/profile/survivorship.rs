//! Which value survives when sources disagree.
//!
//! The unit of choice is an attribute, or a group of attributes (`address.street`, `address.city`) that is taken whole
//! from one fragment, so that no street of one town stands beside the postcode of another. A rule for the single name
//! (`address.country`) takes that name out of its group.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Detail, GoldenAttribute, GoldenValue, Member};
use crate::config::{Survivorship, TenantConfig};
use crate::fragment::{AttributeValue, Vocabulary};
use crate::ids::AttributeId;

/// What one fragment says about one unit: its values by name, in the order sent, each with the form in which it is
/// compared.
struct Candidate<'a> {
    /// Place of its member, newest first.
    rank: usize,
    member: Member<'a>,
    values: Vec<(AttributeId, &'a AttributeValue, Key<'a>)>,
}

impl<'a> Candidate<'a> {
    /// Its values as a set.
    fn signature(&self) -> Vec<(AttributeId, Key<'a>)> {
        let mut signature: Vec<_> = self.values.iter().map(|(name, _, key)| (*name, *key)).collect();
        signature.sort_unstable();
        signature.dedup();
        signature
    }
}

/// A value as two sources agree on it: case and spacing of a text do not count. Compared as it is read, since nearly all
/// values that meet are equal to the byte and none needs a copy.
#[derive(Clone, Copy)]
struct Key<'a>(&'a AttributeValue);

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        use AttributeValue::{Flag, Number, Text};
        match (self.0, other.0) {
            (Text(left), Text(right)) if left == right => Ordering::Equal,
            (Text(left), Text(right)) => folded(left).cmp(folded(right)),
            (Number(left), Number(right)) => left.to_bits().cmp(&right.to_bits()),
            (Flag(left), Flag(right)) => left.cmp(right),
            (left, right) => kind(left).cmp(&kind(right)),
        }
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key<'_> {}

const fn kind(value: &AttributeValue) -> u8 {
    match value {
        AttributeValue::Text(_) => 0,
        AttributeValue::Number(_) => 1,
        AttributeValue::Flag(_) => 2,
    }
}

/// The letters of a text in lower case, a space in front of each word.
fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.split_whitespace().flat_map(|word| std::iter::once(' ').chain(word.chars().flat_map(char::to_lowercase)))
}

fn is_blank(value: &AttributeValue) -> bool {
    value.as_text().is_some_and(|text| text.trim().is_empty())
}

/// Every attribute of the members, newest first, with the values that its rule picks.
pub(super) fn pick_all<'a>(
    members: &[Member<'a>],
    config: &'a TenantConfig,
    detail: Detail,
) -> Vec<GoldenAttribute<'a>> {
    let mut units: BTreeMap<&str, (Survivorship, bool, Vec<Candidate<'a>>)> = BTreeMap::new();
    for (rank, member) in members.iter().enumerate() {
        for attribute in member.fragment.attributes.iter().filter(|attribute| !is_blank(&attribute.value)) {
            let name = config.attribute(attribute.name);
            let (unit, rule, grouped) = unit_of(name, config);
            let (_, _, candidates) = units.entry(unit).or_insert_with(|| (rule, grouped, Vec::new()));
            let value = (attribute.name, &attribute.value, Key(&attribute.value));
            match candidates.last_mut() {
                Some(last) if last.rank == rank => last.values.push(value),
                _ => candidates.push(Candidate { rank, member: *member, values: vec![value] }),
            }
        }
    }
    let mut golden: Vec<GoldenAttribute<'a>> = Vec::new();
    for (rule, grouped, candidates) in units.into_values() {
        if grouped {
            pick_group(rule, &candidates, detail, &mut golden);
        } else {
            golden.push(pick_single(rule, candidates, detail));
        }
    }
    golden.sort_by_key(|attribute| attribute.name);
    golden
}

/// The unit that an attribute is picked with, its rule, and whether it is a group.
fn unit_of<'a>(name: &'a str, config: &TenantConfig) -> (&'a str, Survivorship, bool) {
    if let Some(rule) = config.survivorship.get(name) {
        return (name, *rule, false);
    }
    match name.rsplit_once('.') {
        Some((group, _)) => {
            (group, config.survivorship.get(group).copied().unwrap_or(config.default_survivorship), true)
        }
        None => (name, config.default_survivorship, false),
    }
}

fn pick_single<'a>(rule: Survivorship, candidates: Vec<Candidate<'a>>, detail: Detail) -> GoldenAttribute<'a> {
    let name = candidates[0].values[0].0;
    // One entry per value and fragment: a fragment may hold several values of one name.
    let mut entries: Vec<Entry<'a>> = Vec::with_capacity(candidates.len());
    for Candidate { rank, member, values } in candidates {
        let values = values.into_iter().enumerate();
        entries.extend(values.map(|(place, (_, value, key))| Entry { rank, place, member, value, key }));
    }
    let mut values = ranked(rule, entries);
    let mut losers = if rule == Survivorship::AllValues { Vec::new() } else { values.split_off(1) };
    if detail == Detail::Golden {
        losers.clear();
    }
    GoldenAttribute { name, rule, values, losers }
}

struct Entry<'a> {
    rank: usize,
    place: usize,
    member: Member<'a>,
    value: &'a AttributeValue,
    key: Key<'a>,
}

/// Distinct values in the order of the rule; each stands for all entries that agree with it. Never empty.
fn ranked<'a>(rule: Survivorship, mut entries: Vec<Entry<'a>>) -> Vec<GoldenValue<'a>> {
    entries.sort_by(|a, b| a.key.cmp(&b.key).then_with(|| in_order(rule, a, b)));
    let mut groups: Vec<(&Entry<'a>, u32)> = entries
        .chunk_by(|a, b| a.key == b.key)
        .map(|group| (&group[0], records(group.iter().map(|entry| entry.rank))))
        .collect();
    groups.sort_by(|(a, a_support), (b, b_support)| {
        let by_support = if rule == Survivorship::MostFrequent { b_support.cmp(a_support) } else { Ordering::Equal };
        corrected(&a.member, &b.member).then(by_support).then_with(|| in_order(rule, a, b))
    });
    groups
        .into_iter()
        .map(|(entry, support)| GoldenValue { value: entry.value, provenance: entry.member.provenance(), support })
        .collect()
}

/// How many distinct records these ranks are of: one record that says a thing twice says it once.
fn records(ranks: impl Iterator<Item = usize>) -> u32 {
    let mut ranks: Vec<usize> = ranks.collect();
    ranks.sort_unstable();
    ranks.dedup();
    u32::try_from(ranks.len()).unwrap_or(u32::MAX)
}

/// The rule's order of single entries; members are ranked newest first, with ties already broken by content.
fn in_order(rule: Survivorship, a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
    let by_rule = match rule {
        Survivorship::MostTrusted => b.member.trust.cmp(&a.member.trust),
        Survivorship::Longest => length(b.value).cmp(&length(a.value)),
        Survivorship::MostRecent | Survivorship::MostFrequent | Survivorship::AllValues => Ordering::Equal,
    };
    corrected(&a.member, &b.member).then(by_rule).then(a.rank.cmp(&b.rank)).then(a.place.cmp(&b.place))
}

/// What a steward corrected comes before all else, under every rule.
fn corrected(a: &Member<'_>, b: &Member<'_>) -> Ordering {
    b.corrects().cmp(&a.corrects())
}

/// Characters of a text; a number or a flag has no length.
fn length(value: &AttributeValue) -> usize {
    value.as_text().map_or(0, |text| text.trim().chars().count())
}

/// Picks whole fragments for a group and spreads their values over its attributes.
fn pick_group<'a>(
    rule: Survivorship,
    candidates: &[Candidate<'a>],
    detail: Detail,
    golden: &mut Vec<GoldenAttribute<'a>>,
) {
    let order = group_order(rule, candidates);
    let winners = if rule == Survivorship::AllValues { order.len() } else { 1 };
    let shown = if detail == Detail::Golden { winners } else { order.len() };
    let mut support: BTreeMap<(AttributeId, Key<'a>), u32> = BTreeMap::new();
    for candidate in candidates {
        candidate.signature().into_iter().for_each(|value| *support.entry(value).or_default() += 1);
    }
    let mut attributes: BTreeMap<AttributeId, GoldenAttribute<'a>> = BTreeMap::new();
    for (place, at) in order.into_iter().take(shown).enumerate() {
        let candidate = &candidates[at];
        for (name, value, key) in &candidate.values {
            // Taken out once shown: what a fragment before this one gave is told there, with its support.
            let Some(support) = support.remove(&(*name, *key)) else { continue };
            let value = GoldenValue { value, provenance: candidate.member.provenance(), support };
            let empty = || GoldenAttribute { name: *name, rule, values: Vec::new(), losers: Vec::new() };
            let attribute = attributes.entry(*name).or_insert_with(empty);
            if place < winners { attribute.values.push(value) } else { attribute.losers.push(value) }
        }
    }
    golden.extend(attributes.into_values());
}

/// The candidates of a group by the rule, best first, as indexes.
fn group_order(rule: Survivorship, candidates: &[Candidate<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    if candidates.len() < 2 {
        return order;
    }
    let weights: Vec<usize> = match rule {
        Survivorship::MostTrusted => candidates.iter().map(|candidate| usize::from(candidate.member.trust)).collect(),
        Survivorship::Longest => candidates
            .iter()
            .map(|candidate| candidate.values.iter().map(|(_, value, _)| length(value)).sum())
            .collect(),
        Survivorship::MostFrequent => {
            let signatures: Vec<_> = candidates.iter().map(Candidate::signature).collect();
            let mut counts: BTreeMap<&[(AttributeId, Key<'_>)], usize> = BTreeMap::new();
            signatures.iter().for_each(|signature| *counts.entry(signature).or_default() += 1);
            signatures.iter().map(|signature| counts[signature.as_slice()]).collect()
        }
        Survivorship::MostRecent | Survivorship::AllValues => vec![0; candidates.len()],
    };
    order.sort_by(|a, b| {
        let by_rule = weights[*b].cmp(&weights[*a]).then(candidates[*a].rank.cmp(&candidates[*b].rank));
        corrected(&candidates[*a].member, &candidates[*b].member).then(by_rule)
    });
    // A correction is no part of what it corrects.
    if rule != Survivorship::AllValues && !candidates[order[0]].member.corrects() {
        put_fullest_first(&mut order, candidates);
    }
    order
}

/// A fragment that says nothing but a part of what another says is no rival to it: the newest postcode does not drive out
/// the whole address that it is part of. Each step takes a fuller fragment, so there are at most as many as attributes.
fn put_fullest_first(order: &mut [usize], candidates: &[Candidate<'_>]) {
    loop {
        let best = candidates[order[0]].signature();
        let fuller = order.iter().skip(1).position(|at| {
            let other = &candidates[*at];
            other.values.len() > best.len() && {
                let other = other.signature();
                other.len() > best.len() && best.iter().all(|value| other.binary_search(value).is_ok())
            }
        });
        match fuller {
            Some(place) => order[..=place + 1].rotate_right(1),
            None => return,
        }
    }
}
