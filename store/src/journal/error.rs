//! What can go wrong with the journal, by what the caller would do about it.

use std::io;

use onefold_core::ids::Place;

use crate::disk;

/// A fault of a visitor, handed through.
pub type VisitError = Box<dyn std::error::Error + Send + Sync>;

/// A place where the journal is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which segment.
    pub segment: u32,
    /// Offset of the damaged batch (or 0 for the segment's header), as first written.
    pub offset: u32,
    /// What does not fit.
    pub what: &'static str,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "journal segment {} is damaged at offset {}: {}", self.segment, self.offset, self.what)
    }
}

/// A journal operation failed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk, or the quota, is full. Nothing has changed; it works again once there is room.
    #[error("no space left for the journal")]
    NoSpace,
    /// A read or write failed.
    #[error("the journal failed to {doing} segment {segment}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which segment; 0 for the directory.
        segment: u32,
        /// Why it failed.
        source: io::Error,
    },
    /// What was synced is not what is there. Nothing was cut or changed.
    #[error("{0}")]
    Damaged(Damage),
    /// The journal does not hold a position that it is known to have reached: it was cut, or another one was put here.
    #[error("the journal does not hold segment {segment}, offset {offset}, which it is known to have reached")]
    Short {
        /// Segment of the position.
        segment: u32,
        /// Offset of the position.
        offset: u32,
    },
    /// Written by a newer release.
    #[error("journal segment {segment} is of format {version}, this release reads up to {known}", known = super::format::VERSION)]
    Newer {
        /// Which segment.
        segment: u32,
        /// Its format.
        version: u16,
    },
    /// A write or sync failed earlier. What is on disk is unknown until the journal is opened again.
    #[error("the journal stopped after a failed write or sync; open it again")]
    Poisoned,
    /// An entry or batch is larger than a segment can hold.
    #[error("{bytes} bytes do not fit: there is room for {max}")]
    TooLarge {
        /// Asked for.
        bytes: u64,
        /// There is.
        max: u64,
    },
    /// Batches were sealed or written in another order than they were begun: a fault of the program.
    #[error("a batch was handed over out of order")]
    OutOfOrder,
    /// There is no entry (or no batch, when one was asked for) at this place.
    #[error("there is no entry at segment {}, offset {}", .0.segment, .0.offset)]
    NoEntry(Place),
    /// The segment is still being written and cannot be rewritten.
    #[error("segment {0} is still being written")]
    StillOpen(u32),
    /// The visitor refused a batch.
    #[error("a journal entry could not be taken in: {0}")]
    Visitor(#[source] VisitError),
}

impl JournalError {
    /// Turns an I/O error into the variant that the caller would act on.
    pub(super) fn io(doing: &'static str, segment: u32) -> impl Fn(io::Error) -> Self {
        move |source| if disk::is_no_space(&source) { Self::NoSpace } else { Self::Io { doing, segment, source } }
    }

    pub(super) const fn damaged(segment: u32, offset: u32, what: &'static str) -> Self {
        Self::Damaged(Damage { segment, offset, what })
    }
}
