//! Opening: verify, stream, cut a torn tail, go on in a new segment.

use std::fs;
use std::sync::Arc;

use super::format::{BATCH_HEADER, BATCH_TRAILER, BatchHeader, Durable, SEGMENT_HEADER, header_candidates};
use super::read::{WalkEnd, chain_before, walk};
use super::segment::{self, Segment, Shared};
use super::{Appender, BatchView, JournalError, JournalOptions, JournalReader, Position, VisitError, Writer};
use crate::disk;

/// The smallest piece that a disk writes whole.
const SECTOR: usize = 512;

/// The journal of one data directory.
#[derive(Debug)]
pub struct Journal;

/// An open journal's three hands, and what was found.
#[derive(Debug)]
pub struct Opened {
    /// For the lane.
    pub appender: Appender,
    /// For the writing thread.
    pub writer: Writer,
    /// For everyone.
    pub reader: JournalReader,
    /// What was found.
    pub report: OpenReport,
}

/// What opening found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// The end of the journal.
    pub end: Position,
    /// Batches streamed.
    pub batches: u64,
    /// Entries in them.
    pub entries: u64,
    /// A torn tail that was removed; nothing in it was ever acknowledged.
    pub cut: Option<Cut>,
}

/// A torn tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Segment in which it began.
    pub segment: u32,
    /// Offset at which it began.
    pub offset: u32,
    /// What the first torn batch looked like.
    pub what: &'static str,
}

