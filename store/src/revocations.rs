//! The ledger of revocations: which API keys were taken back, beside the journal and outside of every backup.
//!
//! A backup of before such a moment holds the key as good; a restore takes it back again before anybody is let in. A row is
//! appended before the answer; what a crash keeps from the ledger is appended by the next start, which knows it from
//! the journal. Rows hold the public ids of keys and times.

use onefold_core::access::ApiKeyRevoked;
use onefold_core::decision::{decode, encode};
use onefold_core::ids::{Sequence, TenantId};

use crate::ledger::{LedgerRow, RowLedger};

/// A key that was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationRow {
    /// Whose.
    pub tenant: TenantId,
    /// The sequence that the tenant's log had reached then.
    pub sequence: Sequence,
    /// Which, and when.
    pub revoked: ApiKeyRevoked,
}

/// All of them.
pub type RevocationLedger = RowLedger<RevocationRow>;

impl LedgerRow for RevocationRow {
    const MAGIC: &'static [u8; 8] = b"2FREVOK\0";
    const CONTEXT: &'static str = "onefold 2026-11 ledger of revocations row";
    const FILE: &'static str = "revocations";
    const PENDING: &'static str = "revocations-pending";
    const WHAT: &'static str = "the ledger of revocations";

    fn key(&self) -> (TenantId, Sequence) {
        (self.tenant, self.sequence)
    }

    fn payload(&self) -> Vec<u8> {
        encode(&self.revoked)
    }

    fn read((tenant, sequence): (TenantId, Sequence), payload: &[u8]) -> Option<Self> {
        Some(Self { tenant, sequence, revoked: decode(payload).ok()? })
    }
}
