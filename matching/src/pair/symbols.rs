//! Interned texts: a value that many records hold is kept, measured and prepared once.

use std::fmt;

use hashbrown::HashTable;

use super::known::{Known, Question};
use crate::index::column::{Column, step};

/// The number of an interned text in its slot; [`ABSENT`] for none.
pub type Symbol = u32;

/// No value.
pub const ABSENT: Symbol = 0;

/// What is kept of a text: 24 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// The upper half of the text's hash.
    hash: u32,
    start: u32,
    refs: u32,
    len: u16,
    pub slot: u8,
    /// First letter, if it is an ASCII one, else 0.
    pub initial: u8,
    /// log2 of the value's share among the slot's values, as the model knows it.
    pub log_frequency: f32,
    /// Hash of a coarse form, for finding candidates; what it is depends on the slot's kind. 0 for none.
    pub coarse: u32,
}

impl Entry {
    /// Bytes of the text.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }
}

/// A word of a worded value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Word {
    pub hash: u64,
    pub start: u16,
    pub len: u16,
    /// Of a vector of length one.
    pub weight: f32,
    /// Inverse document frequency, in bits.
    pub rarity: f32,
    /// Which letters it holds: see [`letters`].
    pub letters: u32,
}

impl Word {
    /// The word in the text that it was read from.
    pub(crate) fn of<'a>(&self, text: &'a str) -> &'a str {
        &text[usize::from(self.start)..usize::from(self.start) + usize::from(self.len)]
    }
}

/// Which letters a text holds, as bits: two texts that differ in many cannot be much alike. Letters beyond ASCII share
/// bits, and digits have one.
pub(crate) fn letters(text: &str) -> u32 {
    text.bytes().fold(0, |letters, byte| match byte {
        b'a'..=b'z' => letters | 1 << (byte - b'a'),
        b'0'..=b'9' => letters | 1 << 26,
        0..=127 => letters | 1 << 27,
        _ => letters | 1 << (28 + (byte & 3)),
    })
}

/// Texts by slot. Reference counted: a text that no row holds is overwritten with zeroes and forgotten (LAW 7).
#[derive(Clone)]
pub struct Symbols {
    table: HashTable<u32>,
    pub(crate) entries: Column<Entry>,
    /// Grows as columns do.
    text: String,
    /// Bytes of `text` that nobody refers to.
    unused: usize,
    spare: Vec<u32>,
    /// Released symbols, which may be found in `known` yet.
    retired: Vec<u32>,
    known: Known,
    /// By symbol; empty for slots that are not compared word by word.
    words: Column<Box<[Word]>>,
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Symbols({} texts, ..)", self.table.len())
    }
}

const NOTHING: Entry =
    Entry { hash: 0, start: 0, refs: 0, len: 0, slot: u8::MAX, initial: 0, log_frequency: 0.0, coarse: 0 };
/// Bytes of texts in the first step of growth.
const TEXT_FIRST: usize = 256;
/// Released symbols that wait until what is known of them is forgotten, all at once.
const RETIRED_MAX: usize = 4_096;

impl Default for Symbols {
    fn default() -> Self {
        let mut entries = Column::default();
        entries.push(Entry { refs: 1, ..NOTHING });
        Self {
            table: HashTable::new(),
            entries,
            text: String::new(),
            unused: 0,
            spare: Vec::new(),
            retired: Vec::new(),
            known: Known::default(),
            words: Column::default(),
        }
    }
}

/// What a matcher says of a text that is new.
pub(crate) struct Facts {
    pub log_frequency: f32,
    pub coarse: u32,
    pub words: Box<[Word]>,
}

impl Symbols {
    /// The text's symbol in a slot, counted once more; `facts` is asked for a text that is new.
    pub(crate) fn intern(&mut self, slot: u8, text: &str, facts: impl FnOnce(&str) -> Facts) -> Symbol {
        if text.is_empty() {
            return ABSENT;
        }
        let hash = upper(hash_text(text));
        let key = table_hash(slot, hash);
        let found = self.table.find(key, |at| {
            let entry = &self.entries[*at];
            entry.hash == hash && entry.slot == slot && self.text(*at) == text
        });
        if let Some(at) = found.copied() {
            self.entries[at].refs += 1;
            return at;
        }
        let Facts { log_frequency, coarse, words } = facts(text);
        let start = u32::try_from(self.text.len()).expect("texts of one tenant stay below 4 GiB");
        if self.text.len() + text.len() > self.text.capacity() {
            self.text.reserve_exact(text.len().max(TEXT_FIRST).max(step::<u8>(self.text.len())));
        }
        self.text.push_str(text);
        // Features are cut to 512 bytes.
        let len = text.len() as u16;
        let initial = text.bytes().next().filter(u8::is_ascii).unwrap_or(0);
        let entry = Entry { hash, start, refs: 1, len, slot, initial, log_frequency, coarse };
        let at = match self.spare.pop() {
            Some(at) => {
                self.entries[at] = entry;
                at
            }
            None => self.entries.push(entry),
        };
        if !words.is_empty() {
            if self.words.len() <= at as usize {
                self.words.resize(at as usize + 1, Box::default());
            }
            self.words[at] = words;
        }
        let entries = &self.entries;
        self.table.insert_unique(key, at, |at| table_hash(entries[*at].slot, entries[*at].hash));
        at
    }

