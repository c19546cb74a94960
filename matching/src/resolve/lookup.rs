//! Questions about the settled state.

use std::collections::BTreeSet;

use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::ids::{Digest128, NamespaceId, Place, ProfileOrdinal, SlotId, SourceId};
use smallvec::SmallVec;

use crate::index::NONE;
use crate::index::profiles::Kind;
use crate::index::records::{FORGOTTEN, flag};
use crate::index::values::flag as value_flag;
use crate::prepared::LinkValue;
use crate::resolve::Engine;
use crate::resolve::diversity::Behind;

/// Profiles that one lookup by value names at most.
pub const VALUE_PROFILES_MAX: usize = 16;

/// A source record as the engine knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView {
    /// Keyed digest of (source, key).
    pub digest: Digest128,
    /// Unkeyed digest of the live facts; zero for a tombstone.
    pub facts: Digest128,
    /// Where the last word on it lies in the journal: a fragment, or for a tombstone the retraction.
    pub place: Place,
    /// The slot of its last fragment's key; `None` when only a retraction was ever seen.
    pub slot: Option<SlotId>,
    /// The sending system; of no meaning when only a retraction was ever seen.
    pub source: SourceId,
    /// Person or organisation, of a tombstone what its last live fragment was of; of no meaning when there was none.
    pub party: PartyKind,
    /// When it was observed, or retracted.
    pub observed_at: ObservedAt,
    /// The profile that holds it; `None` before it is settled and for a tombstone.
    pub profile: Option<ProfileOrdinal>,
    /// Whether a fragment is live; otherwise this is a tombstone.
    pub live: bool,
}

/// Why a value links nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenericReason {
    /// More records hold it than the limit.
    Crowded {
        /// Live holders.
        records: u32,
        /// The limit.
        limit: u32,
    },
    /// More distinct names stand behind it than the limit.
    Names {
        /// Distinct names.
        names: u32,
        /// The limit.
        limit: u32,
    },
    /// More distinct values of a unique namespace stand behind it than the limit.
    Uniques {
        /// The unique namespace.
        namespace: NamespaceId,
        /// Distinct values of it.
        values: u32,
        /// The limit.
        limit: u32,
    },
}

/// What a value leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueStanding {
    /// No live record holds it.
    Unknown,
    /// Too many parties stand behind it: it names nobody.
    Generic(GenericReason),
    /// The profiles whose records hold it, oldest first. More than one when it is contested or only supporting.
    Profiles {
        /// At most [`VALUE_PROFILES_MAX`] of them.
        profiles: SmallVec<[ProfileOrdinal; 2]>,
        /// There are more.
        more: bool,
    },
}

/// What became of a profile id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has members.
    Live,
    /// It redirects for ever.
    MergedInto(ProfileOrdinal),
    /// Its records went several ways.
    SplitInto(Vec<ProfileOrdinal>),
    /// All its records were retracted.
    Emptied,
    /// All its records were erased.
    Erased,
    /// It was never opened.
    Unknown,
}

/// Figures of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Source records ever seen, tombstones included, forgotten ones not.
    pub records: u32,
    /// Source records with a live fragment.
    pub live_records: u32,
    /// Live profiles.
    pub profiles: u32,
    /// Profiles ever opened.
    pub profiles_opened: u32,
    /// Values that a live record holds, or held until arrivals that are not settled yet.
    pub values: u32,
    /// Those that link nobody because too many parties stand behind them.
    pub generic_values: u32,
    /// Values that would link, but whose holders are kept apart.
    pub parked_links: u32,
    /// Pairs of records that weigh enough for a link or a question.
    pub edges: u64,
    /// Records in the largest cluster.
    pub largest_cluster: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

impl Engine {
    /// The source record with this digest.
    #[must_use]
    pub fn record(&self, digest: Digest128) -> Option<RecordView> {
        self.records.find(digest).map(|record| self.view(record))
    }

    /// A record's ordinal in the order of first arrival; it never changes.
    #[must_use]
    pub fn ordinal_of(&self, digest: Digest128) -> Option<u32> {
        self.records.find(digest)
    }

    /// The record with this ordinal; none when it was forgotten.
    #[must_use]
    pub fn digest_of(&self, ordinal: u32) -> Option<Digest128> {
        self.records.cold.get(ordinal as usize).map(|cold| cold.digest).filter(|digest| *digest != FORGOTTEN)
    }

    /// The profile that holds this record, as last settled.
    #[must_use]
    pub fn profile_of(&self, record: Digest128) -> Option<ProfileOrdinal> {
        self.records.find(record).and_then(|record| self.profile_of_index(record))
    }

    pub(super) fn profile_of_index(&self, record: u32) -> Option<ProfileOrdinal> {
        let warm = &self.records.warm[record];
        (warm.placed() && warm.has(flag::LIVE)).then_some(ProfileOrdinal(warm.profile))
    }

