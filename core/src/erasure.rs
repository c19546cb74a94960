//! LAW 7: what an erasure touches, in which state a request is and by when it must be answered, and what is written down
//! so that it can be proven. Pure: the preview and the execution are one function, [`ErasurePlan::of`].
//!
//! Nothing here holds a value of a person: subjects are ordinals and keyed digests. The keyed digests in suppressions are
//! personal data in their own right, and are kept for one purpose: to stop what was erased from coming back.

mod carried;
mod forwarded;
mod receipt;
mod request;

pub use carried::{Carried, Did};
pub use forwarded::{
    CALLBACK_BYTES_MAX, CALLBACKS_MAX, CallbackEnded, Forward, Forwarded, ForwardedStatus, StatusChange, has_results,
};
pub use receipt::{ConsumerLine, KeptLine, LineCount, LogHead, Receipt, ReceiptError, SuppressionLine, words_of};
pub use request::{
    Approval, Clock, Confirmation, Extension, Figures, PrivacyError, PrivacyPolicy, PrivacyRequest, Regulation,
    RequestKind, RequestState, Subject, Verification, is_token, later_by_months, signed,
};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::decision::{self, DecisionError};
use crate::fragment::{ObservedAt, PartyKind};
use crate::ids::{Digest128, NamespaceId, ProfileOrdinal, Sequence, SlotId, SourceId};
use crate::reads::Reader;

/// Why a source record is in scope: the evidence that it is this person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Evidence {
    /// The request names it.
    Named,
    /// It is a member of a profile that the request leads to.
    Member(ProfileOrdinal),
    /// It was taken back by its source, and belonged to such a profile last.
    RetractedFrom(ProfileOrdinal),
    /// It was taken back by its source, and held an identifier of this namespace that is this person's.
    Shares(NamespaceId),
    /// It corrects records in scope, and nobody else is left with it.
    Corrects,
}

/// A source record in scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScopedRecord {
    /// Its ordinal in the order of first arrival.
    pub ordinal: u32,
    /// Its keyed digest.
    pub digest: Digest128,
    /// Who sent it; of no meaning where only a retraction was ever seen.
    pub source: SourceId,
    /// The key of its content.
    pub slot: Option<SlotId>,
    /// Why it is in scope.
    pub evidence: Evidence,
}

/// A value that records in scope hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScopedValue {
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its keyed digest.
    pub digest: Digest128,
    /// Whether the namespace links parties, so that the value can name one.
    pub identifying: bool,
    /// Records outside the scope hold it too, or held it before they were retracted: a household's telephone, a shared
    /// mailbox.
    pub shared: bool,
    /// So many parties hold it that it names nobody.
    pub generic: bool,
}

impl ScopedValue {
    /// Whether it is this person's alone, so that it must not come back.
    #[must_use]
    pub const fn is_suppressed(&self) -> bool {
        self.identifying && !self.shared && !self.generic
    }
}

/// A consent statement that stands at something in scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScopedStatement {
    /// Its id.
    pub id: Sequence,
    /// The key of its words.
    pub slot: SlotId,
    /// It stands nowhere else.
    pub wholly: bool,
}

/// What calls told of a source record as one kind of party. A source may know a person and an account by one key: what was
/// told of the one says nothing of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScopedTold {
    /// As a person, roles and stages; as an organisation, the account and its stages.
    pub party: PartyKind,
    /// Keyed digest of the record.
    pub record: Digest128,
    /// Who keeps it, where no fragment in scope says so; `None` where that is not known without reading its words.
    pub source: Option<SourceId>,
    /// No fragment in scope is of this record: calls alone tell of it.
    pub alone: bool,
}

/// Everything that was found of a subject, before it is decided what becomes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Source records.
    pub records: Vec<ScopedRecord>,
    /// Values that they hold.
    pub values: Vec<ScopedValue>,
    /// Quarantined fragments of these records, or with a value that is theirs alone, and the keys of these.
    pub quarantined: Vec<(Sequence, SlotId)>,
    /// The records of such fragments that are this person's and that nothing but quarantine knows.
    pub held_records: Vec<Digest128>,
    /// Consent statements.
    pub statements: Vec<ScopedStatement>,
    /// What calls told of these records.
    pub told_of: Vec<ScopedTold>,
    /// Keys of that, and of judgements about them.
    pub told: Vec<SlotId>,
    /// The same identifiers as another kind of party would hold them, where something was said at both and nobody holds
    /// the other: they are suppressed along.
    pub siblings: Vec<(NamespaceId, Digest128)>,
    /// Older versions that are sealed under keys of their own, of these records and of others.
    pub former: Vec<FormerKey>,
    /// Profiles that lose records.
    pub profiles: Vec<ProfileOrdinal>,
}

