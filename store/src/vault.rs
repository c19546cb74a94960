//! The keys of one tenant's records, in slots that can be destroyed in place.
//!
//! A file of 32-byte slots, none of which crosses a sector. A slot holds a random 128-bit secret, masked with a keyed hash
//! of (slot, generation) under the tenant's wrapping key; a record's key is derived from its secret. Slots are made in chunks and synced before any of them is used, so taking one costs no sync;
//! which ones are taken is told by the journal (see [`Vault::recover`]). Destroying overwrites the slot and syncs.
//! Slots are never re-used.
//!
//! Overwriting in place is as good as the file system and the medium: on a copy-on-write file system, or inside a
//! drive's wear levelling, an old version may survive. [`Vault::rotate`] is the answer to that: it writes the keys that
//! still live under a new wrapping key, and once the old wrapping key is gone every old version is noise
//! ([`keyring`](crate::keyring) has the keys).
//!
//! ```text
//! header = magic 8 · version u16 · 0 u16 · tenant u32 · key check 32 · 0 ×8 · checksum 8
//! slot   = masked secret 16 · generation u32 · state u8 · 0 ×3 · checksum 8 (keyed; over slot number and the rest)
//! ```

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use onefold_core::ids::{SlotId, TenantId};
use zeroize::Zeroize;

use crate::disk;
use crate::keys::{DataKey, KEY_BYTES, WrappingKey};

const SLOT: usize = 32;
const HEADER: usize = 64;
const SECRET_BYTES: usize = 16;
/// Bytes of a slot in front of its checksum.
const BODY: usize = 24;
const MAGIC: &[u8; 8] = b"1FVAULT\0";
const VERSION: u16 = 1;
const LIVE: u8 = 1;
const DESTROYED: u8 = 2;
/// Bytes of a slot's generation.
const GENERATION_BYTES: usize = 4;
const FILE_NAME: &str = "slots";
/// Slots made at a time: a quarter of what there is, between these bounds.
const CHUNK_MIN: u32 = 1_024;
const CHUNK_MAX: u32 = 65_536;

/// A vault operation failed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The slot's key was destroyed: what was sealed under it is gone.
    #[error("the key in slot {} was destroyed", .0.0)]
    Destroyed(SlotId),
    /// A crash came while the slot was being destroyed: what was sealed under its key is gone, and the rest is to be done again.
    #[error("the key in slot {} of the vault is half destroyed", .0.0)]
    HalfDestroyed(SlotId),
    /// The slot does not match its checksum.
    #[error("slot {} of the vault is damaged", .0.0)]
    Damaged(SlotId),
    /// There is no such slot.
    #[error("the vault has no slot {}, which the journal names: its file is missing, cut, or another one", .0.0)]
    Unknown(SlotId),
    /// The vault's header is damaged, or it is another tenant's.
    #[error("the vault's header is damaged or belongs to another tenant")]
    HeaderDamaged,
    /// The vault opens under another wrapping key: after an interrupted rotation, the one before.
    #[error("the vault belongs to another wrapping key")]
    WrongKey,
    /// Written by a newer release.
    #[error("the vault is of format {0}, this release reads up to {VERSION}")]
    Newer(u16),
    /// [`Vault::recover`] was not called yet.
    #[error("the vault does not know yet which slots are taken")]
    NotRecovered,
    /// A write failed earlier; open the vault again.
    #[error("the vault stopped after a failed write; open it again")]
    Poisoned,
    /// The disk, or the quota, is full. Nothing has changed.
    #[error("no space left for the vault")]
    NoSpace,
    /// A read or write failed.
    #[error("the vault failed to {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> VaultError {
    move |source| if disk::is_no_space(&source) { VaultError::NoSpace } else { VaultError::Io { doing, source } }
}

/// One tenant's vault. All methods may be called from any thread.
#[derive(Debug)]
pub struct Vault {
    dir: PathBuf,
    tenant: TenantId,
    opened: RwLock<OpenVault>,
    fresh: Mutex<Fresh>,
}

#[derive(Debug)]
struct OpenVault {
    file: File,
    masks: Masks,
    poisoned: bool,
}

