//! What is held about a person, found: in memory as one consistent picture, and in the journal all that was ever told of
//! the person's records and is kept, places only.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use onefold_core::consent::ledger::Entry as LedgerEntry;
use onefold_core::consent::reserve::{Reservation, Standing};
use onefold_core::decision::{self, ContactReserved, EntryKind, RecordRetracted, ReservationSettled, Sealed};
use onefold_core::erasure::{ErasurePlan, PrivacyError, PrivacyRequest, ScopedRecord, Suppression};
use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::hierarchy::entry::Subject;
use onefold_core::ids::{Digest128, Place, ProfileOrdinal, Sequence, SlotId};
use onefold_matching::prepared::LinkValue;
use onefold_matching::resolve::RecordView;
use onefold_store::journal::{EntryView, JournalError, VisitError};

use crate::app::Shared;
use crate::app::error::{ReadError, WriteError};
use crate::app::hierarchy::read::stage_of;
use crate::app::privacy::plan;
use crate::app::review::Told;
use crate::app::tenant::{Held, LiveConfig, State, Tenant};

/// What memory says, all of one moment.
pub struct Picture {
    /// The request.
    pub asked: PrivacyRequest,
    /// What is in scope.
    pub plan: ErasurePlan,
    /// Up to here.
    pub sequence: Sequence,
    /// The configuration that it is read under.
    pub config: Arc<LiveConfig>,
    /// Records in scope, by source and ordinal, with what the engine knows of each.
    pub records: Vec<(ScopedRecord, Option<RecordView>)>,
    /// The profiles of these, with the stage of each.
    pub profiles: Vec<(ProfileOrdinal, Option<String>)>,
    /// Quarantined fragments, with the keyed digests that they are found by.
    pub quarantined: Vec<(Sequence, Held, Box<[Digest128]>)>,
    /// Statements, where each stands, and whether it stands nowhere else.
    pub statements: Vec<(LedgerEntry, Box<[Digest128]>, bool)>,
    /// Statements at identifiers that others hold too.
    pub statements_at_shared: usize,
    /// Judgements in force about the records.
    pub judgements: Vec<(Sequence, Told)>,
    /// Keyed digests of the records, and of the identifiers that are this person's alone.
    pub points: HashSet<Digest128>,
    /// What is kept to stop what was erased of the person from coming back, with how often it did.
    pub suppressions: Vec<(Suppression, u64)>,
    /// What calls told that is the person's: of their records as persons, and not of accounts that have the same keys.
    pub told_of: HashSet<(PartyKind, Digest128)>,
    /// Those of these identifiers that the request names or live records hold; all of them where no record is live.
    pub own: HashSet<Digest128>,
    /// What records in scope said when they were somebody else's.
    pub of_others: OfOthers,
}

/// Older versions of records in scope with an identifier that somebody else has today and that none of these records has: an
/// address was typed at the wrong contact, a record was passed on.
#[derive(Debug, Default)]
pub struct OfOthers {
    /// The keys of such versions.
    pub keys: HashSet<SlotId>,
    /// Records with such versions, and the sequence at which the last of them ended.
    pub until: HashMap<Digest128, Sequence>,
}

impl OfOthers {
    fn of(state: &State, config: &LiveConfig, plan: &ErasurePlan) -> Self {
        let scope: HashSet<u32> = plan.records.iter().map(|record| record.ordinal).collect();
        let held: HashSet<Digest128> =
            plan.records.iter().flat_map(|record| state.held_by(record.digest)).map(|value| value.digest).collect();
        let is_of_others = |value: &LinkValue| {
            let scoped = plan::scoped_value(state, config, *value, &scope);
            !held.contains(&value.digest) && scoped.identifying && scoped.shared
        };
        let mut found = Self::default();
        for record in &plan.records {
            for (slot, (until, _), values) in state.privacy.former.eras_of(record.digest) {
                if values.iter().any(is_of_others) {
                    found.keys.insert(slot);
                    let last = found.until.entry(record.digest).or_insert(until);
                    *last = until.max(*last);
                }
            }
        }
        found
    }

