//! One thread brings notes to the disk: gathered, written, synced, several times a second. It also ties the logs' ends into
//! the journal and lets go what is over its time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use onefold_core::decision;
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Place, ProfileOrdinal, Sequence, TenantId};
use onefold_core::reads::{PROFILES_MAX, READS_NOTED, ReadLogMark, Reads};
use onefold_store::journal::{
    Appender, EntryKind, Journal, JournalError, JournalOptions, JournalReader, Position, Writer, batch_room, entry_room,
};
use tokio::sync::{mpsc, oneshot};

use super::{How, Note, What};
use crate::app::Shared;
use crate::app::lane::Command;
use crate::app::privacy::act::{Act, Work};
use crate::app::tenant::Tenant;
use crate::clock::Stopwatch;

/// Notes are gathered this often; with the sync, a note is on the disk within a second.
const GATHER_EVERY: Duration = Duration::from_millis(250);
/// A log that could not be written is opened again this often.
const MEND_EVERY: Duration = Duration::from_secs(5);
/// A log that grew has its end written down in the journal this often.
const MARK_EVERY: Duration = Duration::from_secs(600);
/// Logs are looked through for what is over its time this often.
const TIDY_EVERY: Duration = Duration::from_secs(3_600);
/// A segment is closed after so long, so that it goes when its time is over.
const ROLL_AFTER_MICROS: i64 = 86_400_000_000;
const DAY_MICROS: i64 = 86_400_000_000;
/// Entries of one batch: what a page of a list is read by.
const BATCH_ENTRIES_MAX: usize = 32;

/// One tenant's log, open.
struct Log {
    appender: Appender,
    writer: Writer,
    reader: JournalReader,
    /// When its open segment was begun.
    rolled_at: ObservedAt,
    /// Its end as the journal knows it.
    marked: Option<Position>,
}

/// Opens a tenant's log from where the journal says that it was durable.
fn open(shared: &Shared, tenant: &Tenant) -> Result<Log, JournalError> {
    let dir = shared.reads.dir_of(tenant.id);
    let mark = tenant.state().privacy.reads_mark;
    let marked = mark.map(|mark| Position { segment: mark.end.0, offset: mark.end.1, chain: mark.end.2 });
    let options = || JournalOptions::new(dir.clone());
    let opened = match Journal::open_kept(options(), marked.as_ref(), |_| Ok(())) {
        Err(JournalError::Short { .. }) => {
            // It is shorter than it was: an audit names that, too. What there is goes on.
            let tenant = tenant.name.as_str();
            tracing::error!(tenant, "the log of reads does not hold what the journal says that it held");
            Journal::open_kept(options(), None, |_| Ok(()))?
        }
        opened => opened?,
    };
    let rolled_at = shared.clock.now();
    Ok(Log { appender: opened.appender, writer: opened.writer, reader: opened.reader, rolled_at, marked })
}

impl Log {
    /// Writes entries and syncs them.
    fn write(&mut self, tenant: TenantId, entries: &[Vec<u8>], now: ObservedAt) -> Result<(), JournalError> {
        if now.0 - self.rolled_at.0 > ROLL_AFTER_MICROS {
            self.appender.close()?;
            self.rolled_at = now;
        }
        for batch in entries.chunks(BATCH_ENTRIES_MAX) {
            let room = batch.iter().map(|payload| entry_room(payload.len())).sum();
            self.appender.ensure_room(batch_room(room))?;
            let mut builder = self.appender.begin()?;
            for payload in batch {
                builder.push(tenant, Sequence(0), EntryKind(READS_NOTED), |_, out| out.extend_from_slice(payload))?;
            }
            let sealed = self.appender.seal(builder, now.0)?;
            self.writer.write(sealed)?;
        }
        self.writer.sync().map(drop)
    }

    /// Its end, and its beginning.
    fn mark(&self, first: u32, at: ObservedAt) -> Result<ReadLogMark, JournalError> {
        let end = self.writer.written();
        let begins = self.reader.begins(first)?;
        Ok(ReadLogMark { end: (end.segment, end.offset, end.chain), first: (first, begins.chain), at })
    }
}

