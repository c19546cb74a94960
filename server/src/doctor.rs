//! A look over a data directory whose server is down: everything a start needs, and everything that a start leaves for
//! later. Each finding says what it means and what to do. What a start would do to the end of the journal after a crash is
//! done here too (a write that was never acknowledged is cut); nothing else changes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use onefold_core::decision::{self, EntryKind, Sealed};
use onefold_core::hierarchy::entry::Subject;
use onefold_core::ids::TenantId;
use onefold_store::datadir::{DataDir, DataDirError, OpenOptions};
use onefold_store::journal::{EntryView, JournalError, JournalReader};
use onefold_store::keyed::{self, Inspected};
use onefold_store::vault::{Vault, VaultError};
use serde::Serialize;

use crate::app::checkpoint;
use crate::app::recover::read_root_key;
use crate::audit::{self, AuditError};
use crate::config::CONNECTIONS_MAX;
use crate::metrics::machine;

mod beside;

/// File descriptors that a server needs beside its connections.
const DESCRIPTORS_BESIDE: u64 = 100;
/// Below this share of the file system, in per cent, room is short.
const ROOM_PERCENT_MIN: u64 = 10;
/// Below this writes will soon be refused: a segment of the journal, and some.
const ROOM_BYTES_MIN: u64 = 256 << 20;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Fine,
    /// A server starts and serves; something wants attention.
    Warning,
    /// A server will not start, or cannot serve or keep something.
    Fault,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found, and what it means.
    pub what: String,
    /// What to do; empty where nothing is to be done.
    pub advice: String,
}

/// The findings so far.
#[derive(Debug, Default)]
struct Chart(Vec<Finding>);

impl Chart {
    fn fine(&mut self, check: &'static str, what: impl Into<String>) {
        self.0.push(Finding { check, level: Level::Fine, what: what.into(), advice: String::new() });
    }

    fn warn(&mut self, check: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Finding { check, level: Level::Warning, what: what.into(), advice: advice.into() });
    }

    fn fault(&mut self, check: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Finding { check, level: Level::Fault, what: what.into(), advice: advice.into() });
    }
}

/// An error with its causes, in one line; what an error says of its cause already is not said twice.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

const RESTORE: &str = "restore a backup with `onefold restore`; keep this directory until that is done";

/// Looks a data directory over. Its server must be down.
#[must_use]
pub fn examine(data: &Path, root_key_file: Option<&Path>) -> Vec<Finding> {
    let mut chart = Chart::default();
    descriptors(&mut chart);
    if let Some(dir) = open(&mut chart, data, root_key_file) {
        permissions(&mut chart, data, root_key_file.is_some());
        room(&mut chart, &dir);
        rotations(&mut chart, &dir);
        let reader = journal(&mut chart, &dir, data);
        checkpoints(&mut chart, &dir, reader.as_ref());
        if let Some(reader) = &reader {
            keyed(&mut chart, &dir, reader);
        }
    }
    chart.0
}

fn descriptors(chart: &mut Chart) {
    const CHECK: &str = "file descriptors";
    let wanted = CONNECTIONS_MAX as u64 + DESCRIPTORS_BESIDE;
    match machine::descriptors_max() {
        Some(most) if most < wanted => chart.warn(
            CHECK,
            format!("this shell allows {most}; a server with {CONNECTIONS_MAX} connections needs {wanted}, and cannot take connections or open files without"),
            "raise the limit (`ulimit -n`, LimitNOFILE= in a systemd unit), or lower connections_max",
        ),
        Some(most) => chart.fine(CHECK, format!("this shell allows {most}")),
        None => {}
    }
}

