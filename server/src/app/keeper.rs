//! Keeps sled up behind the journal: what is read by key and need not be durable with the answer.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use onefold_core::change::ProfileChange;
use onefold_core::decision::{self, EntryKind, Settled};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Place, ProfileOrdinal, Sequence, TenantId};
use onefold_store::journal::{JournalError, JournalReader, Position};
use onefold_store::keyed::{self, KeyedBatch, KeyedError, KeyedStore, Reached, SledStore, Table};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::error::ReadError;
use super::{Shared, hierarchy};
use crate::clock::Stopwatch;

/// Messages that may wait for sled; then the writer waits.
pub const KEEPER_DEPTH_MAX: usize = 256;
/// How long a reader of history waits for sled.
const CATCH_UP_WAIT_MAX: Duration = Duration::from_secs(1);
/// Commits after which the position is noted even when there was nothing to write.
const NOTE_EVERY: u32 = 1_024;
/// Writes that catching up with the journal puts in at a time.
const CATCH_UP_WRITES: usize = 4_096;
/// After a failure sled is opened afresh this much later, and later still when that fails too.
const MEND_PAUSE_MIN: Duration = Duration::from_secs(1);
/// At most.
const MEND_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Profile history: profile ordinal and sequence, big-endian, to a [`HistoryEvent`].
const HISTORY: Table = Table(1);

/// What one profile went through, beyond its opening and its updates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HistoryEvent {
    /// It lives on in another.
    Merged {
        /// In which.
        into: ProfileOrdinal,
        /// When it was committed.
        at: ObservedAt,
    },
    /// Another lives on in it.
    Absorbed {
        /// Which.
        from: ProfileOrdinal,
        /// When it was committed.
        at: ObservedAt,
    },
    /// Records of it went elsewhere.
    Split {
        /// Where to.
        into: Vec<ProfileOrdinal>,
        /// Whether it is still live.
        stays: bool,
        /// When it was committed.
        at: ObservedAt,
    },
    /// Its last record was retracted.
    Emptied {
        /// When it was committed.
        at: ObservedAt,
    },
    /// Records of it were erased; `gone` when none is left.
    Erased {
        /// None is left.
        gone: bool,
        /// When it was committed.
        at: ObservedAt,
    },
}

/// One put into the keyed store.
#[derive(Clone, Debug)]
pub struct KeyedWrite {
    tenant: TenantId,
    table: Table,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl KeyedWrite {
    /// Puts a value under a key of a table.
    pub const fn new(tenant: TenantId, table: Table, key: Vec<u8>, value: Vec<u8>) -> Self {
        Self { tenant, table, key, value }
    }
}

/// A message to the keeper.
pub enum Keep {
    /// Apply these; the journal is durable up to the position.
    Writes(Vec<KeyedWrite>, Position),
    /// Apply what waits and make it durable.
    Flush,
}

/// How far sled is behind what was acknowledged: who reads history waits for what was told before.
#[derive(Debug)]
pub struct Kept {
    told: AtomicU64,
    reached: watch::Sender<Followed>,
}

/// How far the keeper has followed what was told.
#[derive(Clone, Copy, Debug)]
struct Followed {
    /// How many tellings it took.
    taken: u64,
    /// Whether sled has all of them.
    whole: bool,
}

impl Default for Kept {
    fn default() -> Self {
        Self { told: AtomicU64::new(0), reached: watch::Sender::new(Followed { taken: 0, whole: true }) }
    }
}

impl Kept {
    /// History is about to be acknowledged that sled does not have yet.
    pub fn tell(&self) {
        self.told.fetch_add(1, Ordering::Release);
    }

    fn taken(&self) {
        self.reached.send_modify(|followed| followed.taken += 1);
    }

    fn is_whole(&self, whole: bool) {
        self.reached.send_modify(|followed| followed.whole = whole);
    }

    /// Whether sled has everything that was acknowledged before.
    pub fn is_caught_up(&self) -> bool {
        let told = self.told.load(Ordering::Acquire);
        let followed = *self.reached.borrow();
        followed.whole && followed.taken >= told
    }

    /// Waits, but not for long, until sled has everything that was acknowledged before.
    ///
    /// # Errors
    /// [`ReadError::HistoryBehind`] when it takes too long, or sled failed and has not caught up yet.
    pub async fn caught_up(&self) -> Result<(), ReadError> {
        let told = self.told.load(Ordering::Acquire);
        let mut reached = self.reached.subscribe();
        let waited = reached.wait_for(|followed| !followed.whole || followed.taken >= told);
        match tokio::time::timeout(CATCH_UP_WAIT_MAX, waited).await {
            Ok(Ok(followed)) if followed.whole => Ok(()),
            _ => Err(ReadError::HistoryBehind),
        }
    }
}

fn key(profile: ProfileOrdinal, sequence: Sequence) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&profile.0.to_be_bytes());
    key[4..].copy_from_slice(&sequence.0.to_be_bytes());
    key
}

