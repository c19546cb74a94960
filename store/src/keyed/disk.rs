//! The store on sled 0.34: trusted with nothing that cannot be rebuilt.
//!
//! A value is stored as version · keyed checksum (8 bytes, over key and value) · value, so silent damage shows when it is
//! read. Together with each batch goes a record of the position reached, the number of entries and the sum of their
//! checksums: sled has been seen to come back from a power cut with a part of its entries, or none, and no error. Opening
//! counts everything again, unless the store was closed in order; what does not add up is thrown away.

use std::fs::{self, File};
use std::ops::Bound;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use onefold_core::ids::TenantId;
use zeroize::Zeroizing;

use super::{KEY_PREFIX, KeyedBatch, KeyedError, KeyedStore, Reached, ScanVisitor, Table, full_key, scan_range};
use crate::disk;
use crate::journal::{JournalReader, Position};
use crate::keys::{KEY_BYTES, RootKey};

const VALUE_VERSION: u8 = 1;
const CHECKSUM: usize = 8;
/// Shorter than any entry's key, so it collides with none.
const REACHED_KEY: &[u8] = &[0xFF];
const CACHE_BYTES: u64 = 32 << 20;
/// sled writes half a MiB at a time, and a snapshot of its page table when it is opened.
const ROOM_BYTES: u64 = 4 << 20;
/// Written after everything else on closing, removed before anything else on opening.
const CLOSED_FILE: &str = "keyed.closed";
const SLED_DIR: &str = "sled";

/// Why a store on disk was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// sled refused to open it, or panicked.
    WouldNotOpen,
    /// Entries were missing, too many, or damaged.
    Damaged,
    /// It knows a position that the journal does not hold.
    AheadOfJournal,
    /// Written by a newer release.
    Newer,
}

/// A store that was opened.
#[derive(Debug)]
pub struct OpenedKeyed {
    /// The store.
    pub store: SledStore,
    /// Where the journal must be applied from.
    pub reached: Reached,
    /// Why the store that was there is gone; `reached` is [`Reached::Nothing`] then.
    pub replaced: Option<Replaced>,
}

/// A [`KeyedStore`] on sled.
pub struct SledStore {
    db: sled::Db,
    dir: PathBuf,
    key: Zeroizing<[u8; KEY_BYTES]>,
    /// What the record of the position says; also makes batches follow one another.
    tally: Mutex<Tally>,
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// How many entries there should be, and the wrapping sum of their checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    entries: u64,
    sum: u64,
}

/// Opens the store in `dir`, or creates it. One that cannot be trusted is removed and an empty one returned, with the
/// reason: the caller then applies the journal from the start.
///
/// # Errors
/// [`KeyedError::InUse`] when this process has it open already, [`KeyedError::NoSpace`], [`KeyedError::Engine`] when
/// even an empty one cannot be made.
pub fn open(dir: &Path, root: &RootKey, journal: &JournalReader) -> Result<OpenedKeyed, KeyedError> {
    let io = failed("open");
    fs::create_dir_all(dir).map_err(&io)?;
    // Of a look for room that was cut off; it holds nothing.
    match fs::remove_file(room_probe(dir)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let closed = dir.join(CLOSED_FILE);
    let closed_in_order = closed.exists();
    if closed_in_order {
        fs::remove_file(&closed).map_err(&io)?;
        disk::sync_dir(dir).map_err(&io)?;
    }
    let key = Zeroizing::new(root.derive("keyed store checksums"));
    let opened = open_guarded(dir, &key, closed_in_order);
    // sled makes its folder for everybody to read, and a copy of it would have nothing around it.
    if let Ok(made) = fs::metadata(dir.join(SLED_DIR)) {
        let mut permissions = made.permissions();
        permissions.set_mode(0o700);
        fs::set_permissions(dir.join(SLED_DIR), permissions).map_err(&io)?;
    }
    let reason = match opened {
        Ok((store, Reached::Nothing)) => {
            return Ok(OpenedKeyed { store, reached: Reached::Nothing, replaced: None });
        }
        Ok((store, Reached::At(position))) => {
            if journal.holds(&position).unwrap_or(false) {
                return Ok(OpenedKeyed { store, reached: Reached::At(position), replaced: None });
            }
            // Not closed in order: it is about to be removed.
            drop(store.db);
            Replaced::AheadOfJournal
        }
        Err(Refusal::InUse) => return Err(KeyedError::InUse),
        Err(Refusal::Replace(reason)) => reason,
    };
    tracing::warn!(?reason, "the keyed store is rebuilt from the journal");
    fs::remove_dir_all(dir.join(SLED_DIR)).map_err(&io)?;
    disk::sync_dir(dir).map_err(&io)?;
    match open_guarded(dir, &key, false) {
        Ok((store, reached)) => Ok(OpenedKeyed { store, reached, replaced: Some(reason) }),
        Err(Refusal::InUse) => Err(KeyedError::InUse),
        Err(Refusal::Replace(_)) => {
            Err(KeyedError::Engine { doing: "open", why: "an empty store cannot be made".to_owned() })
        }
    }
}

fn room_probe(dir: &Path) -> PathBuf {
    disk::unfinished(&dir.join("room"))
}

/// Makes sure that there is room to open the store in `dir` and to write to it: on a full disk a store that is whole
/// would not open, which [`open`] takes for damage.
///
/// # Errors
/// [`KeyedError::NoSpace`], [`KeyedError::Engine`].
pub fn has_room(dir: &Path) -> Result<(), KeyedError> {
    let probe = room_probe(dir);
    let io = failed("look for room for");
    let reserved = File::create(&probe).and_then(|file| disk::preallocate(&file, ROOM_BYTES));
    let removed = fs::remove_file(&probe);
    reserved.and(removed).map_err(io)
}

/// What an inspection found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inspected {
    /// There is no store, or an empty one.
    Nothing,
    /// It opens, and as many entries as there should be add up to what they should.
    Whole(u64),
    /// The next opening would throw it away.
    WouldBeReplaced(Replaced),
}

