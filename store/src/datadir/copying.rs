//! A directory that a backup fills.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{
    BACKUP_MANIFEST, BEING_BACKED_UP, DataDirError, FORMAT_FILE, LOCK_FILE, failed, private_dir, remove_if_there,
};
use crate::disk;

/// The folders of a backup.
const FOLDERS: [&str; 4] = ["keys", "vault", "journal", "reads"];
/// Those of them whose files are overwritten before they are removed.
const SECRET: [&str; 2] = ["keys", "vault"];

/// Whether a backup was cut off while it filled this directory.
#[must_use]
pub fn is_unfinished_backup(path: &Path) -> bool {
    fs::read(path.join(FORMAT_FILE)).is_ok_and(|text| text == BEING_BACKED_UP.as_bytes())
}

/// A directory that a backup fills: from the first byte to the last its `FORMAT` says so, so that what is cut off is neither
/// served nor restored (law 7), nor taken for a data directory of its own.
#[derive(Debug)]
pub struct Copying {
    path: PathBuf,
}

impl Copying {
    /// Begins in an empty directory, in an earlier backup, or in what is left of one that was cut off.
    ///
    /// # Errors
    /// [`DataDirError::NotForBackups`] for a data directory, [`DataDirError::Foreign`] for one that holds something else, and
    /// nothing is changed then; [`DataDirError::NoSpace`], [`DataDirError::Io`].
    pub fn begin(path: &Path) -> Result<Self, DataDirError> {
        private_dir(path)?;
        // Whatever opened it as a data directory locked it.
        if path.join(LOCK_FILE).exists() {
            return Err(DataDirError::NotForBackups(path.to_owned()));
        }
        let format = path.join(FORMAT_FILE);
        // What is not of this backup is removed, keys beyond recovery: nothing that no backup wrote may lie there.
        let is_backup = path.join(BACKUP_MANIFEST).is_file() && format.is_file();
        if !is_backup && !is_unfinished_backup(path) {
            for entry in fs::read_dir(path).map_err(failed("read", path))? {
                let name = entry.map_err(failed("read", path))?.file_name().to_string_lossy().into_owned();
                if name != format!("{FORMAT_FILE}.{}", disk::UNFINISHED) {
                    return Err(DataDirError::Foreign { dir: path.to_owned(), entry: name });
                }
            }
        }
        disk::write_whole(&format, BEING_BACKED_UP.as_bytes()).map_err(failed("write", &format))?;
        remove_if_there(&path.join(BACKUP_MANIFEST))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Removes what an earlier backup left that is not in this one: a root key that lies elsewhere since, the vault of a tenant,
    /// segments that were written anew. Keys are overwritten first.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn keep_only(&self, files: &HashSet<PathBuf>) -> Result<(), DataDirError> {
        let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|name| self.path.join(name)).collect();
        folders.retain(|folder| folder.is_dir());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(failed("read", &folder))? {
                let entry = entry.map_err(failed("read", &folder))?;
                let path = entry.path();
                if entry.file_type().map_err(failed("read", &path))?.is_dir() {
                    folders.push(path);
                    continue;
                }
                let inside = path.strip_prefix(&self.path).unwrap_or(&path);
                if !files.contains(inside) {
                    let secret = SECRET.iter().any(|name| inside.starts_with(name)) && !path.is_symlink();
                    let removed = if secret { disk::shred(&path) } else { fs::remove_file(&path) };
                    removed.map_err(failed("remove", &path))?;
                }
            }
        }
        Ok(())
    }

    /// All of it is there and synced, its manifest too: with this `FORMAT` it is a backup.
    ///
    /// # Errors
    /// [`DataDirError::NoSpace`], [`DataDirError::Io`].
    pub fn end(self, format: &[u8]) -> Result<(), DataDirError> {
        let name = self.path.join(FORMAT_FILE);
        disk::write_whole(&name, format).map_err(failed("write", &name))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::{DataDir, OpenOptions};
    use super::*;

    fn opened(path: &Path) -> DataDirError {
        DataDir::open(path, OpenOptions::default()).unwrap_err()
    }

    /// A backup that was cut off behind its `FORMAT` was taken for a data directory.
    #[test]
    fn what_is_cut_off_is_an_unfinished_backup_by_name_until_another_takes_its_place() {
        let home = TempDir::new().unwrap();
        let (data, out) = (home.path().join("data"), home.path().join("backup"));
        drop(DataDir::open(&data, OpenOptions::default()).unwrap());
        let format = fs::read(data.join("FORMAT")).unwrap();
        for cut_off in [true, false] {
            let copying = Copying::begin(&out).unwrap();
            fs::create_dir_all(out.join("keys")).unwrap();
            for name in ["root.key", "root.sealed"] {
                fs::copy(data.join("keys").join(name), out.join("keys").join(name)).unwrap();
            }
            fs::create_dir_all(out.join("vault/3")).unwrap();
            fs::write(out.join("vault/3/slots"), "of one who is gone").unwrap();
            if cut_off {
                drop(copying);
            } else {
                let keep = ["keys/root.sealed"].map(PathBuf::from).into();
                copying.keep_only(&keep).unwrap();
                fs::write(out.join(BACKUP_MANIFEST), "{}").unwrap();
                assert!(matches!(opened(&out), DataDirError::HalfBackedUp(_)), "its manifest alone does not finish it");
                copying.end(&format).unwrap();
            }
            assert_eq!(is_unfinished_backup(&out), cut_off);
            let told = opened(&out);
            assert!(matches!(
                (&told, cut_off),
                (DataDirError::HalfBackedUp(_), true) | (DataDirError::IsBackup(_), false)
            ));
        }
        assert!(!out.join("keys/root.key").exists() && !out.join("vault/3/slots").exists(), "it is not of this backup");
        assert!(out.join("keys/root.sealed").exists());
        assert!(matches!(Copying::begin(&data), Err(DataDirError::NotForBackups(_))));
        assert!(DataDir::open(&data, OpenOptions::default()).is_ok(), "and is as it was");
    }

    #[test]
    fn nothing_that_no_backup_wrote_is_touched() {
        let home = TempDir::new().unwrap();
        for name in ["keys/id_ed25519", "manifest.json"] {
            let (path, file) = (home.path().join("home"), home.path().join("home").join(name));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "mine").unwrap();
            assert!(matches!(Copying::begin(&path), Err(DataDirError::Foreign { .. })), "{name}");
            assert_eq!(fs::read(&file).unwrap(), b"mine");
            assert!(!path.join("FORMAT").exists());
            fs::remove_dir_all(&path).unwrap();
        }
    }
}
