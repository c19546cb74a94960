//! From a backup to a data directory that nobody erased since comes back in.
//!
//! A backup is a directory with a manifest and the files that it names. It holds the keys of its day, so whoever was
//! erased after it was taken is in it, and whoever said no since is not known to have. The erasure ledger, the ledger of
//! stops and that of revocations, which live outside of every backup, say who; what of them the backup does not know is put beside the new data
//! directory as pending, and the first start carries it out before anything is served.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use onefold_core::decision::EntryKind;
use onefold_core::erasure::Erased;
use onefold_core::head::LedgersTold;
use onefold_core::ids::{Sequence, TenantId};
use onefold_store::datadir::{BACKUP_MANIFEST, DataDir, Filling, OpenOptions, is_unfinished_backup};
pub use onefold_store::datadir::{Copying, DataDirError};
use onefold_store::erasures::{ErasureLedger, ErasureRow};
use onefold_store::journal::{Journal, JournalError, JournalOptions, Position};
use onefold_store::keys::{Installation, RootKey};
use onefold_store::ledger::{LedgerError, LedgerRow, RowLedger};
use onefold_store::revocations::{RevocationLedger, RevocationRow};
use onefold_store::stops::{ErasedPoints, StopLedger, StopRow};
use serde::{Deserialize, Serialize};

use crate::app::backup::digest_of;
use crate::app::heads;
use crate::app::recover::{StartError, read_root_key};
use crate::audit::{ledgers::newest, public_key};

/// The manifest's name.
pub const MANIFEST: &str = BACKUP_MANIFEST;
/// The file that makes a data directory of a directory, and a backup of another: it is written last.
pub const FORMAT: &str = "FORMAT";

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its path, in the backup and in the data directory.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// blake3 of its content, hexadecimal.
    pub digest: String,
}

/// What a backup holds. Its text is canonical.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The shape of this text.
    pub backup_version: u32,
    /// The release that took it.
    pub software: String,
    /// When it was taken.
    pub taken_time: String,
    /// The end of the log.
    pub segment: u32,
    /// Offset in the segment.
    pub offset: u32,
    /// Chain hash there, hexadecimal.
    pub chain: String,
    /// The files.
    pub files: Vec<FileEntry>,
    /// blake3 over the rest of this text, hexadecimal.
    pub digest: String,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Entries of the log.
    pub entries: u64,
    /// Erasures that the backup knows.
    pub known: usize,
    /// Erasures since, which the first start carries out.
    pub pending: usize,
    /// Withdrawals, objections, suppressions, restrictions and their ends since, which the first start says again.
    pub stops: usize,
    /// Ledgers whose last row is not whole, by what they are called; it was left out, as [`Ledgers::torn`] allowed.
    pub torn: Vec<&'static str>,
    /// Ledgers that do not say of which installation they are: an older release wrote them.
    pub unnamed: Vec<&'static str>,
    /// Erasures that the backup knows and the ledger does not: it is older than the backup, or lost its end.
    pub lacks: usize,
}

/// A backup that is not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The manifest is damaged, or there is none: the backup was cut off.
    #[error("{path}: {why}; the backup is damaged or was cut off")]
    Manifest {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The backup was cut off before its end.
    #[error("{0} is an unfinished backup: it cannot be restored; take it again with `onefold backup {0}`")]
    Unfinished(PathBuf),
    /// A file is not what the manifest says.
    #[error("{path}: {why}; the backup is damaged")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The directory to restore to is not empty.
    #[error("{0} is there already and not empty: restore to a directory of its own")]
    NotEmpty(PathBuf),
    /// The log inside is damaged.
    #[error("the log in the backup: {0}")]
    Journal(#[from] JournalError),
    /// The log ends elsewhere than the manifest says.
    #[error("the log in the backup does not end where the manifest says")]
    End,
    /// The root key's file cannot be used.
    #[error(transparent)]
    RootKey(#[from] StartError),
    /// The data directory cannot be opened.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A ledger of another installation: whoever is in it is somebody else, and who should be in it is not.
    #[error(
        "{path}: {what} is that of another installation than the backup's; name the one of the installation that the backup is of"
    )]
    Elsewhere {
        /// Where it lies.
        path: PathBuf,
        /// Which ledger.
        what: &'static str,
    },
    /// A ledger that is not whole.
    #[error(
        "{path}: {what} is not whole: what lies at byte {at} is no row. A copy of it was cut off, or something was written behind \
         it, and whoever came last is not in it: copy it again. Where there is no other, since its server was cut off while it \
         wrote, --torn-ledgers takes it without that row"
    )]
    Torn {
        /// Where it lies.
        path: PathBuf,
        /// Which ledger.
        what: &'static str,
        /// Where the whole rows end.
        at: u64,
    },
    /// A ledger in its data directory that lost whole rows at its end.
    #[error(
        "{path}: {what} lost rows: the signed heads beside it say that it was given {told}, and it tells of {has}; take your copy \
         of it, or start the server there once, which puts back what its log knows. Where there is neither, --torn-ledgers takes it as it is"
    )]
    Short {
        /// Where it lies.
        path: PathBuf,
        /// Which ledger.
        what: &'static str,
        /// Rows that it was given, as far as it tells.
        has: u64,
        /// As was signed.
        told: u64,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> RestoreError + '_ {
    |source| RestoreError::Io { path: path.to_owned(), source }
}

