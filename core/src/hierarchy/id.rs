//! What callers hold instead of an [`AccountOrdinal`].

use std::fmt;

use super::AccountOrdinal;
use crate::ids::{ProfileId, ProfileOrdinal};

/// A source account's id: its ordinal and a keyed tag, as a [`ProfileId`] is, under a key of its own, so that neither can be
/// taken for the other and an id of another tenant is as unknown as an invented one (law 9).
///
/// Text form: `a_` and 20 characters of Crockford's base 32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(ProfileId);

/// A text that is not an account id at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account id is `a_` and 20 characters of 0-9 a-z without i, l, o, u")]
pub struct InvalidAccountId;

fn key_of_accounts(id_key: &[u8; 32]) -> [u8; 32] {
    *blake3::keyed_hash(id_key, b"account ids").as_bytes()
}

impl AccountId {
    /// The id of the account with this ordinal, under the tenant's id key.
    #[must_use]
    pub fn seal(ordinal: AccountOrdinal, id_key: &[u8; 32]) -> Self {
        Self(ProfileId::seal(ProfileOrdinal(ordinal.0), &key_of_accounts(id_key)))
    }

    /// The ordinal, if this id was made with this tenant's id key.
    #[must_use]
    pub fn open(self, id_key: &[u8; 32]) -> Option<AccountOrdinal> {
        self.0.open(&key_of_accounts(id_key)).map(|ordinal| AccountOrdinal(ordinal.0))
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// [`InvalidAccountId`] when the text has another shape.
    pub fn parse(text: &str) -> Result<Self, InvalidAccountId> {
        let body = text.strip_prefix("a_").ok_or(InvalidAccountId)?;
        ProfileId::parse(&format!("p_{body}")).map(Self).map_err(|_| InvalidAccountId)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a_{}", self.0.to_string().trim_start_matches("p_"))
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_ids_survive_their_text_and_are_nothing_elses() {
        let (ours, theirs) = ([7; 32], [8; 32]);
        for ordinal in [0, 1, 99_999, u32::MAX] {
            let id = AccountId::seal(AccountOrdinal(ordinal), &ours);
            let read = AccountId::parse(&id.to_string());
            assert_eq!(read.map(|id| id.open(&ours)), Ok(Some(AccountOrdinal(ordinal))));
            assert_eq!(id.open(&theirs), None, "law 9");
            let as_profile = ProfileId::parse(&id.to_string().replacen("a_", "p_", 1)).unwrap();
            assert_eq!(as_profile.open(&ours), None, "an account is no profile");
        }
        for bad in ["", "a_", "p_00000000000000000000", "a_short"] {
            assert_eq!(AccountId::parse(bad), Err(InvalidAccountId), "{bad:?}");
        }
    }
}
