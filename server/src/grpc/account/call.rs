//! What the calls of AccountService share: who is meant, what is told, how it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use onefold_core::consent::PurposeId;
use onefold_core::consent::permit::Permit;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::{PartyKind, SourceRecord};
use onefold_core::hierarchy::Moment;
use onefold_core::hierarchy::affiliation::Origin;
use onefold_core::hierarchy::entry::AffiliationStated;
use onefold_core::hierarchy::view::{Companies, View};
use onefold_core::ids::{Digest128, ProfileOrdinal, SourceId};
use onefold_core::lifecycle::Lifecycle;
use onefold_core::limits;
use onefold_core::reads::{ReadCall, Reader};
use onefold_proto::v1 as pb;
use tonic::Status;

use crate::app::App;
use crate::app::consent::read::permitted;
use crate::app::error::{ReadError, WriteError};
use crate::app::hierarchy::act::{Act, Done};
use crate::app::hierarchy::read::{self, AccountKey, PartiesNow};
use crate::app::read::{ProfileKey, find as find_profile, load};
use crate::app::reads::{ReadLog, What};
use crate::app::requests::RequestKey;
use crate::app::tenant::{LiveConfig, Tenant};
use crate::grpc::convert::account as convert;
use crate::grpc::convert::fragment::record as record_of;
use crate::grpc::{names, reading, requests, status};

/// Persons of one count whose names are noted in the log of reads; of more it is noted that some were counted.
const COUNTED_NOTED_MAX: usize = 1_024;

/// A call's tenant and configuration.
pub struct Call {
    /// The use cases.
    pub app: Arc<App>,
    /// Whose accounts.
    pub tenant: Arc<Tenant>,
    /// What the call is read under.
    pub config: Arc<LiveConfig>,
    /// Who calls, where that is written down.
    pub reader: Reader,
    /// Whether whoever calls needs no purpose.
    pub may_read_for_nothing: bool,
    /// What for, where the call says so.
    pub purpose: Option<PurposeId>,
}

/// Every fault of a request.
pub fn invalid(faults: Vec<FieldFault>) -> Status {
    status::write(WriteError::Invalid(faults))
}

/// Runs what waits for the disk where it may.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|_| status::internal("the call was interrupted"))?
}

impl Call {
    /// Notes in the log of reads that something is shown of these profiles, if it may be. On any thread.
    pub fn shows(&self, call: ReadCall, profiles: impl IntoIterator<Item = ProfileOrdinal>) -> Result<(), Status> {
        let asked = reading::says_what_for(&self.tenant, (call, self.purpose), self.may_read_for_nothing);
        asked.map_err(|error| self.failed(error))?;
        self.notes(call, profiles)
    }

    /// The same of a party: a purpose is asked for where it is a person.
    pub fn shows_of(
        &self,
        party: PartyKind,
        call: ReadCall,
        profiles: impl IntoIterator<Item = ProfileOrdinal>,
    ) -> Result<(), Status> {
        match party {
            PartyKind::Person => self.shows(call, profiles),
            PartyKind::Organisation => self.notes(call, profiles),
        }
    }

    fn notes(&self, call: ReadCall, profiles: impl IntoIterator<Item = ProfileOrdinal>) -> Result<(), Status> {
        let profiles = profiles.into_iter().map(What::Profile);
        let noted = self.app.shared.reads.note(&self.tenant, (self.reader, call, self.purpose), profiles);
        noted.map_err(|error| self.failed(error))
    }

    /// The same of persons who are counted and not shown. Of few it is noted who they are, since a count of one tells of
    /// that one.
    pub fn counts<T>(&self, call: ReadCall, persons: &BTreeMap<ProfileOrdinal, T>) -> Result<(), Status> {
        let asked = reading::says_what_for(&self.tenant, (call, self.purpose), self.may_read_for_nothing);
        asked.map_err(|error| self.failed(error))?;
        let what: Vec<What> = match persons.len() {
            0 => Vec::new(),
            1..=COUNTED_NOTED_MAX => persons.keys().copied().map(What::Profile).collect(),
            _ => vec![What::Some],
        };
        let noted = self.app.shared.reads.note(&self.tenant, (self.reader, call, self.purpose), what);
        noted.map_err(|error| self.failed(error))
    }

    /// Takes what a call says it reads persons for.
    pub fn reads_for(&mut self, name: &str, call: ReadCall) -> Result<(), Status> {
        self.purpose = reading::purpose(name, (&self.tenant, call), &self.config, self.may_read_for_nothing)?;
        Ok(())
    }

