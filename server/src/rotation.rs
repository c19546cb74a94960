//! `onefold keys rotate`: the root key is exchanged, and the cover key below it, without a byte of data being written anew.
//!
//! The server is down. In this order, each step durable before the next: the key ring gets a second cover key, under the root
//! key of before → every vault is put under it → the checkpoints of before are destroyed, keys first → the ring is put under
//! the new root key, with that cover key alone. Until the last step the old root key opens the directory, from it on the
//! new one alone; a rotation that was cut off is settled when it is asked for again, and done with another cover key. The
//! start that follows tells each tenant's log of it.

use std::path::Path;

use onefold_core::decision::{self, EntryKind, KeysRotated};
use onefold_core::ids::TenantId;
use onefold_store::checkpoint::CheckpointError;
use onefold_store::datadir::{DataDir, DataDirError, OpenOptions};
use onefold_store::journal::{Journal, JournalError, JournalOptions};
use onefold_store::vault::VaultError;

use crate::app::recover::{StartError, read_root_key};
use crate::clock::Clock;
use crate::doctor::Vaults;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Which rotation it was, from 1.
    pub generation: u32,
    /// Vaults that were put under the new key.
    pub vaults: usize,
    /// Whether the root key is another one.
    pub root_key: bool,
    /// It had been done before, by a call that was cut off at its very end.
    pub already: bool,
}

/// How far a rotation is. Whoever is told may be killed at any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The directory is open, and nothing has changed.
    Opened,
    /// The ring holds the next cover key.
    Begun,
    /// So many vaults are under it.
    Vaults(usize),
    /// No checkpoint of before can be read.
    Checkpoints,
    /// It is noted for the log.
    Noted,
    /// All is under the new keys.
    Ended,
}

/// Keys are not rotated. Nothing is lost by that: the directory opens with the root key of before.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// A file of a root key cannot be used.
    #[error(transparent)]
    KeyFile(#[from] StartError),
    /// The directory cannot be opened or written.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The new key is the old one.
    #[error("the new root key is the one in use: make another, e.g. `(umask 077; openssl rand -hex 32 > new.key)`")]
    SameKey,
    /// The key to go to would lie in the directory.
    #[error(
        "the new root key lies in the data directory: whoever copies that could read everything; keep it elsewhere"
    )]
    InDirectory,
    /// The log cannot be read.
    #[error("the log: {0}")]
    Journal(#[from] JournalError),
    /// A vault cannot be opened or written.
    #[error("the vault of tenant number {}: {source}", .tenant.0)]
    Vault {
        /// Whose.
        tenant: TenantId,
        /// Why.
        source: VaultError,
    },
    /// What cannot be read is to be found and mended first: without its checkpoint a directory that lacks a key does not
    /// start, and a vault that is missing would be made anew, and empty.
    #[error(
        "nothing was changed: of tenant number {}, {count} of what the log holds cannot be read with the keys that are there ({first}): \
         `onefold doctor` says more; bring the vault back, or restore a backup", .tenant.0
    )]
    Lost {
        /// Whose.
        tenant: TenantId,
        /// How many contents.
        count: u64,
        /// The first of them, and why.
        first: String,
    },
    /// Checkpoints cannot be destroyed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Rotates the keys of a data directory whose server is down. `from` is the file of the root key, where it is kept outside
