//! What one trip down the lane commits: the entries of the journal. Everything else can be rebuilt from these.
//!
//! An entry's kind and its payload's first byte (a version) are for ever; a new shape is a new version. Personal content
//! is never in the clear: it comes sealed under its own key, behind the slot that names the key.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::change::ProfileChange;
use crate::config::TenantConfig;
use crate::consent::Statement;
use crate::consent::reserve::{Reservation, Standing};
use crate::fault::FieldFault;
use crate::fragment::{ObservedAt, PartyKind};
use crate::ids::{Digest128, NamespaceId, Sequence, SlotId};

/// The kind of a journal entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// [`TenantOpened`].
    TenantOpened = 1,
    /// [`ConfigChanged`].
    ConfigChanged = 2,
    /// [`NamesLearned`].
    NamesLearned = 3,
    /// A live fragment: [`Sealed`] around [`crate::fragment::Fragment::encode`].
    FragmentPut = 4,
    /// [`RecordRetracted`].
    RecordRetracted = 5,
    /// [`Settled`].
    Settled = 6,
    /// A quarantined fragment: [`Sealed`] around [`Quarantined`].
    Quarantined = 7,
    /// [`QuarantineCleared`].
    QuarantineCleared = 8,
    /// [`RequestAnswered`].
    RequestAnswered = 9,
    /// A consent statement: [`Sealed`] around [`crate::consent::Statement`].
    StatementRecorded = 10,
    /// [`ContactReserved`].
    ContactReserved = 11,
    /// [`ReservationSettled`].
    ReservationSettled = 12,
    /// As `StatementRecorded`, of a yes whose source did not say when: [`Statement::undated`](crate::consent::Statement).
    StatementUndated = 13,
    /// As `Quarantined`, with statements that count once the fragment is let in: [`Quarantined::says`].
    QuarantinedSaying = 14,
    /// A source account: [`Subject`](crate::hierarchy::entry::Subject) in front of a sealed
    /// [`AccountPut`](crate::hierarchy::entry::AccountPut).
    AccountPut = 20,
    /// Its parent: likewise a sealed [`ParentSet`](crate::hierarchy::entry::ParentSet).
    AccountParentSet = 21,
    /// Its closing: likewise a sealed [`AccountClosed`](crate::hierarchy::entry::AccountClosed).
    AccountClosed = 22,
    /// A person's role: likewise a sealed [`AffiliationStated`](crate::hierarchy::entry::AffiliationStated).
    AffiliationStated = 23,
    /// A stage reached: likewise a sealed [`StageSet`](crate::hierarchy::entry::StageSet).
    StageSet = 24,
    /// [`LifecycleDefined`](crate::lifecycle::LifecycleDefined).
    LifecycleDefined = 25,
    /// The end of a role: likewise a sealed [`AffiliationEnded`](crate::hierarchy::entry::AffiliationEnded).
    AffiliationEnded = 26,
    /// What stays of an erased account: [`AccountVacated`](crate::hierarchy::entry::AccountVacated).
    AccountVacated = 27,
    /// [`ModelChanged`].
    ModelChanged = 30,
    /// A steward's judgement: [`Sealed`] around [`Judged`](crate::judgement::Judged).
    JudgementStated = 31,
    /// [`JudgementsEnded`].
    JudgementsEnded = 32,
    /// A request of a person, in its new state: [`PrivacyRequest`](crate::erasure::PrivacyRequest).
    PrivacyRequestPut = 40,
    /// [`Erased`](crate::erasure::Erased).
    Erased = 41,
    /// [`Readmitted`](crate::erasure::Readmitted).
    Readmitted = 42,
    /// [`ResendsStopped`](crate::erasure::ResendsStopped).
    ResendsStopped = 43,
    /// The tenant's [`PrivacyPolicy`](crate::erasure::PrivacyPolicy).
    PrivacyPolicySet = 44,
    /// [`ReceiptKept`](crate::erasure::ReceiptKept).
    ReceiptKept = 45,
    /// Who made the decision of an officer or administrator in front of it, in its batch: [`DecidedBy`](crate::erasure::DecidedBy).
    DecidedBy = 46,
    /// A key of the tenant's: [`ApiKey`](crate::access::ApiKey).
    ApiKeyPut = 50,
    /// [`ApiKeyRevoked`](crate::access::ApiKeyRevoked).
    ApiKeyRevoked = 51,
    /// What is held about a person was handed over: [`Exported`](crate::erasure::Exported).
    AccessExported = 60,
    /// Where the log of reads ends and begins: [`ReadLogMark`](crate::reads::ReadLogMark).
    ReadLogMarked = 61,
    /// The tenant's [`ReadLogPolicy`](crate::reads::ReadLogPolicy).
    ReadLogPolicySet = 62,
    /// A request other than an erasure was carried out: [`Carried`](crate::erasure::Carried).
    RightCarriedOut = 65,
    /// After a restore, or of a record in quarantine: statements at a point are heard at others too: [`StandsOn`](crate::consent::stops::StandsOn).
    StopsStandOn = 66,
    /// Identifiers that a record held once: [`Sealed`] around [`FormerKept`](crate::erasure::FormerKept).
    FormerKept = 67,
    /// A fragment came late, after its record was retracted: [`Sealed`] around [`LateVersion`].
    LateVersion = 68,
    /// A request came from a controller: [`Forwarded`](crate::erasure::Forwarded).
    RequestForwarded = 70,
    /// A controller was told of a change: [`CallbackEnded`](crate::erasure::CallbackEnded).
    CallbackEnded = 71,
    /// [`KeysRotated`].
    KeysRotated = 80,
}

