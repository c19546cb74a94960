//! The data directory: its layout, its lock, its format version and its root key.
//!
//! ```text
//! FORMAT       version, written last: a directory without it was never finished; while a restore, or a backup, fills it,
//!              that it does
//! LOCK         held exclusively while the directory is open
//! journal/     segments                vault/       one directory per tenant
//! keyed/       sled                    checkpoint/  encrypted snapshots of memory
//! keys/        root.key (unless given from outside), root.sealed (the key ring), keys of checkpoints, rotations to tell of
//! ```
//! Format 1 has no key ring, and `root.check` in its place; the first rotation makes it format 2 (see [`crate::keyring`]).

use std::fs::{self, File, OpenOptions as FileOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use onefold_core::ids::TenantId;
use zeroize::Zeroize;

use crate::checkpoint::Checkpoints;
use crate::disk;
use crate::keyring::{KeyRing, KeyRingError};
use crate::keys::{Installation, KEY_BYTES, RootKey, TenantKeys, UnwrapError};
use crate::vault::{Vault, VaultError};

mod copying;
mod filling;
mod rotations;

pub use copying::{Copying, is_unfinished_backup};
pub use filling::Filling;
pub use rotations::{BadNote, Rotations};

/// The version of the layout.
pub const FORMAT: u32 = 2;
/// The version without a key ring.
const FORMAT_WITHOUT_RING: u32 = 1;

const FORMAT_FILE: &str = "FORMAT";
const FORMAT_NAME: &str = "onefold data";
/// What `FORMAT` says while a restore fills the directory. Releases that do not know it call the file damaged.
const BEING_RESTORED: &str = "onefold data, being restored\n";
/// What it says while a backup fills the directory.
const BEING_BACKED_UP: &str = "onefold backup, not finished\n";
/// What a backup has and a data directory has not.
pub const BACKUP_MANIFEST: &str = "manifest.json";
const LOCK_FILE: &str = "LOCK";
/// How often the lock is tried, and the time between.
const LOCK_TRIES: u32 = 20;
const LOCK_TRIED_AGAIN: Duration = Duration::from_millis(25);
const ROOT_KEY_FILE: &str = "root.key";
const CHECK_FILE: &str = "root.check";
const PARTS: [&str; 5] = ["journal", "vault", "keyed", "checkpoint", "keys"];

/// A data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it open.
    #[error("the data directory {0} is in use by another process")]
    InUse(PathBuf),
    /// Written by a newer release.
    #[error("the data directory {dir} is of format {found}, this release reads up to {FORMAT}: use the newer release")]
    Newer {
        /// Which directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The directory holds something else.
    #[error("{dir} is not a data directory: it holds {entry:?} and no {FORMAT_FILE} file")]
    Foreign {
        /// Which directory.
        dir: PathBuf,
        /// Something that does not belong there.
        entry: String,
    },
    /// The `FORMAT` file cannot be understood.
    #[error("the file {0} is damaged")]
    FormatDamaged(PathBuf),
    /// A restore was cut off while it filled the directory: whoever was erased since the backup could be in it.
    #[error("{0} was not restored to the end: run `onefold restore` again, it begins anew")]
    HalfRestored(PathBuf),
    /// A backup: serving it would bring back whoever was erased since.
    #[error(
        "{0} is a backup, not a data directory: `onefold restore {0} DIR` makes one of it, without whoever was erased since"
    )]
    IsBackup(PathBuf),
    /// A backup that was cut off: what it lacks is not known.
    #[error(
        "{0} is an unfinished backup: it can be neither served nor restored; take it again with `onefold backup {0}`"
    )]
    HalfBackedUp(PathBuf),
    /// A backup would be written over it.
    #[error("{0} is a data directory: take the backup to a directory of its own")]
    NotForBackups(PathBuf),
    /// The root key is not the one this directory was made with.
    #[error("the root key is not the one that {0} was made with, or `onefold keys rotate` gave it another since")]
    WrongRootKey(PathBuf),
    /// The directory's keys are gone or unreadable, so its content cannot be read.
    #[error("{path} is {what}; without the root key nothing in the data directory can be read")]
    KeyUnusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The root key's file can be read by others.
    #[error("{path} can be read by others (mode {mode:03o}): make it readable by its owner only (chmod 600)")]
    KeyExposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The disk, or the quota, is full.
    #[error("no space left for the data directory {0}")]
    NoSpace(PathBuf),
    /// A read or write failed.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> DataDirError + 'a {
    move |source| {
        let path = path.to_owned();
        if disk::is_no_space(&source) { DataDirError::NoSpace(path) } else { DataDirError::Io { doing, path, source } }
    }
}

