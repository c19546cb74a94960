//! The key ring of a data directory: what the root key opens, so that the root key can change and nothing else has to.
//!
//! ```text
//! file   = magic 8 · version u16 · 0 u16 · generation u32 · sealed · checksum 16 (over all before)
//! sealed = nonce 24 · root 32 · flags u8 · cover 32 · next cover 32 · tag 16     under the root key, bound to what is in front
//! ```
//! Two keys lie in it. The *inner root* never changes: tenants' keys are wrapped under it, and digests of API keys, the key
//! of receipts and checksums are derived from it. The *cover key* is what a rotation replaces: it goes into the wrapping key
//! of every vault and wraps the keys of checkpoints, so whoever has an older ring and the root key of then opens neither.
//! While a rotation runs the ring holds two cover keys, and each vault is under one of them.
//!
//! Directories of format 1 have no ring: their root key is the inner root, and their vaults have no cover. The first
//! rotation gives them one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use onefold_core::ids::TenantId;
use zeroize::Zeroize;

use crate::disk;
use crate::keys::{CoverKey, KEY_BYTES, RootKey, TenantKeys, WrappingKey, unwrap, wrap};
use crate::vault::{Vault, VaultError};

const FILE_NAME: &str = "root.sealed";
/// The ring of before, while it is being wiped. It is in no backup.
pub const BEFORE_NAME: &str = "root.sealed.before";
const MAGIC: &[u8; 8] = b"1FKEYS\0\0";
const VERSION: u16 = 1;
const HEAD: usize = 16;
const CHECKSUM: usize = 16;
const PLAIN: usize = 3 * KEY_BYTES + 1;
const HAS_COVER: u8 = 1;
const HAS_NEXT: u8 = 2;

/// Why a ring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The key does not open it.
    #[error("the key ring belongs to another root key")]
    WrongKey,
    /// Its bytes are not what was written.
    #[error("the key ring is damaged")]
    Damaged,
    /// Written by a newer release.
    #[error("the key ring is of format {0}, this release reads up to {VERSION}")]
    Newer(u16),
    /// It cannot be read or written.
    #[error("the key ring cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

/// The keys that a root key opens. `Debug` shows none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRing {
    root: RootKey,
    cover: Option<CoverKey>,
    next: Option<CoverKey>,
    generation: u32,
}

