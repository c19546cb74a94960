//! What memory keeps of requests, suppressions and receipts. No value of a person.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use onefold_core::consent::stops::StandsOn;
use onefold_core::erasure::{
    CallbackEnded, Carried, Erased, Exported, Forward, Forwarded, PrivacyPolicy, PrivacyRequest, Readmitted,
    RequestState, ResendsStopped, Suppression,
};
use onefold_core::ids::{Digest128, Place, Sequence, SlotId};
use onefold_core::reads::{ReadLogMark, ReadLogPolicy};
use serde::{Deserialize, Serialize};

use super::former::{Former, FormerRows};
use crate::app::quarantine::found_by::FoundBy;
use crate::app::quarantine::points::Points;
use crate::app::tenant::State;

/// All that a tenant's journal decides about the rights of persons. Only the lane changes it.
#[derive(Clone, Debug, Default)]
pub struct Privacy {
    /// By id.
    pub requests: BTreeMap<Sequence, PrivacyRequest>,
    /// What must not come back, by keyed digest.
    pub suppressions: HashMap<Digest128, Suppression>,
    /// What was sent again and stopped, by request.
    pub stopped: BTreeMap<Sequence, u64>,
    /// Where the receipts lie.
    pub receipts: HashMap<Sequence, Place>,
    /// What was handed over, by request.
    pub exports: BTreeMap<Sequence, Exported>,
    /// What the tenant wants of its log of reads.
    pub read_log: ReadLogPolicy,
    /// Where that log ended when it was last written down.
    pub reads_mark: Option<ReadLogMark>,
    /// What was done upon requests that are no erasures, in order.
    pub carried: BTreeMap<Sequence, Vec<Carried>>,
    /// What the tenant wants.
    pub policy: Arc<PrivacyPolicy>,
    /// What each quarantined fragment is found by.
    pub quarantined: FoundBy,
    /// Default regions that held before: telephone numbers were read by them, and what is kept of these has no number.
    pub former_regions: Vec<Option<String>>,
    /// What is kept beside requests that controllers forwarded.
    pub forwards: BTreeMap<Sequence, Forward>,
    /// These by the controllers' numbers.
    numbers: HashMap<[u8; 16], Sequence>,
    /// Those of which a callback is owed.
    owing: BTreeSet<Sequence>,
    /// Identifiers that records held once.
    pub former: Former,
}

/// Default regions that are remembered.
const FORMER_REGIONS_MAX: usize = 8;

/// The same in a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub struct PrivacyRows {
    requests: Vec<PrivacyRequest>,
    suppressions: Vec<(Digest128, Suppression)>,
    stopped: Vec<(Sequence, u64)>,
    receipts: Vec<(Sequence, Place)>,
    carried: Vec<Carried>,
    policy: PrivacyPolicy,
    quarantined: Vec<(Sequence, Points)>,
    exports: Vec<Exported>,
    read_log: ReadLogPolicy,
    reads_mark: Option<ReadLogMark>,
    former_regions: Vec<Option<String>>,
    forwards: Vec<Forward>,
    former: FormerRows,
}

impl Privacy {
    /// As a checkpoint keeps it.
    pub fn to_rows(&self) -> PrivacyRows {
        PrivacyRows {
            requests: self.requests.values().cloned().collect(),
            suppressions: self.suppressions.iter().map(|(digest, held)| (*digest, *held)).collect(),
            stopped: self.stopped.iter().map(|(request, count)| (*request, *count)).collect(),
            receipts: self.receipts.iter().map(|(request, place)| (*request, *place)).collect(),
            carried: self.carried.values().flatten().cloned().collect(),
            policy: PrivacyPolicy::clone(&self.policy),
            quarantined: self.quarantined.iter().map(|(entry, points)| (entry, points.clone())).collect(),
            exports: self.exports.values().cloned().collect(),
            read_log: self.read_log,
            reads_mark: self.reads_mark,
            former_regions: self.former_regions.clone(),
            forwards: self.forwards.values().cloned().collect(),
            former: self.former.to_rows(),
        }
    }

