//! What is served for a cluster: golden values and identifiers, each with the fragment that says so.
//!
//! [`unify`] is a pure function of the live fragments and the configuration. The order in which the fragments come does
//! not matter (law 2), every golden value has a live source (law 8), and nothing is owned: a [`Golden`] borrows all it
//! shows from the fragments.

mod survivorship;

use std::cmp::Ordering;
use std::fmt;

use crate::config::{STEWARD_TRUST, Survivorship, TenantConfig};
use crate::fragment::{AttributeValue, Fragment, ObservedAt, PartyKind, SourceRecord};
use crate::identifier::{Canonical, canonicalise, region};
use crate::ids::{AttributeId, NamespaceId};

/// Which fragment says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance<'a> {
    /// Whose record.
    pub record: &'a SourceRecord,
    /// When the source saw it so.
    pub observed_at: ObservedAt,
}

/// A value that the profile shows, or one that lost against it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GoldenValue<'a> {
    /// The value, as the fragment has it.
    pub value: &'a AttributeValue,
    /// The fragment that it was taken from: among several that agree, the one that the rule ranks first.
    pub provenance: Provenance<'a>,
    /// Source records that give the same value, this one included.
    pub support: u32,
}

/// One attribute of a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct GoldenAttribute<'a> {
    /// Its name, in the tenant's table.
    pub name: AttributeId,
    /// The rule that picked.
    pub rule: Survivorship,
    /// What the profile shows, best first: one value; all distinct ones under [`Survivorship::AllValues`]; of a group,
    /// what its winning fragment has, which may be several values or, beside losers, none.
    pub values: Vec<GoldenValue<'a>>,
    /// Distinct values that lost, in the order in which they would have followed; empty unless asked for.
    pub losers: Vec<GoldenValue<'a>>,
}

/// A claim to an identifier, as one source record wrote it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The value as submitted.
    pub raw: &'a str,
    /// Who says so.
    pub provenance: Provenance<'a>,
}

impl fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claim(.., {:?})", self.provenance)
    }
}

/// One distinct identifier of a profile, with all who claim it.
#[derive(Clone, PartialEq, Eq)]
pub struct GoldenIdentifier<'a> {
    /// Its kind.
    pub namespace: NamespaceId,
    /// The canonical form; the raw value where it is malformed.
    pub value: String,
    /// Whether it is a value of its kind. A malformed one is kept as a fact and links nobody.
    pub well_formed: bool,
    /// The claims, newest first; never empty.
    pub claims: Vec<Claim<'a>>,
}

impl GoldenIdentifier<'_> {
    /// The value as [`canonicalise`] gave it; `None` where it is malformed.
    #[must_use]
    pub fn canonical(&self) -> Option<Canonical> {
        self.well_formed.then(|| Canonical::of_golden(self.value.clone()))
    }
}

impl fmt::Debug for GoldenIdentifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GoldenIdentifier({}, .., {:?})", self.namespace.0, self.claims)
    }
}

/// How much of the evidence is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Golden values only.
    #[default]
    Golden,
    /// The values that lost as well.
    WithLosers,
}

/// What the live fragments of one cluster say together. Personal data: `Debug` hides it.
#[derive(Clone, PartialEq)]
pub struct Golden<'a> {
    /// Person or organisation: what the newest fragment says.
    pub party: PartyKind,
    /// By name's ordinal.
    pub attributes: Vec<GoldenAttribute<'a>>,
    /// By namespace, then value.
    pub identifiers: Vec<GoldenIdentifier<'a>>,
    /// Free-form traits of the newest fragment that has any, as they came.
    pub traits: Option<(&'a str, Provenance<'a>)>,
    /// Source records that it was made of.
    pub records: usize,
    /// When the oldest of the live fragments was observed.
    pub first_observed_at: ObservedAt,
    /// When the newest of the live fragments was observed.
    pub last_observed_at: ObservedAt,
}

impl fmt::Debug for Golden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (attributes, identifiers) = (self.attributes.len(), self.identifiers.len());
        write!(f, "Golden({} records, {identifiers} identifiers, {attributes} attributes, ..)", self.records)
    }
}

/// A fragment with what ranks it.
#[derive(Clone, Copy)]
struct Member<'a> {
    fragment: &'a Fragment,
    source_name: &'a str,
    trust: u16,
}

impl<'a> Member<'a> {
    fn new(fragment: &'a Fragment, config: &'a TenantConfig) -> Self {
        let source = config.sources.get(usize::from(fragment.record.source.0));
        let (source_name, trust) = source.map_or(("", 0), |source| (source.name.as_str(), source.trust));
        Self { fragment, source_name, trust }
    }

    /// A steward says what is right: no source outranks that, whatever it sends and when.
    const fn corrects(&self) -> bool {
        self.trust == STEWARD_TRUST
    }

