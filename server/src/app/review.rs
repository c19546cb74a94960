//! What stewards judge, in the lane like everything else, and what there is to ask them.
//!
//! The engine keeps what a judgement says; here is kept who said it, where in the journal and under which key. The words
//! are read from there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use onefold_core::config::STEWARD_SOURCE;
use onefold_core::decision::{self, EntryKind, JudgementsEnded, Sealed};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::{ObservedAt, SourceRecord};
use onefold_core::ids::{Digest128, Place, ProfileOrdinal, Sequence, SlotId};
use onefold_core::judgement::{Judged, Verdict};
use onefold_matching::pair::MatchEvidence;
use onefold_matching::resolve::{Engine, Judgement, JudgementRefused, Question, QuestionCursor, RecordView};
use onefold_store::journal::{JournalError, entry_room};
use onefold_store::seal::TAG_BYTES;
use onefold_store::vault::VaultError;
use serde::{Deserialize, Serialize};

use super::decide::{Decided, key_for};
use super::error::{ReadError, WriteError};
use super::lane::{Command, Lane, kind};
use super::requests::{ReplyTo, RequestKey, remember, room_to_remember};
use super::tenant::{LiveConfig, State, Tenant};
use super::writer::Reply;
use super::{App, Shared, read};

/// Judgements that one call makes or takes back at most.
pub const JUDGED_AT_ONCE_MAX: usize = 1_000;
/// Bytes of a judgement beside its words.
const BESIDE_WORDS: usize = 96;

/// Where a judgement in force is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The two records, the smaller digest first.
    pub records: (Digest128, Digest128),
    /// Its entry.
    pub place: Place,
    /// The key of its words.
    pub slot: SlotId,
    /// When it ends.
    pub expires_at: Option<ObservedAt>,
}

/// The judgements in force, by the sequence of their entries.
#[derive(Clone, Debug, Default)]
pub struct Judgements {
    told: BTreeMap<Sequence, Told>,
    by_pair: BTreeMap<(Digest128, Digest128), Sequence>,
    by_other: BTreeSet<(Digest128, Digest128)>,
    ends: BTreeSet<(ObservedAt, Sequence)>,
}

impl Judgements {
    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Sequence, &Told)> {
        self.told.iter().map(|(entry, told)| (*entry, told))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// One of them.
    pub fn get(&self, entry: Sequence) -> Option<&Told> {
        self.told.get(&entry)
    }

    /// The one on these two records.
    pub fn on(&self, records: (Digest128, Digest128)) -> Option<Sequence> {
        self.by_pair.get(&records).copied()
    }

    /// Those about a record, oldest first.
    pub fn about(&self, record: Digest128) -> Vec<Sequence> {
        let all = (record, Digest128([0; 16]))..=(record, Digest128([0xff; 16]));
        let first = self.by_pair.range(all.clone()).map(|(_, entry)| *entry);
        let second = self.by_other.range(all).filter_map(|(_, other)| self.on((*other, record)));
        let mut entries: Vec<Sequence> = first.chain(second).collect();
        entries.sort_unstable();
        entries
    }

    /// The keys of what was said of these records, each once.
    pub fn slots_about(&self, records: &[Digest128]) -> Vec<SlotId> {
        let about: BTreeSet<Sequence> = records.iter().flat_map(|record| self.about(*record)).collect();
        about.into_iter().filter_map(|entry| Some(self.get(entry)?.slot)).collect()
    }

    /// Forgets what was said of these records; the engine forgets the records.
    pub fn forget(&mut self, records: &[Digest128]) {
        for record in records {
            for entry in self.about(*record) {
                self.drop(entry);
            }
        }
    }

    /// Those that have ended by this time.
    pub fn ended(&self, now: ObservedAt) -> Vec<Sequence> {
        self.ends.iter().take_while(|(at, _)| *at <= now).map(|(_, entry)| *entry).collect()
    }

    /// Notes one; answers with the one that it replaces.
    fn note(&mut self, entry: Sequence, told: Told) -> Option<Told> {
        let before = self.on(told.records).and_then(|before| self.drop(before));
        self.by_pair.insert(told.records, entry);
        self.by_other.insert((told.records.1, told.records.0));
        self.ends.extend(told.expires_at.map(|at| (at, entry)));
        self.told.insert(entry, told);
        before
    }

    /// Forgets one.
    fn drop(&mut self, entry: Sequence) -> Option<Told> {
        let told = self.told.remove(&entry)?;
        self.by_pair.remove(&told.records);
        self.by_other.remove(&(told.records.1, told.records.0));
        if let Some(at) = told.expires_at {
            self.ends.remove(&(at, entry));
        }
        Some(told)
    }

    /// As a checkpoint keeps them.
    pub fn to_rows(&self) -> Vec<(Sequence, Told)> {
        self.iter().map(|(entry, told)| (entry, *told)).collect()
    }

    /// From a checkpoint.
    pub fn from_rows(rows: Vec<(Sequence, Told)>) -> Self {
        let mut judgements = Self::default();
        for (entry, told) in rows {
            judgements.note(entry, told);
        }
        judgements
    }
}

