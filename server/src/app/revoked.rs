//! The ledger of revocations: keeps it up with the journal, and carries out what a restore left (see
//! [`onefold_store::revocations`]).

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use onefold_core::access::{ApiKeyRevoked, KeyId};
use onefold_core::ids::TenantId;
use onefold_store::journal::JournalError;
use onefold_store::keys::Installation;
use onefold_store::ledger::LedgerError;
use onefold_store::revocations::{RevocationLedger, RevocationRow};
use tokio::sync::oneshot;

use super::access::{self, Act};
use super::lane::Lane;
use super::recover::StartError;
use super::tenant::Tenant;

/// Opens the ledger, or begins it. One that is damaged, or another installation's, is begun anew: the journal tells of what it held.
///
/// # Errors
/// [`LedgerError::Io`].
pub(super) fn open(data: &Path, of: Installation) -> Result<(RevocationLedger, Vec<RevocationRow>), LedgerError> {
    match RevocationLedger::open(data, of) {
        Ok((ledger, rows, _)) => Ok((ledger, rows)),
        Err(error) if error.is_of_no_use() => {
            tracing::error!(error = %error, "the ledger of revocations is written anew from the journal");
            let what = "the ledger of revocations";
            fs::remove_file(RevocationLedger::path(data)).map_err(|source| LedgerError::Io { what, source })?;
            RevocationLedger::open(data, of).map(|(ledger, rows, _)| (ledger, rows))
        }
        Err(error) => Err(error),
    }
}

/// Appends what the tenants know to be taken back and the ledger does not.
///
/// # Errors
/// [`LedgerError`].
pub(super) fn catch_up(
    ledger: &RevocationLedger,
    rows: &[RevocationRow],
    tenants: &[Arc<Tenant>],
) -> Result<(), LedgerError> {
    let known: HashSet<(TenantId, KeyId)> = rows.iter().map(|row| (row.tenant, row.revoked.id)).collect();
    let mut missing = Vec::new();
    for tenant in tenants {
        let state = tenant.state();
        let revoked = state.api_keys.iter().filter_map(|key| Some((key.id, key.revoked_at?)));
        let revoked = revoked.filter(|(id, _)| !known.contains(&(tenant.id, *id)));
        missing.extend(revoked.map(|(id, revoked_at)| RevocationRow {
            tenant: tenant.id,
            sequence: state.sequence,
            revoked: ApiKeyRevoked { id, revoked_at },
        }));
    }
    if missing.is_empty() { Ok(()) } else { ledger.append(&missing) }
}

/// A key is taken back. That the ledger cannot be written keeps nobody from it: the next start appends what it lacks.
pub(super) fn note(lane: &Lane, tenant: &Tenant, revoked: ApiKeyRevoked) {
    let row = RevocationRow { tenant: tenant.id, sequence: tenant.state().sequence, revoked };
    if let Err(error) = lane.shared.revocations.append(&[row]) {
        tracing::error!(
            error = %error,
            "the ledger of revocations lacks a key that was taken back: a restore would not know it; start the server again"
        );
    }
}

/// Takes back again, after a restore, the keys that were taken back since its backup, before anybody is let in.
///
/// # Errors
/// [`StartError`]: such a key must not be good again.
pub(super) fn after_restore(lane: &mut Lane) -> Result<(), StartError> {
    let data = lane.shared.dir.path().to_owned();
    let (mut count, mut of_later) = (0, Vec::new());
    for row in RevocationLedger::pending(&data)? {
        let of = lane.shared.tenants().into_iter().find(|tenant| tenant.id == row.tenant);
        // Of a key or tenant that this backup does not know, a later one may: the ledger goes on telling of it.
        let Some(tenant) = of.filter(|tenant| tenant.state().api_keys.get(row.revoked.id).is_some()) else {
            of_later.push(row);
            continue;
        };
        let is_good = tenant.state().api_keys.get(row.revoked.id).is_some_and(|key| key.revoked_at.is_none());
        if is_good {
            let (reply, mut answer) = oneshot::channel();
            access::commit(lane, &tenant, Act::Revoke(row.revoked), None, reply)?;
            if matches!(answer.try_recv(), Ok(Err(_))) {
                return Err(StartError::Journal(JournalError::NoSpace));
            }
            count += 1;
        }
    }
    if count > 0 {
        lane.drain()?;
        tracing::info!(count, "API keys that were taken back since the backup were taken back again");
    }
    lane.shared.revocations.append(&of_later)?;
    Ok(RevocationLedger::pending_done(&data)?)
}
