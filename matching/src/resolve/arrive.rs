//! Arrivals: which fragment of a record is the last word, and who holds which value now.

use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::ids::{Digest128, Place, SlotId};
use smallvec::SmallVec;

use crate::index::records::{flag, name_of};
use crate::index::values::flag as value_flag;
use crate::prepared::{LinkValue, Prepared};
use crate::resolve::Engine;

/// What an arrival means for its source record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// The record was never seen.
    Fresh,
    /// It replaces what was known.
    Newer,
    /// It is what is known already.
    Duplicate,
    /// Something newer is known.
    Superseded,
}

impl Arrival {
    /// Whether the state changes by it.
    #[must_use]
    pub const fn applies(self) -> bool {
        matches!(self, Self::Fresh | Self::Newer)
    }
}

impl Engine {
    /// What this fragment would mean now; changes nothing.
    ///
    /// The last word on a record is the one observed last; at one moment a retraction beats a fragment, and of two
    /// fragments the one with the greater digest of facts wins. So any order of arrival ends in the same state.
    #[must_use]
    pub fn judge(&self, prepared: &Prepared) -> Arrival {
        self.judge_version(self.records.find(prepared.record), prepared.observed_at, Some(prepared.facts))
    }

    /// What a retraction of this record would mean now; changes nothing.
    #[must_use]
    pub fn judge_retraction(&self, record: Digest128, observed_at: ObservedAt) -> Arrival {
        self.judge_version(self.records.find(record), observed_at, None)
    }

    fn judge_version(&self, found: Option<u32>, observed_at: ObservedAt, facts: Option<Digest128>) -> Arrival {
        let Some(record) = found else { return Arrival::Fresh };
        let cold = &self.records.cold[record];
        let held_retracted = !self.records.warm[record].has(flag::LIVE);
        let held = (cold.observed_at, held_retracted, if held_retracted { Digest128([0; 16]) } else { cold.facts });
        let offered = (observed_at.0, facts.is_none(), facts.unwrap_or(Digest128([0; 16])));
        match offered.cmp(&held) {
            std::cmp::Ordering::Greater => Arrival::Newer,
            std::cmp::Ordering::Equal => Arrival::Duplicate,
            std::cmp::Ordering::Less => Arrival::Superseded,
        }
    }

    /// Takes in a fragment if it is the last word on its record. What it links is seen after [`Engine::settle`].
    pub fn put(&mut self, prepared: &Prepared, place: Place, slot: SlotId) -> Arrival {
        let found = self.records.find(prepared.record);
        let arrival = self.judge_version(found, prepared.observed_at, Some(prepared.facts));
        if arrival.applies() {
            let record = found.unwrap_or_else(|| self.records.open(prepared.record));
            let cold = &mut self.records.cold[record];
            cold.facts = prepared.facts;
            cold.observed_at = prepared.observed_at.0;
            cold.place = place;
            self.records.slots[record] = slot.0;
            self.index(record, prepared);
            self.touch_record(record, flag::FACTS);
        }
        arrival
    }