/// What history keeps of changes that take sequences from `first` on.
pub fn history(tenant: TenantId, first: Sequence, at: ObservedAt, changes: &[ProfileChange<u32>]) -> Vec<KeyedWrite> {
    let mut writes = Vec::new();
    let mut sequence = first;
    for change in changes {
        let mut keep = |profile, event: HistoryEvent| {
            let key = key(profile, sequence).to_vec();
            writes.push(KeyedWrite::new(tenant, HISTORY, key, decision::encode(&event)));
        };
        match change {
            ProfileChange::Merged { from, into, .. } => {
                keep(*from, HistoryEvent::Merged { into: *into, at });
                keep(*into, HistoryEvent::Absorbed { from: *from, at });
            }
            ProfileChange::Split { from, stays, into } => {
                let into = into.iter().map(|(part, _)| *part).collect();
                keep(*from, HistoryEvent::Split { into, stays: *stays, at });
            }
            ProfileChange::Emptied { profile } => keep(*profile, HistoryEvent::Emptied { at }),
            ProfileChange::Erased { profile, gone } => keep(*profile, HistoryEvent::Erased { gone: *gone, at }),
            ProfileChange::Created { .. } | ProfileChange::Updated { .. } | ProfileChange::ConsentChanged { .. } => {}
            ProfileChange::AccountChanged { .. } => {}
        }
        sequence = sequence.next();
    }
    writes
}

/// Applies writes to the keyed store, noting the position.
pub fn apply(keyed: &SledStore, writes: Vec<KeyedWrite>, position: &Position) -> Result<(), KeyedError> {
    let mut batch = KeyedBatch::new();
    for write in writes {
        batch.put(write.tenant, write.table, &write.key, write.value);
    }
    keyed.apply(&batch, position)
}

/// A profile's history after a sequence, oldest first.
///
/// # Errors
/// [`ReadError::Store`] when sled cannot be read, [`ReadError::Keyed`] when it is damaged.
pub fn read_history(
    shared: &Shared,
    tenant: TenantId,
    profile: ProfileOrdinal,
    after: Sequence,
    most: usize,
) -> Result<Vec<(Sequence, HistoryEvent)>, ReadError> {
    let mut found = Vec::new();
    let mut damaged = false;
    let prefix = profile.0.to_be_bytes();
    let mut visit = |key: &[u8], value: &[u8]| {
        let sequence = key.get(4..12).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        match (sequence, decision::decode(value)) {
            (Some(sequence), Ok(event)) => found.push((Sequence(sequence), event)),
            _ => {
                damaged = true;
                return ControlFlow::Break(());
            }
        }
        if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let after = key(profile, after);
    let scanned = shared.keyed.with(|keyed| keyed.scan(tenant, HISTORY, &prefix, Some(&after), &mut visit));
    let scanned = scanned.map_err(ReadError::of_keyed);
    let whole = if damaged { Err(ReadError::Keyed("an event of a profile's history cannot be read")) } else { Ok(()) };
    shared.noting_damage(scanned.and(whole))?;
    Ok(found)
}

/// Puts into a profile's history what is no event.
#[cfg(test)]
pub fn bend_history(shared: &Shared, tenant: TenantId, profile: ProfileOrdinal) -> Result<(), KeyedError> {
    let position = shared.journal.begins(shared.journal.first()).map_err(|_| KeyedError::Damaged)?;
    let mut batch = KeyedBatch::new();
    batch.put(tenant, HISTORY, &key(profile, Sequence(7)), [0xff; 9]);
    shared.keyed.with(|keyed| keyed.apply(&batch, &position))
}

/// Works until the writer is gone.
pub fn run(shared: &Arc<Shared>, keep: &Receiver<Keep>) {
    let mut keeper = Keeper { shared, keep, waiting: None, unnoted: 0 };
    while let Ok(message) = keep.recv() {
        if let Err(error) = keeper.take(message) {
            // The journal has everything.
            tracing::error!(error = %error, "sled falls behind; it is brought up to the journal again once it can be");
            shared.kept.is_whole(false);
            if !keeper.mend() {
                return;
            }
            tracing::info!("sled has caught up with the journal");
            shared.keyed_is_new();
            shared.kept.is_whole(true);
        }
    }
    // What is not noted would be applied again at the next start, which is harmless and takes a while.
    let waiting = keeper.waiting.take();
    let ended = waiting.map_or(Ok(()), |position| shared.keyed.with(|keyed| apply(keyed, Vec::new(), &position)));
    if let Err(error) = ended.and_then(|()| shared.keyed.with(KeyedStore::flush)) {
        tracing::error!(error = %error, "sled could not be flushed at the end");
    }
}

struct Keeper<'a> {
    shared: &'a Shared,
    keep: &'a Receiver<Keep>,
    /// A position that is not noted yet, since there was nothing to write.
    waiting: Option<Position>,
    unnoted: u32,
}

