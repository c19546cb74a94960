//! Signed heads of the log: how far it reached, with which chain, written to a small file that is only ever appended to and
//! can be copied off the machine. With such a copy nobody who has the machine can cut the log back unseen.
//!
//! The file lies outside of what a backup holds. It is written at intervals while there is something new, beside each
//! checkpoint, and at a shutdown; that it cannot be written is told and stops nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use onefold_core::erasure::{LogHead, Receipt};
use onefold_core::fragment::ObservedAt;
use onefold_core::head::{SignedHead, is_cut_line};
use onefold_store::journal::{JournalError, JournalReader, Position};

use super::privacy::receipt;

/// The heads of a data directory, open for appending.
#[derive(Debug)]
pub struct Heads {
    seed: [u8; 32],
    inner: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    last: Option<String>,
    /// The line before the last, as it was at the start.
    before_last: Option<String>,
    signed: Option<Position>,
    /// The newest position that is durable.
    newest: Option<Position>,
}

/// The number of the line, from 1, in which a byte lies.
pub fn line_at(bytes: &[u8], at: usize) -> usize {
    1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count()
}

/// Where the heads of a data directory lie.
pub fn path(data: &Path) -> PathBuf {
    data.join("heads").join("heads.jsonl")
}

impl Heads {
    /// Opens the file, or begins one. A last line that a crash cut off is taken away; one that ends otherwise than it was
    /// written, or is no text, is told and left to an audit.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(data: &Path, seed: [u8; 32]) -> io::Result<Self> {
        let path = path(data);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(&path)?;
        let mut bytes = fs::read(&path)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole < bytes.len() {
            let line = line_at(&bytes, whole);
            if std::str::from_utf8(&bytes[whole..]).is_ok_and(is_cut_line) {
                tracing::warn!(line, "the last line of heads/heads.jsonl was not written whole and is cut");
                bytes.truncate(whole);
                file.set_len(whole as u64)?;
            } else {
                tracing::error!(line, "a line of heads/heads.jsonl was changed; `onefold audit verify` looks at all");
                bytes.push(b'\n');
                file.write_all(b"\n")?;
            }
            file.sync_data()?;
        }
        if let Err(odd) = std::str::from_utf8(&bytes) {
            let line = line_at(&bytes, odd.valid_up_to());
            tracing::error!(line, "a line of heads/heads.jsonl is no text; `onefold audit verify` looks at all");
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines().rev().map(str::to_owned);
        let (last, before_last) = (lines.next(), lines.next());
        let inner = Mutex::new(Open { file, last, before_last, signed: None, newest: None });
        Ok(Self { seed, inner })
    }

    /// Everything up to here is durable.
    pub fn reached(&self, position: Position) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).newest = Some(position);
    }

    /// The newest head that was signed here, if the log does not hold it: it was cut back, or is another log. A last line that
    /// proves nothing is told, and left to an audit.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn missed_by(&self, log: &JournalReader) -> Result<Option<SignedHead>, JournalError> {
        let open = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = &open.last else { return Ok(None) };
        let trusted = Receipt::public_key_of(&self.seed);
        match SignedHead::read(last, open.before_last.as_deref(), Some(&trusted)) {
            Ok(head) => {
                let chain = head.log.hash();
                let at = chain.map(|chain| Position { segment: head.log.segment, offset: head.log.offset, chain });
                let held = at.map_or(Ok(false), |at| log.holds(&at))?;
                Ok(Some(head).filter(|_| !held))
            }
            Err(error) => {
                tracing::error!(error = %error, "the newest signed head proves nothing; `onefold audit verify` looks at all");
                Ok(None)
            }
        }
    }

    /// Signs how far the log reached, if that is further than what was signed last.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn sign(&self, now: ObservedAt) -> io::Result<()> {
        let mut open = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(newest) = open.newest.filter(|newest| open.signed.is_none_or(|signed| signed.chain != newest.chain))
        else {
            return Ok(());
        };
        let log = LogHead::new(newest.segment, newest.offset, &newest.chain);
        let line = SignedHead::sign(receipt::time(now), log, open.last.as_deref(), &self.seed).line();
        // In one write, so that a crash leaves at most a last line without its end.
        open.file.write_all(format!("{line}\n").as_bytes())?;
        open.file.sync_data()?;
        open.last = Some(line);
        open.signed = Some(newest);
        Ok(())
    }

    /// [`Heads::sign`]; a failure is told and stops nothing.
    pub fn sign_or_tell(&self, now: ObservedAt) {
        if let Err(error) = self.sign(now) {
            tracing::warn!(error = %error, "the head of the log was not signed; it is tried again");
        }
    }
}

#[cfg(test)]
mod tests {
    use onefold_core::head::HeadError;

    use super::*;

    fn at(number: u32) -> Position {
        Position { segment: 1, offset: number, chain: [number as u8; 32] }
    }

    fn lines(data: &Path) -> Vec<String> {
        fs::read_to_string(path(data)).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_is_new_is_signed_and_a_cut_line_goes() {
        let dir = tempfile::tempdir().unwrap();
        let heads = Heads::open(dir.path(), [1; 32]).unwrap();
        heads.sign(ObservedAt(0)).unwrap();
        assert!(lines(dir.path()).is_empty(), "nothing is known yet");
        for number in [1, 1, 2] {
            heads.reached(at(number));
            heads.sign(ObservedAt(i64::from(number) * 1_000_000)).unwrap();
        }
        assert_eq!(lines(dir.path()).len(), 2, "nothing new, nothing signed");
        drop(heads);
        let file = OpenOptions::new().append(true).open(path(dir.path())).unwrap();
        (&file).write_all(b"{\"head_version\":1,\"ti").unwrap();
        let heads = Heads::open(dir.path(), [1; 32]).unwrap();
        heads.reached(at(3));
        heads.sign(ObservedAt(3_000_000)).unwrap();
        let mut before: Option<String> = None;
        for (line, number) in lines(dir.path()).into_iter().zip(1u32..) {
            let head = SignedHead::read(&line, before.as_deref(), None).unwrap();
            assert_eq!(head.log, LogHead::new(1, number, &at(number).chain));
            before = Some(line);
        }
        assert_eq!(lines(dir.path()).len(), 3);
    }

    #[test]
    fn a_line_that_was_changed_is_neither_cut_nor_trusted_nor_in_the_way() {
        for changed in ["its end", "a byte that is no text"] {
            let dir = tempfile::tempdir().unwrap();
            let heads = Heads::open(dir.path(), [1; 32]).unwrap();
            for number in [1, 2] {
                heads.reached(at(number));
                heads.sign(ObservedAt(i64::from(number) * 1_000_000)).unwrap();
            }
            drop(heads);
            let second = lines(dir.path()).pop();
            let mut bytes = fs::read(path(dir.path())).unwrap();
            let last = bytes.len() - if changed == "its end" { 1 } else { 9 };
            bytes[last] ^= 0x80;
            fs::write(path(dir.path()), &bytes).unwrap();
            let heads = Heads::open(dir.path(), [1; 32]).unwrap();
            heads.reached(at(3));
            heads.sign(ObservedAt(3_000_000)).unwrap();
            let now = fs::read(path(dir.path())).unwrap();
            assert!(now.starts_with(&bytes), "{changed}: what was found there is kept");
            let lines: Vec<&[u8]> = now.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
            assert_eq!(lines.len(), 3, "{changed}");
            let newest = std::str::from_utf8(lines[2]).unwrap();
            let follows = SignedHead::read(newest, second.as_deref(), None);
            assert_eq!(follows, Err(HeadError::Order), "{changed}: it follows the line as it was found");
        }
    }
}
