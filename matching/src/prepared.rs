//! A fragment in comparable form: what the index keeps of it. Digests and small numbers, no text.

use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::ids::{Digest128, NamespaceId, SourceId};

use crate::pair::Features;

/// An identifier that may link: well formed and not blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkValue {
    /// Its kind.
    pub namespace: NamespaceId,
    /// Keyed digest of (namespace, party kind, canonical value): persons and organisations never share one.
    pub digest: Digest128,
}

/// What resolution needs of one fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Keyed digest of (source, key): which record.
    pub record: Digest128,
    /// Unkeyed digest of the facts, source and key included; the same on every installation, so ties break by it.
    pub facts: Digest128,
    /// The sending system.
    pub source: SourceId,
    /// When it was observed.
    pub observed_at: ObservedAt,
    /// Person or organisation.
    pub party: PartyKind,
    /// Sorted, no value twice.
    pub links: Vec<LinkValue>,
    /// The same identifiers in plain letters, where they came in other forms of these. They link nobody; what is suppressed is
    /// suppressed in either form.
    pub plain: Vec<LinkValue>,
    /// Digest of the name in a form that survives typing habits (case, order, accents, initials); `None` without a name.
    /// Distinct ones behind one value make it generic.
    pub name: Option<u64>,
    /// What a match model compares; `None` when the fragment was prepared without one.
    pub features: Option<Features>,
    /// A correction by a steward ([`onefold_core::config::STEWARD_SOURCE`]): it is of whom it was made for, however its values
    /// differ from theirs. It is found by them, and compared with nobody.
    pub corrects: bool,
}