    pub(super) fn view(&self, record: u32) -> RecordView {
        let (warm, cold) = (&self.records.warm[record], &self.records.cold[record]);
        let slot = self.records.slots[record];
        RecordView {
            digest: cold.digest,
            facts: cold.facts,
            place: cold.place,
            slot: (slot != NONE).then_some(SlotId(slot)),
            source: SourceId(warm.source),
            party: if warm.has(flag::ORGANISATION) { PartyKind::Organisation } else { PartyKind::Person },
            observed_at: ObservedAt(cold.observed_at),
            profile: self.profile_of_index(record),
            live: warm.has(flag::LIVE),
        }
    }

    /// What a value leads to, as last settled.
    #[must_use]
    pub fn value(&self, value: LinkValue) -> ValueStanding {
        let Some(index) = self.value_index(value) else { return ValueStanding::Unknown };
        let held = &self.values.column[index];
        let records = held.holders.len;
        if records == 0 {
            return ValueStanding::Unknown;
        }
        // Settling noted whether it is; why is counted only where somebody asks.
        if held.has(value_flag::GENERIC)
            && let Behind::Generic(reason) = self.behind(index)
        {
            return ValueStanding::Generic(reason);
        }
        if records > self.rules.value_records_max {
            return ValueStanding::Generic(GenericReason::Crowded { records, limit: self.rules.value_records_max });
        }
        let mut profiles = self.holders(index).iter().filter_map(|holder| self.profile_of_index(*holder));
        // Nearly always all of them are one.
        let Some(first) = profiles.next() else {
            return ValueStanding::Profiles { profiles: SmallVec::new(), more: false };
        };
        let all: BTreeSet<ProfileOrdinal> = profiles.filter(|profile| *profile != first).collect();
        if all.is_empty() {
            return ValueStanding::Profiles { profiles: SmallVec::from_slice(&[first]), more: false };
        }
        let all: BTreeSet<ProfileOrdinal> = all.into_iter().chain([first]).collect();
        ValueStanding::Profiles {
            more: all.len() > VALUE_PROFILES_MAX,
            profiles: all.into_iter().take(VALUE_PROFILES_MAX).collect(),
        }
    }

    /// The profiles behind a digest: of the record that it names, or of the records that hold the value, as last settled.
    /// Of a value that so many hold that they are only counted: none.
    #[must_use]
    pub fn profiles_at(&self, digest: Digest128) -> BTreeSet<ProfileOrdinal> {
        if let Some(record) = self.records.find(digest) {
            return self.profile_of_index(record).into_iter().collect();
        }
        let holders = self.values.find_digest(digest).map_or(&[][..], |value| self.holders(value));
        holders.iter().filter_map(|holder| self.profile_of_index(*holder)).collect()
    }

    /// How many live records hold a value.
    #[must_use]
    pub fn live_holders(&self, value: LinkValue) -> u32 {
        self.value_index(value).map_or(0, |index| self.values.column[index].holders.len)
    }

    /// The live members of a profile, in order of first arrival. Empty unless the profile is live.
    #[must_use]
    pub fn members(&self, profile: ProfileOrdinal) -> Vec<RecordView> {
        self.member_indexes(profile).into_iter().map(|record| self.view(record)).collect()
    }

    pub(super) fn member_indexes(&self, profile: ProfileOrdinal) -> Vec<u32> {
        let mut members: Vec<u32> = self
            .profiles
            .members(&self.records.warm, profile.0)
            .filter(|record| self.records.warm[*record].has(flag::LIVE))
            .collect();
        members.sort_unstable();
        members
    }

    /// What became of a profile id, as it was told when it did. Where it leads today, [`Engine::lives_on`] says.
    #[must_use]
    pub fn standing(&self, profile: ProfileOrdinal) -> Standing {
        let Some(known) = self.profiles.column.get(profile.0 as usize) else { return Standing::Unknown };
        match known.kind {
            Kind::Live => Standing::Live,
            Kind::Merged => Standing::MergedInto(ProfileOrdinal(known.head)),
            Kind::Split => {
                let into = self.profiles.went_into(&self.lists, profile.0).iter();
                Standing::SplitInto(into.map(|into| ProfileOrdinal(*into)).collect())
            }
            Kind::Emptied => Standing::Emptied,
            Kind::Erased => Standing::Erased,
        }
    }

    /// LAW 4: where an id leads today. One that was merged leads to the profile that has what it held then, were it another
    /// than it was merged into: a merge that was undone leads nobody to the other party. Where several have some of it, it
    /// was split, whatever was told first. Records that somebody else has by now lead nowhere; where all of them do, nobody is
    /// there any more.
    #[must_use]
    pub fn lives_on(&self, profile: ProfileOrdinal) -> Standing {
        let told = self.standing(profile);
        if !matches!(told, Standing::MergedInto(_) | Standing::SplitInto(_)) {
            return told;
        }
        let ends = self.profiles.ends(&self.records.warm, &self.lists, profile.0);
        let mut left =
            ends.into_iter().filter(|end| self.profiles.column[*end].kind != Kind::Erased).map(ProfileOrdinal);
        match (told, left.next(), left.next()) {
            // Nobody is there any more, but not because they were erased.
            (_, None, _) if self.profiles.is_passed_on(&self.records.warm, &self.lists, profile.0) => Standing::Emptied,
            (_, None, _) => Standing::Erased,
            (Standing::MergedInto(_), Some(only), None) => Standing::MergedInto(only),
            (_, first, second) => Standing::SplitInto(first.into_iter().chain(second).chain(left).collect()),
        }
    }

