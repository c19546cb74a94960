//! Reading: one entry by its place, batches in order, and everything for the doctor. From any thread.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use onefold_core::ids::Place;

use super::format::{
    BATCH_HEADER, BATCH_TRAILER, BatchHeader, Entries, EntryHead, Fault, SEGMENT_HEADER, SegmentHeader, check_batch,
    decode_trailer, header_candidates,
};
use super::segment::{Segment, Shared, read_up_to};
use super::{Damage, Entry, EntryView, JournalError, JournalOptions, Position, VisitError};
use crate::seal::SealContext;

/// Open files at a time; more are closed and opened again when needed.
const OPEN_SEGMENTS_MAX: usize = 128;
/// Most entries are shorter, so one read is enough.
const FIRST_READ: usize = 1024;

/// Reads the journal. Clones share their open files.
#[derive(Clone, Debug)]
pub struct JournalReader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    shared: Arc<Shared>,
    open: RwLock<HashMap<u32, Arc<Segment>>>,
    /// One rewrite at a time.
    rewriting: Mutex<()>,
}

/// A verified batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    /// Where it begins: what [`JournalReader::scan`] starts from.
    pub start: Place,
    /// Behind it.
    pub end: Position,
    /// When it was sealed, in microseconds since 1970.
    pub time_micros: i64,
    /// How many entries it holds, dropped ones included.
    pub len: u32,
    body: &'a [u8],
    segment: &'a SegmentHeader,
}

impl<'a> BatchView<'a> {
    pub(super) fn new(
        header: &BatchHeader,
        segment: &'a SegmentHeader,
        logical: u32,
        chain: [u8; 32],
        frame: &'a [u8],
    ) -> Self {
        let end = logical + BATCH_HEADER + header.logical_len + BATCH_TRAILER;
        Self {
            start: Place { segment: segment.segment, offset: logical },
            end: Position { segment: segment.segment, offset: end, chain },
            time_micros: header.time_micros,
            len: header.entries,
            body: &frame[BATCH_HEADER as usize..BATCH_HEADER as usize + header.stored_len as usize],
            segment,
        }
    }

    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = EntryView<'a>> + use<'a> {
        self.raw_entries().map_while(Result::ok).map(|(_, view)| view)
    }

    pub(super) fn raw_entries(&self) -> Entries<'a> {
        Entries::new(self.body, self.segment, self.start.offset + BATCH_HEADER)
    }

    /// Whether the batch holds no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// What a full check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Segments looked at.
    pub segments: u32,
    /// Batches whose content matches the chain.
    pub batches: u64,
    /// Entries in them.
    pub entries: u64,
    /// Of these, dropped by a rewrite.
    pub dropped: u64,
    /// Every damaged place.
    pub damages: Vec<Damage>,
}

impl JournalReader {
    pub(super) fn new(dir: PathBuf, shared: Arc<Shared>) -> Self {
        let inner = Inner { dir, shared, open: RwLock::default(), rewriting: Mutex::new(()) };
        Self { inner: Arc::new(inner) }
    }

    /// Reads a journal while it is being opened: what [`Journal::open`](super::Journal::open) handed to its visitor already, and what
    /// lies before that.
    #[must_use]
    pub fn while_opening(options: &JournalOptions) -> Self {
        Self::new(options.dir.clone(), Arc::new(Shared::new(1, (u32::MAX, 0))))
    }

    pub(super) fn add(&self, segment: Arc<Segment>) {
        let mut open = self.inner.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_SEGMENTS_MAX {
            open.clear();
        }
        open.insert(segment.number(), segment);
    }

    pub(super) fn segment(&self, number: u32) -> Result<Arc<Segment>, JournalError> {
        if let Some(segment) = self.inner.open.read().unwrap_or_else(PoisonError::into_inner).get(&number) {
            return Ok(Arc::clone(segment));
        }
        let segment = Arc::new(Segment::open(&self.inner.dir, number)?);
        self.add(Arc::clone(&segment));
        Ok(segment)
    }

    pub(super) fn dir(&self) -> &std::path::Path {
        &self.inner.dir
    }

    pub(super) fn lock_rewriting(&self) -> std::sync::MutexGuard<'_, ()> {
        self.inner.rewriting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of what is durable: segment and offset.
    #[must_use]
    pub fn durable(&self) -> Place {
        let (segment, offset) = self.inner.shared.durable();
        Place { segment, offset }
    }

    /// The first segment that is kept: 1, unless some were let go.
    #[must_use]
    pub fn first(&self) -> u32 {
        self.inner.shared.first()
    }

