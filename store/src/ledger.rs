//! Ledgers of rows beside the journal and outside of every backup: [`erasures`](crate::erasures),
//! [`stops`](crate::stops) and [`revocations`](crate::revocations).
//!
//! ```text
//! file   = header · row*
//! header = magic 8 (form number, name) · installation 16 · rows taken out so far u64 · checksum 16 (over all before)
//! row    = length u32 · the same with every bit turned · tenant u32 · sequence u64 · payload
//!          · checksum 16 (over installation, row number and all before)
//! ```
//! A row that does not reach its own end, with nothing behind it, is what a crash leaves, and the start that follows cuts it.
//! Any other damage is named. A ledger is of one installation: another's would erase and stop strangers, and keep nobody
//! from coming back. Form 1 had the magic alone for a header and named none; it is read, and written anew by the next start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::marker::PhantomData;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use onefold_core::ids::{Sequence, TenantId};

use crate::disk;
use crate::keys::Installation;

mod form;

pub use form::{HEADER_BYTES, Seen};

use form::{encode_header, encode_row, scan};

/// What a row holds, and how its ledger is told from others.
pub trait LedgerRow: Sized {
    /// What the file begins with: the number of its form, and a name.
    const MAGIC: &'static [u8; form::MAGIC_BYTES];
    /// Sets the checksums of this ledger apart from those of others.
    const CONTEXT: &'static str;
    /// The name of the file in the folder `erasures`.
    const FILE: &'static str;
    /// The name of the file of rows that the next start is to carry out.
    const PENDING: &'static str;
    /// What errors call it.
    const WHAT: &'static str;

    /// Whose, and the sequence of the journal entry that says so.
    fn key(&self) -> (TenantId, Sequence);
    /// The payload.
    fn payload(&self) -> Vec<u8>;
    /// A row of its parts; `None` when the payload cannot be read.
    fn read(key: (TenantId, Sequence), payload: &[u8]) -> Option<Self>;
}

