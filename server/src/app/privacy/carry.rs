//! In the lane: restriction, its end, objection and rectification. Each is one batch with the request's new state: done
//! whole or not at all, whatever crashes.
//!
//! A restriction and an objection are consent statements at the person's records and identifiers. So they are what every
//! decision and every read for a purpose asks already; they follow merges and splits (law 6), and go with an erasure.

use std::sync::Arc;

use onefold_core::config::STEWARD_SOURCE;
use onefold_core::consent::rights::Opposed;
use onefold_core::consent::{Decision, PurposeId, Statement, Subject as About};
use onefold_core::decision::{self, EntryKind};
use onefold_core::erasure::{
    Carried, Did, ErasurePlan, PrivacyError, PrivacyRequest, Regulation, RequestKind, RequestState, Subject,
};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::ids::{Digest128, NamespaceId, Sequence};
use onefold_core::judgement::{Judged, Verdict};
use onefold_core::limits;
use onefold_core::namespace::NamespaceClass;
use onefold_matching::resolve::{JUDGEMENTS_MAX, RecordView};
use onefold_store::journal::{JournalError, entry_room};

use super::act::{Act, Answer, Done};
use super::{plan, receipt};
use crate::app::consent::Saying;
use crate::app::decide::{Decided, decide};
use crate::app::error::WriteError;
use crate::app::ingest::{Arriving, Item, Outcome};
use crate::app::lane::{Lane, judgement_room, kind, room_of};
use crate::app::requests::{RequestKey, remember, room_to_remember};
use crate::app::tenant::{LiveConfig, State, Tenant};
use crate::app::writer::Reply;

/// Records of a person beside which a correction stands; further ones are held by what holds them now.
const CORRECTED_RECORDS_MAX: usize = 64;

/// What is to be done, checked.
struct Made {
    asked: PrivacyRequest,
    /// Without the sequences, which are given on the way.
    carried: Carried,
    items: Vec<Item>,
    /// The records that a steward's judgements join: the correction's, and each of the person's.
    joins: Vec<(Digest128, Digest128)>,
}

/// What a step comes to.
enum Step {
    Do(Box<Made>),
    /// It is so already.
    Known(Box<PrivacyRequest>),
}

/// A request of one of these kinds that may be carried out, and its scope.
fn may(
    state: &State,
    config: &LiveConfig,
    (id, seen): (Sequence, Digest128),
    kinds: &[RequestKind],
) -> Result<(PrivacyRequest, ErasurePlan), PrivacyError> {
    let asked = state.privacy.requests.get(&id).cloned().ok_or(PrivacyError::Unknown)?;
    let plan = plan::plan(state, config, &asked.subject);
    asked.may_execute(kinds, seen, plan.scope(), &state.privacy.policy)?;
    Ok((asked, plan))
}

/// A word of the tenant's own about somebody, at these points.
pub(super) fn statement(
    (about, points): (About, Vec<Digest128>),
    decision: Decision,
    purpose: Option<PurposeId>,
    (method, evidence): (&str, String),
    now: ObservedAt,
) -> Statement {
    Statement {
        subject: about,
        points,
        purpose,
        channel: None,
        decision,
        lawful_basis: Default::default(),
        jurisdiction: None,
        notice: String::new(),
        language: String::new(),
        source: None,
        method: method.to_owned(),
        evidence,
        given_at: now,
        expires_at: None,
        confirmed_at: None,
        recorded_at: now,
        confirms: None,
        signals: Vec::new(),
        undated: false,
    }
}

fn say(statement: Statement, tenant: &Tenant) -> Item {
    let content = statement.content(&tenant.keys.index);
    Item::Say(Box::new(Saying { statement, content, records_max: 0, pinned: true, once: false, restored: false }))
}

/// Whom statements name: the profile, where there is one.
fn about(plan: &ErasurePlan, subject: &Subject) -> Result<About, PrivacyError> {
    match (plan.profiles.first().or(subject.profiles.first()), subject.identifiers.first()) {
        (Some(profile), _) => Ok(About::Profile(*profile)),
        (None, Some((namespace, _))) => Ok(About::Identifier { namespace: *namespace, raw: None }),
        (None, None) => Err(PrivacyError::ScopeEmpty),
    }
}

/// Records, identifiers that are this person's alone, and, `widely`, those that others hold too but that name somebody.
fn points(plan: &ErasurePlan, subject: &Subject, widely: bool) -> Result<Vec<Digest128>, PrivacyError> {
    let mut points: Vec<Digest128> = plan.records.iter().map(|record| record.digest).collect();
    points.extend(plan.suppressed.iter().map(|value| value.digest));
    points.extend(plan.siblings.iter().map(|(_, digest)| *digest));
    if widely {
        points.extend(plan.shared.iter().filter(|value| !value.generic).map(|value| value.digest));
    }
    if widely || plan.records.is_empty() {
        points.extend(subject.identifiers.iter().map(|(_, digest)| *digest));
    }
    points.sort_unstable();
    points.dedup();
    if points.is_empty() { Err(PrivacyError::ScopeEmpty) } else { Ok(points) }
}

