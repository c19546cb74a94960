//! The bytes of a segment.
//!
//! ```text
//! segment = header (88) · batch* · zeroes up to the preallocated length
//!           a rewritten one: header · batch* · places index
//! header  = magic 8 · version u16 · flags u16 · segment u32 · salt 16 · chain 32 · durable (u32, u32) · index u32 · 0 u32 · checksum 8
//! batch   = magic 4 · logical length u32 · stored length u32 · entries u32 · time i64 · durable (u32, u32) · checksum 7 · 0xA7
//!           entry* · chain 32 · 0xE5
//! entry   = payload length varint · kind u8 · flags u8 · tenant varint · sequence varint · check u8 · payload
//!           a dropped one has 32 bytes of digest in the place of its payload
//! chain   = blake3(previous chain · for each entry (kind · tenant · sequence · length · blake3(payload)) · length · count · time)
//! ```
//! Numbers are little-endian; varints are LEB128. `durable` is the end of what was known to be synced when the batch was
//! written; it is no part of the chain. Offsets are *logical*: those of the segment as first written, which its
//! rewritten form keeps answering to.

use onefold_core::ids::{Place, Sequence, TenantId};

use super::{EntryKind, EntryView, Payload};

/// Bytes of a segment's header, and the offset of its first batch.
pub const SEGMENT_HEADER: u32 = 88;
/// Bytes of a batch's header.
pub const BATCH_HEADER: u32 = 40;
/// Bytes after a batch's entries.
pub const BATCH_TRAILER: u32 = 33;
/// What a batch costs beside its entries.
pub const BATCH_OVERHEAD: u32 = BATCH_HEADER + BATCH_TRAILER;
/// The most that an entry costs beside its payload.
pub const ENTRY_OVERHEAD_MAX: u32 = 5 + 1 + 1 + 5 + 10 + 1;
/// The version of this format.
pub const VERSION: u16 = 1;

const SEGMENT_MAGIC: &[u8; 8] = b"1FOLDJNL";
const BATCH_MAGIC: &[u8; 4] = b"1FBA";
const INDEX_MAGIC: &[u8; 8] = b"1FPLACES";
/// Never zero, so that "never written" (zeroes) and "damaged" are told apart at the last byte of a frame.
const HEADER_MARK: u8 = 0xA7;
const TRAILER_MARK: u8 = 0xE5;
const REWRITTEN: u16 = 1;
const DROPPED: u8 = 1;
/// Bytes of a digest that stands for a dropped payload.
const DIGEST: usize = 32;

/// (segment, offset): everything before it is synced.
pub type Durable = (u32, u32);

/// Why bytes are not what they should be. The text names the part; the caller adds segment and offset.
pub type Fault = &'static str;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|slice| slice.try_into().ok()).map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|slice| slice.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|slice| slice.try_into().ok()).unwrap_or([0; N])
}

/// What opens a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub segment: u32,
    pub salt: [u8; 16],
    /// The chain hash that the first batch continues.
    pub chain: [u8; 32],
    pub durable: Durable,
    /// Physical offset of the places index of a rewritten segment.
    pub index: Option<u32>,
}

/// What a segment header turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// Written by a newer release.
    Newer(u16),
    /// Anything else.
    Damaged(Fault),
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER as usize] {
        let mut out = [0; SEGMENT_HEADER as usize];
        out[..8].copy_from_slice(SEGMENT_MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&if self.index.is_some() { REWRITTEN } else { 0 }.to_le_bytes());
        out[12..16].copy_from_slice(&self.segment.to_le_bytes());
        out[16..32].copy_from_slice(&self.salt);
        out[32..64].copy_from_slice(&self.chain);
        out[64..68].copy_from_slice(&self.durable.0.to_le_bytes());
        out[68..72].copy_from_slice(&self.durable.1.to_le_bytes());
        out[72..76].copy_from_slice(&self.index.unwrap_or(0).to_le_bytes());
        let checksum = blake3::hash(&out[..80]);
        out[80..].copy_from_slice(&checksum.as_bytes()[..8]);
        out
    }

    pub fn decode(bytes: &[u8], segment: u32) -> Result<Self, HeaderFault> {
        let header =
            bytes.get(..SEGMENT_HEADER as usize).ok_or(HeaderFault::Damaged("the segment header is cut short"))?;
        if &header[..8] != SEGMENT_MAGIC {
            return Err(HeaderFault::Damaged("this is no journal segment"));
        }
        let version = u16_at(header, 8);
        if blake3::hash(&header[..80]).as_bytes()[..8] != header[80..] {
            return Err(HeaderFault::Damaged("the segment header does not match its checksum"));
        }
        if version != VERSION {
            return Err(HeaderFault::Newer(version));
        }
        if u32_at(header, 12) != segment {
            return Err(HeaderFault::Damaged("the segment carries another number than its file"));
        }
        let rewritten = match u16_at(header, 10) {
            0 => false,
            REWRITTEN => true,
            _ => return Err(HeaderFault::Damaged("the segment header has unknown flags")),
        };
        Ok(Self {
            segment,
            salt: array_at(header, 16),
            chain: array_at(header, 32),
            durable: (u32_at(header, 64), u32_at(header, 68)),
            index: rewritten.then(|| u32_at(header, 72)),
        })
    }
}

