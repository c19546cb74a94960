//! The judgements that make profiles one, or part one.

use std::collections::BTreeSet;

use onefold_core::config::STEWARD_SOURCE;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::SourceRecord;
use onefold_core::ids::{Digest128, ProfileOrdinal, Sequence};
use onefold_core::judgement::Verdict;
use onefold_matching::resolve::RecordView;

use super::JUDGED_AT_ONCE_MAX;
use crate::app::error::ReadError;
use crate::app::tenant::{LiveConfig, State, Tenant};

/// The pairs that make these profiles one, all records of each: two of the records are judged the same as each other and as
/// all the rest. Two, so that taking back any one record takes none of the others along. They are chosen by content, so that
/// the same call judges the same pairs. What was judged different among the records before is judged the same as well.
///
/// # Errors
/// [`ReadError`] when one of them is not live, [`ReadError::Invalid`] when two are one already, or when they hold more records
/// than one call judges.
pub fn pairs_to_merge(
    tenant: &Tenant,
    profiles: &[ProfileOrdinal],
) -> Result<Vec<(Digest128, Digest128, Verdict)>, ReadError> {
    let stewards = tenant.config().source_named(STEWARD_SOURCE);
    let invalid = |message: String| ReadError::Invalid(vec![FieldFault::new("names", FaultReason::Malformed, message)]);
    let mut distinct = profiles.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < 2 || distinct.len() != profiles.len() {
        return Err(invalid("give at least two profiles, each once; some of these are one already".to_owned()));
    }
    let found = tenant.seen(|state| {
        let records = |profile: &ProfileOrdinal| {
            let mut members = state.engine.members(*profile);
            // A correction comes with the record beside which it was made; judged the same as others, it would go with those
            // when the profiles are parted.
            if members.iter().any(|view| Some(view.source) != stewards) {
                members.retain(|view| Some(view.source) != stewards);
            }
            let mut records: Vec<_> = members.iter().map(|view| (view.facts, view.digest)).collect();
            records.sort_unstable();
            (!records.is_empty()).then_some(records)
        };
        let mut by_hub = distinct.iter().map(records).collect::<Option<Vec<_>>>()?;
        by_hub.sort_unstable();
        let all: BTreeSet<Digest128> = by_hub.iter().flatten().map(|(_, record)| *record).collect();
        let about = all.iter().flat_map(|record| state.judgements.about(*record));
        let told = about.filter_map(|entry| Some(state.judgements.get(entry)?.records));
        let apart = |(one, other): (Digest128, Digest128)| {
            let judged = state.engine.judgement(one, other);
            all.contains(&one) && all.contains(&other) && judged.is_some_and(|told| told.verdict == Verdict::Different)
        };
        let apart: BTreeSet<(Digest128, Digest128)> = told.filter(|records| apart(*records)).collect();
        Some((by_hub, apart))
    })?;
    let (by_hub, apart) = found.ok_or(ReadError::ProfileUnknown)?;
    let count: usize = by_hub.iter().map(Vec::len).sum();
    let (first, second) = (by_hub[0][0].1, by_hub[1][0].1);
    let mut pairs = vec![(first, second, Verdict::Same)];
    for (_, record) in by_hub.iter().flatten().filter(|(_, record)| ![first, second].contains(record)) {
        pairs.extend([first, second].map(|hub| (hub, *record, Verdict::Same)));
    }
    let of_hub = |(one, other): &(Digest128, Digest128)| [first, second].iter().any(|hub| [one, other].contains(&hub));
    pairs.extend(apart.iter().filter(|records| !of_hub(records)).map(|(one, other)| (*one, *other, Verdict::Same)));
    if pairs.len() > JUDGED_AT_ONCE_MAX {
        let message = format!(
            "these profiles hold {count} records, which takes {} judgements, and one call makes {JUDGED_AT_ONCE_MAX}: judge pairs of records with Judge instead",
            pairs.len()
        );
        return Err(ReadError::Invalid(vec![FieldFault::new("names", FaultReason::TooLarge, message)]));
    }
    Ok(pairs)
}