/// Notes of one tenant, gathered into entries.
fn gathered(notes: &[Note], (from, until): (ObservedAt, ObservedAt)) -> Vec<Vec<u8>> {
    #[derive(Default)]
    struct Group {
        count: u64,
        profiles: BTreeMap<ProfileOrdinal, u32>,
        entries: BTreeSet<Sequence>,
    }
    let mut groups: BTreeMap<How, Group> = BTreeMap::new();
    for note in notes {
        let group = groups.entry(note.how).or_default();
        group.count += 1;
        match note.what {
            What::Profile(profile) => *group.profiles.entry(profile).or_default() += 1,
            What::Entry(entry) => drop(group.entries.insert(entry)),
            What::Some => {}
        }
    }
    let mut entries = Vec::new();
    for (how, group) in groups {
        let profiles: Vec<(ProfileOrdinal, u32)> = group.profiles.into_iter().collect();
        let shown: Vec<Sequence> = group.entries.into_iter().collect();
        let whole = profiles.len() <= PROFILES_MAX && shown.len() <= PROFILES_MAX;
        let mut put = |count, profiles, shown| {
            entries.push(decision::encode(&Reads::new(how, (from, until), count, profiles, shown)));
        };
        if whole {
            put(group.count, profiles, shown);
            continue;
        }
        let mut left = group.count;
        for part in profiles.chunks(PROFILES_MAX) {
            let count = part.iter().map(|(_, times)| u64::from(*times)).sum();
            left -= count;
            put(count, part.to_vec(), Vec::new());
        }
        for part in shown.chunks(PROFILES_MAX) {
            put(part.len() as u64, Vec::new(), part.to_vec());
            left = left.saturating_sub(part.len() as u64);
        }
        if left > 0 {
            put(left, Vec::new(), Vec::new());
        }
    }
    entries
}

/// What the thread works with.
pub struct Gatherer {
    shared: Arc<Shared>,
    lane: mpsc::Sender<Command>,
    logs: HashMap<TenantId, Log>,
    gathered_at: ObservedAt,
    since_mended: Stopwatch,
    since_marked: Stopwatch,
    since_tidied: Stopwatch,
}

impl Gatherer {
    /// Opens the logs there are.
    pub fn start(shared: &Arc<Shared>, lane: mpsc::Sender<Command>) -> Self {
        let mut gatherer = Self {
            shared: Arc::clone(shared),
            lane,
            logs: HashMap::new(),
            gathered_at: shared.clock.now(),
            since_mended: Stopwatch::start(),
            since_marked: Stopwatch::start(),
            since_tidied: Stopwatch::start(),
        };
        for tenant in shared.tenants() {
            if shared.reads.dir_of(tenant.id).exists() {
                gatherer.open(&tenant);
            }
        }
        gatherer
    }

    /// Works until the sender of `stop` is gone, and leaves nothing behind.
    pub fn run(mut self, stop: &Receiver<()>) {
        loop {
            let last = matches!(stop.recv_timeout(GATHER_EVERY), Err(RecvTimeoutError::Disconnected));
            self.round();
            if last || self.since_marked.elapsed() > MARK_EVERY {
                self.mark_all();
            }
            if last {
                self.logs.values_mut().for_each(|log| drop(log.appender.close()));
                return;
            }
            if self.since_tidied.elapsed() > TIDY_EVERY {
                self.tidy();
            }
        }
    }

    fn tenant(&self, id: TenantId) -> Option<Arc<Tenant>> {
        self.shared.tenants().into_iter().find(|tenant| tenant.id == id)
    }

    fn open(&mut self, tenant: &Tenant) {
        match open(&self.shared, tenant) {
            Ok(log) => {
                self.shared.reads.set(tenant.id, Some(log.reader.clone()));
                self.logs.insert(tenant.id, log);
                tenant.noting.mended();
            }
            Err(error) => self.broken(tenant, &error),
        }
    }

    fn broken(&mut self, tenant: &Tenant, error: &JournalError) {
        if tenant.noting.is_whole() {
            let tenant = tenant.name.as_str();
            tracing::error!(tenant, error = %error, "the log of reads cannot be written");
        }
        tenant.noting.break_off();
        self.logs.remove(&tenant.id);
        self.shared.note_reads();
    }

    /// Brings to the disk what was noted.
    fn round(&mut self) {
        let now = self.shared.clock.now();
        let window = (self.gathered_at.min(now), now);
        self.gathered_at = now;
        let mut by_tenant: BTreeMap<TenantId, Vec<Note>> = BTreeMap::new();
        for note in self.shared.reads.take() {
            by_tenant.entry(note.tenant).or_default().push(note);
        }
        if self.since_mended.elapsed() > MEND_EVERY {
            self.since_mended = Stopwatch::start();
            for tenant in self.shared.tenants().into_iter().filter(|tenant| !tenant.noting.is_whole()) {
                self.open(&tenant);
                if tenant.noting.is_whole() {
                    tracing::info!(tenant = tenant.name.as_str(), "the log of reads can be written again");
                    self.shared.note_reads();
                }
            }
        }
        for (id, notes) in by_tenant {
            let Some(tenant) = self.tenant(id) else { continue };
            if !self.logs.contains_key(&id) && tenant.noting.is_whole() {
                self.open(&tenant);
            }
            let Some(log) = self.logs.get_mut(&id) else {
                tenant.noting.miss(notes.len() as u64);
                continue;
            };
            if let Err(error) = log.write(id, &gathered(&notes, window), now) {
                tenant.noting.miss(notes.len() as u64);
                self.broken(&tenant, &error);
            }
        }
    }

