//! Identifier values and who holds them.

use hashbrown::HashTable;
use onefold_core::ids::{Digest128, NamespaceId};

use crate::index::column::Column;
use crate::index::lists::List;
use crate::prepared::LinkValue;

/// Bits of [`Value::flags`].
pub(crate) mod flag {
    /// As last settled: too many parties behind it, it links nobody.
    pub(crate) const GENERIC: u16 = 1;
    /// As last settled: its own holders name two values of a unique namespace, so it can never join them.
    pub(crate) const DISPUTED: u16 = 1 << 1;
    /// As last settled: it would link, but its holders are kept apart.
    pub(crate) const PARKED: u16 = 1 << 2;
    /// In the list of dirty values.
    pub(crate) const DIRTY: u16 = 1 << 3;
    /// Lost a holder since it was last settled.
    pub(crate) const SHRANK: u16 = 1 << 4;
    /// Its diversity is counted, not scanned.
    pub(crate) const COUNTED: u16 = 1 << 5;
    /// Its holders are only counted, not listed: far too many.
    pub(crate) const UNLISTED: u16 = 1 << 6;
    /// Already part of a component in this settlement.
    pub(crate) const VISITED: u16 = 1 << 7;
    /// As last settled: it links, but its holders contradict each other by weight, so it joins some of them at most.
    pub(crate) const DIVIDED: u16 = 1 << 8;
    /// What a settlement clears.
    pub(crate) const PASSING: u16 = DIRTY | SHRANK | VISITED;
}

/// One value of one namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) digest: Digest128,
    /// Live holders; only the length counts when unlisted.
    pub(crate) holders: List,
    pub(crate) namespace: u16,
    pub(crate) flags: u16,
}

impl Value {
    pub(crate) const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(crate) const fn link_value(&self) -> LinkValue {
        LinkValue { namespace: NamespaceId(self.namespace), digest: self.digest }
    }
}

/// All values of a tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    pub(crate) column: Column<Value>,
    pub(crate) table: HashTable<u32>,
    /// Indexes free to be used again.
    pub(crate) spare: Vec<u32>,
    pub(crate) generic: u32,
    pub(crate) parked: u32,
}

impl Values {
    pub(crate) fn find(&self, value: LinkValue) -> Option<u32> {
        self.table
            .find(value.digest.table_hash(), |ix| {
                let held = &self.column[*ix];
                held.digest == value.digest && held.namespace == value.namespace.0
            })
            .copied()
    }

    /// The value with this digest. Its namespace is part of what was digested.
    pub(crate) fn find_digest(&self, digest: Digest128) -> Option<u32> {
        self.table.find(digest.table_hash(), |ix| self.column[*ix].digest == digest).copied()
    }

    pub(crate) fn intern(&mut self, value: LinkValue) -> u32 {
        if let Some(ix) = self.find(value) {
            return ix;
        }
        let fresh = Value { digest: value.digest, holders: List::default(), namespace: value.namespace.0, flags: 0 };
        let ix = match self.spare.pop() {
            Some(ix) => {
                self.column[ix] = fresh;
                ix
            }
            None => self.column.push(fresh),
        };
        let column = &self.column;
        self.table.insert_unique(value.digest.table_hash(), ix, |ix| column[*ix].digest.table_hash());
        ix
    }

    /// Forgets a value that nobody holds.
    pub(crate) fn release(&mut self, ix: u32) {
        let digest = self.column[ix].digest;
        if let Ok(entry) = self.table.find_entry(digest.table_hash(), |held| *held == ix) {
            entry.remove();
            self.column[ix].digest = Digest128([0; 16]);
            self.spare.push(ix);
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.column.memory_bytes() + self.table.allocation_size() + self.spare.capacity() * size_of::<u32>()
    }
}
