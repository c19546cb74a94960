//! Makes batches durable, then gives the answers: nothing is acknowledged before its data sync returned (law 3).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use onefold_core::ids::{Sequence, SlotId};
use onefold_store::erasures::ErasureRow;
use onefold_store::journal::{Position, SealedBatch, Writer};
use tokio::sync::oneshot;

use super::Shared;
use super::error::WriteError;
use super::ingest::Answer;
use super::keeper::{Keep, KeyedWrite};
use super::tenant::Tenant;
use crate::clock::Stopwatch;
use crate::traces::Cause;

/// Batches that may wait for the disk while the lane goes on.
pub const WRITER_DEPTH_MAX: usize = 4;

/// What happens once a batch is durable.
#[derive(Default)]
pub struct Commit {
    /// The batch; none when nothing had to be written and only the order of answers matters.
    pub batch: Option<SealedBatch>,
    /// What the batch was made in, where that is traced.
    pub cause: Option<Cause>,
    /// New ends of the tenants' orders of events.
    pub published: Vec<(Arc<Tenant>, Sequence)>,
    /// What the erasure ledger is to hold before keys are destroyed.
    pub erasures: Vec<ErasureRow>,
    /// Keys to destroy.
    pub destroy: Vec<(Arc<Tenant>, SlotId)>,
    /// What the keyed store is to be told.
    pub keyed: Vec<KeyedWrite>,
    /// Answers to give.
    pub replies: Vec<Reply>,
}

/// An answer that waits.
pub enum Reply {
    /// To an ingest command.
    Ingest(oneshot::Sender<Result<Vec<Answer>, WriteError>>, Vec<Answer>),
    /// To any other command; see [`Reply::of`].
    Then(Box<dyn FnOnce(Result<(), WriteError>) + Send>),
    /// To the lane itself, which waits until everything before is durable.
    Drained(std::sync::mpsc::Sender<Position>),
}

impl Reply {
    /// This answer to a command, once its batch is durable.
    pub fn of<T: Send + 'static>(to: oneshot::Sender<Result<T, WriteError>>, answer: T) -> Self {
        Self::Then(Box::new(move |written| drop(to.send(written.map(|()| answer)))))
    }

    fn give(self, end: Position) {
        // A receiver that is gone has lost interest; what was written stays written.
        match self {
            Self::Ingest(to, answers) => drop(to.send(Ok(answers))),
            Self::Then(tell) => tell(Ok(())),
            Self::Drained(to) => drop(to.send(end)),
        }
    }

    fn fail(self) {
        match self {
            Self::Ingest(to, _) => drop(to.send(Err(WriteError::StoreFailed))),
            Self::Then(tell) => tell(Err(WriteError::StoreFailed)),
            Self::Drained(_) => {}
        }
    }
}

/// Works until the lane is gone.
pub fn run(shared: &Arc<Shared>, mut writer: Writer, commits: &Receiver<Commit>, keeper: &SyncSender<Keep>) {
    while let Ok(first) = commits.recv() {
        // Everything that waits shares one sync.
        let mut group = vec![first];
        while let Ok(more) = commits.try_recv() {
            group.push(more);
        }
        let written =
            if shared.has_failed() { Err(None) } else { write(shared, &mut writer, &mut group).map_err(Some) };
        if let Ok(end) = &written {
            shared.heads.reached(*end);
        }
        match written {
            Ok(end) => acknowledge(shared, group, end, keeper),
            Err(error) => {
                if let Some(error) = error {
                    tracing::error!(error = %error, "the journal failed; nothing more is acknowledged until a restart");
                }
                shared.fail();
                group.into_iter().flat_map(|commit| commit.replies).for_each(Reply::fail);
            }
        }
    }
}

fn write(
    shared: &Shared,
    writer: &mut Writer,
    group: &mut [Commit],
) -> Result<Position, onefold_store::journal::JournalError> {
    let mut span = None;
    let mut bytes = 0;
    for commit in group {
        match (commit.cause.take(), &mut span) {
            (Some(cause), None) => span = shared.meters.work("journal.sync", Some(&cause)),
            (Some(cause), Some(span)) => span.also(cause),
            (None, _) => {}
        }
        bytes += commit.batch.as_ref().map_or(0, |batch| batch.bytes() as u64);
        if let Some(batch) = commit.batch.take() {
            writer.write(batch)?;
        }
    }
    let began = Stopwatch::start();
    let end = writer.sync()?;
    shared.meters.sync.took(began.elapsed());
    if let Some(span) = &mut span {
        span.counts("onefold.bytes", bytes);
    }
    Ok(end)
}

/// Destroys the keys that the group gives up, with one sync for each tenant.
fn destroy(group: &[Commit]) -> Result<(), onefold_store::vault::VaultError> {
    let mut doomed: Vec<(&Arc<Tenant>, Vec<SlotId>)> = Vec::new();
    for (tenant, slot) in group.iter().flat_map(|commit| &commit.destroy) {
        match doomed.iter_mut().find(|(known, _)| Arc::ptr_eq(known, tenant)) {
            Some((_, slots)) => slots.push(*slot),
            None => doomed.push((tenant, vec![*slot])),
        }
    }
    doomed.into_iter().try_for_each(|(tenant, slots)| tenant.vault.destroy(&slots))
}

fn acknowledge(shared: &Shared, group: Vec<Commit>, end: Position, keeper: &SyncSender<Keep>) {
    if group.iter().any(|commit| !commit.keyed.is_empty()) {
        shared.kept.tell();
    }
    let rows: Vec<ErasureRow> = group.iter().flat_map(|commit| commit.erasures.iter().cloned()).collect();
    let noted = if rows.is_empty() { Ok(()) } else { shared.erasures.append(&rows) };
    if let Err(error) = noted {
        tracing::error!(error = %error, "the erasure ledger failed; nothing more is acknowledged until a restart");
        shared.fail();
        group.into_iter().flat_map(|commit| commit.replies).for_each(Reply::fail);
        return;
    }
    if let Err(error) = destroy(&group) {
        // Nothing is said to be destroyed that is not. No checkpoint is written after a failure, so the next start reads
        // in the journal what is to go, and destroys it.
        tracing::error!(error = %error, "keys could not be destroyed; nothing more is acknowledged until a restart");
        shared.fail();
        group.into_iter().flat_map(|commit| commit.replies).for_each(Reply::fail);
        return;
    }
    let mut writes = Vec::new();
    for commit in group {
        for (tenant, sequence) in commit.published {
            tenant.publish(sequence);
        }
        writes.extend(commit.keyed);
        commit.replies.into_iter().for_each(|reply| reply.give(end));
    }
    // A full channel makes the writer wait: the keyed store may fall behind, but not without bound.
    let _ = keeper.send(Keep::Writes(writes, end));
}
