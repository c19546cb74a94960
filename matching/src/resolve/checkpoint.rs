//! The engine's state as named sections of bytes, for an encrypted checkpoint, as few as may be: disk is budgeted by the
//! fragment. Digests lie there as they are, all else as differences from what one would expect, and what follows from
//! the rest is left out.
//!
//! Written: of each record its digests, name, source, moment, place, slot, profile and party; of each value its digest,
//! standing and holders in their order; profiles that are not plainly live; indexes that are free; what is dirty.
//! Of retracted records the values that they held last, and whom they were with; which records changed hands. Of a match model's matter: each text once, rows of texts by number, edges with their weights.
//! Rebuilt: postings, tables, counters and counts; the records' lists of values, which are those of the holders turned round and
//! are always sorted the same way; the rings of members, whose order says nothing; the profiles' unique values, which
//! are written only where something unsettled makes them differ from those of the members; which retracted record was in
//! which profile last.
//!
//! What is read back is checked index by index: bytes that no engine wrote are an error, never a panic later, and never
//! take memory out of proportion to their length, whatever counts they claim.

mod bygone;
mod bytes;
mod handed;
mod judgements;
mod pairs;
mod profiles;
mod records;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use hashbrown::{HashMap, HashTable};
use onefold_core::ids::Digest128;

use crate::index::NONE;
use crate::index::column::Column;
use crate::index::lists::List;
use crate::index::profiles::{Kind, Profile};
use crate::index::records::{Cold, FORGOTTEN, flag};
use crate::index::values::{Value, flag as value_flag};
use crate::resolve::{Engine, LinkRules, Weigher};

use bytes::{Bytes, make_room, put, read_rows, write_rows};

/// The layout of the sections.
const VERSION: u16 = 11;
const MAGIC: &[u8; 8] = b"onefoldE";

/// A checkpoint that cannot be used. The journal can rebuild what it held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// A section is not there.
    #[error("the checkpoint has no section {0}")]
    Missing(String),
    /// Written by another release.
    #[error("the checkpoint is of version {0}, this release reads {VERSION}")]
    Version(u16),
    /// Made under other linking rules.
    #[error("the checkpoint was made under other linking rules")]
    Rules,
    /// Made under another match model.
    #[error("the checkpoint was made under another match model")]
    Model,
    /// The bytes contradict themselves.
    #[error("the checkpoint's section {0} is damaged")]
    Damaged(&'static str),
}

/// Takes a section: its name, its bytes.
pub type SectionSink<'a, E> = dyn FnMut(&str, &[u8]) -> Result<(), E> + 'a;

/// Hands out a section by its name.
type SectionSource<'a> = dyn FnMut(&str) -> Option<Vec<u8>> + 'a;

/// How many rows the sections have.
struct Head {
    replaying: bool,
    records: u32,
    /// Profiles ever opened, and rows that tell of them.
    profiles: u32,
    profile_rows: u32,
    /// Values, the free indexes not among them.
    values: u32,
    spare: u32,
    dirty_records: u32,
    dirty_values: u32,
    /// Texts by kind of party.
    texts: [u32; 2],
    /// Blocks that were opened or closed since they were last looked at.
    crossed: u32,
    judgements: u32,
    /// Profiles that lost records to erasures since last settled.
    erased: u32,
    /// Values that retracted records held last.
    bygone: u32,
    /// Retracted records of which a last version is known.
    last_versions: u32,
    /// Records that changed hands, how they did, and what of that ended profiles know.
    handed: u32,
    partings: u32,
    ended_turns: u32,
}

