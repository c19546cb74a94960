//! Judgements are made and taken back, in the lane.

use std::collections::BTreeMap;
use std::sync::Arc;

use onefold_core::decision::{self, EntryKind, JudgementsEnded};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, Sequence};
use onefold_core::judgement::{Judged, Verdict};
use onefold_matching::resolve::{Engine, JudgementRefused};
use onefold_store::journal::{JournalError, entry_room};
use serde::{Deserialize, Serialize};

use super::{Judgements, in_engine};
use crate::app::App;
use crate::app::decide::Decided;
use crate::app::error::WriteError;
use crate::app::lane::{Command, Group, Lane, judgement_room, kind};
use crate::app::requests::{ReplyTo, RequestKey, remember, room_to_remember};
use crate::app::tenant::{State, Tenant};
use crate::app::writer::Reply;

/// Judgements that one call makes or takes back at most.
pub const JUDGED_AT_ONCE_MAX: usize = 1_000;

/// What a steward wants.
#[derive(Clone, Debug)]
pub enum Ruling {
    /// Judge these pairs, all or none.
    Judge {
        /// The pairs.
        pairs: Vec<(Digest128, Digest128, Verdict)>,
        /// Who says so.
        author: String,
        /// Why.
        reason: String,
        /// When it ends.
        expires_at: Option<ObservedAt>,
    },
    /// Take back the judgements of these entries.
    Withdraw(Vec<Sequence>),
    /// Take back what has ended.
    Expire,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruled {
    /// The judgements made, in order, or taken back.
    pub entries: Vec<Sequence>,
    /// The last consequence.
    pub sequence: Sequence,
}

/// Why a judgement is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// No fragment of this record ever came.
    #[error("judgement {index} names a source record that is not known")]
    RecordUnknown {
        /// Which of the call's.
        index: usize,
    },
    /// It names one record twice.
    #[error("judgement {index} names one source record twice")]
    OneRecord {
        /// Which of the call's.
        index: usize,
    },
    /// A person and an organisation.
    #[error("judgement {index} says that a person and an organisation are one party, which is never so")]
    TwoKinds {
        /// Which of the call's.
        index: usize,
    },
    /// Others in force, or of this call, say the contrary.
    #[error("judgement {index} contradicts a chain of {steps} judgements")]
    Contradicted {
        /// Which of the call's.
        index: usize,
        /// Length of the shortest chain from its first record to its second.
        steps: usize,
        /// Those of the chain that are in force; the others come with the call.
        entries: Vec<Sequence>,
    },
    /// As many as there may be are in force.
    #[error("as many judgements as there may be are in force")]
    TooMany,
}

/// Does what a steward wants.
pub(in crate::app) fn rule(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    ruling: Ruling,
    request: Option<RequestKey>,
    reply: ReplyTo<Ruled>,
) -> Result<(), JournalError> {
    match ruling {
        Ruling::Judge { pairs, author, reason, expires_at } => {
            let now = lane.shared.clock.now();
            let drafts: Vec<Judged> = pairs
                .into_iter()
                .map(|(one, other, verdict)| Judged {
                    records: (one.min(other), one.max(other)),
                    verdict,
                    seen_bits: None,
                    author: author.clone(),
                    reason: reason.clone(),
                    judged_at: now,
                    expires_at,
                })
                .collect();
            judge(lane, tenant, drafts, request, reply)
        }
        Ruling::Withdraw(entries) => {
            let mut known: Vec<Sequence> = {
                let state = tenant.state();
                entries.into_iter().filter(|entry| state.judgements.get(*entry).is_some()).collect()
            };
            known.sort_unstable();
            known.dedup();
            end(lane, tenant, known, request, reply)
        }
        Ruling::Expire => {
            let mut ended = tenant.state().judgements.ended(lane.shared.clock.now());
            ended.truncate(JUDGED_AT_ONCE_MAX);
            end(lane, tenant, ended, request, reply)
        }
    }
}

fn judge(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    mut drafts: Vec<Judged>,
    request: Option<RequestKey>,
    reply: ReplyTo<Ruled>,
) -> Result<(), JournalError> {
    let checked = {
        let mut state = tenant.state_mut();
        let State { engine, judgements, .. } = &mut *state;
        check(engine, judgements, &mut drafts)
    };
    if let Err(error) = checked {
        let _ = reply.send(Err(error.into()));
        return Ok(());
    }
    let bytes = |judged: &Judged| judgement_room(judged.author.len() + judged.reason.len());
    let answer = Ruled { entries: vec![Sequence(u64::MAX); drafts.len()], sequence: Sequence(u64::MAX) };
    let room = drafts.iter().map(bytes).sum::<usize>() + room_to_remember(request, &answer) + lane.settled_room();
    let ready = lane.keys_are_ready(tenant, drafts.len())?;
    let group = if ready { lane.begin(room)? } else { None };
    let Some(mut group) = group else {
        let _ = reply.send(Err(WriteError::DiskFull));
        return Ok(());
    };
    let mut entries = Vec::with_capacity(drafts.len());
    let mut sequence = tenant.state().sequence;
    let mut told = Vec::with_capacity(drafts.len());
    for judged in drafts {
        sequence = sequence.next();
        entries.push(sequence);
        told.push(group.judge(tenant, sequence, judged)?);
    }
    let mut group = lane.settle(tenant, group, Decided::judged(told, sequence))?;
    for slot in std::mem::take(&mut tenant.state_mut().replaced) {
        group.commit.destroy.push((Arc::clone(tenant), slot));
    }
    answer_with(lane, tenant, Ruled { entries, sequence: Sequence(0) }, (request, reply), group)
}

