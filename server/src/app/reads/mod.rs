//! The log of reads: who was shown whose personal data, when, through which call, what for.
//!
//! A read is noted in memory as it is answered, at the cost of a lock that nobody holds long; [`writer`] gathers the notes
//! several times a second, writes them to the tenant's log, and syncs it. So a kill can take back the notes of the last
//! second, and nothing older. Each tenant has a log of its own, a chained file family like the journal (`reads/` in the data
//! directory), whose end is written down in the tenant's journal from time to time: what is cut from it is missed
//! ([ADR 5](../../../../docs/adr/0005-log-of-reads.md)). [`list`] reads it.

pub mod list;
pub(super) mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use onefold_core::consent::PurposeId;
use onefold_core::ids::{ProfileOrdinal, Sequence, TenantId};
use onefold_core::reads::{ReadCall, ReadLogMode, ReadLogPolicy, Reader};
use onefold_store::journal::JournalReader;

use super::error::ReadError;
use super::tenant::Tenant;

/// Places where notes gather, so that threads seldom meet.
const SHARDS: usize = 8;
/// Notes that may wait in one of them: at 20,000 reads a second, more than a minute.
const SHARD_NOTES_MAX: usize = 1 << 18;

/// What was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Something of a profile.
    Profile(ProfileOrdinal),
    /// An entry of the journal that belongs to no profile: a quarantined fragment.
    Entry(Sequence),
    /// Personal data of nobody in particular.
    Some,
}

/// By whom, through which call, what for.
pub type How = (Reader, ReadCall, Option<PurposeId>);

#[derive(Clone, Copy, Debug)]
struct Note {
    tenant: TenantId,
    how: How,
    what: What,
}

/// How a tenant's reads are noted, and what they must say. Part of the tenant, and looked at by every read, so it is no more
/// than a few numbers.
#[derive(Debug, Default)]
pub struct Noting {
    /// 0: not at all, 1: noted, 2: noted or refused.
    mode: AtomicU8,
    /// The log cannot be written.
    broken: AtomicBool,
    /// Reads that were answered and are not in the log, since the start.
    missed: AtomicU64,
    /// Whoever reads says what for.
    purpose_required: AtomicBool,
}

impl Noting {
    /// Follows what the tenant wants. `authenticated`: callers are asked who they are.
    pub fn set(&self, policy: &ReadLogPolicy, authenticated: bool) {
        let mode = match policy.mode {
            ReadLogMode::WithAuthentication => u8::from(authenticated),
            ReadLogMode::Off => 0,
            ReadLogMode::On => 1,
            ReadLogMode::Strict => 2,
        };
        self.mode.store(mode, Ordering::Release);
    }

    /// Follows whether whoever reads must say what for.
    pub fn require_purpose(&self, required: bool) {
        self.purpose_required.store(required, Ordering::Release);
    }

    /// Whether whoever reads must say what for.
    pub fn purpose_required(&self) -> bool {
        self.purpose_required.load(Ordering::Acquire)
    }

    /// Whether reads are noted.
    pub fn is_on(&self) -> bool {
        self.mode.load(Ordering::Acquire) > 0
    }

    /// Whether the log can be written.
    pub fn is_whole(&self) -> bool {
        !self.broken.load(Ordering::Acquire)
    }

    /// Reads that were answered and are not in the log, since the start.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Acquire)
    }

    /// The log cannot be written from now on.
    fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
    }

    /// The log can be written again.
    fn mended(&self) {
        self.broken.store(false, Ordering::Release);
    }

    /// These are not in the log.
    fn miss(&self, count: u64) {
        self.missed.fetch_add(count, Ordering::AcqRel);
    }
}

/// All tenants' notes on their way to the disk, and the logs to read.
pub struct ReadLog {
    shards: [Mutex<Vec<Note>>; SHARDS],
    readers: RwLock<HashMap<TenantId, JournalReader>>,
    dir: PathBuf,
}

impl std::fmt::Debug for ReadLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReadLog(..)")
    }
}

thread_local! {
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

impl ReadLog {
    /// The logs below this directory, none of them open yet.
    pub fn new(dir: PathBuf) -> Self {
        Self { shards: Default::default(), readers: RwLock::default(), dir }
    }

    /// Whether a read could be noted now, for calls that do something before they show it.
    ///
    /// # Errors
    /// [`ReadError::NotLogged`], as [`ReadLog::note`].
    pub fn ready(tenant: &Tenant) -> Result<(), ReadError> {
        let strict = tenant.noting.mode.load(Ordering::Acquire) > 1;
        if strict && !tenant.noting.is_whole() { Err(ReadError::NotLogged) } else { Ok(()) }
    }

    /// Notes what is about to be shown. Cheap; whoever answers calls it before.
    ///
    /// # Errors
    /// [`ReadError::NotLogged`] where the tenant wants no read that is not in the log, and the log cannot take it.
    pub fn note(&self, tenant: &Tenant, how: How, what: impl IntoIterator<Item = What>) -> Result<(), ReadError> {
        let mode = tenant.noting.mode.load(Ordering::Acquire);
        if mode == 0 {
            return Ok(());
        }
        let strict = mode > 1;
        if strict && !tenant.noting.is_whole() {
            return Err(ReadError::NotLogged);
        }
        let shard = &self.shards[SHARD.with(|shard| *shard)];
        let mut notes = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missed = 0;
        for what in what {
            if notes.len() < SHARD_NOTES_MAX {
                notes.push(Note { tenant: tenant.id, how, what });
            } else {
                missed += 1;
            }
        }
        drop(notes);
        match missed {
            0 => Ok(()),
            _ if strict => Err(ReadError::NotLogged),
            missed => {
                tenant.noting.miss(missed);
                Ok(())
            }
        }
    }

    /// Takes all notes.
    fn take(&self) -> Vec<Note> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let mut notes = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if !notes.is_empty() {
                // Whoever notes next finds room, so that nobody copies under the lock.
                let room = notes.len();
                let mut taken = std::mem::replace(&mut *notes, Vec::with_capacity(room));
                drop(notes);
                all.append(&mut taken);
            }
        }
        all
    }

    /// A tenant's log, where it has one.
    pub fn of(&self, tenant: TenantId) -> Option<JournalReader> {
        self.readers.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned()
    }

    fn set(&self, tenant: TenantId, reader: Option<JournalReader>) {
        let mut readers = self.readers.write().unwrap_or_else(PoisonError::into_inner);
        match reader {
            Some(reader) => readers.insert(tenant, reader),
            None => readers.remove(&tenant),
        };
    }

    /// Where a tenant's log lies.
    pub fn dir_of(&self, tenant: TenantId) -> PathBuf {
        self.dir.join(tenant.0.to_string())
    }
}