impl Keeper<'_> {
    fn take(&mut self, message: Keep) -> Result<(), KeyedError> {
        let keyed = &self.shared.keyed;
        match message {
            Keep::Writes(writes, position) if writes.is_empty() && self.unnoted < NOTE_EVERY => {
                self.waiting = Some(position);
                self.unnoted += 1;
                Ok(())
            }
            Keep::Writes(writes, position) => {
                self.waiting = None;
                self.unnoted = 0;
                let told = !writes.is_empty();
                let applied = keyed.with(|keyed| apply(keyed, writes, &position));
                if applied.is_err() {
                    // Before it counts as taken: nobody is to read what is not there.
                    self.shared.kept.is_whole(false);
                }
                if told {
                    self.shared.kept.taken();
                }
                applied
            }
            Keep::Flush => {
                let waiting = self.waiting.take();
                let noted = waiting.map_or(Ok(()), |position| keyed.with(|keyed| apply(keyed, Vec::new(), &position)));
                noted.and_then(|()| keyed.with(KeyedStore::flush))
            }
        }
    }

    /// After a failure sled answers nothing but that failure, so it is opened afresh, and gets from the journal what it
    /// lacks. Tried again, ever less often, until it works; false once the writer is gone.
    fn mend(&mut self) -> bool {
        let mut pause = MEND_PAUSE_MIN;
        loop {
            if !self.wait(pause) {
                return false;
            }
            match self.open_again() {
                Ok(()) => return true,
                Err(error) => tracing::warn!(error = %error, "sled cannot be brought up to the journal yet"),
            }
            pause = (pause * 2).min(MEND_PAUSE_MAX);
        }
    }

    /// Lets messages go by for so long: the journal holds what they say. False once the writer is gone.
    fn wait(&mut self, pause: Duration) -> bool {
        let waited = Stopwatch::start();
        while let Some(left) = pause.checked_sub(waited.elapsed()) {
            match self.keep.recv_timeout(left) {
                Ok(message) => self.pass_over(&message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    fn pass_over(&mut self, message: &Keep) {
        self.waiting = None;
        if matches!(message, Keep::Writes(writes, _) if !writes.is_empty()) {
            self.shared.kept.taken();
        }
    }

    fn open_again(&mut self) -> Result<(), CatchUpError> {
        let Shared { dir, root, journal, keyed, .. } = self.shared;
        keyed::has_room(&dir.keyed())?;
        keyed.take_out();
        let opened = keyed::open(&dir.keyed(), root, journal)?;
        // This may take long, and the writer must not wait for it. What is passed over meanwhile is in the journal.
        catch_up(&opened.store, opened.reached, journal, || {
            while let Ok(message) = self.keep.try_recv() {
                self.pass_over(&message);
            }
        })?;
        // Behind a scan that passes over nothing the messages that wait go on where it ends, or before.
        catch_up(&opened.store, opened.store.reached()?, journal, || {})?;
        opened.store.flush()?;
        keyed.put_in(opened.store);
        Ok(())
    }
}

/// The keyed store cannot be brought up to the journal.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// It cannot be opened or written.
    #[error("the keyed store cannot be opened: {0}")]
    Keyed(#[from] KeyedError),
    /// The journal cannot be read.
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] JournalError),
}

/// Applies what the store lacks of the journal; `between` is called after each batch that is read.
///
/// # Errors
/// [`CatchUpError`].
pub fn catch_up(
    store: &SledStore,
    reached: Reached,
    journal: &JournalReader,
    mut between: impl FnMut(),
) -> Result<(), CatchUpError> {
    let from = match reached {
        Reached::Nothing => Place { segment: 1, offset: 0 },
        Reached::At(position) => position.place(),
    };
    let mut waiting = Vec::new();
    let mut last = None;
    journal.scan(from, |batch| {
        for entry in batch.entries() {
            waiting.extend(hierarchy::history_in(&entry)?);
            if entry.kind.0 != EntryKind::Settled as u8 {
                continue;
            }
            let Some(payload) = entry.bytes() else { continue };
            let settled = Settled::decode(payload)?;
            waiting.extend(history(entry.tenant, entry.sequence, settled.committed_at, &settled.changes));
        }
        last = Some(batch.end);
        if waiting.len() > CATCH_UP_WRITES {
            apply(store, std::mem::take(&mut waiting), &batch.end)?;
        }
        between();
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(end) = last {
        apply(store, waiting, &end)?;
    }
    Ok(())
}

/// The store, which is taken out while it is opened afresh.
#[derive(Debug)]
pub struct Keyed(RwLock<Option<SledStore>>);

impl Keyed {
    /// With this store in it.
    pub const fn new(store: SledStore) -> Self {
        Self(RwLock::new(Some(store)))
    }

    /// Uses the store.
    ///
    /// # Errors
    /// [`KeyedError::InUse`] while it is being opened afresh, and what `use_it` says.
    pub fn with<T>(&self, use_it: impl FnOnce(&SledStore) -> Result<T, KeyedError>) -> Result<T, KeyedError> {
        match self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(store) => use_it(store),
            None => Err(KeyedError::InUse),
        }
    }

    /// Closes it, once nobody reads.
    fn take_out(&self) {
        drop(self.0.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn put_in(&self, store: SledStore) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(store);
    }
}
