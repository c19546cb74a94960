//! In the lane: each step of a request is checked, written, applied; an erasure is carried to its end.
//!
//! An erasure is one decision. Once [`Erased`] is durable it will be carried out: the writer adds it to the erasure ledger
//! and destroys the keys before anything is answered, the lane then destroys the checkpoints of before, and the receipt
//! is written last. A crash at any point leaves the request in progress, and the next start does the rest; every part of
//! it may be done again.

use std::collections::BTreeSet;
use std::sync::Arc;

use onefold_core::consent::stops::StandsOn;
use onefold_core::decision::{self, EntryKind, RecordRetracted, Sealed};
use onefold_core::erasure::{
    Approval, CallbackEnded, Confirmation, DecidedBy, Erased, ErasedRecord, ErasurePlan, Exported, Figures, Forwarded,
    ForwardedStatus, PrivacyError, PrivacyRequest, Readmitted, ReceiptKept, Regulation, RequestKind, RequestState,
    ScopedTold, Subject, Verification,
};
use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::ids::{Digest128, Sequence, SlotId};
use onefold_core::limits;
use onefold_core::reads::{ReadLogMark, ReadLogPolicy};
use onefold_store::erasures::ErasureRow;
use onefold_store::journal::{JournalError, Position, entry_room};
use onefold_store::seal::TAG_BYTES;

use super::act::{Act, Answer, Done, Forwarding, Work};
use super::{again, carry, plan, receipt};
use crate::app::decide::Decided;
use crate::app::error::WriteError;
use crate::app::hierarchy::keep_apart;
use crate::app::lane::{Lane, Wanted, kind};
use crate::app::requests::{self, RequestKey, remember, room_to_remember};
use crate::app::tenant::{LiveConfig, State, Tenant};
use crate::app::writer::{Commit, Reply};

const DAY_MICROS: i64 = 86_400_000_000;

/// A step that was checked.
enum Step {
    Request(PrivacyRequest),
    Readmit(Readmitted, DecidedBy),
    Policy(onefold_core::erasure::PrivacyPolicy, ReadLogPolicy, DecidedBy),
    Mark(ReadLogMark),
    /// A controller forwarded a request.
    Forwarded(PrivacyRequest, Forwarded),
    /// A callback is owed no more.
    Callback(CallbackEnded),
    /// What is held was handed over, which ends the request.
    Delivered(Exported, PrivacyRequest),
    /// Nothing new.
    Known(PrivacyRequest),
}

/// Takes one step.
pub fn act(lane: &mut Lane, work: Work) -> Result<(), JournalError> {
    let Work { tenant, act, request, reply } = work;
    if let (Act::Execute { id, .. }, Some(Ok(mut done))) = (&act, requests::known::<Done>(&tenant, request))
        && done.request.as_ref().is_some_and(|asked| asked.state == RequestState::InProgress)
    {
        // A crash came between the decision and its end, which a start has brought about since.
        done.request = tenant.state().privacy.requests.get(id).cloned();
        let mut commit = Commit::default();
        commit.replies.push(Reply::of(reply, done));
        return lane.hand_on(commit);
    }
    let Some(reply) = lane.repeat(&tenant, request, reply)? else { return Ok(()) };
    if let Act::Execute { id, scope } = act {
        return execute(lane, &tenant, (id, scope), request, reply);
    }
    if matches!(act, Act::Restrict { .. } | Act::Lift { .. } | Act::Object { .. } | Act::Rectify { .. }) {
        return carry::carry(lane, &tenant, act, request, reply);
    }
    let now = lane.shared.clock.now();
    let checked = {
        let (state, config) = (tenant.state(), tenant.config());
        check(&state, &config, act, now)
    };
    match checked {
        Ok(step) => write(lane, &tenant, step, request, reply),
        Err(error) => {
            let _ = reply.send(Err(error));
            Ok(())
        }
    }
}

fn known(state: &State, id: Sequence) -> Result<PrivacyRequest, PrivacyError> {
    state.privacy.requests.get(&id).cloned().ok_or(PrivacyError::Unknown)
}

