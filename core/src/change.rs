//! What happened to profiles, in ids only: the feed's words, and what a restart replays.

use serde::{Deserialize, Serialize};

use crate::ids::{Digest128, ProfileOrdinal};

/// One change of one profile. Records are named by their keyed digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProfileChange {
    /// A new profile with these records.
    Created {
        /// The new profile.
        profile: ProfileOrdinal,
        /// Its records, sorted.
        records: Vec<Digest128>,
    },
    /// Facts, or the set of records, changed: a record joined, left, was superseded or retracted.
    Updated {
        /// Which profile.
        profile: ProfileOrdinal,
        /// Records that now belong to it and did not before, sorted.
        joined: Vec<Digest128>,
        /// Records whose facts changed in place or were retracted, sorted.
        touched: Vec<Digest128>,
    },
    /// `from` lives on in `into`, for ever. Its records moved along.
    Merged {
        /// The id that now redirects.
        from: ProfileOrdinal,
        /// The older id, which stays.
        into: ProfileOrdinal,
        /// The records that moved, sorted.
        records: Vec<Digest128>,
    },
    /// Records of `from` left for other profiles. `from` itself stays live when it kept the largest part; otherwise it
    /// answers with the list.
    Split {
        /// The profile that was split.
        from: ProfileOrdinal,
        /// Whether `from` is still live.
        stays: bool,
        /// Each other part: the profile that now holds it, and the records that moved, sorted.
        into: Vec<(ProfileOrdinal, Vec<Digest128>)>,
    },
    /// Every record of the profile was retracted. The id stays known and revives if a record comes back alone.
    Emptied {
        /// Which profile.
        profile: ProfileOrdinal,
    },
}

impl ProfileChange {
    /// The profile that the change is told about.
    #[must_use]
    pub const fn subject(&self) -> ProfileOrdinal {
        match self {
            Self::Created { profile, .. } | Self::Updated { profile, .. } | Self::Emptied { profile } => *profile,
            Self::Merged { from, .. } | Self::Split { from, .. } => *from,
        }
    }
}