    /// Where a segment begins: the chain hash there is the one that it continues.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when there is none, [`JournalError::Io`].
    pub fn begins(&self, number: u32) -> Result<Position, JournalError> {
        let chain = self.segment(number)?.header.chain;
        Ok(Position { segment: number, offset: SEGMENT_HEADER, chain })
    }

    /// Lets go of all segments before this one, oldest first, so that a crash in between leaves a journal that begins
    /// later. For a journal that is opened by [`super::Journal::open_kept`].
    ///
    /// # Errors
    /// [`JournalError::StillOpen`] when this one is not durable yet, [`JournalError::Io`].
    pub fn forget_before(&self, number: u32) -> Result<(), JournalError> {
        let _one_at_a_time = self.lock_rewriting();
        if number > self.durable().segment {
            return Err(JournalError::StillOpen(number));
        }
        for old in self.first()..number {
            self.inner.open.write().unwrap_or_else(PoisonError::into_inner).remove(&old);
            let io = JournalError::io("let go", old);
            self.inner.shared.set_first(old + 1);
            std::fs::remove_file(super::segment::path(&self.inner.dir, old)).map_err(&io)?;
            crate::disk::sync_dir(&self.inner.dir).map_err(&io)?;
        }
        Ok(())
    }

    /// Bytes that a segment takes.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when it is none, [`JournalError::Io`].
    pub fn segment_bytes(&self, number: u32) -> Result<u64, JournalError> {
        let segment = self.segment(number)?;
        Ok(segment.file.metadata().map_err(JournalError::io("measure", number))?.len())
    }

    /// The entry at this place, as it lies there. Sealed parts vouch for themselves when they are opened; clear content
    /// is not checked against the chain here (it is in [`JournalReader::scan`]).
    ///
    /// # Errors
    /// [`JournalError::NoEntry`] when nothing that looks like an entry begins there, [`JournalError::Io`] when reading
    /// fails, [`JournalError::Damaged`] when the segment's own header or index is.
    pub fn read(&self, place: Place) -> Result<Entry, JournalError> {
        let missing = || JournalError::NoEntry(place);
        if place.segment < self.first() || place.segment > self.inner.shared.durable().0.saturating_add(1) {
            return Err(missing());
        }
        let segment = self.segment(place.segment)?;
        let io = JournalError::io("read", place.segment);
        let at = segment.physical(place.offset).ok_or_else(missing)?;
        let mut bytes = read_up_to(&segment.file, at, FIRST_READ).map_err(&io)?;
        let (head, head_len) = EntryHead::decode(&bytes).map_err(|_| missing())?;
        let context = SealContext {
            salt: segment.header.salt,
            place,
            tenant: head.tenant,
            sequence: head.sequence,
            kind: head.kind,
        };
        if head.dropped {
            return Ok(Entry { context, payload: None });
        }
        let end = head_len + head.payload_len as usize;
        if end > bytes.len() {
            bytes = read_up_to(&segment.file, at, end).map_err(&io)?;
        }
        bytes.truncate(end);
        let payload = bytes.split_off(head_len.min(bytes.len()));
        if payload.len() != head.payload_len as usize {
            return Err(missing());
        }
        Ok(Entry { context, payload: Some(payload) })
    }