/// Slots that are made and not taken.
#[derive(Debug, Default)]
struct Fresh {
    recovered: bool,
    /// The first slot that was never taken.
    next: u32,
    /// Slots in the file.
    slots: u32,
    ready: VecDeque<DataKey>,
}

/// What the wrapping key gives.
struct Masks {
    mask: [u8; KEY_BYTES],
    check: [u8; KEY_BYTES],
    header: [u8; KEY_BYTES],
}

impl std::fmt::Debug for Masks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masks(..)")
    }
}

impl Drop for Masks {
    fn drop(&mut self) {
        self.mask.zeroize();
        self.check.zeroize();
    }
}

impl Masks {
    fn new(key: &WrappingKey) -> Self {
        let derive = |context: &str| blake3::derive_key(context, key.expose());
        Self {
            mask: derive("onefold 2026-11 vault slot mask"),
            check: derive("onefold 2026-11 vault slot checksum"),
            header: derive("onefold 2026-11 vault key check"),
        }
    }

    fn mask(&self, slot: u32, generation: u32) -> Secret {
        let hash = blake3::keyed_hash(&self.mask, &numbers(slot, generation));
        let mut mask = [0; SECRET_BYTES];
        mask.copy_from_slice(&hash.as_bytes()[..SECRET_BYTES]);
        Secret(mask)
    }

    fn checksum(&self, slot: u32, body: &[u8]) -> [u8; 8] {
        let mut hasher = blake3::Hasher::new_keyed(&self.check);
        hasher.update(&slot.to_le_bytes());
        hasher.update(body);
        let mut short = [0; 8];
        short.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        short
    }

    fn encode(&self, slot: u32, generation: u32, state: u8, secret: &Secret) -> [u8; SLOT] {
        let mut out = [0; SLOT];
        out[..SECRET_BYTES].copy_from_slice(&secret.0);
        if state == LIVE {
            apply(&mut out[..SECRET_BYTES], &self.mask(slot, generation).0);
        }
        out[16..20].copy_from_slice(&generation.to_le_bytes());
        out[20] = state;
        let checksum = self.checksum(slot, &out[..BODY]);
        out[BODY..].copy_from_slice(&checksum);
        out
    }

    fn decode(&self, slot: u32, bytes: &[u8; SLOT]) -> Result<(u32, Secret), VaultError> {
        let generation = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
        if self.checksum(slot, &bytes[..BODY]) != bytes[BODY..] {
            // No single flip makes this of a live slot: its generation is a random number.
            let half = generation == 0 && bytes[20] == DESTROYED;
            return Err(if half { VaultError::HalfDestroyed(SlotId(slot)) } else { VaultError::Damaged(SlotId(slot)) });
        }
        match bytes[20] {
            LIVE => {
                let mut secret = self.mask(slot, generation);
                apply(&mut secret.0, &bytes[..SECRET_BYTES]);
                Ok((generation, secret))
            }
            DESTROYED => Err(VaultError::Destroyed(SlotId(slot))),
            _ => Err(VaultError::Damaged(SlotId(slot))),
        }
    }
}

/// What a slot holds; a record's key follows from it.
struct Secret([u8; SECRET_BYTES]);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Secret {
    fn random() -> io::Result<Self> {
        let mut secret = [0; SECRET_BYTES];
        disk::random(&mut secret)?;
        Ok(Self(secret))
    }

    fn data_key(&self) -> DataKey {
        DataKey::new(blake3::derive_key("onefold 2026-11 data key of a vault slot", &self.0))
    }
}

fn numbers(slot: u32, generation: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&slot.to_le_bytes());
    bytes[4..].copy_from_slice(&generation.to_le_bytes());
    bytes
}

fn apply(secret: &mut [u8], mask: &[u8]) {
    for (byte, mask) in secret.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

const fn offset(slot: u32) -> u64 {
    HEADER as u64 + slot as u64 * SLOT as u64
}

fn encode_header(tenant: TenantId, masks: &Masks) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(MAGIC);
    out[8..10].copy_from_slice(&VERSION.to_le_bytes());
    out[12..16].copy_from_slice(&tenant.0.to_le_bytes());
    out[16..48].copy_from_slice(&masks.header);
    let checksum = blake3::hash(&out[..HEADER - 8]);
    out[HEADER - 8..].copy_from_slice(&checksum.as_bytes()[..8]);
    out
}

