//! Source records: what resolution touches often, and what it touches once per arrival, apart.

use hashbrown::HashTable;
use onefold_core::ids::{Digest128, Place};

use crate::index::NONE;
use crate::index::column::Column;
use crate::index::lists::List;

/// Bits of [`Warm::flags`].
pub(crate) mod flag {
    /// A fragment of the record is live; without it the record is a tombstone.
    pub(crate) const LIVE: u16 = 1;
    /// The record is in the member list of `profile`. Without it `profile` is the last one it was in, if any.
    pub(crate) const PLACED: u16 = 1 << 1;
    /// The fragment holds two values of one unique namespace: it joins nobody.
    pub(crate) const SELF_CONTRADICTING: u16 = 1 << 2;
    /// `name` is set.
    pub(crate) const NAMED: u16 = 1 << 3;
    /// An organisation, else a person.
    pub(crate) const ORGANISATION: u16 = 1 << 4;
    /// In the list of dirty records.
    pub(crate) const DIRTY: u16 = 1 << 5;
    /// The live fragment has values that it had not when last settled.
    pub(crate) const GREW: u16 = 1 << 6;
    /// The whole component must be resolved afresh.
    pub(crate) const REOPENED: u16 = 1 << 7;
    /// Already part of a component in this settlement.
    pub(crate) const VISITED: u16 = 1 << 8;
    /// Facts came in since last settled.
    pub(crate) const FACTS: u16 = 1 << 9;
    /// Has a row that was not compared with others yet.
    pub(crate) const UNMATCHED: u16 = 1 << 10;
    /// A correction by a steward: compared with nobody.
    pub(crate) const CORRECTS: u16 = 1 << 11;
    /// In no profile, and the last one it was in gave records to others since: whose it was is not known.
    pub(crate) const PARTED: u16 = 1 << 12;
    /// What a settlement clears.
    pub(crate) const PASSING: u16 = DIRTY | GREW | REOPENED | VISITED | FACTS;
    /// The top bits count the unique values in front of the value list, up to [`UNIQUES_MANY`].
    pub(crate) const UNIQUES_SHIFT: u32 = 13;
    /// This many or more: the list itself must be asked.
    pub(crate) const UNIQUES_MANY: u16 = 7;
}

/// The digest of a record that was forgotten: its ordinal stays, since the journal names records by it.
pub(crate) const FORGOTTEN: Digest128 = Digest128([0; 16]);

/// What linking touches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Warm {
    /// See [`name_of`].
    pub(crate) name: u32,
    /// Values, unique ones first, each part by index.
    pub(crate) values: List,
    pub(crate) profile: u32,
    /// Ring of the profile's members.
    pub(crate) next: u32,
    pub(crate) prev: u32,
    pub(crate) source: u16,
    pub(crate) flags: u16,
}

/// What is kept of the digest of a name: names are only told apart, among the few behind one value, and the digest is keyed.
pub(crate) const fn name_of(digest: u64) -> u32 {
    (digest >> 32) as u32 ^ digest as u32
}

impl Warm {
    #[inline]
    pub(crate) const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Live, and free to join others.
    pub(crate) const fn links(&self) -> bool {
        self.flags & (flag::LIVE | flag::SELF_CONTRADICTING) == flag::LIVE
    }

    /// In a profile as last settled.
    pub(crate) const fn placed(&self) -> bool {
        self.has(flag::PLACED)
    }
}

/// What an arrival is judged by, and where its content lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cold {
    pub(crate) digest: Digest128,
    pub(crate) facts: Digest128,
    pub(crate) observed_at: i64,
    pub(crate) place: Place,
}

/// All source records of a tenant, in order of first arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    pub(crate) warm: Column<Warm>,
    pub(crate) cold: Column<Cold>,
    pub(crate) slots: Column<u32>,
    pub(crate) table: HashTable<u32>,
    pub(crate) live: u32,
    pub(crate) forgotten: u32,
}

impl Records {
    pub(crate) fn find(&self, digest: Digest128) -> Option<u32> {
        self.table.find(digest.table_hash(), |ix| self.cold[*ix].digest == digest).copied()
    }

    /// Opens a record that was never seen, as a tombstone older than anything.
    pub(crate) fn open(&mut self, digest: Digest128) -> u32 {
        let ix = self.cold.push(Cold {
            digest,
            facts: Digest128([0; 16]),
            observed_at: i64::MIN,
            place: Place { segment: 0, offset: 0 },
        });
        self.warm.push(Warm {
            name: 0,
            values: List::default(),
            profile: NONE,
            next: NONE,
            prev: NONE,
            source: 0,
            flags: 0,
        });
        self.slots.push(NONE);
        let cold = &self.cold;
        self.table.insert_unique(digest.table_hash(), ix, |ix| cold[*ix].digest.table_hash());
        ix
    }

    /// Leaves nothing of a record but its ordinal. It must be a tombstone in no profile.
    pub(crate) fn forget(&mut self, ix: u32) {
        let digest = self.cold[ix].digest;
        if let Ok(entry) = self.table.find_entry(digest.table_hash(), |held| *held == ix) {
            entry.remove();
        }
        let nowhere = Place { segment: 0, offset: 0 };
        self.cold[ix] = Cold { digest: FORGOTTEN, facts: FORGOTTEN, observed_at: i64::MIN, place: nowhere };
        let warm = &mut self.warm[ix];
        warm.profile = NONE;
        warm.name = 0;
        warm.source = 0;
        warm.flags &= !flag::PARTED;
        self.slots[ix] = NONE;
        self.forgotten += 1;
    }

    /// Whether the record was forgotten.
    pub(crate) fn is_forgotten(&self, ix: u32) -> bool {
        self.cold[ix].digest == FORGOTTEN
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.warm.memory_bytes() + self.cold.memory_bytes() + self.slots.memory_bytes() + self.table.allocation_size()
    }
}