impl KeyRing {
    /// A fresh one, for a new directory.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate() -> io::Result<Self> {
        Ok(Self { root: RootKey::generate()?, cover: Some(CoverKey::generate()?), next: None, generation: 0 })
    }

    /// What a directory of format 1 has instead of a ring.
    #[must_use]
    pub const fn without_file(root: RootKey) -> Self {
        Self { root, cover: None, next: None, generation: 0 }
    }

    /// Where the ring lies in the folder `keys`.
    #[must_use]
    pub fn path(keys: &Path) -> PathBuf {
        keys.join(FILE_NAME)
    }

    /// Reads the ring of a directory; `None` when it has none.
    ///
    /// # Errors
    /// [`KeyRingError`].
    pub fn read(keys: &Path, given: &RootKey) -> Result<Option<Self>, KeyRingError> {
        match fs::read(Self::path(keys)) {
            Ok(bytes) => Self::open(&bytes, given).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes it under a root key; what was there is overwritten once the new one stands.
    ///
    /// # Errors
    /// [`KeyRingError::Io`]: the ring of before stands, unless only its wiping failed.
    pub fn write(&self, keys: &Path, under: &RootKey) -> Result<(), KeyRingError> {
        let path = Self::path(keys);
        Self::wipe_before(keys)?;
        let before = match OpenOptions::new().write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found?),
        };
        if before.is_some() {
            // Its name for whoever comes behind a kill. A file system without such names does without.
            let _ = fs::hard_link(&path, keys.join(BEFORE_NAME));
        }
        disk::write_whole(&path, &self.seal(under)?)?;
        // This wipes its blocks where the file system writes in place.
        before.as_ref().map_or(Ok(()), |before: &File| disk::overwrite(before))?;
        Self::wipe_before(keys)?;
        Ok(())
    }

    /// Overwrites the ring of before and takes its name, where a kill came between.
    ///
    /// # Errors
    /// When it cannot be overwritten or removed.
    pub fn wipe_before(keys: &Path) -> io::Result<()> {
        let (path, before) = (Self::path(keys), keys.join(BEFORE_NAME));
        let of = |path: &Path| fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()));
        match (of(&before), of(&path)) {
            // The kill came before the new ring had its name: this is the ring in force.
            (Ok(before_), Ok(now)) if before_ == now => fs::remove_file(&before)?,
            (Ok(_), Ok(_)) => disk::shred(&before)?,
            // Without a ring nothing is destroyed that could be one; whoever reads it tells of it.
            (Ok(_), Err(error)) | (Err(error), _) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            (Ok(_), Err(error)) => return Err(error),
            (Err(error), _) => return Err(error),
        }
        disk::sync_dir(keys)
    }

    fn seal(&self, under: &RootKey) -> io::Result<Vec<u8>> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.generation.to_le_bytes());
        let mut plain = [0; PLAIN];
        let (root, rest) = plain.split_at_mut(KEY_BYTES);
        root.copy_from_slice(self.root.expose());
        for (flag, at, key) in [(HAS_COVER, 1, &self.cover), (HAS_NEXT, 1 + KEY_BYTES, &self.next)] {
            if let Some(key) = key {
                rest[0] |= flag;
                rest[at..at + KEY_BYTES].copy_from_slice(key.expose());
            }
        }
        let sealed = wrap(&under.derive("key ring"), &out, &plain);
        plain.zeroize();
        out.extend_from_slice(&sealed?);
        let checksum = blake3::hash(&out);
        out.extend_from_slice(&checksum.as_bytes()[..CHECKSUM]);
        Ok(out)
    }

    fn open(bytes: &[u8], given: &RootKey) -> Result<Self, KeyRingError> {
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(KeyRingError::Damaged)?;
        if content.len() < HEAD || &content[..8] != MAGIC || blake3::hash(content).as_bytes()[..CHECKSUM] != *checksum {
            return Err(KeyRingError::Damaged);
        }
        let (head, sealed) = content.split_at(HEAD);
        match u16::from_le_bytes([head[8], head[9]]) {
            VERSION => {}
            version => return Err(KeyRingError::Newer(version)),
        }
        let generation = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
        let mut plain = unwrap(&given.derive("key ring"), head, sealed).map_err(|_| KeyRingError::WrongKey)?;
        let key = |at: usize| -> Result<[u8; KEY_BYTES], KeyRingError> {
            plain.get(at..at + KEY_BYTES).and_then(|key| key.try_into().ok()).ok_or(KeyRingError::Damaged)
        };
        let flags = plain.get(KEY_BYTES).copied().unwrap_or_default();
        let covers = |flag, at| if flags & flag != 0 { key(at).map(CoverKey::new).map(Some) } else { Ok(None) };
        let ring = Self {
            root: RootKey::new(key(0)?),
            cover: covers(HAS_COVER, KEY_BYTES + 1)?,
            next: covers(HAS_NEXT, 2 * KEY_BYTES + 1)?,
            generation,
        };
        plain.zeroize();
        Ok(ring)
    }

    /// The inner root, which never changes.
    #[must_use]
    pub const fn root(&self) -> &RootKey {
        &self.root
    }

    /// How many rotations there were.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether a rotation was begun and did not come to its end: each vault is under one of two keys.
    #[must_use]
    pub const fn is_turning(&self) -> bool {
        self.next.is_some()
    }

    /// What the keys of checkpoints are wrapped under.
    #[must_use]
    pub fn checkpoint_root(&self) -> RootKey {
        self.cover.as_ref().map_or_else(|| self.root.clone(), |cover| RootKey::new(*cover.expose()))
    }

    /// Opens a tenant's vault, or makes it: under the key in force, or the one that a rotation has begun to put there.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn open_vault(&self, vaults: &Path, tenant: TenantId, keys: &TenantKeys) -> Result<Vault, VaultError> {
        match (Vault::open(vaults, tenant, &wrapping_key(self.cover.as_ref(), keys)), &self.next) {
            (Err(VaultError::WrongKey), Some(next)) => Vault::open(vaults, tenant, &wrapping_key(Some(next), keys)),
            (opened, _) => opened,
        }
    }

    /// Puts a tenant's vault under the key that a rotation has begun with; false where it was already.
    ///
    /// # Errors
    /// As [`Vault::rotate`].
    pub fn turn_vault(&self, vaults: &Path, tenant: TenantId, keys: &TenantKeys) -> Result<bool, VaultError> {
        let Some(next) = &self.next else { return Ok(false) };
        let next = wrapping_key(Some(next), keys);
        match Vault::open(vaults, tenant, &wrapping_key(self.cover.as_ref(), keys)) {
            Ok(vault) => vault.rotate(&next).map(|()| true),
            // Whose it is then is told by opening it.
            Err(VaultError::WrongKey) => Vault::open(vaults, tenant, &next).map(|_| false),
            Err(error) => Err(error),
        }
    }

    /// The ring with a cover key to go to; that of a rotation that was cut off stays, since vaults may be under it.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn turning(&self) -> io::Result<Self> {
        let mut ring = self.clone();
        if ring.next.is_none() {
            ring.next = Some(CoverKey::generate()?);
        }
        Ok(ring)
    }

    /// The ring once every vault is under the next cover key.
    #[must_use]
    pub fn turned(&self) -> Self {
        Self { generation: self.generation.saturating_add(1), ..self.settled() }
    }

    /// The same where that ends no rotation.
    #[must_use]
    pub fn settled(&self) -> Self {
        let cover = self.next.clone().or_else(|| self.cover.clone());
        Self { root: self.root.clone(), cover, next: None, generation: self.generation }
    }
}

