//! Ledgers of rows beside the journal and outside of every backup: [`erasures`](crate::erasures),
//! [`stops`](crate::stops) and [`revocations`](crate::revocations).
//!
//! ```text
//! file = magic 8 · row*
//! row  = length u32 · the same with every bit turned · tenant u32 · sequence u64 · payload
//!        · checksum 16 (over row number and all before)
//! ```
//! A row that does not reach its own end, with nothing behind it, is what a crash leaves, and is cut. Any other damage is
//! named.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use onefold_core::ids::{Sequence, TenantId};

use crate::disk;

const MAGIC_BYTES: usize = 8;
const HEAD: usize = 20;
const CHECKSUM: usize = 16;

/// What a row holds, and how its ledger is told from others.
pub trait LedgerRow: Sized {
    /// What the file begins with.
    const MAGIC: &'static [u8; MAGIC_BYTES];
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
    /// A read or write failed.
    #[error("{what} cannot be read or written: {source}")]
    Io {
        /// Which ledger.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A ledger, open for appending.
#[derive(Debug)]
pub struct RowLedger<R> {
    inner: Mutex<Open>,
    rows: PhantomData<fn() -> R>,
}

#[derive(Debug)]
struct Open {
    file: File,
    rows: u64,
    /// A write failed: what lies at the end is not known.
    failed: bool,
}

fn io_of<R: LedgerRow>(source: io::Error) -> LedgerError {
    LedgerError::Io { what: R::WHAT, source }
}

fn checksum<R: LedgerRow>(row: u64, bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = blake3::Hasher::new_derive_key(R::CONTEXT);
    hasher.update(&row.to_le_bytes());
    hasher.update(bytes);
    let mut short = [0; CHECKSUM];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM]);
    short
}

fn encode_row<R: LedgerRow>(number: u64, row: &R) -> Vec<u8> {
    let (payload, (tenant, sequence)) = (row.payload(), row.key());
    let mut out = Vec::with_capacity(HEAD + payload.len() + CHECKSUM);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&(!(payload.len() as u32)).to_le_bytes());
    out.extend_from_slice(&tenant.0.to_le_bytes());
    out.extend_from_slice(&sequence.0.to_le_bytes());
    out.extend_from_slice(&payload);
    let sum = checksum::<R>(number, &out);
    out.extend_from_slice(&sum);
    out
}

/// The length that a row's head names, if it was not bent.
fn length_of(head: &[u8; HEAD]) -> Option<usize> {
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let turned = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    (length == !turned).then_some(length as usize)
}

fn decode_row<R: LedgerRow>(number: u64, head: &[u8; HEAD], rest: &[u8]) -> Option<R> {
    let (payload, sum) = rest.split_last_chunk::<CHECKSUM>()?;
    if checksum::<R>(number, &[head, payload].concat()) != *sum {
        return None;
    }
    let tenant = TenantId(u32::from_le_bytes([head[8], head[9], head[10], head[11]]));
    let sequence = Sequence(u64::from_le_bytes(*head.last_chunk()?));
    R::read((tenant, sequence), payload)
}

