//! Who read which personal data, when and what for: what the log of reads keeps. Ids and digests only, so that it stays
//! whole and true when those whom it tells of are erased.
//!
//! Reads of one moment are told together: of one caller, through one call, for one purpose. The log is a file family of its
//! own, chained as the journal is; [`ReadLogMark`] ties its end into the journal.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::access::KeyId;
use crate::consent::PurposeId;
use crate::fragment::ObservedAt;
use crate::ids::{ProfileOrdinal, Sequence};

/// The kind of an entry of the log of reads that holds [`Reads`].
pub const READS_NOTED: u8 = 1;

/// Profiles that one entry names at most; more make several entries.
pub const PROFILES_MAX: usize = 4_096;

/// Who read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reader {
    /// Nobody was asked who they are: a server without authentication.
    Anonymous,
    /// Who holds the administrator's key.
    Administrator,
    /// Who holds this API key.
    Key(KeyId),
    /// A subject of the token issuer: a keyed digest of both, never an address.
    Subject([u8; 8]),
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Administrator => f.write_str("operator"),
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Subject(digest) => write!(f, "subject:{:016x}", u64::from_be_bytes(*digest)),
        }
    }
}

/// Through which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the RPC of its name")]
pub enum ReadCall {
    GetProfile,
    LookupProfile,
    BatchLookupProfiles,
    SearchProfiles,
    WatchProfiles,
    ExplainLink,
    ExplainProfile,
    GetConsentState,
    ListStatements,
    GetConsentReceipt,
    ListAffiliations,
    ProposeAccounts,
    GetStage,
    ListStageHistory,
    ListQuestions,
    ListJudgements,
    ListQuarantine,
    PreviewErasure,
    PreviewAccessExport,
    StreamAccessExport,
    StreamBackup,
    GetAccount,
    DecideContact,
    DecideContacts,
    GetRollup,
    StreamHeldIdentifiers,
    ListChildren,
    PutAccount,
    MoveAccount,
    CloseAccount,
}

impl ReadCall {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::GetProfile,
        Self::LookupProfile,
        Self::BatchLookupProfiles,
        Self::SearchProfiles,
        Self::WatchProfiles,
        Self::ExplainLink,
        Self::ExplainProfile,
        Self::GetConsentState,
        Self::ListStatements,
        Self::GetConsentReceipt,
        Self::ListAffiliations,
        Self::ProposeAccounts,
        Self::GetStage,
        Self::ListStageHistory,
        Self::ListQuestions,
        Self::ListJudgements,
        Self::ListQuarantine,
        Self::PreviewErasure,
        Self::PreviewAccessExport,
        Self::StreamAccessExport,
        Self::StreamBackup,
        Self::GetAccount,
        Self::DecideContact,
        Self::DecideContacts,
        Self::GetRollup,
        Self::StreamHeldIdentifiers,
        Self::ListChildren,
        Self::PutAccount,
        Self::MoveAccount,
        Self::CloseAccount,
    ];

    /// Whether it says what for where a tenant asks for that. What is not asked is the work on the data itself, of stewards,
    /// privacy officers and whoever keeps backups; and what shows accounts, a company and who of the tenant's own staff looks
    /// after it, as the answers to changes of one do.
    #[must_use]
    pub const fn asks_purpose(self) -> bool {
        match self {
            Self::GetProfile
            | Self::LookupProfile
            | Self::BatchLookupProfiles
            | Self::SearchProfiles
            | Self::WatchProfiles
            | Self::ExplainLink
            | Self::ExplainProfile
            | Self::GetConsentState
            | Self::ListStatements
            | Self::GetConsentReceipt
            | Self::ListAffiliations
            | Self::ProposeAccounts
            | Self::GetStage
            | Self::ListStageHistory
            | Self::DecideContact
            | Self::DecideContacts
            | Self::GetRollup => true,
            Self::ListQuestions
            | Self::ListJudgements
            | Self::ListQuarantine
            | Self::PreviewErasure
            | Self::PreviewAccessExport
            | Self::StreamAccessExport
            | Self::StreamBackup
            | Self::GetAccount
            | Self::StreamHeldIdentifiers
            | Self::ListChildren
            | Self::PutAccount
            | Self::MoveAccount
            | Self::CloseAccount => false,
        }
    }

    /// The name of the RPC.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GetProfile => "GetProfile",
            Self::LookupProfile => "LookupProfile",
            Self::BatchLookupProfiles => "BatchLookupProfiles",
            Self::SearchProfiles => "SearchProfiles",
            Self::WatchProfiles => "WatchProfiles",
            Self::ExplainLink => "ExplainLink",
            Self::ExplainProfile => "ExplainProfile",
            Self::GetConsentState => "GetConsentState",
            Self::ListStatements => "ListStatements",
            Self::GetConsentReceipt => "GetConsentReceipt",
            Self::ListAffiliations => "ListAffiliations",
            Self::ProposeAccounts => "ProposeAccounts",
            Self::GetStage => "GetStage",
            Self::ListStageHistory => "ListStageHistory",
            Self::ListQuestions => "ListQuestions",
            Self::ListJudgements => "ListJudgements",
            Self::ListQuarantine => "ListQuarantine",
            Self::PreviewErasure => "PreviewErasure",
            Self::PreviewAccessExport => "PreviewAccessExport",
            Self::StreamAccessExport => "StreamAccessExport",
            Self::StreamBackup => "StreamBackup",
            Self::GetAccount => "GetAccount",
            Self::DecideContact => "DecideContact",
            Self::DecideContacts => "DecideContacts",
            Self::GetRollup => "GetRollup",
            Self::StreamHeldIdentifiers => "StreamHeldIdentifiers",
            Self::ListChildren => "ListChildren",
            Self::PutAccount => "PutAccount",
            Self::MoveAccount => "MoveAccount",
            Self::CloseAccount => "CloseAccount",
        }
    }
}

