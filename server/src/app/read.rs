//! Profiles, read: which one a key leads to, and what its fragments say together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use onefold_core::decision::Sealed;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::{Fragment, PartyKind, SourceRecord};
use onefold_core::ids::{Digest128, NamespaceId, Place, ProfileId, ProfileOrdinal, Sequence};
use onefold_core::profile::{Detail, Golden, unify};
use onefold_matching::prepare::{LookupError, ReadIdentifier};
use onefold_matching::prepared::LinkValue;
use onefold_matching::resolve::{Standing, VALUE_PROFILES_MAX, ValueStanding};
use onefold_store::vault::Vault;

use super::Shared;
use super::error::ReadError;
use super::tenant::{LiveConfig, State, Tenant};
use crate::clock::Stopwatch;

/// How long a reader waits for a batch that is on its way to the disk, and how often it looks.
const DURABLE_WAIT_MAX: Duration = Duration::from_secs(5);
const DURABLE_WAIT_STEP: Duration = Duration::from_micros(200);

/// What a caller asks for.
#[derive(Clone, Debug)]
pub enum ProfileKey {
    /// A profile id.
    Id(ProfileId),
    /// An identifier, as typed; of one kind of party, or of either.
    Identifier(NamespaceId, String, Option<PartyKind>),
    /// A source record.
    Record(SourceRecord),
}

/// The live fragments of a profile, all of one moment.
#[derive(Debug)]
pub struct Loaded {
    /// Which profile.
    pub profile: ProfileOrdinal,
    /// Sequence of its last change.
    pub changed: Sequence,
    /// The configuration that they are read under.
    pub config: Arc<LiveConfig>,
    fragments: Vec<Fragment>,
}

impl Loaded {
    /// The fragments, in order of first arrival.
    pub fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    /// What they say together; `None` without a fragment.
    pub fn golden(&self, detail: Detail) -> Option<Golden<'_>> {
        let fragments: Vec<&Fragment> = self.fragments.iter().collect();
        unify(&fragments, &self.config.config, detail)
    }

    /// Their records, by source and key.
    pub fn records(&self) -> Vec<&SourceRecord> {
        let mut records: Vec<&SourceRecord> = self.fragments.iter().map(|fragment| &fragment.record).collect();
        records.sort();
        records
    }
}

/// A live profile as it was found: both of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub profile: ProfileOrdinal,
    /// Sequence of its last change.
    pub changed: Sequence,
}

impl Found {
    fn of(state: &State, profile: ProfileOrdinal) -> Self {
        Self { profile, changed: state.changed(profile) }
    }
}

/// The live profile that a key leads to.
///
/// # Errors
/// [`ReadError`] when there is none, or not one.
pub fn find(tenant: &Tenant, key: &ProfileKey) -> Result<ProfileOrdinal, ReadError> {
    look_up(tenant, &tenant.config(), key).map(|found| found.profile)
}

/// The live profile that a key leads to under this configuration, and when it last changed.
///
/// # Errors
/// [`ReadError`] when there is none, or not one.
pub fn look_up(tenant: &Tenant, config: &LiveConfig, key: &ProfileKey) -> Result<Found, ReadError> {
    match key {
        ProfileKey::Id(id) => {
            let state = tenant.state();
            live_end(tenant, &state, *id).map(|profile| Found::of(&state, profile))
        }
        ProfileKey::Record(record) => {
            let digest = config.preparer().record_digest(record.source, &record.key);
            let state = tenant.state();
            let profile = state.engine.profile_of(digest).ok_or(ReadError::ProfileUnknown)?;
            Ok(Found::of(&state, profile))
        }
        ProfileKey::Identifier(namespace, raw, party) => {
            let kinds: &[PartyKind] = match party {
                Some(PartyKind::Person) => &[PartyKind::Person],
                Some(PartyKind::Organisation) => &[PartyKind::Organisation],
                None => &[PartyKind::Person, PartyKind::Organisation],
            };
            by_identifier(tenant, config, *namespace, raw, kinds)
        }
    }
}

/// The live profile that an id leads to by now.
///
/// # Errors
/// [`ReadError`] when there is none, or not one.
pub fn live_end(tenant: &Tenant, state: &State, id: ProfileId) -> Result<ProfileOrdinal, ReadError> {
    let profile = id.open(&tenant.keys.id).ok_or(ReadError::ProfileUnknown)?;
    match state.engine.lives_on(profile) {
        Standing::Live => Ok(profile),
        Standing::MergedInto(into) => match state.engine.standing(into) {
            Standing::Live => Ok(into),
            _ => Err(ReadError::ProfileEmptied),
        },
        Standing::SplitInto(_) => {
            let ends = state.engine.live_ends(profile);
            if ends.is_empty() {
                return Err(ReadError::ProfileEmptied);
            }
            Err(ReadError::ProfileSplit { into: ends.into_iter().map(|p| tenant.profile_id(p)).collect() })
        }
        Standing::Erased => Err(ReadError::ProfileErased),
        Standing::Emptied => Err(ReadError::ProfileEmptied),
        Standing::Unknown => Err(ReadError::ProfileUnknown),
    }
}

