//! The erasure ledger: what was erased, beside the journal and outside of every backup.
//!
//! A restart asks it which record a destroyed key belonged to; a restore applies it before anything is served. Rows are
//! appended and synced before a key is destroyed, and hold what the journal's own entries say: ordinals, slots, keyed
//! digests.
//!
//! ```text
//! file = magic 8 · row*
//! row  = length u32 · the same with every bit turned · tenant u32 · sequence u64 · payload
//!        · checksum 16 (over row number and all before)
//! ```
//! A torn row at the end was never followed by a destroyed key, and is cut. Any other damage is named.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use onefold_core::decision::{decode, encode};
use onefold_core::erasure::Erased;
use onefold_core::ids::{Sequence, TenantId};

use crate::disk;

const MAGIC: &[u8; 8] = b"1FERASE\0";
const HEAD: usize = 20;
const CHECKSUM: usize = 16;
const FILE_NAME: &str = "ledger";
const PENDING: &str = "pending";

/// One erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureRow {
    /// Whose.
    pub tenant: TenantId,
    /// The sequence of its entry in the journal.
    pub sequence: Sequence,
    /// What was erased.
    pub erased: Erased,
}

/// The ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ErasureLedgerError {
    /// A row does not match its checksum, and it is not the last one.
    #[error("row {row} of the erasure ledger, at byte {at}, is damaged")]
    Damaged {
        /// Which row, from 0.
        row: u64,
        /// Where it begins.
        at: u64,
    },
    /// Not a ledger.
    #[error("the erasure ledger does not begin as one")]
    Foreign,
    /// A read or write failed.
    #[error("the erasure ledger cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

/// The ledger, open for appending.
#[derive(Debug)]
pub struct ErasureLedger {
    inner: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    rows: u64,
    /// A write failed: what lies at the end is not known.
    failed: bool,
}

fn checksum(row: u64, bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = blake3::Hasher::new_derive_key("onefold 2026-11 erasure ledger row");
    hasher.update(&row.to_le_bytes());
    hasher.update(bytes);
    let mut short = [0; CHECKSUM];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM]);
    short
}

fn encode_row(number: u64, row: &ErasureRow) -> Vec<u8> {
    let payload = encode(&row.erased);
    let mut out = Vec::with_capacity(HEAD + payload.len() + CHECKSUM);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&(!(payload.len() as u32)).to_le_bytes());
    out.extend_from_slice(&row.tenant.0.to_le_bytes());
    out.extend_from_slice(&row.sequence.0.to_le_bytes());
    out.extend_from_slice(&payload);
    let sum = checksum(number, &out);
    out.extend_from_slice(&sum);
    out
}

/// The row at `at`, and where the next begins; `None` when there is none that is whole.
fn decode_row(number: u64, bytes: &[u8], at: usize) -> Option<(ErasureRow, usize)> {
    let head: &[u8; HEAD] = bytes.get(at..)?.first_chunk()?;
    let length = length_of(head)?;
    let end = at.checked_add(HEAD)?.checked_add(length)?;
    let sum = bytes.get(end..)?.first_chunk::<CHECKSUM>()?;
    let body = bytes.get(at..end)?;
    if checksum(number, body) != *sum {
        return None;
    }
    let tenant = TenantId(u32::from_le_bytes([head[8], head[9], head[10], head[11]]));
    let sequence = u64::from_le_bytes(*head.last_chunk()?);
    let erased = decode(&body[HEAD..]).ok()?;
    Some((ErasureRow { tenant, sequence: Sequence(sequence), erased }, end + CHECKSUM))
}

impl ErasureLedger {
    /// Where the ledger of a data directory lies.
    #[must_use]
    pub fn path(data: &Path) -> PathBuf {
        data.join("erasures").join(FILE_NAME)
    }

    /// Reads the rows of a ledger without opening it for appending.
    ///
    /// # Errors
    /// [`ErasureLedgerError`].
    pub fn read(path: &Path) -> Result<Vec<ErasureRow>, ErasureLedgerError> {
        Self::scan(&fs::read(path)?).map(|(rows, _)| rows)
    }

    fn scan(bytes: &[u8]) -> Result<(Vec<ErasureRow>, usize), ErasureLedgerError> {
        if bytes.get(..MAGIC.len()) != Some(MAGIC) {
            return Err(ErasureLedgerError::Foreign);
        }
        let (mut rows, mut at) = (Vec::new(), MAGIC.len());
        while at < bytes.len() {
            let number = rows.len() as u64;
            match decode_row(number, bytes, at) {
                Some((row, next)) => {
                    rows.push(row);
                    at = next;
                }
                // What a crash leaves behind: a row that does not reach its own end, and nothing behind it.
                None if is_torn(bytes, at) => break,
                None => return Err(ErasureLedgerError::Damaged { row: number, at: at as u64 }),
            }
        }
        Ok((rows, at))
    }

