//! The commit lane: one thread decides, one order of events.
//!
//! A group of commands becomes one batch of the journal. Reading goes on all the while: the state is locked for writing
//! only to apply what was decided. The writer thread makes batches durable and only then gives the answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use onefold_core::access::ApiKey;
use onefold_core::change::ProfileChange;
use onefold_core::config::{Source, TenantConfig, TenantSettings};
use onefold_core::decision::{self, EntryKind, QuarantineCleared, Sealed, Settled};
use onefold_core::ids::{Place, ProfileOrdinal, Sequence, TenantId};
use onefold_core::namespace::Namespace;
use onefold_store::journal::{Appender, BatchBuilder, JournalError, batch_room, entry_room};
use onefold_store::seal::TAG_BYTES;
use onefold_store::vault::VaultError;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::consent::reserve::Passing;
use super::decide::{Decided, decide};
use super::error::WriteError;
use super::hierarchy::act::{Act, Done};
use super::ingest::{Answer, Item};
use super::keeper::{self, Keep};
use super::requests::{RequestKey, remember, room_to_remember};
use super::tenant::{ProfileTimes, State, Tenant};
use super::writer::{Commit, Reply};
use super::{Shared, access, backup, consent, hierarchy, models, privacy, reconfigure, review};
use crate::traces::{self, Cause, Work};

mod rest;
pub use rest::{CHECKPOINT_TAKES, REST_OFFERED_EVERY, Wanted};

/// Commands that may wait in front of the lane.
pub const LANE_DEPTH_MAX: usize = 64;
/// Items that one group takes at most, unless a single command brings more.
const GROUP_ITEMS_MAX: usize = 1_024;
/// Bytes of fragments that one batch takes at most.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Room kept in a batch for what settling says, beyond `SETTLED_BYTES_PER_ITEM`; more goes into the next batch. In small
/// segments a quarter of one.
pub(super) const SETTLED_ROOM: usize = 1 << 20;
/// What settling usually says about one item.
const SETTLED_BYTES_PER_ITEM: usize = 96;
/// Changes in one settlement entry.
const SETTLED_CHANGES_MAX: usize = 1_024;
/// The most bytes that a change takes beside its records, and each of these.
const CHANGE_BYTES_MAX: usize = 24;
const CHANGED_RECORD_BYTES_MAX: usize = 10;

/// What of a configuration a change was about, as it is afterwards: the answer to the change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Changed {
    /// Its settings.
    Settings(TenantSettings),
    /// A source.
    Source(Source),
    /// A namespace.
    Namespace(Namespace),
    /// Something that is read back otherwise.
    Other,
}

/// A change to a tenant's configuration.
pub type ConfigChange = Box<dyn FnOnce(&mut TenantConfig) -> Result<Changed, WriteError> + Send>;

