//! In the lane: what was checked is written, whole or not at all, and applied.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use onefold_core::change::ProfileChange;
use onefold_core::decision::{self, EntryKind, Settled};
use onefold_core::fragment::PartyKind;
use onefold_core::hierarchy::entry::Subject;
use onefold_core::hierarchy::{AccountOrdinal, Moment};
use onefold_core::ids::{Digest128, Place, ProfileOrdinal, Sequence, SlotId};
use onefold_core::lifecycle::{Lifecycle, LifecycleDefined};
use onefold_store::journal::{JournalError, entry_room};
use onefold_store::seal::TAG_BYTES;

use super::act::Done;
use super::commit::only_answer;
use super::read::profile_as;
use super::replay;
use super::state::Effect;
use crate::app::decide::key_for;
use crate::app::error::WriteError;
use crate::app::lane::{Group, Lane, kind, note_changes};
use crate::app::requests::{RequestKey, remember, room_to_remember};
use crate::app::tenant::{State, Tenant};
use crate::app::writer::Reply;

/// Changes in one entry of the journal.
const CHANGES_PER_ENTRY: usize = 1_024;
/// Bytes that one change takes at most.
const CHANGE_BYTES: usize = 24;
/// Bytes that an entry of changes takes beside them.
const CHANGES_HEAD_BYTES: usize = 64;

/// One entry to write, and what it does.
pub(super) struct Draft {
    /// Its kind in the journal.
    pub kind: EntryKind,
    /// Keyed digest of the source record that it is about.
    pub record: Digest128,
    /// What is sealed.
    pub content: Vec<u8>,
    /// What it does.
    pub effect: Effect,
}

impl Draft {
    /// Whom it is about: what is told of one subject is sealed under one key.
    const fn subject(&self) -> (PartyKind, Digest128) {
        (self.effect.party(), self.record)
    }

    /// The request for which nothing may be told of it. What calls told of the subject before, and was not erased with a
    /// namesake of the other kind, may be told again.
    pub fn stopped_by(&self, state: &State) -> Option<Sequence> {
        let (party, record) = self.subject();
        state.privacy.stops([record]).filter(|_| !state.accounts.is_told(party, record))
    }
}

/// Which keys entries are sealed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// Those of their subjects.
    Known,
    /// New ones, which are their subjects' from then on.
    Fresh,
}

/// Writes entries and what they change, as one batch: all of it is there after a crash, or nothing.
pub(super) fn write(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    drafts: Vec<Draft>,
    keys: Keys,
    request: Option<RequestKey>,
    answer: impl FnOnce(Result<Done, WriteError>) -> Reply,
) -> Result<(), JournalError> {
    let facts: usize = drafts.iter().map(|draft| entry_room(draft.content.len() + Subject::BYTES + TAG_BYTES)).sum();
    let entries = drafts.len() / CHANGES_PER_ENTRY + 2;
    let told = drafts.len() * CHANGE_BYTES + entries * entry_room(CHANGES_HEAD_BYTES);
    let told = told + room_to_remember(request, &Done::LARGEST);
    let most = lane.segment_bytes().saturating_sub(lane.settled_room());
    if facts + told > most {
        return only_answer(lane, answer(Err(WriteError::Full { what: "bytes of one change", limit: most })));
    }
    let fresh: HashSet<_> = {
        let state = tenant.state();
        let is_fresh = |subject: &_| keys == Keys::Fresh || !state.accounts.slots.contains_key(subject);
        drafts.iter().map(Draft::subject).filter(is_fresh).collect()
    };
    // A key that was destroyed is replaced, so there may be need of as many as there are entries.
    let group = if lane.keys_are_ready(tenant, fresh.len() + 1)? { lane.begin(facts + told)? } else { None };
    let Some(mut group) = group else {
        return only_answer(lane, answer(Err(WriteError::DiskFull)));
    };
    let mut sequence = tenant.state().sequence;
    let mut slots: HashMap<(PartyKind, Digest128), SlotId> = HashMap::new();
    let mut written = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let subject = draft.subject();
        let Draft { kind: what, record, content, effect } = draft;
        let (known, opens) = {
            let state = tenant.state();
            let before = state.accounts.slots.get(&subject).filter(|_| keys == Keys::Known);
            let known = slots.get(&subject).or(before).copied();
            (known, what == EntryKind::AccountPut && state.accounts.forest.find(record).is_none())
        };
        let (slot, key) = key_for(&tenant.vault, known)?;
        slots.insert(subject, slot);
        sequence = sequence.next();
        let header = Subject { slot, opens, record }.header();
        let place = group.builder.push(tenant.id, sequence, kind(what), |context, out| {
            out.extend_from_slice(&header);
            context.seal(&key, 0, &header, &content, out);
        })?;
        group.commit.keyed.push(replay::history_of(tenant.id, what, record, sequence, place));
        written.push((record, effect, place, slot, sequence));
    }
    let accounts = apply(lane, tenant, &mut group, written)?;
    let sequence = tenant.state().sequence;
    group.commit.published.push((Arc::clone(tenant), sequence));
    let done = Done::about(sequence, &accounts);
    remember(lane, tenant, request, &done, &mut group)?;
    group.commit.replies.push(answer(Ok(done)));
    lane.commit(group)
}

