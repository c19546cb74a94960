//! The engine's state as named sections of bytes, for an encrypted checkpoint: columns as they lie in memory, little
//! endian. Tables are rebuilt. What is read back is checked index by index: bytes that no engine wrote are an error,
//! never a panic later.

use hashbrown::HashTable;
use onefold_core::ids::{Digest128, Place};

use crate::index::NONE;
use crate::index::column::Column;
use crate::index::lists::{List, Lists, SIZES, block_len, size_of_block};
use crate::index::profiles::{Kind, Profile};
use crate::index::records::{Cold, Warm, flag};
use crate::index::values::{Value, flag as value_flag};
use crate::resolve::{Engine, LinkRules};

/// The layout of the sections.
const VERSION: u16 = 1;
const MAGIC: &[u8; 8] = b"onefoldE";
/// Items of a column in one section.
const PIECE: usize = 1 << 20;

/// A checkpoint that cannot be used. The journal can rebuild what it held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// A section is not there.
    #[error("the checkpoint has no section {0}")]
    Missing(String),
    /// Written by another release.
    #[error("the checkpoint is of version {0}, this release reads {VERSION}")]
    Version(u16),
    /// Made under other linking rules.
    #[error("the checkpoint was made under other linking rules")]
    Rules,
    /// The bytes contradict themselves.
    #[error("the checkpoint's section {0} is damaged")]
    Damaged(&'static str),
}

/// Takes a section: its name, its bytes.
pub type SectionSink<'a, E> = dyn FnMut(&str, &[u8]) -> Result<(), E> + 'a;

/// Something of fixed length.
trait Fixed: Sized {
    const BYTES: usize;
    fn write(&self, out: &mut Vec<u8>);
    /// `bytes` has the length that `BYTES` says.
    fn read(bytes: &[u8]) -> Option<Self>;
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn digest_at(bytes: &[u8], at: usize) -> Digest128 {
    let mut digest = [0; 16];
    digest.copy_from_slice(&bytes[at..at + 16]);
    Digest128(digest)
}

impl Fixed for u32 {
    const BYTES: usize = 4;
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(u32_at(bytes, 0))
    }
}

impl Fixed for Warm {
    const BYTES: usize = 32;
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.name.to_le_bytes());
        for word in [self.values.len, self.values.at, self.profile, self.next, self.prev] {
            word.write(out);
        }
        out.extend_from_slice(&self.source.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            name: u64_at(bytes, 0),
            values: List { len: u32_at(bytes, 8), at: u32_at(bytes, 12) },
            profile: u32_at(bytes, 16),
            next: u32_at(bytes, 20),
            prev: u32_at(bytes, 24),
            source: u16_at(bytes, 28),
            flags: u16_at(bytes, 30),
        })
    }
}

impl Fixed for Cold {
    const BYTES: usize = 48;
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.digest.0);
        out.extend_from_slice(&self.facts.0);
        out.extend_from_slice(&self.observed_at.to_le_bytes());
        self.place.segment.write(out);
        self.place.offset.write(out);
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            digest: digest_at(bytes, 0),
            facts: digest_at(bytes, 16),
            observed_at: u64_at(bytes, 32).cast_signed(),
            place: Place { segment: u32_at(bytes, 40), offset: u32_at(bytes, 44) },
        })
    }
}

impl Fixed for Value {
    const BYTES: usize = 28;
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.digest.0);
        self.holders.len.write(out);
        self.holders.at.write(out);
        out.extend_from_slice(&self.namespace.to_le_bytes());
        // Counters are rebuilt.
        out.extend_from_slice(&(self.flags & !value_flag::COUNTED).to_le_bytes());
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            digest: digest_at(bytes, 0),
            holders: List { len: u32_at(bytes, 16), at: u32_at(bytes, 20) },
            namespace: u16_at(bytes, 24),
            flags: u16_at(bytes, 26) & !(value_flag::COUNTED | value_flag::VISITED),
        })
    }
}

impl Fixed for Profile {
    const BYTES: usize = 18;
    fn write(&self, out: &mut Vec<u8>) {
        for word in [self.head, self.count, self.list.len, self.list.at] {
            word.write(out);
        }
        out.extend_from_slice(&[self.kind as u8, u8::from(self.contested)]);
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        let kind = match bytes[16] {
            0 => Kind::Live,
            1 => Kind::Merged,
            2 => Kind::Split,
            3 => Kind::Emptied,
            _ => return None,
        };
        Some(Self {
            head: u32_at(bytes, 0),
            count: u32_at(bytes, 4),
            list: List { len: u32_at(bytes, 8), at: u32_at(bytes, 12) },
            kind,
            contested: bytes[17] != 0,
        })
    }
}

fn write_column<T: Fixed, E>(name: &str, items: &[T], sink: &mut SectionSink<'_, E>) -> Result<(), E> {
    let mut bytes = Vec::with_capacity(items.len().min(PIECE) * T::BYTES);
    for (number, piece) in items.chunks(PIECE).enumerate() {
        bytes.clear();
        for item in piece {
            item.write(&mut bytes);
        }
        sink(&format!("engine.{name}.{number}"), &bytes)?;
    }
    Ok(())
}

