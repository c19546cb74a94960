//! Content under a record's own key, bound to its place in the journal.
//!
//! XChaCha20-Poly1305. The nonce is not stored: it is the segment's random salt (16 bytes), the entry's offset in that
//! segment (4) and the number of the part inside the entry (1), padded with zeroes. No two entries of one segment share
//! an offset and no two segments share a salt, so a nonce repeats only if a part of an entry is sealed twice with
//! different content and *both* reach the disk; the journal never writes two entries to one place, and after a crash it
//! goes on in a new segment with a new salt. The overhead of a sealed part is its tag, [`TAG_BYTES`].

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use onefold_core::ids::{Place, Sequence, TenantId};

use crate::journal::EntryKind;
use crate::keys::DataKey;

/// What sealing adds to a part.
pub const TAG_BYTES: usize = 16;

/// Where a sealed part lives; the same values are needed to open it, and an [`crate::journal::Entry`] carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealContext {
    /// The salt of the entry's segment.
    pub salt: [u8; 16],
    /// The entry's place.
    pub place: Place,
    /// The entry's tenant.
    pub tenant: TenantId,
    /// The entry's sequence.
    pub sequence: Sequence,
    /// The entry's kind.
    pub kind: EntryKind,
}

/// A sealed part that does not open: another key, another place, or damaged bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed content does not open: another key, another place, or damaged bytes")]
pub struct SealError;

const BOUND_BYTES: usize = 14;

impl SealContext {
    fn nonce(&self, part: u8) -> XNonce {
        let mut nonce = [0; 24];
        nonce[..16].copy_from_slice(&self.salt);
        nonce[16..20].copy_from_slice(&self.place.offset.to_le_bytes());
        nonce[20] = part;
        nonce.into()
    }

    /// What the tag vouches for beside the content: tenant, sequence, kind, part, and the entry's clear bytes.
    fn bound(&self, part: u8, clear: &[u8]) -> Vec<u8> {
        let mut bound = Vec::with_capacity(BOUND_BYTES + clear.len());
        bound.extend_from_slice(&self.tenant.0.to_le_bytes());
        bound.extend_from_slice(&self.sequence.0.to_le_bytes());
        bound.push(self.kind.0);
        bound.push(part);
        bound.extend_from_slice(clear);
        bound
    }

    /// Appends `plain`, sealed, to `out`: `plain.len()` + [`TAG_BYTES`] bytes. `clear` is what stands unencrypted in
    /// the same entry and must not be changed unnoticed either. Parts of one entry are numbered from 0; each number is
    /// used once.
    ///
    /// # Panics
    /// Never: the only limit of the cipher is 256 GiB, and an entry is smaller than a segment.
    pub fn seal(&self, key: &DataKey, part: u8, clear: &[u8], plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(plain);
        let tag = XChaCha20Poly1305::new(&(*key.expose()).into())
            .encrypt_inout_detached(&self.nonce(part), &self.bound(part, clear), (&mut out[start..]).into())
            .expect("a part of an entry is far below the cipher's limit");
        out.extend_from_slice(&tag);
    }

    /// Opens what [`SealContext::seal`] appended.
    ///
    /// # Errors
    /// [`SealError`] when the key, the place, the clear bytes or the content is not what it was.
    pub fn open(&self, key: &DataKey, part: u8, clear: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (body, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(SealError)?;
        let mut plain = body.to_vec();
        XChaCha20Poly1305::new(&(*key.expose()).into())
            .decrypt_inout_detached(
                &self.nonce(part),
                &self.bound(part, clear),
                plain.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| SealError)?;
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn context() -> SealContext {
        SealContext {
            salt: [9; 16],
            place: Place { segment: 3, offset: 4_096 },
            tenant: TenantId(1),
            sequence: Sequence(77),
            kind: EntryKind(2),
        }
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_nothing_else_does(
            plain in proptest::collection::vec(any::<u8>(), 0..400),
            clear in proptest::collection::vec(any::<u8>(), 0..20),
            flip in any::<prop::sample::Index>(),
        ) {
            let key = DataKey::new([5; 32]);
            let mut out = vec![1, 2, 3];
            context().seal(&key, 0, &clear, &plain, &mut out);
            let sealed = &out[3..];
            prop_assert_eq!(sealed.len(), plain.len() + TAG_BYTES);
            prop_assert_eq!(context().open(&key, 0, &clear, sealed), Ok(plain.clone()));
            let mut bent = sealed.to_vec();
            let bit = flip.index(bent.len() * 8);
            bent[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(context().open(&key, 0, &clear, &bent), Err(SealError));
        }
    }

    #[test]
    fn no_two_parts_and_no_two_places_share_a_key_stream() {
        let key = DataKey::new([5; 32]);
        let seal = |context: SealContext, part| {
            let mut out = Vec::new();
            context.seal(&key, part, b"", &[0; 64], &mut out);
            out.truncate(64);
            out
        };
        let place = |offset| SealContext { place: Place { segment: 3, offset }, ..context() };
        let other_salt = SealContext { salt: [8; 16], ..context() };
        let streams =
            [seal(place(1), 0), seal(place(1), 1), seal(place(2), 0), seal(place(256), 0), seal(other_salt, 0)];
        for (number, stream) in streams.iter().enumerate() {
            assert!(!streams[..number].contains(stream), "{number}");
        }
    }

    #[test]
    fn a_sealed_part_opens_at_its_own_place_only() {
        let key = DataKey::new([5; 32]);
        let mut sealed = Vec::new();
        context().seal(&key, 1, b"clear", b"Ada", &mut sealed);
        let home = context();
        let elsewhere = [
            ("salt", SealContext { salt: [8; 16], ..home }),
            ("offset", SealContext { place: Place { segment: 3, offset: 4_097 }, ..home }),
            ("tenant", SealContext { tenant: TenantId(2), ..home }),
            ("sequence", SealContext { sequence: Sequence(78), ..home }),
            ("kind", SealContext { kind: EntryKind(3), ..home }),
        ];
        for (what, context) in elsewhere {
            assert_eq!(context.open(&key, 1, b"clear", &sealed), Err(SealError), "{what}");
        }
        assert_eq!(home.open(&key, 0, b"clear", &sealed), Err(SealError), "part");
        assert_eq!(home.open(&key, 1, b"other", &sealed), Err(SealError), "clear bytes");
        assert_eq!(home.open(&DataKey::new([6; 32]), 1, b"clear", &sealed), Err(SealError), "key");
        assert_eq!(home.open(&key, 1, b"clear", &sealed).as_deref(), Ok(&b"Ada"[..]));
        assert_eq!(home.open(&key, 1, b"clear", &sealed[..15]), Err(SealError), "shorter than a tag");
    }
}