/// of the directory; `to` that of the one to go to, without which the root key stays and what is below it alone changes.
///
/// # Errors
/// [`RotateError`]. Asked again with the same files, it goes on where it was cut off.
pub fn rotate(
    data: &Path,
    from: Option<&Path>,
    to: Option<&Path>,
    clock: &dyn Clock,
    mut step: impl FnMut(Step),
) -> Result<Rotated, RotateError> {
    if to.is_some_and(|to| lies_in(to, data)) {
        return Err(RotateError::InDirectory);
    }
    let (from, to) = (from.map(read_root_key).transpose()?, to.map(read_root_key).transpose()?);
    if to.is_some() && from == to {
        return Err(RotateError::SameKey);
    }
    if !data.join("FORMAT").exists() {
        // Opening would make one.
        let entry = "nothing that a server left".to_owned();
        return Err(DataDirError::Foreign { dir: data.to_owned(), entry }.into());
    }
    let mut dir = match (DataDir::open(data, OpenOptions { root_key: from }), &to) {
        (Err(error @ (DataDirError::WrongRootKey(_) | DataDirError::KeyUnusable { .. })), Some(to)) => {
            // Cut off behind its last step, it is done.
            let options = OpenOptions { root_key: Some(to.clone()) };
            let Ok(dir) = DataDir::open(data, options) else { return Err(error.into()) };
            // One that goes on from this key to another is not at its end.
            if dir.ring().is_turning() {
                return Err(error.into());
            }
            dir.drop_stale_root_key()?;
            let generation = dir.ring().generation();
            return Ok(Rotated { generation, vaults: 0, root_key: true, already: true });
        }
        (opened, _) => opened?,
    };
    if to.as_ref().is_some_and(|to| dir.opens_with(to)) {
        return Err(RotateError::SameKey);
    }
    step(Step::Opened);
    let tenants = tenants_of(&dir)?;
    if dir.ring().is_turning() {
        // Since one was cut off the directory may have been served and copied: what the copy's ring holds must not open what
        // comes after.
        turn_all(&dir, &tenants, |_| {})?;
        dir.settle_rotation()?;
    }
    dir.begin_rotation()?;
    step(Step::Begun);
    let vaults = turn_all(&dir, &tenants, |vaults| step(Step::Vaults(vaults)))?;
    step(Step::Checkpoints);
    let root_key = to.is_some();
    let generation = dir.ring().turned().generation();
    dir.note_rotation(KeysRotated { generation, at: clock.now(), root_key })?;
    step(Step::Noted);
    dir.end_rotation(to)?;
    step(Step::Ended);
    Ok(Rotated { generation, vaults, root_key, already: false })
}

/// Puts every vault under the next cover key, and destroys the checkpoints of before. How many vaults were put there now.
fn turn_all(
    dir: &DataDir,
    tenants: &[(TenantId, Vec<u8>)],
    mut turned: impl FnMut(usize),
) -> Result<usize, RotateError> {
    let mut vaults = 0;
    for (tenant, wrapped) in tenants {
        let at = |source| RotateError::Vault { tenant: *tenant, source };
        let keys = dir.tenant_keys(wrapped, *tenant).map_err(|_| at(VaultError::WrongKey))?;
        vaults += usize::from(dir.ring().turn_vault(&dir.vault(), *tenant, &keys).map_err(at)?);
        turned(vaults);
    }
    let checkpoints = dir.checkpoints();
    checkpoints.destroy_all()?;
    checkpoints.sweep()?;
    Ok(vaults)
}

fn lies_in(file: &Path, dir: &Path) -> bool {
    matches!((file.canonicalize(), dir.canonicalize()), (Ok(file), Ok(dir)) if file.starts_with(&dir))
}

/// Every tenant that the log opened, with its keys as they lie there.
///
/// # Errors
/// [`RotateError::Lost`] when a key is missing or damaged that the log names.
fn tenants_of(dir: &DataDir) -> Result<Vec<(TenantId, Vec<u8>)>, RotateError> {
    let mut tenants = Vec::new();
    let mut vaults = Vaults::of(dir);
    Journal::open(JournalOptions::new(dir.journal()), None, |batch| {
        for entry in batch.entries() {
            vaults.meet(&entry);
            if entry.kind.0 == EntryKind::TenantOpened as u8
                && let Some(payload) = entry.bytes()
            {
                tenants.push((entry.tenant, decision::TenantOpened::decode(payload)?.wrapped_keys));
            }
        }
        Ok(())
    })?;
    match vaults.first_lost() {
        Some((tenant, count, first)) => Err(RotateError::Lost { tenant, count, first: first.to_owned() }),
        None => Ok(tenants),
    }
}