/// Looks at the store in `dir` as [`open`] does, counts everything, and throws nothing away.
///
/// # Errors
/// As [`open`].
pub fn inspect(dir: &Path, root: &RootKey, journal: &JournalReader) -> Result<Inspected, KeyedError> {
    if !dir.join(SLED_DIR).exists() {
        return Ok(Inspected::Nothing);
    }
    let key = Zeroizing::new(root.derive("keyed store checksums"));
    match open_guarded(dir, &key, false) {
        Ok((_, Reached::Nothing)) => Ok(Inspected::Nothing),
        Ok((store, Reached::At(position))) => {
            let entries = store.tally.lock().unwrap_or_else(PoisonError::into_inner).entries;
            // The note of an orderly end, where there is one, still holds: nothing was written.
            Ok(match journal.holds(&position).unwrap_or(false) {
                true => Inspected::Whole(entries),
                false => Inspected::WouldBeReplaced(Replaced::AheadOfJournal),
            })
        }
        Err(Refusal::InUse) => Err(KeyedError::InUse),
        Err(Refusal::Replace(reason)) => Ok(Inspected::WouldBeReplaced(reason)),
    }
}

enum Refusal {
    InUse,
    Replace(Replaced),
}

/// sled panics on some damage, in `open` as well as in the first scan.
fn open_guarded(dir: &Path, key: &Zeroizing<[u8; KEY_BYTES]>, trusted: bool) -> Result<(SledStore, Reached), Refusal> {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let db = open_sled(&dir.join(SLED_DIR))?;
        let store = SledStore { db, dir: dir.to_owned(), key: key.clone(), tally: Mutex::default() };
        let checked = store.check(trusted);
        checked.map(|reached| (store, reached))
    }));
    opened.unwrap_or(Err(Refusal::Replace(Replaced::WouldNotOpen)))
}

fn open_sled(dir: &Path) -> Result<sled::Db, Refusal> {
    // A handle that was just dropped may hold sled's own lock for a moment longer.
    for _ in 0..50 {
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        match config.open() {
            Ok(db) => return Ok(db),
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(_) => return Err(Refusal::Replace(Replaced::WouldNotOpen)),
        }
    }
    Err(Refusal::InUse)
}

fn failed(doing: &'static str) -> impl Fn(std::io::Error) -> KeyedError {
    move |error| {
        if disk::is_no_space(&error) {
            KeyedError::NoSpace
        } else {
            KeyedError::Engine { doing, why: error.kind().to_string() }
        }
    }
}

fn engine(doing: &'static str) -> impl Fn(sled::Error) -> KeyedError {
    move |error| match error {
        sled::Error::Io(error) => failed(doing)(error),
        sled::Error::Corruption { .. } => KeyedError::Damaged,
        sled::Error::ReportableBug(_) | sled::Error::Unsupported(_) | sled::Error::CollectionNotFound(_) => {
            KeyedError::Engine { doing, why: "the engine reports a fault of its own".to_owned() }
        }
    }
}