/// What opens a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Bytes of the entries as first written.
    pub logical_len: u32,
    /// Bytes of the entries as they lie here.
    pub stored_len: u32,
    pub entries: u32,
    /// Microseconds since 1970.
    pub time_micros: i64,
    pub durable: Durable,
}

impl BatchHeader {
    /// `offset` is the batch's logical offset: a frame copied elsewhere is no frame.
    pub fn encode(&self, segment: &SegmentHeader, offset: u32) -> [u8; BATCH_HEADER as usize] {
        let mut out = [0; BATCH_HEADER as usize];
        out[..4].copy_from_slice(BATCH_MAGIC);
        out[4..8].copy_from_slice(&self.logical_len.to_le_bytes());
        out[8..12].copy_from_slice(&self.stored_len.to_le_bytes());
        out[12..16].copy_from_slice(&self.entries.to_le_bytes());
        out[16..24].copy_from_slice(&self.time_micros.to_le_bytes());
        out[24..28].copy_from_slice(&self.durable.0.to_le_bytes());
        out[28..32].copy_from_slice(&self.durable.1.to_le_bytes());
        let checksum = header_checksum(&out[..32], segment, offset);
        out[32..39].copy_from_slice(&checksum);
        out[39] = HEADER_MARK;
        out
    }

    /// `None` when these bytes are no header of a batch of this segment at this offset.
    pub fn decode(bytes: &[u8], segment: &SegmentHeader, offset: u32) -> Option<Self> {
        let header = bytes.get(..BATCH_HEADER as usize)?;
        if &header[..4] != BATCH_MAGIC
            || header[39] != HEADER_MARK
            || header_checksum(&header[..32], segment, offset) != header[32..39]
        {
            return None;
        }
        Some(Self {
            logical_len: u32_at(header, 4),
            stored_len: u32_at(header, 8),
            entries: u32_at(header, 12),
            time_micros: i64::from_le_bytes(array_at(header, 16)),
            durable: (u32_at(header, 24), u32_at(header, 28)),
        })
    }
}

fn header_checksum(fields: &[u8], segment: &SegmentHeader, offset: u32) -> [u8; 7] {
    let mut bytes = [0; 56];
    bytes[..16].copy_from_slice(&segment.salt);
    bytes[16..20].copy_from_slice(&segment.segment.to_le_bytes());
    bytes[20..24].copy_from_slice(&offset.to_le_bytes());
    bytes[24..].copy_from_slice(fields);
    array_at(blake3::hash(&bytes).as_bytes(), 0)
}

/// Offsets, from the start of `bytes`, at which a batch header may begin.
pub fn header_candidates(bytes: &[u8]) -> impl Iterator<Item = usize> {
    // The first byte alone rules out zeroes, which is what most of an unfinished segment is.
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += bytes.get(at..)?.iter().position(|byte| *byte == BATCH_MAGIC[0])?;
            let found = at;
            at += 1;
            if bytes[found..].starts_with(BATCH_MAGIC) {
                return Some(found);
            }
        }
    })
}

/// What closes a batch.
pub fn encode_trailer(chain: &[u8; 32], out: &mut Vec<u8>) {
    out.extend_from_slice(chain);
    out.push(TRAILER_MARK);
}

/// The chain hash in a trailer, if it ends as one.
pub fn decode_trailer(bytes: &[u8]) -> Option<[u8; 32]> {
    (bytes.len() == BATCH_TRAILER as usize && bytes[32] == TRAILER_MARK).then(|| array_at(bytes, 0))
}