    /// Writes down in the journal where a log ends, and begins.
    fn put_mark(&self, tenant: &Arc<Tenant>, mark: ReadLogMark) -> bool {
        let (reply, done) = oneshot::channel();
        let (tenant, act) = (Arc::clone(tenant), Act::MarkReads(mark));
        let command = Command::Privacy(Box::new(Work { tenant, act, request: None, reply }));
        self.lane.blocking_send(command).is_ok() && matches!(done.blocking_recv(), Ok(Ok(_)))
    }

    fn mark_all(&mut self) {
        self.since_marked = Stopwatch::start();
        let now = self.shared.clock.now();
        for tenant in self.shared.tenants() {
            let Some(log) = self.logs.get(&tenant.id) else { continue };
            let end = log.writer.written();
            let grew = log.reader.durable().offset > 0 && log.marked.is_none_or(|marked| marked.chain != end.chain);
            // A log without a batch has nothing that could be missed.
            if !grew || self.shared.has_failed() {
                continue;
            }
            match log.mark(log.reader.first(), now) {
                Ok(mark) if self.put_mark(&tenant, mark) => {
                    if let Some(log) = self.logs.get_mut(&tenant.id) {
                        log.marked = Some(end);
                    }
                }
                Ok(_) => tracing::warn!("the end of a log of reads is not written down for now"),
                Err(error) => tracing::error!(error = %error, "the log of reads cannot be read"),
            }
        }
    }

    /// Lets go of segments that are over their time: written down first, so that an audit knows where the log begins.
    fn tidy(&mut self) {
        // A copy that is being taken reads these very files.
        let copying = Arc::clone(&self.shared.copying);
        let Ok(_alone) = copying.try_write() else { return };
        self.since_tidied = Stopwatch::start();
        let now = self.shared.clock.now();
        for tenant in self.shared.tenants() {
            let Some(log) = self.logs.get(&tenant.id) else { continue };
            let days = i64::from(tenant.state().privacy.read_log.retention_days);
            let first = match kept_from(&log.reader, ObservedAt(now.0.saturating_sub(days * DAY_MICROS))) {
                Ok(first) if first > log.reader.first() => first,
                Ok(_) => continue,
                Err(error) => {
                    tracing::error!(error = %error, "the log of reads cannot be read");
                    continue;
                }
            };
            let done = log
                .mark(first, now)
                .and_then(|mark| if self.put_mark(&tenant, mark) { log.reader.forget_before(first) } else { Ok(()) });
            if let Err(error) = done {
                tracing::warn!(error = %error, "reads that are over their time stay on disk for now");
            }
        }
    }
}

/// The first segment with anything from `since` on.
fn kept_from(log: &JournalReader, since: ObservedAt) -> Result<u32, JournalError> {
    let mut first = log.first();
    while first < log.durable().segment {
        // All of a segment is older than what the next one begins with.
        match begun_at(log, first + 1)? {
            Some(at) if at < since => first += 1,
            _ => break,
        }
    }
    Ok(first)
}

/// When the first batch of a segment was written.
pub(super) fn begun_at(log: &JournalReader, segment: u32) -> Result<Option<ObservedAt>, JournalError> {
    let mut at = None;
    log.scan(Place { segment, offset: 0 }, |batch| {
        at = Some(ObservedAt(batch.time_micros));
        Ok(ControlFlow::Break(()))
    })?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use onefold_core::reads::{ReadCall, Reader};

    use super::*;

    #[test]
    fn notes_of_one_moment_are_told_together_and_none_is_lost() {
        let how: How = (Reader::Anonymous, ReadCall::GetProfile, None);
        let other: How = (Reader::Anonymous, ReadCall::ListQuarantine, None);
        let note = |how, what| Note { tenant: TenantId(1), how, what };
        let shown = (0..2 * PROFILES_MAX as u32 + 5).map(|at| note(how, What::Profile(ProfileOrdinal(at % 9_000))));
        let mut notes: Vec<Note> = shown.collect();
        notes.extend([What::Entry(Sequence(5)), What::Entry(Sequence(5)), What::Some].map(|what| note(other, what)));
        let times = (ObservedAt(1), ObservedAt(2));
        let entries: Vec<Reads> =
            gathered(&notes, times).iter().map(|bytes| decision::decode(bytes).unwrap()).collect();
        assert_eq!(entries.iter().map(|reads| reads.count).sum::<u64>(), notes.len() as u64);
        assert!(entries.iter().all(|reads| reads.profiles().count() <= PROFILES_MAX));
        let of = |how: How| entries.iter().filter(move |reads| (reads.reader, reads.call, reads.purpose) == how);
        let profiles: u64 = of(how).flat_map(Reads::profiles).map(|(_, times)| u64::from(times)).sum();
        assert_eq!(profiles, 2 * PROFILES_MAX as u64 + 5);
        assert_eq!(of(other).flat_map(Reads::entries).collect::<Vec<_>>(), [Sequence(5)]);
    }
}
