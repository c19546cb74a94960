//! Deciding: what becomes of each item, against the state as it is and what the group has decided already.
//!
//! Nothing is changed while deciding: entries go into the batch, effects into a list, which is applied at once at the end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use onefold_core::change::ProfileChange;
use onefold_core::config::STEWARD_SOURCE;
use onefold_core::consent::ledger::Ledger;
use onefold_core::consent::state::{Question, Said as Heard};
use onefold_core::consent::stops::StandsOn;
use onefold_core::consent::{Decision, Subject};
use onefold_core::decision::{self, EntryKind, QuarantineCleared, Quarantined, RecordRetracted, Sealed};
use onefold_core::erasure::{Carried, Did, Erased, PrivacyRequest, ResendsStopped};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::{Fragment, ObservedAt};
use onefold_core::ids::{Digest128, Place, Sequence, SlotId};
use onefold_core::judgement::{Judged, Verdict};
use onefold_core::limits;
use onefold_matching::prepared::Prepared;
use onefold_matching::resolve::{Engine, JUDGEMENTS_MAX, RecordView};
use onefold_store::journal::JournalError;
use onefold_store::keys::DataKey;
use onefold_store::vault::{Vault, VaultError};

use super::consent::{Said, Saying};
use super::hierarchy::digest::Digester;
use super::hierarchy::state::Says;
use super::hierarchy::steps;
use super::ingest::{Answer, Arriving, Item, Outcome};
use super::lane::{Group, kind};
use super::privacy::receipt;
use super::quarantine;
use super::quarantine::points::{MENTIONS_MAX, Points};
use super::tenant::{Held, LiveConfig, State, Tenant};

/// The last word on a record, in the order in which one beats another: observed later, a retraction before a fragment,
/// the greater digest of facts. The engine judges by the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    observed_at: ObservedAt,
    retracted: bool,
    facts: Digest128,
}

impl Version {
    const fn of_put(prepared: &Prepared) -> Self {
        Self { observed_at: prepared.observed_at, retracted: false, facts: prepared.facts }
    }

    const fn of_retraction(at: ObservedAt) -> Self {
        Self { observed_at: at, retracted: true, facts: Digest128([0; 16]) }
    }

    const fn held(view: &RecordView) -> Self {
        if view.live {
            Self { observed_at: view.observed_at, retracted: false, facts: view.facts }
        } else {
            Self::of_retraction(view.observed_at)
        }
    }
}

/// Bytes of a batch that [`Deciding::keep_correction`] may take beside the retraction's own.
pub(super) const MOVED_ROOM: usize = 512;
/// A link that is followed again within this time says nothing new.
const SAME_CLICK_MICROS: i64 = 60 * 1_000_000;

/// What the group knows of records that it has decided about and not yet applied.
type Overlay = HashMap<Digest128, (Version, Option<SlotId>)>;

/// A decided effect on the engine, to be applied under the write lock.
enum Effect {
    /// The fragment, where it lies, its sequence, its key, its bytes, and what it tells beside its facts.
    Put(Prepared, (Place, Sequence), SlotId, u32, Option<Box<Says>>),
    Retract(Digest128, ObservedAt, (Place, Sequence)),
    Hold(Sequence, Held, Points),
    LetGo(Sequence),
    Hear(Box<Said>),
    Judge(Box<(Judged, Sequence, Place, SlotId)>),
    Unjudge(Sequence),
    Count(ResendsStopped),
    Erase(Box<(Erased, PrivacyRequest)>),
    Carry(Box<(Carried, PrivacyRequest)>),
    StandOn(StandsOn),
}

/// An answer that still lacks the profile.
pub(super) struct Drafted {
    outcome: Outcome,
    record: Option<Digest128>,
}

/// What was decided and is not applied yet.
#[derive(Default)]
pub(super) struct Decided {
    effects: Vec<Effect>,
    /// The last sequence that was given out; `None` when none was.
    sequence: Option<Sequence>,
    /// Linking may differ from what was settled last.
    relinked: bool,
    /// Everything was resolved already, beside the state: the engine, and what changed.
    resolved: Option<Box<(Engine, Vec<ProfileChange>)>>,
}