impl Head {
    fn write(&self, rules: &LinkRules, models: &[u8; 32]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&rules.fingerprint());
        out.extend_from_slice(models);
        out.push(u8::from(self.replaying));
        let counts = [
            self.records,
            self.profiles,
            self.profile_rows,
            self.values,
            self.spare,
            self.dirty_records,
            self.dirty_values,
            self.texts[0],
            self.texts[1],
            self.crossed,
            self.judgements,
            self.erased,
            self.bygone,
            self.last_versions,
            self.handed,
            self.partings,
            self.ended_turns,
        ];
        for count in counts {
            put(&mut out, count.into());
        }
        out
    }

    fn read(rules: &LinkRules, models: &[u8; 32], head: &[u8]) -> Result<Self, CheckpointError> {
        const DAMAGED: CheckpointError = CheckpointError::Damaged("head");
        let mut bytes = Bytes(head);
        if bytes.array().ok_or(DAMAGED)? != *MAGIC {
            return Err(DAMAGED);
        }
        let version = u16::from_le_bytes(bytes.array().ok_or(DAMAGED)?);
        if version != VERSION {
            return Err(CheckpointError::Version(version));
        }
        if bytes.array().ok_or(DAMAGED)? != rules.fingerprint() {
            return Err(CheckpointError::Rules);
        }
        if bytes.array().ok_or(DAMAGED)? != *models {
            return Err(CheckpointError::Model);
        }
        let replaying = bytes.byte().ok_or(DAMAGED)? != 0;
        let mut count = || bytes.small::<u32>().filter(|count| *count != NONE).ok_or(DAMAGED);
        let head = Self {
            replaying,
            records: count()?,
            profiles: count()?,
            profile_rows: count()?,
            values: count()?,
            spare: count()?,
            dirty_records: count()?,
            dirty_values: count()?,
            texts: [count()?, count()?],
            crossed: count()?,
            judgements: count()?,
            erased: count()?,
            bygone: count()?,
            last_versions: count()?,
            handed: count()?,
            partings: count()?,
            ended_turns: count()?,
        };
        if bytes.0.is_empty() { Ok(head) } else { Err(DAMAGED) }
    }
}

impl Engine {
    /// Hands the whole state to `sink`, section by section. Nothing in it is in the clear but digests and numbers; it is
    /// for encrypted checkpoints only.
    ///
    /// # Errors
    /// The first error of `sink`.
    pub fn write_to<E>(&self, sink: &mut SectionSink<'_, E>) -> Result<(), E> {
        let uniques = self.uniques_of_members();
        let mut uniques = uniques.as_slice();
        let mut telling = Vec::new();
        for (ordinal, profile) in (0..).zip(self.profiles.column.iter()) {
            let (of_members, others) = uniques.split_at(uniques.iter().take_while(|(of, _)| *of == ordinal).count());
            uniques = others;
            let list = self.lists.get(&profile.list);
            let listed = match profile.kind {
                Kind::Live => !of_members.iter().map(|(_, value)| value).eq(list),
                Kind::Merged | Kind::Split | Kind::Emptied | Kind::Erased => !list.is_empty(),
            };
            let delicate = profile.contested || profile.uneven;
            if listed || profile.kind != Kind::Live || profile.count == 0 || delicate {
                telling.push((ordinal, listed));
            }
        }
        let spare = Spare::of(&self.values.spare);
        let all_values = self.values.column.count();
        let texts = self.texts();
        let head = Head {
            replaying: self.replaying,
            records: self.records.warm.count(),
            profiles: self.profiles.column.count(),
            profile_rows: telling.len() as u32,
            values: all_values - self.values.spare.len() as u32,
            spare: self.values.spare.len() as u32,
            dirty_records: self.dirty_records.len() as u32,
            dirty_values: self.dirty_values.len() as u32,
            texts: texts.counts(),
            crossed: self.crossed.len() as u32,
            judgements: self.judgements().count() as u32,
            erased: self.erased.len() as u32,
            bygone: self.bygone.len() as u32,
            last_versions: self.bygone.versions().count() as u32,
            handed: self.profiles.handed.turns().count() as u32,
            partings: self.profiles.handed.partings().count() as u32,
            ended_turns: self.profiles.handed.ended().count() as u32,
        };
        sink("engine.head", &head.write(&self.rules, &self.rows.fingerprint()))?;

        let mut expected = records::Expected::at_first();
        let mut names = vec![0; self.profiles.column.len()];
        write_rows("records", 0..self.records.warm.count(), sink, |out, record| {
            let (warm, cold) = (&self.records.warm[record], &self.records.cold[record]);
            let mut known = false;
            if warm.has(flag::NAMED)
                && let Some(name) = names.get_mut(warm.profile as usize)
            {
                known = std::mem::replace(name, warm.name) == warm.name;
            }
            expected.write(out, warm, cold, self.records.slots[record], known);
        })?;

        let mut expected = profiles::Expected::default();
        write_rows("profiles", telling.into_iter(), sink, |out, (ordinal, listed)| {
            let profile = &self.profiles.column[ordinal];
            expected.write(out, ordinal, profile, listed.then(|| self.lists.get(&profile.list)));
        })?;

        write_rows("spare", self.values.spare.iter(), sink, |out, value| put(out, (*value).into()))?;
        let mut expected = values::Expected::default();
        let unlisted = self.holders_of_unlisted();
        write_rows("values", spare.others(all_values), sink, |out, value| {
            let holders = unlisted.get(&value).map_or_else(|| self.holders(value), Vec::as_slice);
            expected.write(out, &self.values.column[value], holders);
        })?;

        write_rows("dirty_records", self.dirty_records.iter(), sink, |out, record| {
            put(out, (*record).into());
            put(out, (self.records.warm[*record].flags & (flag::PASSING | flag::UNMATCHED)).into());
        })?;
        write_rows("dirty_values", self.dirty_values.iter(), sink, |out, value| {
            put(out, (*value).into());
            put(out, (self.values.column[*value].flags & value_flag::PASSING).into());
        })?;
        write_rows("erased", self.erased.iter(), sink, |out, profile| put(out, (*profile).into()))?;
        self.write_bygone(sink)?;
        self.write_handed(sink)?;
        self.write_judgements(sink)?;
        self.write_pairs(&texts, sink)
    }