    /// What the call's purpose may read of a person; everything without one. To be asked before and behind reading: what
    /// was shown must have been permitted, whoever merged or said no on the way. Not for asynchronous threads.
    pub fn permit(&self, profile: Option<ProfileOrdinal>) -> Result<Option<Permit>, ReadError> {
        let Some(purpose) = self.purpose else { return Ok(None) };
        let profile = profile.ok_or(ReadError::ProfileUnknown)?;
        let key = ProfileKey::Id(self.tenant.profile_id(profile));
        permitted(&self.app, &self.tenant, key, purpose).map(|(_, _, permit)| Some(permit))
    }

    /// Whether a person may be counted for the call's purpose; whoever may for none. Not for asynchronous threads.
    pub fn may_count(&self, profile: ProfileOrdinal) -> Result<bool, ReadError> {
        match self.permit(Some(profile)) {
            Ok(_) => Ok(true),
            Err(
                ReadError::PurposeNotPermitted { .. }
                | ReadError::ProfileUnknown
                | ReadError::ProfileEmptied
                | ReadError::ProfileErased
                | ReadError::ProfileSplit { .. },
            ) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes what a call says it reads a party for, and asks whether that is permitted. It counts for persons alone.
    pub fn reads_party_for(
        &mut self,
        name: &str,
        call: ReadCall,
        party: PartyKind,
        records: &[(Digest128, SourceId)],
    ) -> Result<(), Status> {
        if party == PartyKind::Person {
            self.reads_for(name, call)?;
        }
        self.permits(records).map(drop)
    }

    /// What the call's purpose may read of the person of these records; everything without one. Not for asynchronous threads.
    pub fn permits(&self, records: &[(Digest128, SourceId)]) -> Result<Option<Permit>, Status> {
        let digests: Vec<Digest128> = records.iter().map(|(record, _)| *record).collect();
        self.permit(self.profile_of(&digests)).map_err(|error| self.failed(error))
    }

    /// The live profile of the person of the first of these records.
    pub fn profile_of(&self, records: &[Digest128]) -> Option<ProfileOrdinal> {
        self.profiles_as(PartyKind::Person, records.get(..1).unwrap_or_default()).pop_first()
    }

    /// The live profiles of these records as this kind of party.
    pub fn profiles_as(&self, party: PartyKind, records: &[Digest128]) -> BTreeSet<ProfileOrdinal> {
        let state = self.tenant.state();
        records.iter().filter_map(|record| read::profile_as(&state, party, *record)).collect()
    }

    /// Purposes by their names, each once.
    ///
    /// # Errors
    /// A status that names every fault.
    pub fn purposes(&self, names: &[String], field: &str) -> Result<Vec<PurposeId>, Status> {
        let most = limits::COVERAGE_PURPOSES_MAX;
        if names.len() > most {
            let message = format!("more than the {most} there may be");
            return Err(invalid(vec![FieldFault::new(field, FaultReason::TooLarge, message)]));
        }
        let mut found = Vec::with_capacity(names.len());
        let mut faults = Vec::new();
        for (at, name) in names.iter().enumerate() {
            match self.config.config.consent.purpose_named(name) {
                Some(purpose) => found.push(purpose.id),
                None => {
                    let message = "no purpose of the consent policy has this name";
                    faults.push(FieldFault::new(format!("{field}[{at}]"), FaultReason::Unknown, message));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        if faults.is_empty() { Ok(found) } else { Err(invalid(faults)) }
    }

    /// The time.
    pub fn now(&self) -> Moment {
        Moment(self.app.now().0)
    }

    /// A read error of this tenant as a status.
    pub fn failed(&self, error: ReadError) -> Status {
        status::ReadErrorIn { tenant: &self.tenant.name, error }.into()
    }

    /// The stages there are.
    pub fn lifecycle(&self) -> Arc<Lifecycle> {
        Arc::clone(&self.tenant.state().accounts.lifecycle)
    }

    /// The account that a key names.
    pub fn key(&self, wire: Option<pb::AccountKey>, path: &str) -> Result<AccountKey, Status> {
        use pb::account_key::Key;
        match wire.and_then(|key| key.key) {
            Some(Key::Name(name)) => {
                let at = format!("{path}.name");
                let (of, id) =
                    names::account(&name).map_err(|bad| status::field(&at, FaultReason::Malformed, bad.0))?;
                if of != self.tenant.name {
                    return Err(self.failed(ReadError::AccountUnknown));
                }
                Ok(AccountKey::Id(id))
            }
            Some(Key::Record(record)) => {
                let mut faults = Vec::new();
                let record = record_of(Some(record), &format!("{path}.record"), &self.config, &mut faults);
                match record {
                    Some(record) if faults.is_empty() => Ok(AccountKey::Record(record)),
                    _ => Err(invalid(faults)),
                }
            }
            Some(Key::Profile(name)) => Ok(AccountKey::Profile(self.profile(&name, &format!("{path}.profile"))?)),
            None => Err(status::field(path, FaultReason::Missing, "name the account: by name, record or profile")),
        }
    }

    /// The live profile behind a name.
    pub fn profile(&self, name: &str, path: &str) -> Result<ProfileOrdinal, Status> {
        let (of, id) = names::profile(name).map_err(|bad| status::field(path, FaultReason::Malformed, bad.0))?;
        if of != self.tenant.name {
            return Err(self.failed(ReadError::ProfileUnknown));
        }
        find_profile(&self.tenant, &ProfileKey::Id(id)).map_err(|error| self.failed(error))
    }

    /// The one source account that a key names by id or record, by the keyed digest of its record.
    pub fn one(&self, wire: Option<pb::AccountKey>, path: &str) -> Result<Digest128, Status> {
        let key = self.key(wire, path)?;
        if matches!(key, AccountKey::Profile(_)) {
            let message = "names several source accounts; name one by `name` or `record`";
            return Err(status::field(&format!("{path}.profile"), FaultReason::Malformed, message));
        }
        let state = self.tenant.state();
        let account = read::find(&self.tenant, &state, &self.config, &key).map_err(|error| self.failed(error))?;
        let known = state.accounts.forest.get(account).map(|known| known.facts.record);
        known.ok_or_else(|| self.failed(ReadError::AccountUnknown))
    }

    /// The source records that a key names of a person. Not for asynchronous threads.
    pub fn person(&self, wire: Option<pb::PersonKey>, path: &str) -> Result<Vec<SourceRecord>, Status> {
        use pb::person_key::Key;
        match wire.and_then(|key| key.key) {
            Some(Key::Record(record)) => {
                let mut faults = Vec::new();
                match record_of(Some(record), &format!("{path}.record"), &self.config, &mut faults) {
                    Some(record) if faults.is_empty() => Ok(vec![record]),
                    _ => Err(invalid(faults)),
                }
            }
            Some(Key::Profile(name)) => {
                let profile = self.profile(&name, &format!("{path}.profile"))?;
                let loaded = load(&self.app.shared, &self.tenant, profile).map_err(|error| self.failed(error))?;
                Ok(loaded.records().into_iter().cloned().collect())
            }
            None => Err(status::field(path, FaultReason::Missing, "name the person: by record or profile")),
        }
    }

    /// Keyed digest of a source record.
    pub fn digest(&self, record: &SourceRecord) -> Digest128 {
        self.config.preparer().record_digest(record.source, &record.key)
    }

    /// Shows an account. Not for asynchronous threads.
    pub fn show(&self, key: &AccountKey, at: Moment) -> Result<pb::Account, Status> {
        let shown = read::show(&self.app.shared, &self.tenant, key, at).map_err(|error| self.failed(error))?;
        Ok(convert::account(shown, &self.tenant, &self.config, &self.lifecycle(), at))
    }

    /// The name that the caller gave to this call, if any.
    pub fn named(
        &self,
        request_id: &str,
        method: &str,
        request: &impl prost::Message,
    ) -> Result<Option<RequestKey>, Status> {
        requests::named(request_id, method, request, &self.tenant.keys.index)
    }

    /// Tells something of accounts.
    pub async fn tell(&self, act: Act, named: Option<RequestKey>) -> Result<Done, Status> {
        self.app.tell_accounts(&self.tenant, act, named).await.map_err(status::write)
    }

    /// Notes that accounts are shown that tell of a person: of who looks after them, or, of a household, of a family.
    pub fn shows_accounts(&self, call: ReadCall, accounts: &[pb::Account]) -> Result<(), Status> {
        let is_household = |account: &pb::Account| account.kind() == pb::AccountKind::Household;
        let has_owner = |account: &pb::Account| {
            !account.owner.is_empty() || account.parts.iter().any(|part| !part.owner.is_empty())
        };
        let told = accounts.iter().filter(|account| is_household(account) || has_owner(account));
        let told: Vec<&str> = told.map(|account| account.profile.as_str()).collect();
        if told.is_empty() {
            return Ok(());
        }
        self.shows(call, reading::ordinals(&self.tenant, told).collect::<Vec<_>>())
    }

    /// Tells something of one source account, and shows what it is served as now: other sources may have told of it too.
    pub async fn tell_and_show(
        self,
        call: ReadCall,
        act: Act,
        named: Option<RequestKey>,
    ) -> Result<pb::Account, Status> {
        ReadLog::ready(&self.tenant).map_err(|error| self.failed(error))?;
        let done = self.tell(act, named).await?;
        let Some(account) = done.account else {
            return Err(status::internal("the change names no account"));
        };
        blocking(move || {
            let key = AccountKey::Id(self.tenant.account_id(account));
            let account = self.show(&key, self.now())?;
            self.shows_accounts(call, std::slice::from_ref(&account))?;
            Ok(account)
        })
        .await
    }

    /// The time that a call names, or now.
    pub fn at(&self, time: Option<prost_types::Timestamp>, path: &str) -> Result<Moment, Status> {
        let mut faults = Vec::new();
        let at = convert::moment(time, path, self.now(), &mut faults);
        if faults.is_empty() { Ok(at) } else { Err(invalid(faults)) }
    }

    /// Who a stage is about: the kind of party, and the source records that are told of. Not for asynchronous threads.
    pub fn subject(&self, wire: Option<pb::StageSubject>) -> Result<(PartyKind, Vec<(Digest128, SourceId)>), Status> {
        use pb::stage_subject::Subject;
        match wire.and_then(|subject| subject.subject) {
            Some(Subject::Person(key)) => {
                let records = self.person(Some(key), "subject.person")?;
                let named = records.iter().map(|record| (self.digest(record), record.source)).collect();
                Ok((PartyKind::Person, named))
            }
            Some(Subject::Account(key)) => {
                let whole = matches!(key.key, Some(pb::account_key::Key::Profile(_)));
                let key = self.key(Some(key), "subject.account")?;
                let state = self.tenant.state();
                let account =
                    read::find(&self.tenant, &state, &self.config, &key).map_err(|error| self.failed(error))?;
                let forest = &state.accounts.forest;
                let parties = PartiesNow::new(&state, &self.config);
                let members = if whole { parties.together(account) } else { None };
                let members = members.unwrap_or_else(|| vec![account]);
                let facts = members.iter().filter_map(|member| forest.get(*member)).map(|known| &known.facts);
                Ok((PartyKind::Organisation, facts.map(|facts| (facts.record, facts.source)).collect()))
            }
            None => {
                let message = "say whose stage: of a person or an account";
                Err(status::field("subject", FaultReason::Missing, message))
            }
        }
    }

    /// All source records of the profile or account that these belong to today.
    pub fn whole(&self, party: PartyKind, records: &[(Digest128, SourceId)]) -> Vec<Digest128> {
        let state = self.tenant.state();
        let mut all: Vec<Digest128> = Vec::new();
        for (record, _) in records {
            all.push(*record);
            match party {
                PartyKind::Person => {
                    if let Some(profile) = read::profile_as(&state, party, *record) {
                        all.extend(state.engine.members(profile).into_iter().map(|member| member.digest));
                    }
                }
                PartyKind::Organisation => {
                    if let Some(account) = state.accounts.forest.find(*record) {
                        let parties = PartiesNow::new(&state, &self.config);
                        let node = View::new(&state.accounts.forest, &parties, Moment::ALWAYS).node(account);
                        let known = node.members.iter().filter_map(|member| state.accounts.forest.get(*member));
                        all.extend(known.map(|known| known.facts.record));
                    }
                }
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The stage of a party, and where it may go. Not for asynchronous threads.
    pub fn stage(&self, party: PartyKind, records: &[(Digest128, SourceId)]) -> Result<pb::GetStageResponse, Status> {
        let whole = self.whole(party, records);
        let seen = self.tenant.seen(|state| {
            let reached = read::stage_of(state, &self.config, party, whole.into_iter());
            (reached, Arc::clone(&state.accounts.lifecycle))
        });
        let (reached, lifecycle) = seen.map_err(|error| self.failed(error))?;
        let allowed = lifecycle.allowed(party, reached.map(|reached| reached.stage));
        let told: Vec<Digest128> = records.iter().map(|(record, _)| *record).collect();
        self.shows_of(party, ReadCall::GetStage, self.profiles_as(party, &told))?;
        Ok(pb::GetStageResponse {
            stage: reached.map(|reached| convert::stage_state(&lifecycle, reached.stage, reached.at)),
            allowed: allowed.into_iter().map(|stage| lifecycle.name(stage).to_owned()).collect(),
        })
    }

    /// Roles of a person in an account, as told.
    pub async fn affiliate(
        self,
        (person, account): (Option<pb::PersonKey>, Option<pb::AccountKey>),
        role: String,
        (since, until): (Moment, Option<Moment>),
        origin: Origin,
        named: Option<RequestKey>,
    ) -> Result<(u32, u64), Status> {
        let account = self.one(account, "account")?;
        let call = Arc::new(self);
        let reading = Arc::clone(&call);
        let persons = blocking(move || reading.person(person, "person")).await?;
        let count = persons.len() as u32;
        let stated = persons.into_iter().map(|person| {
            let role = role.clone();
            AffiliationStated { person, account, role, since, until, origin }
        });
        let done = call.tell(Act::Affiliate(stated.collect()), named).await?;
        Ok((count, done.sequence.0))
    }
}