impl EntryKind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::TenantOpened,
            2 => Self::ConfigChanged,
            3 => Self::NamesLearned,
            4 => Self::FragmentPut,
            5 => Self::RecordRetracted,
            6 => Self::Settled,
            7 => Self::Quarantined,
            8 => Self::QuarantineCleared,
            9 => Self::RequestAnswered,
            10 => Self::StatementRecorded,
            11 => Self::ContactReserved,
            12 => Self::ReservationSettled,
            13 => Self::StatementUndated,
            14 => Self::QuarantinedSaying,
            20 => Self::AccountPut,
            21 => Self::AccountParentSet,
            22 => Self::AccountClosed,
            23 => Self::AffiliationStated,
            24 => Self::StageSet,
            25 => Self::LifecycleDefined,
            26 => Self::AffiliationEnded,
            27 => Self::AccountVacated,
            30 => Self::ModelChanged,
            31 => Self::JudgementStated,
            32 => Self::JudgementsEnded,
            40 => Self::PrivacyRequestPut,
            41 => Self::Erased,
            42 => Self::Readmitted,
            43 => Self::ResendsStopped,
            44 => Self::PrivacyPolicySet,
            45 => Self::ReceiptKept,
            46 => Self::DecidedBy,
            50 => Self::ApiKeyPut,
            51 => Self::ApiKeyRevoked,
            60 => Self::AccessExported,
            61 => Self::ReadLogMarked,
            62 => Self::ReadLogPolicySet,
            65 => Self::RightCarriedOut,
            66 => Self::StopsStandOn,
            67 => Self::FormerKept,
            68 => Self::LateVersion,
            70 => Self::RequestForwarded,
            71 => Self::CallbackEnded,
            80 => Self::KeysRotated,
            _ => return None,
        })
    }
}

/// A tenant was opened, with its secrets wrapped under the installation's root key. It has versions of its own, so it is
/// read by [`TenantOpened::decode`] alone.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantOpened {
    /// Its first configuration.
    pub config: TenantConfig,
    /// Its secrets, wrapped.
    pub wrapped_keys: Vec<u8>,
}

/// The keys of keys were replaced while the server was down; told by the start that followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysRotated {
    /// Which rotation of the installation it was, from 1.
    pub generation: u32,
    /// When it ended.
    pub at: ObservedAt,
    /// Whether the root key is another one since.
    pub root_key: bool,
}

/// The tenant's configuration is now this one. As [`TenantOpened`] it is read by [`ConfigChanged::decode`] alone.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigChanged {
    /// The whole of it.
    pub config: TenantConfig,
    /// Whether linking may differ, so that everything was prepared and resolved again.
    pub relinks: bool,
}

/// Attribute names were added to the tenant's table, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamesLearned {
    /// The new names; their ordinals follow those known.
    pub names: Vec<String>,
}

/// A source record was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRetracted {
    /// Keyed digest of the record.
    pub record: Digest128,
    /// When the source removed it.
    pub observed_at: ObservedAt,
}

/// A fragment came after its record was retracted, though it was observed before, and is the last that was. The record stays
/// retracted; what was said no to at it is heard at these identifiers (law 6), in whichever order the two came (law 2). Sealed
/// under the record's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateVersion {
    /// Keyed digest of the record.
    pub record: Digest128,
    /// When the fragment was observed.
    pub observed_at: ObservedAt,
    /// Digest of its facts, by which ties break.
    pub facts: Digest128,
    /// Its identifiers that may link, by namespace and keyed digest.
    pub values: Vec<(NamespaceId, Digest128)>,
}

