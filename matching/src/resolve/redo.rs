//! Replay at a restart: the journal's changes are applied as they were, so every profile has its old ordinal.

use onefold_core::change::ProfileChange;
use onefold_core::ids::{Digest128, ProfileOrdinal};

use crate::index::profiles::Kind;
use crate::index::records::flag;
use crate::index::values::flag as value_flag;
use crate::resolve::Engine;
use crate::resolve::diversity::Behind;

/// A change that does not fit the state it is replayed onto.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedoError {
    /// A record that no fragment or retraction spoke of.
    #[error("the change names a record that is not known")]
    UnknownRecord,
    /// A profile of this ordinal was never opened, or has ended, or is opened out of turn.
    #[error("the change does not fit what is known of profile {}", .0.0)]
    Profile(ProfileOrdinal),
    /// A record is not in the profile that the change takes it from.
    #[error("the change takes a record out of profile {}, which does not hold it", .0.0)]
    NotAMember(ProfileOrdinal),
}

impl Engine {
    /// Applies a change that [`Engine::settle`] once answered with, without resolving anything. The arrivals that led to
    /// it must have been replayed before. After the last one of a settlement call [`Engine::redone`], after the last of all
    /// [`Engine::finish_replay`].
    ///
    /// # Errors
    /// [`RedoError`] when the change does not fit; the engine is then of no further use.
    pub fn redo(&mut self, change: &ProfileChange) -> Result<(), RedoError> {
        self.replaying = true;
        match change {
            ProfileChange::Created { profile, records } => {
                if profile.0 != self.profiles.column.count() {
                    return Err(RedoError::Profile(*profile));
                }
                let opened = self.profiles.open();
                for record in records {
                    self.redo_join(*record, opened)?;
                }
            }
            ProfileChange::Updated { profile, joined, touched } => {
                match self.profiles.column.get(profile.0 as usize).map(|known| known.kind) {
                    Some(Kind::Live) => {}
                    Some(Kind::Emptied) if !joined.is_empty() => self.profiles.revive(profile.0),
                    _ => return Err(RedoError::Profile(*profile)),
                }
                for record in joined {
                    self.redo_join(*record, profile.0)?;
                }
                for record in touched {
                    let record = self.records.find(*record).ok_or(RedoError::UnknownRecord)?;
                    let warm = &self.records.warm[record];
                    if warm.placed() && warm.profile == profile.0 && !warm.has(flag::LIVE) {
                        self.profiles.leave(&mut self.records.warm, record);
                    }
                }
            }
            ProfileChange::Split { from, stays, into } => {
                self.redo_is_live(*from)?;
                for (to, records) in into {
                    self.redo_move(*from, *to, records)?;
                }
                if !stays {
                    let ends: Vec<u32> = into.iter().map(|(to, _)| to.0).collect();
                    let held = self.oldest_of(into.iter().flat_map(|(_, records)| records));
                    self.redo_end(*from, Kind::Split, &ends, &held)?;
                }
                self.gave.insert(from.0);
            }
            ProfileChange::Merged { from, into, records } => {
                self.redo_is_live(*from)?;
                // A merge keeps the older id: otherwise redirects could run in a circle.
                if into.0 >= from.0 {
                    return Err(RedoError::Profile(*into));
                }
                self.redo_move(*from, *into, records)?;
                let held = self.oldest_of(records);
                self.redo_end(*from, Kind::Merged, &[into.0], &held)?;
            }
            ProfileChange::AccountChanged { .. } => {}
            // Forgetting the records did it; here it is only told.
            ProfileChange::Erased { profile, gone } => {
                let known = self.profiles.column.get(profile.0 as usize).map(|known| known.kind);
                if known != Some(if *gone { Kind::Erased } else { Kind::Live }) {
                    return Err(RedoError::Profile(*profile));
                }
                self.erased.retain(|told| *told != profile.0);
            }
            ProfileChange::Emptied { profile } => {
                self.redo_is_live(*profile)?;
                let members: Vec<u32> = self.profiles.members(&self.records.warm, profile.0).collect();
                for record in members {
                    self.profiles.leave(&mut self.records.warm, record);
                }
                self.redo_end(*profile, Kind::Emptied, &[], &[])?;
            }
            // Consent moves no record.
            ProfileChange::ConsentChanged { profile } => self.redo_is_live(*profile)?,
        }
        Ok(())
    }

    /// All changes of one settlement were applied.
    pub fn redone(&mut self) {
        self.part_left();
        self.profiles.handed.settled();
    }

    /// Ends a replay: nothing is dirty any more, and all that follows from fragments and clusters is computed.
    pub fn finish_replay(&mut self) {
        self.part_left();
        self.match_rows();
        let dirty_values = std::mem::take(&mut self.dirty_values);
        let dirty_records = std::mem::take(&mut self.dirty_records);
        self.refresh();
        self.clean(dirty_records, dirty_values);
    }

