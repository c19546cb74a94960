//! What is found of a subject, in one consistent picture: the scope of a request. What becomes of it is
//! [`ErasurePlan::of`]'s to say, whether it is shown or carried out.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use onefold_core::config::STEWARD_SOURCE;
use onefold_core::erasure::{
    Erased, ErasurePlan, Evidence, FormerKey, Found, ScopedRecord, ScopedStatement, ScopedTold, ScopedValue, Subject,
};
use onefold_core::fragment::PartyKind;
use onefold_core::ids::{Digest128, NamespaceId, ProfileOrdinal, Sequence, SlotId};
use onefold_core::judgement::Verdict;
use onefold_core::namespace::NamespaceClass;
use onefold_matching::prepared::LinkValue;
use onefold_matching::resolve::RecordView;

use crate::app::quarantine::points::Points;
use crate::app::tenant::{LiveConfig, State};

/// The plan for a subject, as of now.
pub fn plan(state: &State, config: &LiveConfig, subject: &Subject) -> ErasurePlan {
    ErasurePlan::of(found(state, config, subject))
}

/// The plan for source records that were erased elsewhere, named by keyed digest: these, and nothing that they lead to. Beside
/// it the records that were others' by then, and hold here still what was the erased person's alone: what they say goes, and
/// they may say what they say today.
pub fn plan_again(state: &State, config: &LiveConfig, erased: &Erased) -> (ErasurePlan, Vec<RecordView>) {
    let records: Vec<Digest128> = erased.records.iter().map(|record| record.digest).collect();
    let identifiers: Vec<Digest128> = erased.suppressed.iter().map(|(_, digest)| *digest).collect();
    let mut holders: BTreeSet<Digest128> = BTreeSet::new();
    for (namespace, digest) in &erased.suppressed {
        let value = LinkValue { namespace: *namespace, digest: *digest };
        let members = state.engine.profiles_at(*digest).into_iter().flat_map(|profile| state.engine.members(profile));
        holders.extend(members.map(|view| view.digest).filter(|record| state.held_by(*record).contains(&value)));
        let retracted =
            state.engine.retracted_with(&HashSet::new(), [value]).into_iter().map(|found| found.view.digest);
        holders.extend(retracted.filter(|record| state.held_by(*record).contains(&value)));
    }
    // Of the versions that the erasure took out of records of others.
    let lost = |key: &&FormerKey| state.engine.record(key.record).is_some_and(|view| view.slot == Some(key.slot));
    holders.extend(erased.former.iter().filter(lost).map(|key| key.record));
    let others = holders.into_iter().filter(|record| !records.contains(record));
    let others: Vec<RecordView> = others.filter_map(|record| state.engine.record(record)).collect();
    let mut found = found_of(state, config, &[], &records, &Leads::Nowhere { identifiers, keys: &erased.slots });
    found
        .former
        .extend(erased.former.iter().filter(|key| state.privacy.former.keys_of(key.record).any(|k| k == **key)));
    let of_others = others.iter().filter_map(|view| Some(FormerKey { record: view.digest, slot: view.slot? }));
    found.former.extend(of_others);
    (ErasurePlan::of(found), others)
}

/// The profiles that a subject leads to now.
fn profiles_of(state: &State, subject: &Subject) -> Vec<ProfileOrdinal> {
    let mut profiles = subject.profiles.clone();
    profiles.extend(subject.profiles.iter().flat_map(|profile| state.engine.live_ends(*profile)));
    profiles.extend(subject.records.iter().filter_map(|record| state.engine.profile_of(*record)));
    let (mut held, mut bygone) = (HashSet::new(), Vec::new());
    for (namespace, digest) in &subject.identifiers {
        // Where several hold it, it names none of them.
        let mut at = state.engine.profiles_at(*digest).into_iter();
        match (at.next(), at.next()) {
            (Some(only), None) => {
                held.insert(*namespace);
                profiles.push(only);
            }
            (Some(_), Some(_)) => {
                held.insert(*namespace);
            }
            (None, _) => bygone.push(LinkValue { namespace: *namespace, digest: *digest }),
        }
    }
    // Whom it led to last, where nobody has it today, as either kind of party.
    for value in bygone.into_iter().filter(|value| !held.contains(&value.namespace)) {
        let mut led_to = state.engine.led_to(value).into_iter();
        profiles.extend(led_to.next().filter(|_| led_to.next().is_none()));
    }
    profiles.sort_unstable();
    profiles.dedup();
    profiles
}