/// What the batch before did to profiles. Takes one sequence for each change, its own being the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The sequence of the tenant's last change before these: the feed's chain.
    pub previous: Sequence,
    /// When it was committed, microseconds since 1970.
    pub committed_at: ObservedAt,
    /// In canonical order. Records are named by their ordinals: the journal's own order of first arrival.
    pub changes: Vec<ProfileChange<u32>>,
    /// Another entry follows with the rest of the same settlement. A journal that ends here is settled again at start.
    pub more: bool,
}

/// A fragment that breaks its contract, with every fault. Personal data: `Debug` hides it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The fragment, encoded.
    pub fragment: Vec<u8>,
    /// Whether the caller left the time of observation to us.
    pub undated: bool,
    /// What is wrong.
    pub faults: Vec<FieldFault>,
    /// When it came in, microseconds since 1970.
    pub received_at: ObservedAt,
    /// What was said with it that permits something, or lifts a no. It counts once the fragment is let in.
    #[serde(skip)]
    pub says: Vec<Statement>,
}

impl Quarantined {
    /// The kind of its entry, and its content.
    #[must_use]
    pub fn encode(&self) -> (EntryKind, Vec<u8>) {
        if self.says.is_empty() {
            return (EntryKind::Quarantined, encode(self));
        }
        let says: Vec<(&Statement, bool)> = self.says.iter().map(|said| (said, said.undated)).collect();
        (EntryKind::QuarantinedSaying, encode(&(self, says)))
    }

    /// Reads the content of an entry of this kind.
    ///
    /// # Errors
    /// [`DecisionError`] when it is none, or of another version.
    pub fn decode(kind: EntryKind, bytes: &[u8]) -> Result<Self, DecisionError> {
        if kind != EntryKind::QuarantinedSaying {
            return decode(bytes);
        }
        let (held, says): (Self, Vec<(Statement, bool)>) = decode(bytes)?;
        let says = says.into_iter().map(|(said, undated)| Statement { undated, ..said }).collect();
        Ok(Self { says, ..held })
    }
}

impl fmt::Debug for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quarantined({} bytes, {} faults, ..)", self.fragment.len(), self.faults.len())
    }
}

/// Quarantined fragments left: replayed with success, or discarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineCleared {
    /// The sequences of their entries.
    pub entries: Vec<Sequence>,
}

/// A call with a request id was answered: the same call again gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestAnswered {
    /// The caller's UUID.
    pub request_id: [u8; 16],
    /// Keyed digest of the call's content.
    pub content: Digest128,
    /// The answer, in the server's own encoding; no personal data.
    pub answer: Vec<u8>,
}

/// A contact was allowed and counts from now on; the entry's sequence is its id. Holds keyed digests, no values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactReserved {
    /// What for, when, and whom it is charged to.
    pub reservation: Reservation,
}

/// What became of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationSettled {
    /// The sequence of its entry.
    pub reservation: Sequence,
    /// What became of it.
    pub standing: Standing,
}

/// The match model of one kind of party is now this one, and everything known was matched again under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelChanged {
    /// Whom it matches.
    pub party: PartyKind,
    /// The artefact, whole: a frozen model does not change with a release. `None`: identifiers alone link.
    pub artefact: Option<String>,
}

/// Judgements left: taken back by a steward, or at their end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgementsEnded {
    /// The sequences of their entries.
    pub entries: Vec<Sequence>,
}

/// A payload this release cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// Written by a newer release.
    #[error("a journal entry is of version {0}, which this release does not know")]
    Version(u8),
    /// Not such a payload.
    #[error("a journal entry's payload is damaged")]
    Damaged,
}

const VERSION: u8 = 1;

/// Writes a clear payload.
///
/// # Panics
/// Never: every payload here has an encoding and the sink is memory.
#[must_use]
pub fn encode<T: Serialize>(payload: &T) -> Vec<u8> {
    postcard::to_extend(payload, vec![VERSION]).expect("a payload in memory always encodes")
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`DecisionError`] for another version or damaged bytes.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecisionError> {
    match bytes.split_first() {
        Some((&VERSION, body)) => postcard::from_bytes(body).map_err(|_| DecisionError::Damaged),
        Some((&version, _)) => Err(DecisionError::Version(version)),
        None => Err(DecisionError::Damaged),
    }
}

/// A sealed payload's envelope: version, slot of the key, whether it opens a record, ciphertext. Of version 2 are the fragments
/// that make their record somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// Which key opens it.
    pub slot: SlotId,
    /// Whether its record was never seen before. A replay counts records by this even when the key is gone.
    pub opens_record: bool,
    /// Whether a fragment gives up all that named somebody in the one before, so that its record is somebody else's from now on.
    /// A replay counts this even when the key, or the fragment before, is gone.
    pub passes_on: bool,
    /// What stands in front of the ciphertext and is vouched for by its tag.
    pub header: [u8; SEALED_HEADER_BYTES],
    /// Ciphertext and tag.
    pub ciphertext: &'a [u8],
}

