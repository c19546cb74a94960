//! An auditor's check of a data directory whose server is down: the whole chain, the erasure ledger, every receipt against
//! both, the logs of reads, and what is kept beside them: signed heads, the ledgers of stops and of revocations. `audit/running.rs` makes the same checks in a server, beside its writes.

pub(crate) mod ledgers;
pub(crate) mod running;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use onefold_core::decision::{self, DecisionError, EntryKind};
use onefold_core::erasure::{Erased, LogHead, Receipt, ReceiptError, ReceiptKept};
use onefold_core::head::{HeadError, SignedHead, is_cut_line};
use onefold_core::ids::{Sequence, TenantId};
use onefold_core::reads::ReadLogMark;
use onefold_store::datadir::{DataDir, DataDirError, OpenOptions};
use onefold_store::erasures::ErasureLedger;
use onefold_store::journal::{EntryView, Journal, JournalError, JournalOptions, JournalReader, Position, VerifyReport};
use onefold_store::keys::{Installation, RootKey};
use onefold_store::ledger::LedgerError;
use onefold_store::vault::{Vault, VaultError};

use crate::app::heads;
use crate::app::privacy::receipt::SIGNING_KEY;
use crate::app::recover::{StartError, read_root_key};

/// What was checked, all of it whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Segments of the journal.
    pub segments: u32,
    /// Batches whose content matches the chain.
    pub batches: u64,
    /// Entries in them.
    pub entries: u64,
    /// Erasures that the journal tells of.
    pub erasures: u64,
    /// Receipts that were signed here and whose places in the log are what they say.
    pub receipts: u64,
    /// Entries of the logs of reads, in logs that hold every end and begin where the log says.
    pub reads: u64,
    /// Signed heads that the log still has, each where it says.
    pub heads: u64,
    /// When the newest of them was signed; empty without one.
    pub head_time: String,
    /// Keys that were to be destroyed, and are.
    pub destroyed_keys: u64,
    /// The chain's hash at the end, hexadecimal.
    pub head: String,
    /// Where that is: segment and offset.
    pub end: (u32, u32),
    /// The key that receipts are signed with, hexadecimal.
    pub public_key: String,
}