impl Decided {
    /// Everything was resolved afresh beside the state.
    pub(super) fn resolved(engine: Engine, changes: Vec<ProfileChange>) -> Self {
        Self { relinked: true, resolved: Some(Box::new((engine, changes))), ..Self::default() }
    }

    /// These judgements, which were checked.
    pub(super) fn judged(told: Vec<(Judged, Sequence, Place, SlotId)>, last: Sequence) -> Self {
        let effects = told.into_iter().map(|told| Effect::Judge(Box::new(told))).collect();
        Self { effects, sequence: Some(last), ..Self::default() }
    }

    /// These judgements are no longer in force.
    pub(super) fn unjudged(entries: Vec<Sequence>, last: Sequence) -> Self {
        let effects = entries.into_iter().map(Effect::Unjudge).collect();
        Self { effects, sequence: Some(last), ..Self::default() }
    }

    /// Nothing but that everything is to be settled afresh.
    pub(super) fn relinked() -> Self {
        Self { relinked: true, ..Self::default() }
    }

    /// An erasure, decided in the entry with this sequence or one before it.
    pub(super) fn erasing(erased: Erased, request: PrivacyRequest, sequence: Sequence) -> Self {
        let effects = vec![Effect::Erase(Box::new((erased, request)))];
        Self { effects, sequence: Some(sequence), ..Self::default() }
    }

    /// Stops are heard at more points.
    pub(super) fn standing_on(more: Vec<StandsOn>, last: Sequence) -> Self {
        let effects = more.into_iter().map(Effect::StandOn).collect();
        Self { effects, sequence: Some(last), ..Self::default() }
    }

    /// The last sequence that was given out.
    pub(super) const fn last(&self) -> Option<Sequence> {
        self.sequence
    }

    /// These, then a judgement, then what was done upon a request: the last in the entry with this sequence.
    pub(super) fn carrying(
        mut decided: Self,
        judged: Option<(Judged, Sequence, Place, SlotId)>,
        done: (Carried, PrivacyRequest),
        sequence: Sequence,
    ) -> Self {
        decided.effects.extend(judged.map(|told| Effect::Judge(Box::new(told))));
        decided.effects.push(Effect::Carry(Box::new(done)));
        decided.sequence = Some(sequence);
        decided
    }

    /// Applies all of it; answers with what became of the profiles, and whether facts changed at all.
    pub(super) fn settle(self, state: &mut State) -> (Vec<ProfileChange>, bool) {
        let mut facts = self.relinked;
        for effect in self.effects {
            match effect {
                Effect::Put(prepared, (place, sequence), slot, bytes, says) => {
                    state.superseded.by(state.engine.record(prepared.record).as_ref(), bytes);
                    state.note_former(&prepared);
                    let arrival = state.engine.put(&prepared, place, slot);
                    debug_assert!(arrival.applies(), "the lane and the engine judge by one order");
                    state.stops_come_back(&prepared);
                    state.accounts.fragment_says(
                        prepared.record,
                        says.map_or_else(Says::default, |says| *says),
                        sequence,
                    );
                    facts = true;
                }
                Effect::Hear(said) => {
                    state.hear(&said);
                    facts = true;
                }
                Effect::Retract(record, at, (place, sequence)) => {
                    state.leave_stops_behind(record);
                    state.engine.retract(record, at, place);
                    state.superseded.leaves(record);
                    state.accounts.fragment_says(record, Says::default(), sequence);
                    facts = true;
                }
                Effect::Hold(entry, held, points) => state.hold(entry, held, points),
                Effect::Count(stopped) => state.privacy.count(&stopped),
                Effect::Erase(decided) => {
                    let (erased, request) = *decided;
                    state.erase(&erased);
                    state.privacy.put(request);
                    facts = true;
                }
                Effect::Carry(done) => {
                    let (carried, request) = *done;
                    state.carry(carried);
                    state.privacy.put(request);
                }
                Effect::StandOn(stands) => state.consent.ledger.stand_on(stands.point, &stands.heard_at),
                Effect::LetGo(entry) => {
                    state.let_go(entry);
                }
                Effect::Judge(told) => {
                    let (judged, entry, place, slot) = *told;
                    let replaced = state.judge(&judged, entry, place, slot);
                    state.replaced.extend(replaced);
                    facts = true;
                }
                Effect::Unjudge(entry) => {
                    let slot = state.unjudge(entry);
                    state.replaced.extend(slot);
                    facts = true;
                }
            }
        }
        state.sequence = self.sequence.unwrap_or(state.sequence);
        let changes = match self.resolved {
            Some(resolved) => {
                let (engine, changes) = *resolved;
                state.engine = engine;
                changes
            }
            None => state.engine.settle(),
        };
        (changes, facts)
    }
}

