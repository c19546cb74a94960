//! What becomes of fragments and retractions.

use onefold_core::config::STEWARD_SOURCE;
use onefold_core::consent::stops::StandsOn;
use onefold_core::decision::{self, EntryKind, LateVersion, Quarantined, RecordRetracted, Sealed};
use onefold_core::erasure::{Carried, Did, ResendsStopped};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::{Fragment, ObservedAt};
use onefold_core::ids::{Digest128, Place, Sequence, SlotId};
use onefold_core::judgement::{AUTHOR_BYTES_MAX, Judged, Verdict};
use onefold_core::limits;
use onefold_core::namespace::NamespaceClass;
use onefold_matching::prepared::{LinkValue, Prepared};
use onefold_matching::resolve::JUDGEMENTS_MAX;
use onefold_store::journal::JournalError;

use super::decided::Effect;
use super::{Deciding, Drafted, Version};
use crate::app::consent::Saying;
use crate::app::hierarchy::digest::Digester;
use crate::app::ingest::{Arriving, Outcome};
use crate::app::lane::{judgement_room, kind};
use crate::app::privacy::receipt;
use crate::app::quarantine::points::{POINTS_MAX, Points};
use crate::app::quarantine::{self, HeldBefore};
use crate::app::tenant::Held;

/// Bytes of a batch that [`Deciding::keep_correction`] may take beside the retraction's own.
pub(in crate::app) const MOVED_ROOM: usize = judgement_room(AUTHOR_BYTES_MAX + receipt::NAME_BYTES_MAX);