impl Vault {
    /// Opens the tenant's vault below `vaults`, or creates it.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] when it belongs to another wrapping key, [`VaultError::HeaderDamaged`],
    /// [`VaultError::Newer`], [`VaultError::NoSpace`], [`VaultError::Io`].
    pub fn open(vaults: &Path, tenant: TenantId, key: &WrappingKey) -> Result<Self, VaultError> {
        let io = failed("open");
        let dir = vaults.join(tenant.0.to_string());
        if !dir.exists() {
            fs::create_dir_all(&dir).map_err(&io)?;
            disk::sync_dir(vaults).map_err(&io)?;
        }
        for entry in fs::read_dir(&dir).map_err(&io)? {
            let path = entry.map_err(&io)?.path();
            if path.extension().is_some_and(|extension| extension == disk::UNFINISHED) {
                disk::shred(&path).map_err(&io)?;
            }
        }
        let path = dir.join(FILE_NAME);
        let masks = Masks::new(key);
        if !path.exists() {
            // Whether that loses keys is seen in `recover`, which knows how many the journal names.
            disk::write_whole(&path, &encode_header(tenant, &masks)).map_err(&io)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(&io)?;
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).map_err(|_| VaultError::HeaderDamaged)?;
        check_header(&header, tenant, &masks)?;
        let slots = slots_in(&file).map_err(&io)?;
        let fresh = Fresh { slots, ..Fresh::default() };
        let opened = OpenVault { file, masks, poisoned: false };
        Ok(Self { dir, tenant, opened: RwLock::new(opened), fresh: Mutex::new(fresh) })
    }

    /// Tells which slots the journal knows: all below `next` count as taken. Called once, after the replay; before it
    /// no slot can be taken.
    ///
    /// # Errors
    /// [`VaultError::Unknown`] when the journal names slots that the vault does not have: slots were lost.
    pub fn recover(&self, next: SlotId) -> Result<(), VaultError> {
        let mut fresh = self.fresh();
        if next.0 > fresh.slots {
            return Err(VaultError::Unknown(SlotId(next.0 - 1)));
        }
        fresh.recovered = true;
        fresh.next = next.0;
        fresh.ready.clear();
        Ok(())
    }

    /// Takes a slot that was never used. It is durable already; that it is taken becomes durable with the journal entry
    /// that names it, and a slot that no entry names is taken again after a restart.
    ///
    /// # Errors
    /// [`VaultError::NoSpace`] when new slots are needed and the disk is full, [`VaultError::NotRecovered`] before
    /// [`Vault::recover`], [`VaultError::Io`].
    pub fn take(&self) -> Result<(SlotId, DataKey), VaultError> {
        let mut fresh = self.fresh();
        if !fresh.recovered {
            return Err(VaultError::NotRecovered);
        }
        if fresh.ready.is_empty() {
            let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
            refill(&opened, &mut fresh)?;
        }
        let slot = SlotId(fresh.next);
        let key = fresh.ready.pop_front().ok_or(VaultError::Unknown(slot))?;
        fresh.next += 1;
        Ok((slot, key))
    }

    /// Makes sure that so many slots can be taken without asking the disk for space.
    ///
    /// # Errors
    /// As [`Vault::take`]; nothing has changed and the call may be repeated when there is space.
    pub fn reserve(&self, count: usize) -> Result<(), VaultError> {
        let mut fresh = self.fresh();
        if !fresh.recovered {
            return Err(VaultError::NotRecovered);
        }
        while fresh.ready.len() < count {
            let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
            refill(&opened, &mut fresh)?;
        }
        Ok(())
    }

    /// The first slot that was never taken.
    #[must_use]
    pub fn next(&self) -> SlotId {
        SlotId(self.fresh().next)
    }

