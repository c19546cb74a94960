//! What a consumer of the feed knows of every profile id, kept as plainly as can be: the law of ids is held against it.

use std::collections::{BTreeMap, BTreeSet};

use super::{LawBroken, keeps};
use crate::change::ProfileChange;
use crate::ids::{Digest128, ProfileOrdinal};

/// What a profile id answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These records.
    Live(BTreeSet<Digest128>),
    /// Redirects to this one.
    MergedInto(ProfileOrdinal),
    /// Its records went to these.
    SplitInto(Vec<ProfileOrdinal>),
    /// All its records were retracted.
    Emptied,
    /// All its records were erased.
    Erased,
}

/// Every profile id that was ever given out, and its answer: what a consumer of the feed keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    /// By id.
    pub answers: BTreeMap<ProfileOrdinal, Answer>,
    /// The records that an id held when it was merged or split.
    pub(super) held: BTreeMap<ProfileOrdinal, BTreeSet<Turn>>,
    /// The profile that each record is in, or was in last.
    pub(super) last: BTreeMap<Digest128, ProfileOrdinal>,
    /// Profiles that gave records to others in this settlement.
    pub(super) gave: BTreeSet<ProfileOrdinal>,
    /// How often each record became somebody else's.
    pub(super) turns: BTreeMap<Digest128, u32>,
    /// The profile that a record left its party behind in, and with whom.
    pub(super) partings: BTreeMap<Turn, (ProfileOrdinal, BTreeSet<Turn>)>,
    /// Whom records were with that their sources took back.
    pub(super) beside: BTreeMap<Digest128, BTreeSet<Turn>>,
    /// Records that became somebody else's since the last settlement, with their turns before.
    pub(super) passing: BTreeMap<Digest128, u32>,
}

/// A record while one party has it: which, and how often it had become somebody else's by then.
type Turn = (Digest128, u32);

impl Replica {
    /// Takes in one change of the feed. Records that were retracted drop out when they are told as touched and
    /// `is_live` says no, as a consumer finds out by reading.
    ///
    /// # Errors
    /// [`LawBroken`] when the change contradicts what was told before.
    pub fn apply(&mut self, change: &ProfileChange, is_live: &dyn Fn(Digest128) -> bool) -> Result<(), LawBroken> {
        match change {
            ProfileChange::Created { profile, records } => {
                let before = self.answers.insert(*profile, Answer::Live(records.iter().copied().collect()));
                self.last.extend(records.iter().map(|record| (*record, *profile)));
                keeps(before.is_none(), 4, || format!("profile {} was opened twice", profile.0))
            }
            ProfileChange::Updated { profile, joined, touched } => {
                if self.answers.get(profile) == Some(&Answer::Emptied) {
                    keeps(!joined.is_empty(), 4, || format!("profile {} revives without a record", profile.0))?;
                    self.answers.insert(*profile, Answer::Live(BTreeSet::new()));
                }
                self.last.extend(joined.iter().map(|record| (*record, *profile)));
                let members = self.live(*profile)?;
                members.extend(joined);
                for record in touched {
                    keeps(members.contains(record), 4, || format!("{record:?} is touched where it is not"))?;
                    if !is_live(*record) {
                        members.remove(record);
                    }
                }
                Ok(())
            }
            ProfileChange::Merged { from, into, records } => {
                self.shift(*from, *into, records)?;
                keeps(self.live(*from)?.is_empty(), 4, || format!("profile {} left records behind", from.0))?;
                keeps(into < from, 4, || format!("profile {} was merged into a younger one", from.0))?;
                self.answers.insert(*from, Answer::MergedInto(*into));
                let held = records.iter().map(|record| (*record, self.turn(*record))).collect();
                self.held.insert(*from, held);
                Ok(())
            }
            ProfileChange::Split { from, stays, into } => {
                for (to, records) in into {
                    self.shift(*from, *to, records)?;
                }
                self.gave.insert(*from);
                let left = !self.live(*from)?.is_empty();
                keeps(left == *stays, 4, || format!("profile {} stays without records, or left some", from.0))?;
                if !stays {
                    let held = into.iter().flat_map(|(_, records)| records);
                    let held = held.map(|record| (*record, self.turn(*record))).collect();
                    self.held.insert(*from, held);
                    self.answers.insert(*from, Answer::SplitInto(into.iter().map(|(to, _)| *to).collect()));
                }
                Ok(())
            }
            ProfileChange::Emptied { profile } => {
                let left = self.live(*profile)?.iter().any(|record| is_live(*record));
                keeps(!left, 4, || format!("profile {} is emptied and has live records", profile.0))?;
                self.answers.insert(*profile, Answer::Emptied);
                Ok(())
            }
            ProfileChange::ConsentChanged { profile } => self.live(*profile).map(drop),
            ProfileChange::Erased { profile, gone: true } => {
                let known = self.answers.insert(*profile, Answer::Erased);
                let held = matches!(known, Some(Answer::Live(_) | Answer::Emptied));
                keeps(held, 4, || format!("profile {} is erased and held nothing", profile.0))
            }
            ProfileChange::Erased { profile, gone: false } => {
                let members = self.live(*profile)?;
                members.retain(|record| is_live(*record));
                keeps(!members.is_empty(), 4, || format!("profile {} lost all records and is not gone", profile.0))
            }
            ProfileChange::AccountChanged { .. } => Ok(()),
        }
    }