fn by_identifier(
    tenant: &Tenant,
    config: &LiveConfig,
    namespace: NamespaceId,
    raw: &str,
    kinds: &[PartyKind],
) -> Result<Found, ReadError> {
    for party in kinds {
        let value = match config.preparer().link_value(namespace, *party, raw) {
            Ok(value) => value,
            // A value that links nobody finds nobody.
            Err(LookupError::Blocked(_)) => continue,
            Err(why) => {
                let fault = FieldFault::new("identifier.value", FaultReason::Malformed, why.to_string());
                return Err(ReadError::Invalid(vec![fault]));
            }
        };
        let state = tenant.state();
        if let Some(profile) = holder_of(tenant, &state, value)? {
            return Ok(Found::of(&state, profile));
        }
    }
    Err(ReadError::ProfileUnknown)
}

/// The live profile that an identifier leads to which was read before: a person's, or else an organisation's.
///
/// # Errors
/// [`ReadError::ProfileUnknown`] or [`ReadError::IdentifierShared`].
pub fn find_read(tenant: &Tenant, state: &State, read: &ReadIdentifier) -> Result<ProfileOrdinal, ReadError> {
    if read.blocked.is_none() {
        for value in read.values {
            if let Some(profile) = holder_of(tenant, state, value)? {
                return Ok(profile);
            }
        }
    }
    Err(ReadError::ProfileUnknown)
}

/// The one live profile that holds a value.
fn holder_of(tenant: &Tenant, state: &State, value: LinkValue) -> Result<Option<ProfileOrdinal>, ReadError> {
    match state.engine.value(value) {
        ValueStanding::Unknown => Ok(None),
        ValueStanding::Generic(_) => Err(ReadError::IdentifierShared { profiles: Vec::new(), more: true }),
        ValueStanding::Profiles { profiles, more } => match profiles.as_slice() {
            [] => Ok(None),
            [profile] => Ok(Some(*profile)),
            several => {
                let profiles = several.iter().map(|profile| tenant.profile_id(*profile)).collect();
                Err(ReadError::IdentifierShared { profiles, more })
            }
        },
    }
}

/// The live profile that an identifier led to when its source took back whoever held it, where nobody does today: in its forms as
/// either kind of party.
///
/// # Errors
/// [`ReadError::IdentifierShared`] where it led to several.
pub fn last_led_to(
    tenant: &Tenant,
    values: impl Iterator<Item = LinkValue>,
) -> Result<Option<ProfileOrdinal>, ReadError> {
    let led_to: BTreeSet<ProfileOrdinal> = {
        let state = tenant.state();
        values.flat_map(|value| state.engine.led_to(value)).collect()
    };
    match led_to.len() {
        0 | 1 => Ok(led_to.into_iter().next()),
        _ => Err(ReadError::IdentifierShared {
            profiles: led_to.into_iter().take(VALUE_PROFILES_MAX).map(|profile| tenant.profile_id(profile)).collect(),
            more: false,
        }),
    }
}

/// The profiles that agree best with what a probe says, the likeliest first, with the evidence in bits. Not for
/// asynchronous threads.
///
/// # Errors
/// [`ReadError::ModelUnknown`] when no match model is in force for its kind of party.
pub fn search(tenant: &Tenant, probe: &Fragment, most: usize) -> Result<Vec<(ProfileOrdinal, f64)>, ReadError> {
    let config = tenant.config();
    if config.models.of(probe.party).is_none() {
        return Err(ReadError::ModelUnknown);
    }
    let prepared = config.preparer().prepare(probe).0;
    let hits = tenant.seen(|state| state.engine.search(&prepared, most))?;
    Ok(hits.into_iter().map(|hit| (hit.profile, f64::from(hit.evidence_bits))).collect())
}

/// Which fragments make up a profile, as seen at one moment.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which profile.
    pub profile: ProfileOrdinal,
    /// Sequence of its last change; once that is durable, so are all fragments.
    pub changed: Sequence,
    config: Arc<LiveConfig>,
    records: Vec<(Digest128, Place)>,
}

/// Looks up which fragments make up a live profile. Reads nothing.
///
/// # Errors
/// [`ReadError::ProfileUnknown`] when it is not live.
pub fn plan(tenant: &Tenant, profile: ProfileOrdinal) -> Result<Plan, ReadError> {
    let config = tenant.config();
    let state = tenant.state();
    let records: Vec<(Digest128, Place)> =
        state.engine.members(profile).iter().map(|member| (member.digest, member.place)).collect();
    if records.is_empty() {
        return Err(ReadError::ProfileUnknown);
    }
    Ok(Plan { profile, changed: state.changed(profile), config, records })
}