    /// The key in a slot.
    ///
    /// # Errors
    /// [`VaultError::Destroyed`], [`VaultError::HalfDestroyed`], [`VaultError::Damaged`], [`VaultError::Unknown`],
    /// [`VaultError::Io`].
    pub fn key(&self, slot: SlotId) -> Result<DataKey, VaultError> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        opened.masks.decode(slot.0, &opened.read(slot)?).map(|(_, secret)| secret.data_key())
    }

    /// Destroys the keys in these slots: overwritten, synced, gone. Destroying twice, or destroying a damaged slot, is
    /// fine. Which slots to destroy must be durable elsewhere, so that a crash in between is made good by doing it again.
    ///
    /// # Errors
    /// [`VaultError::Unknown`] before anything is destroyed, [`VaultError::Io`] when it is not certain: do it again
    /// after opening the vault anew.
    pub fn destroy(&self, slots: &[SlotId]) -> Result<(), VaultError> {
        // Always in this order, `fresh` before `opened`.
        let mut fresh = self.fresh();
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        for slot in slots {
            opened.read(*slot)?;
        }
        let result = opened.overwrite(slots);
        if result.is_err() {
            opened.poisoned = true;
        }
        // A slot that was ready is not handed out any more.
        if slots.iter().any(|slot| slot.0 >= fresh.next) {
            fresh.next = slots.iter().map(|slot| slot.0 + 1).max().unwrap_or(fresh.next);
            fresh.ready.clear();
        }
        result.map_err(failed("destroy keys"))
    }

    /// Puts every live key under a new wrapping key. Only the vault is written; sealed content stays as it is. The new
    /// wrapping key must be durable before, and the old one be kept until this returns: after a crash the vault opens
    /// under one of the two ([`VaultError::WrongKey`] says which it is not). The old file is overwritten.
    ///
    /// # Errors
    /// [`VaultError::NoSpace`], [`VaultError::Io`]: the vault then works under the key that it had, unless only the
    /// wiping of the old file failed; opening it anew tells.
    pub fn rotate(&self, key: &WrappingKey) -> Result<(), VaultError> {
        let io = failed("rotate keys");
        let mut fresh = self.fresh();
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if opened.poisoned {
            return Err(VaultError::Poisoned);
        }
        let masks = Masks::new(key);
        let path = self.dir.join(FILE_NAME);
        let draft = disk::unfinished(&path);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .map_err(&io)?;
        file.write_all_at(&encode_header(self.tenant, &masks), 0).map_err(&io)?;
        let mut first = 0;
        while first < fresh.slots {
            let count = (fresh.slots - first).min(CHUNK_MAX);
            let mut bytes = vec![0; count as usize * SLOT];
            opened.file.read_exact_at(&mut bytes, offset(first)).map_err(&io)?;
            for (slot, bytes) in (first..).zip(bytes.as_chunks_mut::<SLOT>().0) {
                *bytes = rewrapped(slot, bytes, &opened.masks, &masks).map_err(&io)?;
            }
            file.write_all_at(&bytes, offset(first)).map_err(&io)?;
            first += count;
        }
        file.sync_all().map_err(&io)?;
        disk::publish(&draft, &path).map_err(&io)?;
        let old = std::mem::replace(&mut *opened, OpenVault { file, masks, poisoned: false });
        fresh.ready.clear();
        // The old file has no name any more; this wipes its blocks where the file system writes in place.
        disk::overwrite(&old.file).map_err(&io)
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenVault {
    fn read(&self, slot: SlotId) -> Result<[u8; SLOT], VaultError> {
        let mut bytes = [0; SLOT];
        match self.file.read_exact_at(&mut bytes, offset(slot.0)) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(VaultError::Unknown(slot)),
            Err(error) => Err(failed("read a key")(error)),
        }
    }

    fn overwrite(&self, slots: &[SlotId]) -> io::Result<()> {
        for slot in slots {
            let noise = Secret::random()?;
            let bytes = self.masks.encode(slot.0, 0, DESTROYED, &noise);
            // First that it is destroyed, which is told from damage then wherever a crash comes.
            self.file.write_all_at(&bytes[SECRET_BYTES..], offset(slot.0) + SECRET_BYTES as u64)?;
            self.file.write_all_at(&bytes[..SECRET_BYTES], offset(slot.0))?;
        }
        self.file.sync_data()
    }
}