fn read_column<T: Fixed>(
    name: &'static str,
    len: u32,
    source: &mut dyn FnMut(&str) -> Option<Vec<u8>>,
) -> Result<Column<T>, CheckpointError> {
    let len = len as usize;
    let mut items: Vec<T> = Vec::new();
    for number in 0..len.div_ceil(PIECE) {
        let section = format!("engine.{name}.{number}");
        let bytes = source(&section).ok_or(CheckpointError::Missing(section))?;
        if bytes.len() != (len - items.len()).min(PIECE) * T::BYTES {
            return Err(CheckpointError::Damaged(name));
        }
        if number == 0 {
            // The first piece is there and as long as the head says, so the head's count is not mere noise; what is
            // still to come is bounded by the pieces that the source holds.
            items.reserve_exact(len.min(64 * PIECE));
        }
        for bytes in bytes.chunks_exact(T::BYTES) {
            items.push(T::read(bytes).ok_or(CheckpointError::Damaged(name))?);
        }
    }
    Ok(Column::from(items))
}

impl Engine {
    /// Hands the whole state to `sink`, section by section. Nothing in it is in the clear but digests and numbers; it is
    /// for encrypted checkpoints only.
    ///
    /// # Errors
    /// The first error of `sink`.
    pub fn write_to<E>(&self, sink: &mut SectionSink<'_, E>) -> Result<(), E> {
        let mut head = Vec::new();
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&self.rules.fingerprint());
        head.push(u8::from(self.replaying));
        let lengths = [
            self.records.warm.len(),
            self.values.column.len(),
            self.profiles.column.len(),
            self.lists.blocks.len(),
            self.values.spare.len(),
            self.dirty_records.len(),
            self.dirty_values.len(),
        ];
        for len in lengths {
            (len as u32).write(&mut head);
        }
        for free in self.lists.free {
            free.write(&mut head);
        }
        sink("engine.head", &head)?;
        write_column("warm", &self.records.warm, sink)?;
        write_column("cold", &self.records.cold, sink)?;
        write_column("slots", &self.records.slots, sink)?;
        write_column("values", &self.values.column, sink)?;
        write_column("spare", &self.values.spare, sink)?;
        write_column("profiles", &self.profiles.column, sink)?;
        write_column("blocks", &self.lists.blocks, sink)?;
        write_column("dirty_records", &self.dirty_records, sink)?;
        write_column("dirty_values", &self.dirty_values, sink)
    }

    /// The state that [`Engine::write_to`] wrote, under the same rules. `source` hands out a section by its name.
    ///
    /// # Errors
    /// [`CheckpointError`] when a section is missing or damaged, or of another release or other rules.
    pub fn read_from(
        rules: LinkRules,
        source: &mut dyn FnMut(&str) -> Option<Vec<u8>>,
    ) -> Result<Self, CheckpointError> {
        let head = source("engine.head").ok_or_else(|| CheckpointError::Missing("engine.head".to_owned()))?;
        const LENGTHS: usize = 43;
        if head.len() < 10 || head[..8] != *MAGIC {
            return Err(CheckpointError::Damaged("head"));
        }
        if u16_at(&head, 8) != VERSION {
            return Err(CheckpointError::Version(u16_at(&head, 8)));
        }
        if head.len() != LENGTHS + 4 * (7 + SIZES) {
            return Err(CheckpointError::Damaged("head"));
        }
        if head[10..42] != rules.fingerprint() {
            return Err(CheckpointError::Rules);
        }
        let length = |which: usize| u32_at(&head, LENGTHS + 4 * which);
        let mut engine = Self::new(rules);
        engine.replaying = head[42] != 0;
        engine.records.warm = read_column("warm", length(0), source)?;
        engine.records.cold = read_column("cold", length(0), source)?;
        engine.records.slots = read_column("slots", length(0), source)?;
        engine.values.column = read_column("values", length(1), source)?;
        engine.profiles.column = read_column("profiles", length(2), source)?;
        engine.lists.blocks = read_column("blocks", length(3), source)?;
        engine.values.spare = read_column::<u32>("spare", length(4), source)?.to_vec();
        engine.dirty_records = read_column::<u32>("dirty_records", length(5), source)?.to_vec();
        engine.dirty_values = read_column::<u32>("dirty_values", length(6), source)?.to_vec();
        for (which, free) in engine.lists.free.iter_mut().enumerate() {
            *free = length(7 + which);
        }
        engine.check()?;
        engine.rebuild();
        Ok(engine)
    }

    /// Every index points to something, every list lies in a block of its own, every ring closes.
    fn check(&self) -> Result<(), CheckpointError> {
        let damaged = |section: &'static str, whole: bool| {
            if whole { Ok(()) } else { Err(CheckpointError::Damaged(section)) }
        };
        let (records, values) = (self.records.warm.count(), self.values.column.count());
        let profiles = self.profiles.column.count();
        let mut blocks = Blocks { lists: &self.lists, taken: vec![false; self.lists.blocks.len()] };
        blocks.claim_free()?;

        let mut members = vec![0u32; self.profiles.column.len()];
        for (index, warm) in self.records.warm.iter().enumerate() {
            let held = blocks.claim(&warm.values, "warm")?;
            let uniques = usize::from(warm.flags >> flag::UNIQUES_SHIFT);
            damaged("warm", held.iter().all(|value| *value < values))?;
            let really = held.iter().take_while(|value| self.rules.is_unique(self.values.column[**value].namespace));
            damaged("warm", really.count().min(usize::from(flag::UNIQUES_MANY)) == uniques)?;
            damaged("warm", warm.profile == NONE || warm.profile < profiles)?;
            if warm.placed() {
                damaged("warm", warm.profile != NONE && warm.next < records && warm.prev < records)?;
                let next = &self.records.warm[warm.next];
                damaged("warm", next.placed() && next.profile == warm.profile && next.prev as usize == index)?;
                members[warm.profile as usize] += 1;
            }
        }
        let mut spare = vec![false; self.values.column.len()];
        for value in &self.values.spare {
            damaged("spare", *value < values && !std::mem::replace(&mut spare[*value as usize], true))?;
        }
        for value in self.values.column.iter() {
            if !value.has(value_flag::UNLISTED) {
                let holders = blocks.claim(&value.holders, "values")?;
                damaged("values", holders.iter().all(|holder| *holder < records))?;
            }
        }
        for (index, profile) in self.profiles.column.iter().enumerate() {
            let list = blocks.claim(&profile.list, "profiles")?;
            let count = members[index];
            let whole = match profile.kind {
                Kind::Live => {
                    let head = profile.head;
                    let headed = head < records
                        && self.records.warm[head].placed()
                        && self.records.warm[head].profile as usize == index;
                    count == profile.count && (count == 0 || headed) && list.iter().all(|value| *value < values)
                }
                Kind::Merged => count == 0 && (profile.head as usize) < index,
                Kind::Split => count == 0 && list.iter().all(|into| *into < profiles),
                Kind::Emptied => count == 0 && list.is_empty(),
            };
            damaged("profiles", whole)?;
        }
        damaged("dirty_records", self.dirty_records.iter().all(|record| *record < records))?;
        damaged("dirty_values", self.dirty_values.iter().all(|value| *value < values))
    }

    /// What is not written: tables, counters, counts.
    fn rebuild(&mut self) {
        let cold = &self.records.cold;
        let mut table = HashTable::with_capacity(cold.len());
        for (index, record) in (0..).zip(cold.iter()) {
            table.insert_unique(record.digest.table_hash(), index, |index: &u32| cold[*index].digest.table_hash());
        }
        self.records.table = table;
        self.records.live = self.records.warm.iter().filter(|warm| warm.has(flag::LIVE)).count() as u32;
        self.profiles.live = self.profiles.column.iter().filter(|profile| profile.kind == Kind::Live).count() as u32;

        let mut spare = vec![false; self.values.column.len()];
        for value in &self.values.spare {
            spare[*value as usize] = true;
        }
        let column = &self.values.column;
        let mut table = HashTable::with_capacity(column.len() - self.values.spare.len());
        for (index, value) in (0..).zip(column.iter()).filter(|(index, _)| !spare[*index as usize]) {
            table.insert_unique(value.digest.table_hash(), index, |index: &u32| column[*index].digest.table_hash());
        }
        self.values.table = table;
        let count = |flags: u16| column.iter().filter(|value| value.has(flags)).count() as u32;
        self.values.generic = count(value_flag::GENERIC);
        self.values.parked = count(value_flag::DISPUTED) + count(value_flag::PARKED);
        for value in 0..self.values.column.count() {
            self.recount_if_many(value);
        }
    }
}