    /// The text's symbol in a slot, counted once more, for a model that keeps nothing else of a text.
    pub fn intern_plain(&mut self, slot: u8, text: &str) -> Symbol {
        self.intern(slot, text, |_| Facts { log_frequency: 0.0, coarse: 0, words: Box::default() })
    }

    /// Number of texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no row holds a text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// One row more holds the symbol.
    pub fn retain(&mut self, symbol: Symbol) {
        if symbol != ABSENT {
            self.entries[symbol].refs += 1;
        }
    }

    /// One row less holds the symbol; the last one takes the text with it.
    pub fn release(&mut self, symbol: Symbol) {
        if symbol == ABSENT {
            return;
        }
        let entry = &mut self.entries[symbol];
        entry.refs -= 1;
        if entry.refs > 0 {
            return;
        }
        let gone = *entry;
        *entry = NOTHING;
        let key = table_hash(gone.slot, gone.hash);
        if let Ok(found) = self.table.find_entry(key, |at| *at == symbol) {
            found.remove();
        }
        let bytes = gone.start as usize..gone.start as usize + usize::from(gone.len);
        self.unused += bytes.len();
        // Of one length, so the bytes are overwritten where they lie.
        self.text.replace_range(bytes, &"\0".repeat(usize::from(gone.len)));
        if symbol < self.words.count() {
            self.words[symbol] = Box::default();
        }
        self.retired.push(symbol);
        if self.retired.len() >= RETIRED_MAX {
            self.known.clear();
            self.spare.append(&mut self.retired);
        }
        if self.unused > 4_096 && self.unused > self.text.len() / 2 {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let mut packed = String::with_capacity(self.text.len() - self.unused);
        for at in 1..self.entries.count() {
            let entry = &mut self.entries[at];
            if entry.refs > 0 {
                let bytes = entry.start as usize..entry.start as usize + usize::from(entry.len);
                entry.start = packed.len() as u32;
                packed.push_str(&self.text[bytes]);
            }
        }
        // What was released is zero already; the rest lives on in the new buffer, and must not linger in the old.
        std::mem::replace(&mut self.text, packed).into_bytes().fill(0);
        self.unused = 0;
    }

    /// The text; empty for [`ABSENT`].
    #[must_use]
    #[inline]
    pub fn text(&self, symbol: Symbol) -> &str {
        let entry = &self.entries[symbol];
        &self.text[entry.start as usize..entry.start as usize + usize::from(entry.len)]
    }

    /// What was found out about two texts, or what `find` finds: below 32, and the same whichever is named first.
    #[inline]
    pub(crate) fn find(&self, question: Question, a: Symbol, b: Symbol, find: impl FnOnce() -> u8) -> u8 {
        self.known.find(question, a, b, find)
    }

    /// Two symbols in an order of their content, so that no comparison can tell which was named first (LAW 2).
    pub(crate) fn ordered(&self, a: Symbol, b: Symbol) -> (Symbol, Symbol) {
        let (one, other) = (self.entries[a].hash, self.entries[b].hash);
        let turned = one > other || (one == other && self.text(a) > self.text(b));
        if turned { (b, a) } else { (a, b) }
    }

    /// Whether two symbols, of two slots perhaps, are of one text.
    #[inline]
    pub(crate) fn same_text(&self, a: Symbol, b: Symbol) -> bool {
        a == b || (self.entries[a].hash == self.entries[b].hash && self.text(a) == self.text(b))
    }

    pub(crate) fn words(&self, symbol: Symbol) -> &[Word] {
        self.words.get(symbol as usize).map_or(&[], |words| words)
    }

    /// Bytes of memory, spare capacity included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.table.allocation_size()
            + self.entries.memory_bytes()
            + self.text.capacity()
            + (self.spare.capacity() + self.retired.capacity()) * size_of::<u32>()
            + self.known.memory_bytes()
            + self.words.iter().map(|words| words.len() * size_of::<Word>()).sum::<usize>()
            + self.words.memory_bytes()
    }
}

/// A hash that is the same on every machine: blocking keys and frequencies of a model rest on it. FNV-1a with a final mix.
#[must_use]
pub fn hash_text(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(hash)
}

/// SplitMix64's finisher.
#[must_use]
pub(crate) const fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// What is kept of a text's hash.
const fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
}

const fn table_hash(slot: u8, hash: u32) -> u64 {
    mix(hash as u64 ^ (slot as u64) << 56)
}

/// The words of a folded text with their places.
pub(crate) fn words_of(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let base = text.as_ptr() as usize;
    text.split(' ').filter(|word| !word.is_empty()).map(move |word| (word.as_ptr() as usize - base, word))
}
