//! Persons with unmistakable values, and the search for them in every byte of a data directory, as it lies and with every
//! key that is left.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a directory that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use onefold_core::decision::{EntryKind, Sealed, TenantOpened};
use onefold_core::hierarchy::entry::Subject;
use onefold_core::ids::TenantId;
use onefold_store::datadir::{DataDir, OpenOptions};
use onefold_store::journal::{Journal, JournalOptions};
use onefold_store::vault::Vault;

/// What every value of a person begins with, so that a search finds all of them and whose they are.
pub const CANARY: &[u8] = b"zqxw";

/// The word of one person.
#[must_use]
pub fn canary(who: usize) -> String {
    format!("zqxw{who:05}e")
}

/// Whether this is such a word.
#[must_use]
pub fn is_canary(word: &str) -> bool {
    word.as_bytes().starts_with(CANARY)
}

/// The address of one person.
#[must_use]
pub fn mail(who: usize) -> String {
    format!("{}@harbour-mail.net", canary(who))
}

/// Everybody whose values are in these bytes.
pub fn found_in(bytes: &[u8], found: &mut BTreeSet<usize>) {
    let mut rest = bytes;
    while let Some(place) = rest.windows(CANARY.len()).position(|window| window.eq_ignore_ascii_case(CANARY)) {
        rest = &rest[place + CANARY.len()..];
        let digits: Option<usize> =
            rest.get(..5).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|text| text.parse().ok());
        found.extend(digits);
    }
}

/// Everybody of whom a file below the directory holds a value as it is.
#[must_use]
pub fn in_the_clear(dir: &Path) -> BTreeSet<usize> {
    let (mut found, mut open) = (BTreeSet::new(), vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found_in(&fs::read(path).unwrap(), &mut found) }
        }
    }
    found
}

/// Everybody of whom something can be read with the keys that are left: journal, quarantine, statements, judgements,
/// accounts, checkpoints. The server must be down.
#[must_use]
pub fn with_the_keys(data: &Path, segment_bytes: u32) -> BTreeSet<usize> {
    let dir = DataDir::open(data, OpenOptions::default()).unwrap();
    let mut found = BTreeSet::new();
    let mut vaults: BTreeMap<TenantId, Vault> = BTreeMap::new();
    let mut opened = 0;
    let options = JournalOptions { dir: dir.journal(), segment_bytes };
    drop(Journal::open(options, None, |batch| {
        for entry in batch.entries() {
            let Some(payload) = entry.bytes() else { continue };
            found_in(payload, &mut found);
            match EntryKind::from_u8(entry.kind.0) {
                Some(EntryKind::TenantOpened) => {
                    let tenant = TenantOpened::decode(payload)?;
                    let keys = dir.tenant_keys(&tenant.wrapped_keys, entry.tenant)?;
                    vaults.insert(entry.tenant, dir.open_vault(entry.tenant, &keys)?);
                }
                Some(
                    EntryKind::FragmentPut
                    | EntryKind::Quarantined
                    | EntryKind::QuarantinedSaying
                    | EntryKind::StatementRecorded
                    | EntryKind::StatementUndated
                    | EntryKind::LateVersion
                    | EntryKind::FormerKept
                    | EntryKind::JudgementStated,
                ) => {
                    let sealed = Sealed::parse(payload)?;
                    if let Ok(key) = vaults[&entry.tenant].key(sealed.slot) {
                        let plain = entry.seal_context().open(&key, 0, &sealed.header, sealed.ciphertext)?;
                        found_in(&plain, &mut found);
                        opened += 1;
                    }
                }
                Some(
                    EntryKind::AccountPut
                    | EntryKind::AccountParentSet
                    | EntryKind::AccountClosed
                    | EntryKind::AffiliationStated
                    | EntryKind::AffiliationEnded
                    | EntryKind::StageSet,
                ) => {
                    let (subject, ciphertext) = Subject::parse(payload)?;
                    if let Ok(key) = vaults[&entry.tenant].key(subject.slot) {
                        let plain = entry.seal_context().open(&key, 0, &subject.header(), ciphertext)?;
                        found_in(&plain, &mut found);
                        opened += 1;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }));
    assert!(opened > 0, "the search opens what it should");
    // Any key on everything: a slot that is left must not open what another slot sealed.
    let checkpoints = dir.checkpoints();
    if let Some(checkpoint) = checkpoints.latest().unwrap().checkpoint {
        let names: Vec<String> = checkpoint.sections().map(str::to_owned).collect();
        for name in names {
            found_in(&checkpoint.read(&name).unwrap(), &mut found);
        }
    }
    found
}