/// What an erasure does: the same whether it is shown or carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasurePlan {
    /// Source records that are forgotten, by ordinal.
    pub records: Vec<ScopedRecord>,
    /// Values that are suppressed from now on: this person's alone.
    pub suppressed: Vec<ScopedValue>,
    /// Other readings of the same identifiers, suppressed along.
    pub siblings: Vec<(NamespaceId, Digest128)>,
    /// Values that others hold too, or that name nobody: they go with the records, and are not suppressed.
    pub shared: Vec<ScopedValue>,
    /// Values of namespaces that link nobody: they go with the records.
    pub supporting: usize,
    /// Quarantined fragments that are let go.
    pub quarantined: Vec<Sequence>,
    /// Records that only these told of: they are suppressed as those are that were taken in.
    pub held_records: Vec<Digest128>,
    /// Statements that go wholly.
    pub statements: Vec<Sequence>,
    /// Statements that stand at others too, and stay there.
    pub statements_kept: Vec<Sequence>,
    /// Older versions that go: all of these records, and of records that others have today those that held an identifier that
    /// is this person's alone.
    pub former: Vec<FormerKey>,
    /// Keys that are destroyed; each once.
    pub slots: Vec<SlotId>,
    /// What calls told, as which kind of party: it goes, and what they told of the other kind stays.
    pub told_of: Vec<ScopedTold>,
    /// Those of accounts, roles, stages and judgements among the keys.
    pub told: usize,
    /// Profiles that lose records.
    pub profiles: Vec<ProfileOrdinal>,
}

impl ErasurePlan {
    /// What becomes of what was found. Neither the order nor repetitions in what was found show.
    #[must_use]
    pub fn of(found: Found) -> Self {
        let Found {
            records,
            values,
            quarantined,
            mut held_records,
            statements,
            mut told_of,
            told,
            mut siblings,
            mut former,
            mut profiles,
        } = found;
        // Of two reasons for one record the stronger, which sorts first, counts.
        let mut by_ordinal: BTreeMap<u32, ScopedRecord> = BTreeMap::new();
        for record in records {
            by_ordinal
                .entry(record.ordinal)
                .and_modify(|known| known.evidence = known.evidence.min(record.evidence))
                .or_insert(record);
        }
        let records: Vec<ScopedRecord> = by_ordinal.into_values().collect();
        let values: BTreeSet<ScopedValue> = values.into_iter().collect();
        let suppressed: Vec<ScopedValue> = values.iter().filter(|value| value.is_suppressed()).copied().collect();
        let shared: Vec<ScopedValue> =
            values.iter().filter(|value| value.identifying && !value.is_suppressed()).copied().collect();
        let supporting = values.len() - suppressed.len() - shared.len();
        let quarantined: BTreeMap<Sequence, SlotId> = quarantined.into_iter().collect();
        let statements: BTreeSet<ScopedStatement> = statements.into_iter().collect();
        let told: BTreeSet<SlotId> = told.into_iter().collect();
        let mut slots: BTreeSet<SlotId> = records.iter().filter_map(|record| record.slot).collect();
        slots.extend(quarantined.values());
        slots.extend(statements.iter().filter(|said| said.wholly).map(|said| said.slot));
        slots.extend(&told);
        held_records.sort_unstable();
        held_records.dedup();
        slots.extend(former.iter().map(|key| key.slot));
        former.sort_unstable();
        former.dedup();
        siblings.sort_unstable();
        siblings.dedup();
        told_of.sort_unstable();
        told_of.dedup();
        profiles.sort_unstable();
        profiles.dedup();
        let ids = |wholly: bool| statements.iter().filter(|said| said.wholly == wholly).map(|said| said.id).collect();
        Self {
            records,
            suppressed,
            siblings,
            shared,
            supporting,
            quarantined: quarantined.into_keys().collect(),
            held_records,
            statements: ids(true),
            statements_kept: ids(false),
            former,
            slots: slots.into_iter().collect(),
            told_of,
            told: told.len(),
            profiles,
        }
    }

