//! A request of a person: what it asks for, where it stands, who verified and who approved it.
//!
//! `law` knows the clocks, `policy` what a tenant asks for, `steps` what may be done when, `error` why it may not.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fragment::ObservedAt;
use crate::ids::{Digest128, NamespaceId, ProfileOrdinal, Sequence};

mod error;
mod law;
mod policy;
mod steps;

pub use error::PrivacyError;
pub use law::{Clock, Regulation, later_by_months};
pub use policy::PrivacyPolicy;
pub use steps::signed;

/// Bytes of a reference, a name of staff, a ground.
const TOKEN_BYTES_MAX: usize = 64;

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RequestKind {
    /// Erase what is held (GDPR Art. 17, CCPA §1798.105).
    Erasure,
    /// Show what is held (Art. 15).
    Access,
    /// Hand over what was given (Art. 20).
    Portability,
    /// Correct what is wrong (Art. 16).
    Rectification,
    /// Keep and do not use (Art. 18).
    Restriction,
    /// Stop a use (Art. 21).
    Objection,
    /// Do not sell or share (CCPA §1798.120).
    OptOutSaleShare,
    /// Limit the use of sensitive information (CCPA §1798.121).
    LimitSensitive,
}

impl RequestKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Erasure,
        Self::Access,
        Self::Portability,
        Self::Rectification,
        Self::Restriction,
        Self::Objection,
        Self::OptOutSaleShare,
        Self::LimitSensitive,
    ];

    /// The name on the wire and in exports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Erasure => "ERASURE",
            Self::Access => "ACCESS",
            Self::Portability => "PORTABILITY",
            Self::Rectification => "RECTIFICATION",
            Self::Restriction => "RESTRICTION",
            Self::Objection => "OBJECTION",
            Self::OptOutSaleShare => "OPT_OUT_SALE_SHARE",
            Self::LimitSensitive => "LIMIT_SENSITIVE",
        }
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RequestState {
    /// Came in.
    Received,
    /// It is known that it comes from the person, or from who may speak for them.
    Verified,
    /// Somebody else looked at the scope and said yes.
    Approved,
    /// Decided, durable, and being carried out.
    InProgress,
    /// Done; there is a receipt.
    Completed,
    /// Not done, with the ground.
    Refused,
    /// Taken back.
    Cancelled,
}

impl RequestState {
    /// Whether nothing more will happen.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Refused | Self::Cancelled)
    }
}

impl fmt::Display for RequestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Received => "received",
            Self::Verified => "verified",
            Self::Approved => "approved",
            Self::InProgress => "in progress",
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        })
    }
}

/// Whom a request is about, without a value of theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Profiles.
    pub profiles: Vec<ProfileOrdinal>,
    /// Source records, by keyed digest.
    pub records: Vec<Digest128>,
    /// Identifiers, by namespace and keyed digest.
    pub identifiers: Vec<(NamespaceId, Digest128)>,
}

/// How it was made sure that the request is the person's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// How, in one word: a token, no personal data.
    pub method: String,
    /// Who did it.
    pub by: String,
    /// When.
    pub at: ObservedAt,
}

/// Somebody said yes to a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at: ObservedAt,
    /// To which scope: the digest of the plan.
    pub scope: Digest128,
}

/// More time, with the reason that the person was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Until when.
    pub until: ObservedAt,
    /// Why: a token, no personal data.
    pub ground: String,
    /// When it was decided.
    pub at: ObservedAt,
}

/// A consumer of the feed that must say that it erased too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Which.
    pub consumer: String,
    /// By when.
    pub due_at: ObservedAt,
    /// When it said so.
    pub confirmed_at: Option<ObservedAt>,
}

/// What an erasure did, or an export held, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Source records by the name of their source.
    pub records: Vec<(String, u32)>,
    /// Suppressed identifiers by the name of their namespace.
    pub suppressed: Vec<(String, u32)>,
    /// Identifiers that others hold too, by namespace.
    pub shared: Vec<(String, u32)>,
    /// Quarantined fragments.
    pub quarantined: u32,
    /// Consent statements.
    pub statements: u32,
    /// Statements that stand at others too.
    pub statements_kept: u32,
    /// Keys of roles, stages and accounts.
    pub told: u32,
    /// Keys destroyed in all.
    pub keys: u32,
    /// Profiles that lost records.
    pub profiles: u32,
    /// The log before: segment, offset, chain.
    pub before: (u32, u32, [u8; 32]),
    /// The sequence of the decision.
    pub first: Sequence,
}

/// A request, whole: the journal keeps each new state of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivacyRequest {
    /// Its id: the sequence of its first entry.
    pub id: Sequence,
    /// What is asked for.
    pub kind: RequestKind,
    /// Under which law.
    pub regulation: Regulation,
    /// Where it stands.
    pub state: RequestState,
    /// The caller's own number for it: a token, no personal data.
    pub reference: String,
    /// Whom it is about; empty once it is completed.
    pub subject: Subject,
    /// When it came in.
    pub received_at: ObservedAt,
    /// By when it is to be answered.
    pub due_at: ObservedAt,
    /// More time.
    pub extension: Option<Extension>,
    /// How it was verified.
    pub verification: Option<Verification>,
    /// Who approved.
    pub approval: Option<Approval>,
    /// Why it was refused or cancelled: a token.
    pub ground: Option<String>,
    /// When it ended.
    pub ended_at: Option<ObservedAt>,
    /// What was done.
    pub figures: Option<Figures>,
    /// Who must erase too.
    pub confirmations: Vec<Confirmation>,
}

/// Whether a text is one word of letters, digits and `._:/-`: what is written down in the clear must not be able to hold
/// a name or an address by accident.
#[must_use]
pub fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= TOKEN_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte))
}

#[cfg(test)]
mod tests;