    /// Hands every durable batch from `from` on to `visit`, verified, in order, until it breaks off. `from` is where a
    /// batch begins: [`BatchView::start`], the place of a [`Position`], or offset 0 for the start of a segment. Gives
    /// the place at which to go on: behind the last batch that was visited.
    ///
    /// # Errors
    /// [`JournalError::NoEntry`] when no batch begins at `from`, [`JournalError::Damaged`] naming the place,
    /// [`JournalError::Visitor`] when `visit` fails, [`JournalError::Io`].
    pub fn scan(
        &self,
        from: Place,
        mut visit: impl FnMut(&BatchView<'_>) -> Result<ControlFlow<()>, VisitError>,
    ) -> Result<Place, JournalError> {
        let durable = self.inner.shared.durable();
        let from = if from.segment < self.first() { Place { segment: self.first(), offset: 0 } } else { from };
        let mut number = from.segment;
        let mut logical = from.offset.max(SEGMENT_HEADER);
        let mut carried = None;
        loop {
            if (number, logical) >= durable {
                return Ok(Place { segment: number, offset: logical });
            }
            let segment = self.segment(number)?;
            let next = if number < durable.0 { Some(self.segment(number + 1)?) } else { None };
            let mut physical = segment.physical(logical).ok_or(JournalError::NoEntry(from))?;
            let mut chain = match carried {
                Some(chain) => chain,
                None => chain_before(&segment, logical, physical)?.ok_or(JournalError::NoEntry(from))?,
            };
            loop {
                match &next {
                    Some(next) if next.header.chain == chain => break,
                    None if logical >= durable.1 => return Ok(Place { segment: number, offset: logical }),
                    _ => {}
                }
                let frame = read_frame(&segment, physical, logical)?;
                let (header, after, length) = check_batch(&frame, &segment.header, logical, &chain)
                    .map_err(|what| JournalError::damaged(number, logical, what))?;
                let view = BatchView::new(&header, &segment.header, logical, after, &frame);
                let flow = visit(&view).map_err(JournalError::Visitor)?;
                logical = view.end.offset;
                chain = after;
                physical += length as u32;
                if flow.is_break() {
                    return Ok(Place { segment: number, offset: logical });
                }
            }
            carried = Some(chain);
            number += 1;
            logical = SEGMENT_HEADER;
        }
    }

    /// Checks the chain of a segment from its start to the batch that holds this place: what the entry there says of itself
    /// is what was written. Reads that part of the segment, so it is for answers that something is gone.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] naming the place, [`JournalError::NoEntry`] when no durable batch holds it,
    /// [`JournalError::Io`].
    pub fn check_at(&self, place: Place) -> Result<(), JournalError> {
        let mut held = false;
        self.scan(Place { segment: place.segment, offset: 0 }, |batch| {
            held = batch.end.place() > place;
            Ok(if held { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if held { Ok(()) } else { Err(JournalError::NoEntry(place)) }
    }

    /// Whether this position is in the journal: a batch (or a segment) ends there with this very chain hash.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when the segment's header is, [`JournalError::Io`].
    pub fn holds(&self, position: &Position) -> Result<bool, JournalError> {
        let durable = self.inner.shared.durable();
        if position.segment < self.first() || position.segment > durable.0.saturating_add(1) {
            return Ok(false);
        }
        if (position.segment, position.offset) > durable && position.offset != SEGMENT_HEADER {
            return Ok(false);
        }
        let segment = match self.segment(position.segment) {
            Err(JournalError::Damaged(damage)) if damage.offset == 0 => return Ok(false),
            other => other?,
        };
        let Some(physical) = segment.physical(position.offset) else { return Ok(false) };
        Ok(chain_before(&segment, position.offset, physical)? == Some(position.chain))
    }

    /// Checks everything that is durable, from the first segment on, and tells every damaged place. Goes on behind
    /// damage where it can.
    ///
    /// # Errors
    /// Only when the files cannot be read at all.
    pub fn verify(&self) -> Result<VerifyReport, JournalError> {
        self.verify_while(|| true)
    }

    /// [`JournalReader::verify`], segment by segment as long as `goes_on` says so.
    ///
    /// # Errors
    /// Only when the files cannot be read at all.
    pub fn verify_while(&self, mut goes_on: impl FnMut() -> bool) -> Result<VerifyReport, JournalError> {
        let durable = self.inner.shared.durable();
        let mut report = VerifyReport::default();
        let mut chain = None;
        for number in self.first()..=durable.0 {
            if !goes_on() {
                break;
            }
            // Not the cached handle: what counts is what a fresh start would see.
            let segment = match Segment::open(&self.inner.dir, number) {
                Ok(segment) => segment,
                Err(JournalError::Damaged(damage)) => {
                    // An open segment that was never needed has no file yet.
                    if (number, SEGMENT_HEADER) < durable {
                        report.damages.push(damage);
                    }
                    chain = None;
                    continue;
                }
                Err(error) => return Err(error),
            };
            report.segments += 1;
            if chain.is_some_and(|chain| chain != segment.header.chain) {
                report.damages.push(Damage {
                    segment: number,
                    offset: 0,
                    what: "the segment does not continue the one before",
                });
            }
            let mut bytes = segment.read_all()?;
            if number == durable.0 {
                bytes.truncate(durable.1 as usize);
            }
            chain = verify_segment(&segment, &bytes, number == durable.0, &mut report);
        }
        Ok(report)
    }
}

/// Gives the chain hash at the segment's end, if it could be followed so far.
fn verify_segment(segment: &Segment, bytes: &[u8], last: bool, report: &mut VerifyReport) -> Option<[u8; 32]> {
    let header = &segment.header;
    let (mut physical, mut logical, mut chain) = (SEGMENT_HEADER as usize, SEGMENT_HEADER, header.chain);
    loop {
        let walked = walk(bytes, header, physical, logical, chain, &mut |view| {
            report.batches += 1;
            report.entries += u64::from(view.len);
            report.dropped += view.entries().filter(|entry| entry.bytes().is_none()).count() as u64;
            Ok(())
        });
        let Ok(end) = walked else { return None };
        let rest = bytes.get(end.physical..).unwrap_or_default();
        if rest.is_empty() || (!last && rest.iter().all(|byte| *byte == 0)) {
            return Some(end.chain);
        }
        report.damages.push(Damage { segment: header.segment, offset: end.logical, what: end.fault });
        let (next_physical, next_logical) = resume(segment, bytes, end.physical)?;
        physical = next_physical;
        logical = next_logical;
        let trailer = bytes.get(physical - BATCH_TRAILER as usize..physical)?;
        chain = decode_trailer(trailer)?;
    }
}

/// The next place behind `after` at which a batch header stands.
fn resume(segment: &Segment, bytes: &[u8], after: usize) -> Option<(usize, u32)> {
    let stands = |physical: usize, logical: u32| {
        BatchHeader::decode(bytes.get(physical..).unwrap_or_default(), &segment.header, logical).is_some()
    };
    match &segment.index {
        None => header_candidates(bytes.get(after + 1..)?)
            .map(|found| found + after + 1)
            .find(|found| stands(*found, *found as u32))
            .map(|found| (found, found as u32)),
        Some(pairs) => pairs
            .iter()
            .filter(|(_, physical)| *physical as usize > after)
            .find(|(logical, physical)| stands(*physical as usize, *logical))
            .map(|(logical, physical)| (*physical as usize, *logical)),
    }
}

/// Where a walk through a segment's bytes ended, and what stood in its way there.
#[derive(Debug)]
pub(super) struct WalkEnd {
    pub physical: usize,
    pub logical: u32,
    pub chain: [u8; 32],
    /// Why what follows is no batch; the end of the batches is also "no batch".
    pub fault: Fault,
}

/// Hands each batch to `visit`, verified, until something follows that is none.
pub(super) fn walk(
    bytes: &[u8],
    segment: &SegmentHeader,
    mut physical: usize,
    mut logical: u32,
    mut chain: [u8; 32],
    visit: &mut dyn FnMut(&BatchView<'_>) -> Result<(), JournalError>,
) -> Result<WalkEnd, JournalError> {
    loop {
        let frame = bytes.get(physical..).unwrap_or_default();
        match check_batch(frame, segment, logical, &chain) {
            Err(fault) => return Ok(WalkEnd { physical, logical, chain, fault }),
            Ok((header, after, length)) => {
                let view = BatchView::new(&header, segment, logical, after, frame);
                visit(&view)?;
                physical += length;
                logical = view.end.offset;
                chain = after;
            }
        }
    }
}

/// The chain hash before the batch at this offset; `None` when no batch can begin there.
pub(super) fn chain_before(segment: &Segment, logical: u32, physical: u32) -> Result<Option<[u8; 32]>, JournalError> {
    if logical == SEGMENT_HEADER {
        return Ok(Some(segment.header.chain));
    }
    let Some(at) = physical.checked_sub(BATCH_TRAILER).filter(|at| *at >= SEGMENT_HEADER) else { return Ok(None) };
    let trailer =
        read_up_to(&segment.file, at, BATCH_TRAILER as usize).map_err(JournalError::io("read", segment.number()))?;
    Ok(decode_trailer(&trailer))
}

fn read_frame(segment: &Segment, physical: u32, logical: u32) -> Result<Vec<u8>, JournalError> {
    let number = segment.number();
    let io = JournalError::io("read", number);
    let head = read_up_to(&segment.file, physical, FIRST_READ).map_err(&io)?;
    let header = BatchHeader::decode(&head, &segment.header, logical).ok_or(JournalError::damaged(
        number,
        logical,
        "a batch's header does not match its checksum",
    ))?;
    let length = BATCH_HEADER as usize + header.stored_len as usize + BATCH_TRAILER as usize;
    if length <= head.len() {
        return Ok(head);
    }
    let frame = read_up_to(&segment.file, physical, length).map_err(&io)?;
    if frame.len() < length {
        return Err(JournalError::damaged(number, logical, "a batch is cut short"));
    }
    Ok(frame)
}