    /// The state that [`Engine::write_to`] wrote, under the same rules. `source` hands out a section by its name.
    ///
    /// # Errors
    /// [`CheckpointError`] when a section is missing or damaged, or of another release or other rules.
    pub fn read_from(
        rules: LinkRules,
        source: &mut dyn FnMut(&str) -> Option<Vec<u8>>,
    ) -> Result<Self, CheckpointError> {
        Self::read_with_models(rules, [None, None], source)
    }

    /// The same, where the match models were in force.
    ///
    /// # Errors
    /// [`CheckpointError`] when a section is missing or damaged, or of another release, other rules or other models.
    pub fn read_with_models(
        rules: LinkRules,
        weighers: [Option<Arc<dyn Weigher>>; 2],
        source: &mut dyn FnMut(&str) -> Option<Vec<u8>>,
    ) -> Result<Self, CheckpointError> {
        let head = source("engine.head").ok_or_else(|| CheckpointError::Missing("engine.head".to_owned()))?;
        let mut engine = Self::with_models(rules, weighers);
        let head = Head::read(&engine.rules, &engine.rows.fingerprint(), &head)?;
        engine.replaying = head.replaying;
        let names_known = engine.read_records(&head, source)?;
        let listed = engine.read_profiles(&head, source)?;
        engine.place_all(&names_known)?;
        engine.read_values(&head, source)?;
        engine.list_uniques(&listed)?;
        engine.read_dirty(&head, source)?;
        engine.rebuild();
        engine.read_bygone(&head, source)?;
        engine.read_handed(&head, source)?;
        engine.read_judgements(&head, source)?;
        engine.read_pairs(&head, source)?;
        Ok(engine)
    }