    /// The live and the emptied profiles that an id leads to: itself, as long as it was neither merged nor split, and else
    /// wherever the records are, or were last, that it held then. No merge that was undone leads to another party. Nor does a
    /// record that became somebody else's since: it leads to the profile that it was in before, as long as somebody is there
    /// whom it was with, and who has not become somebody else.
    #[must_use]
    pub fn leads_to(&self, profile: ProfileOrdinal) -> BTreeSet<ProfileOrdinal> {
        let (mut ends, partings) = self.walk(profile);
        for (left, beside) in partings {
            let stays = |end: &ProfileOrdinal| {
                beside.iter().filter(|(record, turn)| self.turn(*record) == *turn).any(|(record, _)| {
                    match (self.answers.get(end), self.last.get(record)) {
                        (Some(Answer::Live(members)), _) => members.contains(record),
                        (Some(Answer::Emptied), Some(last)) => self.told(*last) == *end,
                        _ => false,
                    }
                })
            };
            ends.extend(self.walk(left).0.into_iter().filter(stays));
        }
        ends
    }

    /// The same without the records that became somebody else's, and how these left.
    fn walk(&self, profile: ProfileOrdinal) -> (BTreeSet<ProfileOrdinal>, Vec<(ProfileOrdinal, BTreeSet<Turn>)>) {
        let (mut ends, mut partings) = (BTreeSet::new(), Vec::new());
        let (mut seen, mut open) = (BTreeSet::new(), vec![profile]);
        while let Some(profile) = open.pop() {
            if !seen.insert(profile) {
                continue;
            }
            let held = self.held.get(&profile).into_iter().flatten();
            let (stayed, gone): (Vec<Turn>, Vec<Turn>) =
                held.copied().partition(|(record, turn)| self.turn(*record) == *turn);
            let left: Vec<_> = gone.iter().map(|turn| self.partings.get(turn)).collect();
            match self.answers.get(&profile) {
                Some(Answer::Live(_) | Answer::Emptied) => {
                    ends.insert(profile);
                    continue;
                }
                // None that a record left behind which became somebody else's.
                Some(Answer::SplitInto(into)) if left.iter().all(Option::is_some) => {
                    let behind = |into: &&ProfileOrdinal| left.iter().flatten().any(|(left, _)| left == *into);
                    open.extend(into.iter().filter(|into| !behind(into)));
                }
                Some(Answer::SplitInto(_) | Answer::MergedInto(_) | Answer::Erased) | None => {}
            }
            open.extend(stayed.iter().filter_map(|(record, _)| self.last.get(record)));
            partings.extend(left.into_iter().flatten().cloned());
        }
        (ends, partings)
    }

    fn turn(&self, record: Digest128) -> u32 {
        self.turns.get(&record).copied().unwrap_or(0)
    }

    /// Where the merges that were told lead.
    fn told(&self, mut profile: ProfileOrdinal) -> ProfileOrdinal {
        while let Some(Answer::MergedInto(into)) = self.answers.get(&profile) {
            profile = *into;
        }
        profile
    }