/// Something does not fit.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The directory cannot be opened; a server that runs holds it.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The root key's file cannot be used.
    #[error(transparent)]
    RootKey(#[from] StartError),
    /// The first entry of the log that is not what was written.
    #[error("the log: {0}")]
    Journal(#[from] JournalError),
    /// The first entry of a log of reads that is not what was written.
    #[error("the log of reads of tenant {}: {source}", .tenant.0)]
    Reads {
        /// Whose.
        tenant: TenantId,
        /// Where, and what is wrong there.
        source: JournalError,
    },
    /// A log of reads was cut, or is another one.
    #[error("the log of reads of tenant {} {what} at segment {segment}, offset {offset}, as the log says that it did", .tenant.0)]
    ReadsCut {
        /// Whose.
        tenant: TenantId,
        /// What it does not do.
        what: &'static str,
        /// Segment.
        segment: u32,
        /// Offset.
        offset: u32,
    },
    /// The erasure ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The ledger and the log tell different stories.
    #[error("the erasure ledger does not hold the erasure at sequence {} of tenant {}", .sequence.0, .tenant.0)]
    NotInLedger {
        /// Whose.
        tenant: TenantId,
        /// Its sequence.
        sequence: Sequence,
    },
    /// The log does not hold what the ledger does: an older copy of the data directory was put in its place.
    #[error(
        "the log does not hold the erasure at sequence {} of tenant {}, of which the erasure ledger tells: this is an older \
         copy of the log; a start carries it out again before it serves", .sequence.0, .tenant.0
    )]
    NotInLog {
        /// Whose.
        tenant: TenantId,
        /// Its sequence.
        sequence: Sequence,
    },
    /// A key that was to be destroyed is there, or cannot be told.
    #[error("slot {slot} of tenant {}: the key was to be destroyed and is not", .tenant.0)]
    KeyAlive {
        /// Whose.
        tenant: TenantId,
        /// Which.
        slot: u32,
    },
    /// A file beside the log is not there, which every server begins that starts: somebody took it away.
    #[error("{path} is gone: {what}; the next start writes it anew, of what it knows")]
    Gone {
        /// Which file.
        path: PathBuf,
        /// What that means.
        what: &'static str,
    },
    /// The signed heads were taken away.
    #[error(
        "{path} holds no head, and every start signs one before it serves: somebody took its lines away, or no server of this \
         release has started here; hold the log against a copy of it, then start the server, which begins it anew"
    )]
    Emptied {
        /// Which file.
        path: PathBuf,
    },
    /// Rows are missing at the end of a ledger.
    #[error(
        "{what} lost rows: on {time} it was signed to have been given {told}, and it tells of {has}; a start writes anew what the \
         log knows of them"
    )]
    LedgerCut {
        /// Which ledger.
        what: &'static str,
        /// Rows that it was given, as far as it tells.
        has: u64,
        /// As was signed.
        told: u64,
        /// When that was signed.
        time: String,
    },
    /// A line of the signed heads is not as it was written.
    #[error("{path}, line {line}: {source}")]
    HeadLine {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        source: HeadError,
    },
    /// The log ends before a head that was signed.
    #[error("the log was cut back: it ends at segment {} offset {}, and on {time} it was signed to reach segment {} offset {}", .ends.0, .ends.1, .signed.0, .signed.1)]
    CutBack {
        /// Where it ends.
        ends: (u32, u32),
        /// Where it reached.
        signed: (u32, u32),
        /// When that was signed.
        time: String,
    },
    /// The log is another than the one that was signed.
    #[error("the log was rewritten: at segment {segment} offset {offset} it is not the log that was signed on {time}")]
    Rewritten {
        /// Where.
        segment: u32,
        /// Where in it.
        offset: u32,
        /// When that was signed.
        time: String,
    },
    /// A receipt.
    #[error("the receipt of {request}: {why}")]
    Receipt {
        /// Of which request.
        request: String,
        /// What is wrong.
        why: String,
    },
    /// Nobody waits for the answer any more, or the server ends.
    #[error("the check was broken off")]
    BrokenOff,
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl AuditError {
    /// Whether another process holds the directory: its server runs.
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        matches!(self, Self::DataDir(DataDirError::InUse(_)))
    }
}

/// Checks a data directory. Its server must be down. `heads` is a copy of its signed heads that was kept elsewhere; the
/// directory's own are checked in any case.
///
/// # Errors
/// [`AuditError`] names the first thing that does not fit.
pub fn verify(data: &Path, root_key_file: Option<&Path>, heads: Option<&Path>) -> Result<Audit, AuditError> {
    let root_key = root_key_file.map(read_root_key).transpose()?;
    let dir = DataDir::open(data, OpenOptions { root_key })?;
    let walked = walk(&dir, |_| {})?;
    if let Some(damage) = walked.report.damages.first() {
        return Err(JournalError::Damaged(*damage).into());
    }
    walked.in_ledger(&dir)?;
    walked.told.beside_the_log(data, dir.installation())?;
    let destroyed_keys = walked.keys_are_gone(&dir)?;
    let reads = walked.reads_are_whole(&dir)?;
    let public_key = public_key(dir.root_key());
    let kept = heads;
    let (heads, head_time) = walked.heads_hold(data, kept, &public_key)?;
    if !ledgers::waits_for_a_start(data) {
        ledgers::hold_what_was_signed(data, kept, dir.installation(), &public_key)?;
    }
    for text in &walked.told.receipts {
        in_log(text, &public_key, &walked.reader)?;
    }
    Ok(Audit {
        heads,
        head_time,
        segments: walked.report.segments,
        batches: walked.report.batches,
        entries: walked.report.entries,
        erasures: walked.told.erasures.len() as u64,
        receipts: walked.told.receipts.len() as u64,
        destroyed_keys,
        reads,
        head: hexadecimal(&walked.end.chain),
        end: (walked.end.segment, walked.end.offset),
        public_key,
    })
}

