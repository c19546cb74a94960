//! The lane's side: batches built in memory, every place known before anything is written.

use std::fmt;
use std::sync::Arc;

use onefold_core::ids::{Place, Sequence, TenantId};

use super::format::{
    BATCH_HEADER, BATCH_OVERHEAD, BATCH_TRAILER, BatchHeader, ChainHasher, ENTRY_OVERHEAD_MAX, EntryHead,
    SEGMENT_HEADER, SegmentHeader, encode_trailer,
};
use super::segment::{Segment, Shared};
use super::{EntryKind, JournalError, JournalOptions, JournalReader, Position};
use crate::disk;
use crate::seal::SealContext;

/// A young journal opens segments of this size.
const SEGMENT_BYTES_MIN: u64 = 4 << 20;
/// An older one opens segments of this part of itself, up to [`JournalOptions::segment_bytes`].
const SEGMENT_SHARE: u64 = 16;

/// The most room that an entry with a payload of this many bytes takes.
#[must_use]
pub const fn entry_room(payload_bytes: usize) -> usize {
    payload_bytes + ENTRY_OVERHEAD_MAX as usize
}

/// The most room that a batch takes whose entries take `entries_room` together (see [`entry_room`]).
#[must_use]
pub const fn batch_room(entries_room: usize) -> usize {
    entries_room + BATCH_OVERHEAD as usize
}

/// Builds batches. One per journal; belongs to the commit lane.
#[derive(Debug)]
pub struct Appender {
    options: JournalOptions,
    shared: Arc<Shared>,
    reader: JournalReader,
    /// `None` until there is room for one.
    segment: Option<Arc<Segment>>,
    /// The number of the segment that is (or would be) open.
    number: u32,
    /// Bytes that were reserved for it.
    capacity: u32,
    offset: u32,
    chain: [u8; 32],
    /// Bytes of all segments before.
    closed_bytes: u64,
}

impl Appender {
    /// Goes on after `chain` in segment `number`, which does not exist yet.
    pub(super) fn new(
        options: JournalOptions,
        shared: Arc<Shared>,
        reader: JournalReader,
        number: u32,
        chain: [u8; 32],
        closed_bytes: u64,
    ) -> Self {
        let (segment, capacity, offset) = (None, 0, SEGMENT_HEADER);
        Self { options, shared, reader, segment, number, capacity, offset, chain, closed_bytes }
    }

    /// Makes sure that a batch of up to `bytes` (see [`batch_room`]) can be built and written without asking the file
    /// system for space. Opens a new segment when the current one has too little left; otherwise it does nothing.
    ///
    /// # Errors
    /// [`JournalError::NoSpace`] when the disk is full: nothing has changed and the call may be repeated.
    /// [`JournalError::TooLarge`] when no segment could hold the batch. [`JournalError::Poisoned`] after a failed write.
    pub fn ensure_room(&mut self, bytes: usize) -> Result<(), JournalError> {
        self.shared.check()?;
        let most = self.options.segment_bytes.saturating_sub(SEGMENT_HEADER);
        if bytes as u64 > u64::from(most) {
            return Err(JournalError::TooLarge { bytes: bytes as u64, max: u64::from(most) });
        }
        match self.segment {
            Some(_) if bytes <= self.room() as usize => Ok(()),
            // Nothing was sealed into it, so one with more room takes its place: the writer knows no gap in the numbers.
            Some(_) if self.offset == SEGMENT_HEADER => self.open_segment(self.number, bytes),
            Some(_) => {
                let next = self.number.checked_add(1).ok_or(JournalError::NoSpace)?;
                let closing = u64::from(self.offset);
                self.closed_bytes += closing;
                let opened = self.open_segment(next, bytes);
                if opened.is_err() {
                    self.closed_bytes -= closing;
                }
                opened
            }
            None => self.open_segment(self.number, bytes),
        }
    }

    /// Opens a segment with room for `bytes`, and more as the journal grows: what is reserved and not used yet stays a
    /// small part of the whole.
    pub(super) fn open_segment(&mut self, number: u32, bytes: usize) -> Result<(), JournalError> {
        let grown = (self.closed_bytes / SEGMENT_SHARE).max(SEGMENT_BYTES_MIN);
        let capacity = grown.max(bytes as u64 + u64::from(SEGMENT_HEADER)).min(u64::from(self.options.segment_bytes));
        let capacity = u32::try_from(capacity).unwrap_or(self.options.segment_bytes);
        let mut salt = [0; 16];
        disk::random(&mut salt).map_err(JournalError::io("salt", number))?;
        let durable = self.shared.durable();
        let header = SegmentHeader { segment: number, salt, chain: self.chain, durable, index: None };
        let segment = Arc::new(Segment::create(&self.options.dir, header, capacity)?);
        self.reader.add(Arc::clone(&segment));
        self.segment = Some(segment);
        self.number = number;
        self.capacity = capacity;
        self.offset = SEGMENT_HEADER;
        Ok(())
    }

    /// Bytes left in the open segment; 0 when there is none.
    #[must_use]
    pub fn room(&self) -> u32 {
        if self.segment.is_some() { self.capacity - self.offset } else { 0 }
    }

