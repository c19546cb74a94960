//! In the lane: what is told of accounts is checked against all that was told before; [`super::write`] does the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use onefold_core::decision::{self, EntryKind};
use onefold_core::erasure::ResendsStopped;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::PartyKind;
use onefold_core::hierarchy::affiliation::Held;
use onefold_core::hierarchy::entry::{
    AccountClosed, AccountPut, AffiliationEnded, AffiliationStated, ParentSet, StageSet,
};
use onefold_core::hierarchy::import::{self, Row, RowFault};
use onefold_core::hierarchy::{AccountOrdinal, Moment, Refused};
use onefold_core::ids::{Digest128, Sequence, SourceId};
use onefold_core::lifecycle::{Lifecycle, PipelineDraft, Reached};
use onefold_core::limits;
use onefold_store::journal::{JournalError, entry_room};
use tokio::sync::oneshot;

use super::act::{Act, Done, HierarchyError, ImportRow};
use super::digest::Digester;
use super::state::{Accounts, Effect, StageHeld};
use super::untold::{self, Untold};
use super::write::{Draft, Keys, define, write};
use crate::app::error::WriteError;
use crate::app::lane::{Lane, kind};
use crate::app::requests::{RequestKey, remember, room_to_remember};
use crate::app::tenant::{LiveConfig, State, Tenant};
use crate::app::writer::{Commit, Reply};

type Answer = oneshot::Sender<Result<Done, WriteError>>;

/// What is to be done, checked.
enum Plan {
    /// Write these.
    Write(Vec<Draft>),
    /// The stages are others.
    Define(Lifecycle),
    /// All of it is known already, or an import was only looked at: these accounts.
    Nothing(Vec<AccountOrdinal>),
    /// The import's rows have faults.
    Faulty(Vec<(u32, FieldFault)>, usize),
}

/// Does one thing that was told.
pub fn act(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    mut act: Act,
    request: Option<RequestKey>,
    reply: Answer,
) -> Result<(), JournalError> {
    if let Act::Import { rows, untold, .. } = &mut act
        && let Err(error) = untold::fill(&lane.shared, tenant, rows, *untold)
    {
        drop(reply.send(Err(error.into())));
        return Ok(());
    }
    let only_looks = matches!(&act, Act::Import { only_check: true, .. });
    let request = request.filter(|_| !only_looks);
    let config = tenant.config();
    let digester = Digester::new(&config, &tenant.keys.index);
    let (planned, sequence) = {
        let state = tenant.state();
        let now = Moment(lane.shared.clock.now().0);
        (Planning { state: &state, digester: &digester, config: &config, now }.plan(act), state.sequence)
    };
    let answer = |result: Result<Done, WriteError>| -> Reply {
        Reply::Then(Box::new(move |durable| drop(reply.send(durable.and(result)))))
    };
    if let Ok(Plan::Write(drafts)) = &planned {
        let mut counts: BTreeMap<Sequence, u32> = BTreeMap::new();
        let state = tenant.state();
        for request in drafts.iter().filter_map(|draft| draft.stopped_by(&state)) {
            *counts.entry(request).or_default() += 1;
        }
        drop(state);
        if !counts.is_empty() {
            return stopped(lane, tenant, counts, answer);
        }
    }
    match planned {
        Ok(Plan::Write(drafts)) => write(lane, tenant, drafts, Keys::Known, request, answer),
        Ok(Plan::Define(lifecycle)) => define(lane, tenant, lifecycle, request, answer),
        Ok(Plan::Nothing(accounts)) => nothing(lane, tenant, Done::about(sequence, &accounts), request, answer),
        Ok(Plan::Faulty(faults, more_faults)) => {
            only_answer(lane, answer(Ok(Done { sequence, faults, more_faults, ..Done::default() })))
        }
        Err(error) => only_answer(lane, answer(Err(error))),
    }
}

/// LAW 7: what is told of an erased record is not kept, by whatever call. That it was told is counted.
fn stopped(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    counts: BTreeMap<Sequence, u32>,
    answer: impl FnOnce(Result<Done, WriteError>) -> Reply,
) -> Result<(), JournalError> {
    let stopped = ResendsStopped { counts: counts.into_iter().collect() };
    let payload = decision::encode(&stopped);
    let Some(mut group) = lane.begin(entry_room(payload.len()))? else {
        return only_answer(lane, answer(Err(WriteError::DiskFull)));
    };
    let mut state = tenant.state_mut();
    let sequence = state.sequence.next();
    group
        .builder
        .push(tenant.id, sequence, kind(EntryKind::ResendsStopped), |_, out| out.extend_from_slice(&payload))?;
    state.sequence = sequence;
    state.privacy.count(&stopped);
    drop(state);
    group.commit.published.push((Arc::clone(tenant), sequence));
    group.commit.replies.push(answer(Err(HierarchyError::Suppressed.into())));
    lane.commit(group)
}

