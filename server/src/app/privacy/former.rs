//! Identifiers that records held once and hold no more, or hold in other forms of letters: an erasure suppresses them too, so
//! that an old file does not bring back under its old address whoever was erased under the new one.
//!
//! A record whose identifiers change may have passed to somebody else, who says nothing about it: an address was
//! typed at the wrong contact, a number was given away. What it says from then on is sealed under a key of its own, so
//! that all versions under one key have the same identifiers, and an erasure of whoever it was before destroys their
//! versions and leaves it as it is ([`FormerKey`]). Of a record that changes often, the keys between its first and the
//! newest are destroyed when the journal is tidied: what they opened is superseded.
//!
//! They are known from the fragments of the journal. Before compaction drops superseded ones, what they alone said is
//! written down by keyed digest, sealed under the record's key ([`keep`]).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use onefold_core::decision::{self, EntryKind, Sealed};
use onefold_core::erasure::{FormerKept, FormerKey};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, NamespaceId, Sequence, SlotId};
use onefold_matching::prepared::{LinkValue, Prepared};
use onefold_store::journal::{JournalError, entry_room};
use onefold_store::seal::TAG_BYTES;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::app::error::WriteError;
use crate::app::lane::{Lane, kind};
use crate::app::tenant::{State, Tenant};
use crate::app::writer::{Commit, Reply};

/// Former identifiers that are remembered of a record, the newest.
const EACH_MAX: usize = 32;
/// Keys of older versions that a record goes on having once the journal was tidied.
const KEYS_MAX: usize = 32;
/// Bytes of one batch of [`keep`].
const BATCH_BYTES_MAX: usize = 64 << 10;

/// Of which records which are known.
#[derive(Clone, Debug, Default)]
pub struct Former {
    /// In the order in which they went.
    of_records: HashMap<Digest128, Vec<LinkValue>>,
    /// How many records held a value once.
    holders: HashMap<Digest128, u32>,
    /// Records of which the fragments alone say so.
    unkept: HashSet<Digest128>,
    /// Keys of older versions, the oldest first.
    keys: HashMap<Digest128, Vec<Versions>>,
    /// Which records have a key of versions that held a value.
    at: BTreeSet<(Digest128, Digest128)>,
    /// Records with more keys than they are to have.
    crowded: HashSet<Digest128>,
    /// Keys that were to be destroyed when this was last asked for.
    going: Vec<FormerKey>,
}

/// What a record said under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Versions {
    slot: SlotId,
    /// From this sequence on it said something else, which was observed then.
    until: (Sequence, ObservedAt),
    held: Box<[LinkValue]>,
}

/// A key of older versions in a checkpoint: until when, and what these held.
type KeyRow = (FormerKey, (Sequence, ObservedAt), Vec<(NamespaceId, Digest128)>);

/// The same in a checkpoint: what was kept of each record, and the records of which the fragments alone say so.
#[derive(Debug, Serialize, Deserialize)]
pub struct FormerRows {
    kept: Vec<FormerKept>,
    unkept: Vec<Digest128>,
    keys: Vec<KeyRow>,
}

impl Former {
    /// A record comes that held these values before.
    pub fn comes(&mut self, record: Digest128, before: Vec<LinkValue>, now: &[LinkValue]) {
        let known = self.of(record);
        let mut values: Vec<LinkValue> = known.iter().filter(|value| !now.contains(value)).copied().collect();
        for value in before {
            if !now.contains(&value) && !values.contains(&value) {
                values.push(value);
            }
        }
        let over = values.len().saturating_sub(EACH_MAX);
        values.drain(..over);
        if values != known {
            self.set(record, values);
            self.unkept.insert(record);
        }
    }

    fn set(&mut self, record: Digest128, values: Vec<LinkValue>) {
        for value in self.of_records.remove(&record).unwrap_or_default() {
            if let Some(count) = self.holders.get_mut(&value.digest) {
                *count -= 1;
                if *count == 0 {
                    self.holders.remove(&value.digest);
                }
            }
        }
        if !values.is_empty() {
            values.iter().for_each(|value| *self.holders.entry(value.digest).or_default() += 1);
            self.of_records.insert(record, values);
        }
    }

    /// What a record held once.
    pub fn of(&self, record: Digest128) -> &[LinkValue] {
        self.of_records.get(&record).map_or(&[], Vec::as_slice)
    }

    /// Whether some record held a value once, and gave it up.
    pub fn knows(&self, value: Digest128) -> bool {
        self.holders.contains_key(&value) || self.keys_at(value).next().is_some()
    }