impl State {
    /// Takes a judgement as the journal tells it; answers with the slot of the one that it replaces. Those of one call were
    /// checked together, and come one behind the other.
    pub fn judge(&mut self, judged: &Judged, entry: Sequence, place: Place, slot: SlotId) -> Option<SlotId> {
        let (one, other) = judged.records;
        self.engine.take_judgement(one, other, in_engine(judged));
        let told = Told { records: judged.records, place, slot, expires_at: judged.expires_at };
        self.judgements.note(entry, told).map(|before| before.slot)
    }

    /// Takes a judgement back; answers with the slot of its words.
    pub fn unjudge(&mut self, entry: Sequence) -> Option<SlotId> {
        let told = self.judgements.drop(entry)?;
        self.engine.withdraw_judgement(told.records.0, told.records.1);
        Some(told.slot)
    }
}

fn in_engine(judged: &Judged) -> Judgement {
    Judgement { verdict: judged.verdict, seen_bits: judged.seen_bits, expires_at: judged.expires_at.map(|at| at.0) }
}

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
pub(super) fn rule(
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
    let bytes = |judged: &Judged| {
        entry_room(BESIDE_WORDS + judged.author.len() + judged.reason.len() + Sealed::HEADER_BYTES + TAG_BYTES)
    };
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
        let (slot, key) = key_for(&tenant.vault, None)?;
        sequence = sequence.next();
        let content = decision::encode(&judged);
        let place = group.builder.push(tenant.id, sequence, kind(EntryKind::JudgementStated), |context, out| {
            let header = Sealed::header(slot, false);
            out.extend_from_slice(&header);
            context.seal(&key, 0, &header, &content, out);
        })?;
        entries.push(sequence);
        told.push((judged, sequence, place, slot));
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
    mut group: super::lane::Group,
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

/// A question, readable.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is asked.
    pub question: Question,
    /// The two source records.
    pub records: (SourceRecord, SourceRecord),
    /// How they match.
    pub evidence: Option<MatchEvidence>,
}

/// A page of questions after `after`, the most valuable first, and whether there are more. Not for asynchronous threads.
///
/// # Errors
/// [`ReadError::Store`] when a record cannot be read.
pub fn questions(
    app: &App,
    tenant: &Tenant,
    after: Option<QuestionCursor>,
    most: usize,
) -> Result<(Vec<Asked>, bool), ReadError> {
    let (found, more) = tenant.seen(|state| {
        let mut questions = state.engine.questions(after, most + 1);
        let more = questions.len() > most;
        questions.truncate(most);
        let with_places = questions.into_iter().filter_map(|question| {
            let (one, other) = question.records;
            let place = |record: Digest128| Some((record, state.engine.record(record)?.place));
            Some((question, (place(one)?, place(other)?), state.engine.match_evidence(one, other)))
        });
        (with_places.collect::<Vec<_>>(), more)
    })?;
    let mut asked = Vec::with_capacity(found.len());
    for (question, (one, other), evidence) in found {
        // What was erased meanwhile is no question any more.
        if let Some(records) = name_of(app, tenant, one)?.zip(name_of(app, tenant, other)?) {
            asked.push(Asked { question, records, evidence });
        }
    }
    Ok((asked, more))
}

