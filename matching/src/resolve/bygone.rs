//! What retracted records were part of, and what they said: an erasure takes these along.
//!
//! Nothing here walks the records: which profile a retracted record was in last and which values it held are kept by
//! lookup ([`crate::index::bygone`]), so a scope costs what the person has.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use onefold_core::decision::LateVersion;
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, NamespaceId, Place, ProfileOrdinal, SlotId};
use onefold_core::namespace::NamespaceClass;

use crate::index::profiles::Kind;
use crate::index::records::flag;
use crate::prepared::LinkValue;
use crate::resolve::diversity::Behind;
use crate::resolve::{Engine, RecordView};

/// How a value of records that are to be erased stands with everybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBeyond {
    /// A live record that is not to be erased holds it too, or a retracted one held it last.
    pub shared: bool,
    /// So many parties hold it that it names nobody.
    pub generic: bool,
}

/// A retracted record that an identifier leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retracted {
    /// The record.
    pub view: RecordView,
    /// The namespace of the identifier.
    pub by: NamespaceId,
}

/// The values of unique namespaces that a party is known by.
type Uniques = BTreeMap<NamespaceId, BTreeSet<Digest128>>;

impl Engine {
    /// Retracted records that were last in one of these profiles.
    #[must_use]
    pub fn retracted_from(&self, profiles: &[ProfileOrdinal]) -> Vec<RecordView> {
        let mut found: BTreeSet<u32> = BTreeSet::new();
        for profile in profiles {
            for end in self.profiles.ends(&self.records.warm, &self.lists, profile.0) {
                found.extend(self.profiles.left(end));
            }
            // Of one that ended: where its trail was told to end lie those, too, that are not known to have gone on.
            let told = self.profiles.end_of_merges(profile.0);
            let was_in = |record: &u32| told == profile.0 || self.records.warm[*record].profile == profile.0;
            found.extend(self.profiles.left(told).filter(was_in));
        }
        found.into_iter().map(|record| self.view(record)).collect()
    }

    /// The values that a retracted record held last, sorted; none of a live one.
    #[must_use]
    pub fn last_links_of(&self, record: Digest128) -> Vec<LinkValue> {
        self.records.find(record).map(|record| self.bygone.values_of(record).collect()).unwrap_or_default()
    }

    /// Where the last fragment of a retracted record lies that was live; `None` of a live one.
    #[must_use]
    pub fn last_place_of(&self, record: Digest128) -> Option<Place> {
        self.bygone.place_of(self.records.find(record)?)
    }

