//! The laws that must hold at every moment, as plain functions over plain data. Property tests, the model test and
//! `debug_assert!` call the same ones. An `Err` names the law and what broke it, in ids only.

mod replica;

use std::collections::{BTreeMap, BTreeSet};

use crate::consent::policy::Regime;
use crate::consent::state::{State, Voices};
use crate::ids::{Digest128, NamespaceId, ProfileOrdinal};

pub use replica::{Answer, Replica};

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
    use crate::change::ProfileChange;

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
