//! The ledger of stops: by which words people said no, beside the journal and outside of every backup.
//!
//! A restore says again what its backup does not know of them. Rows follow the journal within a second or so of the answer
//! to whoever said no; what a crash keeps from them is appended by the next start, which knows it from the journal. They
//! hold keyed digests, numbers and the names of purposes and channels. An erasure takes its person's out again.

use std::collections::HashMap;

use onefold_core::consent::stops::Stop;
use onefold_core::decision::{decode, encode};
use onefold_core::ids::{Digest128, Sequence, TenantId};

use crate::erasures::ErasureRow;
use crate::ledger::{LedgerRow, RowLedger};

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopRow {
    /// Whose.
    pub tenant: TenantId,
    /// The statement: the sequence of its entry in the journal.
    pub sequence: Sequence,
    /// What was said.
    pub stop: Stop,
}

/// All of them.
pub type StopLedger = RowLedger<StopRow>;

impl LedgerRow for StopRow {
    const MAGIC: &'static [u8; 8] = b"2FSTOPS\0";
    const CONTEXT: &'static str = "onefold 2026-11 ledger of stops row";
    const FILE: &'static str = "stops";
    const PENDING: &'static str = "stops-pending";
    const WHAT: &'static str = "the ledger of stops";

    fn key(&self) -> (TenantId, Sequence) {
        (self.tenant, self.sequence)
    }

    fn payload(&self) -> Vec<u8> {
        encode(&self.stop)
    }

    fn read((tenant, sequence): (TenantId, Sequence), payload: &[u8]) -> Option<Self> {
        Some(Self { tenant, sequence, stop: decode(payload).ok()? })
    }
}

/// What was erased when, as the erasure ledger says.
#[derive(Debug, Default)]
pub struct ErasedPoints(HashMap<(TenantId, Digest128), Sequence>);

impl ErasedPoints {
    /// Of these erasures.
    #[must_use]
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a ErasureRow>) -> Self {
        let mut last: HashMap<(TenantId, Digest128), Sequence> = HashMap::new();
        for row in rows {
            let records = row.erased.records.iter().map(|record| record.digest);
            for digest in records.chain(row.erased.suppressed.iter().map(|(_, digest)| *digest)) {
                let known = last.entry((row.tenant, digest)).or_default();
                *known = row.sequence.max(*known);
            }
        }
        Self(last)
    }

    /// LAW 7: a row without what was erased after it was said; `None` when nothing is left of it. Who came back by their
    /// own act and said no again keeps that.
    #[must_use]
    pub fn take_out_of(&self, row: StopRow) -> Option<StopRow> {
        let StopRow { tenant, sequence, stop } = row;
        let erased = |point: &Digest128| self.0.get(&(tenant, *point)).is_some_and(|erased| *erased > sequence);
        stop.without(erased).map(|stop| StopRow { tenant, sequence, stop })
    }

    /// Whether it would take anything out of a row.
    #[must_use]
    pub fn touches(&self, row: &StopRow) -> bool {
        let mut points = row.stop.points.iter().chain(&row.stop.heard_at);
        points.any(|point| self.0.get(&(row.tenant, *point)).is_some_and(|erased| *erased > row.sequence))
    }
}

#[cfg(test)]
mod tests {
    use onefold_core::consent::Decision;
    use onefold_core::fragment::ObservedAt;

    use super::*;
    use crate::erasures::tests::row;
    use crate::keys::Installation;

    fn said(tenant: u32, sequence: u64, points: &[u8]) -> StopRow {
        let stop = Stop {
            points: points.iter().map(|number| Digest128([*number; 16])).collect(),
            heard_at: Vec::new(),
            by_identifier: true,
            purpose: None,
            channel: Some("email".to_owned()),
            decision: Decision::Objected,
            given_at: ObservedAt(3),
            recorded_at: ObservedAt(4),
            jurisdiction: None,
            ends: None,
            upon_request: false,
        };
        StopRow { tenant: TenantId(tenant), sequence: Sequence(sequence), stop }
    }

    #[test]
    fn words_of_before_an_erasure_go_and_those_of_after_it_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, ..) = StopLedger::open(dir.path(), Installation([1; 16])).unwrap();
        // Tenant 2 erased the record 2 at sequence 7.
        let erased = ErasedPoints::of(&[row(2)]);
        ledger.append(&[said(2, 5, &[2]), said(2, 6, &[2, 9]), said(2, 8, &[2]), said(1, 5, &[2])]).unwrap();
        ledger.rewrite(dir.path(), |row| erased.take_out_of(row)).unwrap();
        let left = StopLedger::read(&StopLedger::path(dir.path())).unwrap();
        assert_eq!(left, [said(2, 6, &[9]), said(2, 8, &[2]), said(1, 5, &[2])]);
        assert!(left.iter().all(|row| !erased.touches(row)) && erased.touches(&said(2, 5, &[2])));
    }
}