/// Answers behind what is on its way to the disk: the answer may rest on it.
pub(super) fn only_answer(lane: &mut Lane, reply: Reply) -> Result<(), JournalError> {
    let mut commit = Commit::default();
    commit.replies.push(reply);
    lane.writer.send(commit).map_err(|_| JournalError::Poisoned)
}

/// Answers that there is nothing to do. A call that has a name is remembered all the same: by the time that it is
/// repeated there might be.
fn nothing(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    done: Done,
    request: Option<RequestKey>,
    answer: impl FnOnce(Result<Done, WriteError>) -> Reply,
) -> Result<(), JournalError> {
    let room = room_to_remember(request, &done);
    if room == 0 {
        return only_answer(lane, answer(Ok(done)));
    }
    let Some(mut group) = lane.begin(room)? else {
        return only_answer(lane, answer(Err(WriteError::DiskFull)));
    };
    remember(lane, tenant, request, &done, &mut group)?;
    group.commit.replies.push(answer(Ok(done)));
    lane.commit(group)
}

struct Planning<'a> {
    state: &'a State,
    digester: &'a Digester<'a>,
    config: &'a LiveConfig,
    now: Moment,
}

impl Planning<'_> {
    fn accounts(&self) -> &Accounts {
        &self.state.accounts
    }

    fn find(&self, record: Digest128) -> Result<AccountOrdinal, WriteError> {
        self.accounts().forest.find(record).ok_or_else(|| HierarchyError::AccountUnknown.into())
    }

    fn plan(&self, act: Act) -> Result<Plan, WriteError> {
        match act {
            Act::Put(account) => self.put(account),
            Act::Move { account, parent, from } => self.move_to(account, parent, from),
            Act::Close { account, at } => {
                let ordinal = self.find(account)?;
                if self.accounts().forest.get(ordinal).is_some_and(|known| known.closed == at) {
                    return Ok(Plan::Nothing(vec![ordinal]));
                }
                let closed = AccountClosed { at };
                let content = decision::encode(&closed);
                let effect = Effect::Closed(closed);
                Ok(Plan::Write(vec![Draft { kind: EntryKind::AccountClosed, record: account, content, effect }]))
            }
            Act::Import { rows, from, untold, only_check } => {
                // A date is one of parents: where none is told there is none.
                let from = if untold.parent { Moment::ALWAYS } else { from };
                self.import(rows, from, untold, only_check)
            }
            Act::Affiliate(stated) => self.affiliate(stated),
            Act::EndAffiliation { persons, account, role, until } => self.end(&persons, account, role, until),
            Act::Stage { party, records, stage, at, note } => self.stage(party, &records, &stage, at, &note),
            Act::Define(persons, accounts) => self.define(&persons, &accounts),
        }
    }

    fn put(&self, account: AccountPut) -> Result<Plan, WriteError> {
        let record = self.config.preparer().record_digest(account.record.source, &account.record.key);
        let forest = &self.accounts().forest;
        let known = forest.find(record);
        if known.is_none() && forest.len() >= limits::ACCOUNTS_MAX {
            return Err(WriteError::Full { what: "accounts", limit: limits::ACCOUNTS_MAX });
        }
        if let Some(ParentSet { parent: Some(above), from }) = account.parent {
            if above == record {
                return Err(HierarchyError::from(Refused::SelfParent).into());
            }
            let above = forest.find(above).ok_or(HierarchyError::ParentUnknown)?;
            // An account that is new has nothing below it yet.
            let ordinal = known.unwrap_or(AccountOrdinal(u32::MAX));
            let at = from.or_now(self.now);
            // What is so already may be told again, and where no plan ends by that, there is nothing to look at.
            let is_so = known.is_some_and(|known| forest.parent(known, at) == Some(above));
            if !(is_so && known.is_some_and(|known| forest.stays(known, from))) {
                forest.check_parent(ordinal, above, from).map_err(HierarchyError::from)?;
            }
            if !is_so && forest.get(above).is_some_and(|parent| parent.is_closed(at)) {
                return Err(HierarchyError::from(Refused::ParentClosed).into());
            }
        }
        Ok(Plan::Write(vec![self.put_draft(account, record)]))
    }

    fn put_draft(&self, account: AccountPut, record: Digest128) -> Draft {
        let effect = Effect::put(&account, record, self.digester);
        Draft { kind: EntryKind::AccountPut, record, content: decision::encode(&account), effect }
    }

    fn move_to(&self, account: Digest128, parent: Option<Digest128>, from: Moment) -> Result<Plan, WriteError> {
        let ordinal = self.find(account)?;
        let forest = &self.accounts().forest;
        let above = match parent {
            Some(parent) => {
                let above = forest.find(parent).ok_or(HierarchyError::ParentUnknown)?;
                forest.check_parent(ordinal, above, from).map_err(HierarchyError::from)?;
                Some(above)
            }
            None => None,
        };
        if let Some(known) = forest.get(ordinal)
            && known.step(from).and_then(|step| step.parent) == above
            && known.parents.last().is_none_or(|last| last.from <= from)
        {
            return Ok(Plan::Nothing(vec![ordinal]));
        }
        let set = ParentSet { parent, from };
        let content = decision::encode(&set);
        let effect = Effect::Parent(set);
        Ok(Plan::Write(vec![Draft { kind: EntryKind::AccountParentSet, record: account, content, effect }]))
    }

    fn import(&self, rows: Vec<ImportRow>, from: Moment, untold: Untold, only_check: bool) -> Result<Plan, WriteError> {
        let digest = |row: &ImportRow| {
            let record = &row.account.record;
            self.config.preparer().record_digest(record.source, &record.key)
        };
        let forest = &self.accounts().forest;
        let stands = |record| {
            let above = forest.parent(forest.find(record)?, from.or_now(self.now))?;
            forest.get(above).map(|above| above.facts.record)
        };
        let checked: Vec<Row> = rows
            .iter()
            .map(|row| {
                let record = digest(row);
                let told = row.account.parent.and_then(|parent| parent.parent);
                Row { line: row.line, record, parent: if untold.parent { stands(record) } else { told } }
            })
            .collect();
        if let Err(faults) = import::check(forest, &checked, from, self.now) {
            let more = faults.len().saturating_sub(limits::HIERARCHY_FAULTS_MAX);
            let faults = faults.into_iter().take(limits::HIERARCHY_FAULTS_MAX);
            return Ok(Plan::Faulty(faults.map(|(line, fault)| (line, row_fault(&fault))).collect(), more));
        }
        let stops = |record| {
            let known = self.accounts().is_told(PartyKind::Organisation, record);
            !known && self.state.privacy.stops([record]).is_some()
        };
        let erased = checked.iter().filter(|row| stops(row.record));
        let erased: Vec<u32> = erased.map(|row| row.line).collect();
        if !erased.is_empty() {
            let more = erased.len().saturating_sub(limits::HIERARCHY_FAULTS_MAX);
            let fault =
                || FieldFault::new("record", FaultReason::Erased, "was erased and is not kept: leave the row out");
            let faults = erased.into_iter().take(limits::HIERARCHY_FAULTS_MAX).map(|line| (line, fault()));
            return Ok(Plan::Faulty(faults.collect(), more));
        }
        let fresh = checked.iter().filter(|row| forest.find(row.record).is_none()).count();
        if forest.len() + fresh > limits::ACCOUNTS_MAX {
            return Err(WriteError::Full { what: "accounts", limit: limits::ACCOUNTS_MAX });
        }
        if only_check {
            return Ok(Plan::Nothing(Vec::new()));
        }
        // Parents first: an entry of the journal names only accounts that came before it.
        let mut drafts: Vec<Draft> = Vec::with_capacity(rows.len());
        let waits = |checked: &Row| checked.parent.is_some_and(|parent| forest.find(parent).is_none());
        let set = |checked: &Row| {
            let from = import::holds_from(forest, checked, from, self.now)?;
            Some(ParentSet { parent: checked.parent, from })
        };
        for (mut row, checked) in rows.into_iter().zip(&checked) {
            row.account.parent = set(checked).filter(|_| !waits(checked));
            drafts.push(self.put_draft(row.account, checked.record));
        }
        for checked in checked.iter().filter(|checked| waits(checked)) {
            if let Some(set) = set(checked) {
                let content = decision::encode(&set);
                let effect = Effect::Parent(set);
                drafts.push(Draft { kind: EntryKind::AccountParentSet, record: checked.record, content, effect });
            }
        }
        Ok(Plan::Write(drafts))
    }

    fn affiliate(&self, stated: Vec<AffiliationStated>) -> Result<Plan, WriteError> {
        let mut drafts = Vec::with_capacity(stated.len());
        for stated in stated {
            self.find(stated.account)?;
            let person = self.config.preparer().record_digest(stated.person.source, &stated.person.key);
            let role = self.digester.role(&stated.role);
            let held = self.accounts().affiliations.of_person(person);
            let same = |held: &&Held| !held.is_of_fragment() && held.account == stated.account && held.role == role;
            let known = held.iter().any(|held| same(&held));
            if !known && held.len() >= limits::AFFILIATIONS_MAX {
                return Err(WriteError::Full { what: "affiliations of one record", limit: limits::AFFILIATIONS_MAX });
            }
            let content = decision::encode(&stated);
            let effect = Effect::Affiliated(role, stated);
            drafts.push(Draft { kind: EntryKind::AffiliationStated, record: person, content, effect });
        }
        Ok(Plan::Write(drafts))
    }

    fn end(
        &self,
        persons: &[Digest128],
        account: Digest128,
        role: Digest128,
        until: Moment,
    ) -> Result<Plan, WriteError> {
        let ordinal = self.find(account)?;
        let mut drafts = Vec::new();
        let mut known = false;
        for person in persons {
            for held in self.accounts().affiliations.of_person(*person) {
                // What a fragment says ends with the next fragment.
                if held.is_of_fragment() || held.account != account || held.role != role {
                    continue;
                }
                known = true;
                if held.until == Some(until) {
                    continue;
                }
                if until < held.since {
                    let message = "lies before the affiliation began";
                    let fault = FieldFault::new("end_time", FaultReason::Malformed, message);
                    return Err(WriteError::Invalid(vec![fault]));
                }
                let ended = AffiliationEnded { account, role, until };
                let content = decision::encode(&ended);
                let effect = Effect::Ended(ended);
                drafts.push(Draft { kind: EntryKind::AffiliationEnded, record: *person, content, effect });
            }
        }
        match (known, drafts.is_empty()) {
            (false, _) => Err(HierarchyError::AffiliationUnknown.into()),
            (true, true) => Ok(Plan::Nothing(vec![ordinal])),
            (true, false) => Ok(Plan::Write(drafts)),
        }
    }

    fn stage(
        &self,
        party: PartyKind,
        records: &[(Digest128, SourceId)],
        name: &str,
        at: Moment,
        note: &str,
    ) -> Result<Plan, WriteError> {
        let accounts = self.accounts();
        let trust =
            |source: SourceId| self.config.config.sources.get(usize::from(source.0)).map_or(0, |source| source.trust);
        let reached: Vec<Reached> = records
            .iter()
            .filter_map(|(record, source)| {
                let held = accounts.stands(party, *record)?;
                Some(Reached { record: *record, stage: held.stage, at: held.at, trust: trust(*source) })
            })
            .collect();
        let here = accounts.lifecycle.effective(party, &reached);
        let stage = accounts.lifecycle.step(party, here.map(|here| here.stage), name).map_err(HierarchyError::from)?;
        if reached.iter().any(|reached| reached.at > at) {
            let message = "lies before a stage that was reached already";
            return Err(WriteError::Invalid(vec![FieldFault::new("reached_time", FaultReason::Malformed, message)]));
        }
        let mut drafts = Vec::new();
        for (record, source) in records {
            // Where it stands already it stays, since when it was; unless only its fragment says that it does, which goes
            // with the fragment.
            let stands = |held: StageHeld| held.stage == stage;
            if accounts.stands(party, *record).is_some_and(stands)
                && accounts.stages.get(&(party, *record)).copied().is_some_and(stands)
            {
                continue;
            }
            let set = StageSet { party, source: *source, stage, at, note: note.to_owned() };
            let content = decision::encode(&set);
            drafts.push(Draft { kind: EntryKind::StageSet, record: *record, content, effect: Effect::Stage(set) });
        }
        if drafts.is_empty() {
            let known = records.iter().filter_map(|(record, _)| accounts.forest.find(*record));
            return Ok(Plan::Nothing(if party == PartyKind::Organisation { known.collect() } else { Vec::new() }));
        }
        Ok(Plan::Write(drafts))
    }

    fn define(&self, persons: &PipelineDraft, pipeline: &PipelineDraft) -> Result<Plan, WriteError> {
        let known = &self.accounts().lifecycle;
        let lifecycle = known.redefined(persons, pipeline).map_err(WriteError::Invalid)?;
        if lifecycle == **known { Ok(Plan::Nothing(Vec::new())) } else { Ok(Plan::Define(lifecycle)) }
    }
}

/// A row's fault as the caller reads it.
fn row_fault(fault: &RowFault) -> FieldFault {
    let (field, reason) = match fault {
        RowFault::Duplicate { .. } => ("record", FaultReason::Repeated),
        RowFault::Orphan => ("parent", FaultReason::Unknown),
        RowFault::SelfParent | RowFault::Cycle { .. } | RowFault::ParentClosed => ("parent", FaultReason::Malformed),
        RowFault::TooManySteps | RowFault::TooDeep => ("parent", FaultReason::TooLarge),
    };
    FieldFault::new(field, reason, fault.to_string())
}
