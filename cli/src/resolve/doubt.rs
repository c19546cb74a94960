//! The worst differences from the truth, each with its evidence.

use std::collections::{BTreeMap, HashMap, VecDeque};

use onefold_core::ids::{Digest128, NamespaceId, ProfileOrdinal};
use onefold_core::namespace::NamespaceClass;
use onefold_matching::prepared::LinkValue;
use onefold_matching::resolve::{GenericReason, ValueStanding};
use serde::Serialize;

use super::link::Linked;

/// How many of each kind are told.
pub const DOUBTS_SHOWN: usize = 10;
/// Records of one part that are looked at for a shared value.
const PART_RECORDS_MAX: usize = 200;

/// A shared value that ties two records, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tie {
    /// The record on this side.
    pub from: String,
    /// The record on the other.
    pub to: String,
    /// The namespace of the shared value.
    pub namespace: String,
    /// The value, masked.
    pub value: String,
}

/// A profile that holds more than one true party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FalseLink {
    /// Pairs of records that are wrong because of it.
    pub pairs: u64,
    /// Records in the profile.
    pub records: u64,
    /// True clusters in it.
    pub clusters: u64,
    /// The shortest chain of shared values from one true cluster to another.
    pub because: Vec<Tie>,
}

/// A true party that lies in more than one profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FalseSplit {
    /// Pairs of records that are missed because of it.
    pub pairs: u64,
    /// Records in the cluster.
    pub records: u64,
    /// Profiles that it lies in.
    pub profiles: u64,
    /// A record of the largest part.
    pub one: String,
    /// A record of the next one.
    pub other: String,
    /// Why these two are not linked.
    pub because: String,
}

type Rows<'a> = BTreeMap<u32, Vec<&'a super::ResolvedRow>>;

fn scored(linked: &Linked) -> impl Iterator<Item = &super::ResolvedRow> {
    linked.rows.iter().filter(|row| row.record.is_some() && !row.repeated)
}

const fn pairs_of(records: u64) -> u64 {
    records * records.saturating_sub(1) / 2
}

/// Pairs within parts subtracted from pairs of the whole.
fn pairs_between(parts: &Rows<'_>) -> u64 {
    let whole: u64 = parts.values().map(|part| part.len() as u64).sum();
    pairs_of(whole) - parts.values().map(|part| pairs_of(part.len() as u64)).sum::<u64>()
}

/// Parts by size, the largest first; ties by the number of the part.
fn by_size<'a, 'b>(parts: &'b Rows<'a>) -> Vec<(u32, &'b Vec<&'a super::ResolvedRow>)> {
    let mut parts: Vec<_> = parts.iter().map(|(part, rows)| (*part, rows)).collect();
    parts.sort_by_key(|(part, rows)| (usize::MAX - rows.len(), *part));
    parts
}

/// The profiles with the most wrong pairs among labelled records, worst first.
#[must_use]
pub fn false_links(linked: &Linked) -> Vec<FalseLink> {
    let mut profiles: BTreeMap<ProfileOrdinal, Rows<'_>> = BTreeMap::new();
    for row in scored(linked) {
        if let Some(truth) = row.truth {
            profiles.entry(row.profile).or_default().entry(truth).or_default().push(row);
        }
    }
    let mut worst: Vec<(u64, ProfileOrdinal, Rows<'_>)> = profiles
        .into_iter()
        .filter(|(_, parts)| parts.len() > 1)
        .map(|(profile, parts)| (pairs_between(&parts), profile, parts))
        .collect();
    worst.sort_by_key(|(pairs, profile, _)| (u64::MAX - pairs, *profile));
    worst.truncate(DOUBTS_SHOWN);
    let names = names(linked);
    worst
        .into_iter()
        .map(|(pairs, profile, parts)| FalseLink {
            pairs,
            records: linked.engine.members(profile).len() as u64,
            clusters: parts.len() as u64,
            because: crossing(linked, profile, &parts, &names),
        })
        .collect()
}

fn names(linked: &Linked) -> HashMap<Digest128, &super::ResolvedRow> {
    scored(linked).filter_map(|row| Some((row.record?, row))).collect()
}

fn links(linked: &Linked, value: LinkValue) -> bool {
    let class = linked.config.namespace(value.namespace).map(|namespace| namespace.class);
    class.is_some_and(|class| class != NamespaceClass::Supporting)
        && matches!(linked.engine.value(value), ValueStanding::Profiles { .. })
}

/// The shortest chain of shared values from the largest true cluster of a profile to a record of another.
fn crossing(
    linked: &Linked,
    profile: ProfileOrdinal,
    parts: &Rows<'_>,
    names: &HashMap<Digest128, &super::ResolvedRow>,
) -> Vec<Tie> {
    let Some((largest, start)) = by_size(parts).into_iter().next() else { return Vec::new() };
    let members: Vec<Digest128> = linked.engine.members(profile).iter().map(|member| member.digest).collect();
    let mut holders: BTreeMap<LinkValue, Vec<Digest128>> = BTreeMap::new();
    for member in &members {
        for value in linked.engine.links_of(*member) {
            holders.entry(value).or_default().push(*member);
        }
    }
    holders.retain(|value, holders| holders.len() > 1 && links(linked, *value));
    let mut values_of: HashMap<Digest128, Vec<LinkValue>> = HashMap::new();
    for (value, holders) in &holders {
        for holder in holders {
            values_of.entry(*holder).or_default().push(*value);
        }
    }
    let mut came: HashMap<Digest128, Option<(Digest128, LinkValue)>> = HashMap::new();
    let mut open: VecDeque<Digest128> = start.iter().filter_map(|row| row.record).collect();
    came.extend(open.iter().map(|record| (*record, None)));
    let mut end = None;
    'search: while let Some(record) = open.pop_front() {
        for value in values_of.get(&record).into_iter().flatten() {
            for holder in holders.get(value).into_iter().flatten() {
                if came.contains_key(holder) {
                    continue;
                }
                came.insert(*holder, Some((record, *value)));
                open.push_back(*holder);
                let truth = names.get(holder).and_then(|row| row.truth);
                if truth.is_some_and(|truth| truth != largest) {
                    end = Some(*holder);
                    break 'search;
                }
            }
        }
    }
    let mut chain = Vec::new();
    let name = |record: Digest128| names.get(&record).map_or_else(String::new, |row| row.record_id.to_string());
    while let Some(here) = end {
        let Some(Some((from, value))) = came.get(&here) else { break };
        chain.push(tie(linked, name(*from), name(here), *value));
        end = Some(*from);
    }
    chain.reverse();
    chain
}