fn found(state: &State, config: &LiveConfig, subject: &Subject) -> Found {
    found_of(state, config, &profiles_of(state, subject), &subject.records, &Leads::On(&subject.identifiers))
}

/// Whether identifiers lead to retracted records beside those that are named.
enum Leads<'a> {
    /// They do, and so do these.
    On(&'a [(NamespaceId, Digest128)]),
    /// The scope was decided elsewhere; these identifiers are its own alone whatever is held today, and these keys went.
    Nowhere {
        /// Keyed digests of the identifiers.
        identifiers: Vec<Digest128>,
        /// The keys.
        keys: &'a [SlotId],
    },
}

/// What is found of these profiles and records.
fn found_of(
    state: &State,
    config: &LiveConfig,
    profiles: &[ProfileOrdinal],
    named: &[Digest128],
    leads: &Leads<'_>,
) -> Found {
    let mut records: Vec<ScopedRecord> = Vec::new();
    let scoped = |view: &RecordView, evidence: Evidence| {
        let ordinal = state.engine.ordinal_of(view.digest)?;
        Some(ScopedRecord { ordinal, digest: view.digest, source: view.source, slot: view.slot, evidence })
    };
    for profile in profiles {
        for member in state.engine.members(*profile) {
            records.extend(scoped(&member, Evidence::Member(*profile)));
        }
    }
    for profile in profiles {
        let was_in = state.engine.retracted_from(&[*profile]);
        records.extend(was_in.iter().filter_map(|view| scoped(view, Evidence::RetractedFrom(*profile))));
    }
    for digest in named {
        if let Some(view) = state.engine.record(*digest) {
            records.extend(scoped(&view, Evidence::Named));
        }
    }
    let mut scope: HashSet<u32> = records.iter().map(|record| record.ordinal).collect();
    if let Leads::On(identifiers) = leads {
        let seeds = identifiers.iter().map(|(namespace, digest)| LinkValue { namespace: *namespace, digest: *digest });
        for found in state.engine.retracted_with(&scope, seeds) {
            records.extend(scoped(&found.view, Evidence::Shares(found.by)));
        }
        scope = records.iter().map(|record| record.ordinal).collect();
    }
    let corrections = corrections_of(state, config, &scope, &records);
    records.extend(corrections.iter().filter_map(|view| scoped(view, Evidence::Corrects)));
    scope = records.iter().map(|record| record.ordinal).collect();
    let mut values: HashSet<ScopedValue> = HashSet::new();
    for record in &records {
        let last = state.engine.last_links_of(record.digest);
        for value in state.engine.links_of(record.digest).into_iter().chain(last) {
            values.insert(scoped_value(state, config, value, &scope));
        }
    }
    let digests: BTreeSet<Digest128> =
        records.iter().map(|record| record.digest).chain(named.iter().copied()).collect();
    values.extend(former_values(state, config, &digests, (&scope, &values), leads));
    if let Leads::On(identifiers) = leads {
        let named = known_of_nobody(state, &values, identifiers);
        values.extend(named.into_iter().map(|value| scoped_value(state, config, value, &scope)));
    }
    let mut points: HashSet<Digest128> = digests.iter().copied().collect();
    if let Leads::Nowhere { identifiers, .. } = leads {
        points.extend(identifiers);
    }
    points.extend(values.iter().filter(|value| value.is_suppressed()).map(|value| value.digest));
    let Waiting { quarantined, held_records, alone } = waiting(state, &points);
    // What was said with a fragment of theirs stands at its record, which nobody else has: it goes with it.
    points.extend(alone);
    let siblings = siblings(state, &values, &points);
    points.extend(siblings.iter().map(|(_, digest)| *digest));
    points.extend(state.held_alone(quarantined.iter().map(|(entry, _)| *entry), &points));
    let said = state.consent.ledger.standing_at(&points).into_iter();
    let mut statements: Vec<ScopedStatement> =
        said.map(|(id, slot, wholly)| ScopedStatement { id, slot, wholly }).collect();
    let told_of: Vec<ScopedTold> =
        digests.iter().chain(&held_records).filter_map(|record| told_of(state, *record, leads)).collect();
    let mut told: Vec<SlotId> =
        told_of.iter().flat_map(|told| state.accounts.slots_of(told.party, told.record)).collect();
    told.extend(state.judgements.slots_about(&digests.iter().copied().collect::<Vec<_>>()));
    let profiles = digests.iter().filter_map(|record| state.engine.profile_of(*record)).collect();
    let former = &state.privacy.former;
    let mut keys: Vec<FormerKey> = digests.iter().flat_map(|record| former.keys_of(*record)).collect();
    // What others' records said before they were others'.
    keys.extend(points.iter().flat_map(|point| former.keys_at(*point)));
    statements.extend(keys.iter().filter(|key| !digests.contains(&key.record)).flat_map(|key| said_with(state, *key)));
    let values = values.into_iter().collect();
    Found { siblings, records, values, quarantined, held_records, statements, told_of, told, former: keys, profiles }
}

