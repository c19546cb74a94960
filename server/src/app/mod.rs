//! Use cases: what callers ask for, without a word of the wire.
//!
//! [`lane`] is the only writer; [`writer`] makes its batches durable; [`keeper`] keeps sled up behind them. Everything
//! else reads.

pub mod access;
pub mod backup;
pub mod checkpoint;
pub mod consent;
mod decide;
pub mod error;
pub mod etag;
pub mod explain;
pub mod feed;
pub mod heads;
pub mod hierarchy;
pub mod ingest;
pub mod keeper;
pub mod lane;
pub mod models;
pub mod privacy;
pub mod quarantine;
pub mod read;
pub mod reads;
pub mod reconfigure;
pub mod recover;
pub mod requests;
pub mod review;
mod revoked;
mod rotated;
mod scrub;
pub mod statistics;
mod stops;
pub mod survey;
pub mod tenant;
pub mod threads;
pub mod tidy;
pub mod writer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use onefold_core::fragment::ObservedAt;
use onefold_store::checkpoint::Checkpoints;
use onefold_store::datadir::DataDir;
use onefold_store::erasures::ErasureLedger;
use onefold_store::journal::JournalReader;
use onefold_store::keys::RootKey;
use onefold_store::revocations::RevocationLedger;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::metrics::Meters;
use lane::Command;
use tenant::Tenant;

/// What every use case may see.
pub struct App {
    /// What the lane sees too.
    pub shared: Arc<Shared>,
    /// Into the lane.
    pub lane: mpsc::Sender<Command>,
    /// Persons as last read, for contact decisions.
    pub persons: consent::person::Persons,
    /// Lets one preview or training run at a time.
    pub studies: models::Studies,
    /// Lets few exports of persons be written at a time.
    pub exports: Arc<tokio::sync::Semaphore>,
    /// What was counted last.
    pub surveys: survey::Surveys,
    /// Keys page tokens.
    pub page_key: [u8; 32],
    /// How long a client's stream may be silent.
    pub message_wait: Duration,
    /// Turns true when the server goes down: long streams end.
    pub stop: watch::Sender<bool>,
}

/// What use cases and the lane share.
pub struct Shared {
    /// The data directory, locked while this lives.
    pub dir: DataDir,
    /// Reads the journal.
    pub journal: JournalReader,
    /// What is read by key.
    pub keyed: keeper::Keyed,
    /// Writes and finds checkpoints.
    pub checkpoints: Checkpoints,
    /// What was erased, kept outside of every backup.
    pub erasures: ErasureLedger,
    /// Which API keys were taken back, kept outside of every backup.
    pub revocations: RevocationLedger,
    /// How far the log reached, signed.
    pub heads: heads::Heads,
    /// The installation's key.
    pub root: RootKey,
    /// Who was shown what.
    pub reads: reads::ReadLog,
    /// Who may call.
    pub access: access::Access,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Journal entries between two checkpoints.
    pub checkpoint_every: u64,
    /// Whether a new tenant begins with the match models that ship.
    pub match_models: bool,
    /// What is counted.
    pub meters: Arc<Meters>,
    /// How far the keyed store is behind.
    pub kept: keeper::Kept,
    /// Held for reading while files of the journal are copied, for writing while one is replaced.
    pub copying: Arc<tokio::sync::RwLock<()>>,
    tenants: RwLock<HashMap<String, Arc<Tenant>>>,
    /// The least number that a new tenant may have: below it the ledgers may tell of one that a restore left behind.
    pub tenants_from: AtomicU32,
    failed: AtomicBool,
    failure: watch::Sender<bool>,
    full: watch::Sender<bool>,
    reads_missing: watch::Sender<bool>,
    keyed_damaged: watch::Sender<bool>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("App(..)")
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared(..)")
    }
}

impl Shared {
    /// The tenant with this name.
    pub fn tenant(&self, name: &str) -> Option<Arc<Tenant>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All tenants, in no order.
    pub fn tenants(&self) -> Vec<Arc<Tenant>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Makes a tenant known.
    pub fn add(&self, tenant: Arc<Tenant>) {
        self.tenants.write().unwrap_or_else(PoisonError::into_inner).insert(tenant.name.clone(), tenant);
    }

    /// Signs how far the log and the ledgers beside it reached, if there is something new; a failure is told and stops nothing.
    pub fn sign_head(&self) {
        self.heads.sign_or_tell(self.clock.now(), (self.erasures.ever(), self.revocations.ever()));
    }

    /// The store failed: nothing more is acknowledged.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        self.failure.send_replace(true);
    }

    /// Whether the store failed.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Says whether the disk has room for writes; true when it was otherwise before.
    pub fn note_room(&self, room: bool) -> bool {
        self.full.send_if_modified(|full| std::mem::replace(full, !room) == room)
    }

    /// Follows whether the disk has no room for writes.
    pub fn disk_full(&self) -> watch::Receiver<bool> {
        self.full.subscribe()
    }

    /// Says whether a tenant's reads are missing from its log.
    pub fn note_reads(&self) {
        let missing = self.tenants().iter().any(|tenant| !tenant.noting.is_whole());
        self.reads_missing.send_if_modified(|known| std::mem::replace(known, missing) != missing);
    }

    /// Follows whether a log of reads cannot be written.
    pub fn reads_missing(&self) -> watch::Receiver<bool> {
        self.reads_missing.subscribe()
    }

    /// What became of a read by key. That it met damage is told by health from now on: the next start makes sled anew.
    pub fn noting_damage<T>(&self, read: Result<T, error::ReadError>) -> Result<T, error::ReadError> {
        if matches!(read, Err(error::ReadError::Keyed(_))) {
            self.keyed_damaged.send_replace(true);
        }
        read
    }

    /// sled was opened afresh, and counted: what was damaged in it is gone.
    pub fn keyed_is_new(&self) {
        self.keyed_damaged.send_replace(false);
    }

    /// Follows whether sled was found damaged.
    pub fn keyed_damaged(&self) -> watch::Receiver<bool> {
        self.keyed_damaged.subscribe()
    }

    /// Follows [`Shared::has_failed`].
    pub fn failure(&self) -> watch::Receiver<bool> {
        self.failure.subscribe()
    }
}

impl App {
    /// The tenant with this name.
    pub fn tenant(&self, name: &str) -> Option<Arc<Tenant>> {
        self.shared.tenant(name)
    }

    /// All tenants, in no order.
    pub fn tenants(&self) -> Vec<Arc<Tenant>> {
        self.shared.tenants()
    }

    /// The time.
    pub fn now(&self) -> ObservedAt {
        self.shared.clock.now()
    }
}
