//! The laws that must hold at every moment, as plain functions over plain data. Property tests, the model test and
//! `debug_assert!` call the same ones. An `Err` names the law and what broke it, in ids only.

use std::collections::{BTreeMap, BTreeSet};

use crate::change::ProfileChange;
use crate::consent::policy::Regime;
use crate::consent::state::{State, Voices};
use crate::ids::{Digest128, NamespaceId, ProfileOrdinal};

/// A law does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("law {law} is broken: {what}")]
pub struct LawBroken {
    /// Its number in the design.
    pub law: u8,
    /// What was found; ids and digests only.
    pub what: String,
}

fn keeps(holds: bool, law: u8, what: impl FnOnce() -> String) -> Result<(), LawBroken> {
    if holds { Ok(()) } else { Err(LawBroken { law, what: what() }) }
}

/// LAW 1 and 2, the ground of both: every live record is in exactly one cluster, and no cluster is empty.
///
/// # Errors
/// [`LawBroken`] names the first record that is missing, doubled or not live.
pub fn partition_is_total(live: &BTreeSet<Digest128>, clusters: &[BTreeSet<Digest128>]) -> Result<(), LawBroken> {
    let mut seen = BTreeSet::new();
    for cluster in clusters {
        keeps(!cluster.is_empty(), 2, || "a cluster is empty".to_owned())?;
        for record in cluster {
            keeps(live.contains(record), 2, || format!("{record:?} is in a cluster and not live"))?;
            keeps(seen.insert(*record), 2, || format!("{record:?} is in two clusters"))?;
        }
    }
    let missing = live.difference(&seen).next();
    keeps(missing.is_none(), 2, || format!("{missing:?} is live and in no cluster"))
}

/// LAW 2: order does not matter. Two runs over the same live fragments have the same clusters.
///
/// # Errors
/// [`LawBroken`] counts the clusters that only one of them has.
pub fn order_does_not_matter(one: &[BTreeSet<Digest128>], other: &[BTreeSet<Digest128>]) -> Result<(), LawBroken> {
    let one: BTreeSet<_> = one.iter().collect();
    let other: BTreeSet<_> = other.iter().collect();
    keeps(one == other, 2, || format!("{} clusters differ", one.symmetric_difference(&other).count()))
}

