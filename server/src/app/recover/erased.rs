//! Who was erased, as the erasure ledger and the journal say: what the one lost, the other makes good.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use onefold_core::decision::EntryKind;
use onefold_core::erasure::{Erased, RequestKind};
use onefold_core::ids::{Digest128, Place, Sequence, SlotId, TenantId};
use onefold_store::erasures::{ErasureLedger, ErasureRow};
use onefold_store::journal::{Journal, JournalError, JournalOptions};
use onefold_store::ledger::LedgerRow as _;
use onefold_store::revocations::RevocationRow;
use onefold_store::stops::StopLedger;

use super::{Replaying, StartError, Tenants};
use crate::app::lane::Lane;
use crate::app::{Shared, privacy};

/// Whose a key was that an erasure destroyed: the keyed digest of the source record.
pub(super) type ErasedSlots = HashMap<(TenantId, SlotId), Digest128>;

/// The keys that these erasures destroyed.
pub(super) fn erased_slots(rows: &[ErasureRow]) -> ErasedSlots {
    let mut slots = ErasedSlots::new();
    for row in rows {
        let records = row.erased.records.iter().filter_map(|record| Some((record.slot?, record.digest)));
        let former = row.erased.former.iter().map(|key| (key.slot, key.record));
        slots.extend(records.chain(former).map(|(slot, record)| ((row.tenant, slot), record)));
    }
    slots
}

/// The erasures that the journal tells of: what the erasure ledger would say if it had not been lost.
pub(super) fn erasures_in(options: &JournalOptions) -> Result<Vec<ErasureRow>, StartError> {
    let mut rows = Vec::new();
    Journal::open(options.clone(), None, |batch| {
        for entry in batch.entries().filter(|entry| entry.kind.0 == EntryKind::Erased as u8) {
            if let Some(payload) = entry.bytes() {
                let erased = Erased::read(payload)?;
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
                let erased = Erased::read(payload)?;
                rows.push(ErasureRow { tenant: entry.tenant, sequence: entry.sequence, erased });
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    shared.erasures.append(&rows)?;
    Ok(rows)
}

/// Tells of ledgers that lost rows since the newest head was signed. What the log knows of them is put back.
pub(super) fn lost_rows(shared: &Shared) {
    let Some(told) = shared.heads.told() else { return };
    let ledgers = [
        ("erasures", told.erasures, shared.erasures.ever()),
        ("revocations", told.revocations, shared.revocations.ever()),
    ];
    for (ledger, told, has) in ledgers.into_iter().filter(|(_, told, has)| has < told) {
        tracing::error!(
            ledger,
            told,
            has,
            "a ledger lost rows since it was signed what it holds; what the log knows is put back"
        );
    }
}

/// Ledgers that tell of what came behind the log's end lie beside an older copy of it, whoever put it there: a snapshot that was
/// rolled back, files that were copied. What they tell waits to be carried out, as after a restore.
pub(super) fn rolled_back(
    shared: &Shared,
    ends: &HashMap<TenantId, Sequence>,
    (known, revoked): (&mut Vec<ErasureRow>, &mut Vec<RevocationRow>),
) -> Result<(), StartError> {
    let data = shared.dir.path();
    let beyond = |(tenant, sequence): (TenantId, Sequence)| ends.get(&tenant).is_some_and(|end| sequence > *end);
    let erasures = shared.erasures.set_aside(data, |row| beyond(row.key()))?;
    let revocations = shared.revocations.set_aside(data, |row| beyond(row.key()))?;
    known.retain(|row| !beyond(row.key()));
    revoked.retain(|row| !beyond(row.key()));
    // One that is damaged is written anew later on.
    let stops = match StopLedger::open_visiting(data, shared.root.installation(), |_| {}) {
        Ok((ledger, _)) => ledger.set_aside(data, |row| beyond(row.key()))?,
        Err(_) => 0,
    };
    if erasures + revocations + stops > 0 {
        tracing::error!(
            erasures,
            revocations,
            stops,
            "the log ends before what the ledgers beside it tell: this is an older copy of it; they are carried out again"
        );
    }
    Ok(())
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