/// What the lane does.
pub enum Command {
    /// Take items of one tenant.
    Ingest {
        /// Whose.
        tenant: Arc<Tenant>,
        /// What, in order.
        items: Vec<Item>,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// One answer each.
        reply: oneshot::Sender<Result<Vec<Answer>, WriteError>>,
    },
    /// Open a tenant.
    OpenTenant {
        /// Its settings.
        settings: TenantSettings,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// The settings as they were opened with.
        reply: oneshot::Sender<Result<TenantSettings, WriteError>>,
    },
    /// Change a configuration.
    Reconfigure {
        /// Whose.
        tenant: Arc<Tenant>,
        /// How.
        change: ConfigChange,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// What was changed, as it is afterwards.
        reply: oneshot::Sender<Result<Changed, WriteError>>,
    },
    /// Learn attribute names.
    LearnNames {
        /// Whose.
        tenant: Arc<Tenant>,
        /// Which.
        names: Vec<String>,
        /// Done.
        reply: oneshot::Sender<Result<(), WriteError>>,
    },
    /// Destroy what is in quarantine under these entries.
    Discard {
        /// Whose.
        tenant: Arc<Tenant>,
        /// Which.
        entries: Vec<Sequence>,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// How many were there.
        reply: oneshot::Sender<Result<u64, WriteError>>,
    },
    /// Decide on contacts and count them.
    Contact(Box<consent::reserve::Work>),
    /// Take in what is told of accounts.
    Accounts {
        /// Whose.
        tenant: Arc<Tenant>,
        /// What.
        act: Box<Act>,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// What came of it.
        reply: oneshot::Sender<Result<Done, WriteError>>,
    },
    /// Put a match model in force.
    SetModel {
        /// Whose.
        tenant: Arc<Tenant>,
        /// Which.
        wanted: Box<models::Wanted>,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// Sequence of the last consequence.
        reply: oneshot::Sender<Result<Sequence, WriteError>>,
    },
    /// Take or take back judgements.
    Rule {
        /// Whose.
        tenant: Arc<Tenant>,
        /// Which.
        ruling: Box<review::Ruling>,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// What came of it.
        reply: oneshot::Sender<Result<review::Ruled, WriteError>>,
    },
    /// Write down which identifiers records held once, before fragments are dropped that say so.
    KeepFormer {
        /// Whose.
        tenant: Arc<Tenant>,
        /// Done.
        reply: oneshot::Sender<Result<(), WriteError>>,
    },
    /// A step of a privacy request.
    Privacy(Box<privacy::act::Work>),
    /// Give or take back a key.
    Key {
        /// Whose.
        tenant: Arc<Tenant>,
        /// Which.
        act: Box<access::Act>,
        /// The call's name, where its caller gave it one.
        request: Option<RequestKey>,
        /// The key as it is now.
        reply: oneshot::Sender<Result<ApiKey, WriteError>>,
    },
    /// Name the moment of a backup.
    Moment(oneshot::Sender<Result<backup::Moment, WriteError>>),
    /// See whether the disk has room again.
    ProbeRoom,
    /// Nothing is asked: what nothing hurries may be done if nobody waits. Comes every [`REST_OFFERED_EVERY`].
    Rest,
    /// Write a last checkpoint and end.
    Stop,
    /// Any of these, asked for by something that is traced.
    Caused {
        /// What.
        command: Box<Command>,
        /// By what.
        cause: Box<Cause>,
    },
}

impl Command {
    /// Goes along with what asks for it here, where that is traced.
    pub fn caused(self) -> Self {
        match traces::cause() {
            Some(cause) => Self::Caused { command: Box::new(self), cause: Box::new(cause) },
            None => self,
        }
    }