/// LAW 5: exclusive means exclusive. No cluster of two or more records holds two values of a unique namespace, or a pair
/// that must stay apart. (One record that contradicts itself stands alone.)
///
/// # Errors
/// [`LawBroken`] names the namespace or the pair.
pub fn exclusive_means_exclusive(
    clusters: &[BTreeSet<Digest128>],
    uniques: &BTreeMap<Digest128, Vec<(NamespaceId, Digest128)>>,
    apart: &[(Digest128, Digest128)],
) -> Result<(), LawBroken> {
    for cluster in clusters.iter().filter(|cluster| cluster.len() > 1) {
        let mut held: BTreeMap<NamespaceId, Digest128> = BTreeMap::new();
        for (namespace, value) in cluster.iter().flat_map(|record| uniques.get(record).into_iter().flatten()) {
            let first = held.entry(*namespace).or_insert(*value);
            keeps(first == value, 5, || format!("one cluster holds two values of unique namespace {}", namespace.0))?;
        }
        for (a, b) in apart {
            keeps(!(cluster.contains(a) && cluster.contains(b)), 5, || format!("{a:?} and {b:?} are not apart"))?;
        }
    }
    Ok(())
}

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
    held: BTreeMap<ProfileOrdinal, BTreeSet<Digest128>>,
    /// The profile that each record is in, or was in last.
    last: BTreeMap<Digest128, ProfileOrdinal>,
    /// Profiles that gave records to others in this settlement.
    gave: BTreeSet<ProfileOrdinal>,
}

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
                self.held.insert(*from, records.iter().copied().collect());
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
                    let held = into.iter().flat_map(|(_, records)| records).copied();
                    self.held.insert(*from, held.collect());
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
    /// wherever the records are, or were last, that it held then. No merge that was undone leads to another party.
    #[must_use]
    pub fn leads_to(&self, profile: ProfileOrdinal) -> BTreeSet<ProfileOrdinal> {
        let (mut ends, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![profile]);
        while let Some(profile) = open.pop() {
            if !seen.insert(profile) {
                continue;
            }
            match self.answers.get(&profile) {
                Some(Answer::Live(_) | Answer::Emptied) => {
                    ends.insert(profile);
                }
                Some(Answer::SplitInto(into)) => open.extend(into),
                Some(Answer::MergedInto(_) | Answer::Erased) | None => {}
            }
            let held = self.held.get(&profile).into_iter().flatten();
            open.extend(held.filter_map(|record| self.last.get(record)));
        }
        ends
    }

    /// Takes in the end of a settlement. A record that its source took back goes with those that it was with last: where the
    /// profile that they were merged into gave them all to one other, it was in that one.
    pub fn settled(&mut self, is_live: &dyn Fn(Digest128) -> bool) {
        let told = |mut profile: ProfileOrdinal| {
            while let Some(Answer::MergedInto(into)) = self.answers.get(&profile) {
                profile = *into;
            }
            profile
        };
        let mut moved: Vec<(Digest128, ProfileOrdinal)> = Vec::new();
        for (record, last) in self.last.iter().filter(|(record, _)| !is_live(**record)) {
            let merged = matches!(self.answers.get(last), Some(Answer::MergedInto(_)));
            if merged && self.gave.contains(&told(*last)) {
                let ends = self.leads_to(*last);
                let only = ends.first().filter(|end| ends.len() == 1 && **end != told(*last));
                moved.extend(only.map(|end| (*record, *end)));
            }
        }
        self.last.extend(moved);
        self.gave.clear();
    }

    /// A record was erased.
    pub fn forget(&mut self, record: Digest128) {
        self.last.remove(&record);
        for held in self.held.values_mut() {
            held.remove(&record);
        }
    }

    /// The live clusters.
    #[must_use]
    pub fn clusters(&self) -> Vec<BTreeSet<Digest128>> {
        self.live_profiles().map(|(_, members)| members.clone()).collect()
    }

    fn live_profiles(&self) -> impl Iterator<Item = (ProfileOrdinal, &BTreeSet<Digest128>)> {
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

/// LAW 4: ids are a contract. From one settled state to the next: no id is forgotten or comes back with another meaning,
/// the oldest id survives a merge, a split leaves the id with the largest part (ties: the part with the oldest record).
/// `age` says when a record was first seen, smaller is older.
///
/// # Errors
/// [`LawBroken`] names the id.
pub fn ids_are_a_contract(before: &Replica, after: &Replica, age: &dyn Fn(Digest128) -> u64) -> Result<(), LawBroken> {
    let newest = before.answers.keys().next_back().copied();
    for profile in after.answers.keys().filter(|profile| !before.answers.contains_key(profile)) {
        keeps(newest.is_none_or(|newest| *profile > newest), 4, || format!("id {} was skipped, then used", profile.0))?;
    }
    let holder: BTreeMap<Digest128, ProfileOrdinal> = after
        .live_profiles()
        .flat_map(|(profile, members)| members.iter().map(move |record| (*record, profile)))
        .collect();
    let mut heirs: BTreeMap<ProfileOrdinal, Vec<ProfileOrdinal>> = BTreeMap::new();
    for (profile, answer) in &before.answers {
        let now = after.answers.get(profile);
        let Some(now) = now else {
            return Err(LawBroken { law: 4, what: format!("id {} was forgotten", profile.0) });
        };
        match answer {
            Answer::MergedInto(_) | Answer::SplitInto(_) | Answer::Erased => {
                keeps(now == answer, 4, || format!("id {} had ended and changed its answer", profile.0))?;
            }
            Answer::Emptied => {
                let same = matches!(now, Answer::Emptied | Answer::Live(_) | Answer::Erased);
                keeps(same, 4, || format!("id {} was emptied and now redirects", profile.0))?;
            }
            Answer::Live(members) => {
                let mut parts: BTreeMap<ProfileOrdinal, (usize, u64)> = BTreeMap::new();
                for record in members {
                    if let Some(now_in) = holder.get(record) {
                        let part = parts.entry(*now_in).or_insert((0, u64::MAX));
                        *part = (part.0 + 1, part.1.min(age(*record)));
                    }
                }
                let largest = parts
                    .iter()
                    .max_by_key(|(_, (size, oldest))| (*size, std::cmp::Reverse(*oldest)))
                    .map(|(to, _)| *to);
                match largest {
                    Some(heir) => heirs.entry(heir).or_default().push(*profile),
                    None => {
                        // Nothing of it is left: emptied, or taken up at once by a record that came back.
                        let vacant = matches!(now, Answer::Emptied | Answer::Live(_) | Answer::Erased);
                        keeps(vacant, 4, || format!("id {} has no record left and redirects", profile.0))?;
                    }
                }
                let told = match now {
                    Answer::Live(_) => true,
                    Answer::MergedInto(into) => parts.keys().eq([into]),
                    Answer::SplitInto(into) => parts.len() > 1 && parts.keys().eq(into),
                    Answer::Emptied | Answer::Erased => parts.is_empty(),
                };
                keeps(told, 4, || format!("id {} does not answer with where its records went", profile.0))?;
            }
        }
    }
    for (heir, claims) in heirs {
        keeps(claims.first() == Some(&heir), 4, || format!("profile {} should go on under an older id", heir.0))?;
    }
    Ok(())
}

/// LAW 6, the ground of it: what statements say together is a join, so neither their order nor the way in which clusters
/// came about shows.
///
/// # Errors
/// [`LawBroken`] names the equation.
pub fn consent_is_a_join(a: &Voices, b: &Voices, c: &Voices) -> Result<(), LawBroken> {
    let join = |left: &Voices, right: &Voices| left.clone().join(right);
    keeps(join(a, a) == *a, 6, || "joining with itself changes something".to_owned())?;
    keeps(join(a, b) == join(b, a), 6, || "the order of joining shows".to_owned())?;
    keeps(join(&join(a, b), c) == join(a, &join(b, c)), 6, || "the grouping of joins shows".to_owned())
}

/// LAW 6: a stop cannot be lost, and a merge can only restrict. `parts` are what one ledger says of the clusters that are
/// merged, `regimes` the rule of each and `merged_regime` that of the whole.
///
/// # Errors
/// [`LawBroken`] says what came of the merge.
pub fn a_merge_only_restricts(parts: &[(Voices, Regime)], merged_regime: Regime) -> Result<(), LawBroken> {
    let allowed = |voices: &Voices, regime: Regime| {
        let effective = voices.effective();
        let held = !effective.suppressed_by.is_empty() || !effective.restricted_by.is_empty();
        let silent_is_yes = regime == Regime::OptOut && !effective.state.is_stopped();
        !held && (effective.state == State::Granted || silent_is_yes)
    };
    let merged = parts.iter().fold(Voices::default(), |merged, (part, _)| merged.join(part));
    let whole = merged.effective();
    for (part, _) in parts {
        let part = part.effective();
        keeps(!part.state.is_stopped() || whole.state.is_stopped(), 6, || "a stop was lost in a merge".to_owned())?;
        let held = |all: &[crate::ids::Sequence], some: &[crate::ids::Sequence]| some.iter().all(|id| all.contains(id));
        keeps(held(&whole.suppressed_by, &part.suppressed_by), 6, || "a suppression was lost in a merge".to_owned())?;
        keeps(held(&whole.restricted_by, &part.restricted_by), 6, || "a restriction was lost in a merge".to_owned())?;
    }
    let was_allowed = parts.iter().any(|(part, regime)| allowed(part, *regime));
    keeps(!allowed(&merged, merged_regime) || was_allowed, 6, || "a merge turned deny into allow".to_owned())
}

/// LAW 1, of the hierarchy: whatever was moved, merged or split, every node has at most one parent, and whoever goes up
/// comes to a top. Nodes and parents by any names.
///
/// # Errors
/// [`LawBroken`] names a node that lies above itself, or a parent that is no node.
pub fn hierarchy_is_a_forest<N: Ord + Copy + std::fmt::Debug>(
    parents: &BTreeMap<N, Option<N>>,
) -> Result<(), LawBroken> {
    let mut safe: BTreeSet<N> = BTreeSet::new();
    for start in parents.keys() {
        let mut way: BTreeSet<N> = BTreeSet::new();
        let mut at = Some(*start);
        while let Some(node) = at.filter(|node| !safe.contains(node)) {
            keeps(way.insert(node), 1, || format!("{node:?} lies above itself"))?;
            let known = parents.get(&node);
            keeps(known.is_some(), 1, || format!("{node:?} is a parent and no node"))?;
            at = known.copied().flatten();
        }
        safe.append(&mut way);
    }
    Ok(())
}

/// LAW 1, of the hierarchy: nothing is lost. Every statement that an account belongs under another either makes the parent
/// of its node or is shown with the reason why not, and never both.
///
/// # Errors
/// [`LawBroken`] names the first statement that is missing or doubled.
pub fn no_parent_is_lost<E: Ord + std::fmt::Debug>(
    told: &BTreeSet<E>,
    counted: &[E],
    parked: &[E],
) -> Result<(), LawBroken> {
    let mut shown = BTreeSet::new();
    for edge in counted.iter().chain(parked) {
        keeps(told.contains(edge), 1, || format!("{edge:?} is shown and was never told"))?;
        keeps(shown.insert(edge), 1, || format!("{edge:?} is shown twice"))?;
    }
    let missing = told.iter().find(|edge| !shown.contains(edge));
    keeps(missing.is_none(), 1, || format!("{missing:?} was told and is not shown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u8) -> Digest128 {
        Digest128([number; 16])
    }

    fn cluster(numbers: &[u8]) -> BTreeSet<Digest128> {
        numbers.iter().map(|number| record(*number)).collect()
    }

    fn profile(number: u32) -> ProfileOrdinal {
        ProfileOrdinal(number)
    }

    fn replica(answers: &[(u32, Answer)]) -> Replica {
        let answers = answers.iter().map(|(number, answer)| (profile(*number), answer.clone())).collect();
        Replica { answers, ..Replica::default() }
    }

    fn live(numbers: &[u8]) -> Answer {
        Answer::Live(cluster(numbers))
    }

    #[test]
    fn a_partition_that_is_not_total_is_found() {
        let all = cluster(&[1, 2, 3]);
        let table: [(&str, &[&[u8]], bool); 5] = [
            ("total", &[&[1, 2], &[3]], true),
            ("missing", &[&[1, 2]], false),
            ("twice", &[&[1, 2], &[2, 3]], false),
            ("not live", &[&[1, 2], &[3, 4]], false),
            ("empty", &[&[1, 2, 3], &[]], false),
        ];
        for (case, clusters, holds) in table {
            let clusters: Vec<_> = clusters.iter().map(|numbers| cluster(numbers)).collect();
            assert_eq!(partition_is_total(&all, &clusters).is_ok(), holds, "{case}");
        }
        assert!(order_does_not_matter(&[cluster(&[1]), cluster(&[2])], &[cluster(&[2]), cluster(&[1])]).is_ok());
        assert!(order_does_not_matter(&[cluster(&[1]), cluster(&[2])], &[cluster(&[1, 2])]).is_err());
    }

    #[test]
    fn a_hierarchy_that_is_no_forest_is_found() {
        type Parents<'a> = &'a [(u8, Option<u8>)];
        let table: [(&str, Parents<'_>, bool); 5] = [
            ("a forest", &[(1, None), (2, Some(1)), (3, Some(2)), (4, None)], true),
            ("itself", &[(1, Some(1))], false),
            ("a circle", &[(1, Some(2)), (2, Some(3)), (3, Some(1))], false),
            ("a way into a circle", &[(1, Some(2)), (2, Some(3)), (3, Some(2))], false),
            ("nobody", &[(1, Some(9))], false),
        ];
        for (case, parents, holds) in table {
            let parents: BTreeMap<u8, Option<u8>> = parents.iter().copied().collect();
            assert_eq!(hierarchy_is_a_forest(&parents).is_ok(), holds, "{case}");
        }
        let told = BTreeSet::from([1, 2, 3]);
        for (case, counted, parked, holds) in [
            ("all", &[1, 2][..], &[3][..], true),
            ("lost", &[1], &[3], false),
            ("twice", &[1, 2], &[2, 3], false),
            ("invented", &[1, 2], &[3, 4], false),
        ] {
            assert_eq!(no_parent_is_lost(&told, counted, parked).is_ok(), holds, "{case}");
        }
    }

    #[test]
    fn what_must_be_apart_and_is_not_is_found() {
        let (tax, user) = (NamespaceId(1), NamespaceId(0));
        let uniques = BTreeMap::from([
            (record(1), vec![(user, record(101))]),
            (record(2), vec![(user, record(101)), (tax, record(102))]),
            (record(3), vec![(user, record(103))]),
            (record(4), vec![(user, record(101)), (user, record(103))]),
        ]);
        let apart = [(record(5), record(6))];
        let table: [(&str, &[u8], bool); 5] = [
            ("one value", &[1, 2, 5], true),
            ("two values", &[1, 3], false),
            ("alone with two", &[4], true),
            ("with two, in company", &[4, 5], false),
            ("a judgement", &[5, 6], false),
        ];
        for (case, numbers, holds) in table {
            assert_eq!(exclusive_means_exclusive(&[cluster(numbers)], &uniques, &apart).is_ok(), holds, "{case}");
        }
    }

    #[test]
    fn ids_that_break_their_promise_are_found() {
        let before = replica(&[(0, live(&[1, 2, 3])), (1, live(&[4])), (2, Answer::Emptied)]);
        let rest = |zero: Answer, one: Answer, more: &[(u32, Answer)]| {
            let mut answers = vec![(0, zero), (1, one), (2, Answer::Emptied)];
            answers.extend_from_slice(more);
            replica(&answers)
        };
        let merged = |into| Answer::MergedInto(profile(into));
        let table = [
            ("nothing happened", before.clone(), true),
            ("the older survives a merge", rest(live(&[1, 2, 3, 4]), merged(0), &[]), true),
            ("the younger survives a merge", rest(merged(1), live(&[1, 2, 3, 4]), &[]), false),
            ("the larger part keeps the id", rest(live(&[1, 3]), live(&[4]), &[(3, live(&[2]))]), true),
            ("the smaller part keeps the id", rest(live(&[2]), live(&[4]), &[(3, live(&[1, 3]))]), false),
            ("a merge that tells of another", rest(live(&[1, 2, 3]), merged(0), &[(3, live(&[4]))]), false),
            ("an id forgotten", replica(&[(0, live(&[1, 2, 3, 4])), (2, Answer::Emptied)]), false),
            ("emptied with records left", rest(Answer::Emptied, live(&[1, 2, 3, 4]), &[]), false),
            ("erased", rest(Answer::Erased, live(&[4]), &[]), true),
            ("erased with records left", rest(Answer::Erased, live(&[1, 2, 3, 4]), &[]), false),
        ];
        for (case, after, holds) in table {
            let age = |record: Digest128| u64::from(record.0[0]);
            assert_eq!(ids_are_a_contract(&before, &after, &age).is_ok(), holds, "{case}");
        }
    }

    #[test]
    fn a_replica_refuses_changes_that_contradict_what_was_told() {
        let before = replica(&[(0, live(&[1, 2])), (1, live(&[3])), (2, Answer::Emptied)]);
        let records = |numbers: &[u8]| numbers.iter().map(|number| record(*number)).collect::<Vec<_>>();
        let table = [
            ("opened twice", ProfileChange::Created { profile: profile(1), records: vec![] }, false),
            ("revived", ProfileChange::Updated { profile: profile(2), joined: records(&[9]), touched: vec![] }, true),
            (
                "revived by nothing",
                ProfileChange::Updated { profile: profile(2), joined: vec![], touched: vec![] },
                false,
            ),
            (
                "touched elsewhere",
                ProfileChange::Updated { profile: profile(0), joined: vec![], touched: records(&[3]) },
                false,
            ),
            ("merged", ProfileChange::Merged { from: profile(1), into: profile(0), records: records(&[3]) }, true),
            (
                "merged in part",
                ProfileChange::Merged { from: profile(0), into: profile(1), records: records(&[1]) },
                false,
            ),
            (
                "split",
                ProfileChange::Split { from: profile(0), stays: true, into: vec![(profile(1), records(&[2]))] },
                true,
            ),
            (
                "split to the end",
                ProfileChange::Split { from: profile(0), stays: false, into: vec![(profile(1), records(&[2]))] },
                false,
            ),
            ("emptied with live records", ProfileChange::Emptied { profile: profile(0) }, false),
        ];
        for (case, change, holds) in table {
            assert_eq!(before.clone().apply(&change, &|_| true).is_ok(), holds, "{case}");
        }
    }
}