    /// Versions of a record that held these values have this key, and none has it from this sequence on, which was observed then.
    pub fn key_goes(&mut self, key: FormerKey, until: (Sequence, ObservedAt), held: Vec<LinkValue>) {
        let keys = self.keys.entry(key.record).or_default();
        if keys.iter().all(|versions| versions.slot != key.slot) {
            self.at.extend(held.iter().map(|value| (value.digest, key.record)));
            keys.push(Versions { slot: key.slot, until, held: held.into() });
            if keys.len() > KEYS_MAX {
                self.crowded.insert(key.record);
            }
        }
    }

    fn versions(&self, record: Digest128) -> &[Versions] {
        self.keys.get(&record).map_or(&[], Vec::as_slice)
    }

    /// The keys of a record's older versions.
    pub fn keys_of(&self, record: Digest128) -> impl Iterator<Item = FormerKey> + '_ {
        self.versions(record).iter().map(move |versions| FormerKey { record, slot: versions.slot })
    }

    /// Keys of a record's older versions, with the sequence and the moment at which they ended and what they held.
    pub fn eras_of(&self, record: Digest128) -> impl Iterator<Item = (SlotId, (Sequence, ObservedAt), &[LinkValue])> {
        self.versions(record).iter().map(|versions| (versions.slot, versions.until, &*versions.held))
    }

    /// The keys of older versions that held a value, whosever.
    pub fn keys_at(&self, value: Digest128) -> impl Iterator<Item = FormerKey> + '_ {
        let records = self.at.range((value, Digest128([0; 16]))..=(value, Digest128([u8::MAX; 16])));
        records.flat_map(move |(_, record)| {
            let held = move |versions: &&Versions| versions.held.iter().any(|held| held.digest == value);
            let keys = self.versions(*record).iter().filter(held);
            keys.map(|versions| FormerKey { record: *record, slot: versions.slot })
        })
    }

    /// The versions under a key are gone; what they alone held.
    fn drop_key(&mut self, key: FormerKey) -> Vec<LinkValue> {
        let Some(keys) = self.keys.get_mut(&key.record) else { return Vec::new() };
        let Some(place) = keys.iter().position(|versions| versions.slot == key.slot) else { return Vec::new() };
        let mut alone = keys.remove(place).held.into_vec();
        alone.retain(|value| !keys.iter().any(|versions| versions.held.contains(value)));
        if keys.is_empty() {
            self.keys.remove(&key.record);
        }
        for value in &alone {
            self.at.remove(&(value.digest, key.record));
        }
        alone
    }

    /// LAW 7: the versions under a key are gone, and what was the erased person's of what they alone held. The rest is the
    /// record's own: whoever has it may be erased under that one day.
    pub fn forget_key(&mut self, key: FormerKey, is_theirs: impl Fn(Digest128) -> bool) {
        let alone = self.drop_key(key);
        let left = self.of(key.record).iter().filter(|value| !(alone.contains(value) && is_theirs(value.digest)));
        self.set(key.record, left.copied().collect());
    }

    /// What is known of a record's own from before, once these are forgotten along with somebody else's versions: the fragments that
    /// said so cannot be read any more then.
    pub fn own_of(&self, record: Digest128, is_theirs: impl Fn(Digest128) -> bool) -> Option<FormerKept> {
        let own = self.of(record).iter().filter(|value| !is_theirs(value.digest));
        let values: Vec<_> = own.map(|value| (value.namespace, value.digest)).collect();
        (!values.is_empty()).then_some(FormerKept { record, values })
    }

    /// Keys of records that have too many, but for the first of each: it opens the record, whose place settlements name it by.
    /// They are to be destroyed; until this is asked again an erasure finds them all the same, whatever a crash leaves undone.
    pub fn take_crowded(&mut self) -> Vec<FormerKey> {
        for key in std::mem::take(&mut self.going) {
            self.drop_key(key);
        }
        for record in std::mem::take(&mut self.crowded) {
            let over = self.versions(record).len().saturating_sub(KEYS_MAX);
            let going = self.versions(record).iter().skip(1).take(over);
            let going: Vec<FormerKey> = going.map(|versions| FormerKey { record, slot: versions.slot }).collect();
            self.going.extend(going);
        }
        self.going.clone()
    }

    /// Whether there are records with too many keys, or such keys were destroyed.
    pub fn is_crowded(&self) -> bool {
        !self.crowded.is_empty() || !self.going.is_empty()
    }

    /// Takes in what was kept when fragments were dropped.
    pub fn learn(&mut self, kept: FormerKept) {
        let value = |(namespace, digest): (NamespaceId, Digest128)| LinkValue { namespace, digest };
        self.set(kept.record, kept.values.into_iter().map(value).collect());
        self.unkept.remove(&kept.record);
    }

    /// LAW 7.
    pub fn forget(&mut self, records: &[Digest128]) {
        for record in records {
            for key in self.keys_of(*record).collect::<Vec<_>>() {
                self.drop_key(key);
            }
            self.crowded.remove(record);
            self.set(*record, Vec::new());
            self.unkept.remove(record);
        }
    }

    /// Whether there is something of which the fragments alone say so.
    pub fn has_unkept(&self) -> bool {
        !self.unkept.is_empty()
    }

    fn row(&self, record: Digest128) -> FormerKept {
        FormerKept { record, values: self.of(record).iter().map(|value| (value.namespace, value.digest)).collect() }
    }

    /// As a checkpoint keeps it.
    pub fn to_rows(&self) -> FormerRows {
        let kept = self.of_records.keys().map(|record| self.row(*record)).collect();
        let value = |value: &LinkValue| (value.namespace, value.digest);
        let of_record = |(record, keys): (&Digest128, &Vec<Versions>)| {
            let record = *record;
            let rows = keys.iter().map(|versions| {
                let key = FormerKey { record, slot: versions.slot };
                (key, versions.until, versions.held.iter().map(value).collect::<Vec<_>>())
            });
            rows.collect::<Vec<_>>()
        };
        let keys = self.keys.iter().flat_map(of_record).collect();
        FormerRows { kept, unkept: self.unkept.iter().copied().collect(), keys }
    }

    /// From a checkpoint.
    pub fn from_rows(rows: FormerRows) -> Self {
        let mut former = Self::default();
        rows.kept.into_iter().for_each(|kept| former.learn(kept));
        former.unkept = rows.unkept.into_iter().collect();
        for (key, until, values) in rows.keys {
            let value = |(namespace, digest)| LinkValue { namespace, digest };
            former.key_goes(key, until, values.into_iter().map(value).collect());
        }
        former
    }
}

