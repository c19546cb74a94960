//! What a tenant wants of its requests: who approves, who confirms, and within which time.

use serde::{Deserialize, Serialize};

use super::RequestKind;
use crate::decision::{self, DecisionError};

/// What a tenant wants of its requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivacyPolicy {
    /// A second person must approve an erasure or an export.
    pub second_person: bool,
    /// Consumers of the feed that must confirm erasures.
    pub consumers: Vec<String>,
    /// Within so many days.
    pub confirm_within_days: u16,
    /// After so many days a suppression is to be looked at again.
    pub review_after_days: u16,
    /// A second person must approve requests of these kinds too.
    pub second_person_for: Vec<RequestKind>,
    /// Whoever reads profiles says what for.
    pub purpose_required: bool,
}

impl Default for PrivacyPolicy {
    fn default() -> Self {
        Self {
            second_person: false,
            consumers: Vec::new(),
            confirm_within_days: 30,
            review_after_days: 1_095,
            second_person_for: Vec::new(),
            purpose_required: false,
        }
    }
}

/// Fields that came to the policy since the journal first kept one.
const FIELDS_SINCE: usize = 2;

impl PrivacyPolicy {
    /// From the journal, whichever shape it was kept in: fields are only added, and one that was not there is empty or no,
    /// which is a zero.
    ///
    /// # Errors
    /// [`DecisionError`] for what is none.
    pub fn read(payload: &[u8]) -> Result<Self, DecisionError> {
        let mut bytes = payload.to_vec();
        for _ in 0..FIELDS_SINCE {
            if let Ok(policy) = decision::decode(&bytes) {
                return Ok(policy);
            }
            bytes.push(0);
        }
        decision::decode(&bytes)
    }

    /// Whether a second person must approve requests of this kind.
    #[must_use]
    pub fn asks_a_second(&self, kind: RequestKind) -> bool {
        let always = matches!(kind, RequestKind::Erasure | RequestKind::Access | RequestKind::Portability);
        (self.second_person && always) || self.second_person_for.contains(&kind)
    }

    /// Whether less is controlled than before: a second person, or a purpose, where there was one needed.
    #[must_use]
    pub fn is_weaker_than(&self, before: &Self) -> bool {
        let alone = RequestKind::ALL.iter().any(|kind| before.asks_a_second(*kind) && !self.asks_a_second(*kind));
        alone || (before.purpose_required && !self.purpose_required)
    }
}