    /// From a checkpoint.
    pub fn from_rows(rows: PrivacyRows) -> Self {
        let mut carried: BTreeMap<Sequence, Vec<Carried>> = BTreeMap::new();
        for one in rows.carried {
            carried.entry(one.request).or_default().push(one);
        }
        Self {
            carried,
            requests: rows.requests.into_iter().map(|request| (request.id, request)).collect(),
            suppressions: rows.suppressions.into_iter().collect(),
            stopped: rows.stopped.into_iter().collect(),
            receipts: rows.receipts.into_iter().collect(),
            policy: Arc::new(rows.policy),
            quarantined: rows.quarantined.into_iter().collect(),
            read_log: rows.read_log,
            reads_mark: rows.reads_mark,
            former_regions: rows.former_regions,
            former: Former::from_rows(rows.former),
            exports: rows.exports.into_iter().map(|exported| (exported.request, exported)).collect(),
            numbers: rows.forwards.iter().map(|forward| (forward.from.number, forward.from.request)).collect(),
            owing: rows.forwards.iter().filter(owes).map(|forward| forward.from.request).collect(),
            forwards: rows.forwards.into_iter().map(|forward| (forward.from.request, forward)).collect(),
        }
    }

    /// Whether anything must not come back.
    pub fn stops_any(&self) -> bool {
        !self.suppressions.is_empty()
    }

    /// The request for which one of these must not come back.
    pub fn stops(&self, digests: impl IntoIterator<Item = Digest128>) -> Option<Sequence> {
        if self.suppressions.is_empty() {
            return None;
        }
        digests.into_iter().find_map(|digest| self.suppressions.get(&digest)).map(|held| held.request)
    }

    /// Notes that another default region holds from now on.
    pub fn region_changes(&mut self, before: Option<&str>, after: Option<&str>) {
        if before == after {
            return;
        }
        let before = before.map(str::to_owned);
        self.former_regions.retain(|known| *known != before && known.as_deref() != after);
        self.former_regions.push(before);
        let over = self.former_regions.len().saturating_sub(FORMER_REGIONS_MAX);
        self.former_regions.drain(..over);
    }

    /// Counts what was stopped.
    pub fn count(&mut self, stopped: &ResendsStopped) {
        for (request, count) in &stopped.counts {
            *self.stopped.entry(*request).or_default() += u64::from(*count);
        }
    }

    /// Lets come back.
    pub fn readmit(&mut self, readmitted: &Readmitted) {
        for digest in &readmitted.digests {
            self.suppressions.remove(digest);
        }
    }

    /// Takes in what was done upon a request; [`State::carry`] sees to what follows from it.
    fn carry(&mut self, carried: Carried) {
        self.carried.entry(carried.request).or_default().push(carried);
    }

    /// Takes in the new state of a request.
    pub fn put(&mut self, request: PrivacyRequest) {
        if let Some(forward) = self.forwards.get_mut(&request.id) {
            forward.follow(&request, &self.policy);
            if owes(&&*forward) {
                self.owing.insert(request.id);
            }
        }
        self.requests.insert(request.id, request);
    }

    /// Notes that a request, which was taken in just now, came from a controller.
    pub fn forward(&mut self, from: Forwarded) {
        let Some(request) = self.requests.get(&from.request) else { return };
        let forward = Forward::new(from, request, &self.policy);
        self.numbers.insert(forward.from.number, request.id);
        if owes(&&forward) {
            self.owing.insert(request.id);
        }
        self.forwards.insert(request.id, forward);
    }

    /// The request that a controller knows by this number.
    pub fn forwarded(&self, number: &[u8; 16]) -> Option<(&PrivacyRequest, &Forward)> {
        let id = self.numbers.get(number)?;
        self.requests.get(id).zip(self.forwards.get(id))
    }

    /// Forwarded requests of which callbacks are owed.
    pub fn owing(&self) -> impl Iterator<Item = (&PrivacyRequest, &Forward)> {
        self.owing.iter().filter_map(|id| self.requests.get(id).zip(self.forwards.get(id)))
    }

    /// A callback is owed no more.
    pub fn end_callback(&mut self, ended: &CallbackEnded) {
        let Some(forward) = self.forwards.get_mut(&ended.request) else { return };
        forward.end(ended);
        if !owes(&&*forward) {
            self.owing.remove(&ended.request);
        }
    }

    /// Notes what was handed over.
    pub fn note_export(&mut self, exported: Exported) {
        self.exports.insert(exported.request, exported);
    }

    /// Requests that were decided and not brought to their end when the last run was cut off.
    pub fn unfinished(&self) -> Vec<Sequence> {
        let open = self.requests.values().filter(|request| request.state == RequestState::InProgress);
        open.map(|request| request.id).collect()
    }
}

fn owes(forward: &&Forward) -> bool {
    forward.owed().next().is_some()
}

impl State {
    /// Takes in what was done upon a request. A restriction that comes of one is ended by what was made for it alone.
    pub fn carry(&mut self, carried: Carried) {
        self.consent.ledger.bind(carried.restricted().unwrap_or_default());
        self.privacy.carry(carried);
    }

