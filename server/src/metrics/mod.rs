//! What is counted while the server serves, and the page that Prometheus reads. Labels are bounded and name RPCs, codes,
//! reasons and tenants; nothing of a person is ever counted by value.

pub mod calls;
mod exposition;
pub mod instrument;
pub mod listen;
pub mod machine;
mod page;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use onefold_core::ids::Sequence;

use crate::app::App;
use crate::traces::{Cause, Traces, Work};
use calls::Calls;
use instrument::{BYTES, COUNTS, Counter, Histogram, TIMES};

/// What the edge, the lane and the writer count.
#[derive(Debug)]
pub struct Meters {
    /// Calls.
    pub calls: Arc<Calls>,
    /// Connections that are open.
    pub connections: AtomicI64,
    /// Connections that were closed as they came, for there were as many as there may be.
    pub connections_refused: Counter,
    /// Entries of a batch of the journal.
    pub batch_entries: Histogram,
    /// Bytes of one.
    pub batch_bytes: Histogram,
    /// How long a data sync of the journal takes.
    pub sync: Histogram,
    /// How long a checkpoint takes, while writes wait.
    pub checkpoint: Histogram,
    /// Calls to controllers.
    pub callbacks: CallbackMeters,
    /// Who makes spans of it; none: nobody.
    pub traces: Option<Arc<Traces>>,
}

impl Meters {
    /// Nothing was counted yet.
    pub fn new(calls: Calls) -> Self {
        Self {
            calls: Arc::new(calls),
            connections: AtomicI64::new(0),
            connections_refused: Counter::default(),
            batch_entries: Histogram::new(COUNTS),
            batch_bytes: Histogram::new(BYTES),
            sync: Histogram::new(TIMES),
            checkpoint: Histogram::new(TIMES),
            callbacks: CallbackMeters::default(),
            traces: None,
        }
    }

    /// With somebody who makes spans.
    pub fn traced(self, traces: Option<Arc<Traces>>) -> Self {
        Self { traces, ..self }
    }

    /// Work begins, because of something that is traced or of its own accord; none where nobody makes spans.
    pub fn work(&self, name: &'static str, cause: Option<&Cause>) -> Option<Work> {
        self.traces.as_ref().map(|traces| traces.work(name, cause))
    }
}

/// What became of calls to controllers (OpenDSR).
#[derive(Debug, Default)]
pub struct CallbackMeters {
    /// That are owed now.
    pub owed: AtomicU64,
    /// That were taken.
    pub taken: Counter,
    /// That were not, and are made again.
    pub failed: Counter,
    /// That are not made any more.
    pub given_up: Counter,
}

/// What became of fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngestOutcome {
    /// Taken.
    Accepted,
    /// Known already.
    Duplicate,
    /// Older than what is known.
    Superseded,
    /// Held for breaking its contract.
    Quarantined,
    /// Not kept.
    Rejected,
    /// Stopped, for it was erased.
    Suppressed,
}

impl IngestOutcome {
    /// All of them, with the names that they are counted under.
    const ALL: [(Self, &'static str); 6] = [
        (Self::Accepted, "accepted"),
        (Self::Duplicate, "duplicate"),
        (Self::Superseded, "superseded"),
        (Self::Quarantined, "quarantined"),
        (Self::Rejected, "rejected"),
        (Self::Suppressed, "suppressed"),
    ];
}

/// What is counted for one tenant.
#[derive(Debug, Default)]
pub struct TenantMeters {
    outcomes: [Counter; IngestOutcome::ALL.len()],
    readers: Mutex<Vec<Weak<AtomicU64>>>,
}

impl TenantMeters {
    /// Something became of a fragment.
    pub fn count(&self, outcome: IngestOutcome) {
        self.outcomes[outcome as usize].count();
    }

    /// Somebody follows the feed from here, for as long as what is given back lives; it is told how far they are.
    pub fn follow(&self, from: Sequence) -> Arc<AtomicU64> {
        let reader = Arc::new(AtomicU64::new(from.0));
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(&reader));
        reader
    }

    /// How far those are who follow the feed.
    fn readers(&self) -> Vec<u64> {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.iter().filter_map(Weak::upgrade).map(|reader| reader.load(Ordering::Relaxed)).collect()
    }
}

/// All that the page is made of.
#[derive(Debug)]
pub struct Scrape {
    meters: Arc<Meters>,
    /// There once the server has recovered.
    app: OnceLock<Weak<App>>,
}

impl Scrape {
    /// Without an app yet.
    pub fn new(meters: Arc<Meters>) -> Self {
        Self { meters, app: OnceLock::new() }
    }

    /// The server has recovered.
    pub fn open(&self, app: &Arc<App>) {
        let _ = self.app.set(Arc::downgrade(app));
    }

    fn app(&self) -> Option<Arc<App>> {
        self.app.get().and_then(Weak::upgrade)
    }
}