const SEALED_HEADER_BYTES: usize = 5;

/// The envelope's version for a fragment that makes its record somebody else's.
const PASSES_ON: u8 = 2;

/// Slots are numbered below this; the bit says that the record is new.
const OPENS_RECORD: u32 = 1 << 31;

impl<'a> Sealed<'a> {
    /// Bytes in front of the ciphertext.
    pub const HEADER_BYTES: usize = SEALED_HEADER_BYTES;

    /// What goes in front of the ciphertext.
    #[must_use]
    pub fn header(slot: SlotId, opens_record: bool) -> [u8; SEALED_HEADER_BYTES] {
        debug_assert!(slot.0 < OPENS_RECORD, "a tenant has fewer than 2^31 slots");
        let [a, b, c, d] = (slot.0 | if opens_record { OPENS_RECORD } else { 0 }).to_le_bytes();
        [VERSION, a, b, c, d]
    }

    /// What goes in front of the ciphertext of a fragment that makes its record somebody else's.
    #[must_use]
    pub fn header_that_passes_on(slot: SlotId) -> [u8; SEALED_HEADER_BYTES] {
        let [_, a, b, c, d] = Self::header(slot, false);
        [PASSES_ON, a, b, c, d]
    }

    /// Reads the envelope.
    ///
    /// # Errors
    /// [`DecisionError`] for another version or damaged bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecisionError> {
        match bytes {
            [version @ (VERSION | PASSES_ON), a, b, c, d, ciphertext @ ..] => {
                let number = u32::from_le_bytes([*a, *b, *c, *d]);
                Ok(Self {
                    slot: SlotId(number & !OPENS_RECORD),
                    opens_record: number & OPENS_RECORD != 0,
                    passes_on: *version == PASSES_ON,
                    header: [*version, *a, *b, *c, *d],
                    ciphertext,
                })
            }
            [VERSION | PASSES_ON, ..] | [] => Err(DecisionError::Damaged),
            [version, ..] => Err(DecisionError::Version(*version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_name_the_version_they_cannot_read() {
        let payload = NamesLearned { names: vec!["shoe_size".to_owned()] };
        let mut bytes = encode(&payload);
        assert_eq!(decode::<NamesLearned>(&bytes), Ok(payload));
        assert_eq!(decode::<NamesLearned>(&bytes[..3]), Err(DecisionError::Damaged));
        bytes[0] = 9;
        assert_eq!(decode::<NamesLearned>(&bytes), Err(DecisionError::Version(9)));
        for opens_record in [false, true] {
            let header = Sealed::header(SlotId(70_000), opens_record);
            let sealed = [&header[..], b"xyz"].concat();
            let want = Sealed { slot: SlotId(70_000), opens_record, passes_on: false, header, ciphertext: b"xyz" };
            assert_eq!(Sealed::parse(&sealed), Ok(want));
        }
        let header = Sealed::header_that_passes_on(SlotId(70_000));
        let sealed = [&header[..], b"xyz"].concat();
        let want = Sealed { slot: SlotId(70_000), opens_record: false, passes_on: true, header, ciphertext: b"xyz" };
        assert_eq!(Sealed::parse(&sealed), Ok(want));
        assert_eq!(Sealed::parse(&header[..4]), Err(DecisionError::Damaged));
        assert_eq!(Sealed::parse(&[3, 0, 0, 0, 0]), Err(DecisionError::Version(3)));
        let sealed = Sealed::header(SlotId(1), true);
        assert_eq!(Sealed::parse(&sealed[..4]), Err(DecisionError::Damaged));
    }

    #[test]
    fn what_is_quarantined_is_not_shown() {
        let held = Quarantined {
            fragment: b"canary".to_vec(),
            undated: false,
            faults: Vec::new(),
            received_at: ObservedAt(5),
            says: Vec::new(),
        };
        let shown = format!("{held:?} {held:#?}");
        let bytes = format!("{:?}", held.fragment);
        assert!(!shown.contains("canary") && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
        assert!(shown.contains("6 bytes"), "{shown}");
    }

    #[test]
    fn kinds_keep_their_numbers() {
        for number in 0..=u8::MAX {
            if let Some(kind) = EntryKind::from_u8(number) {
                assert_eq!(kind as u8, number);
            }
        }
        assert_eq!(EntryKind::from_u8(4), Some(EntryKind::FragmentPut), "on disk for ever");
    }
}