impl Journal {
    /// Opens the journal, or creates it where the directory is empty.
    ///
    /// Every batch after `from` (after the very beginning when `None`) is verified and handed to `visit` in order;
    /// `from` must be a position that was durable, such as a checkpoint's. Then a torn tail is cut, what remains is
    /// synced and counts as acknowledged, and a new segment is opened, so no place and no nonce is ever used twice. When
    /// the disk is full the journal opens all the same, and the segment waits for [`Appender::ensure_room`].
    ///
    /// # Errors
    /// [`JournalError::Damaged`] for damage to what was durable (nothing is changed then), [`JournalError::Short`] when
    /// `from` is not in the journal, [`JournalError::Newer`], [`JournalError::Visitor`] when `visit` refuses a batch,
    /// [`JournalError::Io`].
    pub fn open(
        options: JournalOptions,
        from: Option<&Position>,
        visit: impl FnMut(&BatchView<'_>) -> Result<(), VisitError>,
    ) -> Result<Opened, JournalError> {
        Self::open_at(options, false, from, visit)
    }

    /// [`Journal::open`] for a journal whose first segments may have been dropped ([`JournalReader::forget_before`]):
    /// whatever segment it begins with is its first. Whether it may begin there is its owner's to know.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_kept(
        options: JournalOptions,
        from: Option<&Position>,
        visit: impl FnMut(&BatchView<'_>) -> Result<(), VisitError>,
    ) -> Result<Opened, JournalError> {
        Self::open_at(options, true, from, visit)
    }

    fn open_at(
        options: JournalOptions,
        shortened: bool,
        from: Option<&Position>,
        mut visit: impl FnMut(&BatchView<'_>) -> Result<(), VisitError>,
    ) -> Result<Opened, JournalError> {
        let dir_io = JournalError::io("open", 0);
        fs::create_dir_all(&options.dir).map_err(&dir_io)?;
        disk::remove_unfinished(&options.dir).map_err(&dir_io)?;
        let numbers = segment::list(&options.dir)?;
        let kept = numbers.first().copied().filter(|_| shortened).unwrap_or(1);
        for (expected, number) in (kept..).zip(&numbers) {
            if expected != *number {
                return Err(JournalError::damaged(expected, 0, "the segment is missing"));
            }
        }
        let last = numbers.last().copied().unwrap_or(0);
        let first = from.map_or(kept, |from| from.segment);
        let (mut batches, mut entries) = (0, 0);
        let mut seen = |view: &BatchView<'_>| {
            visit(view).map_err(JournalError::Visitor)?;
            batches += 1;
            entries += u64::from(view.len);
            Ok(())
        };
        let found = match (last, from) {
            (0, None) => None,
            (0, Some(from)) => return Err(short(from)),
            (_, Some(from)) if from.segment > last || from.segment < kept => return Err(short(from)),
            _ => Some(replay(&options, first, last, from, &mut seen)?),
        };
        let end = match &found {
            None => {
                let mut chain = [0; 32];
                disk::random(&mut chain).map_err(&dir_io)?;
                Position { segment: 1, offset: SEGMENT_HEADER, chain }
            }
            Some(found) => settle(&options, first, last, found)?,
        };
        let cut = found.and_then(|found| found.cut);

        let number = if end.offset == SEGMENT_HEADER { end.segment } else { end.segment + 1 };
        let closed_bytes = bytes_before(&options, kept, number)?;
        let shared = Arc::new(Shared::new(kept, (end.segment, end.offset)));
        let reader = JournalReader::new(options.dir.clone(), Arc::clone(&shared));
        let mut appender = Appender::new(options, Arc::clone(&shared), reader.clone(), number, end.chain, closed_bytes);
        match appender.open_segment(number, 0) {
            Ok(()) | Err(JournalError::NoSpace) => {}
            Err(error) => return Err(error),
        }
        let writer = Writer::new(shared, end);
        Ok(Opened { appender, writer, reader, report: OpenReport { end, batches, entries, cut } })
    }
}

/// Bytes of the files of all segments before this one.
fn bytes_before(options: &JournalOptions, first: u32, number: u32) -> Result<u64, JournalError> {
    (first..number)
        .map(|before| fs::metadata(segment::path(&options.dir, before)).map(|file| file.len()))
        .sum::<std::io::Result<u64>>()
        .map_err(JournalError::io("open", 0))
}

const fn short(from: &Position) -> JournalError {
    JournalError::Short { segment: from.segment, offset: from.offset }
}

/// How far the journal is whole.
#[derive(Debug)]
struct Found {
    end: Position,
    cut: Option<Cut>,
}

fn replay(
    options: &JournalOptions,
    first: u32,
    last: u32,
    from: Option<&Position>,
    seen: &mut dyn FnMut(&BatchView<'_>) -> Result<(), JournalError>,
) -> Result<Found, JournalError> {
    let mut segment = Segment::open(&options.dir, first)?;
    let (mut logical, mut physical) = (SEGMENT_HEADER, SEGMENT_HEADER);
    let mut chain = segment.header.chain;
    if let Some(from) = from {
        physical = segment.physical(from.offset).ok_or(short(from))?;
        if chain_before(&segment, from.offset, physical)? != Some(from.chain) {
            return Err(short(from));
        }
        (logical, chain) = (from.offset, from.chain);
    }
    loop {
        let number = segment.number();
        let bytes = segment.read_all()?;
        let end = walk(&bytes, &segment.header, physical as usize, logical, chain, seen)?;
        let next = if number < last { Some(Segment::open(&options.dir, number + 1)?) } else { None };
        let here = Position { segment: number, offset: end.logical, chain: end.chain };
        match next {
            Some(next) if next.header.chain == end.chain => {
                // Behind the last batch there is reserved room, or the file's end. Whatever else stands there is none of ours.
                if bytes.get(end.physical..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0)) {
                    return Err(JournalError::damaged(number, end.logical, end.fault));
                }
                (logical, physical, chain) = (SEGMENT_HEADER, SEGMENT_HEADER, end.chain);
                segment = next;
            }
            next => {
                let cut = judge_tail(options, &segment, &bytes, &end, next.is_some(), last)?;
                return Ok(Found { end: here, cut });
            }
        }
    }
}

/// Decides what follows the last whole batch: nothing, a torn tail, or damage (see the journal's text).
fn judge_tail(
    options: &JournalOptions,
    segment: &Segment,
    bytes: &[u8],
    end: &WalkEnd,
    more_segments: bool,
    last: u32,
) -> Result<Option<Cut>, JournalError> {
    let number = segment.number();
    let damaged = || JournalError::damaged(number, end.logical, end.fault);
    if segment.index.is_some() {
        // Only durable segments are rewritten, so nothing in them can be torn.
        return if end.physical == bytes.len() && !more_segments { Ok(None) } else { Err(damaged()) };
    }
    let here = (number, end.logical);
    let rest = bytes.get(end.physical..).unwrap_or_default();
    if says_durable(&segment.header, bytes, end.physical + 1, here) {
        return Err(damaged());
    }
    for later in number + 1..=last {
        let later = Segment::open(&options.dir, later)?;
        let content = later.read_all()?;
        if later.header.durable > here || says_durable(&later.header, &content, SEGMENT_HEADER as usize, here) {
            return Err(damaged());
        }
    }
    if rest.iter().all(|byte| *byte == 0) {
        let cut = Cut { segment: number, offset: end.logical, what: "a batch was not written before the crash" };
        return Ok(more_segments.then_some(cut));
    }
    if is_torn(rest, segment, end.logical, end.physical) {
        return Ok(Some(Cut { segment: number, offset: end.logical, what: end.fault }));
    }
    Err(damaged())
}

/// Whether any batch header at or behind `start` says that something behind `here` was durable when it was written.
fn says_durable(header: &super::format::SegmentHeader, bytes: &[u8], start: usize, here: Durable) -> bool {
    let Some(rest) = bytes.get(start..) else { return false };
    header_candidates(rest).any(|found| {
        let at = start + found;
        BatchHeader::decode(&bytes[at..], header, at as u32).is_some_and(|batch| batch.durable > here)
    })
}

/// Whether a batch whose sums do not match was never written whole: a sector of it is blank or beyond the file's end,
/// or one of its marks is.
fn is_torn(rest: &[u8], segment: &Segment, logical: u32, physical: usize) -> bool {
    let header_len = BATCH_HEADER as usize;
    if rest.get(header_len - 1).is_none_or(|mark| *mark == 0) || blank_sector(&rest[..header_len], physical) {
        return true;
    }
    match BatchHeader::decode(rest, &segment.header, logical) {
        // The header's sectors were all written, and it is wrong.
        None => false,
        Some(header) => {
            let end = header_len + header.stored_len as usize + BATCH_TRAILER as usize;
            match rest.get(..end) {
                None => true,
                Some(frame) => frame.last() == Some(&0) || blank_sector(frame, physical),
            }
        }
    }
}

/// Whether one of the sectors that these bytes lie in holds nothing of them. `physical`: their offset in the file.
fn blank_sector(bytes: &[u8], physical: usize) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        let next = (at + SECTOR - (physical + at) % SECTOR).min(bytes.len());
        if bytes[at..next].iter().all(|byte| *byte == 0) {
            return true;
        }
        at = next;
    }
    false
}

/// Makes the files say what was found: later segments, a torn tail and reserved space go, the rest is synced.
fn settle(options: &JournalOptions, first: u32, last: u32, found: &Found) -> Result<Position, JournalError> {
    let end = found.end;
    let io = JournalError::io("mend", end.segment);
    // From the last to the first, so that a crash in between leaves the same torn tail.
    for number in (end.segment + 1..=last).rev() {
        fs::remove_file(segment::path(&options.dir, number)).map_err(&io)?;
        disk::sync_dir(&options.dir).map_err(&io)?;
    }
    for number in first..=end.segment {
        let segment = Segment::open(&options.dir, number)?;
        if number == end.segment && segment.index.is_none() {
            segment.file.set_len(u64::from(end.offset)).map_err(&io)?;
        }
        // A killed process leaves its writes in the page cache: what was read counts only once it is on the disk.
        segment.file.sync_all().map_err(&io)?;
    }
    // An empty last segment stays until the appender puts one with a new salt in its place.
    Ok(end)
}
