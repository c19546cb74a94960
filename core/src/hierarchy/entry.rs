//! What the journal keeps of accounts: who it is about in the clear as a keyed digest, all content sealed under that
//! subject's own key.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::affiliation::Origin;
use super::{AccountKind, Moment};
use crate::decision::{DecisionError, Sealed};
use crate::fragment::{PartyKind, SourceRecord};
use crate::ids::{Digest128, Sequence, SlotId, SourceId};
use crate::lifecycle::StageId;

/// The clear part in front of the ciphertext: slot of the key, whether the entry is the first about its subject, and the
/// keyed digest of the subject's source record. A replay counts accounts by it even when the key is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Which key opens the content.
    pub slot: SlotId,
    /// Whether an account is taken in that was never seen before.
    pub opens: bool,
    /// Keyed digest of the source record.
    pub record: Digest128,
}

impl Subject {
    /// Bytes of the clear part.
    pub const BYTES: usize = Sealed::HEADER_BYTES + 16;

    /// The clear part.
    #[must_use]
    pub fn header(&self) -> [u8; Self::BYTES] {
        let mut header = [0; Self::BYTES];
        header[..Sealed::HEADER_BYTES].copy_from_slice(&Sealed::header(self.slot, self.opens));
        header[Sealed::HEADER_BYTES..].copy_from_slice(&self.record.0);
        header
    }

    /// Reads the clear part; the rest is ciphertext.
    ///
    /// # Errors
    /// [`DecisionError`] for another version or damaged bytes.
    pub fn parse(payload: &[u8]) -> Result<(Self, &[u8]), DecisionError> {
        let sealed = Sealed::parse(payload)?;
        let (record, ciphertext) = sealed.ciphertext.split_first_chunk::<16>().ok_or(DecisionError::Damaged)?;
        Ok((Self { slot: sealed.slot, opens: sealed.opens_record, record: Digest128(*record) }, ciphertext))
    }
}

/// The parent of an account from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentSet {
    /// Keyed digest of the parent's source record; none: at the top.
    pub parent: Option<Digest128>,
    /// From when on.
    pub from: Moment,
}

/// An account and what is told of it. Names are business or personal content: `Debug` hides them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountPut {
    /// As its source knows it.
    pub record: SourceRecord,
    /// Its name.
    pub name: String,
    /// Who looks after it; empty: nobody.
    pub owner: String,
    /// What it is.
    pub kind: AccountKind,
    /// Since when it exists.
    pub since: Moment,
    /// Its domains, as told.
    pub domains: Vec<String>,
    /// Its parent, where one was told along.
    pub parent: Option<ParentSet>,
}

impl fmt::Debug for AccountPut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountPut({:?}, {:?}, {} domains, ..)", self.record, self.kind, self.domains.len())
    }
}

/// An account is closed from a moment on; `None` opens it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountClosed {
    /// From when on.
    pub at: Option<Moment>,
}

/// What stays of an account whose content is erased: where it stands and since when it is closed, so that those below it
/// stay where they are. Keyed digests and times only, which are in the clear: the key of its own statements is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountVacated {
    /// Keyed digest of its source record.
    pub record: Digest128,
    /// From when on it is closed.
    pub closed: Option<Moment>,
    /// Its parents, oldest first.
    pub parents: Vec<ParentSet>,
    /// Sequence of the last change to the account before.
    pub changed: Sequence,
}

/// A person's role in an account. Personal content: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffiliationStated {
    /// The person, as a source knows them.
    pub person: SourceRecord,
    /// Keyed digest of the account's source record.
    pub account: Digest128,
    /// The role; empty: not said.
    pub role: String,
    /// Since when.
    pub since: Moment,
    /// Until when; open where there is no end.
    pub until: Option<Moment>,
    /// How it came to be known.
    pub origin: Origin,
}

impl fmt::Debug for AffiliationStated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AffiliationStated({:?}, {:?}, ..)", self.person, self.account)
    }
}

/// A person's role in an account ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffiliationEnded {
    /// Keyed digest of the account's source record.
    pub account: Digest128,
    /// Keyed digest of the role.
    pub role: Digest128,
    /// When it ends.
    pub until: Moment,
}

/// A source record reached a stage. Its note may be personal content: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageSet {
    /// Person, or organisation for an account.
    pub party: PartyKind,
    /// Who keeps the record.
    pub source: SourceId,
    /// Which stage.
    pub stage: StageId,
    /// When it was reached.
    pub at: Moment,
    /// Why, in words; empty: not said.
    pub note: String,
}

impl fmt::Debug for StageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StageSet({:?}, source {}, stage {}, ..)", self.party, self.source.0, self.stage.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clear_part_survives_and_damage_is_told() {
        for opens in [false, true] {
            let subject = Subject { slot: SlotId(70_000), opens, record: Digest128([7; 16]) };
            let payload = [&subject.header()[..], b"sealed"].concat();
            assert_eq!(Subject::parse(&payload), Ok((subject, &b"sealed"[..])));
            assert_eq!(Subject::parse(&payload[..Subject::BYTES - 1]), Err(DecisionError::Damaged));
        }
    }

    #[test]
    fn names_and_roles_are_not_shown() {
        let record = || SourceRecord { source: SourceId(1), key: "canary-key".to_owned() };
        let text = || "canary".to_owned();
        let account = AccountPut {
            record: record(),
            name: text(),
            owner: text(),
            kind: AccountKind::Household,
            since: Moment(0),
            domains: vec![text()],
            parent: None,
        };
        let stage =
            StageSet { party: PartyKind::Person, source: SourceId(1), stage: StageId(1), at: Moment(0), note: text() };
        let role = AffiliationStated {
            person: record(),
            account: Digest128([1; 16]),
            role: text(),
            since: Moment(0),
            until: None,
            origin: Origin::Stated,
        };
        let shown = format!("{account:?} {account:#?} {stage:?} {role:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