    /// The records, without values and in no ring; answers which names are those of the record before in the profile.
    fn read_records(&mut self, head: &Head, source: &mut SectionSource<'_>) -> Result<Vec<bool>, CheckpointError> {
        let (mut warm, mut cold, mut slots, mut names_known) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut expected = records::Expected::at_first();
        read_rows("records", head.records, source, |bytes| {
            let row = expected.read(bytes)?;
            make_room(&mut warm, head.records);
            make_room(&mut cold, head.records);
            warm.push(row.warm);
            cold.push(row.cold);
            slots.push(row.slot);
            names_known.push(row.name_known);
            Some(())
        })?;
        self.records.warm = column(warm);
        self.records.cold = column(cold);
        self.records.slots = column(slots);
        Ok(names_known)
    }

    /// The profiles, without members; answers which of them bring their list.
    fn read_profiles(&mut self, head: &Head, source: &mut SectionSource<'_>) -> Result<Vec<u32>, CheckpointError> {
        const DAMAGED: CheckpointError = CheckpointError::Damaged("profiles");
        let mut told = Vec::new();
        let mut expected = profiles::Expected::default();
        read_rows("profiles", head.profile_rows, source, |bytes| {
            told.push(expected.read(bytes, &mut self.lists)?);
            Some(())
        })?;
        // A profile without a row has a member. The rows and the records were really there.
        if u64::from(head.profiles) > u64::from(head.records) + told.len() as u64 {
            return Err(DAMAGED);
        }
        let plain =
            Profile { head: NONE, count: 0, list: List::default(), kind: Kind::Live, contested: false, uneven: false };
        self.profiles.column.resize(head.profiles as usize, plain);
        let mut listed = Vec::new();
        for (ordinal, profile, brings_list) in told {
            let into = self.lists.get(&profile.list);
            let whole = ordinal < head.profiles
                && match profile.kind {
                    Kind::Live => true,
                    Kind::Merged => profile.head < ordinal && into.iter().all(|held| *held < head.records),
                    Kind::Split => into.split_at_checked(profile.head as usize).is_some_and(|(into, held)| {
                        into.iter().all(|into| *into < head.profiles) && held.iter().all(|held| *held < head.records)
                    }),
                    Kind::Emptied | Kind::Erased => into.is_empty(),
                };
            if !whole {
                return Err(DAMAGED);
            }
            if brings_list && profile.kind == Kind::Live {
                listed.push(ordinal);
            }
            self.profiles.column[ordinal] = profile;
        }
        Ok(listed)
    }

    /// Puts the records into the rings of their profiles, and names those whose names are known from there.
    fn place_all(&mut self, names_known: &[bool]) -> Result<(), CheckpointError> {
        const DAMAGED: CheckpointError = CheckpointError::Damaged("records");
        let mut names = vec![0; self.profiles.column.len()];
        for (record, known) in (0..).zip(names_known) {
            let warm = &mut self.records.warm[record];
            if warm.profile == NONE {
                if warm.placed() || *known {
                    return Err(DAMAGED);
                }
                continue;
            }
            let Some(name) = names.get_mut(warm.profile as usize) else { return Err(DAMAGED) };
            if *known {
                warm.name = *name;
            } else if warm.has(flag::NAMED) {
                *name = warm.name;
            }
            if warm.placed() {
                let profile = warm.profile;
                if self.profiles.column[profile].kind != Kind::Live {
                    return Err(DAMAGED);
                }
                self.profiles.attach(&mut self.records.warm, record, profile);
            } else {
                self.profiles.note_left(record, self.records.warm[record].profile);
            }
        }
        Ok(())
    }