/// A slot as it is under another wrapping key.
fn rewrapped(slot: u32, bytes: &[u8; SLOT], from: &Masks, to: &Masks) -> io::Result<[u8; SLOT]> {
    Ok(match from.decode(slot, bytes) {
        Ok((generation, secret)) => to.encode(slot, generation.wrapping_add(1), LIVE, &secret),
        Err(VaultError::Destroyed(_) | VaultError::HalfDestroyed(_)) => {
            to.encode(slot, 0, DESTROYED, &Secret::random()?)
        }
        // Damage is carried over as damage: its checksum fits no key.
        Err(_) => {
            let mut noise = [0; SLOT];
            disk::random(&mut noise)?;
            noise
        }
    })
}

fn check_header(header: &[u8; HEADER], tenant: TenantId, masks: &Masks) -> Result<(), VaultError> {
    if &header[..8] != MAGIC || blake3::hash(&header[..HEADER - 8]).as_bytes()[..8] != header[HEADER - 8..] {
        return Err(VaultError::HeaderDamaged);
    }
    match u16::from_le_bytes([header[8], header[9]]) {
        VERSION => {}
        version => return Err(VaultError::Newer(version)),
    }
    if header[12..16] != tenant.0.to_le_bytes() {
        return Err(VaultError::HeaderDamaged);
    }
    if header[16..48] == masks.header { Ok(()) } else { Err(VaultError::WrongKey) }
}

fn slots_in(file: &File) -> io::Result<u32> {
    let slots = file.metadata()?.len().saturating_sub(HEADER as u64) / SLOT as u64;
    u32::try_from(slots).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
}

/// Reads the next slots that were made before, or makes a new chunk.
fn refill(opened: &OpenVault, fresh: &mut Fresh) -> Result<(), VaultError> {
    if opened.poisoned {
        return Err(VaultError::Poisoned);
    }
    let io = failed("make keys");
    let chunk = (fresh.slots / 4).clamp(CHUNK_MIN, CHUNK_MAX);
    let mut ready = VecDeque::new();
    let first = fresh.next.saturating_add(fresh.ready.len() as u32);
    let end = fresh.slots.min(first.saturating_add(chunk));
    for slot in first..end {
        match opened.masks.decode(slot, &opened.read(SlotId(slot))?) {
            Ok((_, secret)) => ready.push_back(secret.data_key()),
            // A crash while the chunk was made, or a slot destroyed by itself. Nothing was ever sealed under the slots
            // from here on, so they are made anew; a slot that is in use is never touched.
            Err(VaultError::Damaged(_) | VaultError::Destroyed(_) | VaultError::HalfDestroyed(_)) => break,
            Err(error) => return Err(error),
        }
    }
    if ready.is_empty() {
        let last = first.checked_add(chunk).ok_or(VaultError::NoSpace)?;
        let mut bytes = Vec::with_capacity(chunk as usize * SLOT);
        let mut secrets = vec![0; chunk as usize * SECRET_BYTES];
        disk::random(&mut secrets).map_err(&io)?;
        // A slot may be made a second time after a crash: random generations keep its mask from being used twice.
        let mut generations = vec![0; chunk as usize * GENERATION_BYTES];
        disk::random(&mut generations).map_err(&io)?;
        let generations = generations.as_chunks::<GENERATION_BYTES>().0;
        for ((slot, secret), generation) in (first..last).zip(secrets.as_chunks::<SECRET_BYTES>().0).zip(generations) {
            let secret = Secret(*secret);
            bytes.extend_from_slice(&opened.masks.encode(slot, u32::from_le_bytes(*generation), LIVE, &secret));
            ready.push_back(secret.data_key());
        }
        secrets.zeroize();
        let write = || {
            opened.file.write_all_at(&bytes, offset(first))?;
            opened.file.sync_all()
        };
        write().map_err(&io)?;
        fresh.slots = fresh.slots.max(last);
    }
    fresh.ready.append(&mut ready);
    Ok(())
}

#[cfg(test)]
mod tests;
