//! The data directory: its layout, its lock, its format version and its root key.
//!
//! ```text
//! FORMAT       version, written last: a directory without it was never finished; while a restore fills it, that it does
//! LOCK         held exclusively while the directory is open
//! journal/     segments                vault/       one directory per tenant
//! keyed/       sled                    checkpoint/  encrypted snapshots of memory
//! keys/        root.key (unless given from outside), root.check, keys of checkpoints
//! ```

use std::fs::{self, File, OpenOptions as FileOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroize;

use crate::disk;
use crate::keys::{KEY_BYTES, RootKey};

/// The version of the layout.
pub const FORMAT: u32 = 1;

const FORMAT_FILE: &str = "FORMAT";
const FORMAT_NAME: &str = "onefold data";
/// What `FORMAT` says while a restore fills the directory. Releases that do not know it call the file damaged.
const BEING_RESTORED: &str = "onefold data, being restored\n";
const LOCK_FILE: &str = "LOCK";
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
    /// The root key is not the one this directory was made with.
    #[error("the root key is not the one that {0} was made with")]
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
    root_key: RootKey,
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
        let root_key = root_key(&keys, options.root_key, finished)?;
        check_root_key(&keys, &root_key, finished)?;
        if !finished {
            let format = path.join(FORMAT_FILE);
            disk::write_whole(&format, format!("{FORMAT_NAME} {FORMAT}\n").as_bytes())
                .map_err(failed("write", &format))?;
        }
        Ok(Self { path, root_key, created: !finished, _lock: lock })
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The installation's key.
    #[must_use]
    pub const fn root_key(&self) -> &RootKey {
        &self.root_key
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

/// A directory that a restore fills. Nothing opens it before [`Filling::end`], whatever cuts the restore off: half of it
/// must not be served, nor all of it before it says who was erased since.
#[derive(Debug)]
pub struct Filling {
    path: PathBuf,
    _lock: File,
}

impl Filling {
    /// Whether a restore was cut off while it filled this directory.
    fn was_cut_off(path: &Path) -> bool {
        fs::read(path.join(FORMAT_FILE)).is_ok_and(|text| text == BEING_RESTORED.as_bytes())
    }

    /// Begins with an empty directory, made where there is none; what a restore left that was cut off is removed.
    ///
    /// # Errors
    /// [`DataDirError::Foreign`] when it holds something else, and nothing is changed then; [`DataDirError::InUse`] when
    /// another restore is at it, [`DataDirError::NoSpace`], [`DataDirError::Io`].
    pub fn begin(path: &Path) -> Result<Self, DataDirError> {
        private_dir(path)?;
        Self::left_over(path)?;
        let lock = lock(path)?;
        // Again under the lock: another restore may have come to its end in between.
        for left in Self::left_over(path)? {
            let removed = if left.is_dir() { fs::remove_dir_all(&left) } else { fs::remove_file(&left) };
            removed.map_err(failed("remove", &left))?;
        }
        let format = path.join(FORMAT_FILE);
        disk::write_whole(&format, BEING_RESTORED.as_bytes()).map_err(failed("write", &format))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// What a restore left that was cut off, but for its mark.
    fn left_over(path: &Path) -> Result<Vec<PathBuf>, DataDirError> {
        let cut_off = Self::was_cut_off(path);
        let mut left = Vec::new();
        for entry in fs::read_dir(path).map_err(failed("read", path))? {
            let entry = entry.map_err(failed("read", path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == LOCK_FILE || (name == FORMAT_FILE && cut_off) {
                continue;
            }
            if !cut_off && name != format!("{FORMAT_FILE}.{}", disk::UNFINISHED) {
                return Err(DataDirError::Foreign { dir: path.to_owned(), entry: name });
            }
            left.push(entry.path());
        }
        Ok(left)
    }

    /// All of it is there and synced: with this `FORMAT` it is a data directory.
    ///
    /// # Errors
    /// [`DataDirError::NoSpace`], [`DataDirError::Io`].
    pub fn end(self, format: &[u8]) -> Result<(), DataDirError> {
        let name = self.path.join(FORMAT_FILE);
        disk::write_whole(&name, format).map_err(failed("write", &name))
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
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed("lock", &name)(error)),
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
    let found = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.trim_end().strip_prefix(FORMAT_NAME))
        .and_then(|version| version.trim_start().parse::<u32>().ok());
    match found {
        Some(FORMAT) => Ok(true),
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
    let path = keys.join("root.key");
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

/// Compares the key with what the directory was made with, so that a wrong one is told at once and not by garbage.
fn check_root_key(keys: &Path, key: &RootKey, finished: bool) -> Result<(), DataDirError> {
    let path = keys.join("root.check");
    let want = hex(&key.derive("key check"));
    match fs::read_to_string(&path) {
        Ok(found) if found.trim_end() == want => Ok(()),
        Ok(found) if unhex(found.trim_end()).is_some() => {
            Err(DataDirError::WrongRootKey(keys.parent().unwrap_or(keys).to_owned()))
        }
        Ok(_) => Err(DataDirError::KeyUnusable { path, what: "damaged" }),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !finished => {
            disk::write_whole(&path, format!("{want}\n").as_bytes()).map_err(failed("write", &path))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(DataDirError::KeyUnusable { path, what: "missing" })
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
