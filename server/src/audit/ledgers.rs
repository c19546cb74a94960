//! What is kept beside the log: the ledgers of stops and of revocations, the signed heads, and whether the ledgers hold all
//! that they were signed to have been given. What they hold proves the log nothing; without them a restore, or an auditor,
//! lacks it.

use std::fs;
use std::path::{Path, PathBuf};

use onefold_core::head::{HeadError, SignedHead};
use onefold_store::erasures::ErasureRow;
use onefold_store::keys::Installation;
use onefold_store::ledger::{LedgerRow, RowLedger};
use onefold_store::revocations::{RevocationLedger, RevocationRow};
use onefold_store::stops::{StopLedger, StopRow};

use super::AuditError;
use crate::app::heads;

/// Whether the directory was restored and no server started on it yet: then nothing beside the log is begun.
pub(crate) fn waits_for_a_start(data: &Path) -> bool {
    StopLedger::waits(data)
}

/// Reads the ledgers of stops and of revocations, and sees whether the signed heads are there: each is begun by the first
/// start.
///
/// # Errors
/// [`AuditError::Gone`], [`AuditError::Emptied`], [`AuditError::Ledger`].
pub(super) fn are_there(data: &Path, of: Installation) -> Result<(), AuditError> {
    let gone = |path: PathBuf, what| AuditError::Gone { path, what };
    let (stops, revocations, heads) = (StopLedger::path(data), RevocationLedger::path(data), heads::path(data));
    if !stops.exists() {
        return Err(gone(stops, "a restore by it would contact those who said no"));
    }
    StopLedger::visit_of(&stops, of, |_| {})?;
    if !revocations.exists() {
        return Err(gone(revocations, "a restore by it would take API keys that were taken back"));
    }
    RevocationLedger::visit_of(&revocations, of, |_| {})?;
    if !heads.exists() {
        return Err(gone(heads, "that the log was not cut back is told by a copy of it alone"));
    }
    if is_without_heads(&heads) {
        return Err(AuditError::Emptied { path: heads });
    }
    Ok(())
}

/// Whether a file of signed heads holds not one whole line. The first start signs one before it serves.
pub(crate) fn is_without_heads(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| !bytes.contains(&b'\n'))
}

/// Sees whether the ledgers hold as many rows as the newest head says that they were given, of the directory or of a copy that
/// was kept elsewhere: whole rows that were cut off their ends are told by nothing else.
///
/// # Errors
/// [`AuditError::LedgerCut`], [`AuditError::Ledger`], [`AuditError::HeadLine`] when the newest head proves nothing.
pub(crate) fn hold_what_was_signed(
    data: &Path,
    copy: Option<&Path>,
    of: Installation,
    public_key: &str,
) -> Result<(), AuditError> {
    let own = newest(&heads::path(data), public_key)?;
    let kept = copy.map_or(Ok(None), |copy| newest(copy, public_key))?;
    let newest = own.into_iter().chain(kept).max_by(|one, other| one.time.cmp(&other.time));
    let Some(SignedHead { ledgers: Some(told), time, .. }) = newest else { return Ok(()) };
    holds_at_least::<ErasureRow>(data, of, told.erasures, &time)?;
    holds_at_least::<StopRow>(data, of, told.stops, &time)?;
    holds_at_least::<RevocationRow>(data, of, told.revocations, &time)
}

/// The last whole line of a file of heads, if there is one.
///
/// # Errors
/// [`AuditError::HeadLine`] when it proves nothing.
pub(crate) fn newest(path: &Path, public_key: &str) -> Result<Option<SignedHead>, AuditError> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(None) };
    let whole: Vec<&str> = text.rfind('\n').map_or("", |at| &text[..at]).lines().collect();
    let Some((last, before)) = whole.split_last() else { return Ok(None) };
    let bad = |source: HeadError| AuditError::HeadLine { path: path.to_owned(), line: whole.len(), source };
    SignedHead::read(last, before.last().copied(), Some(public_key)).map(Some).map_err(bad)
}

fn holds_at_least<R: LedgerRow>(data: &Path, of: Installation, told: u64, time: &str) -> Result<(), AuditError> {
    let seen = RowLedger::<R>::visit_of(&RowLedger::<R>::path(data), of, |_| {})?;
    let has = seen.rows + seen.taken_out;
    if has < told {
        return Err(AuditError::LedgerCut { what: R::WHAT, has, told, time: time.to_owned() });
    }
    Ok(())
}