fn open(chart: &mut Chart, data: &Path, root_key_file: Option<&Path>) -> Option<DataDir> {
    const CHECK: &str = "directory";
    if !data.join("FORMAT").exists() {
        let advice = "name the directory that `onefold serve --data` was given; a FORMAT file that was lost comes back with a backup";
        chart.fault(
            CHECK,
            "it holds no FORMAT file: it is no data directory, or its first start was never finished",
            advice,
        );
        return None;
    }
    let root_key = match root_key_file.map(read_root_key).transpose() {
        Ok(key) => key,
        Err(error) => {
            chart.fault("root key", error.to_string(), "name the file that `onefold serve --root-key-file` is given");
            return None;
        }
    };
    match DataDir::open(data, OpenOptions { root_key }) {
        Ok(dir) => {
            chart.fine(CHECK, "its format is known, no server holds it, and the root key is its own");
            Some(dir)
        }
        Err(error) => {
            let advice = match &error {
                DataDirError::InUse(_) => {
                    "stop the server first; while it runs, its metrics and its log tell how it is"
                }
                DataDirError::Newer { .. } => "use the release that wrote it, or a later one",
                DataDirError::WrongRootKey(_) => {
                    "give the key that it was made with, or rotated to (`--root-key-file`)"
                }
                DataDirError::KeyUnusable { .. } => {
                    "put the key back from where it is kept; without it the content is gone, here and in every backup"
                }
                DataDirError::HalfRestored(_) => {
                    "restore it again, from the same backup and with the ledgers as they are now: nothing of it may be served"
                }
                DataDirError::IsBackup(_) => "restore it to another directory, and look over that",
                DataDirError::HalfBackedUp(_) => "take the backup again, and restore it to another directory",
                DataDirError::NotForBackups(_) => "name another directory for the backup",
                DataDirError::KeyExposed { .. } => "chmod 600 the file, and ask who may have read it",
                DataDirError::NoSpace(_) => "make room on its file system",
                DataDirError::Foreign { .. } | DataDirError::FormatDamaged(_) => RESTORE,
                DataDirError::Io { .. } => "see whether the file system is mounted, whole, and open to this user",
            };
            chart.fault(CHECK, causes(&error), advice);
            None
        }
    }
}

/// Files and folders that others may read, and what an interrupted write left.
fn permissions(chart: &mut Chart, data: &Path, key_is_elsewhere: bool) {
    const CHECK: &str = "permissions";
    let (mut exposed, mut unfinished, mut folders) = (Vec::new(), 0, vec![data.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            unfinished += u64::from(path.extension().is_some_and(|ending| ending == "tmp"));
            if found.is_dir() {
                folders.push(path.clone());
            }
            // What lies in a folder that nobody else may enter is safe; keys are asked for twice.
            let is_key = folder.ends_with("keys");
            if found.permissions().mode() & 0o077 != 0 && (is_key || folder == *data && found.is_dir()) {
                exposed.push(path);
            }
        }
    }
    let open_to_others = fs::metadata(data).is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    if exposed.is_empty() || !open_to_others && !exposed.iter().any(|path| path.starts_with(data.join("keys"))) {
        chart.fine(CHECK, "nobody but the owner can read it");
    } else {
        let shown: Vec<String> = exposed.iter().take(5).map(|path| path.display().to_string()).collect();
        let what = format!("others on this machine can read {} of its parts: {}", exposed.len(), shown.join(", "));
        chart.warn(CHECK, what, format!("chmod -R go= {}", data.display()));
    }
    if !key_is_elsewhere && data.join("keys/root.key").exists() {
        chart.warn(
            "root key",
            "it lies in the data directory: whoever copies that can read everything in it",
            "make a key elsewhere, `onefold keys rotate DIR --to FILE`, and start with --root-key-file",
        );
    }
    if unfinished > 0 {
        chart.fine("left-overs", format!("{unfinished} files of interrupted writes; the next start removes them"));
    }
}

fn room(chart: &mut Chart, dir: &DataDir) {
    const CHECK: &str = "disk";
    let Some((free, size)) = dir.space() else { return };
    let percent = free.saturating_mul(100) / size.max(1);
    let what = format!("{} MiB free of {} MiB ({percent} %)", free >> 20, size >> 20);
    let advice = "make room or a larger disk: without room reads go on and writes are refused (DISK_FULL)";
    if free < ROOM_BYTES_MIN {
        chart.fault(CHECK, what, advice);
    } else if percent < ROOM_PERCENT_MIN {
        chart.warn(CHECK, what, advice);
    } else {
        chart.fine(CHECK, what);
    }
}

