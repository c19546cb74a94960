//! Whether a call is taken, judged before a byte of its message is read: a call that is refused behind its decoding costs
//! as much as one that is served, and a queue that only grows serves nobody in time.
//!
//! Calls stand in lines: unary reads wait for a thread, unary writes and decisions on contacts for the commit lane. A line as
//! long as keeps the server busy is always taken. What would stand behind that, and wait for longer than a caller should by the
//! pace of answers (Little's law), is told to come again. A burst is taken all the same, as long as bursts are rare. See
//! Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012, and Maurer, "Fail at Scale", ACM Queue 13(8),
//! 2015.
//!
//! Reads take turns ([`Turn`]): the runtime gives every task its time in order, so a call that is to be refused would wait
//! behind all that are worked on. Few are, the others wait here.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::thread::available_parallelism;

use onefold_proto::v1::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::FileDescriptorSet;
use prost_types::method_options::IdempotencyLevel;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::clock::Stopwatch;
use crate::config;

/// Whose calls are always let in: who asks for health must hear of it when the server is busy.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// Of the pace so far, the part that one more answer replaces: one in so many.
const PACE_OF: u64 = 8;

/// Calls that may be taken beyond what a line holds: so many at once, and one more every so often. The generic cell rate
/// algorithm (ITU-T I.371): one number holds the state.
#[derive(Debug, Default)]
struct Bursts {
    /// When all that was taken is paid for, in microseconds.
    paid_at: AtomicU64,
}

