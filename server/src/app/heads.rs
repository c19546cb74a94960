//! Signed heads of the log: how far it reached, with which chain, and how much the ledgers beside it had been given, written to
//! a small file that is only ever appended to and can be copied off the machine. With such a copy nobody who has the machine
//! can cut the log back unseen, or take the last rows from a ledger.
//!
//! The file lies outside of what a backup holds. The first start signs one before anything is served, so a file without any was
//! emptied. It is written at intervals while there is something new, beside each checkpoint, and at a shutdown; that it cannot
//! be written is told and stops nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use onefold_core::erasure::{LogHead, Receipt};
use onefold_core::fragment::ObservedAt;
use onefold_core::head::{LedgersTold, SignedHead, is_cut_line};
use onefold_store::journal::{JournalError, JournalReader, Position};

use super::privacy::receipt;

/// The heads of a data directory, open for appending.
#[derive(Debug)]
pub struct Heads {
    seed: [u8; 32],
    was_emptied: bool,
    inner: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    last: Option<String>,
    /// The line before the last, as it was at the start.
    before_last: Option<String>,
    signed: Option<(LogHead, Option<LedgersTold>)>,
    /// The newest position that is durable.
    newest: Option<Position>,
    /// What the ledger of stops was ever given; None while that is not known.
    stops: Option<u64>,
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
        let was_there = path.exists();
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
        // One that proves nothing is told by `missed_by`, and signed behind.
        let read = last.as_deref().and_then(|line| SignedHead::read(line, before_last.as_deref(), None).ok());
        let signed = read.map(|head| (head.log, head.ledgers));
        let inner = Mutex::new(Open { file, last, before_last, signed, newest: None, stops: None });
        Ok(Self { seed, was_emptied: was_there && whole == 0, inner })
    }

    /// Everything up to here is durable.
    pub fn reached(&self, position: Position) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).newest = Some(position);
    }

    /// Whether there was a file, and not one whole line in it: a start signs one before it serves.
    pub const fn was_emptied(&self) -> bool {
        self.was_emptied
    }

    /// Whether no head was ever signed here, as far as the file tells.
    pub fn is_empty(&self) -> bool {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).last.is_none()
    }

    /// What the ledgers were given by the newest head.
    pub fn told(&self) -> Option<LedgersTold> {
        let open = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        open.signed.as_ref().and_then(|(_, ledgers)| *ledgers)
    }

    /// The ledger of stops was ever given so much, durably.
    pub fn stops_were_given(&self, ever: u64) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).stops = Some(ever);
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

    /// Signs how far the log reached, and what the ledgers of `(erasures, revocations)` were ever given, if that is another than
    /// what was signed last.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn sign(&self, now: ObservedAt, (erasures, revocations): (u64, u64)) -> io::Result<()> {
        let mut open = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(newest) = open.newest else { return Ok(()) };
        let log = LogHead::new(newest.segment, newest.offset, &newest.chain);
        let before = open.signed.as_ref().and_then(|(_, ledgers)| *ledgers);
        let stops = open.stops.or_else(|| before.map(|before| before.stops)).unwrap_or(0);
        let ledgers = LedgersTold { erasures, stops, revocations };
        if open.signed.as_ref().is_some_and(|(signed, told)| signed.chain == log.chain && *told == Some(ledgers)) {
            return Ok(());
        }
        let what = (log.clone(), ledgers);
        let line = SignedHead::sign(receipt::time(now), what, open.last.as_deref(), &self.seed).line();
        // In one write, so that a crash leaves at most a last line without its end.
        open.file.write_all(format!("{line}\n").as_bytes())?;
        open.file.sync_data()?;
        open.last = Some(line);
        open.signed = Some((log, Some(ledgers)));
        Ok(())
    }

    /// [`Heads::sign`]; a failure is told and stops nothing.
    pub fn sign_or_tell(&self, now: ObservedAt, given: (u64, u64)) {
        if let Err(error) = self.sign(now, given) {
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

    const NONE: (u64, u64) = (0, 0);

    #[test]
    fn what_the_ledgers_were_given_is_signed_too_and_once() {
        let dir = tempfile::tempdir().unwrap();
        for (given, stops) in [((1, 0), None), ((1, 0), Some(5)), ((1, 2), Some(5)), ((1, 2), Some(5)), ((1, 2), None)]
        {
            // Each time as after a start.
            let heads = Heads::open(dir.path(), [1; 32]).unwrap();
            heads.reached(at(4));
            if let Some(stops) = stops {
                heads.stops_were_given(stops);
            }
            heads.sign(ObservedAt(1_000_000), given).unwrap();
        }
        let told = lines(dir.path());
        let told: Vec<_> = told.iter().map(|line| serde_json::from_str::<SignedHead>(line).unwrap()).collect();
        let told: Vec<_> = told.iter().filter_map(|head| head.ledgers).collect();
        let given = |erasures, stops, revocations| LedgersTold { erasures, stops, revocations };
        assert_eq!(told, [given(1, 0, 0), given(1, 5, 0), given(1, 5, 2)]);
    }

    fn lines(data: &Path) -> Vec<String> {
        fs::read_to_string(path(data)).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_is_new_is_signed_and_a_cut_line_goes() {
        let dir = tempfile::tempdir().unwrap();
        let heads = Heads::open(dir.path(), [1; 32]).unwrap();
        heads.sign(ObservedAt(0), NONE).unwrap();
        assert!(lines(dir.path()).is_empty(), "nothing is known yet");
        for number in [1, 1, 2] {
            heads.reached(at(number));
            heads.sign(ObservedAt(i64::from(number) * 1_000_000), NONE).unwrap();
        }
        assert_eq!(lines(dir.path()).len(), 2, "nothing new, nothing signed");
        drop(heads);
        let file = OpenOptions::new().append(true).open(path(dir.path())).unwrap();
        (&file).write_all(b"{\"head_version\":1,\"ti").unwrap();
        let heads = Heads::open(dir.path(), [1; 32]).unwrap();
        heads.reached(at(3));
        heads.sign(ObservedAt(3_000_000), NONE).unwrap();
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
                heads.sign(ObservedAt(i64::from(number) * 1_000_000), NONE).unwrap();
            }
            drop(heads);
            let second = lines(dir.path()).pop();
            let mut bytes = fs::read(path(dir.path())).unwrap();
            let last = bytes.len() - if changed == "its end" { 1 } else { 9 };
            bytes[last] ^= 0x80;
            fs::write(path(dir.path()), &bytes).unwrap();
            let heads = Heads::open(dir.path(), [1; 32]).unwrap();
            heads.reached(at(3));
            heads.sign(ObservedAt(3_000_000), NONE).unwrap();
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
