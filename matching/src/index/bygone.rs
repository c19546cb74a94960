//! What retracted records said last, and which profile each was in last: found by lookup, so that an erasure costs what
//! the person has and not what the tenant has. Only retracted records have entries.

use std::collections::{BTreeMap, BTreeSet};

use onefold_core::ids::{Digest128, NamespaceId, Place};

use crate::index::handed::Turn;
use crate::prepared::LinkValue;

/// About what an entry of a sorted set takes beside itself: nodes are two thirds full, and have edges.
const ENTRY_OVERHEAD: usize = 16;

const FIRST: LinkValue = LinkValue { namespace: NamespaceId(0), digest: Digest128([0; 16]) };
const LAST: LinkValue = LinkValue { namespace: NamespaceId(u16::MAX), digest: Digest128([0xFF; 16]) };

/// Who said what before they were retracted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bygone {
    by_record: BTreeSet<(u32, LinkValue)>,
    by_value: BTreeSet<(LinkValue, u32)>,
    /// Which version said so: when it was observed, and the digest of its facts, by which ties break.
    versions: BTreeMap<u32, (i64, Digest128)>,
    /// Where the fragment lies that was live last.
    places: BTreeMap<u32, Place>,
    /// The oldest of those that the record was with when it was retracted; no entry where it was alone.
    beside: BTreeMap<u32, Box<[Turn]>>,
}

impl Bygone {
    /// The record is retracted; this version was the last, and said this.
    pub(crate) fn set(&mut self, record: u32, version: (i64, Digest128), values: impl IntoIterator<Item = LinkValue>) {
        let (place, beside) = (self.place_of(record), self.beside.remove(&record));
        self.drop(record);
        self.versions.insert(record, version);
        self.places.extend(place.map(|place| (record, place)));
        self.beside.extend(beside.map(|beside| (record, beside)));
        self.note(record, values);
    }

    /// The last version of a retracted record.
    pub(crate) fn version_of(&self, record: u32) -> Option<(i64, Digest128)> {
        self.versions.get(&record).copied()
    }

    /// Where the last fragment of a retracted record lies that was ever live.
    pub(crate) fn place_of(&self, record: u32) -> Option<Place> {
        self.places.get(&record).copied()
    }

    /// The records from this ordinal on whose last live fragment is known to lie somewhere, and where.
    pub(crate) fn places_from(&self, record: u32) -> impl Iterator<Item = (u32, Place)> + '_ {
        self.places.range(record..).map(|(record, place)| (*record, *place))
    }

    /// The fragment that is retracted lies here.
    pub(crate) fn set_place(&mut self, record: u32, place: Place) {
        self.places.insert(record, place);
    }

    /// Those that it was with when it was retracted.
    pub(crate) fn beside(&self, record: u32) -> &[Turn] {
        self.beside.get(&record).map(AsRef::as_ref).unwrap_or_default()
    }

    /// The record that is retracted was with these.
    pub(crate) fn set_beside(&mut self, record: u32, beside: Vec<Turn>) {
        if !beside.is_empty() {
            self.beside.insert(record, beside.into());
        }
    }

    /// All of them, by record.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (u32, (i64, Digest128))> + '_ {
        self.versions.iter().map(|(record, version)| (*record, *version))
    }

    /// From a checkpoint: the last version of a record.
    pub(crate) fn set_version(&mut self, record: u32, version: (i64, Digest128)) {
        self.versions.insert(record, version);
    }

    /// From a checkpoint: a retracted record said this last.
    pub(crate) fn note(&mut self, record: u32, values: impl IntoIterator<Item = LinkValue>) {
        for value in values {
            self.by_record.insert((record, value));
            self.by_value.insert((value, record));
        }
    }

    /// The record is live again, or forgotten.
    pub(crate) fn drop(&mut self, record: u32) {
        self.versions.remove(&record);
        self.places.remove(&record);
        self.beside.remove(&record);
        let values: Vec<LinkValue> = self.values_of(record).collect();
        for value in values {
            self.by_record.remove(&(record, value));
            self.by_value.remove(&(value, record));
        }
    }

    /// What it said last; nothing of a record that is live.
    pub(crate) fn values_of(&self, record: u32) -> impl Iterator<Item = LinkValue> + '_ {
        self.by_record.range((record, FIRST)..=(record, LAST)).map(|(_, value)| *value)
    }

    /// The retracted records that said it last, oldest first.
    pub(crate) fn holders(&self, value: LinkValue) -> impl Iterator<Item = u32> + '_ {
        self.by_value.range((value, 0)..=(value, u32::MAX)).map(|(_, record)| *record)
    }

    /// Everything, by record.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, LinkValue)> + '_ {
        self.by_record.iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_record.len()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let version = size_of::<(u32, (i64, Digest128))>() + ENTRY_OVERHEAD;
        2 * self.len() * (size_of::<(u32, LinkValue)>() + ENTRY_OVERHEAD)
            + self.versions.len() * version
            + self.places.len() * (size_of::<(u32, Place)>() + ENTRY_OVERHEAD)
            + self.beside.values().map(|beside| size_of_val::<[Turn]>(beside) + 2 * ENTRY_OVERHEAD).sum::<usize>()
    }
}