    /// Opens the ledger of a data directory, or begins one. Answers with its rows, and whether it was there.
    ///
    /// # Errors
    /// [`ErasureLedgerError`].
    pub fn open(data: &Path) -> Result<(Self, Vec<ErasureRow>, bool), ErasureLedgerError> {
        let path = Self::path(data);
        let there = path.exists();
        if !there {
            let dir = data.join("erasures");
            fs::create_dir_all(&dir)?;
            disk::sync_dir(data)?;
            disk::write_whole(&path, MAGIC)?;
        }
        let bytes = fs::read(&path)?;
        let (rows, end) = Self::scan(&bytes)?;
        let file = OpenOptions::new().append(true).open(&path)?;
        if end < bytes.len() {
            file.set_len(end as u64)?;
            file.sync_all()?;
        }
        let inner = Mutex::new(Open { file, rows: rows.len() as u64, failed: false });
        Ok((Self { inner }, rows, there))
    }

    /// Leaves rows for the next start to carry out: a restore does, of what its backup does not know.
    ///
    /// # Errors
    /// [`ErasureLedgerError::Io`].
    pub fn leave_pending(data: &Path, rows: &[ErasureRow]) -> Result<(), ErasureLedgerError> {
        let mut bytes = MAGIC.to_vec();
        (0..).zip(rows).for_each(|(number, row)| bytes.extend(encode_row(number, row)));
        Ok(disk::write_whole(&data.join("erasures").join(PENDING), &bytes)?)
    }

    /// The rows that wait to be carried out.
    ///
    /// # Errors
    /// [`ErasureLedgerError`]: a start that cannot read them must not serve.
    pub fn pending(data: &Path) -> Result<Vec<ErasureRow>, ErasureLedgerError> {
        match fs::read(data.join("erasures").join(PENDING)) {
            Ok(bytes) => match Self::scan(&bytes)? {
                (rows, end) if end == bytes.len() => Ok(rows),
                (rows, end) => Err(ErasureLedgerError::Damaged { row: rows.len() as u64, at: end as u64 }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// They were carried out, durably.
    ///
    /// # Errors
    /// [`ErasureLedgerError::Io`].
    pub fn pending_done(data: &Path) -> Result<(), ErasureLedgerError> {
        let dir = data.join("erasures");
        match fs::remove_file(dir.join(PENDING)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(disk::sync_dir(&dir)?),
        }
    }

    /// Appends rows; they are durable when this returns.
    ///
    /// # Errors
    /// [`ErasureLedgerError::Io`]; nothing may be destroyed then, and the ledger takes no more until it is opened anew.
    pub fn append(&self, rows: &[ErasureRow]) -> Result<(), ErasureLedgerError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.failed {
            return Err(io::Error::other("an earlier write failed").into());
        }
        let first = inner.rows;
        let bytes: Vec<u8> = (first..).zip(rows).flat_map(|(number, row)| encode_row(number, row)).collect();
        let written = inner.file.write_all(&bytes).and_then(|()| inner.file.sync_data());
        inner.failed = written.is_err();
        inner.rows += rows.len() as u64;
        Ok(written?)
    }
}

/// The length that a row's head names, if it was not bent.
fn length_of(head: &[u8; HEAD]) -> Option<usize> {
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let turned = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    (length == !turned).then_some(length as usize)
}

/// Whether the bytes end inside the row that begins here, or nothing of it reached the disk.
fn is_torn(bytes: &[u8], at: usize) -> bool {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk::<HEAD>() {
        None => true,
        Some(_) if rest.iter().all(|byte| *byte == 0) => true,
        Some(head) => length_of(head).is_some_and(|length| HEAD + length + CHECKSUM > rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use onefold_core::erasure::ErasedRecord;
    use onefold_core::fragment::ObservedAt;
    use onefold_core::ids::{Digest128, SlotId};

    use super::*;

    fn row(number: u32) -> ErasureRow {
        let record =
            ErasedRecord { ordinal: number, digest: Digest128([number as u8; 16]), slot: Some(SlotId(number)) };
        let erased = Erased {
            request: Sequence(1),
            at: ObservedAt(5),
            review_at: ObservedAt(6),
            records: vec![record; 3],
            suppressed: Vec::new(),
            quarantined: Vec::new(),
            slots: vec![SlotId(number)],
        };
        ErasureRow { tenant: TenantId(number), sequence: Sequence(7), erased }
    }

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
            let first = MAGIC.len() + encode_row(0, &row(1)).len();
            let second = first + encode_row(1, &row(2)).len();
            vec![MAGIC.len(), first, second, second + encode_row(2, &row(3)).len()]
        };
        for cut in MAGIC.len()..whole.len() {
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
}