    /// Begins a batch in the open segment. A batch that is dropped instead of sealed leaves no trace.
    ///
    /// # Errors
    /// [`JournalError::TooLarge`] when there is no room for an empty batch: [`Appender::ensure_room`] comes first.
    pub fn begin(&self) -> Result<BatchBuilder, JournalError> {
        self.shared.check()?;
        match &self.segment {
            Some(segment) if self.room() >= BATCH_OVERHEAD => Ok(BatchBuilder {
                start: self.offset,
                end_max: self.capacity - BATCH_TRAILER,
                bytes: vec![0; BATCH_HEADER as usize],
                payload: Vec::new(),
                entries: 0,
                hasher: ChainHasher::new(&self.chain),
                segment: Arc::clone(segment),
            }),
            _ => Err(JournalError::TooLarge { bytes: u64::from(BATCH_OVERHEAD), max: u64::from(self.room()) }),
        }
    }

    /// Closes a batch: its bytes and its place in the chain are fixed. It must be written next (see
    /// [`super::Writer::write`]), before any batch that is sealed later. `time_micros`: since 1970.
    ///
    /// # Errors
    /// [`JournalError::OutOfOrder`] when another batch was sealed, or a segment opened, since this one was begun.
    pub fn seal(&mut self, batch: BatchBuilder, time_micros: i64) -> Result<SealedBatch, JournalError> {
        self.shared.check()?;
        let BatchBuilder { segment, start, mut bytes, entries, hasher, .. } = batch;
        let current = self.segment.as_ref().is_some_and(|current| Arc::ptr_eq(current, &segment));
        if !current || start != self.offset {
            return Err(JournalError::OutOfOrder);
        }
        let too_large = |_| JournalError::OutOfOrder;
        let body = u32::try_from(bytes.len()).map_err(too_large)? - BATCH_HEADER;
        let chain = hasher.finish(body, entries, time_micros);
        encode_trailer(&chain, &mut bytes);
        let header = BatchHeader { logical_len: body, stored_len: body, entries, time_micros, durable: (0, 0) };
        let end = start + u32::try_from(bytes.len()).map_err(too_large)?;
        self.offset = end;
        self.chain = chain;
        Ok(SealedBatch { segment, start, end: Position { segment: self.number, offset: end, chain }, header, bytes })
    }

    /// Gives back the space that was reserved and not used. Everything sealed must have been written and synced before;
    /// nothing can be built afterwards but in a new segment.
    ///
    /// # Errors
    /// [`JournalError::Io`] when the file cannot be cut; nothing is lost by it.
    pub fn close(&mut self) -> Result<(), JournalError> {
        let Some(segment) = self.segment.take() else { return Ok(()) };
        let io = JournalError::io("close", self.number);
        segment.file.set_len(u64::from(self.offset)).map_err(&io)?;
        segment.file.sync_all().map_err(&io)?;
        self.number += 1;
        self.offset = SEGMENT_HEADER;
        Ok(())
    }

    /// The end of the last sealed batch.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position { segment: self.number, offset: self.offset, chain: self.chain }
    }
}

/// A batch being built.
pub struct BatchBuilder {
    segment: Arc<Segment>,
    start: u32,
    /// Where the entries must end at the latest.
    end_max: u32,
    bytes: Vec<u8>,
    payload: Vec<u8>,
    entries: u32,
    hasher: ChainHasher,
}

impl fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchBuilder").field("start", &self.start).field("entries", &self.entries).finish()
    }
}

impl BatchBuilder {
    /// Adds an entry. `payload` appends its content to the buffer; the context it gets knows the entry's place, so
    /// parts of the content can be sealed to it.
    ///
    /// # Errors
    /// [`JournalError::TooLarge`] when the segment has no room for it; the batch is as before and can be sealed.
    pub fn push(
        &mut self,
        tenant: TenantId,
        sequence: Sequence,
        kind: EntryKind,
        payload: impl FnOnce(&SealContext, &mut Vec<u8>),
    ) -> Result<Place, JournalError> {
        let offset = self.end();
        let place = Place { segment: self.segment.number(), offset: offset as u32 };
        let context = SealContext { salt: self.segment.header.salt, place, tenant, sequence, kind };
        self.payload.clear();
        payload(&context, &mut self.payload);
        // The largest head is assumed, so that what fits does not depend on the numbers in it.
        let room = u64::from(self.end_max).saturating_sub(offset);
        let needed = entry_room(self.payload.len()) as u64;
        if needed > room {
            return Err(JournalError::TooLarge { bytes: needed, max: room });
        }
        let head = EntryHead { payload_len: self.payload.len() as u32, kind, dropped: false, tenant, sequence };
        head.encode(&mut self.bytes);
        self.bytes.extend_from_slice(&self.payload);
        self.hasher.entry(&head, blake3::hash(&self.payload).as_bytes());
        self.entries += 1;
        Ok(place)
    }

    fn end(&self) -> u64 {
        u64::from(self.start) + self.bytes.len() as u64
    }

    /// Entries so far.
    #[must_use]
    pub const fn entries(&self) -> u32 {
        self.entries
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Bytes so far, header included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// A batch whose bytes are fixed and which waits to be written.
pub struct SealedBatch {
    pub(super) segment: Arc<Segment>,
    pub(super) start: u32,
    pub(super) end: Position,
    pub(super) header: BatchHeader,
    pub(super) bytes: Vec<u8>,
}

impl SealedBatch {
    /// The journal's end once this batch is written.
    #[must_use]
    pub const fn end(&self) -> Position {
        self.end
    }

    /// Where the batch begins.
    #[must_use]
    pub fn start(&self) -> Place {
        Place { segment: self.segment.number(), offset: self.start }
    }

    /// How many entries it holds.
    #[must_use]
    pub const fn entries(&self) -> u32 {
        self.header.entries
    }

    /// Its size on disk.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

impl fmt::Debug for SealedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedBatch").field("start", &self.start()).field("entries", &self.entries()).finish()
    }
}