/// What a walk over the whole log found.
pub(crate) struct Walked {
    /// Reads it.
    pub reader: JournalReader,
    /// Its end.
    pub end: Position,
    /// Whether each batch is what was written.
    pub report: VerifyReport,
    /// A write that was never acknowledged was cut from its end.
    pub cut: bool,
    /// What it tells of.
    pub told: Told,
}

/// What the entries of a log tell that can be held against something else.
#[derive(Default)]
pub(crate) struct Told {
    /// Erasures.
    pub erasures: Vec<(TenantId, Sequence, Erased)>,
    receipts: Vec<String>,
    wrapped: Vec<(TenantId, Vec<u8>)>,
    marks: Vec<(TenantId, ReadLogMark)>,
}

impl Told {
    /// Takes in an entry.
    fn take(&mut self, entry: &EntryView<'_>) -> Result<(), DecisionError> {
        let (Some(kind), Some(payload)) = (EntryKind::from_u8(entry.kind.0), entry.bytes()) else { return Ok(()) };
        match kind {
            EntryKind::TenantOpened => {
                let tenant = decision::TenantOpened::decode(payload)?;
                self.wrapped.push((entry.tenant, tenant.wrapped_keys));
            }
            EntryKind::Erased => {
                self.erasures.push((entry.tenant, entry.sequence, Erased::read(payload)?));
            }
            EntryKind::ReadLogMarked => self.marks.push((entry.tenant, decision::decode::<ReadLogMark>(payload)?)),
            EntryKind::ReceiptKept => self.receipts.push(decision::decode::<ReceiptKept>(payload)?.text),
            _ => {}
        }
        Ok(())
    }

    /// Holds the erasures against the ledger.
    fn in_ledger(&self, data: &Path, of: Installation) -> Result<(), AuditError> {
        let mut ledger = Vec::new();
        ErasureLedger::visit_of(&ErasureLedger::path(data), of, |row| ledger.push(row))?;
        let mut held: HashMap<(TenantId, Sequence), Vec<&Erased>> = HashMap::new();
        for row in &ledger {
            held.entry((row.tenant, row.sequence)).or_default().push(&row.erased);
        }
        for (tenant, sequence, erased) in &self.erasures {
            if !held.get(&(*tenant, *sequence)).is_some_and(|rows| rows.contains(&erased)) {
                return Err(AuditError::NotInLedger { tenant: *tenant, sequence: *sequence });
            }
        }
        Ok(())
    }

    /// Holds the ledger against the erasures. What it tells of tenants that the log does not know waits for a restore of one
    /// that does. For a server that is down: the ledger follows the log.
    fn in_log(&self, data: &Path) -> Result<(), AuditError> {
        let held: HashMap<(TenantId, Sequence), &Erased> =
            self.erasures.iter().map(|(tenant, sequence, erased)| ((*tenant, *sequence), erased)).collect();
        let tenants: HashSet<TenantId> = self.wrapped.iter().map(|(tenant, _)| *tenant).collect();
        for row in ErasureLedger::read(&ErasureLedger::path(data))? {
            let (tenant, sequence) = (row.tenant, row.sequence);
            if tenants.contains(&tenant) && held.get(&(tenant, sequence)) != Some(&&row.erased) {
                return Err(AuditError::NotInLog { tenant, sequence });
            }
        }
        Ok(())
    }