    /// Says to the ledger what a checkpoint keeps of it elsewhere.
    pub fn bind_restrictions(&mut self) {
        for carried in self.privacy.carried.values().flatten() {
            self.consent.ledger.bind(carried.restricted().unwrap_or_default());
        }
    }

    /// The records of fragments in quarantine that nobody but these tells of, where the fragment is theirs whose points these are.
    /// One that only mentions somebody is another's: what was said with it is not erased along (law 6).
    pub fn held_alone(
        &self,
        entries: impl IntoIterator<Item = Sequence>,
        points: &HashSet<Digest128>,
    ) -> BTreeSet<Digest128> {
        let held = entries.into_iter().filter_map(|entry| self.privacy.quarantined.get(entry));
        let theirs = held.filter(|held| held.is_of(points)).filter_map(Points::record);
        theirs.filter(|record| self.engine.ordinal_of(*record).is_none()).collect()
    }

    /// At which points everything that was said goes with an erasure.
    fn erased_points(&self, erased: &Erased) -> HashSet<Digest128> {
        let records = erased.records.iter().map(|record| record.digest);
        let mut points: HashSet<Digest128> =
            records.chain(erased.suppressed.iter().map(|(_, digest)| *digest)).collect();
        // What was said at a record that only quarantine knew went with its fragment; so did what the plan found there.
        let keys: HashSet<SlotId> = erased.slots.iter().copied().collect();
        let held = erased.quarantined.iter().filter_map(|entry| self.privacy.quarantined.get(*entry));
        let goes = |record: &Digest128| {
            let said = self.consent.ledger.standing_at(&HashSet::from([*record]));
            self.engine.ordinal_of(*record).is_none() && said.iter().any(|(_, slot, _)| keys.contains(slot))
        };
        let planned: Vec<Digest128> = held.filter_map(Points::record).filter(goes).collect();
        points.extend(self.held_alone(erased.quarantined.iter().copied(), &points));
        points.extend(planned);
        points
    }

    /// Where a no is to be heard on once an erasure took fragments out of quarantine that are not the erased person's: LAW 6, as
    /// when they are discarded.
    pub fn left_by_erasing(&self, erased: &Erased) -> Vec<StandsOn> {
        if erased.quarantined.is_empty() {
            return Vec::new();
        }
        let gone = self.erased_points(erased);
        let left = erased.quarantined.iter().filter_map(|entry| self.left_by_discarding(*entry));
        let others = left.filter(|stands| !gone.contains(&stands.point)).map(|mut stands| {
            stands.heard_at.retain(|point| !gone.contains(point));
            stands
        });
        others.filter(|stands| !stands.heard_at.is_empty()).collect()
    }

    /// LAW 7: takes out of memory all that is erased, and notes what must not come back. Answers with the keys of
    /// quarantined fragments that were let go. Doing it again is harmless.
    pub fn erase(&mut self, erased: &Erased) -> Vec<SlotId> {
        let points = self.erased_points(erased);
        let ordinals: Vec<u32> = erased.records.iter().map(|record| record.ordinal).collect();
        self.engine.forget(&ordinals);
        let records: Vec<Digest128> = erased.records.iter().map(|record| record.digest).collect();
        let ledger = &mut self.consent.ledger;
        ledger.forget(&points);
        // With versions of what is others' today went what was said at the record then.
        let of_others: HashSet<Digest128> = erased.former.iter().map(|key| key.record).collect();
        let said = ledger.standing_at(&of_others).into_iter().filter(|(_, slot, _)| erased.slots.contains(slot));
        let said: Vec<Sequence> = said.map(|(id, ..)| id).collect();
        ledger.forget_said(&said);
        self.accounts.forget(&records, &erased.slots);
        self.judgements.forget(&records);
        self.privacy.former.forget(&records);
        let is_theirs = |value: Digest128| erased.suppressed.iter().any(|(_, digest)| *digest == value);
        erased.former.iter().for_each(|key| self.privacy.former.forget_key(*key, is_theirs));
        let held = erased.quarantined.iter().filter_map(|entry| self.let_go(*entry)).map(|held| held.slot).collect();
        let suppression = |namespace| Suppression {
            namespace,
            request: erased.request,
            created_at: erased.at,
            review_at: erased.review_at,
        };
        for record in records {
            self.superseded.leaves(record);
            self.privacy.suppressions.insert(record, suppression(None));
        }
        for (namespace, digest) in &erased.suppressed {
            self.privacy.suppressions.insert(*digest, suppression(Some(*namespace)));
        }
        held
    }
}
