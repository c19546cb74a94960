//! Keys, from the installation's root down to one source record's content.
//!
//! ```text
//! root key ─ seals the key ring ─┬─ inner root ─┬─ wraps TenantKeys ─┬─ index, id: keyed digests
//!  (given, can change)           │  (never      ├─ checksums of sled │
//!                                │   changes)   └─ key of receipts   └─ wrapping ─┐
//!                                └─ cover key ──┬─────────────────────────────────┴─ the tenant's vault ─ DataKey
//!                                   (rotated)   └─ wraps the key of each checkpoint                      (one per record)
//! ```
//! (see [`keyring`](crate::keyring)).
//! Every type here wipes itself when dropped and never shows itself in `Debug`.

use std::fmt;
use std::io;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroize;

use crate::disk;

/// Bytes of every key.
pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name([u8; KEY_BYTES]);

        impl $name {
            /// The key with these bytes.
            #[must_use]
            pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
                Self(bytes)
            }

            /// A fresh random key.
            ///
            /// # Errors
            /// When the operating system has no randomness to give.
            pub fn generate() -> io::Result<Self> {
                let mut bytes = [0; KEY_BYTES];
                disk::random(&mut bytes)?;
                Ok(Self(bytes))
            }

            /// The bytes, for keyed digests and ciphers. Do not keep copies.
            #[must_use]
            pub const fn expose(&self) -> &[u8; KEY_BYTES] {
                &self.0
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

secret! {
    /// The installation's key: everything else is wrapped under it or derived from it.
    RootKey
}
secret! {
    /// What a rotation replaces: it goes into the wrapping key of every vault, and wraps the keys of checkpoints.
    CoverKey
}
secret! {
    /// Wraps the slots of one tenant's vault.
    WrappingKey
}
secret! {
    /// The key of one source record's content.
    DataKey
}

/// Tells installations apart: a digest of the inner root key that leads nowhere. A restored directory is of the installation
/// that its backup is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installation(pub [u8; 16]);

impl RootKey {
    /// The installation whose inner root this is.
    #[must_use]
    pub fn installation(&self) -> Installation {
        let digest = self.derive("installation");
        Installation(std::array::from_fn(|at| digest[at]))
    }

    /// A key for one purpose; `purpose` is a fixed text of the program, never input.
    #[must_use]
    pub fn derive(&self, purpose: &'static str) -> [u8; KEY_BYTES] {
        let mut hasher = blake3::Hasher::new_derive_key("onefold 2026-11 root key purposes");
        hasher.update(&self.0);
        hasher.update(purpose.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// A tenant's keys. They lie in the journal, wrapped under the root key (see [`TenantKeys::wrap`]).
#[derive(Clone, PartialEq, Eq)]
pub struct TenantKeys {
    /// Keys the digests of identifiers, names and records.
    pub index: [u8; KEY_BYTES],
    /// Keys the tags of profile ids.
    pub id: [u8; KEY_BYTES],
    /// Wraps the slots of the tenant's vault, together with the key ring's cover key.
    pub wrapping: [u8; KEY_BYTES],
}

impl Drop for TenantKeys {
    fn drop(&mut self) {
        self.index.zeroize();
        self.id.zeroize();
        self.wrapping.zeroize();
    }
}

impl fmt::Debug for TenantKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantKeys(..)")
    }
}

/// What was wrapped does not open: another key, another tenant, or damaged bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wrapped keys do not open: another root key, another owner, or damaged bytes")]
pub struct UnwrapError;

const TENANT_KEYS_VERSION: u8 = 1;

impl TenantKeys {
    /// Fresh random keys.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate() -> io::Result<Self> {
        let mut keys = Self { index: [0; KEY_BYTES], id: [0; KEY_BYTES], wrapping: [0; KEY_BYTES] };
        disk::random(&mut keys.index)?;
        disk::random(&mut keys.id)?;
        disk::random(&mut keys.wrapping)?;
        Ok(keys)
    }

    /// The key of the tenant's vault where there is no cover key (see [`crate::keyring::KeyRing::open_vault`]).
    #[must_use]
    pub const fn wrapping_key(&self) -> WrappingKey {
        WrappingKey::new(self.wrapping)
    }

    /// Encrypts the keys under the root key, bound to this tenant.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn wrap(&self, root: &RootKey, tenant: u32) -> io::Result<Vec<u8>> {
        let mut plain = [0; 1 + 3 * KEY_BYTES];
        plain[0] = TENANT_KEYS_VERSION;
        plain[1..33].copy_from_slice(&self.index);
        plain[33..65].copy_from_slice(&self.id);
        plain[65..].copy_from_slice(&self.wrapping);
        let wrapped = wrap(&root.derive("tenant keys"), &tenant.to_be_bytes(), &plain);
        plain.zeroize();
        wrapped
    }

    /// Opens what [`TenantKeys::wrap`] gave.
    ///
    /// # Errors
    /// [`UnwrapError`] under another root key, for another tenant, or when the bytes are damaged.
    pub fn unwrap(wrapped: &[u8], root: &RootKey, tenant: u32) -> Result<Self, UnwrapError> {
        let mut plain = unwrap(&root.derive("tenant keys"), &tenant.to_be_bytes(), wrapped)?;
        let part = |range: std::ops::Range<usize>| -> Result<[u8; KEY_BYTES], UnwrapError> {
            plain.get(range).and_then(|slice| slice.try_into().ok()).ok_or(UnwrapError)
        };
        let keys = match plain.first() {
            Some(&TENANT_KEYS_VERSION) => Ok(Self { index: part(1..33)?, id: part(33..65)?, wrapping: part(65..97)? }),
            _ => Err(UnwrapError),
        };
        plain.zeroize();
        keys
    }
}

