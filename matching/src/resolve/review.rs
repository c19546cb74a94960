//! Questions for stewards, the most valuable answer first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashMap;
use onefold_core::ids::{Digest128, ProfileOrdinal};

use crate::index::NONE;
use crate::index::records::flag;
use crate::resolve::{Engine, Verdict};

/// Questions on one page at most.
pub const QUESTIONS_MAX: usize = 1_000;
/// Match weight by which evidence must have moved against a judgement before it is asked about again, in bits.
pub const AGAINST_BITS: f32 = 6.0;

/// Why a pair is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// It weighs too much to be passed over and too little to be linked.
    Between,
    /// It weighs enough to be linked, but something keeps its clusters apart.
    Parked,
    /// Evidence has turned against this judgement since it was given.
    Against(Verdict),
}

/// A pair of source records to be judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question {
    /// The two records, the smaller digest first.
    pub records: (Digest128, Digest128),
    /// Their profiles, in that order.
    pub profiles: (ProfileOrdinal, ProfileOrdinal),
    /// The match weight in bits.
    pub weight_bits: f32,
    /// Why it is asked.
    pub doubt: Doubt,
    /// What the answer is worth: records that it is about, times how open it is, in thousandths.
    pub value: u64,
}

/// Where a page of questions ends, and the next begins.
pub type QuestionCursor = (u64, (Digest128, Digest128));

/// The order of the queue: by value, then by content.
type Turn = (Reverse<u64>, (Digest128, Digest128));

impl Engine {
    /// The open questions after `after`, the most valuable first, [`QUESTIONS_MAX`] at most. Of two profiles only the pair
    /// that weighs most is asked about. Walks all edges.
    #[must_use]
    pub fn questions(&self, after: Option<QuestionCursor>, max: usize) -> Vec<Question> {
        let after: Option<Turn> = after.map(|(value, records)| (Reverse(value), records));
        let mut best: HashMap<(u32, u32), Question> = HashMap::new();
        for record in 0..self.edges.end() {
            for (other, weight) in self.edges.of(record).filter(|(other, _)| *other > record) {
                if let Some(question) = self.question(record, other, weight) {
                    let profiles = (question.profiles.0.0, question.profiles.1.0);
                    let profiles = (profiles.0.min(profiles.1), profiles.0.max(profiles.1));
                    let held = best.entry(profiles).or_insert(question);
                    let stronger = question.weight_bits.total_cmp(&held.weight_bits);
                    if stronger.then(held.records.cmp(&question.records)).is_gt() {
                        *held = question;
                    }
                }
            }
        }
        let against = self.judgements.iter().filter_map(|(one, other, judgement)| {
            let (a, b) = (self.records.find(one)?, self.records.find(other)?);
            let (weight, seen) = (self.weigh(a, b)?, judgement.seen_bits?);
            let turned = match judgement.verdict {
                Verdict::Same => seen - weight,
                Verdict::Different => weight - seen,
                Verdict::Unsure => (weight - seen).abs(),
            };
            let doubt = Doubt::Against(judgement.verdict);
            (turned >= AGAINST_BITS).then(|| self.asked(a, b, weight, doubt, 1.0)).flatten()
        });
        // The worst of the page on top, to be pushed out.
        let max = max.min(QUESTIONS_MAX);
        let mut page: BinaryHeap<(Turn, usize)> = BinaryHeap::new();
        let mut questions: Vec<Question> = Vec::new();
        for question in best.into_values().chain(against) {
            let turn = (Reverse(question.value), question.records);
            if after.is_some_and(|after| turn <= after) {
                continue;
            }
            page.push((turn, questions.len()));
            questions.push(question);
            if page.len() > max {
                page.pop();
            }
        }
        page.into_sorted_vec().into_iter().map(|(_, index)| questions[index]).collect()
    }

    pub(super) fn question(&self, one: u32, other: u32, weight: f32) -> Option<Question> {
        let (a, b) = (&self.records.warm[one], &self.records.warm[other]);
        if !a.placed() || !b.placed() || a.profile == b.profile {
            return None;
        }
        let (first, second) = (self.records.cold[one].digest, self.records.cold[other].digest);
        if self.judgements.get(first, second).is_some() {
            return None;
        }
        let lines = self.thresholds(a.party())?;
        if weight >= lines.link_bits {
            return self.asked(one, other, weight, Doubt::Parked, 1.0);
        }
        let probability = 1.0 / (1.0 + f64::from(-weight).exp2());
        let open = 1.0 - (2.0 * probability - 1.0).abs();
        self.asked(one, other, weight, Doubt::Between, open)
    }

    fn asked(&self, one: u32, other: u32, weight_bits: f32, doubt: Doubt, open: f64) -> Option<Question> {
        let (mut first, mut second) = (one, other);
        if self.records.cold[first].digest > self.records.cold[second].digest {
            (first, second) = (second, first);
        }
        let profile = |record: u32| {
            let warm = &self.records.warm[record];
            (warm.has(flag::LIVE) && warm.placed() && warm.profile != NONE).then_some(warm.profile)
        };
        let (a, b) = (profile(first)?, profile(second)?);
        let mut records = u64::from(self.profiles.column[a].count);
        if a != b {
            records += u64::from(self.profiles.column[b].count);
        }
        Some(Question {
            records: (self.records.cold[first].digest, self.records.cold[second].digest),
            profiles: (ProfileOrdinal(a), ProfileOrdinal(b)),
            weight_bits,
            doubt,
            value: (records as f64 * open * 1_000.0).round() as u64,
        })
    }
}