    /// Sees whether what is kept beside the log is there and whole, once a server began it.
    fn beside_the_log(&self, data: &Path, of: Installation) -> Result<(), AuditError> {
        if self.wrapped.is_empty() || ledgers::waits_for_a_start(data) {
            return Ok(());
        }
        ledgers::are_there(data, of)
    }

    /// Sees whether the keys of a tenant are gone that its erasures were to destroy; how many.
    fn keys_are_gone(&self, tenant: TenantId, vault: Option<&Vault>) -> Result<u64, AuditError> {
        let mut gone = 0;
        let erasures = self.erasures.iter().filter(|(of, ..)| *of == tenant);
        for slot in erasures.flat_map(|(.., erased)| &erased.slots) {
            let destroyed = vault.is_some_and(|vault| matches!(vault.key(*slot), Err(VaultError::Destroyed(_))));
            if !destroyed {
                return Err(AuditError::KeyAlive { tenant, slot: slot.0 });
            }
            gone += 1;
        }
        Ok(gone)
    }

    /// What a tenant's log of reads was said to hold.
    fn marks_of(&self, tenant: TenantId) -> Vec<ReadLogMark> {
        self.marks.iter().filter(|(of, _)| *of == tenant).map(|(_, mark)| *mark).collect()
    }
}