fn wrapping_key(cover: Option<&CoverKey>, keys: &TenantKeys) -> WrappingKey {
    let Some(cover) = cover else { return keys.wrapping_key() };
    let mut hasher = blake3::Hasher::new_derive_key("onefold 2026-11 wrapping key of a vault under a cover key");
    hasher.update(cover.expose());
    hasher.update(&keys.wrapping);
    WrappingKey::new(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const OURS: RootKey = RootKey::new([1; 32]);

    /// A kill between the rename and the overwriting left the blocks of the ring of before as they were.
    #[test]
    fn a_kill_amid_a_write_leaves_a_ring_that_the_next_start_wipes_and_never_the_one_in_force() {
        use std::io::{Read as _, Seek as _};
        let dir = TempDir::new().unwrap();
        let (path, before) = (KeyRing::path(dir.path()), dir.path().join(BEFORE_NAME));
        let (old, new) = (KeyRing::generate().unwrap(), KeyRing::generate().unwrap());
        old.write(dir.path(), &OURS).unwrap();
        let bytes = fs::read(&path).unwrap();
        // Killed before the rename.
        fs::hard_link(&path, &before).unwrap();
        KeyRing::wipe_before(dir.path()).unwrap();
        assert_eq!((KeyRing::read(dir.path(), &OURS).unwrap(), before.exists()), (Some(old.clone()), false));
        // Killed behind it.
        fs::hard_link(&path, &before).unwrap();
        let mut blocks = File::open(&before).unwrap();
        disk::write_whole(&path, &new.seal(&OURS).unwrap()).unwrap();
        KeyRing::wipe_before(dir.path()).unwrap();
        let mut left = Vec::new();
        blocks.read_to_end(&mut left).unwrap();
        assert!(left.len() == bytes.len() && !left.windows(16).any(|piece| bytes.windows(16).any(|old| old == piece)));
        assert_eq!((KeyRing::read(dir.path(), &OURS).unwrap(), before.exists()), (Some(new.clone()), false));
        // Not killed: the same comes of it.
        let mut blocks = File::open(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        old.write(dir.path(), &OURS).unwrap();
        blocks.rewind().unwrap();
        left.clear();
        blocks.read_to_end(&mut left).unwrap();
        assert!(left != bytes && !before.exists());
    }

    #[test]
    fn a_ring_opens_under_its_root_key_alone_and_every_flipped_bit_is_damage() {
        let dir = TempDir::new().unwrap();
        assert_eq!(KeyRing::read(dir.path(), &OURS).unwrap(), None);
        let old = KeyRing::without_file(RootKey::new([7; 32]));
        let fresh = KeyRing::generate().unwrap();
        for ring in [fresh.clone(), fresh.turning().unwrap(), old.clone(), old.turning().unwrap(), fresh.turned()] {
            ring.write(dir.path(), &OURS).unwrap();
            assert_eq!(KeyRing::read(dir.path(), &OURS).unwrap(), Some(ring.clone()));
            let other = KeyRing::read(dir.path(), &RootKey::new([2; 32]));
            assert!(matches!(other, Err(KeyRingError::WrongKey)));
            let bytes = fs::read(KeyRing::path(dir.path())).unwrap();
            assert!(!bytes.windows(8).any(|window| ring.root.expose().windows(8).any(|secret| secret == window)));
            for bit in 0..bytes.len() * 8 {
                let mut bent = bytes.clone();
                bent[bit / 8] ^= 1 << (bit % 8);
                assert!(matches!(KeyRing::open(&bent, &OURS), Err(KeyRingError::Damaged)), "bit {bit}");
            }
            for cut in 0..bytes.len() {
                assert!(matches!(KeyRing::open(&bytes[..cut], &OURS), Err(KeyRingError::Damaged)), "cut {cut}");
            }
        }
        assert_eq!(format!("{:?}", old).matches("(..)").count(), 1, "no key is shown");
    }

    #[test]
    fn a_newer_ring_is_refused_by_its_format() {
        let mut bytes = KeyRing::generate().unwrap().seal(&OURS).unwrap();
        bytes.truncate(bytes.len() - CHECKSUM);
        bytes[8] = 2;
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(&checksum.as_bytes()[..CHECKSUM]);
        assert!(matches!(KeyRing::open(&bytes, &OURS), Err(KeyRingError::Newer(2))));
    }

    #[test]
    fn a_turn_keeps_the_inner_root_and_leaves_nothing_to_the_rings_of_before() {
        let dir = TempDir::new().unwrap();
        let keys = TenantKeys::generate().unwrap();
        let tenant = TenantId(3);
        for before in [KeyRing::without_file(RootKey::new([7; 32])), KeyRing::generate().unwrap()] {
            let _ = fs::remove_dir_all(dir.path().join("3"));
            let vault = before.open_vault(dir.path(), tenant, &keys).unwrap();
            vault.recover(onefold_core::ids::SlotId(0)).unwrap();
            let (slot, key) = vault.take().unwrap();
            drop(vault);
            let turning = before.turning().unwrap();
            assert_eq!(turning, turning.turning().unwrap(), "a rotation that was cut off goes on to the same key");
            assert_eq!(turning.open_vault(dir.path(), tenant, &keys).unwrap().key(slot).unwrap(), key);
            assert!(turning.turn_vault(dir.path(), tenant, &keys).unwrap());
            assert!(!turning.turn_vault(dir.path(), tenant, &keys).unwrap(), "once");
            assert_eq!(turning.open_vault(dir.path(), tenant, &keys).unwrap().key(slot).unwrap(), key);
            let after = turning.turned();
            assert_eq!((after.root(), after.generation()), (before.root(), before.generation() + 1));
            assert_eq!(after.open_vault(dir.path(), tenant, &keys).unwrap().key(slot).unwrap(), key);
            assert!(matches!(before.open_vault(dir.path(), tenant, &keys), Err(VaultError::WrongKey)));
            assert_ne!(before.checkpoint_root(), after.checkpoint_root());
        }
    }
}