    /// The live profiles that an id leads to now, oldest first. One for an id that is live or was merged; several after a
    /// split; none when all were emptied or the id was never opened.
    #[must_use]
    pub fn live_ends(&self, profile: ProfileOrdinal) -> Vec<ProfileOrdinal> {
        self.ends(profile).0
    }

    /// Whether every profile that an id leads to was erased.
    #[must_use]
    pub fn all_ends_erased(&self, profile: ProfileOrdinal) -> bool {
        let (live, emptied) = self.ends(profile);
        live.is_empty() && !emptied
    }

    /// The live ends, and whether there are emptied ones beside them.
    fn ends(&self, profile: ProfileOrdinal) -> (Vec<ProfileOrdinal>, bool) {
        let ends = self.profiles.ends(&self.records.warm, &self.lists, profile.0);
        let of = |kind: Kind| ends.iter().filter(move |end| self.profiles.column[**end].kind == kind);
        let is_passed_on = || self.profiles.is_passed_on(&self.records.warm, &self.lists, profile.0);
        let emptied = of(Kind::Emptied).next().is_some() || ends.is_empty() && is_passed_on();
        (of(Kind::Live).map(|end| ProfileOrdinal(*end)).collect(), emptied)
    }

    /// The live profiles from this ordinal on, oldest first.
    pub fn live_profiles(&self, from: ProfileOrdinal) -> impl Iterator<Item = ProfileOrdinal> + '_ {
        (from.0..self.profiles.column.count())
            .filter(|profile| self.profiles.column[*profile].kind == Kind::Live)
            .map(ProfileOrdinal)
    }

    /// All source records, tombstones included, in order of first arrival.
    pub fn all_records(&self) -> impl Iterator<Item = RecordView> + '_ {
        let known = |record: &u32| !self.records.is_forgotten(*record);
        (0..self.records.warm.count()).filter(known).map(|record| self.view(record))
    }

    /// The values of a record's live fragment, sorted.
    #[must_use]
    pub fn links_of(&self, record: Digest128) -> Vec<LinkValue> {
        let Some(record) = self.records.find(record) else { return Vec::new() };
        let mut links: Vec<LinkValue> =
            self.values_of(record).iter().map(|value| self.values.column[*value].link_value()).collect();
        links.sort_unstable();
        links
    }

    /// Figures. Walks the profiles once.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let largest = self.profiles.column.iter().filter(|profile| profile.kind == Kind::Live);
        self.stats_given(largest.map(|profile| profile.count).max().unwrap_or(0))
    }

    /// The same where the largest cluster is known: it alone takes a walk over all profiles.
    #[must_use]
    pub fn stats_given(&self, largest_cluster: u32) -> Stats {
        Stats {
            records: self.records.warm.count() - self.records.forgotten,
            live_records: self.records.live,
            profiles: self.profiles.live,
            profiles_opened: self.profiles.column.count(),
            values: u32::try_from(self.values.table.len()).unwrap_or(u32::MAX),
            generic_values: self.values.generic,
            parked_links: self.values.parked,
            edges: self.edges.count,
            largest_cluster,
            memory_bytes: self.memory_bytes() as u64,
        }
    }

    /// Digest of the graph: of each cluster the sorted fact digests of its live records, then the sorted cluster hashes.
    /// Independent of keys, ids, and order of arrival (law 2): two installations with the same facts agree.
    #[must_use]
    pub fn digest(&self) -> blake3::Hash {
        let mut clusters: Vec<[u8; 32]> = Vec::with_capacity(self.profiles.live as usize);
        let mut facts: Vec<Digest128> = Vec::new();
        for profile in self.live_profiles(ProfileOrdinal(0)) {
            facts.clear();
            facts.extend(
                self.profiles
                    .members(&self.records.warm, profile.0)
                    .filter(|record| self.records.warm[*record].has(flag::LIVE))
                    .map(|record| self.records.cold[record].facts),
            );
            if facts.is_empty() {
                continue;
            }
            facts.sort_unstable();
            let mut hasher = blake3::Hasher::new();
            for digest in &facts {
                hasher.update(&digest.0);
            }
            clusters.push(*hasher.finalize().as_bytes());
        }
        clusters.sort_unstable();
        let mut hasher = blake3::Hasher::new_derive_key("onefold 2026 graph digest v1");
        for cluster in &clusters {
            hasher.update(cluster);
        }
        hasher.finalize()
    }
}
