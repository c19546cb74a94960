//! What carrying out a request other than an erasure did: as the journal keeps it, without a value of the person.

use serde::{Deserialize, Serialize};

use crate::fragment::ObservedAt;
use crate::ids::{Digest128, Sequence};

/// One act upon a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The request.
    pub request: Sequence,
    /// When.
    pub at: ObservedAt,
    /// Who: a token.
    pub by: String,
    /// Source records in scope then.
    pub records: u32,
    /// Identifiers in scope then.
    pub identifiers: u32,
    /// What was done.
    pub did: Did,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Did {
    /// Kept and not used from then on (GDPR Art. 18): these statements say so.
    Restricted(Vec<Sequence>),
    /// Used again: these statements end those of a restriction. The ground is a token.
    Lifted {
        /// The statements that end it.
        statements: Vec<Sequence>,
        /// Why.
        ground: String,
    },
    /// No to these uses (GDPR Art. 21, CCPA §§1798.120-121): one statement a purpose.
    Objected(Vec<Sequence>),
    /// Corrected (GDPR Art. 16).
    Rectified {
        /// Keyed digest of the steward's record that says what is right.
        record: Digest128,
        /// The first of the judgements by which it is this person's.
        judged: Sequence,
        /// So many values.
        values: u32,
    },
}

impl Carried {
    /// The statements of a restriction.
    #[must_use]
    pub fn restricted(&self) -> Option<&[Sequence]> {
        match &self.did {
            Did::Restricted(statements) => Some(statements),
            _ => None,
        }
    }

    /// Whether it lifts a restriction.
    #[must_use]
    pub const fn lifts(&self) -> bool {
        matches!(self.did, Did::Lifted { .. })
    }
}
