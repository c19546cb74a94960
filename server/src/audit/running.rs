//! The same checks in a server that runs, beside its writes: everything that was durable when the check began.
//!
//! Nothing is locked. What an erasure destroys is destroyed behind its entry in the log, so the check waits for those that
//! it met to be acknowledged before it looks for them elsewhere.

use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use onefold_core::ids::{Place, Sequence};
use onefold_core::reads::ReadLogMark;
use onefold_store::journal::{JournalError, Position};

use super::ledgers;
use super::{Audit, AuditError, Told, heads_hold, hexadecimal, in_log, log_of_reads, public_key, reaches};
use crate::app::heads;
use crate::app::tenant::Tenant;
use crate::app::{App, Shared};

/// Heads that one call may bring.
pub const KEPT_HEADS_MAX: usize = 1_000;
/// How often it is looked whether an erasure was acknowledged.
const LOOKED_EVERY: Duration = Duration::from_millis(10);
/// A log of reads may lose what is over its time while it is looked at; so often it is looked at again.
const LOOKS_MAX: usize = 3;

/// A head that was kept elsewhere: segment, offset, chain, and when it was signed.
pub type KeptHead = (u32, u32, [u8; 32], String);

/// How far a check has come: segments read, and all of them.
pub type Progress = (u32, u32);

/// Checks the log of a server that runs. `goes_on` is told how far it has come and asked whether anybody waits. Not for
/// asynchronous threads.
///
/// # Errors
/// [`AuditError`] names the first thing that does not fit, beside what was found up to there.
pub fn verify(
    app: &App,
    kept_heads: &[KeptHead],
    goes_on: &mut dyn FnMut(Progress) -> bool,
) -> (Audit, Result<(), AuditError>) {
    let shared = &app.shared;
    let mut found = Audit { public_key: public_key(&shared.root), ..Audit::default() };
    let checked = check(shared, kept_heads, goes_on, &mut found);
    (found, checked)
}

fn check(
    shared: &Shared,
    kept_heads: &[KeptHead],
    goes_on: &mut dyn FnMut(Progress) -> bool,
    found: &mut Audit,
) -> Result<(), AuditError> {
    let (told, end) = entries(shared, goes_on, found)?;
    found.head = hexadecimal(&end.chain);
    found.end = (end.segment, end.offset);
    // What was read lies in files that are open. What counts is what a start would find.
    let mut broken_off = false;
    let report = shared.journal.verify_while(|| {
        broken_off = shared.has_failed() || !goes_on((found.segments, found.segments));
        !broken_off
    })?;
    if broken_off {
        return Err(AuditError::BrokenOff);
    }
    if let Some(damage) = report.damages.first() {
        return Err(JournalError::Damaged(*damage).into());
    }
    let tenants = shared.tenants();
    for tenant in &tenants {
        acknowledged(shared, tenant, &told)?;
    }
    let of = shared.root.installation();
    told.in_ledger(shared.dir.path(), of)?;
    told.beside_the_log(shared.dir.path(), of)?;
    found.erasures = told.erasures.len() as u64;
    for tenant in &tenants {
        found.destroyed_keys += told.keys_are_gone(tenant.id, Some(&tenant.vault))?;
        found.reads += reads(shared, tenant, &told.marks_of(tenant.id))?;
    }
    let own = heads::path(shared.dir.path());
    if own.exists() {
        (found.heads, found.head_time) = heads_hold(&own, &found.public_key, &shared.journal, &end)?;
        ledgers::hold_what_was_signed(shared.dir.path(), None, of, &found.public_key)?;
    }
    for (segment, offset, chain, time) in kept_heads {
        let head = Position { segment: *segment, offset: *offset, chain: *chain };
        reaches(&shared.journal, &head, &end, time)?;
    }
    for text in &told.receipts {
        in_log(text, &found.public_key, &shared.journal)?;
        found.receipts += 1;
    }
    Ok(())
}

/// What the entries tell, up to what is durable when it gets there; and where that is.
fn entries(
    shared: &Shared,
    goes_on: &mut dyn FnMut(Progress) -> bool,
    found: &mut Audit,
) -> Result<(Told, Position), AuditError> {
    let log = &shared.journal;
    // Where it begins the check ends: it does not run after a writer that is quicker.
    let durable = log.durable();
    let (mut told, mut end, mut broken_off) = (Told::default(), log.begins(log.first())?, false);
    log.scan(Place { segment: log.first(), offset: 0 }, |batch| {
        if batch.start.segment > found.segments {
            found.segments = batch.start.segment;
            broken_off = shared.has_failed() || !goes_on((found.segments, durable.segment));
        }
        if broken_off || (batch.start.segment, batch.start.offset) >= (durable.segment, durable.offset) {
            return Ok(ControlFlow::Break(()));
        }
        for entry in batch.entries() {
            told.take(&entry)?;
        }
        found.batches += 1;
        found.entries += u64::from(batch.len);
        end = batch.end;
        Ok(ControlFlow::Continue(()))
    })?;
    if broken_off { Err(AuditError::BrokenOff) } else { Ok((told, end)) }
}

/// Waits until the erasures of a tenant that the log tells of are acknowledged: then ledger and vault have followed.
fn acknowledged(shared: &Shared, tenant: &Tenant, told: &Told) -> Result<(), AuditError> {
    let of_tenant = told.erasures.iter().filter(|(of, ..)| *of == tenant.id);
    let last = of_tenant.map(|(_, sequence, _)| *sequence).max().unwrap_or(Sequence(0));
    while tenant.durable() < last {
        if shared.has_failed() {
            return Err(AuditError::BrokenOff);
        }
        thread::sleep(LOOKED_EVERY);
    }
    Ok(())
}

/// Holds a tenant's log of reads against what the journal says of it.
fn reads(shared: &Shared, tenant: &Tenant, marks: &[ReadLogMark]) -> Result<u64, AuditError> {
    let Some(log) = shared.reads.of(tenant.id) else {
        let Some(last) = marks.last() else { return Ok(0) };
        let (segment, offset, _) = last.end;
        return Err(AuditError::ReadsCut { tenant: tenant.id, what: "does not end", segment, offset });
    };
    let mut looks = 0;
    loop {
        let last = tenant.state().privacy.reads_mark;
        let checked = log_of_reads(tenant.id, &log, marks, last.as_ref());
        looks += 1;
        if checked.is_ok() || looks >= LOOKS_MAX {
            return checked;
        }
    }
}
