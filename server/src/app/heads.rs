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
use onefold_core::head::SignedHead;
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

/// Where the heads of a data directory lie.
pub fn path(data: &Path) -> PathBuf {
    data.join("heads").join("heads.jsonl")
}

impl Heads {
    /// Opens the file, or begins one. A last line that a crash cut off is taken away.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(data: &Path, seed: [u8; 32]) -> io::Result<Self> {
        let path = path(data);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new().create(true).append(true).read(true).open(&path)?;
        let text = fs::read_to_string(&path)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
            file.sync_data()?;
        }
        let mut lines = text[..whole].lines().rev().map(str::to_owned);
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
}