    /// Retracted records from this ordinal on, by ordinal, and where the last fragment of each lies that was live.
    pub fn retracted_since(&self, ordinal: u32) -> impl Iterator<Item = (u32, Digest128, Place)> + '_ {
        let known = self.bygone.places_from(ordinal);
        known.map(|(record, place)| (record, self.records.cold[record].digest, place))
    }

    /// Whether an identifier alone leads to the retracted records that held it last: where [`Engine::retracted_with`] would find them.
    #[must_use]
    pub fn leads_to_retracted(&self, value: LinkValue) -> bool {
        self.last_holders(value, &HashSet::new(), &Uniques::new()).is_some_and(|holders| !holders.is_empty())
    }

    /// The live profiles that an identifier led to when its last holders were retracted: who asks by an address that only a
    /// record told which its source took back is the person whose profile lives on without it. None where anybody holds the
    /// identifier today, where it names nobody, where the profile gave records away since, so that it is not known with whom the
    /// record was, where nobody is left in it who was with the record and has not changed hands since, and where the holders are
    /// provably another party than it. Several, where it led to several.
    #[must_use]
    pub fn led_to(&self, value: LinkValue) -> BTreeSet<ProfileOrdinal> {
        let most = self.rules.value_records_max as usize;
        let holders: Vec<u32> = self.bygone.holders(value).take(most + 1).collect();
        let today = self.held_today(value, &HashSet::new());
        let supporting = self.rules.class(value.namespace.0) == NamespaceClass::Supporting;
        if supporting || holders.len() > most || today.shared || today.generic {
            return BTreeSet::new();
        }
        let mut led_to = BTreeSet::new();
        for holder in &holders {
            let (warm, beside) = (&self.records.warm[*holder], self.bygone.beside(*holder));
            let ends = self.profiles.ends(&self.records.warm, &self.lists, warm.profile);
            let live = |end: &&u32| self.profiles.column[**end].kind == Kind::Live;
            if let (false, 1, Some(end)) = (warm.has(flag::PARTED), ends.len(), ends.iter().find(live))
                && self.profiles.has_one_of(&self.records.warm, *end, beside)
            {
                led_to.insert(ProfileOrdinal(*end));
            }
        }
        if led_to.len() == 1 {
            let members = led_to.iter().flat_map(|profile| self.member_indexes(*profile));
            let known = self.uniques_among(members);
            if !self.are_one_party(&holders, &known) {
                return BTreeSet::new();
            }
        }
        led_to
    }

    /// When the last version of a retracted record was observed, and the digest of its facts; `None` of a live one, and where
    /// only its retraction came.
    #[must_use]
    pub fn last_version_of(&self, record: Digest128) -> Option<(ObservedAt, Digest128)> {
        let (at, facts) = self.bygone.version_of(self.records.find(record)?)?;
        Some((ObservedAt(at), facts))
    }

    /// A fragment came after its record was retracted, though it was observed before. Where it is the last that was, it is what
    /// the record said last, as if they had come in their order. `slot` is the key of whatever was written of it. Answers
    /// whether it is.
    pub fn came_late(&mut self, late: &LateVersion, slot: SlotId) -> bool {
        let Some(record) = self.records.find(late.record).filter(|record| !self.records.warm[*record].has(flag::LIVE))
        else {
            return false;
        };
        let version = (late.observed_at.0, late.facts);
        if version.0 > self.records.cold[record].observed_at || self.bygone.version_of(record) >= Some(version) {
            return false;
        }
        let said = late.values.iter().map(|(namespace, digest)| LinkValue { namespace: *namespace, digest: *digest });
        self.bygone.set(record, version, said);
        // As a fragment does that is taken in: where the key of before cannot be read, this was sealed under another, and an
        // erasure must find it.
        self.records.slots[record] = slot.0;
        true
    }

    /// Retracted records that identifiers lead to, of the records in `scope`, named by ordinals, or of `seeds`, and on
    /// from one to the next. An identifier leads to those who held it last as it would have joined them: not where
    /// somebody else holds it today, nor where it is generic, nor where those who held it are provably different parties,
    /// or another one than the scope. What is answered depends on no order.
    #[must_use]
    pub fn retracted_with(&self, scope: &HashSet<u32>, seeds: impl IntoIterator<Item = LinkValue>) -> Vec<Retracted> {
        let mut open: BTreeSet<LinkValue> = seeds.into_iter().collect();
        open.extend(scope.iter().flat_map(|record| self.said(*record)));
        let known = self.uniques_among(scope.iter().copied());
        let mut seen: HashSet<LinkValue> = HashSet::new();
        let mut found: BTreeMap<u32, NamespaceId> = BTreeMap::new();
        while let Some(value) = open.pop_first() {
            if !seen.insert(value) {
                continue;
            }
            let Some(holders) = self.last_holders(value, scope, &known) else { continue };
            for holder in holders.into_iter().filter(|holder| !scope.contains(holder)) {
                let by = found.entry(holder).or_insert(value.namespace);
                *by = value.namespace.min(*by);
                open.extend(self.bygone.values_of(holder));
            }
        }
        found.into_iter().map(|(record, by)| Retracted { view: self.view(record), by }).collect()
    }

    /// The retracted records that held a value last, where it leads to them from a scope that is known by these values.
    fn last_holders(&self, value: LinkValue, scope: &HashSet<u32>, known: &Uniques) -> Option<Vec<u32>> {
        if self.rules.class(value.namespace.0) == NamespaceClass::Supporting {
            return None;
        }
        let most = self.rules.value_records_max as usize;
        let holders: Vec<u32> = self.bygone.holders(value).take(most + 1).collect();
        let today = self.held_today(value, scope);
        let leads = holders.len() <= most && !today.shared && !today.generic && self.are_one_party(&holders, known);
        leads.then_some(holders)
    }

    /// How a value stands with records that are not among these, which are named by ordinals.
    #[must_use]
    pub fn held_beyond(&self, value: LinkValue, records: &HashSet<u32>) -> HeldBeyond {
        let HeldBeyond { shared, generic } = self.held_today(value, records);
        HeldBeyond { shared: shared || self.bygone.holders(value).any(|holder| !records.contains(&holder)), generic }
    }

    /// The same, of live records alone.
    fn held_today(&self, value: LinkValue, records: &HashSet<u32>) -> HeldBeyond {
        let Some(index) = self.value_index(value) else { return HeldBeyond { shared: false, generic: false } };
        let held = &self.values.column[index];
        let beyond = self.holders(index).iter().any(|holder| !records.contains(holder));
        let counted = held.holders.len as usize > records.len();
        HeldBeyond { shared: beyond || counted, generic: matches!(self.behind(index), Behind::Generic(_)) }
    }

    /// What a record says, or said last.
    fn said(&self, record: u32) -> impl Iterator<Item = LinkValue> + '_ {
        let says = self.values_of(record).iter().map(|value| self.values.column[*value].link_value());
        says.chain(self.bygone.values_of(record))
    }

    fn uniques_among(&self, records: impl IntoIterator<Item = u32>) -> Uniques {
        let mut uniques = Uniques::new();
        for value in records.into_iter().flat_map(|record| self.said(record)) {
            if self.rules.is_unique(value.namespace.0) {
                uniques.entry(value.namespace).or_default().insert(value.digest);
            }
        }
        uniques
    }

    /// LAW 5: whether no two of these, nor one of these and the party known by `known`, are provably different.
    fn are_one_party(&self, holders: &[u32], known: &Uniques) -> bool {
        self.uniques_among(holders.iter().copied()).into_iter().all(|(namespace, values)| match known.get(&namespace) {
            Some(known) => values.is_subset(known),
            None => values.len() <= 1,
        })
    }
}