fn carried(request: Sequence, at: ObservedAt, by: String, plan: &ErasurePlan, did: Did) -> Carried {
    let identifiers = (plan.suppressed.len() + plan.shared.len()) as u32;
    Carried { request, at, by, records: plan.records.len() as u32, identifiers, did }
}

/// The purposes that an objection means where it names none.
fn opposed(kind: RequestKind, config: &LiveConfig) -> Result<Vec<PurposeId>, PrivacyError> {
    let what = match kind {
        RequestKind::OptOutSaleShare => Opposed::SaleOrSharing,
        RequestKind::LimitSensitive => Opposed::SensitiveUse,
        _ => Opposed::DirectMarketing,
    };
    let purposes = what.purposes(&config.config.consent);
    if purposes.is_empty() {
        let term = what.terms().first().copied().unwrap_or_default();
        return Err(PrivacyError::NoPurpose { what: what.as_str(), term });
    }
    Ok(purposes)
}

/// LAW 5: a party holds one value of a unique namespace. A correction that brings a second one would be of nobody.
fn cannot_hold(state: &State, config: &LiveConfig, plan: &ErasurePlan, arriving: &Arriving) -> Option<FieldFault> {
    let unique = |id| config.config.namespace(id).filter(|namespace| namespace.class == NamespaceClass::Unique);
    let held: Vec<_> = plan.records.iter().flat_map(|record| state.engine.links_of(record.digest)).collect();
    arriving.prepared.links.iter().find_map(|link| {
        let namespace = unique(link.namespace)?;
        let other = held.iter().any(|held| held.namespace == link.namespace && held.digest != link.digest);
        let message = format!(
            "a party has one `{}`, and a record of this person says another: have its source correct it, or retract it",
            namespace.name
        );
        other.then(|| FieldFault::new("identifiers", FaultReason::Malformed, message))
    })
}

/// The records that a correction is judged the same as: all of the person's that it was asked for, so that they stay one
/// however soon each source takes the correction over, and whichever of them goes.
fn beside(state: &State, config: &LiveConfig, plan: &ErasurePlan, party: PartyKind) -> Vec<Digest128> {
    let stewards = config.source_named(STEWARD_SOURCE);
    let views = plan.records.iter().filter_map(|record| state.engine.record(record.digest));
    let mut views: Vec<RecordView> = views.filter(|view| view.live && view.party == party).collect();
    let is_correction = |view: &RecordView| Some(view.source) == stewards;
    // And the first correction, with which all later ones go wherever it goes.
    let first =
        views.iter().filter(|view| is_correction(view)).min_by_key(|view| (view.observed_at, view.facts)).copied();
    views.retain(|view| !is_correction(view));
    views.sort_unstable_by_key(|view| view.facts);
    views.splice(..0, first);
    let mut beside: Vec<Digest128> = Vec::new();
    for view in views {
        // A journal must hold no judgement that a replay refuses.
        let agrees = |other: &Digest128| state.engine.check_judgement(*other, view.digest, Verdict::Same).is_ok();
        if beside.len() < CORRECTED_RECORDS_MAX && beside.iter().all(agrees) {
            beside.push(view.digest);
        }
    }
    beside
}

