//! Accounts: organisations and households as customers, who belongs to whom, and which persons belong to them.
//!
//! Facts belong to source accounts: each is named by a source record, stands in a [`Forest`] and has its own parents by
//! date. What is served is a [`view::View`]: source accounts whose records are one party today are one company, with the
//! children of all of them. A merge moves no fact, so a split gives each side back what it had (law 1).
//!
//! Neither can show a cycle. The forest refuses what would make one; where a merge makes one of what was none, the view
//! parks the weakest edge of it and says so.

pub mod affiliation;
pub mod entry;
mod forest;
mod id;
pub mod import;
mod levels;
pub mod view;

use serde::{Deserialize, Serialize};

pub use forest::{Account, AccountFacts, Forest, Step};
pub use id::{AccountId, InvalidAccountId};

/// The time in which accounts are dated: microseconds since 1970-01-01T00:00:00Z. It says when something holds in the
/// world, not when it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment(pub i64);

impl Moment {
    /// Before every date: it was always so.
    pub const ALWAYS: Self = Self(i64::MIN);

    /// This moment, or for what was always so the present one: whoever is closed today is no parent to begin with.
    #[must_use]
    pub fn or_now(self, now: Self) -> Self {
        if self == Self::ALWAYS { now } else { self }
    }
}

/// A source account's ordinal inside its tenant, in order of arrival. Never re-used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountOrdinal(pub u32);

/// What an account is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AccountKind {
    /// A company, authority or other body.
    #[default]
    Organisation,
    /// People who live and buy together.
    Household,
}

/// Why a statement about the hierarchy is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// An account above itself.
    #[error("an account cannot be its own parent")]
    SelfParent,
    /// The parent is, or will be, below the account.
    #[error("the parent lies below the account, {} step(s) down: this would make a cycle", below.len())]
    Cycle {
        /// From the parent up to the account, both left out.
        below: Vec<AccountOrdinal>,
    },
    /// The parent is closed by then.
    #[error("the parent is closed by then")]
    ParentClosed,
    /// Below more levels than there may be.
    #[error("the hierarchy would have more than {} levels", crate::limits::ACCOUNT_LEVELS_MAX)]
    TooDeep,
    /// More changes of parent than one account may have.
    #[error("the account has changed its parent {} times, the most there may be", crate::limits::PARENT_STEPS_MAX)]
    TooManySteps,
}