fn check(state: &State, config: &LiveConfig, act: Act, now: ObservedAt) -> Result<Step, WriteError> {
    let changed = |id, change: &mut dyn FnMut(&mut PrivacyRequest) -> Result<(), PrivacyError>| {
        let mut request = known(state, id)?;
        change(&mut request)?;
        Ok::<_, PrivacyError>(Step::Request(request))
    };
    Ok(match act {
        Act::Create { kind, regulation, reference, subject, received_at, forwarding } => {
            let known =
                forwarding.as_ref().and_then(|from| Some((state.privacy.forwarded(&from.number)?, from.content)));
            if let Some(((request, forward), content)) = known {
                let same = forward.from.content == content;
                return if same { Ok(Step::Known(request.clone())) } else { Err(WriteError::RequestIdReused) };
            }
            if state.privacy.requests.len() >= limits::PRIVACY_REQUESTS_MAX {
                return Err(WriteError::Full { what: "privacy requests", limit: limits::PRIVACY_REQUESTS_MAX });
            }
            let ids = (state.sequence.next(), kind, regulation);
            let request = PrivacyRequest::new(ids, reference, subject, received_at);
            match forwarding {
                None => Step::Request(request),
                Some(Forwarding { number, content, callbacks }) => {
                    let from = Forwarded { request: request.id, number, content, callbacks, taken_at: now };
                    Step::Forwarded(request, from)
                }
            }
        }
        Act::Verify { id, method, by } => {
            let verification = Verification { method, by, at: now };
            changed(id, &mut |request| request.verify(verification.clone()))?
        }
        Act::Approve { id, by, scope } => {
            let subject = known(state, id)?.subject;
            let is = plan::plan(state, config, &subject).scope();
            let approval = Approval { by, at: now, scope };
            changed(id, &mut |request| request.approve(approval.clone(), is))?
        }
        Act::Deliver { id, scope, to, digest, bytes } => {
            let mut request = known(state, id)?;
            // Looked at again in the lane: what was handed over must be what is in scope now.
            let plan = plan::plan(state, config, &request.subject);
            request.may_deliver(scope, plan.scope(), &state.privacy.policy)?;
            request.delivered(figures(&plan, config), now);
            Step::Delivered(Exported { request: id, to, digest, bytes, at: now }, request)
        }
        Act::Extend { id, ground } => changed(id, &mut |request| request.extend(ground.clone(), now))?,
        Act::Refuse { id, ground } => {
            changed(id, &mut |request| request.end(RequestState::Refused, ground.clone(), now))?
        }
        Act::Cancel { id, ground } => {
            changed(id, &mut |request| request.end(RequestState::Cancelled, ground.clone(), now))?
        }
        Act::TakeBack { id, ground } => {
            let before = known(state, id)?;
            match ForwardedStatus::of(before.state) {
                ForwardedStatus::Pending => {
                    changed(id, &mut |request| request.end(RequestState::Cancelled, ground.clone(), now))?
                }
                // Again is harmless.
                ForwardedStatus::Cancelled if before.ground.as_deref() == Some(ground.as_str()) => Step::Known(before),
                _ => {
                    let needs = "only one that is received can be taken back by its controller";
                    return Err(PrivacyError::State { state: before.state, needs }.into());
                }
            }
        }
        Act::Confirm { id, consumer } => {
            let before = known(state, id)?;
            let mut request = before.clone();
            request.confirm(&consumer, now)?;
            if request == before { Step::Known(before) } else { Step::Request(request) }
        }
        Act::Readmit { mut digests, by, ground, caller } => {
            digests.retain(|digest| state.privacy.suppressions.contains_key(digest));
            Step::Readmit(Readmitted { digests, by, ground, at: now }, DecidedBy { caller })
        }
        Act::SetPolicy(policy, read_log, caller) => Step::Policy(policy, read_log, DecidedBy { caller }),
        Act::MarkReads(mark) => Step::Mark(mark),
        Act::EndCallback(ended) => Step::Callback(ended),
        // The caller sees to it.
        Act::Execute { .. } | Act::Restrict { .. } | Act::Lift { .. } | Act::Object { .. } | Act::Rectify { .. } => {
            return Err(PrivacyError::Kind { needs: "requests of another kind" }.into());
        }
    })
}