fn tie(linked: &Linked, from: String, to: String, value: LinkValue) -> Tie {
    Tie { from, to, namespace: namespace(linked, value.namespace), value: masked(linked, value) }
}

pub(super) fn namespace(linked: &Linked, id: NamespaceId) -> String {
    linked.config.namespace(id).map_or_else(String::new, |namespace| namespace.name.clone())
}

pub(super) fn masked(linked: &Linked, value: LinkValue) -> String {
    linked.masked.get(&value).map_or_else(|| "***".to_owned(), ToString::to_string)
}

/// The true clusters with the most missed pairs, worst first.
#[must_use]
pub fn false_splits(linked: &Linked) -> Vec<FalseSplit> {
    let mut clusters: BTreeMap<u32, BTreeMap<u32, Vec<&super::ResolvedRow>>> = BTreeMap::new();
    for row in scored(linked) {
        if let Some(truth) = row.truth {
            clusters.entry(truth).or_default().entry(row.profile.0).or_default().push(row);
        }
    }
    let mut worst: Vec<(u64, u32, Rows<'_>)> = clusters
        .into_iter()
        .filter(|(_, parts)| parts.len() > 1)
        .map(|(truth, parts)| (pairs_between(&parts), truth, parts))
        .collect();
    worst.sort_by_key(|(pairs, truth, _)| (u64::MAX - pairs, *truth));
    worst.truncate(DOUBTS_SHOWN);
    worst
        .into_iter()
        .map(|(pairs, _, parts)| {
            let sizes = by_size(&parts);
            let (one, other, because) = why_apart(linked, sizes[0].1, sizes[1].1);
            FalseSplit {
                pairs,
                records: parts.values().map(|part| part.len() as u64).sum(),
                profiles: parts.len() as u64,
                one,
                other,
                because,
            }
        })
        .collect()
}

/// Two records, one of each part, that come nearest to being linked, and what stands between them.
fn why_apart(linked: &Linked, one: &[&super::ResolvedRow], other: &[&super::ResolvedRow]) -> (String, String, String) {
    let values = |part: &[&super::ResolvedRow]| -> BTreeMap<LinkValue, String> {
        let mut values = BTreeMap::new();
        for row in part.iter().take(PART_RECORDS_MAX) {
            for value in row.record.map(|record| linked.engine.links_of(record)).unwrap_or_default() {
                values.entry(value).or_insert_with(|| row.record_id.to_string());
            }
        }
        values
    };
    let (left, right) = (values(one), values(other));
    for (value, record) in &left {
        if let Some(partner) = right.get(value) {
            return (record.clone(), partner.clone(), standing(linked, *value));
        }
    }
    let first = |part: &[&super::ResolvedRow]| part.first().map_or_else(String::new, |row| row.record_id.to_string());
    let kinds = |values: &BTreeMap<LinkValue, String>| {
        let mut names: Vec<String> = values.keys().map(|value| namespace(linked, value.namespace)).collect();
        names.dedup();
        if names.is_empty() { "no identifier".to_owned() } else { names.join(", ") }
    };
    let because = format!("no identifier in common ({} | {})", kinds(&left), kinds(&right));
    (first(one), first(other), because)
}

fn standing(linked: &Linked, value: LinkValue) -> String {
    let what = format!("they share {} {}", namespace(linked, value.namespace), masked(linked, value));
    let class = linked.config.namespace(value.namespace).map(|namespace| namespace.class);
    match linked.engine.value(value) {
        ValueStanding::Generic(reason) => format!("{what}, which is generic: {}", generic_reason(linked, reason)),
        _ if class == Some(NamespaceClass::Supporting) => format!("{what}, which only supports and never links"),
        _ => format!("{what}, which would join two values of a unique namespace or go over the cluster's bound"),
    }
}

/// Why a value links nobody, in words.
pub(super) fn generic_reason(linked: &Linked, reason: GenericReason) -> String {
    match reason {
        GenericReason::Crowded { records, limit } => format!("{records} records hold it, more than {limit}"),
        GenericReason::Names { names, limit } => format!("{names} different names stand behind it, more than {limit}"),
        GenericReason::Uniques { namespace: unique, values, limit } => {
            format!("{values} different values of {} stand behind it, more than {limit}", namespace(linked, unique))
        }
    }
}