/// Reads of one moment: by one reader, through one call, for one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    /// Who.
    pub reader: Reader,
    /// Through which call.
    pub call: ReadCall,
    /// What for, where the caller said so.
    pub purpose: Option<PurposeId>,
    /// Not before.
    pub from: ObservedAt,
    /// Not after.
    pub until: ObservedAt,
    /// Answers in all, those that name no profile included.
    pub count: u64,
    /// Profiles as steps from one to the next, ascending, and how often each was shown.
    profiles: Vec<(u32, u32)>,
    /// Journal entries that were shown and belong to no profile: quarantined fragments. Ascending steps.
    entries: Vec<u64>,
}

impl Reads {
    /// Reads by `reader` between two moments. Profiles and entries may come in any order, each once.
    #[must_use]
    pub fn new(
        (reader, call, purpose): (Reader, ReadCall, Option<PurposeId>),
        (from, until): (ObservedAt, ObservedAt),
        count: u64,
        mut profiles: Vec<(ProfileOrdinal, u32)>,
        mut entries: Vec<Sequence>,
    ) -> Self {
        profiles.sort_unstable();
        entries.sort_unstable();
        let mut before = 0;
        let step = |(profile, count): (ProfileOrdinal, u32)| {
            let step = profile.0 - before;
            before = profile.0;
            (step, count)
        };
        let profiles = profiles.into_iter().map(step).collect();
        let mut before = 0;
        let step = |entry: Sequence| {
            let step = entry.0 - before;
            before = entry.0;
            step
        };
        let entries = entries.into_iter().map(step).collect();
        Self { reader, call, purpose, from, until, count, profiles, entries }
    }

    /// The profiles that were shown, ascending, and how often.
    pub fn profiles(&self) -> impl Iterator<Item = (ProfileOrdinal, u32)> + '_ {
        self.profiles.iter().scan(0_u32, |at, (step, count)| {
            *at = at.wrapping_add(*step);
            Some((ProfileOrdinal(*at), *count))
        })
    }

    /// The entries that were shown, ascending.
    pub fn entries(&self) -> impl Iterator<Item = Sequence> + '_ {
        self.entries.iter().scan(0_u64, |at, step| {
            *at = at.wrapping_add(*step);
            Some(Sequence(*at))
        })
    }
}