/// What was said at a record while it said what this key seals, and stands nowhere else: its words are of whoever it was then.
fn said_with(state: &State, key: FormerKey) -> Vec<ScopedStatement> {
    let eras: Vec<(SlotId, Sequence)> =
        state.privacy.former.eras_of(key.record).map(|(slot, (until, _), _)| (slot, until)).collect();
    let Some(place) = eras.iter().position(|(slot, _)| *slot == key.slot) else { return Vec::new() };
    let from = place.checked_sub(1).map_or(Sequence(0), |before| eras[before].1);
    let until = eras[place].1;
    let said = state.consent.ledger.standing_at(&HashSet::from([key.record])).into_iter();
    let then = said.filter(|(id, _, wholly)| *wholly && (from..until).contains(id));
    then.map(|(id, slot, wholly)| ScopedStatement { id, slot, wholly }).collect()
}

/// What calls told of a record in scope, as the kind of party that its fragments are of. Where none was ever seen, it is
/// told of as a person; an account that has its name is meant where nobody is, nor was when the record was erased before.
fn told_of(state: &State, record: Digest128, leads: &Leads<'_>) -> Option<ScopedTold> {
    let accounts = &state.accounts;
    let seen = state.engine.record(record).filter(|view| view.slot.is_some());
    let is_account = || match leads {
        Leads::On(_) => !state.privacy.suppressions.contains_key(&record),
        Leads::Nowhere { keys, .. } => {
            accounts.slots_of(PartyKind::Organisation, record).iter().any(|slot| keys.contains(slot))
        }
    };
    let party = match seen {
        Some(view) => view.party,
        None if accounts.is_told(PartyKind::Person, record) => PartyKind::Person,
        None if is_account() => PartyKind::Organisation,
        None => return None,
    };
    let source = match party {
        PartyKind::Person => accounts.stages.get(&(party, record)).map(|held| held.source),
        PartyKind::Organisation => {
            accounts.forest.find(record).and_then(|account| accounts.forest.get(account)).map(|a| a.facts.source)
        }
    };
    let told = ScopedTold { party, record, source, alone: state.engine.ordinal_of(record).is_none() };
    accounts.is_told(party, record).then_some(told)
}

/// What of a scope waits in quarantine.
struct Waiting {
    /// The fragments, and their keys.
    quarantined: Vec<(Sequence, SlotId)>,
    /// Records that nobody but quarantine knows, and that are the person's.
    held_records: Vec<Digest128>,
    /// The same, and those whose key is an account's too: what was said there is the person's.
    alone: BTreeSet<Digest128>,
}