    /// Whether what was said at these points may have been said of somebody else.
    pub fn said(&self, id: Sequence, points: &[Digest128]) -> bool {
        points.iter().any(|point| self.until.get(point).is_some_and(|until| id < *until))
    }
}

impl Picture {
    /// Takes it.
    ///
    /// # Errors
    /// [`PrivacyError`] where the request may not be carried out with this scope.
    pub fn take(tenant: &Tenant, id: Sequence, seen: Digest128) -> Result<Self, WriteError> {
        let config = tenant.config();
        let taken = tenant.seen(|state| Self::of(state, &config, id, seen));
        taken.map_err(WriteError::from)?.map_err(WriteError::from)
    }

    fn of(state: &State, config: &Arc<LiveConfig>, id: Sequence, seen: Digest128) -> Result<Self, PrivacyError> {
        let asked = state.privacy.requests.get(&id).cloned().ok_or(PrivacyError::Unknown)?;
        let plan = plan::plan(state, config, &asked.subject);
        asked.may_deliver(seen, plan.scope(), &state.privacy.policy)?;
        let named = asked.subject.records.iter().chain(asked.subject.identifiers.iter().map(|(_, digest)| digest));
        let scoped = plan.records.iter().map(|record| &record.digest);
        let digests: BTreeSet<Digest128> =
            named.chain(scoped).chain(plan.suppressed.iter().map(|value| &value.digest)).copied().collect();
        let stops = digests.iter().filter_map(|digest| state.privacy.suppressions.get(digest)).copied();
        let stopped = |request| state.privacy.stopped.get(&request).copied().unwrap_or(0);
        // An identifier has a digest for each kind of party; one line tells of both.
        let mut suppressions: Vec<_> = stops.map(|one| (one, stopped(one.request))).collect();
        suppressions.sort_by_key(|(one, _)| (one.namespace, one.request));
        suppressions.dedup_by_key(|(one, _)| (one.namespace, one.request));
        if plan.is_empty() && plan.suppressed.is_empty() && suppressions.is_empty() {
            return Err(PrivacyError::NothingHeld);
        }
        let ledger = &state.consent.ledger;
        let entry = |wholly| move |id: &Sequence| Some((*ledger.get(*id)?, ledger.points_of(*id).into(), wholly));
        let mut statements: Vec<_> = plan.statements.iter().filter_map(entry(true)).collect();
        statements.extend(plan.statements_kept.iter().filter_map(entry(false)));
        statements.sort_by_key(|(entry, ..): &(LedgerEntry, _, _)| entry.id);
        let mut about: Vec<Sequence> =
            plan.records.iter().flat_map(|record| state.judgements.about(record.digest)).collect();
        about.sort_unstable();
        about.dedup();
        let stage = |profile: &ProfileOrdinal| {
            let members = state.engine.members(*profile);
            let party = members.first()?.party;
            let reached = stage_of(state, config, party, members.iter().map(|member| member.digest))?;
            Some(state.accounts.lifecycle.name(reached.stage).to_owned())
        };
        let mut points: HashSet<Digest128> = plan.records.iter().map(|record| record.digest).collect();
        points.extend(plan.told_alone().map(|told| told.record));
        points.extend(plan.suppressed.iter().map(|value| value.digest));
        points.extend(plan.siblings.iter().map(|(_, digest)| *digest));
        points.extend(&plan.held_records);
        let live = |record: &ScopedRecord| state.engine.profile_of(record.digest).is_some();
        let mut sure: HashSet<Digest128> = asked.subject.identifiers.iter().map(|(_, digest)| *digest).collect();
        let held = plan.records.iter().filter(|record| live(record)).flat_map(|r| state.engine.links_of(r.digest));
        sure.extend(held.map(|value| value.digest));
        let any_live = plan.records.iter().any(live);
        let own = plan.suppressed.iter().map(|value| value.digest).filter(|value| !any_live || sure.contains(value));
        Ok(Self {
            own: own.collect(),
            of_others: OfOthers::of(state, config, &plan),
            told_of: plan.told_of.iter().map(|told| (told.party, told.record)).collect(),
            suppressions,
            sequence: state.sequence,
            config: Arc::clone(config),
            records: plan.records.iter().map(|record| (*record, state.engine.record(record.digest))).collect(),
            profiles: plan.profiles.iter().map(|profile| (*profile, stage(profile))).collect(),
            quarantined: plan
                .quarantined
                .iter()
                .filter_map(|entry| {
                    let points = state.privacy.quarantined.get(*entry).map(|held| held.own.clone()).unwrap_or_default();
                    Some((*entry, *state.quarantine.get(entry)?, points))
                })
                .collect(),
            statements,
            statements_at_shared: statements_at_shared(state, &plan),
            judgements: about.into_iter().filter_map(|entry| Some((entry, *state.judgements.get(entry)?))).collect(),
            points,
            asked,
            plan,
        })
    }

