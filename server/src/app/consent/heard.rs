//! Where a no is heard whose record is not there, or has changed since, or waits in quarantine (law 6).

use std::collections::{BTreeSet, HashSet};

use onefold_core::consent::left::Version;
use onefold_core::consent::stops::StandsOn;
use onefold_core::decision::LateVersion;
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, Place, Sequence, SlotId};
use onefold_matching::prepared::{LinkValue, Prepared};

use super::Said;
use crate::app::hierarchy::state::Says;
use crate::app::stops::together;
use crate::app::tenant::State;

fn digests(links: &[LinkValue]) -> Vec<Digest128> {
    links.iter().map(|link| link.digest).collect()
}

impl State {
    /// Appends a statement to the ledger. A no at a record that was retracted is heard at what the record held last, and one of
    /// which a fragment waits in quarantine at what that would bring.
    pub fn hear(&mut self, said: &Said) {
        let Self { engine, consent, .. } = self;
        consent.ledger.record(said.entry, &said.points, said.content);
        if let Some(pending) = said.confirms {
            consent.ledger.confirm(pending, said.entry.id);
        }
        if said.entry.decision.is_stop() || said.entry.decision.is_hold() {
            for point in &said.points {
                let held = digests(&engine.last_links_of(*point));
                if !held.is_empty() {
                    consent.ledger.stand_on(*point, &held, None);
                }
            }
            said.points.iter().for_each(|point| self.hear_what_waits(*point));
        }
    }

    /// What a record says next is somebody else's: no id leads there any more, and no yes.
    pub fn pass_on(&mut self, record: Digest128) {
        self.engine.pass_on(record);
        self.consent.ledger.pass_on(record);
    }

    /// A fragment came after its record was retracted, and is the last that was observed before.
    pub fn came_late(&mut self, late: &LateVersion, slot: SlotId) {
        let before = self.engine.last_links_of(late.record);
        if self.engine.came_late(late, slot) {
            let now = self.engine.last_links_of(late.record);
            let version = (late.observed_at, late.facts);
            self.consent.ledger.record_had(late.record, &digests(&before), &digests(&now), version);
            self.privacy.former.comes(late.record, before, &now);
            self.hear_what_waits(late.record);
        }
    }

    /// A record is retracted: what was said no to at it stands on at its identifiers. So does what was heard there of a record that
    /// was retracted before, where this one was the last that held it.
    pub fn retract(&mut self, record: Digest128, at: ObservedAt, (place, sequence): (Place, Sequence)) {
        if self.consent.ledger.any_stands_on() {
            let links = self.engine.links_of(record);
            let mut origins = self.heard_by_last_holder(&links);
            origins.extend(self.consent.ledger.heard_here(record));
            self.stand_on_too(origins, record, &digests(&links));
        }
        let Self { engine, consent, .. } = self;
        consent.ledger.record_left(record, || digests(&engine.links_of(record)));
        engine.retract(record, at, place);
        self.superseded.leaves(record);
        self.accounts.fragment_says(record, Says::default(), sequence);
        self.hear_what_waits(record);
    }

    /// A record is about to be told anew. What a retracted record's person said no to is heard at what that record held last;
    /// where this one is the last that holds it, and gives it up, it is heard at this one from then on (law 6): a person who
    /// moved from one record to another is not lost with the address that both had.
    pub fn stops_go_along(&mut self, prepared: &Prepared) {
        if self.consent.ledger.any_stands_on() {
            let mut lost = self.engine.links_of(prepared.record);
            lost.retain(|value| !prepared.links.contains(value));
            let origins = self.heard_by_last_holder(&lost);
            self.stand_on_too(origins, prepared.record, &[prepared.record]);
        }
    }

    /// Where statements came to be heard since this was asked, as far as they are still: for the journal, since the versions that
    /// it follows from are dropped from there one day.
    pub fn take_gone_along(&mut self) -> Vec<StandsOn> {
        let mut all = std::mem::take(&mut self.went_along);
        for stands in &mut all {
            let still = self.consent.ledger.stands_on(stands.point);
            stands.heard_at.retain(|point| still.contains(point));
        }
        all.retain(|stands| !stands.heard_at.is_empty());
        all
    }

