//! The store in memory: the model that the one on disk is measured against, and a stand-in where nothing needs to last.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use onefold_core::ids::TenantId;

use super::{KEY_PREFIX, KeyedBatch, KeyedError, KeyedStore, Reached, ScanVisitor, Table, full_key, scan_range};
use crate::journal::Position;

/// A [`KeyedStore`] that forgets everything when dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    content: RwLock<Content>,
}

#[derive(Default)]
struct Content {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    reached: Option<Position>,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("values", &self.values.len()).field("reached", &self.reached).finish()
    }
}

impl KeyedStore for MemoryStore {
    fn get(&self, tenant: TenantId, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KeyedError> {
        let content = self.content.read().unwrap_or_else(PoisonError::into_inner);
        Ok(content.values.get(&full_key(tenant, table, key)).cloned())
    }

    fn scan(
        &self,
        tenant: TenantId,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut ScanVisitor<'_>,
    ) -> Result<(), KeyedError> {
        let content = self.content.read().unwrap_or_else(PoisonError::into_inner);
        let (prefix, start) = scan_range(tenant, table, prefix, after);
        for (key, value) in content.values.range((start, Bound::Unbounded)) {
            if !key.starts_with(&prefix) || visit(&key[KEY_PREFIX..], value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: &KeyedBatch, reached: &Position) -> Result<(), KeyedError> {
        let mut content = self.content.write().unwrap_or_else(PoisonError::into_inner);
        for (key, change) in &batch.changes {
            match change {
                Some(value) => content.values.insert(key.clone(), value.clone()),
                None => content.values.remove(key),
            };
        }
        content.reached = Some(*reached);
        Ok(())
    }

    fn reached(&self) -> Result<Reached, KeyedError> {
        let content = self.content.read().unwrap_or_else(PoisonError::into_inner);
        Ok(content.reached.map_or(Reached::Nothing, Reached::At))
    }

    fn flush(&self) -> Result<(), KeyedError> {
        Ok(())
    }
}