type Written = (Digest128, Effect, Place, SlotId, Sequence);

/// Applies what was written and tells the feed; readers see all of it or nothing.
fn apply(
    lane: &Lane,
    tenant: &Arc<Tenant>,
    group: &mut Group,
    written: Vec<Written>,
) -> Result<Vec<AccountOrdinal>, JournalError> {
    let committed_at = lane.shared.clock.now();
    let mut state = tenant.state_mut();
    let mut accounts = Vec::new();
    let mut persons: BTreeMap<ProfileOrdinal, Vec<u32>> = BTreeMap::new();
    for (record, effect, place, slot, sequence) in written {
        let of_person = matches!(&effect, Effect::Stage(set) if set.party == PartyKind::Person);
        state.sequence = sequence;
        accounts.extend(state.accounts.apply(record, effect, (place, slot, sequence)));
        if of_person
            && let Some(profile) = profile_as(&state, PartyKind::Person, record)
            && let Some(ordinal) = state.engine.ordinal_of(record)
        {
            persons.entry(profile).or_default().push(ordinal);
        }
    }
    state.accounts.forest.measure();
    accounts.sort_unstable();
    accounts.dedup();
    let changes: Vec<ProfileChange<u32>> = persons
        .into_iter()
        .map(|(profile, mut touched)| {
            touched.sort_unstable();
            ProfileChange::Updated { profile, joined: Vec::new(), touched }
        })
        .chain(accounts.iter().map(|account| ProfileChange::AccountChanged { account: *account }))
        .collect();
    let mut rest = changes.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(CHANGES_PER_ENTRY));
        let first = state.sequence.next();
        let settled =
            Settled { previous: state.last_change, committed_at, changes: now.to_vec(), more: !later.is_empty() };
        note_changes(&mut state, first, now);
        let payload = settled.encode();
        group.builder.push(tenant.id, first, kind(EntryKind::Settled), |_, out| out.extend_from_slice(&payload))?;
        state.index_feed(first, group.start);
        rest = later;
    }
    Ok(accounts)
}

/// The stages are others from now on.
pub(super) fn define(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    lifecycle: Lifecycle,
    request: Option<RequestKey>,
    answer: impl FnOnce(Result<Done, WriteError>) -> Reply,
) -> Result<(), JournalError> {
    let defined = LifecycleDefined { lifecycle, at: Some(Moment(lane.shared.clock.now().0)) };
    let payload = decision::encode(&defined);
    let room = entry_room(payload.len()) + room_to_remember(request, &Done::LARGEST);
    let Some(mut group) = lane.begin(room)? else {
        return only_answer(lane, answer(Err(WriteError::DiskFull)));
    };
    let sequence = tenant.state().sequence.next();
    group.builder.push(tenant.id, sequence, kind(EntryKind::LifecycleDefined), |_, out| {
        out.extend_from_slice(&payload);
    })?;
    {
        let mut state = tenant.state_mut();
        state.sequence = sequence;
        state.accounts.define(defined);
    }
    group.commit.published.push((Arc::clone(tenant), sequence));
    let done = Done::about(sequence, &[]);
    remember(lane, tenant, request, &done, &mut group)?;
    group.commit.replies.push(answer(Ok(done)));
    lane.commit(group)
}
