//! The commit lane: one thread decides, one order of events.
//!
//! A group of commands becomes one batch of the journal. Reading goes on all the while: the state is locked for writing
//! only to apply what was decided. The writer thread makes batches durable and only then gives the answers.
//!
//! `command` is what may be asked of it, `queue` where that waits, `ingest` takes items, `settle` applies what was decided
//! and says what came of it, `rest` knows when a checkpoint that is due may wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use onefold_core::consent::stops::StandsOn;
use onefold_core::decision::{self, EntryKind, QuarantineCleared, Sealed};
use onefold_core::ids::{Place, Sequence, SlotId, TenantId};
use onefold_core::judgement::Judged;
use onefold_store::journal::{Appender, BatchBuilder, JournalError, batch_room, entry_room};
use onefold_store::seal::TAG_BYTES;
use onefold_store::vault::VaultError;
use tokio::sync::oneshot;

use super::consent::reserve::Passing;
use super::decide::{Decided, key_for};
use super::error::WriteError;
use super::keeper::Keep;
use super::requests::{RequestKey, remember, room_to_remember};
use super::tenant::Tenant;
use super::writer::{Commit, Reply};
use super::{Shared, access, backup, consent, hierarchy, models, privacy, reconfigure, review};
use crate::traces::Work;

mod command;
mod ingest;
mod queue;
mod rest;
mod settle;

pub use command::{Changed, Command, ConfigChange};
pub(super) use ingest::{room_of, share_a_group};
pub(super) use queue::Queue;
pub use rest::{CHECKPOINT_TAKES, REST_OFFERED_EVERY, Wanted};
pub(super) use settle::note_changes;

use ingest::are_stale;

/// Commands that may wait in front of the lane.
pub const LANE_DEPTH_MAX: usize = 64;
/// Items that one group takes at most, unless a single command brings more.
const GROUP_ITEMS_MAX: usize = 1_024;
/// Bytes of fragments that one batch takes at most.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Room kept in a batch for what settling says, beyond `ingest::SETTLED_BYTES_PER_ITEM`; more goes into the next batch.
/// In small segments a quarter of one.
pub(super) const SETTLED_ROOM: usize = 1 << 20;

/// Bytes of a judgement beside its words.
const JUDGED_BESIDE_WORDS: usize = 96;

/// The lane's own belongings.
pub struct Lane {
    pub(super) shared: Arc<Shared>,
    pub(super) appender: Appender,
    pub(super) commands: Queue<Command>,
    pub(super) writer: SyncSender<Commit>,
    pub(super) keeper: SyncSender<Keep>,
    /// Asks for a round of dropping what is superseded.
    pub(super) tidy: SyncSender<()>,
    pub(super) since_checkpoint: u64,
    pub(super) segment_bytes: usize,
    /// The largest batch and the most keys that the disk had no room for, until there is room for as much.
    pub(super) refused_bytes: usize,
    pub(super) refused_keys: usize,
    /// Tenants about whom the last run left something unsettled.
    pub(super) unsettled: Vec<Arc<Tenant>>,
    /// Requests whose erasure is decided and has no receipt yet.
    pub(super) unfinished: Vec<(Arc<Tenant>, Sequence)>,
    /// Checkpoints were destroyed: a new one is due.
    pub(super) checkpoint_wanted: Option<Wanted>,
    /// How long the last checkpoint took.
    pub(super) checkpoint_took: Duration,
    /// What is done now, where what asked for it is traced.
    pub(super) span: Option<Work>,
    /// Time as it passed for each tenant that reserves contacts.
    pub(super) passing: HashMap<TenantId, Passing>,
}

/// A batch in the making, and what is to happen when it is durable.
pub(super) struct Group {
    /// Where the batch begins.
    pub start: Place,
    pub builder: BatchBuilder,
    pub commit: Commit,
}

impl Group {
    /// Adds an entry of a tenant whose content is sealed under the key of a slot, a new one if it has none, and under a new one
    /// where that of before cannot be read. Where it lies, and under which key.
    pub(super) fn seal(
        &mut self,
        tenant: &Tenant,
        (sequence, of): (Sequence, EntryKind),
        slot: Option<SlotId>,
        opens_record: bool,
        content: &[u8],
    ) -> Result<(Place, SlotId), JournalError> {
        self.seal_behind(tenant, (sequence, of), slot, |slot| Sealed::header(slot, opens_record), content)
    }