/// Rotations of keys that did not come to their end, and notes of some that the log cannot be told of.
fn rotations(chart: &mut Chart, dir: &DataDir) {
    const CHECK: &str = "rotation of keys";
    if dir.ring().is_turning() {
        chart.warn(
            CHECK,
            "one was cut off: vaults are under one of two keys, and the root key of before opens both",
            "give the same `onefold keys rotate` again, with the server down: it comes to its end then",
        );
    }
    match dir.rotations_to_tell() {
        Ok(noted) => {
            for bad in &noted.bad {
                let what = format!("line {} of keys/rotations {}: the log lacks a rotation of keys", bad.line, bad.why);
                chart.warn(CHECK, what, "note for the auditor what is known of it, and remove the line");
            }
            if !noted.ended.is_empty() {
                let what = format!("{} are noted; the next start tells the log of them", noted.ended.len());
                chart.fine(CHECK, what);
            }
        }
        Err(error) => chart.warn(CHECK, causes(&error), "see whether the file system is whole and open to this user"),
    }
}

/// Keys of what is sealed, as the journal names them.
pub(crate) struct Vaults<'a> {
    dir: &'a DataDir,
    open: BTreeMap<TenantId, Option<Vault>>,
    /// Contents that their keys opened.
    opened: u64,
    /// Whose keys were destroyed.
    destroyed: u64,
    /// What cannot be read any more: how much of each tenant, and the first of it.
    lost: BTreeMap<TenantId, (u64, String)>,
}

impl<'a> Vaults<'a> {
    /// None is open yet.
    pub(crate) const fn of(dir: &'a DataDir) -> Self {
        Self { dir, open: BTreeMap::new(), opened: 0, destroyed: 0, lost: BTreeMap::new() }
    }

    /// The first tenant of whom something cannot be read any more, how much, and the first of it.
    pub(crate) fn first_lost(&self) -> Option<(TenantId, u64, &str)> {
        self.lost.iter().next().map(|(tenant, (count, first))| (*tenant, *count, first.as_str()))
    }

    /// Looks whether an entry's key is there and opens it.
    pub(crate) fn meet(&mut self, entry: &EntryView<'_>) {
        let (Some(kind), Some(payload)) = (EntryKind::from_u8(entry.kind.0), entry.bytes()) else { return };
        let found = match kind {
            EntryKind::TenantOpened => return self.tenant(entry.tenant, payload),
            EntryKind::FragmentPut
            | EntryKind::Quarantined
            | EntryKind::QuarantinedSaying
            | EntryKind::LateVersion
            | EntryKind::FormerKept
            | EntryKind::StatementRecorded
            | EntryKind::StatementUndated
            | EntryKind::JudgementStated => Sealed::parse(payload)
                .map(|sealed| self.opens(entry, sealed.slot, &sealed.header, sealed.ciphertext))
                .unwrap_or_else(|error| Err(error.to_string())),
            EntryKind::AccountPut
            | EntryKind::AccountParentSet
            | EntryKind::AccountClosed
            | EntryKind::AffiliationStated
            | EntryKind::AffiliationEnded
            | EntryKind::StageSet => Subject::parse(payload)
                .map(|(subject, content)| self.opens(entry, subject.slot, &subject.header(), content))
                .unwrap_or_else(|error| Err(error.to_string())),
            _ => return,
        };
        match found {
            Ok(true) => self.opened += 1,
            Ok(false) => self.destroyed += 1,
            Err(why) => {
                let at = format!("segment {}, offset {}: {why}", entry.place.segment, entry.place.offset);
                self.lost.entry(entry.tenant).or_insert((0, at)).0 += 1;
            }
        }
    }

    fn tenant(&mut self, id: TenantId, payload: &[u8]) {
        // Opening a vault that is not there would make an empty one.
        let there = self.dir.vault().join(id.0.to_string()).join("slots").exists();
        let keys = decision::TenantOpened::decode(payload)
            .ok()
            .and_then(|tenant| self.dir.tenant_keys(&tenant.wrapped_keys, id).ok());
        let vault = keys.filter(|_| there).and_then(|keys| self.dir.open_vault(id, &keys).ok());
        if vault.is_none() {
            self.lost.insert(id, (1, "the vault itself is missing, damaged, or of another root key".to_owned()));
        }
        self.open.insert(id, vault);
    }