    /// Computes what follows from fragments and clusters: the standing of values, what profiles hold.
    pub(super) fn refresh(&mut self) {
        self.replaying = false;
        for profile in 0..self.profiles.column.count() {
            if self.profiles.column[profile].kind == Kind::Live {
                let mut uniques: Vec<u32> = self
                    .profiles
                    .members(&self.records.warm, profile)
                    .flat_map(|record| self.uniques_of(record).iter().copied())
                    .collect();
                uniques.sort_unstable();
                uniques.dedup();
                let members: Vec<u32> = self.profiles.members(&self.records.warm, profile).collect();
                let uneven = !self.are_even(&members);
                let contested = members.iter().any(|record| {
                    let others = self.links_by_weight(*record).map(|(other, _)| other);
                    let mut others = others.chain(self.links_by_judgement(*record));
                    self.is_kept_apart(*record) || others.any(|other| self.records.warm[other].profile != profile)
                });
                let held = &mut self.profiles.column[profile];
                held.contested = contested;
                held.uneven = uneven;
                self.lists.set(&mut held.list, &uniques);
            }
        }
        let all: Vec<u32> = (0..self.values.column.count())
            .filter(|value| self.values.column[*value].has(value_flag::UNLISTED))
            .collect();
        self.relist(&all);
        for value in 0..self.values.column.count() {
            if !self.values.column[value].has(value_flag::COUNTED) {
                self.recount_if_many(value);
            }
            let behind = self.behind(value);
            self.set_value_flag(value, value_flag::GENERIC, matches!(behind, Behind::Generic(_)));
            self.set_value_flag(value, value_flag::DISPUTED, matches!(behind, Behind::Disputed(_)));
            self.unlist_if_far_too_crowded(value);
            let links = self.linking(value);
            let parked = links && self.holders_are_apart(value);
            self.set_value_flag(value, value_flag::PARKED, parked);
            let divided = links && (parked || self.is_uneven_within(value)) && self.divide(value).is_some();
            self.values.column[value].flags &= !value_flag::DIVIDED;
            if divided {
                self.values.column[value].flags |= value_flag::DIVIDED;
            }
            if parked || divided {
                for holder in self.lists.get(&self.values.column[value].holders) {
                    let warm = &self.records.warm[*holder];
                    if warm.links() && warm.placed() {
                        self.profiles.column[warm.profile].contested = true;
                    }
                }
            }
        }
    }

    /// Whether a holder's profile is uneven: only then may holders of one profile contradict each other.
    fn is_uneven_within(&self, value: u32) -> bool {
        let mut holders = self.holders(value).iter().map(|holder| &self.records.warm[*holder]);
        holders.any(|warm| !warm.placed() || self.profiles.column[warm.profile].uneven)
    }

    /// Whether the value's holders are in more than one profile. A link that was parked stays so for the rest of the
    /// greedy order, since clusters only grow: so this is the same as "parked" for a value that would link.
    fn holders_are_apart(&self, value: u32) -> bool {
        let mut profiles = self
            .holders(value)
            .iter()
            .map(|holder| &self.records.warm[*holder])
            .filter(|warm| warm.links() && warm.placed())
            .map(|warm| warm.profile);
        let first = profiles.next();
        profiles.any(|profile| Some(profile) != first)
    }

    fn redo_is_live(&self, profile: ProfileOrdinal) -> Result<(), RedoError> {
        match self.profiles.column.get(profile.0 as usize) {
            Some(known) if known.kind == Kind::Live => Ok(()),
            _ => Err(RedoError::Profile(profile)),
        }
    }

    fn redo_join(&mut self, record: Digest128, profile: u32) -> Result<(), RedoError> {
        let record = self.records.find(record).ok_or(RedoError::UnknownRecord)?;
        if self.records.warm[record].placed() {
            return Err(RedoError::NotAMember(ProfileOrdinal(profile)));
        }
        self.profiles.attach(&mut self.records.warm, record, profile);
        Ok(())
    }

    fn redo_move(&mut self, from: ProfileOrdinal, to: ProfileOrdinal, records: &[Digest128]) -> Result<(), RedoError> {
        self.redo_is_live(to)?;
        for record in records {
            let record = self.records.find(*record).ok_or(RedoError::UnknownRecord)?;
            let warm = &self.records.warm[record];
            if !warm.placed() || warm.profile != from.0 {
                return Err(RedoError::NotAMember(from));
            }
            self.profiles.detach(&mut self.records.warm, record);
            self.profiles.attach(&mut self.records.warm, record, to.0);
        }
        Ok(())
    }

    fn redo_end(&mut self, profile: ProfileOrdinal, kind: Kind, into: &[u32], held: &[u32]) -> Result<(), RedoError> {
        if self.profiles.column[profile.0].count > 0 {
            return Err(RedoError::NotAMember(profile));
        }
        self.profiles.end(profile.0, kind, into, held, &mut self.lists);
        Ok(())
    }
}