/// How to open a data directory.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// The root key, when it is kept outside the directory; otherwise `keys/root.key` serves and is made on the first
    /// start.
    pub root_key: Option<RootKey>,
}

/// An open data directory; the lock is held until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// What was given, or lay in the directory.
    outer: RootKey,
    ring: KeyRing,
    created: bool,
    _lock: File,
}

impl DataDir {
    /// Opens the directory, or lays it out where there is nothing yet.
    ///
    /// # Errors
    /// A [`DataDirError`] that names the fault; nothing is changed in a directory that is refused.
    pub fn open(path: impl Into<PathBuf>, options: OpenOptions) -> Result<Self, DataDirError> {
        let path = path.into();
        if !path.exists() {
            private_dir(&path)?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                disk::sync_dir(parent).map_err(failed("sync", parent))?;
            }
        }
        let finished = read_format(&path)?;
        if !finished {
            refuse_foreign(&path)?;
        }
        let lock = lock(&path)?;
        // Again under the lock: another process may have finished the layout in between.
        let finished = finished || read_format(&path)?;
        for part in PARTS {
            private_dir(&path.join(part))?;
        }
        let keys = path.join("keys");
        disk::remove_unfinished(&keys).map_err(failed("tidy up in", &keys))?;
        KeyRing::wipe_before(&keys).map_err(failed("tidy up in", &keys))?;
        let outer = root_key(&keys, options.root_key, finished)?;
        let ring = key_ring(&keys, &outer, finished)?;
        if !finished {
            write_format(&path)?;
        }
        Ok(Self { path, outer, ring, created: !finished, _lock: lock })
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The installation's inner key, which stays when the root key changes.
    #[must_use]
    pub const fn root_key(&self) -> &RootKey {
        self.ring.root()
    }

    /// Which installation this is.
    #[must_use]
    pub fn installation(&self) -> Installation {
        self.root_key().installation()
    }

    /// The inner key of the installation that a backup is of. `given` is its root key, where that is kept elsewhere.
    ///
    /// # Errors
    /// [`DataDirError`] when it has no key that opens it.
    pub fn root_key_of_backup(backup: &Path, given: Option<RootKey>) -> Result<RootKey, DataDirError> {
        let keys = backup.join("keys");
        let path = keys.join(ROOT_KEY_FILE);
        // Copies of a backup may have lost who may read them: what is restored of it is closed again.
        let missing = DataDirError::KeyUnusable { path: path.clone(), what: "missing or damaged" };
        let outer = given.or_else(|| key_in(&path)).ok_or(missing)?;
        Ok(key_ring(&keys, &outer, true)?.root().clone())
    }

    /// The keys that the root key opens.
    #[must_use]
    pub const fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// The keys of a tenant, as the journal holds them.
    ///
    /// # Errors
    /// [`UnwrapError`] when they are another installation's or tenant's, or damaged.
    pub fn tenant_keys(&self, wrapped: &[u8], tenant: TenantId) -> Result<TenantKeys, UnwrapError> {
        TenantKeys::unwrap(wrapped, self.root_key(), tenant.0)
    }