/// Writes a step: one entry, or as many as belong together.
fn write(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    step: Step,
    request: Option<RequestKey>,
    reply: Answer,
) -> Result<(), JournalError> {
    let put = |asked: &PrivacyRequest| (EntryKind::PrivacyRequestPut, decision::encode(asked));
    let (entries, asked, count) = match &step {
        Step::Request(asked) => (vec![put(asked)], Some(asked.clone()), 0),
        Step::Readmit(back, by) => {
            let entries =
                vec![(EntryKind::Readmitted, decision::encode(back)), (EntryKind::DecidedBy, decision::encode(by))];
            (entries, None, back.digests.len() as u64)
        }
        Step::Policy(policy, read_log, by) => {
            let of_requests = (EntryKind::PrivacyPolicySet, decision::encode(policy));
            let of_reads = (EntryKind::ReadLogPolicySet, decision::encode(read_log));
            (vec![of_requests, of_reads, (EntryKind::DecidedBy, decision::encode(by))], None, 0)
        }
        Step::Mark(mark) => (vec![(EntryKind::ReadLogMarked, decision::encode(mark))], None, 0),
        Step::Forwarded(asked, from) => {
            (vec![put(asked), (EntryKind::RequestForwarded, decision::encode(from))], Some(asked.clone()), 0)
        }
        Step::Callback(ended) => (vec![(EntryKind::CallbackEnded, decision::encode(ended))], None, 0),
        Step::Delivered(exported, asked) => {
            let entries = vec![(EntryKind::AccessExported, decision::encode(exported)), put(asked)];
            (entries, Some(asked.clone()), 0)
        }
        Step::Known(asked) => {
            let done = Done { request: Some(asked.clone()), count: 0, sequence: tenant.state().sequence };
            let mut commit = Commit::default();
            commit.replies.push(Reply::of(reply, done));
            return lane.hand_on(commit);
        }
    };
    let mut done = Done { request: asked, count, sequence: Sequence(u64::MAX) };
    let room: usize = entries.iter().map(|(_, payload)| entry_room(payload.len())).sum();
    let Some(mut group) = lane.begin(room + room_to_remember(request, &done))? else {
        let _ = reply.send(Err(WriteError::DiskFull));
        return Ok(());
    };
    {
        let mut state = tenant.state_mut();
        for (what, payload) in &entries {
            let sequence = state.sequence.next();
            group.builder.push(tenant.id, sequence, kind(*what), |_, out| out.extend_from_slice(payload))?;
            state.sequence = sequence;
        }
        let sequence = state.sequence;
        done.sequence = sequence;
        match step {
            Step::Request(asked) => state.privacy.put(asked),
            Step::Readmit(back, _) => state.privacy.readmit(&back),
            Step::Policy(policy, read_log, _) => {
                tenant.noting.require_purpose(policy.purpose_required);
                state.privacy.policy = Arc::new(policy);
                state.privacy.read_log = read_log;
                tenant.noting.set(&read_log, lane.shared.access.required());
            }
            Step::Mark(mark) => state.privacy.reads_mark = Some(mark),
            Step::Forwarded(asked, from) => {
                state.privacy.put(asked);
                state.privacy.forward(from);
            }
            Step::Callback(ended) => state.privacy.end_callback(&ended),
            Step::Delivered(exported, asked) => {
                state.privacy.note_export(exported);
                state.privacy.put(asked);
            }
            Step::Known(_) => {}
        }
        group.commit.published.push((Arc::clone(tenant), sequence));
    }
    remember(lane, tenant, request, &done, &mut group)?;
    group.commit.replies.push(Reply::of(reply, done));
    lane.commit(group)
}