    /// The points of which statements are heard at those of a record's values that nobody else holds.
    fn heard_by_last_holder(&self, values: &[LinkValue]) -> BTreeSet<Digest128> {
        let alone = values.iter().filter(|value| self.engine.live_holders(**value) <= 1);
        alone.flat_map(|value| self.consent.ledger.heard_here(value.digest)).copied().collect()
    }

    fn stand_on_too(&mut self, origins: BTreeSet<Digest128>, record: Digest128, heard_at: &[Digest128]) {
        for origin in origins.into_iter().filter(|origin| *origin != record && !heard_at.is_empty()) {
            self.consent.ledger.stand_on(origin, heard_at, None);
            self.went_along.push(StandsOn { point: origin, heard_at: heard_at.to_vec(), of: None });
        }
    }

    /// A record has a live fragment: what was said at it stands there and is heard nowhere else, but for what waits and what newer
    /// fragments left behind that were never taken in; what was said at its identifiers is heard no more on behalf of what stands together with them now.
    pub fn stops_come_back(&mut self, prepared: &Prepared) {
        let links = prepared.links.iter().map(|link| link.digest);
        self.consent.ledger.record_is_back(prepared.record, (prepared.observed_at, prepared.facts));
        self.hear_what_waits(prepared.record);
        let standing = links.clone().flat_map(|point| self.consent.ledger.standing_on(point));
        // What stands at a record that was retracted is heard elsewhere until that record is told of.
        let is_there = |point: &Digest128| self.engine.record(*point).is_none_or(|view| view.live);
        let standing: Vec<Digest128> = standing.filter(is_there).collect();
        if standing.is_empty() {
            return;
        }
        // Where several hold an identifier it brings nobody together.
        let together: HashSet<Digest128> =
            links.flat_map(|point| together(self, point)).chain([prepared.record]).collect();
        standing.into_iter().for_each(|point| self.consent.ledger.stands_with(point, &together));
    }

    /// What is said no to at a record is heard at what a fragment of it would bring that waits in quarantine. This follows from what
    /// waits and what the record said last, so it is the same in whatever order they came (law 2); it is told again whenever either
    /// changes.
    pub fn hear_what_waits(&mut self, record: Digest128) {
        if self.quarantine.is_empty() && self.consent.ledger.waits_at(record).is_empty() {
            return;
        }
        let mut heard_at: Vec<Digest128> = match self.consent.ledger.has_stop_at(record) {
            true => {
                let waiting = self.privacy.quarantined.of_record(record);
                waiting.flat_map(|(entry, _)| self.would_bring(entry)).collect()
            }
            false => Vec::new(),
        };
        heard_at.sort_unstable();
        heard_at.dedup();
        self.consent.ledger.waits(record, heard_at);
    }

    /// The identifiers that a fragment in quarantine would bring, were it mended: none where something newer of its record came, and
    /// without those that lead to the record today.
    fn would_bring(&self, entry: Sequence) -> Vec<Digest128> {
        let (Some(held), Some(points)) = (self.quarantine.get(&entry), self.privacy.quarantined.get(entry)) else {
            return Vec::new();
        };
        let (record, _) = held.fragment;
        if !self.says_last(record, held.version) {
            return Vec::new();
        }
        let leads = digests(&self.engine.links_of(record));
        points.links().iter().filter(|link| !leads.contains(link)).copied().collect()
    }

    /// Whether nothing that is as new as this version was taken in of its record, or came late.
    fn says_last(&self, record: Digest128, version: Version) -> bool {
        let last = match self.engine.record(record).filter(|view| view.live) {
            Some(view) => Some((view.observed_at, view.facts)),
            None => self.engine.last_version_of(record),
        };
        last.is_none_or(|last| version > last)
    }

    /// Where a no is to be heard on once this fragment is discarded: what was said is not unsaid by that, and nothing newer of its
    /// record says otherwise. Also where it leads to the record today: an older fragment may change that.
    pub fn left_by_discarding(&self, entry: Sequence) -> Option<StandsOn> {
        let (held, points) = (self.quarantine.get(&entry)?, self.privacy.quarantined.get(entry)?);
        let (point, _) = held.fragment;
        let stays = self.consent.ledger.has_stop_at(point) && self.says_last(point, held.version);
        let heard_at = points.links().to_vec();
        (stays && !heard_at.is_empty()).then_some(StandsOn { point, heard_at, of: Some(held.version) })
    }
}
