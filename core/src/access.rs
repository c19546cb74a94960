//! Who may call: API keys and the roles they carry. Holds keyed digests of secrets, never a secret.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fragment::ObservedAt;
use crate::limits;

/// What a caller may do. On disk by its place in this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Sends fragments and statements.
    Ingest,
    /// Reads profiles, accounts and consent, and decides on contacts.
    Reader,
    /// Judges links, keeps accounts, mends what is in quarantine.
    Steward,
    /// Answers the requests of persons.
    PrivacyOfficer,
    /// Reads configuration, receipts and counts; changes nothing.
    Auditor,
    /// Configures; gives and takes keys.
    Admin,
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// These.
    #[must_use]
    pub const fn of(roles: &[Role]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < roles.len() {
            bits |= 1 << roles[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// Whether one of them is in both.
    #[must_use]
    pub const fn meet(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

/// What names a key: the middle part of `ofk_{id}_{secret}`. No secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyId(pub [u8; 8]);

impl KeyId {
    /// Reads 16 hexadecimal digits in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let number = plain.then(|| u64::from_str_radix(text, 16).ok()).flatten()?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// A key, without its secret. `Debug` hides the digest.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Which.
    pub id: KeyId,
    /// For people.
    pub display_name: String,
    /// Keyed digest of the whole key as its holder writes it.
    pub digest: [u8; 32],
    /// What its holder may do.
    pub roles: Vec<Role>,
    /// Whether it is good for every tenant of the installation, and for what is of none.
    pub all_tenants: bool,
    /// When it was made, microseconds since 1970.
    pub created_at: ObservedAt,
    /// From when on it is no good, microseconds since 1970.
    pub expires_at: Option<ObservedAt>,
    /// When it was taken back, microseconds since 1970.
    pub revoked_at: Option<ObservedAt>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}, {:?}, ..)", self.id, self.roles)
    }
}

impl ApiKey {
    /// Whether it is no good any more at this time.
    #[must_use]
    pub fn has_ended(&self, now: ObservedAt) -> bool {
        self.revoked_at.is_some() || self.expires_at.is_some_and(|end| end <= now)
    }
}

/// A key was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyRevoked {
    /// Which.
    pub id: KeyId,
    /// When, microseconds since 1970.
    pub revoked_at: ObservedAt,
}

/// The keys of one tenant, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKeys(BTreeMap<KeyId, ApiKey>);

impl ApiKeys {
    /// Whether there is room for one more at this time.
    #[must_use]
    pub fn has_room(&self, now: ObservedAt) -> bool {
        self.0.len() < limits::API_KEYS_MAX || self.0.values().any(|key| key.has_ended(now))
    }

    /// Takes a key in. Where there is no room, the oldest that has ended is forgotten: its id comes back.
    pub fn put(&mut self, key: ApiKey) -> Option<KeyId> {
        let mut forgotten = None;
        if self.0.len() >= limits::API_KEYS_MAX {
            let ended = self.0.values().filter(|known| known.has_ended(key.created_at));
            forgotten = ended.map(|known| (known.created_at, known.id)).min().map(|(_, id)| id);
            if let Some(oldest) = forgotten {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(key.id, key);
        forgotten
    }

    /// Takes a key back. The first time counts.
    pub fn revoke(&mut self, revoked: ApiKeyRevoked) {
        if let Some(key) = self.0.get_mut(&revoked.id) {
            key.revoked_at.get_or_insert(revoked.revoked_at);
        }
    }

    /// The key with this id.
    #[must_use]
    pub fn get(&self, id: KeyId) -> Option<&ApiKey> {
        self.0.get(&id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &ApiKey> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u64, created: i64) -> ApiKey {
        ApiKey {
            id: KeyId(id.to_be_bytes()),
            display_name: String::new(),
            digest: [0xAB; 32],
            roles: vec![Role::Reader],
            all_tenants: false,
            created_at: ObservedAt(created),
            expires_at: None,
            revoked_at: None,
        }
    }

    #[test]
    fn ids_have_one_spelling() {
        let id = KeyId([0, 1, 2, 3, 4, 5, 6, 0xff]);
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
        for bad in ["", "1", "+001020304050607", "000102030405060G", "000102030405060F"] {
            assert_eq!(KeyId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn roles_meet_where_they_share_one() {
        let both = Roles::of(&[Role::Ingest, Role::Admin]);
        assert!(both.meet(Roles::of(&[Role::Admin])) && !both.meet(Roles::of(&[Role::Reader, Role::Auditor])));
        assert!(!Roles::default().meet(both));
    }

    #[test]
    fn keys_that_ended_make_room_and_others_do_not() {
        let mut keys = ApiKeys::default();
        (0..limits::API_KEYS_MAX as u64).for_each(|id| assert_eq!(keys.put(key(id, id as i64)), None));
        assert!(!keys.has_room(ObservedAt(5_000)));
        keys.revoke(ApiKeyRevoked { id: key(7, 0).id, revoked_at: ObservedAt(4_000) });
        keys.revoke(ApiKeyRevoked { id: key(7, 0).id, revoked_at: ObservedAt(4_500) });
        assert_eq!(keys.get(key(7, 0).id).unwrap().revoked_at, Some(ObservedAt(4_000)), "the first time counts");
        assert!(keys.has_room(ObservedAt(5_000)));
        assert_eq!(keys.put(key(9_999, 5_000)), Some(key(7, 0).id));
        assert!(keys.get(key(7, 0).id).is_none() && keys.iter().count() == limits::API_KEYS_MAX);
    }

    #[test]
    fn digests_stay_out_of_debug() {
        assert_eq!(format!("{:?}", key(1, 1)), "ApiKey(0000000000000001, [Reader], ..)");
    }
}