/// Whether it is by this judgement that a correction is a person's: stewards do not take back what was done upon a request.
pub fn holds_a_correction(state: &State, config: &LiveConfig, entry: Sequence) -> bool {
    let stewards = config.source_named(STEWARD_SOURCE);
    let Some(told) = state.judgements.get(entry) else { return false };
    let (one, other) = told.records;
    let is_same = state.engine.judgement(one, other).is_some_and(|judged| judged.verdict == Verdict::Same);
    let is_correction = |record| state.engine.record(record).is_some_and(|view| Some(view.source) == stewards);
    is_same && (is_correction(one) || is_correction(other))
}

/// Puts corrections on the side of the records beside which they were made, and where those are parted, with the ones that
/// stay; false when one is named without any of them.
fn take_corrections_along(
    state: &State,
    config: &LiveConfig,
    members: &[RecordView],
    leave: &mut Vec<Digest128>,
) -> bool {
    let stewards = config.source_named(STEWARD_SOURCE);
    let is_correction = |view: &&RecordView| Some(view.source) == stewards;
    let same = |one: Digest128, other: Digest128| {
        state.engine.judgement(one, other).is_some_and(|judged| judged.verdict == Verdict::Same)
    };
    // In the order of their coming: a later one may have been made beside an earlier one.
    for correction in members.iter().filter(is_correction) {
        let beside = members.iter().filter(|view| same(view.digest, correction.digest));
        let (go, stay): (Vec<&RecordView>, Vec<_>) = beside.partition(|view| leave.contains(&view.digest));
        match (leave.contains(&correction.digest), go.is_empty(), stay.is_empty()) {
            (false, false, true) => leave.push(correction.digest),
            (true, true, false) => return false,
            _ => {}
        }
    }
    true
}

/// The pairs that keep these records apart from the rest of the profile.
///
/// # Errors
/// [`ReadError::ProfileUnknown`] when it is not live, [`ReadError::Invalid`] when the records are not some of it.
pub fn pairs_to_split(
    tenant: &Tenant,
    profile: ProfileOrdinal,
    records: &[SourceRecord],
) -> Result<Vec<(Digest128, Digest128, Verdict)>, ReadError> {
    let config = tenant.config();
    let mut leave: Vec<Digest128> =
        records.iter().map(|record| config.preparer().record_digest(record.source, &record.key)).collect();
    leave.sort_unstable();
    leave.dedup();
    let (members, leave, whole) = tenant.seen(|state| {
        let (members, mut leave) = (state.engine.members(profile), leave.clone());
        let whole = take_corrections_along(state, &config, &members, &mut leave);
        (members.iter().map(|view| view.digest).collect::<Vec<_>>(), leave, whole)
    })?;
    if members.is_empty() {
        return Err(ReadError::ProfileUnknown);
    }
    let invalid =
        |message: String| ReadError::Invalid(vec![FieldFault::new("records", FaultReason::Malformed, message)]);
    if leave.is_empty() || leave.iter().any(|record| !members.contains(record)) {
        return Err(invalid(
            "name records of this profile, at least one; GetProfile in FULL view shows them".to_owned(),
        ));
    }
    if !whole {
        return Err(invalid("a correction goes with the record beside which it was made: name that one".to_owned()));
    }
    let stay: Vec<Digest128> = members.into_iter().filter(|record| !leave.contains(record)).collect();
    if stay.is_empty() {
        return Err(invalid(
            "name some of the profile's records, not all: the rest is what they are parted from".to_owned(),
        ));
    }
    if leave.len() * stay.len() > JUDGED_AT_ONCE_MAX {
        let message =
            format!("{} by {} records are over the bound of {JUDGED_AT_ONCE_MAX} pairs", leave.len(), stay.len());
        return Err(invalid(message));
    }
    Ok(leave.iter().flat_map(|one| stay.iter().map(|other| (*one, *other, Verdict::Different))).collect())
}
