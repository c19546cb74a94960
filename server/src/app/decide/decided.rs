//! What was decided and is not applied yet.

use onefold_core::change::ProfileChange;
use onefold_core::consent::stops::StandsOn;
use onefold_core::decision::{LateVersion, RecordRetracted};
use onefold_core::erasure::{Carried, Erased, PrivacyRequest, ResendsStopped};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, Place, Sequence, SlotId};
use onefold_core::judgement::Judged;
use onefold_matching::prepared::Prepared;
use onefold_matching::resolve::Engine;

use crate::app::consent::Said;
use crate::app::hierarchy::state::Says;
use crate::app::quarantine::points::Points;
use crate::app::tenant::{Held, State};

/// A decided effect on the engine, to be applied under the write lock.
pub(super) enum Effect {
    /// The fragment, where it lies, its sequence, its key, its bytes, and what it tells beside its facts.
    Put(Prepared, (Place, Sequence), SlotId, u32, Option<Box<Says>>),
    /// What is put next makes the record somebody else's.
    PassOn(Digest128),
    Retract(Digest128, ObservedAt, (Place, Sequence)),
    Late(LateVersion, SlotId),
    Hold(Sequence, Held, Points),
    LetGo(Sequence),
    Hear(Box<Said>),
    Judge(Box<(Judged, Sequence, Place, SlotId)>),
    Unjudge(Sequence),
    /// A judgement ends whose key is on its way to be destroyed.
    Part(Sequence),
    Count(ResendsStopped),
    Erase(Box<(Erased, PrivacyRequest)>),
    Carry(Box<(Carried, PrivacyRequest)>),
    StandOn(StandsOn),
}

/// What was decided and is not applied yet.
#[derive(Default)]
pub(in crate::app) struct Decided {
    effects: Vec<Effect>,
    /// The last sequence that was given out; `None` when none was.
    sequence: Option<Sequence>,
    /// Linking may differ from what was settled last.
    relinked: bool,
    /// Everything was resolved already, beside the state: the engine, and what changed.
    resolved: Option<Box<(Engine, Vec<ProfileChange>)>>,
}

impl Decided {
    /// These effects; the last sequence that was given out.
    pub(super) fn of(effects: Vec<Effect>, last: Sequence) -> Self {
        Self { effects, sequence: Some(last), ..Self::default() }
    }

    /// Everything was resolved afresh beside the state.
    pub(in crate::app) fn resolved(engine: Engine, changes: Vec<ProfileChange>) -> Self {
        Self { relinked: true, resolved: Some(Box::new((engine, changes))), ..Self::default() }
    }

    /// These judgements, which were checked.
    pub(in crate::app) fn judged(told: Vec<(Judged, Sequence, Place, SlotId)>, last: Sequence) -> Self {
        let effects = told.into_iter().map(|told| Effect::Judge(Box::new(told))).collect();
        Self { effects, sequence: Some(last), ..Self::default() }
    }

    /// These judgements are no longer in force.
    pub(in crate::app) fn unjudged(entries: Vec<Sequence>, last: Sequence) -> Self {
        let effects = entries.into_iter().map(Effect::Unjudge).collect();
        Self { effects, sequence: Some(last), ..Self::default() }
    }

    /// Nothing but that everything is to be settled afresh.
    pub(in crate::app) fn relinked() -> Self {
        Self { relinked: true, ..Self::default() }
    }

    /// An erasure, decided in the entry with this sequence or one before it; records of others whose content goes with it; and
    /// where what others said no to is heard on, of which a fragment goes.
    pub(in crate::app) fn erasing(
        (erased, request): (Erased, PrivacyRequest),
        left: Vec<(RecordRetracted, (Place, Sequence))>,
        stands: Vec<StandsOn>,
        sequence: Sequence,
    ) -> Self {
        let mut effects = vec![Effect::Erase(Box::new((erased, request)))];
        let retract =
            |(gone, at): (RecordRetracted, (Place, Sequence))| Effect::Retract(gone.record, gone.observed_at, at);
        effects.extend(left.into_iter().map(retract));
        effects.extend(stands.into_iter().map(Effect::StandOn));
        Self { effects, sequence: Some(sequence), ..Self::default() }
    }

    /// Stops are heard at more points.
    pub(in crate::app) fn standing_on(more: Vec<StandsOn>, last: Sequence) -> Self {
        let effects = more.into_iter().map(Effect::StandOn).collect();
        Self { effects, sequence: Some(last), ..Self::default() }
    }

    /// Fragments leave quarantine, and what was said no to with them is heard on at these points.
    pub(in crate::app) fn discarding(left: Vec<StandsOn>, entries: Vec<Sequence>, last: Sequence) -> Self {
        let effects = left.into_iter().map(Effect::StandOn);
        let effects = effects.chain(entries.into_iter().map(Effect::LetGo)).collect();
        Self { effects, sequence: Some(last), ..Self::default() }
    }

    /// The last sequence that was given out.
    pub(in crate::app) const fn last(&self) -> Option<Sequence> {
        self.sequence
    }

    /// These, then judgements, then what was done upon a request: the last in the entry with this sequence.
    pub(in crate::app) fn carrying(
        mut decided: Self,
        judged: Vec<(Judged, Sequence, Place, SlotId)>,
        done: (Carried, PrivacyRequest),
        sequence: Sequence,
    ) -> Self {
        decided.effects.extend(judged.into_iter().map(|told| Effect::Judge(Box::new(told))));
        decided.effects.push(Effect::Carry(Box::new(done)));
        decided.sequence = Some(sequence);
        decided
    }

    /// Applies all of it; answers with what became of the profiles, and whether facts changed at all.
    pub(in crate::app) fn settle(self, state: &mut State) -> (Vec<ProfileChange>, bool) {
        let mut facts = self.relinked;
        for effect in self.effects {
            match effect {
                Effect::Put(prepared, (place, sequence), slot, bytes, says) => {
                    state.stops_go_along(&prepared);
                    state.superseded.by(state.engine.record(prepared.record).as_ref(), bytes);
                    state.note_former(&prepared, slot, sequence, false);
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
                Effect::PassOn(record) => state.pass_on(record),
                Effect::Hear(said) => {
                    state.hear(&said);
                    facts = true;
                }
                Effect::Retract(record, at, (place, sequence)) => {
                    state.retract(record, at, (place, sequence));
                    facts = true;
                }
                Effect::Late(late, slot) => state.came_late(&late, slot),
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
                Effect::StandOn(stands) => {
                    state.consent.ledger.stand_on(stands.point, &stands.heard_at, stands.of);
                }
                Effect::LetGo(entry) => {
                    state.let_go(entry);
                }
                Effect::Judge(told) => {
                    let (judged, entry, place, slot) = *told;
                    let replaced = state.judge(&judged, entry, place, slot);
                    state.replaced.extend(replaced);
                    facts = true;
                }
                Effect::Part(entry) => {
                    state.unjudge(entry);
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