    /// The values and, turned round, what each record holds.
    fn read_values(&mut self, head: &Head, source: &mut SectionSource<'_>) -> Result<(), CheckpointError> {
        const DAMAGED: CheckpointError = CheckpointError::Damaged("values");
        let mut spare = Vec::new();
        read_rows("spare", head.spare, source, |bytes| {
            spare.push(bytes.small()?);
            Some(())
        })?;
        let mut free = Spare::of(&spare);
        self.values.spare = spare;

        let unused = Value { digest: Digest128([0; 16]), holders: List::default(), namespace: 0, flags: 0 };
        let mut all: Vec<Value> = Vec::new();
        let (mut holders, mut counts) = (Vec::new(), vec![0u32; self.records.warm.len()]);
        let mut expected = values::Expected::default();
        read_rows("values", head.values, source, |bytes| {
            make_room(&mut all, head.values.saturating_add(head.spare));
            while free.take(all.len()) {
                all.push(unused);
            }
            let from = holders.len();
            all.push(expected.read(bytes, &mut holders)?);
            holders[from..].iter().try_for_each(|holder| {
                *counts.get_mut(*holder as usize)? += 1;
                Some(())
            })
        })?;
        while free.take(all.len()) {
            all.push(unused);
        }
        if !free.is_empty() || all.len() >= NONE as usize {
            return Err(CheckpointError::Damaged("spare"));
        }

        let listed = all.iter().filter(|value| !value.has(value_flag::UNLISTED)).map(|value| value.holders.len);
        self.lists.reserve(listed.chain(counts.iter().copied()));
        // Each record's part of one long list, filled value by value.
        let mut ends = Vec::with_capacity(counts.len());
        let mut end = 0usize;
        for count in counts {
            ends.push(end);
            end += count as usize;
        }
        let mut held = vec![NONE; end];
        let mut rest = holders.as_slice();
        for (index, value) in (0..).zip(&mut all) {
            let (holders, others) = rest.split_at(value.holders.len as usize);
            rest = others;
            for holder in holders {
                let end = &mut ends[*holder as usize];
                held[*end] = index;
                *end += 1;
            }
            if !value.has(value_flag::UNLISTED) {
                value.holders = List::default();
                self.lists.set(&mut value.holders, holders);
            }
        }
        self.values.column = column(all);

        let mut start = 0;
        for (record, end) in (0..).zip(ends) {
            let values = &mut held[start..end];
            if !values.is_empty() {
                let twice = values.windows(2).any(|pair| pair[0] == pair[1]);
                if twice || !self.records.warm[record].has(flag::LIVE) {
                    return Err(DAMAGED);
                }
                self.arrange(record, values);
            }
            start = end;
        }
        Ok(())
    }

    /// Lists the unique values of each live profile, but for those in `listed`, which brought their lists.
    fn list_uniques(&mut self, listed: &[u32]) -> Result<(), CheckpointError> {
        for profile in listed {
            let list = self.lists.get(&self.profiles.column[*profile].list);
            if list.iter().any(|value| *value >= self.values.column.count()) {
                return Err(CheckpointError::Damaged("profiles"));
            }
        }
        let mut uniques = Vec::new();
        for of_one in self.uniques_of_members().chunk_by(|one, other| one.0 == other.0) {
            let profile = of_one[0].0;
            if listed.binary_search(&profile).is_err() {
                uniques.clear();
                uniques.extend(of_one.iter().map(|(_, value)| *value));
                self.lists.set(&mut self.profiles.column[profile].list, &uniques);
            }
        }
        Ok(())
    }

    fn read_dirty(&mut self, head: &Head, source: &mut SectionSource<'_>) -> Result<(), CheckpointError> {
        read_rows("dirty_records", head.dirty_records, source, |bytes| {
            let record: u32 = bytes.small()?;
            let passing = bytes.small::<u16>()? & (flag::PASSING | flag::UNMATCHED) & !flag::VISITED;
            let live = self.records.warm.get(record as usize).filter(|warm| !warm.has(flag::DIRTY))?.has(flag::LIVE);
            self.touch_record(record, passing);
            if passing & flag::UNMATCHED != 0 {
                if !live {
                    return None;
                }
                self.unmatched.push(record);
            }
            Some(())
        })?;
        read_rows("dirty_values", head.dirty_values, source, |bytes| {
            let value: u32 = bytes.small()?;
            let passing = bytes.small::<u16>()? & value_flag::PASSING & !value_flag::VISITED;
            self.values.column.get(value as usize).filter(|value| !value.has(value_flag::DIRTY))?;
            self.touch_value(value, passing);
            Some(())
        })?;
        read_rows("erased", head.erased, source, |bytes| {
            let profile: u32 = bytes.small()?;
            self.profiles.column.get(profile as usize)?;
            self.erased.push(profile);
            Some(())
        })
    }