    /// Whom the record is with, as last settled: so many of the oldest.
    fn with(&self, record: Digest128, most: usize, age: &dyn Fn(Digest128) -> u64) -> BTreeSet<Turn> {
        let Some(Answer::Live(members)) = self.last.get(&record).and_then(|last| self.answers.get(last)) else {
            return BTreeSet::new();
        };
        if !members.contains(&record) {
            return BTreeSet::new();
        }
        let mut others: Vec<Digest128> = members.iter().copied().filter(|member| *member != record).collect();
        others.sort_by_key(|member| age(*member));
        others.truncate(most);
        let settled = |member: &Digest128| self.passing.get(member).copied().unwrap_or_else(|| self.turn(*member));
        others.iter().map(|member| (*member, settled(member))).collect()
    }

    /// The source takes a live record back. Of those that it is with so many of the oldest are remembered.
    pub fn takes_back(&mut self, record: Digest128, most: usize, age: &dyn Fn(Digest128) -> u64) {
        let beside = self.with(record, most, age);
        self.beside.insert(record, beside);
    }

    /// The record, which is live or was taken back, becomes somebody else's.
    pub fn passes_on(&mut self, record: Digest128, is_live: bool, most: usize, age: &dyn Fn(Digest128) -> u64) {
        let beside =
            if is_live { self.with(record, most, age) } else { self.beside.get(&record).cloned().unwrap_or_default() };
        let turn = self.turn(record);
        self.passing.entry(record).or_insert(turn);
        self.turns.insert(record, turn + 1);
        if let Some(last) = self.last.get(&record) {
            self.partings.insert((record, turn), (*last, beside));
        }
    }

    /// Takes in the end of a settlement. A record that its source took back goes with those that it was with last: where the
    /// profile that they were merged into gave them all to one other, it was in that one.
    pub fn settled(&mut self, is_live: &dyn Fn(Digest128) -> bool) {
        let mut moved: Vec<(Digest128, ProfileOrdinal)> = Vec::new();
        for (record, last) in self.last.iter().filter(|(record, _)| !is_live(**record)) {
            let merged = matches!(self.answers.get(last), Some(Answer::MergedInto(_)));
            if merged && self.gave.contains(&self.told(*last)) {
                let ends = self.leads_to(*last);
                let only = ends.first().filter(|end| ends.len() == 1 && **end != self.told(*last));
                moved.extend(only.map(|end| (*record, *end)));
            }
        }
        self.last.extend(moved);
        self.gave.clear();
        self.passing.clear();
    }

    /// A record was erased.
    pub fn forget(&mut self, record: Digest128) {
        self.last.remove(&record);
        for held in self.held.values_mut() {
            held.retain(|(held, _)| *held != record);
        }
        self.beside.remove(&record);
    }

    /// The live clusters.
    #[must_use]
    pub fn clusters(&self) -> Vec<BTreeSet<Digest128>> {
        self.live_profiles().map(|(_, members)| members.clone()).collect()
    }

    pub(super) fn live_profiles(&self) -> impl Iterator<Item = (ProfileOrdinal, &BTreeSet<Digest128>)> {
        self.answers.iter().filter_map(|(profile, answer)| match answer {
            Answer::Live(members) => Some((*profile, members)),
            _ => None,
        })
    }

    fn live(&mut self, profile: ProfileOrdinal) -> Result<&mut BTreeSet<Digest128>, LawBroken> {
        match self.answers.get_mut(&profile) {
            Some(Answer::Live(members)) => Ok(members),
            _ => Err(LawBroken { law: 4, what: format!("profile {} is not live", profile.0) }),
        }
    }

    fn shift(&mut self, from: ProfileOrdinal, to: ProfileOrdinal, records: &[Digest128]) -> Result<(), LawBroken> {
        let members = self.live(from)?;
        for record in records {
            keeps(members.remove(record), 4, || format!("{record:?} moves out of {}, where it is not", from.0))?;
        }
        self.live(to)?.extend(records);
        self.last.extend(records.iter().map(|record| (*record, to)));
        Ok(())
    }
}