impl State {
    /// Notes what a record holds no more, once the fragment of this sequence is there, which is sealed under this key; and what it
    /// holds in other forms of letters: whoever is erased comes back by neither.
    ///
    /// `is_gone` where the key of before is destroyed: there is nothing left under it.
    pub fn note_former(&mut self, prepared: &Prepared, slot: SlotId, sequence: Sequence, is_gone: bool) {
        let record = prepared.record;
        let mut before = self.held_by(record);
        let known = self.engine.record(record);
        if let Some(old) = known.and_then(|view| view.slot).filter(|old| *old != slot && !is_gone) {
            let mut values = before.clone();
            // Also what went while they had this key already.
            let keyed = |value: &LinkValue| self.privacy.former.at.contains(&(value.digest, record));
            values.extend(self.privacy.former.of(record).iter().filter(|value| !keyed(value)));
            values.sort_unstable();
            values.dedup();
            let until = (sequence, prepared.observed_at);
            self.privacy.former.key_goes(FormerKey { record, slot: old }, until, values);
        }
        before.extend(&prepared.plain);
        if known.is_some() || !before.is_empty() {
            self.privacy.former.comes(record, before, &prepared.links);
        }
    }

    /// What a record said under this key is gone: what it said before that has a key of its own, as when it was still there. How
    /// long it said it nobody knows any more.
    pub fn note_vacant(&mut self, record: Digest128, slot: SlotId, sequence: Sequence) {
        let before = self.held_by(record);
        let Some(old) = self.engine.record(record).and_then(|view| view.slot).filter(|old| *old != slot) else {
            return;
        };
        let former = &mut self.privacy.former;
        former.key_goes(FormerKey { record, slot: old }, (sequence, ObservedAt(i64::MAX)), before.clone());
        former.comes(record, before, &[]);
    }

    /// What a record holds, or held when it was retracted.
    pub fn held_by(&self, record: Digest128) -> Vec<LinkValue> {
        let mut held = self.engine.links_of(record);
        held.extend(self.engine.last_links_of(record));
        held
    }
}