/// Walks over the whole log; `also` sees every entry.
///
/// # Errors
/// [`AuditError::Journal`].
pub(crate) fn walk(dir: &DataDir, mut also: impl FnMut(&EntryView<'_>)) -> Result<Walked, AuditError> {
    let mut told = Told::default();
    let opened = Journal::open(JournalOptions::new(dir.journal()), None, |batch| {
        for entry in batch.entries() {
            also(&entry);
            told.take(&entry)?;
        }
        Ok(())
    })?;
    let report = opened.reader.verify()?;
    let (end, cut) = (opened.appender.position(), opened.report.cut.is_some());
    Ok(Walked { reader: opened.reader, end, report, cut, told })
}

impl Walked {
    /// Holds the log against the signed heads of its directory, and against a copy of them; how many of the newer of the two
    /// hold, and of when the last is.
    ///
    /// # Errors
    /// [`AuditError`] names the head that the log does not reach, or is not.
    fn heads_hold(&self, data: &Path, copy: Option<&Path>, public_key: &str) -> Result<(u64, String), AuditError> {
        let own = heads::path(data);
        let own = own.exists().then_some(own);
        let mut held = (0, String::new());
        for file in own.as_deref().into_iter().chain(copy) {
            let (count, newest) = heads_hold(file, public_key, &self.reader, &self.end)?;
            if newest >= held.1 {
                held = (count, newest);
            }
        }
        Ok(held)
    }

    /// Holds the erasures against the ledger, and the ledger against them.
    ///
    /// # Errors
    /// [`AuditError::NotInLedger`] and [`AuditError::NotInLog`] name the first that is not there, [`AuditError::Ledger`].
    pub(crate) fn in_ledger(&self, dir: &DataDir) -> Result<(), AuditError> {
        self.told.in_ledger(dir.path(), dir.installation())?;
        self.told.in_log(dir.path())
    }

    /// Sees whether the keys are gone that the erasures were to destroy; how many.
    ///
    /// # Errors
    /// [`AuditError::KeyAlive`] names the first that is not.
    pub(crate) fn keys_are_gone(&self, dir: &DataDir) -> Result<u64, AuditError> {
        let of_tenant = |(tenant, wrapped_keys): &(TenantId, Vec<u8>)| {
            let keys = dir.tenant_keys(wrapped_keys, *tenant);
            let vault = keys.ok().and_then(|keys| dir.open_vault(*tenant, &keys).ok());
            self.told.keys_are_gone(*tenant, vault.as_ref())
        };
        self.told.wrapped.iter().map(of_tenant).sum()
    }

    /// Holds the logs of reads against what the journal knows of them; how many entries they have.
    ///
    /// # Errors
    /// [`AuditError::Reads`], [`AuditError::ReadsCut`].
    pub(crate) fn reads_are_whole(&self, dir: &DataDir) -> Result<u64, AuditError> {
        self.told.wrapped.iter().map(|(tenant, _)| reads(dir, *tenant, &self.told.marks_of(*tenant))).sum()
    }
}

/// Checks a tenant's log of reads: its chain, that it holds every end that the journal knows and that is not over its time,
/// and that it begins where the last mark says. Answers with the number of its entries.
fn reads(dir: &DataDir, tenant: TenantId, marks: &[ReadLogMark]) -> Result<u64, AuditError> {
    let at = |source| AuditError::Reads { tenant, source };
    let path = dir.reads().join(tenant.0.to_string());
    let cut = |what, (segment, offset)| AuditError::ReadsCut { tenant, what, segment, offset };
    let last = marks.last();
    if !path.exists() {
        return last.map_or(Ok(0), |last| Err(cut("does not end", (last.end.0, last.end.1))));
    }
    let opened = Journal::open_kept(JournalOptions::new(path), None, |_| Ok(())).map_err(at)?;
    log_of_reads(tenant, &opened.reader, marks, last)
}

/// The same of a log that is open; `last` is what the journal said of it last.
fn log_of_reads(
    tenant: TenantId,
    log: &JournalReader,
    marks: &[ReadLogMark],
    last: Option<&ReadLogMark>,
) -> Result<u64, AuditError> {
    let at = |source| AuditError::Reads { tenant, source };
    let cut = |what, (segment, offset)| AuditError::ReadsCut { tenant, what, segment, offset };
    let report = log.verify().map_err(at)?;
    if let Some(damage) = report.damages.first() {
        return Err(at(JournalError::Damaged(*damage)));
    }
    if let Some(last) = last {
        // A crash may have come between the mark and the letting go.
        let (first, chain) = last.first;
        let begins = log.first() <= first && log.begins(first).map_err(at)?.chain == chain;
        if !begins {
            return Err(cut("does not begin", (first, 0)));
        }
    }
    for mark in marks.iter().filter(|mark| mark.end.0 >= log.first()) {
        let (segment, offset, chain) = mark.end;
        if !log.holds(&Position { segment, offset, chain }).map_err(at)? {
            return Err(cut("does not hold an end", (segment, offset)));
        }
    }
    Ok(report.entries)
}

/// Checks a receipt's text and signature without a data directory. `trusted` is the public key of the installation,
/// hexadecimal; without it only that the receipt was not changed is known, not who gave it out.
///
/// # Errors
/// [`ReceiptError`].
pub fn verify_receipt(text: &str, trusted: Option<&str>) -> Result<Receipt, ReceiptError> {
    Receipt::read(text, trusted)
}

/// Checks a receipt against the log of a data directory whose server is down.
///
/// # Errors
/// [`AuditError`].
pub fn verify_receipt_in(data: &Path, root_key_file: Option<&Path>, file: &Path) -> Result<Receipt, AuditError> {
    let text = fs::read_to_string(file).map_err(|source| AuditError::Io { path: file.to_owned(), source })?;
    let root_key = root_key_file.map(read_root_key).transpose()?;
    let dir = DataDir::open(data, OpenOptions { root_key })?;
    let opened = Journal::open(JournalOptions::new(dir.journal()), None, |_| Ok(()))?;
    in_log(&text, &public_key(dir.root_key()), &opened.reader)
}

fn in_log(text: &str, trusted: &str, log: &JournalReader) -> Result<Receipt, AuditError> {
    let wrong = |request: &str, why: String| AuditError::Receipt { request: request.to_owned(), why };
    let receipt = Receipt::read(text, Some(trusted)).map_err(|error| wrong("a request", error.to_string()))?;
    for (when, head) in [("before", &receipt.log_before), ("after", &receipt.log_after)] {
        let chain = head.hash().ok_or_else(|| wrong(&receipt.request, format!("the log {when} is no hash")))?;
        let position = Position { segment: head.segment, offset: head.offset, chain };
        if !log.holds(&position)? {
            let why = format!("the log {when} it, at segment {} offset {}, is another", head.segment, head.offset);
            return Err(wrong(&receipt.request, why));
        }
    }
    Ok(receipt)
}

/// Checks every line of signed heads, and that the log still has each of them. Answers how many there are, and when the
/// newest was signed.
fn heads_hold(file: &Path, trusted: &str, log: &JournalReader, end: &Position) -> Result<(u64, String), AuditError> {
    let bytes = fs::read(file).map_err(|source| AuditError::Io { path: file.to_owned(), source })?;
    let text = std::str::from_utf8(&bytes).map_err(|odd| AuditError::HeadLine {
        path: file.to_owned(),
        line: heads::line_at(&bytes, odd.valid_up_to()),
        source: HeadError::Text,
    })?;
    // A last line without its end was never a whole one.
    let whole = text.rfind('\n').map_or("", |at| &text[..at]);
    let (mut previous, mut count, mut newest) = (None, 0, String::new());
    for (line, number) in whole.lines().zip(1..) {
        let head = SignedHead::read(line, previous, Some(trusted)).map_err(|source| AuditError::HeadLine {
            path: file.to_owned(),
            line: number,
            source,
        })?;
        let Some(chain) = head.log.hash() else {
            return Err(AuditError::HeadLine { path: file.to_owned(), line: number, source: HeadError::Text });
        };
        let SignedHead { time, log: LogHead { segment, offset, .. }, .. } = head;
        reaches(log, &Position { segment, offset, chain }, end, &time)?;
        (previous, count, newest) = (Some(line), count + 1, time);
    }
    if !is_cut_line(text[whole.len()..].trim_start_matches('\n')) {
        let line = usize::try_from(count).unwrap_or(usize::MAX).saturating_add(1);
        return Err(AuditError::HeadLine { path: file.to_owned(), line, source: HeadError::Text });
    }
    Ok((count, newest))
}

/// An error with its causes, in one line.
#[must_use]
pub fn explained(error: &AuditError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

/// The heads of a copy that was kept elsewhere, oldest first, and the key that signed them, hexadecimal; each line is
/// signed and follows the one before. That the log holds them is asked of whoever has the log.
///
/// # Errors
/// [`AuditError::HeadLine`] names the first line that is not as it was written.
pub fn heads_of(file: &Path) -> Result<Vec<SignedHead>, AuditError> {
    let text = fs::read_to_string(file).map_err(|source| AuditError::Io { path: file.to_owned(), source })?;
    let whole = text.rfind('\n').map_or("", |at| &text[..at]);
    let (mut previous, mut heads) = (None, Vec::<SignedHead>::new());
    for (line, number) in whole.lines().zip(1..) {
        let signer = heads.first().map(|first| first.public_key.as_str());
        let head = SignedHead::read(line, previous, signer);
        let bad = |source| AuditError::HeadLine { path: file.to_owned(), line: number, source };
        heads.push(head.map_err(bad)?);
        previous = Some(line);
    }
    Ok(heads)
}

/// That a log which ends at `end` holds a head that was signed at `time`.
fn reaches(log: &JournalReader, head: &Position, end: &Position, time: &str) -> Result<(), AuditError> {
    if log.holds(head)? {
        return Ok(());
    }
    let (ends, signed) = ((end.segment, end.offset), (head.segment, head.offset));
    let time = time.to_owned();
    Err(if signed > ends {
        AuditError::CutBack { ends, signed, time }
    } else {
        AuditError::Rewritten { segment: head.segment, offset: head.offset, time }
    })
}

pub(crate) fn public_key(root: &RootKey) -> String {
    Receipt::public_key_of(&root.derive(SIGNING_KEY))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
