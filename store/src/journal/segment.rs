//! One segment's file: creating it whole, finding it, reading it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::JournalError;
use super::format::{self, Durable, HeaderFault, SEGMENT_HEADER, SegmentHeader};
use crate::disk;

/// A segment's file with its header, and the places index when it was rewritten.
#[derive(Debug)]
pub struct Segment {
    pub file: File,
    pub header: SegmentHeader,
    /// Sorted (logical, physical) offsets; `None` when offsets are as first written.
    pub index: Option<Vec<(u32, u32)>>,
}

/// What appender, writer and readers tell each other.
#[derive(Debug)]
pub struct Shared {
    /// The first segment that is kept.
    first: AtomicU32,
    durable: AtomicU64,
    poisoned: AtomicBool,
}

impl Shared {
    pub fn new(first: u32, durable: Durable) -> Self {
        let (first, durable) = (AtomicU32::new(first), AtomicU64::new(pack(durable)));
        Self { first, durable, poisoned: AtomicBool::new(false) }
    }

    pub fn first(&self) -> u32 {
        self.first.load(Ordering::Acquire)
    }

    pub fn set_first(&self, first: u32) {
        self.first.store(first, Ordering::Release);
    }

    pub fn durable(&self) -> Durable {
        let packed = self.durable.load(Ordering::Acquire);
        ((packed >> 32) as u32, packed as u32)
    }

    pub fn set_durable(&self, durable: Durable) {
        self.durable.store(pack(durable), Ordering::Release);
    }

    pub fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    pub fn check(&self) -> Result<(), JournalError> {
        if self.poisoned.load(Ordering::Acquire) { Err(JournalError::Poisoned) } else { Ok(()) }
    }
}

fn pack((segment, offset): Durable) -> u64 {
    u64::from(segment) << 32 | u64::from(offset)
}

pub fn path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("{segment:010}.seg"))
}

/// The segment numbers in the directory, ascending. Other names are an error: nobody else writes here.
pub fn list(dir: &Path) -> Result<Vec<u32>, JournalError> {
    let io = JournalError::io("list", 0);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(&io)? {
        let name = entry.map_err(&io)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|digits| digits.parse().ok());
        if let Some(number) = number {
            found.push(number);
        }
    }
    found.sort_unstable();
    Ok(found)
}

impl Segment {
    /// Creates the segment whole: reserved, headed, synced, and only then named.
    pub fn create(dir: &Path, header: SegmentHeader, bytes: u32) -> Result<Self, JournalError> {
        let io = JournalError::io("create", header.segment);
        let (target, draft) = (path(dir, header.segment), disk::unfinished(&path(dir, header.segment)));
        let make = || {
            let file =
                OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            disk::preallocate(&file, u64::from(bytes))?;
            file.write_all_at(&header.encode(), 0)?;
            file.sync_all()?;
            disk::publish(&draft, &target)?;
            Ok(file)
        };
        match make() {
            Ok(file) => Ok(Self { file, header, index: None }),
            Err(error) => {
                // What cannot be removed now is removed at the next start. The target stays if it got its name: it
                // holds no batch, so the next attempt replaces it and a start takes it for the empty tail it is.
                let _ = fs::remove_file(&draft);
                Err(io(error))
            }
        }
    }

    /// Opens a segment and checks its header and index.
    pub fn open(dir: &Path, segment: u32) -> Result<Self, JournalError> {
        let io = JournalError::io("open", segment);
        let file = match OpenOptions::new().read(true).write(true).open(path(dir, segment)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(JournalError::damaged(segment, 0, "the segment is missing"));
            }
            other => other.map_err(&io)?,
        };
        let head = read_up_to(&file, 0, SEGMENT_HEADER as usize).map_err(&io)?;
        let header = SegmentHeader::decode(&head, segment).map_err(|fault| match fault {
            HeaderFault::Newer(version) => JournalError::Newer { segment, version },
            HeaderFault::Damaged(what) => JournalError::damaged(segment, 0, what),
        })?;
        let index = match header.index {
            None => None,
            Some(at) => {
                let bytes = read_up_to(&file, at, usize::MAX).map_err(&io)?;
                let pairs = format::decode_index(&bytes).map_err(|what| JournalError::damaged(segment, at, what))?;
                Some(pairs)
            }
        };
        Ok(Self { file, header, index })
    }

    pub fn number(&self) -> u32 {
        self.header.segment
    }

    /// The whole file, without the index of a rewritten one.
    pub fn read_all(&self) -> Result<Vec<u8>, JournalError> {
        let io = JournalError::io("read", self.number());
        let end = self.header.index.map_or(usize::MAX, |at| at as usize);
        read_up_to(&self.file, 0, end).map_err(&io)
    }

    /// Where the frame or entry with this logical offset lies.
    pub fn physical(&self, logical: u32) -> Option<u32> {
        match &self.index {
            None => Some(logical),
            Some(pairs) => {
                pairs.binary_search_by_key(&logical, |(logical, _)| *logical).ok().map(|found| pairs[found].1)
            }
        }
    }
}

/// Memory for so much is asked for without a look at how long the file is.
const UNASKED_BYTES: usize = 1 << 20;

/// Reads up to `length` bytes; fewer only at the end of the file. The length may come from the file itself: anybody who can
/// write a segment can write its checksums too, so no more memory is taken than the file can fill.
pub fn read_up_to(file: &File, offset: u32, length: usize) -> std::io::Result<Vec<u8>> {
    let length = if length <= UNASKED_BYTES {
        length
    } else {
        let there = file.metadata()?.len().saturating_sub(u64::from(offset));
        length.min(usize::try_from(there).unwrap_or(usize::MAX))
    };
    let mut bytes = vec![0; length];
    let mut done = 0;
    while done < length {
        match file.read_at(&mut bytes[done..], u64::from(offset) + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}