impl Plan {
    /// What it shows is durable once this sequence is: the profile's last change, and the configuration that it is read
    /// under.
    pub fn durable_from(&self) -> Sequence {
        self.changed.max(self.config.since)
    }

    /// How many fragments there are to read.
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Reads them. Waits for the disk where they are not durable yet.
    ///
    /// # Errors
    /// [`ReadError::ProfileUnknown`] when it is not what was planned any more, [`ReadError::Store`] when a fragment cannot
    /// be read.
    pub fn load(self, shared: &Shared, tenant: &Tenant) -> Result<Loaded, ReadError> {
        let read = |(record, place): &(Digest128, Place)| {
            planned_at(shared, tenant, *record, *place)?.ok_or(ReadError::ProfileUnknown)
        };
        let fragments = self.records.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Loaded { profile: self.profile, changed: self.changed, config: self.config, fragments })
    }
}

/// The fragments of a live profile. Not for asynchronous threads.
///
/// # Errors
/// [`ReadError::ProfileUnknown`] when it is not live, [`ReadError::Store`] when a fragment cannot be read.
pub fn load(shared: &Shared, tenant: &Tenant, profile: ProfileOrdinal) -> Result<Loaded, ReadError> {
    plan(tenant, profile)?.load(shared, tenant)
}

/// Waits until the entry at this place is durable. The state knows of entries a moment before the disk does; reading them
/// then would find nothing, or show what a crash could take back.
///
/// # Errors
/// [`ReadError::Store`] when that moment does not come.
pub fn durable_at(shared: &Shared, place: Place) -> Result<(), ReadError> {
    let waited = Stopwatch::start();
    while shared.journal.durable() <= place {
        if shared.has_failed() || waited.elapsed() > DURABLE_WAIT_MAX {
            return Err(ReadError::Store("what was decided did not become durable".into()));
        }
        std::thread::sleep(DURABLE_WAIT_STEP);
    }
    Ok(())
}

/// The entry at this place says that what it held is gone: dropped, or sealed under a key that was destroyed. A bit that was
/// bent could say so too, so it is held against the chain before somebody's words are left out in silence.
///
/// # Errors
/// [`ReadError::Damaged`] when the entry is not what was written, [`ReadError::Store`] when it cannot be read.
pub fn gone_at(shared: &Shared, place: Place) -> Result<(), ReadError> {
    shared.journal.check_at(place).map_err(|error| ReadError::at(place, error))
}

/// The fragment that a record had when this place was looked up; `None` when it is gone since: the record was erased or
/// taken back, or a newer fragment came and this one was tidied away.
fn planned_at(
    shared: &Shared,
    tenant: &Tenant,
    record: Digest128,
    place: Place,
) -> Result<Option<Fragment>, ReadError> {
    let failed = match fragment_at(shared, &tenant.vault, place) {
        Ok(fragment) => return Ok(Some(fragment)),
        Err(failed) => failed,
    };
    match tenant.state().engine.record(record) {
        Some(now) if now.live && now.place == place => Err(failed),
        _ => Ok(None),
    }
}

/// A record's fragment and its place, read by a long work beside the lane: what was live at this place when the work
/// began, or what came in its stead since. `None` when nothing did: the record was erased or taken back.
///
/// # Errors
/// [`ReadError::Store`] when it cannot be read.
pub fn fragment_of(
    shared: &Shared,
    tenant: &Tenant,
    record: Digest128,
    mut place: Place,
) -> Result<Option<(Fragment, Place)>, ReadError> {
    loop {
        if let Some(fragment) = planned_at(shared, tenant, record, place)? {
            return Ok(Some((fragment, place)));
        }
        match tenant.state().engine.record(record) {
            Some(now) if now.live => place = now.place,
            _ => return Ok(None),
        }
    }
}

/// The fragment at a place of the journal.
///
/// # Errors
/// [`ReadError::Store`] when it cannot be read.
pub fn fragment_at(shared: &Shared, vault: &Vault, place: Place) -> Result<Fragment, ReadError> {
    durable_at(shared, place)?;
    let entry = shared.journal.read(place).map_err(|error| ReadError::at(place, error))?;
    let payload = entry.payload.ok_or_else(|| ReadError::content_of(place, "it was dropped"))?;
    let sealed = Sealed::parse(&payload).map_err(|error| ReadError::content_of(place, error))?;
    let key = vault.key(sealed.slot).map_err(|error| ReadError::key_of(place, error))?;
    let opened = entry.context.open(&key, 0, &sealed.header, sealed.ciphertext);
    let plain = opened.map_err(|error| ReadError::content_of(place, error))?;
    Fragment::decode(&plain).map_err(|error| ReadError::content_of(place, error))
}