/// What waits in quarantine and is found by these points; of a record that nobody else knows all that waits of it.
fn waiting(state: &State, points: &HashSet<Digest128>) -> Waiting {
    let found_by = &state.privacy.quarantined;
    let is_alone = |record: &Digest128| state.engine.ordinal_of(*record).is_none();
    let found: BTreeMap<Sequence, &Points> = points.iter().flat_map(|point| found_by.at(*point)).collect();
    let theirs = found.values().filter(|held| held.is_of(points)).filter_map(|held| held.record());
    // An account of the same key is another party's, and stays.
    let is_no_account = |record: &Digest128| state.accounts.vacated(*record).is_none();
    let held_records: BTreeSet<Digest128> = theirs.filter(is_alone).filter(is_no_account).collect();
    let entries: BTreeMap<Sequence, &Points> =
        held_records.iter().flat_map(|record| found_by.of_record(*record)).chain(found).collect();
    let alone = state.held_alone(entries.keys().copied(), points);
    let slot = |entry: &Sequence| Some((*entry, state.quarantine.get(entry)?.slot));
    Waiting {
        quarantined: entries.keys().filter_map(slot).collect(),
        held_records: held_records.into_iter().collect(),
        alone,
    }
}

/// What stewards corrected of these records at their person's wish, where nobody is left with it but they: its sources took all
/// else back.
fn corrections_of(
    state: &State,
    config: &LiveConfig,
    scope: &HashSet<u32>,
    records: &[ScopedRecord],
) -> Vec<RecordView> {
    let Some(stewards) = config.source_named(STEWARD_SOURCE) else { return Vec::new() };
    let entries = records.iter().flat_map(|record| state.judgements.about(record.digest));
    let pairs = entries.filter_map(|entry| state.judgements.get(entry)).map(|told| told.records);
    let corrects = |one: Digest128, other: Digest128| {
        let view = state.engine.record(one).filter(|view| view.source == stewards)?;
        let same = state.engine.judgement(one, other).is_some_and(|judged| judged.verdict == Verdict::Same);
        same.then_some(view)
    };
    let mut found: Vec<RecordView> = Vec::new();
    for view in pairs.flat_map(|(one, other)| [corrects(one, other), corrects(other, one)]).flatten() {
        let members = state.engine.profile_of(view.digest).map_or_else(|| vec![view], |of| state.engine.members(of));
        let theirs = |member: &RecordView| {
            let within = |ordinal: u32| scope.contains(&ordinal);
            member.source == stewards || state.engine.ordinal_of(member.digest).is_some_and(within)
        };
        if members.iter().all(theirs) {
            found.extend(members.into_iter().filter(|member| member.source == stewards));
        }
    }
    found
}

/// What is known of a value that the scope holds, or that the request names.
pub(crate) fn scoped_value(state: &State, config: &LiveConfig, value: LinkValue, scope: &HashSet<u32>) -> ScopedValue {
    let held = state.engine.held_beyond(value, scope);
    let class = config.config.namespace(value.namespace).map(|namespace| namespace.class);
    ScopedValue {
        namespace: value.namespace,
        digest: value.digest,
        identifying: class.is_some_and(|class| class != NamespaceClass::Supporting),
        shared: held.shared,
        generic: held.generic,
    }
}