fn end(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    entries: Vec<Sequence>,
    request: Option<RequestKey>,
    reply: ReplyTo<Ruled>,
) -> Result<(), JournalError> {
    let answer = Ruled { entries: entries.clone(), sequence: Sequence(u64::MAX) };
    let room = entry_room(16 + 10 * entries.len()) + room_to_remember(request, &answer) + lane.settled_room();
    let Some(mut group) = lane.begin(room)? else {
        let _ = reply.send(Err(WriteError::DiskFull));
        return Ok(());
    };
    if !entries.is_empty() {
        let sequence = tenant.state().sequence.next();
        let payload = decision::encode(&JudgementsEnded { entries: entries.clone() });
        group.builder.push(tenant.id, sequence, kind(EntryKind::JudgementsEnded), |_, out| {
            out.extend_from_slice(&payload);
        })?;
        group = lane.settle(tenant, group, Decided::unjudged(entries.clone(), sequence))?;
        for slot in std::mem::take(&mut tenant.state_mut().replaced) {
            group.commit.destroy.push((Arc::clone(tenant), slot));
        }
    }
    answer_with(lane, tenant, Ruled { entries, sequence: Sequence(0) }, (request, reply), group)
}

fn answer_with(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    mut ruled: Ruled,
    (request, reply): (Option<RequestKey>, ReplyTo<Ruled>),
    mut group: Group,
) -> Result<(), JournalError> {
    ruled.sequence = tenant.state().sequence;
    remember(lane, tenant, request, &ruled, &mut group)?;
    group.commit.published.push((Arc::clone(tenant), tenant.state().sequence));
    group.commit.replies.push(Reply::of(reply, ruled));
    lane.commit(group)
}

/// Whether all of these could be in force together, beside those that none of them replaces; notes the weight that each pair
/// has today. The engine is as before afterwards.
fn check(engine: &mut Engine, in_force: &Judgements, drafts: &mut [Judged]) -> Result<(), JudgeError> {
    for (index, judged) in drafts.iter_mut().enumerate() {
        check_records(engine, judged, index)?;
    }
    // What is about to be replaced speaks against none of them.
    let mut before = BTreeMap::new();
    for judged in &*drafts {
        let (one, other) = judged.records;
        if let Some(held) = engine.judgement(one, other) {
            before.insert(judged.records, held);
            engine.withdraw_judgement(one, other);
        }
    }
    let mut judged = drafts.iter().enumerate();
    let checked = judged.try_for_each(|(index, judged)| check_one(engine, in_force, judged, index));
    for judged in &*drafts {
        engine.withdraw_judgement(judged.records.0, judged.records.1);
    }
    for ((one, other), held) in before {
        engine.take_judgement(one, other, held);
    }
    checked
}

fn check_records(engine: &Engine, judged: &mut Judged, index: usize) -> Result<(), JudgeError> {
    let (one, other) = judged.records;
    let (Some(a), Some(b)) = (engine.record(one), engine.record(other)) else {
        return Err(JudgeError::RecordUnknown { index });
    };
    if judged.verdict == Verdict::Same && a.live && b.live && a.party != b.party {
        return Err(JudgeError::TwoKinds { index });
    }
    judged.seen_bits = engine.match_evidence(one, other).map(|evidence| evidence.total_bits);
    Ok(())
}

fn check_one(engine: &mut Engine, in_force: &Judgements, judged: &Judged, index: usize) -> Result<(), JudgeError> {
    let (one, other) = judged.records;
    engine.judge_pair(one, other, in_engine(judged)).map_err(|refused| match refused {
        JudgementRefused::OneRecord => JudgeError::OneRecord { index },
        JudgementRefused::Contradiction(chain) => {
            let entries = chain.iter().filter_map(|(a, b, _)| in_force.on((*a.min(b), *a.max(b))));
            JudgeError::Contradicted { index, steps: chain.len(), entries: entries.collect() }
        }
        JudgementRefused::TooMany => JudgeError::TooMany,
    })
}

impl App {
    /// Judges pairs of records, or takes judgements back.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was done; [`WriteError::Judge`] says what is in the way.
    pub async fn rule(
        &self,
        tenant: &Arc<Tenant>,
        ruling: Ruling,
        request: Option<RequestKey>,
    ) -> Result<Ruled, WriteError> {
        let tenant = Arc::clone(tenant);
        self.ask(|reply| Command::Rule { tenant, ruling: Box::new(ruling), request, reply }).await
    }

    /// Tenants with judgements that have ended and are still in force.
    pub fn with_ended_judgements(&self) -> Vec<Arc<Tenant>> {
        let now = self.now();
        self.tenants().into_iter().filter(|tenant| !tenant.state().judgements.ended(now).is_empty()).collect()
    }
}