    /// The ordinals of the records in scope.
    pub fn scope(&self) -> HashSet<u32> {
        self.plan.records.iter().map(|record| record.ordinal).collect()
    }
}

/// Statements at identifiers that others hold too: said of whoever holds them, so that they are counted and not shown.
pub fn statements_at_shared(state: &State, plan: &ErasurePlan) -> usize {
    let listed: HashSet<&Sequence> = plan.statements.iter().chain(&plan.statements_kept).collect();
    let shared: Vec<Digest128> = plan.shared.iter().map(|value| value.digest).collect();
    state.consent.ledger.ids_at(&shared).iter().filter(|id| !listed.contains(id)).count()
}

/// An entry of the journal about a record.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Where in the order of events.
    pub sequence: Sequence,
    /// Where it lies.
    pub place: Place,
    /// When it was written.
    pub at: ObservedAt,
    /// Its kind.
    pub kind: EntryKind,
}

/// What the journal keeps of a person.
#[derive(Debug, Default)]
pub struct History {
    /// Fragments, by record.
    pub fragments: BTreeMap<u32, Vec<Written>>,
    /// How many more there are of a record that was somebody else's when they came.
    pub of_others: BTreeMap<u32, usize>,
    /// Retractions, by record, and when each was observed.
    pub retractions: BTreeMap<u32, Vec<(Written, ObservedAt)>>,
    /// What was told of the records as parts of accounts, and of their stages; with the keyed digest of the record.
    pub told: Vec<(Digest128, Written)>,
    /// Contacts that were charged to the person.
    pub contacts: BTreeMap<Sequence, (ObservedAt, Reservation)>,
    /// Privacy requests that named the person.
    pub asked: Vec<Sequence>,
}

/// What the journal is searched for.
struct Search<'a> {
    picture: &'a Picture,
    by_slot: HashMap<SlotId, u32>,
    by_record: HashMap<Digest128, u32>,
    profiles: HashSet<ProfileOrdinal>,
    found: History,
}

impl History {
    /// Reads the journal through, up to where the picture was taken. Not for asynchronous threads.
    ///
    /// # Errors
    /// [`ReadError`] when it cannot be read.
    pub fn read(shared: &Shared, tenant: &Tenant, picture: &Picture) -> Result<Self, ReadError> {
        let by_record: HashMap<Digest128, u32> =
            picture.plan.records.iter().map(|record| (record.digest, record.ordinal)).collect();
        // Older versions of records that others have today are not for this person's eyes as such: they are erased, not shown.
        let former = picture.plan.former.iter().filter_map(|key| Some((key.slot, *by_record.get(&key.record)?)));
        let by_slot = picture.records.iter().filter_map(|(record, _)| Some((record.slot?, record.ordinal)));
        let by_slot = by_slot.chain(former).collect();
        let profiles = picture.plan.profiles.iter().copied().collect();
        let mut search = Search { picture, by_slot, by_record, profiles, found: Self::default() };
        let read = shared.journal.scan(Place { segment: 1, offset: 0 }, |batch| {
            let at = ObservedAt(batch.time_micros);
            for entry in batch.entries().filter(|entry| entry.tenant == tenant.id) {
                if entry.sequence > picture.sequence {
                    return Ok(ControlFlow::Break(()));
                }
                search.look(&entry, at, tenant)?;
            }
            Ok(ControlFlow::Continue(()))
        });
        read.map_err(|error| match error {
            JournalError::Damaged(damage) => {
                let place = Place { segment: damage.segment, offset: damage.offset };
                ReadError::at(place, JournalError::Damaged(damage))
            }
            error => ReadError::Store(error.into()),
        })?;
        Ok(search.found)
    }
}

