//! How a ledger lies on disk, and how it is gone through row by row.

use std::io::{self, BufReader, Read};

use onefold_core::ids::{Sequence, TenantId};

use super::{LedgerError, LedgerRow, io_of};
use crate::keys::Installation;

pub(super) const MAGIC_BYTES: usize = 8;
/// Bytes in front of the first row.
pub const HEADER_BYTES: usize = MAGIC_BYTES + 16 + 8 + CHECKSUM;
pub(super) const HEAD: usize = 20;
const CHECKSUM: usize = 16;
/// The first byte of a magic is the form's number. Form 1 names no installation.
const UNNAMED: u8 = b'1';
/// Stands in the checksum of a header where the number of a row stands in a row's.
const NO_ROW: u64 = u64::MAX;

/// What stands in front of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Of which installation it is; None in form 1.
    pub of: Option<Installation>,
    /// Rows that were taken out of it since it was begun.
    pub taken_out: u64,
}

/// What a ledger holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whole rows.
    pub rows: u64,
    /// Rows that were taken out of it since it was begun.
    pub taken_out: u64,
    /// Of which installation it is; None where an older release wrote it.
    pub of: Option<Installation>,
    /// Where something begins that is no whole row.
    pub cut_at: Option<u64>,
}

fn checksum<R: LedgerRow>(of: Option<Installation>, number: u64, bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = blake3::Hasher::new_derive_key(R::CONTEXT);
    if let Some(of) = of {
        hasher.update(&of.0);
    }
    hasher.update(&number.to_le_bytes());
    hasher.update(bytes);
    let mut short = [0; CHECKSUM];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM]);
    short
}

/// The header of a ledger of this release.
pub(super) fn encode_header<R: LedgerRow>(of: Installation, taken_out: u64) -> Vec<u8> {
    let mut out = R::MAGIC.to_vec();
    out.extend_from_slice(&of.0);
    out.extend_from_slice(&taken_out.to_le_bytes());
    let sum = checksum::<R>(Some(of), NO_ROW, &out);
    out.extend_from_slice(&sum);
    out
}

/// A row, as a ledger with this header holds it.
pub(super) fn encode_row<R: LedgerRow>(of: Option<Installation>, number: u64, row: &R) -> Vec<u8> {
    let (payload, (tenant, sequence)) = (row.payload(), row.key());
    let mut out = Vec::with_capacity(HEAD + payload.len() + CHECKSUM);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&(!(payload.len() as u32)).to_le_bytes());
    out.extend_from_slice(&tenant.0.to_le_bytes());
    out.extend_from_slice(&sequence.0.to_le_bytes());
    out.extend_from_slice(&payload);
    let sum = checksum::<R>(of, number, &out);
    out.extend_from_slice(&sum);
    out
}

/// The length that a row's head names, if it was not bent.
fn length_of(head: &[u8; HEAD]) -> Option<usize> {
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let turned = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    (length == !turned).then_some(length as usize)
}

fn decode_row<R: LedgerRow>(of: Option<Installation>, number: u64, head: &[u8; HEAD], rest: &[u8]) -> Option<R> {
    let (payload, sum) = rest.split_last_chunk::<CHECKSUM>()?;
    if checksum::<R>(of, number, &[head, payload].concat()) != *sum {
        return None;
    }
    let tenant = TenantId(u32::from_le_bytes([head[8], head[9], head[10], head[11]]));
    let sequence = Sequence(u64::from_le_bytes(*head.last_chunk()?));
    R::read((tenant, sequence), payload)
}

/// Reads what stands in front of the rows; how many bytes that is.
fn read_header<R: LedgerRow>(source: &mut impl Read, length: u64) -> Result<(Header, u64), LedgerError> {
    let foreign = LedgerError::Foreign(R::WHAT);
    if length < MAGIC_BYTES as u64 {
        return Err(foreign);
    }
    let mut header = [0; HEADER_BYTES];
    let (magic, rest) = header.split_at_mut(MAGIC_BYTES);
    source.read_exact(magic).map_err(io_of::<R>)?;
    if magic[1..] != R::MAGIC[1..] {
        return Err(foreign);
    }
    match magic[0] {
        UNNAMED => return Ok((Header { of: None, taken_out: 0 }, MAGIC_BYTES as u64)),
        form if form == R::MAGIC[0] => {}
        form if form > R::MAGIC[0] && form.is_ascii_digit() => return Err(LedgerError::Newer(R::WHAT)),
        _ => return Err(foreign),
    }
    if length < HEADER_BYTES as u64 {
        return Err(foreign);
    }
    source.read_exact(rest).map_err(io_of::<R>)?;
    let (told, sum) = header.split_at(HEADER_BYTES - CHECKSUM);
    let of = Installation(std::array::from_fn(|at| told[MAGIC_BYTES + at]));
    let taken_out = u64::from_le_bytes(std::array::from_fn(|at| told[MAGIC_BYTES + 16 + at]));
    if checksum::<R>(Some(of), NO_ROW, told) != sum {
        return Err(foreign);
    }
    Ok((Header { of: Some(of), taken_out }, HEADER_BYTES as u64))
}

/// Goes through a ledger's bytes, row by row, holding one at a time. `of` is the installation that it must be of, where it
/// names one.
pub(super) fn scan<R: LedgerRow>(
    source: impl Read,
    length: u64,
    of: Option<Installation>,
    mut visit: impl FnMut(R),
) -> Result<Seen, LedgerError> {
    let mut source = BufReader::new(source);
    let (header, mut at) = read_header::<R>(&mut source, length)?;
    if header.of.zip(of).is_some_and(|(its, wanted)| its != wanted) {
        return Err(LedgerError::Elsewhere(R::WHAT));
    }
    let mut number = 0;
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
        visit(decode_row(header.of, number, &head, &rest).ok_or(damaged)?);
        at += (HEAD + body) as u64;
        number += 1;
    }
    let cut_at = (at < length).then_some(at);
    Ok(Seen { rows: number, taken_out: header.taken_out, of: header.of, cut_at })
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

/// What an older release wrote: a ledger that names no installation.
#[cfg(test)]
pub(super) fn unnamed<R: LedgerRow>(rows: &[R]) -> Vec<u8> {
    let mut bytes = R::MAGIC.to_vec();
    bytes[0] = UNNAMED;
    (0..).zip(rows).for_each(|(number, row)| bytes.extend(encode_row(None, number, row)));
    bytes
}
