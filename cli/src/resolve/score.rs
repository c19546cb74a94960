//! How near the profiles come to the truth.
//!
//! An empty truth says that the record is in none of the labelled clusters, and nothing more: a labelled and an
//! unlabelled record in one profile are a wrong pair; two unlabelled ones are not counted. B-cubed means are over the
//! labelled records. No pair is ever listed, so a million records take no longer than reading them.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use onefold_core::ids::Digest128;
use serde::Serialize;

use super::link::Linked;

/// Precision, recall and their harmonic mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Of what was said, how much is right.
    pub precision: f64,
    /// Of what is right, how much was said.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
}

impl Rates {
    fn new(precision: f64, recall: f64) -> Self {
        let sum = precision + recall;
        Self { precision, recall, f1: if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 } }
    }
}

/// Pairs of records, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pairs {
    /// Same profile, same cluster.
    pub right: u64,
    /// Same profile, not same cluster.
    pub false_links: u64,
    /// Same cluster, not same profile.
    pub false_splits: u64,
}

/// The score of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Records scored.
    pub records: u64,
    /// Those of them without a cluster.
    pub unlabelled: u64,
    /// Over all unordered pairs of records.
    pub pairwise: Rates,
    /// The counts behind it.
    pub pairs: Pairs,
    /// Means over the labelled records.
    pub bcubed: Rates,
}

const fn pairs_of(records: u64) -> u64 {
    records * records.saturating_sub(1) / 2
}

/// Scores (cluster, profile) of each record; `None` is an unlabelled record.
pub fn score<C: Hash + Eq + Clone, P: Hash + Eq + Clone>(records: impl Iterator<Item = (Option<C>, P)>) -> Score {
    let mut clusters: HashMap<C, u64> = HashMap::new();
    let mut profiles: HashMap<P, (u64, u64)> = HashMap::new();
    let mut cells: HashMap<(C, P), u64> = HashMap::new();
    let (mut count, mut labelled) = (0u64, 0u64);
    for (cluster, profile) in records {
        count += 1;
        let (size, blank) = profiles.entry(profile.clone()).or_default();
        *size += 1;
        match cluster {
            None => *blank += 1,
            Some(cluster) => {
                labelled += 1;
                *clusters.entry(cluster.clone()).or_default() += 1;
                *cells.entry((cluster, profile)).or_default() += 1;
            }
        }
    }
    let right: u64 = cells.values().map(|size| pairs_of(*size)).sum();
    let said: u64 = profiles.values().map(|(size, blank)| pairs_of(*size) - pairs_of(*blank)).sum();
    let there: u64 = clusters.values().map(|size| pairs_of(*size)).sum();
    let share = |part: u64, whole: u64, none: f64| if whole == 0 { none } else { part as f64 / whole as f64 };
    let precision = share(right, said, if there == 0 { 1.0 } else { 0.0 });
    let recall = share(right, there, 1.0);
    // Sums of many small numbers hang on their order: a fixed one gives the same digits every time.
    let mut sizes: Vec<(u64, u64, u64)> =
        cells.iter().map(|((cluster, profile), size)| (*size, profiles[profile].0, clusters[cluster])).collect();
    sizes.sort_unstable();
    let mean = |whole: fn(&(u64, u64, u64)) -> u64| {
        let sum: f64 = sizes.iter().map(|cell| (cell.0 * cell.0) as f64 / whole(cell) as f64).sum();
        if labelled == 0 { 0.0 } else { sum / labelled as f64 }
    };
    Score {
        records: count,
        unlabelled: count - labelled,
        pairwise: Rates::new(precision, recall),
        pairs: Pairs { right, false_links: said - right, false_splits: there - right },
        bcubed: Rates::new(mean(|cell| cell.1), mean(|cell| cell.2)),
    }
}

/// Of the true pairs, the share that blocking has compared; `None` when there are none. Looks at so many pairs at most, the
/// first of each cluster before the rest.
#[must_use]
pub fn blocking_recall(linked: &Linked) -> Option<f64> {
    const PAIRS_MAX: usize = 200_000;
    let mut clusters: BTreeMap<u32, Vec<Digest128>> = BTreeMap::new();
    for row in linked.rows.iter().filter(|row| !row.repeated) {
        if let (Some(truth), Some(record)) = (row.truth, row.record) {
            clusters.entry(truth).or_default().push(record);
        }
    }
    let (mut seen, mut compared) = (0_usize, 0_usize);
    let longest = clusters.values().map(Vec::len).max().unwrap_or(0);
    for apart in 1..longest {
        for cluster in clusters.values() {
            for pair in cluster.iter().zip(cluster.iter().skip(apart)) {
                if seen < PAIRS_MAX
                    && let Some(found) = linked.engine.compares(*pair.0, *pair.1)
                {
                    seen += 1;
                    compared += usize::from(found);
                }
            }
        }
    }
    (seen > 0).then(|| compared as f64 / seen as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name; cluster and profile of each record; pairs right, falsely linked, falsely split; B-cubed precision, recall.
    type Case<'a> = (&'a str, &'a [(&'a str, u32)], (u64, u64, u64), f64, f64);

    #[test]
    fn small_cases_by_hand() {
        let cases: [Case<'_>; 6] = [
            ("all right", &[("a", 1), ("a", 1), ("b", 2)], (1, 0, 0), 1.0, 1.0),
            ("one false link", &[("a", 1), ("a", 1), ("b", 1)], (1, 2, 0), (4.0 / 3.0 + 1.0 / 3.0) / 3.0, 1.0),
            ("one split", &[("a", 1), ("a", 2)], (0, 0, 1), 1.0, 0.5),
            ("an unlabelled stranger", &[("a", 1), ("a", 1), ("", 1)], (1, 2, 0), 4.0 / 3.0 / 2.0, 1.0),
            ("two unlabelled ones", &[("", 1), ("", 1)], (0, 0, 0), 0.0, 0.0),
            ("nothing", &[], (0, 0, 0), 0.0, 0.0),
        ];
        for (name, records, (right, links, splits), precision, recall) in cases {
            let score =
                score(records.iter().map(|(cluster, profile)| (Some(*cluster).filter(|c| !c.is_empty()), *profile)));
            assert_eq!(score.pairs, Pairs { right, false_links: links, false_splits: splits }, "{name}");
            assert!((score.bcubed.precision - precision).abs() < 1e-12, "{name} {}", score.bcubed.precision);
            assert!((score.bcubed.recall - recall).abs() < 1e-12, "{name} {}", score.bcubed.recall);
        }
    }
}
