//! What can go wrong, one variant for each thing that a caller would do differently. No personal data.

use std::time::Duration;

use onefold_core::fault::FieldFault;
use onefold_core::ids::{Place, ProfileId, Sequence};
use onefold_store::journal::JournalError;
use onefold_store::keyed::KeyedError;
use onefold_store::vault::VaultError;

/// A place of the journal whose content cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entry at segment {}, offset {} of the journal cannot be read: {what}", .place.segment, .place.offset)]
pub struct Damaged {
    /// Where it lies.
    pub place: Place,
    /// What is wrong there.
    pub what: String,
}

/// A read that has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The question itself is not valid.
    #[error("{} field(s) of the request are not valid", .0.len())]
    Invalid(Vec<FieldFault>),
    /// There is no such tenant.
    #[error("there is no such tenant")]
    TenantUnknown,
    /// There is no such profile, or nobody holds the identifier or record.
    #[error("there is no such profile")]
    ProfileUnknown,
    /// All records of the profile were retracted.
    #[error("all records of this profile were retracted")]
    ProfileEmptied,
    /// All records of the profile were erased.
    #[error("this profile was erased")]
    ProfileErased,
    /// The profile's records went to several others.
    #[error("this profile was split; its records are in {} profiles", into.len())]
    ProfileSplit {
        /// Where its records are.
        into: Vec<ProfileId>,
    },
    /// More than one profile holds the identifier.
    #[error("more than one profile holds this identifier")]
    IdentifierShared {
        /// Some of them.
        profiles: Vec<ProfileId>,
        /// Whether there are more.
        more: bool,
    },
    /// There is no such consent statement, or its words were erased.
    #[error("there is no such consent statement")]
    StatementUnknown,
    /// What was said of the profile does not permit the purpose.
    #[error("this purpose is not permitted: {}", .reasons.join(", "))]
    PurposeNotPermitted {
        /// Why, as contact decisions name it.
        reasons: Vec<&'static str>,
    },
    /// A preview or training of a model runs already.
    #[error("a preview or training of a model runs already, and there is room for one at a time")]
    StudyRuns,
    /// There is no such match model.
    #[error("no match model is in force for this kind of party")]
    ModelUnknown,
    /// The state has not reached the sequence asked for.
    #[error("the state has reached sequence {reached}, the read asks for {wanted}")]
    Behind {
        /// What was asked for.
        wanted: u64,
        /// What there is.
        reached: u64,
    },
    /// What was acknowledged of the profile's history is not readable yet.
    #[error("the history is still being written")]
    HistoryBehind,
    /// There is no such account.
    #[error("there is no such account")]
    AccountUnknown,
    /// A page token of another query, or none of ours.
    #[error("the page token is not one of this query")]
    PageToken,
    /// A cursor ahead of the feed.
    #[error("the cursor is ahead of the feed, which has reached sequence {}", .0.0)]
    CursorAhead(Sequence),
    /// What the answer needs is damaged on disk.
    #[error("{0}")]
    Damaged(Damaged),
    /// What is read by key is damaged in sled.
    #[error("the keyed store is damaged: {0}; the next start makes it anew from the journal")]
    Keyed(&'static str),
    /// The tenant wants no read that is not in the log of reads, and the log cannot be written.
    #[error("the log of reads cannot be written, and this tenant's reads are not answered without it")]
    NotLogged,
    /// The tenant shows personal data to a purpose only, and the call names none.
    #[error(
        "this tenant shows personal data to a purpose only, and the call names none; stewards, privacy officers and auditors need none"
    )]
    PurposeMissing,
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A write that was not done.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The request is not valid.
    #[error("{} field(s) of the request are not valid", .0.len())]
    Invalid(Vec<FieldFault>),
    /// There is no such tenant.
    #[error("there is no such tenant")]
    TenantUnknown,
    /// There is no such API key.
    #[error("there is no such API key")]
    ApiKeyUnknown,
    /// There is one already.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// A bound is reached.
    #[error("{what}: the limit of {limit} is reached")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The lane has no room now.
    #[error("the commit lane is full")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The disk has no room; reads go on.
    #[error("the disk has no room for the journal; nothing was written")]
    DiskFull,
    /// The change was made from a reading that is no longer true.
    #[error("the resource has changed since its etag was read; read it again and decide anew")]
    Stale,
    /// The request id was used for another request.
    #[error("this request_id was used for another request")]
    RequestIdReused,
    /// A step of a privacy request that cannot be taken.
    #[error(transparent)]
    Privacy(#[from] onefold_core::erasure::PrivacyError),
    /// What is told of accounts does not fit what is known of them.
    #[error(transparent)]
    Hierarchy(#[from] super::hierarchy::act::HierarchyError),
    /// A judgement that cannot be taken.
    #[error(transparent)]
    Judge(#[from] super::review::JudgeError),
    /// A change that goes over everything met something damaged on disk. Nothing was changed.
    #[error("nothing was changed: {0}")]
    Damaged(Damaged),
    /// The store failed; nothing more is acknowledged until a restart.
    #[error("the store failed; the server stops acknowledging and must be restarted")]
    StoreFailed,
}

impl ReadError {
    /// The entry at a place cannot be read.
    pub fn at(place: Place, error: JournalError) -> Self {
        match error {
            JournalError::Damaged(damage) => Self::Damaged(Damaged { place, what: damage.to_string() }),
            error @ JournalError::NoEntry(_) => Self::Damaged(Damaged { place, what: error.to_string() }),
            error => Self::Store(error.into()),
        }
    }

    /// What is read by key cannot be.
    pub fn of_keyed(error: KeyedError) -> Self {
        match error {
            KeyedError::Damaged => Self::Keyed("a value does not match its checksum"),
            // It is being opened afresh.
            KeyedError::InUse => Self::HistoryBehind,
            error => Self::Store(error.into()),
        }
    }

    /// Its key cannot be had. One that was destroyed is damage too: who reads something that may be gone asks for that first.
    pub fn key_of(place: Place, error: VaultError) -> Self {
        match error {
            error @ (VaultError::Damaged(_)
            | VaultError::Unknown(_)
            | VaultError::Destroyed(_)
            | VaultError::HalfDestroyed(_)) => Self::Damaged(Damaged { place, what: error.to_string() }),
            error => Self::Store(error.into()),
        }
    }

    /// Its content is not what it should be.
    pub fn content_of(place: Place, what: impl std::fmt::Display) -> Self {
        Self::Damaged(Damaged { place, what: what.to_string() })
    }
}

impl From<ReadError> for WriteError {
    /// For changes that read everything first and have changed nothing yet.
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(damaged) => Self::Damaged(damaged),
            _ => Self::StoreFailed,
        }
    }
}