    /// Whether its key opens it; false where the key was destroyed.
    fn opens(
        &self,
        entry: &EntryView<'_>,
        slot: onefold_core::ids::SlotId,
        header: &[u8],
        content: &[u8],
    ) -> Result<bool, String> {
        let Some(Some(vault)) = self.open.get(&entry.tenant) else {
            return Err("its vault cannot be opened".to_owned());
        };
        match vault.key(slot) {
            Ok(key) => {
                entry.seal_context().open(&key, 0, header, content).map_err(|error| error.to_string()).map(|_| true)
            }
            Err(VaultError::Destroyed(_) | VaultError::HalfDestroyed(_)) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn journal(chart: &mut Chart, dir: &DataDir, data: &Path) -> Option<JournalReader> {
    const CHECK: &str = "journal";
    let mut vaults = Vaults::of(dir);
    let walked = match audit::walk(dir, |entry| vaults.meet(entry)) {
        Ok(walked) => walked,
        Err(error) => {
            let advice = match &error {
                AuditError::Journal(JournalError::Newer { .. }) => "use the release that wrote it, or a later one",
                AuditError::Journal(JournalError::NoSpace) => "make room on the file system",
                _ => RESTORE,
            };
            chart.fault(CHECK, causes(&error), advice);
            return None;
        }
    };
    let report = &walked.report;
    for damage in report.damages.iter().take(10) {
        chart.fault(CHECK, format!("{damage}; what lies there cannot be served"), RESTORE);
    }
    if report.damages.is_empty() {
        let cut = if walked.cut { "; a write at its end that was never acknowledged was cut off" } else { "" };
        let what = format!("{} entries in {} segments, all as they were written{cut}", report.entries, report.segments);
        chart.fine(CHECK, what);
    }
    for (tenant, (count, first)) in &vaults.lost {
        let what = format!("{count} contents of tenant number {} cannot be read, the first at {first}", tenant.0);
        chart.fault("vault", what, RESTORE);
    }
    if vaults.lost.is_empty() {
        let what =
            format!("{} contents open with their keys; of {} the key was destroyed", vaults.opened, vaults.destroyed);
        chart.fine("vault", what);
    }
    beside::erasures(chart, dir, data, &walked);
    beside::stops(chart, dir, data);
    beside::revocations(chart, dir, data);
    beside::signed_heads(chart, dir, data);
    match walked.reads_are_whole(dir) {
        Ok(entries) => chart.fine("log of reads", format!("{entries} entries, as the journal knows them")),
        Err(error) => {
            chart.fault("log of reads", causes(&error), "keep this directory for the auditor; then restore a backup")
        }
    }
    Some(walked.reader)
}

fn checkpoints(chart: &mut Chart, dir: &DataDir, journal: Option<&JournalReader>) {
    const CHECK: &str = "checkpoint";
    const SLOW: &str = "nothing is lost: the next start replays the journal, which takes longer, and writes a new one";
    let checkpoints = dir.checkpoints();
    let latest = match checkpoints.latest() {
        Ok(latest) => latest,
        Err(error) => return chart.warn(CHECK, causes(&error), SLOW),
    };
    for (number, error) in &latest.passed_over {
        chart.warn(CHECK, format!("number {number} cannot be read: {error}"), SLOW);
    }
    let Some(found) = latest.checkpoint else {
        return chart.fine(CHECK, "there is none; a start replays the whole journal");
    };
    let held = journal.is_none_or(|journal| journal.holds(found.position()).unwrap_or(false));
    if !held {
        let what = format!(
            "number {} knows a place that the journal does not hold: the journal was cut or exchanged",
            found.number()
        );
        return chart.fault(CHECK, what, RESTORE);
    }
    match checkpoint::read_through(&found, dir) {
        Ok(_) => chart.fine(CHECK, format!("number {} can be read, and the journal goes on behind it", found.number())),
        Err(error) => chart.warn(CHECK, format!("number {} is passed over: {error}", found.number()), SLOW),
    }
}

fn keyed(chart: &mut Chart, dir: &DataDir, journal: &JournalReader) {
    const CHECK: &str = "keyed store";
    match keyed::inspect(&dir.keyed(), dir.root_key(), journal) {
        Ok(Inspected::Nothing) => chart.fine(CHECK, "it is empty or not there; a start makes it from the journal"),
        Ok(Inspected::Whole(entries)) => chart.fine(CHECK, format!("it opens, and its {entries} entries add up")),
        Ok(Inspected::WouldBeReplaced(why)) => chart.warn(
            CHECK,
            format!("it cannot be trusted ({why:?})"),
            "nothing is lost: the next start makes it anew from the journal; look at the disk if it comes again",
        ),
        Err(error) => chart.fault(CHECK, causes(&error), "see whether the file system is whole and has room"),
    }
}
