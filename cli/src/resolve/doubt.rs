//! The worst differences from the truth, each with its evidence.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use onefold_core::ids::{Digest128, NamespaceId, ProfileOrdinal};
use onefold_matching::prepared::LinkValue;
use onefold_matching::resolve::{Evidence, EvidenceStep, Explanation, GenericReason, SeparateReason};
use serde::Serialize;

use super::link::{Linked, ResolvedRow};

/// How many of each kind are told.
pub const DOUBTS_SHOWN: usize = 10;
/// Records of each side that are tried for the shortest explanation.
const SIDE_RECORDS: usize = 6;

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
    /// Whether the two records are of different true parties: here the mistake was made.
    pub wrong: bool,
    /// Whether this is the weakest link of its chain.
    pub weakest: bool,
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

type Rows<'a> = BTreeMap<u32, Vec<&'a ResolvedRow>>;

fn scored(linked: &Linked) -> impl Iterator<Item = &ResolvedRow> {
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
fn by_size<'a, 'b>(parts: &'b Rows<'a>) -> Vec<(u32, &'b Vec<&'a ResolvedRow>)> {
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
            because: crossing(linked, &parts, &names),
        })
        .collect()
}

fn names(linked: &Linked) -> HashMap<Digest128, &ResolvedRow> {
    scored(linked).filter_map(|row| Some((row.record?, row))).collect()
}

/// The shortest chain of evidence between the largest true clusters of a profile.
fn crossing(linked: &Linked, parts: &Rows<'_>, names: &HashMap<Digest128, &ResolvedRow>) -> Vec<Tie> {
    let sizes = by_size(parts);
    let (Some((_, one)), Some((_, other))) = (sizes.first(), sizes.get(1)) else { return Vec::new() };
    let side = |part: &[&ResolvedRow]| -> Vec<Digest128> {
        part.iter().filter_map(|row| row.record).take(SIDE_RECORDS).collect()
    };
    let (left, right) = (side(one), side(other));
    let pairs = left.iter().flat_map(|left| right.iter().map(move |right| (*left, *right)));
    let paths = pairs.filter_map(|(left, right)| match linked.engine.explain(left, right) {
        Explanation::Together { path, weakest, .. } => Some((path, weakest)),
        Explanation::Separate { .. } | Explanation::NotLive(_) => None,
    });
    let Some((path, weakest)) = paths.min_by_key(|(path, _)| path.len()) else { return Vec::new() };
    path.iter().enumerate().map(|(place, step)| tie(linked, names, step, weakest == Some(place))).collect()
}

fn tie(linked: &Linked, names: &HashMap<Digest128, &ResolvedRow>, step: &EvidenceStep, weakest: bool) -> Tie {
    let (from, to) = (names.get(&step.from), names.get(&step.to));
    let name = |row: Option<&&ResolvedRow>| row.map_or_else(String::new, |row| row.record_id.to_string());
    let truth = |row: Option<&&ResolvedRow>| row.and_then(|row| row.truth);
    let (kind, value) = match step.evidence {
        Evidence::Value(value) => (namespace(linked, value.namespace), masked(linked, value)),
        Evidence::Weight(bits) => ("match".to_owned(), format!("{bits:.1} bits")),
        Evidence::Judgement => ("judgement".to_owned(), "same".to_owned()),
    };
    Tie { from: name(from), to: name(to), namespace: kind, value, wrong: truth(from) != truth(to), weakest }
}

pub(super) fn namespace(linked: &Linked, id: NamespaceId) -> String {
    linked.config.namespace(id).map_or_else(String::new, |namespace| namespace.name.clone())
}

pub(super) fn masked(linked: &Linked, value: LinkValue) -> String {
    linked.values.get(&value).map_or_else(|| "***".to_owned(), |seen| seen.masked.to_string())
}