/// Goes through a ledger's bytes, row by row, holding one at a time. Answers with how many rows there are and where the
/// whole ones end.
fn scan<R: LedgerRow>(source: impl Read, length: u64, mut visit: impl FnMut(R)) -> Result<(u64, u64), LedgerError> {
    let mut source = BufReader::new(source);
    let mut magic = [0; MAGIC_BYTES];
    if length < MAGIC_BYTES as u64 {
        return Err(LedgerError::Foreign(R::WHAT));
    }
    source.read_exact(&mut magic).map_err(io_of::<R>)?;
    if magic != *R::MAGIC {
        return Err(LedgerError::Foreign(R::WHAT));
    }
    let (mut number, mut at) = (0, MAGIC_BYTES as u64);
    while at < length {
        let damaged = LedgerError::Damaged { what: R::WHAT, row: number, at };
        let left = length - at;
        if left < HEAD as u64 {
            break;
        }
        let mut head = [0; HEAD];
        source.read_exact(&mut head).map_err(io_of::<R>)?;
        let Some(body) = length_of(&head).map(|length| length + CHECKSUM) else {
            // A file that grew and whose bytes did not follow: nothing of the row reached the disk.
            if is_blank(&head) && is_all_blank(&mut source).map_err(io_of::<R>)? {
                break;
            }
            return Err(damaged);
        };
        if (HEAD + body) as u64 > left {
            break;
        }
        let mut rest = vec![0; body];
        source.read_exact(&mut rest).map_err(io_of::<R>)?;
        visit(decode_row(number, &head, &rest).ok_or(damaged)?);
        at += (HEAD + body) as u64;
        number += 1;
    }
    Ok((number, at))
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn is_all_blank(source: &mut impl Read) -> io::Result<bool> {
    let mut piece = [0; 4_096];
    loop {
        match source.read(&mut piece)? {
            0 => return Ok(true),
            read if is_blank(&piece[..read]) => {}
            _ => return Ok(false),
        }
    }
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

    /// The same, row by row. Answers with how many rows there are, and where one begins that does not reach its own end.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn visit(path: &Path, visit: impl FnMut(R)) -> Result<(u64, Option<u64>), LedgerError> {
        let file = File::open(path).map_err(io_of::<R>)?;
        let length = file.metadata().map_err(io_of::<R>)?.len();
        scan(file, length, visit).map(|(rows, end)| (rows, (end < length).then_some(end)))
    }

    /// Opens the ledger of a data directory, or begins one. Answers with its rows, and whether it was there.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(data: &Path) -> Result<(Self, Vec<R>, bool), LedgerError> {
        let mut rows = Vec::new();
        let (ledger, there) = Self::open_visiting(data, |row| rows.push(row))?;
        Ok((ledger, rows, there))
    }

    /// The same, row by row.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open_visiting(data: &Path, visit: impl FnMut(R)) -> Result<(Self, bool), LedgerError> {
        let path = Self::path(data);
        let there = path.exists();
        if !there {
            Self::begin(data).map_err(io_of::<R>)?;
        }
        let length = fs::metadata(&path).map_err(io_of::<R>)?.len();
        let (rows, end) = scan(File::open(&path).map_err(io_of::<R>)?, length, visit)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(io_of::<R>)?;
        if end < length {
            file.set_len(end).and_then(|()| file.sync_all()).map_err(io_of::<R>)?;
        }
        let inner = Mutex::new(Open { file, rows, failed: false });
        Ok((Self { inner, rows: PhantomData }, there))
    }

    fn begin(data: &Path) -> io::Result<()> {
        fs::create_dir_all(data.join("erasures"))?;
        disk::sync_dir(data)?;
        disk::write_whole(&Self::path(data), R::MAGIC)
    }

    /// Leaves rows for the next start to carry out: a restore does, of what its backup does not know.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn leave_pending(data: &Path, rows: &[R]) -> Result<(), LedgerError> {
        let mut bytes = R::MAGIC.to_vec();
        (0..).zip(rows).for_each(|(number, row)| bytes.extend(encode_row(number, row)));
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
            (_, None) => Ok(rows),
            (row, Some(at)) => Err(LedgerError::Damaged { what: R::WHAT, row, at }),
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
            Self::leave_pending(data, &waiting)?;
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
        let first = inner.rows;
        let bytes: Vec<u8> = (first..).zip(rows).flat_map(|(number, row)| encode_row(number, row)).collect();
        let written = inner.file.write_all(&bytes).and_then(|()| inner.file.sync_data());
        inner.failed = written.is_err();
        inner.rows += rows.len() as u64;
        written.map_err(io_of::<R>)
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).rows
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
        let mut written = out.write_all(R::MAGIC);
        let mut rows = 0;
        Self::visit(&path, |row| {
            if let (Ok(()), Some(row)) = (&written, keep(row)) {
                written = out.write_all(&encode_row(rows, &row));
                rows += 1;
            }
        })?;
        let replace = || {
            written?;
            out.into_inner().map_err(|error| error.into_error())?.sync_all()?;
            disk::publish(&draft, &path)?;
            OpenOptions::new().append(true).open(&path)
        };
        let file = replace().map_err(io_of::<R>)?;
        *inner = Open { file, rows, failed: false };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erasures::{ErasureLedger, ErasureRow, tests::row};

    #[test]
    fn rows_come_back_torn_ends_are_cut_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, rows, there) = ErasureLedger::open(dir.path()).unwrap();
        assert!(rows.is_empty() && !there);
        ledger.append(&[row(1)]).unwrap();
        ledger.append(&[row(2), row(3)]).unwrap();
        drop(ledger);
        let path = ErasureLedger::path(dir.path());
        let whole = fs::read(&path).unwrap();
        assert_eq!(ErasureLedger::read(&path).unwrap(), [row(1), row(2), row(3)]);
        let ends: Vec<usize> = {
            let first = MAGIC_BYTES + encode_row(0, &row(1)).len();
            let second = first + encode_row(1, &row(2)).len();
            vec![MAGIC_BYTES, first, second, second + encode_row(2, &row(3)).len()]
        };
        for cut in MAGIC_BYTES..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let (ledger, rows, _) = ErasureLedger::open(dir.path()).unwrap();
            assert_eq!(rows.len(), ends.iter().filter(|end| **end <= cut).count() - 1, "cut at {cut}");
            ledger.append(&[row(9)]).unwrap();
            assert_eq!(ErasureLedger::read(&path).unwrap().last(), Some(&row(9)));
        }
        for bit in 0..whole.len() * 8 {
            let mut bent = whole.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bent).unwrap();
            let read = ErasureLedger::read(&path);
            assert!(read.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_rewrite_keeps_what_it_is_told_to_and_takes_more() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, ..) = ErasureLedger::open(dir.path()).unwrap();
        ledger.append(&[row(1), row(2), row(3)]).unwrap();
        let keep = |kept: ErasureRow| (kept.tenant.0 != 2).then_some(kept);
        ledger.rewrite(dir.path(), keep).unwrap();
        ledger.append(&[row(4)]).unwrap();
        assert_eq!(ErasureLedger::read(&ErasureLedger::path(dir.path())).unwrap(), [row(1), row(3), row(4)]);
        assert_eq!(ledger.rows(), 3);
    }

    #[test]
    fn rows_are_set_aside_once_and_wait_beside_others() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, ..) = ErasureLedger::open(dir.path()).unwrap();
        ledger.append(&[row(1), row(2), row(3)]).unwrap();
        ErasureLedger::leave_pending(dir.path(), &[row(3), row(4)]).unwrap();
        let stray = |row: &ErasureRow| row.tenant.0 > 1;
        assert_eq!(ledger.set_aside(dir.path(), stray).unwrap(), 2);
        assert_eq!(ErasureLedger::pending(dir.path()).unwrap(), [row(3), row(4), row(2)]);
        assert_eq!(ErasureLedger::read(&ErasureLedger::path(dir.path())).unwrap(), [row(1)]);
        assert_eq!(ledger.set_aside(dir.path(), stray).unwrap(), 0);
        ledger.append(&[row(5)]).unwrap();
        assert_eq!(ledger.rows(), 2);
    }

    #[test]
    fn what_waits_is_read_whole_or_named() {
        let dir = tempfile::tempdir().unwrap();
        ErasureLedger::open(dir.path()).unwrap();
        assert_eq!(ErasureLedger::pending(dir.path()).unwrap(), []);
        ErasureLedger::leave_pending(dir.path(), &[row(1), row(2)]).unwrap();
        assert_eq!(ErasureLedger::pending(dir.path()).unwrap(), [row(1), row(2)]);
        let path = ErasureLedger::pending_path(dir.path());
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(ErasureLedger::pending(dir.path()).is_err(), "what was cut would bring somebody back");
        ErasureLedger::pending_done(dir.path()).unwrap();
        assert_eq!(ErasureLedger::pending(dir.path()).unwrap(), []);
    }
}