    /// Opens a tenant's vault, or makes it.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn open_vault(&self, tenant: TenantId, keys: &TenantKeys) -> Result<Vault, VaultError> {
        self.ring.open_vault(&self.vault(), tenant, keys)
    }

    /// The directory's checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.checkpoint(), self.keys(), self.ring.checkpoint_root())
    }

    /// Begins a rotation of keys, or goes on with one that was cut off: from now on vaults may be put under the next cover
    /// key ([`KeyRing::turn_vault`]). The root key is still the one that the directory was opened with.
    ///
    /// # Errors
    /// [`DataDirError::NoSpace`], [`DataDirError::Io`]; a crash leaves the ring of before or this one.
    pub fn begin_rotation(&mut self) -> Result<(), DataDirError> {
        // Releases that know no ring must not take it for their own.
        write_format(&self.path)?;
        let turning = self.ring.turning().map_err(failed("make keys for", &self.path))?;
        self.write_ring(turning, None)?;
        remove_if_there(&self.keys().join(CHECK_FILE))
    }

    /// Settles one that was cut off, once every vault is under the next cover key and no checkpoint is left. Whoever copied
    /// the directory before has that key under the root key of before: a rotation that goes on from here takes another.
    ///
    /// # Errors
    /// As [`DataDir::begin_rotation`].
    pub fn settle_rotation(&mut self) -> Result<(), DataDirError> {
        self.write_ring(self.ring.settled(), None)
    }

    /// Ends it, once every vault is under the next cover key and no checkpoint is left: the ring is put under the root key
    /// to go to, if there is one, and under no other from then on.
    ///
    /// # Errors
    /// As [`DataDir::begin_rotation`].
    pub fn end_rotation(&mut self, to: Option<RootKey>) -> Result<(), DataDirError> {
        let moves = to.is_some();
        self.write_ring(self.ring.turned(), to)?;
        if moves { self.drop_stale_root_key() } else { Ok(()) }
    }

    /// Overwrites and removes a root key in the directory that does not open it any more: who finds it opens copies of before
    /// with it. A rotation does so at its end, and a start where that was cut off.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn drop_stale_root_key(&self) -> Result<(), DataDirError> {
        let path = self.keys().join(ROOT_KEY_FILE);
        let is_stale = key_in(&path).is_some_and(|key| key != self.outer);
        // A link leads to a file that is kept elsewhere, perhaps with the backups of before: the link alone goes.
        let is_link = path.symlink_metadata().is_ok_and(|path| path.is_symlink());
        match is_stale {
            true if is_link => fs::remove_file(&path).map_err(failed("remove", &path)),
            true => disk::shred(&path).map_err(failed("remove", &path)),
            false => Ok(()),
        }
    }

    /// Whether this is the root key that the directory was opened with.
    #[must_use]
    pub fn opens_with(&self, root_key: &RootKey) -> bool {
        self.outer == *root_key
    }

    fn write_ring(&mut self, ring: KeyRing, to: Option<RootKey>) -> Result<(), DataDirError> {
        let outer = to.unwrap_or_else(|| self.outer.clone());
        ring.write(&self.keys(), &outer).map_err(|error| ring_fault(&self.keys(), error))?;
        (self.ring, self.outer) = (ring, outer);
        Ok(())
    }

    /// Whether this start laid the directory out.
    #[must_use]
    pub const fn created(&self) -> bool {
        self.created
    }

    /// Bytes that are free on the directory's file system, and all it has; `None` when the system does not say.
    #[must_use]
    pub fn space(&self) -> Option<(u64, u64)> {
        disk::space(&self.path).ok()
    }

    /// Where the journal lies.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Where the vaults lie.
    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.path.join("vault")
    }

    /// Where sled lies.
    #[must_use]
    pub fn keyed(&self) -> PathBuf {
        self.path.join("keyed")
    }

    /// Where checkpoints lie.
    #[must_use]
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    /// Where the logs of reads lie, one for each tenant that has one.
    #[must_use]
    pub fn reads(&self) -> PathBuf {
        self.path.join("reads")
    }

    /// Where keys lie.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }
}

fn private_dir(path: &Path) -> Result<(), DataDirError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .map_or(Ok(()), disk::sync_dir)
        .map_err(failed("sync", path))
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let name = path.join(LOCK_FILE);
    let file = FileOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(failed("open", &name))?;
    // A process that was begun by whoever held it has it for a moment longer, until it runs a program of its own.
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_TRIED_AGAIN),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &name)(error)),
        }
    }
    Err(DataDirError::InUse(path.to_owned()))
}

fn write_format(path: &Path) -> Result<(), DataDirError> {
    let format = path.join(FORMAT_FILE);
    disk::write_whole(&format, format!("{FORMAT_NAME} {FORMAT}\n").as_bytes()).map_err(failed("write", &format))
}

fn remove_if_there(path: &Path) -> Result<(), DataDirError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => path.parent().map_or(Ok(()), disk::sync_dir).map_err(failed("sync", path)),
    }
}

/// Whether the directory is laid out; an error when it is of a newer format.
fn read_format(path: &Path) -> Result<bool, DataDirError> {
    let name = path.join(FORMAT_FILE);
    let text = match fs::read(&name) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed("read", &name)(error)),
    };
    if text == BEING_RESTORED.as_bytes() {
        return Err(DataDirError::HalfRestored(path.to_owned()));
    }
    if text == BEING_BACKED_UP.as_bytes() {
        return Err(DataDirError::HalfBackedUp(path.to_owned()));
    }
    let found = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.trim_end().strip_prefix(FORMAT_NAME))
        .and_then(|version| version.trim_start().parse::<u32>().ok());
    match found {
        // LAW 7: only a restore applies the erasures that came after it.
        Some(_) if path.join(BACKUP_MANIFEST).exists() => Err(DataDirError::IsBackup(path.to_owned())),
        Some(FORMAT | FORMAT_WITHOUT_RING) => Ok(true),
        Some(newer) if newer > FORMAT => Err(DataDirError::Newer { dir: path.to_owned(), found: newer }),
        _ => Err(DataDirError::FormatDamaged(name)),
    }
}