/// The true clusters with the most missed pairs, worst first.
#[must_use]
pub fn false_splits(linked: &Linked) -> Vec<FalseSplit> {
    let mut clusters: BTreeMap<u32, BTreeMap<u32, Vec<&ResolvedRow>>> = BTreeMap::new();
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

/// Two records, one of each part, and what stands between their clusters. Those with the most identifiers say most.
fn why_apart(linked: &Linked, one: &[&ResolvedRow], other: &[&ResolvedRow]) -> (String, String, String) {
    let telling = |part: &[&ResolvedRow]| -> Option<(String, Digest128, usize)> {
        part.iter()
            .filter_map(|row| row.record.map(|record| (row, record, linked.engine.links_of(record).len())))
            .max_by_key(|(row, _, links)| (*links, Reverse((row.file, row.line))))
            .map(|(row, record, links)| (row.record_id.to_string(), record, links))
    };
    let (Some((one, left, _)), Some((other, right, _))) = (telling(one), telling(other)) else {
        return Default::default();
    };
    let because = match linked.engine.explain(left, right) {
        Explanation::Separate { reasons, .. } => {
            let words: Vec<String> = reasons.iter().map(|reason| separate(linked, *reason, left, right)).collect();
            words.join("; ")
        }
        // Cannot be: the parts lie in different profiles, and all of their records are live.
        Explanation::Together { .. } | Explanation::NotLive(_) => String::new(),
    };
    (one, other, because)
}

fn separate(linked: &Linked, reason: SeparateReason, left: Digest128, right: Digest128) -> String {
    let shared =
        |value: LinkValue| format!("{} {} is shared", namespace(linked, value.namespace), masked(linked, value));
    match reason {
        SeparateReason::NothingShared => {
            let kinds = |record: Digest128| {
                let values = linked.engine.links_of(record);
                let mut names: Vec<String> = values.iter().map(|value| namespace(linked, value.namespace)).collect();
                names.dedup();
                if names.is_empty() { "no identifier".to_owned() } else { names.join(", ") }
            };
            format!("no identifier in common ({} | {})", kinds(left), kinds(right))
        }
        SeparateReason::Supporting(value) => format!("{}, which supports and never links", shared(value)),
        SeparateReason::Generic(value, why) => {
            format!("{}, which is generic: {}", shared(value), generic_reason(linked, why))
        }
        SeparateReason::Vetoed { value, namespace: unique } => {
            format!("{}, but they differ in {}, which is unique", shared(value), namespace(linked, unique))
        }
        SeparateReason::Contradicting { value, .. } => {
            format!("{}, but one of its records contradicts itself", shared(value))
        }
        SeparateReason::Contested { value, profiles } => {
            format!("{}, but {profiles} profiles that contradict each other hold it", shared(value))
        }
        SeparateReason::Judged { .. } => "judged to be different".to_owned(),
        SeparateReason::Divided { value } => {
            format!("{}, but its holders contradict each other by weight", shared(value))
        }
        SeparateReason::Contradiction { weight_bits, conflict_bits, .. } => {
            format!("records of the two contradict each other ({weight_bits:.1} bits, below {conflict_bits:.1})")
        }
        SeparateReason::Unlike { weight_bits, least_bits } => {
            format!("all that is known of the two matches by {weight_bits:.1} bits, {least_bits:.1} would join them")
        }
        SeparateReason::Exclusive { namespace: unique, weight_bits } => {
            format!("they match by {weight_bits:.1} bits, but differ in {}, which is unique", namespace(linked, unique))
        }
        SeparateReason::FellShort { weight_bits, link_bits } => {
            format!("they match by {weight_bits:.1} bits, {link_bits:.1} would link")
        }
        SeparateReason::NoSharedKey { weight_bits, link_bits } => {
            format!("no blocking key in common; they would match by {weight_bits:.1} bits, {link_bits:.1} would link")
        }
        SeparateReason::TooLarge { value, records, limit } => {
            format!("{}, but the cluster would have {records} records, more than {limit}", shared(value))
        }
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
