//! What lies beside the log and in no backup: the ledgers of erasures, stops and revocations, and the signed heads.

use std::path::Path;

use onefold_store::datadir::DataDir;
use onefold_store::erasures::ErasureLedger;
use onefold_store::ledger::Seen;
use onefold_store::revocations::RevocationLedger;
use onefold_store::stops::StopLedger;

use super::{Chart, causes};
use crate::app::heads;
use crate::audit::{AuditError, Walked, ledgers, public_key};

pub(super) fn erasures(chart: &mut Chart, dir: &DataDir, data: &Path, walked: &Walked) {
    const CHECK: &str = "erasures";
    let ledger = ErasureLedger::path(data);
    if !ledger.exists() && !walked.told.erasures.is_empty() {
        let advice = "start the server: it writes the ledger anew from the journal; keep the ledger apart from backups";
        chart.warn(
            CHECK,
            format!("{} is gone; the journal still tells of all erasures here", ledger.display()),
            advice,
        );
        return;
    }
    let held = walked.in_ledger(dir).and_then(|()| walked.keys_are_gone(dir));
    match held {
        Ok(keys) => chart.fine(
            CHECK,
            format!(
                "{} in the journal, all in the ledger; {keys} keys were to be destroyed, and are",
                walked.told.erasures.len()
            ),
        ),
        Err(error) => {
            let advice = match &error {
                // A start does both before it serves.
                AuditError::NotInLedger { .. } | AuditError::NotInLog { .. } | AuditError::KeyAlive { .. } => {
                    "start the server: it finishes what a crash interrupted, before it serves; then look again"
                }
                _ => {
                    "put the ledger back from its own copy: without it nobody can be kept erased, and no server starts"
                }
            };
            chart.fault(CHECK, causes(&error), advice);
        }
    }
    match ErasureLedger::pending(data) {
        Ok(rows) if !rows.is_empty() => {
            let what = format!("{} erasures wait to be carried out, since a backup was restored", rows.len());
            chart.warn(CHECK, what, "start the server: it carries them out before it serves");
        }
        _ => {}
    }
}

pub(super) fn stops(chart: &mut Chart, dir: &DataDir, data: &Path) {
    const CHECK: &str = "stops";
    const ANEW: &str = "start the server: it writes it anew from the journal; keep copies of it apart from backups";
    let path = StopLedger::path(data);
    if !path.exists() {
        let what = format!("{} is gone; a restore needs it so that nobody is contacted who said no", path.display());
        return chart.warn(CHECK, what, ANEW);
    }
    match StopLedger::visit_of(&path, dir.installation(), |_| {}) {
        Ok(Seen { rows, .. }) => chart.fine(CHECK, format!("{rows} words of people who said no, kept for a restore")),
        Err(error) => chart.warn(CHECK, causes(&error), ANEW),
    }
    match StopLedger::pending(data) {
        Ok(rows) if !rows.is_empty() => {
            let what = format!("{} words wait to be said again, since a backup was restored", rows.len());
            chart.warn(CHECK, what, "start the server: it says them again before it serves");
        }
        Ok(_) => {}
        Err(error) => {
            let advice = "no server starts with it: restore the backup again, with a copy of the ledger that is whole";
            chart.fault(CHECK, causes(&error), advice);
        }
    }
}

pub(super) fn revocations(chart: &mut Chart, dir: &DataDir, data: &Path) {
    const CHECK: &str = "revocations";
    const ANEW: &str = "start the server: it writes it anew from the journal; keep copies of it apart from backups";
    let path = RevocationLedger::path(data);
    if !path.exists() {
        let what = format!("{} is gone; a restore needs it so that revoked API keys stay no good", path.display());
        return chart.warn(CHECK, what, ANEW);
    }
    match RevocationLedger::visit_of(&path, dir.installation(), |_| {}) {
        Ok(Seen { rows, .. }) => chart.fine(CHECK, format!("{rows} API keys that were taken back, kept for a restore")),
        Err(error) => chart.warn(CHECK, causes(&error), ANEW),
    }
    match RevocationLedger::pending(data) {
        Ok(rows) if !rows.is_empty() => {
            let what = format!("{} API keys wait to be taken back again, since a backup was restored", rows.len());
            chart.warn(CHECK, what, "start the server: it does so before it serves");
        }
        Ok(_) => {}
        Err(error) => {
            let advice = "no server starts with it: restore the backup again, with a copy of the ledger that is whole";
            chart.fault(CHECK, causes(&error), advice);
        }
    }
}

pub(super) fn signed_heads(chart: &mut Chart, dir: &DataDir, data: &Path) {
    const CHECK: &str = "signed heads";
    let path = heads::path(data);
    if path.exists() && !ledgers::is_without_heads(&path) {
        let key = public_key(dir.root_key());
        return match ledgers::hold_what_was_signed(data, None, dir.installation(), &key) {
            Err(error @ AuditError::LedgerCut { .. }) => {
                let advice = "start the server: it writes anew what the log knows; ask who cut it, and copy it anew";
                chart.fault(CHECK, causes(&error), advice);
            }
            Err(error @ AuditError::HeadLine { .. }) => {
                chart.fault(
                    CHECK,
                    causes(&error),
                    "hold the log against your copy (`onefold audit verify --heads COPY`)",
                );
            }
            // A ledger that cannot be read is told of where it is looked at.
            Ok(()) | Err(_) => chart.fine(CHECK, "they are there; `onefold audit verify` holds the log against them"),
        };
    }
    if path.exists() {
        let what = causes(&AuditError::Emptied { path });
        return chart.fault(CHECK, what, "hold the log against your copy (`onefold audit verify --heads COPY`) first");
    }
    let what = format!("{} is gone: that the log was not cut back is told by a copy of it alone", path.display());
    let advice =
        "hold the log against your copy (`onefold audit verify --heads COPY`), then start the server: it begins anew";
    chart.warn(CHECK, what, advice);
}