    /// The same, behind a header of its own.
    pub(super) fn seal_behind(
        &mut self,
        tenant: &Tenant,
        (sequence, of): (Sequence, EntryKind),
        slot: Option<SlotId>,
        header: impl FnOnce(SlotId) -> [u8; Sealed::HEADER_BYTES],
        content: &[u8],
    ) -> Result<(Place, SlotId), JournalError> {
        let (slot, key) = key_for(&tenant.vault, slot)?;
        let header = header(slot);
        let place = self.builder.push(tenant.id, sequence, kind(of), |context, out| {
            out.extend_from_slice(&header);
            context.seal(&key, 0, &header, content, out);
        })?;
        Ok((place, slot))
    }

    /// Adds a steward's judgement, under a key of its own.
    pub(super) fn judge(
        &mut self,
        tenant: &Tenant,
        sequence: Sequence,
        judged: Judged,
    ) -> Result<(Judged, Sequence, Place, SlotId), JournalError> {
        let content = decision::encode(&judged);
        let (place, slot) = self.seal(tenant, (sequence, EntryKind::JudgementStated), None, false, &content)?;
        Ok((judged, sequence, place, slot))
    }
}

/// Bytes of a batch that a judgement takes whose words take so many.
pub(super) const fn judgement_room(words: usize) -> usize {
    entry_room(JUDGED_BESIDE_WORDS + words + Sealed::HEADER_BYTES + TAG_BYTES)
}

/// What waits behind what is done.
pub(super) enum Next {
    /// This, and it was asked for.
    Wanted(Command),
    /// This, which was not and waits on.
    Other(Command),
    Nothing,
}

/// Whether the lane works on.
enum Flow {
    /// With this, which was taken from the queue and waits behind what was done.
    GoesOn(Option<Command>),
    Ends,
}

impl Lane {
    /// Works until the last sender is gone or the store fails.
    pub fn run(mut self) {
        let mut waiting = None;
        while let Some(first) = waiting.take().or_else(|| self.commands.blocking_recv()) {
            let rest = matches!(first, Command::Rest);
            let first = self.noted(first);
            let went = self.group(first);
            self.span = None;
            match went {
                Ok(Flow::GoesOn(behind)) => waiting = behind,
                Ok(Flow::Ends) => {
                    if self.since_checkpoint > 0 {
                        self.checkpoint();
                    }
                    if let Err(error) = self.drain().and_then(|_| self.appender.close()) {
                        tracing::warn!(error = %error, "space reserved for the journal was not given back");
                    }
                    self.shared.sign_head();
                    break;
                }
                Err(error) => {
                    tracing::error!(error = %error, "the commit lane stops");
                    self.shared.fail();
                    break;
                }
            }
            if self.has_rest(rest) || self.since_checkpoint >= self.checkpoint_due() {
                self.checkpoint();
            }
        }
    }

    /// A command that is taken, once what asked for it is noted.
    fn noted(&mut self, command: Command) -> Command {
        let Command::Caused { command, cause } = command else { return command };
        match &mut self.span {
            Some(span) => span.also(*cause),
            None => self.span = self.shared.meters.work("lane.batch", Some(&cause)),
        }
        *command
    }

    /// What waits next, and whether it is wanted beside what is done now.
    pub(super) fn next_if(&mut self, wanted: impl FnOnce(&Command) -> bool) -> Next {
        let Ok(next) = self.commands.try_recv() else { return Next::Nothing };
        let is_wanted = match &next {
            Command::Caused { command, .. } => wanted(command),
            command => wanted(command),
        };
        if is_wanted { Next::Wanted(self.noted(next)) } else { Next::Other(next) }
    }

    /// Work of its own begins within what is done now; none where nobody makes spans.
    pub(super) fn work(&self, name: &'static str) -> Option<Work> {
        self.shared.meters.work(name, self.span.as_ref().and_then(Work::cause).as_ref())
    }