impl Manifest {
    /// Its text.
    ///
    /// # Panics
    /// Never: it is made of texts and numbers.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and numbers always encode")
    }

    /// With the digest of its content.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.digest = String::new();
        self.digest = blake3::hash(self.text().as_bytes()).to_hex().to_string();
        self
    }

    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// [`RestoreError::Manifest`], [`RestoreError::Unfinished`].
    pub fn read(backup: &Path) -> Result<Self, RestoreError> {
        if is_unfinished_backup(backup) {
            return Err(RestoreError::Unfinished(backup.to_owned()));
        }
        let path = backup.join(MANIFEST);
        let wrong = |why: String| RestoreError::Manifest { path: path.clone(), why };
        let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let manifest: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if manifest.clone().sealed() != manifest || manifest.text() != text.trim_end_matches('\n') {
            return Err(wrong("it is not as it was written".to_owned()));
        }
        Ok(manifest)
    }

    /// Checks every file of the backup.
    ///
    /// # Errors
    /// [`RestoreError::File`] names the first that is not what it was.
    pub fn verify(&self, backup: &Path) -> Result<(), RestoreError> {
        self.verify_those(backup, |_| true)
    }

    /// Checks what there is before a backup is finished: every file but `FORMAT`, and the content that it will have.
    ///
    /// # Errors
    /// As [`Manifest::verify`].
    pub fn verify_unfinished(&self, backup: &Path, format: &[u8]) -> Result<(), RestoreError> {
        let is_it = |file: &FileEntry| {
            let digest = blake3::hash(format).to_hex();
            file.path == FORMAT && file.bytes == format.len() as u64 && file.digest == digest.as_str()
        };
        if !self.files.iter().any(is_it) {
            return Err(RestoreError::File { path: FORMAT.to_owned(), why: "it did not come as the server has it" });
        }
        self.verify_those(backup, |path| path != FORMAT)
    }

    fn verify_those(&self, backup: &Path, those: impl Fn(&str) -> bool) -> Result<(), RestoreError> {
        for file in self.files.iter().filter(|file| those(&file.path)) {
            let wrong = |why| RestoreError::File { path: file.path.clone(), why };
            let inside = Path::new(&file.path).components().all(|part| matches!(part, Component::Normal(_)));
            if !inside || file.path.is_empty() {
                return Err(wrong("its path leads out of the backup"));
            }
            let path = backup.join(&file.path);
            let length = fs::metadata(&path).map_err(|_| wrong("it is missing"))?.len();
            if length != file.bytes {
                return Err(wrong("it is longer or shorter than it was"));
            }
            let digest = digest_of(&path, length).map_err(|_| wrong("it cannot be read"))?;
            if digest.to_hex().as_str() != file.digest {
                return Err(wrong("its content is not what it was"));
            }
        }
        Ok(())
    }
}

/// The ledgers of the installation as it is now, which are in no backup.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ledgers<'a> {
    /// Who was erased. Without it whoever was erased after the backup comes back, so leaving it out is an explicit choice.
    pub erasures: Option<&'a Path>,
    /// Who said no. Without it whoever did after the backup is contacted again; likewise.
    pub stops: Option<&'a Path>,
    /// Which API keys were taken back. Without it those that were after the backup are good again.
    pub revocations: Option<&'a Path>,
    /// Takes those that end within a row, without it: that row is of somebody who was never answered, or of a copy that was cut
    /// off, and which of the two is for the caller to know.
    pub torn: bool,
}

