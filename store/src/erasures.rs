//! The erasure ledger: what was erased, beside the journal and outside of every backup.
//!
//! A restart asks it which record a destroyed key belonged to; a restore applies it before anything is served. Rows are
//! appended and synced before a key is destroyed, and hold what the journal's own entries say: ordinals, slots, keyed
//! digests. A torn row at the end was never followed by a destroyed key.

use onefold_core::decision::encode;
use onefold_core::erasure::Erased;
use onefold_core::ids::{Sequence, TenantId};

use crate::ledger::{LedgerRow, RowLedger};

/// One erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureRow {
    /// Whose.
    pub tenant: TenantId,
    /// The sequence of its entry in the journal.
    pub sequence: Sequence,
    /// What was erased.
    pub erased: Erased,
}

/// All of them.
pub type ErasureLedger = RowLedger<ErasureRow>;

impl LedgerRow for ErasureRow {
    const MAGIC: &'static [u8; 8] = b"2FERASE\0";
    const CONTEXT: &'static str = "onefold 2026-11 erasure ledger row";
    const FILE: &'static str = "ledger";
    const PENDING: &'static str = "pending";
    const WHAT: &'static str = "the erasure ledger";

    fn key(&self) -> (TenantId, Sequence) {
        (self.tenant, self.sequence)
    }

    fn payload(&self) -> Vec<u8> {
        encode(&self.erased)
    }

    fn read((tenant, sequence): (TenantId, Sequence), payload: &[u8]) -> Option<Self> {
        Some(Self { tenant, sequence, erased: Erased::read(payload).ok()? })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use onefold_core::erasure::ErasedRecord;
    use onefold_core::fragment::ObservedAt;
    use onefold_core::ids::{Digest128, SlotId};

    use super::*;

    /// A row of the tenant with this number.
    pub(crate) fn row(number: u32) -> ErasureRow {
        let record =
            ErasedRecord { ordinal: number, digest: Digest128([number as u8; 16]), slot: Some(SlotId(number)) };
        let erased = Erased {
            request: Sequence(1),
            at: ObservedAt(5),
            review_at: ObservedAt(6),
            records: vec![record; 3],
            suppressed: Vec::new(),
            quarantined: Vec::new(),
            slots: vec![SlotId(number)],
            former: Vec::new(),
        };
        ErasureRow { tenant: TenantId(number), sequence: Sequence(7), erased }
    }
}