    /// Answers that the disk has no room.
    fn refuse(self) {
        match self {
            Self::Ingest { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::OpenTenant { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Reconfigure { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::LearnNames { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Discard { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Contact(work) => work.refuse(),
            Self::Accounts { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::SetModel { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Rule { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::KeepFormer { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Privacy(work) => drop(work.reply.send(Err(WriteError::DiskFull))),
            Self::Key { reply, .. } => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Moment(reply) => drop(reply.send(Err(WriteError::DiskFull))),
            Self::Caused { command, .. } => command.refuse(),
            Self::ProbeRoom | Self::Rest | Self::Stop => {}
        }
    }
}

/// The lane's own belongings.
pub struct Lane {
    pub(super) shared: Arc<Shared>,
    pub(super) appender: Appender,
    pub(super) commands: mpsc::Receiver<Command>,
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

/// An ingest command taken apart.
type Run = (Arc<Tenant>, Vec<Item>, IngestReply);

/// What one tenant has in a group.
struct Share {
    tenant: Arc<Tenant>,
    items: Vec<Item>,
    /// How many of the items each command brought.
    replies: Vec<(usize, IngestReply)>,
}

/// Where the answers of an ingest command go.
type IngestReply = oneshot::Sender<Result<Vec<Answer>, WriteError>>;

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
                    self.shared.heads.sign_or_tell(self.shared.clock.now());
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
        // What is still queued gets its reply dropped, which callers see as a failed store.
        self.commands.close();
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

    /// What arrives, looked at under the configuration in force: before its room is counted, for faults take room too.
    fn up_to_date(&self, command: Command) -> Command {
        match command {
            Command::Ingest { tenant, items, request, reply } if are_stale(&tenant, &items) => {
                let (config, now) = (tenant.config(), self.shared.clock.now());
                let items = items.into_iter().map(|item| item.under(&config, now)).collect();
                Command::Ingest { tenant, items, request, reply }
            }
            command => command,
        }
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

    fn ingest(
        &mut self,
        runs: Vec<Run>,
        items: usize,
        bytes: usize,
        request: Option<RequestKey>,
    ) -> Result<(), JournalError> {
        let room = bytes + items * SETTLED_BYTES_PER_ITEM + self.settled_room();
        let keys: usize = runs.iter().flat_map(|(_, items, _)| items).map(Item::keys).sum();
        let mut ready = true;
        for (tenant, ..) in &runs {
            ready = ready && self.keys_are_ready(tenant, keys)?;
        }
        let group = if ready { self.begin(room)? } else { None };
        let Some(mut group) = group else {
            for (_, _, reply) in runs {
                let _ = reply.send(Err(WriteError::DiskFull));
            }
            return Ok(());
        };
        // All of one tenant is decided, applied and settled as one, so that readers see facts with their clusters.
        let mut of_tenant: Vec<Share> = Vec::new();
        for (tenant, items, reply) in runs {
            match of_tenant.iter_mut().find(|share| Arc::ptr_eq(&share.tenant, &tenant)) {
                Some(share) => {
                    share.replies.push((items.len(), reply));
                    share.items.extend(items);
                }
                None => {
                    let replies = vec![(items.len(), reply)];
                    of_tenant.push(Share { tenant, items, replies });
                }
            }
        }
        let mut drafts = Vec::with_capacity(of_tenant.len());
        for Share { tenant, items, replies } in of_tenant {
            let (drafted, decided) = decide(&tenant, items, &mut group)?;
            group = self.settle(&tenant, group, decided)?;
            drafts.push((tenant, drafted, replies));
        }
        let mut named = None;
        for (tenant, drafted, replies) in drafts {
            let state = tenant.state();
            let mut drafted = drafted.into_iter();
            for (count, reply) in replies {
                let answers: Vec<Answer> = drafted.by_ref().take(count).map(|draft| draft.finish(&state)).collect();
                if request.is_some() {
                    named = Some((Arc::clone(&tenant), answers.clone()));
                }
                group.commit.replies.push(Reply::Ingest(reply, answers));
            }
        }
        if let Some((tenant, answers)) = named {
            remember(self, &tenant, request, &answers, &mut group)?;
        }
        self.commit(group)
    }

    /// A call that its caller named: again the first answer, if it was made before.
    fn ingest_named(
        &mut self,
        tenant: Arc<Tenant>,
        items: Vec<Item>,
        request: RequestKey,
        reply: IngestReply,
    ) -> Result<(), JournalError> {
        let Some(reply) = self.repeat(&tenant, Some(request), reply)? else { return Ok(()) };
        if room_of(&items) > self.group_bytes_max() {
            return self.ingest_in_pieces(&tenant, items, Some(request), reply);
        }
        let (count, bytes) = (items.len(), room_of(&items));
        self.ingest(vec![(tenant, items, reply)], count, bytes, Some(request))
    }

    /// Items that no batch can hold together: batch after batch, answered behind the last.
    pub(super) fn ingest_in_pieces(
        &mut self,
        tenant: &Arc<Tenant>,
        items: Vec<Item>,
        request: Option<RequestKey>,
        reply: IngestReply,
    ) -> Result<(), JournalError> {
        let mut drafted = Vec::with_capacity(items.len());
        let mut begun: Option<Group> = None;
        let mut items = items.into_iter().peekable();
        while let Some(first) = items.next() {
            let mut bytes = room_of(std::slice::from_ref(&first));
            let mut piece = vec![first];
            let most = self.group_bytes_max();
            while let Some(item) = items.next_if(|item| bytes + room_of(std::slice::from_ref(item)) <= most) {
                bytes += room_of(std::slice::from_ref(&item));
                piece.push(item);
            }
            if let Some(before) = begun.take() {
                self.commit(before)?;
            }
            let room = bytes + piece.len() * SETTLED_BYTES_PER_ITEM + self.settled_room();
            let keys: usize = piece.iter().map(Item::keys).sum();
            let group = if self.keys_are_ready(tenant, keys)? { self.begin(room)? } else { None };
            let Some(mut group) = group else {
                // What came before stays; to the caller it is unacknowledged, and harmless to send again.
                let _ = reply.send(Err(WriteError::DiskFull));
                return Ok(());
            };
            let (more, decided) = decide(tenant, piece, &mut group)?;
            drafted.extend(more);
            begun = Some(self.settle(tenant, group, decided)?);
        }
        let Some(mut group) = begun else { return Ok(()) };
        let answers: Vec<Answer> = {
            let state = tenant.state();
            drafted.into_iter().map(|draft| draft.finish(&state)).collect()
        };
        remember(self, tenant, request, &answers, &mut group)?;
        group.commit.replies.push(Reply::Ingest(reply, answers));
        self.commit(group)
    }

    /// Applies what was decided, resolves it, and says so in the journal; readers see all of it or nothing. What does
    /// not fit into the batch goes into the next.
    pub(super) fn settle(
        &mut self,
        tenant: &Arc<Tenant>,
        mut group: Group,
        decided: Decided,
    ) -> Result<Group, JournalError> {
        let committed_at = self.shared.clock.now();
        let mut settlements = Vec::new();
        let end = {
            let mut state = tenant.state_mut();
            let (by_digest, facts) = decided.settle(&mut state);
            let by_ordinal = |change: &ProfileChange| {
                change.rename(|record| state.engine.ordinal_of(*record).ok_or(JournalError::Poisoned))
            };
            let mut changes = by_digest.iter().map(by_ordinal).collect::<Result<Vec<_>, JournalError>>()?;
            state.consent.ledger.pass(committed_at);
            let said_at = state.consent.ledger.take_untold();
            let concerned = consent::profiles_at(&state, &said_at);
            changes.extend(concerned.into_iter().map(|profile| ProfileChange::ConsentChanged { profile }));
            let accounts = state.accounts.take_untold();
            changes.extend(accounts.into_iter().map(|account| ProfileChange::AccountChanged { account }));
            let mut rest = changes.as_slice();
            // Facts without a consequence are settled too: the journal says so, and a replay has nothing left to do.
            while !rest.is_empty() || (facts && settlements.is_empty()) {
                let (now, later) = rest.split_at(entry_of(rest, self.settled_room() / 4));
                let first = state.sequence.next();
                let settled = Settled {
                    previous: state.last_change,
                    committed_at,
                    changes: now.to_vec(),
                    more: !later.is_empty(),
                };
                note_changes(&mut state, first, now);
                settlements.push((first, settled));
                rest = later;
            }
            state.sequence
        };
        for (first, settled) in settlements {
            let payload = settled.encode();
            let push = |group: &mut Group| {
                group.builder.push(tenant.id, first, kind(EntryKind::Settled), |_, out| out.extend_from_slice(&payload))
            };
            match push(&mut group) {
                Ok(_) => {}
                Err(JournalError::TooLarge { .. }) if !group.builder.is_empty() => {
                    self.turn_over(&mut group, batch_room(entry_room(payload.len()) + self.settled_room()))?;
                    push(&mut group)?;
                }
                Err(error) => return Err(error),
            }
            tenant.state_mut().index_feed(first, group.start);
            group.commit.keyed.extend(keeper::history(tenant.id, first, committed_at, &settled.changes));
        }
        group.commit.published.push((Arc::clone(tenant), end));
        Ok(group)
    }

    fn discard(
        &mut self,
        tenant: &Arc<Tenant>,
        entries: &[Sequence],
        request: Option<RequestKey>,
        reply: oneshot::Sender<Result<u64, WriteError>>,
    ) -> Result<(), JournalError> {
        let room = entry_room(16 + 10 * entries.len()) + room_to_remember(request, &u64::MAX);
        let Some(mut group) = self.begin(room)? else {
            let _ = reply.send(Err(WriteError::DiskFull));
            return Ok(());
        };
        let mut state = tenant.state_mut();
        let mut known: Vec<Sequence> = entries.iter().copied().filter(|e| state.quarantine.contains_key(e)).collect();
        known.sort_unstable();
        known.dedup();
        if !known.is_empty() {
            let sequence = state.sequence.next();
            let payload = decision::encode(&QuarantineCleared { entries: known.clone() });
            group.builder.push(tenant.id, sequence, kind(EntryKind::QuarantineCleared), |_, out| {
                out.extend_from_slice(&payload);
            })?;
            state.sequence = sequence;
            for entry in &known {
                if let Some(held) = state.let_go(*entry) {
                    group.commit.destroy.push((Arc::clone(tenant), held.slot));
                }
            }
        }
        group.commit.published.push((Arc::clone(tenant), state.sequence));
        drop(state);
        let count = known.len() as u64;
        remember(self, tenant, request, &count, &mut group)?;
        group.commit.replies.push(Reply::of(reply, count));
        self.commit(group)
    }
}

/// How many of these changes one entry takes: at most so many bytes, however large they are. A single change is bounded by
/// the records of a cluster.
fn entry_of(changes: &[ProfileChange<u32>], bytes_max: usize) -> usize {
    let mut left = bytes_max;
    let fits = changes.iter().take(SETTLED_CHANGES_MAX).take_while(|change| {
        let bytes = change_bytes_max(change);
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    });
    fits.count().max(1).min(changes.len())
}

/// The most bytes that a change takes in a settlement.
fn change_bytes_max(change: &ProfileChange<u32>) -> usize {
    let records = match change {
        ProfileChange::Created { records, .. } | ProfileChange::Merged { records, .. } => records.len(),
        ProfileChange::Updated { joined, touched, .. } => joined.len() + touched.len(),
        ProfileChange::Split { into, .. } => into.iter().map(|(_, records)| 1 + records.len()).sum(),
        _ => 0,
    };
    CHANGE_BYTES_MAX + CHANGED_RECORD_BYTES_MAX * records
}

/// Whether some of these were looked at under a configuration that is no longer in force.
fn are_stale(tenant: &Tenant, items: &[Item]) -> bool {
    let config = tenant.config();
    items.iter().any(|item| item.is_stale(&config))
}

/// Whether these items may be decided on beside those: as if each had been settled before the next. What fragments do to
/// records shows when their group is settled, so what looks at records waits for that.
pub(super) fn share_a_group(runs: &[Run], tenant: &Arc<Tenant>, items: &[Item]) -> bool {
    let looks = |item: &Item| matches!(item, Item::Say(saying) if saying.looks_at_records());
    let moves = |item: &Item| !matches!(item, Item::Say(_));
    !items.iter().any(looks) || !runs.iter().any(|(of, items, _)| Arc::ptr_eq(of, tenant) && items.iter().any(moves))
}

/// Bytes of a batch that these items may take, settling not counted.
pub(super) fn room_of(items: &[Item]) -> usize {
    let own = |item: &Item| entry_room(item.bytes() + Sealed::HEADER_BYTES + TAG_BYTES);
    items.iter().map(|item| own(item) + item.says().iter().map(consent::Saying::room).sum::<usize>()).sum()
}

/// Keeps times and the feed's end up with changes that take sequences from `first` on. Without a change the settlement
/// itself takes one.
pub(super) fn note_changes(state: &mut State, first: Sequence, changes: &[ProfileChange<u32>]) {
    state.sequence = first;
    let mut at = first;
    for change in changes {
        let mut touch = |profile: ProfileOrdinal, opened: bool| {
            let index = profile.0 as usize;
            if state.times.len() <= index {
                state.times.resize(index + 1, ProfileTimes::default());
            }
            if opened || state.times[index].opened == Sequence(0) {
                state.times[index].opened = at;
            }
            state.times[index].changed = at;
        };
        match change {
            ProfileChange::Created { profile, .. } => touch(*profile, true),
            ProfileChange::Updated { profile, .. }
            | ProfileChange::Erased { profile, .. }
            | ProfileChange::Emptied { profile }
            | ProfileChange::ConsentChanged { profile } => touch(*profile, false),
            ProfileChange::AccountChanged { .. } => {}
            ProfileChange::Merged { from, into, .. } => {
                touch(*from, false);
                touch(*into, false);
            }
            ProfileChange::Split { from, into, .. } => {
                touch(*from, false);
                for (part, _) in into {
                    touch(*part, false);
                }
            }
        }
        state.last_change = at;
        state.sequence = at;
        at = at.next();
    }
}

/// The journal's word for a kind.
pub(super) const fn kind(kind: EntryKind) -> onefold_store::journal::EntryKind {
    onefold_store::journal::EntryKind(kind as u8)
}

#[cfg(test)]
mod tests;
