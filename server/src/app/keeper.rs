//! Keeps sled up behind the journal: what is read by key and need not be durable with the answer.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use onefold_core::change::ProfileChange;
use onefold_core::decision;
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{ProfileOrdinal, Sequence, TenantId};
use onefold_store::journal::Position;
use onefold_store::keyed::{KeyedBatch, KeyedStore, SledStore, Table};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Shared;
use super::error::ReadError;

/// Messages that may wait for sled; then the writer waits.
pub const KEEPER_DEPTH_MAX: usize = 256;
/// How long a reader of history waits for sled.
const CATCH_UP_WAIT_MAX: Duration = Duration::from_secs(1);
/// Commits after which the position is noted even when there was nothing to write.
const NOTE_EVERY: u32 = 1_024;

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
    /// How many tellings were applied; `None` once sled fell behind for good.
    applied: watch::Sender<Option<u64>>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { told: AtomicU64::new(0), applied: watch::Sender::new(Some(0)) }
    }
}

impl Kept {
    /// History is about to be acknowledged that sled does not have yet.
    pub fn tell(&self) {
        self.told.fetch_add(1, Ordering::Release);
    }

    fn applied(&self) {
        self.applied.send_modify(|applied| {
            if let Some(count) = applied {
                *count += 1;
            }
        });
    }

    fn fall_behind(&self) {
        self.applied.send_replace(None);
    }

    /// Waits, but not for long, until sled has everything that was acknowledged before.
    ///
    /// # Errors
    /// [`ReadError::HistoryBehind`] when it takes too long, [`ReadError::Store`] when sled fell behind for good.
    pub async fn caught_up(&self) -> Result<(), ReadError> {
        let told = self.told.load(Ordering::Acquire);
        let mut applied = self.applied.subscribe();
        let waited = tokio::time::timeout(
            CATCH_UP_WAIT_MAX,
            applied.wait_for(|applied| applied.is_none_or(|applied| applied >= told)),
        );
        match waited.await {
            Ok(Ok(applied)) if applied.is_some() => Ok(()),
            Ok(_) => Err(ReadError::Store("sled fell behind; history is whole again after the next start".into())),
            Err(_) => Err(ReadError::HistoryBehind),
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
pub fn apply(
    keyed: &SledStore,
    writes: Vec<KeyedWrite>,
    position: &Position,
) -> Result<(), onefold_store::keyed::KeyedError> {
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
    let scanned = shared.keyed.scan(tenant, HISTORY, &prefix, Some(&key(profile, after)), &mut |key, value| {
        let sequence = key.get(4..12).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        match (sequence, decision::decode(value)) {
            (Some(sequence), Ok(event)) => found.push((Sequence(sequence), event)),
            _ => {
                damaged = true;
                return ControlFlow::Break(());
            }
        }
        if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let scanned = scanned.map_err(ReadError::of_keyed);
    let whole = if damaged { Err(ReadError::Keyed("an event of a profile's history cannot be read")) } else { Ok(()) };
    shared.noting_damage(scanned.and(whole))?;
    Ok(found)
}

/// Works until the writer is gone.
pub fn run(shared: &Arc<Shared>, keep: &Receiver<Keep>) {
    let mut waiting: Option<Position> = None;
    let mut unnoted = 0;
    let mut failed = false;
    while let Ok(message) = keep.recv() {
        if failed {
            continue;
        }
        let applied = match message {
            Keep::Writes(writes, position) if writes.is_empty() && unnoted < NOTE_EVERY => {
                waiting = Some(position);
                unnoted += 1;
                Ok(())
            }
            Keep::Writes(writes, position) => {
                waiting = None;
                unnoted = 0;
                let told = !writes.is_empty();
                let applied = apply(&shared.keyed, writes, &position);
                if told && applied.is_ok() {
                    shared.kept.applied();
                }
                applied
            }
            Keep::Flush => {
                let noted = waiting.take().map_or(Ok(()), |position| apply(&shared.keyed, Vec::new(), &position));
                noted.and_then(|()| shared.keyed.flush())
            }
        };
        if let Err(error) = applied {
            // The journal has everything; the next start brings sled up to it.
            tracing::error!(error = %error, "sled falls behind until the next start");
            failed = true;
            shared.kept.fall_behind();
        }
    }
    // What is not noted would be applied again at the next start, which is harmless and takes a while.
    let ended = waiting.map_or(Ok(()), |position| apply(&shared.keyed, Vec::new(), &position));
    if !failed && let Err(error) = ended.and_then(|()| shared.keyed.flush()) {
        tracing::error!(error = %error, "sled could not be flushed at the end");
    }
}