/// Decides items of one tenant against the state as it is. Nothing is applied: readers see it with its settlement.
pub(super) fn decide(
    tenant: &Arc<Tenant>,
    items: Vec<Item>,
    group: &mut Group,
) -> Result<(Vec<Drafted>, Decided), JournalError> {
    let config = tenant.config();
    let mut drafts = Vec::with_capacity(items.len());
    let mut effects = Vec::with_capacity(items.len());
    let mut overlay = Overlay::new();
    let sequence = {
        let state = tenant.state();
        let mut deciding = Deciding {
            tenant,
            config: &config,
            state: &state,
            sequence: state.sequence,
            overlay: &mut overlay,
            held: HashMap::new(),
            cleared: HashSet::new(),
            said: Ledger::default(),
            confirmed: HashMap::new(),
            stopped: BTreeMap::new(),
            moved: HashMap::new(),
            effects: &mut effects,
            group,
        };
        for item in items {
            drafts.push(deciding.item(item)?);
        }
        deciding.note_stopped()?;
        deciding.sequence
    };
    Ok((drafts, Decided { effects, sequence: Some(sequence), ..Decided::default() }))
}

struct Deciding<'a> {
    tenant: &'a Arc<Tenant>,
    config: &'a LiveConfig,
    state: &'a State,
    sequence: Sequence,
    overlay: &'a mut Overlay,
    held: HashMap<(Digest128, Digest128), Sequence>,
    cleared: HashSet<Sequence>,
    /// Statements of this group: what comes after them in it is judged as if they were recorded.
    said: Ledger,
    /// Statements that statements of this group confirm.
    confirmed: HashMap<Sequence, Sequence>,
    /// What was erased and came again, by request.
    stopped: BTreeMap<Sequence, u32>,
    /// Corrections that go with another record from now on, by that record.
    moved: HashMap<Digest128, Digest128>,
    effects: &'a mut Vec<Effect>,
    group: &'a mut Group,
}