/// What the ledgers hold.
struct Rows {
    /// Whose they are.
    of: Installation,
    /// None without a ledger of them.
    erasures: Option<Vec<ErasureRow>>,
    /// Without those whom an erasure came after.
    stops: Vec<StopRow>,
    revocations: Vec<RevocationRow>,
    odd: Odd,
}

/// What is to be told of ledgers that were taken.
#[derive(Default)]
struct Odd {
    torn: Vec<&'static str>,
    unnamed: Vec<&'static str>,
}

impl Odd {
    /// The rows of a ledger, which must be whole and of this installation.
    fn rows_of<R: LedgerRow>(
        &mut self,
        path: Option<&Path>,
        root: &RootKey,
        takes_torn: bool,
        told: impl Fn(&LedgersTold) -> u64,
    ) -> Result<Option<Vec<R>>, RestoreError> {
        let Some(path) = path else { return Ok(None) };
        let mut rows = Vec::new();
        let seen =
            RowLedger::visit_of(path, root.installation(), |row| rows.push(row)).map_err(|error| match error {
                LedgerError::Elsewhere(what) => RestoreError::Elsewhere { path: path.to_owned(), what },
                error => error.into(),
            })?;
        match seen.cut_at {
            Some(at) if !takes_torn => {
                return Err(RestoreError::Torn { path: path.to_owned(), what: R::WHAT, at });
            }
            Some(_) => self.torn.push(R::WHAT),
            None => {}
        }
        let (has, told) = (seen.rows + seen.taken_out, told_beside(path, root).map_or(0, |head| told(&head)));
        if has < told && !takes_torn {
            return Err(RestoreError::Short { path: path.to_owned(), what: R::WHAT, has, told });
        }
        if seen.of.is_none() {
            self.unnamed.push(R::WHAT);
        }
        Ok(Some(rows))
    }
}

/// What the signed heads say that ledgers were given, where the ledger still lies beside them in its data directory.
fn told_beside(ledger: &Path, root: &RootKey) -> Option<LedgersTold> {
    let data = ledger.parent().filter(|folder| folder.ends_with("erasures"))?.parent()?;
    newest(&heads::path(data), &public_key(root)).ok()??.ledgers
}

impl Rows {
    fn read(ledgers: Ledgers<'_>, root: &RootKey) -> Result<Self, RestoreError> {
        let (mut odd, torn) = (Odd::default(), ledgers.torn);
        let erasures: Option<Vec<ErasureRow>> = odd.rows_of(ledgers.erasures, root, torn, |told| told.erasures)?;
        let stops: Option<Vec<StopRow>> = odd.rows_of(ledgers.stops, root, torn, |told| told.stops)?;
        let revocations = odd.rows_of(ledgers.revocations, root, torn, |told| told.revocations)?.unwrap_or_default();
        let of = root.installation();
        let erased = ErasedPoints::of(erasures.iter().flatten());
        let stops = stops.into_iter().flatten().filter_map(|row| erased.take_out_of(row)).collect();
        Ok(Self { of, stops, erasures, revocations, odd })
    }
}

/// Makes a data directory of a backup.
///
/// # Errors
/// [`RestoreError`] says what is damaged, or not this installation's; nothing is left behind then that a server would start
/// on.
pub fn restore(
    backup: &Path,
    data: &Path,
    ledgers: Ledgers<'_>,
    root_key_file: Option<&Path>,
) -> Result<Restored, RestoreError> {
    let root_key = root_key_file.map(read_root_key).transpose()?;
    let manifest = Manifest::read(backup)?;
    let root = DataDir::root_key_of_backup(backup, root_key.clone());
    // Keys that are damaged are named as any other file.
    let root = root.or_else(|error| manifest.verify(backup).and(Err(error.into())))?;
    // Before the backup is read through, which may take long.
    let rows = Rows::read(ledgers, &root)?;
    manifest.verify(backup)?;
    let filling = match Filling::begin(data) {
        Err(DataDirError::Foreign { dir, .. }) => return Err(RestoreError::NotEmpty(dir)),
        begun => begun?,
    };
    let restored = fill(backup, data, &manifest, &rows).and_then(|(restored, format)| {
        filling.end(&format)?;
        // The key must be the one that the backup's content opens with.
        DataDir::open(data, OpenOptions { root_key })?;
        Ok(restored)
    });
    if restored.is_err() {
        // A half restored directory must not be mistaken for a whole one.
        let _ = fs::remove_dir_all(data);
    }
    restored
}