/// A ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A row does not match its checksum, and it is not the last one.
    #[error("row {row} of {what}, at byte {at}, is damaged")]
    Damaged {
        /// Which ledger.
        what: &'static str,
        /// Which row, from 0.
        row: u64,
        /// Where it begins.
        at: u64,
    },
    /// Not a ledger.
    #[error("{0} does not begin as one")]
    Foreign(&'static str),
    /// A ledger, and not this installation's.
    #[error("{0} is that of another installation")]
    Elsewhere(&'static str),
    /// A ledger that this release cannot read.
    #[error("{0} was written by a newer release: use that one")]
    Newer(&'static str),
    /// A read or write failed.
    #[error("{what} cannot be read or written: {source}")]
    Io {
        /// Which ledger.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl LedgerError {
    /// Whether what is there is of no use, so that a ledger that the journal knows is begun anew.
    #[must_use]
    pub const fn is_of_no_use(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Foreign(_) | Self::Elsewhere(_))
    }
}

/// A ledger, open for appending.
#[derive(Debug)]
pub struct RowLedger<R> {
    of: Installation,
    inner: Mutex<Open>,
    rows: PhantomData<fn() -> R>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Whom its header names; None while it is still of form 1.
    named: Option<Installation>,
    rows: u64,
    taken_out: u64,
    /// A write failed: what lies at the end is not known.
    failed: bool,
}

fn io_of<R: LedgerRow>(source: io::Error) -> LedgerError {
    LedgerError::Io { what: R::WHAT, source }
}

impl<R: LedgerRow> RowLedger<R> {
    /// Where the ledger of a data directory lies.
    #[must_use]
    pub fn path(data: &Path) -> PathBuf {
        data.join("erasures").join(R::FILE)
    }

    fn pending_path(data: &Path) -> PathBuf {
        data.join("erasures").join(R::PENDING)
    }

    /// Reads the rows of a ledger without opening it for appending.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn read(path: &Path) -> Result<Vec<R>, LedgerError> {
        let mut rows = Vec::new();
        Self::visit(path, |row| rows.push(row))?;
        Ok(rows)
    }

    /// The same, row by row, of any installation.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn visit(path: &Path, visit: impl FnMut(R)) -> Result<Seen, LedgerError> {
        Self::walk(path, None, visit)
    }

    /// The same of this installation's; one of form 1 does not say whose it is.
    ///
    /// # Errors
    /// [`LedgerError::Elsewhere`] when it is another's, before any row is visited.
    pub fn visit_of(path: &Path, of: Installation, visit: impl FnMut(R)) -> Result<Seen, LedgerError> {
        Self::walk(path, Some(of), visit)
    }

    fn walk(path: &Path, of: Option<Installation>, visit: impl FnMut(R)) -> Result<Seen, LedgerError> {
        let file = File::open(path).map_err(io_of::<R>)?;
        let length = file.metadata().map_err(io_of::<R>)?.len();
        scan(file, length, of, visit)
    }

    /// Opens the ledger of a data directory of this installation, or begins one. Answers with its rows, and whether it was
    /// there.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(data: &Path, of: Installation) -> Result<(Self, Vec<R>, bool), LedgerError> {
        let mut rows = Vec::new();
        let (ledger, there) = Self::open_visiting(data, of, |row| rows.push(row))?;
        Ok((ledger, rows, there))
    }

    /// The same, row by row.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open_visiting(data: &Path, of: Installation, visit: impl FnMut(R)) -> Result<(Self, bool), LedgerError> {
        let path = Self::path(data);
        let there = path.exists();
        if !there {
            Self::begin(data, of).map_err(io_of::<R>)?;
        }
        let Seen { rows, taken_out, of: named, cut_at } = Self::visit_of(&path, of, visit)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(io_of::<R>)?;
        if let Some(end) = cut_at {
            file.set_len(end).and_then(|()| file.sync_all()).map_err(io_of::<R>)?;
        }
        let inner = Mutex::new(Open { file, named, rows, taken_out, failed: false });
        let ledger = Self { of, inner, rows: PhantomData };
        if named.is_none() {
            // A disk without room for it keeps nobody from reading: it goes on as it is, and the next start does it.
            let _ = ledger.rewrite(data, Some);
        }
        Ok((ledger, there))
    }

    fn begin(data: &Path, of: Installation) -> io::Result<()> {
        fs::create_dir_all(data.join("erasures"))?;
        disk::sync_dir(data)?;
        disk::write_whole(&Self::path(data), &encode_header::<R>(of, 0))
    }

    /// Leaves rows for the next start to carry out: a restore does, of what its backup does not know.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn leave_pending(data: &Path, of: Installation, rows: &[R]) -> Result<(), LedgerError> {
        let mut bytes = encode_header::<R>(of, 0);
        (0..).zip(rows).for_each(|(number, row)| bytes.extend(encode_row(Some(of), number, row)));
        disk::write_whole(&Self::pending_path(data), &bytes).map_err(io_of::<R>)
    }

    /// Whether rows wait to be carried out: so a restore leaves it, even of none.
    #[must_use]
    pub fn waits(data: &Path) -> bool {
        Self::pending_path(data).exists()
    }

    /// The rows that wait to be carried out.
    ///
    /// # Errors
    /// [`LedgerError`]: a start that cannot read them must not serve.
    pub fn pending(data: &Path) -> Result<Vec<R>, LedgerError> {
        let path = Self::pending_path(data);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let mut rows = Vec::new();
        match Self::visit(&path, |row| rows.push(row))? {
            Seen { cut_at: None, .. } => Ok(rows),
            Seen { rows: row, cut_at: Some(at), .. } => Err(LedgerError::Damaged { what: R::WHAT, row, at }),
        }
    }

    /// Sets rows aside for this start to carry out, beside those that wait: the log beside them does not hold what they tell
    /// of, since an older copy of it was put in its place. How many. Doing it again is harmless.
    ///
    /// # Errors
    /// [`LedgerError`]: such a start must not serve.
    pub fn set_aside(&self, data: &Path, strays: impl Fn(&R) -> bool) -> Result<usize, LedgerError> {
        let (mut waiting, path) = (Self::pending(data)?, Self::path(data));
        let (before, mut count) = (waiting.len(), 0);
        Self::visit(&path, |row| {
            let is_stray = strays(&row);
            count += usize::from(is_stray);
            if is_stray && !waiting[..before].iter().any(|waits| waits.key() == row.key()) {
                waiting.push(row);
            }
        })?;
        if count > 0 {
            // In this order: a crash between the two leaves them twice, and nowhere never.
            Self::leave_pending(data, self.of, &waiting)?;
            self.rewrite(data, |row| (!strays(&row)).then_some(row))?;
        }
        Ok(count)
    }

    /// They were carried out, durably.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn pending_done(data: &Path) -> Result<(), LedgerError> {
        match fs::remove_file(Self::pending_path(data)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_of::<R>(error)),
            _ => disk::sync_dir(&data.join("erasures")).map_err(io_of::<R>),
        }
    }

    /// Appends rows; they are durable when this returns.
    ///
    /// # Errors
    /// [`LedgerError::Io`]; nothing may be destroyed then, and the ledger takes no more until it is opened anew.
    pub fn append(&self, rows: &[R]) -> Result<(), LedgerError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.failed {
            return Err(io_of::<R>(io::Error::other("an earlier write failed")));
        }
        let (first, named) = (inner.rows, inner.named);
        let bytes: Vec<u8> = (first..).zip(rows).flat_map(|(number, row)| encode_row(named, number, row)).collect();
        let written = inner.file.write_all(&bytes).and_then(|()| inner.file.sync_data());
        inner.failed = written.is_err();
        if written.is_ok() {
            inner.rows += rows.len() as u64;
        }
        written.map_err(io_of::<R>)
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).rows
    }

    /// How many rows it was ever given: it never gets less, but when the ledger is begun anew.
    #[must_use]
    pub fn ever(&self) -> u64 {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.rows + inner.taken_out
    }

    /// Puts in its place a ledger of what becomes of each row: afterwards the old or the new one is there.
    ///
    /// # Errors
    /// [`LedgerError`]; the old one goes on then.
    pub fn rewrite(&self, data: &Path, mut keep: impl FnMut(R) -> Option<R>) -> Result<(), LedgerError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let path = Self::path(data);
        let draft = disk::unfinished(&path);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(io_of::<R>)?;
        let mut out = BufWriter::new(file);
        let named = Some(self.of);
        let mut written = out.write_all(&encode_header::<R>(self.of, 0));
        let mut rows = 0;
        let seen = Self::visit_of(&path, self.of, |row| {
            if let (Ok(()), Some(row)) = (&written, keep(row)) {
                written = out.write_all(&encode_row(named, rows, &row));
                rows += 1;
            }
        })?;
        let taken_out = seen.taken_out + (seen.rows - rows);
        let replace = || {
            written?;
            let file = out.into_inner().map_err(|error| error.into_error())?;
            file.write_all_at(&encode_header::<R>(self.of, taken_out), 0)?;
            file.sync_all()?;
            disk::publish(&draft, &path)?;
            OpenOptions::new().append(true).open(&path)
        };
        let file = replace().map_err(io_of::<R>)?;
        *inner = Open { file, named, rows, taken_out, failed: false };
        Ok(())
    }
}

#[cfg(test)]
mod tests;
