//! Who was erased, as the erasure ledger and the journal say: what the one lost, the other makes good.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use onefold_core::decision::{self, EntryKind};
use onefold_core::erasure::RequestKind;
use onefold_core::ids::{Digest128, Place, Sequence, SlotId, TenantId};
use onefold_store::erasures::{ErasureLedger, ErasureRow};
use onefold_store::journal::{Journal, JournalError, JournalOptions};

use super::{Replaying, StartError, Tenants};
use crate::app::lane::Lane;
use crate::app::{Shared, privacy};

/// Whose a key was that an erasure destroyed: the keyed digest of the source record.
pub(super) type ErasedSlots = HashMap<(TenantId, SlotId), Digest128>;

/// The keys that these erasures destroyed.
pub(super) fn erased_slots(rows: &[ErasureRow]) -> ErasedSlots {
    let of_row = |row: &ErasureRow| {
        let tenant = row.tenant;
        row.erased.records.clone().into_iter().filter_map(move |r| Some(((tenant, r.slot?), r.digest)))
    };
    rows.iter().flat_map(of_row).collect()
}

/// The erasures that the journal tells of: what the erasure ledger would say if it had not been lost.
pub(super) fn erasures_in(options: &JournalOptions) -> Result<Vec<ErasureRow>, StartError> {
    let mut rows = Vec::new();
    Journal::open(options.clone(), None, |batch| {
        for entry in batch.entries().filter(|entry| entry.kind.0 == EntryKind::Erased as u8) {
            if let Some(payload) = entry.bytes() {
                let erased = decision::decode(payload)?;
                rows.push(ErasureRow { tenant: entry.tenant, sequence: entry.sequence, erased });
            }
        }
        Ok(())
    })?;
    Ok(rows)
}

/// Puts back into the erasure ledger what memory knows of and the ledger does not: it was cut back, or an older copy was put in
/// its place. A restore by it would bring somebody back.
pub(super) fn lost_from_ledger(
    shared: &Shared,
    known: &[ErasureRow],
    tenants: &Tenants,
) -> Result<Vec<ErasureRow>, StartError> {
    let in_ledger: HashSet<(TenantId, Sequence)> = known.iter().map(|row| (row.tenant, row.sequence)).collect();
    let decided = |(id, tenant): (&TenantId, &Replaying)| -> Vec<(TenantId, Sequence)> {
        let requests = tenant.state.privacy.requests.values().filter(|request| request.kind == RequestKind::Erasure);
        requests.filter_map(|request| Some((*id, request.figures.as_ref()?.first))).collect()
    };
    let lost: HashSet<(TenantId, Sequence)> = tenants.iter().flat_map(decided).collect();
    let lost: HashSet<_> = lost.difference(&in_ledger).copied().filter(|(_, first)| first.0 > 0).collect();
    if lost.is_empty() {
        return Ok(Vec::new());
    }
    tracing::error!(count = lost.len(), "the erasure ledger lacks erasures that the log holds; they are put back");
    let mut rows = Vec::new();
    shared.journal.scan(Place { segment: shared.journal.first(), offset: 0 }, |batch| {
        for entry in batch.entries().filter(|entry| entry.kind.0 == EntryKind::Erased as u8) {
            if let (true, Some(payload)) = (lost.contains(&(entry.tenant, entry.sequence)), entry.bytes()) {
                let erased = decision::decode(payload)?;
                rows.push(ErasureRow { tenant: entry.tenant, sequence: entry.sequence, erased });
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    shared.erasures.append(&rows)?;
    Ok(rows)
}

/// Carries out again what a restore left, before anything is served; of which tenants that is. What was erased in a tenant
/// that this backup does not know is kept in the ledger: a restore of one that does carries it out.
pub(super) fn again(lane: &mut Lane, known: &[ErasureRow]) -> Result<Vec<TenantId>, StartError> {
    let data = lane.shared.dir.path().to_owned();
    let pending = ErasureLedger::pending(&data)?;
    let in_ledger: HashSet<(TenantId, Sequence)> = known.iter().map(|row| (row.tenant, row.sequence)).collect();
    let (mut of_later, mut count) = (Vec::new(), 0_usize);
    for row in &pending {
        let Some(tenant) = lane.shared.tenants().into_iter().find(|tenant| tenant.id == row.tenant) else {
            if !in_ledger.contains(&(row.tenant, row.sequence)) {
                of_later.push(row.clone());
            }
            continue;
        };
        if !privacy::commit::again(lane, &tenant, row)? {
            return Err(StartError::Journal(JournalError::NoSpace));
        }
        count += 1;
    }
    lane.shared.erasures.append(&of_later)?;
    if count > 0 {
        tracing::info!(count, "erasures of since the backup were carried out again");
    }
    if !of_later.is_empty() {
        let count = of_later.len();
        tracing::info!(count, "erasures in tenants that the backup does not know are kept in the ledger");
    }
    ErasureLedger::pending_done(&data)?;
    Ok(pending.into_iter().map(|row| row.tenant).collect())
}