/// What is written down of an erasure.
fn erased_by(plan: &ErasurePlan, request: Sequence, at: ObservedAt, review_after_days: u16) -> Erased {
    let record = |record: &onefold_core::erasure::ScopedRecord| ErasedRecord {
        ordinal: record.ordinal,
        digest: record.digest,
        slot: record.slot,
    };
    // Calls, or fragments in quarantine, alone told of these: they have no ordinal, and must not come back either.
    let alone = |digest: Digest128| ErasedRecord { ordinal: u32::MAX, digest, slot: None };
    let told_alone: BTreeSet<Digest128> =
        plan.told_alone().map(|told| told.record).chain(plan.held_records.iter().copied()).collect();
    Erased {
        request,
        at,
        review_at: ObservedAt(at.0 + i64::from(review_after_days) * DAY_MICROS),
        records: plan.records.iter().map(record).chain(told_alone.into_iter().map(alone)).collect(),
        suppressed: (plan.suppressed.iter().map(|value| (value.namespace, value.digest)))
            .chain(plan.siblings.iter().copied())
            .collect(),
        quarantined: plan.quarantined.clone(),
        slots: plan.slots.clone(),
        former: plan.former.clone(),
    }
}

fn counted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(String, u32)> {
    let mut counts: std::collections::BTreeMap<&str, u32> = std::collections::BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// The figures that a preview shows and a receipt proves.
pub fn figures(plan: &ErasurePlan, config: &LiveConfig) -> Figures {
    let namespace = |id| config.config.namespace(id).map_or("", |namespace| namespace.name.as_str());
    let source = |id: onefold_core::ids::SourceId| {
        config.config.sources.get(usize::from(id.0)).map_or("an unknown source", |source| source.name.as_str())
    };
    let alone = |told: &ScopedTold| told.source.map_or("an unknown source", source);
    Figures {
        records: counted(plan.records.iter().map(|record| source(record.source)).chain(plan.told_alone().map(alone))),
        suppressed: counted(plan.suppressed.iter().map(|value| namespace(value.namespace))),
        shared: counted(plan.shared.iter().map(|value| namespace(value.namespace))),
        quarantined: plan.quarantined.len() as u32,
        statements: plan.statements.len() as u32,
        statements_kept: plan.statements_kept.len() as u32,
        told: plan.told as u32,
        keys: plan.slots.len() as u32,
        profiles: plan.profiles.len() as u32,
        before: (0, 0, [0; 32]),
        first: Sequence(0),
    }
}

/// Carries out an erasure.
fn execute(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    (id, seen): (Sequence, Digest128),
    request: Option<RequestKey>,
    reply: Answer,
) -> Result<(), JournalError> {
    let now = lane.shared.clock.now();
    let config = tenant.config();
    let planned = {
        let state = tenant.state();
        known(&state, id).and_then(|asked| {
            let plan = plan::plan(&state, &config, &asked.subject);
            asked.may_execute(&[RequestKind::Erasure], seen, plan.scope(), &state.privacy.policy)?;
            Ok((asked, plan, Arc::clone(&state.privacy.policy)))
        })
    };
    let (mut asked, plan, policy) = match planned {
        Ok(planned) => planned,
        Err(error) => {
            let _ = reply.send(Err(error.into()));
            return Ok(());
        }
    };
    if let Some(error) = keep_apart(lane, tenant, &plan.told_of)? {
        let _ = reply.send(Err(error));
        return Ok(());
    }
    if !again::reword(lane, tenant, &plan)? {
        let _ = reply.send(Err(WriteError::DiskFull));
        return Ok(());
    }
    let erased = erased_by(&plan, id, now, policy.review_after_days);
    let before = lane.appender.position();
    let first = tenant.state().sequence.next();
    asked.state = RequestState::InProgress;
    asked.figures = Some(figures(&plan, &config));
    asked.subject = Subject::default();
    let due_at = ObservedAt(now.0 + i64::from(policy.confirm_within_days) * DAY_MICROS);
    let waits = |consumer: &String| Confirmation { consumer: consumer.clone(), due_at, confirmed_at: None };
    asked.confirmations = policy.consumers.iter().map(waits).collect();

    if !carry_out(lane, tenant, (first, before), (erased, Vec::new(), Vec::new()), asked, request)? {
        let _ = reply.send(Err(WriteError::DiskFull));
        return Ok(());
    }
    finish(lane, tenant, id, Some((request, reply)))
}

/// Writes the decision and what follows from it; what it destroys is destroyed behind it. False when the disk is full,
/// with nothing changed.
fn carry_out(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    (first, before): (Sequence, Position),
    (erased, gone, mut stands): (Erased, Vec<RecordRetracted>, Vec<StandsOn>),
    mut asked: PrivacyRequest,
    request: Option<RequestKey>,
) -> Result<bool, JournalError> {
    if let Some(figures) = &mut asked.figures {
        figures.before = (before.segment, before.offset, before.chain);
        figures.first = first;
    }
    let (decided, state_of_request) = (decision::encode(&erased), decision::encode(&asked));
    let second = first.next();
    // The keys of what was told of an account go too. Where it stands is told anew: those below it hang on it.
    let vacated: Vec<Vec<u8>> = {
        let state = tenant.state();
        let goes = |record: &&ErasedRecord| {
            let keys = state.accounts.slots_of(PartyKind::Organisation, record.digest);
            keys.iter().any(|slot| erased.slots.contains(slot))
        };
        let accounts = erased.records.iter().filter(goes).filter_map(|record| state.accounts.vacated(record.digest));
        accounts.map(|account| decision::encode(&account)).collect()
    };
    let retractions: Vec<Vec<u8>> = gone.iter().map(decision::encode).collect();
    // LAW 6: a fragment that goes since it mentions the person is somebody else's, and so is a no that it brought.
    stands.extend(tenant.state().left_by_erasing(&erased));
    let heard: Vec<Vec<u8>> = stands.iter().map(decision::encode).collect();
    // What others' records said that lose versions is theirs, and known from nowhere else afterwards.
    let own: Vec<(SlotId, Vec<u8>)> = {
        let state = tenant.state();
        let others: BTreeSet<Digest128> = erased.former.iter().map(|key| key.record).collect();
        let is_theirs = |value: Digest128| erased.suppressed.iter().any(|(_, digest)| *digest == value);
        let own = others.into_iter().filter_map(|record| {
            let slot = state.engine.record(record)?.slot.filter(|slot| !erased.slots.contains(slot))?;
            Some((slot, decision::encode(&state.privacy.former.own_of(record, is_theirs)?)))
        });
        own.filter(|(slot, _)| tenant.vault.key(*slot).is_ok()).collect()
    };
    let last = Sequence(second.0 + (vacated.len() + gone.len() + heard.len() + own.len()) as u64);
    // The call is known from its decision on: a repeat after a crash is answered, and not refused.
    let done = Done { request: Some(asked.clone()), count: 0, sequence: last };
    let room = entry_room(decided.len())
        + vacated.iter().map(|account| entry_room(account.len())).sum::<usize>()
        + retractions.iter().chain(&heard).map(|payload| entry_room(payload.len())).sum::<usize>()
        + own.iter().map(|(_, kept)| entry_room(kept.len() + Sealed::HEADER_BYTES + TAG_BYTES)).sum::<usize>()
        + entry_room(state_of_request.len())
        + room_to_remember(request, &done)
        + lane.settled_room();
    let Some(mut group) = lane.begin(room)? else { return Ok(false) };
    group.builder.push(tenant.id, first, kind(EntryKind::Erased), |_, out| out.extend_from_slice(&decided))?;
    group.builder.push(tenant.id, second, kind(EntryKind::PrivacyRequestPut), |_, out| {
        out.extend_from_slice(&state_of_request);
    })?;
    let mut sequence = second;
    for account in &vacated {
        sequence = sequence.next();
        group
            .builder
            .push(tenant.id, sequence, kind(EntryKind::AccountVacated), |_, out| out.extend_from_slice(account))?;
    }
    let mut left = Vec::with_capacity(gone.len());
    for (payload, record) in retractions.iter().zip(gone) {
        sequence = sequence.next();
        let kind = kind(EntryKind::RecordRetracted);
        let place = group.builder.push(tenant.id, sequence, kind, |_, out| out.extend_from_slice(payload))?;
        left.push((record, (place, sequence)));
    }
    for payload in &heard {
        sequence = sequence.next();
        let kind = kind(EntryKind::StopsStandOn);
        group.builder.push(tenant.id, sequence, kind, |_, out| out.extend_from_slice(payload))?;
    }
    for (slot, kept) in &own {
        sequence = sequence.next();
        let Ok(key) = tenant.vault.key(*slot) else { return Err(JournalError::Poisoned) };
        group.builder.push(tenant.id, sequence, kind(EntryKind::FormerKept), |context, out| {
            let header = Sealed::header(*slot, false);
            out.extend_from_slice(&header);
            context.seal(&key, 0, &header, kept, out);
        })?;
    }
    group.commit.destroy.extend(erased.slots.iter().map(|slot| (Arc::clone(tenant), *slot)));
    let row = ErasureRow { tenant: tenant.id, sequence: first, erased: erased.clone() };
    group.commit.erasures.push(row);
    let mut group = lane.settle(tenant, group, Decided::erasing((erased, asked), left, stands, last))?;
    remember(lane, tenant, request, &done, &mut group)?;
    lane.commit(group)?;
    Ok(true)
}

/// A restore put back a state in which these were not erased yet: they are erased again, before anything is served.
/// False when the disk is full.
pub fn again(lane: &mut Lane, tenant: &Arc<Tenant>, row: &ErasureRow) -> Result<bool, JournalError> {
    let now = lane.shared.clock.now();
    let (plan, others, known) = {
        let (state, config) = (tenant.state(), tenant.config());
        let (plan, others) = plan::plan_again(&state, &config, &row.erased);
        (plan, others, asked_before(&state, &row.erased))
    };
    if let Some(error) = keep_apart(lane, tenant, &plan.told_of)? {
        tracing::error!(error = %error, "what shares a key with what is to be erased again cannot be told again");
        return Ok(false);
    }
    if !again::reword(lane, tenant, &plan)? {
        return Ok(false);
    }
    let first = tenant.state().sequence.next();
    let id = known.as_ref().map_or_else(|| first.next(), |asked| asked.id);
    let mut erased = erased_by(&plan, id, now, 0);
    // What the backup does not hold is suppressed all the same.
    for record in &row.erased.records {
        if !erased.records.iter().any(|known| known.digest == record.digest) {
            erased.records.push(ErasedRecord { ordinal: u32::MAX, digest: record.digest, slot: None });
        }
    }
    erased.suppressed.clone_from(&row.erased.suppressed);
    erased.review_at = row.erased.review_at;
    let ids = (id, RequestKind::Erasure, Regulation::Gdpr);
    let restored = || PrivacyRequest::new(ids, super::RESTORED.to_owned(), Subject::default(), row.erased.at);
    let mut asked = known.unwrap_or_else(restored);
    asked.subject = Subject::default();
    asked.state = RequestState::InProgress;
    asked.figures = Some(figures(&plan, &tenant.config()));
    let before = lane.appender.position();
    // What these records say today, which the backup does not know, is somebody else's: it comes again, with a later time.
    let gone: Vec<RecordRetracted> = others
        .iter()
        .filter(|view| view.live)
        .map(|view| RecordRetracted { record: view.digest, observed_at: view.observed_at })
        .collect();
    if !gone.is_empty() {
        tracing::warn!(
            tenant = %tenant.name,
            count = gone.len(),
            "records that held here what an erased person's alone was then are taken out; what they say today their sources must send again"
        );
    }
    // LAW 6: a no at such a record is heard where the record was known, and a replay cannot read any more where that was.
    let stands: Vec<StandsOn> = {
        let state = tenant.state();
        let theirs = |value: &Digest128| erased.suppressed.iter().any(|(_, digest)| digest == value);
        let denied = gone.iter().map(|left| left.record).filter(|record| state.consent.ledger.has_stop_at(*record));
        let stands = denied.map(|point| {
            let links = state.engine.links_of(point).into_iter().map(|value| value.digest);
            StandsOn { point, heard_at: links.filter(|value| !theirs(value)).collect(), of: None }
        });
        stands.filter(|stands| !stands.heard_at.is_empty()).collect()
    };
    if !carry_out(lane, tenant, (first, before), (erased, gone, stands), asked, None)? {
        return Ok(false);
    }
    finish(lane, tenant, id, None)?;
    Ok(true)
}

/// The request that an erasure was carried out for, where the backup holds it and it is open there: it ends with the erasure. Its
/// number alone does not say so, since after a restore numbers are given anew.
fn asked_before(state: &State, erased: &Erased) -> Option<PrivacyRequest> {
    let asked = state.privacy.requests.get(&erased.request)?;
    let is_open = asked.kind == RequestKind::Erasure && asked.ended_at.is_none();
    let subject = &asked.subject;
    let members = subject.profiles.iter().flat_map(|profile| state.engine.members(*profile));
    let named = subject.records.iter().chain(subject.identifiers.iter().map(|(_, digest)| digest)).copied();
    let is_theirs = named.chain(members.map(|member| member.digest)).any(|digest| {
        erased.records.iter().any(|record| record.digest == digest)
            || erased.suppressed.iter().any(|(_, suppressed)| *suppressed == digest)
    });
    (is_open && is_theirs).then(|| asked.clone())
}

/// Brings what was decided to its end: everything before is durable, its keys are destroyed; the checkpoints of before
/// go, and the receipt is written.
pub fn finish(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    id: Sequence,
    asker: Option<(Option<RequestKey>, Answer)>,
) -> Result<(), JournalError> {
    let after = lane.drain()?;
    if let Err(error) = lane.shared.checkpoints.destroy_all() {
        tracing::error!(error = %error, "a checkpoint could not be destroyed; the erasure ends at the next start");
        return Err(JournalError::Poisoned);
    }
    // What is erased is in none of them; the next one is written when there is nothing else to do.
    lane.checkpoint_wanted = Some(Wanted::now());
    let now = lane.shared.clock.now();
    let (mut asked, last) = {
        let state = tenant.state();
        let Some(asked) = state.privacy.requests.get(&id).cloned() else { return Ok(()) };
        (asked, state.sequence)
    };
    asked.state = RequestState::Completed;
    asked.ended_at = Some(now);
    let seed = lane.shared.root.derive(receipt::SIGNING_KEY);
    let text = receipt::write(tenant, &asked, last, &after).sign(&seed).text();
    let kept = decision::encode(&ReceiptKept { request: id, text });
    let whole = decision::encode(&asked);
    let (request, reply) = match asker {
        Some((request, reply)) => (request, Some(reply)),
        None => (None, None),
    };
    let mut done = Done { request: Some(asked.clone()), count: 0, sequence: Sequence(u64::MAX) };
    let room = entry_room(kept.len()) + entry_room(whole.len()) + room_to_remember(request, &done);
    let Some(mut group) = lane.begin(room)? else {
        // It is erased; the receipt is written when there is room.
        lane.unfinished.push((Arc::clone(tenant), id));
        if let Some(reply) = reply {
            let _ = reply.send(Err(WriteError::DiskFull));
        }
        return Ok(());
    };
    {
        let mut state = tenant.state_mut();
        let first = state.sequence.next();
        let place = group
            .builder
            .push(tenant.id, first, kind(EntryKind::ReceiptKept), |_, out| out.extend_from_slice(&kept))?;
        let second = first.next();
        group.builder.push(tenant.id, second, kind(EntryKind::PrivacyRequestPut), |_, out| {
            out.extend_from_slice(&whole);
        })?;
        state.sequence = second;
        done.sequence = second;
        state.privacy.receipts.insert(id, place);
        state.privacy.put(asked);
        group.commit.published.push((Arc::clone(tenant), second));
    }
    remember(lane, tenant, request, &done, &mut group)?;
    if let Some(reply) = reply {
        group.commit.replies.push(Reply::of(reply, done));
    }
    lane.commit(group)
}
