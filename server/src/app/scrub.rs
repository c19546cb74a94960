//! Looks for bit rot after a start that did not read everything: what a checkpoint spared the replay is read once, beside
//! serving, and what is damaged is named while a backup still has it.

use std::sync::{Arc, Weak};
use std::thread;

use onefold_store::journal::JournalReader;
use onefold_store::vault::VaultError;

use super::Shared;

/// Starts the look. It ends by itself, or soon after the server has.
pub(super) fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
    let (journal, weak) = (shared.journal.clone(), Arc::downgrade(shared));
    thread::Builder::new().name("scrub".to_owned()).spawn(move || look(&journal, &weak)).map(drop)
}

fn look(journal: &JournalReader, shared: &Weak<Shared>) {
    match journal.verify_while(|| shared.strong_count() > 0) {
        Ok(report) => {
            for damage in report.damages {
                tracing::error!(error = %damage, "restore a backup: the journal cannot be replayed as it is");
            }
        }
        Err(error) => tracing::error!(error = %error, "the journal cannot be read through"),
    }
    // Not held: the server's end must not wait for this, nor the next start in this directory.
    let tenants = shared.upgrade().map(|shared| shared.tenants()).unwrap_or_default();
    for tenant in tenants {
        let slots: Vec<_> = tenant.state().engine.all_records().filter(|r| r.live).filter_map(|r| r.slot).collect();
        for slot in slots {
            if shared.strong_count() == 0 {
                return;
            }
            if let Err(error @ (VaultError::Damaged(_) | VaultError::Unknown(_))) = tenant.vault.key(slot) {
                let tenant = tenant.name.as_str();
                tracing::error!(tenant, error = %error, "restore a backup: a record cannot be read any more");
            }
        }
    }
}