    /// Whether a checkpoint that is due may be written now.
    fn has_rest(&mut self, offered: bool) -> bool {
        let took = self.checkpoint_took;
        let Some(wanted) = &mut self.checkpoint_wanted else { return false };
        if !offered {
            wanted.at_rest = 0;
            return false;
        }
        if std::mem::take(&mut wanted.sweep) {
            let checkpoints = self.shared.checkpoints.clone();
            // Beside the lane: a large file takes long to remove. What is left over goes with the next checkpoint.
            let sweep = move || {
                if let Err(error) = checkpoints.sweep() {
                    tracing::warn!(error = %error, "what an erasure left of a checkpoint was not removed");
                }
            };
            let _ = std::thread::Builder::new().name("sweep".to_owned()).spawn(sweep);
        }
        wanted.rest(took) && self.commands.is_empty()
    }

    /// Tells the feed of a yes that ran out: nobody says anything when it does.
    fn tell_what_ended(&mut self) -> Result<(), JournalError> {
        if !self.unsettled.is_empty() {
            return Ok(());
        }
        for tenant in self.shared.tenants() {
            if tenant.state().consent.ledger.has_ended(self.shared.clock.now()) {
                // Without room it is told later.
                let Some(group) = self.begin(self.settled_room())? else { return Ok(()) };
                let group = self.settle(&tenant, group, Decided::default())?;
                self.commit(group)?;
            }
        }
        Ok(())
    }

    /// A checkpoint costs as much as there is state, so the more there is, the more must have happened.
    fn checkpoint_due(&self) -> u64 {
        let known: u64 = self.shared.tenants().iter().map(|tenant| tenant.state().times.len() as u64).sum();
        self.shared.checkpoint_every.max(known)
    }