    fn provenance(&self) -> Provenance<'a> {
        Provenance { record: &self.fragment.record, observed_at: self.fragment.observed_at }
    }

    /// Newest first; then the more trusted; then by content, so that no order of arrival shows.
    fn newest_first(&self, other: &Self) -> Ordering {
        let (a, b) = (self.fragment, other.fragment);
        b.observed_at
            .cmp(&a.observed_at)
            .then_with(|| other.trust.cmp(&self.trust))
            .then_with(|| self.source_name.cmp(other.source_name))
            .then_with(|| a.record.cmp(&b.record))
    }
}

/// The profile of these live fragments, one per source record. Should a record come twice, its newest fragment counts.
/// `None` without a fragment: there is no profile of nobody.
#[must_use]
pub fn unify<'a>(fragments: &[&'a Fragment], config: &'a TenantConfig, detail: Detail) -> Option<Golden<'a>> {
    let mut members: Vec<Member<'a>> = fragments.iter().map(|fragment| Member::new(fragment, config)).collect();
    members.sort_by(Member::newest_first);
    keep_newest_of_each_record(&mut members);
    let (newest, oldest) = (members.first()?.fragment, members.last()?.fragment);
    Some(Golden {
        party: newest.party,
        attributes: survivorship::pick_all(&members, config, detail),
        identifiers: identifiers(&members, config),
        traits: members.iter().find_map(|member| Some((member.fragment.traits.as_deref()?, member.provenance()))),
        records: members.len(),
        first_observed_at: oldest.observed_at,
        last_observed_at: newest.observed_at,
    })
}

/// `members` is newest first. Two fragments of one record and one time can only be told apart by their content.
fn keep_newest_of_each_record(members: &mut Vec<Member<'_>>) {
    // Nearly always each record comes once, and a sorted look at the records says so without moving anything.
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|a, b| members[*a].fragment.record.cmp(&members[*b].fragment.record).then(a.cmp(b)));
    let mut keep = vec![true; members.len()];
    let mut doubled = false;
    for group in order.chunk_by(|a, b| members[*a].fragment.record == members[*b].fragment.record) {
        if group.len() > 1 {
            doubled = true;
            let newest = members[group[0]].fragment.observed_at;
            let best = group
                .iter()
                .filter(|at| members[**at].fragment.observed_at == newest)
                .max_by_key(|at| members[**at].fragment.encode())
                .copied();
            group.iter().filter(|at| Some(**at) != best).for_each(|at| keep[*at] = false);
        }
    }
    if doubled {
        let mut at = 0;
        members.retain(|_| {
            at += 1;
            keep[at - 1]
        });
    }
}

fn identifiers<'a>(members: &[Member<'a>], config: &TenantConfig) -> Vec<GoldenIdentifier<'a>> {
    let mut claims: Vec<(NamespaceId, String, bool, usize, Claim<'a>)> = Vec::new();
    let regions: Vec<Option<&str>> = members.iter().map(|member| region::of(member.fragment, config)).collect();
    for (rank, member) in members.iter().enumerate() {
        let region = regions[rank];
        for claim in &member.fragment.identifiers {
            // Records of one party mostly write a value alike, and reading a telephone number takes long.
            let alike = |(known, _, _, rank, earlier): &&(NamespaceId, String, bool, usize, Claim<'a>)| {
                *known == claim.namespace && earlier.raw == claim.raw && regions[*rank] == region
            };
            let (value, well_formed) = match claims.iter().find(alike) {
                Some((_, value, well_formed, ..)) => (value.clone(), *well_formed),
                None => {
                    let canonical = config
                        .namespace(claim.namespace)
                        .and_then(|namespace| canonicalise(namespace.normaliser, &claim.raw, region).ok());
                    let well_formed = canonical.is_some();
                    (canonical.map_or_else(|| claim.raw.clone(), Canonical::into_string), well_formed)
                }
            };
            let claim =
                (claim.namespace, value, well_formed, rank, Claim { raw: &claim.raw, provenance: member.provenance() });
            claims.push(claim);
        }
    }
    // Malformed values behind well-formed ones; the newest claim first.
    claims.sort_by(|a, b| (a.0, !a.2, &a.1, a.3).cmp(&(b.0, !b.2, &b.1, b.3)).then_with(|| a.4.raw.cmp(b.4.raw)));
    let mut golden: Vec<GoldenIdentifier<'a>> = Vec::new();
    for (namespace, value, well_formed, _, claim) in claims {
        match golden.last_mut() {
            Some(last) if last.namespace == namespace && last.well_formed == well_formed && last.value == value => {
                last.claims.push(claim);
            }
            _ => golden.push(GoldenIdentifier { namespace, value, well_formed, claims: vec![claim] }),
        }
    }
    golden
}

#[cfg(test)]
mod tests;