/// Seals what a token says under a key of the tenant's; `purpose` is a fixed text of the program, never input.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn seal_token(keys: &TenantKeys, purpose: &'static str, plain: &[u8]) -> io::Result<Vec<u8>> {
    wrap(&token_key(keys), purpose.as_bytes(), plain)
}

/// Opens what [`seal_token`] gave.
///
/// # Errors
/// [`UnwrapError`] for another tenant, another purpose, or bytes that were never a token.
pub fn open_token(keys: &TenantKeys, purpose: &'static str, sealed: &[u8]) -> Result<Vec<u8>, UnwrapError> {
    unwrap(&token_key(keys), purpose.as_bytes(), sealed)
}

fn token_key(keys: &TenantKeys) -> [u8; KEY_BYTES] {
    blake3::derive_key("onefold 2026-11 tenant tokens", &keys.id)
}

/// Encrypts a few bytes under a key with a random nonce, which goes in front.
pub(crate) fn wrap(key: &[u8; KEY_BYTES], bound_to: &[u8], plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = vec![0; NONCE_BYTES];
    disk::random(&mut out)?;
    let nonce = XNonce::try_from(&out[..]).map_err(|_| io::Error::other("nonce length"))?;
    out.extend_from_slice(plain);
    let tag = XChaCha20Poly1305::new(&(*key).into())
        .encrypt_inout_detached(&nonce, bound_to, (&mut out[NONCE_BYTES..]).into())
        .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    out.extend_from_slice(&tag);
    Ok(out)
}

/// Opens what [`wrap`] gave.
pub(crate) fn unwrap(key: &[u8; KEY_BYTES], bound_to: &[u8], wrapped: &[u8]) -> Result<Vec<u8>, UnwrapError> {
    let (nonce, body) = wrapped.split_at_checked(NONCE_BYTES).ok_or(UnwrapError)?;
    let (body, tag) = body.split_last_chunk::<TAG_BYTES>().ok_or(UnwrapError)?;
    let nonce = XNonce::try_from(nonce).map_err(|_| UnwrapError)?;
    let mut plain = body.to_vec();
    XChaCha20Poly1305::new(&(*key).into())
        .decrypt_inout_detached(&nonce, bound_to, plain.as_mut_slice().into(), &Tag::from(*tag))
        .map_err(|_| UnwrapError)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_keys_open_under_their_root_and_tenant_only() {
        let (root, other) = (RootKey::new([1; 32]), RootKey::new([2; 32]));
        let keys = TenantKeys::generate().unwrap();
        let wrapped = keys.wrap(&root, 7).unwrap();
        assert_eq!(TenantKeys::unwrap(&wrapped, &root, 7), Ok(keys.clone()));
        assert_eq!(TenantKeys::unwrap(&wrapped, &other, 7), Err(UnwrapError));
        assert_eq!(TenantKeys::unwrap(&wrapped, &root, 8), Err(UnwrapError));
        for bit in 0..wrapped.len() * 8 {
            let mut bent = wrapped.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(TenantKeys::unwrap(&bent, &root, 7), Err(UnwrapError), "bit {bit}");
        }
        for cut in 0..wrapped.len() {
            assert_eq!(TenantKeys::unwrap(&wrapped[..cut], &root, 7), Err(UnwrapError), "cut {cut}");
        }
        assert!(!wrapped.windows(8).any(|window| keys.index.windows(8).any(|secret| secret == window)));
        assert_ne!(keys.wrap(&root, 7).unwrap(), wrapped, "a fresh nonce each time");
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        let shown = format!("{:?} {:?}", RootKey::new([0xAB; 32]), TenantKeys::generate().unwrap());
        assert_eq!(shown, "RootKey(..) TenantKeys(..)");
    }

    #[test]
    fn each_purpose_has_its_own_key() {
        let root = RootKey::new([1; 32]);
        assert_ne!(root.derive("a"), root.derive("b"));
        assert_ne!(root.derive("a"), RootKey::new([2; 32]).derive("a"));
    }
}