impl Deciding<'_> {
    fn item(&mut self, item: Item) -> Result<Drafted, JournalError> {
        match item {
            Item::Put(mut arriving) => {
                let says = std::mem::take(&mut arriving.says);
                let drafted = match steps::faults(&arriving, &self.state.accounts) {
                    faults if faults.is_empty() => self.put(*arriving)?,
                    faults => {
                        let received_at = arriving.bound_to_steps.unwrap_or_default();
                        self.quarantine(&arriving, faults, received_at)?
                    }
                };
                self.say_all(says, drafted)
            }
            Item::Quarantine { mut arriving, faults, received_at } => {
                let says = std::mem::take(&mut arriving.says);
                let drafted = self.quarantine(&arriving, faults, received_at)?;
                self.say_all(says, drafted)
            }
            Item::Say(saying) => {
                let outcome = self.say(*saying)?;
                Ok(Drafted { outcome, record: None })
            }
            // Discarded is discarded: what another call replayed or let go meanwhile does not come back.
            Item::Replay { entry, .. } | Item::StillHeld { entry, .. }
                if !self.state.quarantine.contains_key(&entry) || self.cleared.contains(&entry) =>
            {
                let message = "is no longer in quarantine: it was replayed or discarded meanwhile";
                let faults = vec![FieldFault::new("quarantine_ids", FaultReason::Unknown, message)];
                Ok(Drafted { outcome: Outcome::Rejected { faults }, record: None })
            }
            Item::Replay { arriving, entry } => {
                let faults = steps::faults(&arriving, &self.state.accounts);
                if !faults.is_empty() {
                    let outcome = Outcome::Quarantined { sequence: self.sequence, entry, faults };
                    return Ok(Drafted { outcome, record: None });
                }
                let drafted = self.put(*arriving)?;
                self.clear(entry)?;
                Ok(drafted)
            }
            Item::StillHeld { entry, faults } => {
                Ok(Drafted { outcome: Outcome::Quarantined { sequence: self.sequence, entry, faults }, record: None })
            }
            Item::Retract { record, at } => self.retract(record, at),
        }
    }

    /// The version of a record that is live, or decided on in this group, and the slot of its key.
    fn known(&self, record: Digest128) -> Option<(Version, Option<SlotId>)> {
        self.overlay.get(&record).copied().or_else(|| {
            let view = self.state.engine.record(record)?;
            Some((Version::held(&view), view.slot))
        })
    }

    fn put(&mut self, mut arriving: Arriving) -> Result<Drafted, JournalError> {
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
            let (sequence, profile) = (self.sequence, None);
            let outcome = if version == live {
                Outcome::Duplicate { sequence, profile }
            } else {
                Outcome::Superseded { sequence, profile }
            };
            return Ok(Drafted { outcome, record: Some(record) });
        }
        let slot = known.and_then(|(_, slot)| slot);
        let (sequence, place, slot) = self.seal(EntryKind::FragmentPut, slot, known.is_none(), &arriving.encoded)?;
        self.overlay.insert(record, (version, Some(slot)));
        let bytes = u32::try_from(arriving.encoded.len()).unwrap_or(u32::MAX);
        let says = match arriving.tells.then(|| Fragment::decode(&arriving.encoded)) {
            Some(Ok(fragment)) => {
                let digester = Digester::new(self.config, &self.tenant.keys.index);
                Some(Box::new(digester.says(&fragment, (place, slot))))
            }
            _ => None,
        };
        self.effects.push(Effect::Put(arriving.prepared, (place, sequence), slot, bytes, says));
        let outcome = Outcome::Accepted { sequence, profile: None, notes: arriving.notes };
        Ok(Drafted { outcome, record: Some(record) })
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
        let is_odd = |fragment: &Fragment| {
            !arriving.notes.is_empty() || !fragment.identifiers.iter().all(|claim| claim.raw.is_ascii())
        };
        let odd = fragment.as_ref().ok().filter(|fragment| is_odd(fragment));
        let inside = odd.map(|fragment| quarantine::points::in_claims(fragment, self.config)).unwrap_or_default();
        let points = fragment.map(points).unwrap_or_default().into_iter().chain(inside);
        let links = arriving.prepared.links.iter().map(|link| link.digest);
        let request = self.state.privacy.stops([arriving.prepared.record].into_iter().chain(links).chain(points))?;
        Some(self.stopped(request))
    }

    fn stopped(&mut self, request: Sequence) -> Drafted {
        *self.stopped.entry(request).or_default() += 1;
        Drafted { outcome: Outcome::Suppressed { sequence: self.sequence }, record: None }
    }

    /// Writes down how often something was stopped. It takes less room than what was stopped would have.
    fn note_stopped(&mut self) -> Result<(), JournalError> {
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

    fn retract(&mut self, record: Digest128, at: ObservedAt) -> Result<Drafted, JournalError> {
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
        self.overlay.insert(record, (version, known.and_then(|(_, slot)| slot)));
        self.effects.push(Effect::Retract(record, at, (place, sequence)));
        self.keep_correction(record)?;
        Ok(Drafted { outcome: Outcome::Accepted { sequence, profile: None, notes: Vec::new() }, record: None })
    }

    /// A person's correction is judged the same as one of their records. Where its source takes that one back, the correction
    /// goes with the next of the profile's: a source cannot undo what was corrected by sending a delete.
    fn keep_correction(&mut self, left: Digest128) -> Result<(), JournalError> {
        let Some((correction, other)) = self.correction_beside(left) else { return Ok(()) };
        let rectified =
            |carried: &&Carried| matches!(&carried.did, Did::Rectified { record, .. } if *record == correction);
        let Some(carried) = self.state.privacy.carried.values().flatten().find(rectified) else { return Ok(()) };
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
        self.moved.insert(other, correction);
        self.effects.push(Effect::Judge(Box::new((judged, sequence, place, slot))));
        Ok(())
    }

    /// The live correction that was judged the same as a record, and the oldest other record of their profile.
    fn correction_beside(&self, left: Digest128) -> Option<(Digest128, Digest128)> {
        let stewards = self.config.source_named(STEWARD_SOURCE)?;
        let engine = &self.state.engine;
        let is_correction = |record: &Digest128| engine.record(*record).is_some_and(|view| view.source == stewards);
        let judgements = &self.state.judgements;
        let judged = judgements.about(left).into_iter().filter_map(|entry| {
            let (one, other) = judgements.get(entry)?.records;
            Some(if one == left { other } else { one })
        });
        let correction = self.moved.get(&left).copied().into_iter().chain(judged).find(is_correction)?;
        if judgements.len() >= JUDGEMENTS_MAX || is_correction(&left) {
            return None;
        }
        let goes = |record: &Digest128| self.overlay.get(record).is_some_and(|(version, _)| version.retracted);
        let members = engine.members(engine.profile_of(correction)?).into_iter();
        // What stewards judged otherwise stays: a journal must hold no judgement that a replay refuses.
        let may = |record: &Digest128| engine.check_judgement(correction, *record, Verdict::Same).is_ok();
        let other = members
            .map(|view| view.digest)
            .find(|record| *record != left && !is_correction(record) && !goes(record) && may(record));
        Some((correction, other?))
    }

    fn quarantine(
        &mut self,
        arriving: &Arriving,
        faults: Vec<FieldFault>,
        received_at: ObservedAt,
    ) -> Result<Drafted, JournalError> {
        if let Some(stopped) = self.stop(arriving) {
            return Ok(stopped);
        }
        let read = Fragment::decode(&arriving.encoded).ok();
        let fragment = match &read {
            Some(read) if arriving.undated => {
                quarantine::content(read, true, &arriving.prepared, self.config.config.as_ref())
            }
            _ => (arriving.prepared.record, arriving.prepared.facts),
        };
        let known = self.held.get(&fragment).or_else(|| self.state.quarantined.get(&fragment)).copied();
        if let Some(entry) = known {
            let outcome = Outcome::Quarantined { sequence: self.sequence, entry, faults };
            return Ok(Drafted { outcome, record: None });
        }
        if self.state.quarantine.len() + self.held.len() >= limits::QUARANTINE_MAX {
            let most = limits::QUARANTINE_MAX;
            let mut faults = faults;
            faults.push(FieldFault::new(
                "",
                FaultReason::TooLarge,
                format!("the quarantine holds {most} fragments, the most there may be; replay or discard some"),
            ));
            return Ok(Drafted { outcome: Outcome::Rejected { faults }, record: None });
        }
        // Found at the door, but for what only the lane found fault with.
        let found = arriving.found.clone();
        let found = found.or_else(|| Some(Points::of(&read?, &arriving.prepared, self.config)));
        let Some((points, true)) = found else {
            let mut faults = faults;
            let message = format!(
                "it mentions more than {MENTIONS_MAX} addresses and numbers that may be somebody's, so it cannot be held for \
                 that; mend its faults and send it again"
            );
            faults.push(FieldFault::new("", FaultReason::TooLarge, message));
            return Ok(Drafted { outcome: Outcome::Rejected { faults }, record: None });
        };
        let content = decision::encode(&Quarantined {
            fragment: arriving.encoded.clone(),
            undated: arriving.undated,
            faults: faults.clone(),
            received_at,
        });
        let (sequence, place, slot) = self.seal(EntryKind::Quarantined, None, false, &content)?;
        self.held.insert(fragment, sequence);
        let source = arriving.prepared.source;
        let held = Held { place, slot, source, fragment };
        self.effects.push(Effect::Hold(sequence, held, points));
        Ok(Drafted { outcome: Outcome::Quarantined { sequence, entry: sequence, faults }, record: None })
    }

    /// Records the statements that came with a fragment. What was answered of the fragment holds for them too.
    fn say_all(&mut self, says: Vec<Saying>, mut drafted: Drafted) -> Result<Drafted, JournalError> {
        // What came with something that was erased is of the same person.
        if says.is_empty() || matches!(drafted.outcome, Outcome::Suppressed { .. }) {
            return Ok(drafted);
        }
        for saying in says {
            self.say(saying)?;
        }
        if let Outcome::Accepted { sequence, .. }
        | Outcome::Duplicate { sequence, .. }
        | Outcome::Superseded { sequence, .. }
        | Outcome::Quarantined { sequence, .. } = &mut drafted.outcome
        {
            *sequence = self.sequence;
        }
        Ok(drafted)
    }

    /// Records a statement, once.
    fn say(&mut self, saying: Saying) -> Result<Outcome, JournalError> {
        let Saying { mut statement, content, records_max, pinned, once, restored } = saying;
        let ledger = &self.state.consent.ledger;
        let known = |statement| Outcome::Said { sequence: self.sequence, statement, known: true };
        if let Some(id) = self.said.known(content).or_else(|| ledger.known(content)) {
            return Ok(known(id));
        }
        let refuse = |path: &str, reason, message: &str| {
            Ok(Outcome::Rejected { faults: vec![FieldFault::new(path, reason, message)] })
        };
        if let Some(request) = self.state.privacy.stops(statement.points.iter().copied()).filter(|_| !restored) {
            return Ok(self.stopped(request).outcome);
        }
        if ledger.len() + self.said.len() >= limits::STATEMENTS_MAX {
            let message = format!("the ledger holds {} statements, the most there may be", limits::STATEMENTS_MAX);
            return refuse("", FaultReason::TooLarge, &message);
        }
        // A word that ends a restriction names it too, and was checked by who says it.
        if let Some(pending) = statement.confirms.filter(|_| statement.decision != Decision::Released) {
            match self.confirmable(pending, statement.given_at) {
                Ok(None) => {}
                Ok(Some(confirmed_by)) => return Ok(known(confirmed_by)),
                Err(why) => return refuse("token", FaultReason::Unknown, why),
            }
        }
        if once {
            let purposes = self.config.config.consent.purposes.iter().map(|purpose| purpose.id);
            let asked = purposes.filter(|purpose| statement.purpose.is_none_or(|only| only == *purpose));
            let stop = |purpose| {
                let question = Question::now(purpose, statement.channel, statement.given_at);
                ledger.stop_at(&self.said, &statement.points, &question)
            };
            let stops: Option<Vec<_>> = asked.map(stop).collect();
            // LAW 6: a no of long ago does not stand for one of today: a yes from in between may still be on its way, and
            // would lift the old one only. Nor does one that a record brings here, which this group may have moved.
            let since = statement.given_at.0.saturating_sub(SAME_CLICK_MICROS);
            let settled = self.overlay.is_empty();
            let fresh = |stops: &Vec<Heard>| settled && stops.iter().all(|stop| stop.at.0 >= since);
            if let Some(newest) = stops.filter(fresh).and_then(|stops| stops.into_iter().max()) {
                return Ok(known(newest.statement));
            }
        }
        let mut slot = None;
        match &statement.subject {
            Subject::Profile(profile) if !pinned => {
                let ends = self.state.engine.live_ends(*profile);
                let members: Vec<_> = ends.iter().flat_map(|profile| self.state.engine.members(*profile)).collect();
                // A no to a profile that was split since is a no to each part; a yes is a yes to neither.
                let unclear = ends.len() > 1 && !(statement.decision.is_stop() || statement.decision.is_hold());
                if members.is_empty() || members.len() > records_max || unclear {
                    let message =
                        "is not there any more, or grew while this was on its way; look it up and say it again";
                    return refuse("subject.profile", FaultReason::Unknown, message);
                }
                statement.points = members.iter().map(|member| member.digest).collect();
            }
            Subject::Record(_) => {
                slot = statement.points.first().and_then(|record| self.known(*record)).and_then(|(_, slot)| slot);
            }
            Subject::Profile(_) | Subject::Identifier { .. } => {}
        }
        // LAW 6: a stop whose time our own clock gave is later than every yes that was told before it, also when the clock
        // was set back meanwhile, or the two came through different doors in one moment and share this group.
        let stops = statement.decision.is_stop() || statement.decision.is_hold();
        if stops && statement.given_at >= statement.recorded_at {
            let newest = self.state.consent.ledger.newest_lift_at(&self.said, &statement.points);
            statement.given_at = statement.given_at.max(newest.unwrap_or(statement.given_at));
        }
        let plain = decision::encode(&statement);
        let (sequence, place, slot) = self.seal(EntryKind::StatementRecorded, slot, false, &plain)?;
        let said = Said::of(statement, sequence, place, slot, &self.tenant.keys);
        self.said.record(said.entry, &said.points, content);
        if let Some(confirms) = said.confirms {
            self.confirmed.insert(confirms, sequence);
        }
        self.effects.push(Effect::Hear(Box::new(said)));
        Ok(Outcome::Said { sequence, statement: sequence, known: false })
    }

    /// Whether a pending statement may be confirmed now: `Ok(Some(..))` when it was already.
    fn confirmable(&self, pending: Sequence, now: ObservedAt) -> Result<Option<Sequence>, &'static str> {
        let ledger = &self.state.consent.ledger;
        let Some(entry) = ledger.get(pending).filter(|entry| entry.decision == Decision::Pending) else {
            return Err("is of no statement that waits for confirmation");
        };
        if let Some(by) = entry.confirmed_by.or_else(|| self.confirmed.get(&pending).copied()) {
            return Ok(Some(by));
        }
        let days = i64::from(self.config.config.consent.confirm_within_days);
        if now.0 > entry.recorded_at.0.saturating_add(days * 24 * 60 * 60 * 1_000_000) {
            return Err("came too late: ask for consent again");
        }
        let Some(purpose) = entry.purpose else { return Err("is of no purpose") };
        // A no that came after the question is the last word: a link in an old message does not undo it.
        let question = Question::now(purpose, entry.channel, now);
        match ledger.stop_at(&self.said, ledger.points_of(pending), &question) {
            Some(stop) if stop.at >= entry.counts_from() => Err("is of a question that was answered with no since"),
            _ => Ok(None),
        }
    }

    fn clear(&mut self, entry: Sequence) -> Result<(), JournalError> {
        let Some(held) = self.state.quarantine.get(&entry) else { return Ok(()) };
        let sequence = self.sequence.next();
        let payload = decision::encode(&QuarantineCleared { entries: vec![entry] });
        self.group.builder.push(self.tenant.id, sequence, kind(EntryKind::QuarantineCleared), |_, out| {
            out.extend_from_slice(&payload);
        })?;
        self.sequence = sequence;
        self.group.commit.destroy.push((Arc::clone(self.tenant), held.slot));
        self.cleared.insert(entry);
        self.effects.push(Effect::LetGo(entry));
        Ok(())
    }

    /// Adds an entry whose content is sealed under the key of a slot, a new one if it has none.
    fn seal(
        &mut self,
        of: EntryKind,
        slot: Option<SlotId>,
        opens_record: bool,
        content: &[u8],
    ) -> Result<(Sequence, Place, SlotId), JournalError> {
        let (slot, key) = key_for(&self.tenant.vault, slot)?;
        let sequence = self.sequence.next();
        let place = self.group.builder.push(self.tenant.id, sequence, kind(of), |context, out| {
            let header = Sealed::header(slot, opens_record);
            out.extend_from_slice(&header);
            context.seal(&key, 0, &header, content, out);
        })?;
        self.sequence = sequence;
        Ok((sequence, place, slot))
    }
}

