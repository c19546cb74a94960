//! The few things every file here needs: whole-file replacement, directory syncs, preallocation, overwriting.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;

/// Suffix of files that are not whole yet; left-overs are removed at start.
pub const UNFINISHED: &str = "tmp";

/// Makes the names inside a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The name under which `path` is written until it is whole.
pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// Bytes that are free for us on the file system of `path`, and all it has.
pub fn space(path: &Path) -> io::Result<(u64, u64)> {
    let told = statvfs(path)?;
    let unit = told.fragment_size();
    Ok((told.blocks_available() * unit, told.blocks() * unit))
}

/// Replaces `path` by a file with these bytes: afterwards the old or the new content is there, never a mixture.
/// Only the owner may read it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = unfinished(path);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    publish(&draft, path)
}

/// Gives a finished draft its name, durably.
pub fn publish(draft: &Path, path: &Path) -> io::Result<()> {
    fs::rename(draft, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Removes drafts that a crash left behind in `dir`.
pub fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            overwrite(&OpenOptions::new().write(true).open(&path)?)?;
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Reserves `bytes` from the start of the file, so that later writes there cannot run out of space.
pub fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    let length = i64::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    match fallocate(file, FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(()),
        // A file system without reservation: writing zeroes reserves as well, only slower.
        Err(Errno::EOPNOTSUPP) => write_zeroes(file, bytes),
        Err(errno) => Err(errno.into()),
    }
}

fn write_zeroes(file: &File, bytes: u64) -> io::Result<()> {
    let zeroes = vec![0; 1 << 20];
    let mut done = 0;
    while done < bytes {
        let step = (bytes - done).min(zeroes.len() as u64);
        file.write_all_at(&zeroes[..usize::try_from(step).unwrap_or(zeroes.len())], done)?;
        done += step;
    }
    Ok(())
}

/// Writes random bytes over the whole file, durably. On file systems that write in place, what was there is gone; on
/// others it rests on the key above having changed.
pub fn overwrite(file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut noise = vec![0; 1 << 16];
    let mut done = 0;
    while done < length {
        random(&mut noise)?;
        let step = (length - done).min(noise.len() as u64);
        file.write_all_at(&noise[..usize::try_from(step).unwrap_or(noise.len())], done)?;
        done += step;
    }
    file.sync_all()
}

/// Overwrites the file and removes its name, durably.
pub fn shred(path: &Path) -> io::Result<()> {
    overwrite(&OpenOptions::new().write(true).open(path)?)?;
    fs::remove_file(path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Fills `bytes` from the operating system's source of randomness.
pub fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
}

/// Whether the error says that the disk, or the quota, is full.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