    /// Settles what the last run had decided and not settled when it was cut off. False while the disk has no room for
    /// it: until then nothing else is written, and reads show what was settled before.
    pub(super) fn settle_left_overs(&mut self) -> Result<bool, JournalError> {
        while let Some(tenant) = self.unsettled.last().cloned() {
            let Some(group) = self.begin(self.settled_room())? else { return Ok(false) };
            let group = self.settle(&tenant, group, Decided::relinked())?;
            self.commit(group)?;
            self.unsettled.pop();
        }
        while let Some((tenant, request)) = self.unfinished.pop() {
            let left = self.unfinished.len();
            privacy::commit::finish(self, &tenant, request, None)?;
            if self.unfinished.len() > left {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn group(&mut self, first: Command) -> Result<Flow, JournalError> {
        if !matches!(first, Command::Stop | Command::Rest) && !self.settle_left_overs()? {
            first.refuse();
            return Ok(Flow::GoesOn(None));
        }
        match self.up_to_date(first) {
            Command::Ingest { tenant, items, request: Some(request), reply } => {
                self.ingest_named(tenant, items, request, reply)
            }
            Command::Ingest { tenant, items, request: None, reply } if room_of(&items) > self.group_bytes_max() => {
                self.ingest_in_pieces(&tenant, items, None, reply)
            }
            Command::Ingest { tenant, items, request: None, reply } => {
                let mut runs = vec![(tenant, items, reply)];
                let mut items = runs[0].1.len();
                let mut bytes = room_of(&runs[0].1);
                let mut after = None;
                while items < GROUP_ITEMS_MAX && bytes < self.group_bytes_max() {
                    let most = self.group_bytes_max();
                    match self.next_if(
                        |next| matches!(next, Command::Ingest { tenant, items, request: None, .. } if room_of(items) <= most && !are_stale(tenant, items) && share_a_group(&runs, tenant, items)),
                    ) {
                        Next::Wanted(Command::Ingest { tenant, items: more, reply, .. }) => {
                            items += more.len();
                            bytes += room_of(&more);
                            runs.push((tenant, more, reply));
                        }
                        Next::Other(other) => {
                            after = Some(other);
                            break;
                        }
                        Next::Wanted(_) | Next::Nothing => break,
                    }
                }
                self.ingest(runs, items, bytes, None)?;
                return Ok(Flow::GoesOn(after));
            }
            Command::OpenTenant { settings, request, reply } => {
                reconfigure::open_tenant(self, settings, request, reply)
            }
            Command::Reconfigure { tenant, change, request, reply } => match self.repeat(&tenant, request, reply)? {
                Some(reply) => reconfigure::change(self, &tenant, change, request, reply),
                None => Ok(()),
            },
            Command::LearnNames { tenant, names, reply } => reconfigure::learn_names(self, &tenant, names, reply),
            Command::Discard { tenant, entries, request, reply } => match self.repeat(&tenant, request, reply)? {
                Some(reply) => self.discard(&tenant, &entries, request, reply),
                None => Ok(()),
            },
            Command::Contact(work) => return Ok(Flow::GoesOn(consent::reserve::run(self, *work)?)),
            Command::Accounts { tenant, act, request, reply } => match self.repeat(&tenant, request, reply)? {
                Some(reply) => hierarchy::commit(self, &tenant, *act, request, reply),
                None => Ok(()),
            },
            Command::SetModel { tenant, wanted, request, reply } => match self.repeat(&tenant, request, reply)? {
                Some(reply) => models::change(self, &tenant, *wanted, request, reply),
                None => Ok(()),
            },
            Command::Rule { tenant, ruling, request, reply } => match self.repeat(&tenant, request, reply)? {
                Some(reply) => review::rule(self, &tenant, *ruling, request, reply),
                None => Ok(()),
            },
            Command::KeepFormer { tenant, reply } => privacy::former::keep(self, &tenant, reply),
            Command::Privacy(work) => privacy::commit::act(self, *work),
            Command::Key { tenant, act, request, reply } => match self.repeat(&tenant, request, reply)? {
                Some(reply) => access::commit(self, &tenant, *act, request, reply),
                None => Ok(()),
            },
            Command::Moment(reply) => backup::answer(self, reply),
            Command::ProbeRoom => self.probe_room(),
            Command::Rest => self.tell_what_ended(),
            Command::Stop => return Ok(Flow::Ends),
            Command::Caused { command, .. } => return self.group(*command),
        }?;
        Ok(Flow::GoesOn(None))
    }

    /// Bytes of items from which on a batch takes no more. Twice as many fit into a segment, beside what is said of them.
    fn group_bytes_max(&self) -> usize {
        GROUP_BYTES_MAX.min(self.segment_bytes.saturating_sub(self.settled_room()) / 4)
    }

    /// Bytes kept in a batch for what settling says.
    pub(super) fn settled_room(&self) -> usize {
        SETTLED_ROOM.min(self.segment_bytes / 4)
    }

    /// Bytes of a segment: more than any batch.
    pub(super) const fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    /// Makes sure of the room and begins a batch; `None` when the disk is full, with nothing changed.
    pub(super) fn begin(&mut self, bytes: usize) -> Result<Option<Group>, JournalError> {
        match self.appender.ensure_room(batch_room(bytes)) {
            Ok(()) => {
                // A small write may find room where a larger one did not.
                if bytes >= self.refused_bytes && self.refused_keys == 0 {
                    self.refused_bytes = 0;
                    if self.shared.note_room(true) {
                        tracing::info!("the disk has room again; writes go on");
                    }
                }
                Ok(Some(self.empty_group()?))
            }
            Err(JournalError::NoSpace) => {
                self.refused_bytes = self.refused_bytes.max(bytes);
                // It is asked for again and again, and a log may lie on the same disk.
                if self.shared.note_room(false) {
                    tracing::warn!("the disk has no room for the journal; writes are refused");
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sees whether what was refused would find room now, for who waits until it does.
    fn probe_room(&mut self) -> Result<(), JournalError> {
        for tenant in self.shared.tenants() {
            if !self.keys_are_ready(&tenant, self.refused_keys.max(1))? {
                return Ok(());
            }
        }
        self.refused_keys = 0;
        self.begin(self.refused_bytes.max(self.settled_room())).map(drop)
    }

    /// Makes sure that every item can have a key of its own, before anything is decided. False when the disk is full.
    pub(super) fn keys_are_ready(&mut self, tenant: &Tenant, items: usize) -> Result<bool, JournalError> {
        match tenant.vault.reserve(items) {
            Ok(()) => Ok(true),
            Err(VaultError::NoSpace) => {
                self.refused_keys = self.refused_keys.max(items);
                if self.shared.note_room(false) {
                    tracing::warn!("the disk has no room for keys; writes are refused");
                }
                Ok(false)
            }
            Err(error) => {
                tracing::error!(error = %error, "the vault failed");
                Err(JournalError::Poisoned)
            }
        }
    }

    fn empty_group(&self) -> Result<Group, JournalError> {
        let start = self.appender.position().place();
        Ok(Group { start, builder: self.appender.begin()?, commit: Commit::default() })
    }

    /// Seals the batch and hands it to the writer.
    pub(super) fn commit(&mut self, group: Group) -> Result<(), JournalError> {
        let Group { builder, mut commit, .. } = group;
        if !builder.is_empty() {
            self.since_checkpoint += u64::from(builder.entries());
            self.shared.meters.batch_entries.see(u64::from(builder.entries()));
            let batch = self.appender.seal(builder, self.shared.clock.now().0)?;
            self.shared.meters.batch_bytes.see(batch.bytes() as u64);
            commit.batch = Some(batch);
            commit.cause = self.span.as_ref().and_then(Work::cause);
        }
        self.hand_on(commit)
    }

    /// Commits a batch that is full and goes on in another with so much room. What was promised so far waits for the
    /// last batch's answers.
    pub(super) fn turn_over(&mut self, group: &mut Group, room: usize) -> Result<(), JournalError> {
        let waits = std::mem::take(&mut group.commit);
        let full = std::mem::replace(group, self.empty_group()?);
        self.commit(full)?;
        self.appender.ensure_room(room)?;
        *group = self.empty_group()?;
        group.commit = waits;
        Ok(())
    }

    /// Hands something to the writer.
    pub(super) fn hand_on(&self, commit: Commit) -> Result<(), JournalError> {
        self.writer.send(commit).map_err(|_| JournalError::Poisoned)
    }

    fn discard(
        &mut self,
        tenant: &Arc<Tenant>,
        entries: &[Sequence],
        request: Option<RequestKey>,
        reply: oneshot::Sender<Result<u64, WriteError>>,
    ) -> Result<(), JournalError> {
        // LAW 6: a no that came with what is discarded was said all the same, and is heard where it was.
        let stands: Vec<(StandsOn, Vec<u8>)> = {
            let state = tenant.state();
            let left = entries.iter().filter_map(|entry| state.left_by_discarding(*entry));
            left.map(|stands| (decision::encode(&stands), stands)).map(|(payload, stands)| (stands, payload)).collect()
        };
        let room = entry_room(16 + 10 * entries.len())
            + stands.iter().map(|(_, payload)| entry_room(payload.len())).sum::<usize>()
            + room_to_remember(request, &u64::MAX);
        let Some(mut group) = self.begin(room)? else {
            let _ = reply.send(Err(WriteError::DiskFull));
            return Ok(());
        };
        let (mut known, mut sequence): (Vec<(Sequence, SlotId)>, Sequence) = {
            let state = tenant.state();
            let held = |entry: &Sequence| Some((*entry, state.quarantine.get(entry)?.slot));
            (entries.iter().filter_map(held).collect(), state.sequence)
        };
        known.sort_unstable();
        known.dedup();
        let count = known.len() as u64;
        if !known.is_empty() {
            let entries: Vec<Sequence> = known.iter().map(|(entry, _)| *entry).collect();
            sequence = sequence.next();
            let payload = decision::encode(&QuarantineCleared { entries: entries.clone() });
            group.builder.push(tenant.id, sequence, kind(EntryKind::QuarantineCleared), |_, out| {
                out.extend_from_slice(&payload);
            })?;
            for (_, payload) in &stands {
                sequence = sequence.next();
                group.builder.push(tenant.id, sequence, kind(EntryKind::StopsStandOn), |_, out| {
                    out.extend_from_slice(payload);
                })?;
            }
            group.commit.destroy.extend(known.into_iter().map(|(_, slot)| (Arc::clone(tenant), slot)));
            let stands = stands.into_iter().map(|(stands, _)| stands).collect();
            // What was heard while it waited, and is no more, changes whose consent the feed told of.
            group = self.settle(tenant, group, Decided::discarding(stands, entries, sequence))?;
        } else {
            group.commit.published.push((Arc::clone(tenant), sequence));
        }
        remember(self, tenant, request, &count, &mut group)?;
        group.commit.replies.push(Reply::of(reply, count));
        self.commit(group)
    }
}

/// The journal's word for a kind.
pub(super) const fn kind(kind: EntryKind) -> onefold_store::journal::EntryKind {
    onefold_store::journal::EntryKind(kind as u8)
}

#[cfg(test)]
mod tests;