impl Search<'_> {
    fn look(&mut self, entry: &EntryView<'_>, at: ObservedAt, tenant: &Tenant) -> Result<(), VisitError> {
        let (Some(kind), Some(payload)) = (EntryKind::from_u8(entry.kind.0), entry.bytes()) else { return Ok(()) };
        let written = Written { sequence: entry.sequence, place: entry.place, at, kind };
        match kind {
            EntryKind::FragmentPut => {
                let slot = Sealed::parse(payload)?.slot;
                if let Some(record) = self.by_slot.get(&slot) {
                    if self.picture.of_others.keys.contains(&slot) {
                        *self.found.of_others.entry(*record).or_default() += 1;
                    } else {
                        self.found.fragments.entry(*record).or_default().push(written);
                    }
                }
            }
            EntryKind::RecordRetracted => {
                let retracted: RecordRetracted = decision::decode(payload)?;
                if let Some(record) = self.by_record.get(&retracted.record) {
                    let all = self.found.retractions.entry(*record).or_default();
                    all.push((written, retracted.observed_at));
                }
            }
            EntryKind::AccountPut
            | EntryKind::AccountParentSet
            | EntryKind::AccountClosed
            | EntryKind::AffiliationStated
            | EntryKind::AffiliationEnded
            | EntryKind::StageSet => {
                let (subject, _) = Subject::parse(payload)?;
                let theirs = |party| self.picture.told_of.contains(&(party, subject.record));
                let is_theirs = match kind {
                    EntryKind::AffiliationStated | EntryKind::AffiliationEnded => theirs(PartyKind::Person),
                    // Of whom a stage is lies in its content.
                    EntryKind::StageSet => theirs(PartyKind::Person) || theirs(PartyKind::Organisation),
                    _ => theirs(PartyKind::Organisation),
                };
                if is_theirs {
                    self.found.told.push((subject.record, written));
                }
            }
            EntryKind::ContactReserved => {
                let reserved: ContactReserved = decision::decode(payload)?;
                let theirs = |charge: &Digest128| self.picture.points.contains(charge);
                if reserved.reservation.charged.iter().any(theirs) {
                    self.found.contacts.insert(entry.sequence, (at, reserved.reservation));
                }
            }
            EntryKind::ReservationSettled => {
                let settled: ReservationSettled = decision::decode(payload)?;
                if let Some((_, known)) = self.found.contacts.get_mut(&settled.reservation) {
                    known.standing = settled.standing;
                }
            }
            EntryKind::PrivacyRequestPut => {
                let asked: PrivacyRequest = decision::decode(payload)?;
                if !self.found.asked.contains(&asked.id) && self.is_about(&asked, tenant) {
                    self.found.asked.push(asked.id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn is_about(&self, asked: &PrivacyRequest, tenant: &Tenant) -> bool {
        let points = &self.picture.points;
        let subject = &asked.subject;
        asked.id == self.picture.asked.id
            || subject.records.iter().any(|record| points.contains(record))
            || subject.identifiers.iter().any(|(_, digest)| points.contains(digest))
            || subject.profiles.iter().any(|profile| {
                self.profiles.contains(profile)
                    || tenant.state().engine.live_ends(*profile).iter().any(|end| self.profiles.contains(end))
            })
    }
}

/// What became of a contact.
pub const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Open => "OPEN",
        Standing::Confirmed => "CONFIRMED",
        Standing::Released => "RELEASED",
    }
}