    /// Tables, counters, counts.
    fn rebuild(&mut self) {
        let cold = &self.records.cold;
        let mut table = HashTable::with_capacity(cold.len());
        let known = |(_, record): &(u32, &Cold)| record.digest != FORGOTTEN;
        for (index, record) in (0..).zip(cold.iter()).filter(known) {
            table.insert_unique(record.digest.table_hash(), index, |index: &u32| cold[*index].digest.table_hash());
        }
        self.records.forgotten = self.records.cold.iter().filter(|cold| cold.digest == FORGOTTEN).count() as u32;
        self.records.table = table;
        self.records.live = self.records.warm.iter().filter(|warm| warm.has(flag::LIVE)).count() as u32;
        self.profiles.live = self.profiles.column.iter().filter(|profile| profile.kind == Kind::Live).count() as u32;

        let column = &self.values.column;
        let mut table = HashTable::with_capacity(column.len() - self.values.spare.len());
        for index in Spare::of(&self.values.spare).others(column.count()) {
            let hash = column[index].digest.table_hash();
            table.insert_unique(hash, index, |index: &u32| column[*index].digest.table_hash());
        }
        self.values.table = table;
        let count = |flags: u16| column.iter().filter(|value| value.has(flags)).count() as u32;
        self.values.generic = count(value_flag::GENERIC);
        self.values.parked = count(value_flag::DISPUTED) + count(value_flag::PARKED);
        for value in 0..self.values.column.count() {
            self.recount_if_many(value);
        }
    }

    /// Each profile with each unique value that its members hold now, ascending.
    fn uniques_of_members(&self) -> Vec<(u32, u32)> {
        let mut uniques = Vec::new();
        for (record, warm) in (0..).zip(self.records.warm.iter()) {
            if warm.placed() {
                uniques.extend(self.uniques_of(record).iter().map(|value| (warm.profile, *value)));
            }
        }
        uniques.sort_unstable();
        uniques.dedup();
        uniques
    }

    /// Who holds the values whose holders are only counted.
    fn holders_of_unlisted(&self) -> HashMap<u32, Vec<u32>> {
        let unlisted = |value: &u32| self.values.column[*value].has(value_flag::UNLISTED);
        let mut holders: HashMap<u32, Vec<u32>> =
            (0..self.values.column.count()).filter(unlisted).map(|value| (value, Vec::new())).collect();
        if !holders.is_empty() {
            for record in 0..self.records.warm.count() {
                for value in self.values_of(record).iter().filter(|value| unlisted(value)) {
                    holders.entry(*value).or_default().push(record);
                }
            }
        }
        holders
    }
}

/// A column that wastes nothing.
fn column<T>(mut items: Vec<T>) -> Column<T> {
    items.shrink_to_fit();
    Column::from(items)
}

/// Free indexes, walked in ascending order.
struct Spare {
    sorted: std::iter::Peekable<std::vec::IntoIter<u32>>,
}

impl Spare {
    fn of(spare: &[u32]) -> Self {
        let mut sorted = spare.to_vec();
        sorted.sort_unstable();
        Self { sorted: sorted.into_iter().peekable() }
    }

    /// Whether `index` is free. To be asked of ascending indexes.
    fn take(&mut self, index: usize) -> bool {
        self.sorted.next_if(|free| *free as usize == index).is_some()
    }

    /// Whether all free indexes were asked for.
    fn is_empty(&mut self) -> bool {
        self.sorted.peek().is_none()
    }

    /// The indexes below `end` that are not free.
    fn others(mut self, end: u32) -> impl Iterator<Item = u32> {
        (0..end).filter(move |index| !self.take(*index as usize))
    }
}
