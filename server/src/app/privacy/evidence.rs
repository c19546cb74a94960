//! Why each identifier in scope is this person's: which records in scope hold it, or held it once.

use std::collections::{BTreeMap, HashSet};

use onefold_core::erasure::{ErasurePlan, ScopedValue, Subject};
use onefold_core::ids::{Digest128, NamespaceId};

use crate::app::tenant::State;

/// The most identifiers that are told one by one; a person has a few dozen.
pub const IDENTIFIERS_MAX: usize = 1_024;

/// What becomes of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is this person's alone, and must not come back.
    Suppressed,
    /// Others hold it too, or held it: it goes with the records and stops nobody.
    HeldByOthers,
    /// So many parties hold it that it names nobody; likewise.
    NamesNobody,
}

impl Fate {
    fn of(value: &ScopedValue) -> Self {
        match value {
            value if value.is_suppressed() => Self::Suppressed,
            value if value.generic => Self::NamesNobody,
            _ => Self::HeldByOthers,
        }
    }
}

/// An identifier in scope, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentifierEvidence {
    /// Of which namespace.
    pub namespace: NamespaceId,
    /// What becomes of it.
    pub fate: Fate,
    /// The records of the plan that hold it, by their place there; of retracted ones what they held last.
    pub held_by: Vec<u32>,
    /// Those that held it once, and hold it no more.
    pub once_held_by: Vec<u32>,
    /// Whether the request names it.
    pub named: bool,
}

/// The evidence for every identifier that a plan suppresses or leaves to others, in the plan's order.
pub fn of_identifiers(state: &State, plan: &ErasurePlan, subject: &Subject) -> Vec<IdentifierEvidence> {
    let mut holders: BTreeMap<(NamespaceId, Digest128), (Vec<u32>, Vec<u32>)> = BTreeMap::new();
    for (at, record) in (0..).zip(&plan.records) {
        let now = state.engine.links_of(record.digest).into_iter();
        let held: HashSet<_> =
            now.chain(state.engine.last_links_of(record.digest)).map(|value| (value.namespace, value.digest)).collect();
        let once = state.privacy.former.of(record.digest).iter().map(|value| (value.namespace, value.digest));
        let once: HashSet<_> = once.filter(|value| !held.contains(value)).collect();
        held.into_iter().for_each(|value| holders.entry(value).or_default().0.push(at));
        once.into_iter().for_each(|value| holders.entry(value).or_default().1.push(at));
    }
    let values = plan.suppressed.iter().chain(&plan.shared).take(IDENTIFIERS_MAX);
    let evidence = values.map(|value| {
        let of = (value.namespace, value.digest);
        let (held_by, once_held_by) = holders.remove(&of).unwrap_or_default();
        let named = subject.identifiers.contains(&of);
        IdentifierEvidence { namespace: value.namespace, fate: Fate::of(value), held_by, once_held_by, named }
    });
    evidence.collect()
}