    /// Records that are not in scope, and lose older versions.
    #[must_use]
    pub fn others_of_former(&self) -> usize {
        let of_others = |key: &&FormerKey| !self.records.iter().any(|record| record.digest == key.record);
        self.former.iter().filter(of_others).map(|key| key.record).collect::<BTreeSet<Digest128>>().len()
    }

    /// Digest of all that the plan touches: an approval holds for one scope, and a changed scope voids it.
    #[must_use]
    pub fn scope(&self) -> Digest128 {
        let mut hasher = blake3::Hasher::new_derive_key("onefold 2026 scope of an erasure");
        let mut part = |bytes: Vec<u8>| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(&bytes);
        };
        let ordinals: Vec<u32> = self.records.iter().map(|record| record.ordinal).collect();
        part(postcard::to_stdvec(&ordinals).unwrap_or_default());
        part(postcard::to_stdvec(&(&self.suppressed, &self.siblings)).unwrap_or_default());
        part(postcard::to_stdvec(&self.shared).unwrap_or_default());
        part(postcard::to_stdvec(&(&self.quarantined, &self.statements, &self.statements_kept)).unwrap_or_default());
        part(postcard::to_stdvec(&self.slots).unwrap_or_default());
        // An approval of before this was told of stays good where there are none.
        if !self.held_records.is_empty() {
            part(postcard::to_stdvec(&self.held_records).unwrap_or_default());
        }
        Digest128::of(&hasher.finalize())
    }

    /// What calls alone told of: there is no fragment of it in scope.
    pub fn told_alone(&self) -> impl Iterator<Item = &ScopedTold> {
        self.told_of.iter().filter(|told| told.alone)
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.quarantined.is_empty() && self.statements.is_empty() && self.told_of.is_empty()
    }
}

/// What must not come back, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// The namespace of the identifier; none: it is a source record.
    pub namespace: Option<NamespaceId>,
    /// The request that it comes from; its ground is that of the request.
    pub request: Sequence,
    /// Since when.
    pub created_at: ObservedAt,
    /// When somebody is to look whether it is needed still.
    pub review_at: ObservedAt,
}

/// One source record of an erasure, as the journal and the erasure ledger keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedRecord {
    /// Its ordinal.
    pub ordinal: u32,
    /// Its keyed digest, which is suppressed.
    pub digest: Digest128,
    /// The key of its content, which is destroyed.
    pub slot: Option<SlotId>,
}

/// Older versions of a record, sealed under a key of their own: its source gave it to somebody else since, or took an
/// identifier out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FormerKey {
    /// Keyed digest of the record.
    pub record: Digest128,
    /// The key of these versions.
    pub slot: SlotId,
}

/// Identifiers that a record held once and holds no more, written down when the fragments that said so are dropped. Sealed
/// under the record's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerKept {
    /// Keyed digest of the record.
    pub record: Digest128,
    /// The identifiers, by namespace and keyed digest, in the order in which they went.
    pub values: Vec<(NamespaceId, Digest128)>,
}

/// Records were erased: the decision, durable before any key is destroyed. Carrying it out twice is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// The request that asked for it.
    pub request: Sequence,
    /// When.
    pub at: ObservedAt,
    /// When the suppressions are to be looked at again.
    pub review_at: ObservedAt,
    /// The records.
    pub records: Vec<ErasedRecord>,
    /// The identifiers that are suppressed, by namespace and keyed digest.
    pub suppressed: Vec<(NamespaceId, Digest128)>,
    /// Quarantined fragments that are let go.
    pub quarantined: Vec<Sequence>,
    /// All keys to destroy.
    pub slots: Vec<SlotId>,
    /// Whose older versions had which of these keys. Not in what was written before there were such keys.
    pub former: Vec<FormerKey>,
}

impl Erased {
    /// Reads what the journal or the erasure ledger keeps.
    ///
    /// # Errors
    /// [`DecisionError`] for what is none.
    pub fn read(payload: &[u8]) -> Result<Self, DecisionError> {
        decision::decode(payload).or_else(|_| decision::decode(&[payload, &[0]].concat()))
    }
}

