//! A directory that a restore fills.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{BEING_RESTORED, DataDirError, FORMAT_FILE, LOCK_FILE, failed, lock, private_dir};
use crate::disk;

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