/// Puts everything in its place, synced, but for the file `FORMAT`, whose content it answers with.
fn fill(backup: &Path, data: &Path, manifest: &Manifest, rows: &Rows) -> Result<(Restored, Vec<u8>), RestoreError> {
    private_dir(data)?;
    let format = manifest.files.iter().find(|file| file.path == FORMAT);
    let missing = || RestoreError::File { path: FORMAT.to_owned(), why: "the manifest does not name it" };
    let format = fs::read(backup.join(&format.ok_or_else(missing)?.path)).map_err(io_at(backup))?;
    let mut folders: BTreeSet<PathBuf> = BTreeSet::from([data.to_owned()]);
    for file in manifest.files.iter().filter(|file| file.path != FORMAT) {
        let to = data.join(&file.path);
        for above in to.ancestors().skip(1).take_while(|above| *above != data) {
            folders.insert(above.to_owned());
        }
        if let Some(above) = to.parent() {
            private_dir(above)?;
        }
        fs::copy(backup.join(&file.path), &to).map_err(io_at(&to))?;
        private_file(&to)?;
        File::open(&to).and_then(|file| file.sync_all()).map_err(io_at(&to))?;
    }
    // Derived: a start makes them anew.
    for name in ["checkpoint", "keyed"] {
        private_dir(&data.join(name))?;
    }
    for folder in &folders {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_at(folder))?;
    }
    let mut known: Vec<ErasureRow> = Vec::new();
    let mut said: HashSet<(TenantId, Sequence)> = HashSet::new();
    let opened = Journal::open(JournalOptions::new(data.join("journal")), None, |batch| {
        for entry in batch.entries() {
            if [EntryKind::StatementRecorded as u8, EntryKind::StatementUndated as u8].contains(&entry.kind.0) {
                said.insert((entry.tenant, entry.sequence));
            } else if let (true, Some(payload)) = (entry.kind.0 == EntryKind::Erased as u8, entry.bytes()) {
                let erased = Erased::read(payload)?;
                known.push(ErasureRow { tenant: entry.tenant, sequence: entry.sequence, erased });
            }
        }
        Ok(())
    })?;
    let damage = opened.reader.verify()?.damages.into_iter().next();
    if let Some(damage) = damage {
        return Err(JournalError::Damaged(damage).into());
    }
    let chain = onefold_core::erasure::LogHead {
        segment: manifest.segment,
        offset: manifest.offset,
        chain: manifest.chain.clone(),
    };
    let end = chain.hash().map(|chain| Position { segment: manifest.segment, offset: manifest.offset, chain });
    if end.is_none_or(|end| opened.appender.position().chain != end.chain) {
        return Err(RestoreError::End);
    }
    let told = rows.erasures.as_deref().unwrap_or_default();
    let pending = unknown(told, &known);
    let told: HashSet<(TenantId, Sequence)> = told.iter().map(LedgerRow::key).collect();
    let lacks = known.iter().filter(|row| rows.erasures.is_some() && !told.contains(&row.key())).count();
    let (at_home, ..) = ErasureLedger::open(data, rows.of)?;
    at_home.append(&known)?;
    if !pending.is_empty() {
        ErasureLedger::leave_pending(data, rows.of, &pending)?;
    }
    // All of them: the first start knows for each whether the backup holds this very word.
    StopLedger::leave_pending(data, rows.of, &rows.stops)?;
    RevocationLedger::leave_pending(data, rows.of, &rows.revocations)?;
    let restored = Restored {
        files: manifest.files.len(),
        bytes: manifest.files.iter().map(|file| file.bytes).sum(),
        entries: opened.report.entries,
        known: known.len(),
        pending: pending.len(),
        stops: rows.stops.iter().filter(|row| !said.contains(&(row.tenant, row.sequence))).count(),
        torn: rows.odd.torn.clone(),
        unnamed: rows.odd.unnamed.clone(),
        lacks,
    };
    Ok((restored, format))
}

/// The rows of a ledger that a backup does not know.
fn unknown(rows: &[ErasureRow], known: &[ErasureRow]) -> Vec<ErasureRow> {
    let by_key: HashMap<(TenantId, Sequence), &ErasureRow> =
        known.iter().map(|row| ((row.tenant, row.sequence), row)).collect();
    rows.iter().filter(|row| by_key.get(&(row.tenant, row.sequence)) != Some(row)).cloned().collect()
}

fn private_dir(path: &Path) -> Result<(), RestoreError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_at(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(io_at(path))
}

fn private_file(path: &Path) -> Result<(), RestoreError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(io_at(path))
}
