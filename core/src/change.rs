//! What happened to profiles, in ids only: the feed's words, and what a restart replays.

use serde::{Deserialize, Serialize};

use crate::hierarchy::AccountOrdinal;
use crate::ids::{Digest128, ProfileOrdinal};

/// One change of one profile. Records are named by their keyed digest, or in the journal by their ordinal in the order
/// of first arrival, which is a fraction of the size and says nothing about the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProfileChange<R = Digest128> {
    /// A new profile with these records.
    Created {
        /// The new profile.
        profile: ProfileOrdinal,
        /// Its records, sorted.
        records: Vec<R>,
    },
    /// Facts, or the set of records, changed: a record joined, left, was superseded or retracted.
    Updated {
        /// Which profile.
        profile: ProfileOrdinal,
        /// Records that now belong to it and did not before, sorted.
        joined: Vec<R>,
        /// Records whose facts changed in place or were retracted, sorted.
        touched: Vec<R>,
    },
    /// `from` lives on in `into`, for ever. Its records moved along.
    Merged {
        /// The id that now redirects.
        from: ProfileOrdinal,
        /// The older id, which stays.
        into: ProfileOrdinal,
        /// The records that moved, sorted.
        records: Vec<R>,
    },
    /// Records of `from` left for other profiles. `from` itself stays live when it kept the largest part; otherwise it
    /// answers with the list.
    Split {
        /// The profile that was split.
        from: ProfileOrdinal,
        /// Whether `from` is still live.
        stays: bool,
        /// Each other part: the profile that now holds it, and the records that moved, sorted.
        into: Vec<(ProfileOrdinal, Vec<R>)>,
    },
    /// Every record of the profile was retracted. The id stays known and revives if a record comes back alone, as whoever it
    /// was of.
    Emptied {
        /// Which profile.
        profile: ProfileOrdinal,
    },
    /// Something was said that bears on what the profile's person allowed, or a yes of theirs ran out. Facts and records
    /// are as before.
    ConsentChanged {
        /// Which profile.
        profile: ProfileOrdinal,
    },
    /// What is told of a source account changed: its facts, its parent, its people or its stage. Concerns no profile.
    AccountChanged {
        /// Which account.
        account: AccountOrdinal,
    },
    /// Records of the profile were erased: they are no longer its own, and nothing tells which they were.
    Erased {
        /// Which profile.
        profile: ProfileOrdinal,
        /// None is left: the id answers "erased" for ever.
        gone: bool,
    },
}

impl<R> ProfileChange<R> {
    /// The same change with records named otherwise.
    ///
    /// # Errors
    /// The first record that `name` cannot name.
    pub fn rename<S, E>(&self, mut name: impl FnMut(&R) -> Result<S, E>) -> Result<ProfileChange<S>, E> {
        let mut all = |records: &[R]| records.iter().map(&mut name).collect::<Result<Vec<S>, E>>();
        Ok(match self {
            Self::Created { profile, records } => ProfileChange::Created { profile: *profile, records: all(records)? },
            Self::Updated { profile, joined, touched } => {
                ProfileChange::Updated { profile: *profile, joined: all(joined)?, touched: all(touched)? }
            }
            Self::Merged { from, into, records } => {
                ProfileChange::Merged { from: *from, into: *into, records: all(records)? }
            }
            Self::Split { from, stays, into } => {
                let into = into.iter().map(|(part, records)| Ok((*part, all(records)?))).collect::<Result<_, E>>()?;
                ProfileChange::Split { from: *from, stays: *stays, into }
            }
            Self::Emptied { profile } => ProfileChange::Emptied { profile: *profile },
            Self::ConsentChanged { profile } => ProfileChange::ConsentChanged { profile: *profile },
            Self::AccountChanged { account } => ProfileChange::AccountChanged { account: *account },
            Self::Erased { profile, gone } => ProfileChange::Erased { profile: *profile, gone: *gone },
        })
    }

    /// The profile that the change is told about, if it is about one.
    #[must_use]
    pub const fn subject(&self) -> Option<ProfileOrdinal> {
        match self {
            Self::Created { profile, .. }
            | Self::Updated { profile, .. }
            | Self::Emptied { profile }
            | Self::ConsentChanged { profile }
            | Self::Erased { profile, .. } => Some(*profile),
            Self::Merged { from, .. } | Self::Split { from, .. } => Some(*from),
            Self::AccountChanged { .. } => None,
        }
    }
}
