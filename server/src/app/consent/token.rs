//! Handles and tokens: what callers hold of statements, reservations and unsubscribe links.
//!
//! A handle is a sequence and a keyed tag; one of another tenant is as unknown as an invented one (law 9). An unsubscribe
//! token is sealed whole: it says nothing to whoever carries it, and none can be made without the tenant's key.

use onefold_core::consent::{ChannelId, PurposeId};
use onefold_core::decision;
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, NamespaceId, Sequence};
use onefold_store::keys::{TenantKeys, open_token, seal_token};
use serde::{Deserialize, Serialize};

use crate::secret;

/// What a handle names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handle {
    /// A statement.
    Statement,
    /// The right to confirm a pending statement.
    Confirmation,
    /// A contact that was allowed.
    Reservation,
}

/// Bytes of a tag: as hard to guess as a key.
const TAG_BYTES: usize = 16;

impl Handle {
    const fn letter(self) -> char {
        match self {
            Self::Statement => 'c',
            Self::Confirmation => 'k',
            Self::Reservation => 'r',
        }
    }

    /// The handle of an entry.
    pub fn seal(self, entry: Sequence, keys: &TenantKeys) -> String {
        let mut bytes = Vec::with_capacity(24);
        bytes.extend_from_slice(b"consent handle ");
        bytes.push(self.letter() as u8);
        bytes.extend_from_slice(&entry.0.to_le_bytes());
        let tag = blake3::keyed_hash(&keys.id, &bytes).to_hex();
        format!("{}_{:x}_{}", self.letter(), entry.0, &tag[..2 * TAG_BYTES])
    }

    /// The entry behind a handle; `None` when it is none of this kind and tenant.
    pub fn open(self, text: &str, keys: &TenantKeys) -> Option<Sequence> {
        let mut parts = text.split('_');
        let (kind, entry, tag) = (parts.next()?, parts.next()?, parts.next()?);
        let entry = u64::from_str_radix(entry, 16).map(Sequence).ok()?;
        let made = self.seal(entry, keys);
        (kind.len() == 1 && !tag.is_empty() && secret::same(&made, text)).then_some(entry)
    }
}

/// What an unsubscribe token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsubscribe {
    /// The kind of identifier that the message went to.
    pub namespace: NamespaceId,
    /// Its points.
    pub points: Vec<Digest128>,
    /// What for; `None` is everything.
    pub purpose: Option<PurposeId>,
    /// Over which channel; `None` is every channel.
    pub channel: Option<ChannelId>,
    /// When the token was made.
    pub issued_at: ObservedAt,
}

impl Unsubscribe {
    /// The token: letters and digits, fit for a link.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn seal(&self, keys: &TenantKeys) -> std::io::Result<String> {
        let sealed = seal_token(keys, "unsubscribe", &decision::encode(self))?;
        Ok(sealed.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What a token says; `None` when it was not made by this tenant.
    pub fn open(text: &str, keys: &TenantKeys) -> Option<Self> {
        let text = text.trim();
        // A sign in front of a digit is a number too, and no token of ours.
        if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let bytes: Vec<u8> = (0..text.len() / 2)
            .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok())
            .collect::<Option<_>>()?;
        decision::decode(&open_token(keys, "unsubscribe", &bytes).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_and_tokens_belong_to_one_tenant_and_one_use() {
        let (ours, theirs) = (TenantKeys::generate().unwrap(), TenantKeys::generate().unwrap());
        for entry in [0, 1, 255, u64::MAX] {
            let text = Handle::Reservation.seal(Sequence(entry), &ours);
            assert_eq!(Handle::Reservation.open(&text, &ours), Some(Sequence(entry)));
            assert_eq!(Handle::Reservation.open(&text, &theirs), None, "law 9");
            assert_eq!(Handle::Statement.open(&text, &ours), None);
            assert_eq!(Handle::Statement.open(&text.replacen('r', "c", 1), &ours), None);
        }
        for bad in ["", "r", "r_", "r_1", "r_1_", "r_x_0", "r_1_0123456789abcdef0123456789abcdef"] {
            assert_eq!(Handle::Reservation.open(bad, &ours), None, "{bad:?}");
        }
        let said = Unsubscribe {
            namespace: NamespaceId(6),
            points: vec![Digest128([7; 16])],
            purpose: Some(PurposeId(1)),
            channel: None,
            issued_at: ObservedAt(5),
        };
        let token = said.seal(&ours).unwrap();
        assert_ne!(token, said.seal(&ours).unwrap(), "two tokens of one person say nothing of each other");
        assert_eq!(Unsubscribe::open(&token, &ours), Some(said));
        assert_eq!(Unsubscribe::open(&token, &theirs), None);
        for at in 0..token.len() {
            let mut bent = token.clone().into_bytes();
            bent[at] = if bent[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(Unsubscribe::open(std::str::from_utf8(&bent).unwrap(), &ours), None, "bent at {at}");
        }
        // One spelling, but for capitals, which a mail program may make.
        assert!(Unsubscribe::open(&token.to_uppercase(), &ours).is_some());
        for at in (0..token.len()).step_by(2).filter(|at| token[*at..].starts_with('0')) {
            let mut signed = token.clone();
            signed.replace_range(at..=at, "+");
            assert_eq!(Unsubscribe::open(&signed, &ours), None, "a sign at {at}");
        }
        for bad in ["", "0", "zz", "é", &token[2..]] {
            assert_eq!(Unsubscribe::open(bad, &ours), None, "{bad:?}");
        }
    }
}
