//! Handles: small, copyable, and never personal data.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A tenant's ordinal inside one installation; it opens every key and every journal entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TenantId(pub u32);

/// A source's ordinal inside its tenant, in order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceId(pub u16);

/// A namespace's ordinal inside its tenant; the built-in ones have fixed ordinals (see [`crate::namespace`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamespaceId(pub u16);

/// An attribute name's ordinal inside its tenant's name table; the built-in ones have fixed ordinals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttributeId(pub u16);

/// Position in one tenant's order of events: dense, from 1, never re-used. 0 means "before everything".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The last that a journal may name: a million entries a second do not reach it in 200,000 years.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// 128 bits of a BLAKE3 digest. Keyed where it leaves memory: an unkeyed hash of a phone number is the phone number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest128(pub [u8; 16]);

impl Digest128 {
    /// The first 16 bytes of a BLAKE3 digest.
    #[must_use]
    pub fn of(hash: &blake3::Hash) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&hash.as_bytes()[..16]);
        Self(short)
    }

    /// The first eight bytes as a number: a ready-made hash for tables, since the digest is already uniform.
    #[must_use]
    pub fn table_hash(self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(first)
    }
}

impl fmt::Debug for Digest128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0[..4] {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…")
    }
}

/// A profile's ordinal inside its tenant, in order of opening: the smaller, the older (law 4). Never re-used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProfileOrdinal(pub u32);

/// What callers hold instead of a [`ProfileOrdinal`]: the ordinal and a keyed tag that only the tenant's key can make,
/// so an id of another tenant and an invented id are the same thing, unknown (law 9), and no index of ids is needed.
///
/// Text form: `p_` and 20 characters of Crockford's base 32 (32 bits of ordinal, 68 bits of tag).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileId {
    ordinal: u32,
    tag: u128,
}

const TAG_BITS: u32 = 68;
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_LEN: usize = 20;

/// A text that is not a profile id at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a profile id is `p_` and 20 characters of 0-9 a-z without i, l, o, u")]
pub struct InvalidProfileId;

impl ProfileId {
    /// The id of the profile with this ordinal, under the tenant's id key.
    #[must_use]
    pub fn seal(ordinal: ProfileOrdinal, id_key: &[u8; 32]) -> Self {
        Self { ordinal: ordinal.0, tag: tag(ordinal.0, id_key) }
    }

    /// The ordinal, if this id was made with this tenant's id key.
    #[must_use]
    pub fn open(self, id_key: &[u8; 32]) -> Option<ProfileOrdinal> {
        (tag(self.ordinal, id_key) == self.tag).then_some(ProfileOrdinal(self.ordinal))
    }

    /// Reads the text form, in either case.
    ///
    /// # Errors
    /// [`InvalidProfileId`] when the text has another shape.
    pub fn parse(text: &str) -> Result<Self, InvalidProfileId> {
        let body = text.strip_prefix("p_").ok_or(InvalidProfileId)?;
        if body.len() != TEXT_LEN {
            return Err(InvalidProfileId);
        }
        let mut bits: u128 = 0;
        for byte in body.bytes() {
            let digit = BASE32.iter().position(|b| *b == byte.to_ascii_lowercase()).ok_or(InvalidProfileId)?;
            bits = bits << 5 | digit as u128;
        }
        let ordinal = u32::try_from(bits >> TAG_BITS).map_err(|_| InvalidProfileId)?;
        Ok(Self { ordinal, tag: bits & ((1 << TAG_BITS) - 1) })
    }
}

fn tag(ordinal: u32, id_key: &[u8; 32]) -> u128 {
    let hash = blake3::keyed_hash(id_key, &ordinal.to_le_bytes());
    let mut wide = [0; 16];
    wide.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_le_bytes(wide) & ((1 << TAG_BITS) - 1)
}

impl fmt::Display for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from(self.ordinal) << TAG_BITS | self.tag;
        let mut text = [0u8; TEXT_LEN];
        for (place, byte) in text.iter_mut().enumerate() {
            *byte = BASE32[(bits >> (5 * (TEXT_LEN - 1 - place)) & 31) as usize];
        }
        f.write_str("p_")?;
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where an entry lies in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Segment number, from 1.
    pub segment: u32,
    /// Byte offset of the entry inside the segment.
    pub offset: u32,
}

/// A slot of the vault: the key of one source record's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotId(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_ids_survive_their_text_and_belong_to_one_tenant() {
        let (ours, theirs) = ([7; 32], [8; 32]);
        for ordinal in [0, 1, 31, 32, 12_345, u32::MAX] {
            let id = ProfileId::seal(ProfileOrdinal(ordinal), &ours);
            let read = ProfileId::parse(&id.to_string()).unwrap();
            assert_eq!(read.open(&ours), Some(ProfileOrdinal(ordinal)));
            assert_eq!(read.open(&theirs), None, "law 9");
            assert_eq!(ProfileId::parse(&id.to_string().to_uppercase().replacen("P_", "p_", 1)), Ok(id));
        }
        for bad in ["", "p_", "p_short", "x_00000000000000000000", "p_0000000000000000000u", "p_é0000000000000000000"]
        {
            assert_eq!(ProfileId::parse(bad), Err(InvalidProfileId), "{bad:?}");
        }
    }
}