/// What a source calls the record that was live at a place; `None` when it is gone since.
fn name_of(app: &App, tenant: &Tenant, (record, place): (Digest128, Place)) -> Result<Option<SourceRecord>, ReadError> {
    Ok(read::fragment_of(&app.shared, tenant, record, place)?.map(|(fragment, _)| fragment.record))
}

/// A judgement in force, readable.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its entry.
    pub entry: Sequence,
    /// What was said, by whom and why.
    pub judged: Judged,
    /// The two source records, where they are live.
    pub records: (Option<SourceRecord>, Option<SourceRecord>),
}

/// A page of judgements in force after an entry, oldest first, and whether there are more. Not for asynchronous threads.
///
/// # Errors
/// [`ReadError::Store`] when one cannot be read.
pub fn judgements(
    app: &App,
    tenant: &Tenant,
    about: Option<&SourceRecord>,
    after: Sequence,
    most: usize,
) -> Result<(Vec<Standing>, bool), ReadError> {
    let about = about.map(|record| tenant.config().preparer().record_digest(record.source, &record.key));
    let (found, more) = tenant.seen(|state| {
        let later = |entry: &Sequence| *entry > after;
        let entries: Vec<Sequence> = match about {
            Some(record) => state.judgements.about(record).into_iter().filter(later).take(most + 1).collect(),
            None => state.judgements.iter().map(|(entry, _)| entry).filter(later).take(most + 1).collect(),
        };
        let more = entries.len() > most;
        let place =
            |record: Digest128| state.engine.record(record).filter(|view| view.live).map(|view| (record, view.place));
        let told = entries.into_iter().take(most).filter_map(|entry| {
            let told = *state.judgements.get(entry)?;
            Some((entry, told, (place(told.records.0), place(told.records.1))))
        });
        (told.collect::<Vec<_>>(), more)
    })?;
    let mut standing = Vec::with_capacity(found.len());
    for (entry, told, (one, other)) in found {
        let Some(judged) = judged_at(&app.shared, tenant, told.place)? else { continue };
        let named = |found: Option<(Digest128, Place)>| found.map_or(Ok(None), |found| name_of(app, tenant, found));
        standing.push(Standing { entry, judged, records: (named(one)?, named(other)?) });
    }
    Ok((standing, more))
}

/// Reads a judgement's words; `None` when their key was destroyed.
pub(super) fn judged_at(shared: &Shared, tenant: &Tenant, place: Place) -> Result<Option<Judged>, ReadError> {
    read::durable_at(shared, place)?;
    let found = shared.journal.read(place).map_err(|error| ReadError::at(place, error))?;
    let Some(payload) = found.payload else { return read::gone_at(shared, place).map(|()| None) };
    if found.context.kind != kind(EntryKind::JudgementStated) {
        return Err(ReadError::content_of(place, "the entry is no judgement"));
    }
    let sealed = Sealed::parse(&payload).map_err(|error| ReadError::content_of(place, error))?;
    let key = match tenant.vault.key(sealed.slot) {
        Ok(key) => key,
        Err(VaultError::Destroyed(_)) => return read::gone_at(shared, place).map(|()| None),
        Err(error) => return Err(ReadError::key_of(place, error)),
    };
    let opened = found.context.open(&key, 0, &sealed.header, sealed.ciphertext);
    let plain = opened.map_err(|error| ReadError::content_of(place, error))?;
    decision::decode(&plain).map(Some).map_err(|error| ReadError::content_of(place, error))
}

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

/// Puts corrections on the side of the record beside which they were made; false when one is named without it.
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
    // In the order of their coming: a later one was made beside an earlier one.
    for correction in members.iter().filter(is_correction) {
        let beside =
            members.iter().find(|view| view.digest != correction.digest && same(view.digest, correction.digest));
        let Some(beside) = beside else { continue };
        match (leave.contains(&beside.digest), leave.contains(&correction.digest)) {
            (true, false) => leave.push(correction.digest),
            (false, true) => return false,
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