/// The key of a subject's content: the one in its slot, or a fresh one.
pub(super) fn key_for(vault: &Vault, slot: Option<SlotId>) -> Result<(SlotId, DataKey), JournalError> {
    let found = match slot.map(|slot| (slot, vault.key(slot))) {
        Some((slot, Ok(key))) => Ok((slot, key)),
        None => vault.take(),
        // What was sealed under it is gone; what comes now starts anew.
        Some((_, Err(VaultError::Destroyed(_)))) => vault.take(),
        Some((slot, Err(VaultError::Damaged(_)))) => {
            tracing::error!(slot = slot.0, "a slot of the vault is damaged; what comes now is sealed under another");
            vault.take()
        }
        Some((_, Err(error))) => Err(error),
    };
    found.map_err(|error| {
        tracing::error!(error = %error, "the vault failed");
        JournalError::Poisoned
    })
}

impl Drafted {
    /// What became of it, but for the profile.
    pub(super) const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    pub(super) fn finish(self, state: &State) -> Answer {
        let found = self.record.and_then(|record| state.engine.profile_of(record));
        let outcome = match self.outcome {
            Outcome::Accepted { sequence, notes, .. } => Outcome::Accepted { sequence, profile: found, notes },
            Outcome::Duplicate { sequence, .. } => Outcome::Duplicate { sequence, profile: found },
            Outcome::Superseded { sequence, .. } => Outcome::Superseded { sequence, profile: found },
            other => other,
        };
        Answer { outcome }
    }
}

#[cfg(test)]
mod tests;
