//! Ground: every decision in one order, appended, chained by digests, acknowledged after one data sync.
//!
//! - [`Appender`] belongs to the commit lane. It builds batches in memory; the place of every entry is known before
//!   anything is written. The only time it touches the disk is when it opens a new segment, whole and preallocated, so a
//!   full disk shows before anything is decided.
//! - [`Writer`] belongs to whoever writes: one write per batch, one data sync per group commit.
//! - [`JournalReader`] reads entries by place and batches in order, from any thread.
//! - [`Journal::open`] verifies, streams and mends; [`JournalReader::verify`] checks everything again on demand.
//!
//! # A torn tail, or damage?
//! What a crash may leave is a batch that was never acknowledged, half written: it is cut. What the crash cannot have
//! done is damage to what was synced: that is an error which names segment and offset, and nothing is cut. They are told
//! apart so:
//!
//! 1. Every batch and every segment header carries `durable`, the end of what was synced when it was written. If
//!    anything after the faulty place says that the place was durable, it is damage. So damage to all but the last
//!    group commit is always found, and a group that was written but not synced may be lost in any order.
//! 2. In the last group nothing follows. A new segment is zeroes, so what was never written still is zeroes or lies
//!    beyond the end of the file: if a 512-byte sector of the batch is blank, or its last byte (a mark that is never
//!    zero), or the header's last byte, the batch was torn. If every sector was written and yet the sums do not match,
//!    it is damage.
//! 3. At every start the old tail is closed and a new segment opened whose header says that all before it is durable.
//!
//! What remains undecidable is a whole sector of the very last group commit turning to zeroes on the medium before the
//! next batch or the next start; a caller that knows a later position (a checkpoint, sled) still finds it, by
//! [`JournalError::Short`].
//!
//! # Rewriting
//! [`JournalReader::rewrite`] drops the payloads of entries and keeps heads and digests, so the chain still verifies. Places
//! stay what they were: the rewritten file carries an index from old offsets to new ones.

mod append;
mod error;
mod format;
mod open;
mod read;
mod rewrite;
mod segment;
mod write;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use onefold_core::ids::{Place, Sequence, TenantId};
use serde::{Deserialize, Serialize};

pub use append::{Appender, BatchBuilder, SealedBatch, batch_room, entry_room};
pub use error::{Damage, JournalError, VisitError};
pub use open::{Cut, Journal, OpenReport, Opened};
pub use read::{BatchView, JournalReader, VerifyReport};
pub use rewrite::Rewritten;
pub use write::Writer;

use crate::seal::SealContext;

/// What an entry is. The journal gives no meaning to the number; the caller never re-uses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryKind(pub u8);

/// The end of a batch: where the next one begins, and the chain up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Segment number, from 1.
    pub segment: u32,
    /// Offset behind the batch.
    pub offset: u32,
    /// Chain hash after the batch.
    pub chain: [u8; 32],
}

impl Position {
    /// Whether this position lies behind the other in the order of events. A segment's end and the next one's start
    /// have one chain hash, and neither is behind the other.
    #[must_use]
    pub fn is_after(&self, other: &Self) -> bool {
        self.chain != other.chain && (self.segment, self.offset) > (other.segment, other.offset)
    }

    /// Where the next batch begins, without the chain.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place { segment: self.segment, offset: self.offset }
    }
}

/// How the journal lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// Where the segments are.
    pub dir: PathBuf,
    /// The most bytes of a segment, up to 4 GiB - 1. A batch must fit into one. A segment's bytes are reserved when it is
    /// opened; a young journal opens smaller ones, so that little is reserved for nothing.
    pub segment_bytes: u32,
}

impl JournalOptions {
    /// Segments of up to 64 MiB in this directory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), segment_bytes: 64 << 20 }
    }
}

/// An entry's content as it lies in the journal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// There.
    Bytes(&'a [u8]),
    /// Dropped by a rewrite.
    Dropped {
        /// How long it was.
        bytes: u32,
        /// blake3 of what it was.
        digest: [u8; 32],
    },
}

impl std::fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Dropped { bytes, .. } => write!(f, "Dropped({bytes})"),
        }
    }
}

/// An entry inside a batch that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryView<'a> {
    /// Where it lies.
    pub place: Place,
    /// What it is.
    pub kind: EntryKind,
    /// Whose.
    pub tenant: TenantId,
    /// Its number in the tenant's order of events.
    pub sequence: Sequence,
    /// Its content.
    pub payload: Payload<'a>,
    salt: [u8; 16],
}

impl<'a> EntryView<'a> {
    /// The content; `None` when it was dropped.
    #[must_use]
    pub const fn bytes(&self) -> Option<&'a [u8]> {
        match self.payload {
            Payload::Bytes(bytes) => Some(bytes),
            Payload::Dropped { .. } => None,
        }
    }

    /// What is needed to open its sealed parts.
    #[must_use]
    pub const fn seal_context(&self) -> SealContext {
        SealContext {
            salt: self.salt,
            place: self.place,
            tenant: self.tenant,
            sequence: self.sequence,
            kind: self.kind,
        }
    }
}

/// An entry that was read by its place.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it lies, whose it is, its sequence and kind; opens its sealed parts.
    pub context: SealContext,
    /// Its content; `None` when it was dropped.
    pub payload: Option<Vec<u8>>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.payload.as_ref().map(Vec::len);
        f.debug_struct("Entry").field("context", &self.context).field("payload_bytes", &bytes).finish()
    }
}
