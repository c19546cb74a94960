//! A profile is a view (law 1): what its live fragments say together, every value with its evidence (law 8).
//!
//! [`unify`] is a pure function of the fragments and the configuration; neither the order of the fragments nor the time
//! shows in its result.

mod survivorship;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::config::{Survivorship, TenantConfig};
use crate::fragment::{AttributeValue, Fragment, ObservedAt, SourceRecord, Vocabulary};
use crate::identifier::{canonicalise, region};
use crate::ids::{AttributeId, NamespaceId};

pub use survivorship::Candidate;

/// One live fragment of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The fragment.
    pub fragment: &'a Fragment,
    /// The trust of its source, 0 to 1000.
    pub trust: u16,
}

/// Which fragment said so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Provenance {
    /// Its record.
    pub record: SourceRecord,
    /// When it was observed.
    pub observed_at: ObservedAt,
}

/// A value that a profile shows, or passed over.
#[derive(Clone, Debug, PartialEq)]
pub struct GoldenValue {
    /// Which attribute.
    pub attribute: AttributeId,
    /// The value.
    pub value: AttributeValue,
    /// The fragments that say so, the deciding one first; never empty.
    pub provenance: Vec<Provenance>,
    /// The rule that decided.
    pub rule: Survivorship,
}

/// An identifier of the party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoldenIdentifier {
    /// Its kind.
    pub namespace: NamespaceId,
    /// In canonical form, or as submitted where it has none.
    pub value: String,
    /// Whether `value` is canonical.
    pub well_formed: bool,
    /// The fragments that say so, the newest first; never empty.
    pub provenance: Vec<Provenance>,
}

/// What the live fragments of one cluster say together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Golden {
    /// What the profile shows, by attribute name; several of one name, best first.
    pub values: Vec<GoldenValue>,
    /// What survivorship passed over, by attribute name, then newest first.
    pub others: Vec<GoldenValue>,
    /// By namespace, then value.
    pub identifiers: Vec<GoldenIdentifier>,
    /// The traits of the newest fragment that has some, and which that is.
    pub traits: Option<(String, Provenance)>,
}

/// Unifies the live fragments of a cluster.
#[must_use]
pub fn unify(members: &[Member<'_>], config: &TenantConfig) -> Golden {
    // From here on the order of the members is their own: newest first, ties by content.
    let mut ordered: Vec<Member<'_>> = members.to_vec();
    ordered.sort_by_cached_key(|member| {
        let name = config.source(member.fragment.record.source).to_owned();
        let key = member.fragment.record.key.clone();
        (std::cmp::Reverse(member.fragment.observed_at), name, key)
    });
    let (values, others) = survivorship::pick(&ordered, config);
    Golden { values, others, identifiers: identifiers(&ordered, config), traits: traits(&ordered) }
}

impl Provenance {
    pub(crate) fn of(fragment: &Fragment) -> Self {
        Self { record: fragment.record.clone(), observed_at: fragment.observed_at }
    }
}

fn traits(ordered: &[Member<'_>]) -> Option<(String, Provenance)> {
    ordered
        .iter()
        .find_map(|member| member.fragment.traits.as_ref().map(|text| (text.clone(), Provenance::of(member.fragment))))
}

fn identifiers(ordered: &[Member<'_>], config: &TenantConfig) -> Vec<GoldenIdentifier> {
    let mut found: BTreeMap<(NamespaceId, bool, String), Vec<Provenance>> = BTreeMap::new();
    for member in ordered {
        let region = region::of(member.fragment, config);
        for claim in &member.fragment.identifiers {
            let canonical = config
                .namespace(claim.namespace)
                .and_then(|namespace| canonicalise(namespace.normaliser, &claim.raw, region).ok());
            let key = match canonical {
                Some(value) => (claim.namespace, true, value.into_string()),
                None => (claim.namespace, false, claim.raw.clone()),
            };
            let provenance = found.entry(key).or_default();
            let said = Provenance::of(member.fragment);
            if provenance.last() != Some(&said) {
                provenance.push(said);
            }
        }
    }
    let mut identifiers: Vec<GoldenIdentifier> = found
        .into_iter()
        .map(|((namespace, well_formed, value), provenance)| GoldenIdentifier {
            namespace,
            value,
            well_formed,
            provenance,
        })
        .collect();
    identifiers.sort_by(|a, b| {
        let key = |i: &GoldenIdentifier| (config.namespace(i.namespace).map(|n| n.name.clone()), i.value.clone());
        key(a).cmp(&key(b))
    });
    identifiers
}

impl Golden {
    /// A digest of what the profile shows, the same on every installation: names instead of ordinals, no ids.
    #[must_use]
    pub fn digest(&self, names: &dyn Vocabulary) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for value in &self.values {
            field(names.attribute(value.attribute).as_bytes());
            match &value.value {
                AttributeValue::Text(text) => field(text.as_bytes()),
                AttributeValue::Number(number) => field(&number.to_bits().to_le_bytes()),
                AttributeValue::Flag(flag) => field(&[u8::from(*flag)]),
            }
            for said in &value.provenance {
                field(names.source(said.record.source).as_bytes());
                field(said.record.key.as_bytes());
                field(&said.observed_at.0.to_le_bytes());
            }
        }
        for identifier in &self.identifiers {
            field(names.namespace(identifier.namespace).as_bytes());
            field(identifier.value.as_bytes());
        }
        if let Some((traits, _)) = &self.traits {
            field(traits.as_bytes());
        }
        hasher.finalize()
    }
}