    /// Looks at everything that putting these fragments will touch, and changes nothing. The looks do not wait for one
    /// another, so a batch that is looked at first is put and settled faster once the engine outgrows the processor's
    /// caches. Answers with a number that says nothing, so that the looks are not optimised away.
    #[must_use = "a number nobody uses lets the looks be optimised away: pass it to `std::hint::black_box`"]
    pub fn look_ahead<'a>(&self, batch: impl IntoIterator<Item = &'a Prepared>) -> u32 {
        let mut seen = 0;
        for prepared in batch {
            if let Some(record) = self.records.find(prepared.record) {
                seen ^= self.records.warm[record].profile;
            }
            for value in &prepared.links {
                if let Some(value) = self.values.find(*value)
                    && let Some(holder) = self.holders(value).last()
                {
                    seen ^= self.records.warm[*holder].profile;
                }
            }
        }
        seen
    }

    /// Prepares a live record's fragment anew, under another configuration: its links and its name, whatever its time.
    /// Answers whether the record is live with these facts; otherwise nothing changes.
    pub fn prepare_again(&mut self, prepared: &Prepared) -> bool {
        match self.records.find(prepared.record) {
            Some(record)
                if self.records.warm[record].has(flag::LIVE) && self.records.cold[record].facts == prepared.facts =>
            {
                self.index(record, prepared);
                true
            }
            _ => false,
        }
    }

    /// Takes a record back, if this is the last word on it. A tombstone with its time stays, so an older fragment that
    /// comes later does not bring the record back.
    pub fn retract(&mut self, record: Digest128, observed_at: ObservedAt, place: Place) -> Arrival {
        let found = self.records.find(record);
        let arrival = self.judge_version(found, observed_at, None);
        if arrival.applies() {
            let record = found.unwrap_or_else(|| self.records.open(record));
            let cold = &mut self.records.cold[record];
            let (version, lay_at) = ((cold.observed_at, cold.facts), cold.place);
            cold.facts = Digest128([0; 16]);
            cold.observed_at = observed_at.0;
            cold.place = place;
            if self.records.warm[record].has(flag::LIVE) {
                let said: SmallVec<[LinkValue; 16]> =
                    self.values_of(record).iter().map(|value| self.values.column[*value].link_value()).collect();
                self.bygone.set(record, version, said);
                self.bygone.set_place(record, lay_at);
                let beside = self.beside(record);
                self.bygone.set_beside(record, beside);
                self.unindex(record);
            }
        }
        arrival
    }

    /// The content of a record lies elsewhere now; nothing else changes. Answers whether the record is known.
    pub fn move_place(&mut self, record: Digest128, place: Place) -> bool {
        match self.records.find(record) {
            Some(record) => {
                self.records.cold[record].place = place;
                true
            }
            None => false,
        }
    }

    /// Makes the record's entries in the index those of this fragment.
    fn index(&mut self, record: u32, prepared: &Prepared) {
        let before = self.records.warm[record];
        let was_live = before.has(flag::LIVE);
        let mut held: SmallVec<[u32; 16]> = SmallVec::from_slice(self.values_of(record));
        let mut offered: SmallVec<[u32; 16]> = prepared.links.iter().map(|value| self.values.intern(*value)).collect();

        let (name_before, name) = (before.has(flag::NAMED).then_some(before.name), prepared.name.map(name_of));
        for value in held.iter().filter(|_| was_live) {
            self.uncount(*value, record, name_before);
        }
        let turned_row = self.set_row(record, prepared.party, prepared.features.as_ref(), &before);
        let warm = &mut self.records.warm[record];
        warm.source = prepared.source.0;
        warm.name = name.unwrap_or_default();
        warm.flags |= flag::LIVE;
        set_flag(&mut warm.flags, flag::NAMED, prepared.name.is_some());
        set_flag(&mut warm.flags, flag::ORGANISATION, prepared.party == PartyKind::Organisation);
        set_flag(&mut warm.flags, flag::CORRECTS, prepared.corrects);
        if !was_live {
            self.records.live += 1;
            self.bygone.drop(record);
        }
        if turned_row {
            self.post_row(record);
        }
        self.arrange(record, &mut offered);
        let contradicts = self.records.warm[record].has(flag::SELF_CONTRADICTING);

        held.sort_unstable();
        offered.sort_unstable();
        let mut change = 0;
        for value in held.iter().filter(|value| offered.binary_search(value).is_err()) {
            self.drop_holder(*value, record);
            change |= flag::REOPENED;
        }
        for value in offered.iter().filter(|value| held.binary_search(value).is_err()) {
            self.add_holder(*value, record);
            change |= flag::GREW;
        }
        // A record that begins or ceases to contradict itself leaves or enters all its links at once.
        let turned = was_live && contradicts != before.has(flag::SELF_CONTRADICTING);
        let renamed = was_live && name_before != name;
        let compared_otherwise = was_live && (turned_row || before.party() != prepared.party);
        if turned || compared_otherwise {
            change |= flag::REOPENED;
        }
        if turned || renamed || change != 0 {
            for value in &offered {
                self.touch_value(*value, if turned { value_flag::SHRANK } else { 0 });
            }
        }
        for value in &offered {
            self.count(*value, record);
        }
        if !was_live {
            // Taken back and sent again before anything was settled: its old place in a profile is open to question.
            change |= if before.placed() { flag::GREW | flag::REOPENED } else { flag::GREW };
        }
        self.touch_record(record, change);
    }

    /// Takes the record out of the index.
    pub(super) fn unindex(&mut self, record: u32) {
        let before = self.records.warm[record];
        let held: SmallVec<[u32; 16]> = SmallVec::from_slice(self.values_of(record));
        let name = before.has(flag::NAMED).then_some(before.name);
        for value in &held {
            self.uncount(*value, record, name);
            self.drop_holder(*value, record);
        }
        self.drop_row(record, before.party());
        for (other, _) in self.judged_with(record) {
            self.touch_record(other, flag::REOPENED);
        }
        let warm = &mut self.records.warm[record];
        self.lists.clear(&mut warm.values);
        warm.name = 0;
        // What it was of is asked for when it is erased: what is told of its namesake of the other kind stays.
        warm.flags &= flag::PLACED | flag::DIRTY | flag::ORGANISATION;
        self.records.live -= 1;
        self.touch_record(record, 0);
    }

    /// Stores the record's values, unique ones first, and notes whether two of one namespace are among them.
    pub(super) fn arrange(&mut self, record: u32, offered: &mut [u32]) {
        let (rules, column) = (&self.rules, &self.values.column);
        let unique = |value: &u32| rules.is_unique(column[*value].namespace);
        offered.sort_unstable_by_key(|value| (!unique(value), *value));
        let count = offered.iter().take_while(|value| unique(value)).count();
        let contradicts = count > 1 && {
            let mut namespaces: SmallVec<[u16; 8]> =
                offered[..count].iter().map(|value| column[*value].namespace).collect();
            namespaces.sort_unstable();
            namespaces.windows(2).any(|pair| pair[0] == pair[1])
        };
        let warm = &mut self.records.warm[record];
        let many = count.min(usize::from(flag::UNIQUES_MANY)) as u16;
        warm.flags = warm.flags & !(flag::UNIQUES_MANY << flag::UNIQUES_SHIFT) | many << flag::UNIQUES_SHIFT;
        set_flag(&mut warm.flags, flag::SELF_CONTRADICTING, contradicts);
        self.lists.set(&mut warm.values, offered);
    }

    fn add_holder(&mut self, value: u32, record: u32) {
        self.touch_value(value, 0);
        let held = &mut self.values.column[value];
        if held.has(value_flag::UNLISTED) {
            held.holders.len += 1;
            return;
        }
        self.lists.push(&mut held.holders, record);
    }

    fn drop_holder(&mut self, value: u32, record: u32) {
        self.touch_value(value, value_flag::SHRANK);
        let held = &mut self.values.column[value];
        if held.has(value_flag::UNLISTED) {
            // Saturating: the length of an unlisted value cannot be checked when a checkpoint is read.
            held.holders.len = held.holders.len.saturating_sub(1);
        } else {
            self.lists.remove(&mut held.holders, record);
        }
    }
}

const fn set_flag(flags: &mut u16, flag: u16, on: bool) {
    if on {
        *flags |= flag;
    } else {
        *flags &= !flag;
    }
}