/// In the lane: writes down what only fragments say that may be dropped after this.
pub fn keep(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    reply: oneshot::Sender<Result<(), WriteError>>,
) -> Result<(), JournalError> {
    loop {
        let (records, sealed) = next_of(&tenant.state());
        if records.is_empty() {
            break;
        }
        let room = sealed.iter().map(|(_, content)| entry_room(content.len() + Sealed::HEADER_BYTES + TAG_BYTES)).sum();
        let Some(mut group) = lane.begin(room)? else {
            let _ = reply.send(Err(WriteError::DiskFull));
            return Ok(());
        };
        let mut state = tenant.state_mut();
        for (slot, content) in sealed {
            // Of a record whose key cannot be read nothing can be read: there is nobody to keep out.
            let Ok(key) = tenant.vault.key(slot) else { continue };
            let sequence = state.sequence.next();
            group.builder.push(tenant.id, sequence, kind(EntryKind::FormerKept), |context, out| {
                let header = Sealed::header(slot, false);
                out.extend_from_slice(&header);
                context.seal(&key, 0, &header, &content, out);
            })?;
            state.sequence = sequence;
        }
        for record in records {
            state.privacy.former.unkept.remove(&record);
        }
        group.commit.published.push((Arc::clone(tenant), state.sequence));
        drop(state);
        lane.commit(group)?;
    }
    let mut commit = Commit::default();
    // What these held once is written down now, and superseded besides.
    let crowded = tenant.state_mut().privacy.former.take_crowded();
    commit.destroy.extend(crowded.into_iter().map(|key| (Arc::clone(tenant), key.slot)));
    commit.replies.push(Reply::of(reply, ()));
    lane.hand_on(commit)
}

/// Records of which something is to be written down, and what: contents by the slots of their keys.
fn next_of(state: &State) -> (Vec<Digest128>, Vec<(SlotId, Vec<u8>)>) {
    let former = &state.privacy.former;
    let (mut records, mut sealed, mut bytes) = (Vec::new(), Vec::new(), 0);
    for record in &former.unkept {
        records.push(*record);
        if let Some(slot) = state.engine.record(*record).and_then(|view| view.slot) {
            let content = decision::encode(&former.row(*record));
            bytes += content.len();
            sealed.push((slot, content));
        }
        if bytes >= BATCH_BYTES_MAX {
            break;
        }
    }
    (records, sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(number: u8) -> LinkValue {
        LinkValue { namespace: NamespaceId(1), digest: Digest128([number; 16]) }
    }

    fn record(number: u8) -> Digest128 {
        Digest128([100 + number; 16])
    }

    #[test]
    fn what_is_held_again_is_no_former_value() {
        let mut former = Former::default();
        former.comes(record(1), vec![value(1), value(2)], &[value(2)]);
        assert_eq!(former.of(record(1)), [value(1)]);
        former.comes(record(1), vec![value(2)], &[value(3)]);
        assert_eq!(former.of(record(1)), [value(1), value(2)]);
        former.comes(record(1), vec![value(3)], &[value(1)]);
        assert_eq!(former.of(record(1)), [value(2), value(3)]);
        former.comes(record(2), vec![value(2)], &[]);
        let again = Former::from_rows(former.to_rows());
        assert_eq!((again.of(record(1)), again.unkept.len()), (former.of(record(1)), 2));
        former.forget(&[record(1)]);
        assert!(former.knows(value(2).digest) && !former.knows(value(3).digest));
        former.forget(&[record(2)]);
        assert!(!former.knows(value(2).digest));
    }

    #[test]
    fn of_many_keys_the_first_and_the_newest_are_left_and_all_are_found_until_they_are_destroyed() {
        let mut former = Former::default();
        let key = |slot: u8| FormerKey { record: record(1), slot: SlotId(u32::from(slot)) };
        for slot in 0..40 {
            former.key_goes(key(slot), (Sequence(u64::from(slot) + 1), ObservedAt(0)), vec![value(slot), value(100)]);
        }
        let going = former.take_crowded();
        assert_eq!(going, (1..9).map(key).collect::<Vec<FormerKey>>());
        assert!(going.iter().all(|key| former.keys_of(record(1)).any(|known| known == *key)));
        // A crash may have come before.
        let mut again = Former::from_rows(former.to_rows());
        assert_eq!(again.take_crowded(), going);
        assert!(former.take_crowded().is_empty() && !former.is_crowded());
        assert_eq!(former.keys_of(record(1)).count(), KEYS_MAX);
        assert_eq!(former.keys_at(value(100).digest).count(), KEYS_MAX);
        assert_eq!(former.keys_at(value(3).digest).count(), 0);
        assert_eq!(former.keys_at(value(0).digest).collect::<Vec<_>>(), [key(0)]);
        former.forget_key(key(0), |_| true);
        assert_eq!(former.keys_at(value(100).digest).count(), KEYS_MAX - 1);
    }

    #[test]
    fn the_newest_are_remembered() {
        let mut former = Former::default();
        for number in 0..100 {
            former.comes(record(1), vec![value(number)], &[]);
        }
        assert_eq!((former.of(record(1)).len(), former.of(record(1))[31]), (EACH_MAX, value(99)));
    }
}
