//! What is read by key, kept behind the journal and rebuilt from it when in doubt.
//!
//! The journal is ground; a [`KeyedStore`] is a convenience that knows up to which [`Position`] it has kept up. Batches
//! are applied whole, together with the position that they reach, and need not survive a crash: what is missing is
//! applied again from the journal. [`open`] gives the store on sled, and throws it away when it will not open, is
//! damaged, or knows a position that the journal does not hold.

mod disk;
mod memory;

#[cfg(test)]
mod conformance;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use onefold_core::ids::TenantId;

pub use disk::{Inspected, OpenedKeyed, Replaced, SledStore, has_room, inspect, open};
pub use memory::MemoryStore;

use crate::journal::Position;

/// A table inside a tenant. The store gives no meaning to the number; the caller never re-uses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub u8);

/// Up to where a store has kept up with the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It is empty: apply everything from the start of the journal.
    Nothing,
    /// Everything up to this position is in it.
    At(Position),
}

/// A keyed store failed.
#[derive(Debug, thiserror::Error)]
pub enum KeyedError {
    /// A stored value does not match its checksum: open the store again, which rebuilds it.
    #[error("a keyed record is damaged")]
    Damaged,
    /// Written by a newer release.
    #[error("a keyed record is of format {0}, which this release cannot read")]
    Newer(u8),
    /// Another handle of this process still holds the store.
    #[error("the keyed store is still open elsewhere")]
    InUse,
    /// The disk, or the quota, is full.
    #[error("no space left for the keyed store")]
    NoSpace,
    /// The engine below failed.
    #[error("the keyed store failed to {doing}: {why}")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// Why it failed, in the engine's words. Holds no stored content.
        why: String,
    },
}

/// Puts and deletes that are applied together. The last one of a key counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyedBatch {
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl KeyedBatch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores `value` under the key.
    pub fn put(&mut self, tenant: TenantId, table: Table, key: &[u8], value: impl Into<Vec<u8>>) {
        self.changes.insert(full_key(tenant, table, key), Some(value.into()));
    }

    /// Removes what is stored under the key, if anything is.
    pub fn delete(&mut self, tenant: TenantId, table: Table, key: &[u8]) {
        self.changes.insert(full_key(tenant, table, key), None);
    }

    /// How many keys it changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Tenant (4 bytes, big-endian), table, key: so that a tenant, and a table of it, is one range.
fn full_key(tenant: TenantId, table: Table, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(KEY_PREFIX + key.len());
    full.extend_from_slice(&tenant.0.to_be_bytes());
    full.push(table.0);
    full.extend_from_slice(key);
    full
}

const KEY_PREFIX: usize = 5;

/// Takes an entry's key and value, and says whether to go on.
pub type ScanVisitor<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// A store of small values by key, behind the journal. Safe to share; one writer at a time.
pub trait KeyedStore: Send + Sync + std::fmt::Debug {
    /// The value under a key.
    ///
    /// # Errors
    /// [`KeyedError::Damaged`], [`KeyedError::Newer`], [`KeyedError::Engine`].
    fn get(&self, tenant: TenantId, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KeyedError>;

    /// Hands the entries of one table whose keys begin with `prefix`, in key order, to `visit` until it breaks off.
    /// With `after`, begins behind that key (which need not exist).
    ///
    /// # Errors
    /// As [`KeyedStore::get`].
    fn scan(
        &self,
        tenant: TenantId,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut ScanVisitor<'_>,
    ) -> Result<(), KeyedError>;

    /// Applies the whole batch and notes that the store has kept up to `reached`; readers see all of it or none.
    /// Not durable before [`KeyedStore::flush`], and a crash may take it back whole.
    ///
    /// # Errors
    /// [`KeyedError::Engine`], [`KeyedError::NoSpace`]; the batch may be applied again.
    fn apply(&self, batch: &KeyedBatch, reached: &Position) -> Result<(), KeyedError>;

    /// Up to where the store has kept up.
    ///
    /// # Errors
    /// As [`KeyedStore::get`].
    fn reached(&self) -> Result<Reached, KeyedError>;

    /// Makes everything applied so far durable.
    ///
    /// # Errors
    /// [`KeyedError::Engine`], [`KeyedError::NoSpace`].
    fn flush(&self) -> Result<(), KeyedError>;
}

/// Where a scan begins and which keys it takes.
fn scan_range(
    tenant: TenantId,
    table: Table,
    prefix: &[u8],
    after: Option<&[u8]>,
) -> (Vec<u8>, std::ops::Bound<Vec<u8>>) {
    let full_prefix = full_key(tenant, table, prefix);
    let start = match after.map(|after| full_key(tenant, table, after)) {
        Some(after) if after >= full_prefix => std::ops::Bound::Excluded(after),
        _ => std::ops::Bound::Included(full_prefix.clone()),
    };
    (full_prefix, start)
}