/// Whether a tenant's reads are noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadLogMode {
    /// Where callers are asked who they are.
    #[default]
    WithAuthentication,
    /// No.
    Off,
    /// Yes; reads go on where the log cannot be written, and are counted.
    On,
    /// Yes; where the log cannot be written, reads are refused.
    Strict,
}

/// What a tenant wants of the log of reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadLogPolicy {
    /// Whether reads are noted.
    pub mode: ReadLogMode,
    /// For so many days.
    pub retention_days: u16,
}

impl ReadLogPolicy {
    /// Whether less is noted than before, or for a shorter time, where callers are asked who they are.
    #[must_use]
    pub const fn is_weaker_than(&self, before: &Self) -> bool {
        const fn rank(mode: ReadLogMode) -> u8 {
            match mode {
                ReadLogMode::Off => 0,
                ReadLogMode::WithAuthentication | ReadLogMode::On => 1,
                ReadLogMode::Strict => 2,
            }
        }
        rank(self.mode) < rank(before.mode) || self.retention_days < before.retention_days
    }
}

impl Default for ReadLogPolicy {
    fn default() -> Self {
        Self { mode: ReadLogMode::default(), retention_days: 730 }
    }
}

/// What the journal keeps of the log of reads: where it ends and where it begins. The log must hold the one and begin with
/// the other, or somebody cut it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadLogMark {
    /// Segment, offset and chain hash at its end.
    pub end: (u32, u32, [u8; 32]),
    /// Its first segment, and the chain hash that this one continues; those before are over their time.
    pub first: (u32, [u8; 32]),
    /// When.
    pub at: ObservedAt,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_read_survives_the_log_in_few_bytes(
            profiles in proptest::collection::btree_map(any::<u32>(), 1..9_u32, 0..50),
            entries in proptest::collection::btree_set(any::<u64>(), 0..10),
        ) {
            let shuffled: Vec<_> = profiles.iter().rev().map(|(p, n)| (ProfileOrdinal(*p), *n)).collect();
            let of = (Reader::Key(KeyId([7; 8])), ReadCall::LookupProfile, Some(PurposeId(3)));
            let times = (ObservedAt(5), ObservedAt(9));
            let reads = Reads::new(of, times, 12, shuffled, entries.iter().rev().map(|e| Sequence(*e)).collect());
            let read: Reads = crate::decision::decode(&crate::decision::encode(&reads)).unwrap();
            prop_assert_eq!(&read, &reads);
            prop_assert_eq!(read.profiles().map(|(p, n)| (p.0, n)).collect::<Vec<_>>(), profiles.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(read.entries().map(|e| e.0).collect::<Vec<_>>(), entries.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn neighbours_take_two_bytes_each() {
        let profiles = (0..4_000).map(|at| (ProfileOrdinal(1_000_000 + 3 * at), 1)).collect();
        let of = (Reader::Anonymous, ReadCall::GetProfile, None);
        let reads = Reads::new(of, (ObservedAt(0), ObservedAt(0)), 4_000, profiles, Vec::new());
        assert!(crate::decision::encode(&reads).len() < 8_100);
    }

    #[test]
    fn calls_keep_their_numbers() {
        let table = [
            (ReadCall::GetProfile, 0),
            (ReadCall::ListQuarantine, 16),
            (ReadCall::GetAccount, 21),
            (ReadCall::DecideContacts, 23),
            (ReadCall::GetRollup, 24),
            (ReadCall::StreamHeldIdentifiers, 25),
            (ReadCall::CloseAccount, 29),
        ];
        for (call, number) in table {
            assert_eq!(crate::decision::encode(&call), [1, number], "on disk for ever: new calls go to the end");
        }
        let key = Reader::Key(KeyId([7; 8]));
        let readers = [Reader::Anonymous, Reader::Administrator, key, Reader::Subject([7; 8])];
        for (number, reader) in (0..).zip(readers) {
            let bytes = crate::decision::encode(&reader);
            assert_eq!(bytes[..2], [1, number], "on disk for ever: new kinds of readers go to the end");
            assert_eq!(crate::decision::decode::<Reader>(&bytes).unwrap(), reader);
        }
    }
}