/// Sums up a batch entry by entry; see the module's text for what goes in.
#[derive(Clone)]
pub struct ChainHasher(blake3::Hasher);

impl ChainHasher {
    pub fn new(previous: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(previous);
        Self(hasher)
    }

    pub fn entry(&mut self, head: &EntryHead, payload_digest: &[u8; 32]) {
        let mut bytes = [0; 49];
        bytes[0] = head.kind.0;
        bytes[1..5].copy_from_slice(&head.tenant.0.to_le_bytes());
        bytes[5..13].copy_from_slice(&head.sequence.0.to_le_bytes());
        bytes[13..17].copy_from_slice(&head.payload_len.to_le_bytes());
        bytes[17..].copy_from_slice(payload_digest);
        self.0.update(&bytes);
    }

    pub fn finish(mut self, logical_len: u32, entries: u32, time_micros: i64) -> [u8; 32] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&logical_len.to_le_bytes());
        bytes[4..8].copy_from_slice(&entries.to_le_bytes());
        bytes[8..].copy_from_slice(&time_micros.to_le_bytes());
        self.0.update(&bytes);
        *self.0.finalize().as_bytes()
    }
}

/// What stands before an entry's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHead {
    /// Of the payload as first written.
    pub payload_len: u32,
    pub kind: EntryKind,
    pub dropped: bool,
    pub tenant: TenantId,
    pub sequence: Sequence,
}

impl EntryHead {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        put_varint(u64::from(self.payload_len), out);
        out.push(self.kind.0);
        out.push(if self.dropped { DROPPED } else { 0 });
        put_varint(u64::from(self.tenant.0), out);
        put_varint(self.sequence.0, out);
        let check = crc8(&out[start..]);
        out.push(check);
    }

    /// The head at the start of `bytes`, and its length.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), Fault> {
        const CUT: Fault = "an entry's head is cut short";
        let mut at = 0;
        let payload_len = u32::try_from(take_varint(bytes, &mut at).ok_or(CUT)?).map_err(|_| "an entry is too long")?;
        let &[kind, flags] = bytes.get(at..at + 2).ok_or(CUT)? else { return Err(CUT) };
        at += 2;
        let tenant =
            u32::try_from(take_varint(bytes, &mut at).ok_or(CUT)?).map_err(|_| "an entry's tenant is out of range")?;
        let sequence = take_varint(bytes, &mut at).ok_or(CUT)?;
        if crc8(&bytes[..at]) != *bytes.get(at).ok_or(CUT)? {
            return Err("an entry's head does not match its check");
        }
        let dropped = match flags {
            0 => false,
            DROPPED => true,
            _ => return Err("an entry has unknown flags"),
        };
        let head = Self {
            payload_len,
            kind: EntryKind(kind),
            dropped,
            tenant: TenantId(tenant),
            sequence: Sequence(sequence),
        };
        Ok((head, at + 1))
    }

    /// Bytes that follow the head here.
    pub const fn stored_payload(&self) -> usize {
        if self.dropped { DIGEST } else { self.payload_len as usize }
    }
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            // One spelling per number, or two different entries would have one digest.
            let canonical = (byte != 0 || shift == 0) && (shift < 63 || byte == 1);
            return canonical.then_some(value);
        }
    }
    None
}