/// A directory without `FORMAT` may hold what an unfinished first start left, and nothing else.
fn refuse_foreign(path: &Path) -> Result<(), DataDirError> {
    let foreign = |entry: String| DataDirError::Foreign { dir: path.to_owned(), entry };
    for entry in fs::read_dir(path).map_err(failed("read", path))? {
        let name = entry.map_err(failed("read", path))?.file_name().to_string_lossy().into_owned();
        let ours = name == LOCK_FILE
            || name == "lost+found"
            || PARTS.contains(&name.as_str())
            || name == format!("{FORMAT_FILE}.{}", disk::UNFINISHED);
        if !ours {
            return Err(foreign(name));
        }
    }
    // Content without FORMAT: the file was lost, and with it the knowledge of how to read the rest.
    for part in ["journal", "vault", "keyed", "checkpoint"] {
        let dir = path.join(part);
        if dir.is_dir() && fs::read_dir(&dir).map_err(failed("read", &dir))?.next().is_some() {
            return Err(foreign(part.to_owned()));
        }
    }
    Ok(())
}

fn root_key(keys: &Path, given: Option<RootKey>, finished: bool) -> Result<RootKey, DataDirError> {
    if let Some(given) = given {
        return Ok(given);
    }
    let path = keys.join(ROOT_KEY_FILE);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !finished => {
            let key = RootKey::generate().map_err(failed("make a key for", &path))?;
            let mut text = hex(key.expose());
            text.push('\n');
            let written = disk::write_whole(&path, text.as_bytes());
            text.zeroize();
            written.map_err(failed("write", &path))?;
            return Ok(key);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(DataDirError::KeyUnusable { path, what: "missing" });
        }
        Err(error) => return Err(failed("read", &path)(error)),
    };
    let mode = file.metadata().map_err(failed("read", &path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(DataDirError::KeyExposed { path, mode });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed("read", &path))?;
    let key = unhex(text.trim_end());
    text.zeroize();
    key.map(RootKey::new).ok_or(DataDirError::KeyUnusable { path, what: "damaged" })
}

/// The key that a file holds, whoever may read it.
fn key_in(path: &Path) -> Option<RootKey> {
    let mut text = fs::read_to_string(path).ok()?;
    let key = unhex(text.trim_end());
    text.zeroize();
    key.map(RootKey::new)
}

/// The key ring, made where the directory is; a wrong root key is told at once and not by garbage.
fn key_ring(keys: &Path, outer: &RootKey, finished: bool) -> Result<KeyRing, DataDirError> {
    match KeyRing::read(keys, outer) {
        Ok(Some(ring)) => Ok(ring),
        Ok(None) if finished => {
            check_root_key(keys, outer)?;
            Ok(KeyRing::without_file(outer.clone()))
        }
        Err(error) if finished => Err(ring_fault(keys, error)),
        // Nothing was put under what an unfinished first start left.
        Ok(None) | Err(_) => {
            let ring = KeyRing::generate().map_err(failed("make keys for", keys))?;
            ring.write(keys, outer).map_err(|error| ring_fault(keys, error))?;
            remove_if_there(&keys.join(CHECK_FILE))?;
            Ok(ring)
        }
    }
}

fn ring_fault(keys: &Path, error: KeyRingError) -> DataDirError {
    let dir = || keys.parent().unwrap_or(keys).to_owned();
    let path = KeyRing::path(keys);
    match error {
        KeyRingError::WrongKey => DataDirError::WrongRootKey(dir()),
        KeyRingError::Damaged => DataDirError::KeyUnusable { path, what: "damaged" },
        KeyRingError::Newer(found) => DataDirError::Newer { dir: dir(), found: u32::from(found) },
        KeyRingError::Io(error) => failed("read or write", &path)(error),
    }
}

/// Compares the key with what a directory without a ring was made with.
fn check_root_key(keys: &Path, key: &RootKey) -> Result<(), DataDirError> {
    let path = keys.join(CHECK_FILE);
    let want = hex(&key.derive("key check"));
    match fs::read_to_string(&path) {
        Ok(found) if found.trim_end() == want => Ok(()),
        Ok(found) if unhex(found.trim_end()).is_some() => {
            Err(DataDirError::WrongRootKey(keys.parent().unwrap_or(keys).to_owned()))
        }
        Ok(_) => Err(DataDirError::KeyUnusable { path, what: "damaged" }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(DataDirError::KeyUnusable { path: KeyRing::path(keys), what: "missing" })
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(DataDirError::KeyUnusable { path, what: "damaged" })
        }
        Err(error) => Err(failed("read", &path)(error)),
    }
}

fn hex(bytes: &[u8; KEY_BYTES]) -> String {
    let mut text = String::with_capacity(2 * KEY_BYTES);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text
}

fn unhex(text: &str) -> Option<[u8; KEY_BYTES]> {
    if text.len() != 2 * KEY_BYTES || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; KEY_BYTES];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
