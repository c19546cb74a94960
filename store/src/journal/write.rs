//! The only hand that writes: batches in order, one sync per group commit, and no second chance after a failure.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::format::{BATCH_HEADER, SEGMENT_HEADER};
use super::segment::{Segment, Shared};
use super::{JournalError, Position, SealedBatch};

/// Writes sealed batches. One per journal; may live on a thread of its own.
///
/// After any failed write or sync it is poisoned, and with it the appender: every later call fails. A sync that failed
/// may have dropped the very pages it was asked for, so trying again could report success over a hole.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    /// End of the last batch that was written.
    written: Position,
    /// Segments with batches that are not synced.
    dirty: Vec<Arc<Segment>>,
}

impl Writer {
    pub(super) const fn new(shared: Arc<Shared>, end: Position) -> Self {
        Self { shared, written: end, dirty: Vec::new() }
    }

    /// Writes a batch, which is not durable before [`Writer::sync`].
    ///
    /// # Errors
    /// [`JournalError::Io`] or [`JournalError::NoSpace`] when the write fails, [`JournalError::OutOfOrder`] when a batch
    /// that was sealed before is missing, [`JournalError::Poisoned`] after any of these.
    pub fn write(&mut self, batch: SealedBatch) -> Result<Position, JournalError> {
        self.shared.check()?;
        let result = self.try_write(batch);
        if result.is_err() {
            self.shared.poison();
        }
        result
    }

    fn try_write(&mut self, batch: SealedBatch) -> Result<Position, JournalError> {
        let SealedBatch { segment, start, end, mut header, mut bytes } = batch;
        let follows = segment.number() == self.written.segment && start == self.written.offset;
        let opens = segment.number() == self.written.segment + 1 && start == SEGMENT_HEADER;
        if !follows && !opens {
            return Err(JournalError::OutOfOrder);
        }
        if opens && segment.header.chain != self.written.chain {
            return Err(JournalError::OutOfOrder);
        }
        header.durable = self.shared.durable();
        bytes[..BATCH_HEADER as usize].copy_from_slice(&header.encode(&segment.header, start));
        segment.file.write_all_at(&bytes, u64::from(start)).map_err(JournalError::io("write", segment.number()))?;
        if self.dirty.last().is_none_or(|last| last.number() != segment.number()) {
            self.dirty.push(segment);
        }
        self.written = end;
        Ok(end)
    }

    /// Makes everything written so far durable: what it returns may be acknowledged.
    ///
    /// # Errors
    /// [`JournalError::Io`] when a sync fails (it is never tried again), [`JournalError::Poisoned`] afterwards.
    pub fn sync(&mut self) -> Result<Position, JournalError> {
        self.shared.check()?;
        for segment in &self.dirty {
            if let Err(error) = segment.file.sync_data() {
                self.shared.poison();
                return Err(JournalError::io("sync", segment.number())(error));
            }
        }
        self.dirty.clear();
        self.shared.set_durable((self.written.segment, self.written.offset));
        Ok(self.written)
    }

    /// The end of the last batch that was written.
    #[must_use]
    pub const fn written(&self) -> Position {
        self.written
    }
}