/// Identifiers or source records may come back: an explicit act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readmitted {
    /// The keyed digests.
    pub digests: Vec<Digest128>,
    /// Who decided it.
    pub by: String,
    /// On what ground.
    pub ground: String,
    /// When.
    pub at: ObservedAt,
}

/// Whose call a decision was that stands in front of it in the log: a readmission, a change of the privacy policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedBy {
    /// Who called.
    pub caller: Reader,
}

/// What was sent again and stopped at the door, by request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResendsStopped {
    /// Each with the number of stops since the last such entry.
    pub counts: Vec<(Sequence, u32)>,
}

/// What is held was handed over: to whom, and which text. Holds no value of the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The request.
    pub request: Sequence,
    /// To whom it went: a token, no personal data.
    pub to: String,
    /// BLAKE3 of the text.
    pub digest: [u8; 32],
    /// Its length in bytes.
    pub bytes: u64,
    /// When.
    pub at: ObservedAt,
}

/// A receipt as it was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptKept {
    /// The request.
    pub request: Sequence,
    /// The receipt's text.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(number: u8) -> Digest128 {
        Digest128([number; 16])
    }

    fn record(ordinal: u32, evidence: Evidence) -> ScopedRecord {
        let (source, slot) = (SourceId(0), Some(SlotId(ordinal)));
        ScopedRecord { ordinal, digest: digest(ordinal as u8), source, slot, evidence }
    }

    fn value(number: u8, identifying: bool, shared: bool, generic: bool) -> ScopedValue {
        ScopedValue { namespace: NamespaceId(1), digest: digest(number), identifying, shared, generic }
    }

    #[test]
    fn what_others_hold_is_not_suppressed() {
        let table = [
            ("this person's alone", value(1, true, false, false), true),
            ("a household's telephone", value(2, true, true, false), false),
            ("a mailbox of thousands", value(3, true, true, true), false),
            ("generic, with no other live holder", value(4, true, false, true), false),
            ("a postcode", value(5, false, false, false), false),
        ];
        for (case, value, suppressed) in table {
            let plan = ErasurePlan::of(Found { values: vec![value], ..Found::default() });
            assert_eq!(plan.suppressed.len(), usize::from(suppressed), "{case}");
            assert_eq!(plan.suppressed.len() + plan.shared.len() + plan.supporting, 1, "{case}");
        }
    }

    #[test]
    fn words_that_stand_at_others_too_keep_their_key() {
        let said = |id: u64, wholly| ScopedStatement { id: Sequence(id), slot: SlotId(id as u32), wholly };
        let plan = ErasurePlan::of(Found { statements: vec![said(1, true), said(2, false)], ..Found::default() });
        assert_eq!((plan.statements, plan.statements_kept), (vec![Sequence(1)], vec![Sequence(2)]));
        assert_eq!(plan.slots, [SlotId(1)]);
    }

    proptest! {
        /// The plan is a pure function of the set of what was found; the scope's digest tells any change of it.
        #[test]
        fn neither_order_nor_repetition_shows_and_every_change_does(
            (found, shuffled) in proptest::collection::vec((0..20u32, 0..4u8), 1..20)
                .prop_flat_map(|found| (Just(found.clone()), Just(found).prop_shuffle())),
            again in any::<prop::sample::Index>(),
            more in 20..30u32,
        ) {
            let plan = |found: &[(u32, u8)]| {
                let of = |(ordinal, kind): &(u32, u8)| record(*ordinal, match kind {
                    0 => Evidence::Named,
                    1 => Evidence::Member(ProfileOrdinal(7)),
                    2 => Evidence::RetractedFrom(ProfileOrdinal(7)),
                    _ => Evidence::Shares(NamespaceId(1)),
                });
                let values = found.iter().map(|(n, kind)| value(*n as u8, true, *kind == 0, false)).collect();
                ErasurePlan::of(Found { records: found.iter().map(of).collect(), values, ..Found::default() })
            };
            let one = plan(&found);
            let mut twice = shuffled;
            twice.push(found[again.index(found.len())]);
            prop_assert_eq!(&plan(&twice), &one);
            let mut other = found.clone();
            other.push((more, 0));
            prop_assert_ne!(plan(&other).scope(), one.scope());
            prop_assert_eq!(one.slots.len(), one.records.len());
        }
    }
}
