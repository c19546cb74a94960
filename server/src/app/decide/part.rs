//! Corrections whose record becomes somebody else's.
//!
//! A person's correction is judged the same as the records that they had, so that it stays theirs whatever their sources say. Where
//! a source gives one of those records to somebody else, it must not go along: the other person would be shown by this one's
//! name. Whether a source did, or only took a new address over, shows by what is left: where another record of the profile still
//! says what this one gave up, and names nobody besides, the person goes on without it.

use std::sync::Arc;

use onefold_core::config::STEWARD_SOURCE;
use onefold_core::decision::{self, EntryKind, JudgementsEnded};
use onefold_core::ids::{Digest128, Sequence, SlotId};
use onefold_core::judgement::Verdict;
use onefold_core::namespace::NamespaceClass;
use onefold_matching::prepared::LinkValue;
use onefold_matching::resolve::JUDGEMENTS_MAX;
use onefold_store::journal::{JournalError, entry_room};

use super::decided::Effect;
use super::{Deciding, MOVED_ROOM};
use crate::app::ingest::Item;
use crate::app::lane::kind;
use crate::app::tenant::Tenant;

/// What parting corrections from a record comes to.
struct Parting {
    /// The judgements that end, with the keys of their words.
    ends: Vec<(Sequence, SlotId)>,
    /// A correction that has to go with another record of the person's, where none that stays holds it yet.
    goes: Option<(Digest128, Digest128)>,
}

/// How many of these items may part a correction from its record, and the room of all that, beside their own.
pub(in crate::app) fn parting(tenant: &Tenant, items: &[Item]) -> (usize, usize) {
    let state = tenant.state();
    if state.judgements.len() == 0 {
        return (0, 0);
    }
    let judged = |item: &Item| match item {
        Item::Put(arriving) | Item::Replay { arriving, .. } => state.judgements.about(arriving.prepared.record).len(),
        _ => 0,
    };
    let judged = items.iter().map(judged).filter(|entries| *entries > 0);
    judged.fold((0, 0), |(count, room), entries| (count + 1, room + MOVED_ROOM + entry_room(16 + 10 * entries)))
}

impl Deciding<'_> {
    /// A live record gives up all that named somebody, which is among these. Where its person goes on without it, what was
    /// corrected of them stays with them.
    pub(super) fn part_corrections(&mut self, left: Digest128, gone: &[LinkValue]) -> Result<(), JournalError> {
        let Some(Parting { ends, goes }) = self.corrections_to_part(left, gone) else { return Ok(()) };
        if let Some((correction, other)) = goes
            && !self.correction_goes_with(correction, other)?
        {
            return Ok(());
        }
        let sequence = self.sequence.next();
        let payload = decision::encode(&JudgementsEnded { entries: ends.iter().map(|(entry, _)| *entry).collect() });
        self.group.builder.push(self.tenant.id, sequence, kind(EntryKind::JudgementsEnded), |_, out| {
            out.extend_from_slice(&payload);
        })?;
        self.sequence = sequence;
        for (entry, slot) in ends {
            self.parted.insert(entry);
            self.group.commit.destroy.push((Arc::clone(self.tenant), slot));
            self.effects.push(Effect::Part(entry));
        }
        Ok(())
    }

    /// Whether two records are judged the same, also by what this group decided.
    pub(super) fn are_judged_same(&self, one: Digest128, other: Digest128) -> bool {
        let state = &self.state;
        let entry = state.judgements.on((one.min(other), one.max(other)));
        state.engine.judgement(one, other).is_some_and(|judged| judged.verdict == Verdict::Same)
            && entry.is_none_or(|entry| !self.parted.contains(&entry))
    }

    /// `None` where no correction is judged the same as this record, where nobody else of its profile says what it gave up, so that it
    /// may only say something new of the same person, and where the correction could go with nobody.
    fn corrections_to_part(&self, left: Digest128, gone: &[LinkValue]) -> Option<Parting> {
        let stewards = self.config.source_named(STEWARD_SOURCE)?;
        let (engine, judgements) = (&self.state.engine, &self.state.judgements);
        let is_correction = |record: Digest128| engine.record(record).is_some_and(|view| view.source == stewards);
        let mut held: Vec<(Sequence, SlotId, Digest128)> = Vec::new();
        for entry in judgements.about(left) {
            let told = judgements.get(entry)?;
            let (one, two) = told.records;
            let other = if one == left { two } else { one };
            if is_correction(other) && self.are_judged_same(left, other) {
                held.push((entry, told.slot, other));
            }
        }
        let correction = held.first().map(|(.., correction)| *correction).filter(|_| !is_correction(left))?;
        let goes = |record: &Digest128| self.overlay.get(record).is_some_and(|(version, _)| version.retracted);
        let stays = |record: &Digest128| *record != left && !is_correction(*record) && !goes(record);
        let profile = engine.profile_of(left)?;
        let members = engine.members(profile);
        let others: Vec<Digest128> = members.iter().map(|view| view.digest).filter(stays).collect();
        let names = |value: &&LinkValue| {
            let namespace = self.config.config.namespace(value.namespace);
            namespace.is_some_and(|namespace| namespace.class != NamespaceClass::Supporting)
        };
        let gone: Vec<&LinkValue> = gone.iter().filter(names).collect();
        let says = |record: &&Digest128| {
            let links = self.links.get(*record).cloned().unwrap_or_else(|| engine.links_of(**record));
            // A record with two persons' addresses in it tells of neither that they go on.
            let names_others = links
                .iter()
                .filter(names)
                .any(|value| engine.profiles_at(value.digest).iter().any(|of| *of != profile));
            !names_others && gone.iter().any(|value| links.contains(value))
        };
        let go_on: Vec<&Digest128> = others.iter().filter(says).collect();
        if go_on.is_empty() {
            return None;
        }
        let ends = held.iter().map(|(entry, slot, _)| (*entry, *slot)).collect();
        // Later corrections are judged the same as the first: where one is held, all are.
        let is_held = |correction: &Digest128| {
            let moved = self.moved.iter().any(|(moved, other)| moved == correction && stays(other));
            moved || others.iter().any(|record| self.are_judged_same(*correction, *record))
        };
        if held.iter().any(|(.., correction)| is_held(correction)) {
            return Some(Parting { ends, goes: None });
        }
        // What stewards judged otherwise stays: a journal must hold no judgement that a replay refuses.
        let may = |other: &&&Digest128| engine.check_judgement(correction, ***other, Verdict::Same).is_ok();
        let other = go_on.iter().find(may).filter(|_| judgements.len() + self.moved.len() < JUDGEMENTS_MAX)?;
        Some(Parting { ends, goes: Some((correction, **other)) })
    }
}
