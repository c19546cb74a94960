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
use onefold_store::stops::{ErasedPoints, StopLedger, StopRow};

use super::{Replaying, StartError, Tenants};
use crate::app::lane::Lane;
use crate::app::tenant::State;
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

/// Ledgers that tell of what the log does not hold lie beside an older copy of it, whoever put it there: a snapshot that was
/// rolled back, files that were copied. That is what came behind the log's end, and, where the copy went on by itself before the
/// ledgers came, what lies within it and is something else there. What they tell waits to be carried out, as after a restore.
pub(super) fn rolled_back(
    shared: &Shared,
    tenants: &Tenants,
    (known, revoked): (&mut Vec<ErasureRow>, &mut Vec<RevocationRow>),
) -> Result<(), StartError> {
    let data = shared.dir.path();
    let end = |tenant: TenantId| tenants.get(&tenant).map(|tenant| tenant.state.sequence);
    let beyond = |(tenant, sequence): (TenantId, Sequence)| end(tenant).is_some_and(|end| sequence > end);
    let of_another_course = of_another_course(shared, tenants, known)?;
    let erased_elsewhere = |row: &ErasureRow| beyond(row.key()) || of_another_course.contains(row);
    let erasures = shared.erasures.set_aside(data, erased_elsewhere)?;
    known.retain(|row| !erased_elsewhere(row));
    // A key that the log knows, and knows to be good.
    let is_good = |row: &RevocationRow| {
        let key = tenants.get(&row.tenant).and_then(|tenant| tenant.state.api_keys.get(row.revoked.id));
        key.is_some_and(|key| key.revoked_at.is_none())
    };
    let revoked_elsewhere = |row: &RevocationRow| beyond(row.key()) || is_good(row);
    let revocations = shared.revocations.set_aside(data, revoked_elsewhere)?;
    revoked.retain(|row| !revoked_elsewhere(row));
    // Whom an erasure took out of memory it takes out of the ledger too, if a crash kept it from that.
    let taken_out = ErasedPoints::of(known.iter());
    let is_unknown = |row: &StopRow| {
        let state = tenants.get(&row.tenant).map(|tenant| &tenant.state);
        state.is_some_and(|state| !privacy::again::is_said(state, row)) && taken_out.take_out_of(row.clone()).is_some()
    };
    // One that is damaged is written anew later on.
    let stops = match StopLedger::open_visiting(data, shared.root.installation(), |_| {}) {
        Ok((ledger, _)) => ledger.set_aside(data, |row| beyond(row.key()) || is_unknown(row))?,
        Err(_) => 0,
    };
    if erasures + revocations + stops > 0 {
        tracing::error!(
            erasures,
            revocations,
            stops,
            "the log does not hold what the ledgers beside it tell: this is an older copy of it; they are carried out again"
        );
    }
    Ok(())
}

/// The erasures of which the ledger tells within the log, and which the log does not hold there. The log is read only for
/// those of which the state knows nothing, from where they would be told, and no further than it has to be.
fn of_another_course(shared: &Shared, tenants: &Tenants, known: &[ErasureRow]) -> Result<Vec<ErasureRow>, StartError> {
    let is_doubtful = |row: &&ErasureRow| {
        let state = tenants.get(&row.tenant).map(|tenant| &tenant.state);
        state.is_some_and(|state| row.sequence <= state.sequence && !is_decided(state, &row.erased, row.sequence))
    };
    let doubtful: Vec<&ErasureRow> = known.iter().filter(is_doubtful).collect();
    let first = Place { segment: shared.journal.first(), offset: 0 };
    let told_behind = |row: &&ErasureRow| {
        let asked = tenants.get(&row.tenant)?.state.privacy.requests.get(&row.erased.request)?;
        let figures = asked.figures.as_ref().filter(|figures| figures.first == row.sequence)?;
        let (segment, offset, _) = figures.before;
        (segment >= first.segment).then_some(Place { segment, offset })
    };
    let from = doubtful.iter().map(|row| told_behind(row).unwrap_or(first));
    let Some(from) = from.min_by_key(|place| (place.segment, place.offset)) else { return Ok(Vec::new()) };
    let mut wanted: HashSet<(TenantId, Sequence)> = doubtful.iter().map(|row| row.key()).collect();
    let mut held: HashMap<(TenantId, Sequence), Erased> = HashMap::new();
    shared.journal.scan(from, |batch| {
        for entry in batch.entries() {
            let key = (entry.tenant, entry.sequence);
            if let (true, true, Some(payload)) =
                (entry.kind.0 == EntryKind::Erased as u8, wanted.remove(&key), entry.bytes())
            {
                held.insert(key, Erased::read(payload)?);
            }
        }
        Ok(if wanted.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(doubtful.into_iter().filter(|row| held.get(&row.key()) != Some(&row.erased)).cloned().collect())
}

/// Whether the state knows of this very erasure: its request was carried out there, and stops what it erased.
fn is_decided(state: &State, erased: &Erased, sequence: Sequence) -> bool {
    let figures = state.privacy.requests.get(&erased.request).and_then(|asked| asked.figures.as_ref());
    let records = erased.records.iter().map(|record| record.digest);
    let mut digests = records.chain(erased.suppressed.iter().map(|(_, digest)| *digest)).peekable();
    let stops = |digest: Digest128| {
        let held = state.privacy.suppressions.get(&digest);
        held.is_some_and(|held| held.request == erased.request && held.created_at == erased.at)
    };
    figures.is_some_and(|figures| figures.first == sequence) && (digests.peek().is_none() || digests.any(stops))
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