impl Deciding<'_> {
    pub(super) fn put(&mut self, mut arriving: Arriving) -> Result<Drafted, JournalError> {
        if arriving.config_version != self.config.version {
            // A correction; what else arrives was looked at again by the lane (`Item::under`).
            if let Ok(fragment) = Fragment::decode(&arriving.encoded) {
                arriving.prepared = self.config.preparer().prepare(&fragment).0;
            }
        }
        let record = arriving.prepared.record;
        if let Some(stopped) = self.stop(&arriving) {
            return Ok(stopped);
        }
        let known = self.known(record);
        if arriving.undated
            && let Some((version, _)) = known
            && !version.retracted
            && self.same_but_for_the_time(&arriving, version)
        {
            let outcome = Outcome::Duplicate { sequence: self.sequence, profile: None };
            return Ok(Drafted { outcome, record: Some(record) });
        }
        let version = Version::of_put(&arriving.prepared);
        if let Some((live, _)) = known
            && version <= live
        {
            if live.retracted {
                self.comes_late(&arriving.prepared)?;
            }
            let (sequence, profile) = (self.sequence, None);
            let outcome = if version == live {
                Outcome::Duplicate { sequence, profile }
            } else {
                Outcome::Superseded { sequence, profile }
            };
            return Ok(Drafted { outcome, record: Some(record) });
        }
        let slot = known.and_then(|(_, slot)| slot).filter(|_| !self.changes_hands(&arriving.prepared));
        let gone = self.given_up(&arriving.prepared);
        let passes_on = gone.is_some();
        let (sequence, place, slot) = self.seal_fragment(slot, (known.is_none(), passes_on), &arriving.encoded)?;
        self.overlay.insert(record, (version, Some(slot)));
        self.links.insert(record, arriving.prepared.links.to_vec());
        let bytes = u32::try_from(arriving.encoded.len()).unwrap_or(u32::MAX);
        let says = match arriving.tells.then(|| Fragment::decode(&arriving.encoded)) {
            Some(Ok(fragment)) => {
                let digester = Digester::new(self.config, &self.tenant.keys.index);
                Some(Box::new(digester.says(&fragment, (place, slot))))
            }
            _ => None,
        };
        if passes_on {
            self.effects.push(Effect::PassOn(record));
        }
        self.effects.push(Effect::Put(arriving.prepared, (place, sequence), slot, bytes, says));
        if let Some(gone) = gone {
            self.part_corrections(record, &gone)?;
        }
        let outcome = Outcome::Accepted { sequence, profile: None, notes: arriving.notes };
        Ok(Drafted { outcome, record: Some(record) })
    }

    /// Whether a record gives up or takes on an identifier that names somebody: it may be somebody else's from now on, or be
    /// theirs by mistake, and what it says under one key must be one person's.
    fn changes_hands(&self, prepared: &Prepared) -> bool {
        let before = match self.links.get(&prepared.record) {
            Some(links) => links.clone(),
            None => self.state.held_by(prepared.record),
        };
        let names = |value: &&LinkValue| {
            let namespace = self.config.config.namespace(value.namespace);
            namespace.is_some_and(|namespace| namespace.class != NamespaceClass::Supporting)
        };
        let gone = before.iter().filter(names).any(|value| !prepared.links.contains(value));
        gone || prepared.links.iter().filter(names).any(|value| !before.contains(value))
    }

    /// What a record said so far, where it gives up all of it that named somebody: it is taken to be somebody else's from now on,
    /// so that ids that ended lead nobody to it (law 4).
    fn given_up(&self, prepared: &Prepared) -> Option<Vec<LinkValue>> {
        let before = match self.links.get(&prepared.record) {
            Some(before) => before.clone(),
            None => self.state.held_by(prepared.record),
        };
        self.state.engine.gives_up_all(&before, &prepared.links).then_some(before)
    }

    fn seal_fragment(
        &mut self,
        slot: Option<SlotId>,
        (opens_record, passes_on): (bool, bool),
        content: &[u8],
    ) -> Result<(Sequence, Place, SlotId), JournalError> {
        if !passes_on {
            return self.seal(EntryKind::FragmentPut, slot, opens_record, content);
        }
        let entry = (self.sequence.next(), EntryKind::FragmentPut);
        let (place, slot) = self.group.seal_behind(self.tenant, entry, slot, Sealed::header_that_passes_on, content)?;
        self.sequence = entry.0;
        Ok((entry.0, place, slot))
    }

    /// A fragment of a record that was retracted, observed before that. The record stays retracted; where this is what it said
    /// last, that is noted, so that a no that was said at it is heard as if the two had come in their order (laws 2 and 6).
    fn comes_late(&mut self, prepared: &Prepared) -> Result<(), JournalError> {
        let record = prepared.record;
        let known = self.last_version_of(record);
        let version = (prepared.observed_at, prepared.facts);
        // Also where it says nothing: what is older must not be taken for its last word.
        if known.is_some_and(|known| known >= version) {
            return Ok(());
        }
        let values = prepared.links.iter().map(|link| (link.namespace, link.digest)).collect();
        let late = LateVersion { record, observed_at: version.0, facts: version.1, values };
        let (retraction, slot) = match self.known(record) {
            Some((retraction, slot)) => (retraction, slot),
            None => return Ok(()),
        };
        let (_, _, slot) = self.seal(EntryKind::LateVersion, slot, false, &decision::encode(&late))?;
        self.overlay.insert(record, (retraction, Some(slot)));
        self.last_versions.insert(record, version);
        self.effects.push(Effect::Late(late, slot));
        Ok(())
    }

    /// The last version of a record that is retracted, or was never taken in.
    fn last_version_of(&self, record: Digest128) -> Option<(ObservedAt, Digest128)> {
        self.last_versions.get(&record).copied().or_else(|| self.state.engine.last_version_of(record))
    }

    /// LAW 7: what was erased does not come back. Nothing of it is kept; that it came is counted.
    fn stop(&mut self, arriving: &Arriving) -> Option<Drafted> {
        if !self.state.privacy.stops_any() {
            return None;
        }
        // An address of a person that comes as an organisation's is indexed elsewhere, and is the person's all the same.
        let fragment = Fragment::decode(&arriving.encoded);
        let preparer = self.config.preparer();
        let points = |fragment: Fragment| {
            let mut points = preparer.contact_points(&fragment);
            for region in &self.state.privacy.former_regions {
                points.extend(preparer.contact_points_under(&fragment, region.as_deref()));
            }
            points
        };
        // A malformed identifier may have a whole one in it, and other forms of letters are letters.
        let inside = arriving.inside.iter().copied();
        let points = fragment.map(points).unwrap_or_default().into_iter().chain(inside);
        let links = arriving.prepared.links.iter().map(|link| link.digest);
        let request = self.state.privacy.stops([arriving.prepared.record].into_iter().chain(links).chain(points))?;
        Some(self.stopped(request))
    }

    pub(super) fn stopped(&mut self, request: Sequence) -> Drafted {
        *self.stopped.entry(request).or_default() += 1;
        Drafted { outcome: Outcome::Suppressed { sequence: self.sequence }, record: None }
    }

    /// Writes down how often something was stopped. It takes less room than what was stopped would have.
    pub(super) fn note_stopped(&mut self) -> Result<(), JournalError> {
        if self.stopped.is_empty() {
            return Ok(());
        }
        let stopped = ResendsStopped { counts: std::mem::take(&mut self.stopped).into_iter().collect() };
        let sequence = self.sequence.next();
        let payload = decision::encode(&stopped);
        self.group.builder.push(self.tenant.id, sequence, kind(EntryKind::ResendsStopped), |_, out| {
            out.extend_from_slice(&payload);
        })?;
        self.sequence = sequence;
        self.effects.push(Effect::Count(stopped));
        Ok(())
    }

    /// Without a time of its own a fragment is a duplicate when it says what is live already.
    fn same_but_for_the_time(&self, arriving: &Arriving, live: Version) -> bool {
        Fragment::decode(&arriving.encoded).is_ok_and(|mut fragment| {
            fragment.observed_at = live.observed_at;
            fragment.fact_digest(self.config.config.as_ref()) == live.facts
        })
    }

    pub(super) fn retract(&mut self, record: Digest128, at: ObservedAt) -> Result<Drafted, JournalError> {
        if let Some(request) = self.state.privacy.stops([record]) {
            return Ok(self.stopped(request));
        }
        let known = self.known(record);
        let version = Version::of_retraction(at);
        if let Some((live, _)) = known
            && version <= live
        {
            let (sequence, profile) = (self.sequence, None);
            let outcome = if live.retracted && live.observed_at == at {
                Outcome::Duplicate { sequence, profile }
            } else {
                Outcome::Superseded { sequence, profile }
            };
            return Ok(Drafted { outcome, record: Some(record) });
        }
        let sequence = self.sequence.next();
        let payload = decision::encode(&RecordRetracted { record, observed_at: at });
        let place = self.group.builder.push(self.tenant.id, sequence, kind(EntryKind::RecordRetracted), |_, out| {
            out.extend_from_slice(&payload);
        })?;
        self.sequence = sequence;
        if let Some((last, _)) = known.filter(|(last, _)| !last.retracted) {
            self.last_versions.insert(record, (last.observed_at, last.facts));
        }
        self.overlay.insert(record, (version, known.and_then(|(_, slot)| slot)));
        self.effects.push(Effect::Retract(record, at, (place, sequence)));
        self.keep_correction(record)?;
        Ok(Drafted { outcome: Outcome::Accepted { sequence, profile: None, notes: Vec::new() }, record: None })
    }

    /// A person's correction is judged the same as the records that they had. Where sources take back the last of those, the
    /// correction goes with another of the profile's: a source cannot undo what was corrected by sending a delete.
    fn keep_correction(&mut self, left: Digest128) -> Result<(), JournalError> {
        if let Some((correction, other)) = self.correction_beside(left) {
            self.correction_goes_with(correction, other)?;
        }
        Ok(())
    }

    /// Judges a correction the same as another record of its person's; false where it is not known who made it.
    pub(super) fn correction_goes_with(
        &mut self,
        correction: Digest128,
        other: Digest128,
    ) -> Result<bool, JournalError> {
        let rectified =
            |carried: &&Carried| matches!(&carried.did, Did::Rectified { record, .. } if *record == correction);
        let Some(carried) = self.state.privacy.carried.values().flatten().find(rectified) else { return Ok(false) };
        let judged = Judged {
            records: (correction.min(other), correction.max(other)),
            verdict: Verdict::Same,
            seen_bits: None,
            author: carried.by.clone(),
            reason: receipt::name(&self.tenant.name, carried.request),
            judged_at: carried.at,
            expires_at: None,
        };
        let content = decision::encode(&judged);
        let (sequence, place, slot) = self.seal(EntryKind::JudgementStated, None, false, &content)?;
        self.moved.push((correction, other));
        self.effects.push(Effect::Judge(Box::new((judged, sequence, place, slot))));
        Ok(true)
    }

    /// A live correction that was judged the same as a record and as no other that stays, and the oldest other record of its
    /// profile. Later corrections are judged the same as the first: where one goes, all go.
    fn correction_beside(&self, left: Digest128) -> Option<(Digest128, Digest128)> {
        let stewards = self.config.source_named(STEWARD_SOURCE)?;
        let engine = &self.state.engine;
        let is_correction = |record: &Digest128| engine.record(*record).is_some_and(|view| view.source == stewards);
        let goes = |record: &Digest128| self.overlay.get(record).is_some_and(|(version, _)| version.retracted);
        let stays = |record: &Digest128| *record != left && !is_correction(record) && !goes(record);
        // What stewards judged otherwise stays: a journal must hold no judgement that a replay refuses.
        let another = |correction: Digest128| {
            let same = |record: &Digest128| self.are_judged_same(correction, *record);
            let may = |record: &Digest128| engine.check_judgement(correction, *record, Verdict::Same).is_ok();
            let members = engine.members(engine.profile_of(correction)?);
            let moved = self.moved.iter().any(|(moved, other)| *moved == correction && stays(other));
            let mut others = members.iter().map(|view| view.digest).filter(stays);
            if moved || others.clone().any(|record| same(&record)) {
                return None;
            }
            Some((correction, others.find(may)?))
        };
        let judgements = &self.state.judgements;
        let judged = judgements.about(left).into_iter().filter_map(|entry| {
            let (one, other) = judgements.get(entry)?.records;
            let same = engine.judgement(one, other).is_some_and(|judged| judged.verdict == Verdict::Same);
            same.then_some(if one == left { other } else { one })
        });
        let moved = self.moved.iter().filter(|(_, other)| *other == left).map(|(correction, _)| *correction);
        let mut corrections: Vec<Digest128> = moved.chain(judged).filter(is_correction).collect();
        corrections.sort_unstable();
        if is_correction(&left) || judgements.len() + self.moved.len() >= JUDGEMENTS_MAX {
            return None;
        }
        corrections.into_iter().find_map(another)
    }

    /// Holds a fragment, and records the no that was said with it. While it is held, a no that was said at its record is heard at the
    /// identifiers that it would bring ([`State::hear_what_waits`]); where it cannot be held, or is stopped since it mentions
    /// somebody who was erased, until the record comes (law 6): whoever sends it is somebody else. What permits something waits with
    /// it: of what is held nobody knows yet whose it is.
    pub(super) fn quarantine_saying(
        &mut self,
        arriving: &Arriving,
        says: Vec<Saying>,
        faults: Vec<FieldFault>,
        received_at: ObservedAt,
    ) -> Result<Drafted, JournalError> {
        let record = arriving.prepared.record;
        let denies = says.iter().map(|saying| &saying.statement).any(|statement| {
            let decision = statement.decision;
            (decision.is_stop() || decision.is_hold()) && statement.points.contains(&record)
        });
        let (waits, says): (Vec<Saying>, Vec<Saying>) =
            says.into_iter().partition(|saying| saying.statement.decision.permits());
        let (drafted, is_turned_away) = self.quarantine(arriving, waits, faults, received_at)?;
        let drafted = if is_turned_away { self.say_each(says, drafted)? } else { self.say_all(says, record, drafted)? };
        let last = match self.known(record).filter(|(version, _)| !version.retracted) {
            Some((live, _)) => Some((live.observed_at, live.facts)),
            None => self.last_version_of(record),
        };
        let version = (arriving.prepared.observed_at, arriving.prepared.facts);
        let is_newer = last.is_none_or(|last| version > last);
        let heard_at: Vec<Digest128> = arriving.prepared.links.iter().map(|link| link.digest).collect();
        let since = |point: &Digest128| self.state.consent.ledger.stands_on_since(record, *point);
        let is_news = self.overlay.contains_key(&record) || heard_at.iter().any(|point| since(point) < Some(version));
        if denies && is_turned_away && is_newer && !heard_at.is_empty() && is_news {
            let stands = StandsOn { point: record, heard_at, of: Some(version) };
            let payload = decision::encode(&stands);
            self.sequence = self.sequence.next();
            self.group.builder.push(self.tenant.id, self.sequence, kind(EntryKind::StopsStandOn), |_, out| {
                out.extend_from_slice(&payload);
            })?;
            self.effects.push(Effect::StandOn(stands));
        }
        Ok(drafted)
    }

    /// Holds a fragment. Beside what became of it, whether it is not held and was said by nobody who was erased: then what came
    /// with it counts all the same.
    fn quarantine(
        &mut self,
        arriving: &Arriving,
        mut waits: Vec<Saying>,
        faults: Vec<FieldFault>,
        received_at: ObservedAt,
    ) -> Result<(Drafted, bool), JournalError> {
        if let Some(stopped) = self.stop(arriving) {
            return Ok((stopped, false));
        }
        let read = Fragment::decode(&arriving.encoded).ok();
        let fragment = match &read {
            Some(read) if arriving.undated => {
                quarantine::content(read, true, &arriving.prepared, self.config.config.as_ref())
            }
            _ => (arriving.prepared.record, arriving.prepared.facts),
        };
        // Found at the door, but for what only the lane found fault with.
        let found = arriving.found.clone();
        let found = found.or_else(|| Some(Points::of(&read?, &arriving.prepared, self.config, POINTS_MAX)));
        let (points, is_whole) = found.unwrap_or_default();
        // LAW 7: an erasure takes out of quarantine what only mentions somebody, so that does not come again either.
        if let Some(request) = self.state.privacy.stops(points.all().copied()) {
            return Ok((self.stopped(request), true));
        }
        waits.retain(|saying| {
            self.stops(&saying.statement).is_none_or(|request| {
                self.stopped(request);
                false
            })
        });
        let fragment = quarantine::with_said(fragment, waits.iter().map(|saying| saying.content));
        let points = points.with(waits.iter().flat_map(|saying| saying.statement.points.iter().copied()));
        let known = self.held.get(&fragment).or_else(|| self.state.quarantined.get(&fragment)).copied();
        if let Some(entry) = known {
            let outcome = Outcome::Quarantined { sequence: self.sequence, entry, faults };
            return Ok((Drafted { outcome, record: None }, false));
        }
        let (record, _) = fragment;
        let found_by = &self.state.privacy.quarantined;
        let of_record = found_by.count_at(record, limits::QUARANTINE_OF_RECORD_MAX);
        let before = HeldBefore {
            fragments: self.state.quarantine.len() + self.held.len(),
            points: found_by.points() + self.held_points,
            of_record: of_record + self.held_of.get(&record).copied().unwrap_or(0),
        };
        if let Some(message) = quarantine::no_room(before, &points, is_whole) {
            let mut faults = faults;
            faults.push(FieldFault::new("", FaultReason::TooLarge, message));
            return Ok((Drafted { outcome: Outcome::Rejected { faults }, record: None }, true));
        }
        self.held_points += points.all().count();
        *self.held_of.entry(record).or_default() += 1;
        let kept = Quarantined {
            fragment: arriving.encoded.clone(),
            undated: arriving.undated,
            faults: faults.clone(),
            received_at,
            says: waits.into_iter().map(|saying| saying.statement).collect(),
        };
        let (of, content) = kept.encode();
        let (sequence, place, slot) = self.seal(of, None, false, &content)?;
        self.held.insert(fragment, sequence);
        let source = arriving.prepared.source;
        let version = (arriving.prepared.observed_at, arriving.prepared.facts);
        let held = Held { place, slot, source, fragment, version };
        self.effects.push(Effect::Hold(sequence, held, points));
        let outcome = Outcome::Quarantined { sequence, entry: sequence, faults };
        Ok((Drafted { outcome, record: None }, false))
    }
}
