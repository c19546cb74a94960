//! Dropping content for good while the chain, and every place, stays what it was.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use super::format::{BatchHeader, EntryHead, SEGMENT_HEADER, SegmentHeader, encode_index, encode_trailer};
use super::read::walk;
use super::segment::{self, Segment};
use super::{EntryView, JournalError, JournalReader, Payload};
use crate::disk;

/// What a rewrite did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Bytes of the file before.
    pub bytes_before: u64,
    /// Bytes of the file after.
    pub bytes_after: u64,
    /// Entries whose content is still there.
    pub kept: u64,
    /// Entries whose content was dropped now.
    pub dropped: u64,
}

impl JournalReader {
    /// Writes the segment anew without the content of the entries that `keep` says no to. Heads and digests stay, the
    /// chain verifies as before, and every place still answers: a dropped entry reads as having no payload.
    ///
    /// Crash-safe: until the new file is whole and synced the old one stands. The old file's blocks are given back to
    /// the file system as they are, so what must be unreadable has to be sealed under a key that is destroyed.
    ///
    /// # Errors
    /// [`JournalError::StillOpen`] for the segment being written, [`JournalError::Damaged`] when the segment does not
    /// verify (it is left as it is), [`JournalError::NoSpace`] and [`JournalError::Io`] with the old file in place.
    pub fn rewrite(
        &self,
        number: u32,
        mut keep: impl FnMut(&EntryView<'_>) -> bool,
    ) -> Result<Rewritten, JournalError> {
        let _one_at_a_time = self.lock_rewriting();
        if number >= self.durable().segment {
            return Err(JournalError::StillOpen(number));
        }
        let old = Segment::open(self.dir(), number)?;
        let expected_end = self.segment(number + 1)?.header.chain;
        let io = JournalError::io("rewrite", number);
        let mut result = Rewritten { bytes_before: old.file.metadata().map_err(&io)?.len(), ..Rewritten::default() };

        let bytes = old.read_all()?;
        let mut out = vec![0; SEGMENT_HEADER as usize];
        let mut index = Vec::new();
        let end = walk(&bytes, &old.header, SEGMENT_HEADER as usize, SEGMENT_HEADER, old.header.chain, &mut |batch| {
            let mut body = Vec::new();
            let mut places = Vec::new();
            for entry in batch.raw_entries() {
                let (head, view) = entry.map_err(|what| JournalError::damaged(number, batch.start.offset, what))?;
                places.push((view.place.offset, body.len()));
                put_entry(&head, &view, &mut keep, &mut body, &mut result);
            }
            let header = BatchHeader {
                logical_len: batch.end.offset - batch.start.offset - super::format::BATCH_OVERHEAD,
                stored_len: fits(body.len(), number)?,
                entries: batch.len,
                time_micros: batch.time_micros,
                durable: (number, SEGMENT_HEADER),
            };
            index.push((batch.start.offset, fits(out.len(), number)?));
            out.extend_from_slice(&header.encode(&old.header, batch.start.offset));
            for (logical, at) in places {
                index.push((logical, fits(out.len() + at, number)?));
            }
            out.extend_from_slice(&body);
            encode_trailer(&batch.end.chain, &mut out);
            Ok(())
        })?;
        if end.chain != expected_end {
            return Err(JournalError::damaged(number, end.logical, end.fault));
        }
        // The end of the last batch is a place to go on from, too.
        index.push((end.logical, fits(out.len(), number)?));
        let header = SegmentHeader { index: Some(fits(out.len(), number)?), ..old.header };
        out[..SEGMENT_HEADER as usize].copy_from_slice(&header.encode());
        encode_index(&index, &mut out);
        result.bytes_after = out.len() as u64;

        let target = segment::path(self.dir(), number);
        let draft = disk::unfinished(&target);
        let write = || {
            let mut file =
                OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&out)?;
            file.sync_all()?;
            disk::publish(&draft, &target)?;
            Ok(file)
        };
        let file = write().map_err(|error| {
            // Left-overs are also removed at the next start.
            let _ = std::fs::remove_file(&draft);
            io(error)
        })?;
        self.add(Arc::new(Segment { file, header, index: Some(index) }));
        Ok(result)
    }
}

fn put_entry(
    head: &EntryHead,
    view: &EntryView<'_>,
    keep: &mut impl FnMut(&EntryView<'_>) -> bool,
    body: &mut Vec<u8>,
    result: &mut Rewritten,
) {
    match view.payload {
        Payload::Bytes(bytes) if keep(view) => {
            head.encode(body);
            body.extend_from_slice(bytes);
            result.kept += 1;
        }
        Payload::Bytes(bytes) => {
            EntryHead { dropped: true, ..*head }.encode(body);
            body.extend_from_slice(blake3::hash(bytes).as_bytes());
            result.dropped += 1;
        }
        Payload::Dropped { digest, .. } => {
            head.encode(body);
            body.extend_from_slice(&digest);
        }
    }
}

fn fits(length: usize, segment: u32) -> Result<u32, JournalError> {
    u32::try_from(length).map_err(|_| JournalError::damaged(segment, 0, "the segment is larger than an offset reaches"))
}