/// What these records held once, and none of them holds now: an old file must not bring anybody back by it. That others held it
/// once too makes it nobody else's today: what they said with it goes along ([`FormerKey`]), since it was this person's, by mistake or
/// by a number that was given out again.
fn former_values(
    state: &State,
    config: &LiveConfig,
    records: &BTreeSet<Digest128>,
    (scope, held): (&HashSet<u32>, &HashSet<ScopedValue>),
    leads: &Leads<'_>,
) -> Vec<ScopedValue> {
    let former = &state.privacy.former;
    let all: HashSet<LinkValue> = records.iter().flat_map(|record| former.of(*record)).copied().collect();
    let gone = all.into_iter().filter(|value| !held.iter().any(|held| held.digest == value.digest));
    // Whoever said something there since, and was not these records, has it now.
    let eras = || records.iter().flat_map(|record| former.eras_of(*record));
    let said_since = |value: &LinkValue| {
        let until = eras().filter(|(_, _, held)| held.contains(value)).map(|(_, (_, until), _)| until).max();
        let ledger = &state.consent.ledger;
        let said = ledger.standing_at(&HashSet::from([value.digest])).into_iter();
        let by_identifier = said.filter_map(|(id, ..)| ledger.get(id)).filter(|entry| entry.by_identifier);
        until.is_some_and(|until| by_identifier.map(|entry| entry.given_at).any(|at| at > until))
    };
    let asked_by = |value: &LinkValue| match leads {
        Leads::On(identifiers) => identifiers.contains(&(value.namespace, value.digest)),
        Leads::Nowhere { identifiers, .. } => identifiers.contains(&value.digest),
    };
    let scoped = gone.map(|value| {
        let now = scoped_value(state, config, value, scope);
        ScopedValue { shared: now.shared || (!asked_by(&value) && said_since(&value)), ..now }
    });
    scoped.collect()
}

/// Identifiers that the request names, that no record in scope holds, and at which something is kept all the same: what was
/// said there, a contact, a fragment in quarantine, older versions of records that hold it no more. Who subscribed by an
/// address alone has no profile, and rights.
fn known_of_nobody(
    state: &State,
    values: &HashSet<ScopedValue>,
    identifiers: &[(NamespaceId, Digest128)],
) -> Vec<LinkValue> {
    let mut known: Vec<LinkValue> = Vec::new();
    let ledger = &state.consent.ledger;
    for (namespace, digest) in identifiers {
        if values.iter().any(|value| value.digest == *digest) {
            continue;
        }
        let is_known = |point: &Digest128| {
            values.iter().map(|v| v.digest).chain(known.iter().map(|v| v.digest)).any(|d| d == *point)
        };
        // The same identifier as another kind of party would hold it: what was said of both is found at the one.
        let elsewhere = |id: Sequence| ledger.points_of(id).iter().any(is_known);
        let said = ledger.standing_at(&HashSet::from([*digest])).into_iter().any(|(id, ..)| !elsewhere(id));
        // What is mentioned is, as either kind of party: it is found at the one.
        let is_found = |held: &Points| held.name(*digest) || !held.all().any(is_known);
        let held = state.privacy.quarantined.at(*digest).any(|(_, held)| is_found(held));
        let once = state.engine.profiles_at(*digest).is_empty() && state.privacy.former.knows(*digest);
        let twin = identifiers.iter().any(|(of, other)| of == namespace && is_known(other));
        if said || held || once || (!twin && state.consent.reservations.is_charged(*digest)) {
            known.push(LinkValue { namespace: *namespace, digest: *digest });
        }
    }
    known
}

/// A statement about an identifier stands at it as a person would hold it and as an organisation would. Where nobody holds
/// the other, it is the same identifier of the same person.
fn siblings(
    state: &State,
    values: &HashSet<ScopedValue>,
    points: &HashSet<Digest128>,
) -> Vec<(NamespaceId, Digest128)> {
    let ledger = &state.consent.ledger;
    let mut siblings = Vec::new();
    for (id, ..) in ledger.standing_at(points).into_iter().filter(|(.., wholly)| !wholly) {
        if !ledger.get(id).is_some_and(|entry| entry.by_identifier) {
            continue;
        }
        let stands = ledger.points_of(id);
        // The least, so that one scope has one digest.
        let at = values.iter().filter(|value| stands.contains(&value.digest));
        let namespace = at.map(|value| (value.namespace, value.digest)).min().map(|(namespace, _)| namespace);
        let others = stands.iter().filter(|point| !points.contains(point));
        let free = |point: &&Digest128| state.engine.profiles_at(**point).is_empty();
        siblings.extend(namespace.into_iter().flat_map(|n| others.clone().filter(free).map(move |point| (n, *point))));
    }
    siblings
}