/// Blocks that lists were found in.
struct Blocks<'a> {
    lists: &'a Lists,
    taken: Vec<bool>,
}

impl<'a> Blocks<'a> {
    /// The list's items; its block must lie inside the arena and belong to nobody else.
    fn claim<'b>(&mut self, list: &'b List, section: &'static str) -> Result<&'b [u32], CheckpointError>
    where
        'a: 'b,
    {
        if list.len > 1 && !self.take(list.at, block_len(list.len)) {
            return Err(CheckpointError::Damaged(section));
        }
        let lists: &'b Lists = self.lists;
        Ok(lists.get(list))
    }

    fn claim_free(&mut self) -> Result<(), CheckpointError> {
        for (size, first) in self.lists.free.iter().enumerate() {
            let mut at = *first;
            while at != NONE {
                // A chain that runs in a circle takes a block twice.
                if !self.take(at, size_of_block(size)) {
                    return Err(CheckpointError::Damaged("blocks"));
                }
                at = self.lists.blocks[at];
            }
        }
        Ok(())
    }

    fn take(&mut self, at: u32, len: u32) -> bool {
        let Some(range) = self.taken.get_mut(at as usize..at as usize + len as usize) else { return false };
        let free = range.iter().all(|taken| !taken);
        range.fill(true);
        free
    }
}