fn make(state: &State, config: &LiveConfig, tenant: &Tenant, act: Act, now: ObservedAt) -> Result<Step, WriteError> {
    let evidence = |id| receipt::name(&tenant.name, id);
    let made = match act {
        Act::Restrict { id, scope, by } => {
            let (asked, plan) = may(state, config, (id, scope), &[RequestKind::Restriction])?;
            let whom = (about(&plan, &asked.subject)?, points(&plan, &asked.subject, false)?);
            let method = ("restriction of processing", evidence(id));
            let items = vec![say(statement(whom, Decision::Restricted, None, method, now), tenant)];
            let carried = carried(id, now, by, &plan, Did::Restricted(Vec::new()));
            Made { asked, carried, items, joins: Vec::new() }
        }
        Act::Object { id, scope, by, purposes } => {
            let kinds = [RequestKind::Objection, RequestKind::OptOutSaleShare, RequestKind::LimitSensitive];
            let (asked, plan) = may(state, config, (id, scope), &kinds)?;
            let purposes = if purposes.is_empty() { opposed(asked.kind, config)? } else { purposes };
            let (about, points) = (about(&plan, &asked.subject)?, points(&plan, &asked.subject, true)?);
            let object = |purpose| {
                let whom = (about.clone(), points.clone());
                let method = ("objection to processing", evidence(id));
                say(statement(whom, Decision::Objected, Some(purpose), method, now), tenant)
            };
            let items = purposes.into_iter().map(object).collect();
            let carried = carried(id, now, by, &plan, Did::Objected(Vec::new()));
            Made { asked, carried, items, joins: Vec::new() }
        }
        Act::Lift { id, by, ground } => {
            let asked = state.privacy.requests.get(&id).cloned().ok_or(PrivacyError::Unknown)?;
            let done = state.privacy.carried.get(&id).map_or(&[][..], Vec::as_slice);
            if done.iter().any(Carried::lifts) {
                return Ok(Step::Known(Box::new(asked)));
            }
            let (first, restricted) = (done.first(), done.iter().find_map(Carried::restricted));
            let (Some(first), Some(restricted)) = (first, restricted) else {
                return Err(PrivacyError::NotRestricted.into());
            };
            asked.may_lift(&by, &state.privacy.policy)?;
            let ledger = &state.consent.ledger;
            let lift = |restriction: &Sequence| {
                let points = ledger.points_of(*restriction).to_vec();
                let profile = points.iter().flat_map(|point| state.engine.profiles_at(*point)).min();
                // Of somebody who is not here any more only the points are known.
                let nobody = About::Identifier { namespace: NamespaceId(0), raw: None };
                let whom = (profile.map_or(nobody, About::Profile), points);
                let method = ("end of a restriction", evidence(id));
                let mut said = statement(whom, Decision::Released, None, method, now);
                said.confirms = Some(*restriction);
                say(said, tenant)
            };
            // What was erased since has no point left, and nothing to lift.
            let left = restricted.iter().filter(|restriction| !ledger.points_of(**restriction).is_empty());
            let items = left.map(lift).collect();
            let did = Did::Lifted { statements: Vec::new(), ground };
            let carried = Carried { request: id, at: now, by, did, ..first.clone() };
            Made { asked, carried, items, joins: Vec::new() }
        }
        Act::Rectify { id, scope, by, arriving, values } => {
            let (asked, plan) = may(state, config, (id, scope), &[RequestKind::Rectification])?;
            let [_] = plan.profiles.as_slice() else {
                let error =
                    if plan.profiles.is_empty() { PrivacyError::ScopeEmpty } else { PrivacyError::SeveralProfiles };
                return Err(error.into());
            };
            let beside = beside(state, config, &plan, arriving.prepared.party);
            if beside.is_empty() {
                return Err(PrivacyError::ScopeChanged.into());
            }
            if let Some(fault) = cannot_hold(state, config, &plan, &arriving) {
                return Err(WriteError::Invalid(vec![fault]));
            }
            if state.judgements.len() + beside.len() > JUDGEMENTS_MAX {
                return Err(WriteError::Full { what: "judgements", limit: JUDGEMENTS_MAX });
            }
            let record = arriving.prepared.record;
            let did = Did::Rectified { record, judged: Sequence(0), values };
            let carried = carried(id, now, by, &plan, did);
            let joins = beside.into_iter().map(|other| (record, other)).collect();
            Made { asked, carried, items: vec![Item::Put(arriving)], joins }
        }
        _ => return Err(PrivacyError::Kind { needs: "requests of another kind" }.into()),
    };
    if made.items.len() > limits::STATEMENTS_MAX.saturating_sub(state.consent.ledger.len()) {
        return Err(WriteError::Full { what: "consent statements", limit: limits::STATEMENTS_MAX });
    }
    Ok(Step::Do(Box::new(made)))
}

/// A restriction that a person's request brought, and that a restore did not bring back: it is in force again, as a request
/// that can be lifted.
pub(super) fn restrict_again(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    saying: Saying,
    reply: Answer,
) -> Result<(), JournalError> {
    let given_at = saying.statement.given_at;
    let ids = (tenant.state().sequence.next(), RequestKind::Restriction, Regulation::Gdpr);
    let asked = PrivacyRequest::new(ids, super::RESTORED.to_owned(), Subject::default(), given_at);
    let did = Did::Restricted(Vec::new());
    let (by, records) = (super::RESTORED.to_owned(), saying.statement.points.len() as u32);
    let carried = Carried { request: asked.id, at: lane.shared.clock.now(), by, records, identifiers: 0, did };
    let made = Made { asked, carried, items: vec![Item::Say(Box::new(saying))], joins: Vec::new() };
    write(lane, tenant, made, None, reply)
}

