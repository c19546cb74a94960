//! Records that changed hands: from one version to the next they gave up every identifier that named somebody, as where a
//! source gives a key to somebody else. What such a record was part of before says nothing of whom it is of today, so that is
//! kept here: an id that ended leads to whoever was with the record, not to whoever has it now. Only records that changed hands
//! have entries.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::NONE;

/// Of those that a record was with so many of the oldest are remembered (law 10).
pub(crate) const BESIDE_MAX: usize = 8;

/// Of a record so many of its last changes of hands are remembered (law 10): before that it is only known that there were some.
pub(crate) const PARTINGS_MAX: usize = 16;

/// A record while one party has it: which, and how often it had changed hands by then.
pub(crate) type Turn = (u32, u32);

/// How a record left its party behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parting {
    /// The profile that it was in, or had been in last.
    pub(crate) profile: u32,
    /// The oldest of those that it was with there.
    pub(crate) beside: Box<[Turn]>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handed {
    /// How often each changed hands.
    turns: BTreeMap<u32, u32>,
    partings: BTreeMap<Turn, Parting>,
    /// (Profile, record): the record had changed hands so often when the profile ended that held it; nought where there is no
    /// entry.
    ended: BTreeMap<(u32, u32), u32>,
    /// Records that changed hands since the last settlement, with how often they had before.
    unsettled: BTreeMap<u32, u32>,
}

impl Handed {
    /// How often the record changed hands.
    pub(crate) fn turn(&self, record: u32) -> u32 {
        self.turns.get(&record).copied().unwrap_or(0)
    }

    /// The same, at the last settlement: what it was with then it was with by this.
    pub(crate) fn settled_turn(&self, record: u32) -> u32 {
        self.unsettled.get(&record).copied().unwrap_or_else(|| self.turn(record))
    }

    /// Whether the record changed hands since the last settlement.
    pub(crate) fn is_unsettled(&self, record: u32) -> bool {
        self.unsettled.contains_key(&record)
    }

    /// The record is somebody else's from now on.
    pub(crate) fn pass_on(&mut self, record: u32, parting: Parting) {
        let turn = self.turn(record);
        self.unsettled.entry(record).or_insert(turn);
        self.turns.insert(record, turn.saturating_add(1));
        if parting.profile != NONE {
            self.partings.insert((record, turn), parting);
            if self.partings.range((record, 0)..=(record, u32::MAX)).count() > PARTINGS_MAX
                && let Some(oldest) = self.partings.range((record, 0)..).next().map(|(turn, _)| *turn)
            {
                self.partings.remove(&oldest);
            }
        }
    }

    /// How the record left the party that had it in this turn.
    pub(crate) fn parting(&self, turn: Turn) -> Option<&Parting> {
        self.partings.get(&turn)
    }

    /// A profile ended that held these.
    pub(crate) fn note_ended(&mut self, profile: u32, held: &[u32]) {
        if !self.turns.is_empty() {
            let turns = held.iter().map(|record| (*record, self.turn(*record))).filter(|(_, turn)| *turn > 0);
            let turns: Vec<((u32, u32), u32)> = turns.map(|(record, turn)| ((profile, record), turn)).collect();
            self.ended.extend(turns);
        }
    }

    /// How often the record had changed hands when the profile ended that held it.
    pub(crate) fn turn_at_end(&self, profile: u32, record: u32) -> u32 {
        self.ended.get(&(profile, record)).copied().unwrap_or(0)
    }

    /// A settlement ends.
    pub(crate) fn settled(&mut self) {
        self.unsettled.clear();
    }

    /// By record: how often it changed hands, and how often by the last settlement.
    pub(crate) fn turns(&self) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
        self.turns.iter().map(|(record, turn)| (*record, *turn, self.settled_turn(*record)))
    }

    /// By record and turn.
    pub(crate) fn partings(&self) -> impl Iterator<Item = (Turn, &Parting)> + '_ {
        self.partings.iter().map(|(turn, parting)| (*turn, parting))
    }

    /// By profile and record.
    pub(crate) fn ended(&self) -> impl Iterator<Item = ((u32, u32), u32)> + '_ {
        self.ended.iter().map(|(at, turn)| (*at, *turn))
    }

    /// From a checkpoint: how often a record changed hands, and how often by the last settlement.
    pub(crate) fn set_turn(&mut self, record: u32, turn: u32, settled: u32) {
        self.turns.insert(record, turn);
        if settled != turn {
            self.unsettled.insert(record, settled);
        }
    }

    /// From a checkpoint.
    pub(crate) fn set_parting(&mut self, turn: Turn, parting: Parting) {
        self.partings.insert(turn, parting);
    }

    /// From a checkpoint.
    pub(crate) fn set_ended(&mut self, profile: u32, record: u32, turn: u32) {
        self.ended.insert((profile, record), turn);
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        // About what an entry of a sorted map takes.
        let beside: usize = self.partings.values().map(|parting| parting.beside.len() * size_of::<Turn>()).sum();
        2 * ((self.turns.len() + self.unsettled.len()) * size_of::<(u32, u32)>()
            + self.partings.len() * size_of::<(Turn, Parting)>()
            + self.ended.len() * size_of::<((u32, u32), u32)>())
            + beside
    }
}

/// Where an id leads, before it is asked whose the records are today.
#[derive(Debug, Default)]
pub(crate) struct Walk<'a> {
    /// The profiles that have not ended by a merge or a split.
    pub(crate) ends: BTreeSet<u32>,
    /// How records that an ended profile held left its party.
    pub(crate) partings: Vec<&'a Parting>,
    /// One of them did so longer ago than is remembered.
    pub(crate) forgot: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_that_changes_hands_daily_the_last_are_remembered() {
        let mut handed = Handed::default();
        let parting = |profile| Parting { profile, beside: Box::new([(7, 0)]) };
        for day in 0..100 {
            handed.pass_on(3, parting(day));
        }
        assert_eq!((handed.turn(3), handed.settled_turn(3)), (100, 0));
        assert_eq!(handed.partings().count(), PARTINGS_MAX);
        assert_eq!(handed.parting((3, 99)), Some(&parting(99)));
        assert_eq!(handed.parting((3, 1)), None);
        handed.settled();
        assert_eq!((handed.settled_turn(3), handed.turn(4)), (100, 0));
    }
}