impl SledStore {
    fn checksum(&self, key: &[u8], value: &[u8]) -> [u8; CHECKSUM] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(key);
        hasher.update(value);
        let mut short = [0; CHECKSUM];
        short.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM]);
        short
    }

    fn encode(&self, key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut stored = Vec::with_capacity(1 + CHECKSUM + value.len());
        stored.push(VALUE_VERSION);
        stored.extend_from_slice(&self.checksum(key, value));
        stored.extend_from_slice(value);
        stored
    }

    fn decode<'a>(&self, key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], KeyedError> {
        match stored.split_first() {
            Some((&VALUE_VERSION, rest)) => match rest.split_at_checked(CHECKSUM) {
                Some((checksum, value)) if self.checksum(key, value) == checksum => Ok(value),
                _ => Err(KeyedError::Damaged),
            },
            Some((&version, _)) => Err(KeyedError::Newer(version)),
            None => Err(KeyedError::Damaged),
        }
    }

    /// Reads the record of the position and, unless the store was closed in order, counts everything again.
    fn check(&self, trusted: bool) -> Result<Reached, Refusal> {
        let replace = |error: KeyedError| match error {
            KeyedError::Newer(_) => Refusal::Replace(Replaced::Newer),
            _ => Refusal::Replace(Replaced::Damaged),
        };
        let noted = self.noted().map_err(replace)?;
        if !trusted || noted.is_none() {
            let mut counted = Tally::default();
            for entry in self.db.iter() {
                let (key, stored) = entry.map_err(|_| Refusal::Replace(Replaced::Damaged))?;
                if &*key != REACHED_KEY {
                    self.decode(&key, &stored).map_err(replace)?;
                    counted.add(&stored);
                }
            }
            if counted != noted.map_or_else(Tally::default, |(_, tally)| tally) {
                return Err(Refusal::Replace(Replaced::Damaged));
            }
        }
        let Some((position, tally)) = noted else { return Ok(Reached::Nothing) };
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner) = tally;
        Ok(Reached::At(position))
    }

    fn noted(&self) -> Result<Option<(Position, Tally)>, KeyedError> {
        let Some(stored) = self.db.get(REACHED_KEY).map_err(engine("read"))? else { return Ok(None) };
        let (position, entries, sum): (Position, u64, u64) =
            postcard::from_bytes(self.decode(REACHED_KEY, &stored)?).map_err(|_| KeyedError::Damaged)?;
        Ok(Some((position, Tally { entries, sum })))
    }

    #[cfg(test)]
    pub(super) fn swap_raw_for_test(&self, a: &[u8], b: &[u8]) {
        let (old_a, old_b) = (self.db.get(a).unwrap().unwrap(), self.db.get(b).unwrap().unwrap());
        self.db.insert(a, old_b).unwrap();
        self.db.insert(b, old_a).unwrap();
    }

    /// Flushes, and notes that everything is in order, so that the next opening need not count. Without it nothing is
    /// lost either.
    ///
    /// # Errors
    /// As [`KeyedStore::flush`].
    pub fn close(self) -> Result<(), KeyedError> {
        self.flush()?;
        let closed = self.dir.join(CLOSED_FILE);
        drop(self.db);
        disk::write_whole(&closed, b"").map_err(failed("close"))
    }
}

impl Tally {
    fn add(&mut self, stored: &[u8]) {
        self.entries = self.entries.wrapping_add(1);
        self.sum = self.sum.wrapping_add(stored_checksum(stored));
    }

    fn remove(&mut self, stored: &[u8]) {
        self.entries = self.entries.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(stored_checksum(stored));
    }
}

fn stored_checksum(stored: &[u8]) -> u64 {
    stored.get(1..=CHECKSUM).and_then(|slice| slice.try_into().ok()).map_or(0, u64::from_le_bytes)
}

impl KeyedStore for SledStore {
    fn get(&self, tenant: TenantId, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KeyedError> {
        let key = full_key(tenant, table, key);
        match self.db.get(&key).map_err(engine("read"))? {
            Some(stored) => self.decode(&key, &stored).map(|value| Some(value.to_vec())),
            None => Ok(None),
        }
    }

    fn scan(
        &self,
        tenant: TenantId,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut ScanVisitor<'_>,
    ) -> Result<(), KeyedError> {
        let (prefix, start) = scan_range(tenant, table, prefix, after);
        for entry in self.db.range::<Vec<u8>, _>((start, Bound::Unbounded)) {
            let (key, stored) = entry.map_err(engine("scan"))?;
            if !key.starts_with(&prefix) {
                break;
            }
            if visit(&key[KEY_PREFIX..], self.decode(&key, &stored)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: &KeyedBatch, reached: &Position) -> Result<(), KeyedError> {
        let mut held = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tally = *held;
        let mut changes = sled::Batch::default();
        for (key, change) in &batch.changes {
            if let Some(old) = self.db.get(key).map_err(engine("read"))? {
                tally.remove(&old);
            }
            match change {
                Some(value) => {
                    let stored = self.encode(key, value);
                    tally.add(&stored);
                    changes.insert(key.as_slice(), stored);
                }
                None => changes.remove(key.as_slice()),
            }
        }
        let note = postcard::to_allocvec(&(reached, tally.entries, tally.sum)).map_err(|_| KeyedError::Damaged)?;
        changes.insert(REACHED_KEY, self.encode(REACHED_KEY, &note));
        self.db.apply_batch(changes).map_err(engine("write"))?;
        *held = tally;
        Ok(())
    }

    fn reached(&self) -> Result<Reached, KeyedError> {
        Ok(self.noted()?.map_or(Reached::Nothing, |(position, _)| Reached::At(position)))
    }

    fn flush(&self) -> Result<(), KeyedError> {
        self.db.flush().map_err(engine("flush"))?;
        // sled's flush ends in `sync_file_range`, which forces neither sizes nor the drive's cache.
        sync_tree(&self.dir.join(SLED_DIR)).map_err(failed("sync"))
    }
}

fn sync_tree(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let synced = if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())
        } else {
            File::open(entry.path()).and_then(|file| file.sync_all())
        };
        match synced {
            // sled removes old snapshots by itself.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    disk::sync_dir(dir)
}