/// Carries out a request other than an erasure.
pub(super) fn carry(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    act: Act,
    request: Option<RequestKey>,
    reply: Answer,
) -> Result<(), JournalError> {
    let now = lane.shared.clock.now();
    let config = tenant.config();
    let step = make(&tenant.state(), &config, tenant, act, now);
    let made = match step {
        Ok(Step::Do(made)) => *made,
        Ok(Step::Known(asked)) => {
            let done = Done { request: Some(*asked), count: 0, sequence: tenant.state().sequence };
            let mut commit = crate::app::writer::Commit::default();
            commit.replies.push(Reply::of(reply, done));
            return lane.hand_on(commit);
        }
        Err(error) => {
            let _ = reply.send(Err(error));
            return Ok(());
        }
    };
    write(lane, tenant, made, request, reply)
}

fn write(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    made: Made,
    request: Option<RequestKey>,
    reply: Answer,
) -> Result<(), JournalError> {
    let Made { mut asked, mut carried, items, joins } = made;
    let now = carried.at;
    asked.state = RequestState::Completed;
    asked.ended_at.get_or_insert(now);
    asked.subject = Subject::default();
    let mut done = Done { request: Some(asked.clone()), count: 0, sequence: Sequence(u64::MAX) };
    // Sequences take ten bytes at most.
    let acts = decision::encode(&carried).len() + 10 * (items.len() + 1);
    let state_of_request = decision::encode(&asked);
    let reason = receipt::name(&tenant.name, asked.id);
    let judging = joins.len() * judgement_room(carried.by.len() + reason.len());
    let room = room_of(&items)
        + judging
        + entry_room(acts)
        + entry_room(state_of_request.len())
        + room_to_remember(request, &done)
        + lane.settled_room();
    if room > lane.segment_bytes() {
        let _ = reply.send(Err(WriteError::Full { what: "bytes of one request", limit: lane.segment_bytes() }));
        return Ok(());
    }
    let keys = items.iter().map(Item::keys).sum::<usize>() + joins.len();
    let group = if lane.keys_are_ready(tenant, keys)? { lane.begin(room)? } else { None };
    let Some(mut group) = group else {
        let _ = reply.send(Err(WriteError::DiskFull));
        return Ok(());
    };
    let (drafts, decided) = decide(tenant, items, &mut group)?;
    let mut said = Vec::with_capacity(drafts.len());
    let mut refused = None;
    for draft in &drafts {
        match draft.outcome() {
            Outcome::Said { statement, .. } => said.push(*statement),
            Outcome::Accepted { .. } | Outcome::Duplicate { .. } => {}
            Outcome::Rejected { faults } => refused = Some(WriteError::Invalid(faults.clone())),
            Outcome::Suppressed { .. } => refused = Some(PrivacyError::Suppressed.into()),
            Outcome::Superseded { .. } | Outcome::Quarantined { .. } => {
                refused = Some(PrivacyError::ScopeChanged.into())
            }
        }
    }
    if let Some(error) = refused {
        // What was decided of it (that something erased came again) is told all the same.
        let group = lane.settle(tenant, group, decided)?;
        let _ = reply.send(Err(error));
        return lane.commit(group);
    }
    let mut sequence = decided.last().unwrap_or_else(|| tenant.state().sequence);
    let mut told = Vec::with_capacity(joins.len());
    for (one, other) in joins {
        let judged = Judged {
            records: (one.min(other), one.max(other)),
            verdict: Verdict::Same,
            seen_bits: None,
            author: carried.by.clone(),
            reason: reason.clone(),
            judged_at: now,
            expires_at: None,
        };
        sequence = sequence.next();
        told.push(group.judge(tenant, sequence, judged)?);
    }
    match &mut carried.did {
        Did::Restricted(statements) | Did::Objected(statements) | Did::Lifted { statements, .. } => *statements = said,
        Did::Rectified { judged, .. } => *judged = told.first().map_or(sequence, |(_, sequence, ..)| *sequence),
    }
    let acts = decision::encode(&carried);
    sequence = sequence.next();
    group.builder.push(tenant.id, sequence, kind(EntryKind::RightCarriedOut), |_, out| out.extend_from_slice(&acts))?;
    sequence = sequence.next();
    group.builder.push(tenant.id, sequence, kind(EntryKind::PrivacyRequestPut), |_, out| {
        out.extend_from_slice(&state_of_request);
    })?;
    let mut group = lane.settle(tenant, group, Decided::carrying(decided, told, (carried, asked), sequence))?;
    done.sequence = tenant.state().sequence;
    remember(lane, tenant, request, &done, &mut group)?;
    let end = tenant.state().sequence;
    group.commit.published.push((Arc::clone(tenant), end));
    group.commit.replies.push(Reply::of(reply, done));
    lane.commit(group)
}