/// CRC-8 (polynomial 0x07), started so that zeroes do not check out: finds every flipped bit of a head.
fn crc8(bytes: &[u8]) -> u8 {
    const TABLE: [u8; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u8;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 0x80 == 0 { value << 1 } else { value << 1 ^ 0x07 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    bytes.iter().fold(0xAC, |crc, byte| TABLE[usize::from(crc ^ byte)])
}

/// The entries of a batch's body, with logical and physical offsets. Ends at the first fault, which is also told.
pub struct Entries<'a> {
    body: &'a [u8],
    at: usize,
    segment: &'a SegmentHeader,
    /// Logical offset of the next entry.
    logical: u32,
}

impl<'a> Entries<'a> {
    /// `logical` is the offset of the first entry.
    pub const fn new(body: &'a [u8], segment: &'a SegmentHeader, logical: u32) -> Self {
        Self { body, at: 0, segment, logical }
    }

    /// Logical offset after the last entry that was read.
    pub const fn logical_at(&self) -> u32 {
        self.logical
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(EntryHead, EntryView<'a>), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.body.get(self.at..).filter(|rest| !rest.is_empty())?;
        let read = EntryHead::decode(rest).and_then(|(head, head_len)| {
            let stored = rest.get(head_len..head_len + head.stored_payload()).ok_or("an entry is cut short")?;
            let logical_len =
                u32::try_from(head_len + head.payload_len as usize).map_err(|_| "an entry is too long")?;
            let next = self.logical.checked_add(logical_len).ok_or("an entry is too long")?;
            let payload = if head.dropped {
                Payload::Dropped { bytes: head.payload_len, digest: array_at(stored, 0) }
            } else {
                Payload::Bytes(stored)
            };
            let view = EntryView {
                place: Place { segment: self.segment.segment, offset: self.logical },
                kind: head.kind,
                tenant: head.tenant,
                sequence: head.sequence,
                payload,
                salt: self.segment.salt,
            };
            self.at += head_len + stored.len();
            self.logical = next;
            Ok((head, view))
        });
        if read.is_err() {
            self.at = self.body.len();
        }
        Some(read)
    }
}

/// Checks a whole batch (header, entries, chain) that starts at `bytes[0]` and at logical `offset`.
/// Gives the header, the chain hash after it and its stored length.
pub fn check_batch(
    bytes: &[u8],
    segment: &SegmentHeader,
    offset: u32,
    previous: &[u8; 32],
) -> Result<(BatchHeader, [u8; 32], usize), Fault> {
    let header = BatchHeader::decode(bytes, segment, offset).ok_or("a batch's header does not match its checksum")?;
    let body_end = BATCH_HEADER as usize + header.stored_len as usize;
    let end = body_end + BATCH_TRAILER as usize;
    let body = bytes.get(BATCH_HEADER as usize..body_end).ok_or("a batch is cut short")?;
    let trailer = bytes.get(body_end..end).ok_or("a batch is cut short")?;
    let chain = chain_of(&header, body, segment, offset, previous)?;
    if decode_trailer(trailer) != Some(chain) {
        return Err("a batch's content does not match the chain");
    }
    Ok((header, chain, end))
}

/// The chain hash that a batch's content asks for.
fn chain_of(
    header: &BatchHeader,
    body: &[u8],
    segment: &SegmentHeader,
    offset: u32,
    previous: &[u8; 32],
) -> Result<[u8; 32], Fault> {
    let mut hasher = ChainHasher::new(previous);
    let first = offset.checked_add(BATCH_HEADER).ok_or("a batch lies beyond the largest segment")?;
    let mut entries = Entries::new(body, segment, first);
    let mut count = 0u32;
    for entry in &mut entries {
        let (head, view) = entry?;
        let digest = match view.payload {
            Payload::Bytes(bytes) => *blake3::hash(bytes).as_bytes(),
            Payload::Dropped { digest, .. } => digest,
        };
        hasher.entry(&head, &digest);
        count += 1;
    }
    // Dropped entries count with bytes that are no longer there, so the sum is not bounded by the file.
    entries.logical_at().checked_add(BATCH_TRAILER).ok_or("a batch lies beyond the largest segment")?;
    if count != header.entries || entries.logical_at() - first != header.logical_len {
        return Err("a batch does not hold the entries that its header counts");
    }
    Ok(hasher.finish(header.logical_len, header.entries, header.time_micros))
}

/// Where the kept entries of a rewritten segment lie: sorted (logical, physical) offsets, batches' starts included.
pub fn encode_index(pairs: &[(u32, u32)], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(INDEX_MAGIC);
    for (logical, physical) in pairs {
        out.extend_from_slice(&logical.to_le_bytes());
        out.extend_from_slice(&physical.to_le_bytes());
    }
    let checksum = blake3::hash(&out[start..]);
    out.extend_from_slice(&checksum.as_bytes()[..8]);
}

/// Reads what [`encode_index`] wrote.
pub fn decode_index(bytes: &[u8]) -> Result<Vec<(u32, u32)>, Fault> {
    const FAULT: Fault = "the places index of a rewritten segment is damaged";
    let (body, checksum) = bytes.split_last_chunk::<8>().ok_or(FAULT)?;
    let pairs = body.strip_prefix(INDEX_MAGIC).ok_or(FAULT)?;
    if blake3::hash(body).as_bytes()[..8] != *checksum || pairs.len() % 8 != 0 {
        return Err(FAULT);
    }
    Ok(pairs.chunks_exact(8).map(|pair| (u32_at(pair, 0), u32_at(pair, 4))).collect())
}