impl Bursts {
    fn take(&self, now: u64) -> bool {
        let every = config::BURST_REFILL.as_micros() as u64;
        let room = every * (config::BURST_CALLS_MAX - 1);
        let take = |paid_at: u64| (paid_at <= now + room).then(|| paid_at.max(now) + every);
        self.paid_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// Calls of one kind that wait for the head of their answer.
#[derive(Debug)]
struct Line {
    under_way: AtomicUsize,
    /// So many are always taken.
    always: usize,
    /// More are taken while they wait no longer than this, in microseconds; none: no more are.
    wait_max: Option<u64>,
    /// Between two answers while the line is long, smoothed, in sixteenths of a microsecond.
    pace: AtomicU64,
    /// When the last call ended.
    ended_at: AtomicU64,
    bursts: Bursts,
}

impl Line {
    fn of(always: usize, wait_max: Option<u64>) -> Self {
        let (under_way, pace, ended_at) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { under_way, always, wait_max, pace, ended_at, bursts: Bursts::default() }
    }

    fn has_room(&self, now: u64) -> bool {
        let ahead = self.under_way.load(Ordering::Relaxed);
        let waits = || (ahead as u64).saturating_mul(self.pace.load(Ordering::Relaxed)) / 16;
        ahead < self.always || self.wait_max.is_some_and(|most| waits() <= most) || self.bursts.take(now)
    }

    fn end(&self, now: u64) {
        let before = self.ended_at.swap(now, Ordering::Relaxed);
        // A short line says nothing of how fast a long one moves.
        if self.under_way.fetch_sub(1, Ordering::Relaxed) * 2 >= self.always {
            let took = now.saturating_sub(before).saturating_mul(16);
            let pace = self.pace.load(Ordering::Relaxed);
            self.pace.store(pace - pace / PACE_OF + took / PACE_OF, Ordering::Relaxed);
        }
    }
}

/// The calls that the server has taken and not answered.
#[derive(Debug)]
pub struct Admission {
    since: Stopwatch,
    calls: AtomicUsize,
    calls_max: usize,
    reads: Line,
    writes: Line,
    decisions: Line,
    kinds: HashMap<String, Kind>,
    turns: Arc<Semaphore>,
}

impl Admission {
    /// At most so many calls at once, whatever they ask.
    pub fn new(calls_max: usize) -> Arc<Self> {
        let wait_max = config::READ_WAIT_MAX.as_micros() as u64;
        let turns = available_parallelism().map_or(1, usize::from) * config::TURNS_PER_THREAD;
        Arc::new(Self {
            since: Stopwatch::start(),
            calls: AtomicUsize::new(0),
            calls_max,
            reads: Line::of(config::READS_ALWAYS, Some(wait_max)),
            writes: Line::of(config::WRITES_ALWAYS, None),
            decisions: Line::of(config::WRITES_ALWAYS, None),
            kinds: kinds(),
            turns: Arc::new(Semaphore::new(turns)),
        })
    }

    fn now(&self) -> u64 {
        self.since.elapsed().as_micros() as u64
    }

    fn line(&self, of: Kind) -> Option<&Line> {
        match of {
            Kind::Read => Some(&self.reads),
            Kind::Write => Some(&self.writes),
            Kind::Decision => Some(&self.decisions),
            Kind::Other => None,
        }
    }

    /// Takes a call, if there is room for it. `path`: `/{package.Service}/{Method}`.
    pub fn take(self: &Arc<Self>, path: &str) -> Option<Taken> {
        let kind = self.kinds.get(path).copied().unwrap_or(Kind::Other);
        let full = self.calls.load(Ordering::Relaxed) >= self.calls_max;
        if full && !path.starts_with(HEALTH) || self.line(kind).is_some_and(|line| !line.has_room(self.now())) {
            return None;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(line) = self.line(kind) {
            line.under_way.fetch_add(1, Ordering::Relaxed);
        }
        Some(Taken { by: Arc::clone(self), kind, held: Arc::default() })
    }
}

/// In which line a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    /// On a contact: a read, unless it reserves. What fragments flood with is nothing to those who ask before they send.
    Decision,
    /// In none: a stream, which is held back by not being read, and what may take as long as it takes.
    Other,
}

/// A call that was taken: there is room for another once this is gone.
#[derive(Debug)]
pub struct Taken {
    by: Arc<Admission>,
    kind: Kind,
    held: Arc<OnceLock<OwnedSemaphorePermit>>,
}

impl Taken {
    /// What a read waits for once its message is there. It is over when both this and the turn are gone.
    pub fn turn(&self) -> Option<Turn> {
        let turn =
            || Turn { turns: Arc::clone(&self.by.turns), held: Arc::clone(&self.held), comes: None, let_pass: false };
        matches!(self.kind, Kind::Read).then(turn)
    }
}

/// A place that is waited for.
type Coming = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Sync>>;

/// A read's turn on the threads.
pub struct Turn {
    turns: Arc<Semaphore>,
    held: Arc<OnceLock<OwnedSemaphorePermit>>,
    comes: Option<Coming>,
    /// It let pass who came before.
    let_pass: bool,
}

impl Turn {
    /// Ready once it has come.
    pub fn poll_comes(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Most calls end where they begin. Each once goes behind those that are there already, so that these are counted, and
        // refused where they are too many, before any is worked on.
        if !self.let_pass {
            self.let_pass = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.comes.is_none()
            && let Ok(permit) = Arc::clone(&self.turns).try_acquire_owned()
        {
            let _ = self.held.set(permit);
            return Poll::Ready(());
        }
        let comes = self.comes.get_or_insert_with(|| Box::pin(Arc::clone(&self.turns).acquire_owned()));
        // Nobody closes the semaphore; without a permit the call would go on all the same.
        if let Ok(permit) = ready!(comes.as_mut().poll(context)) {
            let _ = self.held.set(permit);
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.held.get().is_some() { "Turn(has come)" } else { "Turn(waits)" })
    }
}

impl Clone for Turn {
    /// Another to wait for the same.
    fn clone(&self) -> Self {
        Self { turns: Arc::clone(&self.turns), held: Arc::clone(&self.held), comes: None, let_pass: false }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.by.calls.fetch_sub(1, Ordering::Relaxed);
        if let Some(line) = self.by.line(self.kind) {
            line.end(self.by.now());
        }
    }
}

/// In which line the calls of each path stand; those of others stand in none.
fn kinds() -> HashMap<String, Kind> {
    let mut kinds = HashMap::new();
    // The descriptor set was encoded by our own build: a test reads it.
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    for file in set.file {
        for service in &file.service {
            for method in &service.method {
                let options = method.options.as_ref();
                let reads = options.is_some_and(|one| one.idempotency_level() == IdempotencyLevel::NoSideEffects);
                let kind = match method.name() {
                    _ if method.client_streaming() || method.server_streaming() => continue,
                    name if config::LONG_CALLS.contains(&name) => continue,
                    "DecideContact" => Kind::Decision,
                    _ if reads => Kind::Read,
                    _ => Kind::Write,
                };
                kinds.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()), kind);
            }
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: &str = "/onefold.v1.ProfileService/LookupProfile";
    const WRITE: &str = "/onefold.v1.IngestService/PutFragment";

    #[test]
    fn every_unary_call_stands_in_a_line_and_streams_in_none() {
        let kinds = kinds();
        let table = [
            (READ, Some(Kind::Read)),
            (WRITE, Some(Kind::Write)),
            ("/onefold.v1.ConsentService/DecideContact", Some(Kind::Decision)),
            ("/onefold.v1.ConsentService/RecordConsent", Some(Kind::Write)),
            ("/onefold.v1.IngestService/StreamFragments", None),
            ("/onefold.v1.ProfileService/WatchProfiles", None),
            ("/onefold.v1.AdminService/GetDigest", None),
        ];
        for (path, kind) in table {
            assert_eq!(kinds.get(path).copied(), kind, "{path}");
        }
    }

    #[tokio::test]
    async fn reads_take_turns_and_one_that_is_over_lets_the_next_come() {
        let admission = Admission::new(10_000);
        let poll = |turn: &mut Turn| turn.poll_comes(&mut Context::from_waker(std::task::Waker::noop())).is_ready();
        let mut worked_on = Vec::new();
        let mut waiting = loop {
            let taken = admission.take(READ).unwrap();
            let mut turn = taken.turn().unwrap();
            assert!(!poll(&mut turn), "those that are there pass first");
            if poll(&mut turn) {
                worked_on.push(taken);
            } else {
                break (taken, turn);
            }
        };
        assert_eq!(worked_on.len(), available_parallelism().unwrap().get() * config::TURNS_PER_THREAD);
        assert!(!poll(&mut waiting.1));
        worked_on.pop();
        assert!(poll(&mut waiting.1), "its turn has come");
        assert!(admission.take(WRITE).unwrap().turn().is_none(), "a write waits for the lane alone");
    }

    #[test]
    fn a_flood_of_writes_is_refused_beyond_a_burst_and_reads_go_on() {
        let admission = Admission::new(100_000);
        let taken: Vec<Taken> = (0..10_000).map_while(|_| admission.take(WRITE)).collect();
        let most = config::WRITES_ALWAYS + config::BURST_CALLS_MAX as usize;
        assert!((most..most + 10).contains(&taken.len()), "{}", taken.len());
        assert!(admission.take(WRITE).is_none());
        assert!(
            admission.take(READ).is_some() && admission.take("/onefold.v1.IngestService/StreamFragments").is_some()
        );
        drop(taken);
        let again: Vec<Taken> = (0..config::WRITES_ALWAYS).map_while(|_| admission.take(WRITE)).collect();
        assert_eq!(again.len(), config::WRITES_ALWAYS, "as many as are always taken, also behind a burst");
    }

    #[test]
    fn a_line_of_reads_is_as_long_as_its_pace_allows() {
        let line = Line::of(64, Some(5_000));
        for (between, taken) in [(10, 500), (100, 64), (1_000, 64)] {
            let mut now = 1_000_000;
            line.bursts.paid_at.store(u64::MAX / 2, Ordering::Relaxed);
            for _ in 0..200 {
                line.under_way.store(64, Ordering::Relaxed);
                now += between;
                line.end(now);
            }
            line.under_way.store(0, Ordering::Relaxed);
            let mut count = 0;
            while count < 10_000 && line.has_room(now) {
                line.under_way.fetch_add(1, Ordering::Relaxed);
                count += 1;
            }
            assert!(
                (taken - taken / 10..taken + taken / 10 + 2).contains(&count),
                "{count} every {between} microseconds"
            );
        }
    }

    #[test]
    fn bursts_come_back_with_time() {
        let bursts = Bursts::default();
        let every = config::BURST_REFILL.as_micros() as u64;
        let at_once = |now| (0..).take_while(|_| bursts.take(now)).count() as u64;
        assert_eq!(at_once(7), config::BURST_CALLS_MAX);
        assert_eq!(at_once(7 + 3 * every), 3);
        assert_eq!(at_once(1 << 40), config::BURST_CALLS_MAX);
    }
}
